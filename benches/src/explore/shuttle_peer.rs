//! The same cases for shuttle 0.9.9: threads and std's channels, under its schedulers.

use super::measure::Budget;
use super::random::summary;
use shuttle::scheduler::{
    DfsScheduler, PctScheduler, RandomScheduler, Scheduler, UrwRandomScheduler,
};
use shuttle::sync::{Mutex, mpsc::sync_channel};
use shuttle::{Config, FailurePersistence, Runner, thread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Case 1, over std's rendezvous channel.
fn send_all(count: usize, each: u32) {
    let (tx, rx) = sync_channel(0);
    for _ in 0..count {
        let tx = tx.clone();
        thread::spawn(move || (0..each).for_each(|it| tx.send(it).unwrap()));
    }
    drop(tx);
    assert_eq!(rx.iter().count(), count * each as usize);
}

/// Case 2; forks are mutexes here.
fn naive(count: usize) {
    let forks: Vec<_> = (0..count).map(|_| Arc::new(Mutex::new(()))).collect();
    for seat in 0..count {
        let (left, right) = (forks[seat].clone(), forks[(seat + 1) % count].clone());
        thread::spawn(move || {
            let first = left.lock().unwrap();
            let second = right.lock().unwrap();
            drop((first, second));
        });
    }
}

/// Case 18.
fn once_among(many: usize) {
    let (tx, rx) = sync_channel(0);
    let often = tx.clone();
    thread::spawn(move || tx.send(true).unwrap());
    thread::spawn(move || (0..many).for_each(|_| often.send(false).unwrap()));
    let arrivals: Vec<bool> = rx.iter().collect();
    assert!(!arrivals[many], "the only message came last");
}

/// What came of running a program until it failed or the scheduler had enough.
struct Found {
    executions: u64,
    failed: bool,
    nanos: u64,
}

fn run(scheduler: impl Scheduler + 'static, main: impl Fn() + Send + Sync + 'static) -> Found {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let executions = Arc::new(AtomicU64::new(0));
    let counter = executions.clone();
    let start = Instant::now();
    let runner = Runner::new(scheduler, config);
    let result = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            counter.fetch_add(1, Relaxed);
            main();
        })
    }));
    let nanos = start.elapsed().as_nanos() as u64;
    Found { executions: executions.load(Relaxed), failed: result.is_err(), nanos }
}

/// Executions per second of a random walk.
pub fn speed(executions: u64) -> f64 {
    let found = run(RandomScheduler::new_from_seed(1, executions as usize), || send_all(3, 10));
    found.executions as f64 * 1e9 / found.nanos as f64
}

pub fn producers(case: &str, count: usize, each: u32, budget: &Budget) {
    exhaust(case, budget, move || send_all(count, each));
}

fn exhaust(case: &str, budget: &Budget, main: impl Fn() + Send + Sync + 'static) {
    let scheduler = DfsScheduler::new(Some(budget.peers as usize), false);
    let found = run(scheduler, main);
    let exhausted = !found.failed && found.executions < budget.peers;
    print!("case={case} tool=shuttle mode=exhaustive executions={}", found.executions);
    print!(" first_bug={}", if found.failed { found.executions.to_string() } else { "-".into() });
    print!(" exhausted={}", if exhausted { "yes" } else { "no" });
    println!(" ns_per_execution={}", found.nanos / found.executions.max(1));
}

pub fn philosophers(case: &str, count: usize, budget: &Budget) {
    exhaust(case, budget, move || naive(count));
    campaigns(case, budget, move || naive(count));
}

pub fn uneven(budget: &Budget) {
    campaigns("uneven25", budget, || once_among(25));
}

fn campaigns(case: &str, budget: &Budget, main: impl Fn() + Copy + Send + Sync + 'static) {
    let most = budget.campaign as usize;
    let line = |mode: &str, search: &dyn Fn(u64) -> Found| {
        let (mut firsts, mut nanos, mut executions) = (Vec::new(), 0, 0);
        for seed in 0..budget.campaigns {
            let found = search(seed);
            nanos += found.nanos;
            executions += found.executions;
            firsts.push(found.failed.then_some(found.executions));
        }
        let nanos = nanos / executions.max(1);
        println!(
            "case={case} tool=shuttle mode={mode} {} ns_per_execution={nanos}",
            summary(&firsts)
        );
    };
    line("walk", &|seed| run(RandomScheduler::new_from_seed(seed, most), main));
    line("pct2", &|seed| run(PctScheduler::new_from_seed(seed, 2, most), main));
    line("pct3", &|seed| run(PctScheduler::new_from_seed(seed, 3, most), main));
    line("urw", &|seed| run(UrwRandomScheduler::new_from_seed(seed, most), main));
}
