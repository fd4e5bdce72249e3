//! Two checks that take more runs: that tasklets share nothing, and that a run can end.
//!
//! The same matching in other orders of independent events must show each tasklet the same: if it
//! does not, tasklets share state beside their channels, or read a clock, or depend on the order of
//! a hash table, and no reduction of schedules is sound. What one tasklet does between two of its
//! operations happens at once in every order, so a lost update is one across an operation; orders
//! in which tasklets take turns show it, and others drawn at random what depends on who comes when.
//!
//! Always: a program is accused only of what was seen in these runs.

use super::event::{Event, Names, TaskletName, mix};
use super::replay::{Overrides, reduce};
use super::run::{Outcome, Run};
use super::system::{Choice, Enabled, System, execute};
use super::verdict::{Failure, Settings};

/// Events more that a run may have, for each tasklet, when its root has ended: who does not listen
/// to a cancellation is unwound after a thousand. Tasklets that are counted at most.
const PATIENCE: usize = 1_100;
const TASKLETS_MAX: usize = 1_000;

/// How often a livelock is looked for again, to make its schedule short.
const TRIES_MAX: usize = 100;

/// All samples together are run in one order for so many executions that the search may make, but
/// each in no fewer and no more than so many. A single one, as in a replay, is run in the most.
const ORDERS_SHARE: u64 = 25;
const ORDERS_MIN: usize = 2;
const ORDERS_MAX: usize = 32;

/// A sample is run in so many orders as make about so many events, but not in fewer.
const EVENTS_MAX: usize = 20_000;

/// An order of the events of one trace.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// The last of those that are listed comes first: each tasklet goes on for as long as it can.
    Last,
    /// Whose operation was announced first comes first: all go on by turns.
    Oldest,
    /// As drawn.
    Random(u64),
}

impl Order {
    /// The orders beside the first one, the same in every session.
    fn all() -> impl Iterator<Item = Order> {
        [Order::Last, Order::Oldest].into_iter().chain((0..).map(Order::Random))
    }

    /// Picks one of the events `asked`, as places in the list.
    fn pick(self, asked: &[usize], enabled: &Enabled<'_>) -> Option<usize> {
        match self {
            Order::Last => asked.last().copied(),
            Order::Oldest => {
                asked.iter().min_by_key(|it| age(&enabled.events[**it], enabled)).copied()
            }
            Order::Random(seed) => {
                let step = enabled.run.events.len() as u64;
                let drawn = mix(mix(seed, step), asked.len() as u64);
                asked.get(drawn.checked_rem(asked.len() as u64)? as usize).copied()
            }
        }
    }
}

/// When an event became possible: the greater, the later.
fn age(event: &Event, enabled: &Enabled<'_>) -> Option<usize> {
    event.offers().filter_map(|it| enabled.run.slot(it.slot)).map(|it| it.published).max()
}

/// Runs each sample in several orders; the first difference.
pub(super) fn check(
    system: &dyn System,
    settings: &Settings,
    samples: &[Overrides],
) -> Option<Failure> {
    let mut names = Names::new();
    let orders = match samples.len() {
        0 | 1 => ORDERS_MAX,
        many => {
            let all = usize::try_from(settings.executions_max / ORDERS_SHARE);
            (all.unwrap_or(usize::MAX) / many).clamp(ORDERS_MIN, ORDERS_MAX)
        }
    };
    samples.iter().find_map(|sample| check_one(system, settings, sample, orders, &mut names))
}

