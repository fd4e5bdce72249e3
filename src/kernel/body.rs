//! What a tasklet runs: a closure in one allocation, which the kernel sees as a `dyn Body`.
//!
//! Always: a body runs at most once; a counted one is counted until all that it captured is gone.

use super::fatal::die;
use std::cell::Cell;
use std::rc::Rc;

/// What a tasklet runs. It must not unwind.
pub(crate) trait Body {
    /// Runs it, for the first and last time.
    fn run(self: Rc<Self>);
    /// Drops what it captured, instead of running it; a handle may keep the body itself.
    fn discard(&self);
}

/// Why entering a stack came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The body suspended itself.
    Suspended,
    /// The body ended; the stack may be loaded again.
    Done,
    /// Somebody else's generator was left from inside the body: it is suspended where it stands.
    Foreign,
}

/// A body that is nothing but a closure.
pub(crate) struct Once<F>(Cell<Option<F>>);

impl<F: FnOnce()> Once<F> {
    pub(crate) fn new(f: F) -> Once<F> {
        Once(Cell::new(Some(f)))
    }
}

impl<F: FnOnce()> Body for Once<F> {
    fn run(self: Rc<Self>) {
        let f = self.0.take().expect("a body runs once");
        f();
    }

    fn discard(&self) {
        drop(self.0.take());
    }
}

/// A body that is counted from when it is made until it has been dropped.
pub(super) struct Counted<F> {
    f: Once<F>,
    _count: Count, // the last field: dropped after `f`
}

impl<F: FnOnce()> Counted<F> {
    pub(super) fn new(f: F, counter: &Rc<Cell<usize>>) -> Counted<F> {
        counter.set(counter.get() + 1);
        Counted { f: Once::new(f), _count: Count(counter.clone()) }
    }
}

impl<F: FnOnce()> Body for Counted<F> {
    fn run(self: Rc<Self>) {
        let f = self.f.0.take().expect("a body runs once");
        f();
    }

    fn discard(&self) {
        self.f.discard();
    }
}

/// One in a counter.
struct Count(Rc<Cell<usize>>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Does not end while a body is counted: then it aborts the process.
pub(super) struct Repaid(pub(super) Rc<Cell<usize>>);

impl Drop for Repaid {
    fn drop(&mut self) {
        if self.0.get() != 0 {
            die(&[b"tasklets: a tasklet that borrows from a frame outlived it\n"]);
        }
    }
}

/// Runs a body at the bottom of a stack, where nobody could catch a panic.
pub(super) fn enter(body: Rc<dyn Body>) {
    struct Bottom;
    impl Drop for Bottom {
        fn drop(&mut self) {
            die(&[b"tasklets: a panic reached the bottom of a stack; this is a bug\n"]);
        }
    }
    let bottom = Bottom;
    body.run();
    std::mem::forget(bottom);
}
