//! The two ends of a channel. Send and receive stand side by side, in the same words.
//!
//! Always: a handle that exists is counted in its channel; the last one to go closes its end.

use super::arms::{Receiving, Reserving, Sending};
use super::core::{Core, Given, Taken};
use super::held::{self, Held};
use super::iter::Iter;
use crate::error::{Halt, SendError};
use crate::kernel::name::TaskletId;
use crate::kernel::operation::{Patience, perform};
use crate::kernel::running;
use crate::kernel::task::{Doing, Holder, Task};
use crate::kernel::trace::{ChannelId, Direction};
use crate::kernel::wait::{self, Wait};
use crate::time;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The end of a channel that gives values.
///
/// When the last clone is dropped, receivers get [`Halt::Closed`].
pub struct Sender<T: 'static> {
    pub(super) core: Rc<Core<T>>,
    pub(super) slot: usize,
    /// The stamp of the tasklet that is noted as the holder of this handle.
    pub(super) holder: Cell<u64>,
}

/// The end of a channel that takes values.
///
/// When the last clone is dropped, senders get their value back with [`Halt::Closed`]: dropping a
/// receiver is how a reader stops a writer.
pub struct Receiver<T: 'static> {
    pub(super) core: Rc<Core<T>>,
    pub(super) slot: usize,
    /// The stamp of the tasklet that is noted as the holder of this handle.
    pub(super) holder: Cell<u64>,
}

/// The running tasklet, as the maker of a handle.
fn maker() -> Holder {
    Holder { tasklet: running::current().map(|it| it.id()), used: false }
}

impl<T: 'static> Sender<T> {
    pub(super) fn first(core: Rc<Core<T>>) -> Sender<T> {
        let slot = core.senders.borrow_mut().insert(maker());
        Sender { core, slot, holder: Cell::new(u64::MAX) }
    }

    /// Hands `value` to a receiver.
    ///
    /// Waits until one arrives. Exactly one of them gets it; on failure it is in the error.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last receiver is gone, even while waiting; [`Halt::Cancelled`],
    /// [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped; [`Halt::CannotWait`]
    /// when nobody receives and the caller may not wait.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    #[track_caller]
    #[doc(alias = "put")]
    #[inline(always)]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let at = Location::caller();
        if let Err(why) = self.begin(true) {
            return Err(SendError { value, why });
        }
        match self.core.give(value) {
            Given::Done => Ok(()),
            Given::Held(receiver) => {
                self.core.await_acceptance(&receiver, at);
                Ok(())
            }
            Given::Closed(value) => Err(SendError { value, why: Halt::Closed }),
            Given::Nobody(value) => self.send_parked(value, at),
        }
    }

    #[inline(always)]
    fn send_parked(&self, value: T, at: &'static Location<'static>) -> Result<(), SendError<T>> {
        let task = match running::waiter() {
            Ok(task) => task,
            Err(why) => return Err(SendError { value, why }),
        };
        let core = &*self.core;
        core.offer_sender(Wait::open(task.clone()), 0, value);
        match running::park(&task, Doing::Sending(core.id), at) {
            0 => Ok(()),
            // Taken, and never released by the receiver's guard.
            wait::RETRY => Ok(()),
            outcome => Err(self.send_stopped(&task, outcome)),
        }
    }

    #[cold]
    fn send_stopped(&self, task: &Rc<Task>, outcome: u32) -> SendError<T> {
        let value = self.core.queue().take_back(task, 0);
        let value = value.expect("a stopped sender's value is still in its channel");
        let why = match outcome {
            wait::CLOSED => Halt::Closed,
            outcome => running::halt_of(task, outcome).unwrap_or(Halt::Cancelled),
        };
        SendError { value, why }
    }

    /// Hands `value` to a receiver if one waits now.
    ///
    /// Never waits for one to come. `Ok(Some(value))` gives the value back: nobody waits.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last receiver is gone.
    ///
    /// ```
    /// use tasklets::{channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     assert_eq!(tx.try_send(1), Ok(Some(1)));
    ///     let reader = spawn(move || rx.recv());
    ///     yield_now();
    ///     assert_eq!(tx.try_send(2), Ok(None));
    ///     assert_eq!(reader.join().unwrap(), Ok(2));
    /// });
    /// ```
    #[track_caller]
    #[doc(alias("signal", "put_nowait"))]
    pub fn try_send(&self, value: T) -> Result<Option<T>, SendError<T>> {
        let at = Location::caller();
        if let Err(why) = self.begin(false) {
            return Err(SendError { value, why });
        }
        match self.core.give(value) {
            Given::Done => Ok(None),
            Given::Held(receiver) => {
                self.core.await_acceptance(&receiver, at);
                Ok(None)
            }
            Given::Closed(value) => Err(SendError { value, why: Halt::Closed }),
            Given::Nobody(value) => Ok(Some(value)),
        }
    }

    /// [`send`](Self::send) that gives up after `delay`.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Halt::TimedOut`] when the time is over.
    #[track_caller]
    pub fn send_timeout(&self, value: T, delay: Duration) -> Result<(), SendError<T>> {
        self.send_until(value, time::after_now(delay), Location::caller())
    }

    /// [`send`](Self::send) that gives up at `deadline`.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Halt::TimedOut`] when the time has come.
    #[track_caller]
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.send_until(value, time::nanos(deadline), Location::caller())
    }

    fn send_until(
        &self,
        value: T,
        at: u64,
        place: &'static Location<'static>,
    ) -> Result<(), SendError<T>> {
        let mut sending = self.sending(value);
        match perform(&mut [&mut sending], Patience::Until(at), true, place) {
            Some(_) => sending.into_result(),
            None => Err(SendError { value: sending.into_value(), why: Halt::TimedOut }),
        }
    }

    /// Sends every item of `items`, in order; tells how many.
    ///
    /// Waits like [`send`](Self::send) for each.
    ///
    /// # Errors
    /// As [`send`](Self::send), with the first item that was not sent; the rest is not asked for.
    #[track_caller]
    #[doc(alias = "send_sequence")]
    pub fn send_all(&self, items: impl IntoIterator<Item = T>) -> Result<usize, SendError<T>> {
        let mut sent = 0;
        for item in items {
            self.send(item)?;
            sent += 1;
        }
        Ok(sent)
    }

    /// The operation of [`send`](Self::send), to be combined with others.
    pub fn sending(&self, value: T) -> Sending<'_, T> {
        Sending::new(self, value)
    }

    /// The operation of winning a receiver before the value is made.
    ///
    /// ```
    /// use tasklets::{Operation, channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let reader = spawn(move || rx.recv());
    ///     let permit = tx.reserving().wait().unwrap(); // somebody wants it
    ///     permit.send("made to order").unwrap();
    ///     assert_eq!(reader.join().unwrap(), Ok("made to order"));
    /// });
    /// ```
    ///
    /// Its outcome is a [`Permit`](super::Permit); dropping that lets the receiver wait again.
    /// `select!` uses it, so that an arm's expression is evaluated only if the arm is taken.
    pub fn reserving(&self) -> Reserving<'_, T> {
        Reserving::new(self)
    }

    /// Whether `other` is an end of the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.core, &other.core)
    }
}

