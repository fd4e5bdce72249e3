//! Searches with a bound, on several threads, and guesses: how they agree with the whole search.

mod systems;

use std::collections::BTreeSet;
use std::num::NonZero;

use proptest::prelude::*;
use systems::Program;
use systems::cases::*;
use systems::controlled::Controlled;
use systems::strategy::{Flavour, program};
use tasklets::explore::{
    Mode, Names, Overrides, Settings, Verdict, estimate, every_choice, exhaust, exhaust_parallel,
    exhaust_with, sample, sample_parallel, shrink, within_overrides,
};

fn settings(executions_max: u64) -> Settings {
    Settings { executions_max, ..Settings::default() }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..Default::default() }
}

fn threads(count: usize) -> NonZero<usize> {
    NonZero::new(count).expect("some threads")
}

/// All of a verdict that can be told apart.
fn all_of(verdict: &Verdict) -> (String, Vec<(u64, u64)>) {
    let failures = verdict.failures.iter().map(|it| (it.trace, it.execution));
    (verdict.to_string(), failures.collect())
}

/// The mean of many guesses is the exact number, as far as their own error says.
fn is_guessed(program: &Program, runs: u64) {
    let exact = exhaust(&Controlled::new(program), &settings(20_000));
    assert!(exact.exhausted, "{exact}");
    let guess = estimate(&Controlled::new(program), runs, 5, &Settings::default());
    let apart = (guess.traces - exact.traces as f64).abs();
    assert!(apart <= 6.0 * guess.error + 1e-6, "{}: {guess:?}, {exact}", program.name);
}

/// Where nearly all events depend on each other; elsewhere it takes far more walks.
#[test]
fn the_mean_of_guesses_is_the_number_of_traces() {
    for program in [producers(3, 3), uneven(25), two_phase_commit(2)] {
        is_guessed(&program, 1_000);
    }
}

#[test]
fn a_guess_of_what_cannot_be_counted_is_of_the_right_size() {
    let guess = estimate(&Controlled::new(&producers(3, 10)), 200, 1, &Settings::default());
    // 30! / 10!³
    let exact = 5.550_996_791_34e12;
    assert!((exact / 1.5..exact * 1.5).contains(&guess.traces), "{guess:?}");
}

#[test]
fn a_search_on_threads_finds_what_one_finds() {
    let many = [producers(3, 3), philosophers(5, false), cyclers(3, 2), kubernetes_1321(3)];
    for program in many {
        let system = Controlled::new(&program);
        for limit in [20, 10_000] {
            let one = exhaust(&system, &settings(limit));
            for count in [1, 2, 3] {
                let more = exhaust_parallel(&system, &settings(limit), threads(count));
                assert_eq!(all_of(&more), all_of(&one), "{} on {count}", program.name);
            }
        }
    }
}

#[test]
fn the_failure_that_is_reported_does_not_depend_on_threads() {
    let system = Controlled::new(&philosophers(5, false));
    let first = Settings { stop_at_failure: true, ..settings(10_000) };
    let one = exhaust(&system, &first);
    let more = exhaust_parallel(&system, &first, threads(3));
    assert_eq!(all_of(&more), all_of(&one));
    for mode in [Mode::Walk, Mode::Weighted, Mode::Selective, Mode::Pct(3), Mode::Pos] {
        let one = sample(&system, mode, 3, &first, &mut |_, _| ());
        let more = sample_parallel(&system, mode, 3, &first, threads(3));
        assert_eq!(all_of(&more), all_of(&one), "{mode:?}");
    }
}

#[test]
fn random_schedules_do_not_depend_on_threads() {
    for program in [producers(3, 3), two_phase_commit(3), kubernetes_1321(3)] {
        let system = Controlled::new(&program);
        for mode in [Mode::Walk, Mode::Weighted, Mode::Selective, Mode::Pct(3), Mode::Pos] {
            let one = sample(&system, mode, 9, &settings(300), &mut |_, _| ());
            for count in [1, 2, 3] {
                let more = sample_parallel(&system, mode, 9, &settings(300), threads(count));
                assert_eq!(all_of(&more), all_of(&one), "{mode:?} of {}", program.name);
            }
        }
    }
}

#[test]
fn a_panic_of_the_system_itself_is_passed_on() {
    struct Broken;
    impl tasklets::explore::System for Broken {
        fn run(&self, _: &mut tasklets::explore::Board<'_>) {
            panic!("broken");
        }
    }
    let run = || exhaust_parallel(&Broken, &Settings::default(), threads(2));
    assert!(std::panic::catch_unwind(run).is_err());
}

/// How many overrides a shrunk failure of `program` needs.
fn overrides_needed(program: &Program) -> usize {
    let system = Controlled::new(program);
    let mut found = None;
    exhaust_with(&system, &settings(10_000), &mut |run, names| {
        if run.outcome.is_failure() && found.is_none() {
            found = Some((Overrides::of(run, names), run.outcome.clone(), names.clone()));
        }
    });
    let (overrides, outcome, mut names): (_, _, Names) = found.expect("a failure");
    let shrunk = shrink(&system, &mut names, &settings(1), &overrides, &outcome);
    shrunk.expect("it fails again").overrides.len()
}

#[test]
fn a_failure_of_few_overrides_is_found_within_as_many() {
    for program in [philosophers(3, false), etcd_6857(), etcd_6873(), kubernetes_1321(2)] {
        let needed = overrides_needed(&program);
        let system = Controlled::new(&program);
        let verdict = within_overrides(&system, needed, &settings(50_000), &mut |_, _| ());
        assert!(!verdict.failures.is_empty(), "{} within {needed}: {verdict}", program.name);
        assert!(!verdict.exhausted);
        assert!(verdict.to_string().starts_with(&format!("bounded to {needed} overrides")));
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn threads_change_nothing(program in program(Flavour::MIXED)) {
        let system = Controlled::new(&program);
        let one = exhaust(&system, &settings(300));
        let more = exhaust_parallel(&system, &settings(300), threads(2));
        prop_assert_eq!(all_of(&more), all_of(&one));
    }

    #[test]
    fn a_larger_bound_shows_more_and_nothing_that_is_not_there(
        program in program(Flavour::MIXED),
    ) {
        let system = Controlled::new(&program);
        let mut all = BTreeSet::new();
        let brute = every_choice(&system, &settings(2_000), &mut |run, _| {
            all.insert(run.trace);
        });
        prop_assume!(brute.exhausted);
        let mut before = BTreeSet::new();
        for bound in 0..3 {
            let mut found = BTreeSet::new();
            within_overrides(&system, bound, &settings(3_000), &mut |run, _| {
                found.insert(run.trace);
            });
            prop_assert!(found.is_subset(&all));
            prop_assert!(before.is_subset(&found));
            before = found;
        }
    }
}
