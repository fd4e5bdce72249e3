//! The state of a channel: who waits on either end, and values under way to a tasklet.
//!
//! Always: while a sender and a receiver of two different tasklets wait in plain operations, they
//! do not wait at the same time; a value is in exactly one place (its sender, an offer, `handed`,
//! `returned` or its receiver). Offers whose wait has been settled are dropped when they come up,
//! or when they are more than half of a queue.
//! Offer: `Open -> Taken` by a partner, `Open -> Withdrawn` by its own tasklet.

use super::line::Line;
use super::watch::Watch;
use crate::kernel::announce;
#[cfg(feature = "futures")]
use crate::kernel::scheduler;
use crate::kernel::task::Task;
use crate::kernel::wait::Wait;
use smallvec::SmallVec;
use std::rc::Rc;
#[cfg(feature = "futures")]
use std::task::Waker;

/// A tasklet that waits, as a key: valid while it waits.
pub(super) fn key(task: &Rc<Task>) -> usize {
    Rc::as_ptr(task).addr()
}

/// Somebody would send.
pub(super) struct SendOffer<T> {
    pub(super) wait: Wait,
    pub(super) branch: u32,
    /// `None`: the value will be made when a receiver is certain (a reservation).
    pub(super) value: Option<T>,
}

/// Somebody would receive.
pub(super) struct ReceiveOffer {
    pub(super) wait: Wait,
    pub(super) branch: u32,
    /// The sender is to wait until the value is accepted.
    pub(super) hold: bool,
}

/// A tasklet that waits, committed, for the other side to complete a meeting.
#[derive(Debug)]
pub struct Partner {
    /// Its wait: open, or decided and [held](Wait::hold).
    pub(super) wait: Wait,
    /// It wants the other one to wait until it accepts the value.
    pub(super) hold: bool,
}

impl Partner {
    pub(super) fn task(&self) -> &Rc<Task> {
        &self.wait.task
    }

    /// Whether it still waits: the end of a run tears it away.
    pub(super) fn is_there(&self) -> bool {
        self.wait.is_open() || self.wait.is_held()
    }

    /// Lets it go on with the operation done; at once, or behind all that are ready.
    pub(super) fn release(self, at_once: bool) {
        announce::let_go(self.wait, true, at_once);
    }

    /// Lets it go on as if the meeting had never begun.
    pub(super) fn retry(self) {
        announce::let_go(self.wait, false, false);
    }
}

pub(super) struct Queue<T> {
    pub(super) senders: Line<SendOffer<T>>,
    pub(super) receivers: Line<ReceiveOffer>,
    /// Values delivered to tasklets that have not run since.
    handed: Line<(usize, T)>,
    /// Values of senders that were stopped, not picked up yet.
    pub(super) returned: Vec<(usize, u32, T)>,
    /// Senders that wait until the value they gave to the tasklet of this key is accepted.
    pub(super) held: SmallVec<[(usize, Partner); 0]>,
    /// Receivers that the reservation of the tasklet of this key has been granted.
    pub(super) owed: SmallVec<[(usize, Partner); 0]>,
    /// Reused selects with a receiving arm on this channel.
    pub(super) standing: SmallVec<[(Rc<Watch>, u32); 0]>,
    /// Futures that would receive, by their number, and how to wake them.
    #[cfg(feature = "futures")]
    pub(super) polled: SmallVec<[(u64, Waker); 0]>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue {
            senders: Line::default(),
            receivers: Line::default(),
            handed: Line::default(),
            returned: Vec::new(),
            held: SmallVec::new(),
            owed: SmallVec::new(),
            standing: SmallVec::new(),
            #[cfg(feature = "futures")]
            polled: SmallVec::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Whether nobody waits here but reused selects, and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        #[cfg(feature = "futures")]
        if !self.polled.is_empty() {
            return false;
        }
        self.senders.is_empty()
            && self.receivers.is_empty()
            && self.handed.is_empty()
            && self.returned.is_empty()
            && self.owed.is_empty()
            && self.held.is_empty()
    }

    /// Takes the receiver that has waited longest.
    #[inline(always)]
    pub(super) fn take_receiver(&mut self) -> Option<ReceiveOffer> {
        if let [(select, arm)] = &*self.standing
            && self.receivers.is_empty()
        {
            let wait = select.waiting().filter(Wait::seize)?;
            return Some(ReceiveOffer { wait, branch: *arm, hold: false });
        }
        if !self.standing.is_empty() {
            // Each time round one that could not be seized is no longer open.
            return loop {
                let offer = self.take_standing()?;
                if offer.wait.seize() {
                    break Some(offer);
                }
            };
        }
        loop {
            let offer = self.receivers.pop()?;
            if offer.wait.seize() {
                return Some(offer);
            }
        }
    }

    /// [`take_receiver`](Self::take_receiver) where reused selects wait too.
    #[cold]
    fn take_standing(&mut self) -> Option<ReceiveOffer> {
        while self.receivers.front().is_some_and(|it| !it.wait.is_open()) {
            self.receivers.pop();
        }
        let waiting = self.standing.iter().filter_map(|(select, arm)| {
            select.waiting().map(|wait| ReceiveOffer { wait, branch: *arm, hold: false })
        });
        let first = waiting.min_by_key(|it| it.wait.task.arrived.get());
        match (first, self.receivers.front()) {
            (Some(select), Some(plain))
                if select.wait.task.arrived.get() > plain.wait.task.arrived.get() =>
            {
                self.receivers.pop()
            }
            (None, _) => self.receivers.pop(),
            (first, _) => first,
        }
    }

    /// Whether a receiver waits.
    pub(super) fn has_receiver(&self) -> bool {
        self.receivers.iter().any(|it| it.wait.is_open())
            || self.standing.iter().any(|(it, _)| it.waiting().is_some())
    }

