//! Schedules drawn at random, in several ways that find different faults.
//!
//! Always: the seed and the number of the execution decide a schedule. What is learnt from the
//! first executions is used from the next power of two on, so it does not matter in which order
//! those in between are run. No way is better than all others, so [`portfolio`] takes turns.

use std::ops::Range;

use super::dpor;
use super::draw::{Draw, Known};
use super::estimate::Descent;
use super::event::{Names, mix};
use super::live::Desk;
use super::run::Run;
use super::system::{System, execute_with};
use super::verdict::{Settings, Verdict};

/// How a schedule is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The first event that is listed, always.
    Default,
    /// Any enabled event, all alike.
    Pairs,
    /// Any tasklet that has not come to its operation yet comes next, all alike.
    Walk,
    /// As `Walk`, but each weighs as much as it has operations left, as far as is known.
    Weighted,
    /// As `Weighted`, but only the operations on one channel weigh, another one in each run; what
    /// else happens is drawn as in `Walk`.
    Selective,
    /// Tasklets have priorities; so many times less one the first of them becomes the last.
    Pct(u32),
    /// Events have priorities, drawn when they are first seen.
    Pos,
}

/// The ways that [`portfolio`] takes turns with, after the default schedule.
const TURNS: [Mode; 6] =
    [Mode::Pct(2), Mode::Walk, Mode::Weighted, Mode::Pct(3), Mode::Pos, Mode::Selective];

/// From how many executions the random ways learn.
const LEARNT: u64 = 64;

/// How many executions are at most made with the same knowledge, one beside the other.
const BLOCK: u64 = 1_024;

/// Part of the budget that is spent on an estimate: one out of so many.
const ESTIMATE_SHARE: u64 = 16;

/// Which schedules are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The one way, or all by turns.
    pub(super) mode: Option<Mode>,
    pub(super) seed: u64,
}

impl Plan {
    /// The way and the seed of an execution, counted from 0.
    fn of(self, execution: u64) -> (Mode, u64) {
        let turn = |nth: u64| TURNS[(nth % TURNS.len() as u64) as usize];
        let by_turns = || execution.checked_sub(1).map_or(Mode::Default, turn);
        (self.mode.unwrap_or_else(by_turns), mix(self.seed, execution))
    }

    /// The executions that know the same, from `start` on.
    pub(super) fn block(start: u64, end: u64) -> Range<u64> {
        let length = if start < LEARNT { start.max(1) } else { BLOCK };
        start..end.min(start + length)
    }

    /// Runs an execution; the record is at the desk.
    pub(super) fn run(
        self,
        execution: u64,
        draw: &mut Draw<'_>,
        (desk, names): (&mut Desk, &mut Names),
        (system, settings): (&dyn System, &Settings),
    ) {
        let (mode, seed) = self.of(execution);
        loop {
            draw.start(mode, seed);
            execute_with(desk, system, names, settings.rules, draw);
            if !desk.missing {
                return;
            }
            // Once is enough to know that the program needs clocks.
            desk.light = false;
        }
    }

    /// Adds to `known` what the execution at the desk shows.
    pub(super) fn learn(execution: u64, known: &mut Known, run: &Run, names: &Names) {
        if execution < LEARNT {
            known.learn(run, names);
        }
    }
}

/// Runs `system` with schedules drawn in one way, and shows each run to `look`.
///
/// Where they can be left out, the records have no clocks and no state; a replay has them.
///
/// ```
/// use tasklets::explore::{Mode, Program, Settings, sample};
/// use tasklets::spawn;
/// let idle = || (0..3).for_each(|_| drop(spawn(tasklets::yield_now)));
/// let (program, mut settings) = (Program::new("idle", &idle), Settings::default());
/// settings.executions_max = 50;
/// let mut longest = 0;
/// let verdict = sample(&program, Mode::Pct(2), 1, &settings, &mut |run, _| {
///     longest = longest.max(run.events.len());
/// });
/// assert_eq!((verdict.executions, verdict.exhausted, longest), (50, false, 6));
/// ```
pub fn sample(
    system: &dyn System,
    mode: Mode,
    seed: u64,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut names, mut verdict) = (Names::new(), Verdict::default());
    let plan = Plan { mode: Some(mode), seed };
    let mut drawing = Drawing::new(plan);
    drawing.go_on(u64::MAX, (system, settings), (&mut names, &mut verdict), look);
    verdict
}

