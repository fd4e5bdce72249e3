//! Running programs: `run`, and runtimes that are configured or driven from outside.
//!
//! Always: no state of a run outlives it; when a run ends, by whatever path, its tasklets have
//! ended too, or are reported by name.
//! Runtime: `New -> Driven <-> Resting -> Drained`.

mod builder;
mod controlled;
mod report;

pub use builder::RuntimeBuilder;
pub(crate) use controlled::Decide;
pub use report::{PanicReport, Progress, RunError};

use crate::error::complain;
use crate::inspect::{Counts, Snapshot, StuckReport, TaskletInfo};
use crate::kernel::clock::NEVER;
use crate::kernel::scheduler::{Limit, Ran, Scheduler};
use crate::kernel::stack::lend;
use crate::kernel::task::{Failure, Task, flag};
use crate::tasklet::{Builder, SpawnError, Tasklet, fulfil};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

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
                complain(format_args!("{report}"));
            }
            resume_unwind(report.payload)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Tasklets and what drives them, on one OS thread.
///
/// [`run`](Self::run) drives it until a root tasklet ends. A game loop or a user interface can
/// instead [`spawn`](Self::spawn) and drive it a bit at a time: [`step`](Self::step),
/// [`run_for`](Self::run_for), [`run_until`](Self::run_until), [`run_ready`](Self::run_ready).
/// Between drives its channels can be used from outside with `try_send` and `try_recv`.
/// Dropping it cancels its tasklets and runs them until they have ended; if that happens while
/// the thread panics, [they see the panic](crate::guide::must_not#destructors).
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

