//! One wait of one tasklet: it settles once, and that makes the tasklet ready.
//!
//! Always: of all offers made under a wait at most one settles it; settling an old wait does
//! nothing. Wait: `Open -> Settled(branch)`.

use super::task::{Task, flag};
use crate::error::Halt;
use std::rc::Rc;

/// Why a wait was settled, when no branch of it won.
pub(crate) const CANCELLED: u32 = u32::MAX;
pub(crate) const TIMED_OUT: u32 = u32::MAX - 1;
pub(crate) const INJECTED: u32 = u32::MAX - 2;
/// The partner changed its mind (its value's evaluation panicked): wait again.
pub(crate) const RETRY: u32 = u32::MAX - 3;
/// The tasklet turned out not to be on a stack that can be suspended.
pub(crate) const MISPLACED: u32 = u32::MAX - 4;
/// Every OS thread of the process waits for the others.
pub(crate) const STUCK: u32 = u32::MAX - 5;
/// Outcomes from here on name no branch.
pub(crate) const NO_BRANCH: u32 = STUCK;
/// The last handle of the other end went away; the branch is in the low bits.
pub(crate) const CLOSED: u32 = 1 << 30;

/// Set in the serial of a tasklet while its open wait is under a claim: a wait is then not equal to
/// it, so only those that are pay for asking further.
const CLAIMED: u64 = 1 << 63;

/// An open (or old) wait of a tasklet. Whoever holds one may settle it.
#[derive(Clone)]
pub struct Wait {
    pub(crate) task: Rc<Task>,
    serial: u64,
}

impl Wait {
    /// Opens the next wait of `task`, which must be running and have none open.
    #[inline(always)]
    pub(crate) fn open(task: Rc<Task>) -> Wait {
        let serial = open(&task);
        Wait { task, serial }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        let serial = self.task.serial.get();
        serial == self.serial
            || (serial == (self.serial | CLAIMED)
                && self.task.claim().is_some_and(|it| it.is_open()))
    }

    /// From here on whoever settles it must win the tasklet's claim; false if that was so before,
    /// or it has been settled.
    pub(crate) fn put_under_claim(&self) -> bool {
        let first = self.task.serial.get() == self.serial;
        if first {
            self.task.serial.set(self.serial | CLAIMED);
            self.task.set(flag::CLAIMED);
        }
        first
    }

    /// Makes sure that the caller, who is about to settle it, will: false if it is not open, or a
    /// partner on another OS thread has been faster.
    #[inline(always)]
    pub(crate) fn seize(&self) -> bool {
        let serial = self.task.serial.get();
        serial == self.serial || (serial == (self.serial | CLAIMED) && win_claim(&self.task))
    }

    /// Whether this is a wait of the same tasklet as `other`.
    #[inline]
    pub(crate) fn same_tasklet(&self, other: &Rc<Task>) -> bool {
        Rc::ptr_eq(&self.task, other)
    }

    /// Whether `other` is the same wait of the same tasklet.
    #[inline]
    pub(crate) fn is_same(&self, other: &Wait) -> bool {
        self.serial == other.serial && Rc::ptr_eq(&self.task, &other.task)
    }

    /// An offer has been made, or moved, to where it must be withdrawn from if it loses.
    #[inline]
    pub(crate) fn must_withdraw(&self) {
        self.task.set(flag::MUST_WITHDRAW);
    }

    /// Its parts, to be kept apart.
    #[inline(always)]
    pub(crate) fn split(self) -> (Rc<Task>, u64) {
        (self.task, self.serial)
    }

    /// The wait whose parts these are.
    #[inline(always)]
    pub(crate) fn join((task, serial): (Rc<Task>, u64)) -> Wait {
        Wait { task, serial }
    }

    /// The one of its parts that changes from wait to wait of a tasklet.
    #[inline(always)]
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Decides the wait without making the tasklet ready yet; false if it was decided before.
    #[inline(always)]
    pub(crate) fn decide(&self, outcome: u32) -> bool {
        if !self.seize() {
            return false;
        }
        self.task.serial.set(self.serial + 1);
        self.task.outcome.set(outcome);
        true
    }

    /// [`decide`](Self::decide) by a partner that will make the tasklet ready later.
    pub(crate) fn hold(&self, outcome: u32) {
        self.decide(outcome);
        self.task.set(flag::COMMITTED);
    }

    /// Whether a partner has [held](Self::hold) it and not let it go.
    pub(crate) fn is_held(&self) -> bool {
        self.task.serial.get() == self.serial + 1 && self.task.has(flag::COMMITTED)
    }

    /// Decides the wait and makes the tasklet ready, behind all that are ready now.
    #[inline(always)]
    pub(crate) fn settle(self, outcome: u32) -> bool {
        let first = self.decide(outcome);
        if first {
            make_ready(self.task);
        }
        first
    }

