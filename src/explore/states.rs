//! Every state once: for systems that have few states and many traces.
//!
//! A state is what each tasklet has seen, so two runs that come to the same state have the same
//! futures, and the second need not go on.
//!
//! A tasklet that can only begin, or give way, does so before anything else is chosen: that
//! concerns nobody but itself, unless somebody is cancelled, and then the search begins again
//! without this.
//!
//! Always: every state that can be reached is reached, whatever the order of events; so every
//! final state is seen, though not every trace that leads to it.

use std::collections::BTreeSet;

use super::brute::Ways;
use super::event::{Branch, Event, Names};
use super::live::Desk;
use super::run::Run;
use super::steady;
use super::system::{Choice, Enabled, System, execute_at};
use super::verdict::{Settings, Verdict};

/// Searches every state of `system`, and shows each run to `look`.
///
/// In the verdict a run that came to a known state counts as blocked.
pub fn every_state(
    system: &dyn System,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut names, mut verdict) = (Names::new(), Verdict::default());
    let mut seen = BTreeSet::new();
    let (mut ways, mut desk, mut eager) = (Ways::default(), Desk::default(), true);
    loop {
        execute_at(&mut desk, system, &mut names, settings.rules, &mut |enabled| {
            if let Some(place) = begins(enabled).filter(|_| eager) {
                return Choice::Take(place);
            }
            if ways.is_new() && !seen.insert(enabled.state()) {
                return Choice::Abandon;
            }
            ways.next(enabled.events.len())
        });
        let run = &desk.run;
        if eager && run.slots.iter().any(|it| it.branches.iter().any(is_cancel)) {
            (seen, ways, eager) = (BTreeSet::new(), Ways::default(), false);
            verdict = Verdict::default();
            continue;
        }
        if ways.departs() {
            verdict.depart(steady::departure(run, &names, None));
            return verdict;
        }
        if run.is_complete() {
            seen.insert(run.state);
        }
        look(run, &names);
        let more = verdict.count(run, &names, settings);
        verdict.states = Some(seen.len() as u64);
        if !ways.go_on(&mut verdict, more) {
            return verdict;
        }
    }
}

fn is_cancel(branch: &Branch) -> bool {
    matches!(branch, Branch::Cancel(_))
}

/// An event of a tasklet that can do nothing else.
fn begins(enabled: &Enabled<'_>) -> Option<usize> {
    let alone = |event: &Event| {
        let slot = enabled.run.slot(event.first.slot);
        slot.is_some_and(|it| it.branches[..] == [Branch::Default])
    };
    enabled.events.iter().position(alone)
}
