//! Receiving: the methods of the end that takes values.
//!
//! Always: a receive that ends without a value has taken none from anybody.

use super::arms::Receiving;
use super::core::Taken;
use super::ends::{Gate, Receiver};
use super::held::{self, Held};
use super::iter::Iter;
use crate::error::Halt;
use crate::kernel::operation::{Patience, perform};
use crate::kernel::running;
use crate::kernel::task::{Doing, Task};
use crate::kernel::wait::{self, Wait};
use crate::time;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

impl<T: 'static> Receiver<T> {
    /// Takes a value from a sender.
    ///
    /// Waits until one arrives.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last sender is gone, even while waiting; [`Halt::Cancelled`],
    /// [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped; [`Halt::CannotWait`]
    /// when nobody sends and the caller may not wait.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{Halt, channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send_all(["one", "two"]));
    ///     assert_eq!((rx.recv(), rx.recv()), (Ok("one"), Ok("two")));
    ///     assert_eq!(rx.recv(), Err(Halt::Closed)); // the sender has ended, and its end with it
    /// });
    /// ```
    #[track_caller]
    #[doc(alias("receive", "get"))]
    #[inline(always)]
    pub fn recv(&self) -> Result<T, Halt> {
        let at = Location::caller();
        loop {
            self.begin(true, at)?;
            match self.core.take(at) {
                Taken::Value(value) => return Ok(value),
                Taken::Closed => return Err(Halt::Closed),
                Taken::Again => continue,
                Taken::Nobody => {}
            }
            if let Some(value) = self.recv_parked(at)? {
                return Ok(value);
            }
        }
    }

    /// `None`: the partner went away again.
    #[inline(always)]
    fn recv_parked(&self, at: &'static Location<'static>) -> Result<Option<T>, Halt> {
        let task = running::waiter(at)?;
        let core = &*self.core;
        core.offer_receiver(Wait::open(task.clone()), 0);
        match running::park(&task, Doing::Receiving(core.id), at) {
            0 => Ok(core.take_handed(&task)),
            wait::CLOSED => Err(Halt::Closed),
            outcome => self.recv_stopped(&task, outcome),
        }
    }

    #[cold]
    fn recv_stopped(&self, task: &Rc<Task>, outcome: u32) -> Result<Option<T>, Halt> {
        self.core.queue().forget_receiver(task);
        running::halt_of(task, outcome).map_or(Ok(None), Err)
    }

    /// Takes a value if a sender waits now.
    ///
    /// Never waits for one to come, so a tasklet that has been stopped may try as well. A sender
    /// that has yet to make its value, in a `select!`, is given time to do so, unless the caller
    /// may not wait at all: under a trap it counts as nobody. `Ok(None)`: nobody waits.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last sender is gone.
    ///
    /// ```
    /// use tasklets::{Halt, channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     assert_eq!(rx.try_recv(), Ok(None)); // nothing to do at present
    ///     spawn(move || tx.send("a job"));
    ///     yield_now();
    ///     assert_eq!(rx.try_recv(), Ok(Some("a job")));
    ///     yield_now(); // the sender ends
    ///     assert_eq!(rx.try_recv(), Err(Halt::Closed)); // and there will never be
    /// });
    /// ```
    #[track_caller]
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<Option<T>, Halt> {
        let at = Location::caller();
        loop {
            if self.begin(false, at)? == Gate::Shut {
                return Ok(None);
            }
            match self.core.take(at) {
                Taken::Value(value) => return Ok(Some(value)),
                Taken::Closed => return Err(Halt::Closed),
                Taken::Again => {}
                Taken::Nobody => return Ok(None),
            }
        }
    }

    /// [`recv`](Self::recv) that gives up after `delay`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`Halt::TimedOut`] when the time is over.
    ///
    /// # Panics
    /// As [`recv`](Self::recv).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, Never, channel, run};
    /// run(|| {
    ///     let (_tx, rx) = channel::<Never>();
    ///     assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(Halt::TimedOut));
    /// });
    /// ```
    #[track_caller]
    pub fn recv_timeout(&self, delay: Duration) -> Result<T, Halt> {
        self.recv_until(time::after_now(delay), Location::caller())
    }

    /// [`recv`](Self::recv) that gives up at `deadline`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`Halt::TimedOut`] when the time has come.
    ///
    /// # Panics
    /// As [`recv`](Self::recv).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Runtime, channel, now, sleep, spawn};
    /// let runtime = Runtime::builder().virtual_clock(true).build();
    /// let in_time = runtime.run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || while sleep(Duration::from_secs(25)).is_ok() && tx.send(()).is_ok() {});
    ///     let closing_time = now() + Duration::from_secs(60); // one for all of them, not for each
    ///     std::iter::from_fn(|| rx.recv_deadline(closing_time).ok()).count()
    /// });
    /// assert_eq!(in_time.unwrap(), 2);
    /// ```
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, Halt> {
        self.recv_until(time::nanos(deadline), Location::caller())
    }

    fn recv_until(&self, at: u64, place: &'static Location<'static>) -> Result<T, Halt> {
        let mut receiving = self.receiving();
        match perform(&mut [&mut receiving], Patience::Until(at), true, place) {
            Some(_) => receiving.into_result(),
            None => Err(Halt::TimedOut),
        }
    }

    /// Takes a value and keeps its sender waiting until the guard is accepted or dropped.
    ///
    /// The extended rendezvous of occam-pi: what happens in between happens, for the sender,
    /// during its `send`. Waits and fails like [`recv`](Self::recv). Once they have met, neither a
    /// cancellation nor a deadline ends the sender's wait; a sender that may not wait (under a
    /// [`block_trap`](crate::block_trap), while panicking) goes on at once.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Panics
    /// As [`recv`](Self::recv).
    ///
    /// ```
    /// use tasklets::{channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let sender = spawn(move || tx.send(7));
    ///     let held = rx.recv_held().unwrap();
    ///     yield_now();
    ///     assert!(!sender.is_finished());
    ///     assert_eq!(held.accept(), 7);
    ///     sender.join().unwrap().unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn recv_held(&self) -> Result<Held<T>, Halt> {
        held::receive(self, Location::caller())
    }

    /// Receives until the senders are gone (or the tasklet is stopped), borrowing the receiver.
    ///
    /// Each item waits like [`recv`](Self::recv), and panics where that does. Which error ended the
    /// iteration is not told.
    ///
    /// ```
    /// use tasklets::{channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send_all(["a", "b", "c"]));
    ///     let two: Vec<_> = rx.iter().take(2).collect();
    ///     assert_eq!(two, ["a", "b"]);
    ///     assert_eq!(rx.recv(), Ok("c")); // the receiver is here still
    /// });
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The operation of [`recv`](Self::recv), to be combined with others.
    ///
    /// Does nothing by itself: what waits for it waits and fails like [`recv`](Self::recv).
    ///
    /// ```
    /// use tasklets::{Halt, Operation, Receiver, channel, run, spawn};
    /// /// A library's own arm: how it receives is its business.
    /// fn next_word(rx: &Receiver<String>) -> impl Operation<Output = Result<String, Halt>> + '_ {
    ///     rx.receiving().map(|it| it.map(|word| word.to_uppercase()))
    /// }
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send("hello".to_owned()));
    ///     assert_eq!(next_word(&rx).wait(), Ok("HELLO".to_owned()));
    /// });
    /// ```
    pub fn receiving(&self) -> Receiving<'_, T> {
        Receiving::new(self)
    }
}
