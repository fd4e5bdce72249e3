//! How a case shrinks.
//!
//! Always: when `simplify` or `complicate` answers false, the tree stands at the last case that
//! failed; every tree is done after finitely many answers, whatever they are.
//! A joint tree: `Whole -> Saved -> Passing -> Last -> Done`, where each step may be left out.

use std::fmt::{self, Debug};
use std::rc::Rc;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, Reason, RngAlgorithm, TestRng, TestRunner};

use super::saved::{Saved, SavedError, Shelf, one_line};
use super::schedule::{Failing, Memory, Schedule};

/// How often the data are shrunk from the beginning.
const PASSES: u32 = 3;

/// The tree of a schedule alone.
#[derive(Debug)]
pub struct ScheduleTree {
    memory: Rc<Memory>,
}

impl ScheduleTree {
    pub(super) fn new(memory: Rc<Memory>) -> ScheduleTree {
        ScheduleTree { memory }
    }
}

impl ValueTree for ScheduleTree {
    type Value = Schedule;

    fn current(&self) -> Schedule {
        Schedule::new(&self.memory)
    }

    /// A schedule shrinks while it runs.
    fn simplify(&mut self) -> bool {
        false
    }

    fn complicate(&mut self) -> bool {
        false
    }
}

/// What the data of a case are made from, again and again the same.
#[derive(Debug)]
pub(super) struct Origin<S> {
    pub(super) strategy: Rc<S>,
    pub(super) config: Config,
    pub(super) seed: [u8; 32],
}

impl<S: Strategy> Origin<S> {
    /// The data as they were at first.
    fn grow(&self) -> Result<Grown<S>, Reason> {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &self.seed);
        let mut runner = TestRunner::new_with_rng(self.config.clone(), rng);
        Ok(Grown { tree: self.strategy.new_tree(&mut runner)?, steps: Vec::new() })
    }

    /// The data as they were after so many steps.
    fn grow_to(&self, steps: &[Step]) -> Result<Grown<S>, Reason> {
        let mut grown = self.grow()?;
        steps.iter().for_each(|it| _ = grown.take(*it));
        Ok(grown)
    }
}

/// What a tree of data is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Simplify,
    Complicate,
}

/// Data, and how they came to be as they are.
struct Grown<S: Strategy> {
    tree: S::Tree,
    steps: Vec<Step>,
}

impl<S: Strategy> Grown<S> {
    fn take(&mut self, step: Step) -> bool {
        self.steps.push(step);
        match step {
            Step::Simplify => self.tree.simplify(),
            Step::Complicate => self.tree.complicate(),
        }
    }

    /// How large the data are: by the length of their text.
    fn size(&self) -> (usize, String) {
        let text = format!("{:?}", self.tree.current());
        (text.len(), text)
    }
}

/// Where a joint tree stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// At the case as it was made.
    Whole,
    /// At the case that an earlier run of the test has saved.
    Saved,
    /// The data are being shrunk.
    Passing,
    /// At the smallest case, which is run once more so that it is the last one to fail.
    Last,
    /// Nothing is left to try.
    Done,
}

/// The tree of data and a schedule.
///
/// The data shrink as their own tree says. Because a candidate may pass only for want of the right
/// schedule, they shrink again from the beginning, with the schedules that are known by then,
/// until that makes them no smaller.
pub struct JointTree<S: Strategy> {
    origin: Origin<S>,
    memory: Rc<Memory>,
    shelf: Option<Shelf>,
    phase: Phase,
    grown: Grown<S>,
    /// The best of other passes, and how it fails.
    kept: Option<(Grown<S>, Rc<Failing>)>,
    passes: u32,
}

