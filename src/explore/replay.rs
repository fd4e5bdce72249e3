//! Schedules as sets of overrides: what has to differ from the default schedule, by stable names.
//!
//! An override says what completes a slot: `root.1@2` is met by `root.0`. So an override stays
//! meaningful when a program has more or fewer operations elsewhere, and the order of independent
//! events is not part of it.
//!
//! Always: a replay never gets stuck; if no event agrees with all overrides, one that does not
//! happens.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;

use super::event::{Event, Kind, Names, Offer, TaskletName};
use super::run::{Outcome, Run};
use super::system::{Choice, Enabled, Rules, System, execute};
use super::verdict::Settings;

/// The environment variable whose replay string is run instead of a search.
pub(super) const REPLAY: &str = "TASKLETS_REPLAY";

/// The version of the format of replay strings.
const VERSION: &str = "v1";

/// Says in a replay string that the end of the root cancels the others.
const ENDINGS: &str = "end";

/// Says in a replay string that what it leads to is not the same each time.
const UNSTEADY: &str = "~";

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
}

/// Why a text is no schedule of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It is of another version of this format.
    Version(String),
    /// It is of another program; which.
    Program(String),
    /// It is not complete, or was changed.
    Garbled(String),
    /// The program of this name does something else by now.
    Changed,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Version(of) => {
                write!(f, "the replay string is of version `{of}`, this is {VERSION}")
            }
            ReplayError::Program(of) => {
                write!(f, "the replay string is of another program: `{of}`")
            }
            ReplayError::Changed => f.write_str(
                "the program has changed since the replay string was written, or is not the same \
                 each time: it does something else",
            ),
            ReplayError::Garbled(part) => {
                write!(f, "the replay string is cut or changed, at `{part}`")
            }
        }
    }
}

impl std::error::Error for ReplayError {}

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

    /// Picks the event that they ask for; else the first that they say nothing about.
    pub(super) fn choose(&self, enabled: &Enabled<'_>) -> usize {
        let says = |event: &Event| {
            let all = entries(event, enabled.names);
            let known = all.filter_map(|(key, want)| Some(*self.wants.get(&key)? == want));
            known.reduce(|one, other| one && other)
        };
        let answers: Vec<_> = enabled.events.iter().map(says).collect();
        // All that happened before the others were cancelled is older than that.
        let older = |it: &usize| !self.endings || !enabled.run.is_ending(&enabled.events[*it]);
        let mut wanted = (0..answers.len()).filter(|it| answers[*it] == Some(true));
        let asked = wanted.clone().find(older).or_else(|| wanted.next());
        asked.or_else(|| answers.iter().position(Option::is_none)).unwrap_or(0)
    }

    /// As [`choose`](Self::choose), but the last event of those that they ask for.
    pub(super) fn choose_last(&self, enabled: &Enabled<'_>) -> usize {
        let asked = |event: &Event| {
            let mut all = entries(event, enabled.names);
            all.all(|(key, want)| self.wants.get(&key) == Some(&want))
        };
        enabled.events.iter().rposition(asked).unwrap_or_else(|| self.choose(enabled))
    }

    /// Runs `system` with this schedule.
    pub fn replay(&self, system: &dyn System, names: &mut Names, settings: &Settings) -> Run {
        let mut choose = |enabled: &Enabled<'_>| Choice::Take(self.choose(enabled));
        execute(system, names, self.rules(settings), &mut choose)
    }

    /// What a run with this schedule may do.
    pub(super) fn rules(&self, settings: &Settings) -> Rules {
        Rules { endings: self.endings || settings.rules.endings, ..settings.rules }
    }

    /// The schedule as a text for `program`; [`parse`](Self::parse) reads it.
    pub fn text(&self, program: &str) -> String {
        let trace = self.trace.iter().map(|it| format!("={it:x}"));
        let notes = [(self.endings, ENDINGS), (self.unsteady, UNSTEADY)];
        let notes = notes.into_iter().filter(|it| it.0).map(|it| String::from(it.1));
        let all = self.wants.iter().map(|(key, want)| write_one(key, want));
        let body = trace.chain(notes).chain(all).collect::<Vec<_>>().join(",");
        let sum = checksum(program, &body);
        format!("{VERSION}:{program}:{body}:{sum:04x}")
    }

    /// Reads what [`text`](Self::text) wrote for the same program.
    ///
    /// # Errors
    /// The text is of another version or program, or is damaged.
    pub fn parse(text: &str, program: &str) -> Result<Overrides, ReplayError> {
        let garbled = |part: &str| ReplayError::Garbled(part.into());
        let (version, rest) = text.split_once(':').ok_or_else(|| garbled(text))?;
        if version != VERSION {
            return Err(ReplayError::Version(version.into()));
        }
        let (rest, sum) = rest.rsplit_once(':').ok_or_else(|| garbled(rest))?;
        let (of, body) = rest.rsplit_once(':').ok_or_else(|| garbled(rest))?;
        if sum.len() != 4 || u16::from_str_radix(sum, 16) != Ok(checksum(of, body)) {
            return Err(garbled(sum));
        }
        if of != program {
            return Err(ReplayError::Program(of.into()));
        }
        let mut overrides = Overrides::default();
        for part in body.split(',').filter(|it| !it.is_empty()) {
            if let Some(trace) = part.strip_prefix('=') {
                let trace = u32::from_str_radix(trace, 16).map_err(|_| garbled(part))?;
                overrides.trace = Some(trace);
            } else if part == ENDINGS {
                overrides.endings = true;
            } else if part == UNSTEADY {
                overrides.unsteady = true;
            } else {
                overrides.wants.extend([read_one(part).ok_or_else(|| garbled(part))?]);
            }
        }
        Ok(overrides)
    }

    /// One line for each, for a report.
    pub fn explain(&self) -> Vec<String> {
        self.wants.iter().map(|(key, want)| write_one(key, want)).collect()
    }
}

