//! What becomes of a failure that was found: it is looked at again, shrunk, reported, and replayed.
//!
//! Always: what is reported as a fact came again in a second run with the same choices; what did
//! not is reported as that.

use super::ending;
use super::event::Names;
use super::isolation;
use super::replay::{Overrides, ReplayError, reduce, shrink};
use super::report::{Evidence, Report};
use super::run::{Outcome, Run};
use super::session::{Explore, Explored};
use super::steady;
use super::system::System;
use super::verdict::{Failure, Settings, Verdict};
use super::witness::Seen;

impl Explore {
    /// What the search did not look for is looked for now; the failure to report.
    pub(super) fn look_again(
        &self,
        program: &dyn System,
        mut verdict: Verdict,
        seen: &Seen,
    ) -> (Verdict, Option<Failure>) {
        let settings = &self.settings;
        if verdict.failures.is_empty() {
            let found = steady::check(program, settings, &seen.samples);
            let departure = verdict.departure.take();
            let unknown = || verdict.diverged.then(|| steady::too_many(program, settings));
            verdict.failures.extend(found.or(departure).or_else(unknown));
            verdict.isolated = !seen.samples.is_empty() && verdict.failures.is_empty();
        }
        if verdict.failures.is_empty() {
            let found = isolation::livelock(program, settings, &seen.cuts, self.endless);
            verdict.failures.extend(found);
        }
        if verdict.failures.is_empty() && seen.outlived {
            ending::look(program, self.seed, settings, self.endless, &mut verdict);
        }
        // The shortest of those that fail like the first one.
        let class = |it: &Failure| std::mem::discriminant(&it.outcome);
        let first = verdict.failures.first().map(class);
        let alike = verdict.failures.iter_mut().filter(|it| Some(class(it)) == first);
        let mut shortest = alike.min_by_key(|it| it.events.len());
        if let Some(failure) = &mut shortest {
            failure.settle(program, settings);
        }
        let shortest = shortest.cloned();
        let outcome = shortest.as_ref().map(|it| &it.outcome);
        verdict.diverged |= matches!(outcome, Some(Outcome::NotDeterministic(..)));
        // What is not isolated, or not deterministic, may do what no search foresees.
        let accused = matches!(outcome, Some(Outcome::NotIsolated(..))) || verdict.diverged;
        verdict.exhausted &= !accused;
        verdict.isolated &= !accused;
        (verdict, shortest)
    }

    pub(super) fn conclude(
        &self,
        program: &dyn System,
        verdict: Verdict,
        found: Option<Failure>,
    ) -> Explored {
        let report = found.map(|it| self.report(program, it, verdict.to_string()));
        Explored { verdict, report }
    }

    /// The failure to which a schedule leads, if it leads to one.
    ///
    /// Whether tasklets are isolated takes two runs more, so it is looked at only if asked for.
    #[cfg(feature = "proptest")]
    pub(super) fn retry(
        &self,
        program: &dyn System,
        overrides: &Overrides,
        isolated: bool,
    ) -> Option<Failure> {
        let settings = &overrides.settings(&self.settings);
        if overrides.unsteady {
            return steady::repeat(program, settings, overrides, steady::REPLAYS);
        }
        let mut names = Names::new();
        let run = overrides.replay(program, &mut names, settings);
        if isolated && run.outcome == Outcome::Finished && !overrides.endings {
            return steady::check_order(program, settings, &run, &names);
        }
        if run.outcome == Outcome::StepBound {
            let cuts = std::slice::from_ref(overrides);
            return isolation::livelock(program, settings, cuts, self.endless);
        }
        run.outcome.is_failure().then(|| {
            let schedule = Overrides::of(&run, &names);
            Failure::new(run.outcome.clone(), &run, &names, schedule)
        })
    }

