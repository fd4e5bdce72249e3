//! Whether a program is the same each time: the same choices must lead to the same run.
//!
//! Who depends on the order of a hash table, a clock of the machine, a static, or anything else
//! that is not received, is seen in one of three ways: a search cannot begin a run as an earlier
//! one began; a run that is made again is another one; a failure that was seen does not come again.
//!
//! Always: what is said here was seen in two runs with the same choices.

use super::event::{Event, Names, Slot, TaskletName};
use super::isolation;
use super::replay::Overrides;
use super::run::{Outcome, Run, SlotRecord};
use super::system::System;
use super::verdict::{Failure, Settings};

/// How often a run is made again to see whether it is always the same.
pub(super) const AGAIN: usize = 4;

/// How many runs are made again at least, of however few, as a search may have had only one; if
/// those that were have not so many events already.
const RUNS_MIN: usize = 8;
const EVENTS_MIN: usize = 10_000;

/// How often that is done for who has asked for it.
pub(super) const REPLAYS: usize = 20;

/// What makes a program another one each time, for a report.
pub(super) const CAUSES: &str = "something decides that is neither a choice nor a message: the \
    order of a hash table, a clock of the machine, a random number, a static, or a value that \
    tasklets or executions share";

/// What such a failure is.
fn failure(who: TaskletName, what: String, run: &Run, names: &Names, of: &Overrides) -> Failure {
    let schedule = of.clone().unsteady();
    Failure::new(Outcome::NotDeterministic(who, what), run, names, schedule)
}

/// Makes each sample again, then in another order; the first difference.
///
/// Of few samples each is made several times.
pub(super) fn check(
    system: &dyn System,
    settings: &Settings,
    samples: &[Overrides],
) -> Option<Failure> {
    let mut names = Names::new();
    let mut events = 0;
    let more = samples.iter().cycle().take(RUNS_MIN.saturating_sub(samples.len()));
    let all = samples.iter().map(|it| (it, true)).chain(more.map(|it| (it, false)));
    let other = all.into_iter().find_map(|(sample, first)| {
        if !first && events >= EVENTS_MIN {
            return None;
        }
        let run = sample.replay(system, &mut names, settings);
        events += run.events.len();
        let same = sample.leads_to(&run) && run.outcome == Outcome::Finished;
        (!same).then(|| accuse(system, settings, sample, "it finished, when others met"))
    });
    other.or_else(|| reordered(system, settings, samples))
}

/// The first sample that another order of independent events makes another run, each time.
fn reordered(system: &dyn System, settings: &Settings, samples: &[Overrides]) -> Option<Failure> {
    let found = isolation::check(system, settings, samples)?;
    let sample = std::slice::from_ref(&found.overrides);
    let again = (1..AGAIN).all(|_| isolation::check(system, settings, sample).is_some());
    if again {
        // Several orders were tried; so the same one is, as often.
        return Some(repeat(system, settings, &found.overrides, REPLAYS).unwrap_or(found));
    }
    let mut names = Names::new();
    let run = found.overrides.replay(system, &mut names, settings);
    let what =
        format!("once this was seen, and not again: {}", found.outcome_in(&mut names).text(&names));
    Some(failure(TaskletName::ROOT, what, &run, &names, &found.overrides))
}

/// Whether another order of independent events makes `run` another one.
pub(super) fn check_order(
    system: &dyn System,
    settings: &Settings,
    run: &Run,
    names: &Names,
) -> Option<Failure> {
    let whole = Overrides::of(run, names);
    isolation::check(system, settings, std::slice::from_ref(&whole))
}

/// What to say of a run, as it was seen, to which its schedule does not lead any more; `before` is
/// how it ended.
pub(super) fn accuse(
    system: &dyn System,
    settings: &Settings,
    overrides: &Overrides,
    before: &str,
) -> Failure {
    if let Some(found) = repeat(system, settings, overrides, AGAIN) {
        return found;
    }
    let mut names = Names::new();
    let run = overrides.replay(system, &mut names, settings);
    // It is always the same in one order of independent events; so perhaps that order decides.
    let order = || reordered(system, settings, std::slice::from_ref(overrides));
    if !overrides.endings
        && run.outcome == Outcome::Finished
        && let Some(found) = order()
    {
        return found;
    }
    let after = run.outcome.text(&names);
    let what = format!(
        "the first time: {before}; the second time, with the same choices: {after}; it is not \
         deterministic, or tasklets share something that is no channel"
    );
    failure(TaskletName::ROOT, what, &run, &names, overrides)
}

