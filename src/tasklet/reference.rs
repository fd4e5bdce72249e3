//! Handles that do not own a tasklet's result: looking at it, stopping it, ordering it.
//!
//! Always: every method may be called at any time, also when the tasklet has ended.

use crate::error::Halt;
use crate::kernel::announce;
use crate::kernel::name::TaskletId;
use crate::kernel::running;
use crate::kernel::scheduler::wake_paused;
use crate::kernel::task::{Doing, Task, flag};
use crate::kernel::wait;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

/// What a tasklet is about, at the moment of asking.
///
/// ```
/// use tasklets::{State, current, pause, run, spawn, yield_now};
/// run(|| {
///     assert_eq!(current().unwrap().state(), State::Running);
///     let other = spawn(pause);
///     assert_eq!(other.state(), State::Ready);
///     yield_now();
///     assert_eq!(other.state(), State::Paused);
///     other.insert();
///     yield_now();
///     assert_eq!(other.state(), State::Finished);
/// });
/// ```
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
///
/// ```
/// use tasklets::{TaskletRef, current, run, spawn};
/// run(|| {
///     let worker = spawn(|| current().unwrap());
///     let first: TaskletRef = worker.handle();
///     assert_eq!(worker.join().unwrap(), first); // the same tasklet, which has ended
///     assert!(first.is_finished());
/// });
/// ```
#[derive(Clone)]
pub struct TaskletRef {
    pub(crate) task: Rc<Task>,
}

impl TaskletRef {
    /// Its id: counted per run, in the order of spawning.
    ///
    /// ```
    /// use tasklets::{run, snapshot, spawn};
    /// run(|| {
    ///     let worker = spawn(|| ());
    ///     let now = snapshot().unwrap();
    ///     assert_eq!(now.tasklet(worker.id()).unwrap().path, worker.path());
    /// });
    /// ```
    #[doc(alias = "get_ident")]
    pub fn id(&self) -> TaskletId {
        self.task.id()
    }

