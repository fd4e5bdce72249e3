//! The harness finds faults of the search: each of these was made on purpose.
//!
//! Always: the search without a fault passes the same systems.

mod systems;

use std::collections::BTreeSet;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use systems::Program;
use systems::controlled::{Controlled, Matching, matching};
use systems::strategy::{Flavour, program};
use tasklets::explore::{Defect, Rules, Settings, every_choice, exhaust_with};

/// Whether the reduced search with this fault differs from what it should find.
///
/// The reference is brute force without the fault; where the fault is in the rules themselves,
/// it is every run order, which knows no rules.
fn is_caught(program: &Program, defect: Option<Defect>) -> bool {
    let executions_max = 300;
    let plain = Settings { executions_max, ..Settings::default() };
    let system = Controlled::new(program);
    let (mut expected, mut found) = (BTreeSet::<Matching>::new(), BTreeSet::new());
    let brute = every_choice(&system, &plain, &mut |run, names| {
        expected.insert(matching(run, names));
    });
    if !brute.exhausted {
        return false;
    }
    let rules = Rules { defect, ..Rules::default() };
    let limit = Settings { rules, executions_max: 2 * brute.executions + 100, ..plain };
    let mut complete = 0;
    let verdict = exhaust_with(&system, &limit, &mut |run, names| {
        if run.is_complete() {
            complete += 1;
            found.insert(matching(run, names));
        }
    });
    !verdict.exhausted || found != expected || complete != expected.len()
}

/// After how many random systems the fault is caught.
fn caught_after(defect: Option<Defect>, systems: usize) -> Option<usize> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let all = program(Flavour::MIXED);
    (0..systems).find(|_| {
        let program = all.new_tree(&mut runner).expect("a program").current();
        is_caught(&program, defect)
    })
}

#[test]
fn the_search_without_a_fault_passes() {
    assert_eq!(caught_after(None, 150), None);
}

#[test]
fn every_fault_made_on_purpose_is_caught() {
    for defect in [
        Defect::NoSpawnEdge,
        Defect::ForgetMeetings,
        Defect::ForgetAlone,
        Defect::ForgetCancels,
        Defect::NeverWake,
        Defect::NeverSleep,
        Defect::WrongPlace,
        Defect::ForgetPast,
        Defect::KeepPastOnly,
        Defect::AskSleepers,
        Defect::AlwaysMeet,
        Defect::NoHalfSteps,
    ] {
        let after = caught_after(Some(defect), 1_500);
        println!("{defect:?}: {after:?}");
        assert!(after.is_some(), "{defect:?} was not caught");
    }
}
