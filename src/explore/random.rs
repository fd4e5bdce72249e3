//! Schedules drawn at random, in several ways that find different faults.
//!
//! Always: the seed and the number of the execution decide a schedule; no way is better than all
//! others, so [`portfolio`] takes turns.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::kernel::choice::Choices;

use super::event::{Event, Kind, Names, Slot, TaskletName};
use super::run::Run;
use super::system::{Choice, Enabled, System, execute};
use super::verdict::{Settings, Verdict};

/// How a schedule is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The first event that is listed, always.
    Default,
    /// Any enabled event, all alike.
    Pairs,
    /// Any tasklet that has not come to its operation yet comes next, all alike.
    Walk,
    /// As `Walk`, but each weighs as much as it had operations left in the run before.
    Weighted,
    /// Tasklets have priorities; so many times less one the first of them becomes the last.
    Pct(u32),
    /// Events have priorities, drawn when they are first seen.
    Pos,
}

/// The ways that [`portfolio`] takes turns with, after the default schedule.
const TURNS: [Mode; 5] = [Mode::Pct(2), Mode::Walk, Mode::Weighted, Mode::Pct(3), Mode::Pos];

/// What is learnt from earlier runs of the same search.
#[derive(Clone, Debug, Default)]
struct Known {
    /// How many slots each tasklet had; indexed by tasklet.
    slots: Vec<usize>,
    /// How many slots the longest run had.
    longest: usize,
}

impl Known {
    fn learn(&mut self, run: &Run) {
        self.longest = self.longest.max(run.slots.len());
        self.slots = run.of.iter().map(Vec::len).collect();
    }

    /// How many operations are left to `slot`'s tasklet, with this one, as far as is known.
    fn left(&self, slot: Slot) -> usize {
        let all = self.slots.get(slot.tasklet.index()).copied().unwrap_or(0);
        all.saturating_sub(slot.nth as usize).max(1)
    }
}

/// Draws one schedule.
struct Draw<'a> {
    mode: Mode,
    random: Choices,
    known: &'a Known,
    /// Slots that came to their operation and wait there, in order of coming.
    arrived: Vec<Slot>,
    /// Priorities of tasklets; more goes first.
    priorities: BTreeMap<TaskletName, usize>,
    /// Priorities of events.
    ranks: BTreeMap<Event, usize>,
    /// At which arrivals the first becomes the last.
    changes: Vec<usize>,
    /// How many arrivals there were.
    arrivals: usize,
}

/// More than any number of tasklets or events.
const MANY: usize = 1 << 40;

