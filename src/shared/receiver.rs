//! Receiving from other OS threads: the methods of the end that takes values.
//!
//! Always: a receive that ends without a value has taken none from anybody; an iteration ends when
//! the senders are gone or the tasklet is stopped.

use super::arms::Receiving;
use super::ends::Receiver;
use crate::error::Halt;
use crate::kernel::operation::{Patience, perform};
use crate::operation::Operation;
use crate::time;
use std::panic::Location;
use std::time::{Duration, Instant};

impl<T: Send + 'static> Receiver<T> {
    /// Takes a value from a sender, on whatever OS thread.
    ///
    /// Waits until one arrives: a tasklet lets others run meanwhile, an OS thread that is in no run
    /// sleeps.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last sender is gone, even while waiting; [`Halt::Cancelled`],
    /// [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped; [`Halt::CannotWait`]
    /// when nobody sends and the caller may not wait: in a hook, while it panics.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator; on
    /// a thread in no run, when [every OS thread](crate::shared#stuck-runs) waits and no run is
    /// stuck.
    ///
    /// ```
    /// use tasklets::{Halt, run, shared};
    /// let (tx, rx) = shared::channel();
    /// let writer = std::thread::spawn(move || run(|| tx.send_all(["one", "two"])));
    /// assert_eq!((rx.recv(), rx.recv()), (Ok("one"), Ok("two")));
    /// assert_eq!(rx.recv(), Err(Halt::Closed)); // the sender has ended, and its end with it
    /// assert_eq!(writer.join().unwrap(), Ok(2));
    /// ```
    #[track_caller]
    #[doc(alias("receive", "get"))]
    pub fn recv(&self) -> Result<T, Halt> {
        let mut receiving = self.receiving();
        perform(&mut [&mut receiving], Patience::Forever, true, Location::caller());
        receiving.take()
    }

    /// Takes a value if a sender waits now.
    ///
    /// Never waits for one to come, so a tasklet that has been stopped may try as well. A sender
    /// that has yet to make its value, in a `select!`, is given time to do so, unless the caller
    /// may not wait at all: then it counts as nobody. `Ok(None)`: nobody waits.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last sender is gone.
    ///
    /// ```
    /// use tasklets::{run, shared, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = shared::channel();
    ///     assert_eq!(rx.try_recv(), Ok(None)); // nothing to do at present
    ///     spawn(move || tx.send("a job"));
    ///     yield_now();
    ///     assert_eq!(rx.try_recv(), Ok(Some("a job")));
    /// });
    /// ```
    #[track_caller]
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<Option<T>, Halt> {
        self.take_within(Patience::None, Location::caller())
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
    /// use tasklets::{Halt, shared};
    /// let (_tx, rx) = shared::channel::<u8>();
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(Halt::TimedOut));
    /// ```
    #[track_caller]
    pub fn recv_timeout(&self, delay: Duration) -> Result<T, Halt> {
        let patience = Patience::Until(time::after_now(delay));
        self.take_within(patience, Location::caller())?.ok_or(Halt::TimedOut)
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
    /// use std::time::{Duration, Instant};
    /// use tasklets::{Halt, shared};
    /// let (tx, rx) = shared::channel();
    /// let writer = std::thread::spawn(move || tx.send_all(1..=3));
    /// let closing_time = Instant::now() + Duration::from_secs(60); // for all, not for each
    /// assert_eq!(std::iter::from_fn(|| rx.recv_deadline(closing_time).ok()).count(), 3);
    /// assert_eq!(writer.join().unwrap(), Ok(3));
    /// ```
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, Halt> {
        let patience = Patience::Until(time::nanos(deadline));
        self.take_within(patience, Location::caller())?.ok_or(Halt::TimedOut)
    }

    /// `None` if patience ended first.
    fn take_within(
        &self,
        patience: Patience,
        at: &'static Location<'static>,
    ) -> Result<Option<T>, Halt> {
        let mut receiving = self.receiving();
        match perform(&mut [&mut receiving], patience, true, at) {
            Some(_) => receiving.take().map(Some),
            None => Ok(None),
        }
    }

    /// Receives until the senders are gone (or the tasklet is stopped), borrowing the receiver.
    ///
    /// Each item waits like [`recv`](Self::recv), and panics where that does. Which error ended the
    /// iteration is not told.
    ///
    /// ```
    /// use tasklets::shared;
    /// let (tx, rx) = shared::channel();
    /// let writer = std::thread::spawn(move || tx.send_all(["a", "b", "c"]));
    /// let two: Vec<_> = rx.iter().take(2).collect();
    /// assert_eq!(two, ["a", "b"]);
    /// assert_eq!(rx.recv(), Ok("c")); // the receiver is here still
    /// assert_eq!(writer.join().unwrap(), Ok(3));
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The operation of [`recv`](Self::recv), to be combined with others, shared or not.
    ///
    /// Does nothing by itself: what waits for it waits and fails like [`recv`](Self::recv). An OS
    /// thread that is in no run can wait for it together with others of shared channels only.
    ///
    /// ```
    /// use tasklets::{Operation, channel, run, shared, spawn};
    /// run(|| {
    ///     let (near, from_near) = channel();
    ///     let (far, from_far) = shared::channel();
    ///     let _open = (near.clone(), far.clone()); // that senders are gone could be drawn, too
    ///     let there = std::thread::spawn(move || far.send("far"));
    ///     spawn(move || near.send("near"));
    ///     let either = || from_near.receiving().or(from_far.receiving()).wait().unwrap();
    ///     let mut both = [either(), either()];
    ///     both.sort();
    ///     assert_eq!(both, ["far", "near"]);
    ///     there.join().unwrap().unwrap();
    /// });
    /// ```
    pub fn receiving(&self) -> Receiving<'_, T> {
        Receiving::new(self)
    }
}

/// Receives until the senders are gone: see [`Receiver::iter`].
///
/// ```
/// use tasklets::shared;
/// let (tx, rx) = shared::channel();
/// let writer = std::thread::spawn(move || tx.send_all([3, 1, 2]));
/// assert_eq!((&rx).into_iter().max(), Some(3));
/// assert_eq!(writer.join().unwrap(), Ok(3));
/// ```
#[derive(Debug)]
pub struct Iter<'a, T: 'static> {
    receiver: &'a Receiver<T>,
}

impl<T: Send> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T: Send> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// A shared receiver as an iterator that owns it.
///
/// ```
/// use tasklets::shared;
/// let (tx, rx) = shared::channel();
/// let writer = std::thread::spawn(move || tx.send_all(1..));
/// for number in rx {
///     if number == 3 {
///         break; // drops the receiver, which ends the writer
///     }
/// }
/// assert!(writer.join().unwrap().is_err());
/// ```
#[derive(Debug)]
pub struct IntoIter<T: 'static> {
    receiver: Receiver<T>,
}

impl<T: Send> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T: Send> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}
