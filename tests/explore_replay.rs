//! Failures replay by name, shrink to few overrides, and random schedules find them.

mod systems;

use systems::Program;
use systems::cases::*;
use systems::controlled::Controlled;
use tasklets::explore::{
    Mode, Names, Outcome, Overrides, ReplayError, Settings, System, every_state, exhaust,
    exhaust_with, first_difference, portfolio, sample, shrink,
};

const MODES: [Mode; 7] = [
    Mode::Pairs,
    Mode::Walk,
    Mode::Weighted,
    Mode::Selective,
    Mode::Pct(2),
    Mode::Pct(3),
    Mode::Pos,
];

fn until_failure(executions_max: u64) -> Settings {
    Settings { executions_max, stop_at_failure: true, ..Settings::default() }
}

/// The overrides of the first failing run.
fn first_failure(program: &Program) -> (Overrides, Outcome, Names) {
    let mut found = None;
    exhaust_with(&Controlled::new(program), &until_failure(10_000), &mut |run, names| {
        if run.outcome.is_failure() && found.is_none() {
            found = Some((Overrides::of(run, names), run.outcome.clone(), names.clone()));
        }
    });
    found.expect("the program has a fault")
}

#[test]
fn a_failure_shrinks_to_few_overrides_and_replays_from_its_text() {
    for program in [philosophers(3, false), philosophers(5, false), etcd_6857(), etcd_6873()] {
        let system = Controlled::new(&program);
        let (overrides, outcome, mut names) = first_failure(&program);
        let shrunk = shrink(&system, &mut names, &Settings::default(), &overrides, &outcome)
            .expect("it fails again");
        assert!(shrunk.run.outcome.same_class(&outcome));
        assert!(shrunk.overrides.len() <= 5, "{:?}", shrunk.overrides.explain());
        let text = shrunk.overrides.text(system.program());
        assert!(text.len() < 200, "{text}");
        let read = Overrides::parse(&text, system.program()).expect("it is what was written");
        let again = read.replay(&system, &mut Names::new(), &Settings::default());
        assert!(again.outcome.same_class(&outcome));
        if let Some(passing) = &shrunk.passing {
            assert!(!passing.outcome.same_class(&outcome));
            assert!(first_difference(&shrunk.run, passing).is_some());
        }
        let other = Overrides::parse(&text, "another");
        assert_eq!(other, Err(ReplayError::Program(program.name.clone())));
    }
}

#[test]
fn a_whole_matching_replays_to_the_same_trace() {
    let system = Controlled::new(&two_phase_commit(2));
    let mut texts = Vec::new();
    exhaust_with(&system, &Settings::default(), &mut |run, names| {
        texts.push((run.trace, Overrides::of(run, names)));
    });
    for (trace, overrides) in texts {
        let run = overrides.replay(&system, &mut Names::new(), &Settings::default());
        assert_eq!(run.trace, trace);
    }
}

#[test]
fn overrides_of_another_program_do_not_stop_a_run() {
    let (overrides, ..) = first_failure(&philosophers(5, false));
    let run =
        overrides.replay(&Controlled::new(&pipe(3, 4)), &mut Names::new(), &Settings::default());
    assert_eq!(run.outcome, Outcome::Finished);
}

#[test]
fn random_schedules_find_the_deadlock_of_philosophers() {
    let system = Controlled::new(&philosophers(5, false));
    for mode in MODES {
        for seed in 0..20 {
            let verdict = sample(&system, mode, seed, &until_failure(3_000), &mut |_, _| ());
            assert_eq!(verdict.failures.len(), 1, "{mode:?} with seed {seed}: {verdict}");
        }
    }
}

#[test]
fn the_portfolio_finds_each_fault_and_none_where_there_is_none() {
    for program in [philosophers(7, false), etcd_6857(), etcd_6873(), kubernetes_1321(3)] {
        for seed in 0..20 {
            let system = Controlled::new(&program);
            let verdict = portfolio(&system, seed, &until_failure(3_000), &mut |_, _| ());
            assert_eq!(verdict.failures.len(), 1, "{}: {verdict}", program.name);
        }
    }
    let ordered = Controlled::new(&philosophers(3, true));
    let verdict = portfolio(&ordered, 1, &until_failure(1_000), &mut |_, _| ());
    // It has six traces, so they are all tried.
    assert!(verdict.exhausted, "{verdict}");
    assert_eq!(verdict.failures.len(), 0);
    let many = Controlled::new(&producers(3, 10));
    let verdict = portfolio(&many, 1, &until_failure(1_000), &mut |_, _| ());
    assert_eq!((verdict.exhausted, verdict.executions), (false, 1_000), "{verdict}");
}

#[test]
fn few_states_stand_for_many_traces() {
    let mut program = producers(3, 10);
    for body in &mut program.bodies[1..] {
        *body = systems::times(10, &[systems::send(0, 0)]);
    }
    program.digests = true;
    let verdict = every_state(&Controlled::new(&program), &Settings::default(), &mut |_, _| ());
    assert!(verdict.exhausted, "{verdict}");
    // Each producer has sent between 0 and 10.
    assert_eq!(verdict.states, Some(11 * 11 * 11));
}

#[test]
fn a_bounded_search_says_so_and_guesses_the_whole() {
    let settings = Settings { executions_max: 400, ..Settings::default() };
    let verdict = exhaust(&Controlled::new(&producers(3, 3)), &settings);
    assert!(!verdict.exhausted);
    let guess = verdict.estimate.expect("some part was done");
    assert!((400.0..20_000.0).contains(&guess), "{verdict}");
    assert!(verdict.to_string().starts_with("bounded"), "{verdict}");
}
