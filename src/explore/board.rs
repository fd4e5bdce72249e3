//! The table of published offers of one run: what a system reports, and what may happen next.
//!
//! Always: between two choices every tasklet that has not ended has exactly one slot on the board;
//! the events that may happen are listed in the order of spawn paths, whatever order the system
//! reported in.

use std::cell::Cell;
use std::panic::Location;

use smallvec::SmallVec;

use super::clock::Clock;
use super::event::{Branch, ChannelName, Event, Kind, Names, Side, Slot, TaskletName, mix};
use super::listing::{Open, Waiting};
use super::live::{Live, state_key};
use super::run::{EventRecord, Outcome, Run, SlotRecord, Tick};
use super::system::{Choice, Enabled, Rules};

/// How many branches an operation may have; each has a number of 16 bits.
pub(super) const BRANCHES_MAX: usize = 1 << 16;
pub(super) const TOO_MANY_BRANCHES: &str = "an operation of more than 65,536 branches";

/// What a run needs memory for; it is used again by the next one.
#[derive(Debug)]
pub(super) struct Desk {
    /// The record; it is taken out of here, and may be put back.
    pub(super) run: Run,
    live: Vec<Live>,
    waiting: Vec<usize>,
    open: Vec<Open>,
    enabled: Vec<Event>,
    fresh: Vec<usize>,
    /// Whether runs are recorded without clocks and views, which few need.
    pub(super) light: bool,
    /// Set if the last run was given up because it could not go on without clocks.
    pub(super) missing: bool,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            run: Run::new(),
            live: Vec::new(),
            waiting: Vec::new(),
            open: Vec::new(),
            enabled: Vec::new(),
            fresh: Vec::new(),
            light: false,
            missing: false,
        }
    }
}

