//! Guards over a stretch of code: nothing may block, nothing may switch, nothing may interrupt.
//!
//! Always: a guard that is dropped undoes exactly itself, in any order; guards belong to the
//! tasklet that made them. Guard: `Set -> Dropped`.

use crate::kernel::running;
use crate::kernel::task::{Task, flag};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

/// While the guard lives, an operation that would wait returns
/// [`Halt::CannotWait`](crate::Halt::CannotWait) instead.
///
/// It proves that a piece of code does not block. Others may still run when the budget of the
/// caller is used up; a [`switch_trap`] forbids that too. Outside a run it does nothing.
///
/// ```
/// use tasklets::{Halt, Never, block_trap, channel, run};
/// run(|| {
///     let (_tx, rx) = channel::<Never>();
///     let trap = block_trap();
///     assert_eq!(rx.recv(), Err(Halt::CannotWait));
///     drop(trap);
/// });
/// ```
#[must_use = "the trap is in force while the guard lives"]
pub fn block_trap() -> BlockTrap {
    let task = running::current();
    if let Some(task) = &task {
        let traps = &task.extra().block_traps;
        traps.set(traps.get() + 1);
        task.set(flag::BLOCK_TRAP);
    }
    BlockTrap { task }
}

/// Made by [`block_trap`].
///
/// ```
/// use tasklets::{Halt, block_trap, run, sleep};
/// let second = std::time::Duration::from_secs(1);
/// run(|| {
///     let (outer, inner) = (block_trap(), block_trap());
///     drop(outer);
///     assert_eq!(sleep(second), Err(Halt::CannotWait)); // each counts
///     drop(inner);
/// });
/// ```
#[must_use = "the trap is in force while the guard lives"]
pub struct BlockTrap {
    task: Option<Rc<Task>>,
}

impl Drop for BlockTrap {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            let traps = &task.extra().block_traps;
            traps.set(traps.get() - 1);
            if traps.get() == 0 {
                task.clear(flag::BLOCK_TRAP);
            }
        }
    }
}

impl fmt::Debug for BlockTrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockTrap").field("tasklet", &self.task).finish()
    }
}

/// While the guard lives, any switch to another tasklet is a bug and panics.
///
/// For code that holds a `RefCell` borrow, a std lock or anything else that another tasklet must
/// not find held. The panic names this call. A switch is: an operation that has to wait,
/// [`yield_now`](crate::yield_now), [`pause`](crate::pause), a scope, and
/// [`run_now`](crate::TaskletRef::run_now). Operations that need not wait are fine, any number of
/// them: a caller whose budget is used up, and one whose partner is preferred, goes on until the
/// trap is gone. Under a [`block_trap`] as well, what would wait returns
/// [`Halt::CannotWait`](crate::Halt::CannotWait) and does not panic. A trap that is set inside of a
/// scope and lives on does not keep the scope's end from waiting for the children, who borrow.
///
/// Traps are counted: it is in force until each of a tasklet's guards is dropped, in any order, by
/// whomever; other tasklets may switch. Outside a run it does nothing.
///
/// ```should_panic
/// use tasklets::{run, switch_trap, yield_now};
/// run(|| {
///     let _trap = switch_trap();
///     yield_now(); // panics
/// });
/// ```
#[must_use = "the trap is in force while the guard lives"]
#[track_caller]
pub fn switch_trap() -> SwitchTrap {
    let (task, set_at) = (running::current(), Location::caller());
    if let Some(task) = &task {
        task.extra().switch_traps.borrow_mut().push(set_at);
        task.set(flag::SWITCH_TRAP);
    }
    SwitchTrap { task, set_at }
}

/// Made by [`switch_trap`].
///
/// ```
/// use std::cell::RefCell;
/// use tasklets::{run, switch_trap, yield_now};
/// let table = RefCell::new(vec![1, 2]);
/// run(|| {
///     let mut rows = table.borrow_mut();
///     let trap = switch_trap(); // nobody may find the table borrowed
///     rows.push(3);
///     drop((rows, trap));
///     yield_now();
/// });
/// assert_eq!(table.into_inner(), [1, 2, 3]);
/// ```
#[must_use = "the trap is in force while the guard lives"]
pub struct SwitchTrap {
    task: Option<Rc<Task>>,
    set_at: &'static Location<'static>,
}

impl Drop for SwitchTrap {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            let mut traps = task.extra().switch_traps.borrow_mut();
            if let Some(index) = traps.iter().rposition(|it| *it == self.set_at) {
                traps.remove(index);
            }
            if traps.is_empty() {
                task.clear(flag::SWITCH_TRAP);
            }
        }
    }
}

impl fmt::Debug for SwitchTrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchTrap").field("set_at", &self.set_at).finish_non_exhaustive()
    }
}

/// Runs `f` so that cancellation, deadlines and injected errors wait until it has ended.
///
/// For cleanup that has to communicate; bound it with timeouts of its operations, since deadlines
/// opened inside wait too. Nests. When a run ends and nothing else can happen, shields
/// no longer count.
///
/// ```
/// use tasklets::{channel, run, shield, spawn, yield_now};
/// run(|| {
///     let (tx, rx) = channel();
///     let careful = spawn(move || shield(|| rx.recv()));
///     yield_now();
///     careful.cancel();
///     tx.send("the last word").unwrap();
///     assert_eq!(careful.join().unwrap(), Ok("the last word"));
/// });
/// ```
pub fn shield<R>(f: impl FnOnce() -> R) -> R {
    struct Lower(Rc<Task>);
    impl Drop for Lower {
        fn drop(&mut self) {
            let shields = &self.0.extra().shields;
            shields.set(shields.get() - 1);
        }
    }
    let _lower = running::current().map(|task| {
        let shields = &task.extra().shields;
        shields.set(shields.get() + 1);
        Lower(task)
    });
    f()
}
