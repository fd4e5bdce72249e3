//! Bells: waits that anybody may end, on any OS thread, as often as he likes.
//!
//! Always: ringing a bell that is gone, or that nobody waits at, does nothing; a bell that nobody
//! can ring is no reason to wait. Bell: `Silent <-> Awaited`, then taken down.

use super::Scheduler;
use crate::error::discard;
use crate::kernel::poller::{BellId, Inbox};
use crate::kernel::wait::Wait;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::Waker;

/// The bells of one scheduler.
#[derive(Default)]
pub(super) struct Bells {
    hung: RefCell<Slab<Bell>>,
    /// Bells hung up so far.
    count: Cell<u64>,
    /// To be called as soon as the running tasklet's turn is over.
    soon: RefCell<Vec<Waker>>,
}

/// Has a waker called when nothing is borrowed, soon.
pub(crate) fn wake_soon(waker: Waker) {
    if let Some(scheduler) = Scheduler::active() {
        scheduler.bells.soon.borrow_mut().push(waker);
        scheduler.home.look_soon();
    } else {
        debug_assert!(false, "nobody waits for a partner outside of a run");
    }
}

/// Calls a waker, which may be anybody's, where nothing is borrowed. Its panic is not the caller's.
pub(crate) fn wake_now(waker: Waker) {
    match Scheduler::active() {
        Some(scheduler) => scheduler.wake(waker),
        None => catch_unwind(AssertUnwindSafe(|| waker.wake())).unwrap_or_else(discard),
    }
}

struct Bell {
    serial: u64,
    /// Who waits, and the branch as which that is settled.
    awaited: Option<(Wait, u32)>,
    /// What is kept by those who can ring.
    rope: Weak<dyn Send + Sync>,
}

impl Bell {
    fn is_awaited(&self) -> bool {
        self.awaited.as_ref().is_some_and(|(wait, _)| wait.is_open())
    }
}

impl Scheduler {
    /// Hangs a bell up that nobody waits at yet, and tells where other OS threads ring it.
    pub(crate) fn hang_bell(&self) -> (BellId, Arc<Inbox>) {
        let serial = self.bells.count.get();
        self.bells.count.set(serial + 1);
        let rope: Weak<()> = Weak::new();
        let bell = Bell { serial, awaited: None, rope };
        let place = self.bells.hung.borrow_mut().insert(bell);
        (BellId { place, serial }, self.inbox().clone())
    }

    /// Lets `wait` be settled as `branch` when somebody who has hold of `rope` rings.
    pub(crate) fn await_bell(
        &self,
        bell: BellId,
        wait: Wait,
        branch: u32,
        rope: Weak<dyn Send + Sync>,
    ) {
        let before = self.with_bell(bell, |it| {
            it.rope = rope;
            it.awaited.replace((wait, branch))
        });
        drop(before); // its wait may be the last to know a tasklet
    }

    /// Takes back what [`await_bell`](Self::await_bell) was given.
    pub(crate) fn silence_bell(&self, bell: BellId) {
        drop(self.with_bell(bell, |it| it.awaited.take()));
    }

    /// Calls a waker, which may be anybody's.
    pub(crate) fn wake(&self, waker: Waker) {
        let woken = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        woken.unwrap_or_else(|panic| self.note_stray(panic));
    }

    /// Calls all wakers that are to be called soon.
    pub(super) fn wake_all(&self) {
        let soon = self.bells.soon.take();
        soon.into_iter().for_each(|it| self.wake(it));
    }

    /// Settles the wait of who waits at `bell`.
    pub(crate) fn ring(&self, bell: BellId) {
        if let Some((wait, branch)) = self.with_bell(bell, |it| it.awaited.take()) {
            wait.settle(branch);
        }
    }

    /// Takes a bell down.
    pub(crate) fn take_bell(&self, bell: BellId) {
        self.silence_bell(bell);
        let mut hung = self.bells.hung.borrow_mut();
        if hung.get(bell.place).is_some_and(|it| it.serial == bell.serial) {
            hung.remove(bell.place);
        }
    }

    /// Calls `f` with the bell, if it has not been taken down.
    fn with_bell<R>(&self, bell: BellId, f: impl FnOnce(&mut Bell) -> Option<R>) -> Option<R> {
        let mut hung = self.bells.hung.borrow_mut();
        let found = hung.get_mut(bell.place).filter(|it| it.serial == bell.serial);
        found.and_then(f)
    }

    /// Whether `inbox` is where other OS threads leave messages for this scheduler.
    pub(crate) fn has_inbox(&self, inbox: &Weak<Inbox>) -> bool {
        self.inbox.get().is_some_and(|it| std::ptr::eq(Arc::as_ptr(it), inbox.as_ptr()))
    }

    /// Whether somebody waits at a bell that may be rung.
    pub(super) fn awaits_bells(&self) -> bool {
        let hung = self.bells.hung.borrow();
        let mut awaited = hung.iter().filter(|(_, it)| it.is_awaited()).peekable();
        if awaited.peek().is_none() {
            return false;
        }
        // Who let go of a rope has left a message before, if there was reason to: look there last.
        awaited.any(|(_, it)| it.rope.strong_count() > 0)
            || self.inbox.get().is_some_and(|it| it.is_filled())
    }
}
