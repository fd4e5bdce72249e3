//! Every order of events, without any reduction: the search that others are compared with.
//!
//! Always: each execution differs from every other in at least one choice.

use super::event::Names;
use super::live::Desk;
use super::run::Run;
use super::steady;
use super::system::{Choice, System, execute_at};
use super::verdict::{Settings, Verdict};

/// Runs `system` once for every sequence of choices, and shows each run to `look`.
pub fn every_choice(
    system: &dyn System,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut names, mut verdict) = (Names::new(), Verdict::default());
    let (mut ways, mut desk) = (Ways::default(), Desk::default());
    loop {
        execute_at(&mut desk, system, &mut names, settings.rules, &mut |enabled| {
            ways.next(enabled.events.len())
        });
        let run = &desk.run;
        if ways.departs() {
            verdict.depart(steady::departure(run, &names, None));
            return verdict;
        }
        look(run, &names);
        let more = verdict.count(run, &names, settings);
        if !ways.go_on(&mut verdict, more) {
            return verdict;
        }
    }
}

/// A walk through all sequences of choices, the last choice varying first.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// The choice made at each quiet point, and how many there were.
    stack: Vec<(usize, usize)>,
    /// How many choices the present run has made.
    depth: usize,
    /// Whether the same choices have led to something else.
    diverged: bool,
}

impl Ways {
    /// Whether the next choice is one that no run has made before.
    pub(super) fn is_new(&self) -> bool {
        self.depth == self.stack.len()
    }

    /// The next choice of the present run, among so many; none if there were not as many before.
    pub(super) fn next(&mut self, count: usize) -> Choice {
        if self.is_new() {
            self.stack.push((0, count));
        }
        self.depth += 1;
        let (taken, ways) = self.stack[self.depth - 1];
        self.diverged |= ways != count;
        if self.diverged { Choice::Abandon } else { Choice::Take(taken) }
    }

    /// Whether the present run, which is over, was not what the same choices led to before.
    pub(super) fn departs(&self) -> bool {
        self.diverged || self.depth < self.stack.len()
    }

    /// Turns to the next run, if `more` are wanted; false if there is none, and the verdict says
    /// why.
    pub(super) fn go_on(&mut self, verdict: &mut Verdict, more: bool) -> bool {
        let left = self.turn();
        verdict.exhausted = !left && verdict.cut == 0 && !verdict.refused;
        left && more
    }

    /// Turns to the next run; false if there is none.
    fn turn(&mut self) -> bool {
        self.depth = 0;
        while self.stack.last().is_some_and(|(taken, ways)| taken + 1 == *ways) {
            self.stack.pop();
        }
        self.stack.last_mut().map(|(taken, _)| *taken += 1).is_some()
    }
}
