//! How a send and a receive meet: the code that every kind of operation shares.
//!
//! Always: no value of the user is dropped, and no code of the user runs, while the queue is
//! borrowed; whoever completes a partner has put everything in place before it makes it ready.

use super::Prefer;
use super::head::{Head, Side, mark};
use super::line::Line;
use super::queue::{Partner, Queue, ReceiveOffer, SendOffer, key};
use super::spot::Spot;
use crate::kernel::announce;
use crate::kernel::running;
use crate::kernel::task::{Doing, Holder, Home, PartnerId, Task};
use crate::kernel::trace::{ChannelId, Direction, Event};
use crate::kernel::wait::{self, Wait};
use slab::Slab;
use std::cell::{Cell, RefCell, RefMut};
use std::panic::Location;
use std::rc::{Rc, Weak};

/// A channel. What every meeting touches comes first.
#[repr(C)]
pub(super) struct Core<T> {
    pub(super) spot: Spot<T>,
    manners: Cell<Manners>,
    /// `manners` are not the default.
    mannered: Cell<bool>,
    pub(super) id: ChannelId,
    /// Where everybody waits who does not stand in the spot: see [`queue`](Core::queue).
    queue: RefCell<Queue<T>>,
    /// What reused selects have received and not given out yet, by ticket.
    pub(super) granted: RefCell<Line<(u64, T)>>,
    pub(super) name: RefCell<Option<Rc<str>>>,
    pub(super) made_at: &'static Location<'static>,
    /// Handles of each end: who made, cloned or last used it.
    pub(super) senders: RefCell<Slab<Holder>>,
    pub(super) receivers: RefCell<Slab<Holder>>,
    /// The scheduler whose reports list this channel, and the entry there.
    pub(super) listed: RefCell<Option<(Rc<Home>, usize)>>,
    pub(super) me: Weak<Core<T>>,
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
        let core = Rc::new_cyclic(|me| Core {
            spot: Spot::default(),
            queue: RefCell::default(),
            id: ChannelId::next(),
            granted: RefCell::default(),
            name: RefCell::new(None),
            made_at,
            manners: Cell::new(Manners::default()),
            mannered: Cell::new(false),
            senders: RefCell::default(),
            receivers: RefCell::default(),
            listed: RefCell::new(None),
            me: me.clone(),
        });
        if let Some(task) = running::current() {
            core.list(&task.home);
            announce::made(&task, core.id, size_of::<T>() == 0, made_at);
        }
        core
    }

    #[inline(always)]
    pub(super) fn head(&self) -> &Head {
        &self.spot.head
    }

    pub(super) fn no_sender(&self) -> bool {
        self.head().has(mark::NO_SENDER)
    }

    pub(super) fn no_receiver(&self) -> bool {
        self.head().no_receiver.get()
    }

    /// The queue, with everybody in it who waits.
    pub(super) fn queue(&self) -> RefMut<'_, Queue<T>> {
        let mut queue = self.queue.borrow_mut();
        self.head().set(mark::BUSY, true);
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
            self.offer_sender_late(wait, branch, value);
        }
    }

    #[inline(never)]
    fn offer_sender_late(&self, wait: Wait, branch: u32, value: T) {
        if self.head().is_watched() {
            self.spot.put_sender(wait, branch, value);
            self.queue.borrow().heat();
        } else {
            self.queue().push_sender(SendOffer { wait, branch, value: Some(value) });
        }
    }

    /// Offers to receive, under `wait`.
    #[inline(always)]
    pub(super) fn offer_receiver(&self, wait: Wait, branch: u32) {
        if self.spot.side() == Side::Nobody && self.is_quiet() {
            self.head().put_receiver(wait, branch);
        } else {
            self.offer_receiver_late(wait, branch);
        }
    }

    #[inline(never)]
    fn offer_receiver_late(&self, wait: Wait, branch: u32) {
        if self.head().clear_receiver() {
            self.head().put_receiver(wait, branch);
        } else {
            self.queue().push_receiver(ReceiveOffer { wait, branch, hold: false });
        }
    }

    /// Takes an offer to receive back, whose wait is over; in the spot it stays, for the next one.
    #[inline]
    pub(super) fn withdraw_receiver(&self, wait: &Wait) {
        if self.head().has(mark::BUSY) {
            self.withdraw_queued(wait);
        }
    }

    #[inline(never)]
    fn withdraw_queued(&self, wait: &Wait) {
        self.queue().withdraw_receiver(wait);
    }

    /// Whether a receive would not have to wait.
    #[inline(always)]
    pub(super) fn can_take(&self) -> bool {
        match self.spot.side() {
            Side::Sender => self.head().is_open(),
            Side::Nobody | Side::Receiver if !self.head().has(mark::BUSY) => self.no_sender(),
            Side::Nobody | Side::Receiver => self.has_sender(),
        }
    }

    #[inline(never)]
    fn has_sender(&self) -> bool {
        self.queue.borrow().senders.iter().any(|it| it.wait.is_open()) || self.no_sender()
    }

    /// Whether a send would not have to wait.
    #[inline(always)]
    pub(super) fn can_give(&self) -> bool {
        match self.spot.side() {
            Side::Receiver => self.head().is_open() || self.no_receiver(),
            Side::Nobody if !self.head().has(mark::BUSY | mark::WATCHED) => self.no_receiver(),
            Side::Nobody | Side::Sender => self.has_receiver(),
        }
    }

    #[inline(never)]
    fn has_receiver(&self) -> bool {
        self.queue.borrow().has_receiver() || self.no_receiver()
    }

    /// Whether a plain operation may look at the spot only: then nobody waits but who is there.
    #[inline(always)]
    pub(super) fn is_quiet(&self) -> bool {
        if self.head().has(mark::BUSY | mark::WATCHED) { self.calm() } else { true }
    }

    /// Goes back to the spot when the queue has become idle; tells whether that is all there is.
    #[inline(never)]
    pub(super) fn calm(&self) -> bool {
        if self.head().has(mark::BUSY) {
            let queue = self.queue.borrow();
            let standing = queue.standing.len();
            let idle = queue.is_idle();
            self.head().set(mark::WATCHED, standing == 1);
            self.head().set(mark::BUSY, !idle || standing > 1);
        }
        !self.head().has(mark::BUSY | mark::WATCHED)
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
                Err(value) => self.give_late(value),
            }
        } else if self.spot.side() == Side::Nobody && self.is_quiet() {
            if self.no_receiver() { Given::Closed(value) } else { Given::Nobody(value) }
        } else {
            self.give_queued(value)
        }
    }

    /// [`give`](Self::give) where the receiver in the spot cannot be met there.
    #[inline(never)]
    fn give_late(&self, value: T) -> Given<T> {
        if !self.head().clear_receiver() {
            return self.give_queued(value);
        }
        if self.no_receiver() { Given::Closed(value) } else { Given::Nobody(value) }
    }

    #[inline(never)]
    fn give_queued(&self, value: T) -> Given<T> {
        if self.head().is_watched() && self.head().handed_to.get() == 0 {
            return self.give_watched(value);
        }
        let mut queue = self.queue();
        let Some(offer) = queue.take_receiver() else {
            return if self.no_receiver() { Given::Closed(value) } else { Given::Nobody(value) };
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

    /// [`give`](Self::give) where nobody waits but a reused select, if that does.
    fn give_watched(&self, value: T) -> Given<T> {
        let Some((wait, arm)) = self.queue.borrow().lone_watch() else {
            let gone = self.no_receiver();
            return if gone { Given::Closed(value) } else { Given::Nobody(value) };
        };
        self.spot.hand(&wait.task, value);
        self.complete(wait, arm, Prefer::Receiver);
        Given::Done
    }

    pub(super) fn set_manners(&self, manners: Manners) {
        self.manners.set(manners);
        self.mannered.set(manners != Manners::default());
    }

    /// Settles the wait of the partner, which is the end that `side` prefers.
    #[inline(always)]
    fn complete(&self, partner: Wait, branch: u32, side: Prefer) {
        if self.mannered.get() {
            self.complete_with_manners(partner, branch, side);
        } else {
            partner.settle(branch);
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

    /// Lets a receiver go on whose value has been handed, by the channel's preference.
    pub(super) fn release_receiver(&self, receiver: Partner) {
        let Manners { prefer, yields } = self.manners.get();
        let jump = prefer == Prefer::Receiver && !yields;
        receiver.release(jump);
        if (jump || yields)
            && let Some(me) = running::current()
        {
            running::give_way(&me);
        }
    }

    /// After a held delivery: waits until `receiver` has accepted (or cannot any more).
    pub(super) fn await_acceptance(&self, receiver: &Rc<Task>, at: &'static Location<'static>) {
        let Ok(me) = running::waiter_here(at) else { return };
        let wait = Wait::open(me.clone());
        let partner = Partner { wait, hold: false };
        self.queue().held.push((key(receiver), partner));
        let doing = Doing::Meeting(self.id, PartnerId::of(receiver));
        running::park_committed(&me, doing, at);
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
        } else if self.is_quiet() {
            if self.no_sender() { Taken::Closed } else { Taken::Nobody }
        } else {
            self.take_queued(at)
        }
    }

    #[inline(never)]
    fn take_queued(&self, at: &'static Location<'static>) -> Taken<T> {
        if self.head().is_watched() {
            return self.nobody();
        }
        let first = self.queue().pop_sender();
        if let Some((wait, branch, value)) = first {
            self.complete(wait, branch, Prefer::Sender);
            return Taken::Value(value);
        }
        match self.take_offer() {
            Some((SendOffer { wait, branch, value: Some(value) }, _)) => {
                self.complete(wait, branch, Prefer::Sender);
                Taken::Value(value)
            }
            Some((reservation, Some(me))) => self.meet_reserved(reservation, &me, false, at),
            Some((_, None)) | None => self.nobody(),
        }
    }

    /// Takes the oldest offer to send; one without a value only if the caller, who is then
    /// returned too, may wait for it.
    fn take_offer(&self) -> Option<(SendOffer<T>, Option<Rc<Task>>)> {
        let me = running::may_wait();
        let offer = self.queue().find_sender(me.is_some())?;
        Some((offer, me))
    }

    fn nobody<V>(&self) -> Taken<V> {
        if self.no_sender() { Taken::Closed } else { Taken::Nobody }
    }

    /// [`take`](Self::take) that leaves the sender waiting; the caller completes it.
    pub(super) fn take_holding(&self, at: &'static Location<'static>) -> Taken<HeldValue<T>> {
        match self.take_offer() {
            Some((SendOffer { wait, branch, value: Some(value) }, _)) => {
                wait.hold(branch);
                self.note_meeting(&wait.task);
                let sender = Partner { wait, hold: false };
                Taken::Value((value, Some(sender)))
            }
            Some((reservation, Some(me))) => match self.meet_reserved(reservation, &me, true, at) {
                Taken::Value(value) => Taken::Value((value, self.queue().take_held(&me))),
                Taken::Again | Taken::Nobody | Taken::Closed => Taken::Again,
            },
            Some((_, None)) | None => self.nobody(),
        }
    }

    /// Meets a sender that has only reserved, and waits until it has made its value.
    fn meet_reserved(
        &self,
        offer: SendOffer<T>,
        me: &Rc<Task>,
        hold: bool,
        at: &'static Location<'static>,
    ) -> Taken<T> {
        let wait = Wait::open(me.clone());
        let partner = Partner { wait, hold };
        self.queue().owed.push((key(&offer.wait.task), partner));
        let doing = Doing::Meeting(self.id, PartnerId::of(&offer.wait.task));
        offer.wait.settle(offer.branch);
        if running::park_committed(me, doing, at) == wait::RETRY {
            return Taken::Again;
        }
        self.take_handed(me).map_or(Taken::Again, Taken::Value)
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
        self.note_meeting(&offer.wait.task);
        Some(Partner { wait: offer.wait, hold: offer.hold })
    }

    /// Tells reports that `partner`, who waits, has met the running tasklet.
    fn note_meeting(&self, partner: &Task) {
        if let Some(me) = running::current() {
            partner.doing.set(Doing::Meeting(self.id, PartnerId::of(&me)));
        }
    }
}
