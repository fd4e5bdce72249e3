//! Exploring a program: what to do, and what it came to.
//!
//! Always: a failure that was found is looked at again before it is reported: see `found`.

use super::event::Names;
use super::parallel::{exhaust_parallel_with, sample_parallel_with};
use super::program::Program;
use super::random::{Mode, Plan, portfolio, sample};
use super::replay::{Overrides, REPLAY, ReplayError, asked_for};
use super::report::Report;
use super::run::Run;
use super::system::System;
use super::verdict::{Failure, Settings, Verdict};
use super::watchdog;
use super::witness::Seen;
use super::{every_state, exhaust_with, within_overrides};
use std::num::NonZero;
use std::panic::Location;
use std::time::Duration;

/// Executions of a search that is not told how many.
const EXECUTIONS: u64 = 3_000;

/// Which way to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Every trace if there seem to be few, else schedules drawn in several ways by turns: see
    /// [`portfolio`].
    Portfolio,
    /// Every trace once: see [`exhaust`](super::exhaust).
    Exhaustive,
    /// Every state once: see [`every_state`]. Only this counts states.
    States,
    /// Everything that differs from the default schedule in so many places: see
    /// [`within_overrides`].
    Within(usize),
    /// Schedules drawn in one way: see [`sample`].
    Random(Mode),
}

/// How to explore a program; [`explore`] with settings.
///
/// ```
/// use tasklets::explore::{Explore, Search};
/// use tasklets::{channel, spawn};
/// let explored = Explore::new().search(Search::Exhaustive).run(|| {
///     let (tx, rx) = channel();
///     for number in 1..=3 {
///         let tx = tx.clone();
///         spawn(move || tx.send(number));
///     }
///     let sum: i32 = rx.iter().take(3).sum();
///     assert_eq!(sum, 6); // in whatever order they come
/// });
/// assert!(explored.verdict.exhausted && explored.report.is_none());
/// assert_eq!(explored.verdict.traces, 6);
///
/// let nap = || tasklets::sleep(std::time::Duration::from_secs(5)).unwrap();
/// let explorer = Explore::new().name("nap").seed(7).executions(100).events(1_000);
/// let explorer = explorer.lax_timers(true).all_failures(true).endless(false);
/// let explorer = explorer.step_limit(std::time::Duration::from_secs(2));
/// assert!(explorer.check(nap).exhausted);
/// assert!(explorer.replay("v2:another::0000", nap).is_err());
/// ```
#[derive(Clone, Debug)]
#[must_use = "it explores nothing until it is run"]
pub struct Explore {
    name: Option<String>,
    search: Search,
    pub(super) settings: Settings,
    pub(super) seed: u64,
    pub(super) endless: bool,
    step_limit: Duration,
}

/// What exploring a program came to.
#[derive(Clone, Debug)]
pub struct Explored {
    /// What the search found, and how far it went.
    pub verdict: Verdict,
    /// The failure, if there is one.
    pub report: Option<Report>,
}

impl Default for Explore {
    fn default() -> Explore {
        Explore::new()
    }
}

impl Explore {
    /// Up to 3,000 executions of a portfolio, until the first failure.
    pub fn new() -> Explore {
        let settings =
            Settings { executions_max: EXECUTIONS, stop_at_failure: true, ..Settings::default() };
        Explore {
            name: None,
            search: Search::Portfolio,
            settings,
            seed: 0,
            endless: false,
            step_limit: watchdog::LIMIT,
        }
    }

    /// What the program is called in replay strings; else as its OS thread, that is as its test.
    pub fn name(mut self, name: impl Into<String>) -> Explore {
        self.name = Some(name.into());
        self
    }

    /// Which way to search.
    pub fn search(mut self, search: Search) -> Explore {
        self.search = search;
        self
    }

    /// What the random ways begin with.
    pub fn seed(mut self, seed: u64) -> Explore {
        self.seed = seed;
        self
    }

    /// After how many executions the search gives up; at least one is made.
    ///
    /// Up to a quarter more, 300 at most, look at what the end of the root does to others.
    pub fn executions(mut self, most: u64) -> Explore {
        self.settings.executions_max = most.max(1);
        self
    }

