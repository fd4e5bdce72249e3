//! What a search found, and how far it went.
//!
//! Always: a verdict says whether the search was exhaustive; there is no bare "ok".

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use super::event::{Event, Names, TaskletName};
use super::replay::Overrides;
use super::run::{Outcome, Run};
use super::steady;
use super::system::{Rules, System};

/// A search ends after so many runs that were stopped at the step bound: it leads nowhere.
const CUTS_MAX: u64 = 32;

/// How far a search may go.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What a run may do.
    pub rules: Rules,
    /// After how many executions the search gives up.
    pub executions_max: u64,
    /// Whether the first failure ends the search.
    pub stop_at_failure: bool,
}

impl Default for Settings {
    /// Up to 100,000 executions, all failures.
    fn default() -> Settings {
        Settings { rules: Rules::default(), executions_max: 100_000, stop_at_failure: false }
    }
}

/// A run that shows a fault of the program.
#[derive(Clone, Debug)]
pub struct Failure {
    /// How it ended.
    pub outcome: Outcome,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The spawn path of the tasklet that the outcome is about; the root's is empty.
    pub who: Vec<u32>,
    /// The schedule that leads there.
    pub overrides: Overrides,
    /// Its trace.
    pub trace: u64,
    /// Which execution it was, from 1.
    pub execution: u64,
}

impl Failure {
    /// What `run` shows, which ends like `outcome`.
    pub(super) fn new(outcome: Outcome, run: &Run, names: &Names, overrides: Overrides) -> Failure {
        let who = outcome.tasklet().map(|it| names.path(it).to_vec()).unwrap_or_default();
        let events = run.events.iter().map(|it| it.event).collect();
        Failure { outcome, who, overrides, events, trace: run.trace, execution: 0 }
    }

    /// Looks whether it comes again; if it does not, that is the failure.
    ///
    /// Of several that panic, or are refused, without regard to each other the one counts that is
    /// first in a replay: a search may have come upon them in another order.
    pub(super) fn settle(&mut self, program: &dyn System, settings: &Settings) {
        match self.outcome {
            Outcome::Panicked(..)
            | Outcome::Deadlock
            | Outcome::LeftBehind
            | Outcome::Refused(..) => {}
            // These were seen in several runs already.
            Outcome::NotIsolated(..)
            | Outcome::NotDeterministic(..)
            | Outcome::Livelock
            | Outcome::Finished
            | Outcome::StepBound
            | Outcome::Abandoned => return,
        }
        let mut names = Names::new();
        let run = self.overrides.replay(program, &mut names, settings);
        let stops = |it: &Outcome| matches!(it, Outcome::Panicked(..) | Outcome::Refused(..));
        if stops(&self.outcome) && stops(&run.outcome) {
            let who = run.outcome.tasklet().map(|it| names.path(it).to_vec());
            self.who = who.unwrap_or_default();
            self.outcome = run.outcome;
        } else if !run.outcome.same_class(&self.outcome_in(&mut names)) {
            let before = self.outcome_in(&mut names).text(&names);
            let execution = self.execution;
            let found = steady::accuse(program, settings, &self.overrides, &before);
            *self = Failure { execution, ..found };
        }
    }

    /// The outcome, with the names of another session.
    pub(super) fn outcome_in(&self, names: &mut Names) -> Outcome {
        let who = self.who.iter().fold(TaskletName::ROOT, |it, nth| names.child(it, *nth));
        match &self.outcome {
            Outcome::Panicked(_, what) => Outcome::Panicked(who, what.clone()),
            Outcome::Refused(_, what) => Outcome::Refused(who, what.clone()),
            Outcome::NotIsolated(_, what) => Outcome::NotIsolated(who, what.clone()),
            Outcome::NotDeterministic(_, what) => Outcome::NotDeterministic(who, what.clone()),
            other => other.clone(),
        }
    }
}

/// How a run ended, as far as a verdict counts it.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// It was given up.
    Blocked,
    /// It was stopped at the step bound.
    Cut,
    /// This trace came to its end.
    Whole(u64),
    /// This trace came to its end, and fails.
    Failure(u64),
    /// It did something that cannot be explored.
    Refused,
}

