//! A network that is being built or runs: its stages, what passes between them, and how it ends.
//!
//! Always: an item is in one pair of hands, or in none for ever: given on, failed, or returned;
//! each is counted once. An error ends the network; a stage whose items nobody wants any more is
//! stopped, and that is no error. Stages share nothing that they act on: what one does depends on
//! what it has received, and whether it was stopped, only.
//! Network: `Running -> Ended | Failed`.

use super::meter::Meter;
use super::report::{Edge, Facts};
use super::unwanted::{Reason, Worker};
use super::{Cause, Settings};
use crate::channel::{self, Never, Receiver, Sender};
use crate::error::{Halt, SendError};
use crate::kernel::operation::Arm;
use crate::kernel::running::{self, Unwound};
use crate::kernel::stack;
use crate::operation::Operation;
use crate::scope::Scope;
use crate::select;
use crate::tasklet::Builder;
use crate::trap::shield;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread;

/// Something on its way, and the right to be on the way that it may need.
pub(super) struct Item<T> {
    pub(super) value: T,
    pub(super) ticket: Ticket,
}

/// Lets so many items of a source be on the way: when the last clone is dropped the source is told.
/// A word, so that an item is not much more than its value.
pub(super) type Ticket = Option<Rc<Pass>>;

/// What one item, or those that one is made of, have been let in with.
pub(super) enum Pass {
    One { _end: Sender<Never> },
    Two { _both: [Rc<Pass>; 2] },
}

/// The ticket of what is made of two items.
pub(super) fn both(one: Ticket, other: Ticket) -> Ticket {
    match (one, other) {
        (Some(one), Some(other)) => Some(Rc::new(Pass::Two { _both: [one, other] })),
        (one, other) => one.or(other),
    }
}

/// How many items of a source may be on the way, and those that are.
pub(super) struct Gate {
    limit: usize,
    /// Some of them may have left.
    under_way: Vec<Receiver<Never>>,
    /// When there are so many they are looked through for those that have.
    look_at: usize,
}

/// So few are not looked through.
const FEW: usize = 64;

impl Gate {
    pub(super) fn new(limit: usize) -> Gate {
        Gate { limit, under_way: Vec::new(), look_at: FEW }
    }

    /// Waits until an item more may be on the way.
    pub(super) fn admit(&mut self) -> Result<Rc<Pass>, Halt> {
        if self.under_way.len() >= self.look_at.min(self.limit.max(FEW)) {
            self.under_way.retain(|it| it.try_recv() != Err(Halt::Closed));
            self.look_at = FEW.max(2 * self.under_way.len());
        }
        if self.under_way.len() == self.limit {
            let mut left: Vec<_> = self.under_way.iter().map(Receiver::receiving).collect();
            let mut arms: Vec<&mut dyn Arm> = left.iter_mut().map(|it| it as _).collect();
            let first = select::select(&mut arms);
            let Err(why) = left[first].take();
            if why != Halt::Closed {
                return Err(why);
            }
            drop(left);
            self.under_way.swap_remove(first);
        }
        let (end, left) = channel::Builder::new().name("on the way").channel();
        self.under_way.push(left);
        Ok(Rc::new(Pass::One { _end: end }))
    }
}

/// Why a stage stops before its input has ended.
pub(super) enum Stop {
    /// Nobody wants what it gives.
    Unwanted,
    /// The tasklet was stopped.
    Halted(Halt),
    /// It failed, and with it the network.
    Failed(Cause),
}

impl From<Halt> for Stop {
    fn from(why: Halt) -> Stop {
        if why == Halt::Closed { Stop::Unwanted } else { Stop::Halted(why) }
    }
}

/// A stage that failed: its number, its name and why.
pub(super) type Failure = (usize, String, Cause);

/// What every stage of a network knows.
pub(super) struct Net<'scope, 'env: 'scope> {
    pub(super) scope: Scope<'scope, 'env>,
    pub(super) stages: Rc<RefCell<Vec<Rc<Facts>>>>,
    pub(super) edges: Rc<RefCell<Vec<Edge>>>,
    /// How many items of a source may be on the way.
    pub(super) in_flight: Option<usize>,
    /// The stages that failed, and why.
    pub(super) failed: Rc<RefCell<Vec<Failure>>>,
    pub(super) workers: RefCell<Vec<Worker>>,
    /// Takes the numbers of stages that want no more, though there may be more for them.
    pub(super) leaving: Sender<usize>,
    /// Where progress is shown.
    #[cfg(feature = "progress")]
    pub(super) lines: Option<indicatif::MultiProgress>,
}

