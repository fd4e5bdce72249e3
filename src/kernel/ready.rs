//! The queue of tasklets that may run now, in the order they became ready.
//!
//! Always: a tasklet is in at most one place of at most one queue; who is in `ring` became ready
//! before who is in `rest`; the slots of `ring` outside of `head..tail` are empty.

use super::task::Task;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::forget;
use std::rc::Rc;

/// Places in the ring; a power of two.
const RING: usize = 1024;

/// First in, first out. The first few stand in a ring, where nothing is ever moved or allocated.
pub(crate) struct Ready {
    /// Both only ever grow (they wrap); the slot of a place is its remainder.
    head: Cell<usize>,
    tail: Cell<usize>,
    /// How many may be in the ring: all of it, or none while somebody is in `rest`.
    room: Cell<usize>,
    ring: [Cell<Option<Rc<Task>>>; RING],
    rest: RefCell<VecDeque<Rc<Task>>>,
}

impl Default for Ready {
    fn default() -> Ready {
        Ready {
            head: Cell::new(0),
            tail: Cell::new(0),
            room: Cell::new(RING),
            ring: [const { Cell::new(None) }; RING],
            rest: RefCell::default(),
        }
    }
}

impl Ready {
    #[inline(always)]
    fn fill(&self, place: usize, task: Rc<Task>) {
        let former = self.ring[place % RING].replace(Some(task));
        debug_assert!(former.is_none(), "a place in the ring was taken");
        forget(former); // no code to drop what is not there
    }

    /// Adds a tasklet behind all others.
    #[inline(always)]
    pub(crate) fn push(&self, task: Rc<Task>) {
        let tail = self.tail.get();
        if tail.wrapping_sub(self.head.get()) < self.room.get() {
            self.fill(tail, task);
            self.tail.set(tail.wrapping_add(1));
        } else {
            self.push_rest(task);
        }
    }

    #[inline(never)]
    fn push_rest(&self, task: Rc<Task>) {
        self.room.set(0);
        self.rest.borrow_mut().push_back(task);
    }

    /// Adds a tasklet before all others.
    pub(crate) fn push_front(&self, task: Rc<Task>) {
        if self.tail.get().wrapping_sub(self.head.get()) == RING {
            let last = self.tail.get().wrapping_sub(1);
            self.tail.set(last);
            self.room.set(0);
            let moved = self.ring[last % RING].take();
            moved.into_iter().for_each(|it| self.rest.borrow_mut().push_front(it));
        }
        let head = self.head.get().wrapping_sub(1);
        self.fill(head, task);
        self.head.set(head);
    }

    /// Takes the tasklet that has been ready longest.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<Rc<Task>> {
        let head = self.head.get();
        match self.ring[head % RING].take() {
            Some(task) => {
                self.head.set(head.wrapping_add(1));
                Some(task)
            }
            None if self.room.get() == RING => None, // `rest` is empty too
            None => self.pop_rest(),
        }
    }

    /// Calls `f` with whom [`pop`](Self::pop) would take, if that one stands in the ring.
    #[inline(always)]
    pub(crate) fn peek(&self, f: impl FnOnce(&Task)) {
        let slot = &self.ring[self.head.get() % RING];
        let first = slot.take();
        if let Some(first) = &first {
            f(first);
        }
        forget(slot.replace(first)); // what was there is `None`
    }

    /// [`pop`](Self::pop) when the ring is empty: moves there who has waited outside of it.
    #[inline(never)]
    fn pop_rest(&self) -> Option<Rc<Task>> {
        let mut rest = self.rest.borrow_mut();
        let first = rest.pop_front()?;
        let moved = rest.len().min(RING);
        for task in rest.drain(..moved) {
            self.fill(self.tail.get(), task);
            self.tail.set(self.tail.get().wrapping_add(1));
        }
        if rest.is_empty() {
            self.room.set(RING);
        }
        Some(first)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tail.get() == self.head.get() && self.room.get() == RING
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.tail.get().wrapping_sub(self.head.get()) + self.rest.borrow().len()
    }

    /// Takes all, in order.
    fn take_all(&self) -> Vec<Rc<Task>> {
        std::iter::from_fn(|| self.pop()).collect()
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