impl<'a> Draw<'a> {
    fn new(mode: Mode, seed: u64, known: &'a Known) -> Draw<'a> {
        let random = Choices::Seeded(Cell::new(seed));
        let steps = known.longest.max(2);
        let count = if let Mode::Pct(depth) = mode { depth.saturating_sub(1) } else { 0 };
        let changes = (0..count).map(|_| random.choose(steps)).collect();
        Draw {
            mode,
            random,
            known,
            arrived: Vec::new(),
            priorities: BTreeMap::new(),
            ranks: BTreeMap::new(),
            changes,
            arrivals: 0,
        }
    }

    fn choose(&mut self, enabled: &Enabled<'_>) -> usize {
        match self.mode {
            Mode::Default => 0,
            Mode::Pairs => self.random.choose(enabled.events.len()),
            Mode::Pos => self.highest(enabled.events),
            Mode::Walk | Mode::Weighted | Mode::Pct(_) => self.next_arrival(enabled),
        }
    }

    fn highest(&mut self, events: &[Event]) -> usize {
        let ranks: Vec<usize> = events
            .iter()
            .map(|it| *self.ranks.entry(*it).or_insert_with(|| self.random.choose(MANY)))
            .collect();
        (0..events.len()).max_by_key(|it| ranks[*it]).unwrap_or(0)
    }

    /// Lets one tasklet after the other come to its operation, until one can go on there.
    ///
    /// So the order is that of a scheduler that runs one ready tasklet after the other, where
    /// those who wait are served first come first served.
    fn next_arrival(&mut self, enabled: &Enabled<'_>) -> usize {
        let pending = |slot: &Slot| enabled.run.slot(*slot).is_some_and(|it| it.consumed.is_none());
        self.arrived.retain(pending);
        let waiting = enabled.run.slots.iter().filter(|it| it.consumed.is_none());
        let mut held: Vec<Slot> = waiting.map(|it| it.slot).collect();
        held.retain(|it| !self.arrived.contains(it));
        held.sort_by(|one, other| enabled.names.compare(one.tasklet, other.tasklet));
        while !held.is_empty() {
            let slot = held.swap_remove(self.pick(&held));
            self.arrivals += 1;
            if let Some(place) = self.tries(slot, enabled.events) {
                return place;
            }
            self.arrived.push(slot);
        }
        // Only timers are left, or meetings of slots that wait since an earlier time.
        self.random.choose(enabled.events.len())
    }

    /// Which of `held` comes next.
    fn pick(&mut self, held: &[Slot]) -> usize {
        match self.mode {
            Mode::Weighted => {
                let all: usize = held.iter().map(|it| self.known.left(*it)).sum();
                let mut rest = self.random.choose(all);
                held.iter().position(|it| {
                    let mine = self.known.left(*it);
                    let found = rest < mine;
                    rest = rest.saturating_sub(mine);
                    found
                })
            }
            Mode::Pct(_) => {
                for slot in held {
                    let random = &self.random;
                    let drawn = || MANY + random.choose(MANY);
                    self.priorities.entry(slot.tasklet).or_insert_with(drawn);
                }
                let first = |own: &Self| {
                    (0..held.len()).max_by_key(|it| own.priorities[&held[*it].tasklet])
                };
                if self.changes.contains(&self.arrivals)
                    && let Some(place) = first(self)
                {
                    let last = MANY - self.arrivals;
                    self.priorities.insert(held[place].tasklet, last);
                }
                first(self)
            }
            Mode::Default | Mode::Pairs | Mode::Walk | Mode::Pos => {
                Some(self.random.choose(held.len()))
            }
        }
        .unwrap_or(0)
    }

    /// What `slot` does when its tasklet comes to it: meets one who waits, or goes on alone; a
    /// default only if there is nothing else.
    fn tries(&self, slot: Slot, events: &[Event]) -> Option<usize> {
        let mine = |event: &Event| event.offers().any(|it| it.slot == slot);
        let waits = |other: Slot| self.arrived.iter().position(|it| *it == other);
        let rank = |event: &Event| {
            let peer = event.offers().map(|it| it.slot).find(|it| *it != slot);
            match (event.kind, peer) {
                (Kind::Default, _) => Some(usize::MAX),
                (Kind::Cancelled, _) => (event.first.slot == slot).then_some(0),
                (_, Some(peer)) => waits(peer),
                (_, None) => Some(0),
            }
        };
        let all = events.iter().enumerate().filter(|it| mine(it.1));
        let ways: Vec<(usize, usize)> = all.filter_map(|it| Some((it.0, rank(it.1)?))).collect();
        let useful: Vec<_> = ways.iter().filter(|it| it.1 != usize::MAX).collect();
        if useful.is_empty() {
            return ways.first().map(|it| it.0);
        }
        Some(useful[self.random.choose(useful.len())].0)
    }
}

/// Runs `system` with schedules drawn in one way.
pub fn sample(
    system: &dyn System,
    mode: Mode,
    seed: u64,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    draw_all(system, &|_| mode, seed, settings, look)
}

/// Runs `system` with the default schedule, then with schedules drawn in all ways by turns.
pub fn portfolio(
    system: &dyn System,
    seed: u64,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let mode = |execution: u64| match execution.checked_sub(1) {
        None => Mode::Default,
        Some(turn) => TURNS[(turn % TURNS.len() as u64) as usize],
    };
    draw_all(system, &mode, seed, settings, look)
}

fn draw_all(
    system: &dyn System,
    mode: &dyn Fn(u64) -> Mode,
    seed: u64,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut names, mut verdict) = (Names::new(), Verdict::default());
    let (mut known, mut execution) = (Known::default(), 0);
    loop {
        let mut draw = Draw::new(mode(execution), super::event::mix(seed, execution), &known);
        let run = execute(system, &mut names, settings.rules, &mut |enabled| {
            Choice::Take(draw.choose(enabled))
        });
        known.learn(&run);
        look(&run, &names);
        if !verdict.count(&run, settings) {
            return verdict;
        }
        execution += 1;
    }
}
