//! Tasklets: spawning them, waiting for them, stopping them.
//!
//! Always: a tasklet's result is given out once; a panic nobody joins ends the run.
//! Tasklet: `Ready -> Running -> Waiting -> Ready -> ... -> Finished`, aside `Ready <-> Paused`.

use crate::error::{Halt, JoinError};
use crate::kernel::name::TaskletId;
use crate::kernel::operation::Arm;
use crate::kernel::running::{self, Unwound};
use crate::kernel::scheduler::{Plan, Scheduler, wake_paused};
use crate::kernel::stacks;
use crate::kernel::task::{Doing, Failure, Task, flag};
use crate::kernel::wait::{self, Wait};
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
/// It is queued behind all that are ready; the caller runs on. Dropping the handle lets the
/// tasklet go on by itself; if it then panics, the run ends with its panic.
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
#[doc(alias("schedule", "Gosched", "sleep(0)"))]
#[inline(always)]
pub fn yield_now() {
    running::yield_now();
}

/// The running tasklet; `None` outside of a run.
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
/// See [`TaskletRef::inject`].
pub fn take_injected() -> Option<Box<dyn Error>> {
    running::current()?.extra_if_any()?.injected.take()
}

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
}

impl Builder {
    /// Starts from the defaults.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the tasklet in reports.
    pub fn name(mut self, name: impl Into<Rc<str>>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Sets the size of its stack in bytes, rounded up to whole pages (default: the runtime's).
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_bytes = Some(bytes);
        self
    }

    /// A daemon is not listed as left behind when the run ends.
    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.daemon = daemon;
        self
    }

    /// Makes the tasklet and queues it: see [`spawn`].
    ///
    /// # Errors
    /// [`SpawnError`] outside of a run, for a stack size that is not between 16 KiB and 1 GiB, and
    /// when as many tasklets are alive as the runtime or the OS allows.
    #[track_caller]
    pub fn spawn<T: 'static>(
        self,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<Tasklet<T>, SpawnError> {
        let scheduler = Scheduler::active()
            .ok_or_else(|| SpawnError { why: "a tasklet can only be spawned in a run".into() })?;
        let (body, value) = body_of(f);
        let task = self.queue(&scheduler, Box::new(body), Location::caller())?;
        Ok(Tasklet::new(task, value))
    }

    pub(crate) fn queue(
        self,
        scheduler: &Scheduler,
        body: Box<dyn FnOnce()>,
        spawned_at: &'static Location<'static>,
    ) -> Result<Rc<Task>, SpawnError> {
        let stack_bytes = self.stack_bytes.unwrap_or(scheduler.stack_bytes);
        if !(stacks::SMALLEST..=stacks::LARGEST).contains(&stack_bytes) {
            let (least, most) = (stacks::SMALLEST, stacks::LARGEST);
            let why = format!("a stack of {stack_bytes} bytes: not between {least} and {most}");
            return Err(SpawnError { why });
        }
        let plan = Plan { name: self.name, spawned_at, stack_bytes, daemon: self.daemon };
        scheduler.spawn(plan, body).map_err(|why| SpawnError { why })
    }
}

/// Why a tasklet could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnError {
    why: String,
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

/// What a tasklet runs, and where its result will be.
pub(crate) fn body_of<T>(f: impl FnOnce() -> T) -> (impl FnOnce(), Rc<Cell<Option<T>>>) {
    let value = Rc::new(Cell::new(None));
    let result = value.clone();
    let body = move || {
        let task = running::current().expect("a body runs in its tasklet");
        let ended = catch_unwind(AssertUnwindSafe(|| {
            if task.has(flag::CANCELLED) {
                return false; // it never began; `f` is dropped in its tasklet all the same
            }
            result.set(Some(f()));
            if task.has(flag::DETACHED) {
                drop(result.take());
            }
            true
        }));
        let locals = || drop(task.extra_if_any().map(|it| it.locals.take()));
        let cleaned = catch_unwind(AssertUnwindSafe(locals));
        let failure = match ended.and_then(|began| cleaned.map(|()| began)) {
            Ok(true) => return,
            Ok(false) => Failure::Cancelled,
            Err(payload) if payload.is::<Unwound>() => Failure::Cancelled,
            Err(payload) => Failure::Panicked(payload),
        };
        *task.extra().failure.borrow_mut() = Some(failure);
    };
    (body, value)
}