/// The receiving end of what a stage gives.
pub(super) struct Outlet<T: 'static> {
    pub(super) rx: Receiver<Item<T>>,
    /// The stage that gives it.
    pub(super) from: usize,
    /// It leads to a branch, for which alone that stage would not go on.
    pub(super) aside: bool,
}

impl<'scope, 'env> Net<'scope, 'env> {
    /// Adds a stage.
    pub(super) fn stage(&self, kind: &'static str, settings: &Settings) -> Rc<Facts> {
        let mut stages = self.stages.borrow_mut();
        let number = stages.len();
        let name = settings.name.clone().unwrap_or_else(|| format!("{kind} {number}"));
        let facts = Facts::new(number, name, settings);
        #[cfg(feature = "progress")]
        let facts = facts.shown_on(self.lines.as_ref());
        let facts = Rc::new(facts);
        stages.push(facts.clone());
        facts
    }

    /// Where that goes of these items which nobody takes.
    pub(super) fn back_of<T>(&self, outlet: &Outlet<T>) -> Option<Rc<dyn Any>> {
        self.stages.borrow()[outlet.from].back.clone()
    }

    /// What `to` gets from the stage before it.
    pub(super) fn inlet<T>(&self, outlet: Outlet<T>, to: &Rc<Facts>) -> Inlet<T> {
        self.inlet_beside(outlet, &Rc::new(Meter::new(to.clone())))
    }

    /// Another inlet of the worker with this meter.
    pub(super) fn inlet_beside<T>(&self, outlet: Outlet<T>, meter: &Rc<Meter>) -> Inlet<T> {
        let passed = Rc::new(Cell::new(0));
        let Outlet { rx, from, aside } = outlet;
        let before = self.stages.borrow()[from].clone();
        let edge = Edge { from, to: meter.facts.number, aside, items: passed.clone() };
        self.edges.borrow_mut().push(edge);
        meter.inlet_opened();
        Inlet { rx, meter: meter.clone(), before, passed }
    }

    /// Where `from` gives what the next stage takes.
    pub(super) fn outlet<U>(&self, from: &Rc<Facts>) -> (Sender<Item<U>>, Outlet<U>) {
        let (tx, rx) = channel::Builder::new().name(from.name.as_str()).channel();
        (tx, Outlet { rx, from: from.number, aside: false })
    }

    /// Where `from` gives what goes to another stage than the next one.
    pub(super) fn outlet_to<U>(
        &self,
        from: &Rc<Facts>,
        whom: impl fmt::Display,
    ) -> (Sender<Item<U>>, Outlet<U>) {
        let (tx, rx) = self.inside(from, whom);
        (tx, Outlet { rx, from: from.number, aside: false })
    }

    /// A channel of `stage`, named after it and `what` it is for.
    pub(super) fn inside<U: 'static>(
        &self,
        stage: &Rc<Facts>,
        what: impl fmt::Display,
    ) -> (Sender<U>, Receiver<U>) {
        channel::Builder::new().name(format!("{}, {what}", stage.name)).channel()
    }

    /// Starts the worker of a stage that has this meter; what it panics or fails with ends the
    /// network. Counts what it has in hand in the end.
    pub(super) fn start(
        &self,
        meter: &Rc<Meter>,
        body: impl FnOnce() -> Result<(), Stop> + 'scope,
    ) {
        let (meter, failed, scope) = (meter.clone(), self.failed.clone(), self.scope);
        let (facts, reason) = (meter.facts.clone(), Reason::default());
        let builder = Builder::new().name(facts.name.as_str());
        let unbegun =
            Unbegun { stage: facts.clone(), reason: reason.clone(), failed: Some(failed.clone()) };
        let (leaving, unwanted) = (self.leaving.clone(), reason.clone());
        let body = move || {
            unbegun.begin();
            let ended = catch_unwind(AssertUnwindSafe(body));
            let leaves = matches!(ended, Ok(Ok(()))) && meter.leaves();
            let stage = &meter.facts;
            if let Some(cause) = conclude(&meter, ended, &unwanted) {
                failed.borrow_mut().push((stage.number, stage.name.clone(), cause));
                scope.cancel();
            } else if leaves {
                // Nobody hears it if the network has been stopped.
                drop(shield(|| leaving.send(stage.number)));
            }
        };
        match self.scope.spawn_with(builder, body) {
            Ok(tasklet) => {
                let worker = Worker { stage: facts.number, tasklet: tasklet.clone(), reason };
                self.workers.borrow_mut().push(worker);
            }
            Err(error) => {
                let cause = Cause::Failed(Box::new(error));
                self.failed.borrow_mut().push((facts.number, facts.name.clone(), cause));
                self.scope.cancel();
            }
        }
    }
}

