//! Operations that depend on what was done before: how they are made, and how they shrink.

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use std::collections::BTreeSet;
use tasklets::explore::{Model, Reference, drive, schedule, transitions};
use tasklets::{Sender, channel, spawn};

/// Which files are open.
struct Files;

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Open(u8),
    Close(u8),
    Count,
}

type Open = BTreeSet<u8>;

impl Model for Files {
    type State = Open;
    type Op = Op;
    type Answer = usize;

    fn start() -> Open {
        Open::new()
    }

    fn apply(open: &mut Open, op: &Op) -> usize {
        match op {
            Op::Open(file) => usize::from(open.insert(*file)),
            Op::Close(file) => usize::from(open.remove(file)),
            Op::Count => open.len(),
        }
    }
}

impl Reference for Files {
    fn transitions(open: &Open) -> BoxedStrategy<Op> {
        let others = prop_oneof![(0..9_u8).prop_map(Op::Open), Just(Op::Count)];
        if open.is_empty() {
            return others.boxed();
        }
        let open: Vec<_> = open.iter().copied().collect();
        prop_oneof![others, prop::sample::select(open).prop_map(Op::Close)].boxed()
    }

    fn preconditions(open: &Open, op: &Op) -> bool {
        !matches!(op, Op::Close(file) if !open.contains(file))
    }
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })
}

/// Whether nothing is closed that is not open, if clients take turns.
fn holds(lists: &[Vec<Op>]) -> bool {
    let (mut open, mut sound) = (Files::start(), true);
    for round in 0..lists.iter().map(Vec::len).max().unwrap_or(0) {
        for op in lists.iter().filter_map(|it| it.get(round)) {
            sound &= Files::preconditions(&open, op);
            Files::apply(&mut open, op);
        }
    }
    sound
}

#[test]
fn each_operation_is_made_for_the_state_it_comes_in() {
    let done = runner().run(&transitions::<Files>(1..=4, 0..=9), |lists| {
        prop_assert!((1..=4).contains(&lists.len()) && lists.iter().all(|it| it.len() <= 9));
        prop_assert!(holds(&lists));
        Ok(())
    });
    assert_eq!(done.map_err(|it| it.to_string()), Ok(()));
}

#[test]
fn a_case_shrinks_to_what_is_needed_and_keeps_what_that_needs() {
    // One client: each list is what is done, in that order.
    let found = runner().run(&transitions::<Files>(1..=1, 0..=20), |lists| {
        assert!(holds(&lists), "no candidate closes what is not open: {lists:?}");
        prop_assert!(!lists[0].iter().any(|it| matches!(it, Op::Close(_))));
        Ok(())
    });
    let Err(TestError::Fail(_, lists)) = found else { panic!("{found:?}") };
    let [Op::Open(file), Op::Close(closed)] = lists[0][..] else { panic!("{lists:?}") };
    assert_eq!(file, closed);
}

type Request = (Op, Sender<usize>);

/// Counts what is open by itself, and forgets that a file may be closed.
fn serve(forgets: bool) -> Sender<Request> {
    let (server, requests) = channel::<Request>();
    spawn(move || {
        let (mut open, mut count) = (Files::start(), 0);
        for (op, reply) in requests.iter() {
            let answer = Files::apply(&mut open, &op);
            count = if forgets { count.max(open.len()) } else { open.len() };
            let answer = if op == Op::Count { count } else { answer };
            reply.send(answer).unwrap();
        }
    });
    server
}

fn check(forgets: bool) -> Result<(), TestError<Vec<Vec<Op>>>> {
    let cases = schedule().schedules(5).with(transitions::<Files>(1..=3, 0..=4));
    let done = runner().run(&cases, |(lists, schedule)| {
        schedule.run(|| {
            let server = serve(forgets);
            drive::<Files, _>(&lists, |_| {
                let server = server.clone();
                move |op: &Op| {
                    let (reply, replied) = channel();
                    server.send((op.clone(), reply)).unwrap();
                    replied.recv().unwrap()
                }
            });
        })?;
        Ok(())
    });
    done.map_err(|it| match it {
        TestError::Fail(reason, (lists, _)) => TestError::Fail(reason, lists),
        TestError::Abort(reason) => TestError::Abort(reason),
    })
}

#[test]
fn a_server_that_does_what_the_reference_does_passes() {
    assert_eq!(check(false).map_err(|it| it.to_string()), Ok(()));
}

#[test]
fn a_fault_that_takes_three_operations_is_shown_with_three() {
    let found = check(true);
    let Err(TestError::Fail(reason, lists)) = found else { panic!("{found:?}") };
    assert!(reason.message().contains("is not linearizable"), "{reason}");
    let mut ops: Vec<_> = lists.into_iter().flatten().collect();
    ops.sort_by_key(|it| format!("{it:?}"));
    let [Op::Close(closed), Op::Count, Op::Open(file)] = ops[..] else { panic!("{ops:?}") };
    assert_eq!(file, closed);
}
