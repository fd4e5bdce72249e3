//! The ends of shared channels as arms of `select!` and of a reused select.
//!
//! Always: a value that a select has received lies in its channel until it is claimed or given up;
//! an offer is published for one wait, under the ticket that this wait has for all its arms.

use super::core::Partner;
use super::ends::{Receiver, Sender};
use crate::channel::{Busy, Grant, Head, ReceiveEnd, SelectEnd, SendEnd, Watch};
use crate::error::{Halt, SendError};
use crate::kernel::claim::Ticket;
use crate::kernel::control::Way;
use crate::kernel::scheduler;
use crate::kernel::task::Task;
use crate::kernel::wait::Wait;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What `select!` calls of a receiver, as it does of one that is not shared.
impl<T: Send + 'static> Receiver<T> {
    #[doc(hidden)]
    #[track_caller]
    pub fn select_attempt(&self) -> Option<Result<T, Halt>> {
        self.take_now(Location::caller())
    }

    #[doc(hidden)]
    pub fn select_looks_ready(&self) -> bool {
        self.core.can_take()
    }

    /// What is shared never offers itself without an operation.
    #[doc(hidden)]
    pub fn select_head<'a>(&'a self, busy: &'a Busy) -> &'a Head {
        busy.head()
    }

    #[doc(hidden)]
    pub fn select_note_holder(&self, _: &Wait) {}

    #[doc(hidden)]
    pub fn select_calm(&self) -> bool {
        false
    }

    #[doc(hidden)]
    pub fn select_complete(&self) -> Option<Result<T, Halt>> {
        None
    }
}

/// The ticket of the present wait of `task`.
fn ticket(task: &Task) -> Option<Ticket> {
    task.claim().map(|it| Ticket::of(it.clone()))
}

impl<T: Send> SelectEnd for Receiver<T> {
    fn attempt(&self, at: &'static Location<'static>) -> Option<Grant> {
        match self.take_now(at)? {
            Ok(value) => Some(Grant::Value(self.core.grant(value))),
            Err(_) => Some(Grant::Closed),
        }
    }

    fn ready(&self) -> bool {
        self.core.can_take()
    }

    fn publish(&self, wait: &Wait, branch: u32) {
        self.trace(true);
        self.note(&wait.task);
        if !self.core.offer_receiver(&scheduler::ticket(wait), branch) {
            scheduler::look_again(wait);
        }
    }

    fn withdraw(&self, wait: &Wait, branch: u32) {
        if let Some(ticket) = ticket(&wait.task) {
            self.core.withdraw_receiver(&ticket, branch);
        }
    }

    fn complete(&self, me: &Rc<Task>) -> Option<Grant> {
        let value = self.core.take_handed(&ticket(me)?)?;
        Some(Grant::Value(self.core.grant(value)))
    }

    fn unregister(&self, _: &Rc<Watch>, _: u32) {}

    fn give_up(&self, grant: &mut Grant) {
        if let Grant::Value(number) = grant {
            let value = self.core.redeem(*number);
            drop(value);
        }
    }

    fn channel(&self) -> usize {
        Arc::as_ptr(&self.core).addr()
    }

    fn way(&self) -> Way {
        Way::Shared
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl<T: Send> ReceiveEnd for Receiver<T> {
    type Item = T;

    fn claim(&self, grant: &mut Grant) -> Result<T, Halt> {
        match grant {
            Grant::Value(number) => {
                Ok(self.core.redeem(*number).expect("a granted value is there"))
            }
            Grant::Closed => Err(Halt::Closed),
            Grant::Receiver(_) | Grant::Far(_) => panic!("the arm that was chosen is for sending"),
        }
    }
}

impl<T: Send> SelectEnd for Sender<T> {
    fn attempt(&self, _: &'static Location<'static>) -> Option<Grant> {
        let found = self.core.reserve().map(|it| Grant::Far(Some(it.into_parts())));
        let closed = || self.core.no_receiver.load(Ordering::SeqCst).then_some(Grant::Closed);
        let grant = found.or_else(closed);
        if grant.is_some() {
            self.trace(false);
        }
        grant
    }

    fn ready(&self) -> bool {
        self.core.can_give()
    }

    fn publish(&self, wait: &Wait, branch: u32) {
        self.trace(true);
        self.note(&wait.task);
        if self.core.offer_sender(&scheduler::ticket(wait), branch, None).is_err() {
            scheduler::look_again(wait);
        }
    }

    fn withdraw(&self, wait: &Wait, branch: u32) {
        let ticket = ticket(&wait.task);
        let reservation = ticket.and_then(|it| self.core.withdraw_sender(&it, branch));
        debug_assert!(reservation.is_none(), "a reservation has no value");
    }

    fn complete(&self, me: &Rc<Task>) -> Option<Grant> {
        let receiver = self.core.take_owed(&ticket(me)?)?;
        Some(Grant::Far(Some(receiver.into_parts())))
    }

    fn unregister(&self, _: &Rc<Watch>, _: u32) {}

    fn give_up(&self, grant: &mut Grant) {
        if let Grant::Far(receiver) = grant {
            receiver.take().into_iter().for_each(|it| Partner::of(it).retry());
        }
    }

    fn channel(&self) -> usize {
        Arc::as_ptr(&self.core).addr()
    }

    fn way(&self) -> Way {
        Way::Shared
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl<T: Send> SendEnd for Sender<T> {
    type Item = T;

    fn fulfil(
        &self,
        grant: &mut Grant,
        value: T,
        _: &'static Location<'static>,
    ) -> Result<(), SendError<T>> {
        match grant {
            Grant::Far(receiver) => {
                let receiver = receiver.take().expect("a granted receiver is there");
                let given = self.core.give_held(Partner::of(receiver), value);
                given.map_err(|value| SendError { value, why: Halt::Closed })
            }
            Grant::Closed => Err(SendError { value, why: Halt::Closed }),
            Grant::Value(_) | Grant::Receiver(_) => {
                panic!("the arm that was chosen is for receiving")
            }
        }
    }
}
