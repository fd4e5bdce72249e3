//! What a search found, and how far it went.
//!
//! Always: a verdict says whether the search was exhaustive; there is no bare "ok".

use std::collections::BTreeSet;
use std::fmt;

use super::event::{Event, Names};
use super::run::{Outcome, Run};
use super::system::Rules;

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
    /// Its trace.
    pub trace: u64,
    /// Which execution it was, from 1.
    pub execution: u64,
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
    /// How many different states were seen, if the search tells them apart.
    pub states: Option<u64>,
    /// About how many traces there are, if the search was not exhaustive and can tell.
    pub estimate: Option<f64>,
    /// The first failure of each trace that fails.
    pub failures: Vec<Failure>,
    /// Set when the same choices led to different events: the program is not deterministic.
    pub diverged: bool,
    /// Set when a few runs were repeated in another order and did the same.
    pub isolated: bool,
    /// The traces seen.
    pub(super) seen: BTreeSet<u64>,
}

impl Verdict {
    /// Counts a run. Whether the search goes on, as far as this run decides.
    pub(super) fn count(&mut self, run: &Run, settings: &Settings) -> bool {
        self.executions += 1;
        match run.outcome {
            Outcome::Abandoned => self.blocked += 1,
            Outcome::StepBound => self.cut += 1,
            Outcome::Finished
            | Outcome::Deadlock
            | Outcome::LeftBehind
            | Outcome::Refused(..)
            | Outcome::NotIsolated(..)
            | Outcome::Livelock
            | Outcome::Panicked(..) => {
                let first = self.seen.insert(run.trace);
                self.traces = self.seen.len() as u64;
                if first && run.outcome.is_failure() {
                    self.failures.push(Failure {
                        outcome: run.outcome.clone(),
                        events: run.events.iter().map(|it| it.event).collect(),
                        trace: run.trace,
                        execution: self.executions,
                    });
                }
            }
        }
        let enough = settings.stop_at_failure && !self.failures.is_empty();
        let enough = enough || matches!(run.outcome, Outcome::Refused(..)) || self.cut >= CUTS_MAX;
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
        write!(f, "{how}: {found}{diverged}; {} executions, ", self.executions)?;
        write!(f, "{} traces, {} blocked", self.traces, self.blocked)?;
        if self.cut > 0 {
            write!(f, ", {} cut at the step bound", self.cut)?;
        }
        if let Some(states) = self.states {
            write!(f, ", {states} states")?;
        }
        match self.estimate {
            Some(all) => write!(f, ", about {all:.0} traces in all"),
            None => Ok(()),
        }
    }
}
