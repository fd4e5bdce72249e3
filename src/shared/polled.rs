//! Sending and receiving between OS threads as futures, on whatever executor.
//!
//! Always: a pending future stands in its channel's line as a thread in no run does, under a claim
//! of its own; instead of an OS thread its waker is called, when nothing is locked or borrowed.
//! What was delivered to a receive that has been dropped goes to the next receiver.
//! Both: `Fresh -> Offered -> Met -> Ended`, or `Offered -> Withdrawn` when dropped.

use super::core::{Core, Given, Taken};
use super::ends::{Receiver, Sender};
use crate::error::{Halt, SendError};
use crate::kernel::announce;
use crate::kernel::claim::{Claim, Owner, Ticket, Wake};
use crate::kernel::name::TaskletId;
use crate::kernel::scheduler;
use crate::kernel::wait;
use parking_lot::Mutex;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

impl<T: Send + 'static> Receiver<T> {
    /// [`recv`](Self::recv) as a future, for `async` code on whatever OS thread and executor.
    ///
    /// Once it has been polled it waits in line with all others, tasklets and threads; the future
    /// is [`Send`], and belongs to no run. It can be dropped at any time: while it waits it leaves
    /// the line. If a sender has met it already, but it has not been polled since, the value stays
    /// in the channel and the next receive gets it, whoever's that is; its sender has been told
    /// that it was received, and does not learn of this. So receives that come one after another
    /// get the values of a sender in order, whichever of them are dropped. If no receiver is left
    /// the value is dropped, as one that was received would be. A sender that has met it in a
    /// `select!`, and is still making the value, goes on with that, and the same holds.
    ///
    /// A future that is neither polled nor dropped any more keeps what it was given.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last sender is gone, even while waiting. A tasklet that is stopped
    /// while it polls ends its [`block_on`](crate::futures::block_on), not this.
    ///
    /// ```
    /// use tasklets::futures::block_on;
    /// use tasklets::{run, shared};
    /// let ((jobs, to_do), (done, results)) = (shared::channel::<u32>(), shared::channel());
    /// let doubles = async move {
    ///     while let Ok(number) = to_do.recv_async().await {
    ///         done.send_async(2 * number).await.unwrap();
    ///     }
    /// };
    /// // Any executor would do; here it is a run on another OS thread.
    /// let other = std::thread::spawn(move || run(move || block_on(doubles)));
    /// run(|| {
    ///     jobs.send(21).unwrap();
    ///     assert_eq!(results.recv(), Ok(42));
    /// });
    /// drop(jobs);
    /// assert_eq!(other.join().unwrap(), Ok(()));
    /// ```
    pub fn recv_async(&self) -> RecvAsync<'_, T> {
        RecvAsync { from: self, offer: None }
    }
}

impl<T: Send + 'static> Sender<T> {
    /// [`send`](Self::send) as a future, for `async` code on whatever OS thread and executor.
    ///
    /// Once it has been polled it waits in line with all others, tasklets and threads; the future
    /// is [`Send`], and belongs to no run. Dropping it takes the value back and drops it, unless it
    /// has been received: then that has happened, though nobody was told.
    ///
    /// # Errors
    /// [`Halt::Closed`] with the value when the last receiver is gone, even while waiting. A
    /// tasklet that is stopped while it polls ends its [`block_on`](crate::futures::block_on), not
    /// this.
    ///
    /// # Panics
    /// If it is polled again after it has completed.
    ///
    /// ```
    /// use tasklets::futures::block_on;
    /// use tasklets::{Halt, run, shared};
    /// let (tx, rx) = shared::channel();
    /// let reader = std::thread::spawn(move || rx.recv()); // a plain thread
    /// run(|| {
    ///     assert_eq!(block_on(tx.send_async("taken")), Ok(Ok(())));
    ///     assert_eq!(reader.join().unwrap(), Ok("taken")); // and its receiver has gone with it
    ///     let refused = block_on(tx.send_async("given back")).unwrap().unwrap_err();
    ///     assert_eq!((refused.value, refused.why), ("given back", Halt::Closed));
    /// });
    /// ```
    pub fn send_async(&self, value: T) -> SendAsync<'_, T> {
        SendAsync { to: self, value: Some(value), offer: None }
    }
}