impl Runtime {
    /// Starts to configure a runtime.
    ///
    /// ```
    /// use tasklets::{Runtime, sleep};
    /// let runtime = Runtime::builder().virtual_clock(true).build(); // tests need not wait
    /// let slept = runtime.run(|| sleep(std::time::Duration::from_secs(86_400)));
    /// assert_eq!(slept.unwrap(), Ok(()));
    /// ```
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    /// Runs `main` as the root tasklet until it has ended, then ends all others.
    ///
    /// # Errors
    /// [`RunError::Stuck`] when nothing can run any more; [`RunError::Panicked`] when `main`, or a
    /// tasklet nobody joined, panicked; [`RunError::Nested`] inside of another run, and
    /// [`RunError::Spawn`] if the root cannot be made: nothing has run then. In every other case
    /// all tasklets have ended.
    ///
    /// ```
    /// use tasklets::{RunError, Runtime, pause};
    /// let runtime = Runtime::builder().build();
    /// assert_eq!(runtime.run(|| 1).unwrap(), 1);
    /// assert!(matches!(runtime.run(pause), Err(RunError::Stuck(_)))); // nobody inserts it
    /// assert_eq!(runtime.run(|| 2).unwrap(), 2);
    /// ```
    #[track_caller]
    pub fn run<R>(&self, main: impl FnOnce() -> R) -> Result<R, RunError> {
        let at = Location::caller();
        self.check_alone()?;
        let value = Cell::new(None);
        let ended = lend((), |loan| {
            let body = loan.erase(|| fulfil(main, &value));
            let root = Builder::new().stack_size(self.root_bytes).root();
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
            Some(Failure::Cancelled | Failure::Reported) | None => Err(RunError::Cancelled),
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
        let drive = AssertUnwindSafe(|| self.scheduler.drive(&limit));
        let ran = catch_unwind(drive).unwrap_or_else(|panic| {
            self.scheduler.drain(); // before it goes on: the root may borrow
            resume_unwind(panic)
        });
        let stuck = (ran == Ran::Stuck).then(|| StuckReport::of(&self.scheduler));
        let left = Snapshot::of(&self.scheduler).tasklets;
        let left = left.into_iter().filter(|it| !it.daemon && it.waiting.is_some());
        *self.left.borrow_mut() = left.collect();
        self.scheduler.drain();
        self.report_abandoned();
        let panic = self.first_panic(root);
        if let Some(report) = stuck {
            if let Some(panic) = panic {
                complain(format_args!("while the stuck run was ended, {panic}"));
            }
            return Err(RunError::Stuck(Box::new(report)));
        }
        panic.map_or(Ok(()), |it| Err(RunError::Panicked(it)))
    }

    /// The first panic that nobody took, other than `root`'s own.
    fn first_panic(&self, root: &Rc<Task>) -> Option<PanicReport> {
        let panicked = self.scheduler.panicked.take();
        if let Some(payload) = self.scheduler.stray_panic.take() {
            return Some(PanicReport::stray(payload));
        }
        let mut others = panicked.into_iter().filter(|it| !Rc::ptr_eq(it, root));
        others.find_map(|task| take_panic(&task))
    }

    fn report_abandoned(&self) {
        for task in self.scheduler.abandoned.take() {
            let at = task.who.spawned_at;
            complain(format_args!(
                "{task:?}, spawned at {at}, swallowed its cancellation: it is suspended for good \
                 and its stack is leaked"
            ));
        }
    }

    fn check_alone(&self) -> Result<(), RunError> {
        if Scheduler::active().is_some() { Err(RunError::Nested) } else { Ok(()) }
    }

    /// Makes a tasklet, to be driven with [`run_ready`](Self::run_ready) and its like.
    ///
    /// Returns at once: nothing runs before the runtime is driven. If the handle is dropped and the
    /// tasklet panics, the drive returns that panic.
    ///
    /// # Errors
    /// As [`Builder::spawn`](crate::Builder::spawn).
    ///
    /// ```
    /// use tasklets::Runtime;
    /// let runtime = Runtime::builder().build();
    /// let answer = runtime.spawn(|| 6 * 7).unwrap();
    /// assert!(!answer.is_finished());
    /// runtime.run_ready().unwrap();
    /// assert_eq!(answer.join().unwrap(), 42); // what has ended is joined from outside, too
    /// ```
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
    ///
    /// ```
    /// use tasklets::{Builder, Runtime};
    /// let runtime = Runtime::builder().build();
    /// let script = Builder::new().name("script").stack_size(1 << 20);
    /// let script = runtime.spawn_with(script, || "ran").unwrap();
    /// assert_eq!((script.name(), script.path()), (Some("script"), "out.1".into()));
    /// runtime.run_ready().unwrap();
    /// assert_eq!(script.join().unwrap(), "ran");
    /// ```
    #[track_caller]
    pub fn spawn_with<T: 'static>(
        &self,
        builder: Builder,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<Tasklet<T>, SpawnError> {
        builder.make(&self.scheduler, f, Location::caller())
    }

    /// Lets one tasklet run until it suspends.
    ///
    /// # Errors
    /// [`RunError::Panicked`] when a tasklet nobody can join panicked; [`RunError::Nested`] inside
    /// of another run.
    ///
    /// ```
    /// use tasklets::{Progress, Runtime, yield_now};
    /// let runtime = Runtime::builder().build();
    /// let twice = runtime.spawn(|| yield_now()).unwrap();
    /// assert_eq!(runtime.step().unwrap(), Progress::More); // it gave way
    /// assert!(!twice.is_finished());
    /// runtime.step().unwrap();
    /// assert!(twice.is_finished());
    /// ```
    pub fn step(&self) -> Result<Progress, RunError> {
        self.drive(1, NEVER, false)
    }

    /// Lets at most `switches` tasklets run, one after the other; never sleeps.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    ///
    /// ```
    /// use tasklets::{Progress, Runtime, yield_now};
    /// let runtime = Runtime::builder().build();
    /// let endless = runtime.spawn(|| loop { yield_now() }).unwrap();
    /// for _frame in 0..3 {
    ///     assert_eq!(runtime.run_for(100).unwrap(), Progress::More); // the caller has its turn
    /// }
    /// endless.cancel(); // a loop that never asks is unwound when the runtime is dropped
    /// ```
    #[doc(alias = "watchdog")]
    pub fn run_for(&self, switches: u64) -> Result<Progress, RunError> {
        self.drive(switches, NEVER, false)
    }

    /// Runs until `deadline`, sleeping when nothing is ready.
    ///
    /// Returns earlier when nothing can run any more but by the caller's doing.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Progress, Runtime, sleep};
    /// let runtime = Runtime::builder().virtual_clock(true).build();
    /// let sleeper = runtime.spawn(|| sleep(Duration::from_secs(10))).unwrap();
    /// let soon = runtime.now() + Duration::from_secs(5);
    /// assert_eq!(runtime.run_until(soon).unwrap(), Progress::Idle);
    /// assert!(runtime.now() >= soon && !sleeper.is_finished());
    /// let later = soon + Duration::from_secs(60);
    /// assert_eq!(runtime.run_until(later).unwrap(), Progress::Stuck);
    /// assert!(sleeper.is_finished() && runtime.now() < later);
    /// ```
    pub fn run_until(&self, deadline: Instant) -> Result<Progress, RunError> {
        self.drive(u64::MAX, self.scheduler.home.clock.nanos(deadline), true)
    }

    /// Runs until nothing is ready; never sleeps.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    ///
    /// ```
    /// use tasklets::{Progress, Runtime, channel};
    /// let runtime = Runtime::builder().build();
    /// let (tx, rx) = channel();
    /// let sum = runtime.spawn(move || rx.into_iter().sum::<i32>()).unwrap();
    /// for event in [1, 2, 3] {
    ///     assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck); // it waits for the caller
    ///     assert_eq!(tx.try_send(event), Ok(None)); // a loop of events hands one in
    /// }
    /// drop(tx);
    /// runtime.run_ready().unwrap();
    /// assert_eq!(sum.join().unwrap(), 6);
    /// ```
    #[doc(alias = "pump")]
    pub fn run_ready(&self) -> Result<Progress, RunError> {
        self.drive(u64::MAX, NEVER, false)
    }

    /// Runs, sleeping when nothing is ready, until no tasklet can ever run by itself.
    ///
    /// Tasklets that wait for the caller are no error here.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Progress, Runtime, sleep};
    /// let runtime = Runtime::builder().build();
    /// let nap = runtime.spawn(|| sleep(Duration::from_millis(1))).unwrap();
    /// assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck); // nothing is left to do
    /// assert_eq!(nap.join().unwrap(), Ok(()));
    /// ```
    pub fn run_to_end(&self) -> Result<Progress, RunError> {
        self.drive(u64::MAX, NEVER, true)
    }

    fn drive(&self, switches: u64, at: u64, sleep: bool) -> Result<Progress, RunError> {
        self.check_alone()?;
        let limit = Limit { until_ended: None, switches, at, sleep, until_failed: true };
        let ran = self.scheduler.drive(&limit);
        drop(self.scheduler.told.take());
        if let Some(payload) = self.scheduler.stray_panic.take() {
            return Err(RunError::Panicked(PanicReport::stray(payload)));
        }
        let ran = if ran == Ran::Limit { self.scheduler.outlook() } else { ran };
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
        take_panic(&task)
    }

    /// The present time of this runtime: what its tasklets see as [`now`](crate::now).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Runtime, sleep};
    /// let runtime = Runtime::builder().virtual_clock(true).build();
    /// let start = runtime.now();
    /// runtime.spawn(|| sleep(Duration::from_secs(3))).unwrap();
    /// runtime.run_to_end().unwrap();
    /// assert_eq!(runtime.now() - start, Duration::from_secs(3));
    /// ```
    pub fn now(&self) -> Instant {
        let clock = &self.scheduler.home.clock;
        clock.instant(clock.now())
    }

    /// The time from now until the next timer; `None` if there is none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Runtime, sleep};
    /// let runtime = Runtime::builder().virtual_clock(true).build();
    /// assert_eq!(runtime.next_timer(), None);
    /// runtime.spawn(|| sleep(Duration::from_secs(3))).unwrap();
    /// runtime.run_ready().unwrap();
    /// // For so long the caller's own loop may wait for other things.
    /// assert_eq!(runtime.next_timer(), Some(Duration::from_secs(3)));
    /// ```
    pub fn next_timer(&self) -> Option<Duration> {
        self.scheduler.next_timer()
    }

    /// How many tasklets are in which state. Takes as long as a [`snapshot`](Self::snapshot).
    ///
    /// ```
    /// use tasklets::{Runtime, pause};
    /// let runtime = Runtime::builder().build();
    /// runtime.spawn(pause).unwrap();
    /// assert_eq!(runtime.counts().runnable, 1);
    /// runtime.run_ready().unwrap();
    /// assert_eq!((runtime.counts().runnable, runtime.counts().paused), (0, 1));
    /// ```
    pub fn counts(&self) -> Counts {
        Snapshot::of(&self.scheduler).counts
    }

    /// A picture of the runtime: [`snapshot`](crate::snapshot) from outside.
    ///
    /// ```
    /// use tasklets::{Builder, Never, Runtime, channel};
    /// let runtime = Runtime::builder().build();
    /// let (_tx, rx) = channel::<Never>();
    /// runtime.spawn_with(Builder::new().name("reader"), move || rx.recv()).unwrap();
    /// runtime.run_ready().unwrap();
    /// let picture = runtime.snapshot().to_string();
    /// assert!(picture.contains("`reader` (out.1)") && picture.contains("waits to receive"));
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.scheduler)
    }

