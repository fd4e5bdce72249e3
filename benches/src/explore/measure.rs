//! Searches that are exhaustive if the budget suffices: traces, states, every order of events.

use super::case::Case;
use std::time::Instant;
use tasklets::explore::{
    Program, Rules, Settings, System, Verdict, every_choice, every_state, exhaust,
};

/// How many executions each search may have.
pub struct Budget {
    pub exhaustive: u64,
    pub states: u64,
    pub every_choice: u64,
    /// How many campaigns there are for each random mode, and how long each may be.
    pub campaigns: u64,
    pub campaign: u64,
    /// How long a program without a fault must give no alarm, if not all of it was searched.
    pub alarm: u64,
    /// What is timed beside other tools.
    pub speed: u64,
    /// What the exhaustive searches of other tools may have.
    pub peers: u64,
}

impl Budget {
    pub const FULL: Budget = Budget {
        exhaustive: 20_000,
        states: 20_000,
        every_choice: 40_000,
        campaigns: 100,
        campaign: 3_000,
        alarm: 300_000,
        speed: 20_000,
        peers: 200_000,
    };
    pub const SMOKE: Budget = Budget {
        exhaustive: 60,
        states: 30,
        every_choice: 60,
        campaigns: 2,
        campaign: 20,
        alarm: 30,
        speed: 30,
        peers: 30,
    };
}

/// What a search may do with `case`.
pub fn settings(case: &Case, executions_max: u64, stop_at_failure: bool) -> Settings {
    let rules = Rules { lax_timers: case.lax_timers, ..Rules::default() };
    Settings { rules, executions_max, stop_at_failure }
}

/// Searches `case` in all exhaustive ways and prints a line for each; whether every trace was seen,
/// and what is not as it has to be.
pub fn measure(case: &Case, budget: &Budget) -> (bool, Vec<String>) {
    let main = || (case.main)();
    let program = Program::new(case.name, &main);
    let mut wrong = Vec::new();
    let traces = line(case, "exhaustive", case.traces, &mut wrong, || {
        exhaust(&program, &settings(case, budget.exhaustive, case.vast))
    });
    let states = line(case, "states", case.states, &mut wrong, || {
        let settings = settings(case, budget.states, case.vast);
        every_state(&program, &settings, &mut |_, _| ())
    });
    if traces.exhausted && states.exhausted && fails(&traces) != fails(&states) {
        wrong.push(String::from("the states do not fail as the traces do"));
    }
    if traces.exhausted {
        wrong.extend(compare(case, &program, &traces, budget));
    }
    (traces.exhausted, wrong)
}

/// Runs one search and prints its line; adds to `wrong` what is.
fn line(
    case: &Case,
    mode: &str,
    reference: Option<u64>,
    wrong: &mut Vec<String>,
    search: impl FnOnce() -> Verdict,
) -> Verdict {
    let start = Instant::now();
    let verdict = search();
    let nanos = start.elapsed().as_nanos() as u64 / verdict.executions.max(1);
    print!("case={} mode={mode} executions={}", case.name, verdict.executions);
    print!(" traces={} blocked={}", verdict.traces, verdict.blocked);
    if let Some(states) = verdict.states {
        print!(" states={states}");
    }
    print!(" failures={}", verdict.failures.len());
    match verdict.failures.first() {
        Some(failure) => print!(" first_bug={}", failure.execution),
        None => print!(" first_bug=-"),
    }
    print!(" exhausted={}", if verdict.exhausted { "yes" } else { "no" });
    if let Some(estimate) = verdict.estimate {
        print!(" estimate={estimate:.0}");
    }
    if let Some(reference) = reference {
        print!(" reference={reference}");
    }
    println!(" ns_per_execution={nanos}");
    wrong.extend(judge(case, &verdict).map(|why| format!("{mode}: {why}")));
    verdict
}

/// What is wrong with a verdict.
pub fn judge(case: &Case, verdict: &Verdict) -> Option<String> {
    if verdict.diverged {
        return Some(String::from("it is not deterministic"));
    }
    if verdict.cut > 0 {
        return Some(String::from("a run was cut at the step bound"));
    }
    let mut outcomes = verdict.failures.iter().map(|it| format!("{:?}", it.outcome));
    let meant = |outcome: &String| case.fault.is_some_and(|it| outcome.contains(it));
    if let Some(other) = outcomes.find(|it| !meant(it)) {
        return Some(format!("a false alarm: {other}"));
    }
    let missed = case.fault.is_some() && verdict.exhausted && verdict.failures.is_empty();
    missed.then(|| String::from("the fault was not found"))
}

fn fails(verdict: &Verdict) -> bool {
    !verdict.failures.is_empty()
}

/// Searches without any reduction, which must find the same traces if it comes to its end.
fn compare(case: &Case, program: &dyn System, traces: &Verdict, budget: &Budget) -> Option<String> {
    let settings = settings(case, budget.every_choice, false);
    let mut wrong = Vec::new();
    let all = line(case, "every_choice", None, &mut wrong, || {
        every_choice(program, &settings, &mut |_, _| ())
    });
    let found = |it: &Verdict| (it.traces, it.failures.len());
    if all.exhausted && found(&all) != found(traces) {
        wrong.push(format!("every_choice finds {:?}, exhaust {:?}", found(&all), found(traces)));
    }
    wrong.pop()
}
