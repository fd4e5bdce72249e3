//! The table of published offers of one run: what a system reports, and what may happen next.
//!
//! Always: between two choices every tasklet that has not ended has exactly one slot on the board;
//! the events that may happen are listed in the order of spawn paths, whatever order the system
//! reported in.

use std::cell::Cell;
use std::panic::Location;

use smallvec::SmallVec;

use super::asked::Asked;
use super::clock::Clock;
use super::event::{Branch, ChannelName, Event, Names, Offer, Side, Slot, TaskletName, mix};
use super::listing::Waiting;
use super::live::{Desk, Live, state_key};
use super::notes::Doubt;
use super::run::{EventRecord, Outcome, Over, Run, SlotRecord};
use super::system::{Choice, Choose, Enabled, Rules};

/// How many branches an operation may have; each has a number of 16 bits.
pub(super) const BRANCHES_MAX: usize = 1 << 16;
pub(super) const TOO_MANY_BRANCHES: &str = "an operation of more than 65,536 branches";

/// The offers of one run, and its record so far.
///
/// ```
/// use tasklets::explore::{Board, Branch, Outcome, Settings, Side, System, TaskletName, exhaust};
///
/// /// A child sends a number, or finds that the root has gone; then it panics.
/// struct Gone;
///
/// impl System for Gone {
///     fn run(&self, board: &mut Board<'_>) {
///         let root = TaskletName::ROOT;
///         let (channel, child) = (board.channel(root), board.spawn(root));
///         board.daemon(child); // it may be left behind
///         board.observe(child, 7); // what it computes with
///         board.offer_with(child, [(Branch::Send(channel), Some(7))]); // the value's digest
///         let soon = board.now(root) + 1_000;
///         board.offer(root, &[Branch::Receive(channel), Branch::Timer(soon)]);
///         while let Some(event) = board.choose() {
///             if event.involves(root) {
///                 board.drop_end(root, channel, Side::Receiver, true);
///                 board.end(root);
///             }
///             if event.involves(child) {
///                 board.panicked(child, format!("in {}", board.names().tasklet(child)));
///                 board.end(child);
///             }
///         }
///     }
/// }
///
/// let verdict = exhaust(&Gone, &Settings::default());
/// let Outcome::Panicked(_, what) = &verdict.failures[0].outcome else { panic!("{verdict}") };
/// assert_eq!((verdict.exhausted, what.as_str()), (true, "in root.0"));
/// ```
pub struct Board<'a> {
    pub(super) names: &'a mut Names,
    pub(super) rules: Rules,
    /// Who chooses; none while it does.
    choose: Option<&'a mut dyn Choose>,
    /// Whether it finds events without a list.
    finds: bool,
    pub(super) run: Run,
    /// Indexed by tasklet.
    pub(super) live: Vec<Live>,
    /// The slot of each tasklet that waits, as a place in the run's; indexed by tasklet.
    pub(super) pending: Vec<Option<usize>>,
    pub(super) asked: Asked,
    /// Everything that may happen at the present quiet point, if it was listed.
    enabled: Vec<Event>,
    /// How many slots had been published at the last one.
    known: usize,
    /// Whether what was listed last may be more or less without them: an end was closed, a tasklet
    /// ended, time passed, or somebody chose without a list.
    pub(super) stale: bool,
    /// Whether the record has no clocks, and whether they would have been needed.
    pub(super) light: bool,
    missing: Cell<bool>,
    /// The virtual time.
    pub(super) now: u64,
    /// The first panic.
    pub(super) panic: Option<(TaskletName, String)>,
    /// The first thing that cannot be explored.
    pub(super) refused: Option<(TaskletName, String)>,
    /// The first thing that was explored in one way only.
    pub(super) doubted: Option<Doubt>,
    /// Set when the run was stopped from outside.
    pub(super) stopped: Option<Outcome>,
}

impl std::fmt::Debug for Board<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("run", &self.run).finish_non_exhaustive()
    }
}

