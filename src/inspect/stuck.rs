//! The report of a stuck run: the picture of its last moment, the cycle first.
//!
//! Always: it owns what it tells, and outlives the run.

use super::Snapshot;
use crate::kernel::name::TaskletId;
use crate::kernel::running;
use crate::kernel::scheduler::Scheduler;
use std::fmt;

/// The report of a run that is stuck: nothing can run, and nothing outside can change that.
///
/// ```
/// use tasklets::{Never, RunError, Runtime, channel};
/// let ended = Runtime::builder().build().run(|| {
///     let (_tx, rx) = channel::Builder::new().name("orders").channel::<Never>();
///     rx.recv()
/// });
/// let Err(RunError::Stuck(report)) = ended else { panic!("it has to wait for itself") };
/// assert_eq!(report.snapshot.tasklets[0].path, "root");
/// assert!(report.to_string().contains("waits to receive from channel `orders`"));
/// ```
#[derive(Clone, Debug)]
pub struct StuckReport {
    /// The run at that moment.
    pub snapshot: Snapshot,
    /// Tasklets each of which waits for the next, and the last for the first; empty if there is no
    /// such cycle, or it cannot be known.
    pub cycle: Vec<TaskletId>,
    /// Whether the run waited for other OS threads, and every one of the process did: see
    /// [stuck runs](crate::shared#stuck-runs).
    pub everywhere: bool,
}

impl StuckReport {
    pub(crate) fn of(scheduler: &Scheduler) -> StuckReport {
        debug_assert!(running::current().is_none(), "a run is stuck only while nobody runs");
        let snapshot = Snapshot::of(scheduler);
        let everywhere = scheduler.told.borrow().is_some();
        StuckReport { cycle: snapshot.cycle(), snapshot, everywhere }
    }
}

impl fmt::Display for StuckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasklets = &self.snapshot.tasklets;
        let more = if self.everywhere { ": every OS thread of the process waits" } else { "" };
        let count = tasklets.len();
        writeln!(f, "stuck: none of {count} tasklets can run, and nothing can wake one{more}")?;
        if let Some(first) = self.cycle.first() {
            write!(f, "  cycle: ")?;
            for id in &self.cycle {
                write!(f, "{} waits for ", self.snapshot.label(*id))?;
            }
            writeln!(f, "{}", self.snapshot.label(*first))?;
        }
        // Those in the cycle first.
        let (inside, outside): (Vec<_>, Vec<_>) =
            tasklets.iter().partition(|it| self.cycle.contains(&it.id));
        inside.iter().chain(&outside).try_for_each(|it| self.snapshot.describe(it, f))
    }
}