impl Desk {
    /// A desk whose runs are recorded without clocks, if they can be.
    pub(super) fn light() -> Desk {
        Desk { light: true, ..Desk::default() }
    }
}

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
    choose: &'a mut dyn FnMut(&Enabled<'_>) -> Choice,
    pub(super) run: Run,
    /// Indexed by tasklet.
    pub(super) live: Vec<Live>,
    /// Pending slots by the spawn path of their tasklets.
    pub(super) waiting: Vec<usize>,
    /// Their branches.
    pub(super) open: Vec<Open>,
    /// Everything that may happen at the present quiet point.
    enabled: Vec<Event>,
    /// The slots published since then.
    pub(super) fresh: Vec<usize>,
    /// Whether what was listed then may be more or less without them: an end was closed, a tasklet
    /// ended, time passed.
    pub(super) stale: bool,
    /// Whether anybody ever waited for the end of a tasklet.
    watched: bool,
    /// Whether anybody ever cancelled somebody.
    cancels: bool,
    /// Whether the record has no clocks, and whether they would have been needed.
    pub(super) light: bool,
    missing: Cell<bool>,
    /// The virtual time.
    now: u64,
    /// The first panic.
    pub(super) panic: Option<(TaskletName, String)>,
    /// The first thing that cannot be explored.
    pub(super) refused: Option<(TaskletName, String)>,
    /// The first thing that was explored in one way only.
    pub(super) doubted: Option<(TaskletName, String)>,
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
        desk: Desk,
        rules: Rules,
        choose: &'a mut dyn FnMut(&Enabled<'_>) -> Choice,
    ) -> Board<'a> {
        let Desk {
            mut run, mut live, mut waiting, mut open, mut enabled, mut fresh, light, ..
        } = desk;
        open.clear();
        run.clear();
        live.iter_mut().for_each(|it| *it = Live::default());
        waiting.clear();
        enabled.clear();
        fresh.clear();
        run.endings = rules.endings;
        let mut board = Board {
            names,
            rules,
            choose,
            run,
            live,
            waiting,
            open,
            enabled,
            fresh,
            stale: true,
            watched: false,
            cancels: false,
            light,
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

    pub(super) fn live(&mut self, tasklet: TaskletName) -> &mut Live {
        if self.live.len() <= tasklet.index() {
            let count = self.names.tasklets();
            self.live.resize_with(count, Live::default);
            self.run.of.resize_with(count, Vec::new);
            self.run.ended.resize_with(count, || None);
        }
        &mut self.live[tasklet.index()]
    }

    /// `parent` spawned a tasklet; says what it is called.
    pub fn spawn(&mut self, parent: TaskletName) -> TaskletName {
        let nth = self.live(parent).children;
        self.live(parent).children += 1;
        let child = self.names.child(parent, nth);
        let past = self.live(parent).clock.clone();
        let (time, view) = (self.live(parent).time, self.live(parent).view);
        let clock = if self.rules.defect == Some(super::Defect::NoSpawnEdge) {
            Clock::default()
        } else {
            past.clone()
        };
        let print = self.names.print_of(child);
        *self.live(child) =
            Live { clock, time, alive: true, view: mix(view, print), ..Live::default() };
        self.run.spawned.push((parent, child, past));
        child
    }

    /// `tasklet` may be left waiting at the end of a run.
    pub fn daemon(&mut self, tasklet: TaskletName) {
        self.live(tasklet).daemon = true;
    }

    /// `maker` made a channel; says what it is called.
    pub fn channel(&mut self, maker: TaskletName) -> ChannelName {
        let nth = self.live(maker).channels;
        self.live(maker).channels += 1;
        let name = self.names.channel(maker, nth);
        if self.run.ends.len() <= name.index() {
            self.run.ends.resize_with(name.index() + 1, Default::default);
        }
        name
    }

    /// `tasklet` dropped a handle; `last` if the channel has no other of that side.
    pub fn drop_end(&mut self, tasklet: TaskletName, channel: ChannelName, side: Side, last: bool) {
        let live = &mut self.live[tasklet.index()];
        if self.rules.defect != Some(super::Defect::NoHalfSteps) {
            live.clock.count_drop(tasklet);
        }
        let end = &mut self.run.ends[channel.index()][side as usize];
        debug_assert!(!end.closed, "a handle of a closed end was dropped");
        end.drops.join(&live.clock);
        end.droppers.push((tasklet, live.clock.stamp(tasklet)));
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
        let (published, place) = (self.run.events.len(), self.run.slots.len());
        let time = self.now(tasklet);
        let live = &mut self.live[tasklet.index()];
        debug_assert!(live.alive && live.pending.is_none(), "offers of a tasklet that has some");
        let of = &mut self.run.of[tasklet.index()];
        let slot = Slot { tasklet, nth: of.len() as u32 };
        of.push(place);
        live.pending = Some(place);
        let (clock, observed) = (live.clock.clone(), live.observed);
        let (mut all, mut digests) = (SmallVec::new(), Vec::new());
        for (branch, digest) in branches {
            if all.len() == BRANCHES_MAX {
                self.refuse(tasklet, TOO_MANY_BRANCHES, Location::caller());
                break;
            }
            self.cancels |= matches!(branch, Branch::Cancel(_));
            self.watched |= matches!(branch, Branch::Join(_) | Branch::Cancel(_));
            self.open.push(Open { branch, place, index: all.len() as u16 });
            if digest.is_some() || !digests.is_empty() {
                digests.resize(all.len(), None);
                digests.push(digest);
            }
            all.push(branch);
        }
        self.run.slots.push(SlotRecord {
            slot,
            branches: all,
            digests,
            clock,
            published,
            observed,
            time,
            consumed: None,
        });
        let slots = &self.run.slots;
        let before = |it: &usize| self.names.compare(slots[*it].slot.tasklet, tasklet).is_lt();
        let at = self.waiting.partition_point(before);
        self.waiting.insert(at, place);
        self.fresh.push(place);
    }

    /// `tasklet` ended; whatever it held was reported dropped before.
    pub fn end(&mut self, tasklet: TaskletName) {
        let live = &mut self.live[tasklet.index()];
        live.alive = false;
        // The end comes after everything else, also after a last slot without a drop.
        live.clock.count_drop(tasklet);
        self.run.ended[tasklet.index()] = Some(live.clock.clone());
        self.stale |= self.watched;
        self.run.outlived |= tasklet == TaskletName::ROOT && self.live.iter().any(|it| it.alive);
    }

    /// `tasklet` panicked, and [`end`](Self::end) follows.
    pub fn panicked(&mut self, tasklet: TaskletName, message: impl Into<String>) {
        if self.panic.is_none() {
            self.panic = Some((tasklet, message.into()));
        }
    }

    /// The virtual time that `tasklet` reads.
    pub fn now(&self, tasklet: TaskletName) -> u64 {
        if self.rules.lax_timers { self.live[tasklet.index()].time } else { self.now }
    }

    /// What happens next; the system makes it happen and runs every readied tasklet to its next
    /// slot. None when the run is over.
    pub fn choose(&mut self) -> Option<Event> {
        if self.stopped.is_some() || self.refused.is_some() {
            return None;
        }
        self.list();
        if self.enabled.is_empty() && self.tick() {
            self.list();
        }
        if self.enabled.is_empty() {
            return None;
        }
        if self.missing.get() {
            self.stopped = Some(Outcome::Abandoned);
            return None;
        }
        if self.run.events.len() >= self.rules.events_max {
            self.stopped = Some(Outcome::StepBound);
            return None;
        }
        let choice = (self.choose)(&Enabled {
            events: &self.enabled,
            run: &self.run,
            names: self.names,
            waiting: &self.waiting,
            state: &|| state_key(self.names, &self.run, &self.live, self.now),
        });
        match choice {
            Choice::Take(index) => {
                let event = self.enabled[index];
                self.apply(event);
                Some(event)
            }
            Choice::Abandon => {
                self.stopped = Some(Outcome::Abandoned);
                None
            }
        }
    }

    /// Lists what may happen.
    fn list(&mut self) {
        let (run, names, rules) = (&self.run, &*self.names, &self.rules);
        let missing = self.light.then_some(&self.missing);
        let (places, open, cancels) = (&self.waiting[..], &self.open[..], self.cancels);
        let waiting = Waiting { run, places, open, names, rules, cancels, missing };
        if std::mem::take(&mut self.stale) {
            waiting.list(&mut self.enabled);
        } else {
            waiting.update(&self.fresh, &mut self.enabled);
            debug_assert!(waiting.is_listed(&self.enabled), "the list is out of date");
        }
        self.fresh.clear();
    }

    /// Lets time pass up to the next deadline; whether there was one.
    fn tick(&mut self) -> bool {
        let branches = self.waiting.iter().flat_map(|it| &self.run.slots[*it].branches);
        let deadlines = branches.filter_map(|it| match it {
            Branch::Timer(deadline) => Some(*deadline),
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

    /// Records `event`; its slots are completed.
    fn apply(&mut self, event: Event) {
        let before = if self.light { Clock::default() } else { self.look(event) };
        for (offer, peer) in [(Some(event.first), event.second), (event.second, Some(event.first))]
        {
            let Some(offer) = offer else { continue };
            let live = &mut self.live[offer.slot.tasklet.index()];
            live.pending = None;
            live.trace = mix(live.trace, (event.kind as u64) << 16 | u64::from(offer.branch));
            if let Some(peer) = peer {
                let word = u64::from(peer.slot.nth) << 16 | u64::from(peer.branch);
                live.trace = mix(mix(live.trace, self.names.print_of(peer.slot.tasklet)), word);
            }
            let place = self.run.of[offer.slot.tasklet.index()][offer.slot.nth as usize];
            self.run.slots[place].consumed = Some(self.run.events.len());
            self.waiting.retain(|it| *it != place);
            self.open.retain(|it| it.place != place);
        }
        self.enabled.retain(|it| it.independent(&event));
        let time = self.deadline(event);
        event.offers().for_each(|it| self.live[it.slot.tasklet.index()].time = time);
        self.run.events.push(EventRecord { event, before });
    }

    /// What time it is for the tasklets of `event` after it.
    fn deadline(&self, event: Event) -> u64 {
        let branch =
            self.run.slot(event.first.slot).map(|it| it.branches[usize::from(event.first.branch)]);
        let times = event.offers().map(|it| self.live[it.slot.tasklet.index()].time);
        let time = times.max().unwrap_or(0);
        match (event.kind, branch) {
            (Kind::Timer, Some(Branch::Timer(deadline))) => time.max(deadline),
            _ => time,
        }
    }

    /// The tasklets of `event` know of each other what they now know; says what they knew before.
    fn look(&mut self, event: Event) -> Clock {
        let mut before = self.run.ticks.last().map(|it| it.clock.clone()).unwrap_or_default();
        event.offers().for_each(|it| before.join(&self.live[it.slot.tasklet.index()].clock));
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
            let live = &mut self.live[offer.slot.tasklet.index()];
            live.clock.clone_from(&after);
            live.view = mix(live.view, (event.kind as u64) << 16 | u64::from(offer.branch));
            if event.kind == Kind::Meeting && offer != event.first {
                live.view = mix(live.view, value);
            }
        }
        before
    }

    /// The record, when the system has returned, with the rest of the memory.
    pub(super) fn finish(mut self) -> Desk {
        self.run.outcome = self.outcome();
        if !self.light {
            self.run.state = state_key(self.names, &self.run, &self.live, self.now);
        }
        for (index, live) in self.live.iter().enumerate() {
            let print = self.names.print_of(TaskletName(index as u32));
            if !self.run.of[index].is_empty() {
                self.run.trace = self.run.trace.wrapping_add(mix(print, live.trace));
            }
        }
        let Board { run, live, waiting, open, enabled, fresh, light, missing, .. } = self;
        Desk { run, live, waiting, open, enabled, fresh, light, missing: missing.get() }
    }
}