    /// Shrinks a failure and writes it down.
    pub(super) fn report(&self, program: &dyn System, found: Failure, search: String) -> Report {
        let mut names = Names::new();
        let outcome = found.outcome_in(&mut names);
        let mut detailed = self.settings;
        detailed.rules.details = true;
        let (settings, found, who) = (&self.settings, found.overrides, found.who);
        let several = matches!(
            outcome,
            Outcome::NotIsolated(..) | Outcome::NotDeterministic(..) | Outcome::Livelock
        );
        let shrunk_in = |count: u64| format!("{search}; shrunk in {count} executions");
        let (overrides, passing, search) = match outcome {
            Outcome::Livelock => {
                let least = isolation::shrink_livelock(program, settings, &found, self.endless);
                (least, None, search)
            }
            Outcome::NotIsolated(..) => {
                let (least, count) = shrink_order(program, settings, found, &who);
                (least, None, format!("{search}; shrunk by {count} schedules"))
            }
            Outcome::NotDeterministic(..) => {
                (steady::plainest(program, settings, found), None, search)
            }
            _ => match shrink(program, &mut names, settings, &found, &outcome) {
                Some(it) => (it.overrides, it.passing, shrunk_in(it.executions)),
                None => (found, None, search),
            },
        };
        let mut run = overrides.replay(program, &mut names, &detailed);
        if !run.outcome.same_class(&outcome) {
            run.outcome = if several {
                outcome // it takes more than one run to see it
            } else {
                let before = outcome.text(&names);
                let whole = Overrides::of(&run, &names);
                steady::accuse(program, settings, &whole, &before).outcome_in(&mut names)
            };
        }
        let overrides = overrides.under(settings.rules);
        let overrides = match run.outcome {
            Outcome::NotDeterministic(..) => overrides.unsteady(),
            _ => overrides.leading_to(&run),
        };
        let (run, names, passing) = (&run, &names, passing.as_ref());
        let program = program.program();
        Report::new(Evidence { program, run, names, passing, overrides, search })
    }

    pub(super) fn replay_program(
        &self,
        program: &dyn System,
        overrides: Overrides,
    ) -> Result<Explored, ReplayError> {
        let (mut names, mut settings) = (Names::new(), overrides.settings(&self.settings));
        settings.rules.details = true;
        let mut verdict = Verdict::default();
        let mut run: Run = overrides.replay(program, &mut names, &settings);
        if let Some(outcome) = self.seen_again(program, &settings, &overrides, &run, &mut names) {
            run.outcome = outcome;
        }
        verdict.count(&run, &names, &settings);
        if overrides.unsteady {
            verdict.executions += steady::REPLAYS as u64;
        }
        verdict.diverged = matches!(run.outcome, Outcome::NotDeterministic(..));
        if !verdict.diverged && !overrides.leads_to(&run) {
            return Err(ReplayError::Changed);
        }
        let search = String::from("none: this is a replay");
        let report = run.outcome.is_failure().then(|| {
            let (run, names, program) = (&run, &names, program.program());
            Report::new(Evidence { program, run, names, passing: None, overrides, search })
        });
        Ok(Explored { verdict, report })
    }

    /// What is wrong with a run that was replayed, if one run does not show it.
    fn seen_again(
        &self,
        program: &dyn System,
        settings: &Settings,
        overrides: &Overrides,
        run: &Run,
        names: &mut Names,
    ) -> Option<Outcome> {
        let found = if overrides.unsteady {
            steady::repeat(program, settings, overrides, steady::REPLAYS)
        } else if !overrides.leads_to(run) {
            steady::repeat(program, settings, overrides, steady::AGAIN)
        } else if run.outcome == Outcome::StepBound {
            let cuts = std::slice::from_ref(overrides);
            isolation::livelock(program, settings, cuts, self.endless)
        } else if run.outcome == Outcome::Finished && !overrides.endings {
            let whole = Overrides::of(run, names).leading_to(run);
            steady::check(program, settings, std::slice::from_ref(&whole))
        } else {
            None
        };
        found.map(|it| it.outcome_in(names))
    }
}

/// How often a difference between two orders is looked for again, to make its schedule short.
const TRIES_MAX: u64 = 100;

/// Takes away what is not needed to see that `who` depends on the order of independent events; and
/// how many schedules were tried for that.
fn shrink_order(
    program: &dyn System,
    settings: &Settings,
    overrides: Overrides,
    who: &[u32],
) -> (Overrides, u64) {
    let mut tries = 0;
    let mut fails = |it: &Overrides| {
        tries += 1;
        let mut names = Names::new();
        let run = it.replay(program, &mut names, settings);
        let found = || steady::check_order(program, settings, &run, &names);
        tries <= TRIES_MAX && found().is_some_and(|it| it.who == who)
    };
    let least = reduce(overrides, &mut fails);
    (least, tries.min(TRIES_MAX))
}
