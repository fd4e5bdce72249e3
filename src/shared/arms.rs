//! Sending, receiving and reserving between OS threads, as operations that can wait together with
//! others, shared or not.
//!
//! Always: an operation that did not win has given its value back to its owner. A run that is
//! explored has one OS thread: there all of these are refused, as ways that nobody can decide.
//! Each: `Idle -> Published -> Won | Withdrawn`, and the outcome is taken once.

use super::core::{Core, Given, Partner, Taken};
use super::ends::{Receiver, Sender};
use crate::error::{Halt, SendError};
use crate::kernel::claim::Ticket;
use crate::kernel::clock::NEVER;
use crate::kernel::control::{Way, Ways};
use crate::kernel::operation::Arm;
use crate::kernel::scheduler;
use crate::kernel::task::Doing;
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;

/// The operation made by [`Receiver::receiving`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Receiving<'a, T: 'static> {
    from: &'a Receiver<T>,
    /// Under which it was offered.
    ticket: Option<Ticket>,
    outcome: Option<Result<T, Halt>>,
}

impl<'a, T> Receiving<'a, T> {
    pub(super) fn new(from: &'a Receiver<T>) -> Receiving<'a, T> {
        Receiving { from, ticket: None, outcome: None }
    }
}

impl<T: Send> Receiver<T> {
    /// Receives if that is possible without waiting for a partner to come.
    pub(super) fn take_now(&self, at: &'static Location<'static>) -> Option<Result<T, Halt>> {
        let waiter = scheduler::may_wait();
        let mut opened = None;
        let meet = waiter.map(|me| {
            || {
                let wait = Wait::open(me);
                let ticket = scheduler::ticket_held(&wait);
                opened = Some((wait, ticket.clone()));
                ticket
            }
        });
        let taken = self.core.take(meet);
        match taken {
            Taken::Value(value) => Some(Ok(value)),
            Taken::Closed => Some(Err(Halt::Closed)),
            Taken::Nobody => None,
            Taken::Owed => {
                let (wait, ticket) = opened.expect("who is owed a value waits for it");
                self.note(&wait.task);
                let doing = Doing::Receiving(self.core.id);
                let outcome = scheduler::park_until(&wait, NEVER, 0, doing, at);
                let met = outcome == 0;
                // If not, the sender has changed its mind, or the run ends.
                if met { self.core.take_handed(&ticket).map(Ok) } else { None }
            }
        }
    }
}

impl<T: Send> Arm for Receiving<'_, T> {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        self.outcome = self.from.take_now(at);
        if self.outcome.is_some() {
            self.from.trace(false);
        }
        self.outcome.is_some()
    }

    fn ready(&self) -> bool {
        self.from.core.can_take()
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        self.from.trace(true);
        self.from.note(&wait.task);
        wait.must_withdraw();
        let ticket = scheduler::ticket(wait);
        if !self.from.core.offer_receiver(&ticket, branch) {
            scheduler::look_again(wait);
        }
        self.ticket = Some(ticket);
        1
    }

    fn withdraw(&mut self, _: &Wait, branch: u32) {
        if let Some(ticket) = self.ticket.take() {
            self.from.core.withdraw_receiver(&ticket, branch);
        }
    }

    fn complete(&mut self, _: u32, closed: bool, _: &'static Location<'static>) -> bool {
        let ticket = self.ticket.take();
        self.outcome = match ticket {
            _ if closed => Some(Err(Halt::Closed)),
            Some(ticket) => self.from.core.take_handed(&ticket).map(Ok),
            None => None,
        };
        self.outcome.is_some()
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn ways(&self, ways: &mut Ways) {
        ways.push(Way::Shared);
    }

    fn doing(&self) -> Doing {
        Doing::Receiving(self.from.core.id)
    }
}

impl<T: Send> Operation for Receiving<'_, T> {
    type Output = Result<T, Halt>;

    fn take(&mut self) -> Result<T, Halt> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

