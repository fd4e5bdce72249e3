//! The handle of a tasklet of another OS thread's run.
//!
//! Always: a result is delivered once, and given out once; a panic that nobody can join is raised
//! again where it happened, or kept for the shutdown. Delivery: `Owed -> Delivered | Dropped`,
//! the latter as a cancellation.

use super::Group;
use crate::error::{Halt, JoinError};
use crate::kernel::claim::Ticket;
use crate::kernel::name::TaskletId;
use crate::kernel::operation::{Arm, Patience, perform};
use crate::kernel::scheduler::{self, Scheduler};
use crate::kernel::task::Doing;
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use crate::shared::core::settle;
use crate::tasklet::TaskletRef;
use parking_lot::Mutex;
use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Where a tasklet's result goes, and who waits for it.
struct State<T> {
    outcome: Option<Result<T, JoinError>>,
    finished: bool,
    /// The handle is gone.
    detached: bool,
    cancelled: bool,
    /// Who it is, once it has been spawned.
    tasklet: Option<TaskletId>,
    joiners: Vec<(Ticket, u32)>,
}

/// What a handle and its tasklet share.
pub(super) struct Joint<T> {
    state: Mutex<State<T>>,
    group: Arc<Group>,
    worker: usize,
}

/// A handle that owns the result of a tasklet of a worker.
///
/// Can be sent to any OS thread, and joined there by a tasklet or by the thread itself. It is an
/// operation, as a [`Tasklet`](crate::Tasklet) is. Dropping it lets the tasklet go on; if that then
/// panics, its worker's run ends, and [`Workers::shutdown`](super::Workers::shutdown) says so.
///
/// ```
/// use tasklets::{after, run, select, shared};
/// let workers = shared::workers(1).unwrap();
/// run(|| {
///     let mut answer = workers.spawn_on(0, || 6 * 7);
///     select! {
///         op(&mut answer) -> it => assert_eq!(it.unwrap(), 42),
///         op(after(std::time::Duration::from_secs(60))) -> _ => answer.cancel(),
///     }
/// });
/// workers.shutdown().unwrap();
/// ```
#[must_use = "dropping the handle detaches the tasklet"]
pub struct Remote<T: Send + 'static> {
    joint: Arc<Joint<T>>,
    ticket: Option<(Ticket, u32)>,
    halted: Option<Halt>,
}

/// The duty to deliver a result; dropped without, it delivers that the tasklet was cancelled.
pub(super) struct Delivery<T: Send + 'static>(Option<Arc<Joint<T>>>);

impl<T: Send + 'static> Remote<T> {
    pub(super) fn new(group: Arc<Group>, worker: usize) -> (Remote<T>, Delivery<T>) {
        let state = Mutex::new(State {
            outcome: None,
            finished: false,
            detached: false,
            cancelled: false,
            tasklet: None,
            joiners: Vec::new(),
        });
        group.begin(worker);
        let joint = Arc::new(Joint { state, group, worker });
        let delivery = Delivery(Some(joint.clone()));
        (Remote { joint, ticket: None, halted: None }, delivery)
    }

    /// Waits until the tasklet has ended and takes its result.
    ///
    /// # Errors
    /// [`JoinError::Panicked`] with its panic; [`JoinError::Cancelled`] if it was cancelled before
    /// it began, had to be unwound, or its worker has ended; [`JoinError::Halted`] when the caller
    /// is stopped from waiting: then the tasklet goes on, detached.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator; on
    /// a thread in no run, when [every OS thread](crate::shared#stuck-runs) waits and no run is
    /// stuck.
    ///
    /// ```
    /// use tasklets::{JoinError, shared};
    /// let workers = shared::workers(1).unwrap();
    /// assert_eq!(workers.spawn_on(0, || 6 * 7).join().unwrap(), 42); // from a plain thread
    /// let unlucky = workers.spawn_on(0, || std::panic::resume_unwind(Box::new("bad luck")));
    /// let error = unlucky.join().map(|never: ()| never).unwrap_err();
    /// assert_eq!(error.message(), Some("bad luck"));
    /// workers.shutdown().unwrap(); // it has been joined: nothing is left to tell
    /// ```
    #[track_caller]
    pub fn join(mut self) -> Result<T, JoinError> {
        perform(&mut [&mut self], Patience::Forever, true, Location::caller());
        self.take()
    }

    /// Whether the tasklet has ended.
    ///
    /// ```
    /// use tasklets::shared;
    /// let workers = shared::workers(1).unwrap();
    /// let (tx, rx) = shared::channel();
    /// let task = workers.spawn_on(0, move || rx.recv());
    /// assert!(!task.is_finished());
    /// tx.send("go on").unwrap();
    /// assert_eq!(task.join().unwrap(), Ok("go on"));
    /// ```
    pub fn is_finished(&self) -> bool {
        self.joint.state.lock().finished
    }

    /// Cancels the tasklet, as [`TaskletRef::cancel`] does within a run. Does not wait.
    ///
    /// ```
    /// use tasklets::{Halt, pause, shared};
    /// let workers = shared::workers(1).unwrap();
    /// let task = workers.spawn_on(0, || pause());
    /// task.cancel();
    /// // It may have begun to pause or not.
    /// assert!(matches!(task.join(), Ok(Err(Halt::Cancelled)) | Err(_)));
    /// ```
    pub fn cancel(&self) {
        let mut state = self.joint.state.lock();
        state.cancelled = true;
        let Some(tasklet) = state.tasklet else { return }; // it is seen when it is spawned
        drop(state);
        self.joint.group.errand(self.joint.worker, move || cancel_here(tasklet));
    }

    /// The number of the worker that the tasklet is on.
    ///
    /// ```
    /// use tasklets::shared;
    /// let workers = shared::workers(2).unwrap();
    /// assert_eq!(workers.spawn_on(1, || ()).worker(), 1);
    /// ```
    pub fn worker(&self) -> usize {
        self.joint.worker
    }
}

