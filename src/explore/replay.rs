//! Schedules as sets of overrides: what has to differ from the default schedule, by stable names.
//!
//! An override says what completes a slot: `root.1@2` is met by `root.0`. So an override stays
//! meaningful when a program has more or fewer operations elsewhere, and the order of independent
//! events is not part of it.
//!
//! Always: a replay never gets stuck; if no event agrees with all overrides, one that does not
//! happens.

mod lookup;
mod notation;

use std::collections::BTreeMap;

use super::event::{Event, Kind, Names, Offer, TaskletName};
use super::run::{Outcome, Run};
use super::system::{Choice, Enabled, Rules, System, execute};
use super::verdict::Settings;
use lookup::Lookup;

pub use notation::ReplayError;
#[cfg(feature = "proptest")]
pub(super) use notation::short_name;
pub(super) use notation::{REPLAY, asked_for};

/// A slot by its path and number.
type Key = (Vec<u32>, u32);

/// What completes a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Want {
    kind: Kind,
    /// The path of the tasklet on the other side, and its branch, if there is one.
    peer: Option<(Vec<u32>, u16)>,
    /// Whether the slot is the event's second one: it receives, or is cancelled.
    second: bool,
    /// The slot's own branch.
    branch: u16,
}

/// A schedule, as its differences from the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overrides {
    wants: BTreeMap<Key, Want>,
    /// What tells the trace that they lead to apart from others, if that is known.
    trace: Option<u32>,
    /// Whether the end of the root cancels the others.
    pub(super) endings: bool,
    /// Whether they are known to lead to something else each time.
    pub(super) unsteady: bool,
    /// Whether they are of a search with lax timers.
    lax_timers: bool,
    /// How many events a run had there at most; none if that is not known.
    events_max: Option<usize>,
}

/// What `event` says about each slot that it completes.
fn entries(event: &Event, names: &Names) -> impl Iterator<Item = (Key, Want)> + use<> {
    let path = |it: Offer| names.path(it.slot.tasklet).to_vec();
    let say = |mine: Offer, peer: Option<Offer>, second: bool| {
        let peer = peer.map(|it| (path(it), it.branch));
        let want = Want { kind: event.kind, peer, second, branch: mine.branch };
        ((path(mine), mine.slot.nth), want)
    };
    let first = say(event.first, event.second, false);
    let second = event.second.map(|it| say(it, Some(event.first), true));
    [Some(first), second].into_iter().flatten()
}

impl Overrides {
    /// The whole matching of a run.
    pub fn of(run: &Run, names: &Names) -> Overrides {
        Overrides::of_first(run.events.len(), run, names)
    }

    /// What the first `count` events of a run matched.
    pub(super) fn of_first(count: usize, run: &Run, names: &Names) -> Overrides {
        let all = run.events[..count].iter().flat_map(|it| entries(&it.event, names));
        let wants = all.collect();
        Overrides { wants, endings: run.endings, ..Overrides::default() }
    }

    /// The same, with a note of what a run may do.
    pub(super) fn under(mut self, rules: Rules) -> Overrides {
        (self.lax_timers, self.events_max) = (rules.lax_timers, Some(rules.events_max));
        self
    }

    /// The same, with a note of the trace of `run`, to which they lead.
    pub(super) fn leading_to(mut self, run: &Run) -> Overrides {
        self.trace = Some(run.trace as u32);
        self
    }

    /// The same, with a note that they lead to something else each time.
    pub(super) fn unsteady(mut self) -> Overrides {
        (self.trace, self.unsteady) = (None, true);
        self
    }

    /// Whether `run` is what they were noted to lead to.
    pub(super) fn leads_to(&self, run: &Run) -> bool {
        self.trace.is_none_or(|it| it == run.trace as u32)
    }

