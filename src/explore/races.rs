//! Races of a run: what could have happened instead, and from which node it has to be tried.
//!
//! A race is an event of the run, and another that would have completed one of its slots and was
//! possible beside all that does not depend on it. To reverse it is to keep everything of the run
//! that depends on neither of the events which took the slots away, and then to let the other
//! happen.
//!
//! Always: a reversal is tried from the node of the earlier event that took one of the slots away;
//! it is left out only if it leaves an event possible that sleeps there, because then all that it
//! leads to was seen, or is found from the runs that were.
//!
//! The tables keep what they say about the part of a run that the next one has in common with it.

use super::Defect;
use super::dpor::Node;
use super::event::{Branch, Event, Kind, Offer, TaskletName};
use super::run::{Run, SlotRecord};
use super::system::Rules;
use super::wakeup::{Bits, Reversal};

/// A branch of a slot, by the slot's place in the run.
type Place = (usize, u16);

/// Finds the races of runs; keeps its tables between them.
#[derive(Debug)]
pub(super) struct Races {
    rules: Rules,
    /// The branches of each tasklet that receive on each channel, in the order of slots; indexed
    /// by channel and tasklet.
    receivers: Vec<Vec<Vec<Place>>>,
    /// The branches that send.
    senders: Vec<Vec<Vec<Place>>>,
    /// The branches that cancel each tasklet.
    cancels: Vec<Vec<Place>>,
    /// Branches that those of a slot may have met. Memory.
    peers: Vec<Place>,
    /// Events of two slots that were possible at the same time, with the places of the slots.
    pairs: Vec<(usize, usize, Event)>,
    /// For each event of the run those that have it in their past, and itself.
    future: Vec<Bits>,
    /// How many slots of the run are in the tables.
    slots: usize,
}

impl Races {
    /// No run was seen.
    pub(super) fn new(rules: Rules) -> Races {
        Races {
            rules,
            receivers: Vec::new(),
            senders: Vec::new(),
            cancels: Vec::new(),
            peers: Vec::new(),
            pairs: Vec::new(),
            future: Vec::new(),
            slots: 0,
        }
    }

    /// Adds to `stack` what has to be tried because of `run`, whose path differs from that of the
    /// run before from node `fresh` on.
    pub(super) fn add(&mut self, run: &Run, fresh: usize, stack: &mut [Node]) {
        self.forget(run, fresh);
        self.learn(run);
        let mut found = Found { run, future: &self.future, stack, defect: self.rules.defect };
        for (one, other, event) in &self.pairs {
            let (one, other) = (run.slots[*one].consumed, run.slots[*other].consumed);
            match (one, other) {
                (Some(one), Some(other)) => found.reverse(one.min(other), one.max(other), *event),
                (Some(taken), None) | (None, Some(taken)) => found.reverse(taken, taken, *event),
                // They wait at the end, and the search knows why.
                (None, None) => {}
            }
        }
        if self.rules.defect == Some(Defect::ForgetAlone) {
            return;
        }
        for record in &run.slots {
            let Some(taken) = record.consumed else { continue };
            for (index, branch) in record.branches.iter().enumerate() {
                let first = Offer { slot: record.slot, branch: index as u16 };
                if let Some((kind, past)) = run.alone(record, *branch, self.rules.lax_timers)
                    && !past.has(record.slot)
                {
                    found.reverse(taken, taken, Event { kind, first, second: None });
                }
            }
        }
    }

    /// All that could have happened in `run` and did not.
    pub(super) fn alternatives(&mut self, run: &Run) -> Vec<Event> {
        self.forget(run, 0);
        self.learn(run);
        let taken = |it: usize| run.slots[it].consumed;
        let other = |taken: Option<usize>, event: &Event| {
            taken.is_some_and(|it| run.events[it].event != *event)
        };
        let pairs = self.pairs.iter().filter(|(one, two, event)| {
            other(taken(*one).into_iter().chain(taken(*two)).min(), event)
        });
        let mut all: Vec<_> = pairs.map(|it| it.2).collect();
        for record in &run.slots {
            for (index, branch) in record.branches.iter().enumerate() {
                let first = Offer { slot: record.slot, branch: index as u16 };
                let way = run.alone(record, *branch, self.rules.lax_timers);
                let way = way.filter(|it| !it.1.has(record.slot));
                let event = way.map(|it| Event { kind: it.0, first, second: None });
                all.extend(event.filter(|it| other(record.consumed, it)));
            }
        }
        all
    }

    /// Drops all that the run before had from node `fresh` on.
    fn forget(&mut self, run: &Run, fresh: usize) {
        let common = run.slots.partition_point(|it| it.published <= fresh);
        self.slots = self.slots.min(common);
        let (slots, old) = (self.slots, |it: &Place, slots: usize| it.0 < slots);
        let channels = self.receivers.iter_mut().chain(&mut self.senders).flatten();
        for places in channels.chain(&mut self.cancels) {
            places.truncate(places.partition_point(|it| old(it, slots)));
        }
        let newest = |it: &(usize, usize, Event)| it.0.max(it.1);
        self.pairs.truncate(self.pairs.partition_point(|it| newest(it) < slots));
        self.future.truncate(fresh);
        self.future.iter_mut().for_each(|it| it.truncate(fresh));
    }

