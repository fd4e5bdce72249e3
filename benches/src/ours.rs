//! tasklets itself.
//!
//! `tasklets` is the plain way to write each benchmark. Where a select waits each time there are
//! two: `tasklets-macro` builds its arms anew for each message, `tasklets-reused` keeps them.

use crate::memory::{Before, Watch};
use crate::sample::{Entry, Sample};
use crate::workload::{PRIMES, SLEEPERS, check_prime, sleep_ms, sum_below};
use crate::{over2, over8, over64};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tasklets::{Receiver, Select, Sender, Tasklet, channel, run, select, spawn, yield_now};

pub fn entries() -> Vec<Entry> {
    let ours = "tasklets";
    vec![
        Entry::here("stream", ours, 3_000_000, stream),
        Entry::here("pingpong", ours, 1_500_000, pingpong),
        Entry::here("commstime", ours, 750_000, commstime),
        Entry::here("ring1000", ours, 2_000_000, |hops| ring(1_000, hops)),
        Entry::here("ring10000", ours, 1_000_000, |hops| ring(10_000, hops)),
        Entry::here("sieve2000", ours, PRIMES, sieve),
        Entry::here("spawn", ours, 1_000_000, spawn_join),
        Entry::here("yield", ours, 4_000_000, yields),
        Entry::here("select2", ours, 1_500_000, select2),
        Entry::here("select8", ours, 1_500_000, select8),
        Entry::here("select64", ours, 1_000_000, select64),
        Entry::here("select64", "tasklets-reused", 1_000_000, select64_reused),
        Entry::here("select64_one", "tasklets-macro", 200_000, select64_one),
        Entry::here("select64_one", "tasklets-reused", 500_000, select64_one_reused),
        Entry::here("memory10000", ours, 10_000, memory),
        Entry::here("memory100000", ours, 100_000, memory),
        Entry::here("memory1000000", ours, 1_000_000, memory),
        Entry::here("timers100k", ours, SLEEPERS, timers),
    ]
}

fn stream(count: u64) -> Sample {
    run(move || {
        let (tx, rx) = channel();
        let start = Instant::now();
        let sender = spawn(move || (0..count).for_each(|it| tx.send(it).unwrap()));
        let receiver = spawn(move || rx.into_iter().sum::<u64>());
        sender.join().unwrap();
        assert_eq!(receiver.join().unwrap(), sum_below(count));
        Sample::per(start.elapsed(), count)
    })
}

/// Passes everything on, each value changed by `change`, until either side is gone.
fn pass_on(from: Receiver<u64>, to: Sender<u64>, change: fn(u64) -> u64) {
    let _ = from.into_iter().all(|it| to.send(change(it)).is_ok());
}

