//! How a send and a receive meet: the code that every kind of operation shares.
//!
//! Always: no value of the user is dropped, and no code of the user runs, while the queue is
//! borrowed; whoever completes a partner has put everything in place before it makes it ready.

use super::Prefer;
use super::queue::{Partner, Queue, ReceiveOffer, SendOffer, key};
use crate::kernel::name::TaskletId;
use crate::kernel::running;
use crate::kernel::task::{ChannelFacts, Doing, Facts, Home, Task};
use crate::kernel::trace::{ChannelId, Direction, Event};
use crate::kernel::wait::{self, Wait};
use slab::Slab;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::Location;
use std::rc::{Rc, Weak};

thread_local! {
    /// Channels made on this OS thread.
    static MADE: Cell<u64> = const { Cell::new(0) };
}

pub(super) struct Core<T> {
    pub(super) queue: RefCell<Queue<T>>,
    pub(super) id: ChannelId,
    pub(super) name: RefCell<Option<Rc<str>>>,
    made_at: &'static Location<'static>,
    pub(super) prefer: Cell<Prefer>,
    pub(super) yields: Cell<bool>,
    /// Handles of each end: who made, cloned or last waited with it.
    pub(super) senders: RefCell<Slab<Option<TaskletId>>>,
    pub(super) receivers: RefCell<Slab<Option<TaskletId>>>,
    /// Which end is gone.
    pub(super) no_sender: Cell<bool>,
    pub(super) no_receiver: Cell<bool>,
    /// The scheduler whose reports list this channel, and the entry there.
    listed: OnceCell<(Rc<Home>, usize)>,
    me: Weak<Core<T>>,
}

/// What came of an attempt to send.
pub(super) enum Given<T> {
    Done,
    /// The receiver has it but holds the sender until it accepts.
    Held(Rc<Task>),
    Closed(T),
    Nobody(T),
}

/// What came of an attempt to receive.
pub(super) enum Taken<T> {
    Value(T),
    /// The partner went away again; look once more.
    Again,
    Closed,
    Nobody,
}

/// Receives it, and whose sender waits until it is accepted.
pub(super) type HeldValue<T> = (T, Option<Partner>);

impl<T> Core<T> {
    pub(super) fn new(made_at: &'static Location<'static>) -> Rc<Core<T>>
    where
        T: 'static,
    {
        let id = MADE.with(|it| it.replace(it.get() + 1));
        let core = Rc::new_cyclic(|me| Core {
            queue: RefCell::default(),
            id: ChannelId(id),
            name: RefCell::new(None),
            made_at,
            prefer: Cell::new(Prefer::Neither),
            yields: Cell::new(false),
            senders: RefCell::default(),
            receivers: RefCell::default(),
            no_sender: Cell::new(false),
            no_receiver: Cell::new(false),
            listed: OnceCell::new(),
            me: me.clone(),
        });
        if let Some(task) = running::current() {
            core.list(&task.home);
        }
        core
    }

    /// Lets the reports of this scheduler know of the channel.
    fn list(&self, home: &Rc<Home>)
    where
        T: 'static,
    {
        self.listed.get_or_init(|| (home.clone(), home.channels.add(self.me.clone())));
    }

    /// Tells the hooks of an operation that begins.
    #[inline]
    pub(super) fn trace(&self, direction: Direction) {
        let Some(task) = running::traced() else { return };
        let will_block = match direction {
            Direction::Send => !self.queue.borrow().has_receiver() && !self.no_receiver.get(),
            Direction::Receive => {
                let waits = self.queue.borrow().senders.iter().any(|it| it.wait.is_open());
                !waits && !self.no_sender.get()
            }
        };
        let (channel, tasklet) = (self.id, Some(task.id()));
        task.home.trace.emit(|| Event::Channel { channel, tasklet, direction, will_block });
    }

