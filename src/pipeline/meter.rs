//! What a worker of a stage has in hand, and how its time goes: taking, working, giving.
//!
//! Always: an item that was taken is in hand until it is delivered, failed, returned or handed to
//! another worker of the stage, so that each is counted once. The clock is read for the first item
//! and for one of so many after it, which stands for those until the next one, so that measuring
//! costs next to nothing. Item: `In hand -> Delivered | Failed | Returned`.

use super::report::Facts;
use crate::kernel::clock::Nanos;
use crate::kernel::scheduler::Scheduler;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// So many items come at first,
const FIRST: u64 = 4_096;

/// of which one of so many is measured,
const OF_FIRST: u64 = 64;

/// and of those after them one of so many.
const OF_LATER: u64 = 512;

/// The stop-watch of one worker, and its tally.
pub(super) struct Meter {
    pub(super) facts: Rc<Facts>,
    /// Rounds of taking and giving, up to the next one that is measured.
    rounds: Cell<u64>,
    /// Those left until then.
    left: Cell<u64>,
    /// For how many the one stands that was measured last.
    weight: Cell<u64>,
    /// Items in hand.
    in_hand: Cell<u64>,
    /// Inlets that are its own and have not come to their end.
    open: Cell<usize>,
    /// The present item is measured, since this time.
    since: Cell<Option<Nanos>>,
}

impl Meter {
    pub(super) fn new(facts: Rc<Facts>) -> Meter {
        Meter {
            facts,
            rounds: Cell::new(0),
            left: Cell::new(0),
            weight: Cell::new(0),
            in_hand: Cell::new(0),
            open: Cell::new(0),
            since: Cell::new(None),
        }
    }

    pub(super) fn inlet_opened(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// There is no more for it there: an inlet tells that once, or belongs to several workers.
    pub(super) fn inlet_closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    /// Whether a worker that ends now leaves items behind that it might have had.
    pub(super) fn leaves(&self) -> bool {
        self.open.get() > 0
    }

    /// The last item is done with.
    pub(super) fn before_taking(&self) {
        self.lap(|it, nanos| it.busy += nanos);
        self.since.set(None);
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => self.measure(),
        }
    }

    /// This round is measured.
    #[cold]
    fn measure(&self) {
        let rounds = self.rounds.get();
        let weight = if rounds < FIRST { OF_FIRST } else { OF_LATER };
        self.weight.set(weight);
        self.rounds.set(rounds + weight);
        self.left.set(weight - 1);
        self.since.set(Some(now()));
    }

    pub(super) fn taken(&self) {
        self.facts.count(|it| it.taken += 1);
        self.take_over(1);
    }

    pub(super) fn before_giving(&self) {
        self.lap(|it, nanos| it.busy += nanos);
    }

    pub(super) fn given(&self) {
        self.facts.count(|it| it.given += 1);
        self.lap(|it, nanos| it.choked += nanos);
    }

    /// Another worker of the stage has taken them and hands them over.
    pub(super) fn take_over(&self, items: u64) {
        self.in_hand.set(self.in_hand.get() + items);
        if self.since.get().is_some() {
            self.facts.count(|it| it.measured += items * self.weight.get());
        }
        self.lap(|it, nanos| it.starved += nanos);
    }

    /// Others have worked on what is in hand, for so long; the wait for them is not counted.
    pub(super) fn was_away(&self, spent: Duration) {
        self.facts.count(|it| it.away += spent.as_nanos() as u64);
        self.lap(|_, _| {});
    }

    /// Hands all that is in hand to another worker of the stage.
    pub(super) fn hand_over(&self) {
        self.in_hand.set(0);
    }

    /// So many of those in hand have been seen to as they should.
    pub(super) fn delivered(&self, items: u64) {
        self.facts.count(|it| it.delivered += items);
        self.put_down(items);
    }

    /// All that is in hand has been seen to.
    pub(super) fn all_delivered(&self) {
        self.delivered(self.in_hand.get());
    }

    /// One of those in hand failed.
    pub(super) fn failed(&self) {
        self.facts.count(|it| it.failed += 1);
        self.put_down(1);
    }

    /// Nobody wants what is in hand.
    pub(super) fn all_returned(&self) {
        let items = self.in_hand.take();
        self.facts.count(|it| it.returned += items);
    }

    /// The worker failed: at the first item that it had in hand, if there is one.
    pub(super) fn ended_by_failure(&self) {
        if self.in_hand.get() > 0 {
            self.failed();
        }
        self.all_returned();
    }

    fn put_down(&self, items: u64) {
        let left = self.in_hand.get().checked_sub(items);
        self.in_hand.set(left.expect("what is put down was in hand"));
        #[cfg(feature = "progress")]
        if items > 0 {
            self.facts.show();
        }
    }

    fn lap(&self, add: impl FnOnce(&mut super::report::Counts, Nanos)) {
        if let Some(since) = self.since.get() {
            let now = now();
            self.facts.count(|it| add(it, (now - since) * self.weight.get()));
            self.since.set(Some(now));
        }
    }
}

fn now() -> Nanos {
    Scheduler::active().map_or(0, |it| it.home.clock.now())
}
