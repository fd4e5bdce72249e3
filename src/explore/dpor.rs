//! Every trace once: optimal partial-order reduction with sleep sets and wakeup trees, for
//! rendezvous.
//!
//! The literature's form (Abdulla, Aronis, Jonsson and Sagonas, 2014) assumes that each process
//! has one next step. Here a pending slot may meet several peers, so nodes hold events, not
//! processes, and a race is *two slots that could have met and did not*: see `races`. What stays
//! the same is that an event, once possible, stays so until one of its slots is taken away.
//!
//! Why nothing is missed. Take a complete trace that no run had, and follow it from the root, each
//! time to the first branch that it contains, to a node where it contains none. Among all the
//! events that were tried beside this path, and here, take the one `t` that leaves most of the
//! trace possible, and of several the first. Whatever slept when `t` was tried leaves less of it,
//! so some run went from there through all of that part. That run shows a race of `t` with an event
//! of the trace, and its reversal keeps that part and has the event too. What sleeps beside `t`
//! cannot have made the reversal superfluous, nor can a way left of the path have taken it in, as
//! both would leave more of the trace possible than `t` does; so it was put on the path itself,
//! down to the node where the path ends.
//!
//! Always: an event in `sleep` leads to no trace that was not seen; where a way ends nothing
//! sleeps, so every run comes to its end; when a node is left, every trace that goes through its
//! prefix has been seen.

use super::Defect;
use super::estimate;
use super::event::{Event, Names};
use super::live::Desk;
use super::races::Races;
use super::run::Run;
use super::steady;
use super::system::{Choice, Enabled, Rules, System, execute_at};
use super::verdict::{Settings, Verdict};
use super::wakeup::{Reversal, Way, first_leaf, leaves, take_first};

/// A quiet point on the present path of the search.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Ways that have to be tried here and were not yet.
    pub(super) todo: Vec<Way>,
    /// Events that need not be tried, or were.
    sleep: Vec<Event>,
    /// The event that is being tried.
    current: Event,
    /// Ways that have to be tried after it.
    after: Vec<Way>,
    /// How many events were tried before.
    tried: usize,
}

impl Node {
    /// Whether all that `reversal` leads to was seen, or is found from the runs that were: it
    /// leaves an event possible that sleeps here.
    pub(super) fn makes_superfluous(&self, reversal: &Reversal<'_>) -> bool {
        self.sleep.iter().any(|it| reversal.allows(it))
    }
}

/// The search's tree, as far as it is not done with: the present path, and what is known to be
/// left beside it.
#[derive(Debug)]
pub(super) struct Tree {
    stack: Vec<Node>,
    races: Races,
    defect: Option<Defect>,
}

impl Tree {
    /// Nothing was tried.
    pub(super) fn new(rules: Rules) -> Tree {
        Tree { stack: Vec::new(), races: Races::new(rules), defect: rules.defect }
    }

    /// How the next run begins; it goes on with whatever is listed first.
    pub(super) fn next(&self) -> Vec<Event> {
        let mut path: Vec<_> = self.stack.iter().map(|it| it.current).collect();
        if let Some(last) = self.stack.last() {
            first_leaf(&last.after, &mut path);
        }
        path
    }

    /// Shows how runs begin that are to be made after the next one, as far as is known, until
    /// `look` says to stop.
    pub(super) fn left(&self, look: &mut dyn FnMut(&[Event]) -> bool) {
        let mut path: Vec<_> = self.stack.iter().map(|it| it.current).collect();
        let mut goes_on = self.stack.last().is_none_or(|it| leaves(&it.after, &mut path, look));
        for node in self.stack.iter().rev() {
            path.pop();
            goes_on = goes_on && leaves(&node.todo, &mut path, look);
        }
    }

