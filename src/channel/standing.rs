//! The ends of channels as arms of a reused select.
//!
//! Always: a value that a select has received lies in its channel until it is claimed or given up.

use super::core::{Core, Taken};
use super::ends::{Receiver, Sender};
use super::queue::{Partner, SendOffer};
use super::watch::Watch;
use crate::error::{Halt, SendError};
use crate::kernel::claim::Ticket;
use crate::kernel::control::Way;
use crate::kernel::task::Task;
use crate::kernel::trace::Direction;
use crate::kernel::wait::Wait;
use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

thread_local! {
    /// Tickets given out on this OS thread.
    static TICKETS: Cell<u64> = const { Cell::new(0) };
}

/// What an arm of a reused select has won.
#[derive(Debug)]
pub enum Grant {
    /// A value, which lies in the channel under this ticket.
    Value(u64),
    /// A receiver that waits for a value.
    Receiver(Option<Partner>),
    /// One that may be on another OS thread: under which it waits, and as which branch.
    Far(Option<(Ticket, u32)>),
    /// The other end is gone.
    Closed,
}

/// An end of a channel, without its type.
pub trait SelectEnd {
    /// Does it, if a partner waits.
    fn attempt(&self, at: &'static Location<'static>) -> Option<Grant>;
    /// Whether a partner waits, though it may not be possible to meet it now.
    fn ready(&self) -> bool;
    /// Offers it; an arm that stands in its channel anyhow need not.
    fn publish(&self, wait: &Wait, branch: u32);
    /// Takes the offer back.
    fn withdraw(&self, wait: &Wait, branch: u32);
    /// What it has won; `None` if the partner went away again.
    fn complete(&self, me: &Rc<Task>) -> Option<Grant>;
    /// Leaves the channel.
    fn unregister(&self, select: &Rc<Watch>, arm: u32);
    /// Undoes what can be undone of a grant that is not wanted.
    fn give_up(&self, grant: &mut Grant);
    /// The address of the channel.
    fn channel(&self) -> usize;
    /// What it does, in a run that is explored.
    fn way(&self) -> Way;
    /// Whether partners may be on other OS threads.
    fn is_shared(&self) -> bool {
        false
    }
    /// Makes it stand in its channel for good; false if it has to be published for each wait.
    fn stand(&self, _select: Rc<Watch>, _arm: u32) -> bool {
        false
    }
}

/// An end that gives values to a reused select: of a channel, or of a shared one.
pub trait ReceiveEnd: SelectEnd {
    /// What it receives.
    type Item;
    /// Takes what was granted.
    fn claim(&self, grant: &mut Grant) -> Result<Self::Item, Halt>;
}

/// An end that a reused select sends with: of a channel, or of a shared one.
pub trait SendEnd: SelectEnd {
    /// What it sends.
    type Item;
    /// Sends to the receiver that was granted.
    fn fulfil(
        &self,
        grant: &mut Grant,
        value: Self::Item,
        at: &'static Location<'static>,
    ) -> Result<(), SendError<Self::Item>>;
}

impl<T> SelectEnd for Receiver<T> {
    fn attempt(&self, at: &'static Location<'static>) -> Option<Grant> {
        self.core.trace(Direction::Receive);
        match self.core.take(at) {
            Taken::Value(value) => Some(self.core.grant(value)),
            Taken::Closed => Some(Grant::Closed),
            Taken::Again | Taken::Nobody => None,
        }
    }

    fn ready(&self) -> bool {
        self.core.can_take()
    }

    fn publish(&self, _: &Wait, _: u32) {}

    fn withdraw(&self, _: &Wait, _: u32) {}

    fn complete(&self, me: &Rc<Task>) -> Option<Grant> {
        self.core.take_handed(me).map(|value| self.core.grant(value))
    }

    fn unregister(&self, select: &Rc<Watch>, arm: u32) {
        let mut queue = self.core.queue();
        queue.standing.retain(|(it, at)| *at != arm || !Rc::ptr_eq(it, select));
    }

    fn give_up(&self, grant: &mut Grant) {
        if let Grant::Value(ticket) = grant {
            let value = self.core.redeem(*ticket);
            drop(value);
        }
    }

