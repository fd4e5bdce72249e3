//! How a send and a receive on different OS threads meet: under the lock of their channel.
//!
//! Always: the lock is held for a few steps, in which no code of the user runs and no value of the
//! user is dropped; no two locks are held at once. A partner is won by its claim and woken after
//! the lock is released, with everything in place. Of two who could meet, the one that is published
//! second sees the other: it then publishes nothing and looks again.
//! Offer: `Open -> Taken` by a partner, `Open -> Withdrawn` by its own side.

use crate::kernel::claim::Ticket;
use crate::kernel::scheduler;
use crate::kernel::trace::ChannelId;
use crate::kernel::wait;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A channel between OS threads.
pub(super) struct Core<T> {
    lines: Mutex<Lines<T>>,
    /// How many stand in line, to be seen without the lock: a hint.
    senders_waiting: AtomicUsize,
    receivers_waiting: AtomicUsize,
    /// Which end is gone; written under the lock.
    pub(super) no_sender: AtomicBool,
    pub(super) no_receiver: AtomicBool,
    /// Handles of each end.
    pub(super) senders: AtomicUsize,
    pub(super) receivers: AtomicUsize,
    pub(super) id: ChannelId,
    pub(super) name: Mutex<Option<Arc<str>>>,
    pub(super) made_at: &'static Location<'static>,
}

/// The branch of an offer that nobody waits for: its value was delivered to a future that has been
/// dropped, and is for the next receiver. These stand before all others.
#[cfg(feature = "futures")]
const LEFT: u32 = u32::MAX;

/// Somebody would send.
pub(super) struct SendOffer<T> {
    pub(super) ticket: Ticket,
    branch: u32,
    /// `None`: the value will be made when a receiver is certain (a reservation).
    value: Option<T>,
}

/// Somebody would receive.
pub(super) struct ReceiveOffer {
    pub(super) ticket: Ticket,
    branch: u32,
}

/// Who waits, first come first, and what is under way.
pub(super) struct Lines<T> {
    pub(super) senders: VecDeque<SendOffer<T>>,
    pub(super) receivers: VecDeque<ReceiveOffer>,
    /// Values delivered to receivers that have not picked them up yet.
    handed: Vec<(Ticket, T)>,
    /// Receivers that wait for the value of a sender whose reservation they have met.
    owed: Vec<(Ticket, Ticket)>,
    /// What reused selects have received and not given out yet, by number.
    granted: Vec<(u64, T)>,
    /// The last of these numbers.
    grants: u64,
}

/// What came of an attempt to send.
pub(super) enum Given<T> {
    Done,
    Closed(T),
    Nobody(T),
}

/// What came of an attempt to receive.
pub(super) enum Taken<T> {
    Value(T),
    /// A sender that has yet to make its value: the caller waits for that.
    Owed,
    Closed,
    Nobody,
}

/// A receiver that is held until it gets a value, or may wait again.
#[derive(Debug)]
pub struct Partner {
    ticket: Ticket,
    branch: u32,
}

impl<T> Core<T> {
    pub(super) fn new(made_at: &'static Location<'static>, name: Option<Arc<str>>) -> Core<T> {
        Core {
            lines: Mutex::new(Lines {
                senders: VecDeque::new(),
                receivers: VecDeque::new(),
                handed: Vec::new(),
                owed: Vec::new(),
                granted: Vec::new(),
                grants: 0,
            }),
            senders_waiting: AtomicUsize::new(0),
            receivers_waiting: AtomicUsize::new(0),
            no_sender: AtomicBool::new(false),
            no_receiver: AtomicBool::new(false),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
            id: ChannelId::next(),
            name: Mutex::new(name),
            made_at,
        }
    }