    /// Takes in the run that began with [`next`](Self::next), and turns to what is left; whether
    /// there is anything.
    pub(super) fn grow(&mut self, run: &Run) -> bool {
        let fresh = self.stack.len().saturating_sub(1);
        for record in &run.events[self.stack.len()..] {
            let mut todo = self.stack.last_mut().map(|it| std::mem::take(&mut it.after));
            let todo_first = todo.as_mut().and_then(take_first);
            let sleep = self.stack.last().map(|it| self.asleep(it)).unwrap_or_default();
            let free = todo_first.is_none() && self.defect.is_none();
            debug_assert!(!free || sleep.is_empty(), "something sleeps where a way has ended");
            let (current, after) = todo_first.unwrap_or((record.event, Vec::new()));
            debug_assert_eq!(current, record.event, "the run did not begin as it should");
            let todo = todo.unwrap_or_default();
            self.stack.push(Node { todo, sleep, current, after, tried: 0 });
        }
        self.races.add(run, fresh, &mut self.stack);
        self.backtrack()
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

    /// Goes back to the last node where something is left to try.
    fn backtrack(&mut self) -> bool {
        while let Some(node) = self.stack.last_mut() {
            node.sleep.push(node.current);
            if let Some((event, after)) = take_first(&mut node.todo) {
                (node.current, node.after) = (event, after);
                node.tried += 1;
                return true;
            }
            self.stack.pop();
        }
        false
    }

    /// About how many traces there are, if so many were seen up to the present path.
    pub(super) fn estimate(&self, traces: u64) -> Option<f64> {
        let nodes = self.stack.iter().map(|it| (it.tried, it.tried + 1 + it.todo.len()));
        let done = estimate::done(nodes);
        (done > 0.0).then(|| traces as f64 / done)
    }
}

/// Follows `path` as far as it goes, then takes what is listed first; whether all of it was
/// possible.
pub(super) fn follow(
    desk: &mut Desk,
    system: &dyn System,
    names: &mut Names,
    rules: Rules,
    path: &[Event],
) -> bool {
    let (mut depth, mut diverged) = (0, false);
    execute_at(desk, system, names, rules, &mut |enabled: &Enabled<'_>| {
        depth += 1;
        let Some(wanted) = path.get(depth - 1) else { return Choice::Take(0) };
        let place = enabled.events.iter().position(|it| it == wanted);
        diverged |= place.is_none();
        place.map_or(Choice::Abandon, Choice::Take)
    });
    !diverged && desk.run.events.len() >= path.len()
}

/// Searches every trace of `system`.
pub fn exhaust(system: &dyn System, settings: &Settings) -> Verdict {
    exhaust_with(system, settings, &mut |_, _| ())
}

/// As [`exhaust`], and shows each run to `look`.
///
/// ```
/// use tasklets::explore::{Program, Settings, every_choice, every_state, exhaust, exhaust_with};
/// use tasklets::{channel, spawn};
/// let race = || {
///     let (tx, rx) = channel();
///     for _ in 0..2 {
///         let tx = tx.clone();
///         spawn(move || (tx.send(()), tx.send(())));
///     }
///     drop(tx);
///     rx.iter().for_each(drop);
/// };
/// let (program, settings) = (Program::new("race", &race), Settings::default());
/// let mut runs = 0;
/// let verdict = exhaust_with(&program, &settings, &mut |_, _| runs += 1);
/// assert!(verdict.exhausted && verdict.executions == runs);
/// assert_eq!(verdict.to_string(), exhaust(&program, &settings).to_string());
/// // There are as many traces without reduction, which takes more runs, and fewer states.
/// let all = every_choice(&program, &settings, &mut |_, _| ());
/// assert!(all.traces == verdict.traces && all.executions > runs);
/// assert!(every_state(&program, &settings, &mut |_, _| ()).exhausted);
/// ```
pub fn exhaust_with(
    system: &dyn System,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut desk, mut names) = (Desk::default(), Names::new());
    let mut verdict = Verdict::default();
    search((system, settings), (&mut desk, &mut names, &mut verdict), &mut |_, _| true, look);
    verdict
}

/// Searches every trace as long as the budget lasts and `goes_on` says so, which is told about how
/// many traces there are.
pub(super) fn search(
    (system, settings): (&dyn System, &Settings),
    (desk, names, verdict): (&mut Desk, &mut Names, &mut Verdict),
    goes_on: &mut dyn FnMut(&Verdict, Option<f64>) -> bool,
    look: &mut dyn FnMut(&Run, &Names),
) {
    let (mut tree, before) = (Tree::new(settings.rules), verdict.cut);
    let mut seen = 0;
    loop {
        let path = tree.next();
        if !follow(desk, system, names, settings.rules, &path) {
            let wanted = path.get(desk.run.events.len());
            return verdict.depart(steady::departure(&desk.run, names, wanted));
        }
        let run = &desk.run;
        look(run, names);
        let more = verdict.count(run, names, settings);
        seen += 1;
        if !tree.grow(run) {
            let whole = verdict.cut == before && !verdict.refused;
            // A program that is the same each time has no more traces than this search had runs.
            verdict.diverged |= whole && verdict.traces > seen;
            verdict.exhausted = whole && !verdict.diverged;
            verdict.estimate = None;
            return;
        }
        let guess = tree.estimate(seen);
        if !more || !goes_on(verdict, guess) {
            verdict.estimate = guess;
            return;
        }
    }
}