impl<S: Strategy> Debug for JointTree<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JointTree").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl<S: Strategy> JointTree<S> {
    pub(super) fn new(
        origin: Origin<S>,
        memory: Rc<Memory>,
        shelf: Option<Shelf>,
    ) -> Result<JointTree<S>, Reason> {
        let grown = origin.grow()?;
        Ok(JointTree { origin, memory, shelf, phase: Phase::Whole, grown, kept: None, passes: 0 })
    }

    /// The saved case, which does not shrink.
    pub(super) fn replaying(
        mut origin: Origin<S>,
        memory: Rc<Memory>,
        saved: Saved,
    ) -> Result<JointTree<S>, Reason> {
        origin.seed = saved.seed;
        let mut own = JointTree::new(origin, memory, None)?;
        own.go_to(&saved).map_err(|it| Reason::from(it.to_string()))?;
        own.phase = Phase::Done;
        Ok(own)
    }

    /// Goes to a saved case of the same origin.
    fn go_to(&mut self, saved: &Saved) -> Result<(), SavedError> {
        let changed = || SavedError::Changed;
        let grown = self.origin.grow_to(&saved.steps).map_err(|_| changed())?;
        if one_line(&grown.tree.current()) != saved.data {
            return Err(changed());
        }
        self.grown = grown;
        self.memory.set_best(Some(Rc::new(saved.failing.clone())));
        Ok(())
    }

    /// The whole case has failed: tries the saved one, if it was made from this one.
    fn try_saved(&mut self) -> bool {
        let Some(shelf) = &self.shelf else { return false };
        let Some(saved) = shelf.look().filter(|it| it.seed == self.origin.seed) else {
            return false;
        };
        let (Some(failing), Ok(again)) = (self.memory.best(), self.origin.grow()) else {
            return false;
        };
        let known = (std::mem::replace(&mut self.grown, again), failing);
        match self.go_to(&saved) {
            Ok(()) => {
                self.kept = Some(known);
                self.phase = Phase::Saved;
                true
            }
            Err(error) => {
                self.grown = known.0;
                if let Some(shelf) = &self.shelf {
                    shelf.complain(&error);
                }
                false
            }
        }
    }

    /// Shrinks the data, from the beginning.
    fn begin_pass(&mut self) -> bool {
        self.phase = Phase::Passing;
        self.passes += 1;
        self.simplify_data()
    }

    fn simplify_data(&mut self) -> bool {
        self.grown.take(Step::Simplify) || self.end_pass()
    }

    /// The data are as small as this pass can make them; whether there is more to try.
    fn end_pass(&mut self) -> bool {
        let Some(failing) = self.memory.best() else {
            return self.done(); // it was not the schedule that failed
        };
        let former = self.kept.take();
        if former.as_ref().is_some_and(|it| it.0.size() <= self.grown.size()) {
            if let Some((grown, failing)) = former {
                self.grown = grown;
                self.memory.set_best(Some(failing));
            }
            self.phase = Phase::Last;
            return true;
        }
        if self.passes == PASSES {
            return self.done();
        }
        match self.origin.grow() {
            Ok(again) => {
                let small = std::mem::replace(&mut self.grown, again);
                self.kept = Some((small, failing));
                self.begin_pass()
            }
            Err(_) => self.done(),
        }
    }

    fn done(&mut self) -> bool {
        self.phase = Phase::Done;
        false
    }

    /// Puts back what was kept while another case was tried.
    fn put_back(&mut self) {
        if let Some((grown, failing)) = self.kept.take() {
            self.grown = grown;
            self.memory.set_best(Some(failing));
        }
    }

    fn save(&self) {
        let (Some(shelf), Some(failing)) = (&self.shelf, self.memory.best()) else { return };
        shelf.save(&Saved {
            failing: (*failing).clone(),
            seed: self.origin.seed,
            steps: self.grown.steps.clone(),
            data: one_line(&self.grown.tree.current()),
        });
    }
}

impl<S: Strategy> ValueTree for JointTree<S> {
    type Value = (S::Value, Schedule);

    fn current(&self) -> Self::Value {
        (self.grown.tree.current(), Schedule::new(&self.memory))
    }

    fn simplify(&mut self) -> bool {
        match self.phase {
            Phase::Whole => self.try_saved() || self.begin_pass(),
            Phase::Saved => {
                self.kept = None;
                self.done()
            }
            Phase::Passing => self.simplify_data(),
            Phase::Last => self.done(),
            Phase::Done => false,
        }
    }

    fn complicate(&mut self) -> bool {
        match self.phase {
            Phase::Whole | Phase::Done => false,
            Phase::Saved => {
                self.put_back();
                self.begin_pass()
            }
            Phase::Passing => self.grown.take(Step::Complicate) || self.end_pass(),
            Phase::Last => self.done(),
        }
    }
}

impl<S: Strategy> Drop for JointTree<S> {
    fn drop(&mut self) {
        // Else it has not failed.
        if self.phase != Phase::Whole {
            self.save();
        }
    }
}