/// Counts what a worker had in hand when its body ended like that; why it failed, if it has.
fn conclude(
    meter: &Meter,
    ended: thread::Result<Result<(), Stop>>,
    unwanted: &Reason,
) -> Option<Cause> {
    meter.ended();
    match &ended {
        Ok(Ok(())) => meter.all_delivered(),
        Ok(Err(Stop::Unwanted | Stop::Halted(_))) => meter.all_returned(),
        Ok(Err(Stop::Failed(_))) | Err(_) => meter.ended_by_failure(),
    }
    let cause = match ended {
        Ok(Ok(()) | Err(Stop::Unwanted)) => return None,
        Ok(Err(Stop::Halted(why))) => Cause::Halted(why),
        Ok(Err(Stop::Failed(cause))) => cause,
        Err(panic) => Cause::Panicked(own(panic)),
    };
    // Who has not been told yet that it was stopped has failed for another reason.
    let stopped = matches!(cause, Cause::Halted(_)) || running::has_been_told();
    (!stopped || !unwanted.is_given()).then_some(cause)
}

/// A worker that has not begun; one that never does has been stopped, and those behind it must not
/// take the end of their input for that of the items.
struct Unbegun {
    stage: Rc<Facts>,
    reason: Reason,
    /// None once it has begun.
    failed: Option<Rc<RefCell<Vec<Failure>>>>,
}

impl Unbegun {
    fn begin(mut self) {
        self.failed = None;
    }
}

impl Drop for Unbegun {
    fn drop(&mut self) {
        let Some(failed) = self.failed.take().filter(|_| !self.reason.is_given()) else { return };
        let why = Cause::Halted(Halt::Cancelled);
        failed.borrow_mut().push((self.stage.number, self.stage.name.clone(), why));
    }
}

/// A panic of the user's; that by which a tasklet is ended goes on.
pub(super) fn own(panic: Box<dyn Any + Send>) -> Box<dyn Any + Send> {
    if panic.is::<Unwound>() || stack::is_cancel(&*panic) {
        resume_unwind(panic);
    }
    panic
}

/// What a worker of a stage takes from.
pub(super) struct Inlet<T: 'static> {
    pub(super) rx: Receiver<Item<T>>,
    pub(super) meter: Rc<Meter>,
    /// The stage that gives it.
    before: Rc<Facts>,
    /// What came in here.
    passed: Rc<Cell<u64>>,
}

impl<T> Inlet<T> {
    /// The same inlet for another worker.
    pub(super) fn share(&self) -> Inlet<T> {
        let meter = Meter::new(self.meter.facts.clone());
        Inlet {
            rx: self.rx.clone(),
            meter: Rc::new(meter),
            before: self.before.clone(),
            passed: self.passed.clone(),
        }
    }

    /// Nobody has begun to work on what has been taken here.
    pub(super) fn hand_back(&self, value: T) {
        self.before.hand_back(value);
    }

    /// The stage that gives it.
    pub(super) fn before(&self) -> &Rc<Facts> {
        &self.before
    }

    /// Waits for an item; `None` when there will be no more. Who asks has seen to those before.
    #[inline(always)]
    pub(super) fn next(&self) -> Result<Option<Item<T>>, Stop> {
        self.meter.all_delivered();
        self.another()
    }