impl<T: 'static> Receiver<T> {
    pub(super) fn first(core: Rc<Core<T>>) -> Receiver<T> {
        let slot = core.receivers.borrow_mut().insert(maker());
        Receiver { core, slot, holder: Cell::new(u64::MAX) }
    }

    /// Takes a value from a sender.
    ///
    /// Waits until one arrives.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last sender is gone, even while waiting; [`Halt::Cancelled`],
    /// [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped; [`Halt::CannotWait`]
    /// when nobody sends and the caller may not wait.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{Halt, channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send_all(["one", "two"]));
    ///     assert_eq!((rx.recv(), rx.recv()), (Ok("one"), Ok("two")));
    ///     assert_eq!(rx.recv(), Err(Halt::Closed)); // the sender has ended, and its end with it
    /// });
    /// ```
    #[track_caller]
    #[doc(alias("receive", "get"))]
    #[inline(always)]
    pub fn recv(&self) -> Result<T, Halt> {
        let at = Location::caller();
        loop {
            self.begin(true)?;
            match self.core.take(at) {
                Taken::Value(value) => return Ok(value),
                Taken::Closed => return Err(Halt::Closed),
                Taken::Again => continue,
                Taken::Nobody => {}
            }
            if let Some(value) = self.recv_parked(at)? {
                return Ok(value);
            }
        }
    }

    /// `None`: the partner went away again.
    #[inline(always)]
    fn recv_parked(&self, at: &'static Location<'static>) -> Result<Option<T>, Halt> {
        let task = running::waiter()?;
        let core = &*self.core;
        core.offer_receiver(Wait::open(task.clone()), 0);
        match running::park(&task, Doing::Receiving(core.id), at) {
            0 => Ok(core.take_handed(&task)),
            wait::CLOSED => Err(Halt::Closed),
            outcome => self.recv_stopped(&task, outcome),
        }
    }

    #[cold]
    fn recv_stopped(&self, task: &Rc<Task>, outcome: u32) -> Result<Option<T>, Halt> {
        self.core.queue().forget_receiver(task);
        running::halt_of(task, outcome).map_or(Ok(None), Err)
    }

    /// Takes a value if a sender waits now.
    ///
    /// Never waits for one to come (a sender that has yet to make its value, in a `select!`, is
    /// given time to do so). `Ok(None)`: nobody waits.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the last sender is gone.
    #[track_caller]
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<Option<T>, Halt> {
        let at = Location::caller();
        loop {
            self.begin(false)?;
            match self.core.take(at) {
                Taken::Value(value) => return Ok(Some(value)),
                Taken::Closed => return Err(Halt::Closed),
                Taken::Again => {}
                Taken::Nobody => return Ok(None),
            }
        }
    }

    /// [`recv`](Self::recv) that gives up after `delay`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`Halt::TimedOut`] when the time is over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, Never, channel, run};
    /// run(|| {
    ///     let (_tx, rx) = channel::<Never>();
    ///     assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(Halt::TimedOut));
    /// });
    /// ```
    #[track_caller]
    pub fn recv_timeout(&self, delay: Duration) -> Result<T, Halt> {
        self.recv_until(time::after_now(delay), Location::caller())
    }

    /// [`recv`](Self::recv) that gives up at `deadline`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`Halt::TimedOut`] when the time has come.
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, Halt> {
        self.recv_until(time::nanos(deadline), Location::caller())
    }

    fn recv_until(&self, at: u64, place: &'static Location<'static>) -> Result<T, Halt> {
        let mut receiving = self.receiving();
        match perform(&mut [&mut receiving], Patience::Until(at), true, place) {
            Some(_) => receiving.into_result(),
            None => Err(Halt::TimedOut),
        }
    }

    /// Takes a value and keeps its sender waiting until the guard is accepted or dropped.
    ///
    /// The extended rendezvous of occam-pi: what happens in between happens, for the sender,
    /// during its `send`. Waits and fails like [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// ```
    /// use tasklets::{channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let sender = spawn(move || tx.send(7));
    ///     let held = rx.recv_held().unwrap();
    ///     yield_now();
    ///     assert!(!sender.is_finished());
    ///     assert_eq!(held.accept(), 7);
    ///     sender.join().unwrap().unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn recv_held(&self) -> Result<Held<T>, Halt> {
        held::receive(self, Location::caller())
    }

    /// Receives until the senders are gone (or the tasklet is stopped), borrowing the receiver.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The operation of [`recv`](Self::recv), to be combined with others.
    pub fn receiving(&self) -> Receiving<'_, T> {
        Receiving::new(self)
    }

    /// Whether `other` is an end of the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Rc::ptr_eq(&self.core, &other.core)
    }
}

