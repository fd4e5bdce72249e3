//! Who waits for what, now: the same facts on demand, in the stuck report and after a run.
//!
//! Always: asking changes nothing but the caller's time, and runs no code of the user.

mod counts;
mod offers;
mod stuck;

pub use counts::Counts;
pub use stuck::StuckReport;

use crate::blocking::{BlockingInfo, Pool};
use crate::kernel::announce;
use crate::kernel::name::TaskletId;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{ChannelFacts, Doing, Task, flag};
use crate::kernel::trace::{ChannelId, Direction};
use crate::tasklet::{State, TaskletRef};
use offers::{Offers, channel_text, verb};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

/// A picture of a run at one moment.
///
/// It prints as the report of a stuck run does.
///
/// ```
/// use tasklets::{Runtime, pause};
/// let runtime = Runtime::builder().build();
/// runtime.spawn(|| pause()).unwrap();
/// runtime.run_ready().unwrap();
/// let text = runtime.snapshot().to_string();
/// assert!(text.starts_with("1 tasklets: 0 runnable, 0 blocked, 0 sleeping, 0 calling, "));
/// assert!(text.contains(" 0 polling, 1 paused"));
/// assert!(text.contains("waits to be inserted into the ready queue at "));
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Every tasklet that has not ended, in the order of spawning.
    pub tasklets: Vec<TaskletInfo>,
    /// Every channel that was made in the run or that a tasklet of it has waited on.
    pub channels: Vec<ChannelInfo>,
    /// How many tasklets are in which state.
    pub counts: Counts,
    /// The threads for blocking calls.
    pub blocking: BlockingInfo,
}

/// One tasklet.
///
/// ```
/// use tasklets::{Builder, State, pause, run, snapshot};
/// run(|| {
///     let daemon = Builder::new().name("clock").daemon(true).spawn(pause).unwrap();
///     daemon.cancel();
///     let now = snapshot().unwrap();
///     let info = now.tasklet(daemon.id()).unwrap();
///     assert_eq!((info.name.as_deref(), info.state), (Some("clock"), State::Ready));
///     assert!(info.daemon && info.cancelled && info.waiting.is_none());
/// });
/// ```
#[derive(Clone, Debug)]
pub struct TaskletInfo {
    /// Its id.
    pub id: TaskletId,
    /// Its place in the tree of spawns.
    pub path: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// What it is about.
    pub state: State,
    /// Whether it has been cancelled.
    pub cancelled: bool,
    /// Whether it is a daemon.
    pub daemon: bool,
    /// What it waits for.
    pub waiting: Option<Waiting>,
}

/// What a tasklet waits for.
///
/// ```
/// use tasklets::{pause, run, snapshot, spawn, yield_now};
/// run(|| {
///     let (target, line) = (spawn(|| pause()), line!());
///     yield_now();
///     let waiting = snapshot().unwrap().tasklet(target.id()).unwrap().waiting.clone().unwrap();
///     assert_eq!(waiting.operations.len(), 1);
///     assert_eq!(waiting.at.line(), line); // where in the source it waits
///     target.cancel();
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The operations, one of which will end the wait.
    pub operations: Vec<Pending>,
    /// Where the operation is in the source.
    pub at: &'static Location<'static>,
    /// For how long, as exact as the scheduler's last look at the clock.
    pub since: Duration,
}

/// One thing a tasklet waits for.
///
/// ```
/// use tasklets::{Direction, Never, Pending, channel, run, snapshot, spawn, yield_now};
/// run(|| {
///     let (tx, rx) = channel::<Never>();
///     let reader = spawn(move || rx.recv());
///     yield_now();
///     let now = snapshot().unwrap();
///     let waiting = now.tasklet(reader.id()).unwrap().waiting.as_ref().unwrap();
///     let Pending::Channel { channel, direction, held_by, .. } = &waiting.operations[0] else {
///         panic!("it receives")
///     };
///     assert_eq!((*channel, *direction), (tx.id(), Direction::Receive));
///     assert_eq!(held_by, &[now.tasklets[0].id]); // the root could help it
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Pending {
    /// A partner on a channel.
    Channel {
        /// Which.
        channel: ChannelId,
        /// Its name.
        name: Option<String>,
        /// Where it was made.
        made_at: &'static Location<'static>,
        /// What it would do.
        direction: Direction,
        /// Tasklets known to hold the other end: each made, cloned or last used a handle of it. A
        /// handle that was moved and not used since is counted for its maker.
        held_by: Vec<TaskletId>,
        /// The tasklet that holds every handle of the other end, if there is certainly one: it has
        /// used each of them since it got it.
        only_holder: Option<TaskletId>,
    },
    /// An operation on a [shared](crate::shared) channel, whose other end may be anywhere.
    Shared {
        /// Which.
        channel: ChannelId,
        /// Its name.
        name: Option<String>,
        /// Where it was made.
        made_at: &'static Location<'static>,
        /// What it would do.
        direction: Direction,
    },
    /// A partner that has met it already: the value that it owes, or its acceptance of the value.
    Partner {
        /// On which channel.
        channel: ChannelId,
        /// Its name.
        name: Option<String>,
        /// Where it was made; `None` if no handle of it is left.
        made_at: Option<&'static Location<'static>>,
        /// Who met it, if it was a tasklet. (It may have given the [`Held`](crate::Held) away.)
        tasklet: Option<TaskletId>,
    },
    /// The end of a tasklet.
    Tasklet(TaskletId),
    /// The end of a tasklet of a [worker](crate::shared::Workers).
    Away,
    /// A time, so long after the start of the run.
    Time(Duration),
    /// A call on another OS thread.
    Call,
    /// A future.
    #[cfg(feature = "futures")]
    Future,
    /// That the descriptor with this number can be read.
    Readable(i32),
    /// That the descriptor with this number can be written.
    Writable(i32),
    /// The end of the process with this number.
    Process(u32),
    /// A signal.
    Signal,
    /// The end of so many tasklets of a scope.
    Scope(u32),
    /// To be put back into the ready queue.
    Insertion,
    /// Other arms of a select: timers, joins.
    Others(u32),
}

