//! The table of published offers of one run: what a system reports, and what may happen next.
//!
//! Always: between two choices every tasklet that has not ended has exactly one slot on the board;
//! the events that may happen are listed in the order of spawn paths, whatever order the system
//! reported in.

use super::clock::Clock;
use super::details::Details;
use super::event::{Branch, ChannelName, Event, Kind, Names, Offer, Side, Slot, TaskletName, mix};
use super::replay::Overrides;
use super::run::{EventRecord, Outcome, Run, SlotRecord, Tick};
use super::system::{Choice, Enabled, Rules};
use std::panic::Location;

/// What the board knows about a tasklet that runs.
#[derive(Clone, Debug, Default)]
struct Live {
    /// Its past, up to the present moment.
    clock: Clock,
    /// How many children it has spawned.
    children: u32,
    /// How many channels it has made.
    channels: u32,
    /// Its pending slot, as a place in the run's slots.
    pending: Option<usize>,
    /// Hash of all it has seen.
    view: u64,
    /// Hash of what the program says that it has seen.
    observed: u64,
    /// Hash of all it has met.
    trace: u64,
    /// The latest deadline in its past.
    time: u64,
    /// Whether it is part of this run and has not ended.
    alive: bool,
    /// Whether it may be left behind.
    daemon: bool,
}

