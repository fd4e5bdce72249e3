//! `may`: stackful coroutines over worker threads; here with one worker.
//!
//! It has no rendezvous channel. `may-mpsc` uses its buffered one, which is the same thing where
//! every message waits for the one before it. `may-ack` makes a rendezvous of two of those: the
//! sender waits until the receiver has answered.

use crate::memory::Before;
use crate::sample::{Entry, Sample};
use crate::workload::{check_prime, sum_below};
use may::sync::mpmc;
use may::sync::mpsc::{Receiver, Sender, channel};
use may::{coroutine, cqueue, go};
use std::time::Instant;

pub fn entries() -> Vec<Entry> {
    let (mpsc, ack) = ("may-mpsc", "may-ack");
    vec![
        Entry::here("stream", mpsc, 1_000_000, stream_buffered),
        Entry::here("stream", ack, 300_000, stream),
        Entry::here("pingpong", mpsc, 300_000, pingpong),
        Entry::here("commstime", mpsc, 200_000, commstime),
        Entry::here("ring1000", mpsc, 500_000, |hops| ring(1_000, hops)),
        Entry::here("ring10000", mpsc, 300_000, |hops| ring(10_000, hops)),
        Entry::here("sieve2000", ack, crate::workload::PRIMES, sieve),
        Entry::here("spawn", "may", 100_000, spawn),
        Entry::here("yield", "may", 1_000_000, yields),
        Entry::here("select2", ack, 200_000, |count| select(2, count)),
        Entry::here("select8", ack, 200_000, |count| select(8, count)),
        Entry::here("select64", ack, 200_000, |count| select(64, count)),
        Entry::here("memory10000", "may", 10_000, memory),
    ]
}

/// Runs `root` as a coroutine of a new runtime with one worker.
fn run(root: impl FnOnce() -> Sample + Send + 'static) -> Sample {
    may::config().set_workers(1);
    go!(root).join().expect("the root coroutine does not panic")
}

/// The sending end of a rendezvous: a message, and the answer to it.
struct AckSender(Sender<u64>, Receiver<()>);

/// The receiving end of a rendezvous.
struct AckReceiver(Receiver<u64>, Sender<()>);

fn ack_channel() -> (AckSender, AckReceiver) {
    let ((send, recv), (answer, answered)) = (channel(), channel());
    (AckSender(send, answered), AckReceiver(recv, answer))
}

impl AckSender {
    /// Whether somebody took `value`.
    fn send(&self, value: u64) -> bool {
        self.0.send(value).is_ok() && self.1.recv().is_ok()
    }
}

impl AckReceiver {
    fn recv(&self) -> Option<u64> {
        let value = self.0.recv().ok()?;
        // A sender that has gone since does not need the answer.
        let _ = self.1.send(());
        Some(value)
    }
}

fn stream_buffered(count: u64) -> Sample {
    run(move || {
        let (tx, rx) = channel();
        let start = Instant::now();
        let sender = go!(move || (0..count).for_each(|it| tx.send(it).unwrap()));
        let receiver = go!(move || rx.iter().sum::<u64>());
        sender.join().unwrap();
        assert_eq!(receiver.join().unwrap(), sum_below(count));
        Sample::per(start.elapsed(), count)
    })
}

fn stream(count: u64) -> Sample {
    run(move || {
        let (tx, rx) = ack_channel();
        let start = Instant::now();
        let sender = go!(move || (0..count).for_each(|it| assert!(tx.send(it))));
        let receiver = go!(move || (0..count).map(|_| rx.recv().unwrap()).sum::<u64>());
        sender.join().unwrap();
        assert_eq!(receiver.join().unwrap(), sum_below(count));
        Sample::per(start.elapsed(), count)
    })
}

fn pingpong(rounds: u64) -> Sample {
    run(move || {
        let ((ping_tx, ping_rx), (pong_tx, pong_rx)) = (channel(), channel());
        let start = Instant::now();
        let echo = go!(move || ping_rx.iter().for_each(|it| pong_tx.send(it).unwrap()));
        let player = go!(move || {
            for it in 0..rounds {
                ping_tx.send(it).unwrap();
                assert_eq!(pong_rx.recv(), Ok(it));
            }
        });
        player.join().unwrap();
        echo.join().unwrap();
        Sample::per(start.elapsed(), 2 * rounds)
    })
}