/// Runs `system` with the default schedule, then with some drawn in all ways by turns; then, if
/// there seem to be no more traces than executions are left, searches them all, else draws on.
///
/// ```
/// use tasklets::explore::{Board, Branch, Settings, System, TaskletName, portfolio};
///
/// /// The root waits for a value that nobody sends.
/// struct Waits;
///
/// impl System for Waits {
///     fn run(&self, board: &mut Board<'_>) {
///         let root = TaskletName::ROOT;
///         let channel = board.channel(root);
///         board.offer(root, &[Branch::Receive(channel)]);
///         assert!(board.choose().is_none());
///     }
/// }
///
/// let verdict = portfolio(&Waits, 7, &Settings::default(), &mut |_, _| ());
/// assert!(verdict.exhausted);
/// assert_eq!(verdict.failures.len(), 1);
/// ```
pub fn portfolio(
    system: &dyn System,
    seed: u64,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut names, mut verdict) = (Names::new(), Verdict::default());
    let mut drawing = Drawing::new(Plan { mode: None, seed });
    let first = FIRST.min(settings.executions_max / 4).max(1);
    if !drawing.go_on(first, (system, settings), (&mut names, &mut verdict), look) {
        return verdict;
    }
    if few_traces(system, seed, settings, &mut names, &mut verdict, look) {
        let (mut desk, before) = (Desk::default(), verdict.executions);
        let hopeless = HOPELESS * settings.executions_max as f64;
        let mut goes_on = |verdict: &Verdict, guess: Option<f64>| {
            verdict.executions < before + FAIR_TRIAL || guess.is_none_or(|it| it <= hopeless)
        };
        dpor::search((system, settings), (&mut desk, &mut names, &mut verdict), &mut goes_on, look);
    }
    if !verdict.exhausted && !verdict.diverged && verdict.wants_more(settings) {
        drawing.go_on(u64::MAX, (system, settings), (&mut names, &mut verdict), look);
    }
    verdict
}

/// How many schedules are drawn before anything else, and how many executions an exhaustive search
/// has to show that it may come to its end; it is given up when it guesses that there are so many
/// times more traces than executions are allowed.
const FIRST: u64 = 50;
const FAIR_TRIAL: u64 = 100;
const HOPELESS: f64 = 2.0;

/// Walks down the tree of all traces a few times; whether all can be searched with what is left.
fn few_traces(
    system: &dyn System,
    seed: u64,
    settings: &Settings,
    names: &mut Names,
    verdict: &mut Verdict,
    look: &mut dyn FnMut(&Run, &Names),
) -> bool {
    let (mut desk, mut descent) = (Desk::default(), Descent::new(seed));
    let mut goes_on = verdict.wants_more(settings);
    let most = (settings.executions_max / ESTIMATE_SHARE).clamp(1, 32);
    while goes_on && descent.count() < most {
        descent.run(&mut desk, system, names, settings.rules);
        look(&desk.run, names);
        goes_on = verdict.count(&desk.run, names, settings);
    }
    let guess = descent.guess().max(verdict.traces as f64);
    verdict.estimate = Some(guess);
    goes_on && verdict.executions as f64 + guess <= settings.executions_max as f64
}

/// Schedules drawn one after the other.
pub(super) struct Drawing {
    plan: Plan,
    known: Known,
    /// How many were drawn.
    pub(super) next: u64,
    desk: Desk,
}

impl Drawing {
    pub(super) fn new(plan: Plan) -> Drawing {
        Drawing { plan, known: Known::default(), next: 0, desk: Desk::light() }
    }

    /// Draws up to the end of the budget, or until so many were drawn; whether any budget is left.
    pub(super) fn go_on(
        &mut self,
        end: u64,
        (system, settings): (&dyn System, &Settings),
        (names, verdict): (&mut Names, &mut Verdict),
        look: &mut dyn FnMut(&Run, &Names),
    ) -> bool {
        while self.next < end {
            let mut learnt = self.known.clone();
            let block = Plan::block(self.next, end);
            let mut draw = Draw::new(&self.known);
            for execution in block.clone() {
                self.plan.run(execution, &mut draw, (&mut self.desk, names), (system, settings));
                Plan::learn(execution, &mut learnt, &self.desk.run, names);
                look(&self.desk.run, names);
                if !verdict.count(&self.desk.run, names, settings) {
                    return false;
                }
            }
            (self.known, self.next) = (learnt, block.end);
        }
        true
    }
}
