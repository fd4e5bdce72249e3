//! Meetings in two steps: receiving with the sender kept waiting, and reserving a receiver.
//!
//! Always: the partner of a guard waits, committed, until the guard is used or dropped.
//! Held: `Holding -> Accepted`. Permit: `Granted -> Used | Returned`.

use super::core::{Core, Taken};
use super::ends::Receiver;
use super::queue::{Partner, ReceiveOffer};
use crate::error::{Halt, SendError};
use crate::kernel::announce::{Stops, announce};
use crate::kernel::control::Way;
use crate::kernel::running;
use crate::kernel::task::Doing;
use crate::kernel::trace::Direction;
use crate::kernel::wait::{self, Wait};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::rc::Rc;

/// A received value whose sender still waits.
///
/// The sender goes on when this is [accepted](Held::accept) or dropped. Dereferences to the value.
///
/// ```
/// use tasklets::{channel, run, spawn, yield_now};
/// run(|| {
///     let (tx, rx) = channel();
///     let sender = spawn(move || tx.send("a request"));
///     let held = rx.recv_held().unwrap();
///     assert_eq!((held.len(), sender.is_finished()), (9, false)); // it can be looked at
///     drop(held);
///     yield_now();
///     assert!(sender.is_finished());
/// });
/// ```
#[must_use = "dropping the guard releases the sender and drops the value"]
pub struct Held<T> {
    value: Option<T>,
    sender: Option<Partner>,
}

impl<T> Held<T> {
    /// Releases the sender and gives the value out. Does not wait.
    ///
    /// ```
    /// use tasklets::{channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let client = spawn(move || tx.send(vec![3, 1, 2]));
    ///     let mut list = rx.recv_held().unwrap();
    ///     list.sort(); // the client waits until its list has been put in order
    ///     assert!(!client.is_finished());
    ///     assert_eq!(list.accept(), [1, 2, 3]);
    ///     client.join().unwrap().unwrap();
    /// });
    /// ```
    pub fn accept(mut self) -> T {
        self.release();
        self.value.take().expect("a held value is there until it is accepted")
    }

    fn release(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.release(false);
        }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a held value is there until it is accepted")
    }
}

impl<T> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("a held value is there until it is accepted")
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<T: fmt::Debug> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.value).finish()
    }
}

/// [`Receiver::recv_held`].
pub(super) fn receive<T>(
    receiver: &Receiver<T>,
    at: &'static Location<'static>,
) -> Result<Held<T>, Halt> {
    let core = &*receiver.core;
    loop {
        if running::gate(true)? {
            core.trace(Direction::Receive);
            let doing = Doing::Receiving(core.id);
            announce(&[Way::Receive(core.id)], Stops::All, doing, at)?;
        }
        match core.take_holding(at) {
            Taken::Value((value, sender)) => return Ok(Held { value: Some(value), sender }),
            Taken::Closed => return Err(Halt::Closed),
            Taken::Again => continue,
            Taken::Nobody => {}
        }
        let task = running::waiter(at)?;
        receiver.note_holder();
        let offer = ReceiveOffer { wait: Wait::open(task.clone()), branch: 0, hold: true };
        core.queue().receivers.push(offer);
        match running::park(&task, Doing::Receiving(core.id), at) {
            0 => {
                let mut queue = core.queue();
                let sender = queue.take_held(&task);
                drop(queue);
                let value = core.take_handed(&task);
                if value.is_some() {
                    return Ok(Held { value, sender });
                }
            }
            wait::CLOSED => return Err(Halt::Closed),
            outcome => {
                core.queue().forget_receiver(&task);
                if let Some(why) = running::halt_of(&task, outcome) {
                    return Err(why);
                }
            }
        }
    }
}

/// A receiver that waits for the value its holder is about to make.
///
/// Dropping it unused lets the receiver wait as before, behind those who came since.
///
/// ```
/// use tasklets::{Operation, channel, run, spawn};
/// run(|| {
///     let (tx, rx) = channel();
///     let reader = spawn(move || rx.recv());
///     drop(tx.reserving().wait().unwrap()); // nothing to send after all
///     assert!(!reader.is_finished());
///     tx.send("something").unwrap();
///     assert_eq!(reader.join().unwrap(), Ok("something"));
/// });
/// ```
#[must_use = "dropping the permit sends nothing"]
pub struct Permit<'a, T: 'static> {
    core: &'a Rc<Core<T>>,
    receiver: Option<Partner>,
}

impl<'a, T: 'static> Permit<'a, T> {
    pub(super) fn new(core: &'a Rc<Core<T>>, receiver: Partner) -> Permit<'a, T> {
        Permit { core, receiver: Some(receiver) }
    }

    /// Gives the receiver its value.
    ///
    /// Waits only if the receiver [holds](Receiver::recv_held) its senders.
    ///
    /// # Errors
    /// [`Halt::Closed`] with the value, if the end of the run has torn the receiver away.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{Operation, channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let reader = spawn(move || rx.recv());
    ///     let newest = 3;
    ///     let permit = tx.reserving().wait().unwrap();
    ///     permit.send(newest).unwrap(); // what is newest when somebody wants it
    ///     assert_eq!(reader.join().unwrap(), Ok(3));
    /// });
    /// ```
    #[track_caller]
    pub fn send(mut self, value: T) -> Result<(), SendError<T>> {
        match self.receiver.take() {
            Some(receiver) => self.core.give_granted(receiver, value, Location::caller()),
            None => Err(SendError { value, why: Halt::Closed }),
        }
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
