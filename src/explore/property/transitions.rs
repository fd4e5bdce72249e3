//! Stateful tests whose operations depend on what was done before, in the shape of
//! proptest-state-machine's.
//!
//! Always: if clients take turns, each operation is done in a state in which it may be; also in
//! each case that a failing one shrinks to. Step: `There -> Left out`, and its operation shrinks.

use super::super::linear::Model;
use proptest::collection::{SizeRange, vec};
use proptest::strategy::{BoxedStrategy, Just, NewTree, Strategy, ValueTree};
use proptest::test_runner::{Reason, TestRunner};
use std::fmt::{self, Debug};
use std::marker::PhantomData;

/// A [`Model`] that says which operations its state is for.
///
/// ```
/// use proptest::prelude::*;
/// use std::collections::BTreeSet;
/// use tasklets::explore::{Model, Reference};
/// /// Which doors are open.
/// struct Doors;
///
/// #[derive(Clone, Debug)]
/// enum Op {
///     Open(u8),
///     Close(u8),
/// }
///
/// impl Model for Doors {
///     type State = BTreeSet<u8>;
///     type Op = Op;
///     type Answer = bool;
///     fn start() -> BTreeSet<u8> {
///         BTreeSet::new()
///     }
///     fn apply(open: &mut BTreeSet<u8>, op: &Op) -> bool {
///         match op {
///             Op::Open(door) => open.insert(*door),
///             Op::Close(door) => open.remove(door),
///         }
///     }
/// }
///
/// impl Reference for Doors {
///     fn transitions(open: &BTreeSet<u8>) -> BoxedStrategy<Op> {
///         let opens = (0..3_u8).prop_map(Op::Open);
///         if open.is_empty() {
///             return opens.boxed();
///         }
///         let open: Vec<_> = open.iter().copied().collect();
///         prop_oneof![opens, prop::sample::select(open).prop_map(Op::Close)].boxed()
///     }
///     fn preconditions(open: &BTreeSet<u8>, op: &Op) -> bool {
///         !matches!(op, Op::Close(door) if !open.contains(door))
///     }
/// }
/// ```
pub trait Reference: Model {
    /// The operations that make sense in `state`.
    fn transitions(state: &Self::State) -> BoxedStrategy<Self::Op>;

    /// Whether `op` may be done in `state`: what does not hold any more while a case shrinks, as
    /// something before it was left out, is left out, too.
    fn preconditions(state: &Self::State, op: &Self::Op) -> bool {
        let _ = (state, op);
        true
    }
}

/// So many clients with so many operations each, for [`drive`](crate::explore::drive), made and
/// shrunk by what `R` says.
///
/// [`preconditions`](Reference::preconditions) hold if clients take turns, one operation each. In
/// another schedule an operation may come in another state: the model has to answer it there, too.
///
/// ```
/// # use proptest::prelude::*;
/// # use std::collections::BTreeSet;
/// # use tasklets::explore::{Model, Reference};
/// # struct Doors;
/// # #[derive(Clone, Debug)]
/// # enum Op {
/// #     Open(u8),
/// #     Close(u8),
/// # }
/// # impl Model for Doors {
/// #     type State = BTreeSet<u8>;
/// #     type Op = Op;
/// #     type Answer = bool;
/// #     fn start() -> BTreeSet<u8> {
/// #         BTreeSet::new()
/// #     }
/// #     fn apply(open: &mut BTreeSet<u8>, op: &Op) -> bool {
/// #         match op {
/// #             Op::Open(door) => open.insert(*door),
/// #             Op::Close(door) => open.remove(door),
/// #         }
/// #     }
/// # }
/// # impl Reference for Doors {
/// #     fn transitions(open: &BTreeSet<u8>) -> BoxedStrategy<Op> {
/// #         let opens = (0..3_u8).prop_map(Op::Open);
/// #         if open.is_empty() {
/// #             return opens.boxed();
/// #         }
/// #         let open: Vec<_> = open.iter().copied().collect();
/// #         prop_oneof![opens, prop::sample::select(open).prop_map(Op::Close)].boxed()
/// #     }
/// #     fn preconditions(open: &BTreeSet<u8>, op: &Op) -> bool {
/// #         !matches!(op, Op::Close(door) if !open.contains(door))
/// #     }
/// # }
/// use tasklets::explore::{drive, schedule, transitions};
/// use tasklets::{channel, spawn};
///
/// # let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10) };
/// let cases = schedule().schedules(5).with(transitions::<Doors>(1..=2, 0..=3));
/// proptest::test_runner::TestRunner::new(config)
///     .run(&cases, |(lists, schedule)| {
///         schedule.run(|| {
///             let (server, requests) = channel::<(Op, tasklets::Sender<bool>)>();
///             spawn(move || {
///                 let mut open = Doors::start();
///                 for (op, reply) in requests.iter() {
///                     reply.send(Doors::apply(&mut open, &op)).unwrap();
///                 }
///             });
///             drive::<Doors, _>(&lists, |_| {
///                 let server = server.clone();
///                 move |op: &Op| {
///                     let (reply, replied) = channel();
///                     server.send((op.clone(), reply)).unwrap();
///                     replied.recv().unwrap()
///                 }
///             });
///         })?;
///         Ok(())
///     })
///     .unwrap();
/// ```
pub fn transitions<R: Reference>(
    clients: impl Into<SizeRange>,
    each: impl Into<SizeRange>,
) -> Transitions<R> {
    Transitions { clients: clients.into(), each: each.into(), of: PhantomData }
}

