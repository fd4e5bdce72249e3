//! The list of events that may happen, kept up to date from one quiet point to the next.
//!
//! Always: the list is in the order of spawn paths, and the same as if it were made afresh; an
//! event stays in it until one of its slots is completed.

use std::cell::Cell;

use super::Defect;
use super::event::{Branch, Event, Kind, Names, Offer};
use super::run::{Run, SlotRecord};
use super::system::Rules;

/// A branch of a slot that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) branch: Branch,
    /// The slot's place in the run.
    pub(super) place: usize,
    /// Which of its branches it is.
    pub(super) index: u16,
}

/// What waits, and what is known about it.
#[derive(Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) run: &'a Run,
    /// The slots that wait, as places in the run's, in the order of spawn paths.
    pub(super) places: &'a [usize],
    /// All their branches.
    pub(super) open: &'a [Open],
    pub(super) names: &'a Names,
    pub(super) rules: &'a Rules,
    /// Whether any slot ever cancelled another.
    pub(super) cancels: bool,
    /// Set if the record has no clocks and they would be needed; none if it has them.
    pub(super) missing: Option<&'a Cell<bool>>,
}

impl Waiting<'_> {
    /// Makes the list afresh.
    pub(super) fn list(self, events: &mut Vec<Event>) {
        events.clear();
        for (nth, place) in self.places.iter().enumerate() {
            self.add(*place, &self.places[nth + 1..], events);
        }
        self.sort(events);
    }

    /// Adds what is possible because of the slots `fresh`, which were not there before.
    pub(super) fn update(self, fresh: &[usize], events: &mut Vec<Event>) {
        for (nth, place) in fresh.iter().enumerate() {
            self.add(*place, &fresh[nth + 1..], events);
        }
        if !fresh.is_empty() {
            self.sort(events);
        }
    }

    /// Whether the list is as if it were made afresh.
    pub(super) fn is_listed(self, events: &[Event]) -> bool {
        let mut afresh = Vec::new();
        self.list(&mut afresh);
        afresh == events
    }

    fn sort(self, events: &mut [Event]) {
        if events.len() < 2 {
            return;
        }
        let rank = |it: Offer| self.names.rank(it.slot.tasklet);
        events.sort_unstable_by_key(|it| {
            let alone = it.second.is_none();
            let second = it.second.map(|it| (rank(it), it.branch));
            (rank(it.first), it.first.branch, alone, second)
        });
    }

    /// Adds what the slot at `place` may do alone, or with all who wait but those of `later`.
    fn add(self, place: usize, later: &[usize], events: &mut Vec<Event>) {
        let record = &self.run.slots[place];
        let lax = self.rules.lax_timers;
        let offer = |it: &SlotRecord, branch: usize| Offer { slot: it.slot, branch: branch as u16 };
        if record.branches.len() > 1 && record.branches.contains(&Branch::Default) {
            self.missing.inspect(|it| it.set(true));
        }
        for (index, branch) in record.branches.iter().enumerate() {
            if let Some(kind) = self.run.kind_alone(record, *branch, lax) {
                events.push(Event { kind, first: offer(record, index), second: None });
            }
        }
        for (mine, branch) in record.branches.iter().enumerate() {
            let (wanted, sends) = match *branch {
                Branch::Send(channel) => (Branch::Receive(channel), true),
                Branch::Receive(channel) => (Branch::Send(channel), false),
                Branch::Default | Branch::Timer(_) | Branch::Join(_) | Branch::Cancel(_) => {
                    continue;
                }
            };
            let fits = |it: &&Open| it.branch == wanted && it.place != place;
            for open in self.open.iter().filter(fits).filter(|it| !later.contains(&it.place)) {
                let peer = &self.run.slots[open.place];
                let (mine, theirs) = (offer(record, mine), offer(peer, usize::from(open.index)));
                match sends {
                    true => self.meet(record, peer, (mine, theirs), events),
                    false => self.meet(peer, record, (theirs, mine), events),
                }
            }
        }
        if self.cancels {
            let cancels =
                |it: &SlotRecord| it.branches.iter().any(|it| matches!(it, Branch::Cancel(_)));
            let mine = cancels(record);
            for other in self.places.iter().filter(|it| **it != place) {
                let peer = &self.run.slots[*other];
                if (mine || cancels(peer)) && !later.contains(other) {
                    self.cancel(record, peer, events);
                    self.cancel(peer, record, events);
                }
            }
        }
    }

    fn meet(
        self,
        sender: &SlotRecord,
        receiver: &SlotRecord,
        (first, second): (Offer, Offer),
        events: &mut Vec<Event>,
    ) {
        let apart = match self.missing {
            _ if self.rules.defect == Some(Defect::AlwaysMeet) => false,
            Some(missing) => {
                if self.run.may_be_ready(sender) && self.run.may_be_ready(receiver) {
                    missing.set(true);
                }
                false
            }
            None => self.run.never_meet(sender, receiver),
        };
        if !apart {
            events.push(Event { kind: Kind::Meeting, first, second: Some(second) });
        }
    }

    /// Adds that `one` cancels `other`, if it would.
    fn cancel(self, one: &SlotRecord, other: &SlotRecord, events: &mut Vec<Event>) {
        for (index, branch) in one.branches.iter().enumerate() {
            if *branch == Branch::Cancel(other.slot.tasklet) {
                let first = Offer { slot: one.slot, branch: index as u16 };
                let second = Some(Offer { slot: other.slot, branch: 0 });
                events.push(Event { kind: Kind::Cancelled, first, second });
            }
        }
    }
}