    /// With one more that asks for `event`: one for each slot of it, as either slot may be the one
    /// that has to wait for the other. None where that one is asked for otherwise.
    pub(super) fn with(&self, event: &Event, names: &Names) -> impl Iterator<Item = Overrides> {
        entries(event, names).filter(|it| !self.wants.contains_key(&it.0)).map(|(key, want)| {
            let mut wants = self.wants.clone();
            wants.insert(key, want);
            Overrides { wants, trace: None, ..*self }
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.wants.len()
    }

    /// Whether it is the default schedule.
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    /// The same, ready to be followed.
    pub(super) fn lookup(&self) -> Lookup {
        Lookup::new(self)
    }

    /// Runs `system` with this schedule.
    pub fn replay(&self, system: &dyn System, names: &mut Names, settings: &Settings) -> Run {
        let lookup = self.lookup();
        let mut choose = |enabled: &Enabled<'_>| Choice::Take(lookup.choose(enabled));
        execute(system, names, self.rules(settings), &mut choose)
    }

    /// What a run with this schedule may do.
    pub(super) fn rules(&self, settings: &Settings) -> Rules {
        Rules {
            endings: self.endings || settings.rules.endings,
            lax_timers: self.lax_timers || settings.rules.lax_timers,
            events_max: self.events_max.unwrap_or(settings.rules.events_max),
            ..settings.rules
        }
    }

    /// The same settings, but for what is noted of those of the search that they are of.
    pub(super) fn settings(&self, own: &Settings) -> Settings {
        let mut settings = *own;
        if let Some(events_max) = self.events_max {
            settings.rules.events_max = events_max;
            settings.rules.lax_timers = self.lax_timers;
        }
        settings
    }
}

/// A failure made as small as possible.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest set found; without any one of them the program does not fail like this.
    pub overrides: Overrides,
    /// The run that they lead to.
    pub run: Run,
    /// A run that does not fail like this, with one override less; none if the default schedule
    /// fails.
    pub passing: Option<Run>,
    /// How many executions it took.
    pub executions: u64,
}

/// Takes away all overrides that a failure like `outcome` does not need; none if they do not lead
/// to one.
///
/// The names are those of the session that `outcome` is of.
///
/// ```
/// use tasklets::explore::{Names, Overrides, Program, Settings, exhaust, first_difference, shrink};
/// use tasklets::{channel, spawn};
/// let race = || {
///     let (tx, rx) = channel();
///     for number in 1..=3 {
///         let tx = tx.clone();
///         spawn(move || tx.send(number));
///     }
///     drop(tx);
///     assert_ne!(rx.iter().last(), Some(1), "1 came last");
/// };
/// let (program, settings) = (Program::new("race", &race), Settings::default());
/// let failure = &exhaust(&program, &settings).failures[0];
/// let mut names = Names::new();
/// let run = failure.overrides.replay(&program, &mut names, &settings);
/// let whole = Overrides::of(&run, &names); // who met whom, all of it
/// let shrunk = shrink(&program, &mut names, &settings, &whole, &run.outcome).unwrap();
/// assert!(shrunk.overrides.len() < whole.len() && !shrunk.overrides.is_empty());
/// // What is left says that somebody else came first, and can be written down.
/// let text = shrunk.overrides.text("race");
/// assert_eq!(Overrides::parse(&text, "race").unwrap(), shrunk.overrides);
/// assert_eq!(shrunk.overrides.explain().len(), shrunk.overrides.len());
/// let (event, instead) = first_difference(&shrunk.run, &shrunk.passing.unwrap()).unwrap();
/// assert_ne!(Some(event), instead);
/// ```
pub fn shrink(
    system: &dyn System,
    names: &mut Names,
    settings: &Settings,
    overrides: &Overrides,
    outcome: &Outcome,
) -> Option<Shrunk> {
    let (mut executions, mut failing, mut passing) = (0, None, None);
    let mut fails = |candidate: &Overrides| {
        executions += 1;
        let run = candidate.replay(system, names, settings);
        let fails = run.outcome.same_class(outcome);
        *(if fails { &mut failing } else { &mut passing }) = Some(run);
        fails
    };
    if !fails(overrides) {
        return None;
    }
    let overrides = reduce(overrides.clone(), &mut fails);
    Some(Shrunk { overrides, run: failing?, passing, executions })
}

/// Takes away all that `fails` does not need.
pub(super) fn reduce(mut best: Overrides, fails: &mut dyn FnMut(&Overrides) -> bool) -> Overrides {
    let mut chunk = best.len().max(1);
    loop {
        let before = best.len();
        let mut start = 0;
        while start < best.len() {
            let mut fewer = best.clone();
            let keys: Vec<_> = best.wants.keys().skip(start).take(chunk).cloned().collect();
            keys.iter().for_each(|it| drop(fewer.wants.remove(it)));
            if fails(&fewer) {
                best = fewer;
            } else {
                start += chunk;
            }
        }
        if chunk == 1 && best.len() == before {
            return best;
        }
        chunk = (chunk / 2).max(1);
    }
}

/// The first event of a failing run whose slot another run completed otherwise, and how: it is
/// what a report says under "passes if".
pub fn first_difference(failing: &Run, passing: &Run) -> Option<(Event, Option<Event>)> {
    let completed = |run: &Run, tasklet: TaskletName, nth: usize| {
        let place = *run.of.get(tasklet.index())?.get(nth)?;
        Some(run.events[run.slots[place].consumed?].event)
    };
    failing.events.iter().map(|it| it.event).find_map(|event| {
        let slot = event.second.unwrap_or(event.first).slot;
        let other = completed(passing, slot.tasklet, slot.nth as usize);
        (other != Some(event)).then_some((event, other))
    })
}