    /// Waits for an item more, beside those in hand.
    #[inline(always)]
    pub(super) fn another(&self) -> Result<Option<Item<T>>, Stop> {
        self.meter.before_taking();
        self.took(self.rx.recv())
    }

    /// Does `work` on each item, as [`next`](Self::next) gives them.
    #[inline(always)]
    pub(super) fn each(&self, work: impl Fn(Item<T>) -> Result<(), Stop>) -> Result<(), Stop> {
        loop {
            self.meter.all_delivered();
            self.meter.before_taking();
            match self.rx.recv() {
                Ok(item) => {
                    self.count();
                    work(item)?;
                }
                Err(why) => return self.took(Err(why)).map(drop),
            }
        }
    }

    #[inline(always)]
    fn count(&self) {
        self.passed.set(self.passed.get() + 1);
        self.meter.taken();
    }

    /// What has been received, counted.
    #[inline(always)]
    pub(super) fn took(&self, received: Result<Item<T>, Halt>) -> Result<Option<Item<T>>, Stop> {
        match received {
            Ok(item) => {
                self.count();
                Ok(Some(item))
            }
            Err(why) => {
                self.meter.starved();
                if why != Halt::Closed {
                    return Err(why.into());
                }
                self.meter.inlet_closed();
                Ok(None)
            }
        }
    }
}

/// What a worker of a stage gives to.
pub(super) struct Emit<U: 'static> {
    pub(super) to: Sender<Item<U>>,
    pub(super) meter: Rc<Meter>,
}

impl<U> Emit<U> {
    /// Waits until the next stage takes it.
    #[inline(always)]
    pub(super) fn give(&self, value: U, ticket: Ticket) -> Result<(), Stop> {
        self.send(Item { value, ticket }).map_err(|unsent| {
            self.meter.facts.hand_back(unsent.value.value);
            unsent.why.into()
        })
    }

    /// [`give`](Self::give) for each of `all`.
    pub(super) fn give_all(&self, all: Vec<U>, ticket: Ticket) -> Result<(), Stop> {
        let mut all = all.into_iter();
        let given = all.try_for_each(|it| self.give(it, ticket.clone()));
        all.for_each(|it| self.meter.facts.hand_back(it));
        given
    }

    /// Waits until the next stage takes it; gives it back if that wants no more.
    pub(super) fn offer(&self, item: Item<U>) -> Result<Option<Item<U>>, Stop> {
        match self.send(item) {
            Ok(()) => Ok(None),
            Err(unsent) if unsent.why == Halt::Closed => Ok(Some(unsent.value)),
            Err(unsent) => {
                self.meter.facts.hand_back(unsent.value.value);
                Err(Stop::Halted(unsent.why))
            }
        }
    }

    /// Sends, counted and timed.
    #[inline(always)]
    fn send(&self, item: Item<U>) -> Result<(), SendError<Item<U>>> {
        self.meter.worked();
        let sent = self.to.send(item);
        match &sent {
            Ok(()) => self.meter.given(),
            Err(_) => self.meter.choked(),
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run, spawn, yield_now};

    #[test]
    fn a_gate_remembers_few_of_those_that_have_left() {
        run(|| {
            let mut gate = Gate::new(1_000_000);
            for _ in 0..10 * FEW {
                drop(gate.admit());
                assert!(gate.under_way.len() <= FEW);
            }
            let inside: Vec<_> = (0..10 * FEW).map(|_| gate.admit()).collect();
            assert!(gate.under_way.len() >= inside.len());
        });
    }

    #[test]
    fn a_gate_that_was_full_forgets_who_has_left() {
        run(|| {
            let mut gate = Gate::new(10 * FEW);
            let inside: Vec<_> = (0..10 * FEW).map(|_| gate.admit().unwrap()).collect();
            let leaver = spawn(move || (yield_now(), drop(inside)).1);
            drop(gate.admit().unwrap()); // waits
            leaver.join().unwrap();
            (0..10 * FEW).for_each(|_| drop(gate.admit()));
            assert!(gate.under_way.len() <= FEW);
        });
    }
}