/// One channel.
///
/// ```
/// use tasklets::{channel, run, snapshot, spawn, yield_now};
/// run(|| {
///     let (tx, rx) = channel::<u8>();
///     let (second, writer) = (rx.clone(), spawn(move || tx.send(1)));
///     yield_now();
///     let info = &snapshot().unwrap().channels[0];
///     assert_eq!((info.id, info.sender_handles, info.receiver_handles), (rx.id(), 1, 2));
///     assert_eq!(info.senders_waiting, [writer.id()]);
///     second.recv().unwrap();
/// });
/// ```
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    /// Its id.
    pub id: ChannelId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was made.
    pub made_at: &'static Location<'static>,
    /// Who waits to send, first come first.
    pub senders_waiting: Vec<TaskletId>,
    /// Who waits to receive, first come first.
    pub receivers_waiting: Vec<TaskletId>,
    /// Living handles of the sending end.
    pub sender_handles: usize,
    /// Living handles of the receiving end.
    pub receiver_handles: usize,
}

/// A picture of the run this is called in.
///
/// `None` outside of a run. Takes time in proportion to the tasklets and channels there are.
///
/// ```
/// use tasklets::{Never, State, channel, run, snapshot, spawn, yield_now};
/// run(|| {
///     let (_tx, rx) = channel::<Never>();
///     let reader = spawn(move || rx.recv());
///     yield_now();
///     let now = snapshot().unwrap();
///     assert_eq!((now.counts.runnable, now.counts.blocked), (1, 1));
///     assert_eq!(now.tasklets[1].state, State::Waiting);
///     println!("{now}");
///     reader.cancel();
/// });
/// ```
#[doc(alias("print_run_info", "getruncount", "threads", "dump"))]
#[track_caller]
pub fn snapshot() -> Option<Snapshot> {
    announce::refuse("taking a snapshot", Location::caller());
    Scheduler::active().map(|it| Snapshot::of(&it))
}

impl Snapshot {
    pub(crate) fn of(scheduler: &Scheduler) -> Snapshot {
        let facts = scheduler.home.channels.list();
        let (tasks, offers) = (scheduler.tasks(), Offers::of(&facts));
        let mut counts = Counts::default();
        let tasklets = tasks.iter().map(|it| TaskletInfo::of(it, &offers, &mut counts)).collect();
        let channels = facts.iter().map(ChannelInfo::of).collect();
        Snapshot { tasklets, channels, counts, blocking: scheduler.extension::<Pool>().info() }
    }

    /// The tasklet with this id.
    ///
    /// ```
    /// use tasklets::{State, run, snapshot, spawn};
    /// run(|| {
    ///     let child = spawn(|| ());
    ///     let before = snapshot().unwrap();
    ///     let id = child.id();
    ///     child.join().unwrap();
    ///     assert_eq!(before.tasklet(id).unwrap().state, State::Ready); // as it was then
    ///     assert!(snapshot().unwrap().tasklet(id).is_none());
    /// });
    /// ```
    pub fn tasklet(&self, id: TaskletId) -> Option<&TaskletInfo> {
        self.tasklets.iter().find(|it| it.id == id)
    }

