//! What a runtime can be told before it runs.

use super::Runtime;
use crate::kernel::choice::{Choices, Chooser};
use crate::kernel::clock::Clock;
use crate::kernel::control::Control;
use crate::kernel::ready::Ready;
use crate::kernel::scheduler::{BlockingLimits, Scheduler, Sizes};
use crate::kernel::task::{Home, Registry};
use crate::kernel::trace::{Event, Trace};
use crate::monitor::{LongTurn, Monitor};
use crate::tasklet::STACK_BYTES;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Operations a tasklet may do before it gives way, unless the builder says otherwise.
const BUDGET: u32 = 128;

/// Stack of the root tasklet in bytes.
const ROOT_BYTES: usize = 8 * 1024 * 1024;

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
    pub(super) budget: u32,
    choices: Choices,
    pub(super) virtual_clock: bool,
    pub(super) threads: bool,
    trace: Trace,
    pub(super) controlled: bool,
}

impl RuntimeBuilder {
    pub(super) fn new() -> RuntimeBuilder {
        let engine = std::env::var_os("TASKLETS_STACKS");
        RuntimeBuilder {
            sizes: Sizes {
                tasklets: usize::MAX,
                stack_bytes: STACK_BYTES,
                blocking: BlockingLimits {
                    threads: crate::blocking::THREADS,
                    queue: usize::MAX,
                    idle: Duration::from_secs(10),
                },
            },
            root_bytes: ROOT_BYTES,
            budget: BUDGET,
            choices: Choices::Seeded(Cell::new(0)),
            virtual_clock: false,
            threads: cfg!(miri) || engine.is_some_and(|it| it == "threads"),
            trace: Trace::default(),
            controlled: false,
        }
    }

    /// Sets the stack of tasklets that do not ask for another, in bytes (default 256 KiB; only
    /// pages that are touched take memory). At least 16 KiB, at most 1 GiB, else nothing can be
    /// spawned that does not name a size itself.
    ///
    /// ```
    /// use tasklets::{Builder, Runtime};
    /// let runtime = Runtime::builder().stack_size(64 * 1024).build(); // many small ones
    /// assert_eq!(runtime.spawn(|| 1).unwrap().state(), tasklets::State::Ready);
    /// let tiny = Runtime::builder().stack_size(1_000).build();
    /// assert!(tiny.spawn(|| 1).is_err()); // too small to run anything
    /// assert!(tiny.spawn_with(Builder::new().stack_size(64 * 1024), || 1).is_ok());
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> RuntimeBuilder {
        self.sizes.stack_bytes = bytes;
        self
    }

    /// Sets the stack of the root tasklet, in bytes (default 8 MiB). At least 16 KiB, at most
    /// 1 GiB, else [`Runtime::run`] fails.
    ///
    /// ```
    /// use tasklets::{RunError, Runtime};
    /// fn depth(left: u32) -> u32 { if left == 0 { 0 } else { 1 + depth(left - 1) } }
    /// let deep = Runtime::builder().root_stack_size(64 << 20).build(); // for deep recursion
    /// assert_eq!(deep.run(|| depth(100_000)).unwrap(), 100_000);
    /// let none = Runtime::builder().root_stack_size(0).build();
    /// assert!(matches!(none.run(|| 1), Err(RunError::Spawn(_))));
    /// ```
    pub fn root_stack_size(mut self, bytes: usize) -> RuntimeBuilder {
        self.root_bytes = bytes;
        self
    }

    /// Sets how many tasklets may be alive at a time (default: as many as the OS allows).
    ///
    /// ```
    /// use tasklets::{Builder, Runtime, yield_now};
    /// let runtime = Runtime::builder().max_tasklets(2).build(); // the root counts
    /// runtime.run(|| {
    ///     let one = Builder::new().spawn(yield_now).unwrap();
    ///     let error = Builder::new().spawn(yield_now).unwrap_err();
    ///     assert!(error.to_string().contains("2 tasklets are alive"));
    ///     one.join().unwrap();
    ///     assert!(Builder::new().spawn(yield_now).is_ok());
    /// }).unwrap();
    /// ```
    pub fn max_tasklets(mut self, count: usize) -> RuntimeBuilder {
        self.sizes.tasklets = count;
        self
    }

    /// Sets how many OS threads run [`blocking`](crate::blocking()) calls (default 16, at least 1).
    ///
    /// None is made before the first call; further calls wait for a thread.
    ///
    /// ```
    /// use tasklets::{Runtime, blocking, spawn};
    /// let runtime = Runtime::builder().blocking_threads(1).build(); // one after the other
    /// let same = runtime.run(|| {
    ///     let thread = || blocking(|| std::thread::current().id()).unwrap();
    ///     let other = spawn(thread);
    ///     thread() == other.join().unwrap()
    /// });
    /// assert!(same.unwrap());
    /// ```
    pub fn blocking_threads(mut self, count: usize) -> RuntimeBuilder {
        self.sizes.blocking.threads = count;
        self
    }

