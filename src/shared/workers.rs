//! Several runs on OS threads of their own, to which closures can be sent.
//!
//! Always: every worker has ended when its group is gone; what its tasklets left is joined, told by
//! the shutdown, or printed. Group: `Open -> Closing (no more jobs) -> Ended`. Job: `Queued ->
//! Spawned -> Delivered`, or `-> Dropped` with its worker.

mod remote;

pub use remote::Remote;

use crate::blocking::new_thread;
use crate::channel::{Never, Sender as Local, channel as local_channel};
use crate::error::{Halt, JoinError, complain, discard};
use crate::kernel::poller::{Inbox, Message};
use crate::kernel::running::Unwound;
use crate::kernel::scheduler::Scheduler;
use crate::runtime::{PanicReport, RunError, Runtime, RuntimeBuilder};
use crate::shared::{Receiver, Sender, channel};
use crate::tasklet::Builder;
use parking_lot::Mutex;
use remote::Delivery;
use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// A closure on its way to a worker; it spawns the tasklet there.
type Job = Box<dyn FnOnce(&Scheduler, Local<Never>) + Send>;

/// What the group knows of one worker.
#[derive(Default)]
struct Worker {
    queue: Mutex<Queue>,
    /// Where news are left for it, once its run has begun.
    inbox: OnceLock<Arc<Inbox>>,
    /// Tasklets spawned on it that have not ended.
    load: AtomicUsize,
    /// Why its run has ended, if not in peace.
    error: Mutex<Option<RunError>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Its run is over: nothing is taken any more.
    over: bool,
}

/// What the workers, their handles and their group share.
struct Group {
    workers: Vec<Worker>,
    /// Workers wait for their tasklets before they end.
    patient: AtomicBool,
    /// Panics whose handles were dropped after the fact.
    panics: Mutex<Vec<Box<dyn Any + Send>>>,
}

/// The worker that a tasklet is spawned on.
///
/// ```
/// use tasklets::shared::{self, Which};
/// let workers = shared::workers(2).unwrap();
/// let tasks = (0..4).map(|it| workers.spawn_on(Which::LeastLoaded, move || it));
/// let all: Vec<_> = tasks.collect(); // two on each, unless some have ended already
/// assert_eq!(all.into_iter().map(|it| it.join().unwrap()).sum::<i32>(), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one with this number, counted from 0.
    Worker(usize),
    /// The one with the fewest tasklets that were spawned on it and have not ended.
    LeastLoaded,
}

impl From<usize> for Which {
    fn from(number: usize) -> Which {
        Which::Worker(number)
    }
}