    /// Tasklets each of which waits only for the next, and the last for the first; empty if there
    /// is no such cycle, or it cannot be known who holds the ends. Others may still run.
    ///
    /// ```
    /// use tasklets::{Runtime, channel, yield_now};
    /// let runtime = Runtime::builder().build();
    /// let ((to_b, at_b), (to_a, at_a)) = (channel::<u8>(), channel::<u8>());
    /// for (tx, rx) in [(to_b, at_a), (to_a, at_b)] {
    ///     // Using an end tells who holds it. The mistake: each wants the other to speak first.
    ///     let polite = move || (tx.try_send(0), yield_now(), rx.recv(), tx.send(1));
    ///     runtime.spawn(polite).unwrap();
    /// }
    /// runtime.run_ready().unwrap();
    /// assert_eq!(runtime.snapshot().cycle().len(), 2);
    /// ```
    pub fn cycle(&self) -> Vec<TaskletId> {
        let awaited = |info: &TaskletInfo| match info.waiting.as_ref()?.operations.as_slice() {
            // Only a tasklet that certainly holds the whole other end makes a link.
            [Pending::Channel { only_holder, .. }] => *only_holder,
            [Pending::Tasklet(id)] => Some(*id),
            _ => None,
        };
        let next: BTreeMap<_, _> =
            self.tasklets.iter().filter_map(|it| Some((it.id, awaited(it)?))).collect();
        let mut walked = BTreeSet::new();
        for start in next.keys() {
            let (mut line, mut here) = (Vec::new(), Some(start));
            while let Some(id) = here.filter(|it| walked.insert(**it)) {
                line.push(*id);
                here = next.get(id);
            }
            if let Some(place) = line.iter().position(|it| Some(it) == here) {
                return line.split_off(place);
            }
        }
        Vec::new()
    }

    fn label(&self, id: TaskletId) -> String {
        self.tasklet(id).map_or_else(|| format!("{id} (ended)"), TaskletInfo::label)
    }

    /// Writes a tasklet's lines of a report.
    pub(crate) fn describe(&self, info: &TaskletInfo, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}, spawned at {}", info.label(), info.spawned_at)?;
        let Some(waiting) = &info.waiting else { return writeln!(f, ": {:?}", info.state) };
        let what: Vec<_> = waiting.operations.iter().map(|it| self.phrase(it)).collect();
        writeln!(f)?;
        let (what, at, since) = (what.join(" or "), waiting.at, waiting.since);
        writeln!(f, "      waits to {what} at {at}, for {since:?}")?;
        for operation in &waiting.operations {
            if let Pending::Channel { held_by, direction, .. } = operation {
                let end = match direction {
                    Direction::Send => "receiving",
                    Direction::Receive => "sending",
                };
                let holders: Vec<_> = held_by.iter().map(|it| self.label(*it)).collect();
                match holders.as_slice() {
                    [] => writeln!(f, "      nobody known holds the {end} end")?,
                    _ => writeln!(f, "      the {end} end is held by {}", holders.join(", "))?,
                }
            }
        }
        Ok(())
    }

    fn phrase(&self, operation: &Pending) -> String {
        match operation {
            Pending::Channel { channel, name, made_at, direction, .. } => {
                let channel = channel_text(*channel, name.as_ref(), Some(made_at));
                format!("{} {channel}", verb(*direction))
            }
            Pending::Shared { channel, name, made_at, direction } => {
                let channel = channel_text(*channel, name.as_ref(), Some(made_at));
                format!("{} shared {channel}", verb(*direction))
            }
            Pending::Partner { channel, name, made_at, tasklet } => {
                let partner = tasklet.map_or("somebody".into(), |it| self.label(it));
                let on = channel_text(*channel, name.as_ref(), *made_at);
                format!("complete its meeting with {partner} on {on}")
            }
            Pending::Tasklet(id) => format!("join {}", self.label(*id)),
            Pending::Away => "join a tasklet of a worker".into(),
            Pending::Time(at) => format!("wake {at:?} after the start"),
            Pending::Call => "get the result of a blocking call".into(),
            #[cfg(feature = "futures")]
            Pending::Future => "see a future completed".into(),
            Pending::Readable(number) => format!("read descriptor {number}"),
            Pending::Writable(number) => format!("write descriptor {number}"),
            Pending::Process(number) => format!("see process {number} end"),
            Pending::Signal => "get a signal".into(),
            Pending::Scope(count) => format!("leave a scope with {count} tasklets"),
            Pending::Insertion => "be inserted into the ready queue".into(),
            Pending::Others(count) => format!("see one of {count} other operations happen"),
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { runnable, blocked, sleeping, calling, polling, paused } = self.counts;
        writeln!(
            f,
            "{} tasklets: {runnable} runnable, {blocked} blocked, {sleeping} sleeping, {calling} \
             calling, {polling} polling, {paused} paused",
            self.tasklets.len()
        )?;
        let BlockingInfo { threads, under_way, queued } = self.blocking;
        if threads > 0 {
            writeln!(f, "  blocking: {threads} threads, {under_way} at work, {queued} queued")?;
        }
        self.tasklets.iter().try_for_each(|it| self.describe(it, f))
    }
}