/// The future made by [`Receiver::recv_async`].
#[must_use = "a future does nothing until it is polled"]
pub struct RecvAsync<'a, T: Send + 'static> {
    from: &'a Receiver<T>,
    offer: Option<Offer<T>>,
}

/// The future made by [`Sender::send_async`].
#[must_use = "a future does nothing until it is polled"]
pub struct SendAsync<'a, T: Send + 'static> {
    to: &'a Sender<T>,
    /// While it is not offered.
    value: Option<T>,
    offer: Option<Offer<T>>,
}

impl<T: Send> Unpin for SendAsync<'_, T> {}

/// Under which a future stands in line, or is met by a partner that has yet to make its value.
struct Offer<T> {
    claim: Arc<Claim>,
    ticket: Ticket,
    caller: Arc<Caller<T>>,
}

/// What is to be done when a partner has settled the wait of a future.
struct Caller<T> {
    state: Mutex<Calls>,
    channel: Weak<Core<T>>,
}

/// Whom a partner calls.
enum Calls {
    /// The future is being polled, or has been woken.
    Nobody,
    Waker(Waker),
    /// The future has been dropped.
    Gone,
}

impl<T: Send + 'static> Wake for Caller<T> {
    fn wake(&self, claim: Arc<Claim>) {
        let mut state = self.state.lock();
        match mem::replace(&mut *state, Calls::Nobody) {
            Calls::Nobody => {}
            Calls::Waker(waker) => {
                drop(state);
                scheduler::wake_now(waker);
            }
            Calls::Gone => {
                drop(state);
                self.pass_on(&Ticket::of(claim));
            }
        }
    }
}

impl<T: Send + 'static> Caller<T> {
    /// Lets the next receiver have what was delivered to this future.
    fn pass_on(&self, ticket: &Ticket) {
        if let Some(channel) = self.channel.upgrade() {
            let (claim, _) = Caller::claim(&channel);
            claim.open();
            channel.pass_on(ticket, || Ticket::of(claim));
        }
    }

    fn claim(channel: &Arc<Core<T>>) -> (Arc<Claim>, Arc<Caller<T>>) {
        let state = Mutex::new(Calls::Nobody);
        let caller = Arc::new(Caller { state, channel: Arc::downgrade(channel) });
        let owner = Owner { home: 0, tasklet: TaskletId(0), seat: 0 };
        (Claim::new(owner, caller.clone()), caller)
    }
}

impl<T: Send + 'static> Offer<T> {
    /// A wait at `channel`, opened by `open`.
    fn new(channel: &Arc<Core<T>>, open: fn(&Claim)) -> Offer<T> {
        let (claim, caller) = Caller::claim(channel);
        open(&claim);
        Offer { ticket: Ticket::of(claim.clone()), claim, caller }
    }

    /// How a partner has settled the wait; if none has yet, one will call this waker.
    fn poll(&self, waker: &Waker) -> Poll<u32> {
        let outcome = self.claim.outcome();
        if let Some(outcome) = outcome {
            return Poll::Ready(outcome);
        }
        let waker = Calls::Waker(waker.clone());
        let former = mem::replace(&mut *self.caller.state.lock(), waker);
        drop(former);
        // Both sides say what they do before they look at what the other does.
        if self.claim.park() {
            return Poll::Pending;
        }
        Poll::Ready(self.claim.outcome().expect("who need not sleep is done"))
    }

    /// Whether nobody has met it, and nobody will any more.
    fn withdraw(&self) -> bool {
        self.claim.win_here()
    }

    /// Lets the next receiver have what a partner delivers, or has.
    fn leave(&self) {
        let former = mem::replace(&mut *self.caller.state.lock(), Calls::Gone);
        if !self.claim.park() {
            self.caller.pass_on(&self.ticket);
        }
        drop(former);
    }
}

