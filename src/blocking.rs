//! Calls that block, run on other OS threads while the tasklet waits.
//!
//! Always: a call is made once or not at all, and its result goes to exactly one: to the caller if
//! it still waits when the result is there, else to whom the caller has named. The only place,
//! beside the stack engine for tests, that makes threads.
//! Call: `Queued -> Begun -> Answered -> Over`, `Queued -> Over`, `Begun -> Left -> Over`.

mod pool;

pub use pool::BlockingInfo;
pub(crate) use pool::{Pool, THREADS};

use crate::error::Halt;
use crate::kernel::announce;
use crate::kernel::poller::Message;
use crate::kernel::running;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Doing;
use parking_lot::Mutex;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

/// Runs `f` on another OS thread and waits for its result; other tasklets run meanwhile.
///
/// For system calls, file access, long computations: whatever would keep the scheduler from
/// running. If `f` panics, so does this call, with the same payload. If the OS does not even give
/// the run one thread, or a descriptor to be woken by, `f` runs on this one.
///
/// # Errors
/// [`Halt::Cancelled`], [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped: at
/// once; a call that has not begun is then not made, the result of one that has is dropped.
/// [`blocking_or`] tells which, and keeps it.
/// [`Halt::Busy`] if the [queue](crate::RuntimeBuilder::blocking_queue) is full;
/// [`Halt::CannotWait`] where waiting is not possible. `f` does not run then.
///
/// # Panics
/// With the panic of `f`; under a [`switch_trap`](crate::switch_trap) and inside a raw generator,
/// before `f` runs.
///
/// ```
/// use tasklets::{blocking, run};
/// let bytes = run(|| blocking(|| std::fs::read("Cargo.toml")).unwrap().unwrap());
/// assert!(!bytes.is_empty());
/// ```
#[track_caller]
#[doc(alias("tpool", "execute", "spawn_blocking", "call_on_thread", "unblock"))]
pub fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Halt> {
    let drop_there = |result: thread::Result<T>| -> Leftover { Box::new(result) };
    call(f, drop_there, Location::caller()).map_err(Halt::from)
}

/// [`blocking`] for a call whose result, or whose captures, must not be lost.
///
/// If the tasklet is stopped after the call has begun, `late` gets its result, or the payload of
/// its panic, when it has ended: on the thread that made the call, possibly after the run. A panic
/// of `late` ends the run, if that goes on.
///
/// # Errors
/// As [`blocking`]; the error says whether the call had begun, and gives `f` back if not.
///
/// # Panics
/// As [`blocking`].
///
/// ```
/// use std::sync::mpsc;
/// use tasklets::{Unanswered, blocking_or, run, spawn, yield_now};
/// let (keep, kept) = mpsc::channel(); // of std: between OS threads
/// let (go, wait) = mpsc::channel::<()>();
/// run(move || {
///     let (begins, begun) = mpsc::channel();
///     let call = spawn(move || {
///         let job = move || {
///             begins.send(()).unwrap();
///             wait.recv().is_ok()
///         };
///         blocking_or(job, move |result| keep.send(result.unwrap()).unwrap())
///     });
///     yield_now();
///     begun.recv().unwrap();
///     call.cancel();
///     assert!(matches!(call.join().unwrap(), Err(Unanswered::Begun { .. })));
/// });
/// go.send(()).unwrap();
/// assert!(kept.recv().unwrap()); // it came when the run was over
/// ```
#[track_caller]
pub fn blocking_or<T, F, L>(f: F, late: L) -> Result<T, Unanswered<F>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
    L: FnOnce(thread::Result<T>) + Send + 'static,
{
    let hand_over = move |result| -> Leftover {
        match catch_unwind(AssertUnwindSafe(|| late(result))) {
            Ok(()) => Box::new(()),
            Err(payload) => Box::new(Reraised(Some(payload))),
        }
    };
    call(f, hand_over, Location::caller())
}

/// What is left of a call that its caller has left: the scheduler drops it, and a panic of that
/// ends the run.
type Leftover = Box<dyn Any + Send>;

/// Panics again when it is dropped.
struct Reraised(Option<Box<dyn Any + Send>>);

impl Drop for Reraised {
    fn drop(&mut self) {
        if let Some(payload) = self.0.take().filter(|_| !thread::panicking()) {
            resume_unwind(payload);
        }
    }
}

/// Why a call has no result for its caller, and what became of it.
///
/// ```
/// use tasklets::{Halt, Unanswered, blocking_or};
/// let text = String::from("moved in");
/// let refused = blocking_or(move || text, drop); // outside of any run
/// let Err(Unanswered::NotBegun { f, why: Halt::CannotWait }) = refused else { panic!() };
/// assert_eq!(f(), "moved in"); // what was lent is given back
/// ```
pub enum Unanswered<F> {
    /// The call was not made and will not be.
    NotBegun {
        /// What was to be called.
        f: F,
        /// Why it was not.
        why: Halt,
    },
    /// The call was under way and goes on; its result goes to whom the caller has named.
    Begun {
        /// Why the caller does not wait for it.
        why: Halt,
    },
}

impl<F> Unanswered<F> {
    /// Why the caller got no result.
    pub fn why(&self) -> Halt {
        match self {
            Unanswered::NotBegun { why, .. } | Unanswered::Begun { why } => *why,
        }
    }
}