    /// After how many events a run is stopped; it may have at least one.
    ///
    /// One that goes on for as many again, with nobody passed over, counts as a livelock.
    pub fn events(mut self, most: usize) -> Explore {
        self.settings.rules.events_max = most.max(1);
        self
    }

    /// Whether the search goes on after a failure, and reports the shortest one.
    pub fn all_failures(mut self, all: bool) -> Explore {
        self.settings.stop_at_failure = !all;
        self
    }

    /// Whether timers may fire at any moment, not only when nothing else can happen.
    pub fn lax_timers(mut self, lax: bool) -> Explore {
        self.settings.rules.lax_timers = lax;
        self
    }

    /// Whether the program is meant to go on for ever: then one that does has no livelock.
    pub fn endless(mut self, endless: bool) -> Explore {
        self.endless = endless;
        self
    }

    /// How long a tasklet may compute without an operation, in real time; else 20 s.
    ///
    /// One that takes longer is named on stderr, and ends the process: nothing can stop it. The
    /// time is counted in half seconds.
    pub fn step_limit(mut self, limit: Duration) -> Explore {
        self.step_limit = limit;
        self
    }

    /// Explores `main`, the body of a root tasklet that is run again and again.
    ///
    /// # Panics
    /// If the environment variable `TASKLETS_REPLAY` holds a text that is no replay string.
    #[track_caller]
    pub fn run(&self, main: impl Fn()) -> Explored {
        let program = self.program(&main);
        self.replay_asked_for(&program).unwrap_or_else(|| self.search_program(&program))
    }

    /// As [`run`](Self::run), with the executions made on so many OS threads; the verdict is the
    /// same as on one.
    ///
    /// That is so for [`Search::Exhaustive`] and [`Search::Random`]; other searches use one thread.
    /// There are at most 256, and fewer if the OS refuses some.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    ///
    /// ```
    /// use std::num::NonZero;
    /// use tasklets::explore::{Explore, Search};
    /// use tasklets::{channel, spawn};
    /// fn race() {
    ///     let (tx, rx) = channel();
    ///     for number in 1..=4 {
    ///         let tx = tx.clone();
    ///         spawn(move || tx.send(number));
    ///     }
    ///     rx.iter().take(4).for_each(drop);
    /// }
    /// let explorer = Explore::new().search(Search::Exhaustive);
    /// let explored = explorer.run_parallel(NonZero::new(2).unwrap(), race);
    /// assert_eq!(explored.verdict.traces, 24);
    /// ```
    #[track_caller]
    pub fn run_parallel(&self, threads: NonZero<usize>, main: impl Fn() + Sync) -> Explored {
        let program = self.program(&main);
        if let Some(explored) = self.replay_asked_for(&program) {
            return explored;
        }
        let (settings, mut seen) = (&self.settings, Seen::default());
        let verdict = match self.search {
            Search::Exhaustive => {
                let look = &mut |run: &Run, names: &Names| seen.note(run, names);
                exhaust_parallel_with(&program, settings, threads, look)
            }
            Search::Random(mode) => {
                let plan = Plan { mode: Some(mode), seed: self.seed };
                sample_parallel_with(&program, plan, settings, threads, &mut seen)
            }
            Search::Portfolio | Search::States | Search::Within(_) => {
                return self.search_program(&program);
            }
        };
        let (verdict, found) = self.look_again(&program, verdict, &seen);
        self.conclude(&program, verdict, found)
    }

    /// The replay that the environment asks for, if it is of this program.
    fn replay_asked_for<M: Fn() + ?Sized>(&self, program: &Program<'_, M>) -> Option<Explored> {
        let asked = asked_for(program.program());
        let overrides = asked.unwrap_or_else(|error| panic!("{REPLAY}: {error}"))?;
        match self.replay_program(program, overrides) {
            Ok(explored) => Some(explored),
            Err(error) => {
                // It may be another exploration of the same test.
                eprintln!("tasklets: {REPLAY} is not for this exploration: {error}");
                None
            }
        }
    }

    /// Explores `main`; a failure is a panic with the report.
    ///
    /// # Panics
    /// If the program fails, and as [`run`](Self::run).
    #[track_caller]
    pub fn check(&self, main: impl Fn()) -> Verdict {
        let explored = self.run(main);
        match explored.report {
            Some(report) => panic!("{report}"),
            None => explored.verdict,
        }
    }