/// A handle that owns a tasklet's result.
///
/// Dereferences to [`TaskletRef`], which has everything but [`join`](Tasklet::join).
pub struct Tasklet<T> {
    me: TaskletRef,
    value: Rc<Cell<Option<T>>>,
    outcome: Option<Result<T, JoinError>>,
}

impl<T> Tasklet<T> {
    pub(crate) fn new(task: Rc<Task>, value: Rc<Cell<Option<T>>>) -> Tasklet<T> {
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
    /// waiting: then the tasklet goes on, detached.
    #[track_caller]
    #[doc(alias("wait", "get"))]
    pub fn join(mut self) -> Result<T, JoinError> {
        if !self.is_finished() {
            self.await_end(Location::caller())?;
        }
        self.result()
    }

    /// [`join`](Self::join) that leaves the handle: after an error of kind
    /// [`Halted`](JoinError::Halted) it can be tried again.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// # Panics
    /// If the result has been taken.
    #[track_caller]
    pub fn join_mut(&mut self) -> Result<T, JoinError> {
        if !self.is_finished() {
            self.await_end(Location::caller())?;
        }
        self.result()
    }

    fn await_end(&self, at: &'static Location<'static>) -> Result<(), Halt> {
        let doing = Doing::Joining(self.me.id());
        running::wait_for(doing, at, |wait| self.me.task.add_joiner(wait, 0))?;
        Ok(())
    }

    fn result(&mut self) -> Result<T, JoinError> {
        if let Some(value) = self.value.take() {
            return Ok(value);
        }
        let failure = self.me.task.extra_if_any().and_then(|it| it.failure.take());
        match failure {
            Some(Failure::Panicked(payload)) => Err(JoinError::Panicked(payload)),
            Some(Failure::Cancelled) => Err(JoinError::Cancelled),
            None => panic!("the result of {:?} has been taken", self.me),
        }
    }

    /// A handle to the same tasklet that does not own the result.
    pub fn handle(&self) -> TaskletRef {
        self.me.clone()
    }
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
        if self.is_finished()
            && self.me.task.extra_if_any().is_some()
            && let Some(scheduler) = Scheduler::active()
        {
            scheduler.look_soon(); // a panic in it now ends the run
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
        self.is_finished()
    }
    fn ready(&self) -> bool {
        self.is_finished()
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        self.me.task.add_joiner(wait.clone(), branch);
        1
    }
    fn withdraw(&mut self, wait: &Wait, _: u32) {
        self.me.task.joiners.borrow_mut().retain(|(it, _)| !it.is_same(wait));
    }
    fn complete(&mut self, _: u32, _: bool, _: &'static Location<'static>) -> bool {
        true
    }
    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(JoinError::Halted(why)));
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

/// What a tasklet is about, at the moment of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It will run when its turn comes.
    Ready,
    /// It runs now.
    Running,
    /// It waits in an operation.
    Waiting,
    /// It was taken out of the ready queue.
    Paused,
    /// It has ended.
    Finished,
}

/// A handle to a tasklet that does not own its result; dropping it means nothing.
#[derive(Clone)]
pub struct TaskletRef {
    pub(crate) task: Rc<Task>,
}

impl TaskletRef {
    /// Its id: counted per run, in the order of spawning.
    #[doc(alias = "get_ident")]
    pub fn id(&self) -> TaskletId {
        self.task.id()
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        self.task.who.name.as_deref()
    }

    /// Where it stands in the tree of spawns, as `root.2.0`: the same in every schedule.
    pub fn path(&self) -> String {
        self.task.who.path_text()
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.task.who.spawned_at
    }

    /// Whether it has ended.
    #[doc(alias("dead", "alive"))]
    pub fn is_finished(&self) -> bool {
        self.task.has(flag::FINISHED)
    }

