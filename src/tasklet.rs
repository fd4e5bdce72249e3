//! Tasklets: spawning them, waiting for them, stopping them.
//!
//! Always: a tasklet's result is given out once; a panic nobody joins ends the run.
//! Tasklet: `Ready -> Running -> Waiting -> Ready -> ... -> Finished`, aside `Ready <-> Paused`.

mod builder;
mod reference;

pub use builder::{Builder, SpawnError};
pub use reference::{State, TaskletRef};

use crate::error::{Halt, JoinError, discard};
use crate::kernel::announce;
use crate::kernel::body::Body;
use crate::kernel::control::Ways;
use crate::kernel::operation::Arm;
use crate::kernel::running::{self, Unwound};
use crate::kernel::scheduler::{Scheduler, has_panic};
use crate::kernel::task::{Doing, Failure, Task, flag};
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;

/// Stack of a tasklet unless said otherwise, in bytes (virtual memory; touched pages cost).
pub(crate) const STACK_BYTES: usize = 256 * 1024;

/// Starts a tasklet that runs `f`.
///
/// It is queued behind all that are ready; the caller runs on, always: this is no operation, spends
/// no budget and is allowed under every trap. Dropping the handle lets the tasklet go on by itself;
/// if it then panics, the run ends with its panic. A tasklet that the OS refuses a stack when it is
/// about to begin ends with a panic that says so.
///
/// # Panics
/// Outside of a run, and when no more tasklets can be made; [`Builder::spawn`] returns an error.
///
/// ```
/// use tasklets::{run, spawn};
/// let answer = run(|| spawn(|| 6 * 7).join().unwrap());
/// assert_eq!(answer, 42);
/// ```
#[track_caller]
#[doc(alias("go", "tasklet", "greenlet", "stackless.tasklet", "spawn_n"))]
pub fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> Tasklet<T> {
    match Builder::new().spawn(f) {
        Ok(tasklet) => tasklet,
        Err(error) => panic!("{error}"),
    }
}

/// Gives way: the caller goes to the end of the ready queue.
///
/// Does nothing outside of a run, while panicking and under a block trap. Not an operation that
/// cancellation ends; see [`TaskletRef::is_cancelled`].
///
/// # Panics
/// Under a [`switch_trap`](crate::switch_trap) and inside a raw generator.
///
/// ```
/// use tasklets::{run, spawn, yield_now};
/// run(|| {
///     let other = spawn(|| ());
///     yield_now();
///     assert!(other.is_finished());
/// });
/// ```
#[track_caller]
#[doc(alias("schedule", "Gosched", "sleep(0)"))]
#[inline(always)]
pub fn yield_now() {
    running::yield_now();
}

/// The running tasklet; `None` outside of a run.
///
/// ```
/// use tasklets::{current, run, spawn};
/// let path = run(|| spawn(|| current().unwrap().path()).join().unwrap());
/// assert_eq!((&*path, current().is_none()), ("root.0", true));
/// ```
#[doc(alias("getcurrent", "self"))]
pub fn current() -> Option<TaskletRef> {
    running::current().map(|task| TaskletRef { task })
}

/// Takes the caller out of the ready queue until somebody [inserts](TaskletRef::insert) it.
///
/// # Errors
/// [`Halt::Cancelled`], [`Halt::TimedOut`], [`Halt::Injected`] when it is stopped meanwhile;
/// [`Halt::CannotWait`] where waiting is not possible.
///
/// # Panics
/// Under a [`switch_trap`](crate::switch_trap) and inside a raw generator.
///
/// ```
/// use tasklets::{pause, run, spawn, yield_now};
/// run(|| {
///     let sleeper = spawn(|| pause());
///     yield_now();
///     sleeper.insert();
///     assert_eq!(sleeper.join().unwrap(), Ok(()));
/// });
/// ```
#[track_caller]
#[doc(alias("schedule_remove", "park"))]
pub fn pause() -> Result<(), Halt> {
    // The wait itself is how `insert` finds it: no offer is made to anybody.
    running::wait_for(Doing::Paused, Location::caller(), drop)?;
    Ok(())
}

/// Takes the error that was injected into the running tasklet, after [`Halt::Injected`].
///
/// `None` when there is none, and outside of a run. See [`TaskletRef::inject`].
///
/// ```
/// use tasklets::{Halt, pause, run, spawn, take_injected, yield_now};
/// run(|| {
///     let worker = spawn(|| {
///         assert_eq!(pause(), Err(Halt::Injected));
///         let error = take_injected().expect("it is here once");
///         assert!(take_injected().is_none());
///         error.to_string()
///     });
///     yield_now();
///     worker.inject(std::io::Error::other("disk full"));
///     assert_eq!(worker.join().unwrap(), "disk full");
/// });
/// ```
#[track_caller]
pub fn take_injected() -> Option<Box<dyn Error>> {
    announce::before_looking(Location::caller());
    running::current()?.extra_if_any()?.injected.take()
}