    /// Runs `main` once, with the schedule, the kind of timers and the number of events that a
    /// replay string says.
    ///
    /// What is known not to be the same each time is run 20 times more. If no [`name`](Self::name)
    /// is set, the string may be of a program of any name.
    ///
    /// # Errors
    /// The text is no replay string of this program.
    #[track_caller]
    pub fn replay(&self, text: &str, main: impl Fn()) -> Result<Explored, ReplayError> {
        let program = self.program(&main);
        let overrides = Overrides::read(text, self.name.as_deref())?;
        self.replay_program(&program, overrides)
    }

    /// What the program is called.
    pub(super) fn program_name(&self) -> String {
        let thread = std::thread::current();
        self.name.as_deref().or(thread.name()).unwrap_or("program").into()
    }

    #[track_caller]
    pub(super) fn program<'a, M: Fn() + ?Sized>(&self, main: &'a M) -> Program<'a, M> {
        let program = Program::at(self.program_name(), main, Location::caller());
        program.step_limit(self.step_limit)
    }

    fn search_program(&self, program: &dyn System) -> Explored {
        let (verdict, found) = self.find(program);
        self.conclude(program, verdict, found)
    }

    /// Searches for a failure.
    pub(super) fn find(&self, program: &dyn System) -> (Verdict, Option<Failure>) {
        let (settings, mut seen) = (&self.settings, Seen::default());
        let look = &mut |run: &Run, names: &Names| seen.note(run, names);
        let verdict = match self.search {
            Search::Portfolio => portfolio(program, self.seed, settings, look),
            Search::Exhaustive => exhaust_with(program, settings, look),
            Search::States => every_state(program, settings, look),
            Search::Within(overrides) => within_overrides(program, overrides, settings, look),
            Search::Random(mode) => sample(program, mode, self.seed, settings, look),
        };
        self.look_again(program, verdict, &seen)
    }
}

/// Explores `main`, the body of a root tasklet: runs it under many schedules and panics with a
/// report if it fails under any.
///
/// When the root has ended, the others go on, so that those who wait for ever are seen. In
/// production they are cancelled then: how they take that is explored in some runs more.
///
/// It fails if a tasklet panics and nobody joins it, if tasklets wait for ever that are not
/// daemons, if it cannot end, if tasklets share what they should not, or if it does something else
/// under the same choices. The verdict says whether all schedules were tried; [`Explore`] has
/// settings.
///
/// # Panics
/// If the program fails.
///
/// ```
/// use tasklets::explore::explore;
/// use tasklets::{channel, spawn};
/// let verdict = explore(|| {
///     let (tx, rx) = channel();
///     spawn(move || tx.send("hello"));
///     assert_eq!(rx.recv(), Ok("hello"));
/// });
/// assert!(verdict.failures.is_empty());
/// ```
#[track_caller]
pub fn explore(main: impl Fn()) -> Verdict {
    Explore::new().check(main)
}

/// Runs `main` once, with the schedule of a replay string; see [`Explore::replay`].
///
/// # Errors
/// The text is no replay string of this program: it is of another version, is damaged, or the
/// program does something else than it did.
///
/// ```
/// use tasklets::explore::{Explore, ReplayError};
/// use tasklets::{channel, spawn};
/// fn race() {
///     let (tx, rx) = channel();
///     for name in ["first", "second"] {
///         let tx = tx.clone();
///         spawn(move || tx.send(name));
///     }
///     assert_eq!(rx.recv(), Ok("first"), "a hope, not a rule");
///     rx.recv().unwrap();
/// }
/// let report = Explore::new().name("race").run(race).report.unwrap();
/// let again = Explore::new().name("race").replay(&report.replay, race).unwrap();
/// assert_eq!(again.report.unwrap().outcome, report.outcome);
/// let half = &report.replay[..report.replay.len() / 2];
/// assert!(tasklets::explore::replay(half, race).is_err());
/// ```
#[track_caller]
pub fn replay(text: &str, main: impl Fn()) -> Result<Explored, ReplayError> {
    Explore::new().replay(text, main)
}