impl TaskletInfo {
    pub(crate) fn of(task: &Rc<Task>, offers: &Offers<'_>, counts: &mut Counts) -> TaskletInfo {
        let state = TaskletRef { task: task.clone() }.present_state();
        let count = match (state, task.doing.get()) {
            (State::Ready | State::Running | State::Finished, _) => &mut counts.runnable,
            (State::Paused, _) => &mut counts.paused,
            (State::Waiting, Doing::Sleeping(_)) => &mut counts.sleeping,
            (State::Waiting, Doing::Calling) => &mut counts.calling,
            (
                State::Waiting,
                Doing::Reading(_) | Doing::Writing(_) | Doing::Exiting(_) | Doing::Signalled,
            ) => &mut counts.polling,
            (State::Waiting, _) => &mut counts.blocked,
        };
        *count += 1;
        TaskletInfo {
            id: task.id(),
            path: task.who.path_text(),
            name: task.who.name.as_deref().map(str::to_owned),
            spawned_at: task.who.spawned_at,
            state,
            cancelled: task.has(flag::CANCELLED),
            daemon: task.has(flag::DAEMON),
            waiting: Waiting::of(task, state, offers),
        }
    }

    /// Its name and path.
    ///
    /// ```
    /// use tasklets::{Builder, Runtime};
    /// let runtime = Runtime::builder().build();
    /// let named = Builder::new().name("reader");
    /// let _handles = (runtime.spawn_with(named, || ()), runtime.spawn(|| ()));
    /// let labels: Vec<_> = runtime.snapshot().tasklets.iter().map(|it| it.label()).collect();
    /// assert_eq!(labels, ["`reader` (out.1)", "out.2"]);
    /// ```
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("`{name}` ({})", self.path),
            None => self.path.clone(),
        }
    }
}

impl Waiting {
    fn of(task: &Task, state: State, offers: &Offers<'_>) -> Option<Waiting> {
        if !matches!(state, State::Waiting | State::Paused) {
            return None;
        }
        let mut operations = offers.of_tasklet(task.id());
        let doing = if state == State::Paused { Doing::Paused } else { task.doing.get() };
        match doing {
            // Another run has used the channel since: it is listed there.
            Doing::Sending(channel) | Doing::Receiving(channel) if operations.is_empty() => {
                let (name, made_at, tasklet) = (None, None, None);
                operations.push(Pending::Partner { channel, name, made_at, tasklet });
            }
            Doing::Nothing | Doing::Sending(_) | Doing::Receiving(_) => {}
            Doing::Selecting(width) => {
                let others = width.saturating_sub(operations.len() as u32);
                if others > 0 {
                    operations.push(Pending::Others(others));
                }
            }
            Doing::Meeting(channel, partner) => {
                let facts = offers.channel(channel);
                let name = facts.and_then(|it| it.name.as_deref().map(str::to_owned));
                let (made_at, tasklet) = (facts.map(|it| it.made_at), partner.known());
                operations.push(Pending::Partner { channel, name, made_at, tasklet });
            }
            Doing::Joining(other) => operations.push(Pending::Tasklet(other)),
            Doing::JoiningAway => operations.push(Pending::Away),
            Doing::Sleeping(at) => operations.push(Pending::Time(Duration::from_nanos(at))),
            Doing::Calling => operations.push(Pending::Call),
            #[cfg(feature = "futures")]
            Doing::Awaiting => operations.push(Pending::Future),
            Doing::Reading(number) => operations.push(Pending::Readable(number)),
            Doing::Writing(number) => operations.push(Pending::Writable(number)),
            Doing::Exiting(process) => operations.push(Pending::Process(process)),
            Doing::Signalled => operations.push(Pending::Signal),
            Doing::ScopeEnd(count) => operations.push(Pending::Scope(count)),
            Doing::Paused => operations.push(Pending::Insertion),
        }
        let now = task.home.clock.now();
        Some(Waiting {
            operations,
            at: task.at.get().unwrap_or(task.who.spawned_at),
            // The last digits of the time of parking tell tasklets apart.
            since: Duration::from_micros((now.saturating_sub(task.arrived.get()) + 500) / 1_000),
        })
    }
}

impl ChannelInfo {
    fn of(facts: &ChannelFacts) -> ChannelInfo {
        ChannelInfo {
            id: facts.id,
            name: facts.name.as_deref().map(str::to_owned),
            made_at: facts.made_at,
            senders_waiting: facts.senders_waiting.clone(),
            receivers_waiting: facts.receivers_waiting.clone(),
            sender_handles: facts.sender_holders.len(),
            receiver_handles: facts.receiver_holders.len(),
        }
    }
}
