//! The strategies: a schedule alone, and a schedule with data.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::arbitrary::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::{Config, Reason, TestRunner};

use super::super::session::Explore;
use super::saved::Shelf;
use super::schedule::{Memory, Plan, Schedule};
use super::tree::{JointTree, Origin, ScheduleTree};

/// How many schedules a case is run with, if it is not said.
const SCHEDULES: u64 = 100;

/// How many schedules are drawn for each smaller candidate, if it is not said.
const FRESH: u64 = 50;

/// Where shrunk cases are saved, below the directory of the package.
const FOLDER: &str = "proptest-regressions";

/// A strategy for schedules; see [`schedule`].
#[derive(Clone, Debug)]
#[must_use = "a strategy does nothing until proptest uses it"]
pub struct Schedules {
    explore: Explore,
    schedules: u64,
    fresh: u64,
    folder: PathBuf,
}

/// A strategy for schedules: each case of a property test is explored with 100 of them.
///
/// [`with`](Schedules::with) makes cases of data and a schedule, which shrink together; that is
/// better than a tuple, because in a tuple the data are not shrunk again once they are done.
///
/// ```
/// use proptest::prelude::*;
/// use tasklets::explore::schedule;
/// use tasklets::{channel, spawn};
/// proptest! {
///     # #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]
///     // In a test module, this has a #[test] before it.
///     fn nothing_is_lost((lists, schedule) in
///         schedule().with(prop::collection::vec(prop::collection::vec(0..9_u64, 0..4), 1..4)))
///     {
///         schedule.run(|| {
///             let (tx, rx) = channel();
///             for list in lists.clone() {
///                 let tx = tx.clone();
///                 spawn(move || tx.send_all(list));
///             }
///             drop(tx);
///             assert_eq!(rx.iter().sum::<u64>(), lists.iter().flatten().sum());
///         })?;
///     }
/// }
/// nothing_is_lost();
/// ```
///
/// # Errors
/// Making a case fails if proptest is told to fork or to set a time limit: then it replays the
/// shrinking of a case in another process without running the test, and what is learnt from runs
/// is not there.
///
/// # Failing cases
/// proptest keeps the seed of a failing case as always, with the replay string in the comment
/// beside it. The shrunk case itself is saved in `proptest-regressions/<test>.sched` (the colons
/// of the test's path become `-`), if the data come from [`with`](Schedules::with) and proptest is
/// set to keep failures and knows the source file, as in `proptest!`. When proptest comes to the
/// same seed again, the case is run and then, instead of being shrunk again, the saved one. With
/// the replay string in the environment variable `TASKLETS_REPLAY` the saved case is the first to
/// be run, with this schedule alone. A file that is damaged or of another version is not used, and
/// that is said on standard error.
pub fn schedule() -> Schedules {
    Schedules { explore: Explore::new(), schedules: SCHEDULES, fresh: FRESH, folder: FOLDER.into() }
}

impl Schedules {
    /// What the program is called in replay strings; else as its OS thread, that is as its test.
    pub fn name(mut self, name: impl Into<String>) -> Schedules {
        self.explore = self.explore.name(name);
        self
    }

    /// With how many schedules a case is run.
    pub fn schedules(mut self, count: u64) -> Schedules {
        self.schedules = count.max(1);
        self
    }

    /// How many schedules are drawn for each smaller candidate of a failing case.
    pub fn fresh(mut self, count: u64) -> Schedules {
        self.fresh = count;
        self
    }

    /// After how many events a run is stopped.
    pub fn events(mut self, most: usize) -> Schedules {
        self.explore = self.explore.events(most);
        self
    }

    /// Whether timers may fire at any moment, not only when nothing else can happen.
    pub fn lax_timers(mut self, lax: bool) -> Schedules {
        self.explore = self.explore.lax_timers(lax);
        self
    }

    /// In which directory the shrunk case is saved.
    pub fn saved_in(mut self, folder: impl Into<PathBuf>) -> Schedules {
        self.folder = folder.into();
        self
    }

    /// Cases of data and a schedule, which shrink together.
    pub fn with<S: Strategy>(self, data: S) -> WithData<S> {
        WithData { schedules: self, data: Rc::new(data), asked: AtomicBool::new(false) }
    }

    fn memory(&self, runner: &mut TestRunner) -> Result<Rc<Memory>, Reason> {
        refuse(runner.config())?;
        let seed = any::<u64>().new_tree(runner)?.current();
        let (explore, schedules, fresh) = (self.explore.clone(), self.schedules, self.fresh);
        Ok(Memory::new(Plan { explore, schedules, fresh, seed }))
    }
}

fn refuse(config: &Config) -> Result<(), Reason> {
    let mode = match (config.fork(), config.timeout()) {
        (_, 1..) => "a timeout",
        (true, 0) => "fork",
        (false, 0) => return Ok(()),
    };
    Err(format!(
        "schedules cannot be shrunk with {mode}: proptest then replays the shrinking in another \
         process without running the test; a run that does not end is stopped after a number of \
         events anyway"
    )
    .into())
}

impl Strategy for Schedules {
    type Tree = ScheduleTree;
    type Value = Schedule;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        Ok(ScheduleTree::new(self.memory(runner)?))
    }
}

/// A strategy for data and a schedule; see [`Schedules::with`].
#[derive(Debug)]
#[must_use = "a strategy does nothing until proptest uses it"]
pub struct WithData<S> {
    schedules: Schedules,
    data: Rc<S>,
    /// Whether the case that the environment asks for was made.
    asked: AtomicBool,
}

impl<S: Strategy> Strategy for WithData<S> {
    type Tree = JointTree<S>;
    type Value = (S::Value, Schedule);

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let memory = self.schedules.memory(runner)?;
        let seed = any::<[u8; 32]>().new_tree(runner)?.current();
        let config = runner.config().clone();
        let keeps = config.failure_persistence.is_some() && config.source_file.is_some();
        let name = self.schedules.explore.program_name();
        let shelf = keeps.then(|| Shelf::new(&self.schedules.folder, name));
        let origin = Origin { strategy: self.data.clone(), config, seed };
        if !self.asked.swap(true, Ordering::Relaxed)
            && let Some(shelf) = &shelf
            && let Some(saved) = shelf.asked_for()?
        {
            return JointTree::replaying(origin, memory, saved);
        }
        JointTree::new(origin, memory, shelf)
    }
}