/// What the environment asks to replay, if it is for this program.
pub(super) fn asked_for(program: &str) -> Result<Option<Overrides>, ReplayError> {
    let text = match std::env::var(REPLAY) {
        Ok(text) => text,
        Err(VarError::NotPresent) => return Ok(None),
        Err(VarError::NotUnicode(text)) => {
            return Err(ReplayError::Garbled(text.to_string_lossy().into_owned()));
        }
    };
    match Overrides::parse(&text, program) {
        Ok(overrides) => Ok(Some(overrides)),
        Err(ReplayError::Program(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn checksum(program: &str, body: &str) -> u16 {
    let bytes = program.bytes().chain([0]).chain(body.bytes());
    bytes.fold(0, |sum, byte| super::event::mix(sum, u64::from(byte))) as u16
}

/// Paths are written without `root`, so the root itself is empty.
fn write_path(path: &[u32]) -> String {
    path.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn read_path(text: &str) -> Option<Vec<u32>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split('.').map(|it| it.parse().ok()).collect()
}

/// Written `1.0@5.2<0.3/1`: branch 2 of slot 5 of `root.1.0` is met by branch 1 of `root.0.3`.
fn write_one((path, nth): &Key, want: &Want) -> String {
    let slot = format!("{}@{nth}.{}", write_path(path), want.branch);
    let peer = want.peer.as_ref().map(|(path, branch)| format!("{}/{branch}", write_path(path)));
    let sign = SIGNS.iter().find(|it| (it.1, it.2) == (want.kind, want.second));
    let sign = sign.map_or('?', |it| it.0);
    format!("{slot}{sign}{}", peer.unwrap_or_default())
}

/// How a slot's completion is written: the kind, and whether the slot is the second.
const SIGNS: [(char, Kind, bool); 8] = [
    ('<', Kind::Meeting, true),
    ('>', Kind::Meeting, false),
    ('-', Kind::Cancelled, true),
    ('!', Kind::Cancelled, false),
    ('c', Kind::Closed, false),
    ('d', Kind::Default, false),
    ('t', Kind::Timer, false),
    ('e', Kind::Ended, false),
];

fn read_one(text: &str) -> Option<(Key, Want)> {
    let at = text.find(|it| SIGNS.iter().any(|sign| sign.0 == it))?;
    let (_, kind, second) = *SIGNS.iter().find(|sign| text[at..].starts_with(sign.0))?;
    let (slot, peer) = (&text[..at], &text[at + 1..]);
    let (path, numbers) = slot.split_once('@')?;
    let (nth, branch) = numbers.split_once('.')?;
    let peer = match kind {
        Kind::Meeting | Kind::Cancelled => {
            let (path, branch) = peer.split_once('/')?;
            Some((read_path(path)?, branch.parse().ok()?))
        }
        Kind::Closed | Kind::Default | Kind::Timer | Kind::Ended => {
            peer.is_empty().then_some(None)?
        }
    };
    let key = (read_path(path)?, nth.parse().ok()?);
    Some((key, Want { kind, peer, second, branch: branch.parse().ok()? }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_was_written() {
        let meeting =
            Want { kind: Kind::Meeting, peer: Some((vec![0, 3], 1)), second: true, branch: 2 };
        let closed = Want { kind: Kind::Closed, peer: None, second: false, branch: 0 };
        let wants = BTreeMap::from([((vec![1, 0], 5), meeting), ((vec![], 7), closed)]);
        let overrides = Overrides { wants, trace: Some(7), endings: true, unsteady: true };
        let text = overrides.text("a::b");
        assert_eq!(Overrides::parse(&text, "a::b"), Ok(overrides));
        assert_eq!(Overrides::parse(&text, "c"), Err(ReplayError::Program("a::b".into())));
        for cut in 0..text.len() {
            assert!(Overrides::parse(&text[..cut], "a::b").is_err(), "{}", &text[..cut]);
        }
        let newer = text.replacen("v1", "v2", 1);
        assert_eq!(Overrides::parse(&newer, "a::b"), Err(ReplayError::Version("v2".into())));
    }
}