fn pingpong(rounds: u64) -> Sample {
    run(move || {
        let ((ping_tx, ping_rx), (pong_tx, pong_rx)) = (channel(), channel());
        let start = Instant::now();
        let echo = spawn(move || pass_on(ping_rx, pong_tx, |it| it));
        let player = spawn(move || {
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
        spawn(move || {
            if a_tx.send(0).is_ok() {
                pass_on(d_rx, a_tx, |it| it);
            }
        });
        spawn(move || {
            let mut values = a_rx.into_iter();
            values.all(|it| b_tx.send(it).is_ok() && c_tx.send(it).is_ok())
        });
        spawn(move || pass_on(c_rx, d_tx, |it| it + 1));
        let consumer = spawn(move || b_rx.into_iter().take(loops as usize).sum::<u64>());
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
            spawn(move || pass_on(from, tx, |it| it));
        }
        let lap = |it| {
            first.send(it).unwrap();
            assert_eq!(last.recv(), Ok(it));
        };
        // The first lap starts everybody.
        lap(0);
        let laps = hops.div_ceil(size);
        let start = Instant::now();
        (0..laps).for_each(lap);
        Sample::per(start.elapsed(), laps * size)
    })
}

fn sieve(primes: u64) -> Sample {
    run(move || {
        let (tx, mut rx) = channel();
        let start = Instant::now();
        spawn(move || (2..).all(|it| tx.send(it).is_ok()));
        let mut prime = 0;
        for _ in 0..primes {
            prime = rx.recv().unwrap();
            let (tx, filtered) = channel();
            let from = std::mem::replace(&mut rx, filtered);
            spawn(move || {
                let mut passing = from.into_iter().filter(|it| it % prime != 0);
                passing.all(|it| tx.send(it).is_ok())
            });
        }
        check_prime(primes, prime);
        Sample::total(start.elapsed())
    })
}

fn spawn_join(count: u64) -> Sample {
    run(move || {
        let start = Instant::now();
        for it in 0..count {
            assert_eq!(spawn(move || it).join().unwrap(), it);
        }
        Sample::per(start.elapsed(), count)
    })
}

fn yields(count: u64) -> Sample {
    run(move || {
        let half = count.div_ceil(2);
        let turns = move || (0..half).for_each(|_| yield_now());
        let start = Instant::now();
        let (left, right) = (spawn(turns), spawn(turns));
        left.join().unwrap();
        right.join().unwrap();
        Sample::per(start.elapsed(), 2 * half)
    })
}

/// Defines a function that selects `count` times among its arms, whose senders never stop.
macro_rules! select_ready {
    ($function:ident $($rx:ident)*) => {
        fn $function(count: u64) -> Sample {
            run(move || {
                $(let (tx, $rx) = channel::<u64>();
                spawn(move || while tx.send(1).is_ok() {});)*
                let mut sum = 0;
                let start = Instant::now();
                for _ in 0..count {
                    select! { $(recv($rx) -> it => sum += it.unwrap(),)* }
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

/// After each message the sender steps back, so that the next select must wait.
fn send_and_step_back(tx: Sender<u64>) {
    while tx.send(1).is_ok() {
        yield_now();
    }
}

/// Defines a function that selects among arms of which only the first ever moves.
macro_rules! select_one {
    ($function:ident $first:ident $($rx:ident)*) => {
        fn $function(count: u64) -> Sample {
            run(move || {
                let (tx, $first) = channel::<u64>();
                $(let (_keep, $rx) = channel::<u64>();)*
                spawn(move || send_and_step_back(tx));
                let mut sum = 0;
                let start = Instant::now();
                for _ in 0..count {
                    select! {
                        recv($first) -> it => sum += it.unwrap(),
                        $(recv($rx) -> it => sum += it.unwrap(),)*
                    }
                }
                assert_eq!(sum, count);
                Sample::per(start.elapsed(), count)
            })
        }
    };
}
over64!(select_one select64_one);

fn select64_reused(count: u64) -> Sample {
    run(move || {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..64).map(|_| channel::<u64>()).unzip();
        for tx in senders {
            spawn(move || while tx.send(1).is_ok() {});
        }
        let mut select = Select::new();
        for rx in &receivers {
            select.recv(rx);
        }
        let mut sum = 0;
        let start = Instant::now();
        for _ in 0..count {
            let arm = select.wait().unwrap();
            let rx = &receivers[arm.index()];
            sum += arm.recv(rx).unwrap();
        }
        assert_eq!(sum, count);
        Sample::per(start.elapsed(), count)
    })
}

fn select64_one_reused(count: u64) -> Sample {
    run(move || {
        let ends: Vec<_> = (0..64).map(|_| channel::<u64>()).collect();
        let tx = ends[0].0.clone();
        spawn(move || send_and_step_back(tx));
        let mut select = Select::new();
        for (_, rx) in &ends {
            select.recv(rx);
        }
        let mut sum = 0;
        let start = Instant::now();
        for _ in 0..count {
            let arm = select.wait().unwrap();
            let rx = &ends[arm.index()].1;
            sum += arm.recv(rx).unwrap();
        }
        assert_eq!(sum, count);
        Sample::per(start.elapsed(), count)
    })
}

fn memory(count: u64) -> Sample {
    run(move || {
        let (_keep, never) = channel::<u64>();
        let ready = Rc::new(Cell::new(0));
        let before = Before::now();
        for _ in 0..count {
            let (never, ready) = (never.clone(), ready.clone());
            spawn(move || {
                ready.set(ready.get() + 1);
                never.recv()
            });
        }
        while ready.get() < count {
            yield_now();
        }
        let sample = before.sample(count);
        // Freeing everything is not measured, and takes long.
        println!("{sample}");
        std::process::exit(0)
    })
}

fn timers(count: u64) -> Sample {
    run(move || {
        let watch = Watch::start();
        let sleeper = |it| spawn(move || tasklets::sleep(Duration::from_millis(sleep_ms(it))));
        let sleepers: Vec<Tasklet<_>> = (0..count).map(sleeper).collect();
        for it in sleepers {
            it.join().unwrap().unwrap();
        }
        watch.sample()
    })
}