/// Methods that both ends have.
macro_rules! both_ends {
    ($end:ident, $handles:ident, $gone:ident, $close:ident, $title:literal, $direction:ident) => {
        impl<T: 'static> $end<T> {
            /// What an operation does first: see [`running::gate`].
            #[inline(always)]
            fn begin(&self, may_wait: bool) -> Result<(), Halt> {
                if running::passes(self.holder.get()) {
                    return Ok(());
                }
                self.begin_watched(may_wait)
            }

            #[cold]
            #[inline(never)]
            fn begin_watched(&self, may_wait: bool) -> Result<(), Halt> {
                self.note_holder();
                if running::gate(may_wait)? {
                    self.core.tell(Direction::$direction);
                }
                Ok(())
            }

            /// Notes that the running tasklet uses this handle.
            #[inline(always)]
            pub(super) fn note_holder(&self) {
                let stamp = running::stamp();
                if self.holder.get() != stamp {
                    self.holder.set(stamp);
                    self.core.note_holder(Direction::$direction, self.slot);
                }
            }

            /// Waiting senders, or minus the waiting receivers; 0 when nobody waits.
            ///
            /// What it tells depends on the schedule: for tests and monitors.
            #[doc(alias = "len")]
            pub fn balance(&self) -> isize {
                self.core.balance()
            }

            /// Who waits: senders and receivers, in the order in which they came.
            #[doc(alias = "queue")]
            pub fn waiters(&self) -> (Vec<TaskletId>, Vec<TaskletId>) {
                self.core.waiters()
            }

            /// Whether every handle of the other end is gone.
            #[doc(alias = "closing")]
            pub fn is_closed(&self) -> bool {
                self.core.$gone.get()
            }

            /// The channel's identity, the same for both ends.
            pub fn id(&self) -> ChannelId {
                self.core.id
            }

            /// The channel's name, as reports show it.
            pub fn name(&self) -> Option<Rc<str>> {
                self.core.name.borrow().clone()
            }

            /// Names the channel in reports.
            pub fn set_name(&self, name: impl Into<Rc<str>>) {
                let former = self.core.name.replace(Some(name.into()));
                drop(former);
            }
        }

        impl<T: 'static> Clone for $end<T> {
            fn clone(&self) -> $end<T> {
                $end::first(self.core.clone())
            }
        }

        impl<T: 'static> Drop for $end<T> {
            fn drop(&mut self) {
                let mut handles = self.core.$handles.borrow_mut();
                handles.try_remove(self.slot);
                let last = handles.is_empty();
                drop(handles);
                if last {
                    self.core.$close();
                }
            }
        }

        impl<T: 'static> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut out = f.debug_struct($title);
                out.field("id", &self.core.id.0);
                if let Some(name) = self.name() {
                    out.field("name", &name);
                }
                out.field("balance", &self.balance()).finish_non_exhaustive()
            }
        }
    };
}

both_ends!(Sender, senders, no_receiver, close_to_receivers, "Sender", Send);
both_ends!(Receiver, receivers, no_sender, close_to_senders, "Receiver", Receive);
