//! What may happen at a quiet point: whether anything may, what one slot may do, and the list of
//! all of it, which is kept up to date from one quiet point to the next.
//!
//! Always: the list is in the order of spawn paths, and the same as if it were made afresh; an
//! event stays in it until one of its slots is completed.

use std::cell::Cell;
use std::ops::Range;

use super::Defect;
use super::asked::{Asked, wanted};
use super::event::{Branch, Event, Kind, Names, Offer};
use super::run::{Run, SlotRecord};
use super::system::Rules;

/// What waits, and what is known about it.
#[derive(Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) run: &'a Run,
    /// The slot of each tasklet that waits, as a place in the run's; indexed by tasklet.
    pub(super) pending: &'a [Option<usize>],
    pub(super) asked: &'a Asked,
    pub(super) names: &'a Names,
    pub(super) rules: &'a Rules,
    /// Set if the record has no clocks and they would be needed; none if it has them.
    pub(super) missing: Option<&'a Cell<bool>>,
}

/// What a slot can do with one of its branches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// The branch.
    pub(super) mine: u16,
    /// The branch of the other slot.
    pub(super) theirs: u16,
    /// The place of the other slot, if it takes one.
    pub(super) peer: Option<usize>,
}

impl Waiting<'_> {
    /// Makes the list afresh.
    pub(super) fn list(&self, events: &mut Vec<Event>) {
        events.clear();
        self.places().for_each(|it| self.add(it, events));
        self.sort(events);
    }

    /// Adds what is possible because of the slots `fresh`, which are the last ones.
    pub(super) fn update(&self, fresh: Range<usize>, events: &mut Vec<Event>) {
        if fresh.is_empty() {
            return;
        }
        let sorted = events.len();
        fresh.for_each(|it| self.add(it, events));
        // Few are new, of many perhaps: each is put where it belongs.
        for last in sorted..events.len() {
            let key = self.place_of(&events[last]);
            let place = events[..last].partition_point(|it| self.place_of(it) <= key);
            events[place..=last].rotate_right(1);
        }
    }

    /// The slots that wait.
    pub(super) fn places(&self) -> impl DoubleEndedIterator<Item = usize> + Clone {
        self.pending.iter().flatten().copied()
    }

    /// Whether the list is as if it were made afresh.
    pub(super) fn is_listed(&self, events: &[Event]) -> bool {
        let mut afresh = Vec::new();
        self.list(&mut afresh);
        afresh == events
    }

    /// Whether anything may happen: it need not be asked if that [is certain](Asked::is_certain).
    pub(super) fn any(&self) -> bool {
        self.places().any(|place| {
            let record = &self.run.slots[place];
            (0..record.branches.len()).any(|mine| {
                let with = |it: usize| self.with(record, mine, (it, 0)).is_some();
                self.alone(record, mine).is_some()
                    || (self.has_peers(record.branches[mine]) && self.places().any(with))
            })
        })
    }

    fn sort(&self, events: &mut [Event]) {
        if events.len() > 1 {
            events.sort_unstable_by_key(|it| self.place_of(it));
        }
    }

    /// What decides where in the list an event stands.
    fn place_of(&self, event: &Event) -> impl Ord + use<> {
        let rank = |it: Offer| self.names.rank(it.slot.tasklet);
        let second = event.second.map(|it| (rank(it), it.branch));
        (rank(event.first), event.first.branch, second.is_none(), second)
    }

    /// Adds what the slot at `place` may do alone, or with those that were there before it.
    fn add(&self, place: usize, events: &mut Vec<Event>) {
        let record = &self.run.slots[place];
        let branches = 0..record.branches.len();
        let alone = branches.clone().filter_map(|it| self.alone(record, it));
        events.extend(alone.map(|it| self.event(record, it)));
        let asks = record.branches.iter().any(|it| self.has_peers(*it));
        if !asks && !self.asked.cancels() {
            return;
        }
        for peer in self.places().filter(|it| *it < place) {
            branches.clone().for_each(|mine| self.add_with(record, mine, peer, events));
            let other = &self.run.slots[peer];
            for theirs in 0..other.branches.len() {
                if matches!(other.branches[theirs], Branch::Cancel(_)) {
                    self.add_with(other, theirs, place, events);
                }
            }
        }
    }

    /// Adds in which ways branch number `mine` of `record` may complete with the slot at `peer`.
    fn add_with(&self, record: &SlotRecord, mine: usize, peer: usize, events: &mut Vec<Event>) {
        let mut least = 0;
        while let Some(found) = self.with(record, mine, (peer, least)) {
            events.push(self.event(record, found));
            least = usize::from(found.theirs) + 1;
        }
    }

    /// How branch number `mine` of `record` may complete alone.
    #[inline(always)]
    pub(super) fn alone(&self, record: &SlotRecord, mine: usize) -> Option<Found> {
        let kind = self.run.kind_alone(record, record.branches[mine], self.rules.lax_timers)?;
        Some(Found { kind, mine: mine as u16, peer: None, theirs: 0 })
    }

    /// Whether somebody might wait for `branch`.
    fn has_peers(&self, branch: Branch) -> bool {
        match wanted(branch) {
            Some((channel, side)) => self.asked.has(channel, side),
            None => matches!(branch, Branch::Cancel(_)),
        }
    }

    /// The first way in which branch number `mine` of `record` may complete with the slot at
    /// `peer`, by a branch of that one from number `least` on: by a meeting, or because it cancels
    /// that one.
    #[inline]
    pub(super) fn with(
        &self,
        record: &SlotRecord,
        mine: usize,
        (peer, least): (usize, usize),
    ) -> Option<Found> {
        let other = &self.run.slots[peer];
        let fitting = match record.branches[mine] {
            Branch::Send(channel) => Branch::Receive(channel),
            Branch::Receive(channel) => Branch::Send(channel),
            Branch::Cancel(tasklet) => {
                let cancels = tasklet == other.slot.tasklet
                    && least == 0
                    && !self.run.comes_late(record, other);
                let kind = Kind::Cancelled;
                let found = Found { kind, mine: mine as u16, peer: Some(peer), theirs: 0 };
                return cancels.then_some(found);
            }
            Branch::Default | Branch::Timer(_) | Branch::Limit(_) | Branch::Join(_) => return None,
        };
        let theirs = (least..other.branches.len()).find(|it| other.branches[*it] == fitting)?;
        if record.slot == other.slot || self.apart(record, other) {
            return None;
        }
        let (kind, mine, theirs) = (Kind::Meeting, mine as u16, theirs as u16);
        Some(Found { kind, mine, peer: Some(peer), theirs })
    }

    /// The event that was found for `record`.
    pub(super) fn event(&self, record: &SlotRecord, found: Found) -> Event {
        let mine = Offer { slot: record.slot, branch: found.mine };
        let Some(peer) = found.peer else {
            return Event { kind: found.kind, first: mine, second: None };
        };
        let theirs = Offer { slot: self.run.slots[peer].slot, branch: found.theirs };
        let (first, second) = match record.branches[usize::from(found.mine)] {
            Branch::Send(_) | Branch::Cancel(_) => (mine, theirs),
            _ => (theirs, mine),
        };
        Event { kind: found.kind, first, second: Some(second) }
    }

    /// Whether two slots never meet.
    #[inline]
    pub(super) fn apart(&self, one: &SlotRecord, other: &SlotRecord) -> bool {
        if one.branches.len() == 1 || other.branches.len() == 1 {
            return false; // who has nothing else to do waits
        }
        match self.missing {
            _ if self.rules.defect == Some(Defect::AlwaysMeet) => false,
            Some(missing) => {
                if self.run.may_be_ready(one) && self.run.may_be_ready(other) {
                    missing.set(true);
                }
                false
            }
            None => self.run.never_meet(one, other),
        }
    }
}
