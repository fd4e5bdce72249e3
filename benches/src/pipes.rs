//! Pipelines: an item through stages, batches, and uneven work that keeps its order on two cores.

use crate::run::use_all_cores;
use crate::sample::{Entry, Sample};
use crate::workload::{spin, sum_below, uneven};
use futures_util::StreamExt;
use futures_util::stream;
use pariter::IteratorExt;
use rayon::iter::{ParallelBridge, ParallelIterator};
use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;
use tasklets::{pipeline, run, shared};

/// Items of a batch.
const BATCH: u64 = 100;

/// Items on the way, where a peer wants to know.
const ROOM: usize = 32;

/// Who computes, beside who feeds them.
const WORKERS: usize = 2;

pub fn entries() -> Vec<Entry> {
    let mut entries = vec![
        Entry::here("batch", "tasklets", 2_000_000, batch),
        Entry::here("batch", "threads-crossbeam", 500_000, batch_crossbeam),
        Entry::here("ordered", "one-core", 20_000, |count| ordered(count, |it| it.map(work).sum())),
        Entry::here("ordered", "tasklets", 20_000, ordered_here),
        Entry::here("ordered", "rayon", 20_000, ordered_rayon),
        Entry::here("ordered", "pariter", 20_000, ordered_pariter),
        Entry::here("ordered", "tokio-buffered", 20_000, ordered_tokio),
        Entry::here("ordered", "threads-crossbeam", 20_000, ordered_crossbeam),
    ];
    entries.extend(of_stages::<1>("pipe1"));
    entries.extend(of_stages::<4>("pipe4"));
    entries.extend(of_stages::<16>("pipe16"));
    entries
}

fn of_stages<const STAGES: u64>(bench: &'static str) -> [Entry; 3] {
    let count = 1_000_000 / STAGES;
    [
        Entry::here(bench, "tasklets", count, |it| stages(STAGES, it)),
        Entry::here(bench, "tokio-kanal", count, |it| stages_kanal(STAGES, it)),
        Entry::here(bench, "threads-crossbeam", count / 10, |it| stages_crossbeam(STAGES, it)),
    ]
}

/// Each stage adds one.
fn stages(stages: u64, count: u64) -> Sample {
    let start = Instant::now();
    let done = run(|| {
        let line = (0..stages).fold(pipeline::from_iter(0..count), |line, _| line.map(|it| it + 1));
        line.fold(0, |sum, it| sum + it).run()
    });
    assert_eq!(done.unwrap().value, sum_below(count) + stages * count);
    Sample::per(start.elapsed(), count)
}

fn stages_kanal(stages: u64, count: u64) -> Sample {
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sum = runtime.block_on(async {
        let (first, mut last) = kanal::bounded_async(0);
        tokio::spawn(async move {
            for item in 0..count {
                first.send(item).await.unwrap();
            }
        });
        for _ in 0..stages {
            let (to, next) = kanal::bounded_async(0);
            let from = std::mem::replace(&mut last, next);
            tokio::spawn(async move {
                while let Ok(item) = from.recv().await {
                    to.send(item + 1).await.unwrap();
                }
            });
        }
        let mut sum = 0;
        while let Ok(item) = last.recv().await {
            sum += item;
        }
        sum
    });
    assert_eq!(sum, sum_below(count) + stages * count);
    Sample::per(start.elapsed(), count)
}

fn stages_crossbeam(stages: u64, count: u64) -> Sample {
    let start = Instant::now();
    let (first, mut last) = crossbeam_channel::bounded(0);
    thread::spawn(move || (0..count).for_each(|item| first.send(item).unwrap()));
    for _ in 0..stages {
        let (to, next) = crossbeam_channel::bounded(0);
        let from = std::mem::replace(&mut last, next);
        thread::spawn(move || from.iter().for_each(|item| to.send(item + 1).unwrap()));
    }
    assert_eq!(last.iter().sum::<u64>(), sum_below(count) + stages * count);
    Sample::per(start.elapsed(), count)
}