/// What a tasklet runs, and then what came of it.
struct Work<F, T> {
    f: Cell<Option<F>>,
    value: Cell<Option<T>>,
}

impl<F: FnOnce() -> T, T> Body for Work<F, T> {
    fn run(self: Rc<Self>) {
        let f = self.f.take().expect("a body runs once");
        fulfil(f, &self.value);
    }

    fn discard(&self) {
        drop(self.f.take());
    }
}

/// What has a result in it.
pub(crate) trait Outcome<T> {
    fn take(&self) -> Option<T>;
}

impl<F, T> Outcome<T> for Work<F, T> {
    fn take(&self) -> Option<T> {
        self.value.take()
    }
}

/// Where a tasklet leaves its result.
pub(crate) enum Value<T> {
    /// In the same piece of memory as its body.
    Within(Rc<dyn Outcome<T>>),
    /// By itself, since the body borrows.
    Apart(Rc<Cell<Option<T>>>),
}

impl<T> Value<T> {
    fn take(&self) -> Option<T> {
        match self {
            Value::Within(outcome) => outcome.take(),
            Value::Apart(value) => value.take(),
        }
    }
}

/// Runs `f` as the body of the running tasklet; leaves in `value`, or in the tasklet, how it ended.
pub(crate) fn fulfil<T>(f: impl FnOnce() -> T, value: &Cell<Option<T>>) {
    let task = running::current().expect("a body runs in its tasklet");
    let ended = catch_unwind(AssertUnwindSafe(|| {
        if task.has(flag::CANCELLED) {
            return false; // it never began; `f` is dropped in its tasklet all the same
        }
        value.set(Some(f()));
        true
    }));
    let plain = matches!(ended, Ok(true)) && !task.has(flag::DETACHED);
    if !plain || task.extra_if_any().is_some() {
        clean_up(&task, ended, value);
    }
}

/// What is left to do in a tasklet whose body has `ended`: true if it had begun.
#[inline(never)]
fn clean_up<T>(task: &Task, ended: std::thread::Result<bool>, value: &Cell<Option<T>>) {
    let cleaned = catch_unwind(AssertUnwindSafe(|| drop_locals(task)));
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        // A result whose tasklet panicked after all is not given out.
        if task.has(flag::DETACHED) || cleaned.is_err() {
            drop(value.take());
        }
    }));
    let begun = matches!(ended, Ok(true));
    let panics = [ended.err(), cleaned.err(), dropped.err()];
    let mut panics = panics.into_iter().flatten();
    let failure = match panics.next() {
        None if begun => return,
        None => Failure::Cancelled,
        Some(payload) if payload.is::<Unwound>() => Failure::Cancelled,
        Some(payload) => Failure::Panicked(payload),
    };
    panics.for_each(discard);
    *task.extra().failure.borrow_mut() = Some(failure);
}

/// Drops the tasklet's locals, those that their destructors make, and an error that was injected
/// and not taken, while it is still itself.
fn drop_locals(task: &Task) {
    // A destructor that always makes another one is not followed for ever.
    for _ in 0..16 {
        let Some(extra) = task.extra_if_any() else { return };
        let (locals, injected) = (extra.locals.take(), extra.injected.take());
        if locals.is_empty() && injected.is_none() {
            return;
        }
        drop(injected);
        drop(locals);
    }
}

/// A handle that owns a tasklet's result.
///
/// Dereferences to [`TaskletRef`], which has everything but [`join`](Tasklet::join).
///
/// ```
/// use tasklets::{after, run, select, spawn};
/// run(|| {
///     let mut worker = spawn(|| 42);
///     select! {
///         op(&mut worker) -> result => assert_eq!(result.unwrap(), 42),
///         op(after(std::time::Duration::from_secs(5))) -> _ => worker.cancel(),
///     }
/// });
/// ```
pub struct Tasklet<T> {
    me: TaskletRef,
    value: Value<T>,
    outcome: Option<Result<T, JoinError>>,
}

impl<T> Tasklet<T> {
    pub(crate) fn new(task: Rc<Task>, value: Value<T>) -> Tasklet<T> {
        Tasklet { me: TaskletRef { task }, value, outcome: None }
    }

