//! Making tasklets: what they can be told before they begin, and why there may be none.
//!
//! Always: what cannot be made is an error here, and nothing of it is left.

use super::{Tasklet, Value, Work};
use crate::kernel::body::Body;
use crate::kernel::scheduler::{Plan, Scheduler};
use crate::kernel::stack::page_bytes;
use crate::kernel::stacks;
use crate::kernel::task::Task;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

/// Makes tasklets that differ from the default.
///
/// ```
/// use tasklets::{Builder, run};
/// run(|| {
///     let small = Builder::new().name("small").stack_size(16 * 1024).spawn(|| 1).unwrap();
///     assert_eq!(small.name(), Some("small"));
///     assert_eq!(small.join().unwrap(), 1);
/// });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing until `spawn` is called"]
pub struct Builder {
    name: Option<Rc<str>>,
    stack_bytes: Option<usize>,
    daemon: bool,
    root: bool,
}

impl Builder {
    /// Starts from the defaults.
    ///
    /// ```
    /// use tasklets::{Builder, run};
    /// run(|| {
    ///     let worker = Builder::new().stack_size(32 * 1024); // one kind of tasklet, many of them
    ///     let all: Vec<_> = (0..3).map(|it| worker.clone().spawn(move || it).unwrap()).collect();
    ///     assert_eq!(all.into_iter().map(|it| it.join().unwrap()).sum::<i32>(), 3);
    /// });
    /// ```
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the tasklet in reports.
    ///
    /// ```
    /// use tasklets::{Builder, pause, run, snapshot, yield_now};
    /// run(|| {
    ///     let printer = Builder::new().name("printer").spawn(pause).unwrap();
    ///     yield_now();
    ///     assert!(snapshot().unwrap().to_string().contains("`printer` (root.0)"));
    ///     printer.cancel();
    /// });
    /// ```
    pub fn name(mut self, name: impl Into<Rc<str>>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Sets the size of its stack in bytes, rounded up to whole pages (default: the runtime's).
    ///
    /// ```
    /// use tasklets::{Builder, run};
    /// fn depth(left: u32) -> u32 { if left == 0 { 0 } else { 1 + depth(left - 1) } }
    /// run(|| {
    ///     let deep = Builder::new().stack_size(64 << 20).spawn(|| depth(100_000)).unwrap();
    ///     assert_eq!(deep.join().unwrap(), 100_000);
    ///     assert!(Builder::new().stack_size(1_000).spawn(|| ()).is_err()); // less than 16 KiB
    /// });
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_bytes = Some(bytes);
        self
    }

    /// A daemon is not listed as left behind when the run ends.
    ///
    /// ```
    /// use tasklets::{Builder, Runtime, pause, spawn, yield_now};
    /// let runtime = Runtime::builder().build();
    /// runtime.run(|| {
    ///     drop(Builder::new().daemon(true).spawn(pause)); // made to wait until the end
    ///     drop(spawn(pause)); // forgotten, perhaps
    ///     yield_now();
    /// }).unwrap();
    /// assert_eq!(runtime.left_behind().len(), 1);
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.daemon = daemon;
        self
    }

    /// Makes the tasklet and queues it: see [`spawn`](crate::spawn()). Does not wait.
    ///
    /// # Errors
    /// [`SpawnError`] outside of a run, for a stack size that is not between 16 KiB and 1 GiB, and
    /// when as many tasklets are alive as the runtime or the OS allows.
    ///
    /// ```
    /// use tasklets::{Builder, run};
    /// assert!(Builder::new().spawn(|| 1).is_err()); // outside of a run: an error, not a panic
    /// let answer = run(|| Builder::new().spawn(|| 42).unwrap().join().unwrap());
    /// assert_eq!(answer, 42);
    /// ```
    #[track_caller]
    pub fn spawn<T: 'static>(
        self,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<Tasklet<T>, SpawnError> {
        let scheduler = Scheduler::active()
            .ok_or_else(|| SpawnError { why: "a tasklet can only be spawned in a run".into() })?;
        self.make(&scheduler, f, Location::caller())
    }

    /// A tasklet of `scheduler` that runs `f`.
    pub(crate) fn make<T: 'static>(
        self,
        scheduler: &Scheduler,
        f: impl FnOnce() -> T + 'static,
        spawned_at: &'static Location<'static>,
    ) -> Result<Tasklet<T>, SpawnError> {
        let work = Rc::new(Work { f: Cell::new(Some(f)), value: Cell::new(None) });
        let task = self.queue(scheduler, work.clone(), spawned_at)?;
        Ok(Tasklet::new(task, Value::Within(work)))
    }

    /// The root tasklet of a run.
    pub(crate) fn root(mut self) -> Builder {
        self.root = true;
        self
    }

    pub(crate) fn queue(
        &self,
        scheduler: &Scheduler,
        body: Rc<dyn Body>,
        spawned_at: &'static Location<'static>,
    ) -> Result<Rc<Task>, SpawnError> {
        let stack_bytes = self.stack_bytes.unwrap_or(scheduler.stack_bytes);
        if !(stacks::SMALLEST..=stacks::LARGEST).contains(&stack_bytes) {
            return Err(SpawnError::of_size(stack_bytes));
        }
        // Stacks of the same number of pages are the same to who uses them again.
        let within_page = page_bytes() - 1; // a page is a power of two
        let stack_bytes = (stack_bytes + within_page) & !within_page;
        let Builder { name, daemon, root, .. } = self;
        let name = name.as_ref();
        let plan = Plan { name, spawned_at, stack_bytes, daemon: *daemon, root: *root };
        scheduler.spawn(plan, body).map_err(|why| SpawnError { why })
    }
}

/// Why a tasklet could not be made.
///
/// ```
/// use tasklets::{Builder, run};
/// let error = run(|| Builder::new().stack_size(0).spawn(|| ()).unwrap_err());
/// assert!(error.to_string().starts_with("the tasklet was not spawned: a stack of 0 bytes"));
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::OutOfMemory);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnError {
    why: String,
}

impl SpawnError {
    #[cold]
    fn of_size(bytes: usize) -> SpawnError {
        let (least, most) = (stacks::SMALLEST, stacks::LARGEST);
        SpawnError { why: format!("a stack of {bytes} bytes: not between {least} and {most}") }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tasklet was not spawned: {}", self.why)
    }
}

impl Error for SpawnError {}

impl From<SpawnError> for std::io::Error {
    fn from(error: SpawnError) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::OutOfMemory, error)
    }
}
