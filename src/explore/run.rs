//! The record of one run: every slot with its offers and clock, every event in order, the verdict.
//!
//! Always: an event completes slots that were published before it; what is in the causal past of
//! an event stands before it in `events`; the trace id is the same for every order of independent
//! events.

use smallvec::SmallVec;
use std::panic::Location;

use super::asked::wanted;
use super::clock::Clock;
use super::details::Details;
use super::event::{Branch, ChannelName, Event, Kind, Names, Side, Slot, TaskletName};

/// One operation of one tasklet.
#[derive(Clone, Debug)]
pub struct SlotRecord {
    /// Which operation it is.
    pub slot: Slot,
    /// The ways in which it could complete.
    pub branches: SmallVec<[Branch; 2]>,
    /// What the value of each branch is told apart by, where the system says so; of no branch, if
    /// it never does.
    pub digests: Vec<Option<u64>>,
    /// What had to happen before the tasklet came here.
    pub clock: Clock,
    /// How many events had happened when the offers were published.
    pub published: usize,
    /// What the tasklet had observed before: see [`observe`](super::observe).
    pub(super) observed: u64,
    /// The virtual time at which they were published.
    pub time: u64,
    /// The event that completed the slot, if any did.
    pub consumed: Option<usize>,
}

/// One event of a run.
#[derive(Clone, Debug)]
pub struct EventRecord {
    /// What happened.
    pub event: Event,
    /// Everything that had to happen before.
    pub before: Clock,
}

/// What is known about one end of a channel.
#[derive(Clone, Debug, Default)]
pub struct EndRecord {
    /// The pasts of all drops of handles of this end.
    pub drops: Clock,
    /// Who dropped one, and the how manieth of its drops that was.
    pub(super) droppers: SmallVec<[(TaskletName, u32); 2]>,
    /// The latest time at which one was dropped.
    pub(super) time: u64,
    /// Whether the last handle is gone.
    pub closed: bool,
}

/// What is known about a tasklet that ended.
#[derive(Clone, Debug)]
pub(super) struct Over {
    /// All that happened before.
    pub(super) past: Clock,
    /// How many drops it had made when it last went on.
    pub(super) settled: u32,
    /// The time that it read last.
    pub(super) time: u64,
}

/// The advance of the virtual clock to a deadline; everything else is before it or after it.
#[derive(Clone, Debug)]
pub struct Tick {
    /// The time that was reached.
    pub time: u64,
    /// All that had happened.
    pub clock: Clock,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All tasklets ended.
    Finished,
    /// The root waits for ever.
    Deadlock,
    /// The root ended, and others wait for ever.
    LeftBehind,
    /// A tasklet did something that cannot be explored; which one, what and where.
    Refused(TaskletName, String),
    /// A tasklet panicked; the first one that did, and its message.
    Panicked(TaskletName, String),
    /// A tasklet depends on more than what it has received; which one, and how that was seen.
    NotIsolated(TaskletName, String),
    /// The same choices led to something else in another run; whose doing that was, as far as is
    /// known, and what was seen.
    NotDeterministic(TaskletName, String),
    /// The run has not ended after twice as many events as it may have, though nobody was passed
    /// over in the second half.
    Livelock,
    /// The run was stopped after as many events as it may have.
    StepBound,
    /// The search saw that the run leads to nothing it has not seen.
    Abandoned,
}

impl Outcome {
    /// Whether a run that ends so has shown a fault of the program.
    pub fn is_failure(&self) -> bool {
        match self {
            Outcome::Deadlock
            | Outcome::LeftBehind
            | Outcome::Panicked(..)
            | Outcome::Refused(..)
            | Outcome::NotIsolated(..)
            | Outcome::NotDeterministic(..)
            | Outcome::Livelock => true,
            Outcome::Finished | Outcome::StepBound | Outcome::Abandoned => false,
        }
    }

    /// The outcome in words.
    pub fn text(&self, names: &Names) -> String {
        match self {
            Outcome::Finished => String::from("finished"),
            Outcome::Deadlock => String::from("deadlock"),
            Outcome::LeftBehind => String::from("tasklets left behind"),
            Outcome::Panicked(who, what) => format!("{} panicked: {what}", names.tasklet(*who)),
            Outcome::Refused(who, what) => {
                format!("{} cannot be explored: {what}", names.tasklet(*who))
            }
            Outcome::NotIsolated(who, what) => {
                format!("{} is not isolated: {what}", names.tasklet(*who))
            }
            Outcome::NotDeterministic(who, what) => {
                format!("{} is not the same each time: {what}", names.tasklet(*who))
            }
            Outcome::Livelock => String::from(
                "livelock: no end after twice the events that a run may have, though nobody was \
                 passed over",
            ),
            Outcome::StepBound => String::from("stopped at the step bound"),
            Outcome::Abandoned => String::from("abandoned"),
        }
    }

