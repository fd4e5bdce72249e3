//! How a send and a receive meet: the code that every kind of operation shares.
//!
//! Always: no value of the user is dropped, and no code of the user runs, while the queue is
//! borrowed; whoever completes a partner has put everything in place before it makes it ready.

use super::Prefer;
use super::queue::{Partner, Queue, ReceiveOffer, SendOffer, key};
use super::spot::{Side, Spot};
use crate::kernel::name::TaskletId;
use crate::kernel::running;
use crate::kernel::task::{ChannelFacts, Doing, Facts, Home, Task};
use crate::kernel::trace::{ChannelId, Direction, Event};
use crate::kernel::wait::{self, Wait};
use slab::Slab;
use std::cell::{Cell, RefCell, RefMut};
use std::panic::Location;
use std::rc::{Rc, Weak};

thread_local! {
    /// Channels made on this OS thread.
    static MADE: Cell<u64> = const { Cell::new(0) };
}

/// A channel. What every meeting touches comes first.
#[repr(C)]
pub(super) struct Core<T> {
    pub(super) spot: Spot<T>,
    /// The queue may hold something, so the spot may not be used.
    pub(super) busy: Cell<bool>,
    /// Which end is gone.
    pub(super) no_sender: Cell<bool>,
    pub(super) no_receiver: Cell<bool>,
    pub(super) manners: Cell<Manners>,
    pub(super) id: ChannelId,
    /// Where everybody waits who does not stand in the spot: see [`queue`](Core::queue).
    queue: RefCell<Queue<T>>,
    pub(super) name: RefCell<Option<Rc<str>>>,
    made_at: &'static Location<'static>,
    /// Handles of each end: who made, cloned or last waited with it.
    pub(super) senders: RefCell<Slab<Option<TaskletId>>>,
    pub(super) receivers: RefCell<Slab<Option<TaskletId>>>,
    /// The scheduler whose reports list this channel, and the entry there.
    listed: RefCell<Option<(Rc<Home>, usize)>>,
    me: Weak<Core<T>>,
}