/// Runs on OS threads of their own: tasklets can be spawned on them from anywhere.
///
/// A tasklet stays on the worker it was spawned on, and so do those that it spawns itself; they
/// talk to others through [shared channels](super::channel()). Dropping the group cancels all
/// tasklets and blocks the OS thread until they have ended; [`shutdown`](Self::shutdown) waits for
/// them first.
///
/// ```
/// use tasklets::{run, shared, spawn};
/// let workers = shared::workers(2).unwrap();
/// let (tx, rx) = shared::channel::<u64>();
/// for which in 0..workers.count() {
///     let tx = tx.clone();
///     let half = move || tx.send_all((0..100).filter(|it| it % 2 == which as u64));
///     drop(workers.spawn_on(which, half));
/// }
/// drop(tx);
/// assert_eq!(run(|| rx.into_iter().sum::<u64>()), 4_950);
/// workers.shutdown().unwrap();
/// ```
pub struct Workers {
    group: Arc<Group>,
    /// Dropped to end the workers.
    stop: Option<Sender<Never>>,
    /// Closed when all of them have ended.
    ended: Receiver<Never>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Starts `count` runs on OS threads of their own, with the settings of [`Runtime::builder`].
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for 0 workers; the OS's error if it refuses a thread: those that
/// were made have ended then.
///
/// ```
/// use tasklets::shared;
/// let workers = shared::workers(2).unwrap();
/// let name = || std::thread::current().name().map(str::to_owned);
/// assert_eq!(workers.spawn_on(1, name).join().unwrap().unwrap(), "tasklets-worker-1");
/// assert!(shared::workers(0).is_err());
/// ```
#[doc(alias("thread pool", "GOMAXPROCS", "multi_thread"))]
pub fn workers(count: usize) -> io::Result<Workers> {
    Workers::with(count, |it| it)
}

impl Workers {
    /// [`workers`] whose runtimes are configured by `configure`, called once on each thread.
    ///
    /// # Errors
    /// As [`workers`]. What is wrong with the settings is told by the [`shutdown`](Self::shutdown);
    /// nothing runs then, and joins end with [`JoinError::Cancelled`].
    ///
    /// ```
    /// use tasklets::shared::Workers;
    /// let workers = Workers::with(2, |it| it.stack_size(64 * 1024).seed(7)).unwrap();
    /// assert_eq!(workers.spawn_on(0, || 1).join().unwrap(), 1);
    /// ```
    pub fn with(
        count: usize,
        configure: impl Fn(RuntimeBuilder) -> RuntimeBuilder + Send + Sync + 'static,
    ) -> io::Result<Workers> {
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a group of no workers"));
        }
        let mut all = Vec::new();
        all.try_reserve_exact(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
        all.resize_with(count, Worker::default);
        let group = Arc::new(Group {
            workers: all,
            patient: AtomicBool::new(false),
            panics: Mutex::default(),
        });
        let ((stop, stopped), (running, ended)) = (channel(), channel());
        let configure = Arc::new(configure);
        let mut workers = Workers { group, stop: Some(stop), ended, threads: Vec::new() };
        for number in 0..count {
            let (group, stopped) = (workers.group.clone(), stopped.clone());
            let (running, configure) = (running.clone(), configure.clone());
            let work = move || {
                let _running: Sender<Never> = running;
                group.work(number, &stopped, &*configure);
            };
            let name = format!("tasklets-worker-{number}");
            workers.threads.push(new_thread(&name, work)?); // on failure the others are dropped
        }
        Ok(workers)
    }

    /// How many workers there are.
    ///
    /// ```
    /// assert_eq!(tasklets::shared::workers(3).unwrap().count(), 3);
    /// ```
    pub fn count(&self) -> usize {
        self.group.workers.len()
    }

    /// Spawns a tasklet that runs `f` on a worker. Does not wait.
    ///
    /// If the worker's run is over, or has as many tasklets as it may have, `f` is dropped, and the
    /// join ends with [`JoinError::Cancelled`].
    ///
    /// # Panics
    /// If there is no worker with this number.
    ///
    /// ```
    /// use tasklets::shared::{self, Which};
    /// let workers = shared::workers(2).unwrap();
    /// let id = || std::thread::current().id();
    /// let there = workers.spawn_on(1, id).join().unwrap();
    /// assert_ne!(there, id());
    /// assert_eq!(workers.spawn_on(Which::Worker(1), id).join().unwrap(), there);
    /// ```
    #[track_caller]
    pub fn spawn_on<T: Send + 'static>(
        &self,
        which: impl Into<Which>,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Remote<T> {
        let at = Location::caller();
        let number = match which.into() {
            Which::Worker(number) => number,
            Which::LeastLoaded => self.group.least_loaded(),
        };
        assert!(number < self.count(), "no worker {number}: there are {}", self.count());
        let (remote, delivery) = Remote::new(self.group.clone(), number);
        let job: Job =
            Box::new(move |scheduler, keep| spawn_here(scheduler, keep, f, delivery, at));
        self.group.submit(number, job);
        remote
    }

