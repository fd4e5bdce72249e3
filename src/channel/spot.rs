//! The one waiter of a channel that nobody else waits on: the fast path of send and receive.
//!
//! Always: a waiter stands here only while the channel's queue is idle, and has moved into the
//! queue before anybody looks there. Its fields are apart so that a meeting moves single words.
//! A select that lost here leaves its stale offer behind, to be renewed by its next one or cleared
//! away by whoever comes across it: so there may be one of them to a channel.
//! Side: `Nobody -> Sender | Receiver -> Nobody` (met, stopped, cleared or moved).

use super::queue::{Queue, ReceiveOffer, SendOffer, key};
use crate::kernel::task::Task;
use crate::kernel::wait::Wait;
use std::cell::Cell;
use std::mem::forget;
use std::rc::Rc;

/// Who stands in the spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Nobody,
    Sender,
    Receiver,
}

pub(super) struct Spot<T> {
    side: Cell<Side>,
    wait: Cell<Option<Wait>>,
    /// Which branch of the wait this is.
    branch: Cell<u32>,
    /// The waiting sender's value.
    value: Cell<Option<T>>,
    /// For whom `handed` is, as a key; 0 if it is empty.
    handed_to: Cell<usize>,
    handed: Cell<Option<T>>,
}

/// Fills a cell that is known to be empty, without code to drop what was there.
#[inline(always)]
fn fill<V>(cell: &Cell<Option<V>>, value: V) {
    let former = cell.replace(Some(value));
    debug_assert!(former.is_none(), "the spot is taken");
    forget(former);
}

impl<T> Default for Spot<T> {
    fn default() -> Spot<T> {
        Spot {
            side: Cell::new(Side::Nobody),
            wait: Cell::new(None),
            branch: Cell::new(0),
            value: Cell::new(None),
            handed_to: Cell::new(0),
            handed: Cell::new(None),
        }
    }
}

impl<T> Spot<T> {
    #[inline(always)]
    pub(super) fn side(&self) -> Side {
        self.side.get()
    }

    /// Gives `value` to the waiting receiver; returns its wait and branch, to be settled. `Err`
    /// with the value if it has been stopped, or has yet to pick up another one.
    #[inline(always)]
    pub(super) fn meet_receiver(&self, value: T) -> Result<(Wait, u32), T> {
        debug_assert_eq!(self.side.get(), Side::Receiver);
        let Some(wait) = self.wait.take() else { return Err(value) };
        if !wait.is_open() || self.handed_to.get() != 0 {
            fill(&self.wait, wait);
            return Err(value);
        }
        self.side.set(Side::Nobody);
        self.handed_to.set(key(&wait.task));
        fill(&self.handed, value);
        Ok((wait, self.branch.get()))
    }

    /// Takes the waiting sender's value; returns its wait and branch too, to be settled.
    #[inline(always)]
    pub(super) fn meet_sender(&self) -> Option<(Wait, u32, T)> {
        debug_assert_eq!(self.side.get(), Side::Sender);
        let wait = self.wait.take()?;
        if !wait.is_open() {
            fill(&self.wait, wait);
            return None;
        }
        self.side.set(Side::Nobody);
        Some((wait, self.branch.get(), self.value.take()?))
    }

    #[inline(always)]
    pub(super) fn put_sender(&self, wait: Wait, branch: u32, value: T) {
        fill(&self.wait, wait);
        self.branch.set(branch);
        fill(&self.value, value);
        self.side.set(Side::Sender);
    }

    #[inline(always)]
    pub(super) fn put_receiver(&self, wait: Wait, branch: u32) {
        fill(&self.wait, wait);
        self.branch.set(branch);
        self.side.set(Side::Receiver);
    }

    /// Makes a stale offer to receive of the same tasklet one under `wait`; false if none is here.
    #[inline(always)]
    pub(super) fn renew_receiver(&self, wait: &Wait, branch: u32) -> bool {
        if self.side.get() != Side::Receiver {
            return false;
        }
        let Some(here) = self.wait.take() else { return false };
        let renewed = here.same_tasklet(&wait.task) && !here.is_open();
        fill(&self.wait, if renewed { here.under(wait) } else { here });
        if renewed {
            self.branch.set(branch);
        }
        renewed
    }

    /// Clears a receiver away that no longer waits; false if none is here.
    pub(super) fn clear_receiver(&self) -> bool {
        let stale = self.side.get() == Side::Receiver && !self.is_open();
        if stale {
            self.side.set(Side::Nobody);
            drop(self.wait.take());
        }
        stale
    }

    /// Takes back what was put here under `wait`; `None` if it is not here.
    #[inline(always)]
    pub(super) fn withdraw(&self, wait: &Wait) -> Option<Option<T>> {
        let here = self.wait.take()?;
        if !here.is_same(wait) {
            fill(&self.wait, here);
            return None;
        }
        self.side.set(Side::Nobody);
        Some(self.value.take())
    }

    /// Whether the one who stands here still waits.
    #[inline(always)]
    pub(super) fn is_open(&self) -> bool {
        let wait = self.wait.take();
        let open = wait.as_ref().is_some_and(Wait::is_open);
        forget(self.wait.replace(wait));
        open
    }

    /// What has been delivered to `task` here.
    #[inline(always)]
    pub(super) fn take_handed(&self, task: &Rc<Task>) -> Option<T> {
        if self.handed_to.get() != key(task) {
            return None;
        }
        self.handed_to.set(0);
        self.handed.take()
    }

    /// Moves whoever stands here into the queue.
    pub(super) fn move_to(&self, queue: &mut Queue<T>) {
        let side = self.side.replace(Side::Nobody);
        let (Some(wait), branch) = (self.wait.take(), self.branch.get()) else { return };
        match side {
            Side::Nobody => {}
            Side::Sender => {
                let value = self.value.take();
                queue.senders.push(SendOffer { wait, branch, value });
            }
            Side::Receiver if !wait.is_open() => {}
            Side::Receiver => {
                wait.must_withdraw();
                queue.receivers.push(ReceiveOffer { wait, branch, hold: false });
            }
        }
    }
}