    /// Takes the sender that has waited longest, if it still waits and has its value.
    #[inline]
    pub(super) fn pop_sender(&mut self) -> Option<(Wait, u32, T)> {
        let first = self.senders.front()?;
        if first.value.is_none() || !first.wait.seize() {
            return None;
        }
        let SendOffer { wait, branch, value } = self.senders.pop()?;
        value.map(|value| (wait, branch, value))
    }

    /// Takes the sender that has waited longest; one that only reserves too if `reserved`.
    pub(super) fn find_sender(&mut self, reserved: bool) -> Option<SendOffer<T>> {
        let mut skipped = 0;
        loop {
            let offer = self.senders.iter().nth(skipped)?;
            let usable = offer.value.is_some() || reserved;
            if !offer.wait.is_open() || (usable && !offer.wait.seize()) {
                let stale = self.senders.remove(skipped)?;
                self.keep(stale);
            } else if usable {
                return self.senders.remove(skipped);
            } else {
                skipped += 1;
            }
        }
    }

    /// Keeps the value of a stopped sender until it comes for it.
    fn keep(&mut self, stale: SendOffer<T>) {
        if let Some(value) = stale.value {
            self.returned.push((key(&stale.wait.task), stale.branch, value));
        }
    }

    /// The wait of the only reused select, if it waits, and the arm that this channel is.
    #[inline]
    pub(super) fn lone_watch(&self) -> Option<(Wait, u32)> {
        let [(select, arm)] = &*self.standing else { return None };
        select.waiting().map(|wait| (wait, *arm))
    }

    /// Adds a sender that will wait; reused selects hear of it.
    #[inline(always)]
    pub(super) fn push_sender(&mut self, offer: SendOffer<T>) {
        self.senders.push(offer);
        if !self.standing.is_empty() {
            self.heat();
        }
        #[cfg(feature = "futures")]
        self.wake_polled();
    }

    /// Tells reused selects that this channel has changed.
    #[inline]
    pub(super) fn heat(&self) {
        self.standing.iter().for_each(|(select, arm)| select.heat(*arm));
    }

    /// Has all futures woken that would receive, when nothing is borrowed.
    #[cfg(feature = "futures")]
    #[inline]
    fn wake_polled(&mut self) {
        if !self.polled.is_empty() {
            self.take_polled().for_each(scheduler::wake_soon);
        }
    }

    /// Takes all futures that would receive.
    #[cfg(feature = "futures")]
    pub(super) fn take_polled(&mut self) -> impl Iterator<Item = Waker> + use<T> {
        std::mem::take(&mut self.polled).into_iter().map(|(_, waker)| waker)
    }

    /// Takes back what `task` offered to send as `branch` and nobody took.
    pub(super) fn take_back(&mut self, task: &Rc<Task>, branch: u32) -> Option<T> {
        let mine = |it: &SendOffer<T>| it.branch == branch && it.wait.same_tasklet(task);
        // Most often it is the last: look from there.
        if let Some(index) = self.senders.rposition(mine) {
            return self.senders.remove(index)?.value;
        }
        let kept = |(owner, at, _): &(usize, u32, T)| *owner == key(task) && *at == branch;
        let index = self.returned.iter().position(kept)?;
        Some(self.returned.swap_remove(index).2)
    }

    /// Adds a receiver that will wait together with other operations.
    pub(super) fn push_receiver(&mut self, offer: ReceiveOffer) {
        // What selects left behind goes before it can pile up.
        while self.receivers.front().is_some_and(|it| !it.wait.is_open()) {
            self.receivers.pop();
        }
        offer.wait.must_withdraw();
        self.receivers.push(offer);
    }

    /// Removes the stale offer of a receiver that was stopped.
    pub(super) fn forget_receiver(&mut self, task: &Rc<Task>) {
        self.receivers.retain(|it| !it.wait.same_tasklet(task));
    }

    /// Withdraws what `task` offered to receive; others' stale offers may go with it.
    pub(super) fn withdraw_receiver(&mut self, wait: &Wait) {
        let mine = |it: Option<&ReceiveOffer>| it.is_some_and(|it| it.wait.is_same(wait));
        if mine(self.receivers.back()) {
            self.receivers.pop_back();
        } else if mine(self.receivers.front()) {
            self.receivers.pop();
        } else {
            self.receivers.retain(|it| !it.wait.is_same(wait) && it.wait.is_open());
        }
    }

    /// Puts `value` where `task` will find it.
    #[inline(always)]
    pub(super) fn hand(&mut self, task: &Rc<Task>, value: T) {
        self.handed.push((key(task), value));
    }

    /// What has been delivered to `task`.
    #[inline(always)]
    pub(super) fn take_handed(&mut self, task: &Rc<Task>) -> Option<T> {
        let key = key(task);
        if self.handed.front()?.0 == key {
            return self.handed.pop().map(|(_, value)| value);
        }
        let index = self.handed.rposition(|(owner, _)| *owner == key)?;
        self.handed.remove(index).map(|(_, value)| value)
    }

    /// The sender that waits for `task` to accept what it has received.
    pub(super) fn take_held(&mut self, task: &Rc<Task>) -> Option<Partner> {
        take_keyed(&mut self.held, key(task))
    }

    /// The receiver that a reservation of `task` has been granted.
    pub(super) fn take_owed(&mut self, task: &Rc<Task>) -> Option<Partner> {
        take_keyed(&mut self.owed, key(task))
    }
}

fn take_keyed(list: &mut SmallVec<[(usize, Partner); 0]>, key: usize) -> Option<Partner> {
    let index = list.iter().position(|(owner, _)| *owner == key)?;
    Some(list.remove(index).1)
}