    /// Waits until all tasklets that were spawned on the workers have ended, and ends the workers.
    ///
    /// What those have spawned and left is cancelled, as at the end of a run. A tasklet that calls
    /// this lets others run meanwhile; if it is stopped, the rest is cancelled.
    ///
    /// # Errors
    /// [`RunError::Panicked`] when a tasklet nobody could join panicked, or a closure that was not
    /// called when it was dropped; [`RunError::Stuck`] when those left on a worker could never end,
    /// by themselves or because [every OS thread](super#stuck-runs) waits; whatever ended a
    /// worker's run. The first is returned, the others are printed.
    ///
    /// # Panics
    /// On a worker of the group, which would wait for itself: the group is dropped then.
    ///
    /// ```
    /// use tasklets::{RunError, shared};
    /// let workers = shared::workers(2).unwrap();
    /// let unlucky = || -> u8 { std::panic::resume_unwind(Box::new("unseen")) };
    /// drop(workers.spawn_on(0, unlucky)); // nobody will join it
    /// assert!(matches!(workers.shutdown(), Err(RunError::Panicked(_))));
    /// ```
    #[track_caller]
    pub fn shutdown(mut self) -> Result<(), RunError> {
        let me = thread::current().id();
        let own = self.threads.iter().any(|it| it.thread().id() == me);
        assert!(!own, "a worker cannot wait for the end of its own group");
        self.group.patient.store(true, Ordering::SeqCst);
        drop(self.stop.take());
        if self.ended.recv() != Err(Halt::Closed) {
            self.group.patient.store(false, Ordering::SeqCst);
            self.group.cancel_all();
        }
        self.join_all();
        self.group.first_error().map_or(Ok(()), Err)
    }

