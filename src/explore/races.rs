//! Races of a run: what could have happened instead, and from which node it has to be tried.
//!
//! Always: an alternative is tried from the node of the earlier event that took one of its slots
//! away, and only by way of its own causal past; so every trace that contains the alternative
//! begins with one of the events that are asked for.
//!
//! A sleeping event that is independent of the whole way does not make the way superfluous, as it
//! does where processes have one next step: a later event may still take one of its slots.

use super::Defect;
use super::clock::Clock;
use super::dpor::Node;
use super::event::{Branch, Event, Kind, Offer};
use super::run::{Run, SlotRecord};
use super::system::Rules;

/// Finds the races of runs; keeps its tables between them.
#[derive(Debug)]
pub(super) struct Races {
    rules: Rules,
    /// The receiving branches on each channel, as places in the run's slots; indexed by channel.
    receivers: Vec<Vec<(usize, u16)>>,
}

impl Races {
    /// No run was seen.
    pub(super) fn new(rules: Rules) -> Races {
        Races { rules, receivers: Vec::new() }
    }

    /// Adds to `stack` what has to be tried because of `run`, whose path differs from that of the
    /// run before from node `fresh` on.
    pub(super) fn add(&mut self, run: &Run, fresh: usize, stack: &mut [Node]) {
        self.index(run);
        let mut found = Found { run, fresh, stack, defect: self.rules.defect };
        for record in &run.slots {
            for (index, branch) in record.branches.iter().enumerate() {
                let first = Offer { slot: record.slot, branch: index as u16 };
                if self.rules.defect != Some(Defect::ForgetAlone)
                    && let Some((kind, past)) = run.alone(record, *branch, self.rules.lax_timers)
                {
                    found.alone(record, Event { kind, first, second: None }, &past);
                }
                match *branch {
                    Branch::Send(channel) => {
                        if self.rules.defect == Some(Defect::ForgetMeetings) {
                            continue;
                        }
                        for (place, branch) in &self.receivers[channel.index()] {
                            let peer = &run.slots[*place];
                            let second = Some(Offer { slot: peer.slot, branch: *branch });
                            let event = Event { kind: Kind::Meeting, first, second };
                            found.pair(record, peer, event);
                        }
                    }
                    Branch::Cancel(target) => {
                        if self.rules.defect == Some(Defect::ForgetCancels) {
                            continue;
                        }
                        for place in &run.of[target.index()] {
                            let peer = &run.slots[*place];
                            let second = Some(Offer { slot: peer.slot, branch: 0 });
                            let event = Event { kind: Kind::Cancelled, first, second };
                            found.pair(record, peer, event);
                        }
                    }
                    Branch::Receive(_) | Branch::Default | Branch::Timer(_) | Branch::Join(_) => {}
                }
            }
        }
    }

    fn index(&mut self, run: &Run) {
        self.receivers.iter_mut().for_each(Vec::clear);
        if self.receivers.len() < run.ends.len() {
            self.receivers.resize_with(run.ends.len(), Vec::new);
        }
        for (place, record) in run.slots.iter().enumerate() {
            for (index, branch) in record.branches.iter().enumerate() {
                if let Branch::Receive(channel) = branch {
                    self.receivers[channel.index()].push((place, index as u16));
                }
            }
        }
    }
}

/// Where the races of one run go.
struct Found<'a> {
    run: &'a Run,
    fresh: usize,
    stack: &'a mut [Node],
    defect: Option<Defect>,
}

impl Found<'_> {
    /// Two slots that `event` would complete.
    fn pair(&mut self, one: &SlotRecord, other: &SlotRecord, event: Event) {
        if one.slot.tasklet == other.slot.tasklet {
            return;
        }
        let taken = [one.consumed, other.consumed].into_iter().flatten().min();
        // If neither is taken, they wait at the end and the search knows why.
        let Some(taken) = taken else { return };
        let known = one.published.max(other.published) <= self.fresh && taken < self.fresh;
        let apart = other.clock.has(one.slot) || one.clock.has(other.slot);
        if known || apart || self.run.events[taken].event == event {
            return;
        }
        if event.kind == Kind::Meeting && self.run.never_meet(one, other) {
            return;
        }
        self.demand(taken, &one.clock.joined(&other.clock), event);
    }

    /// A slot that `event` would complete alone, once `past` has happened.
    fn alone(&mut self, record: &SlotRecord, event: Event, past: &Clock) {
        let Some(taken) = record.consumed else { return };
        if past.has(record.slot) || self.run.events[taken].event == event {
            return;
        }
        self.demand(taken, &record.clock.joined(past), event);
    }

    /// Sees to it that `event`, with its `past`, is tried instead of the event at `taken`.
    fn demand(&mut self, taken: usize, past: &Clock, event: Event) {
        let taken = match self.defect {
            Some(Defect::WrongPlace) => taken.saturating_sub(1),
            _ => taken,
        };
        let events = &self.run.events;
        let way: Vec<usize> = (taken + 1..events.len())
            .filter(|it| past.has(events[*it].event.first.slot))
            .filter(|_| self.defect != Some(Defect::ForgetPast))
            .collect();
        let begins = |index: &&usize| {
            let before = &events[**index].before;
            !way.iter()
                .take_while(|it| it < index)
                .any(|it| before.has(events[*it].event.first.slot))
        };
        let mut first: Vec<Event> = way.iter().filter(begins).map(|it| events[*it].event).collect();
        if way.is_empty() {
            first.push(event);
        }
        let node = &mut self.stack[taken];
        if !node.covers(&first) {
            node.todo.push(first[0]);
        }
    }
}