/// The offers of one run, and its record so far.
pub struct Board<'a> {
    names: &'a mut Names,
    rules: Rules,
    choose: &'a mut dyn FnMut(&Enabled<'_>) -> Choice,
    run: Run,
    /// Indexed by tasklet.
    live: Vec<Live>,
    /// Pending slots by the spawn path of their tasklets.
    waiting: Vec<usize>,
    /// Everything that may happen at the present quiet point.
    enabled: Vec<Event>,
    /// The virtual time.
    now: u64,
    /// The first panic.
    panic: Option<(TaskletName, String)>,
    /// The first thing that cannot be explored.
    refused: Option<(TaskletName, String)>,
    /// Set when the run was stopped from outside.
    stopped: Option<Outcome>,
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
        rules: Rules,
        choose: &'a mut dyn FnMut(&Enabled<'_>) -> Choice,
    ) -> Board<'a> {
        let mut board = Board {
            names,
            rules,
            choose,
            run: Run::new(),
            live: Vec::new(),
            waiting: Vec::new(),
            enabled: Vec::new(),
            now: 0,
            panic: None,
            refused: None,
            stopped: None,
        };
        board.live(TaskletName::ROOT).alive = true;
        board
    }

    /// The names of this session.
    pub fn names(&self) -> &Names {
        self.names
    }

    fn live(&mut self, tasklet: TaskletName) -> &mut Live {
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
    }

    /// `tasklet` waits for one of `branches`; it is at its next slot.
    pub fn offer(&mut self, tasklet: TaskletName, branches: &[Branch]) {
        self.offer_with(tasklet, branches.iter().map(|it| (*it, None)));
    }

    /// As [`offer`](Self::offer), and says where in the source the operation is.
    pub(super) fn offer_at(
        &mut self,
        tasklet: TaskletName,
        branches: &[Branch],
        at: &'static Location<'static>,
    ) {
        self.offer(tasklet, branches);
        self.run.places.push(at);
    }

    /// `tasklet` has seen something that `digest` tells apart from others.
    pub fn observe(&mut self, tasklet: TaskletName, digest: u64) {
        let live = self.live(tasklet);
        live.observed = mix(live.observed, digest);
        live.view = mix(live.view, digest);
    }

    /// The schedule so far.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides::of(&self.run, self.names)
    }

    /// How many events have happened.
    pub(super) fn events(&self) -> usize {
        self.run.events.len()
    }

    /// The spawn path of the tasklet that an outcome is about; the root's is empty.
    pub(super) fn path_of(&self, outcome: &Outcome) -> Vec<u32> {
        outcome.tasklet().map(|it| self.names.path(it).to_vec()).unwrap_or_default()
    }

    /// Whether a report is to be made.
    pub(super) fn wants_details(&self) -> bool {
        self.rules.details
    }

    /// Adds names and places to the record.
    pub(super) fn describe(&mut self, details: Details) {
        self.run.details = Some(Box::new(details));
    }

    /// `tasklet` did something that cannot be explored.
    pub fn refuse(&mut self, tasklet: TaskletName, what: &str, at: &Location<'_>) {
        if self.refused.is_none() {
            self.refused = Some((tasklet, format!("{what}, at {at}")));
        }
    }

    /// As [`offer`](Self::offer); a digest tells the value of a send apart from others.
    ///
    /// Without a digest two values are the same only if their senders have seen the same.
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
        let (branches, digests) = branches.into_iter().unzip();
        let clock = live.clock.clone();
        let observed = live.observed;
        let record = SlotRecord {
            slot,
            branches,
            digests,
            clock,
            published,
            observed,
            time,
            consumed: None,
        };
        self.run.slots.push(record);
        let slots = &self.run.slots;
        let before = |it: &usize| self.names.compare(slots[*it].slot.tasklet, tasklet).is_lt();
        let at = self.waiting.partition_point(before);
        self.waiting.insert(at, place);
    }

    /// `tasklet` ended; whatever it held was reported dropped before.
    pub fn end(&mut self, tasklet: TaskletName) {
        let live = &mut self.live[tasklet.index()];
        live.alive = false;
        // The end comes after everything else, also after a last slot without a drop.
        live.clock.count_drop(tasklet);
        self.run.ended[tasklet.index()] = Some(live.clock.clone());
    }

    /// `tasklet` panicked, and [`end`](Self::end) follows.
    pub fn panicked(&mut self, tasklet: TaskletName, message: impl Into<String>) {
        if self.panic.is_none() {
            self.panic = Some((tasklet, message.into()));
        }
    }

    /// `tasklet` panics just now.
    pub(super) fn panicking(&mut self, tasklet: TaskletName) {
        let past = self.live(tasklet).clock.clone();
        self.run.panics.push((tasklet, past));
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
        if self.run.events.len() >= self.rules.events_max {
            self.stopped = Some(Outcome::StepBound);
            return None;
        }
        let choice = (self.choose)(&Enabled {
            events: &self.enabled,
            run: &self.run,
            names: self.names,
            rules: &self.rules,
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
        self.enabled.clear();
        for place in &self.waiting {
            let record = &self.run.slots[*place];
            for (index, branch) in record.branches.iter().enumerate() {
                let first = Offer { slot: record.slot, branch: index as u16 };
                self.enabled.extend(meetings(&self.run, &self.waiting, &self.rules, record, first));
                if let Branch::Cancel(target) = *branch
                    && let Some(at) = self.live.get(target.index()).and_then(|it| it.pending)
                    && target != record.slot.tasklet
                {
                    let second = Offer { slot: self.run.slots[at].slot, branch: 0 };
                    let second = Some(second);
                    self.enabled.push(Event { kind: Kind::Cancelled, first, second });
                }
                if let Some((kind, _)) = self.run.alone(record, *branch, self.rules.lax_timers) {
                    self.enabled.push(Event { kind, first, second: None });
                }
            }
        }
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
        self.run.ticks.push(Tick { time, clock });
        true
    }

    /// Records `event`; its slots are completed.
    fn apply(&mut self, event: Event) {
        let mut before = self.run.ticks.last().map(|it| it.clock.clone()).unwrap_or_default();
        let mut time = 0;
        for offer in event.offers() {
            before.join(&self.live[offer.slot.tasklet.index()].clock);
            time = time.max(self.live[offer.slot.tasklet.index()].time);
        }
        let place = self.run.of[event.first.slot.tasklet.index()][event.first.slot.nth as usize];
        let first = &self.run.slots[place];
        let branch = first.branches[usize::from(event.first.branch)];
        if event.second.is_none()
            && let Some((_, past)) = self.run.alone(first, branch, self.rules.lax_timers)
        {
            before.join(&past);
        }
        if let (Kind::Timer, Branch::Timer(deadline)) = (event.kind, branch) {
            time = time.max(deadline);
        }
        let value = first.digests[usize::from(event.first.branch)].unwrap_or_else(|| {
            mix(self.live[event.first.slot.tasklet.index()].view, u64::from(event.first.branch))
        });
        let mut after = before.clone();
        event.offers().for_each(|it| after.finish(it.slot));
        for (offer, peer) in [(Some(event.first), event.second), (event.second, Some(event.first))]
        {
            let Some(offer) = offer else { continue };
            let live = &mut self.live[offer.slot.tasklet.index()];
            live.clock.clone_from(&after);
            live.time = time;
            live.pending = None;
            let mine = (event.kind as u64) << 16 | u64::from(offer.branch);
            live.view = mix(live.view, mine);
            if event.kind == Kind::Meeting && offer != event.first {
                live.view = mix(live.view, value);
            }
            live.trace = mix(live.trace, mine);
            if let Some(peer) = peer {
                let word = u64::from(peer.slot.nth) << 16 | u64::from(peer.branch);
                live.trace = mix(mix(live.trace, self.names.print_of(peer.slot.tasklet)), word);
            }
            let place = self.run.of[offer.slot.tasklet.index()][offer.slot.nth as usize];
            self.run.slots[place].consumed = Some(self.run.events.len());
            self.waiting.retain(|it| *it != place);
        }
        self.run.events.push(EventRecord { event, before });
    }

    /// The record, when the system has returned.
    pub(super) fn finish(mut self) -> Run {
        self.run.outcome = self.outcome();
        self.run.state = state_key(self.names, &self.run, &self.live, self.now);
        for (index, live) in self.live.iter().enumerate() {
            let print = self.names.print_of(TaskletName(index as u32));
            if !self.run.of[index].is_empty() {
                self.run.trace = self.run.trace.wrapping_add(mix(print, live.trace));
            }
        }
        self.run
    }

    /// How the run has ended, when nothing can happen any more.
    pub(super) fn outcome(&self) -> Outcome {
        if let Some((tasklet, what)) = &self.refused {
            return Outcome::Refused(*tasklet, what.clone());
        }
        if let Some(stopped) = &self.stopped {
            return stopped.clone();
        }
        if let Some((tasklet, message)) = &self.panic {
            return Outcome::Panicked(*tasklet, message.clone());
        }
        if self.live[0].alive && !self.live[0].daemon {
            return Outcome::Deadlock;
        }
        if self.live.iter().any(|it| it.alive && !it.daemon) {
            return Outcome::LeftBehind;
        }
        Outcome::Finished
    }
}

/// The meetings of the sending branch `first` with everybody who waits.
fn meetings<'a>(
    run: &'a Run,
    waiting: &'a [usize],
    rules: &'a Rules,
    record: &'a SlotRecord,
    first: Offer,
) -> impl Iterator<Item = Event> + 'a {
    let channel = match record.branches[usize::from(first.branch)] {
        Branch::Send(channel) => Some(channel),
        Branch::Receive(_)
        | Branch::Default
        | Branch::Timer(_)
        | Branch::Join(_)
        | Branch::Cancel(_) => None,
    };
    let peers = waiting.iter().filter(move |_| channel.is_some()).map(|it| &run.slots[*it]);
    let free = move |peer: &&SlotRecord| {
        peer.slot.tasklet != record.slot.tasklet
            && (rules.defect == Some(super::Defect::AlwaysMeet) || !run.never_meet(record, peer))
    };
    let mine = move |it: &Branch| matches!(it, Branch::Receive(at) if Some(*at) == channel);
    peers.filter(move |peer| peer.branches.iter().any(mine)).filter(free).flat_map(move |peer| {
        let places = peer.branches.iter().enumerate().filter(move |(_, it)| mine(it));
        places.map(move |(index, _)| {
            let second = Some(Offer { slot: peer.slot, branch: index as u16 });
            Event { kind: Kind::Meeting, first, second }
        })
    })
}