/// The operation made by [`Sender::sending`]. If it loses, the value stays in it.
#[must_use = "an operation does nothing until it is waited for"]
pub struct Sending<'a, T: 'static> {
    to: &'a Sender<T>,
    value: Option<T>,
    /// Under which it was offered, and as which branch.
    ticket: Option<(Ticket, u32)>,
    outcome: Option<Result<(), Halt>>,
}

impl<'a, T> Sending<'a, T> {
    pub(super) fn new(to: &'a Sender<T>, value: T) -> Sending<'a, T> {
        Sending { to, value: Some(value), ticket: None, outcome: None }
    }

    /// Gives the value up that was not sent.
    ///
    /// # Panics
    /// If it was sent.
    ///
    /// ```
    /// use tasklets::{run, select, shared};
    /// run(|| {
    ///     let (tx, _rx) = shared::channel();
    ///     let mut sending = tx.sending(vec![1, 2, 3]);
    ///     select! { op(&mut sending) -> _ => panic!("nobody receives"), default => {} }
    ///     assert_eq!(sending.into_value(), [1, 2, 3]); // it lost, and kept the value
    /// });
    /// ```
    pub fn into_value(self) -> T {
        self.value.expect("the value has been sent")
    }

    fn core(&self) -> &Core<T> {
        &self.to.core
    }

    /// Takes back what was offered.
    fn take_back(&mut self) {
        if let Some((ticket, branch)) = self.ticket.take()
            && self.value.is_none()
        {
            self.value = self.core().withdraw_sender(&ticket, branch);
        }
    }
}

impl<T: Send> Arm for Sending<'_, T> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        let Some(value) = self.value.take() else { return false };
        match self.core().give(value) {
            Given::Done => self.outcome = Some(Ok(())),
            Given::Closed(value) => {
                self.value = Some(value);
                self.outcome = Some(Err(Halt::Closed));
            }
            Given::Nobody(value) => self.value = Some(value),
        }
        if self.outcome.is_some() {
            self.to.trace(false);
        }
        self.outcome.is_some()
    }

    fn ready(&self) -> bool {
        assert!(self.value.is_some(), "a send that has happened is waited for again");
        self.core().can_give()
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        self.to.trace(true);
        self.to.note(&wait.task);
        wait.must_withdraw();
        let ticket = scheduler::ticket(wait);
        if let Some(value) = self.value.take()
            && let Err(value) = self.core().offer_sender(&ticket, branch, Some(value))
        {
            self.value = value;
            scheduler::look_again(wait);
        }
        self.ticket = Some((ticket, branch));
        1
    }

    fn withdraw(&mut self, _: &Wait, _: u32) {
        self.take_back();
    }

    fn complete(&mut self, _: u32, closed: bool, _: &'static Location<'static>) -> bool {
        if closed {
            self.take_back();
        }
        self.ticket = None;
        self.outcome = Some(if closed { Err(Halt::Closed) } else { Ok(()) });
        true
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn ways(&self, ways: &mut Ways) {
        ways.push(Way::Shared);
    }

    fn doing(&self) -> Doing {
        Doing::Sending(self.core().id)
    }
}

impl<T: Send> Operation for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn take(&mut self) -> Result<(), SendError<T>> {
        let outcome = self.outcome.take();
        match outcome.expect("the outcome of an operation is taken once, after it happened") {
            Ok(()) => Ok(()),
            Err(why) => {
                let value = self.value.take();
                Err(SendError { value: value.expect("what was not sent is still here"), why })
            }
        }
    }
}

/// The operation made by [`Sender::reserving`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Reserving<'a, T: 'static> {
    to: &'a Sender<T>,
    ticket: Option<(Ticket, u32)>,
    outcome: Option<Result<Permit<'a, T>, Halt>>,
}