impl End {
    pub(super) fn of(run: &Run) -> End {
        match run.outcome {
            Outcome::Abandoned => End::Blocked,
            Outcome::StepBound => End::Cut,
            Outcome::Finished => End::Whole(run.trace),
            Outcome::Refused(..) => End::Refused,
            Outcome::Deadlock
            | Outcome::LeftBehind
            | Outcome::NotIsolated(..)
            | Outcome::NotDeterministic(..)
            | Outcome::Livelock
            | Outcome::Panicked(..) => End::Failure(run.trace),
        }
    }
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Whether nothing is left to try.
    pub exhausted: bool,
    /// How often the program was run.
    pub executions: u64,
    /// How many different traces came to their end.
    pub traces: u64,
    /// How many runs were given up because they led to nothing new.
    pub blocked: u64,
    /// How many runs were stopped at the step bound.
    pub cut: u64,
    /// How many runs more were drawn in which the end of the root cancels the others, as in
    /// production; in all other runs they go on. None if the root never ended before others, or a
    /// failure was found before.
    pub endings: u64,
    /// How many different states were seen; only [`every_state`](super::every_state), that is
    /// [`Search::States`](super::Search::States), tells them apart.
    pub states: Option<u64>,
    /// About how many traces there are, if the search was not exhaustive and can tell.
    pub estimate: Option<f64>,
    /// How many overrides of the default schedule were tried at most, if that bounded the search.
    pub overrides_max: Option<usize>,
    /// The first failure of each trace that fails.
    pub failures: Vec<Failure>,
    /// Set when the same choices led to different events, or to another end: the program is not
    /// deterministic. [`Explore`](super::Explore) counts that as a failure.
    pub diverged: bool,
    /// Set when a few runs were repeated in another order and did the same.
    pub isolated: bool,
    /// Set when the program did something that cannot be explored; the search ended there.
    pub refused: bool,
    /// Where a run could not go on as an earlier one.
    pub(super) departure: Option<Failure>,
    /// The traces seen.
    pub(super) seen: HashSet<u64, BuildHasherDefault<Hashed>>,
    /// The traces that were seen to fail.
    pub(super) failed: HashSet<u64, BuildHasherDefault<Hashed>>,
}

/// A hash of what is one already.
#[derive(Clone, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|it| self.write_u64(u64::from(*it)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(8) ^ word;
    }
}

impl Verdict {
    /// Counts a run. Whether the search goes on, as far as this run decides.
    pub(super) fn count(&mut self, run: &Run, names: &Names, settings: &Settings) -> bool {
        let end = End::of(run);
        let failed = matches!(end, End::Failure(_) | End::Refused);
        if failed && self.failed.insert(run.trace) {
            let overrides = Overrides::of(run, names);
            let failure = Failure::new(run.outcome.clone(), run, names, overrides);
            self.failures.push(Failure { execution: self.executions + 1, ..failure });
        }
        self.count_end(end, settings)
    }

    /// Counts a run that was not what an earlier one with the same choices was.
    pub(super) fn depart(&mut self, departure: Failure) {
        self.executions += 1;
        self.diverged = true;
        self.departure = Some(Failure { execution: self.executions, ..departure });
    }

    /// Counts a run of which only the end is known; a failure is not kept.
    pub(super) fn count_end(&mut self, end: End, settings: &Settings) -> bool {
        self.executions += 1;
        match end {
            End::Blocked => self.blocked += 1,
            End::Cut => self.cut += 1,
            End::Refused => self.refused = true,
            End::Whole(trace) | End::Failure(trace) => {
                self.seen.insert(trace);
                self.traces = self.seen.len() as u64;
            }
        }
        self.wants_more(settings)
    }

    /// Whether anything is left of the budget, and to be looked for.
    pub(super) fn wants_more(&self, settings: &Settings) -> bool {
        let enough = settings.stop_at_failure && !self.failures.is_empty();
        let enough = enough || self.refused || self.cut >= CUTS_MAX;
        !enough && self.executions < settings.executions_max
    }

    /// The failure, in words.
    pub fn describe(&self, failure: &Failure, names: &Names) -> String {
        let lines = failure.events.iter().map(|it| it.text(names));
        let lines: Vec<_> = lines.collect();
        format!("{}\n  {}", failure.outcome.text(names), lines.join("\n  "))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.exhausted { "exhausted" } else { "bounded" };
        let found = match self.failures.len() {
            0 => String::from("no failure"),
            1 => String::from("1 failure"),
            many => format!("{many} failures"),
        };
        let diverged = if self.diverged { ", not deterministic" } else { "" };
        let bound = self.overrides_max.map(|it| format!(" to {it} overrides"));
        let bound = bound.unwrap_or_default();
        write!(f, "{how}{bound}: {found}{diverged}; {} executions, ", self.executions)?;
        write!(f, "{} traces, {} blocked", self.traces, self.blocked)?;
        if self.cut > 0 {
            write!(f, ", {} cut at the step bound", self.cut)?;
        }
        if self.endings > 0 {
            write!(f, ", {} more in which all ended with the root", self.endings)?;
        }
        match self.states {
            Some(states) => write!(f, ", {states} states")?,
            None => f.write_str(", states not counted")?,
        }
        match self.estimate {
            Some(all) => write!(f, ", about {all:.0} traces in all"),
            None => Ok(()),
        }
    }
}
