//! Rendezvous between OS threads: the same channels, for values that can be sent there.
//!
//! Always: a value moves once, waiters are served first come first served wherever they are, and an
//! end is closed exactly when its last handle is dropped, on whatever OS thread. Layout: `core`
//! (how two meet), `ends` ([`Sender`] and [`Receiver`], and what both can do), `sender`,
//! `receiver`, `arms` (the operations), `standing` (what selects call), `polled` (both as futures),
//! `facts` (what reports read), `workers` (runs on OS threads of their own).
//!
//! A tasklet never leaves its OS thread; what crosses is values. Each thread has a run of its own
//! ([`run`](crate::run), or a [`Runtime`](crate::Runtime)), or none: a plain thread that waits
//! simply sleeps. [`select!`](crate::select!) and [`Operation`](crate::Operation) mix operations of
//! shared and other channels, timers and joins in one wait; a plain thread can wait for several
//! shared ones together.
//!
//! | | [`channel`](mod@crate::channel) | `shared` |
//! |---|---|---|
//! | handles | within one run at a time | [`Send`] and [`Sync`], in as many runs and threads as there are |
//! | a rendezvous | 2 switches, no atomics | an uncontended lock or two; a system call only to wake who sleeps |
//! | who runs next | as preferred | both go on: its [`Builder`] gives names, and has no preference |
//! | `balance`, `waiters` | yes | no: they would be out of date when they return |
//! | extended rendezvous, `recv_held` | yes | [no](#extended-rendezvous) |
//! | in a run that is explored | yes | refused |
//!
//! # Extended rendezvous
//!
//! [`recv_held`](crate::Receiver::recv_held) keeps the sender waiting until the receiver lets it
//! go. Here each way to send would need a second wait for that, in which neither a deadline nor a
//! cancellation could end it, for as long as another thread likes; and what never waits
//! (`try_send`, a [`Permit`], a future that is polled) could not meet such a receiver at all. What
//! the sender would wait for is an answer: send the [`Sender`] of another channel along with the
//! value. The wait for the answer is then an operation as all others, that can be ended and
//! selected on.
//!
//! # Threads that wait
//!
//! A thread with nothing else to do looks for its partner for some microseconds, and then sleeps.
//! So two threads that are busy with each other meet without system calls, and idle ones cost
//! next to nothing: they wake ever more rarely, to see whether
//! [any thread is awake](#stuck-runs). On a machine with one processor they sleep at once.
//!
//! # Stuck runs
//!
//! A tasklet that waits at a shared channel can be woken by another OS thread as long as the other
//! end exists, and nobody can tell where a handle is that was moved and not used since. But when
//! *every* OS thread of the process is asleep in a wait that only another one could end, nobody
//! ever will. This is found, on Linux, and then
//!
//! - every run that is stuck ends with its [report](crate::StuckReport::everywhere), which shows
//!   how all waits stood; its tasklets are cancelled, as in any run that is stuck. The run of a
//!   worker without tasklets is not stuck, it waits for some;
//! - threads in no run then see the ends closed that those runs had. If no run is stuck, the waits
//!   of all such threads panic.
//!
//! It is looked for 10 ms after the last of them fell asleep, and then after twice as long each
//! time. Counted as asleep are runs with nothing but waits for shared channels, for
//! [tasklets of workers](Remote) and for futures, and threads in no run in such a wait, without a
//! deadline. All others count as awake: who waits for a timer, a deadline, a descriptor, a child, a
//! signal, or in a [blocking call](crate::blocking()); and each thread that the crate does not
//! know, whatever it does: one in std's `join` of another, that of a test harness, or a
//! [tasklet's own](crate::RuntimeBuilder::threads_as_stacks). While there is one of these, a cycle
//! that goes through shared channels is *not* reported: [`snapshot`](crate::snapshot()) shows it,
//! and [`Runtime::snapshot`](crate::Runtime::snapshot) between drives.
//!
//! What a run can tell by itself is reported as ever: when every handle of the other end is dropped
//! the wait ends with [`Halt::Closed`](crate::Halt::Closed), and the rest may then be stuck. With a
//! [virtual clock](crate::RuntimeBuilder::virtual_clock) time does not wait for partners outside:
//! it goes on to the next timer of its own run.
//!
//! ```no_run
//! use tasklets::{run, shared};
//! let ((to_us, theirs), (to_them, ours)) = (shared::channel::<u8>(), shared::channel::<u8>());
//! let them = std::thread::spawn(move || run(move || (ours.recv(), to_us.send(1)).0));
//! // The mistake: each wants the other to speak first. Both runs end with a report, and so panic.
//! run(move || (theirs.recv(), to_them.send(1)).0).unwrap();
//! # them.join().unwrap().unwrap();
//! ```

mod arms;
mod core;
mod ends;
mod facts;
#[cfg(feature = "futures")]
mod polled;
mod receiver;
mod sender;
mod standing;
mod workers;

pub use arms::{Permit, Receiving, Reserving, Sending};
pub use ends::{Receiver, Sender};
#[cfg(feature = "futures")]
pub use polled::{RecvAsync, SendAsync};
pub use receiver::{IntoIter, Iter};
pub use workers::{Remote, Which, Workers, workers};

use self::core::Core;
use std::panic::Location;
use std::sync::Arc;

