//! Sending to other OS threads: the methods of the end that gives values.
//!
//! Always: a value is given to one receiver, or it comes back in the error.

use super::arms::{Reserving, Sending};
use super::ends::Sender;
use crate::error::{Halt, SendError};
use crate::kernel::operation::{Patience, perform};
use crate::operation::Operation;
use crate::time;
use std::panic::Location;
use std::time::{Duration, Instant};

impl<T: Send + 'static> Sender<T> {
    /// Hands `value` to a receiver, on whatever OS thread.
    ///
    /// Waits until one arrives: a tasklet lets others run meanwhile, an OS thread that is in no run
    /// sleeps. Exactly one of them gets it; on failure it is in the error.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last receiver is gone, even while waiting; [`Halt::Cancelled`],
    /// [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped; [`Halt::CannotWait`]
    /// when nobody receives and the caller may not wait: in a hook, while it panics.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator; on
    /// a thread in no run, when [every OS thread](crate::shared#stuck-runs) waits and no run is
    /// stuck.
    ///
    /// ```
    /// use tasklets::{Halt, run, shared};
    /// let (tx, rx) = shared::channel();
    /// let reader = std::thread::spawn(move || run(|| rx.recv()));
    /// tx.send("taken").unwrap();
    /// assert_eq!(reader.join().unwrap(), Ok("taken")); // and its receiver has gone with it
    /// let refused = tx.send("given back").unwrap_err();
    /// assert_eq!((refused.value, refused.why), ("given back", Halt::Closed));
    /// ```
    #[track_caller]
    #[doc(alias = "put")]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut sending = self.sending(value);
        perform(&mut [&mut sending], Patience::Forever, true, Location::caller());
        sending.take()
    }

    /// Hands `value` to a receiver if one waits now.
    ///
    /// Never waits, so a tasklet that has been stopped may try as well. `Ok(Some(value))` gives the
    /// value back: nobody waits.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last receiver is gone.
    ///
    /// ```
    /// use tasklets::{run, shared, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = shared::channel();
    ///     assert_eq!(tx.try_send(1), Ok(Some(1)));
    ///     let reader = spawn(move || rx.recv()); // it need not be on another OS thread
    ///     yield_now();
    ///     assert_eq!(tx.try_send(2), Ok(None));
    ///     assert_eq!(reader.join().unwrap(), Ok(2));
    /// });
    /// ```
    #[track_caller]
    #[doc(alias("signal", "put_nowait"))]
    pub fn try_send(&self, value: T) -> Result<Option<T>, SendError<T>> {
        self.give(value, Patience::None, Location::caller())
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
    /// use tasklets::{Halt, shared};
    /// let (tx, _rx) = shared::channel();
    /// let late = tx.send_timeout("a letter", Duration::from_millis(1)).unwrap_err();
    /// assert_eq!((late.value, late.why), ("a letter", Halt::TimedOut));
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
    /// use tasklets::{Runtime, now, shared};
    /// let runtime = Runtime::builder().virtual_clock(true).build();
    /// runtime.run(|| {
    ///     let (tx, _rx) = shared::channel();
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
        match self.give(value, Patience::Until(at), place)? {
            None => Ok(()),
            Some(value) => Err(SendError { value, why: Halt::TimedOut }),
        }
    }

    /// The value, if patience ended first.
    fn give(
        &self,
        value: T,
        patience: Patience,
        at: &'static Location<'static>,
    ) -> Result<Option<T>, SendError<T>> {
        let mut sending = self.sending(value);
        match perform(&mut [&mut sending], patience, true, at) {
            Some(_) => sending.take().map(|()| None),
            None => Ok(Some(sending.into_value())),
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
    /// use tasklets::{run, shared};
    /// let (tx, rx) = shared::channel();
    /// let writer = std::thread::spawn(move || tx.send_all(1..)); // until nobody reads any more
    /// assert_eq!(run(|| rx.into_iter().take(3).sum::<i32>()), 6);
    /// assert_eq!(writer.join().unwrap().unwrap_err().value, 4);
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

    /// The operation of [`send`](Self::send), to be combined with others, shared or not.
    ///
    /// Does nothing by itself: what waits for it waits and fails like [`send`](Self::send). An OS
    /// thread that is in no run can wait for it together with others of shared channels only.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Operation, after, run, shared};
    /// run(|| {
    ///     let (tx, _rx) = shared::channel();
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
    /// `select!` uses it, so that an arm's expression is evaluated only if the arm is taken. The
    /// receiver, on whatever OS thread, waits for the holder of the permit meanwhile, and neither a
    /// cancellation nor a deadline ends that.
    ///
    /// ```
    /// use tasklets::{Operation, run, shared};
    /// let (tx, rx) = shared::channel();
    /// let reader = std::thread::spawn(move || rx.recv());
    /// run(|| drop(tx.reserving().wait().unwrap())); // changed its mind: the reader waits again
    /// tx.send("at last").unwrap();
    /// assert_eq!(reader.join().unwrap(), Ok("at last"));
    /// ```
    pub fn reserving(&self) -> Reserving<'_, T> {
        Reserving::new(self)
    }
}
