//! Every trace once: source-set partial-order reduction with sleep sets, for rendezvous.
//!
//! The literature's form (Abdulla, Aronis, Jonsson and Sagonas, 2014) assumes that each process
//! has one next step. Here a pending slot may meet several peers, so the nodes of the search hold
//! sets of events, and a race is *two slots that could have met and did not*: see `races`.
//!
//! Always: an event in `sleep` leads to no trace that was not seen; when a node is left, every
//! trace that goes through its prefix has been seen.

use super::Defect;
use super::estimate;
use super::event::{Event, Names};
use super::races::Races;
use super::run::Run;
use super::system::{Choice, Enabled, System, execute};
use super::verdict::{Settings, Verdict};

/// A quiet point on the present path of the search.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Events that have to be tried here and were not yet.
    pub(super) todo: Vec<Event>,
    /// Events that need not be tried, or were.
    pub(super) sleep: Vec<Event>,
    /// The event that is being tried.
    pub(super) current: Event,
    /// How many events were tried before.
    tried: usize,
}

impl Node {
    /// Whether any of `events` is tried here at some time, or need not be.
    pub(super) fn covers(&self, events: &[Event]) -> bool {
        events
            .iter()
            .any(|it| *it == self.current || self.todo.contains(it) || self.sleep.contains(it))
    }
}

/// The present path, and what went wrong on it.
struct Path {
    stack: Vec<Node>,
    /// How many events of the present run have happened.
    depth: usize,
    diverged: bool,
    defect: Option<Defect>,
}

impl Path {
    /// Follows the path as far as it goes, then prolongs it.
    fn choose(&mut self, enabled: &Enabled<'_>) -> Choice {
        let depth = self.depth;
        self.depth += 1;
        if let Some(node) = self.stack.get(depth) {
            let place = enabled.events.iter().position(|it| *it == node.current);
            self.diverged |= place.is_none();
            return place.map_or(Choice::Abandon, Choice::Take);
        }
        let sleep = self.stack.last().map(|it| self.asleep(it)).unwrap_or_default();
        match enabled.events.iter().position(|it| !self.sleeps(it, &sleep)) {
            Some(place) => {
                let current = enabled.events[place];
                self.stack.push(Node { todo: Vec::new(), sleep, current, tried: 0 });
                Choice::Take(place)
            }
            None => Choice::Abandon,
        }
    }

    /// Whether `event` need not be tried.
    fn sleeps(&self, event: &Event, sleep: &[Event]) -> bool {
        let who =
            |it: &Event| (it.kind, it.first.slot.tasklet, it.second.map(|it| it.slot.tasklet));
        match self.defect {
            Some(Defect::NeverWake) => sleep.iter().any(|it| who(it) == who(event)),
            _ => sleep.contains(event),
        }
    }

    /// What still sleeps after the current event of `node`.
    fn asleep(&self, node: &Node) -> Vec<Event> {
        let stays = |it: &&Event| match self.defect {
            Some(Defect::NeverWake) => true,
            Some(Defect::NeverSleep) => false,
            _ => it.independent(&node.current),
        };
        node.sleep.iter().filter(stays).copied().collect()
    }

    /// About how many traces there are, if so many were seen up to the present path.
    fn estimate(&self, traces: u64) -> Option<f64> {
        let nodes = self.stack.iter().map(|it| (it.tried, it.tried + 1 + it.todo.len()));
        let done = estimate::done(nodes);
        (done > 0.0).then(|| traces as f64 / done)
    }

    /// Goes back to the last node where something is left to try; its place.
    fn backtrack(&mut self) -> Option<usize> {
        while let Some(node) = self.stack.last_mut() {
            node.sleep.push(node.current);
            let Node { todo, sleep, .. } = node;
            todo.retain(|it| !sleep.contains(it));
            if todo.is_empty() {
                self.stack.pop();
                continue;
            }
            node.current = node.todo.remove(0);
            node.tried += 1;
            return Some(self.stack.len() - 1);
        }
        None
    }
}

/// Searches every trace of `system`.
pub fn exhaust(system: &dyn System, settings: &Settings) -> Verdict {
    exhaust_with(system, settings, &mut |_, _| ())
}

/// As [`exhaust`], and shows each run to `look`, also those that are given up.
pub fn exhaust_with(
    system: &dyn System,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut names, mut verdict) = (Names::new(), Verdict::default());
    let defect = settings.rules.defect;
    let mut path = Path { stack: Vec::new(), depth: 0, diverged: false, defect };
    let mut races = Races::new(settings.rules);
    let mut fresh = 0;
    loop {
        path.depth = 0;
        let run = execute(system, &mut names, settings.rules, &mut |enabled| path.choose(enabled));
        look(&run, &names);
        let goes_on = verdict.count(&run, settings);
        verdict.diverged |= path.diverged;
        if path.diverged {
            return verdict;
        }
        races.add(&run, fresh, &mut path.stack);
        match path.backtrack() {
            None => {
                verdict.exhausted = verdict.cut == 0;
                return verdict;
            }
            Some(_) if !goes_on => {
                verdict.estimate = path.estimate(verdict.traces);
                return verdict;
            }
            Some(place) => fresh = place,
        }
    }
}
