//! Schedules drawn at random: how soon a fault is found, and whether there is a false alarm.

use super::case::Case;
use super::measure::{Budget, judge, settings};
use std::time::Instant;
use tasklets::explore::{Mode, Program, Settings, System, Verdict, portfolio, sample};

/// The ways to draw a schedule, as they are printed; none is the portfolio of them.
const MODES: &[(&str, Option<Mode>)] = &[
    ("walk", Some(Mode::Walk)),
    ("pct2", Some(Mode::Pct(2))),
    ("pct3", Some(Mode::Pct(3))),
    ("pos", Some(Mode::Pos)),
    ("urw", Some(Mode::Weighted)),
    ("pairs", Some(Mode::Pairs)),
    ("portfolio", None),
];

/// Prints a line for each random mode; tells what is not as it has to be. `exhausted` says whether
/// every trace was seen already.
pub fn measure(case: &Case, exhausted: bool, budget: &Budget) -> Result<(), String> {
    let main = || (case.main)();
    let program = Program::new(case.name, &main);
    let alarm = if exhausted { budget.campaign } else { budget.alarm };
    match case.fault {
        Some(_) => campaigns(case, &program, budget),
        None => alarms(case, &program, alarm),
    }
}

fn draw(system: &dyn System, mode: Option<Mode>, seed: u64, settings: &Settings) -> Verdict {
    match mode {
        Some(mode) => sample(system, mode, seed, settings, &mut |_, _| ()),
        None => portfolio(system, seed, settings, &mut |_, _| ()),
    }
}

/// Looks for the fault of `case` again and again, with other seeds.
fn campaigns(case: &Case, program: &dyn System, budget: &Budget) -> Result<(), String> {
    let settings = settings(case, budget.campaign, true);
    for (name, mode) in MODES {
        let start = Instant::now();
        let (mut firsts, mut executions) = (Vec::new(), 0);
        for seed in 0..budget.campaigns {
            let verdict = draw(program, *mode, seed, &settings);
            executions += verdict.executions;
            firsts.push(verdict.failures.first().map(|it| it.execution));
            judge(case, &verdict).map_or(Ok(()), |why| Err(format!("{name}: {why}")))?;
        }
        let nanos = start.elapsed().as_nanos() as u64 / executions;
        println!("case={} mode={name} {} ns_per_execution={nanos}", case.name, summary(&firsts));
    }
    Ok(())
}

/// How many executions campaigns took to the first failure; none stands for a miss.
pub fn summary(firsts: &[Option<u64>]) -> String {
    let mut found: Vec<u64> = firsts.iter().copied().flatten().collect();
    found.sort_unstable();
    let (campaigns, misses) = (firsts.len(), firsts.len() - found.len());
    let mean = match found.len() {
        0 => String::from("-"),
        count => format!("{:.1}", found.iter().sum::<u64>() as f64 / count as f64),
    };
    // Misses are longer than any other.
    let p95 = found.get((campaigns * 95).div_ceil(100) - 1);
    let p95 = p95.map_or(String::from("-"), |it| it.to_string());
    format!("campaigns={campaigns} mean={mean} p95={p95} misses={misses}")
}

/// Makes sure that there is no alarm in a long search.
fn alarms(case: &Case, program: &dyn System, executions_max: u64) -> Result<(), String> {
    let settings = settings(case, executions_max, true);
    let start = Instant::now();
    let verdict = draw(program, None, 0, &settings);
    let nanos = start.elapsed().as_nanos() as u64 / verdict.executions;
    print!("case={} mode=portfolio executions={}", case.name, verdict.executions);
    print!(" traces={} alarms={}", verdict.traces, verdict.failures.len());
    println!(" ns_per_execution={nanos}");
    judge(case, &verdict).map_or(Ok(()), Err)
}

/// Runs `case` so often in one mode, and prints nothing: what a profiler wants.
pub fn once(case: &Case, mode: &str, executions: u64) -> bool {
    let Some((_, mode)) = MODES.iter().find(|it| it.0 == mode) else { return false };
    let main = || (case.main)();
    draw(&Program::new(case.name, &main), *mode, 1, &settings(case, executions, false));
    true
}