impl<F> fmt::Debug for Unanswered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Unanswered::NotBegun { .. } => "NotBegun",
            Unanswered::Begun { .. } => "Begun",
        };
        f.debug_struct(name).field("why", &self.why()).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for Unanswered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::NotBegun { why, .. } => write!(f, "the call was not made: {why}"),
            Unanswered::Begun { why } => write!(f, "the call goes on unanswered: {why}"),
        }
    }
}

impl<F> Error for Unanswered<F> {}

impl<F> From<Unanswered<F>> for Halt {
    fn from(error: Unanswered<F>) -> Halt {
        error.why()
    }
}

impl<F> From<Unanswered<F>> for io::Error {
    fn from(error: Unanswered<F>) -> io::Error {
        error.why().into()
    }
}

/// A call, as its caller and the thread that makes it share it.
struct Call<T, F, L>(Mutex<Stage<T, F, L>>);

enum Stage<T, F, L> {
    Queued(F),
    Begun,
    /// Its caller has gone and has left this for the result.
    Left(L),
    Answered(thread::Result<T>),
    Over,
}

impl<T, F: FnOnce() -> T, L: FnOnce(thread::Result<T>) -> Leftover> Call<T, F, L> {
    fn put(&self, stage: Stage<T, F, L>) -> Stage<T, F, L> {
        std::mem::replace(&mut *self.0.lock(), stage)
    }

    /// Makes the call, if it is still wanted; returns what the scheduler is told.
    fn make(&self) -> Option<Leftover> {
        let Stage::Queued(f) = self.put(Stage::Begun) else {
            self.put(Stage::Over);
            return None;
        };
        // What `f` holds is dropped inside, too: a panic there must not end the thread.
        let result = catch_unwind(AssertUnwindSafe(f));
        let mut stage = self.0.lock();
        let former = std::mem::replace(&mut *stage, Stage::Over);
        if let Stage::Left(late) = former {
            drop(stage);
            return Some(late(result));
        }
        *stage = Stage::Answered(result);
        Some(Box::new(()))
    }

    /// The result, which is there.
    fn answer(&self) -> Result<thread::Result<T>, Unanswered<F>> {
        match self.put(Stage::Over) {
            Stage::Answered(result) => Ok(result),
            _ => unreachable!("a call that settled its wait has a result"),
        }
    }

    /// The result, if there is one; else the caller leaves `late`, for a result to come.
    fn leave(&self, late: L, why: Halt) -> Result<thread::Result<T>, Unanswered<F>> {
        let mut stage = self.0.lock();
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Answered(result) => Ok(result),
            Stage::Queued(f) => Err(Unanswered::NotBegun { f, why }),
            Stage::Begun | Stage::Left(_) | Stage::Over => {
                *stage = Stage::Left(late);
                Err(Unanswered::Begun { why })
            }
        }
    }
}

/// Queues the call and waits for its answer.
fn call<T, F, L>(f: F, late: L, at: &'static Location<'static>) -> Result<T, Unanswered<F>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
    L: FnOnce(thread::Result<T>) -> Leftover + Send + 'static,
{
    let Some(scheduler) = Scheduler::active() else {
        return Err(Unanswered::NotBegun { f, why: Halt::CannotWait });
    };
    if announce::controlled().is_some() || !scheduler.has_queue() {
        return call_here(f, at);
    }
    let call = Arc::new(Call::<T, F, L>(Mutex::new(Stage::Queued(f))));
    let pool = scheduler.extension::<Pool>();
    let (mut number, mut place) = (usize::MAX, None);
    let waited = running::wait_for(Doing::Calling, at, |wait| {
        let (entry, inbox) = scheduler.begin_call(wait.clone());
        number = entry;
        let same = call.clone();
        let job = move || {
            if let Some(result) = same.make() {
                inbox.put(Message::Answer { call: entry, result });
            }
        };
        // If the run is over, what is left is dropped there: its panic must not end the thread.
        let job = Box::new(|| drop(catch_unwind(AssertUnwindSafe(job))));
        place = pool.submit(job, scheduler.blocking);
        if place.is_none() {
            wait.settle(0);
        }
    });
    let stopped = match waited {
        Ok(_) => place.is_none().then_some(Halt::Busy),
        Err(why) => Some(why),
    };
    let result = stopped.map_or_else(|| call.answer(), |why| call.leave(late, why));
    let not_begun = matches!(result, Err(Unanswered::NotBegun { .. }));
    if stopped.is_none() || not_begun {
        // Else what is left of it is on its way to the scheduler, which forgets it then.
        scheduler.end_call(number);
    }
    if let Some(place) = place.filter(|_| not_begun) {
        pool.withdraw(place);
    }
    match result? {
        Ok(value) => Ok(value),
        Err(payload) => resume_unwind(payload),
    }
}

/// The call as a part of the tasklet's own step: a run that is explored has one OS thread.
fn call_here<T, F: FnOnce() -> T>(
    f: F,
    at: &'static Location<'static>,
) -> Result<T, Unanswered<F>> {
    announce::before_looking(at);
    match running::gate(true) {
        Ok(_) => Ok(f()),
        Err(why) => Err(Unanswered::NotBegun { f, why }),
    }
}

/// Makes an OS thread. The others who need one get it here.
pub(crate) fn new_thread(
    name: &str,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(f)
}
