//! Sending, receiving and reserving as operations that can wait together with others.
//!
//! Always: an operation that did not win has given its value back to its owner.
//! Each: `Idle -> Published -> Won | Withdrawn`, and the outcome is taken once.

use super::core::{Core, Given, Taken};
use super::ends::{Receiver, Sender};
use super::head::{Busy, Head, mark};
use super::held::Permit;
use super::queue::SendOffer;
use crate::error::{Halt, SendError};
use crate::kernel::control::{Way, Ways};
use crate::kernel::operation::Arm;
use crate::kernel::running;
use crate::kernel::task::Doing;
use crate::kernel::trace::Direction;
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use std::fmt;
use std::panic::Location;

/// The operation made by [`Receiver::receiving`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Receiving<'a, T: 'static> {
    from: &'a Receiver<T>,
    outcome: Option<Result<T, Halt>>,
}

impl<'a, T> Receiving<'a, T> {
    pub(super) fn new(from: &'a Receiver<T>) -> Receiving<'a, T> {
        Receiving { from, outcome: None }
    }

    #[inline(never)]
    fn publish_anew(&self, wait: &Wait, branch: u32) {
        self.from.note_holder();
        self.from.core.offer_receiver(wait.clone(), branch);
    }

    pub(super) fn into_result(self) -> Result<T, Halt> {
        self.outcome.expect("a receive that happened has an outcome")
    }
}

impl<T> Receiver<T> {
    /// Receives if that is possible without waiting for a partner to come.
    #[doc(hidden)]
    #[track_caller]
    #[inline]
    pub fn select_attempt(&self) -> Option<Result<T, Halt>> {
        self.attempt(Location::caller())
    }

    #[inline]
    pub(crate) fn attempt(&self, at: &'static Location<'static>) -> Option<Result<T, Halt>> {
        match self.core.take(at) {
            Taken::Value(value) => Some(Ok(value)),
            Taken::Closed => Some(Err(Halt::Closed)),
            Taken::Again | Taken::Nobody => None,
        }
    }

    /// What a select looks at first.
    #[inline(always)]
    pub(crate) fn head(&self) -> &Head {
        self.core.head()
    }

    /// [`head`](Self::head), for a macro that also takes receivers without one.
    #[doc(hidden)]
    #[inline(always)]
    pub fn select_head<'a>(&'a self, _: &'a Busy) -> &'a Head {
        self.head()
    }

    /// Notes that the running tasklet uses this receiver.
    #[doc(hidden)]
    #[inline(always)]
    pub fn select_note_holder(&self, wait: &Wait) {
        self.note_held_by(wait.task.stamp);
    }

    /// Goes back to where a select can offer itself, if the channel was busy and is no more.
    #[doc(hidden)]
    #[inline]
    pub fn select_calm(&self) -> bool {
        self.head().has(mark::BUSY) && self.core.calm()
    }

    /// What an offer that has won has brought; `None` if the partner went away again.
    #[doc(hidden)]
    pub fn select_complete(&self) -> Option<Result<T, Halt>> {
        running::current().and_then(|me| self.core.take_handed(&me)).map(Ok)
    }

    /// Whether an attempt is likely to succeed: as [`Arm::ready`], since the chooser is asked for
    /// one of those that are.
    #[inline(always)]
    #[doc(hidden)]
    pub fn select_looks_ready(&self) -> bool {
        self.core.can_take()
    }
}

impl<T> Arm for Receiving<'_, T> {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        self.from.core.trace(Direction::Receive);
        self.outcome = self.from.attempt(at);
        self.outcome.is_some()
    }

    fn ready(&self) -> bool {
        self.from.core.can_take()
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        let noted = self.from.entry.holder() == wait.task.stamp;
        if !(noted && self.from.head().renew_receiver(wait, branch)) {
            self.publish_anew(wait, branch);
        }
        1
    }

    fn withdraw(&mut self, wait: &Wait, _: u32) {
        self.from.core.withdraw_receiver(wait);
    }

    fn complete(&mut self, _: u32, closed: bool, _: &'static Location<'static>) -> bool {
        self.outcome = if closed { Some(Err(Halt::Closed)) } else { self.from.select_complete() };
        self.outcome.is_some()
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }

    fn ways(&self, ways: &mut Ways) {
        ways.push(Way::Receive(self.from.core.id));
    }

    fn doing(&self) -> Doing {
        Doing::Receiving(self.from.core.id)
    }
}

impl<T> Operation for Receiving<'_, T> {
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
    /// The branch as which it was offered.
    branch: u32,
    outcome: Option<Result<(), Halt>>,
}