    /// Lets a tasklet go on that waits, committed, for its partner: with the operation done, or as
    /// if the meeting had never begun.
    pub(crate) fn let_go(self, done: bool, at_once: bool) {
        if self.is_held() {
            if !done {
                overrule(&self.task, RETRY);
            }
            return unhold(&self.task, at_once);
        }
        self.task.clear(flag::COMMITTED);
        let outcome = if done { 0 } else { RETRY };
        if at_once {
            self.settle_first(outcome);
        } else {
            self.settle(outcome);
        }
    }

    /// [`settle`](Self::settle), but the tasklet runs next.
    pub(crate) fn settle_first(self, outcome: u32) -> bool {
        let first = self.decide(outcome);
        if first {
            let home = self.task.home.clone();
            home.ready.push_front(self.task);
        }
        first
    }
}

/// Opens the next wait of `task`, for who settles it by [`settle_decided`]; returns its number.
#[inline(always)]
pub(super) fn open(task: &Task) -> u64 {
    let serial = task.serial.get() + 1;
    debug_assert!(serial & 1 == 1, "a wait is open already");
    task.serial.set(serial);
    serial
}

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "wait {} of {:?}", self.serial, self.task)
    }
}

#[cold]
#[inline(never)]
fn win_claim(task: &Task) -> bool {
    task.claim().is_some_and(|it| it.win_here())
}

/// Settles the wait of a tasklet whose claim a partner has won, as that one said.
pub(crate) fn settle_claimed(task: Rc<Task>) {
    let outcome = task.claim().and_then(|it| it.outcome());
    if let Some(outcome) = outcome
        && task.is_waiting()
        && task.has(flag::CLAIMED)
    {
        settle_here(&task, outcome);
        make_ready(task);
    }
}

/// Puts a tasklet at the end of its scheduler's ready queue.
#[inline]
pub(crate) fn make_ready(task: Rc<Task>) {
    let home = task.home.clone();
    home.ready.push(task);
}

/// Makes a tasklet ready that a partner has [held](Wait::hold), unless the end of the run has.
pub(crate) fn unhold(task: &Rc<Task>, at_once: bool) {
    if task.has(flag::COMMITTED) && !task.is_waiting() {
        task.clear(flag::COMMITTED);
        if at_once {
            task.home.ready.push_front(task.clone());
        } else {
            make_ready(task.clone());
        }
    }
}

/// Changes how the last wait was settled, for a tasklet that has not been made ready yet.
pub(crate) fn overrule(task: &Task, outcome: u32) {
    debug_assert!(!task.is_waiting(), "the wait is still open");
    task.outcome.set(outcome);
}

/// Settles the open wait of the running tasklet, which has not left its stack.
pub(crate) fn settle_here(task: &Task, outcome: u32) {
    if task.is_waiting() {
        task.serial.set((task.serial.get() & !CLAIMED) + 1);
    }
    task.outcome.set(outcome);
}

/// Makes the operations of `task` fail from now on (or once, for an injection), also the present
/// one, unless a partner is about to complete it.
pub(crate) fn interrupt(task: &Rc<Task>, why: Halt) {
    let (bit, outcome) = match why {
        Halt::Cancelled => (flag::CANCELLED, CANCELLED),
        Halt::TimedOut => (flag::TIMED_OUT, TIMED_OUT),
        Halt::Injected => (flag::INJECTED, INJECTED),
        Halt::Closed | Halt::CannotWait | Halt::Busy => unreachable!("not an interruption"),
    };
    task.set(bit);
    if task.is_waiting() && !task.has(flag::COMMITTED) && task.interruption().is_some() {
        settle_now(task, outcome);
    }
}

/// Settles whatever wait of `task` is open.
pub(crate) fn settle_now(task: &Rc<Task>, outcome: u32) {
    if task.is_waiting() {
        task.set(flag::STOPPED);
        task.home.stopped.set(task.home.stopped.get() + 1);
        Wait { task: task.clone(), serial: task.serial.get() & !CLAIMED }.settle(outcome);
    }
}

/// Settles whatever wait of `task` is open as somebody has decided who controls the run.
#[inline(always)]
pub(crate) fn settle_decided(task: &Rc<Task>, outcome: u32) {
    if task.is_waiting() {
        settle_here(task, outcome);
        task.home.ready.push(task.clone());
    }
}

/// A tasklet that was stopped runs again, and takes its offers back before others do.
#[cold]
pub(crate) fn note_running(task: &Task) {
    task.clear(flag::STOPPED);
    task.home.stopped.set(task.home.stopped.get() - 1);
}
