//! Sending: the methods of the end that gives values.
//!
//! Always: a value is given to one receiver, or it comes back in the error.

use super::arms::{Reserving, Sending};
use super::core::Given;
use super::ends::{Gate, Sender};
use crate::error::{Halt, SendError};
use crate::kernel::operation::{Patience, perform};
use crate::kernel::running;
use crate::kernel::task::{Doing, Task};
use crate::kernel::wait::{self, Wait};
use crate::time;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

impl<T: 'static> Sender<T> {
    /// Hands `value` to a receiver.
    ///
    /// Waits until one arrives. Exactly one of them gets it; on failure it is in the error.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last receiver is gone, even while waiting; [`Halt::Cancelled`],
    /// [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped; [`Halt::CannotWait`]
    /// when nobody receives and the caller may not wait.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{Halt, channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let reader = spawn(move || rx.recv()); // its receiver goes when it ends
    ///     tx.send("taken").unwrap();
    ///     let refused = tx.send("given back").unwrap_err();
    ///     assert_eq!((refused.value, refused.why), ("given back", Halt::Closed));
    ///     assert_eq!(reader.join().unwrap(), Ok("taken"));
    /// });
    /// ```
    #[track_caller]
    #[doc(alias = "put")]
    #[inline(always)]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let at = Location::caller();
        if let Err(why) = self.begin(true, at) {
            return Err(SendError { value, why });
        }
        match self.core.give(value) {
            Given::Done => Ok(()),
            Given::Held(receiver) => {
                self.core.await_acceptance(&receiver, at);
                Ok(())
            }
            Given::Closed(value) => Err(SendError { value, why: Halt::Closed }),
            Given::Nobody(value) => self.send_parked(value, at),
        }
    }

    #[inline(always)]
    fn send_parked(&self, value: T, at: &'static Location<'static>) -> Result<(), SendError<T>> {
        let task = match running::waiter(at) {
            Ok(task) => task,
            Err(why) => return Err(SendError { value, why }),
        };
        let core = &*self.core;
        core.offer_sender(Wait::open(task.clone()), 0, value);
        match running::park(&task, Doing::Sending(core.id), at) {
            0 => Ok(()),
            // Taken, and never released by the receiver's guard.
            wait::RETRY => Ok(()),
            outcome => Err(self.send_stopped(&task, outcome)),
        }
    }

    #[cold]
    fn send_stopped(&self, task: &Rc<Task>, outcome: u32) -> SendError<T> {
        let value = self.core.queue().take_back(task, 0);
        let value = value.expect("a stopped sender's value is still in its channel");
        let why = match outcome {
            wait::CLOSED => Halt::Closed,
            outcome => running::halt_of(task, outcome).unwrap_or(Halt::Cancelled),
        };
        SendError { value, why }
    }

    /// Hands `value` to a receiver if one waits now.
    ///
    /// Never waits for one to come, so a tasklet that has been stopped may try as well.
    /// `Ok(Some(value))` gives the value back: nobody waits.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last receiver is gone.
    ///
    /// # Panics
    /// If the receiver [holds](crate::Receiver::recv_held) its senders, which has to be waited for,
    /// under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     assert_eq!(tx.try_send(1), Ok(Some(1)));
    ///     let reader = spawn(move || rx.recv());
    ///     yield_now();
    ///     assert_eq!(tx.try_send(2), Ok(None));
    ///     assert_eq!(reader.join().unwrap(), Ok(2));
    /// });
    /// ```
    #[track_caller]
    #[doc(alias("signal", "put_nowait"))]
    pub fn try_send(&self, value: T) -> Result<Option<T>, SendError<T>> {
        let at = Location::caller();
        match self.begin(false, at) {
            Ok(Gate::Open) => {}
            Ok(Gate::Shut) => return Ok(Some(value)),
            Err(why) => return Err(SendError { value, why }),
        }
        match self.core.give(value) {
            Given::Done => Ok(None),
            Given::Held(receiver) => {
                self.core.await_acceptance(&receiver, at);
                Ok(None)
            }
            Given::Closed(value) => Err(SendError { value, why: Halt::Closed }),
            Given::Nobody(value) => Ok(Some(value)),
        }
    }

    /// [`send`](Self::send) that gives up after `delay`.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Halt::TimedOut`] when the time is over.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, channel, run};
    /// run(|| {
    ///     let (tx, _rx) = channel();
    ///     let late = tx.send_timeout("a letter", Duration::from_millis(1)).unwrap_err();
    ///     assert_eq!((late.value, late.why), ("a letter", Halt::TimedOut));
    /// });
    /// ```
    #[track_caller]
    pub fn send_timeout(&self, value: T, delay: Duration) -> Result<(), SendError<T>> {
        self.send_until(value, time::after_now(delay), Location::caller())
    }

    /// [`send`](Self::send) that gives up at `deadline`.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Halt::TimedOut`] when the time has come.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Runtime, channel, now};
    /// let runtime = Runtime::builder().virtual_clock(true).build();
    /// runtime.run(|| {
    ///     let (tx, _rx) = channel();
    ///     let closing_time = now() + Duration::from_secs(60); // one for all of them, not for each
    ///     assert!((0..3).all(|it| tx.send_deadline(it, closing_time).is_err()));
    ///     assert_eq!(now(), closing_time);
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.send_until(value, time::nanos(deadline), Location::caller())
    }

    fn send_until(
        &self,
        value: T,
        at: u64,
        place: &'static Location<'static>,
    ) -> Result<(), SendError<T>> {
        let mut sending = self.sending(value);
        match perform(&mut [&mut sending], Patience::Until(at), true, place) {
            Some(_) => sending.into_result(),
            None => Err(SendError { value: sending.into_value(), why: Halt::TimedOut }),
        }
    }

    /// Sends every item of `items`, in order; tells how many.
    ///
    /// Waits like [`send`](Self::send) for each.
    ///
    /// # Errors
    /// As [`send`](Self::send), with the first item that was not sent; the rest is not asked for.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    ///
    /// ```
    /// use tasklets::{channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let writer = spawn(move || tx.send_all(1..)); // endless, until nobody reads any more
    ///     assert_eq!(rx.into_iter().take(3).sum::<i32>(), 6);
    ///     assert_eq!(writer.join().unwrap().unwrap_err().value, 4);
    /// });
    /// ```
    #[track_caller]
    #[doc(alias = "send_sequence")]
    pub fn send_all(&self, items: impl IntoIterator<Item = T>) -> Result<usize, SendError<T>> {
        let mut sent = 0;
        for item in items {
            self.send(item)?;
            sent += 1;
        }
        Ok(sent)
    }

    /// The operation of [`send`](Self::send), to be combined with others.
    ///
    /// Does nothing by itself: what waits for it waits and fails like [`send`](Self::send).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Operation, after, channel, run};
    /// run(|| {
    ///     let (tx, _rx) = channel();
    ///     let sent = tx.sending("hello").map(|it| it.is_ok());
    ///     let late = after(Duration::from_millis(1)).map(|_| false);
    ///     assert!(!sent.or(late).wait()); // nobody receives
    /// });
    /// ```
    pub fn sending(&self, value: T) -> Sending<'_, T> {
        Sending::new(self, value)
    }

    /// The operation of winning a receiver before the value is made.
    ///
    /// Its outcome is a [`Permit`](super::Permit); dropping that lets the receiver wait again.
    /// `select!` uses it, so that an arm's expression is evaluated only if the arm is taken.
    ///
    /// ```
    /// use tasklets::{Operation, channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let reader = spawn(move || rx.recv());
    ///     let permit = tx.reserving().wait().unwrap(); // somebody wants it
    ///     permit.send("made to order").unwrap();
    ///     assert_eq!(reader.join().unwrap(), Ok("made to order"));
    /// });
    /// ```
    pub fn reserving(&self) -> Reserving<'_, T> {
        Reserving::new(self)
    }
}