    fn join_all(&mut self) {
        let me = thread::current().id();
        // A worker that holds its own group does not wait for itself.
        for thread in self.threads.drain(..).filter(|it| it.thread().id() != me) {
            if let Err(payload) = thread.join() {
                self.group.keep_panic(payload);
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.join_all();
        if let Some(error) = self.group.first_error() {
            print(error);
        }
    }
}

/// On the worker: spawns the tasklet that runs `f`.
fn spawn_here<T: Send + 'static>(
    scheduler: &Scheduler,
    keep: Local<Never>,
    f: impl FnOnce() -> T + Send + 'static,
    delivery: Delivery<T>,
    at: &'static Location<'static>,
) {
    let joint = delivery.joint();
    let body = move || {
        let _keep = keep;
        let outcome = match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => Ok(value),
            Err(payload) if payload.is::<Unwound>() => {
                drop(delivery);
                resume_unwind(payload)
            }
            Err(payload) => Err(JoinError::Panicked(payload)),
        };
        if let Some(unseen) = delivery.deliver(outcome) {
            resume_unwind(unseen);
        }
    };
    // If it cannot be made, the body is dropped and with it the delivery.
    if let Ok(tasklet) = Builder::new().make(scheduler, body, at)
        && joint.is_some_and(|it| Delivery::is_by(&it, tasklet.id()))
    {
        tasklet.cancel();
    }
}

/// On a worker: what jobs hold for as long as they run.
#[derive(Default)]
struct Keep {
    keep: RefCell<Option<Local<Never>>>,
}

impl Group {
    /// What the OS thread of a worker does.
    fn work(
        self: &Arc<Self>,
        number: usize,
        stopped: &Receiver<Never>,
        configure: &dyn Fn(RuntimeBuilder) -> RuntimeBuilder,
    ) {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let runtime = configure(Runtime::builder()).build();
            runtime.run(|| self.serve_until(number, stopped))
        }));
        let me = &self.workers[number];
        let mut queue = me.queue.lock();
        queue.over = true;
        let left = std::mem::take(&mut queue.jobs);
        drop(queue);
        left.into_iter().for_each(|it| self.guarded(|| drop(it)));
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => *me.error.lock() = Some(error),
            Err(payload) => self.keep_panic(payload),
        }
    }

    /// The root tasklet of a worker.
    fn serve_until(self: &Arc<Self>, number: usize, stopped: &Receiver<Never>) {
        let scheduler = Scheduler::active().expect("a root tasklet is in a run");
        let (keep, all_ended) = local_channel::<Never>();
        *scheduler.extension::<Keep>().keep.borrow_mut() = Some(keep);
        scheduler.serve();
        let known = self.workers[number].inbox.set(scheduler.inbox().clone());
        debug_assert!(known.is_ok(), "a worker has one run");
        self.serve(number);
        // Closed by the group, or this tasklet is cancelled.
        let _: Result<Never, Halt> = stopped.recv();
        self.serve(number);
        let keep = scheduler.extension::<Keep>().keep.take();
        drop(keep);
        if self.patient.load(Ordering::SeqCst) {
            let _: Result<Never, Halt> = all_ended.recv(); // closed by the last job
        }
    }

    /// On the OS thread of worker `number`: begins its jobs.
    fn serve(&self, number: usize) {
        let Some(scheduler) = Scheduler::active() else { return };
        let keep = scheduler.extension::<Keep>().keep.borrow().clone();
        let Some(keep) = keep else { return };
        loop {
            let job = self.workers[number].queue.lock().jobs.pop_front();
            let Some(job) = job else { break };
            self.guarded(|| job(&scheduler, keep.clone()));
        }
    }

    /// Calls what may drop what the user has sent; its panic is told by the shutdown, and the
    /// worker goes on.
    fn guarded(&self, f: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
            self.keep_panic(payload);
        }
    }

    fn submit(self: &Arc<Self>, number: usize, job: Job) {
        let mut queue = self.workers[number].queue.lock();
        if queue.over {
            drop(queue);
            return drop(job);
        }
        queue.jobs.push_back(job);
        drop(queue);
        // Nobody may ever take the errand, and the group keeps where it lies.
        let group = Arc::downgrade(self);
        self.errand(number, move || {
            if let Some(it) = group.upgrade() {
                it.serve(number);
            }
        });
    }

    /// Has `errand` done on the OS thread of a worker, if its run has begun.
    fn errand(&self, number: usize, errand: impl FnOnce() + Send + 'static) {
        if let Some(inbox) = self.workers[number].inbox.get() {
            inbox.put(Message::Errand(Box::new(errand)));
        }
    }

    /// Cancels all tasklets on all workers, and so their roots.
    fn cancel_all(&self) {
        for number in 0..self.workers.len() {
            self.errand(number, || {
                let tasks = Scheduler::active().map(|it| it.tasks()).unwrap_or_default();
                tasks.iter().for_each(|it| crate::kernel::wait::interrupt(it, Halt::Cancelled));
            });
        }
    }

    fn least_loaded(&self) -> usize {
        let load = |it: &usize| self.workers[*it].load.load(Ordering::Relaxed);
        (0..self.workers.len()).min_by_key(load).unwrap_or(0)
    }

    fn begin(&self, number: usize) {
        self.workers[number].load.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, number: usize) {
        self.workers[number].load.fetch_sub(1, Ordering::Relaxed);
    }

    fn keep_panic(&self, payload: Box<dyn Any + Send>) {
        self.panics.lock().push(payload);
    }

    /// The error to be told; the others are printed.
    fn first_error(&self) -> Option<RunError> {
        let errors = self.workers.iter().filter_map(|it| it.error.lock().take());
        let panics = std::mem::take(&mut *self.panics.lock());
        let mut all = errors.chain(panics.into_iter().map(unjoined)).collect::<VecDeque<_>>();
        let first = all.pop_front();
        all.into_iter().for_each(print);
        first
    }
}

/// The error of a panic that was kept.
fn unjoined(payload: Box<dyn Any + Send>) -> RunError {
    let tasklet = "a tasklet of a worker, or what configures one,".into();
    RunError::Panicked(PanicReport { tasklet, spawned_at: None, is_root: false, payload })
}

/// Tells of an error on stderr. What was panicked with may panic again when it is dropped.
fn print(error: RunError) {
    complain(format_args!("a worker ended: {error}"));
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(error))) {
        discard(again);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Left in handles that were dropped after the shutdown: nobody else will tell.
        for panic in std::mem::take(self.panics.get_mut()) {
            print(unjoined(panic));
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("count", &self.count()).finish_non_exhaustive()
    }
}