/// Equal for two states that have the same futures.
///
/// A state is what each tasklet has seen. It is also who knows of which drop and of which end,
/// because that decides which selects can meet; and the time.
fn state_key(names: &Names, run: &Run, live: &[Live], now: u64) -> u64 {
    let mut key = mix(0, now);
    for (index, one) in live.iter().enumerate() {
        let tasklet = TaskletName(index as u32);
        if run.of[index].is_empty() && run.ended[index].is_none() {
            continue;
        }
        let mut word = mix(mix(one.view, u64::from(one.alive)), one.time);
        if let Some(place) = one.pending {
            word = mix(word, run.slots[place].time);
        }
        for (place, end) in run.ends.iter().flatten().enumerate() {
            for (by, stamp) in &end.droppers {
                if one.clock.stamp(*by) >= *stamp {
                    let drop = mix(names.print_of(*by), *stamp ^ (place as u64) << 48);
                    word = word.wrapping_add(drop);
                }
            }
        }
        let ended =
            run.ended.iter().enumerate().filter_map(|(who, past)| Some((who, past.as_ref()?)));
        for (who, past) in ended {
            let who = TaskletName(who as u32);
            if one.clock.stamp(who) >= past.stamp(who) {
                word = word.wrapping_add(mix(names.print_of(who), past.stamp(who)));
            }
        }
        key = key.wrapping_add(mix(names.print_of(tasklet), word));
    }
    key
}
