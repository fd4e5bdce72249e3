//! The ends of channels as arms of a reused select.
//!
//! Always: a value that a select has received lies in its channel until it is claimed or given up.

use super::core::{Core, Taken};
use super::ends::{Receiver, Sender};
use super::queue::{Partner, SendOffer, Standing};
use crate::error::{Halt, SendError};
use crate::kernel::running;
use crate::kernel::task::Task;
use crate::kernel::trace::Direction;
use crate::kernel::wait::Wait;
use std::panic::Location;
use std::rc::Rc;

/// What an arm of a reused select has won.
pub enum Grant {
    /// A value, which lies in the channel for this tasklet.
    Value(Rc<Task>),
    /// A receiver that waits for a value.
    Receiver(Option<Partner>),
    /// The other end is gone.
    Closed,
}

/// An end of a channel, without its type.
pub trait SelectEnd {
    /// Does it, if a partner waits.
    fn attempt(&self, at: &'static Location<'static>) -> Option<Grant>;
    /// Offers it; an arm that stands in its channel anyhow need not.
    fn publish(&self, wait: &Wait, branch: u32);
    /// Takes the offer back.
    fn withdraw(&self, wait: &Wait, branch: u32);
    /// What it has won; `None` if the partner went away again.
    fn complete(&self, me: &Rc<Task>) -> Option<Grant>;
    /// Leaves the channel.
    fn unregister(&self, select: &Rc<dyn Standing>, arm: u32);
    /// Undoes what can be undone of a grant that is not wanted.
    fn give_up(&self, grant: &mut Grant);
    /// The address of the channel.
    fn channel(&self) -> usize;
}

impl<T> SelectEnd for Receiver<T> {
    fn attempt(&self, at: &'static Location<'static>) -> Option<Grant> {
        let me = running::current()?;
        self.core.trace(Direction::Receive);
        loop {
            match self.core.take(at) {
                Taken::Value(value) => {
                    self.core.hand(&me, value);
                    return Some(Grant::Value(me));
                }
                Taken::Closed => return Some(Grant::Closed),
                Taken::Again => {}
                Taken::Nobody => return None,
            }
        }
    }

    fn publish(&self, _: &Wait, _: u32) {}

    fn withdraw(&self, _: &Wait, _: u32) {}

    fn complete(&self, me: &Rc<Task>) -> Option<Grant> {
        Some(Grant::Value(me.clone()))
    }

    fn unregister(&self, select: &Rc<dyn Standing>, arm: u32) {
        let mut queue = self.core.queue();
        queue.standing.retain(|(it, at)| *at != arm || !Rc::ptr_eq(it, select));
    }

    fn give_up(&self, grant: &mut Grant) {
        if let Grant::Value(me) = grant {
            let value = self.core.take_handed(me);
            drop(value);
        }
    }

    fn channel(&self) -> usize {
        Rc::as_ptr(&self.core).addr()
    }
}

impl<T> Receiver<T> {
    pub(crate) fn register(&self, select: Rc<dyn Standing>, arm: u32) {
        self.note_holder();
        self.core.queue().standing.push((select, arm));
    }

    /// Takes the value that a select has received from `end`.
    pub(crate) fn claim(&self, end: &dyn SelectEnd, grant: &mut Grant) -> Result<T, Halt> {
        assert_eq!(self.channel(), end.channel(), "another channel was chosen");
        match grant {
            Grant::Value(me) => Ok(self.core.take_handed(me).expect("a granted value is there")),
            Grant::Closed => Err(Halt::Closed),
            Grant::Receiver(_) => panic!("the arm that was chosen is for sending"),
        }
    }
}

impl<T> SelectEnd for Sender<T> {
    fn attempt(&self, _: &'static Location<'static>) -> Option<Grant> {
        self.core.trace(Direction::Send);
        match self.core.reserve() {
            Some(receiver) => Some(Grant::Receiver(Some(receiver))),
            None if self.core.no_receiver.get() => Some(Grant::Closed),
            None => None,
        }
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

    fn unregister(&self, _: &Rc<dyn Standing>, _: u32) {}

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
}

impl<T> Sender<T> {
    /// Sends to the receiver that a select has won at `end`.
    pub(crate) fn fulfil(
        &self,
        end: &dyn SelectEnd,
        grant: &mut Grant,
        value: T,
        at: &'static Location<'static>,
    ) -> Result<(), SendError<T>> {
        assert_eq!(self.channel(), end.channel(), "another channel was chosen");
        match grant {
            Grant::Receiver(receiver) => {
                let receiver = receiver.take().expect("a granted receiver is there");
                self.core.give_granted(receiver, value, at);
                Ok(())
            }
            Grant::Closed => Err(SendError { value, why: Halt::Closed }),
            Grant::Value(_) => panic!("the arm that was chosen is for receiving"),
        }
    }
}

impl<T> Core<T> {
    /// Gives `value` to a receiver that was granted before.
    pub(super) fn give_granted(&self, receiver: Partner, value: T, at: &'static Location<'static>) {
        let (task, hold) = (receiver.task.clone(), receiver.hold);
        self.hand(&task, value);
        if hold {
            receiver.release(false);
            self.await_acceptance(&task, at);
        } else {
            self.release_receiver(receiver);
        }
    }
}