fn batch(count: u64) -> Sample {
    let start = Instant::now();
    let done = run(|| {
        let batches = pipeline::from_iter(0..count).batch(BATCH as usize);
        batches.fold(0, |sum, it| sum + it.iter().sum::<u64>()).run()
    });
    assert_eq!(done.unwrap().value, sum_below(count));
    Sample::per(start.elapsed(), count)
}

fn batch_crossbeam(count: u64) -> Sample {
    let start = Instant::now();
    let (to, items) = crossbeam_channel::bounded(0);
    let (batches, last) = crossbeam_channel::bounded::<Vec<u64>>(0);
    thread::spawn(move || (0..count).for_each(|item| to.send(item).unwrap()));
    thread::spawn(move || {
        let mut batch = Vec::new();
        for item in items {
            batch.push(item);
            if batch.len() as u64 == BATCH {
                batches.send(std::mem::take(&mut batch)).unwrap();
            }
        }
        batches.send(batch).unwrap();
    });
    let sum: u64 = last.iter().map(|it| it.iter().sum::<u64>()).sum();
    assert_eq!(sum, sum_below(count));
    Sample::per(start.elapsed(), count)
}

/// What an item is made into: itself, after some time.
fn work(item: u64) -> u64 {
    item + spin(uneven(item)) / 8
}

/// Measures `all`, which adds up what the items are made into, in their order.
fn ordered(count: u64, all: impl FnOnce(std::ops::Range<u64>) -> u64) -> Sample {
    use_all_cores();
    let start = Instant::now();
    assert_eq!(all(0..count), sum_below(count));
    Sample::per(start.elapsed(), count)
}

/// Adds an item up that has to be the next.
fn add((next, sum): (u64, u64), item: u64) -> (u64, u64) {
    assert_eq!(item, next, "the order is kept");
    (next + 1, sum + item)
}

fn ordered_here(count: u64) -> Sample {
    ordered(count, |items| {
        let workers = shared::workers(WORKERS).unwrap();
        let done = run(|| {
            let results = pipeline::from_iter(items).on_workers(&workers).map(work);
            results.fold((0, 0), add).run()
        });
        done.unwrap().value.1
    })
}

fn ordered_rayon(count: u64) -> Sample {
    use_all_cores(); // before there are threads, which keep what they inherit
    let pool = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().unwrap();
    ordered(count, |items| {
        // It keeps no order: its results are put back into it when all are there.
        let mut all: Vec<_> =
            pool.install(|| items.par_bridge().map(|it| (it, work(it))).collect());
        all.sort_unstable_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, it)| it).fold((0, 0), add).1
    })
}

fn ordered_pariter(count: u64) -> Sample {
    ordered(count, |items| {
        items.parallel_map_custom(|it| it.threads(WORKERS), work).fold((0, 0), add).1
    })
}

fn ordered_tokio(count: u64) -> Sample {
    use_all_cores(); // as for rayon
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(WORKERS).build().unwrap();
    ordered(count, |items| {
        runtime.block_on(async {
            let tasks = stream::iter(items).map(|it| tokio::spawn(async move { work(it) }));
            let results = tasks.buffered(ROOM);
            results.fold((0, 0), async |sum, it| add(sum, it.unwrap())).await.1
        })
    })
}

fn ordered_crossbeam(count: u64) -> Sample {
    ordered(count, |items| {
        let (jobs, to_do) = crossbeam_channel::bounded(ROOM);
        let (done, results) = crossbeam_channel::bounded(ROOM);
        thread::spawn(move || items.for_each(|item| jobs.send(item).unwrap()));
        for _ in 0..WORKERS {
            let (to_do, done) = (to_do.clone(), done.clone());
            thread::spawn(move || to_do.iter().for_each(|it| done.send((it, work(it))).unwrap()));
        }
        drop(done);
        let (mut early, mut sum) = (BTreeMap::new(), (0, 0));
        for (at, item) in results {
            early.insert(at, item);
            while let Some(item) = early.remove(&sum.0) {
                sum = add(sum, item);
            }
        }
        sum.1
    })
}