impl<T: Send> RecvAsync<'_, T> {
    /// Receives, or offers to; `None`: it stands in line now, or is to look again.
    fn attempt(&mut self) -> Option<Result<T, Halt>> {
        let core = &self.from.core;
        let mut met = None;
        let meet = || met.insert(Offer::new(core, Claim::open_held)).ticket.clone();
        match core.take(Some(meet)) {
            Taken::Value(value) => return Some(Ok(value)),
            Taken::Closed => return Some(Err(Halt::Closed)),
            Taken::Owed => self.offer = met,
            Taken::Nobody => {
                let offer = Offer::new(core, Claim::open);
                if core.offer_receiver(&offer.ticket, 0) {
                    self.offer = Some(offer);
                }
            }
        }
        None
    }
}

impl<T: Send> Future for RecvAsync<'_, T> {
    type Output = Result<T, Halt>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Halt>> {
        announce::refuse("a future", Location::caller());
        loop {
            if let Some(offer) = &self.offer {
                let Poll::Ready(outcome) = offer.poll(context.waker()) else {
                    return Poll::Pending;
                };
                let value = self.from.core.take_handed(&offer.ticket);
                self.offer = None;
                if let Some(value) = value {
                    return Poll::Ready(Ok(value));
                } else if outcome < wait::NO_BRANCH {
                    return Poll::Ready(Err(Halt::Closed));
                } // else its sender has changed its mind
            }
            if let Some(outcome) = self.attempt() {
                self.from.trace(false);
                return Poll::Ready(outcome);
            }
        }
    }
}

impl<T: Send + 'static> Drop for RecvAsync<'_, T> {
    fn drop(&mut self) {
        if let Some(offer) = self.offer.take() {
            if offer.withdraw() {
                self.from.core.withdraw_receiver(&offer.ticket, 0);
            } else {
                offer.leave();
            }
        }
    }
}

impl<T: Send> SendAsync<'_, T> {
    /// Sends `value`, or offers it; `None`: it stands in line now, or is to look again.
    fn attempt(&mut self, value: T) -> Option<Result<(), SendError<T>>> {
        let core = &self.to.core;
        match core.give(value) {
            Given::Done => return Some(Ok(())),
            Given::Closed(value) => return Some(Err(SendError { value, why: Halt::Closed })),
            Given::Nobody(value) => {
                let offer = Offer::new(core, Claim::open);
                match core.offer_sender(&offer.ticket, 0, Some(value)) {
                    Ok(()) => self.offer = Some(offer),
                    Err(value) => self.value = value,
                }
            }
        }
        None
    }
}

impl<T: Send> Future for SendAsync<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        announce::refuse("a future", Location::caller());
        loop {
            if let Some(value) = self.value.take() {
                if let Some(outcome) = self.attempt(value) {
                    self.to.trace(false);
                    return Poll::Ready(outcome);
                }
                continue;
            }
            let offer = self.offer.as_ref().expect("a future is polled until it is completed");
            if offer.poll(context.waker()).is_pending() {
                return Poll::Pending;
            }
            // What was not received is there still: the channel has been closed.
            let value = self.to.core.withdraw_sender(&offer.ticket, 0);
            self.offer = None;
            let refused = value.map(|value| SendError { value, why: Halt::Closed });
            return Poll::Ready(refused.map_or(Ok(()), Err));
        }
    }
}

impl<T: Send + 'static> Drop for SendAsync<'_, T> {
    fn drop(&mut self) {
        if let Some(offer) = self.offer.take() {
            offer.withdraw();
            drop(self.to.core.withdraw_sender(&offer.ticket, 0));
        }
    }
}

macro_rules! debug {
    ($($name:ident)*) => {$(
        impl<T: Send> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let waits = self.offer.is_some();
                f.debug_struct(stringify!($name)).field("waits", &waits).finish_non_exhaustive()
            }
        }
    )*};
}

debug! { RecvAsync SendAsync }