    /// Gives `value` to the receiver that has waited longest.
    #[inline]
    pub(super) fn give(&self, value: T) -> Given<T> {
        let mut queue = self.queue.borrow_mut();
        let Some(offer) = queue.take_receiver() else {
            return if self.no_receiver.get() {
                Given::Closed(value)
            } else {
                Given::Nobody(value)
            };
        };
        let ReceiveOffer { wait, branch, hold } = offer;
        queue.handed.push_back((key(&wait.task), value));
        drop(queue);
        if hold {
            let task = wait.task.clone();
            wait.settle(branch);
            return Given::Held(task);
        }
        wait.settle(branch);
        if self.prefer.get() == Prefer::Receiver || self.yields.get() {
            self.let_partner_run();
        }
        Given::Done
    }

    /// Carries out the channel's preference: the partner is the newest in the ready queue.
    #[cold]
    fn let_partner_run(&self) {
        if let Some(me) = running::current() {
            if self.yields.get() {
                running::give_way(&me);
            } else {
                running::give_way_to_newest(&me);
            }
        }
    }

    /// After a held delivery: waits until `receiver` has accepted (or cannot any more).
    pub(super) fn await_acceptance(&self, receiver: &Rc<Task>, at: &'static Location<'static>) {
        let Ok(me) = running::waiter() else { return };
        let wait = Wait::open(me.clone());
        let partner = Partner { task: me.clone(), wait: Some(wait), hold: false };
        self.queue.borrow_mut().held.push((key(receiver), partner));
        running::park_committed(&me, Doing::Meeting(self.id), at);
    }

    /// Takes the value of the sender that has waited longest.
    #[inline]
    pub(super) fn take(&self, at: &'static Location<'static>) -> Taken<T> {
        let mut queue = self.queue.borrow_mut();
        let Some(offer) = queue.take_sender(false) else {
            drop(queue);
            return self.take_reserved(false, at);
        };
        drop(queue);
        let SendOffer { wait, branch, value } = offer;
        wait.settle(branch);
        if self.prefer.get() == Prefer::Sender || self.yields.get() {
            self.let_partner_run();
        }
        value.map_or(Taken::Nobody, Taken::Value)
    }

    /// [`take`](Self::take) that leaves the sender waiting; the caller completes it.
    pub(super) fn take_holding(&self, at: &'static Location<'static>) -> Taken<HeldValue<T>> {
        let offer = self.queue.borrow_mut().take_sender(false);
        match offer {
            Some(SendOffer { wait, branch, value: Some(value) }) => {
                wait.decide(branch);
                let sender = Partner { task: wait.task, wait: None, hold: false };
                Taken::Value((value, Some(sender)))
            }
            _ => match self.take_reserved(true, at) {
                Taken::Value(value) => {
                    let me = running::current();
                    let sender = me.and_then(|me| self.queue.borrow_mut().take_held(&me));
                    Taken::Value((value, sender))
                }
                Taken::Again => Taken::Again,
                Taken::Closed => Taken::Closed,
                Taken::Nobody => Taken::Nobody,
            },
        }
    }

    /// Meets a sender that has only reserved, and waits until it has made its value.
    fn take_reserved(&self, hold: bool, at: &'static Location<'static>) -> Taken<T> {
        let nobody = if self.no_sender.get() { Taken::Closed } else { Taken::Nobody };
        if self.queue.borrow().senders.is_empty() {
            return nobody;
        }
        let Ok(me) = running::waiter() else { return nobody };
        let Some(offer) = self.queue.borrow_mut().take_sender(true) else { return nobody };
        let wait = Wait::open(me.clone());
        let partner = Partner { task: me.clone(), wait: Some(wait), hold };
        self.queue.borrow_mut().owed.push((key(&offer.wait.task), partner));
        offer.wait.settle(offer.branch);
        if running::park_committed(&me, Doing::Meeting(self.id), at) == wait::RETRY {
            return Taken::Again;
        }
        let value = self.queue.borrow_mut().take_handed(&me);
        value.map_or(Taken::Again, Taken::Value)
    }

    /// Puts `value` where `task` will find it.
    pub(super) fn hand(&self, task: &Rc<Task>, value: T) {
        self.queue.borrow_mut().handed.push_back((key(task), value));
    }