/// Cancels a tasklet of the run that is active on this OS thread.
fn cancel_here(tasklet: TaskletId) {
    let Some(scheduler) = Scheduler::active() else { return };
    let found = scheduler.tasks().into_iter().find(|it| it.id() == tasklet);
    found.into_iter().for_each(|task| TaskletRef { task }.cancel());
}

impl<T: Send + 'static> Delivery<T> {
    /// Notes who will deliver; whether it has been cancelled by now.
    pub(super) fn is_by(joint: &Joint<T>, tasklet: TaskletId) -> bool {
        let mut state = joint.state.lock();
        state.tasklet = Some(tasklet);
        state.cancelled
    }

    pub(super) fn joint(&self) -> Option<Arc<Joint<T>>> {
        self.0.clone()
    }

    /// Delivers `outcome`; a panic comes back if nobody can join it any more.
    pub(super) fn deliver(mut self, outcome: Result<T, JoinError>) -> Option<Box<dyn Any + Send>> {
        let joint = self.0.take()?;
        joint.group.end(joint.worker); // before anybody who joins can ask
        let mut state = joint.state.lock();
        state.finished = true;
        let joiners = std::mem::take(&mut state.joiners);
        let outcome = if state.detached { Some(outcome) } else { state.outcome.replace(outcome) };
        drop(state);
        for (ticket, branch) in joiners {
            if ticket.take() {
                settle(ticket, branch);
            }
        }
        match outcome {
            Some(Err(JoinError::Panicked(payload))) => Some(payload),
            _ => None,
        }
    }
}

impl<T: Send + 'static> Drop for Delivery<T> {
    fn drop(&mut self) {
        if let Some(joint) = self.0.take() {
            let none = Delivery(Some(joint)).deliver(Err(JoinError::Cancelled));
            debug_assert!(none.is_none(), "a cancellation is no panic");
        }
    }
}

impl<T: Send + 'static> Drop for Remote<T> {
    fn drop(&mut self) {
        let mut state = self.joint.state.lock();
        state.detached = true;
        let outcome = state.outcome.take();
        drop(state);
        if let Some(Err(JoinError::Panicked(payload))) = outcome {
            self.joint.group.keep_panic(payload);
        }
    }
}

impl<T: Send + 'static> Arm for Remote<T> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        self.is_finished()
    }
    fn ready(&self) -> bool {
        self.is_finished()
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        wait.must_withdraw();
        let ticket = scheduler::ticket(wait);
        let mut state = self.joint.state.lock();
        let finished = state.finished;
        if !finished {
            state.joiners.push((ticket.clone(), branch));
        }
        drop(state);
        if finished {
            scheduler::look_again(wait);
        }
        self.ticket = Some((ticket, branch));
        1
    }
    fn withdraw(&mut self, _: &Wait, _: u32) {
        if let Some((ticket, _)) = self.ticket.take() {
            self.joint.state.lock().joiners.retain(|(it, _)| !it.is(&ticket));
        }
    }
    fn complete(&mut self, _: u32, _: bool, _: &'static Location<'static>) -> bool {
        self.ticket = None;
        true
    }
    fn halt(&mut self, why: Halt) {
        self.halted = Some(why);
    }
    fn is_shared(&self) -> bool {
        true
    }
    fn doing(&self) -> Doing {
        Doing::JoiningAway
    }
}

impl<T: Send + 'static> Operation for Remote<T> {
    type Output = Result<T, JoinError>;

    fn take(&mut self) -> Result<T, JoinError> {
        if let Some(why) = self.halted.take() {
            return Err(JoinError::Halted(why));
        }
        let outcome = self.joint.state.lock().outcome.take();
        outcome.expect("the result of a tasklet is taken once, after it has ended")
    }
}

impl<T: Send + 'static> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Remote");
        out.field("worker", &self.joint.worker).field("finished", &self.is_finished()).finish()
    }
}
