//! Reference counts: how many traces known systems have, and that each is executed once.

mod systems;

use systems::Program;
use systems::cases::*;
use systems::controlled::Controlled;
use tasklets::explore::{Rules, Settings, Verdict, every_choice, exhaust};

fn search(program: &Program, lax_timers: bool) -> Verdict {
    let rules = Rules { lax_timers, ..Rules::default() };
    exhaust(&Controlled::new(program), &Settings { rules, ..Settings::default() })
}

/// Every trace is executed once, there are so many of them, and so many fail.
fn counts(program: &Program, traces: u64, failures: usize) {
    let verdict = search(program, false);
    let found = (verdict.exhausted, verdict.executions, verdict.traces, verdict.failures.len());
    assert_eq!(found, (true, traces, traces, failures), "{}: {verdict}", program.name);
}

#[test]
fn producers_arrive_in_every_order() {
    counts(&producers(2, 2), 6, 0);
    counts(&producers(3, 2), 90, 0);
    counts(&producers(5, 1), 120, 0);
    counts(&uneven(25), 26, 0);
    counts(&uneven(40), 41, 0);
}

#[test]
fn nine_sends_of_three_arrive_in_1680_orders() {
    counts(&producers(3, 3), 1_680, 0);
}

#[test]
fn naive_philosophers_have_one_deadlock_and_ordered_ones_none() {
    for n in 3..=6 {
        counts(&philosophers(n, false), (1 << n) - 1, 1);
    }
    counts(&philosophers(3, true), 6, 0);
}

#[test]
fn cyclers_choose_once_for_each_start_but_the_last() {
    counts(&cyclers(3, 1), 4, 0);
    counts(&cyclers(3, 2), 32, 0);
    counts(&cyclers(5, 2), 512, 0);
}

#[test]
fn networks_without_choice_have_one_trace() {
    counts(&commstime(3, false), 1, 0);
    counts(&commstime(3, true), 8, 0);
    counts(&pipe(3, 4), 1, 0);
    counts(&pipe(3, 5), 1, 0);
}

#[test]
fn votes_and_decisions_are_permuted() {
    counts(&two_phase_commit(2), 16, 0);
    counts(&two_phase_commit(3), 288, 0);
}

#[test]
fn known_faults_are_found() {
    counts(&etcd_6857(), 2, 1);
    counts(&etcd_6873(), 3, 1);
    counts(&kubernetes_1321(3), 7, 3);
}

#[test]
fn a_timeout_that_strands_its_worker_needs_lax_timers() {
    counts(&kubernetes_5316(), 2, 0);
    let verdict = search(&kubernetes_5316(), true);
    assert_eq!((verdict.executions, verdict.traces, verdict.failures.len()), (3, 3, 1));
}

#[test]
fn a_ring_elects_in_as_many_ways_as_brute_force_finds() {
    let program = ring(&[3, 1, 2]);
    let settings = Settings { executions_max: 100_000, ..Settings::default() };
    let brute = every_choice(&Controlled::new(&program), &settings, &mut |_, _| ());
    assert!(brute.exhausted, "{brute}");
    counts(&program, brute.traces, 0);
    counts(&ring(&[4, 1, 3, 2]), 28, 0);
}
