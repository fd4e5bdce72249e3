//! Who can meet whom: the two rules about selects that never wait, and about drops.

mod systems;

use std::collections::BTreeSet;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use systems::controlled::{Controlled, Matching, matching};
use systems::strategy::{Flavour, program};
use systems::{Arm, Program, Side, Step, eager, number, receive, send};
use tasklets::explore::{Defect, Kind, Rules, Settings, every_choice, exhaust_with};

/// What the program does under control, with a fault in the rules or without.
fn under_control(program: &Program, defect: Option<Defect>) -> BTreeSet<Matching> {
    let mut found = BTreeSet::new();
    let settings = Settings { rules: Rules { defect, ..Rules::default() }, ..Settings::default() };
    let verdict = every_choice(&Controlled::new(program), &settings, &mut |run, names| {
        found.insert(matching(run, names));
    });
    assert!(verdict.exhausted, "{verdict}");
    found
}

/// Control, reduction and every run order show the same; how many times two slots can meet.
fn meetings(program: &Program) -> usize {
    let found = under_control(program, None);
    let (eager, _) = eager::matchings(program, 100_000).expect("the program is small");
    assert_eq!(found, eager);
    let mut reduced = BTreeSet::new();
    let verdict =
        exhaust_with(&Controlled::new(program), &Settings::default(), &mut |run, names| {
            if run.is_complete() {
                reduced.insert(matching(run, names));
            }
        });
    assert!(verdict.exhausted, "{verdict}");
    assert_eq!(reduced, found);
    found.iter().filter(|it| it.values().any(|it| it.0 == Kind::Meeting)).count()
}

fn polls(arm: Arm) -> Step {
    Step::Select(vec![(arm, vec![]), (Arm::Default, vec![])])
}

fn two(one: Vec<Step>, other: Vec<Step>, channels: usize) -> Program {
    Program::new("two", channels, vec![vec![Step::Spawn(1), Step::Spawn(2)], one, other])
}

#[test]
fn two_polls_never_meet() {
    let program = two(vec![polls(Arm::Send(0, number(1)))], vec![polls(Arm::Receive(0, 1))], 1);
    assert_eq!(meetings(&program), 0);
}

#[test]
fn a_poll_meets_one_who_waits() {
    let program = two(vec![send(0, 1)], vec![polls(Arm::Receive(0, 1))], 1);
    assert_eq!(meetings(&program), 1);
}

#[test]
fn a_closed_arm_counts_as_ready_only_for_those_who_know_of_the_close() {
    let ready = |arm| Step::Select(vec![(arm, vec![]), (Arm::Receive(1, 1), vec![])]);
    // Nobody ever has the sender of channel 1: the root drops it before it spawns.
    let (one, other) = (ready(Arm::Send(0, number(1))), ready(Arm::Receive(0, 1)));
    let known = two(vec![one.clone()], vec![other.clone()], 2);
    assert_eq!(meetings(&known), 0);
    // A third drops the sender at some time, so one may have waited before.
    let third = vec![Step::Drop(Side::Sender, 1), Step::If(number(0), vec![send(1, 0)], vec![])];
    let root = vec![Step::Spawn(1), Step::Spawn(2), Step::Spawn(3)];
    let later = Program::new("later", 2, vec![root, vec![one], vec![other], third]);
    assert_eq!(meetings(&later), 1);
}

#[test]
fn others_may_act_between_a_closing_drop_and_the_next_operation() {
    // The second sees the close, and then either waits before the first comes to its poll, or
    // comes later.
    let first = vec![
        Step::Drop(Side::Sender, 0),
        polls(Arm::Send(1, number(1))),
        Step::If(number(0), vec![send(0, 1)], vec![]),
    ];
    let program = two(first, vec![receive(0, 1), receive(1, 1)], 2);
    assert_eq!(meetings(&program), 1);
    let polled: BTreeSet<Kind> =
        under_control(&program, None).iter().map(|it| it[&(String::from("root.0"), 0)].0).collect();
    assert_eq!(polled, BTreeSet::from([Kind::Meeting, Kind::Default]));
}

#[test]
fn who_cancels_need_not_know_of_a_drop_that_its_target_is_about_to_make() {
    // Its target has been met, and has not run since; or it stands before the drop.
    let drops = Step::Drop(Side::Receiver, 0);
    let owns = Step::If(number(0), vec![receive(0, 1)], vec![]);
    let target = vec![receive(2, 1), drops.clone(), receive(1, 1), owns];
    let cancel = Step::Select(vec![(Arm::Cancel(1), vec![])]);
    for cancels in 1..=2 {
        let mut root = vec![Step::Spawn(1), send(2, 1)];
        root.extend(systems::times(cancels, std::slice::from_ref(&cancel)));
        root.push(polls(Arm::Send(0, number(1))));
        let program = Program::new("drops", 3, vec![root, target.clone()]);
        meetings(&program);
        let polled = under_control(&program, None)
            .into_iter()
            .filter(|it| it[&(String::from("root.0"), 1)].0 == Kind::Cancelled);
        let last = (String::from("root"), 1 + cancels as u32);
        let polled: BTreeSet<Kind> = polled.map(|it| it[&last].0).collect();
        assert_eq!(polled, BTreeSet::from([Kind::Closed, Kind::Default]));
    }
}

#[test]
fn wrong_rules_are_caught_by_every_run_order() {
    for defect in [Defect::AlwaysMeet, Defect::NoHalfSteps, Defect::NoSpawnEdge] {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let all = program(Flavour::TINY);
        let caught = (0..2_000).any(|_| {
            let program = all.new_tree(&mut runner).expect("a program").current();
            if program.has(|it| matches!(it, Arm::Timer(_) | Arm::Limit(_))) {
                return false;
            }
            eager::matchings(&program, 1_000)
                .is_some_and(|(eager, _)| eager != under_control(&program, Some(defect)))
        });
        assert!(caught, "{defect:?} was not caught");
    }
}
