//! Wakeup trees: what still has to be tried from a node, as whole ways and not only as first
//! steps.
//!
//! After Abdulla, Aronis, Jonsson and Sagonas (2014, 2017). A reversal asks for a configuration:
//! the part of a run that does not depend on what is reversed, and then the other event. A way that
//! leads there is kept as a whole, so that it takes slots away from everything that sleeps; a run
//! that follows a way to its end finds nothing asleep any more and cannot be stopped by sleep.
//!
//! Always: of two ways that part, the right one goes through an event that takes a slot away from
//! the first event of the left one; the forks of a way are kept in the order in which they are
//! tried.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::event::{Event, Slot};
use super::run::Run;

/// A set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(SmallVec<[u64; 2]>);

impl Bits {
    /// The numbers from `start` up to `end`.
    pub(super) fn range(start: usize, end: usize) -> Bits {
        let word = |it: usize| below(end, it) & !below(start, it);
        Bits((0..end.div_ceil(64)).map(word).collect())
    }

    pub(super) fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|it| it >> (number % 64) & 1 == 1)
    }

    pub(super) fn insert(&mut self, number: usize) {
        if self.0.len() <= number / 64 {
            self.0.resize(number / 64 + 1, 0);
        }
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub(super) fn remove(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// Takes away all of `other`.
    pub(super) fn subtract(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine &= !theirs);
    }

    /// Takes away `end` and all above it.
    pub(super) fn truncate(&mut self, end: usize) {
        self.0.iter_mut().enumerate().for_each(|(index, word)| *word &= below(end, index));
    }

    /// The numbers in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

/// The bits of the word `index` that stand for numbers below `end`.
fn below(end: usize, index: usize) -> u64 {
    match end.saturating_sub(index * 64) {
        many if many >= 64 => u64::MAX,
        few => (1 << few) - 1,
    }
}

/// A sequence of events, and how it may go on.
#[derive(Clone, Debug)]
pub(super) struct Way {
    events: VecDeque<Event>,
    forks: Vec<Way>,
}

/// What is to be tried first of `ways`: an event, and what is to be tried after it. The rest stays.
pub(super) fn take_first(ways: &mut Vec<Way>) -> Option<(Event, Vec<Way>)> {
    if ways.is_empty() {
        return None;
    }
    let mut way = ways.remove(0);
    let event = way.events.pop_front()?;
    let after = if way.events.is_empty() { way.forks } else { vec![way] };
    Some((event, after))
}

/// The events up to the first end of `ways`.
pub(super) fn first_leaf(ways: &[Way], path: &mut Vec<Event>) {
    let mut next = ways.first();
    while let Some(way) = next {
        path.extend(&way.events);
        next = way.forks.first();
    }
}

/// Shows `look` the whole of each way up to its end, each after the events of `path`; `look` says
/// whether to go on.
pub(super) fn leaves(
    ways: &[Way],
    path: &mut Vec<Event>,
    look: &mut dyn FnMut(&[Event]) -> bool,
) -> bool {
    for way in ways {
        let length = path.len();
        path.extend(&way.events);
        let goes_on =
            if way.forks.is_empty() { look(path) } else { leaves(&way.forks, path, look) };
        path.truncate(length);
        if !goes_on {
            return false;
        }
    }
    true
}

/// A configuration that has to be reached: a part of a run, and then an event that was not in it.
#[derive(Debug)]
pub(super) struct Reversal<'a> {
    pub(super) run: &'a Run,
    /// The events of the run that are part of it, by place; with each its past, as far as that is
    /// not before the node where the way starts.
    pub(super) keeps: Bits,
    /// The event that the run did not have.
    pub(super) event: Event,
}

impl Reversal<'_> {
    /// Where in the run `event` is, if it is one that is kept.
    fn place(&self, event: &Event) -> Option<usize> {
        let place = self.taker(event.first.slot)?;
        (self.run.events[place].event == *event).then_some(place)
    }

    /// The kept event that completes `slot`.
    fn taker(&self, slot: Slot) -> Option<usize> {
        self.run.slot(slot)?.consumed.filter(|it| self.keeps.has(*it))
    }

    /// Whether `other` is part of the configuration or can happen beside it: it need not be one
    /// of its events, but none of these takes a slot of it.
    pub(super) fn allows(&self, other: &Event) -> bool {
        let free = |slot: Slot| {
            let lost = self.event.offers().any(|it| it.slot == slot);
            !lost && self.taker(slot).is_none_or(|it| self.run.events[it].event == *other)
        };
        *other == self.event || other.offers().all(|it| free(it.slot))
    }

    /// Adds a way to the configuration to `ways`, unless one of these leads to a point from which
    /// it is reached anyhow.
    pub(super) fn insert(&self, ways: &mut Vec<Way>) {
        let mut rest = Rest { kept: self.keeps.clone(), event: true };
        let mut level = ways;
        while let Some(place) = level.iter().position(|it| self.allows(&it.events[0])) {
            let way = &mut level[place];
            for nth in 0..way.events.len() {
                let event = way.events[nth];
                if !self.allows(&event) {
                    let events = way.events.split_off(nth);
                    let forks = std::mem::take(&mut way.forks);
                    way.forks = vec![Way { events, forks }, self.way(&rest)];
                    return;
                }
                rest.event &= event != self.event;
                if let Some(place) = self.place(&event) {
                    rest.kept.remove(place);
                }
            }
            // At the end of a way the search is free, and finds the rest by itself.
            if way.forks.is_empty() {
                return;
            }
            level = &mut way.forks;
        }
        level.push(self.way(&rest));
    }

    fn way(&self, rest: &Rest) -> Way {
        let kept = rest.kept.iter().map(|it| self.run.events[it].event);
        let last = rest.event.then_some(self.event);
        Way { events: kept.chain(last).collect(), forks: Vec::new() }
    }
}

/// What of a reversal is not on the way yet.
struct Rest {
    kept: Bits,
    /// Whether the event that the run did not have is still to come.
    event: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_a_set_of_numbers() {
        let mut bits = Bits::range(60, 130);
        assert_eq!(bits.iter().collect::<Vec<_>>(), (60..130).collect::<Vec<_>>());
        let mut other = Bits::default();
        (62..129).for_each(|it| other.insert(it));
        bits.subtract(&other);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [60, 61, 129]);
        bits.remove(61);
        bits.truncate(129);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [60]);
        assert!(bits.has(60) && !bits.has(61) && !bits.has(500));
    }
}
