//! Running programs: `run`, and runtimes that are configured or driven from outside.
//!
//! Always: no state of a run outlives it; when a run ends, by whatever path, its tasklets have
//! ended too, or are reported by name.
//! Runtime: `New -> Driven <-> Resting -> Drained`.

use crate::error::panic_message;
use crate::inspect::{Counts, Snapshot, StuckReport, TaskletInfo};
use crate::kernel::choice::{Choices, Chooser};
use crate::kernel::clock::{Clock, NEVER};
use crate::kernel::ready::Ready;
use crate::kernel::scheduler::{Limit, Ran, Scheduler, Sizes};
use crate::kernel::stack::lend;
use crate::kernel::task::{Failure, Home, Registry, Task, flag};
use crate::kernel::trace::{Event, Trace};
use crate::tasklet::{Builder, STACK_BYTES, SpawnError, Tasklet, body_of};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::{Location, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Operations a tasklet may do before it gives way, unless the builder says otherwise.
const BUDGET: u32 = 128;

/// Stack of the root tasklet in bytes.
const ROOT_BYTES: usize = 8 * 1024 * 1024;

/// Runs `main` as the root tasklet, and everything it spawns, on this OS thread.
///
/// When `main` returns, the remaining tasklets are cancelled and run until they have ended.
///
/// # Panics
/// With the panic of `main`, or of a tasklet nobody joined; with a [`StuckReport`] when nothing can
/// run any more; inside of another run. [`Runtime::run`] returns these as errors.
///
/// ```
/// use tasklets::{channel, run, spawn};
/// let greeting = run(|| {
///     let (tx, rx) = channel();
///     spawn(move || tx.send("hello from another tasklet"));
///     rx.recv().unwrap()
/// });
/// assert_eq!(greeting, "hello from another tasklet");
/// ```
#[track_caller]
#[doc(alias("stackless.run", "block_on", "main", "hub"))]
pub fn run<R>(main: impl FnOnce() -> R) -> R {
    match Runtime::builder().build().run(main) {
        Ok(value) => value,
        Err(RunError::Panicked(report)) => {
            if !report.is_root {
                eprintln!("tasklets: {report}");
            }
            resume_unwind(report.payload)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Configures a [`Runtime`].
///
/// ```
/// use tasklets::Runtime;
/// let runtime = Runtime::builder().seed(7).stack_size(64 * 1024).build();
/// assert_eq!(runtime.run(|| 1).unwrap(), 1);
/// ```
#[must_use = "a builder makes nothing until `build` is called"]
pub struct RuntimeBuilder {
    sizes: Sizes,
    root_bytes: usize,
    budget: u32,
    choices: Choices,
    virtual_clock: bool,
    threads: bool,
    trace: Trace,
}

impl RuntimeBuilder {
    fn new() -> RuntimeBuilder {
        let engine = std::env::var_os("TASKLETS_STACKS");
        RuntimeBuilder {
            sizes: Sizes {
                tasklets: usize::MAX,
                stack_bytes: STACK_BYTES,
                blocking_threads: crate::blocking::THREADS,
            },
            root_bytes: ROOT_BYTES,
            budget: BUDGET,
            choices: Choices::Seeded(Cell::new(0)),
            virtual_clock: false,
            threads: cfg!(miri) || engine.is_some_and(|it| it == "threads"),
            trace: Trace::default(),
        }
    }

    /// Sets the stack of tasklets that do not ask for another, in bytes (default 256 KiB; only
    /// pages that are touched take memory). At least 16 KiB, at most 1 GiB, else nothing can be
    /// spawned.
    pub fn stack_size(mut self, bytes: usize) -> RuntimeBuilder {
        self.sizes.stack_bytes = bytes;
        self
    }

    /// Sets the stack of the root tasklet, in bytes (default 8 MiB).
    pub fn root_stack_size(mut self, bytes: usize) -> RuntimeBuilder {
        self.root_bytes = bytes;
        self
    }

    /// Sets how many tasklets may be alive at a time (default: as many as the OS allows).
    pub fn max_tasklets(mut self, count: usize) -> RuntimeBuilder {
        self.sizes.tasklets = count;
        self
    }

    /// Sets how many OS threads run [`blocking`](crate::blocking()) calls (default 16, at least 1).
    pub fn blocking_threads(mut self, count: usize) -> RuntimeBuilder {
        self.sizes.blocking_threads = count;
        self
    }

    /// Sets how many operations a tasklet may do before it gives way (default 128).
    pub fn budget(mut self, operations: u32) -> RuntimeBuilder {
        self.budget = operations.max(1);
        self
    }

    /// Sets the seed of all choices (default 0): one seed, one run, as long as nothing outside
    /// differs.
    pub fn seed(mut self, seed: u64) -> RuntimeBuilder {
        self.choices = Choices::Seeded(Cell::new(seed));
        self
    }

    /// Lets `chooser` make all choices, and even say which ready tasklet runs next.
    pub fn chooser(mut self, chooser: impl Chooser + 'static) -> RuntimeBuilder {
        self.choices = Choices::Given(RefCell::new(Box::new(chooser)));
        self
    }

    /// Lets time pass only when nothing else can happen, and then at once.
    pub fn virtual_clock(mut self, on: bool) -> RuntimeBuilder {
        self.virtual_clock = on;
        self
    }

    /// Calls `hook` at every switch, channel operation, spawn and end. May be given several times.
    ///
    /// The hook runs while nothing is borrowed; it may look around but must not communicate. What
    /// it causes is not reported to hooks. If it panics during a switch, the run ends with that.
    #[doc(alias("set_schedule_callback", "set_channel_callback", "settrace"))]
    pub fn on_event(self, hook: impl Fn(&Event) + 'static) -> RuntimeBuilder {
        self.trace.listen(Rc::new(hook));
        self
    }

    /// Runs every tasklet on an OS thread of its own, one at a time, instead of switching stacks.
    ///
    /// Slow. For Miri and race detectors, which cannot follow a switch of stacks; thread-locals
    /// then differ between tasklets. Also the environment variable `TASKLETS_STACKS=threads`.
    pub fn threads_as_stacks(mut self, on: bool) -> RuntimeBuilder {
        self.threads = on;
        self
    }

    /// Makes the runtime. Nothing runs yet.
    pub fn build(self) -> Runtime {
        let home = Rc::new(Home {
            ready: Ready::default(),
            now: Cell::new(0),
            again: Cell::new(false),
            parks: Cell::new(0),
            traced: self.trace.is_on(),
            fuel: if self.trace.is_on() { 0 } else { self.budget },
            clock: Clock::new(self.virtual_clock),
            choices: self.choices,
            trace: self.trace,
            budget: self.budget,
            threads: self.threads,
            channels: Registry::default(),
        });
        let scheduler = Scheduler::new(home, self.sizes);
        Runtime { scheduler, root_bytes: self.root_bytes, left: RefCell::default() }
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

/// Tasklets and what drives them, on one OS thread.
///
/// [`run`](Self::run) drives it until a root tasklet ends. A game loop or a user interface can
/// instead [`spawn`](Self::spawn) and drive it a bit at a time: [`step`](Self::step),
/// [`run_for`](Self::run_for), [`run_until`](Self::run_until), [`run_ready`](Self::run_ready).
/// Between drives its channels can be used from outside with `try_send` and `try_recv`.
/// Dropping it cancels its tasklets and runs them until they have ended.
///
/// ```
/// use tasklets::{Progress, Runtime, channel, yield_now};
/// let game = Runtime::builder().build();
/// let (tx, rx) = channel();
/// let hero = game.spawn(move || rx.into_iter().take(2).count()).unwrap();
/// for frame in 1..=3 {
///     tx.try_send(frame).unwrap(); // nobody receives before the first frame has run
///     game.run_ready();
/// }
/// assert!(hero.is_finished());
/// ```
pub struct Runtime {
    scheduler: Rc<Scheduler>,
    root_bytes: usize,
    left: RefCell<Vec<TaskletInfo>>,
}

/// How far a [`Runtime`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What it was allowed is used up; more can run.
    More,
    /// Nothing is ready; a timer or something outside may change that.
    Idle,
    /// Nothing is ready, and only whoever drives the runtime can change that.
    Stuck,
}

impl Runtime {
    /// Starts to configure a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    /// Runs `main` as the root tasklet until it has ended, then ends all others.
    ///
    /// # Errors
    /// [`RunError::Stuck`] when nothing can run any more; [`RunError::Panicked`] when `main`, or a
    /// tasklet nobody joined, panicked; [`RunError::Nested`] inside of another run;
    /// [`RunError::Spawn`] if the root tasklet gets no stack. In every case all tasklets have
    /// ended.
    #[track_caller]
    pub fn run<R>(&self, main: impl FnOnce() -> R) -> Result<R, RunError> {
        let at = Location::caller();
        self.check_alone()?;
        let (body, value) = body_of(main);
        let ended = lend((), |loan| {
            let body = loan.erase(Box::new(body));
            let root = Builder::new().stack_size(self.root_bytes);
            let root = root.queue(&self.scheduler, body, at).map_err(RunError::Spawn)?;
            self.drive_to_end(&root)?;
            Ok(root)
        });
        let root = ended?;
        if let Some(value) = value.take() {
            return Ok(value);
        }
        match root.extra().failure.take() {
            Some(Failure::Panicked(payload)) => {
                Err(RunError::Panicked(PanicReport::new(&root, payload, true)))
            }
            Some(Failure::Cancelled) | None => Err(RunError::Cancelled),
        }
    }

    /// Drives until `root` has ended, then drains; every error is found before the drain.
    fn drive_to_end(&self, root: &Rc<Task>) -> Result<(), RunError> {
        let limit = Limit {
            until_ended: Some(root),
            switches: u64::MAX,
            at: NEVER,
            sleep: true,
            until_failed: true,
        };
        let ran = self.scheduler.drive(&limit);
        let stuck = (ran == Ran::Stuck).then(|| StuckReport::of(&self.scheduler));
        let left = Snapshot::of(&self.scheduler).tasklets;
        let left = left.into_iter().filter(|it| !it.daemon && it.waiting.is_some());
        *self.left.borrow_mut() = left.collect();
        self.scheduler.drain();
        self.report_abandoned();
        if let Some(report) = stuck {
            return Err(RunError::Stuck(Box::new(report)));
        }
        if root.has(flag::DETACHED) && root.has(flag::ABANDONED) {
            return Ok(());
        }
        self.first_panic(root).map_or(Ok(()), |it| Err(RunError::Panicked(it)))
    }

    /// The first panic that nobody took, other than `root`'s own.
    fn first_panic(&self, root: &Rc<Task>) -> Option<PanicReport> {
        if let Some(payload) = self.scheduler.stray_panic.take() {
            return Some(PanicReport::stray(payload));
        }
        let panicked = self.scheduler.panicked.take();
        let mut others = panicked.into_iter().filter(|it| !Rc::ptr_eq(it, root));
        others.find_map(|task| match task.extra().failure.take() {
            Some(Failure::Panicked(payload)) => Some(PanicReport::new(&task, payload, false)),
            Some(Failure::Cancelled) | None => None,
        })
    }

    fn report_abandoned(&self) {
        for task in self.scheduler.abandoned.take() {
            let at = task.who.spawned_at;
            eprintln!(
                "tasklets: {task:?}, spawned at {at}, swallowed its cancellation: it is suspended \
                 for good and its stack is leaked"
            );
        }
    }

    fn check_alone(&self) -> Result<(), RunError> {
        if Scheduler::active().is_some() { Err(RunError::Nested) } else { Ok(()) }
    }

    /// Makes a tasklet, to be driven with [`run_ready`](Self::run_ready) and its like.
    ///
    /// # Errors
    /// As [`Builder::spawn`](crate::Builder::spawn).
    #[track_caller]
    pub fn spawn<T: 'static>(
        &self,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<Tasklet<T>, SpawnError> {
        self.spawn_with(Builder::new(), f)
    }

    /// [`spawn`](Self::spawn) with a name or a stack of another size.
    ///
    /// # Errors
    /// As [`Builder::spawn`](crate::Builder::spawn).
    #[track_caller]
    pub fn spawn_with<T: 'static>(
        &self,
        builder: Builder,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<Tasklet<T>, SpawnError> {
        let (body, value) = body_of(f);
        let task = builder.queue(&self.scheduler, Box::new(body), Location::caller())?;
        Ok(Tasklet::new(task, value))
    }

    /// Lets one tasklet run until it suspends.
    ///
    /// # Errors
    /// [`RunError::Panicked`] when a tasklet nobody can join panicked; [`RunError::Nested`] inside
    /// of another run.
    pub fn step(&self) -> Result<Progress, RunError> {
        self.drive(1, NEVER, false)
    }

    /// Lets at most `switches` tasklets run, one after the other; never sleeps.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    #[doc(alias = "watchdog")]
    pub fn run_for(&self, switches: u64) -> Result<Progress, RunError> {
        self.drive(switches, NEVER, false)
    }

    /// Runs until `deadline`, sleeping when nothing is ready.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn run_until(&self, deadline: Instant) -> Result<Progress, RunError> {
        self.drive(u64::MAX, self.scheduler.home.clock.nanos(deadline), true)
    }

    /// Runs until nothing is ready; never sleeps.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    #[doc(alias = "pump")]
    pub fn run_ready(&self) -> Result<Progress, RunError> {
        self.drive(u64::MAX, NEVER, false)
    }

    /// Runs, sleeping when nothing is ready, until no tasklet can ever run by itself.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn run_to_end(&self) -> Result<Progress, RunError> {
        self.drive(u64::MAX, NEVER, true)
    }

    fn drive(&self, switches: u64, at: u64, sleep: bool) -> Result<Progress, RunError> {
        self.check_alone()?;
        let limit = Limit { until_ended: None, switches, at, sleep, until_failed: true };
        let ran = self.scheduler.drive(&limit);
        if let Some(payload) = self.scheduler.stray_panic.take() {
            return Err(RunError::Panicked(PanicReport::stray(payload)));
        }
        match ran {
            Ran::Limit | Ran::Ended => Ok(Progress::More),
            Ran::Idle => Ok(Progress::Idle),
            Ran::Stuck => Ok(Progress::Stuck),
            Ran::Failed => self
                .detached_panic()
                .map_or(Ok(Progress::More), |report| Err(RunError::Panicked(report))),
        }
    }

    /// The first panic of a tasklet whose handle is gone.
    fn detached_panic(&self) -> Option<PanicReport> {
        let mut panicked = self.scheduler.panicked.borrow_mut();
        let index = panicked.iter().position(|it| {
            let failure = it.extra().failure.borrow();
            it.has(flag::DETACHED) && matches!(*failure, Some(Failure::Panicked(_)))
        })?;
        let task = panicked.remove(index);
        drop(panicked);
        match task.extra().failure.take() {
            Some(Failure::Panicked(payload)) => Some(PanicReport::new(&task, payload, false)),
            Some(Failure::Cancelled) | None => None,
        }
    }

    /// The time from now until the next timer; `None` if there is none.
    pub fn next_timer(&self) -> Option<Duration> {
        self.scheduler.next_timer()
    }

    /// How many tasklets are in which state.
    pub fn counts(&self) -> Counts {
        Snapshot::of(&self.scheduler).counts
    }

    /// A picture of the runtime: [`snapshot`](crate::snapshot) from outside.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.scheduler)
    }

    /// What waited when the last [`run`](Self::run) ended, daemons left out.
    pub fn left_behind(&self) -> Vec<TaskletInfo> {
        self.left.borrow().clone()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.scheduler.is_unused() {
            return;
        }
        // Whatever panicked and was not asked for ends here, like a detached thread's panic.
        self.scheduler.drain();
        self.report_abandoned();
        drop(self.scheduler.panicked.take());
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// Why a run gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Nothing could run any more.
    Stuck(Box<StuckReport>),
    /// The root, or a tasklet nobody joined, panicked.
    Panicked(PanicReport),
    /// The root tasklet was cancelled before it began, or unwound because it ignored that.
    Cancelled,
    /// A run is under way on this OS thread already; a scope or a spawn is what is wanted.
    Nested,
    /// The root tasklet could not be made.
    Spawn(SpawnError),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Stuck(report) => report.fmt(f),
            RunError::Panicked(report) => report.fmt(f),
            RunError::Cancelled => f.write_str("the root tasklet was cancelled"),
            RunError::Nested => f.write_str(
                "a run inside of another run on the same OS thread: use `scope` or `spawn`",
            ),
            RunError::Spawn(error) => error.fmt(f),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RunError::Spawn(error) => Some(error),
            RunError::Stuck(_) | RunError::Panicked(_) | RunError::Cancelled | RunError::Nested => {
                None
            }
        }
    }
}

/// The report of a panic that ended a run.
pub struct PanicReport {
    /// Who panicked: its name and path.
    pub tasklet: String,
    /// Where it was spawned; `None` for a hook or a destructor that ran outside of any tasklet.
    pub spawned_at: Option<&'static Location<'static>>,
    /// Whether it was the root.
    pub is_root: bool,
    /// What it panicked with.
    pub payload: Box<dyn Any + Send>,
}

impl PanicReport {
    fn new(task: &Rc<Task>, payload: Box<dyn Any + Send>, is_root: bool) -> PanicReport {
        let spawned_at = Some(task.who.spawned_at);
        PanicReport { tasklet: format!("{task:?}"), spawned_at, is_root, payload }
    }

    fn stray(payload: Box<dyn Any + Send>) -> PanicReport {
        let tasklet = "a hook or a destructor outside of any tasklet".into();
        PanicReport { tasklet, spawned_at: None, is_root: false, payload }
    }

    /// The message of a panic made with a string.
    pub fn message(&self) -> &str {
        panic_message(&*self.payload)
    }
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tasklet)?;
        if let Some(at) = self.spawned_at {
            write!(f, ", spawned at {at},")?;
        }
        write!(f, " panicked: {}", self.message())?;
        if self.is_root { Ok(()) } else { f.write_str(" (nobody joined it)") }
    }
}

impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