    /// Waits until the tasklet has ended and takes its result.
    ///
    /// As an operation, a `Tasklet` is an arm of [`select!`](crate::select!) by itself:
    /// `op(&mut tasklet) -> result => ...`.
    ///
    /// # Errors
    /// [`JoinError::Panicked`] with its panic; [`JoinError::Cancelled`] if it was cancelled before
    /// it began or had to be unwound; [`JoinError::Halted`] when the caller is stopped from
    /// waiting: then the tasklet goes on, detached. What has ended is joined without waiting, also
    /// by who has been cancelled.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{run, spawn};
    /// run(|| {
    ///     assert_eq!(spawn(|| 6 * 7).join().unwrap(), 42);
    ///     let unlucky = spawn(|| std::panic::resume_unwind(Box::new("bad luck")));
    ///     let error = unlucky.join().map(|never: ()| never).unwrap_err();
    ///     assert_eq!(error.message(), Some("bad luck"));
    /// });
    /// ```
    #[track_caller]
    #[inline]
    #[doc(alias("wait", "get"))]
    pub fn join(mut self) -> Result<T, JoinError> {
        await_end(&self.me.task, Location::caller())?;
        self.result()
    }

    /// [`join`](Self::join) that leaves the handle: after an error of kind
    /// [`Halted`](JoinError::Halted) it can be tried again.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// # Panics
    /// As [`join`](Self::join), and if the result has been taken.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{JoinError, Halt, pause, run, spawn, within};
    /// run(|| {
    ///     let mut slow = spawn(pause);
    ///     let late = within(Duration::from_millis(1), || slow.join_mut()).value;
    ///     assert!(matches!(late, Err(JoinError::Halted(Halt::TimedOut))));
    ///     slow.insert();
    ///     assert!(slow.join().unwrap().is_ok());
    /// });
    /// ```
    #[track_caller]
    pub fn join_mut(&mut self) -> Result<T, JoinError> {
        await_end(&self.me.task, Location::caller())?;
        self.result()
    }

    fn result(&mut self) -> Result<T, JoinError> {
        if let Some(value) = self.value.take() {
            return Ok(value);
        }
        let failure = self.me.task.extra_if_any().and_then(|it| it.failure.take());
        match failure {
            Some(Failure::Panicked(payload)) => Err(JoinError::Panicked(payload)),
            Some(Failure::Cancelled) => Err(JoinError::Cancelled),
            Some(Failure::Reported) => {
                Err(JoinError::Panicked(Box::new("a panic that has been reported already")))
            }
            None => panic!("the result of {:?} has been taken", self.me),
        }
    }

    /// A handle to the same tasklet that does not own the result.
    ///
    /// ```
    /// use tasklets::{Halt, pause, run, spawn, yield_now};
    /// run(|| {
    ///     let worker = spawn(pause);
    ///     let stop = worker.handle(); // whoever stops it need not own its result
    ///     spawn(move || stop.cancel());
    ///     yield_now();
    ///     assert_eq!(worker.join().unwrap(), Err(Halt::Cancelled));
    /// });
    /// ```
    pub fn handle(&self) -> TaskletRef {
        self.me.clone()
    }
}

/// Waits until `task` has ended.
#[inline(always)]
fn await_end(task: &Rc<Task>, at: &'static Location<'static>) -> Result<(), Halt> {
    if announce::controlled().is_some() {
        return announce::await_end(task, at);
    }
    if !task.has(flag::FINISHED) {
        running::wait_for(Doing::Joining(task.id()), at, |wait| task.add_joiner(wait, 0))?;
    }
    Ok(())
}

impl<T> std::ops::Deref for Tasklet<T> {
    type Target = TaskletRef;

    fn deref(&self) -> &TaskletRef {
        &self.me
    }
}

impl<T> Drop for Tasklet<T> {
    fn drop(&mut self) {
        self.me.task.set(flag::DETACHED);
        if self.me.task.has(flag::FINISHED)
            && has_panic(&self.me.task)
            && let Some(scheduler) = Scheduler::active()
        {
            scheduler.home.look_soon(); // a panic in it now ends the run
        }
    }
}

impl<T> fmt::Debug for Tasklet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.me.fmt(f)
    }
}

impl<T> Arm for Tasklet<T> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        self.me.task.has(flag::FINISHED)
    }
    fn ready(&self) -> bool {
        self.me.task.has(flag::FINISHED)
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        wait.must_withdraw();
        self.me.task.add_joiner(wait.clone(), branch);
        1
    }
    fn withdraw(&mut self, wait: &Wait, _: u32) {
        self.me.task.remove_joiner(wait);
    }
    fn complete(&mut self, _: u32, _: bool, _: &'static Location<'static>) -> bool {
        true
    }
    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(JoinError::Halted(why)));
    }
    fn ways(&self, ways: &mut Ways) {
        ways.push(announce::end_of(&self.me.task));
    }
    fn doing(&self) -> Doing {
        Doing::Joining(self.me.id())
    }
}

impl<T> Operation for Tasklet<T> {
    type Output = Result<T, JoinError>;

    fn take(&mut self) -> Result<T, JoinError> {
        match self.outcome.take() {
            Some(halted) => halted,
            None => self.result(),
        }
    }
}
