//! Executions per second of a random walk, beside shuttle's, by turns.

use super::arrivals;
use super::measure::{Budget, settings};
use super::shuttle_peer;
use std::time::Instant;
use tasklets::explore::{Mode, Program, System, sample};

/// How often each is timed; the best counts.
const ROUNDS: usize = 5;

/// Case 1, three producers of ten messages.
pub fn producers(budget: &Budget) {
    let name = "producers3x10";
    let case = arrivals::CASES.iter().find(|it| it.name == name).expect("it is a case");
    let main = || (case.main)();
    let program = Program::new(name, &main);
    let ours = |program: &dyn System| {
        let start = Instant::now();
        let settings = settings(case, budget.speed, false);
        let verdict = sample(program, Mode::Walk, 1, &settings, &mut |_, _| ());
        (verdict.executions as f64 / start.elapsed().as_secs_f64(), verdict.traces)
    };
    let (mut best, mut shuttles, mut traces) = (0_f64, 0_f64, 0);
    for _ in 0..ROUNDS {
        let (speed, distinct) = ours(&program);
        (best, traces) = (best.max(speed), distinct);
        shuttles = shuttles.max(shuttle_peer::speed(budget.speed));
    }
    println!("case={name} tool=tasklets mode=walk per_second={best:.0} traces={traces}");
    println!("case={name} tool=shuttle mode=walk per_second={shuttles:.0}");
    println!("case={name} tool=tasklets mode=walk times_shuttle={:.2}", best / shuttles);
}