    /// The name it was given.
    ///
    /// ```
    /// use tasklets::{Builder, run, spawn};
    /// run(|| {
    ///     let named = Builder::new().name("logger").spawn(|| ()).unwrap();
    ///     assert_eq!((named.name(), spawn(|| ()).name()), (Some("logger"), None));
    /// });
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.task.who.name.as_deref()
    }

    /// Where it stands in the tree of spawns, as `root.2.0`: the same in every schedule.
    ///
    /// Tasklets spawned from outside of a run are `out.1`, `out.2` and so on. Reports leave out the
    /// middle of a path with more than 64 generations.
    ///
    /// ```
    /// use tasklets::{run, spawn};
    /// run(|| {
    ///     let first = spawn(|| spawn(|| ()).path());
    ///     let second = spawn(|| ());
    ///     assert_eq!((first.path(), second.path()), ("root.0".into(), "root.1".into()));
    ///     assert_eq!(first.join().unwrap(), "root.0.0");
    /// });
    /// ```
    pub fn path(&self) -> String {
        self.task.who.path_text()
    }

    /// Where it was spawned.
    ///
    /// ```
    /// use tasklets::{run, spawn};
    /// run(|| {
    ///     let (worker, line) = (spawn(|| ()), line!());
    ///     assert_eq!(worker.spawned_at().line(), line);
    /// });
    /// ```
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.task.who.spawned_at
    }

    /// Whether it has ended.
    ///
    /// ```
    /// use tasklets::{run, spawn, yield_now};
    /// run(|| {
    ///     let worker = spawn(|| 42);
    ///     let mut rounds = 0;
    ///     while !worker.is_finished() {
    ///         rounds += 1; // something else to do meanwhile
    ///         yield_now();
    ///     }
    ///     assert_eq!((rounds, worker.join().unwrap()), (1, 42)); // the join does not wait
    /// });
    /// ```
    #[doc(alias("dead", "alive"))]
    #[track_caller]
    pub fn is_finished(&self) -> bool {
        announce::has_ended(&self.task, Location::caller())
    }

    /// Whether it has been cancelled.
    ///
    /// A [shield](crate::shield) does not hide that. For loops that do no operations.
    ///
    /// ```
    /// use tasklets::{current, run, spawn, yield_now};
    /// run(|| {
    ///     let counting = spawn(|| {
    ///         let mut count = 0;
    ///         while !current().unwrap().is_cancelled() {
    ///             count += 1;
    ///             yield_now();
    ///         }
    ///         count
    ///     });
    ///     yield_now();
    ///     counting.cancel();
    ///     assert_eq!(counting.join().unwrap(), 1);
    /// });
    /// ```
    #[track_caller]
    pub fn is_cancelled(&self) -> bool {
        if !self.is_current() {
            announce::refuse("asking whether another is cancelled", Location::caller());
        } else if !self.task.has(flag::CANCELLED) {
            announce::before_looking(Location::caller());
        }
        self.task.has(flag::CANCELLED)
    }

    /// Whether it is the running tasklet.
    ///
    /// ```
    /// use tasklets::{current, run, spawn};
    /// run(|| {
    ///     let me = current().unwrap();
    ///     assert!(me.is_current());
    ///     assert!(!spawn(move || me.is_current()).join().unwrap());
    /// });
    /// ```
    pub fn is_current(&self) -> bool {
        running::current().is_some_and(|it| Rc::ptr_eq(&it, &self.task))
    }

    /// What it is about.
    ///
    /// ```
    /// use tasklets::{Never, State, channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel::<Never>();
    ///     let reader = spawn(move || rx.recv());
    ///     yield_now();
    ///     assert_eq!(reader.state(), State::Waiting);
    ///     drop(tx);
    ///     assert_eq!(reader.state(), State::Ready); // its wait is over; it has not run yet
    /// });
    /// ```
    #[doc(alias("blocked", "scheduled", "paused", "alive"))]
    #[track_caller]
    pub fn state(&self) -> State {
        announce::refuse("asking what a tasklet is about", Location::caller());
        self.present_state()
    }

    /// [`state`](Self::state) of whom it is known, or for a report.
    pub(crate) fn present_state(&self) -> State {
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
    #[track_caller]
    pub fn cancel(&self) {
        self.cancel_at(Location::caller());
    }

    pub(crate) fn cancel_at(&self, at: &'static Location<'static>) {
        self.cancel_because(at, || ());
    }

    /// [`cancel_at`](Self::cancel_at) that tells the reason to who looks for it when it is stopped.
    pub(crate) fn cancel_because(&self, at: &'static Location<'static>, reason: impl FnOnce()) {
        announce::touch(&self.task, at);
        reason();
        self.interrupt(Halt::Cancelled);
    }

    fn interrupt(&self, why: Halt) {
        if !self.task.has(flag::FINISHED) {
            wake_paused(&self.task);
            wait::interrupt(&self.task, why);
        }
    }

    /// Makes its present or next blocking operation return [`Halt::Injected`], once.
    ///
    /// The tasklet finds `error` in [`take_injected`](crate::take_injected). A later injection
    /// replaces one that has not been taken.
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
    #[track_caller]
    pub fn inject(&self, error: impl Into<Box<dyn Error>>) {
        announce::touch(&self.task, Location::caller());
        if !self.task.has(flag::FINISHED) {
            let former = self.task.extra().injected.replace(Some(error.into()));
            self.interrupt(Halt::Injected);
            drop(former);
        }
    }

    /// Takes it out of the ready queue until it is [inserted](Self::insert); for the caller itself
    /// see [`pause`](crate::pause). True if it was ready.
    ///
    /// A cancellation, an injected error and the end of the run put it back too.
    ///
    /// ```
    /// use tasklets::{State, run, spawn, yield_now};
    /// run(|| {
    ///     let other = spawn(|| ());
    ///     assert!(other.pause());
    ///     yield_now();
    ///     assert_eq!(other.state(), State::Paused);
    ///     assert!(other.insert());
    ///     yield_now();
    ///     assert!(other.is_finished() && !other.insert());
    /// });
    /// ```
    #[doc(alias = "remove")]
    #[track_caller]
    pub fn pause(&self) -> bool {
        announce::refuse("pausing another tasklet", Location::caller());
        let ready = self.present_state() == State::Ready && self.task.home.ready.remove(&self.task);
        if ready {
            self.task.set(flag::PAUSED);
        }
        ready
    }

    /// Puts a paused tasklet at the end of the ready queue. True if it was paused, by others or by
    /// [itself](crate::pause).
    ///
    /// ```
    /// use tasklets::{Halt, pause, run, spawn, yield_now};
    /// run(|| {
    ///     let worker = spawn(|| (0..).take_while(|_| pause().is_ok()).count());
    ///     yield_now();
    ///     for _ in 0..3 {
    ///         assert!(worker.insert() && !worker.insert()); // ready already
    ///         yield_now();
    ///     }
    ///     worker.cancel();
    ///     assert_eq!(worker.join().unwrap(), 3);
    /// });
    /// ```
    #[doc(alias("resume", "switch_later"))]
    #[track_caller]
    pub fn insert(&self) -> bool {
        announce::touch(&self.task, Location::caller());
        let paused = self.present_state() == State::Paused;
        if paused {
            wake_paused(&self.task);
            wait::settle_now(&self.task, 0);
        }
        paused
    }

    /// Runs it next, at once; the caller goes behind all that are ready. True if it could.
    ///
    /// It can if it is ready or paused, belongs to the caller's run, and the caller may give way.
    /// Not an operation that cancellation ends.
    ///
    /// # Panics
    /// Under a [`switch_trap`](crate::switch_trap) and inside a raw generator.
    ///
    /// ```
    /// use tasklets::{run, spawn};
    /// run(|| {
    ///     let other = spawn(|| ());
    ///     assert!(other.run_now() && other.is_finished());
    /// });
    /// ```
    #[track_caller]
    #[doc(alias("run", "switch", "switch_to"))]
    pub fn run_now(&self) -> bool {
        announce::refuse("running another tasklet now", Location::caller());
        let Ok(me) = running::waiter_here(Location::caller()) else { return false };
        if !Rc::ptr_eq(&me.home, &self.task.home) {
            return false;
        }
        self.insert();
        if self.present_state() != State::Ready {
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
        write!(f, "{:?} ({:?})", self.task, self.present_state())
    }
}

impl fmt::Display for TaskletRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.task)
    }
}