    pub(super) fn lines(&self) -> MutexGuard<'_, Lines<T>> {
        self.lines.lock()
    }

    /// Whether a receive is likely not to have to wait.
    pub(super) fn can_take(&self) -> bool {
        self.senders_waiting.load(Ordering::Relaxed) > 0 || self.no_sender.load(Ordering::Relaxed)
    }

    /// Whether a send is likely not to have to wait.
    pub(super) fn can_give(&self) -> bool {
        self.receivers_waiting.load(Ordering::Relaxed) > 0
            || self.no_receiver.load(Ordering::Relaxed)
    }

    /// Says how many stand in line now.
    fn count(&self, lines: &Lines<T>) {
        self.senders_waiting.store(lines.senders.len(), Ordering::Relaxed);
        self.receivers_waiting.store(lines.receivers.len(), Ordering::Relaxed);
    }

    /// Gives `value` to the receiver that has waited longest.
    pub(super) fn give(&self, value: T) -> Given<T> {
        let mut lines = self.lines();
        let found = lines.win_receiver();
        self.count(&lines);
        let Some(ReceiveOffer { ticket, branch }) = found else {
            let closed = self.no_receiver.load(Ordering::Relaxed);
            return if closed { Given::Closed(value) } else { Given::Nobody(value) };
        };
        lines.handed.push((ticket.clone(), value));
        drop(lines);
        settle(ticket, branch);
        Given::Done
    }

    /// Takes the value of the sender that has waited longest. Where the caller can wait for a
    /// sender that has yet to make its value, `wait` gives the ticket of that wait.
    pub(super) fn take(&self, wait: Option<impl FnOnce() -> Ticket>) -> Taken<T> {
        let mut lines = self.lines();
        let usable = |it: &SendOffer<T>| it.value.is_some() || wait.is_some();
        let won = lines.senders.iter().position(|it| usable(it) && it.ticket.take());
        let Some(offer) = won.and_then(|index| lines.senders.remove(index)) else {
            let closed = self.no_sender.load(Ordering::Relaxed);
            return if closed { Taken::Closed } else { Taken::Nobody };
        };
        self.count(&lines);
        let SendOffer { ticket, branch, value } = offer;
        let taken = match (value, wait) {
            (Some(value), _) => Taken::Value(value),
            (None, Some(wait)) => {
                lines.owed.push((ticket.clone(), wait()));
                Taken::Owed
            }
            (None, None) => unreachable!("only who can wait takes a reservation"),
        };
        drop(lines);
        settle(ticket, branch);
        taken
    }

    /// Holds the receiver that has waited longest.
    pub(super) fn reserve(&self) -> Option<Partner> {
        let mut lines = self.lines();
        loop {
            let offer = lines.receivers.pop_front()?;
            self.count(&lines);
            if offer.ticket.hold() {
                return Some(Partner { ticket: offer.ticket, branch: offer.branch });
            }
        }
    }

    /// Gives `value` to a receiver that was held; `Err` if the end of its run has torn it away.
    pub(super) fn give_held(&self, partner: Partner, value: T) -> Result<(), T> {
        if !partner.ticket.resume() {
            return Err(value);
        }
        self.lines().handed.push((partner.ticket.clone(), value));
        settle(partner.ticket, partner.branch);
        Ok(())
    }

    /// Offers to send; the value comes back if a receiver is there, or will never be.
    pub(super) fn offer_sender(
        &self,
        ticket: &Ticket,
        branch: u32,
        value: Option<T>,
    ) -> Result<(), Option<T>> {
        let mut lines = self.lines();
        let partner = lines.receivers.iter().any(|it| !it.ticket.is(ticket) && it.ticket.is_open());
        if partner || self.no_receiver.load(Ordering::Relaxed) {
            return Err(value);
        }
        lines.senders.push_back(SendOffer { ticket: ticket.clone(), branch, value });
        self.count(&lines);
        Ok(())
    }

    /// Offers to receive; false if a sender is there, or will never be.
    pub(super) fn offer_receiver(&self, ticket: &Ticket, branch: u32) -> bool {
        let mut lines = self.lines();
        let partner = lines.senders.iter().any(|it| !it.ticket.is(ticket) && it.ticket.is_open());
        let published = !partner && !self.no_sender.load(Ordering::Relaxed);
        if published {
            lines.receivers.push_back(ReceiveOffer { ticket: ticket.clone(), branch });
            self.count(&lines);
        }
        published
    }

    /// Takes an offer to send back, with its value if it had one and nobody took it.
    pub(super) fn withdraw_sender(&self, ticket: &Ticket, branch: u32) -> Option<T> {
        let mut lines = self.lines();
        let mine = |it: &SendOffer<T>| it.branch == branch && it.ticket.is(ticket);
        let offer = lines.senders.iter().rposition(mine)?;
        let offer = lines.senders.remove(offer)?;
        self.count(&lines);
        drop(lines);
        offer.value
    }

    /// Takes an offer to receive back.
    pub(super) fn withdraw_receiver(&self, ticket: &Ticket, branch: u32) {
        let mut lines = self.lines();
        let mine = |it: &ReceiveOffer| it.branch == branch && it.ticket.is(ticket);
        if let Some(index) = lines.receivers.iter().rposition(mine) {
            lines.receivers.remove(index);
            self.count(&lines);
        }
    }

    /// What has been delivered under `ticket`.
    pub(super) fn take_handed(&self, ticket: &Ticket) -> Option<T> {
        let mut lines = self.lines();
        let index = lines.handed.iter().position(|(it, _)| it.is(ticket))?;
        let (ticket, value) = lines.handed.swap_remove(index);
        drop(lines);
        drop(ticket);
        Some(value)
    }

    /// The receiver that has met the reservation under `ticket`.
    pub(super) fn take_owed(&self, ticket: &Ticket) -> Option<Partner> {
        let mut lines = self.lines();
        let index = lines.owed.iter().position(|(it, _)| it.is(ticket))?;
        let (_, ticket) = lines.owed.swap_remove(index);
        Some(Partner { ticket, branch: 0 })
    }

    /// Wakes everybody who waits for senders, when the last of them has gone.
    pub(super) fn close_to_receivers(&self) {
        let mut lines = self.lines();
        self.no_sender.store(true, Ordering::Relaxed);
        let offers = std::mem::take(&mut lines.receivers);
        self.count(&lines);
        drop(lines);
        for ReceiveOffer { ticket, branch } in offers {
            if ticket.take() {
                settle(ticket, wait::CLOSED | branch);
            }
        }
    }

    /// Wakes everybody who waits for receivers, when the last of them has gone. Their values stay
    /// where they are until they come for them.
    pub(super) fn close_to_senders(&self) {
        let lines = self.lines();
        self.no_receiver.store(true, Ordering::Relaxed);
        let won = lines.senders.iter().filter(|it| it.ticket.take());
        let won: Vec<_> = won.map(|it| (it.ticket.clone(), it.branch)).collect();
        drop(lines);
        won.into_iter().for_each(|(ticket, branch)| settle(ticket, wait::CLOSED | branch));
        #[cfg(feature = "futures")]
        self.drop_left(); // last, because it is the user's code
    }
}

