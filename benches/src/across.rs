//! Between OS threads: rendezvous on two cores, one for either side, and work spread over workers.

use crate::run::{use_all_cores, use_core};
use crate::sample::{Entry, Sample};
use crate::workload::{spin, sum_below};
use std::thread;
use std::time::Instant;
use tasklets::{run, shared, spawn};

/// Pairs that meet at a time in `cross_thread_many`.
const PAIRS: u64 = 100;

/// What a stage computes for each item of `workers`: about 20 microseconds.
const WORK: u64 = 100_000;

pub fn entries() -> Vec<Entry> {
    vec![
        Entry::here("cross_thread", "tasklets", 200_000, tasklets),
        Entry::here("cross_thread", "tasklets-threads", 100_000, plain_threads),
        Entry::here("cross_thread", "threads-crossbeam", 50_000, crossbeam),
        Entry::here("cross_thread_many", "tasklets", 1_000_000, tasklets_many),
        Entry::here("cross_thread_many", "threads-crossbeam", 20_000, crossbeam_many),
        Entry::here("workers", "tasklets-1", 20_000, |count| workers(1, count)),
        Entry::here("workers", "tasklets-2", 20_000, |count| workers(2, count)),
    ]
}

/// Runs `f` on a thread of its own, on the second core.
fn beside<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::spawn(|| {
        use_core(1);
        f()
    })
}

/// A run on either side.
fn tasklets(count: u64) -> Sample {
    use_core(0);
    let (tx, rx) = shared::channel();
    let start = Instant::now();
    let receiver = beside(move || run(|| rx.into_iter().sum::<u64>()));
    run(move || tx.send_all(0..count).map(drop)).unwrap();
    assert_eq!(receiver.join().unwrap(), sum_below(count));
    Sample::per(start.elapsed(), count)
}

/// The same channel between plain threads.
fn plain_threads(count: u64) -> Sample {
    use_core(0);
    let (tx, rx) = shared::channel();
    let start = Instant::now();
    let receiver = beside(move || rx.into_iter().sum::<u64>());
    tx.send_all(0..count).unwrap();
    drop(tx);
    assert_eq!(receiver.join().unwrap(), sum_below(count));
    Sample::per(start.elapsed(), count)
}

fn crossbeam(count: u64) -> Sample {
    use_core(0);
    let (tx, rx) = crossbeam_channel::bounded(0);
    let start = Instant::now();
    let receiver = beside(move || rx.into_iter().sum::<u64>());
    (0..count).for_each(|it| tx.send(it).unwrap());
    drop(tx);
    assert_eq!(receiver.join().unwrap(), sum_below(count));
    Sample::per(start.elapsed(), count)
}

/// Many pairs, one end of each in either run: both threads are busy.
fn tasklets_many(count: u64) -> Sample {
    use_core(0);
    let each = count.div_ceil(PAIRS);
    let (writers, readers): (Vec<_>, Vec<_>) = (0..PAIRS).map(|_| shared::channel()).unzip();
    let start = Instant::now();
    let receiver = beside(move || {
        run(|| {
            let sum = |rx: shared::Receiver<u64>| spawn(move || rx.into_iter().sum::<u64>());
            let all: Vec<_> = readers.into_iter().map(sum).collect();
            all.into_iter().map(|it| it.join().unwrap()).sum::<u64>()
        })
    });
    run(|| {
        let send = |tx: shared::Sender<u64>| spawn(move || tx.send_all(0..each).map(drop));
        let all: Vec<_> = writers.into_iter().map(send).collect();
        all.into_iter().for_each(|it| it.join().unwrap().unwrap());
    });
    assert_eq!(receiver.join().unwrap(), PAIRS * sum_below(each));
    Sample::per(start.elapsed(), PAIRS * each)
}

/// The same with two OS threads for each pair, as crossbeam has it.
fn crossbeam_many(count: u64) -> Sample {
    use_all_cores();
    let each = count.div_ceil(PAIRS);
    let start = Instant::now();
    let pair = |_| {
        let (tx, rx) = crossbeam_channel::bounded(0);
        let sender = thread::spawn(move || (0..each).for_each(|it| tx.send(it).unwrap()));
        (sender, thread::spawn(move || rx.into_iter().sum::<u64>()))
    };
    let all: Vec<_> = (0..PAIRS).map(pair).collect();
    for (sender, receiver) in all {
        sender.join().unwrap();
        assert_eq!(receiver.join().unwrap(), sum_below(each));
    }
    Sample::per(start.elapsed(), PAIRS * each)
}

/// A stage that computes, on so many workers; the items come from here, and go back here.
fn workers(count: usize, items: u64) -> Sample {
    use_all_cores();
    let workers = shared::workers(count).expect("the system has room for a thread");
    let ((jobs, to_do), (done, results)) = (shared::channel::<u64>(), shared::channel::<u64>());
    let start = Instant::now();
    for which in 0..count {
        // Two tasklets each: one hands its result over while the other computes.
        for _ in 0..2 {
            let (to_do, done) = (to_do.clone(), done.clone());
            let stage = move || to_do.iter().all(|it| done.send(it + spin(WORK)).is_ok());
            drop(workers.spawn_on(which, stage));
        }
    }
    drop((to_do, done));
    let sum = run(|| {
        spawn(move || jobs.send_all(0..items));
        results.into_iter().sum::<u64>()
    });
    assert_eq!(sum, sum_below(items) + items * spin(WORK));
    let sample = Sample::per(start.elapsed(), items);
    workers.shutdown().expect("no stage panicked");
    sample
}
