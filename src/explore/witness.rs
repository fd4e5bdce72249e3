//! A system that remembers its runs: which one failed, which were cut, and a few for the isolation
//! check.
//!
//! Always: what is remembered does not depend on the session's numbers, only on spawn paths.

use super::board::Board;
use super::event::{Names, TaskletName};
use super::replay::Overrides;
use super::run::Outcome;
use super::system::System;
use parking_lot::Mutex;

/// Every so many runs one is kept for the isolation check, up to so many.
const SAMPLE_EVERY: u64 = 100;
const SAMPLES_MAX: usize = 32;

/// A run that failed, as the schedule that leads to it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) outcome: Outcome,
    /// The spawn path of the tasklet that the outcome is about.
    pub(super) who: Vec<u32>,
    pub(super) overrides: Overrides,
    pub(super) events: usize,
}

impl Found {
    /// The outcome, with the names of another session.
    pub(super) fn outcome_in(&self, names: &mut Names) -> Outcome {
        let who = self.who.iter().fold(TaskletName::ROOT, |it, nth| names.child(it, *nth));
        match &self.outcome {
            Outcome::Panicked(_, what) => Outcome::Panicked(who, what.clone()),
            Outcome::Refused(_, what) => Outcome::Refused(who, what.clone()),
            Outcome::NotIsolated(_, what) => Outcome::NotIsolated(who, what.clone()),
            other => other.clone(),
        }
    }
}

/// What a witness has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    runs: u64,
    /// The shortest of the failing runs that fail like the first one.
    pub(super) failing: Option<Found>,
    /// Runs that came to their end.
    pub(super) samples: Vec<Overrides>,
    /// A run that was stopped at the step bound.
    pub(super) cut: Option<Overrides>,
}

/// A system whose runs are remembered.
pub(super) struct Witness<'a> {
    inner: &'a dyn System,
    seen: Mutex<Seen>,
}

impl<'a> Witness<'a> {
    pub(super) fn new(inner: &'a dyn System) -> Witness<'a> {
        Witness { inner, seen: Mutex::default() }
    }

    pub(super) fn found(&self) -> Seen {
        self.seen.lock().clone()
    }
}

impl System for Witness<'_> {
    fn program(&self) -> &str {
        self.inner.program()
    }

    fn run(&self, board: &mut Board<'_>) {
        self.inner.run(board);
        let outcome = board.outcome();
        let mut seen = self.seen.lock();
        seen.runs += 1;
        let due = seen.runs % SAMPLE_EVERY == 1 && seen.samples.len() < SAMPLES_MAX;
        match outcome {
            Outcome::Abandoned => {}
            Outcome::StepBound if seen.cut.is_none() => seen.cut = Some(board.overrides()),
            Outcome::StepBound => {}
            Outcome::Finished if due => {
                let sample = board.overrides();
                seen.samples.push(sample);
            }
            Outcome::Finished => {}
            failed => {
                let events = board.events();
                let better = seen.failing.as_ref().is_none_or(|it| {
                    std::mem::discriminant(&it.outcome) == std::mem::discriminant(&failed)
                        && events < it.events
                });
                if better {
                    let who = board.path_of(&failed);
                    let overrides = board.overrides();
                    seen.failing = Some(Found { outcome: failed, who, overrides, events });
                }
            }
        }
    }
}