/// Makes a rendezvous channel between OS threads.
///
/// Both ends can be cloned, sent to other threads and used there, in runs and outside of any.
///
/// ```
/// use tasklets::{run, shared};
/// let (tx, rx) = shared::channel();
/// let double = move || rx.into_iter().map(|it: i32| 2 * it).sum::<i32>();
/// let doubler = std::thread::spawn(move || run(double));
/// run(|| tx.send_all(1..=3)).unwrap();
/// drop(tx);
/// assert_eq!(doubler.join().unwrap(), 12);
/// ```
#[track_caller]
#[doc(alias("crossbeam", "mpsc", "sync_channel", "threads"))]
pub fn channel<T: Send + 'static>() -> (Sender<T>, Receiver<T>) {
    Builder::new().channel()
}

/// Makes channels that differ from the default.
///
/// ```
/// use tasklets::shared;
/// let (tx, rx) = shared::Builder::new().name("orders").channel::<u8>();
/// assert_eq!((tx.name().as_deref(), rx.name()), (Some("orders"), tx.name()));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing until `channel` is called"]
pub struct Builder {
    name: Option<Arc<str>>,
}

impl Builder {
    /// Starts from the defaults of [`channel`].
    ///
    /// ```
    /// use tasklets::shared;
    /// let (tx, _rx) = shared::Builder::new().channel::<u8>();
    /// assert_eq!(tx.name(), None);
    /// ```
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the channel in the reports of every run, also of those that are stuck.
    ///
    /// ```
    /// use tasklets::{run, shared, snapshot, spawn, yield_now};
    /// let (tx, rx) = shared::Builder::new().name("orders").channel::<u8>();
    /// run(|| {
    ///     let reader = spawn(move || rx.recv());
    ///     yield_now();
    ///     let text = snapshot().unwrap().to_string();
    ///     assert!(text.contains("receive from shared channel `orders`"), "{text}");
    ///     tx.send(1).unwrap();
    ///     assert_eq!(reader.join().unwrap(), Ok(1));
    /// });
    /// ```
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Makes the channel. Nothing waits, also where operations could not.
    ///
    /// ```
    /// use tasklets::shared;
    /// let named = |it: u8| shared::Builder::new().name(format!("lane {it}")).channel::<u8>();
    /// let lanes = [1, 2].map(named);
    /// assert!(lanes.iter().all(|(tx, rx)| tx.name() == rx.name()));
    /// assert_eq!(lanes[1].0.name().as_deref(), Some("lane 2"));
    /// ```
    #[track_caller]
    pub fn channel<T: Send + 'static>(self) -> (Sender<T>, Receiver<T>) {
        let core = Arc::new(Core::new(Location::caller(), self.name));
        (Sender::first(core.clone()), Receiver::first(core))
    }
}

#[cfg(test)]
mod tests {
    use super::channel;
    use crate::kernel::asleep::{Kind, Sleeper};
    use crate::kernel::poller::Inbox;
    use crate::kernel::scheduler::Scheduler;
    use crate::{run, spawn, yield_now};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread;

    /// Where other OS threads leave messages for the run of the caller.
    fn inbox() -> Arc<Inbox> {
        Scheduler::active().expect("a tasklet runs under its scheduler").inbox().clone()
    }

    fn wakes(inbox: &Inbox) -> u64 {
        inbox.wakes.load(Ordering::SeqCst)
    }

    /// Calls `f` in a run that is never idle, until both of two are done; how often it was woken.
    fn busy(both: &Arc<AtomicU32>, f: impl FnOnce()) -> u64 {
        run(|| {
            let scheduler = Scheduler::active();
            assert!(scheduler.is_some_and(|it| it.has_queue()), "it could be woken");
            let other = both.clone();
            let works = spawn(move || {
                while other.load(Ordering::SeqCst) < 2 {
                    yield_now();
                }
            });
            f();
            both.fetch_add(1, Ordering::SeqCst);
            works.join().unwrap();
            wakes(&inbox())
        })
    }

    #[test]
    fn busy_runs_meet_without_a_system_call_to_wake_each_other() {
        const COUNT: u32 = 300;
        let ((to_them, from_us), (to_us, from_them)) = (channel(), channel());
        let both = Arc::new(AtomicU32::new(0));
        let theirs = both.clone();
        let echo = move || from_us.into_iter().for_each(|it: u32| to_us.send(it).unwrap());
        let them = thread::spawn(move || busy(&theirs, echo));
        let ours = busy(&both, move || {
            for number in 0..COUNT {
                to_them.send(number).unwrap();
                assert_eq!(from_them.recv(), Ok(number));
            }
        });
        assert_eq!((ours, them.join().unwrap()), (0, 0));
    }

    #[test]
    fn a_run_that_sleeps_is_woken_by_one_system_call() {
        let (tx, rx) = channel();
        let (tell, told) = mpsc::channel();
        let sleeper = thread::spawn(move || {
            run(|| {
                tell.send(inbox()).unwrap();
                (rx.recv(), wakes(&inbox()))
            })
        });
        let inbox = told.recv().unwrap();
        while inbox.kind() != Some(Kind::Run) {
            thread::yield_now();
        }
        assert_eq!(wakes(&inbox), 0);
        tx.send(1).unwrap();
        assert_eq!(sleeper.join().unwrap(), (Ok(1), 1));
    }
}