impl<T> Lines<T> {
    /// Wins the receiver that has waited longest.
    fn win_receiver(&mut self) -> Option<ReceiveOffer> {
        loop {
            match self.receivers.pop_front() {
                // Who has been won by somebody else will not come back to its offer.
                Some(it) if !it.ticket.take() => {}
                found => return found,
            }
        }
    }
}

/// What a future was given and has not taken.
#[cfg(feature = "futures")]
impl<T> Core<T> {
    /// Gives what has been delivered under `ticket` to the next receiver: who waits, or comes.
    /// `unowned` is a ticket that is open and that nobody else has.
    pub(super) fn pass_on(&self, ticket: &Ticket, unowned: impl FnOnce() -> Ticket) {
        let mut lines = self.lines();
        let Some(index) = lines.handed.iter().position(|(it, _)| it.is(ticket)) else { return };
        let (_, value) = lines.handed.swap_remove(index);
        if let Some(ReceiveOffer { ticket, branch }) = lines.win_receiver() {
            self.count(&lines);
            lines.handed.push((ticket.clone(), value));
            drop(lines);
            settle(ticket, branch);
        } else if self.no_receiver.load(Ordering::Relaxed) {
            drop(lines);
            drop(value);
        } else {
            let behind = lines.left();
            let offer = SendOffer { ticket: unowned(), branch: LEFT, value: Some(value) };
            lines.senders.insert(behind, offer);
            self.count(&lines);
        }
    }

    /// Drops what was left for the next receiver: there is none any more.
    fn drop_left(&self) {
        let mut lines = self.lines();
        let left = lines.left();
        let left: Vec<_> = lines.senders.drain(..left).collect();
        self.count(&lines);
        drop(lines);
        drop(left);
    }
}

#[cfg(feature = "futures")]
impl<T> Lines<T> {
    /// How many values are left for the next receivers.
    fn left(&self) -> usize {
        self.senders.iter().take_while(|it| it.branch == LEFT).count()
    }
}

impl<T> Core<T> {
    /// Keeps `value` until it is asked for by the number that is returned.
    pub(super) fn grant(&self, value: T) -> u64 {
        let mut lines = self.lines();
        lines.grants += 1;
        let number = lines.grants;
        lines.granted.push((number, value));
        number
    }

    /// What was kept under this number.
    pub(super) fn redeem(&self, number: u64) -> Option<T> {
        let mut lines = self.lines();
        let index = lines.granted.iter().rposition(|(it, _)| *it == number)?;
        Some(lines.granted.swap_remove(index).1)
    }
}

impl Partner {
    /// What a select keeps of it.
    pub(super) fn into_parts(self) -> (Ticket, u32) {
        (self.ticket, self.branch)
    }

    pub(super) fn of((ticket, branch): (Ticket, u32)) -> Partner {
        Partner { ticket, branch }
    }

    /// Lets it go on as if the meeting had never begun.
    pub(super) fn retry(self) {
        if self.ticket.resume() {
            settle(self.ticket, wait::RETRY);
        }
    }
}

/// Completes the wait of a partner that has been won, and wakes it if it sleeps.
pub(super) fn settle(ticket: Ticket, outcome: u32) {
    if let Some(claim) = ticket.complete(outcome) {
        scheduler::wake(claim);
    }
}
