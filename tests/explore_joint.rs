//! Data and schedules shrink together to the smallest case that there is, seed after seed.

use proptest::collection::vec;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use std::cell::Cell;
use tasklets::explore::{Schedules, schedule};
use tasklets::{channel, spawn};

/// A runner that keeps nothing.
fn runner(seed: u64) -> TestRunner {
    TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    })
}

/// Three clients send their operations to the root, which is wrong about two in a row.
fn serve(lists: &[Vec<u32>]) {
    let (tx, rx) = channel();
    for (client, list) in lists.iter().enumerate() {
        let (tx, list) = (tx.clone(), list.clone());
        spawn(move || tx.send_all(list.into_iter().map(|op| (client, op))));
    }
    drop(tx);
    let mut before = (0, 0);
    for (client, op) in rx.iter() {
        assert!(!(before.0 == 1 && before.1 >= 100 && client == 2 && op >= 200), "served in a row");
        before = (client, op);
    }
}

/// What a campaign came to: the data, how many overrides, executions before and after the first
/// failure.
fn shrink_campaign(seed: u64, strategy: Schedules) -> (Vec<Vec<u32>>, String, [u64; 2]) {
    let (executions, failed_at) = (Cell::new(0), Cell::new(0));
    let data = vec(vec(0..300_u32, 0..8), 3);
    let result = runner(seed).run(&strategy.name("row").with(data), |(lists, schedule)| {
        let verdict = schedule.run(|| {
            executions.set(executions.get() + 1);
            serve(&lists);
        });
        if verdict.is_err() && failed_at.get() == 0 {
            failed_at.set(executions.get());
        }
        verdict.map(drop)
    });
    match result {
        Err(TestError::Fail(_, (lists, schedule))) => {
            let shrinking = executions.get() - failed_at.get();
            (lists, format!("{schedule:?}"), [failed_at.get(), shrinking])
        }
        other => panic!("the fault was not found: {other:?}"),
    }
}

#[test]
fn data_and_schedule_shrink_to_the_smallest_case() {
    // The goal is 98 of 100, which take a minute without optimisation.
    let (seeds, goal) = if cfg!(debug_assertions) { (15, 14) } else { (100, 98) };
    let (mut smallest, mut counts) = (0, [Vec::new(), Vec::new()]);
    for seed in 0..seeds {
        let (lists, replay, executions) = shrink_campaign(seed, schedule());
        let least = lists == [vec![], vec![100], vec![200]];
        let default = replay.matches(',').count() == 0;
        if least && default {
            smallest += 1;
        } else {
            eprintln!("seed {seed}: {lists:?} {replay} {executions:?}");
        }
        (0..2).for_each(|it| counts[it].push(executions[it]));
    }
    for (when, counts) in ["before", "after"].iter().zip(&mut counts) {
        counts.sort_unstable();
        let (median, most) = (counts[counts.len() / 2], counts[counts.len() - 1]);
        eprintln!("executions {when} the first failure: median {median}, at most {most}");
    }
    assert!(smallest >= goal, "the smallest in {smallest} of {seeds}");
}
