//! OS threads with crossbeam's rendezvous channel: what the kernel's scheduler costs.

use crate::memory::Before;
use crate::sample::{Entry, Sample};
use crate::workload::sum_below;
use crossbeam_channel::{Receiver, Select, Sender, bounded};
use std::thread::{Builder, spawn};
use std::time::Instant;

pub fn entries() -> Vec<Entry> {
    let crossbeam = "threads-crossbeam";
    vec![
        Entry::here("stream", crossbeam, 20_000, stream),
        Entry::here("pingpong", crossbeam, 10_000, pingpong),
        Entry::here("commstime", crossbeam, 5_000, commstime),
        Entry::here("ring1000", crossbeam, 10_000, |hops| ring(1_000, hops)),
        Entry::here("spawn", "threads", 3_000, spawn_join),
        Entry::here("yield", "threads", 200_000, yields),
        Entry::here("select2", crossbeam, 10_000, |count| select(2, count)),
        Entry::here("select8", crossbeam, 10_000, |count| select(8, count)),
        Entry::here("select64", crossbeam, 10_000, |count| select(64, count)),
        Entry::here("select64_one", crossbeam, 5_000, select64_one),
        Entry::here("memory10000", crossbeam, 10_000, memory),
    ]
}

fn stream(count: u64) -> Sample {
    let (tx, rx) = bounded(0);
    let start = Instant::now();
    let sender = spawn(move || (0..count).for_each(|it| tx.send(it).unwrap()));
    let receiver = spawn(move || rx.iter().sum::<u64>());
    sender.join().unwrap();
    assert_eq!(receiver.join().unwrap(), sum_below(count));
    Sample::per(start.elapsed(), count)
}

fn pingpong(rounds: u64) -> Sample {
    let ((ping_tx, ping_rx), (pong_tx, pong_rx)) = (bounded(0), bounded(0));
    let start = Instant::now();
    let echo = spawn(move || ping_rx.iter().for_each(|it| pong_tx.send(it).unwrap()));
    let player = spawn(move || {
        for it in 0..rounds {
            ping_tx.send(it).unwrap();
            assert_eq!(pong_rx.recv(), Ok(it));
        }
    });
    player.join().unwrap();
    echo.join().unwrap();
    Sample::per(start.elapsed(), 2 * rounds)
}

fn commstime(loops: u64) -> Sample {
    let ((a_tx, a_rx), (b_tx, b_rx)) = (bounded(0), bounded(0));
    let ((c_tx, c_rx), (d_tx, d_rx)) = (bounded(0), bounded(0));
    let start = Instant::now();
    // Whoever comes last finds its partner gone; that ends it.
    spawn(move || a_tx.send(0).is_ok() && d_rx.iter().all(|it| a_tx.send(it).is_ok()));
    spawn(move || a_rx.iter().all(|it| b_tx.send(it).is_ok() && c_tx.send(it).is_ok()));
    spawn(move || c_rx.iter().all(|it: u64| d_tx.send(it + 1).is_ok()));
    let consumer = spawn(move || b_rx.iter().take(loops as usize).sum::<u64>());
    assert_eq!(consumer.join().unwrap(), sum_below(loops));
    Sample::per(start.elapsed(), 4 * loops)
}

fn ring(size: u64, hops: u64) -> Sample {
    let (first, mut last): (Sender<u64>, Receiver<u64>) = bounded(0);
    for _ in 1..size {
        let (tx, rx) = bounded(0);
        let from = std::mem::replace(&mut last, rx);
        let thread = Builder::new().stack_size(64 << 10);
        let body = move || from.iter().all(|it: u64| tx.send(it).is_ok());
        thread.spawn(body).expect("the system has room for a thread");
    }
    let lap = |it| {
        first.send(it).unwrap();
        assert_eq!(last.recv(), Ok(it));
    };
    lap(0);
    let laps = hops.div_ceil(size);
    let start = Instant::now();
    (0..laps).for_each(lap);
    Sample::per(start.elapsed(), laps * size)
}

fn spawn_join(count: u64) -> Sample {
    let start = Instant::now();
    for it in 0..count {
        assert_eq!(spawn(move || it).join().unwrap(), it);
    }
    Sample::per(start.elapsed(), count)
}

fn yields(count: u64) -> Sample {
    let half = count.div_ceil(2);
    let turns = move || (0..half).for_each(|_| std::thread::yield_now());
    let start = Instant::now();
    let (left, right) = (spawn(turns), spawn(turns));
    left.join().unwrap();
    right.join().unwrap();
    Sample::per(start.elapsed(), 2 * half)
}

fn select(arms: u64, count: u64) -> Sample {
    let ends: Vec<_> = (0..arms).map(|_| bounded(0)).collect();
    for (tx, _) in &ends {
        let tx = tx.clone();
        spawn(move || while tx.send(1).is_ok() {});
    }
    select_among(&ends, count)
}

fn select64_one(count: u64) -> Sample {
    let ends: Vec<_> = (0..64).map(|_| bounded(0)).collect();
    let tx = ends[0].0.clone();
    // After each message the sender steps back, so that the next select must wait.
    spawn(move || {
        while tx.send(1).is_ok() {
            std::thread::yield_now()
        }
    });
    select_among(&ends, count)
}

fn select_among(ends: &[(Sender<u64>, Receiver<u64>)], count: u64) -> Sample {
    let mut select = Select::new();
    ends.iter().for_each(|(_, rx)| _ = select.recv(rx));
    let mut sum = 0;
    let start = Instant::now();
    for _ in 0..count {
        let chosen = select.select();
        let rx = &ends[chosen.index()].1;
        sum += chosen.recv(rx).unwrap();
    }
    assert_eq!(sum, count);
    Sample::per(start.elapsed(), count)
}

fn memory(count: u64) -> Sample {
    let (_keep, never) = bounded::<u64>(0);
    let (tx, ready) = bounded(0);
    let before = Before::now();
    for _ in 0..count {
        let (never, tx) = (never.clone(), tx.clone());
        let body = move || {
            tx.send(()).unwrap();
            never.recv()
        };
        let thread = Builder::new().stack_size(64 << 10);
        thread.spawn(body).expect("the system has room for a thread");
        ready.recv().unwrap();
    }
    let sample = before.sample(count);
    // Ending the threads is not measured.
    println!("{sample}");
    std::process::exit(0)
}
