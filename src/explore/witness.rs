//! A system that remembers some of its runs: some that were cut, and a few for the isolation check.
//!
//! Always: what is remembered does not depend on the session's numbers, only on spawn paths.

use super::board::Board;
use super::replay::Overrides;
use super::run::Outcome;
use super::system::System;
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// Runs number 1, 2, 4, 8 and so on, and one of so many, are kept for the isolation check, up to so
/// many.
const SAMPLE_EVERY: u64 = 100;
const SAMPLES_MAX: usize = 32;

/// How many runs that were cut are kept at most.
const CUTS_MAX: usize = 8;

/// What a witness has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    runs: u64,
    /// Runs that came to their end.
    pub(super) samples: Vec<Overrides>,
    /// Whether the root ended in any of them while others lived.
    pub(super) outlived: bool,
    /// Runs that were stopped at the step bound, each while it did something else.
    pub(super) cuts: Vec<Overrides>,
    lassos: BTreeSet<u64>,
}

/// A system whose runs are remembered.
pub(super) struct Witness<'a, S: ?Sized> {
    inner: &'a S,
    seen: Mutex<Seen>,
}

impl<'a, S: ?Sized> Witness<'a, S> {
    pub(super) fn new(inner: &'a S) -> Witness<'a, S> {
        Witness { inner, seen: Mutex::default() }
    }

    pub(super) fn seen(self) -> Seen {
        self.seen.into_inner()
    }
}

impl<S: System + ?Sized> System for Witness<'_, S> {
    fn program(&self) -> &str {
        self.inner.program()
    }

    fn run(&self, board: &mut Board<'_>) {
        self.inner.run(board);
        let mut seen = self.seen.lock();
        seen.runs += 1;
        seen.outlived |= board.run.outlived;
        let due = seen.runs.is_power_of_two() || seen.runs.is_multiple_of(SAMPLE_EVERY);
        let due = due && seen.samples.len() < SAMPLES_MAX;
        match board.outcome() {
            Outcome::StepBound
                if seen.cuts.len() < CUTS_MAX && seen.lassos.insert(board.lasso()) =>
            {
                seen.cuts.push(board.overrides());
            }
            Outcome::Finished if due => seen.samples.push(board.overrides()),
            _ => {}
        }
    }

    fn rest(&self) {
        self.inner.rest();
    }
}
