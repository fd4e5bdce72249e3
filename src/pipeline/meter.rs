//! What a worker of a stage has in hand, and how its time goes: taking, working, giving.
//!
//! Always: an item that was taken is in hand until it is delivered, failed, returned or handed to
//! another worker of the stage, so that each is counted once. The clock is read for the first
//! rounds, for rounds that are slow, and for one of so many of the others, so that measuring costs
//! next to nothing; the time of rounds that were not measured is known as a whole, and shared out
//! as that of those lately measured. So the times of a worker add up to no more than there was.
//! Item: `In hand -> Delivered | Failed | Returned`. Round: `Measured | Passed over`.

use super::report::Facts;
use crate::kernel::clock::Nanos;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Home;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// So many rounds are measured at first,
const FIRST: u64 = 64;

/// and then one in so long, as rounds have taken on average,
const EACH: Nanos = 250_000;

/// but one of so many at least,
const AT_LEAST: u64 = 512;

/// and the next one when the scheduler has seen that so much time has passed.
const LONG: Nanos = 1_000_000;

/// Nanoseconds in which a worker waited for items, worked, waited to give them, and had others work
/// for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) starved: Nanos,
    pub(super) busy: Nanos,
    pub(super) choked: Nanos,
    apart: Nanos,
}

impl Times {
    /// `whole`, shared out in these proportions.
    fn share_out(&self, whole: Nanos) -> Times {
        let sum = self.starved + self.busy + self.choked + self.apart;
        let part = |it: Nanos| {
            let nanos = u128::from(it) * u128::from(whole) / u128::from(sum.max(1));
            Nanos::try_from(nanos).expect("a part is no more than the whole")
        };
        Times {
            starved: part(self.starved),
            busy: part(self.busy),
            choked: part(self.choked),
            apart: part(self.apart),
        }
    }

    pub(super) fn add(&mut self, more: Times) {
        self.starved += more.starved;
        self.busy += more.busy;
        self.choked += more.choked;
        self.apart += more.apart;
    }

    /// Half of them are forgotten in some 200 rounds.
    fn fade(&mut self) {
        self.starved -= self.starved / 256;
        self.busy -= self.busy / 256;
        self.choked -= self.choked / 256;
        self.apart -= self.apart / 256;
    }
}

/// What a stop-watch has seen.
#[derive(Clone, Copy, Default)]
struct Past {
    begun: Nanos,
    /// The time up to here is accounted for.
    until: Nanos,
    rounds: u64,
    /// Of the rounds that were measured lately.
    lately: Times,
}

impl Past {
    /// One of how many rounds is to be measured.
    fn one_of(&self) -> u64 {
        if self.rounds < FIRST {
            return 1;
        }
        let average = (self.until - self.begun) / self.rounds;
        (EACH / average.max(1)).clamp(1, AT_LEAST)
    }
}

/// The stop-watch of one worker, and its tally.
pub(super) struct Meter {
    pub(super) facts: Rc<Facts>,
    home: Rc<Home>,
    /// Items in hand.
    in_hand: Cell<u64>,
    /// Inlets that are its own and have not come to their end.
    open: Cell<usize>,
    /// The present round is measured, and this part of it since then.
    since: Cell<Option<Nanos>>,
    /// Rounds to be passed over, unless it is as late as that.
    left: Cell<u64>,
    late: Cell<Nanos>,
    past: Cell<Past>,
}

impl Meter {
    /// # Panics
    /// Outside of a run.
    pub(super) fn new(facts: Rc<Facts>) -> Meter {
        Meter {
            facts,
            home: Scheduler::active().expect("a pipeline runs in a run").home.clone(),
            in_hand: Cell::new(0),
            open: Cell::new(0),
            since: Cell::new(None),
            left: Cell::new(0),
            late: Cell::new(0),
            past: Cell::default(),
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

    /// A round begins: the last item is done with.
    #[inline(always)]
    pub(super) fn before_taking(&self) {
        let left = self.left.get();
        if left > 0 && self.home.now.get() < self.late.get() {
            self.left.set(left - 1);
        } else {
            self.go_round();
        }
    }

    /// A measured round ends here, or one begins that is to be measured, or both.
    #[cold]
    fn go_round(&self) {
        self.worked();
        let measured = self.since.take();
        let now = measured.unwrap_or_else(|| self.home.clock.now());
        let mut past = self.past.get();
        if past.rounds == 0 {
            (past.begun, past.until) = (now, now);
        }
        if measured.is_none() {
            self.facts.spent(past.lately.share_out(now - past.until));
            past.rounds -= self.left.get(); // it is late
        }
        past.until = now;
        let each = if measured.is_some() { past.one_of() } else { 1 };
        past.rounds += each;
        past.lately.fade();
        self.past.set(past);
        self.since.set((each == 1).then_some(now));
        // None are left where each is measured: so this is called for the next one.
        self.left.set(each - 1);
        self.late.set(now.saturating_add(LONG));
    }

    /// The worker has ended.
    pub(super) fn ended(&self) {
        let past = self.past.get();
        match self.since.get() {
            Some(_) => self.worked(),
            None if past.rounds == 0 => {}
            None => {
                let left = self.home.clock.now() - past.until;
                self.facts.spent(past.lately.share_out(left));
            }
        }
    }

    pub(super) fn taken(&self) {
        self.facts.count(|it| it.taken += 1);
        self.take_over(1);
    }

    pub(super) fn given(&self) {
        self.facts.count(|it| it.given += 1);
        self.choked();
    }

    /// Another worker of the stage has taken them and hands them over.
    pub(super) fn take_over(&self, items: u64) {
        self.in_hand.set(self.in_hand.get() + items);
        self.starved();
    }

    /// Others have worked on what is in hand, for so long; the wait for them is not counted.
    pub(super) fn was_away(&self, spent: Duration) {
        self.facts.count(|it| it.away += spent.as_nanos() as u64);
        self.lap(|it| &mut it.apart);
    }

    /// It has waited for items until now.
    #[inline(always)]
    pub(super) fn starved(&self) {
        self.lap(|it| &mut it.starved);
    }

    /// It has been at work until now.
    #[inline(always)]
    pub(super) fn worked(&self) {
        self.lap(|it| &mut it.busy);
    }

    /// It has waited to give until now, or for its turn.
    #[inline(always)]
    pub(super) fn choked(&self) {
        self.lap(|it| &mut it.choked);
    }

    /// Does `f`, all of which is one part of the round: the clock is not read in it.
    pub(super) fn without_stops<R>(&self, f: impl FnOnce() -> R) -> R {
        let since = self.since.take();
        let done = f();
        self.since.set(since);
        done
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

    #[inline(always)]
    fn lap(&self, part: impl FnOnce(&mut Times) -> &mut Nanos) {
        if let Some(since) = self.since.get() {
            self.lapse(since, part);
        }
    }

    #[cold]
    fn lapse(&self, since: Nanos, part: impl FnOnce(&mut Times) -> &mut Nanos) {
        let now = self.home.clock.now();
        let (mut times, mut past) = (Times::default(), self.past.get());
        *part(&mut times) = now - since;
        past.lately.add(times);
        past.until = now;
        self.past.set(past);
        self.facts.spent(times);
        self.since.set(Some(now));
    }
}