    /// What has been delivered to `task`.
    #[inline]
    pub(super) fn take_handed(&self, task: &Rc<Task>) -> Option<T> {
        self.queue.borrow_mut().take_handed(task)
    }

    /// Grants a reservation at once if a receiver waits.
    pub(super) fn reserve(&self) -> Option<Partner> {
        let offer = self.queue.borrow_mut().take_receiver()?;
        offer.wait.decide(offer.branch);
        Some(Partner { task: offer.wait.task, wait: None, hold: offer.hold })
    }

    /// Wakes everybody who waits for senders, when the last of them has gone.
    pub(super) fn close_to_receivers(&self) {
        self.no_sender.set(true);
        let offers = std::mem::take(&mut self.queue.borrow_mut().receivers);
        for offer in offers {
            offer.wait.settle(wait::CLOSED | offer.branch);
        }
        let queue = self.queue.borrow();
        queue.heat();
        for (select, arm) in &queue.standing {
            if let Some(wait) = select.waiting() {
                wait.settle(wait::CLOSED | arm);
            }
        }
    }

    /// Wakes everybody who waits for receivers, when the last of them has gone.
    pub(super) fn close_to_senders(&self) {
        self.no_receiver.set(true);
        let queue = self.queue.borrow();
        let waits = queue.senders.iter().map(|it| (it.wait.clone(), it.branch));
        let waits: Vec<_> = waits.collect();
        drop(queue);
        for (wait, branch) in waits {
            wait.settle(wait::CLOSED | branch);
        }
    }

    /// Notes that the running tasklet waits with this handle.
    #[inline]
    pub(super) fn note_holder(&self, direction: Direction, slot: usize, task: &Rc<Task>)
    where
        T: 'static,
    {
        if self.listed.get().is_none() {
            self.list(&task.home);
        }
        let handles = match direction {
            Direction::Send => &self.senders,
            Direction::Receive => &self.receivers,
        };
        if let Some(holder) = handles.borrow_mut().get_mut(slot) {
            *holder = Some(task.id());
        }
    }

    /// Waiting senders less waiting receivers.
    pub(super) fn balance(&self) -> isize {
        let queue = self.queue.borrow();
        let senders = queue.senders.iter().filter(|it| it.wait.is_open()).count();
        let receivers = queue.receivers.iter().filter(|it| it.wait.is_open()).count();
        let standing = queue.standing.iter().filter(|(it, _)| it.waiting().is_some()).count();
        senders.cast_signed() - (receivers + standing).cast_signed()
    }

    /// Who waits on either end, first come first.
    pub(super) fn waiters(&self) -> (Vec<TaskletId>, Vec<TaskletId>) {
        let queue = self.queue.borrow();
        let senders = queue.senders.iter().map(|it| &it.wait).filter(|it| it.is_open());
        let senders = senders.map(|it| it.task.id()).collect();
        let plain = queue.receivers.iter().map(|it| it.wait.clone()).filter(Wait::is_open);
        let standing = queue.standing.iter().filter_map(|(it, _)| it.waiting());
        let mut receivers: Vec<_> = plain.chain(standing).map(|it| it.task).collect();
        receivers.sort_by_key(|it| it.arrived.get());
        (senders, receivers.iter().map(|it| it.id()).collect())
    }
}

impl<T> Facts for Core<T> {
    fn tell(&self, report: &mut dyn FnMut(ChannelFacts)) {
        let (senders_waiting, receivers_waiting) = self.waiters();
        let holders = |handles: &RefCell<Slab<Option<TaskletId>>>| {
            handles.borrow().iter().map(|(_, it)| *it).collect::<Vec<_>>()
        };
        report(ChannelFacts {
            id: self.id,
            name: self.name.borrow().clone(),
            made_at: self.made_at,
            senders_waiting,
            receivers_waiting,
            sender_holders: holders(&self.senders),
            receiver_holders: holders(&self.receivers),
        });
    }
}

impl<T> Drop for Core<T> {
    fn drop(&mut self) {
        if let Some((home, slot)) = self.listed.get() {
            home.channels.remove(*slot);
        }
    }
}
