//! Channels in `async` code of the same OS thread: sending and receiving as futures.
//!
//! Always: a value moves while a future is polled, or it does not move; a send that has not
//! happened gives its value back, also if its run ends. Receive: `Fresh -> Pending` with a waker at
//! the channel. Send: `Fresh -> Offered -> Ended` by a tasklet of its own, which is cancelled with
//! the future.

use crate::channel::{Receiver, Sender};
use crate::error::{Halt, SendError};
use crate::kernel::announce;
use crate::kernel::running;
use crate::tasklet::{Builder, Tasklet};
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// Futures of this process that have received or tried to.
static MADE: AtomicU64 = AtomicU64::new(0);

impl<T: 'static> Receiver<T> {
    /// [`recv`](Self::recv) as a future, for `async` code on the run's OS thread.
    ///
    /// It receives while it is polled, so dropping it loses nothing. Tasklets that wait in other
    /// receives are served first; who only [tries](Sender::try_send) to send does not meet it.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last sender is gone, even while waiting; [`Halt::Cancelled`],
    /// [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet that polls it is stopped.
    ///
    /// ```
    /// use futures_util::future::join;
    /// use tasklets::futures::block_on;
    /// use tasklets::{channel, run, spawn};
    /// run(|| {
    ///     let (numbers, from) = channel();
    ///     let (words, with) = channel();
    ///     spawn(move || (numbers.send(7), words.send("seven")));
    ///     let both = join(with.recv_async(), from.recv_async());
    ///     assert_eq!(block_on(both), Ok((Ok("seven"), Ok(7))));
    /// });
    /// ```
    pub fn recv_async(&self) -> RecvAsync<'_, T> {
        RecvAsync { from: self, number: MADE.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The future made by [`Receiver::recv_async`].
#[must_use = "a future does nothing until it is polled"]
pub struct RecvAsync<'a, T: 'static> {
    from: &'a Receiver<T>,
    number: u64,
}

impl<T> Future for RecvAsync<'_, T> {
    type Output = Result<T, Halt>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Halt>> {
        loop {
            if running::gate(true)? {
                announce::refuse("a future", Location::caller());
            }
            let parked_at = running::parked_at();
            if let Some(outcome) = self.from.attempt(Location::caller()) {
                return Poll::Ready(outcome);
            }
            self.from.set_waker(self.number, Some(context.waker().clone()));
            if running::parked_at() == parked_at {
                return Poll::Pending;
            } // else others ran meanwhile, and a sender may have come
        }
    }
}

impl<T: 'static> Drop for RecvAsync<'_, T> {
    fn drop(&mut self) {
        self.from.set_waker(self.number, None);
    }
}

impl<T: 'static> Sender<T> {
    /// [`send`](Self::send) as a future, for `async` code on the run's OS thread.
    ///
    /// Once polled it waits in line, as a tasklet of its own; dropping it takes the value back,
    /// unless it has been received. That tasklet belongs to the run of the one that polls it first:
    /// between the drives of a [`Runtime`](crate::Runtime) there is none, and so it cannot wait
    /// there, as [`recv_async`](Receiver::recv_async) can, which leaves a waker and nothing else.
    /// The future of a [shared](crate::shared::Sender::send_async) channel waits anywhere.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Halt::CannotWait`] if it would have to wait and no tasklet polls
    /// it; [`Halt::Cancelled`] if the run has ended in which it waited.
    ///
    /// # Panics
    /// If no more tasklets can be made.
    ///
    /// ```
    /// use futures_util::future::join;
    /// use tasklets::futures::block_on;
    /// use tasklets::{channel, run};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let both = join(tx.send_async("across"), rx.recv_async());
    ///     assert_eq!(block_on(both).unwrap(), (Ok(()), Ok("across")));
    /// });
    /// ```
    pub fn send_async(&self, value: T) -> SendAsync<'_, T> {
        SendAsync { to: self, value: Some(value), offer: None }
    }
}

/// The future made by [`Sender::send_async`].
#[must_use = "a future does nothing until it is polled"]
pub struct SendAsync<'a, T: 'static> {
    to: &'a Sender<T>,
    /// Until it is offered.
    value: Option<T>,
    offer: Option<(Tasklet<()>, Rc<Offer<T>>)>,
}

/// What a tasklet that sends and the future that it does so for share.
struct Offer<T> {
    waker: Cell<Option<Waker>>,
    outcome: Cell<Option<Result<(), SendError<T>>>>,
}

impl<T> Unpin for SendAsync<'_, T> {}

impl<T> Future for SendAsync<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(value) = self.value.take() {
            match self.to.try_send(value) {
                Ok(None) => return Poll::Ready(Ok(())),
                Ok(Some(value)) if running::current().is_none() => {
                    return Poll::Ready(Err(SendError { value, why: Halt::CannotWait }));
                }
                Ok(Some(value)) => self.offer(value),
                Err(closed) => return Poll::Ready(Err(closed)),
            }
        }
        let (_, offer) = self.offer.as_ref().expect("a future is polled until it is completed");
        if let Some(outcome) = offer.outcome.take() {
            return Poll::Ready(outcome);
        }
        drop(offer.waker.replace(Some(context.waker().clone())));
        Poll::Pending
    }
}

impl<T> SendAsync<'_, T> {
    /// Has a tasklet send.
    fn offer(&mut self, value: T) {
        let offer = Rc::new(Offer { waker: Cell::new(None), outcome: Cell::new(None) });
        let mut errand =
            Errand { to: Some(self.to.clone()), value: Some(value), offer: offer.clone() };
        let sends = Builder::new().name("send_async").spawn(move || errand.send());
        self.offer = Some((sends.unwrap_or_else(|error| panic!("{error}")), offer));
    }
}

/// What the tasklet that sends has to do.
struct Errand<T: 'static> {
    /// Until it has ended.
    to: Option<Sender<T>>,
    /// Until it is sent.
    value: Option<T>,
    offer: Rc<Offer<T>>,
}

impl<T> Errand<T> {
    fn send(&mut self) {
        if let (Some(to), Some(value)) = (&self.to, self.value.take()) {
            self.offer.outcome.set(Some(to.send(value)));
        }
    }
}

impl<T> Drop for Errand<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            // Its tasklet has been ended before it began.
            let why = Halt::Cancelled;
            self.offer.outcome.set(Some(Err(SendError { value, why })));
        }
        drop(self.to.take()); // before anybody is told
        self.offer.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl<T: 'static> Drop for SendAsync<'_, T> {
    fn drop(&mut self) {
        if let Some((sends, _)) = &self.offer {
            sends.cancel();
        }
    }
}

macro_rules! debug {
    ($($name:ident)*) => {$(
        impl<T> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

debug! { RecvAsync SendAsync }