impl<'a, T> Reserving<'a, T> {
    pub(super) fn new(to: &'a Sender<T>) -> Reserving<'a, T> {
        Reserving { to, ticket: None, outcome: None }
    }
}

impl<T: Send> Arm for Reserving<'_, T> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        if let Some(receiver) = self.to.core.reserve() {
            self.outcome = Some(Ok(Permit { core: &self.to.core, receiver: Some(receiver) }));
        } else if self.to.core.no_receiver.load(Ordering::SeqCst) {
            self.outcome = Some(Err(Halt::Closed));
        }
        if self.outcome.is_some() {
            self.to.trace(false);
        }
        self.outcome.is_some()
    }

    fn ready(&self) -> bool {
        self.to.core.can_give()
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        self.to.trace(true);
        self.to.note(&wait.task);
        wait.must_withdraw();
        let ticket = scheduler::ticket(wait);
        if self.to.core.offer_sender(&ticket, branch, None).is_err() {
            scheduler::look_again(wait);
        }
        self.ticket = Some((ticket, branch));
        1
    }

    fn withdraw(&mut self, _: &Wait, _: u32) {
        if let Some((ticket, branch)) = self.ticket.take() {
            let reservation = self.to.core.withdraw_sender(&ticket, branch);
            debug_assert!(reservation.is_none(), "a reservation has no value");
        }
    }

    fn complete(&mut self, _: u32, closed: bool, _: &'static Location<'static>) -> bool {
        let ticket = self.ticket.take();
        self.outcome = match ticket {
            Some((ticket, branch)) if closed => {
                drop(self.to.core.withdraw_sender(&ticket, branch));
                Some(Err(Halt::Closed))
            }
            Some((ticket, _)) => self
                .to
                .core
                .take_owed(&ticket)
                .map(|receiver| Ok(Permit { core: &self.to.core, receiver: Some(receiver) })),
            None => None,
        };
        self.outcome.is_some()
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn ways(&self, ways: &mut Ways) {
        ways.push(Way::Shared);
    }

    fn doing(&self) -> Doing {
        Doing::Sending(self.to.core.id)
    }
}

impl<'a, T: Send> Operation for Reserving<'a, T> {
    type Output = Result<Permit<'a, T>, Halt>;

    fn take(&mut self) -> Result<Permit<'a, T>, Halt> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

/// A receiver, perhaps on another OS thread, that waits for a value from the holder of this.
///
/// ```
/// use tasklets::{Operation, run, shared};
/// let (tx, rx) = shared::channel();
/// let reader = std::thread::spawn(move || rx.recv());
/// run(|| {
///     let permit = tx.reserving().wait().unwrap(); // somebody wants it
///     permit.send("made to order").unwrap();
/// });
/// assert_eq!(reader.join().unwrap(), Ok("made to order"));
/// ```
#[must_use = "dropping the permit sends nothing"]
pub struct Permit<'a, T: 'static> {
    core: &'a Core<T>,
    receiver: Option<Partner>,
}

impl<T: 'static> Permit<'_, T> {
    /// Sends `value` to the receiver. Does not wait.
    ///
    /// # Errors
    /// [`Halt::Closed`] with the value, if the end of the receiver's run has torn it away.
    ///
    /// ```
    /// use tasklets::{run, select, shared};
    /// let (tx, rx) = shared::channel();
    /// let reader = std::thread::spawn(move || rx.recv());
    /// // `select!` asks for a permit first: `job()` is called only once somebody wants it.
    /// let job = || "a job";
    /// run(|| select! { send(tx, job()) -> sent => sent.unwrap() });
    /// assert_eq!(reader.join().unwrap(), Ok("a job"));
    /// ```
    pub fn send(mut self, value: T) -> Result<(), SendError<T>> {
        let receiver = self.receiver.take().expect("a permit is used once");
        let given = self.core.give_held(receiver, value);
        given.map_err(|value| SendError { value, why: Halt::Closed })
    }
}

impl<T: 'static> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            receiver.retry();
        }
    }
}

impl<T: 'static> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("channel", &self.core.id.0).finish_non_exhaustive()
    }
}

macro_rules! debug_arm {
    ($($arm:ident $text:literal),*) => {$(
        impl<T> fmt::Debug for $arm<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($text).field("happened", &self.outcome.is_some()).finish()
            }
        }
    )*};
}

debug_arm!(Receiving "Receiving", Sending "Sending", Reserving "Reserving");
