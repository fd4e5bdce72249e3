//! What is known about each tasklet during a run, the state that all of it makes, and the memory
//! that one run leaves to the next.
//!
//! Always: two runs with the same state have the same futures.

use super::asked::Asked;
use super::board::Board;
use super::clock::Clock;
use super::event::{Branch, Event, Kind, Names, Side, Slot, TaskletName, mix};
use super::run::{Run, Tick};

/// What the board knows about a tasklet that runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// Its past, up to the present moment.
    pub(super) clock: Clock,
    /// How many drops it had made when it last went on; cancellations do not count.
    pub(super) settled: u32,
    /// How many children it has spawned.
    pub(super) children: u32,
    /// How many channels it has made.
    pub(super) channels: u32,
    /// Hash of all it has seen.
    pub(super) view: u64,
    /// Hash of what the program says that it has seen.
    pub(super) observed: u64,
    /// Hash of all it has met.
    pub(super) trace: u64,
    /// The latest time in its past.
    pub(super) time: u64,
    /// Whether it is part of this run and has not ended.
    pub(super) alive: bool,
    /// Whether it may be left behind.
    pub(super) daemon: bool,
}

/// What a run needs memory for; it is used again by the next one.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// The record; it is taken out of here, and may be put back.
    pub(super) run: Run,
    pub(super) live: Vec<Live>,
    pub(super) pending: Vec<Option<usize>>,
    pub(super) asked: Asked,
    pub(super) enabled: Vec<Event>,
    /// Whether runs are recorded without clocks and views, which few need.
    pub(super) light: bool,
    /// Set if the last run was given up because it could not go on without clocks.
    pub(super) missing: bool,
}

impl Board<'_> {
    /// Lets time pass up to the next deadline; whether there was one.
    #[inline(never)]
    pub(super) fn tick(&mut self) -> bool {
        let branches = self.pending.iter().flatten().flat_map(|it| &self.run.slots[*it].branches);
        let deadlines = branches.filter_map(|it| match it {
            Branch::Timer(deadline) | Branch::Limit(deadline) => Some(*deadline),
            Branch::Send(_)
            | Branch::Receive(_)
            | Branch::Default
            | Branch::Join(_)
            | Branch::Cancel(_) => None,
        });
        let Some(time) = deadlines.min() else { return false };
        let mut clock = Clock::default();
        for live in &self.live {
            clock.join(&live.clock);
        }
        self.now = time;
        self.stale = true;
        self.run.ticks.push(Tick { time, clock });
        true
    }

    /// What time it is for the tasklets of `event` after it: the latest of all that it depends on.
    pub(super) fn time_after(&self, event: Event) -> u64 {
        let times = event.offers().map(|it| self.live[it.slot.tasklet.index()].time);
        let time = times.max().unwrap_or(0);
        let slot = self.run.slot(event.first.slot).filter(|_| event.second.is_none());
        let gone = |channel, side| self.run.end(channel, side).map(|it| it.time);
        let other = slot.and_then(|it| match it.branches[usize::from(event.first.branch)] {
            Branch::Timer(deadline) | Branch::Limit(deadline) => Some(deadline),
            Branch::Send(channel) => gone(channel, Side::Receiver),
            Branch::Receive(channel) => gone(channel, Side::Sender),
            Branch::Join(other) | Branch::Cancel(other) => self.run.over(other).map(|it| it.time),
            Branch::Default => None,
        });
        other.map_or(time, |it| it.max(time))
    }

    /// The tasklets of `event` know of each other what they now know; says what they knew before.
    ///
    /// Who cancels does not know what the other drops in its present local step: that one may have
    /// been met, and be about to run.
    pub(super) fn look(&mut self, event: Event) -> Clock {
        let mut before = self.run.ticks.last().map(|it| it.clock.clone()).unwrap_or_default();
        before.join(&self.live[event.first.slot.tasklet.index()].clock);
        let cancelled = event.second.filter(|_| event.kind == Kind::Cancelled);
        if let Some(Slot { tasklet, .. }) = event.second.map(|it| it.slot) {
            let Live { clock, settled, .. } = &self.live[tasklet.index()];
            let drops = if cancelled.is_some() { *settled } else { clock.drops(tasklet) };
            before.join(&clock.with_drops(tasklet, drops));
        }
        let (tasklet, index) = (event.first.slot.tasklet.index(), usize::from(event.first.branch));
        let first = &self.run.slots[self.run.of[tasklet][event.first.slot.nth as usize]];
        if event.second.is_none()
            && let Some((_, past)) =
                self.run.alone(first, first.branches[index], self.rules.lax_timers)
        {
            before.join(&past);
        }
        let told = first.digests.get(index).copied().flatten();
        let value =
            told.unwrap_or_else(|| mix(self.live[tasklet].view, u64::from(event.first.branch)));
        let mut after = before.clone();
        event.offers().for_each(|it| after.finish(it.slot));
        for offer in event.offers() {
            let who = offer.slot.tasklet;
            let live = &mut self.live[who.index()];
            if cancelled == Some(offer) {
                live.clock.join(&after);
            } else {
                live.clock.clone_from(&after);
                live.settled = after.drops(who);
            }
            live.view = mix(live.view, event.role(offer) << 16 | u64::from(offer.branch));
            if event.kind == Kind::Meeting && offer != event.first {
                live.view = mix(live.view, value);
            }
        }
        before
    }
}

impl Desk {
    /// A desk whose runs are recorded without clocks, if they can be.
    pub(super) fn light() -> Desk {
        Desk { light: true, ..Desk::default() }
    }
}

/// Equal for two states that have the same futures.
///
/// A state is what each tasklet has seen. It is also who knows of which drop and of which end,
/// because that decides which selects can meet; and the time.
pub(super) fn state_key(
    names: &Names,
    run: &Run,
    (live, pending): (&[Live], &[Option<usize>]),
    now: u64,
) -> u64 {
    let mut key = mix(0, now);
    for (index, one) in live.iter().enumerate() {
        let tasklet = TaskletName(index as u32);
        if run.of[index].is_empty() && run.ended[index].is_none() {
            continue;
        }
        let mut word = mix(mix(one.view, u64::from(one.alive)), one.time);
        if let Some(place) = pending[index] {
            word = mix(word, run.slots[place].time);
        }
        for (place, end) in run.ends.iter().flatten().enumerate() {
            for (by, nth) in &end.droppers {
                if one.clock.drops(*by) >= *nth {
                    let drop = mix(names.print_of(*by), u64::from(*nth) ^ (place as u64) << 48);
                    word = word.wrapping_add(drop);
                }
            }
        }
        let ended =
            run.ended.iter().enumerate().filter_map(|(who, it)| Some((who, &it.as_ref()?.past)));
        for (who, past) in ended {
            let who = TaskletName(who as u32);
            let (slots, drops) = (past.slots(who), past.drops(who));
            if one.clock.slots(who) >= slots && one.clock.drops(who) >= drops {
                let end = u64::from(slots) << 32 | u64::from(drops);
                word = word.wrapping_add(mix(names.print_of(who), end));
            }
        }
        key = key.wrapping_add(mix(names.print_of(tasklet), word));
    }
    key
}