/// Who runs on when two meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manners {
    pub(super) prefer: Prefer,
    /// Both give way, whatever is preferred.
    pub(super) yields: bool,
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
            spot: Spot::default(),
            queue: RefCell::default(),
            busy: Cell::new(false),
            id: ChannelId(id),
            name: RefCell::new(None),
            made_at,
            manners: Cell::new(Manners::default()),
            senders: RefCell::default(),
            receivers: RefCell::default(),
            no_sender: Cell::new(false),
            no_receiver: Cell::new(false),
            listed: RefCell::new(None),
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
        let mut listed = self.listed.borrow_mut();
        if let Some((former, slot)) = &*listed {
            if Rc::ptr_eq(former, home) {
                return;
            }
            former.channels.remove(*slot);
        }
        *listed = Some((home.clone(), home.channels.add(self.me.clone())));
    }

    /// The queue, with everybody in it who waits.
    pub(super) fn queue(&self) -> RefMut<'_, Queue<T>> {
        let mut queue = self.queue.borrow_mut();
        self.busy.set(true);
        if self.spot.side() != Side::Nobody {
            self.spot.move_to(&mut queue);
        }
        queue
    }

    /// Offers to send, under `wait`.
    #[inline(always)]
    pub(super) fn offer_sender(&self, wait: Wait, branch: u32, value: T) {
        if self.spot.side() == Side::Nobody && self.is_quiet() {
            self.spot.put_sender(wait, branch, value);
        } else {
            self.queue().push_sender(SendOffer { wait, branch, value: Some(value) });
        }
    }

    /// Offers to receive, under `wait`.
    #[inline(always)]
    pub(super) fn offer_receiver(&self, wait: Wait, branch: u32) {
        if self.spot.side() == Side::Nobody && self.is_quiet() {
            self.spot.put_receiver(wait, branch);
        } else {
            self.queue().push_receiver(ReceiveOffer { wait, branch, hold: false });
        }
    }

    /// Takes an offer to send back, and its value if it had one and nobody took it.
    #[inline(always)]
    pub(super) fn withdraw_sender(&self, wait: &Wait, branch: u32) -> Option<T> {
        match self.spot.withdraw(wait) {
            Some(value) => value,
            None => self.queue().take_back(&wait.task, branch),
        }
    }

    /// Takes an offer to receive back.
    #[inline(always)]
    pub(super) fn withdraw_receiver(&self, wait: &Wait) {
        if self.spot.withdraw(wait).is_none() && self.busy.get() {
            self.queue().withdraw_receiver(wait);
        }
    }

    /// Whether a receive would not have to wait.
    #[inline(always)]
    pub(super) fn can_take(&self) -> bool {
        match self.spot.side() {
            Side::Sender => self.spot.is_open(),
            Side::Nobody if !self.busy.get() => self.no_sender.get(),
            Side::Nobody | Side::Receiver => self.has_sender(),
        }
    }

    #[inline(never)]
    fn has_sender(&self) -> bool {
        self.queue.borrow().senders.iter().any(|it| it.wait.is_open()) || self.no_sender.get()
    }

    /// Whether a send would not have to wait.
    #[inline(always)]
    pub(super) fn can_give(&self) -> bool {
        match self.spot.side() {
            Side::Receiver => self.spot.is_open(),
            Side::Nobody if !self.busy.get() => self.no_receiver.get(),
            Side::Nobody | Side::Sender => self.has_receiver(),
        }
    }

    #[inline(never)]
    fn has_receiver(&self) -> bool {
        self.queue.borrow().has_receiver() || self.no_receiver.get()
    }

    /// Whether a plain operation may look at the spot only: then nobody waits but who is there.
    #[inline(always)]
    pub(super) fn is_quiet(&self) -> bool {
        if self.busy.get() { self.calm() } else { true }
    }

    /// Goes back to the spot when the queue has become idle.
    #[inline(never)]
    fn calm(&self) -> bool {
        let idle = self.queue.borrow().is_idle();
        self.busy.set(!idle);
        idle
    }

    /// Tells the hooks of an operation that begins, if there are any.
    #[inline(always)]
    pub(super) fn trace(&self, direction: Direction) {
        if running::looks_at_all() {
            self.tell(direction);
        }
    }

    #[cold]
    pub(super) fn tell(&self, direction: Direction) {
        let Some(task) = running::traced() else { return };
        let will_block = match direction {
            Direction::Send => !self.can_give(),
            Direction::Receive => !self.can_take(),
        };
        let (channel, tasklet) = (self.id, Some(task.id()));
        task.home.trace.emit(|| Event::Channel { channel, tasklet, direction, will_block });
    }

    /// Gives `value` to the receiver that has waited longest.
    #[inline(always)]
    pub(super) fn give(&self, value: T) -> Given<T> {
        if self.spot.side() == Side::Receiver {
            match self.spot.meet_receiver(value) {
                Ok((wait, branch)) => {
                    self.complete(wait, branch, Prefer::Receiver);
                    Given::Done
                }
                Err(value) => self.give_queued(value),
            }
        } else if self.spot.side() == Side::Nobody && self.is_quiet() {
            if self.no_receiver.get() { Given::Closed(value) } else { Given::Nobody(value) }
        } else {
            self.give_queued(value)
        }
    }

    #[inline(never)]
    fn give_queued(&self, value: T) -> Given<T> {
        let mut queue = self.queue();
        let Some(offer) = queue.take_receiver() else {
            return if self.no_receiver.get() {
                Given::Closed(value)
            } else {
                Given::Nobody(value)
            };
        };
        let ReceiveOffer { wait, branch, hold } = offer;
        queue.hand(&wait.task, value);
        drop(queue);
        if hold {
            let task = wait.task.clone();
            wait.settle(branch);
            return Given::Held(task);
        }
        self.complete(wait, branch, Prefer::Receiver);
        Given::Done
    }

    /// Settles the wait of the partner, which is the end that `side` prefers.
    #[inline(always)]
    fn complete(&self, partner: Wait, branch: u32, side: Prefer) {
        if self.manners.get() == Manners::default() {
            partner.settle(branch);
        } else {
            self.complete_with_manners(partner, branch, side);
        }
    }

    #[cold]
    fn complete_with_manners(&self, partner: Wait, branch: u32, side: Prefer) {
        let Manners { prefer, yields } = self.manners.get();
        let jump = prefer == side && !yields;
        if jump {
            partner.settle_first(branch);
        } else {
            partner.settle(branch);
        }
        if (jump || yields)
            && let Some(me) = running::current()
        {
            running::give_way(&me);
        }
    }

    /// After a held delivery: waits until `receiver` has accepted (or cannot any more).
    pub(super) fn await_acceptance(&self, receiver: &Rc<Task>, at: &'static Location<'static>) {
        let Ok(me) = running::waiter_here() else { return };
        let wait = Wait::open(me.clone());
        let partner = Partner { task: me.clone(), wait: Some(wait), hold: false };
        self.queue().held.push((key(receiver), partner));
        running::park_committed(&me, Doing::Meeting(self.id), at);
    }

    /// Takes the value of the sender that has waited longest.
    #[inline(always)]
    pub(super) fn take(&self, at: &'static Location<'static>) -> Taken<T> {
        if self.spot.side() == Side::Sender {
            match self.spot.meet_sender() {
                Some((wait, branch, value)) => {
                    self.complete(wait, branch, Prefer::Sender);
                    Taken::Value(value)
                }
                None => self.take_queued(at),
            }
        } else if self.spot.side() == Side::Nobody && self.is_quiet() {
            if self.no_sender.get() { Taken::Closed } else { Taken::Nobody }
        } else {
            self.take_queued(at)
        }
    }

    #[inline(never)]
    fn take_queued(&self, at: &'static Location<'static>) -> Taken<T> {
        let offer = self.queue().take_sender();
        let Some(SendOffer { wait, branch, value }) = offer else {
            return self.take_reserved(false, at);
        };
        self.complete(wait, branch, Prefer::Sender);
        value.map_or(Taken::Nobody, Taken::Value)
    }

    /// [`take`](Self::take) that leaves the sender waiting; the caller completes it.
    pub(super) fn take_holding(&self, at: &'static Location<'static>) -> Taken<HeldValue<T>> {
        let offer = self.queue().take_sender();
        match offer {
            Some(SendOffer { wait, branch, value: Some(value) }) => {
                wait.hold(branch);
                let sender = Partner { task: wait.task, wait: None, hold: false };
                Taken::Value((value, Some(sender)))
            }
            _ => match self.take_reserved(true, at) {
                Taken::Value(value) => {
                    let me = running::current();
                    let sender = me.and_then(|me| self.queue().take_held(&me));
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
        if self.queue().senders.is_empty() {
            return nobody;
        }
        let Ok(me) = running::waiter_here() else { return nobody };
        let Some(offer) = self.queue().find_sender(true) else { return nobody };
        let wait = Wait::open(me.clone());
        let partner = Partner { task: me.clone(), wait: Some(wait), hold };
        self.queue().owed.push((key(&offer.wait.task), partner));
        offer.wait.settle(offer.branch);
        if running::park_committed(&me, Doing::Meeting(self.id), at) == wait::RETRY {
            return Taken::Again;
        }
        let value = self.take_handed(&me);
        value.map_or(Taken::Again, Taken::Value)
    }

    /// Puts `value` where `task` will find it.
    pub(super) fn hand(&self, task: &Rc<Task>, value: T) {
        self.queue().hand(task, value);
    }

    /// What has been delivered to `task`.
    #[inline(always)]
    pub(super) fn take_handed(&self, task: &Rc<Task>) -> Option<T> {
        match self.spot.take_handed(task) {
            None => self.take_handed_queued(task),
            value => value,
        }
    }

    #[inline(never)]
    fn take_handed_queued(&self, task: &Rc<Task>) -> Option<T> {
        self.queue().take_handed(task)
    }

    /// Grants a reservation at once if a receiver waits.
    pub(super) fn reserve(&self) -> Option<Partner> {
        let offer = self.queue().take_receiver()?;
        offer.wait.hold(offer.branch);
        Some(Partner { task: offer.wait.task, wait: None, hold: offer.hold })
    }

    /// Wakes everybody who waits for senders, when the last of them has gone.
    pub(super) fn close_to_receivers(&self) {
        self.no_sender.set(true);
        let offers: Vec<_> = self.queue().receivers.drain().collect();
        for offer in offers {
            offer.wait.settle(wait::CLOSED | offer.branch);
        }
        let queue = self.queue();
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
        let queue = self.queue();
        let waits = queue.senders.iter().map(|it| (it.wait.clone(), it.branch));
        let waits: Vec<_> = waits.collect();
        drop(queue);
        for (wait, branch) in waits {
            wait.settle(wait::CLOSED | branch);
        }
    }

    /// Notes that `task` is about to wait with the handle in this slot.
    #[cold]
    pub(super) fn note_holder(&self, direction: Direction, slot: usize, task: &Rc<Task>)
    where
        T: 'static,
    {
        self.list(&task.home);
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
        let queue = self.queue();
        let senders = queue.senders.iter().filter(|it| it.wait.is_open()).count();
        let receivers = queue.receivers.iter().filter(|it| it.wait.is_open()).count();
        let standing = queue.standing.iter().filter(|(it, _)| it.waiting().is_some()).count();
        senders.cast_signed() - (receivers + standing).cast_signed()
    }

    /// Who waits on either end, first come first.
    pub(super) fn waiters(&self) -> (Vec<TaskletId>, Vec<TaskletId>) {
        let queue = self.queue();
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
        if let Some((home, slot)) = self.listed.take() {
            home.channels.remove(slot);
        }
    }
}
