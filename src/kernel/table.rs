//! The tasklets of one scheduler that have not ended, and control blocks to use again.
//!
//! Always: `slot` of a tasklet is its place among the living; nothing of the user is kept in an
//! ended one.

use super::task::{Home, Task};
use std::cell::RefCell;
use std::rc::Rc;

/// Blocks of ended tasklets that are kept; more are given back to the allocator.
const KEPT: usize = 1024;

/// Who lives, and the blocks of some who did.
#[derive(Default)]
pub(super) struct Table {
    living: Vec<Rc<Task>>,
    ended: Vec<Rc<Task>>,
}

impl Table {
    /// How many live.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.living.len()
    }

    /// Those who live, in no particular order.
    pub(super) fn living(&self) -> &[Rc<Task>] {
        &self.living
    }

    #[inline]
    pub(super) fn add(&mut self, task: Rc<Task>) {
        task.slot.set(self.living.len());
        self.living.push(task);
    }

    /// Takes a tasklet out that has ended, and may keep its block.
    #[inline]
    pub(super) fn remove(&mut self, task: &Rc<Task>) {
        let slot = task.slot.get();
        let ended = self.living.swap_remove(slot);
        debug_assert!(Rc::ptr_eq(&ended, task), "another tasklet was in its slot");
        if let Some(moved) = self.living.get(slot) {
            moved.slot.set(slot);
        }
        if self.ended.len() < KEPT && ended.is_plain() {
            self.ended.push(ended);
        }
    }
}

/// A control block for a new tasklet, to which nobody else refers.
#[inline]
pub(super) fn block(table: &RefCell<Table>, home: &Rc<Home>) -> Rc<Task> {
    let spare = table.borrow_mut().ended.pop();
    let mut block = spare.unwrap_or_else(|| blank(home));
    // Somebody may hold a handle of the tasklet that ended, or have put something into it; what
    // is dropped here is dropped with nothing borrowed.
    let is_free = Rc::get_mut(&mut block).is_some_and(|it| it.is_plain());
    if is_free { block } else { blank(home) }
}

#[inline(never)]
fn blank(home: &Rc<Home>) -> Rc<Task> {
    Rc::new(Task::blank(home.clone()))
}
