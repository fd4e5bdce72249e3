//! What a channel shows whatever its values are, so that a select passes many alike by in one loop.
//!
//! Always: a waiter stands here only while the channel's queue is idle, and has moved into the
//! queue before anybody looks there. A select that lost here leaves its stale offer behind, to be
//! renewed by its next one or cleared away by whoever comes across it: so there may be one of them
//! to a channel. Side: `Nobody -> Sender | Receiver -> Nobody` (met, stopped, cleared or moved).

use super::queue::key;
use crate::kernel::operation::Places;
use crate::kernel::task::Task;
use crate::kernel::wait::Wait;
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::mem::forget;
use std::rc::Rc;

/// Who stands in the spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Nobody,
    Sender,
    Receiver,
}

/// Bits of [`Head::marks`], none of which is there while only the spot is in use.
pub(super) mod mark {
    /// The queue may hold something, so the spot may not be used.
    pub(in crate::channel) const BUSY: u8 = 1;
    /// One reused select stands in the queue, so no receiver may stand in the spot.
    pub(in crate::channel) const WATCHED: u8 = 1 << 1;
    /// The last sender is gone.
    pub(in crate::channel) const NO_SENDER: u8 = 1 << 2;
}

/// The part of a channel that does not mention its values. What every meeting touches is here.
pub struct Head {
    pub(super) side: Cell<Side>,
    marks: Cell<u8>,
    /// The last receiver is gone.
    pub(super) no_receiver: Cell<bool>,
    /// Which branch of the wait this is.
    pub(super) branch: Cell<u32>,
    /// The wait, in its parts: what a select renews is one word.
    task: Cell<Option<Rc<Task>>>,
    serial: Cell<u64>,
    /// Of the receiver that stands here, as a key: to be compared without a borrow of `task`.
    receiver: Cell<usize>,
    /// For whom a value was handed over, as a key; 0 if none was.
    pub(super) handed_to: Cell<usize>,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            side: Cell::new(Side::Nobody),
            marks: Cell::new(0),
            no_receiver: Cell::new(false),
            branch: Cell::new(0),
            task: Cell::new(None),
            serial: Cell::new(0),
            receiver: Cell::new(0),
            handed_to: Cell::new(0),
        }
    }
}

/// A head that is always busy, made when it is asked for: what a receiver shows that has none.
#[derive(Debug, Default)]
pub struct Busy(OnceCell<Head>);

impl Busy {
    pub(crate) fn head(&self) -> &Head {
        self.0.get_or_init(|| {
            let head = Head::default();
            head.set(mark::BUSY, true);
            head
        })
    }
}

/// Fills a cell that is known to be empty, without code to drop what was there.
#[inline(always)]
pub(super) fn fill<V>(cell: &Cell<Option<V>>, value: V) {
    let former = cell.replace(Some(value));
    debug_assert!(former.is_none(), "the spot is taken");
    forget(former);
}

impl Head {
    #[inline(always)]
    pub(super) fn has(&self, marks: u8) -> bool {
        self.marks.get() & marks != 0
    }

    #[inline(always)]
    pub(super) fn set(&self, mark: u8, on: bool) {
        let others = self.marks.get() & !mark;
        self.marks.set(if on { others | mark } else { others });
    }

    /// Whether nobody waits here but a reused select, if that does.
    #[inline(always)]
    pub(super) fn is_watched(&self) -> bool {
        self.side.get() == Side::Nobody && self.has(mark::WATCHED) && !self.has(mark::BUSY)
    }

    /// Takes the wait of whoever stands here out; `None` if nobody does.
    #[inline(always)]
    pub(super) fn take_wait(&self) -> Option<Wait> {
        self.task.take().map(|it| Wait::join((it, self.serial.get())))
    }

    /// Puts a wait where none is.
    #[inline(always)]
    pub(super) fn put_wait(&self, wait: Wait) {
        let (task, serial) = wait.split();
        self.serial.set(serial);
        fill(&self.task, task);
    }

    /// Whether the one who stands here still waits.
    #[inline(always)]
    pub(super) fn is_open(&self) -> bool {
        let Some(wait) = self.take_wait() else { return false };
        let open = wait.is_open();
        self.put_wait(wait);
        open
    }

    /// Makes a stale offer to receive of the same tasklet one under `wait`, which is open; false if
    /// none is here.
    #[inline(always)]
    pub(super) fn renew_receiver(&self, wait: &Wait, branch: u32) -> bool {
        // Of one tasklet no more than one wait is open.
        let stale = self.side.get() == Side::Receiver
            && self.receiver.get() == key(&wait.task)
            && self.serial.get() != wait.serial();
        if stale {
            self.serial.set(wait.serial());
            self.branch.set(branch);
        }
        stale
    }

    /// Offers to receive, unless that is possible now or others wait here too.
    #[inline(never)]
    fn put(&self, wait: &Wait, branch: u32) -> bool {
        let free = match self.side.get() {
            Side::Nobody => self.marks.get() == 0,
            Side::Sender => false,
            Side::Receiver => self.clear_receiver(),
        };
        if free {
            self.put_receiver(wait.clone(), branch);
        }
        free
    }

    #[inline(always)]
    pub(super) fn put_receiver(&self, wait: Wait, branch: u32) {
        self.receiver.set(key(&wait.task));
        self.put_wait(wait);
        self.branch.set(branch);
        self.side.set(Side::Receiver);
    }

    /// Clears a receiver away that no longer waits; false if none is here.
    pub(super) fn clear_receiver(&self) -> bool {
        let stale = self.side.get() == Side::Receiver && !self.is_open();
        if stale {
            self.side.set(Side::Nobody);
            drop(self.take_wait());
        }
        stale
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("side", &self.side).finish_non_exhaustive()
    }
}

/// Adds to `ready` at which of these channels a sender waits, even if it may have been `stopped`;
/// false if that cannot be told without looking closer.
#[inline]
pub(crate) fn look(heads: &[&Head], ready: &mut Places, stopped: bool) -> bool {
    let mut marks = 0;
    for (index, head) in heads.iter().enumerate() {
        ready.add_if(head.side.get() == Side::Sender, index);
        marks |= head.marks.get();
    }
    let stale = stopped && ready.iter().any(|it| !heads[it].is_open());
    marks & (mark::BUSY | mark::NO_SENDER) == 0 && !stale
}

/// Offers to receive from these channels, as the branches from 0 on, beginning with number `from`;
/// tells which is the first where that is not possible, or how many there are.
#[inline]
pub(crate) fn stand(heads: &[&Head], wait: &Wait, from: usize) -> usize {
    for (index, head) in heads.iter().enumerate().skip(from) {
        if !head.renew_receiver(wait, index as u32) && !head.put(wait, index as u32) {
            return index;
        }
    }
    heads.len()
}
