//! How a worker's time goes: taking, working, giving.
//!
//! Always: the clock is read for the first item and for one of so many after it, so that measuring
//! costs next to nothing; what a report says is scaled up from those.

use super::report::Facts;
use crate::kernel::clock::Nanos;
use crate::kernel::scheduler::Scheduler;
use std::cell::Cell;
use std::rc::Rc;

/// One item of so many is measured.
const EACH: u64 = 64;

/// The stop-watch of one worker.
pub(super) struct Meter {
    pub(super) facts: Rc<Facts>,
    items: Cell<u64>,
    /// The present item is measured, since this time.
    since: Cell<Option<Nanos>>,
}

impl Meter {
    pub(super) fn new(facts: Rc<Facts>) -> Meter {
        Meter { facts, items: Cell::new(0), since: Cell::new(None) }
    }

    /// The last item is done with.
    pub(super) fn before_taking(&self) {
        self.lap(|it, nanos| it.busy += nanos);
        let measured = self.items.get().is_multiple_of(EACH);
        self.since.set(measured.then(now));
        self.items.set(self.items.get() + 1);
    }

    pub(super) fn taken(&self) {
        self.facts.count(|it| it.taken += 1);
        if self.since.get().is_some() {
            self.facts.count(|it| it.measured += 1);
        }
        self.lap(|it, nanos| it.starved += nanos);
    }

    pub(super) fn before_giving(&self) {
        self.lap(|it, nanos| it.busy += nanos);
    }

    pub(super) fn given(&self) {
        self.facts.count(|it| it.given += 1);
        self.lap(|it, nanos| it.choked += nanos);
    }

    fn lap(&self, add: impl FnOnce(&mut super::report::Counts, Nanos)) {
        if let Some(since) = self.since.get() {
            let now = now();
            self.facts.count(|it| add(it, now - since));
            self.since.set(Some(now));
        }
    }
}

fn now() -> Nanos {
    Scheduler::active().map_or(0, |it| it.home.clock.now())
}