    fn channel(&self) -> usize {
        Rc::as_ptr(&self.core).addr()
    }

    fn way(&self) -> Way {
        Way::Receive(self.core.id)
    }

    fn stand(&self, select: Rc<Watch>, arm: u32) -> bool {
        self.note_holder();
        self.core.queue().standing.push((select, arm));
        true
    }
}

impl<T> ReceiveEnd for Receiver<T> {
    type Item = T;

    fn claim(&self, grant: &mut Grant) -> Result<T, Halt> {
        match grant {
            Grant::Value(ticket) => {
                Ok(self.core.redeem(*ticket).expect("a granted value is there"))
            }
            Grant::Closed => Err(Halt::Closed),
            Grant::Receiver(_) | Grant::Far(_) => panic!("the arm that was chosen is for sending"),
        }
    }
}

impl<T> SelectEnd for Sender<T> {
    fn attempt(&self, _: &'static Location<'static>) -> Option<Grant> {
        self.core.trace(Direction::Send);
        match self.core.reserve() {
            Some(receiver) => Some(Grant::Receiver(Some(receiver))),
            None if self.core.head().no_receiver.get() => Some(Grant::Closed),
            None => None,
        }
    }

    fn ready(&self) -> bool {
        self.core.can_give()
    }

    fn publish(&self, wait: &Wait, branch: u32) {
        self.note_holder();
        let offer = SendOffer { wait: wait.clone(), branch, value: None };
        self.core.queue().push_sender(offer);
    }

    fn withdraw(&self, wait: &Wait, branch: u32) {
        let reservation = self.core.queue().take_back(&wait.task, branch);
        debug_assert!(reservation.is_none(), "a reservation has no value");
    }

    fn complete(&self, me: &Rc<Task>) -> Option<Grant> {
        let receiver = self.core.queue().take_owed(me)?;
        Some(Grant::Receiver(Some(receiver)))
    }

    fn unregister(&self, _: &Rc<Watch>, _: u32) {}

    fn give_up(&self, grant: &mut Grant) {
        if let Grant::Receiver(receiver) = grant
            && let Some(receiver) = receiver.take()
        {
            receiver.retry();
        }
    }

    fn channel(&self) -> usize {
        Rc::as_ptr(&self.core).addr()
    }

    fn way(&self) -> Way {
        Way::Send(self.core.id)
    }
}

impl<T> SendEnd for Sender<T> {
    type Item = T;

    fn fulfil(
        &self,
        grant: &mut Grant,
        value: T,
        at: &'static Location<'static>,
    ) -> Result<(), SendError<T>> {
        match grant {
            Grant::Receiver(receiver) => {
                let receiver = receiver.take().expect("a granted receiver is there");
                self.core.give_granted(receiver, value, at)
            }
            Grant::Closed => Err(SendError { value, why: Halt::Closed }),
            Grant::Value(_) | Grant::Far(_) => panic!("the arm that was chosen is for receiving"),
        }
    }
}

impl<T> Core<T> {
    /// Keeps `value` until it is asked for with the ticket.
    fn grant(&self, value: T) -> Grant {
        let ticket = TICKETS.with(|it| it.replace(it.get() + 1));
        self.granted.borrow_mut().push((ticket, value));
        Grant::Value(ticket)
    }

    fn redeem(&self, ticket: u64) -> Option<T> {
        let mut granted = self.granted.borrow_mut();
        if granted.front()?.0 == ticket {
            return granted.pop().map(|(_, value)| value);
        }
        let index = granted.rposition(|(it, _)| *it == ticket)?;
        granted.remove(index).map(|(_, value)| value)
    }

    /// Gives `value` to a receiver that was granted before.
    pub(super) fn give_granted(
        &self,
        receiver: Partner,
        value: T,
        at: &'static Location<'static>,
    ) -> Result<(), SendError<T>> {
        if !receiver.is_there() {
            return Err(SendError { value, why: Halt::Closed });
        }
        let (task, hold) = (receiver.task().clone(), receiver.hold);
        self.hand(&task, value);
        if hold {
            receiver.release(false);
            self.await_acceptance(&task, at);
        } else {
            self.release_receiver(receiver);
        }
        Ok(())
    }
}