fn check_one(
    system: &dyn System,
    settings: &Settings,
    sample: &Overrides,
    orders: usize,
    names: &mut Names,
) -> Option<Failure> {
    let lookup = sample.lookup();
    let one = sample.replay(system, names, settings);
    let enough = EVENTS_MAX / one.events.len().max(1);
    for order in Order::all().take(orders.min(enough.max(ORDERS_MIN))) {
        let mut free = false;
        let mut choose = |enabled: &Enabled<'_>| {
            let asked: Vec<_> = lookup.asked(enabled).collect();
            free |= asked.len() > 1;
            let picked = order.pick(&asked, enabled);
            Choice::Take(picked.unwrap_or_else(|| lookup.choose(enabled)))
        };
        let other = execute(system, names, settings.rules, &mut choose);
        if let Some((who, what)) = difference(&one, &other, names) {
            let outcome = Outcome::NotIsolated(who, what);
            return Some(Failure::new(outcome, &one, names, sample.clone()));
        }
        if !free {
            break; // there is no other order
        }
    }
    None
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

/// Goes on with runs that were cut, fairly, for as many events again; a failure if one does not
/// end.
///
/// The default schedule is tried first: it is the shortest to write down. A program that is meant
/// to go on for ever fails so only after the end of its root.
pub(super) fn livelock(
    system: &dyn System,
    settings: &Settings,
    cuts: &[Overrides],
    endless: bool,
) -> Option<Failure> {
    let endings = cuts.first()?.endings;
    if endless && !endings {
        return None;
    }
    let mut plain = Overrides::default();
    plain.endings = endings;
    let all = std::iter::once(&plain).chain(cuts);
    all.into_iter().find_map(|it| go_on(system, settings, it, endless))
}

fn go_on(
    system: &dyn System,
    settings: &Settings,
    cut: &Overrides,
    endless: bool,
) -> Option<Failure> {
    let (mut names, mut rules) = (Names::new(), cut.rules(settings));
    let (twice, patience) =
        (rules.events_max.saturating_mul(2), if cut.endings { PATIENCE } else { 0 });
    rules.events_max = twice.saturating_add(patience.saturating_mul(TASKLETS_MAX));
    let (mut lives, lookup) = (false, cut.lookup());
    let mut choose = |enabled: &Enabled<'_>| {
        let (events, tasklets) = (enabled.run.events.len(), enabled.names.tasklets());
        if events < settings.rules.events_max {
            return Choice::Take(lookup.choose(enabled));
        }
        if events >= twice.saturating_add(patience.saturating_mul(tasklets)) {
            lives = true;
            return Choice::Abandon;
        }
        let waits = |event: &Event| {
            let slots = event.offers().filter_map(|it| enabled.run.slot(it.slot));
            slots.map(|it| it.published).min()
        };
        let oldest = enabled.events.iter().enumerate().min_by_key(|(_, it)| waits(it));
        Choice::Take(oldest.map_or(0, |it| it.0))
    };
    let run = execute(system, &mut names, rules, &mut choose);
    if run.outcome.is_failure() {
        let overrides = Overrides::of(&run, &names);
        return Some(Failure::new(run.outcome.clone(), &run, &names, overrides));
    }
    lives |= run.outcome == Outcome::StepBound;
    lives &= !endless || run.is_ended();
    lives.then(|| Failure::new(Outcome::Livelock, &run, &names, cut.clone()))
}

/// Takes away what a livelock does not need: first all that is decided late, then what can be of
/// the rest.
pub(super) fn shrink_livelock(
    system: &dyn System,
    settings: &Settings,
    overrides: &Overrides,
    endless: bool,
) -> Overrides {
    if overrides.is_empty() {
        return overrides.clone();
    }
    let mut tries = TRIES_MAX;
    let mut fails = |it: &Overrides| {
        tries = tries.saturating_sub(1);
        tries > 0
            && go_on(system, settings, it, endless)
                .is_some_and(|it| it.outcome == Outcome::Livelock)
    };
    let mut names = Names::new();
    let run = overrides.replay(system, &mut names, settings);
    let (mut best, mut less, mut enough) = (overrides.clone(), 0, run.events.len());
    while less < enough {
        let half = less.midpoint(enough);
        let first = Overrides::of_first(half, &run, &names);
        if fails(&first) {
            (best, enough) = (first, half);
        } else {
            less = half + 1;
        }
    }
    reduce(best, &mut fails)
}