/// Makes a run so many times; a failure if it is not always the same.
pub(super) fn repeat(
    system: &dyn System,
    settings: &Settings,
    overrides: &Overrides,
    times: usize,
) -> Option<Failure> {
    let mut names = Names::new();
    let first = overrides.replay(system, &mut names, settings);
    (1..times).find_map(|_| {
        let other = overrides.replay(system, &mut names, settings);
        let (who, what) = difference(&first, &other, &names)?;
        Some(failure(who, what, &other, &names, overrides))
    })
}

/// The default schedule, if that is not the same each time either: it is the shortest to write.
pub(super) fn plainest(
    system: &dyn System,
    settings: &Settings,
    overrides: Overrides,
) -> Overrides {
    let mut plain = Overrides::default().unsteady();
    plain.endings = overrides.endings;
    let differs = repeat(system, settings, &plain, AGAIN).is_some();
    if differs { plain } else { overrides }
}

/// Where a run, which was to be the same as another, is not.
fn difference(one: &Run, other: &Run, names: &Names) -> Option<(TaskletName, String)> {
    let same = |mine: &SlotRecord, its: &SlotRecord| {
        mine.slot == its.slot
            && mine.branches == its.branches
            && mine.observed == its.observed
            && one.place(mine.slot) == other.place(its.slot)
    };
    let most = one.slots.len().max(other.slots.len());
    let differs = |nth: &usize| match (one.slots.get(*nth), other.slots.get(*nth)) {
        (Some(mine), Some(its)) => !same(mine, its),
        _ => true,
    };
    let Some(nth) = (0..most).find(differs) else {
        let ends = one.outcome.same_class(&other.outcome);
        let (one, other) = (one.outcome.text(names), other.outcome.text(names));
        let what = format!("with the same choices it ends so: {one}; and another time so: {other}");
        return (!ends).then_some((TaskletName::ROOT, what));
    };
    let slots = [(one, other), (other, one)].map(|it| (it.0.slots.get(nth).map(|it| it.slot), it));
    // Best is an operation that one of the two runs does not have at all.
    let only = slots.iter().find_map(|(slot, (_, without))| {
        let slot = (*slot)?;
        without.slot(slot).is_none().then_some(slot)
    });
    let slot = only.or(slots[0].0).or(slots[1].0)?;
    let tells = |run: &Run| match (run.slot(slot), run.place(slot)) {
        (None, _) => String::from("does not come"),
        (Some(_), None) => String::from("is another one"),
        (Some(_), Some(at)) => format!("is at {at}"),
    };
    let what = format!(
        "with the same choices its operation {} {} in one run and {} in another",
        slot.nth,
        tells(one),
        tells(other),
    );
    Some((slot.tasklet, what))
}

/// What is said of a run that could not go on as an earlier one: there `wanted` came next, if that
/// is known.
pub(super) fn departure(run: &Run, names: &Names, wanted: Option<&Event>) -> Failure {
    let (mut who, count) = (TaskletName::ROOT, run.events.len());
    let mut what =
        format!("after {count} of the same events something else may happen than before");
    if let Some(event) = wanted {
        let slots: Vec<Slot> = event.offers().map(|it| it.slot).collect();
        let missing = slots.iter().find(|it| run.slot(**it).is_none());
        let slot = missing.or(slots.last()).copied().unwrap_or(event.first.slot);
        who = slot.tasklet;
        let now = match (missing, run.place(slot)) {
            (Some(_), _) => String::from("does not come"),
            (None, Some(at)) => format!("is another one, at {at}"),
            (None, None) => String::from("is another one"),
        };
        let (event, nth) = (event.text(names), slot.nth);
        what = format!(
            "after {count} of the same events an earlier run went on with {event}; now its \
             operation {nth} {now}"
        );
    }
    if run.outcome != Outcome::Abandoned {
        what += &format!(", and the run ends there: {}", run.outcome.text(names));
    }
    failure(who, what, run, names, &Overrides::of(run, names))
}

/// What is said of a run that failed, and does not when it is made again.
pub(super) fn passing(run: &Run, names: &Names) -> Failure {
    let now = run.outcome.text(names);
    let what = format!("a run fails, and with the same choices it ends so another time: {now}");
    failure(TaskletName::ROOT, what, run, names, &Overrides::of(run, names))
}

/// What is said of a program that has shown more traces than there are.
pub(super) fn too_many(system: &dyn System, settings: &Settings) -> Failure {
    let (plain, mut names) = (Overrides::default(), Names::new());
    let run = plain.replay(system, &mut names, settings);
    let what =
        String::from("schedules drawn at random led to more traces than a search of them all");
    failure(TaskletName::ROOT, what, &run, &names, &plain)
}
