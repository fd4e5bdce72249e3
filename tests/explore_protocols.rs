//! Counts of servers and protocols: each is what brute force finds, or can be computed by hand.

mod systems;

use std::collections::BTreeMap;

use systems::Program;
use systems::cases::*;
use systems::controlled::Controlled;
use systems::protocols::*;
use tasklets::explore::{Rules, Settings, every_choice, every_state, exhaust, exhaust_with};

fn settings(executions_max: u64, lax_timers: bool) -> Settings {
    let rules = Rules { lax_timers, ..Rules::default() };
    Settings { rules, executions_max, ..Settings::default() }
}

/// Brute force finds so many traces, of which so many fail; and the reduced search the same, each
/// once.
fn confirmed(program: &Program, lax_timers: bool, traces: usize, failures: usize) {
    let system = Controlled::new(program);
    let (mut all, mut reduced) = (BTreeMap::new(), BTreeMap::new());
    let brute = every_choice(&system, &settings(50_000, lax_timers), &mut |run, _| {
        all.insert(run.trace, run.outcome.clone());
    });
    assert!(brute.exhausted, "{}: {brute}", program.name);
    let verdict = exhaust_with(&system, &settings(50_000, lax_timers), &mut |run, _| {
        reduced.insert(run.trace, run.outcome.clone());
    });
    assert!(verdict.exhausted, "{}: {verdict}", program.name);
    assert_eq!(reduced, all, "{}", program.name);
    let failing = all.values().filter(|it| it.is_failure()).count();
    let found = (all.len(), verdict.executions, failing);
    assert_eq!(found, (traces, traces as u64, failures), "{}: {brute}", program.name);
}

#[test]
fn a_butler_prevents_the_deadlock() {
    confirmed(&butler(2), false, 2, 0);
    // Brute force finds as many, in 29,625 executions.
    let verdict = exhaust(&Controlled::new(&butler(3)), &settings(1_000, false));
    assert_eq!((verdict.exhausted, verdict.executions, verdict.traces), (true, 126, 126));
}

#[test]
fn a_lost_message_is_sent_again_and_delivered_once() {
    confirmed(&alternating_bit(2, 1, 2, false), false, 3, 0);
    confirmed(&alternating_bit(1, 1, 1, false), true, 8, 0);
    confirmed(&alternating_bit(2, 1, 2, false), true, 148, 0);
}

#[test]
fn a_receiver_that_ignores_the_bit_delivers_twice_if_the_timer_is_early() {
    confirmed(&alternating_bit(2, 1, 2, true), false, 3, 0);
    confirmed(&alternating_bit(1, 1, 1, true), true, 8, 2);
}

#[test]
fn a_ring_of_four_elects_in_28_ways() {
    confirmed(&ring(&[4, 1, 3, 2]), false, 28, 0);
}

#[test]
fn readers_and_writers_take_turns() {
    confirmed(&readers_writers(1, 1), false, 2, 0);
    confirmed(&readers_writers(2, 1), false, 14, 0);
    // Too many orders for brute force; an independent prototype found as many.
    let verdict = exhaust(&Controlled::new(&readers_writers(2, 2)), &settings(1_000, false));
    assert_eq!((verdict.exhausted, verdict.executions, verdict.traces), (true, 48, 48));
}

#[test]
fn santa_serves_each_group_once() {
    confirmed(&santa(1, 2, 2), false, 4, 0);
    confirmed(&santa(2, 2, 2), false, 8, 0);
}

#[test]
fn a_stop_before_the_last_line_loses_it() {
    confirmed(&logger(), false, 2, 1);
}

#[test]
fn stale_values_are_read() {
    confirmed(&reorder(1), false, 6, 2);
    confirmed(&two_stage(1), false, 6, 1);
    confirmed(&reorder(2), false, 90, 28);
    confirmed(&two_stage(2), false, 90, 14);
}

/// So many who do two requests each, at one server: all orders that keep those of each.
#[test]
fn three_setters_and_a_reader_make_2520_orders() {
    let verdict = exhaust(&Controlled::new(&reorder(3)), &settings(10_000, false));
    assert!(verdict.exhausted);
    // 8! / 2!⁴
    assert_eq!((verdict.executions, verdict.traces), (2_520, 2_520));
}

#[test]
fn the_state_search_needs_fewer_runs_than_there_are_traces() {
    let system = Controlled::new(&reorder(3));
    let verdict = every_state(&system, &settings(10_000, false), &mut |_, _| ());
    assert!(verdict.exhausted && verdict.executions < 2_520, "{verdict}");
}
