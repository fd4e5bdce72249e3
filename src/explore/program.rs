//! Real programs as systems: the tasklets of a controlled run, reported to the board.
//!
//! Always: between two choices every tasklet that lives has one slot on the board; the chosen
//! event, and nothing else, happens before the next one. The first slot of a tasklet is that it
//! begins.
//! A tasklet here: `Unbegun -> Waiting <-> Going -> Ended`.

use super::board::Board;
use super::details::{ChannelDetails, Details, HolderDetails, TaskletDetails};
use super::event::{Branch, ChannelName, Event, Kind, Side, TaskletName};
use super::quiet::{self, Quiet};
use super::system::System;
use super::watchdog::{self, Pulse};
use crate::kernel::announce;
use crate::kernel::control::{News, Way};
use crate::kernel::name::TaskletId;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Holder, Task, flag};
use crate::kernel::trace::{ChannelId, Direction};
use crate::kernel::wait::{self, Wait};
use crate::runtime::{Decide, Runtime};
use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Most tasklets that one run may spawn.
const SPAWNS_MAX: u32 = 4_096;

thread_local! {
    /// What this OS thread runs programs with.
    static BENCH: Cell<Option<Bench>> = const { Cell::new(None) };
}

/// What the executions of a program on one OS thread have in common.
struct Bench {
    program: String,
    limit: Duration,
    runtime: Runtime,
    pulse: Arc<Pulse>,
}

impl Bench {
    fn new(program: &str, limit: Duration) -> Bench {
        let runtime = Runtime::builder().controlled().build();
        Bench { program: program.into(), limit, runtime, pulse: Pulse::new(program, limit) }
    }
}

/// A program of tasklets, as something to be explored.
///
/// It is run again and again, on the same stacks.
pub struct Program<'a, M: ?Sized = dyn Fn() + 'a> {
    name: String,
    main: &'a M,
    limit: Duration,
    at: &'static Location<'static>,
}

impl<M: ?Sized> std::fmt::Debug for Program<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a, M: Fn() + ?Sized> Program<'a, M> {
    /// The program that `main` is the root tasklet of, called `name` in replay strings.
    #[track_caller]
    pub fn new(name: impl Into<String>, main: &'a M) -> Program<'a, M> {
        Program::at(name, main, Location::caller())
    }

    /// How long a local step may take in real time; else 20 s.
    ///
    /// A step that takes longer is named on stderr, and ends the process: nothing can stop it.
    pub fn step_limit(mut self, limit: Duration) -> Program<'a, M> {
        self.limit = limit;
        self
    }

    pub(super) fn at(
        name: impl Into<String>,
        main: &'a M,
        at: &'static Location<'static>,
    ) -> Program<'a, M> {
        Program { name: name.into(), main, limit: watchdog::LIMIT, at }
    }
}

impl<M: ?Sized> Drop for Program<'_, M> {
    fn drop(&mut self) {
        drop(BENCH.take());
    }
}

impl<M: Fn() + ?Sized> System for Program<'_, M> {
    fn program(&self) -> &str {
        &self.name
    }

    fn run(&self, board: &mut Board<'_>) {
        if Scheduler::active().is_some() {
            board.refuse(TaskletName::ROOT, "exploring inside of a run", self.at);
            return;
        }
        let quiet = Quiet::new();
        let bench = BENCH.take().filter(|it| it.program == self.name && it.limit == self.limit);
        let bench = bench.unwrap_or_else(|| Bench::new(&self.name, self.limit));
        let mut bridge = Bridge::new(board, &bench.pulse);
        bench.pulse.run(true);
        let main = || (self.main)();
        let panics = bench.runtime.run_controlled(&main, SPAWNS_MAX, &mut bridge, self.at);
        bench.pulse.run(false);
        let places = quiet::take_places();
        for panicked in panics {
            // A panic that was passed on, as by a scope, is that of who began it.
            let same = |it: &&quiet::Place| it.message == panicked.message;
            let mine = |it: &&quiet::Place| Some(it.tasklet) == panicked.tasklet && same(it);
            let first = places.iter().filter(same).min_by_key(|it| it.tasklet);
            let origin = places.iter().rfind(mine).or(first);
            let (who, place) = match origin {
                Some(it) => (Some(it.tasklet), format!(", at {}", it.at)),
                None => (panicked.tasklet, String::new()),
            };
            let message = format!("{}{place}", panicked.message);
            bridge.board.panicked(bridge.doer(who), message);
        }
        BENCH.set(Some(bench));
        drop(quiet);
    }

    fn rest(&self) {
        drop(BENCH.take());
    }
}