    /// Adds all that the run has more.
    fn learn(&mut self, run: &Run) {
        let ends = run.ends.len().max(self.receivers.len());
        self.receivers.resize_with(ends, Vec::new);
        self.senders.resize_with(ends, Vec::new);
        self.cancels.resize_with(run.of.len().max(self.cancels.len()), Vec::new);
        for place in self.slots..run.slots.len() {
            self.meet(run, place);
        }
        self.slots = run.slots.len();
        for later in self.future.len()..run.events.len() {
            let before = &run.events[later].before;
            for (earlier, future) in self.future.iter_mut().enumerate() {
                if before.has(run.events[earlier].event.first.slot) {
                    future.insert(later);
                }
            }
            let mut own = Bits::default();
            own.insert(later);
            self.future.push(own);
        }
    }

    /// Pairs the slot at `place` with those before it.
    fn meet(&mut self, run: &Run, place: usize) {
        let record = &run.slots[place];
        let meetings = self.rules.defect != Some(Defect::ForgetMeetings);
        let cancels = self.rules.defect != Some(Defect::ForgetCancels);
        for (index, branch) in record.branches.iter().enumerate() {
            let mine = (place, index as u16);
            match *branch {
                Branch::Send(channel) if meetings => {
                    concurrent(run, record, &self.receivers[channel.index()], &mut self.peers);
                    let all = self.peers.iter().map(|it| (mine, *it));
                    pair(run, &mut self.pairs, Kind::Meeting, all);
                    add(&mut self.senders[channel.index()], record, mine);
                }
                Branch::Receive(channel) if meetings => {
                    concurrent(run, record, &self.senders[channel.index()], &mut self.peers);
                    let all = self.peers.iter().map(|it| (*it, mine));
                    pair(run, &mut self.pairs, Kind::Meeting, all);
                    add(&mut self.receivers[channel.index()], record, mine);
                }
                Branch::Cancel(target) if cancels => {
                    let peers = run.of[target.index()].iter().filter(|it| **it < place);
                    let all = peers.map(|it| (mine, (*it, 0)));
                    pair(run, &mut self.pairs, Kind::Cancelled, all);
                    self.cancels[target.index()].push(mine);
                }
                Branch::Send(_)
                | Branch::Receive(_)
                | Branch::Cancel(_)
                | Branch::Default
                | Branch::Timer(_)
                | Branch::Limit(_)
                | Branch::Join(_) => {}
            }
        }
        let peers = &self.cancels[record.slot.tasklet.index()];
        let all = peers.iter().map(|it| (*it, (place, 0)));
        pair(run, &mut self.pairs, Kind::Cancelled, all);
    }
}

/// Puts into `peers` those at one end of a channel that are not in the past of `record`, in the
/// order of slots.
fn concurrent(run: &Run, record: &SlotRecord, end: &[Vec<Place>], peers: &mut Vec<Place>) {
    peers.clear();
    for (tasklet, places) in end.iter().enumerate() {
        let past = record.clock.slots(TaskletName::numbered(tasklet));
        let first = places.partition_point(|it| run.slots[it.0].slot.nth < past);
        peers.extend_from_slice(&places[first..]);
    }
    peers.sort_unstable();
}

/// Adds a branch of `record` to one end of a channel.
fn add(end: &mut Vec<Vec<Place>>, record: &SlotRecord, branch: Place) {
    let tasklet = record.slot.tasklet.index();
    if end.len() <= tasklet {
        end.resize_with(tasklet + 1, Vec::new);
    }
    end[tasklet].push(branch);
}

/// Adds those of `all` that were possible at the same time.
fn pair(
    run: &Run,
    pairs: &mut Vec<(usize, usize, Event)>,
    kind: Kind,
    all: impl Iterator<Item = (Place, Place)>,
) {
    for ((one, mine), (other, theirs)) in all {
        let (first, second) = (&run.slots[one], &run.slots[other]);
        let apart = second.clock.has(first.slot) || first.clock.has(second.slot);
        if apart || first.slot.tasklet == second.slot.tasklet {
            continue;
        }
        if kind == Kind::Meeting && run.never_meet(first, second) {
            continue;
        }
        if kind == Kind::Cancelled && run.comes_late(first, second) {
            continue;
        }
        let (first, second) = (first.slot, second.slot);
        let first = Offer { slot: first, branch: mine };
        let second = Some(Offer { slot: second, branch: theirs });
        pairs.push((one, other, Event { kind, first, second }));
    }
}

/// Where the races of one run go.
struct Found<'a> {
    run: &'a Run,
    future: &'a [Bits],
    stack: &'a mut [Node],
    defect: Option<Defect>,
}

impl Found<'_> {
    /// Sees to it that `event` is tried instead of the events at `taken` and at `also`.
    fn reverse(&mut self, taken: usize, also: usize, event: Event) {
        if self.run.events[taken].event == event {
            return;
        }
        let mut keeps = Bits::range(taken + 1, self.run.events.len());
        keeps.subtract(&self.future[taken]);
        keeps.subtract(&self.future[also]);
        if self.defect == Some(Defect::ForgetPast) {
            keeps = Bits::default();
        }
        if self.defect == Some(Defect::KeepPastOnly) {
            let clocks = event.offers().filter_map(|it| self.run.slot(it.slot));
            let clocks: Vec<_> = clocks.map(|it| &it.clock).collect();
            let first = |it: usize| self.run.events[it].event.first.slot;
            let past = |it: &usize| clocks.iter().any(|clock| clock.has(first(*it)));
            let others: Vec<_> = keeps.iter().filter(|it| !past(it)).collect();
            others.into_iter().for_each(|it| keeps.remove(it));
        }
        let node = match self.defect {
            Some(Defect::WrongPlace) => taken.saturating_sub(1),
            _ => taken,
        };
        let node = &mut self.stack[node];
        let reversal = Reversal { run: self.run, keeps, event };
        if !node.makes_superfluous(&reversal) || self.defect == Some(Defect::AskSleepers) {
            reversal.insert(&mut node.todo);
        }
    }
}
