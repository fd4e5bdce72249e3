//! How many traces there are, guessed from a few runs or from the part that was searched.
//!
//! Knuth's idea (1975): walk down a tree, each time into a branch taken with some probability, and
//! divide 1 by all of these on the way; on average the quotient is the number of leaves. It varies
//! little if a branch is as likely as it is large, so a branch weighs as much as its tasklets have
//! operations left, as far as earlier walks show. The tree here is that of all orders of events
//! without those that sleep sets make superfluous. Every trace is one of its leaves; where a walk
//! ends because all sleep there is none, and it counts as zero. Where many events are independent
//! few walks count, and these for much: then the guess from a few runs is mostly too low.
//!
//! Always: the mean of [`estimate`] over all seeds is the number of traces, but for guesses of less
//! than one, which are taken for one. What is guessed from a
//! search that was given up is too low, as branches that are found later are missing.

use std::cell::Cell;

use crate::kernel::choice::Choices;

use super::event::{Event, Names, Slot};
use super::live::Desk;
use super::run::Run;
use super::system::{Choice, Enabled, Rules, System, execute_at};
use super::verdict::Settings;

/// A guess of the number of traces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The guess: at least one.
    pub traces: f64,
    /// The standard error of the guess, itself guessed from how much the runs differ; infinite if
    /// fewer than two of them came to an end, which says nothing.
    pub error: f64,
}

/// Guesses the number of traces of `system` from so many runs.
///
/// ```
/// use tasklets::explore::{Board, Branch, Settings, System, TaskletName, estimate};
///
/// /// Eight send to the root, which takes one value.
/// struct Race;
///
/// impl System for Race {
///     fn run(&self, board: &mut Board<'_>) {
///         let root = TaskletName::ROOT;
///         let channel = board.channel(root);
///         for _ in 0..8 {
///             let sender = board.spawn(root);
///             board.offer(sender, &[Branch::Send(channel)]);
///         }
///         board.offer(root, &[Branch::Receive(channel)]);
///         while let Some(event) = board.choose() {
///             event.offers().for_each(|it| board.end(it.slot.tasklet));
///         }
///     }
/// }
///
/// assert_eq!(estimate(&Race, 10, 1, &Settings::default()).traces, 8.0);
/// ```
pub fn estimate(system: &dyn System, runs: u64, seed: u64, settings: &Settings) -> Estimate {
    let (mut desk, mut names, mut descent) = (Desk::default(), Names::new(), Descent::new(seed));
    for _ in 0..runs {
        descent.run(&mut desk, system, &mut names, settings.rules);
    }
    Estimate { traces: descent.guess(), error: descent.error() }
}

/// Walks down the tree, one walk after the other.
pub(super) struct Descent {
    random: Choices,
    /// Events that need not be tried any more.
    sleep: Vec<Event>,
    /// The others, by place in the list, each with its weight.
    awake: Vec<(usize, usize)>,
    /// How many slots each tasklet had at most in earlier walks.
    slots: Vec<usize>,
    count: u64,
    /// How many of these came to an end of their own.
    counted: u64,
    sum: f64,
    squares: f64,
}

/// No weight of a tasklet is larger, so that those of two tasklets can be multiplied and added.
const WEIGHT_MAX: usize = 1 << 12;

impl Descent {
    pub(super) fn new(seed: u64) -> Descent {
        let random = Choices::Seeded(Cell::new(seed));
        let (sleep, awake, slots) = (Vec::new(), Vec::new(), Vec::new());
        Descent { random, sleep, awake, slots, count: 0, counted: 0, sum: 0.0, squares: 0.0 }
    }

    /// How many walks there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// One more walk; its run is at the desk.
    pub(super) fn run(
        &mut self,
        desk: &mut Desk,
        system: &dyn System,
        names: &mut Names,
        rules: Rules,
    ) {
        let mut weight = 1.0;
        self.sleep.clear();
        execute_at(desk, system, names, rules, &mut |enabled| self.step(enabled, &mut weight));
        self.learn(&desk.run);
        self.count += 1;
        self.counted += u64::from(weight > 0.0);
        self.sum += weight;
        self.squares += weight * weight;
    }

    /// What weighs how much in later walks.
    pub(super) fn learn(&mut self, run: &Run) {
        self.slots.resize(self.slots.len().max(run.of.len()), 0);
        self.slots.iter_mut().zip(&run.of).for_each(|(most, own)| *most = own.len().max(*most));
    }

    fn weight(&self, event: &Event) -> usize {
        let left = |slot: Slot| {
            let known = self.slots.get(slot.tasklet.index()).copied().unwrap_or(0);
            known.saturating_sub(slot.nth as usize).clamp(1, WEIGHT_MAX)
        };
        event.offers().map(|it| left(it.slot)).product()
    }

    fn step(&mut self, enabled: &Enabled<'_>, traces: &mut f64) -> Choice {
        let mut awake = std::mem::take(&mut self.awake);
        awake.clear();
        let all = enabled.events.iter().enumerate().filter(|it| !self.sleep.contains(it.1));
        awake.extend(all.map(|(place, event)| (place, self.weight(event))));
        let sum: usize = awake.iter().map(|it| it.1).sum();
        if awake.is_empty() {
            *traces = 0.0;
            return Choice::Abandon;
        }
        let mut rest = self.random.choose(sum);
        let mut nth = 0;
        while rest >= awake[nth].1 {
            rest -= awake[nth].1;
            nth += 1;
        }
        let (place, weight) = awake[nth];
        *traces *= sum as f64 / weight as f64;
        let event = enabled.events[place];
        self.sleep.extend(awake[..nth].iter().map(|it| enabled.events[it.0]));
        self.sleep.retain(|it| it.independent(&event));
        self.awake = awake;
        Choice::Take(place)
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// The guess: at least one trace, also if every walk so far was for nothing.
    pub(super) fn guess(&self) -> f64 {
        self.mean().max(1.0)
    }

    fn error(&self) -> f64 {
        if self.counted < 2 {
            return f64::INFINITY; // one walk shows no difference
        }
        let (count, mean) = (self.count as f64, self.mean());
        ((self.squares / count - mean * mean).max(0.0) / (count - 1.0).max(1.0)).sqrt()
    }
}

/// The part of a tree that was searched: for each node of the present path, from the root, how
/// many branches were left behind and how many are known in all, with the present one.
pub(super) fn done(path: impl IntoIterator<Item = (usize, usize)>) -> f64 {
    let (mut whole, mut done) = (1.0, 0.0);
    for (left, all) in path {
        let share = whole / all.max(1) as f64;
        done += share * left as f64;
        whole = share;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_each_half_adds_up() {
        assert_eq!(done([]), 0.0);
        assert_eq!(done([(1, 2)]), 0.5);
        assert_eq!(done([(1, 2), (1, 2)]), 0.75);
        assert_eq!(done([(2, 2)]), 1.0);
    }
}
