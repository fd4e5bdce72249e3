//! The one waiter of a channel that nobody else waits on: the fast path of send and receive.
//!
//! Always: as [`head`](super::head) says, which has all but the values. Its fields are apart so
//! that a meeting moves single words.

use super::head::{Head, Side, fill};
use super::queue::{Queue, ReceiveOffer, SendOffer, key};
use crate::kernel::task::Task;
use crate::kernel::wait::Wait;
use std::cell::Cell;
use std::rc::Rc;

#[repr(C)]
pub(super) struct Spot<T> {
    pub(super) head: Head,
    /// The waiting sender's value.
    value: Cell<Option<T>>,
    /// What was handed over.
    handed: Cell<Option<T>>,
}

impl<T> Default for Spot<T> {
    fn default() -> Spot<T> {
        Spot { head: Head::default(), value: Cell::new(None), handed: Cell::new(None) }
    }
}

impl<T> Spot<T> {
    #[inline(always)]
    pub(super) fn side(&self) -> Side {
        self.head.side.get()
    }

    /// Gives `value` to the waiting receiver; returns its wait and branch, to be settled. `Err`
    /// with the value if it has been stopped, or has yet to pick up another one.
    #[inline(always)]
    pub(super) fn meet_receiver(&self, value: T) -> Result<(Wait, u32), T> {
        debug_assert_eq!(self.head.side.get(), Side::Receiver);
        let Some(wait) = self.head.take_wait() else { return Err(value) };
        if self.head.handed_to.get() != 0 || !wait.seize() {
            self.head.put_wait(wait);
            return Err(value);
        }
        self.head.side.set(Side::Nobody);
        self.hand(&wait.task, value);
        Ok((wait, self.head.branch.get()))
    }

    /// Takes the waiting sender's value; returns its wait and branch too, to be settled.
    #[inline(always)]
    pub(super) fn meet_sender(&self) -> Option<(Wait, u32, T)> {
        debug_assert_eq!(self.head.side.get(), Side::Sender);
        let wait = self.head.take_wait()?;
        if !wait.seize() {
            self.head.put_wait(wait);
            return None;
        }
        self.head.side.set(Side::Nobody);
        Some((wait, self.head.branch.get(), self.value.take()?))
    }

    #[inline(always)]
    pub(super) fn put_sender(&self, wait: Wait, branch: u32, value: T) {
        self.head.put_wait(wait);
        self.head.branch.set(branch);
        fill(&self.value, value);
        self.head.side.set(Side::Sender);
    }

    /// Puts `value` where `task` will find it; nothing else is there.
    #[inline(always)]
    pub(super) fn hand(&self, task: &Rc<Task>, value: T) {
        self.head.handed_to.set(key(task));
        fill(&self.handed, value);
    }

    /// What has been delivered to `task` here.
    #[inline(always)]
    pub(super) fn take_handed(&self, task: &Rc<Task>) -> Option<T> {
        if self.head.handed_to.get() != key(task) {
            return None;
        }
        self.head.handed_to.set(0);
        self.handed.take()
    }

    /// Moves whoever stands here into the queue.
    pub(super) fn move_to(&self, queue: &mut Queue<T>) {
        let side = self.head.side.replace(Side::Nobody);
        let (Some(wait), branch) = (self.head.take_wait(), self.head.branch.get()) else { return };
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
