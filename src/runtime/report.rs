//! What comes of a drive: how far it came, or why a run gave no value.
//!
//! Always: a report owns what it tells; it outlives the run.

use crate::error::panic_message;
use crate::inspect::StuckReport;
use crate::kernel::task::Task;
use crate::tasklet::SpawnError;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

/// How far a [`Runtime`](crate::Runtime) came.
///
/// ```
/// use tasklets::{Never, Progress, Runtime, channel, sleep};
/// let runtime = Runtime::builder().build();
/// assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck); // nothing to do at all
/// let (_tx, rx) = channel::<Never>();
/// runtime.spawn(|| sleep(std::time::Duration::from_secs(5))).unwrap();
/// runtime.spawn(move || rx.recv()).unwrap();
/// assert_eq!(runtime.step().unwrap(), Progress::More); // one sleeps, the other can begin
/// assert_eq!(runtime.step().unwrap(), Progress::Idle); // a timer is set
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What it was allowed is used up; more can run.
    More,
    /// Nothing is ready; a timer or something outside may change that.
    Idle,
    /// Nothing is ready, and only whoever drives the runtime can change that.
    Stuck,
}

/// Why a run gave no value.
///
/// ```
/// use tasklets::{RunError, Runtime, spawn, yield_now};
/// let runtime = Runtime::builder().build();
/// let nested = runtime.run(|| Runtime::builder().build().run(|| 1).is_err());
/// assert!(nested.unwrap());
/// let ended = runtime.run(|| {
///     drop(spawn(|| std::panic::resume_unwind(Box::new("oh no"))));
///     yield_now();
/// });
/// let Err(RunError::Panicked(report)) = ended else { panic!("nobody joined it") };
/// assert_eq!((&*report.tasklet, report.is_root, report.message()), ("root.0", false, "oh no"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Nothing could run any more; perhaps because [every OS thread](crate::shared#stuck-runs)
    /// waited.
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
///
/// ```
/// use tasklets::{RunError, Runtime};
/// let ended = Runtime::builder().build().run(|| std::panic::resume_unwind(Box::new(7)));
/// let Err(RunError::Panicked(report)) = ended.map(|never: ()| never) else { panic!() };
/// assert_eq!((report.is_root, report.payload.downcast_ref()), (true, Some(&7)));
/// ```
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
    pub(super) fn new(task: &Rc<Task>, payload: Box<dyn Any + Send>, is_root: bool) -> PanicReport {
        let spawned_at = Some(task.who.spawned_at);
        PanicReport { tasklet: format!("{task:?}"), spawned_at, is_root, payload }
    }

    pub(super) fn stray(payload: Box<dyn Any + Send>) -> PanicReport {
        let tasklet = "a hook or a destructor outside of any tasklet".into();
        PanicReport { tasklet, spawned_at: None, is_root: false, payload }
    }

    /// The message of a panic made with a string.
    ///
    /// ```
    /// use tasklets::{RunError, Runtime};
    /// let ended = Runtime::builder().build().run(|| -> u8 {
    ///     std::panic::resume_unwind(Box::new("no luck"))
    /// });
    /// let Err(RunError::Panicked(report)) = ended else { panic!("it gave a value") };
    /// assert_eq!(report.message(), "no luck");
    /// ```
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
        if self.is_root || self.spawned_at.is_none() {
            return Ok(());
        }
        f.write_str(" (nobody joined it)")
    }
}

impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