fn commstime(loops: u64) -> Sample {
    run(move || {
        let ((a_tx, a_rx), (b_tx, b_rx)) = (channel(), channel());
        let ((c_tx, c_rx), (d_tx, d_rx)) = (channel(), channel());
        let start = Instant::now();
        // Whoever comes last finds its partner gone; that ends it.
        go!(move || {
            let first = a_tx.send(0).is_ok();
            let _ = first && d_rx.iter().all(|it| a_tx.send(it).is_ok());
        });
        go!(move || a_rx.iter().all(|it| b_tx.send(it).is_ok() && c_tx.send(it).is_ok()));
        go!(move || c_rx.iter().all(|it: u64| d_tx.send(it + 1).is_ok()));
        let consumer = go!(move || b_rx.iter().take(loops as usize).sum::<u64>());
        assert_eq!(consumer.join().unwrap(), sum_below(loops));
        Sample::per(start.elapsed(), 4 * loops)
    })
}

fn ring(size: u64, hops: u64) -> Sample {
    run(move || {
        let (first, mut last) = channel();
        for _ in 1..size {
            let (tx, rx) = channel();
            let from = std::mem::replace(&mut last, rx);
            go!(move || from.iter().all(|it: u64| tx.send(it).is_ok()));
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
    })
}

fn sieve(primes: u64) -> Sample {
    run(move || {
        let (tx, mut rx) = ack_channel();
        let start = Instant::now();
        go!(move || (2..).all(|it| tx.send(it)));
        let mut prime = 0;
        for _ in 0..primes {
            prime = rx.recv().unwrap();
            let (tx, filtered) = ack_channel();
            let from = std::mem::replace(&mut rx, filtered);
            go!(move || {
                let mut passing = std::iter::from_fn(|| from.recv()).filter(|it| it % prime != 0);
                passing.all(|it| tx.send(it))
            });
        }
        check_prime(primes, prime);
        Sample::total(start.elapsed())
    })
}

fn spawn(count: u64) -> Sample {
    run(move || {
        let start = Instant::now();
        for it in 0..count {
            assert_eq!(go!(move || it).join().unwrap(), it);
        }
        Sample::per(start.elapsed(), count)
    })
}

fn yields(count: u64) -> Sample {
    run(move || {
        let half = count.div_ceil(2);
        let turns = move || (0..half).for_each(|_| coroutine::yield_now());
        let start = Instant::now();
        let (left, right) = (go!(turns), go!(turns));
        left.join().unwrap();
        right.join().unwrap();
        Sample::per(start.elapsed(), 2 * half)
    })
}

/// `may`'s select keeps a coroutine for each arm; this is its form that is set up only once.
fn select(arms: u64, count: u64) -> Sample {
    run(move || {
        let ends: Vec<_> = (0..arms).map(|_| ack_channel()).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        for tx in senders {
            go!(move || (0..).all(|it| tx.send(it)));
        }
        cqueue::scope(|queue| {
            for (token, rx) in receivers.into_iter().enumerate() {
                go!(queue, token, move |arm| while rx.recv().is_some() {
                    arm.send(token);
                });
            }
            let start = Instant::now();
            for _ in 0..count {
                assert!(queue.poll(None).is_ok(), "an arm ended");
            }
            Sample::per(start.elapsed(), count)
        })
    })
}

fn memory(count: u64) -> Sample {
    run(move || {
        let (_keep, never) = mpmc::channel::<u64>();
        let (tx, ready) = channel();
        let before = Before::now();
        for _ in 0..count {
            let (never, tx) = (never.clone(), tx.clone());
            go!(move || {
                tx.send(()).unwrap();
                never.recv()
            });
        }
        (0..count).for_each(|_| ready.recv().unwrap());
        let sample = before.sample(count);
        // Freeing everything is not measured, and takes long.
        println!("{sample}");
        std::process::exit(0)
    })
}