    /// Whether it has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.task.has(flag::CANCELLED)
    }

    /// Whether it is the running tasklet.
    pub fn is_current(&self) -> bool {
        running::current().is_some_and(|it| Rc::ptr_eq(&it, &self.task))
    }

    /// What it is about.
    #[doc(alias("blocked", "scheduled", "paused", "alive"))]
    pub fn state(&self) -> State {
        let task = &self.task;
        if task.has(flag::FINISHED) {
            State::Finished
        } else if self.is_current() {
            State::Running
        } else if task.has(flag::PAUSED) || (task.is_waiting() && task.doing.get() == Doing::Paused)
        {
            State::Paused
        } else if task.is_waiting() || task.has(flag::COMMITTED) {
            State::Waiting
        } else {
            State::Ready
        }
    }

    /// Makes every blocking operation of it return [`Halt::Cancelled`], at once and from then on.
    ///
    /// Returns at once. A tasklet that has not begun never will. One that ignores this 1,000
    /// times is unwound; one that swallows even that is suspended for good and reported.
    /// Cancelling a tasklet that has ended does nothing.
    ///
    /// ```
    /// use tasklets::{Halt, Never, channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (_tx, rx) = channel::<Never>();
    ///     let stuck = spawn(move || rx.recv());
    ///     yield_now();
    ///     stuck.cancel();
    ///     assert_eq!(stuck.join().unwrap(), Err(Halt::Cancelled));
    /// });
    /// ```
    #[doc(alias("kill", "TaskletExit", "GreenletExit", "throw"))]
    pub fn cancel(&self) {
        self.interrupt(Halt::Cancelled);
    }

    fn interrupt(&self, why: Halt) {
        if !self.is_finished() {
            wake_paused(&self.task);
            wait::interrupt(&self.task, why);
            running::look_closer(&self.task);
        }
    }

    /// Makes its present or next blocking operation return [`Halt::Injected`], once.
    ///
    /// The tasklet finds `error` in [`take_injected`]. A later injection replaces one that has
    /// not been taken.
    ///
    /// ```
    /// use tasklets::{Halt, pause, run, spawn, take_injected, yield_now};
    /// run(|| {
    ///     let target = spawn(|| (pause(), take_injected().unwrap().to_string()));
    ///     yield_now();
    ///     target.inject("out of paper");
    ///     assert_eq!(target.join().unwrap(), (Err(Halt::Injected), "out of paper".into()));
    /// });
    /// ```
    #[doc(alias("raise_exception", "throw"))]
    pub fn inject(&self, error: impl Into<Box<dyn Error>>) {
        if !self.is_finished() {
            let former = self.task.extra().injected.replace(Some(error.into()));
            self.interrupt(Halt::Injected);
            drop(former);
        }
    }

    /// Takes it out of the ready queue until it is [inserted](Self::insert); for the caller itself
    /// see [`pause`]. True if it was ready.
    #[doc(alias = "remove")]
    pub fn pause(&self) -> bool {
        let ready = self.state() == State::Ready;
        if ready {
            self.task.set(flag::PAUSED);
        }
        ready
    }

    /// Puts a paused tasklet at the end of the ready queue. True if it was paused.
    pub fn insert(&self) -> bool {
        let paused = self.state() == State::Paused;
        if paused {
            wake_paused(&self.task);
            wait::settle_now(&self.task, 0);
        }
        paused
    }

    /// Runs it next, at once; the caller goes behind all that are ready. True if it could.
    ///
    /// It can if it is ready or paused, belongs to the caller's run, and the caller may give way.
    #[doc(alias("run", "switch", "switch_to"))]
    pub fn run_now(&self) -> bool {
        let Ok(me) = running::waiter_here() else { return false };
        if !Rc::ptr_eq(&me.home, &self.task.home) {
            return false;
        }
        self.insert();
        if self.state() != State::Ready {
            return false;
        }
        if !me.home.ready.remove(&self.task) {
            return false;
        }
        me.home.ready.push_front(self.task.clone());
        running::give_way(&me);
        true
    }
}

impl PartialEq for TaskletRef {
    fn eq(&self, other: &TaskletRef) -> bool {
        Rc::ptr_eq(&self.task, &other.task)
    }
}

impl Eq for TaskletRef {}

impl fmt::Debug for TaskletRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({:?})", self.task, self.state())
    }
}

impl fmt::Display for TaskletRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.task)
    }
}