    /// The tasklet that it is about, if it is about one.
    pub(super) fn tasklet(&self) -> Option<TaskletName> {
        match self {
            Outcome::Panicked(who, _)
            | Outcome::Refused(who, _)
            | Outcome::NotIsolated(who, _)
            | Outcome::NotDeterministic(who, _) => Some(*who),
            Outcome::Finished
            | Outcome::Deadlock
            | Outcome::LeftBehind
            | Outcome::Livelock
            | Outcome::StepBound
            | Outcome::Abandoned => None,
        }
    }

    /// Where in the source it panicked, if that is known.
    pub(super) fn panicked_at(&self) -> Option<&str> {
        let Outcome::Panicked(_, what) = self else { return None };
        what.rsplit_once(", at ").map(|it| it.1)
    }

    /// Whether two runs failed in the same way, apart from messages.
    pub fn same_class(&self, other: &Outcome) -> bool {
        match (self, other) {
            (Outcome::Panicked(one, _), Outcome::Panicked(two, _)) => {
                one == two && self.panicked_at() == other.panicked_at()
            }
            (Outcome::Refused(one, _), Outcome::Refused(two, _))
            | (Outcome::NotIsolated(one, _), Outcome::NotIsolated(two, _)) => one == two,
            // Each time another tasklet may be the one that is seen.
            (Outcome::NotDeterministic(..), Outcome::NotDeterministic(..)) => true,
            _ => self == other,
        }
    }
}

/// The record of one run.
///
/// ```
/// use tasklets::explore::{Outcome, Program, Settings, Side, TaskletName, every_choice};
/// use tasklets::{channel, spawn};
/// let pair = || {
///     let (tx, rx) = channel();
///     spawn(move || tx.send("hello"));
///     assert_eq!(rx.recv(), Ok("hello"));
/// };
/// let mut texts = Vec::new();
/// every_choice(&Program::new("pair", &pair), &Settings::default(), &mut |run, names| {
///     assert!(run.is_complete() && !run.outcome.is_failure());
///     assert_eq!(run.outcome.text(names), "finished");
///     texts.extend(run.events.iter().map(|it| it.event.text(names)));
///     // What an operation could do and where it stands, which ends are closed, who has ended.
///     let slot = run.slots.last().unwrap();
///     assert_eq!(run.slot(slot.slot).unwrap().branches, slot.branches);
///     assert!(run.place(slot.slot).is_some());
///     let channel = names.find_channel("root#0").unwrap();
///     assert!(run.end(channel, Side::Sender).unwrap().closed);
///     assert!(run.ended(TaskletName::ROOT).is_some());
///     assert!(run.outcome.same_class(&Outcome::Finished));
/// });
/// assert_eq!(texts, ["root.0@0.0 default", "root.0@1.0 -> root@0.0"]);
/// ```
#[derive(Clone, Debug)]
pub struct Run {
    /// All slots, in the order in which they were published.
    pub slots: Vec<SlotRecord>,
    /// The slots of each tasklet in order, as places in `slots`; indexed by tasklet.
    pub(super) of: Vec<Vec<usize>>,
    /// Where in the source each slot is, if the system says so.
    pub places: Vec<&'static Location<'static>>,
    /// All events in order.
    pub events: Vec<EventRecord>,
    /// Both ends of each channel, sender first; indexed by channel.
    pub(super) ends: Vec<[EndRecord; 2]>,
    /// The end of each tasklet that ended; indexed by tasklet.
    pub(super) ended: Vec<Option<Over>>,
    /// Who panicked, in order, and its past.
    pub(super) panics: Vec<(TaskletName, Clock)>,
    /// The advances of the clock, in order.
    pub ticks: Vec<Tick>,
    /// Who was spawned, in order: parent, child, and the parent's past at that moment.
    pub spawned: Vec<(TaskletName, TaskletName, Clock)>,
    /// Whether the root ended while others lived.
    pub(super) outlived: bool,
    /// Whether that is to end them: see [`Rules`](super::Rules).
    pub(super) endings: bool,
    /// Names and places, if the rules ask for them.
    pub(super) details: Option<Box<Details>>,
    /// How it ended.
    pub outcome: Outcome,
    /// Identifies the trace: equal for two runs exactly if the same slots met.
    pub trace: u64,
    /// Identifies the state at the end: equal for two runs whose tasklets have seen the same.
    pub state: u64,
}

