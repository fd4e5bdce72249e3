//! tokio's current-thread runtime with three channels.
//!
//! `tokio-kanal` and `tokio-flume` are rendezvous channels of capacity 0. `tokio-mpsc1` is tokio's
//! own channel with the least capacity it has, one: a message may wait without its sender.

use crate::memory::{Before, Watch};
use crate::sample::{Entry, Sample};
use crate::workload::{SLEEPERS, check_prime, sleep_ms, sum_below};
use crate::{over2, over8, over64};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::spawn;
use tokio::task::yield_now;

pub fn entries() -> Vec<Entry> {
    let mut entries = vec![
        Entry::here("spawn", "tokio", 300_000, spawn_join),
        Entry::here("yield", "tokio", 1_000_000, yields),
        Entry::here("memory10000", "tokio-kanal", 10_000, memory_kanal),
        Entry::here("memory100000", "tokio-kanal", 100_000, memory_kanal),
        Entry::here("memory1000000", "tokio-kanal", 1_000_000, memory_kanal),
        Entry::here("memory10000", "tokio-flume", 10_000, memory_flume),
        Entry::here("memory100000", "tokio-flume", 100_000, memory_flume),
        Entry::here("memory1000000", "tokio-flume", 1_000_000, memory_flume),
        Entry::here("timers100k", "tokio", SLEEPERS, timers),
    ];
    entries.extend(of_channel::<Kanal>("tokio-kanal"));
    entries.extend(of_channel::<Flume>("tokio-flume"));
    entries.extend(of_channel::<Mpsc>("tokio-mpsc1"));
    // Not kanal: its documentation says that its receive must not be used in `tokio::select!`.
    entries.extend(of_select::<Flume>("tokio-flume"));
    entries.extend(of_select::<Mpsc>("tokio-mpsc1"));
    entries
}

fn of_channel<C: Channel>(peer: &'static str) -> Vec<Entry> {
    vec![
        Entry::here("stream", peer, 1_000_000, stream::<C>),
        Entry::here("pingpong", peer, 500_000, pingpong::<C>),
        Entry::here("commstime", peer, 200_000, commstime::<C>),
        Entry::here("ring1000", peer, 500_000, |hops| ring::<C>(1_000, hops)),
        Entry::here("ring10000", peer, 500_000, |hops| ring::<C>(10_000, hops)),
        Entry::here("sieve2000", peer, crate::workload::PRIMES, sieve::<C>),
    ]
}

fn of_select<C: Channel>(peer: &'static str) -> Vec<Entry> {
    vec![
        Entry::here("select2", peer, 400_000, select2::<C>),
        Entry::here("select8", peer, 300_000, select8::<C>),
        Entry::here("select64", peer, 200_000, select64::<C>),
        Entry::here("select64_one", peer, 30_000, select64_one::<C>),
    ]
}

/// A channel that tokio's tasks can wait for.
trait Channel: 'static {
    type Tx: Send + 'static;
    type Rx: Send + 'static;
    fn channel() -> (Self::Tx, Self::Rx);
    /// Whether somebody took, or will take, `value`.
    fn send(tx: &Self::Tx, value: u64) -> impl Future<Output = bool> + Send;
    /// The next value, or `None` when the last sender is gone.
    fn recv(rx: &mut Self::Rx) -> impl Future<Output = Option<u64>> + Send;
}