impl<'a, T> Sending<'a, T> {
    pub(super) fn new(to: &'a Sender<T>, value: T) -> Sending<'a, T> {
        Sending { to, value: Some(value), branch: 0, outcome: None }
    }

    /// Gives the value up that was not sent.
    ///
    /// # Panics
    /// If it was sent.
    ///
    /// ```
    /// use tasklets::{channel, run, select};
    /// run(|| {
    ///     let (tx, _rx) = channel();
    ///     let mut sending = tx.sending(vec![1, 2, 3]);
    ///     select! { op(&mut sending) -> _ => panic!("nobody receives"), default => {} }
    ///     assert_eq!(sending.into_value(), [1, 2, 3]); // it lost, and kept the value
    /// });
    /// ```
    pub fn into_value(self) -> T {
        self.value.expect("the value has been sent")
    }

    pub(super) fn into_result(mut self) -> Result<(), SendError<T>> {
        self.take()
    }

    fn core(&self) -> &Core<T> {
        &self.to.core
    }
}

impl<T> Arm for Sending<'_, T> {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        self.core().trace(Direction::Send);
        let Some(value) = self.value.take() else { return false };
        match self.core().give(value) {
            Given::Done => self.outcome = Some(Ok(())),
            Given::Held(receiver) => {
                self.core().await_acceptance(&receiver, at);
                self.outcome = Some(Ok(()));
            }
            Given::Closed(value) => {
                self.value = Some(value);
                self.outcome = Some(Err(Halt::Closed));
            }
            Given::Nobody(value) => self.value = Some(value),
        }
        self.outcome.is_some()
    }

    fn ready(&self) -> bool {
        assert!(self.value.is_some(), "a send that has happened is waited for again");
        self.core().can_give()
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        self.to.note_holder();
        self.branch = branch;
        wait.must_withdraw();
        if let Some(value) = self.value.take() {
            // Not in the spot, where no offer of a select that has lost may stay.
            let offer = SendOffer { wait: wait.clone(), branch, value: Some(value) };
            self.core().queue().push_sender(offer);
        }
        1
    }

    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        if self.value.is_none() {
            self.value = self.to.core.queue().take_back(&wait.task, branch);
        }
    }

    fn complete(&mut self, _: u32, closed: bool, _: &'static Location<'static>) -> bool {
        if closed {
            self.outcome = Some(Err(Halt::Closed));
            if self.value.is_none()
                && let Some(me) = running::current()
            {
                self.value = self.to.core.queue().take_back(&me, self.branch);
            }
        } else {
            self.outcome = Some(Ok(()));
        }
        true
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }

    fn ways(&self, ways: &mut Ways) {
        ways.push(Way::Send(self.to.core.id));
    }

    fn doing(&self) -> Doing {
        Doing::Sending(self.core().id)
    }
}

impl<T> Operation for Sending<'_, T> {
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
    outcome: Option<Result<Permit<'a, T>, Halt>>,
}

impl<'a, T> Reserving<'a, T> {
    pub(super) fn new(to: &'a Sender<T>) -> Reserving<'a, T> {
        Reserving { to, outcome: None }
    }
}

impl<T> Arm for Reserving<'_, T> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        let core = &self.to.core;
        core.trace(Direction::Send);
        if let Some(receiver) = core.reserve() {
            self.outcome = Some(Ok(Permit::new(core, receiver)));
        } else if core.head().no_receiver.get() {
            self.outcome = Some(Err(Halt::Closed));
        }
        self.outcome.is_some()
    }

    fn ready(&self) -> bool {
        self.to.core.can_give()
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        self.to.note_holder();
        wait.must_withdraw();
        let offer = SendOffer { wait: wait.clone(), branch, value: None };
        self.to.core.queue().push_sender(offer);
        1
    }

    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        drop(self.to.core.queue().take_back(&wait.task, branch));
    }

    fn complete(&mut self, _: u32, closed: bool, _: &'static Location<'static>) -> bool {
        let core = &self.to.core;
        self.outcome = if closed {
            Some(Err(Halt::Closed))
        } else {
            let owed = running::current().and_then(|me| core.queue().take_owed(&me));
            owed.map(|receiver| Ok(Permit::new(core, receiver)))
        };
        self.outcome.is_some()
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }

    fn ways(&self, ways: &mut Ways) {
        ways.push(Way::Send(self.to.core.id));
    }

    fn doing(&self) -> Doing {
        Doing::Sending(self.to.core.id)
    }
}

impl<'a, T> Operation for Reserving<'a, T> {
    type Output = Result<Permit<'a, T>, Halt>;

    fn take(&mut self) -> Result<Permit<'a, T>, Halt> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
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
