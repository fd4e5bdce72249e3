//! A future as an operation.
//!
//! Always: while it waits only wakers keep its ringer, so that the scheduler can tell whether
//! anybody can ring; between two waits it keeps the ringer itself, so that no ring is missed.
//! Arm: as every operation's; a future that was completed is not polled again.

use super::waker::{Door, Ringer};
use crate::error::Halt;
use crate::kernel::operation::Arm;
use crate::kernel::poller::{BellId, Inbox};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Doing;
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

/// The operation made by [`operation`](super::operation).
#[must_use = "an operation does nothing until it is waited for"]
pub struct Awaiting<F: Future> {
    future: F,
    /// Whether there is more to come from the future.
    over: bool,
    ringer: Kept,
    bell: Option<Bell>,
    outcome: Option<Result<F::Output, Halt>>,
}

/// What the future is woken with, as far as this end keeps it.
enum Kept {
    /// There is none: it has not been polled, or wakes could have been missed.
    No,
    Strongly(Arc<Ringer>),
    /// It waits.
    Weakly(Weak<Ringer>),
}

/// A bell, until this is dropped.
struct Bell {
    scheduler: rc::Weak<Scheduler>,
    inbox: Arc<Inbox>,
    id: BellId,
}

impl Drop for Bell {
    fn drop(&mut self) {
        if let Some(scheduler) = self.scheduler.upgrade() {
            scheduler.take_bell(self.id);
        }
    }
}

impl<F: Future + Unpin> Awaiting<F> {
    pub(super) fn new(future: F) -> Awaiting<F> {
        Awaiting { future, over: false, ringer: Kept::No, bell: None, outcome: None }
    }

    /// Polls the future; whether that completed it.
    fn poll_once(&mut self) -> bool {
        assert!(!self.over, "a future that has been completed is waited for again");
        let ringer = self.ringer().unwrap_or_default();
        ringer.hush();
        self.ringer = Kept::Strongly(ringer.clone());
        let waker = Waker::from(ringer);
        if let Poll::Ready(output) =
            Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
        {
            self.over = true;
            self.outcome = Some(Ok(output));
        }
        self.over
    }

    /// The ringer, unless nobody has kept it.
    fn ringer(&self) -> Option<Arc<Ringer>> {
        match &self.ringer {
            Kept::No => None,
            Kept::Strongly(ringer) => Some(ringer.clone()),
            Kept::Weakly(ringer) => ringer.upgrade(),
        }
    }

    /// The bell of this run.
    fn bell(&mut self, scheduler: &rc::Rc<Scheduler>) -> &Bell {
        let here = rc::Rc::downgrade(scheduler);
        if self.bell.as_ref().is_none_or(|it| !it.scheduler.ptr_eq(&here)) {
            let (id, inbox) = scheduler.hang_bell();
            self.bell = Some(Bell { scheduler: here, inbox, id });
        }
        self.bell.as_ref().expect("there is one now")
    }

    /// Lets `wait` be settled by whoever wakes the future; false if that has happened before.
    fn listen(&mut self, wait: &Wait, branch: u32) -> bool {
        let (Some(scheduler), Some(ringer)) = (Scheduler::active(), self.ringer()) else {
            return false;
        };
        let Bell { inbox, id, .. } = self.bell(&scheduler);
        let (id, rope) = (*id, Arc::downgrade(&ringer));
        if !ringer.listen(Door { inbox: Arc::downgrade(inbox), bell: id }) {
            return false;
        }
        self.ringer = Kept::Weakly(rope.clone());
        scheduler.await_bell(id, wait.clone(), branch, rope);
        true
    }
}

impl<F: Future + Unpin> Arm for Awaiting<F> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        self.poll_once()
    }

    fn ready(&self) -> bool {
        // What can no longer be asked for its state may have been rung.
        self.over || self.ringer().is_none_or(|it| it.is_rung())
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        wait.must_withdraw();
        if !self.listen(wait, branch) {
            wait.clone().settle(branch);
        }
        1
    }

    fn withdraw(&mut self, _: &Wait, _: u32) {
        self.ringer = self.ringer().map_or(Kept::No, Kept::Strongly);
        if let Some(bell) = &self.bell
            && let Some(scheduler) = bell.scheduler.upgrade()
        {
            scheduler.silence_bell(bell.id);
        }
    }

    fn complete(&mut self, _: u32, _: bool, _: &'static Location<'static>) -> bool {
        self.poll_once()
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }

    fn doing(&self) -> Doing {
        Doing::Awaiting
    }
}

impl<F: Future + Unpin> Operation for Awaiting<F> {
    type Output = Result<F::Output, Halt>;

    fn take(&mut self) -> Result<F::Output, Halt> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

impl<F: Future> fmt::Debug for Awaiting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaiting").field("over", &self.over).finish_non_exhaustive()
    }
}
