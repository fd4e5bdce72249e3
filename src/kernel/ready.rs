//! The queue of tasklets that may run now, in the order they became ready.
//!
//! Always: a tasklet is in at most one place of at most one queue; `last` is the end of the chain
//! that begins at `first`, and both are empty or neither is. The links are in the control blocks,
//! so that nothing is allocated.

use super::task::Task;
use std::cell::Cell;
use std::mem::forget;
use std::rc::Rc;

/// A chain of tasklets, linked by `Task::next`.
#[derive(Default)]
pub(crate) struct Ready {
    first: Cell<Option<Rc<Task>>>,
    last: Cell<Option<Rc<Task>>>,
}

/// Puts a value into a cell that is known to be empty, without code to drop what was there.
#[inline]
fn fill<T>(cell: &Cell<Option<T>>, value: Option<T>) {
    let former = cell.replace(value);
    debug_assert!(former.is_none(), "a link was overwritten");
    forget(former);
}

impl Ready {
    /// Adds a tasklet behind all others.
    #[inline(always)]
    pub(crate) fn push(&self, task: Rc<Task>) {
        match self.last.replace(Some(task.clone())) {
            Some(before) => fill(&before.next, Some(task)),
            None => fill(&self.first, Some(task)),
        }
    }

    /// Adds a tasklet before all others.
    pub(crate) fn push_front(&self, task: Rc<Task>) {
        match self.first.take() {
            Some(after) => fill(&task.next, Some(after)),
            None => fill(&self.last, Some(task.clone())),
        }
        fill(&self.first, Some(task));
    }

    /// Takes the tasklet that has been ready longest.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<Rc<Task>> {
        let task = self.first.take()?;
        match task.next.take() {
            Some(next) => fill(&self.first, Some(next)),
            None => drop(self.last.take()),
        }
        Some(task)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let first = self.first.take();
        let empty = first.is_none();
        fill(&self.first, first);
        empty
    }

    /// Takes all, in order.
    fn take_all(&self) -> Vec<Rc<Task>> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// How many there are; counts them.
    pub(crate) fn len(&self) -> usize {
        let tasks = self.take_all();
        let len = tasks.len();
        tasks.into_iter().for_each(|it| self.push(it));
        len
    }

    /// Takes the tasklet at `index`, counted from the front.
    pub(crate) fn take(&self, index: usize) -> Option<Rc<Task>> {
        let mut tasks = self.take_all();
        let taken = (index < tasks.len()).then(|| tasks.remove(index));
        tasks.into_iter().for_each(|it| self.push(it));
        taken
    }

    /// Takes `task` out, wherever it is; false if it is not in the queue.
    pub(crate) fn remove(&self, task: &Rc<Task>) -> bool {
        let tasks = self.take_all();
        let before = tasks.len();
        let others = tasks.into_iter().filter(|it| !Rc::ptr_eq(it, task));
        let after = others.map(|it| self.push(it)).count();
        after < before
    }
}