    /// Sets how many [`blocking`](crate::blocking()) calls may wait for a thread (default: as many
    /// as there are tasklets to wait for them). Further ones fail with
    /// [`Halt::Busy`](crate::Halt::Busy): better now than late.
    ///
    /// ```
    /// use tasklets::{Halt, Runtime, blocking, spawn, yield_now};
    /// let runtime = Runtime::builder().blocking_threads(1).blocking_queue(0).build();
    /// runtime.run(|| {
    ///     let (go, wait) = std::sync::mpsc::channel::<()>();
    ///     let first = spawn(move || blocking(move || wait.recv().is_ok()));
    ///     yield_now();
    ///     assert_eq!(blocking(|| "not made"), Err(Halt::Busy));
    ///     go.send(()).unwrap();
    ///     assert_eq!(first.join().unwrap(), Ok(true));
    /// }).unwrap();
    /// ```
    pub fn blocking_queue(mut self, count: usize) -> RuntimeBuilder {
        self.sizes.blocking.queue = count;
        self
    }

    /// Sets how long an OS thread for [`blocking`](crate::blocking()) calls that has none to make
    /// stays (default 10 s). The end of the runtime ends it, too, and that it is the last thread of
    /// the process that is not [stuck](crate::shared#stuck-runs).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Runtime, blocking, snapshot, yield_now};
    /// let runtime = Runtime::builder().blocking_idle(Duration::ZERO).build();
    /// runtime.run(|| {
    ///     blocking(|| ()).unwrap();
    ///     while snapshot().unwrap().blocking.threads > 0 { yield_now() } // it leaves at once
    /// }).unwrap();
    /// ```
    pub fn blocking_idle(mut self, patience: Duration) -> RuntimeBuilder {
        self.sizes.blocking.idle = patience;
        self
    }

    /// Sets how many operations a tasklet may do before it gives way (default 128, at least 1).
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use tasklets::{Runtime, channel, spawn};
    /// let runtime = Runtime::builder().budget(1).build(); // every operation may give way
    /// let turns = runtime.run(|| {
    ///     let turns = Rc::new(Cell::new(0));
    ///     let count = turns.clone();
    ///     spawn(move || loop { count.set(count.get() + 1); tasklets::yield_now() });
    ///     let (_tx, rx) = channel::<u8>();
    ///     (0..100).for_each(|_| assert_eq!(rx.try_recv(), Ok(None))); // asks again and again
    ///     turns.get()
    /// });
    /// assert!(turns.unwrap() > 10); // and lets others run all the same
    /// ```
    pub fn budget(mut self, operations: u32) -> RuntimeBuilder {
        self.budget = operations.max(1);
        self
    }

    /// Sets the seed of all choices (default 0): one seed, one run, as long as nothing outside
    /// differs.
    ///
    /// ```
    /// use tasklets::{Runtime, channel, run, select, spawn};
    /// let order = |seed: u64| {
    ///     let runtime = Runtime::builder().seed(seed).build();
    ///     let draw = || {
    ///         let ((left, a), (right, b)) = (channel(), channel());
    ///         spawn(move || left.send_all(0..50));
    ///         spawn(move || right.send_all(0..50));
    ///         let mut one = || select! { recv(a) -> it => it.ok(), recv(b) -> it => it.ok() };
    ///         (0..20).map(|_| one()).collect::<Vec<_>>()
    ///     };
    ///     runtime.run(draw).unwrap()
    /// };
    /// assert_eq!(order(7), order(7)); // a failing test that names its seed can be run again
    /// assert_ne!(order(7), order(8));
    /// ```
    pub fn seed(mut self, seed: u64) -> RuntimeBuilder {
        self.choices = Choices::Seeded(Cell::new(seed));
        self
    }

    /// Lets `chooser` make all choices, and even say which ready tasklet runs next.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use tasklets::{Runtime, spawn};
    /// // Of several that are ready the last comes first.
    /// let runtime = Runtime::builder().chooser(|ways: usize| ways - 1).build();
    /// let order = runtime.run(|| {
    ///     let log = Rc::new(RefCell::new(Vec::new()));
    ///     let all: Vec<_> = (0..3)
    ///         .map(|number| {
    ///             let log = log.clone();
    ///             spawn(move || log.borrow_mut().push(number))
    ///         })
    ///         .collect();
    ///     all.into_iter().for_each(|it| it.join().unwrap());
    ///     log.take()
    /// });
    /// assert_eq!(order.unwrap(), [2, 1, 0]);
    /// ```
    pub fn chooser(mut self, chooser: impl Chooser + 'static) -> RuntimeBuilder {
        self.choices = Choices::given(chooser);
        self
    }