/// Tells the search what the running tasklet has seen; does nothing outside of an explored run.
///
/// Searches know who met whom, but not what was in a value. What is told here is compared in the
/// isolation check, and tells states apart for [`every_state`](super::every_state).
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use tasklets::explore::{Explore, observe};
/// use tasklets::spawn;
/// let explored = Explore::new().run(|| {
///     let shared = Rc::new(Cell::new(0)); // a mistake: tasklets should share nothing
///     let each = (1..=2).map(|number| {
///         let shared = shared.clone();
///         spawn(move || {
///             tasklets::yield_now();
///             observe(&shared.replace(number));
///             tasklets::yield_now();
///         })
///     });
///     each.collect::<Vec<_>>().into_iter().for_each(|it| it.join().unwrap());
/// });
/// assert!(explored.report.unwrap().outcome.contains("is not isolated"));
/// ```
pub fn observe(seen: &impl Hash) {
    let mut hasher = DefaultHasher::new();
    seen.hash(&mut hasher);
    announce::observed(hasher.finish());
}

/// What a tasklet waits for.
enum Pending {
    /// To begin.
    Unbegun,
    /// For its operation to be decided.
    Waiting(Wait),
    /// Nothing: it is about to announce something, or has ended.
    Nothing,
}

/// A tasklet of the present run.
struct Seat {
    task: Rc<Task>,
    name: TaskletName,
    /// Its spawn path: see [`watchdog::pack`].
    packed: u64,
    pending: Pending,
    /// Whether its operation goes on at once if nobody is there.
    never_waits: bool,
}

/// One run.
struct Bridge<'a, 'b> {
    board: &'a mut Board<'b>,
    pulse: &'a Pulse,
    /// Indexed by the ids of tasklets.
    seats: Vec<Seat>,
    /// The ids of tasklets, indexed by their names.
    ids: Vec<usize>,
    /// In the order in which they were made.
    channels: Vec<(ChannelId, ChannelName)>,
    /// Names and places, if a report is to be made.
    details: Details,
    news: Vec<News>,
    branches: Vec<Branch>,
    /// How many live, and how many of them have a slot on the board.
    living: usize,
    pending: usize,
    /// To whom something was done that ends its operation, or not, and what it waited for.
    touched: Option<(usize, Pending)>,
}

impl<'a, 'b> Bridge<'a, 'b> {
    fn new(board: &'a mut Board<'b>, pulse: &'a Pulse) -> Bridge<'a, 'b> {
        Bridge {
            board,
            pulse,
            seats: Vec::new(),
            ids: Vec::new(),
            channels: Vec::new(),
            details: Details::default(),
            news: Vec::new(),
            branches: Vec::new(),
            living: 0,
            pending: 0,
            touched: None,
        }
    }

    fn name(&self, tasklet: TaskletId) -> TaskletName {
        self.seats.get(tasklet.0 as usize).map_or(TaskletName::ROOT, |it| it.name)
    }

    /// Who did something: the root, if no tasklet did.
    fn doer(&self, tasklet: Option<TaskletId>) -> TaskletName {
        tasklet.map_or(TaskletName::ROOT, |it| self.name(it))
    }

    fn channel(&self, channel: ChannelId) -> Option<ChannelName> {
        let place = self.channels.binary_search_by_key(&channel, |it| it.0).ok()?;
        Some(self.channels[place].1)
    }

    /// Reports what the tasklets did, in order.
    fn report(&mut self, scheduler: &Scheduler) {
        let mut news = std::mem::take(&mut self.news);
        if let Some(control) = &scheduler.home.control {
            control.take(&mut news);
        }
        news.drain(..).for_each(|it| self.report_one(scheduler, it));
        self.news = news;
    }

