//! What the channels know of a reused select, which is registered with them for good.
//!
//! Always: an arm is in `hot` once, or not at all; a receiving arm that could happen is in it.

use crate::kernel::wait::Wait;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::forget;

/// A reused select.
#[derive(Default)]
pub struct Watch {
    /// Receiving arms that may be able to happen.
    hot: RefCell<Vec<u32>>,
    /// For each arm whether it is in `hot`.
    is_hot: RefCell<Vec<bool>>,
    /// The open wait, while it waits.
    wait: Cell<Option<Wait>>,
}

impl Watch {
    /// Makes room for one more arm.
    pub(crate) fn add(&self) {
        self.is_hot.borrow_mut().push(false);
    }

    /// A sender has come or gone: look at this arm again.
    #[inline]
    pub(crate) fn heat(&self, arm: u32) {
        let mut is_hot = self.is_hot.borrow_mut();
        if !std::mem::replace(&mut is_hot[arm as usize], true) {
            self.hot.borrow_mut().push(arm);
        }
    }

    /// Takes an arm out of the hot ones; it is at `place` unless others have moved it.
    #[inline]
    pub(crate) fn cool(&self, place: usize, arm: u32) {
        let mut hot = self.hot.borrow_mut();
        let there = hot.get(place) == Some(&arm);
        let place = if there { Some(place) } else { hot.iter().position(|it| *it == arm) };
        if let Some(place) = place {
            hot.swap_remove(place);
            self.is_hot.borrow_mut()[arm as usize] = false;
        }
    }

    /// How many arms are hot.
    #[inline]
    pub(crate) fn ways(&self) -> usize {
        self.hot.borrow().len()
    }

    /// The hot arm at this place.
    #[inline]
    pub(crate) fn arm(&self, place: usize) -> u32 {
        self.hot.borrow()[place]
    }

    /// The select waits, or does so no longer.
    #[inline]
    pub(crate) fn wait(&self, wait: Option<Wait>) {
        drop(self.wait.replace(wait));
    }

    /// The select's open wait, if it waits at present.
    #[inline]
    pub(crate) fn waiting(&self) -> Option<Wait> {
        let wait = self.wait.take();
        let open = wait.as_ref().filter(|it| it.is_open()).cloned();
        forget(self.wait.replace(wait)); // what was there is `None`
        open
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("hot", &self.hot).finish_non_exhaustive()
    }
}
