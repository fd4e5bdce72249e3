//! The OS threads that make the blocking calls of one run, and the queue in front of them.
//!
//! Always: no more threads than the run's limits say; no call waits while a thread is idle or may
//! be made. Thread: `Busy <-> Idle -> Ended`, when it has been idle for long enough, the run is
//! over, or every other OS thread of the process is asleep for good.

use super::new_thread;
use crate::kernel::asleep::{self, Reserve};
use crate::kernel::scheduler::BlockingLimits;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Threads of a run unless its builder says otherwise.
pub(crate) const THREADS: usize = 16;

type Job = Box<dyn FnOnce() + Send>;

/// The pool behind [`blocking`](crate::blocking()) at one moment.
///
/// ```
/// use tasklets::{Runtime, blocking};
/// let runtime = Runtime::builder().build();
/// runtime.run(|| blocking(|| ()).unwrap()).unwrap();
/// let pool = runtime.snapshot().blocking;
/// assert_eq!((pool.threads, pool.queued), (1, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockingInfo {
    /// OS threads there are.
    pub threads: usize,
    /// Calls that have a thread. Their callers may have gone.
    pub under_way: usize,
    /// Calls that wait for a thread.
    pub queued: usize,
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
    /// By the order in which they came.
    jobs: BTreeMap<u64, Job>,
    /// Jobs that ever came.
    came: u64,
    threads: usize,
    idle: usize,
    /// Threads that have been made and have not looked for a job so far.
    coming: usize,
    limits: BlockingLimits,
    /// Who is idle shall not wait for the next job: only idle threads could make one.
    dismissed: bool,
    over: bool,
}

impl Pool {
    /// Queues `job`, with a new thread for it if none is idle and there may be more; tells its
    /// place, or none if the queue is full.
    pub(super) fn submit(&self, job: Job, limits: BlockingLimits) -> Option<u64> {
        let mut state = self.shared.state.lock();
        let most = limits.threads.max(1);
        state.limits = limits;
        state.dismissed = false;
        let at_once = state.free() + (most - state.threads.min(most));
        if state.jobs.len() >= at_once.saturating_add(limits.queue) {
            drop(state); // before the job
            return None;
        }
        state.came += 1;
        let place = state.came;
        state.jobs.insert(place, job);
        if state.free() >= state.jobs.len() {
            self.shared.news.notify_one();
        } else if state.threads < most {
            state.threads += 1;
            state.coming += 1;
            drop(state);
            if place == 1 {
                let known: Weak<Shared> = Arc::downgrade(&self.shared);
                asleep::list_reserve(known);
            }
            let shared = self.shared.clone();
            if new_thread("tasklets-blocking", move || shared.work()).is_err() {
                self.do_without();
            }
        }
        Some(place)
    }

    /// Takes a job out of the queue, if it is there.
    pub(super) fn withdraw(&self, place: u64) {
        let job = self.shared.state.lock().jobs.remove(&place);
        drop(job);
    }

    /// How many there are of what.
    pub(crate) fn info(&self) -> BlockingInfo {
        let state = self.shared.state.lock();
        let taken = state.free().min(state.jobs.len());
        BlockingInfo {
            threads: state.threads,
            under_way: state.threads - state.free() + taken,
            queued: state.jobs.len() - taken,
        }
    }

    /// The OS refused a thread: the others will do, or, if there is none, the job runs here.
    fn do_without(&self) {
        let mut state = self.shared.state.lock();
        state.threads -= 1;
        state.coming -= 1;
        let job = if state.threads == 0 { state.jobs.pop_first() } else { None };
        drop(state);
        if let Some((_, job)) = job {
            job();
        }
    }
}

impl State {
    /// Threads that will take a job before they do anything else.
    fn free(&self) -> usize {
        self.idle + self.coming
    }
}

impl Shared {
    fn work(&self) {
        let mut state = self.state.lock();
        state.coming -= 1;
        loop {
            while let Some((_, job)) = state.jobs.pop_first() {
                drop(state);
                job();
                state = self.state.lock();
            }
            if state.over {
                break;
            }
            state.idle += 1;
            let patience = state.limits.idle;
            let waited = self.news.wait_for(&mut state, patience);
            state.idle -= 1;
            if (waited.timed_out() || state.dismissed) && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl Reserve for Shared {
    fn threads(&self) -> u32 {
        u32::try_from(self.state.lock().idle).unwrap_or(u32::MAX)
    }

    fn dismiss(&self) {
        self.state.lock().dismissed = true;
        self.news.notify_all();
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