    fn report_one(&mut self, scheduler: &Scheduler, news: News) {
        match news {
            News::Spawned { parent, child } => self.spawned(scheduler, parent, child),
            News::Made { maker, channel, at } => {
                let name = self.board.channel(self.name(maker));
                self.channels.push((channel, name));
                if self.board.wants_details() {
                    let (senders, receivers) = (Vec::new(), Vec::new());
                    let made = ChannelDetails { name: None, made_at: at, senders, receivers };
                    self.details.channels.insert(name, made);
                }
            }
            News::Dropped { by, channel, end, last, name } => {
                let side = match end {
                    Direction::Send => Side::Sender,
                    Direction::Receive => Side::Receiver,
                };
                if let Some(channel) = self.channel(channel) {
                    self.board.drop_end(self.doer(by), channel, side, last);
                    if let (Some(name), true) = (name, self.board.wants_details()) {
                        self.details.name_channel(channel, &name);
                    }
                }
            }
            News::Announced { wait, ways, at } => self.announced(wait, &ways, at),
            News::Ended { tasklet } => {
                self.living -= 1;
                self.board.end(self.name(tasklet));
            }
            News::Panicking { by } => self.board.panicking(self.name(by)),
            News::Observed { by, digest } => self.board.observe(self.name(by), digest),
            News::Refused { by, what, at } => self.board.refuse(self.doer(by), what, at),
        }
    }

    fn spawned(&mut self, scheduler: &Scheduler, parent: Option<TaskletId>, task: Rc<Task>) {
        let root = self.seats.is_empty();
        let name = match parent {
            None if root => TaskletName::ROOT,
            _ => self.board.spawn(self.doer(parent)),
        };
        if parent.is_none() && !root {
            let at = task.who.spawned_at;
            self.board.refuse(name, "spawning where no tasklet runs", at);
        }
        if task.has(flag::DAEMON) {
            self.board.daemon(name);
        }
        let id = self.seats.len();
        debug_assert_eq!(id as u64, task.id().0, "tasklets are told of in the order of their ids");
        if self.ids.len() <= name.index() {
            self.ids.resize(name.index() + 1, usize::MAX);
        }
        self.ids[name.index()] = id;
        self.living += 1;
        let at = task.who.spawned_at;
        let packed = watchdog::pack(self.board.names().path(name));
        let seat = Seat { task, name, packed, pending: Pending::Nothing, never_waits: true };
        self.seats.push(seat);
        if root {
            scheduler.begin(self.seats[id].task.clone());
        } else {
            self.unbegun(id, at);
        }
    }

    /// Offers that a tasklet begins.
    fn unbegun(&mut self, id: usize, at: &'static Location<'static>) {
        self.seats[id].pending = Pending::Unbegun;
        self.pending += 1;
        self.board.offer_at(self.seats[id].name, &[Branch::Default], at);
    }

    fn announced(&mut self, wait: Wait, ways: &[Way], at: &'static Location<'static>) {
        let id = wait.task.id().0 as usize;
        let name = self.seats[id].name;
        let mut branches = std::mem::take(&mut self.branches);
        branches.clear();
        for way in ways {
            let branch = match *way {
                Way::Send(channel) => self.channel(channel).map(Branch::Send),
                Way::Receive(channel) => self.channel(channel).map(Branch::Receive),
                Way::Default => Some(Branch::Default),
                Way::Timer(time) => Some(Branch::Timer(time)),
                Way::Join(tasklet) => Some(Branch::Join(self.name(tasklet))),
                Way::Touch(tasklet) => Some(Branch::Cancel(self.name(tasklet))),
                // Nobody ever joins itself.
                Way::Insert => Some(Branch::Join(name)),
                Way::Unknown => None,
            };
            if branch.is_none() {
                let what = match way {
                    Way::Unknown => "an operation of another library or another execution",
                    _ => "a channel made outside of the explored program",
                };
                self.board.refuse(name, what, at);
            }
            branches.push(branch.unwrap_or(Branch::Join(name)));
        }
        self.seats[id].never_waits = ways.contains(&Way::Default);
        self.seats[id].pending = Pending::Waiting(wait);
        self.pending += 1;
        self.board.offer_at(name, &branches, at);
        self.branches = branches;
    }