impl<'a> Board<'a> {
    /// A board with the root on it, which has not published anything.
    pub(super) fn new(
        names: &'a mut Names,
        desk: &mut Desk,
        rules: Rules,
        choose: &'a mut dyn Choose,
    ) -> Board<'a> {
        let mut run = std::mem::take(&mut desk.run);
        let mut live = std::mem::take(&mut desk.live);
        let mut pending = std::mem::take(&mut desk.pending);
        let mut asked = std::mem::take(&mut desk.asked);
        let mut enabled = std::mem::take(&mut desk.enabled);
        asked.clear();
        run.clear();
        live.iter_mut().for_each(|it| *it = Live::default());
        pending.fill(None);
        enabled.clear();
        run.endings = rules.endings;
        let mut board = Board {
            names,
            rules,
            finds: choose.finds(),
            choose: Some(choose),
            run,
            live,
            pending,
            asked,
            enabled,
            known: 0,
            stale: true,
            light: desk.light,
            missing: Cell::new(false),
            now: 0,
            panic: None,
            refused: None,
            doubted: None,
            stopped: None,
        };
        board.live(TaskletName::ROOT).alive = true;
        board
    }

    /// The names of this session.
    pub fn names(&self) -> &Names {
        self.names
    }

    #[inline]
    pub(super) fn live(&mut self, tasklet: TaskletName) -> &mut Live {
        if self.live.len() <= tasklet.index() {
            self.make_room();
        }
        &mut self.live[tasklet.index()]
    }

    /// Makes room for all tasklets that have names.
    #[cold]
    fn make_room(&mut self) {
        let count = self.names.tasklets();
        self.live.resize_with(count, Live::default);
        self.pending.resize(count, None);
        self.run.of.resize_with(count, Vec::new);
        self.run.ended.resize_with(count, || None);
    }

    /// `parent` spawned a tasklet; says what it is called.
    pub fn spawn(&mut self, parent: TaskletName) -> TaskletName {
        let parents = self.live(parent);
        let (nth, time, view) = (parents.children, parents.time, parents.view);
        parents.children += 1;
        self.count_step(parent);
        let past = self.past(parent);
        let child = self.names.child(parent, nth);
        let view = mix(view, self.names.print_of(child));
        let knows = !self.light && self.rules.defect != Some(super::Defect::NoSpawnEdge);
        let live = self.live(child);
        *live = Live { time, alive: true, view, ..Live::default() };
        if knows {
            live.clock.clone_from(&past);
        }
        self.run.spawned.push((parent, child, past));
        child
    }

    /// `tasklet` did something between two operations that others may know of.
    fn count_step(&mut self, tasklet: TaskletName) {
        if self.rules.defect != Some(super::Defect::NoHalfSteps) && !self.light {
            self.live[tasklet.index()].clock.count_drop(tasklet);
        }
    }

    /// What has happened before what `tasklet` does now, if the record has clocks.
    #[inline]
    pub(super) fn past(&self, tasklet: TaskletName) -> Clock {
        if self.light { Clock::default() } else { self.live[tasklet.index()].clock.clone() }
    }

    /// `tasklet` may be left waiting at the end of a run.
    pub fn daemon(&mut self, tasklet: TaskletName) {
        self.live(tasklet).daemon = true;
    }

    /// `maker` made a channel; says what it is called.
    pub fn channel(&mut self, maker: TaskletName) -> ChannelName {
        let live = self.live(maker);
        let nth = live.channels;
        live.channels += 1;
        let name = self.names.channel(maker, nth);
        if self.run.ends.len() <= name.index() {
            self.run.ends.resize_with(name.index() + 1, Default::default);
            self.asked.make(name);
        }
        name
    }

    /// `tasklet` dropped a handle; `last` if the channel has no other of that side.
    pub fn drop_end(&mut self, tasklet: TaskletName, channel: ChannelName, side: Side, last: bool) {
        self.count_step(tasklet);
        let live = &self.live[tasklet.index()];
        let end = &mut self.run.ends[channel.index()][side as usize];
        debug_assert!(!end.closed, "a handle of a closed end was dropped");
        if !self.light {
            end.drops.join(&live.clock);
            end.droppers.push((tasklet, live.clock.drops(tasklet)));
        }
        end.time = end.time.max(live.time);
        end.closed = last;
        self.stale |= last;
    }

    /// `tasklet` waits for one of `branches`; it is at its next slot.
    ///
    /// A run in which it waits for one of more than 65,536 cannot be explored.
    #[track_caller]
    pub fn offer(&mut self, tasklet: TaskletName, branches: &[Branch]) {
        self.offer_with(tasklet, branches.iter().map(|it| (*it, None)));
    }

    /// As [`offer`](Self::offer); a digest tells the value of a send apart from others.
    ///
    /// Without a digest two values are the same only if their senders have seen the same.
    #[track_caller]
    pub fn offer_with(
        &mut self,
        tasklet: TaskletName,
        branches: impl IntoIterator<Item = (Branch, Option<u64>)>,
    ) {
        let (mut all, mut digests) = (SmallVec::new(), Vec::new());
        for (branch, digest) in branches {
            if all.len() == BRANCHES_MAX {
                self.refuse(tasklet, TOO_MANY_BRANCHES, Location::caller());
                break;
            }
            if digest.is_some() || !digests.is_empty() {
                digests.resize(all.len(), None);
                digests.push(digest);
            }
            all.push(branch);
        }
        self.publish(tasklet, all, digests);
    }

    /// Adds a slot of `tasklet`, with what the value of each branch is told apart by, or nothing.
    #[inline(always)]
    pub(super) fn publish(
        &mut self,
        tasklet: TaskletName,
        branches: SmallVec<[Branch; 2]>,
        digests: Vec<Option<u64>>,
    ) {
        let (published, place) = (self.run.events.len(), self.run.slots.len());
        let time = self.now(tasklet);
        let live = &self.live[tasklet.index()];
        let former = self.pending[tasklet.index()].replace(place);
        debug_assert!(live.alive && former.is_none(), "offers of a tasklet that has some");
        let of = &mut self.run.of[tasklet.index()];
        let slot = Slot { tasklet, nth: of.len() as u32 };
        of.push(place);
        if self.light && branches.len() > 1 && branches.iter().any(|it| self.yields(*it, time)) {
            self.missing.set(true);
        }
        self.asked.add(&branches);
        let slots = &mut self.run.slots;
        if slots.len() == slots.capacity() {
            slots.reserve(1);
        }
        // So nothing is left to `push` that could fail, and the record is made in its place.
        assert!(slots.len() < slots.capacity(), "room for a slot was made");
        slots.push(SlotRecord {
            slot,
            branches,
            digests,
            clock: Clock::default(),
            published,
            observed: live.observed,
            time,
            consumed: None,
        });
        if !self.light {
            self.run.slots[place].clock.clone_from(&live.clock);
        }
    }

    /// Whether `branch` of a slot of this time gives way to others that are sure to be ready.
    fn yields(&self, branch: Branch, time: u64) -> bool {
        match branch {
            Branch::Default => true,
            Branch::Limit(deadline) => self.rules.lax_timers || deadline <= time,
            _ => false,
        }
    }

    /// `tasklet` ended; whatever it held was reported dropped before.
    pub fn end(&mut self, tasklet: TaskletName) {
        let live = &mut self.live[tasklet.index()];
        live.alive = false;
        // The end comes after everything else, also after a last slot without a drop.
        if !self.light {
            live.clock.count_drop(tasklet);
        }
        let (settled, time) = (live.settled, live.time);
        self.run.ended[tasklet.index()] = Some(Over { past: self.past(tasklet), settled, time });
        self.stale |= self.asked.watches();
        self.run.outlived |= tasklet == TaskletName::ROOT && self.live.iter().any(|it| it.alive);
    }

    /// The virtual time that `tasklet` reads.
    pub fn now(&self, tasklet: TaskletName) -> u64 {
        if self.rules.lax_timers { self.live[tasklet.index()].time } else { self.now }
    }

    /// What happens next; the system makes it happen and runs every readied tasklet to its next
    /// slot. None when the run is over.
    pub fn choose(&mut self) -> Option<Event> {
        let chosen = self.advance();
        self.run.events.last().filter(|_| chosen).map(|it| it.event)
    }

    /// As [`choose`](Self::choose): whether there is a next event, which is the last of the run.
    #[inline]
    pub(super) fn advance(&mut self) -> bool {
        if self.stopped.is_some() || self.refused.is_some() {
            return false;
        }
        if !(self.may_go_on() || self.tick() && self.may_go_on()) {
            return false;
        }
        if self.run.events.len() >= self.rules.events_max && !self.missing.get() {
            self.stopped = Some(Outcome::StepBound);
            return false;
        }
        let mut event = if self.finds { self.find() } else { None };
        if event.is_none() {
            event = self.choose_listed();
        }
        match &event {
            Some(event) if !self.missing.get() => {
                self.apply(event);
                true
            }
            _ => {
                self.stopped = Some(Outcome::Abandoned);
                false
            }
        }
    }

    /// Whether anything may happen. Lists it, unless somebody can do without.
    #[inline(always)]
    fn may_go_on(&mut self) -> bool {
        if self.finds {
            return self.asked.is_certain() || self.waiting().any();
        }
        self.list();
        !self.enabled.is_empty()
    }

    /// Lets who chooses find an event.
    fn find(&mut self) -> Option<Event> {
        let choose = self.choose.take()?;
        let fresh = std::mem::replace(&mut self.known, self.run.slots.len());
        self.stale = true;
        let event = choose.find(&self.waiting(), fresh..self.known);
        self.choose = Some(choose);
        debug_assert!(event.is_none_or(|it| self.may_happen(it)), "it cannot happen: {event:?}");
        event
    }

    /// Whether `event` is on a list made afresh.
    fn may_happen(&self, event: Event) -> bool {
        let (unseen, mut events) = (Cell::new(false), Vec::new());
        let missing = self.light.then_some(&unseen);
        Waiting { missing, ..self.waiting() }.list(&mut events);
        events.contains(&event)
    }

    /// Lets who chooses choose from the list.
    fn choose_listed(&mut self) -> Option<Event> {
        self.list();
        let choose = self.choose.take()?;
        let choice = choose.choose(&Enabled {
            events: &self.enabled,
            run: &self.run,
            names: self.names,
            state: &|| state_key(self.names, &self.run, (&self.live, &self.pending), self.now),
        });
        self.choose = Some(choose);
        match choice {
            Choice::Take(index) => Some(self.enabled[index]),
            Choice::Abandon => None,
        }
    }

    fn waiting(&self) -> Waiting<'_> {
        Waiting {
            run: &self.run,
            pending: &self.pending,
            asked: &self.asked,
            names: self.names,
            rules: &self.rules,
            missing: self.light.then_some(&self.missing),
        }
    }

    /// Lists what may happen.
    fn list(&mut self) {
        let mut enabled = std::mem::take(&mut self.enabled);
        let waiting = self.waiting();
        if self.stale {
            waiting.list(&mut enabled);
        } else {
            waiting.update(self.known..self.run.slots.len(), &mut enabled);
            debug_assert!(waiting.is_listed(&enabled), "the list is out of date");
        }
        (self.enabled, self.stale, self.known) = (enabled, false, self.run.slots.len());
    }

    /// Records `event`; its slots are completed.
    #[inline]
    fn apply(&mut self, event: &Event) {
        let nth = self.run.events.len();
        if self.light {
            self.run.events.push(EventRecord { event: *event, before: Clock::default() });
        } else {
            let before = self.look(*event);
            self.run.events.push(EventRecord { event: *event, before });
        }
        self.complete(event.first, (nth, event.role(event.first)), event.second);
        if let Some(second) = event.second {
            self.complete(second, (nth, event.role(second)), Some(event.first));
        }
        if !self.stale {
            self.enabled.retain(|it| it.independent(event));
        }
        if self.rules.lax_timers || !self.light {
            let time = self.time_after(*event);
            event.offers().for_each(|it| self.live[it.slot.tasklet.index()].time = time);
        }
    }

    /// The slot of `offer` is completed by event number `nth`, with that of `peer`.
    #[inline(always)]
    fn complete(&mut self, offer: Offer, (nth, role): (usize, u64), peer: Option<Offer>) {
        let index = offer.slot.tasklet.index();
        let trace = &mut self.live[index].trace;
        let mut mixed = mix(*trace, role << 16 | u64::from(offer.branch));
        if let Some(peer) = peer {
            let word = u64::from(peer.slot.nth) << 16 | u64::from(peer.branch);
            mixed = mix(mix(mixed, self.names.print_of(peer.slot.tasklet)), word);
        }
        *trace = mixed;
        let Some(place) = self.pending[index].take() else { return };
        let record = &mut self.run.slots[place];
        debug_assert_eq!(record.slot, offer.slot, "another slot of the tasklet waits");
        record.consumed = Some(nth);
        self.asked.remove(&record.branches);
    }

    /// Completes the record when the system has returned, and puts it back with the rest of the
    /// memory.
    pub(super) fn finish(mut self, desk: &mut Desk) {
        self.run.outcome = self.outcome();
        if !self.light {
            self.run.state =
                state_key(self.names, &self.run, (&self.live, &self.pending), self.now);
        }
        for (index, live) in self.live.iter().enumerate() {
            let print = self.names.print_of(TaskletName(index as u32));
            if !self.run.of[index].is_empty() {
                self.run.trace = self.run.trace.wrapping_add(mix(print, live.trace));
            }
        }
        desk.missing = self.missing.get();
        desk.run = self.run;
        (desk.live, desk.pending) = (self.live, self.pending);
        (desk.asked, desk.enabled) = (self.asked, self.enabled);
    }
}
