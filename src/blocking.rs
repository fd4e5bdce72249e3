//! Calls that block, run on other OS threads while the tasklet waits.
//!
//! Always: a run has at most so many threads as its builder says; a call whose caller has gone
//! away is not begun any more, and its late result is dropped. The only place, beside the stack
//! engine for tests, that makes threads.
//! Call: `Queued -> Begun -> Answered`, `Queued -> Forgotten`.

use crate::error::Halt;
use crate::kernel::announce;
use crate::kernel::poller::Message;
use crate::kernel::running;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Doing;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Threads of a run unless its builder says otherwise.
pub(crate) const THREADS: usize = 16;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// Runs `f` on another OS thread and waits for its result; other tasklets run meanwhile.
///
/// For system calls, file access, long computations: whatever would keep the scheduler from
/// running. If `f` panics, so does this call, with the same payload. If the OS does not even give
/// the run one thread, `f` runs on this one.
///
/// # Errors
/// [`Halt::Cancelled`], [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped: at
/// once; a call that has not begun is then forgotten, the result of one that has is dropped.
/// [`Halt::CannotWait`] where waiting is not possible; `f` does not run then.
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
    let at = Location::caller();
    let scheduler = Scheduler::active().ok_or(Halt::CannotWait)?;
    if announce::controlled().is_some() {
        // A run that is explored has one OS thread: the call is part of the tasklet's own step.
        running::gate(true)?;
        return Ok(f());
    }
    let pool = scheduler.extension::<Pool>();
    let unwanted = Arc::new(AtomicBool::new(false));
    let mut call = usize::MAX;
    let waited = running::wait_for(Doing::Calling, at, |wait| {
        let (number, inbox) = scheduler.begin_call(wait);
        call = number;
        let unwanted = unwanted.clone();
        let job: Job = Box::new(move || {
            let wanted = !unwanted.load(Ordering::Relaxed);
            // What `f` holds is dropped inside, too: a panic there must not end the thread.
            let result = catch_unwind(AssertUnwindSafe(|| wanted.then(f)));
            inbox.put(Message { call, result: Box::new(result) });
        });
        pool.submit(job, scheduler.blocking_threads);
    });
    if let Err(why) = waited {
        unwanted.store(true, Ordering::Relaxed);
        return Err(why);
    }
    let result = scheduler.end_call(call);
    let result = result.and_then(|it| it.downcast::<thread::Result<Option<T>>>().ok());
    match *result.expect("a call that settled its wait has a result") {
        Ok(value) => Ok(value.expect("a call that is waited for is made")),
        Err(payload) => resume_unwind(payload),
    }
}

/// The threads of one run.
#[derive(Default)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told of new jobs and of the end.
    news: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    over: bool,
}

impl Pool {
    /// Queues `job`, with a new thread for it if none is idle and there may be more.
    fn submit(&self, job: Job, most: usize) {
        let mut state = self.shared.state.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.shared.news.notify_one();
            return;
        }
        if state.threads < most.max(1) {
            state.threads += 1;
            drop(state);
            let shared = self.shared.clone();
            if new_thread("tasklets-blocking", move || shared.work()).is_err() {
                self.do_without();
            }
        }
    }

    /// The OS refused a thread: the others will do, or, if there is none, the job runs here.
    fn do_without(&self) {
        let mut state = self.shared.state.lock();
        state.threads -= 1;
        let job = if state.threads == 0 { state.jobs.pop_front() } else { None };
        drop(state);
        if let Some(job) = job {
            job();
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state.lock();
            }
            if state.over {
                break;
            }
            state.idle += 1;
            let waited = self.news.wait_for(&mut state, IDLE);
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.over = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.shared.news.notify_all();
        drop(jobs);
    }
}

/// Makes an OS thread. The others who need one get it here.
pub(crate) fn new_thread(
    name: &str,
    f: impl FnOnce() + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(f)
}
