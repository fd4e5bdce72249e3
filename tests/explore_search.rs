//! The reduced search sees exactly what every order of events shows, each trace once.

mod systems;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use systems::controlled::{Controlled, Matching, matching};
use systems::strategy::{Flavour, config, program};
use systems::{Arm, Program, eager};
use tasklets::explore::{
    Mode, Outcome, Rules, Settings, every_choice, every_state, exhaust_with, sample,
};

fn settings(executions_max: u64) -> Settings {
    Settings { executions_max, ..Settings::default() }
}

/// The traces of a program, with how each ends, and how many executions it took.
fn all_traces(program: &Program, max: Settings) -> Option<(BTreeMap<u64, Outcome>, u64)> {
    let mut traces = BTreeMap::new();
    let verdict = every_choice(&Controlled::new(program), &max, &mut |run, _| {
        traces.insert(run.trace, run.outcome.clone());
    });
    verdict.exhausted.then_some((traces, verdict.executions))
}

fn reduced_equals_brute_force(program: &Program, max: Settings) -> Result<(), TestCaseError> {
    let Some((traces, _)) = all_traces(program, max) else { return Ok(()) };
    let mut found = BTreeMap::new();
    let mut complete = 0;
    let limit = Settings { executions_max: 3 * traces.len() as u64 + 1_000, ..max };
    let verdict = exhaust_with(&Controlled::new(program), &limit, &mut |run, _| {
        complete += 1;
        found.insert(run.trace, run.outcome.clone());
    });
    prop_assert!(!verdict.diverged, "{verdict}");
    prop_assert!(verdict.exhausted, "{verdict} of {}", traces.len());
    prop_assert_eq!(&found, &traces, "{}", verdict);
    prop_assert_eq!(complete, traces.len(), "a trace was executed twice");
    prop_assert_eq!(verdict.executions, complete as u64, "a run led to nothing");
    Ok(())
}

fn states_end_where_traces_end(program: &Program, max: u64) -> Result<(), TestCaseError> {
    let (mut expected, mut found) = (BTreeSet::new(), BTreeSet::new());
    let system = Controlled::new(program);
    let brute = every_choice(&system, &settings(max), &mut |run, _| {
        expected.insert(run.state);
    });
    if !brute.exhausted {
        return Ok(());
    }
    let verdict = every_state(&system, &settings(max), &mut |run, _| {
        if run.is_complete() {
            found.insert(run.state);
        }
    });
    prop_assert!(verdict.exhausted, "{verdict} after {brute}");
    prop_assert_eq!(found, expected);
    Ok(())
}

fn pairs_equal_run_orders(program: &Program) -> Result<(), TestCaseError> {
    let Some((eager, _)) = eager::matchings(program, 2_000) else { return Ok(()) };
    let mut found: BTreeSet<Matching> = BTreeSet::new();
    let system = Controlled::new(program);
    let verdict = every_choice(&system, &settings(50_000), &mut |run, names| {
        found.insert(matching(run, names));
    });
    prop_assert!(verdict.exhausted);
    let (mut missing, mut invented) = (eager.difference(&found), found.difference(&eager));
    prop_assert_eq!(missing.next(), None, "not seen under control");
    // That a peer has waited since an earlier time is not taken for granted: a real clock
    // gives no such promise. So with timers there may be more.
    if !program.has(|it| matches!(it, Arm::Timer(delay) | Arm::Limit(delay) if *delay > 0)) {
        prop_assert_eq!(invented.next(), None, "never seen in production");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn the_reduced_search_sees_each_trace_once(program in program(Flavour::PLAIN)) {
        reduced_equals_brute_force(&program, settings(4_000))?;
    }

    #[test]
    fn so_it_does_with_defaults_timers_drops_and_cancels(program in program(Flavour::MIXED)) {
        reduced_equals_brute_force(&program, settings(4_000))?;
    }

    #[test]
    fn so_it_does_when_timers_may_fire_at_any_moment(program in program(Flavour::MIXED)) {
        let rules = Rules { lax_timers: true, ..Rules::default() };
        reduced_equals_brute_force(&program, Settings { rules, ..settings(4_000) })?;
    }

    #[test]
    fn the_state_search_ends_in_the_same_states(program in program(Flavour::MIXED)) {
        states_end_where_traces_end(&program, 4_000)?;
    }

    #[test]
    fn random_schedules_are_schedules(program in program(Flavour::MIXED), seed in 0u64..1_000) {
        let Some((traces, _)) = all_traces(&program, settings(2_000)) else { return Ok(()) };
        let mut strange = 0;
        for mode in [
            Mode::Pairs,
            Mode::Walk,
            Mode::Weighted,
            Mode::Selective,
            Mode::Pct(3),
            Mode::Pos,
        ] {
            let system = Controlled::new(&program);
            let verdict = sample(&system, mode, seed, &settings(5), &mut |run, _| {
                strange += usize::from(!traces.contains_key(&run.trace));
            });
            prop_assert!(!verdict.exhausted);
        }
        prop_assert_eq!(strange, 0);
    }

    #[test]
    fn pairs_show_what_any_run_order_shows(program in program(Flavour::TINY)) {
        pairs_equal_run_orders(&program)?;
    }

    #[test]
    fn so_they_do_where_most_is_cancelled_or_dropped(program in program(Flavour::STOPPED)) {
        pairs_equal_run_orders(&program)?;
    }
}
