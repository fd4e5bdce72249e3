//! The schedule of a case: a handle that explores a program when the test asks it to.
//!
//! Always: a schedule that has failed is run first in every later candidate of its case, and only
//! the kind of failure that was seen first counts.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use proptest::test_runner::TestCaseError;

use super::super::event::{Names, mix};
use super::super::replay::{Overrides, REPLAY, asked_for};
use super::super::run::Outcome;
use super::super::session::Explore;
use super::super::system::System;
use super::super::verdict::Failure;
use super::super::verdict::Verdict;

/// How to explore, and how often.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) explore: Explore,
    /// How many schedules a case is run with.
    pub(super) schedules: u64,
    /// How many schedules are drawn for each smaller candidate.
    pub(super) fresh: u64,
    /// What the schedules are drawn from.
    pub(super) seed: u64,
}

/// A schedule under which a case fails.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    /// Which of the case's runs fails, from 0.
    pub(super) nth: usize,
    /// How it fails; none if that is not known, because it comes from a file.
    pub(super) outcome: Option<Outcome>,
    pub(super) overrides: Overrides,
    /// Its text.
    pub(super) replay: String,
}

/// What the tree of a case and its schedules share.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) plan: Plan,
    /// The latest schedule that failed.
    best: RefCell<Option<Rc<Failing>>>,
    /// Another kind of failure, seen while shrinking.
    other: RefCell<Option<String>>,
    /// How many explorations there were, so that each draws other schedules.
    explorations: Cell<u64>,
}

impl Memory {
    pub(super) fn new(plan: Plan) -> Rc<Memory> {
        Rc::new(Memory {
            plan,
            best: RefCell::default(),
            other: RefCell::default(),
            explorations: Cell::default(),
        })
    }

    pub(super) fn best(&self) -> Option<Rc<Failing>> {
        self.best.borrow().clone()
    }

    pub(super) fn set_best(&self, best: Option<Rc<Failing>>) {
        self.best.replace(best);
    }

    /// Whether a failure is of the kind that shrinks.
    fn accepts(&self, found: &Failure) -> bool {
        let best = self.best();
        let known = best.as_ref().and_then(|it| it.outcome.as_ref());
        let same = known.is_none_or(|it| same_fault(it, &found.outcome));
        if !same {
            self.other.replace(Some(found.outcome.text(&Names::new())));
        }
        same
    }
}

/// A schedule, or many: what a case is explored with.
///
/// It comes from the strategy [`schedule`](super::schedule()). Its `Debug` form is the replay
/// string, once it has failed; so that is what proptest prints and keeps.
///
/// A test may use it more than once: each use draws schedules of its own.
#[derive(Clone)]
pub struct Schedule {
    memory: Rc<Memory>,
    /// What failed before this value was made.
    best: Option<Rc<Failing>>,
    /// How often it was used.
    uses: Rc<Cell<usize>>,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.best {
            Some(best) => f.write_str(&best.replay),
            None => {
                let Plan { schedules, seed, .. } = self.memory.plan;
                write!(f, "{schedules} schedules from seed {seed:x}")
            }
        }
    }
}

impl Schedule {
    pub(super) fn new(memory: &Rc<Memory>) -> Schedule {
        Schedule { memory: memory.clone(), best: memory.best(), uses: Rc::default() }
    }

    /// Explores `main`, the body of a root tasklet, which must not change what it captures.
    ///
    /// In a new case it is run with as many schedules as the strategy says, or until one fails.
    /// In a smaller candidate of a failing case it is run with the schedule that failed, then with
    /// some drawn for it. If the environment variable `TASKLETS_REPLAY` has a schedule for this
    /// program, it is run with that one alone.
    ///
    /// # Errors
    /// The program fails, in the same way as the larger cases that this one was made from; the
    /// reason is the [`Report`](crate::explore::Report). The test should fail with it: use `?`.
    #[track_caller]
    pub fn run(&self, main: impl Fn()) -> Result<Verdict, TestCaseError> {
        let main: &dyn Fn() = &main;
        let plan = &self.memory.plan;
        let program = plan.explore.program(main);
        let nth = self.uses.replace(self.uses.get() + 1);
        let asked = asked_for(program.program());
        let asked = asked.map_err(|it| TestCaseError::fail(format!("{}: {it}", REPLAY)))?;
        let (verdict, found) = match asked {
            Some(overrides) => (Verdict::default(), plan.explore.retry(&program, &overrides, true)),
            None => self.look(&program, nth),
        };
        match found {
            None => Ok(verdict),
            Some(found) => Err(self.fail(&program, nth, found, &verdict)),
        }
    }

    /// Looks for a failure that counts.
    fn look(&self, program: &dyn System, nth: usize) -> (Verdict, Option<Failure>) {
        let plan = &self.memory.plan;
        let best = self.best.as_ref().filter(|it| it.nth == nth);
        if let Some(best) = best {
            let isolated = matches!(best.outcome, None | Some(Outcome::NotIsolated(..)));
            let found = plan.explore.retry(program, &best.overrides, isolated);
            if let Some(found) = found.filter(|it| self.memory.accepts(it)) {
                return (Verdict::default(), Some(found));
            }
        }
        let turn = match &self.best {
            Some(_) => self.memory.explorations.replace(self.memory.explorations.get() + 1) + 1,
            None => 0,
        };
        let seed = mix(mix(plan.seed, nth as u64), turn);
        let mut left = if best.is_some() { plan.fresh } else { plan.schedules };
        let mut verdict = Verdict::default();
        while left > 0 {
            let explore = plan.explore.clone().seed(mix(seed, left)).executions(left);
            let (found_by, found) = explore.find(program);
            left = left.saturating_sub(found_by.executions.max(1));
            verdict = found_by;
            match found {
                Some(found) if self.memory.accepts(&found) => return (verdict, Some(found)),
                Some(_) => {}
                None => break,
            }
        }
        (verdict, None)
    }

    /// Remembers a failure, shrunk, and writes it down.
    fn fail(
        &self,
        program: &dyn System,
        nth: usize,
        found: Failure,
        verdict: &Verdict,
    ) -> TestCaseError {
        let memory = &self.memory;
        let outcome = Some(found.outcome.clone());
        let search = match verdict.executions {
            0 => String::from("the schedule of a larger case, or one that was asked for"),
            _ => verdict.to_string(),
        };
        let report = memory.plan.explore.report(program, found, search);
        let mut text = report.to_string();
        if let Some(other) = &*memory.other.borrow() {
            text += &format!("\nanother fault was seen while this one was shrunk: {other}");
        }
        let (overrides, replay) = (report.overrides, report.replay);
        memory.set_best(Some(Rc::new(Failing { nth, outcome, overrides, replay })));
        TestCaseError::fail(text)
    }
}

/// Whether programs that differ in their data failed in the same way: another tasklet may have
/// done so, but at the same place.
fn same_fault(one: &Outcome, other: &Outcome) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
        && one.panicked_at() == other.panicked_at()
}
