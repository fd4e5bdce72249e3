//! What is remembered of the runs of a search: some that were cut, and a few that are made again.
//!
//! Always: what is remembered does not depend on the session's numbers, only on spawn paths, nor on
//! how many threads make the runs.

use super::event::{Names, mix};
use super::replay::Overrides;
use super::run::{Outcome, Run};
use std::collections::BTreeSet;

/// The first runs, runs number 1, 2, 4, 8 and so on, and one of so many, are kept to be made again,
/// up to so many.
const SAMPLES_FIRST: u64 = 4;
const SAMPLE_EVERY: u64 = 100;
const SAMPLES_MAX: usize = 32;

/// How many runs that were cut are kept at most.
const CUTS_MAX: usize = 8;

/// What was seen of a search.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    runs: u64,
    /// Runs that came to their end, each with its trace.
    pub(super) samples: Vec<Overrides>,
    /// Whether the root ended in any of them while others lived.
    pub(super) outlived: bool,
    /// Runs that were stopped at the step bound, each while it did something else.
    pub(super) cuts: Vec<Overrides>,
    lassos: BTreeSet<u64>,
}

/// What is worth remembering of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Glimpse {
    outlived: bool,
    sample: Option<Overrides>,
    /// With what tells apart what it did when it was cut.
    cut: Option<(u64, Overrides)>,
}

impl Seen {
    /// Nothing, after so many runs.
    pub(super) fn after(runs: u64) -> Seen {
        Seen { runs, ..Seen::default() }
    }

    /// Remembers the next run.
    pub(super) fn note(&mut self, run: &Run, names: &Names) {
        let glimpse = self.glimpse(run, names);
        self.keep(glimpse);
    }

    /// What is worth remembering of the next run.
    pub(super) fn glimpse(&mut self, run: &Run, names: &Names) -> Glimpse {
        self.runs += 1;
        let mut glimpse = Glimpse { outlived: run.outlived, ..Glimpse::default() };
        let due = self.runs <= SAMPLES_FIRST || self.runs.is_power_of_two();
        let due = due || self.runs.is_multiple_of(SAMPLE_EVERY);
        match run.outcome {
            Outcome::StepBound if self.cuts.len() < CUTS_MAX => {
                let lasso = Some(lasso(run, names)).filter(|it| !self.lassos.contains(it));
                glimpse.cut = lasso.map(|it| (it, Overrides::of(run, names)));
            }
            Outcome::Finished if due && self.samples.len() < SAMPLES_MAX => {
                glimpse.sample = Some(Overrides::of(run, names).leading_to(run));
            }
            _ => {}
        }
        glimpse
    }

    /// Remembers what was found worth it.
    pub(super) fn keep(&mut self, glimpse: Glimpse) {
        self.outlived |= glimpse.outlived;
        if self.samples.len() < SAMPLES_MAX {
            self.samples.extend(glimpse.sample);
        }
        if let Some((lasso, cut)) = glimpse.cut
            && self.cuts.len() < CUTS_MAX
            && self.lassos.insert(lasso)
        {
            self.cuts.push(cut);
        }
    }
}

/// Tells apart what a run has done lately, again and again perhaps: which tasklets completed which
/// operations in its last quarter, in whatever order and however often.
fn lasso(run: &Run, names: &Names) -> u64 {
    let late = &run.events[run.events.len() / 4 * 3..];
    let offers = late.iter().flat_map(|it| it.event.offers());
    let done: BTreeSet<u64> = offers
        .map(|it| {
            let at = run.place(it.slot).map_or((0, 0), |at| (at.line(), at.column()));
            let at = u64::from(at.0) << 32 | u64::from(at.1);
            let print = names.print_of(it.slot.tasklet);
            mix(mix(print, at), u64::from(it.branch))
        })
        .collect();
    done.into_iter().fold(0, mix)
}
