//! Two checks that take a second run: that tasklets share nothing, and that a run can end.
//!
//! The same matching in another order of independent events must show each tasklet the same: if it
//! does not, tasklets share state beside their channels, or read a clock, or depend on the order of
//! a hash table, and no reduction of schedules is sound.
//!
//! Always: a program is accused only of what was seen in these runs.

use super::event::{Event, Names, TaskletName};
use super::replay::Overrides;
use super::run::{Outcome, Run};
use super::system::{Choice, Enabled, System, execute};
use super::verdict::{Failure, Settings};

/// Runs each sample in two orders; the first difference.
pub(super) fn check(
    system: &dyn System,
    settings: &Settings,
    samples: &[Overrides],
) -> Option<Failure> {
    let mut names = Names::new();
    samples.iter().find_map(|sample| {
        let one = sample.replay(system, &mut names, settings);
        let mut choose = |enabled: &Enabled<'_>| Choice::Take(sample.choose_last(enabled));
        let other = execute(system, &mut names, settings.rules, &mut choose);
        let (who, what) = difference(&one, &other, &names)?;
        let outcome = Outcome::NotIsolated(who, what);
        Some(Failure::new(outcome, &one, &names, sample.clone()))
    })
}

/// The first tasklet that did something else in the other run, and what.
fn difference(one: &Run, other: &Run, names: &Names) -> Option<(TaskletName, String)> {
    let slots = |run: &Run, index: usize| run.of.get(index).map_or(0, Vec::len);
    for index in 0..one.of.len().max(other.of.len()) {
        let tasklet = TaskletName::numbered(index);
        for nth in 0..slots(one, index).max(slots(other, index)) {
            let slot = super::event::Slot { tasklet, nth: nth as u32 };
            let (mine, its) = (one.slot(slot), other.slot(slot));
            let same = match (mine, its) {
                (Some(mine), Some(its)) => {
                    mine.branches == its.branches
                        && mine.observed == its.observed
                        && one.place(slot) == other.place(slot)
                }
                _ => false,
            };
            if !same {
                let at = one.place(slot).or(other.place(slot));
                let at = at.map(|it| format!(", at {it}")).unwrap_or_default();
                let what = format!(
                    "its operation {nth}{at} is another one when independent events happen in \
                     another order: it depends on more than what it has received"
                );
                return Some((tasklet, what));
            }
        }
    }
    if one.outcome.same_class(&other.outcome) {
        return None;
    }
    let (one, other) = (one.outcome.text(names), other.outcome.text(names));
    let what = format!(
        "the run ends differently when independent events happen in another order ({one}; \
         {other}): tasklets share more than channels"
    );
    Some((TaskletName::ROOT, what))
}

/// Goes on with a run that was cut, fairly, for as many events again; a failure if it does not end.
///
/// The default schedule is tried first: it is the shortest to write down.
pub(super) fn livelock(
    system: &dyn System,
    settings: &Settings,
    cut: &Overrides,
) -> Option<Failure> {
    let plain = Overrides::default();
    go_on(system, settings, &plain).or_else(|| go_on(system, settings, cut))
}

fn go_on(system: &dyn System, settings: &Settings, cut: &Overrides) -> Option<Failure> {
    let (mut names, mut rules) = (Names::new(), settings.rules);
    rules.events_max = rules.events_max.saturating_mul(2);
    let mut choose = |enabled: &Enabled<'_>| {
        if enabled.run.events.len() < settings.rules.events_max {
            return Choice::Take(cut.choose(enabled));
        }
        let age = |event: &Event| {
            let slots = event.offers().filter_map(|it| enabled.run.slot(it.slot));
            slots.map(|it| it.published).min()
        };
        let oldest = enabled.events.iter().enumerate().min_by_key(|(_, it)| age(it));
        Choice::Take(oldest.map_or(0, |it| it.0))
    };
    let run = execute(system, &mut names, rules, &mut choose);
    if run.outcome.is_failure() {
        let overrides = Overrides::of(&run, &names);
        return Some(Failure::new(run.outcome.clone(), &run, &names, overrides));
    }
    let lives = run.outcome == Outcome::StepBound;
    lives.then(|| Failure::new(Outcome::Livelock, &run, &names, cut.clone()))
}