    /// Lets time pass only when nothing else can happen, and then at once.
    ///
    /// All operations with a time go by it; [`monitor`](Self::monitor) and code that is no
    /// operation do not.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use tasklets::{Halt, Never, Runtime, channel};
    /// let (hour, start) = (Duration::from_secs(3_600), Instant::now());
    /// let runtime = Runtime::builder().virtual_clock(true).build();
    /// let waited = runtime.run(|| {
    ///     let (_tx, rx) = channel::<Never>();
    ///     rx.recv_timeout(hour)
    /// });
    /// assert_eq!(waited.unwrap(), Err(Halt::TimedOut));
    /// assert!(start.elapsed() < hour);
    /// ```
    pub fn virtual_clock(mut self, on: bool) -> RuntimeBuilder {
        self.virtual_clock = on;
        self
    }

    /// Calls `hook` at every switch, channel operation, spawn and end. May be given several times.
    ///
    /// The hook runs while nothing is borrowed; it may look around but must not communicate. What
    /// it causes is not reported to hooks. If it panics during a switch, the run ends with that.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use tasklets::{Event, Runtime, yield_now};
    /// let switches = Rc::new(Cell::new(0));
    /// let count = switches.clone();
    /// let runtime = Runtime::builder().on_event(move |event| {
    ///     if let Event::Switched { to: Some(_), .. } = event {
    ///         count.set(count.get() + 1);
    ///     }
    /// });
    /// runtime.build().run(yield_now).unwrap();
    /// assert_eq!(switches.get(), 2); // the root began, and went on
    /// ```
    #[doc(alias("set_schedule_callback", "set_channel_callback", "settrace"))]
    pub fn on_event(self, hook: impl Fn(&Event) + 'static) -> RuntimeBuilder {
        self.trace.listen(Rc::new(hook));
        self
    }

    /// Lets an OS thread of its own call `hook` when a tasklet has held this one for `limit` or
    /// longer: once, and again each time the turn has doubled. The last call of this counts.
    ///
    /// Native code cannot be interrupted, so nobody else runs meanwhile and nothing in the run can
    /// say so: a loop without operations, a std lock, a read from a pipe. The thread looks four
    /// times per `limit` (at least 1 ms) while tasklets run, in real time, and sleeps while none
    /// does. A turn costs more: two tasklets that do nothing but give way take 2.4 times as long.
    /// The hook is called on the other thread and so must be [`Send`]; if it panics, nobody is
    /// watched any more.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::Runtime;
    /// let limit = Duration::from_millis(200);
    /// let runtime = Runtime::builder().monitor(limit, |turn| eprintln!("tasklets: {turn}"));
    /// assert_eq!(runtime.build().run(|| 1).unwrap(), 1);
    /// ```
    #[doc(alias("watchdog", "blocking detector", "faulthandler"))]
    pub fn monitor(
        mut self,
        limit: Duration,
        hook: impl FnMut(&LongTurn) + Send + 'static,
    ) -> RuntimeBuilder {
        self.trace.watch = Some(Box::new(Monitor::new(limit, hook)));
        self
    }

    /// Runs every tasklet on an OS thread of its own, one at a time, instead of switching stacks.
    ///
    /// Slow. For Miri and race detectors, which cannot follow a switch of stacks; thread-locals
    /// then differ between tasklets. Also the environment variable `TASKLETS_STACKS=threads`.
    ///
    /// ```
    /// use tasklets::{Runtime, spawn};
    /// let runtime = Runtime::builder().threads_as_stacks(true).build();
    /// let thread = || std::thread::current().id();
    /// let others = runtime.run(|| thread() != spawn(thread).join().unwrap());
    /// assert!(others.unwrap());
    /// ```
    pub fn threads_as_stacks(mut self, on: bool) -> RuntimeBuilder {
        self.threads = on;
        self
    }

    /// Makes the runtime. Nothing runs yet.
    ///
    /// ```
    /// use tasklets::Runtime;
    /// let runtime = Runtime::builder().build(); // one runtime, many runs
    /// assert_eq!((1..=3).map(|it| runtime.run(|| it).unwrap()).sum::<i32>(), 6);
    /// ```
    pub fn build(self) -> Runtime {
        let home = Rc::new(Home {
            ready: Ready::default(),
            now: Cell::new(0),
            host_panics: Cell::new(false),
            slice: Cell::new(0),
            unspent: Cell::new(0),
            attention: Cell::new(false),
            stopped: Cell::new(0),
            given_up: RefCell::default(),
            parks: Cell::new(0),
            traced: self.trace.is_on(),
            looked_at: self.trace.is_on() || self.controlled,
            control: self.controlled.then(Control::new),
            plain: !self.trace.is_watched() && !self.choices.decides_order(),
            clock: Clock::new(self.virtual_clock),
            choices: self.choices,
            trace: self.trace,
            budget: self.budget,
            threads: self.threads,
            channels: Registry::default(),
            claimed: Cell::new(0),
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