struct Kanal;
impl Channel for Kanal {
    type Tx = kanal::AsyncSender<u64>;
    type Rx = kanal::AsyncReceiver<u64>;
    fn channel() -> (Self::Tx, Self::Rx) {
        kanal::bounded_async(0)
    }
    async fn send(tx: &Self::Tx, value: u64) -> bool {
        tx.send(value).await.is_ok()
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
}

struct Flume;
impl Channel for Flume {
    type Tx = flume::Sender<u64>;
    type Rx = flume::Receiver<u64>;
    fn channel() -> (Self::Tx, Self::Rx) {
        flume::bounded(0)
    }
    async fn send(tx: &Self::Tx, value: u64) -> bool {
        tx.send_async(value).await.is_ok()
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv_async().await.ok()
    }
}

struct Mpsc;
impl Channel for Mpsc {
    type Tx = tokio::sync::mpsc::Sender<u64>;
    type Rx = tokio::sync::mpsc::Receiver<u64>;
    fn channel() -> (Self::Tx, Self::Rx) {
        tokio::sync::mpsc::channel(1)
    }
    async fn send(tx: &Self::Tx, value: u64) -> bool {
        tx.send(value).await.is_ok()
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await
    }
}

/// Runs `root` as a task, like the tasks that it spawns.
fn run(root: impl Future<Output = Sample> + Send + 'static) -> Sample {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let task = async { spawn(root).await };
    runtime.expect("a runtime").block_on(task).expect("the root task does not panic")
}

fn stream<C: Channel>(count: u64) -> Sample {
    run(async move {
        let (tx, mut rx) = C::channel();
        let start = Instant::now();
        let sender = spawn(async move {
            for it in 0..count {
                assert!(C::send(&tx, it).await);
            }
        });
        let receiver = spawn(async move {
            let mut sum = 0;
            while let Some(it) = C::recv(&mut rx).await {
                sum += it;
            }
            sum
        });
        sender.await.unwrap();
        assert_eq!(receiver.await.unwrap(), sum_below(count));
        Sample::per(start.elapsed(), count)
    })
}

/// Passes everything on, each value changed by `change`, until either side is gone.
async fn pass_on<C: Channel>(mut from: C::Rx, to: C::Tx, change: fn(u64) -> u64) {
    while let Some(it) = C::recv(&mut from).await {
        if !C::send(&to, change(it)).await {
            return;
        }
    }
}

fn pingpong<C: Channel>(rounds: u64) -> Sample {
    run(async move {
        let ((ping_tx, ping_rx), (pong_tx, mut pong_rx)) = (C::channel(), C::channel());
        let start = Instant::now();
        let echo = spawn(pass_on::<C>(ping_rx, pong_tx, |it| it));
        let player = spawn(async move {
            for it in 0..rounds {
                assert!(C::send(&ping_tx, it).await);
                assert_eq!(C::recv(&mut pong_rx).await, Some(it));
            }
        });
        player.await.unwrap();
        echo.await.unwrap();
        Sample::per(start.elapsed(), 2 * rounds)
    })
}

fn commstime<C: Channel>(loops: u64) -> Sample {
    run(async move {
        let ((a_tx, mut a_rx), (b_tx, mut b_rx)) = (C::channel(), C::channel());
        let ((c_tx, c_rx), (d_tx, d_rx)) = (C::channel(), C::channel());
        let start = Instant::now();
        spawn(async move {
            if C::send(&a_tx, 0).await {
                pass_on::<C>(d_rx, a_tx, |it| it).await;
            }
        });
        spawn(async move {
            while let Some(it) = C::recv(&mut a_rx).await {
                if !C::send(&b_tx, it).await || !C::send(&c_tx, it).await {
                    return;
                }
            }
        });
        spawn(pass_on::<C>(c_rx, d_tx, |it| it + 1));
        let consumer = spawn(async move {
            let mut sum = 0;
            for _ in 0..loops {
                sum += C::recv(&mut b_rx).await.unwrap();
            }
            sum
        });
        assert_eq!(consumer.await.unwrap(), sum_below(loops));
        Sample::per(start.elapsed(), 4 * loops)
    })
}

fn ring<C: Channel>(size: u64, hops: u64) -> Sample {
    run(async move {
        let (first, mut last) = C::channel();
        for _ in 1..size {
            let (tx, rx) = C::channel();
            spawn(pass_on::<C>(std::mem::replace(&mut last, rx), tx, |it| it));
        }
        let laps = hops.div_ceil(size);
        let mut start = Instant::now();
        for it in 0..=laps {
            assert!(C::send(&first, it).await);
            assert_eq!(C::recv(&mut last).await, Some(it));
            if it == 0 {
                // The first lap has started everybody.
                start = Instant::now();
            }
        }
        Sample::per(start.elapsed(), laps * size)
    })
}

fn sieve<C: Channel>(primes: u64) -> Sample {
    run(async move {
        let (tx, mut rx) = C::channel();
        let start = Instant::now();
        spawn(async move {
            let mut it = 2;
            while C::send(&tx, it).await {
                it += 1;
            }
        });
        let mut prime = 0;
        for _ in 0..primes {
            prime = C::recv(&mut rx).await.unwrap();
            let (tx, filtered) = C::channel();
            spawn(filter::<C>(std::mem::replace(&mut rx, filtered), tx, prime));
        }
        check_prime(primes, prime);
        Sample::total(start.elapsed())
    })
}

async fn filter<C: Channel>(mut from: C::Rx, to: C::Tx, prime: u64) {
    while let Some(it) = C::recv(&mut from).await {
        if it % prime != 0 && !C::send(&to, it).await {
            return;
        }
    }
}

fn spawn_join(count: u64) -> Sample {
    run(async move {
        let start = Instant::now();
        for it in 0..count {
            assert_eq!(spawn(async move { it }).await.unwrap(), it);
        }
        Sample::per(start.elapsed(), count)
    })
}

fn yields(count: u64) -> Sample {
    let half = count.div_ceil(2);
    let turns = move || async move {
        for _ in 0..half {
            yield_now().await;
        }
    };
    run(async move {
        let start = Instant::now();
        let (left, right) = (spawn(turns()), spawn(turns()));
        left.await.unwrap();
        right.await.unwrap();
        Sample::per(start.elapsed(), 2 * half)
    })
}

/// Defines a function that selects `count` times among its arms, whose senders never stop.
macro_rules! select_ready {
    ($function:ident $($rx:ident)*) => {
        fn $function<C: Channel>(count: u64) -> Sample {
            run(async move {
                $(let (tx, mut $rx) = C::channel();
                spawn(async move { while C::send(&tx, 1).await {} });)*
                let mut sum = 0;
                let start = Instant::now();
                for _ in 0..count {
                    sum += tokio::select! { $(it = C::recv(&mut $rx) => it.unwrap(),)* };
                }
                assert_eq!(sum, count);
                Sample::per(start.elapsed(), count)
            })
        }
    };
}
over2!(select_ready select2);
over8!(select_ready select8);
over64!(select_ready select64);

/// Defines a function that selects among arms of which only the first ever moves.
macro_rules! select_one {
    ($function:ident $first:ident $($rx:ident)*) => {
        fn $function<C: Channel>(count: u64) -> Sample {
            run(async move {
                let (tx, mut $first) = C::channel();
                $(let (_keep, mut $rx) = C::channel();)*
                // After each message the sender steps back, so that the next select must wait.
                spawn(async move { while C::send(&tx, 1).await { yield_now().await; } });
                let mut sum = 0;
                let start = Instant::now();
                for _ in 0..count {
                    sum += tokio::select! {
                        it = C::recv(&mut $first) => it.unwrap(),
                        $(it = C::recv(&mut $rx) => it.unwrap(),)*
                    };
                }
                assert_eq!(sum, count);
                Sample::per(start.elapsed(), count)
            })
        }
    };
}
over64!(select_one select64_one);

fn memory_kanal(count: u64) -> Sample {
    let (keep, rx) = kanal::bounded_async::<u64>(0);
    memory(count, move || {
        let (_, rx) = (&keep, rx.clone());
        async move { assert!(rx.recv().await.is_err()) }
    })
}

fn memory_flume(count: u64) -> Sample {
    let (keep, rx) = flume::bounded::<u64>(0);
    memory(count, move || {
        let (_, rx) = (&keep, rx.clone());
        async move { assert!(rx.recv_async().await.is_err()) }
    })
}

/// Blocks `count` tasks in the future that `block` makes.
fn memory<F>(count: u64, block: impl Fn() -> F + Send + 'static) -> Sample
where
    F: Future<Output = ()> + Send + 'static,
{
    run(async move {
        let ready = Arc::new(AtomicU64::new(0));
        let before = Before::now();
        for _ in 0..count {
            let (blocked, ready) = (block(), ready.clone());
            spawn(async move {
                ready.fetch_add(1, Ordering::Relaxed);
                blocked.await;
            });
        }
        while ready.load(Ordering::Relaxed) < count {
            yield_now().await;
        }
        let sample = before.sample(count);
        // Freeing everything is not measured, and takes long.
        println!("{sample}");
        std::process::exit(0)
    })
}

fn timers(count: u64) -> Sample {
    run(async move {
        let watch = Watch::start();
        let sleeper = |it| spawn(tokio::time::sleep(Duration::from_millis(sleep_ms(it))));
        let sleepers: Vec<_> = (0..count).map(sleeper).collect();
        for it in sleepers {
            it.await.unwrap();
        }
        watch.sample()
    })
}