    /// What waited when the last [`run`](Self::run) ended, daemons left out.
    ///
    /// ```
    /// use tasklets::{Runtime, pause, spawn, yield_now};
    /// let runtime = Runtime::builder().build();
    /// runtime.run(|| {
    ///     drop(spawn(pause));
    ///     yield_now();
    /// }).unwrap();
    /// assert_eq!(runtime.left_behind()[0].path, "root.0");
    /// ```
    pub fn left_behind(&self) -> Vec<TaskletInfo> {
        self.left.borrow().clone()
    }
}

/// Takes the panic of a tasklet for the run's report.
fn take_panic(task: &Rc<Task>) -> Option<PanicReport> {
    let mut failure = task.extra().failure.borrow_mut();
    if !matches!(*failure, Some(Failure::Panicked(_))) {
        return None;
    }
    match failure.replace(Failure::Reported) {
        Some(Failure::Panicked(payload)) => Some(PanicReport::new(task, payload, false)),
        Some(Failure::Cancelled | Failure::Reported) | None => None,
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.scheduler.is_unused() {
            // Whatever panicked and was not asked for ends here, like a detached thread's panic.
            self.scheduler.drain();
            self.report_abandoned();
            drop(self.scheduler.panicked.take());
        }
        // A channel that outlives the runtime must not keep what its hooks and its chooser own.
        self.scheduler.home.trace.silence();
        self.scheduler.home.choices.retire();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