    /// Makes `event` happen: readies those who take part in it.
    fn perform(&mut self, scheduler: &Scheduler, event: Event) {
        scheduler.set_time(self.board.now(event.first.slot.tasklet));
        let first = self.ids[event.first.slot.tasklet.index()];
        let second = event.second.map(|it| self.ids[it.slot.tasklet.index()]);
        let branch = |it: super::event::Offer| u32::from(it.branch);
        let packed = |it: usize| self.seats[it].packed;
        self.pulse.let_go(packed(first), second.map_or(0, packed));
        match (event.kind, second, event.second) {
            (Kind::Meeting, Some(second), Some(offer)) => {
                // Who would not wait for the other comes second.
                if self.seats[first].never_waits {
                    self.wake(scheduler, second, branch(offer));
                    self.wake(scheduler, first, branch(event.first));
                } else {
                    self.wake(scheduler, first, branch(event.first));
                    self.wake(scheduler, second, branch(offer));
                }
            }
            (Kind::Cancelled, Some(second), _) => {
                self.pending -= 1;
                let pending = std::mem::replace(&mut self.seats[second].pending, Pending::Nothing);
                self.touched = Some((second, pending));
                self.wake(scheduler, first, branch(event.first));
            }
            _ => self.wake(scheduler, first, branch(event.first)),
        }
    }

    fn wake(&mut self, scheduler: &Scheduler, id: usize, branch: u32) {
        let seat = &mut self.seats[id];
        self.pending -= 1;
        match std::mem::replace(&mut seat.pending, Pending::Nothing) {
            Pending::Unbegun => scheduler.begin(seat.task.clone()),
            Pending::Waiting(wait) => {
                let first = wait.settle(branch);
                debug_assert!(first, "an announced operation was ended by nobody");
            }
            Pending::Nothing => debug_assert!(false, "a tasklet without a slot was chosen"),
        }
    }

    /// Collects names and places.
    fn describe(&mut self, scheduler: &Scheduler) {
        let mut details = std::mem::take(&mut self.details);
        for seat in &self.seats {
            let name = seat.task.who.name.as_ref().map(|it| it.to_string());
            let spawned_at = seat.task.who.spawned_at;
            details.tasklets.insert(seat.name, TaskletDetails { name, spawned_at });
        }
        for facts in scheduler.home.channels.list() {
            let Some(channel) = self.channel(facts.id) else { continue };
            if let Some(name) = &facts.name {
                details.name_channel(channel, name);
            }
            let holders = |all: &[Holder]| {
                let known = all.iter().filter_map(|it| Some((it.tasklet?, it.used)));
                let named = known.map(|(id, used)| (self.name(id), used));
                named.map(|(tasklet, used)| HolderDetails { tasklet, used }).collect()
            };
            if let Some(known) = details.channels.get_mut(&channel) {
                known.senders = holders(&facts.sender_holders);
                known.receivers = holders(&facts.receiver_holders);
            }
        }
        self.board.describe(details);
    }

    /// Lets a tasklet go on to which something was done that did not end its operation.
    fn release_touched(&mut self) {
        let Some((id, pending)) = self.touched.take() else { return };
        let at = self.seats[id].task.who.spawned_at;
        match pending {
            Pending::Unbegun => self.unbegun(id, at),
            Pending::Waiting(wait) => drop(wait.settle(wait::RETRY)),
            Pending::Nothing => {}
        }
    }
}

impl Decide for Bridge<'_, '_> {
    fn decide(&mut self, scheduler: &Rc<Scheduler>) -> bool {
        self.pulse.beat();
        self.report(scheduler);
        if !scheduler.home.ready.is_empty() {
            return true; // the root begins by itself
        }
        if self.touched.is_some() {
            self.release_touched();
            return true;
        }
        if self.pending != self.living {
            let what = "an operation while a partner waits for this tasklet to go on";
            self.board.refuse(TaskletName::ROOT, what, Location::caller());
        }
        match self.board.choose() {
            Some(event) => {
                self.perform(scheduler, event);
                true
            }
            None => false,
        }
    }

    fn look(&mut self, scheduler: &Rc<Scheduler>) {
        // The end of the run ends them too, and for that they have to begin.
        for seat in self.seats.iter().filter(|it| matches!(it.pending, Pending::Unbegun)) {
            scheduler.begin(seat.task.clone());
        }
        if self.board.wants_details() {
            self.describe(scheduler);
        }
    }
}
