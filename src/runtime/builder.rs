//! What a runtime can be told before it runs.

use super::Runtime;
use crate::kernel::choice::{Choices, Chooser};
use crate::kernel::clock::Clock;
use crate::kernel::ready::Ready;
use crate::kernel::scheduler::{Scheduler, Sizes};
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
    budget: u32,
    choices: Choices,
    virtual_clock: bool,
    threads: bool,
    trace: Trace,
}

impl RuntimeBuilder {
    pub(super) fn new() -> RuntimeBuilder {
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
    /// does. Each turn costs some tens of nanoseconds more. The hook is called on the other thread
    /// and so must be [`Send`]; if it panics, nobody is watched any more.
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
    pub fn threads_as_stacks(mut self, on: bool) -> RuntimeBuilder {
        self.threads = on;
        self
    }

    /// Makes the runtime. Nothing runs yet.
    pub fn build(self) -> Runtime {
        let home = Rc::new(Home {
            ready: Ready::default(),
            now: Cell::new(0),
            host_panics: Cell::new(false),
            slice: Cell::new(0),
            unspent: Cell::new(0),
            attention: Cell::new(false),
            given_up: RefCell::default(),
            parks: Cell::new(0),
            traced: self.trace.is_on(),
            plain: !self.trace.is_watched() && !self.choices.decides_order(),
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
