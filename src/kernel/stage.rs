//! Who is shown as running on this OS thread.
//!
//! Always: a slot shows what the stage shows that began last and has not ended; stages end in the
//! order opposite to that in which they began, or the process aborts. (Only raw generators with
//! runs inside could end them in another.)

use super::fatal::die;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, forget};
use std::ptr;
use std::rc::Rc;

/// What is shown. Made for a thread-local without destructor, which costs one instruction to find.
pub(crate) struct Slot<T: 'static>(ManuallyDrop<Cell<Option<Rc<T>>>>);

/// A thread-local slot, known to the compiler by its type.
pub(crate) trait Place: 'static {
    type Shown: 'static;
    fn slot<R>(f: impl FnOnce(&Slot<Self::Shown>) -> R) -> R;
}

impl<T: 'static> Slot<T> {
    pub(crate) const fn new() -> Slot<T> {
        Slot(ManuallyDrop::new(Cell::new(None)))
    }

    #[inline(always)]
    fn replace(&self, value: Option<Rc<T>>) -> Option<Rc<T>> {
        self.0.replace(value)
    }

    /// Calls `f`, which neither looks at the slot nor suspends, with what it shows.
    #[inline(always)]
    fn peek<R>(&self, f: impl FnOnce(Option<&Rc<T>>) -> R) -> R {
        let shown = self.0.take();
        let result = f(shown.as_ref());
        forget(self.0.replace(shown)); // what was there is `None`
        result
    }
}

/// Calls `f`, which neither looks at the slot nor suspends, with what the slot of `P` shows.
#[inline(always)]
pub(crate) fn peek<P: Place, R>(_: P, f: impl FnOnce(Option<&Rc<P::Shown>>) -> R) -> R {
    P::slot(|it| it.peek(f))
}

/// What the slot of `P` shows.
#[inline(always)]
pub(crate) fn shown<P: Place>(_: P) -> Option<Rc<P::Shown>> {
    P::slot(|it| it.peek(|shown| shown.cloned()))
}

/// A right to say what a slot shows; at its end the slot shows what it did before.
pub(crate) struct Stage<P: Place> {
    /// What it shows, to be compared.
    mine: *const P::Shown,
    before: Option<Rc<P::Shown>>,
    place: PhantomData<P>,
}

impl<P: Place> Stage<P> {
    #[inline(always)]
    pub(crate) fn new(_: P, value: Option<Rc<P::Shown>>) -> Stage<P> {
        let mine = pointer(value.as_ref());
        Stage { mine, before: P::slot(|it| it.replace(value)), place: PhantomData }
    }

    /// Shows something else; returns what it showed.
    #[inline(always)]
    pub(crate) fn show(&mut self, value: Option<Rc<P::Shown>>) -> Option<Rc<P::Shown>> {
        self.mine = pointer(value.as_ref());
        P::slot(|it| it.replace(value))
    }

    /// Aborts if a stage that began after this one has not ended.
    #[inline(always)]
    pub(crate) fn check(&self) {
        if P::slot(|it| it.peek(pointer)) != self.mine {
            die(&[b"tasklets: runs ended crosswise through a raw generator\n"]);
        }
    }
}

#[inline(always)]
fn pointer<T>(value: Option<&Rc<T>>) -> *const T {
    value.map_or(ptr::null(), Rc::as_ptr)
}

impl<P: Place> Drop for Stage<P> {
    fn drop(&mut self) {
        self.check();
        let before = self.before.take();
        drop(self.show(before));
    }
}