/// The strategy that [`transitions`] makes.
pub struct Transitions<R> {
    clients: SizeRange,
    each: SizeRange,
    of: PhantomData<fn() -> R>,
}

impl<R> Clone for Transitions<R> {
    fn clone(&self) -> Transitions<R> {
        Transitions { clients: self.clients.clone(), each: self.each.clone(), of: PhantomData }
    }
}

impl<R> Debug for Transitions<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Transitions");
        out.field("clients", &self.clients).field("each", &self.each).finish()
    }
}

impl<R: Reference> Strategy for Transitions<R> {
    type Tree = TransitionTree<R>;
    type Value = Vec<Vec<R::Op>>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Transitions<R>> {
        let lengths = vec(vec(Just(()), self.each.clone()), self.clients.clone());
        let lengths = lengths.new_tree(runner)?.current();
        let (mut state, mut steps) = (R::start(), Vec::new());
        for round in 0..lengths.iter().map(Vec::len).max().unwrap_or(0) {
            let clients = (0..lengths.len()).filter(|it| round < lengths[*it].len());
            for client in clients {
                let op = possible::<R>(&state, runner)?;
                R::apply(&mut state, &op.current());
                steps.push(Step { client, op, is_there: true });
            }
        }
        let next = Part::Step(steps.len());
        Ok(TransitionTree { clients: lengths.len(), steps, next, last: None })
    }
}

type Tree<T> = Box<dyn ValueTree<Value = T>>;

/// An operation that may be done in `state`.
fn possible<R: Reference>(
    state: &R::State,
    runner: &mut TestRunner,
) -> Result<Tree<R::Op>, Reason> {
    let all = R::transitions(state);
    loop {
        let op = all.new_tree(runner)?;
        if R::preconditions(state, &op.current()) {
            return Ok(op);
        }
        runner.reject_local("its preconditions do not hold")?;
    }
}

/// An operation of a client.
struct Step<R: Reference> {
    client: usize,
    op: Tree<R::Op>,
    is_there: bool,
}

/// What is made simpler.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Those before this one have not been left out yet, not even to see what happens.
    Step(usize),
    /// The operation of a step.
    Op(usize),
}

/// The lists of a case, and how they shrink: steps are left out, the last first; then operations
/// get simpler, the first first.
pub struct TransitionTree<R: Reference> {
    clients: usize,
    steps: Vec<Step<R>>,
    next: Part,
    last: Option<Part>,
}

impl<R: Reference> Debug for TransitionTree<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TransitionTree");
        out.field("current", &self.current()).finish_non_exhaustive()
    }
}

impl<R: Reference> ValueTree for TransitionTree<R> {
    type Value = Vec<Vec<R::Op>>;

    fn current(&self) -> Vec<Vec<R::Op>> {
        let (mut state, mut lists) = (R::start(), vec![Vec::new(); self.clients]);
        for step in self.steps.iter().filter(|it| it.is_there) {
            let op = step.op.current();
            if R::preconditions(&state, &op) {
                R::apply(&mut state, &op);
                lists[step.client].push(op);
            }
        }
        lists
    }

    fn simplify(&mut self) -> bool {
        loop {
            match self.next {
                Part::Step(0) => self.next = Part::Op(0),
                Part::Step(before) => {
                    self.next = Part::Step(before - 1);
                    self.steps[before - 1].is_there = false;
                    self.last = Some(Part::Step(before - 1));
                    return true;
                }
                Part::Op(nth) => {
                    let Some(step) = self.steps.get_mut(nth) else { return false };
                    if step.is_there && step.op.simplify() {
                        self.last = Some(self.next);
                        return true;
                    }
                    self.next = Part::Op(nth + 1);
                }
            }
        }
    }

    fn complicate(&mut self) -> bool {
        match self.last {
            None => false,
            Some(Part::Step(nth)) => {
                self.steps[nth].is_there = true;
                self.last = None;
                true
            }
            Some(Part::Op(nth)) => {
                let more = self.steps[nth].op.complicate();
                if !more {
                    self.last = None;
                }
                more
            }
        }
    }
}