impl Default for Run {
    fn default() -> Run {
        Run::new()
    }
}

impl Run {
    /// Forgets what happened; the memory stays.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.places.clear();
        self.panics.clear();
        self.details = None;
        self.of.iter_mut().for_each(Vec::clear);
        self.events.clear();
        self.ends.clear();
        self.ended.fill(None);
        self.ticks.clear();
        self.spawned.clear();
        (self.outlived, self.endings) = (false, false);
        (self.outcome, self.trace, self.state) = (Outcome::Abandoned, 0, 0);
    }

    /// Nothing has happened.
    pub(super) fn new() -> Run {
        Run {
            slots: Vec::new(),
            places: Vec::new(),
            of: Vec::new(),
            events: Vec::new(),
            ends: Vec::new(),
            ended: Vec::new(),
            panics: Vec::new(),
            ticks: Vec::new(),
            spawned: Vec::new(),
            outlived: false,
            endings: false,
            details: None,
            outcome: Outcome::Abandoned,
            trace: 0,
            state: 0,
        }
    }

    /// The record of a slot, if the run had it.
    pub fn slot(&self, slot: Slot) -> Option<&SlotRecord> {
        let place = self.of.get(slot.tasklet.index())?.get(slot.nth as usize)?;
        Some(&self.slots[*place])
    }

    /// Where in the source a slot is, if the system says so.
    pub fn place(&self, slot: Slot) -> Option<&'static Location<'static>> {
        let place = self.of.get(slot.tasklet.index())?.get(slot.nth as usize)?;
        self.places.get(*place).copied()
    }

    /// What is known about one end of a channel.
    pub fn end(&self, channel: ChannelName, side: Side) -> Option<&EndRecord> {
        self.ends.get(channel.index()).map(|ends| &ends[side as usize])
    }

    /// Whether one end of a channel has no handle any more.
    #[inline]
    pub(super) fn is_closed(&self, channel: ChannelName, side: Side) -> bool {
        self.end(channel, side).is_some_and(|it| it.closed)
    }

    /// The past of the end of a tasklet.
    pub fn ended(&self, tasklet: TaskletName) -> Option<&Clock> {
        self.over(tasklet).map(|it| &it.past)
    }

    /// The end of a tasklet.
    pub(super) fn over(&self, tasklet: TaskletName) -> Option<&Over> {
        self.ended.get(tasklet.index())?.as_ref()
    }

    /// Whether `event` is that the end of the root cancels the others: only that completes an
    /// operation in which the root waits for its own end.
    pub(super) fn is_ending(&self, event: &Event) -> bool {
        let root = TaskletName::ROOT;
        event.kind == Kind::Ended
            && event.first.slot.tasklet == root
            && self.slot(event.first.slot).is_some_and(|it| it.branches[..] == [Branch::Join(root)])
    }

    /// Whether the end of the root has cancelled the others.
    pub(super) fn is_ended(&self) -> bool {
        self.endings && self.events.iter().any(|it| self.is_ending(&it.event))
    }

    /// Whether the run came to its own end, so that its trace is a whole one.
    pub fn is_complete(&self) -> bool {
        self.outcome != Outcome::Abandoned && self.outcome != Outcome::StepBound
    }

    /// How `branch` of `slot` can complete alone, as far as has happened.
    #[inline(always)]
    pub(super) fn kind_alone(&self, slot: &SlotRecord, branch: Branch, lax: bool) -> Option<Kind> {
        match wanted(branch) {
            Some((channel, peers)) => self.is_closed(channel, peers).then_some(Kind::Closed),
            None => self.kind_by_itself(slot, branch, lax),
        }
    }

    fn kind_by_itself(&self, slot: &SlotRecord, branch: Branch, lax: bool) -> Option<Kind> {
        let (kind, can) = match branch {
            Branch::Send(_) | Branch::Receive(_) => return None,
            Branch::Default => (Kind::Default, !self.is_sure(slot)),
            Branch::Limit(deadline) if (lax || deadline <= slot.time) && self.is_sure(slot) => {
                return None;
            }
            Branch::Timer(deadline) | Branch::Limit(deadline) if lax => {
                let earlier = |it: &Branch| match *it {
                    Branch::Timer(at) => at < deadline,
                    Branch::Limit(at) => at < deadline && !self.is_sure(slot),
                    _ => false,
                };
                (Kind::Timer, !slot.branches.iter().any(earlier))
            }
            Branch::Timer(deadline) | Branch::Limit(deadline) => {
                let reached = || self.ticks.iter().any(|it| it.time >= deadline);
                (Kind::Timer, deadline <= slot.time || reached())
            }
            Branch::Join(other) | Branch::Cancel(other) => {
                (Kind::Ended, self.ended(other).is_some())
            }
        };
        can.then_some(kind)
    }

    /// Whether an operation of `slot` is sure to be ready when it is tried first, so that there is
    /// neither a default nor a time limit.
    fn is_sure(&self, slot: &SlotRecord) -> bool {
        slot.branches.iter().any(|it| match it {
            Branch::Default | Branch::Limit(_) => false,
            _ => self.ready_within(slot, *it, &slot.clock),
        })
    }

    /// What must have happened before `branch` of `slot` can complete alone, and how it then does;
    /// none if in this run it never could.
    pub(super) fn alone(
        &self,
        slot: &SlotRecord,
        branch: Branch,
        lax: bool,
    ) -> Option<(Kind, Clock)> {
        let kind = self.kind_alone(slot, branch, lax)?;
        let gone = |channel, side| self.end(channel, side).map(|it| it.drops.clone());
        let past = match branch {
            Branch::Send(channel) => gone(channel, Side::Receiver),
            Branch::Receive(channel) => gone(channel, Side::Sender),
            Branch::Timer(deadline) | Branch::Limit(deadline) if !lax && deadline > slot.time => {
                let tick = self.ticks.iter().find(|it| it.time >= deadline);
                tick.map(|it| it.clock.clone())
            }
            Branch::Default | Branch::Timer(_) | Branch::Limit(_) => None,
            Branch::Join(other) => self.ended(other).cloned(),
            // It comes too late as soon as the last operation is over: what the tasklet drops
            // after that may come later still.
            Branch::Cancel(other) => {
                self.over(other).map(|it| it.past.with_drops(other, it.settled))
            }
        };
        Some((kind, past.unwrap_or_default()))
    }

    /// Whether `branch` is sure to be ready, when `past` has happened, before any peer comes.
    fn ready_within(&self, slot: &SlotRecord, branch: Branch, past: &Clock) -> bool {
        let gone = |channel, side| {
            self.end(channel, side).is_some_and(|it| it.closed && it.drops.within(past))
        };
        match branch {
            Branch::Send(channel) => gone(channel, Side::Receiver),
            Branch::Receive(channel) => gone(channel, Side::Sender),
            Branch::Default => true,
            // A later deadline is a peer like any other: it may come late.
            Branch::Timer(deadline) | Branch::Limit(deadline) => deadline <= slot.time,
            Branch::Join(other) => self.ended(other).is_some_and(|it| it.within(past)),
            Branch::Cancel(_) => false,
        }
    }

    /// Whether two slots can never meet because neither of them ever waits.
    ///
    /// It is a function of the two slots and their pasts only, so whether two events are
    /// independent does not depend on it.
    pub(super) fn never_meet(&self, one: &SlotRecord, other: &SlotRecord) -> bool {
        if !self.may_be_ready(one) || !self.may_be_ready(other) {
            return false;
        }
        let past = one.clock.joined(&other.clock);
        let never_waits =
            |slot: &SlotRecord| slot.branches.iter().any(|it| self.ready_within(slot, *it, &past));
        never_waits(one) && never_waits(other)
    }

    /// Whether `slot`, which stops the tasklet of `other`, comes too late for that slot: there the
    /// tasklet only lets others stop it before it runs on, and `slot` knows that it has run on.
    pub(super) fn comes_late(&self, slot: &SlotRecord, other: &SlotRecord) -> bool {
        let Slot { tasklet, nth } = other.slot;
        if other.branches[..] != [Branch::Default, Branch::Join(tasklet)] {
            return false;
        }
        let before = nth.checked_sub(1).and_then(|nth| self.slot(Slot { tasklet, nth }));
        slot.clock.drops(tasklet) > before.map_or(0, |it| it.clock.drops(tasklet))
    }

    /// Whether some branch of `slot` could be ready before any peer comes, in some past.
    pub(super) fn may_be_ready(&self, slot: &SlotRecord) -> bool {
        slot.branches.iter().any(|branch| match *branch {
            Branch::Send(channel) => self.ends[channel.index()][Side::Receiver as usize].closed,
            Branch::Receive(channel) => self.ends[channel.index()][Side::Sender as usize].closed,
            Branch::Default | Branch::Timer(_) | Branch::Limit(_) | Branch::Join(_) => true,
            Branch::Cancel(_) => false,
        })
    }
}
