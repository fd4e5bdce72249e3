//! Laws of the offers that selects among receivers leave behind, and of who comes across them.

mod support;

use std::time::Duration;
use support::{isolated, status_kib};
use tasklets::{
    Halt, Runtime, Select, channel, run, select, sleep, snapshot, spawn, within, yield_now,
};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn looking_on_while_a_select_waits_changes_nothing() {
    run(|| {
        let (txs, rxs): (Vec<_>, Vec<_>) = (0..3).map(|_| channel::<u32>()).unzip();
        for round in 0..420 {
            let rx = rxs.clone();
            let selector = spawn(move || {
                let first = select! {
                    recv(rx[0]) -> it => it, recv(rx[1]) -> it => it, recv(rx[2]) -> it => it,
                };
                (first, select! { recv(rx[2]) -> it => it, recv(rx[1]) -> it => it })
            });
            yield_now();
            match round % 4 {
                0 => drop(snapshot()),
                1 => assert_eq!(txs[round % 3].balance(), -1),
                2 => assert_eq!(txs[2].waiters().1, [selector.id()]),
                _ => {}
            }
            txs[round % 3].send(1).unwrap();
            if round % 5 < 2 {
                drop(snapshot());
            }
            assert!(txs.iter().all(|it| it.balance() == 0));
            if round % 7 == 0 {
                yield_now();
            }
            txs[1 + round % 2].send(2).unwrap();
            assert_eq!(selector.join().unwrap(), (Ok(1), Ok(2)));
            assert!(txs.iter().all(|it| it.balance() == 0 && it.waiters().1.is_empty()));
        }
    });
}

#[test]
fn a_tasklet_may_wait_on_one_channel_in_every_way_by_turns() {
    const COUNT: u32 = 3_000;
    run(|| {
        let (a, from_a) = channel::<u32>();
        let (b, from_b) = channel::<u32>();
        let reader = spawn(move || {
            let mut reused = Select::new();
            reused.recv(&from_a);
            let sum = (0..COUNT).map(|round| {
                let got = match round % 6 {
                    0 => select! { recv(from_a) -> it => it, recv(from_b) -> it => it },
                    1 => from_a.recv(),
                    2 => select! { recv(from_b) -> it => it, recv(from_a) -> it => it },
                    3 => from_a.recv_held().map(|it| it.accept()),
                    4 => reused.wait().and_then(|it| it.recv(&from_a)),
                    _ => select! { biased; recv(from_b) -> it => it, recv(from_a) -> it => it },
                };
                got.unwrap()
            });
            sum.sum::<u32>()
        });
        for value in 0..COUNT {
            if value % 3 == 0 {
                yield_now();
            }
            a.send(value).unwrap();
        }
        assert_eq!(reader.join().unwrap(), COUNT * (COUNT - 1) / 2);
        assert_eq!((a.balance(), b.balance()), (0, 0));
    });
}

#[test]
fn what_stops_a_select_that_has_met_comes_too_late() {
    for means in 0..6 {
        let runtime = Runtime::builder().virtual_clock(true).build();
        let ended = runtime.run(move || {
            let (a, from_a) = channel::<u32>();
            let (b, from_b) = channel::<u32>();
            let selector = spawn(move || {
                let wait = || {
                    select! {
                        recv(from_a) -> it => it,
                        recv(from_b) -> it => it,
                        default(3 * MILLI) => Ok(9),
                    }
                };
                within(5 * MILLI, wait).value
            });
            yield_now();
            if means % 2 == 0 {
                a.send(7).unwrap()
            } else {
                b.send(7).unwrap()
            }
            match means {
                0 | 1 => selector.cancel(),
                2 | 3 => selector.inject("too late"),
                _ => {
                    assert!(selector.pause());
                    sleep(20 * MILLI).unwrap();
                    assert!(selector.insert());
                }
            }
            drop((a, b));
            assert_eq!(selector.join().unwrap(), Ok(7));
        });
        ended.unwrap();
    }
}

#[test]
fn a_stale_offer_is_not_told_that_its_channel_has_ended() {
    run(|| {
        for round in 0..60 {
            let (a, from_a) = channel::<u32>();
            let (b, from_b) = channel::<u32>();
            let (rx_a, rx_b) = (from_a.clone(), from_b.clone());
            let selector = spawn(move || {
                let first = select! { recv(rx_a) -> it => it, recv(rx_b) -> it => it };
                (first, select! { recv(rx_b) -> it => it, recv(rx_a) -> it => it })
            });
            yield_now();
            a.send(1).unwrap();
            let other = (round % 2 == 0).then(|| spawn(move || from_b.recv()));
            if round % 3 == 0 {
                yield_now();
            }
            drop(b);
            yield_now();
            drop(a);
            assert_eq!(selector.join().unwrap(), (Ok(1), Err(Halt::Closed)));
            assert!(other.is_none_or(|it| it.join().unwrap() == Err(Halt::Closed)));
            drop(from_a);
        }
    });
}

/// Debug builds do a tenth of it.
const MANY: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

#[test]
fn memory_does_not_grow_with_the_number_of_selects() {
    let ended = isolated(|| {
        let (a, from_a) = channel::<usize>();
        let (_quiet, silence) = channel::<usize>();
        let select_once = move |round: usize| {
            let (_brief, gone) = channel::<usize>();
            match round % 3 {
                0 => select! { recv(from_a) -> it => it, recv(silence) -> it => it },
                1 => select! {
                    recv(from_a) -> it => it,
                    recv(gone) -> it => it,
                    default(3_600_000 * MILLI) => Err(Halt::TimedOut),
                },
                _ => select! { recv(from_a) -> it => it, recv(from_a) -> it => it },
            }
        };
        let grown = Runtime::builder().virtual_clock(true).build().run(move || {
            let reader = spawn(move || {
                let mut before = 0;
                for round in 0..MANY {
                    if round == MANY / 10 {
                        before = status_kib("VmRSS");
                    }
                    assert_eq!(select_once(round), Ok(round));
                }
                status_kib("VmRSS").saturating_sub(before)
            });
            assert_eq!(a.send_all(0..MANY), Ok(MANY));
            reader.join().unwrap()
        });
        let grown = grown.unwrap();
        assert!(grown < 4_000, "{grown} KiB more");
    });
    ended.map(|it| it.well());
}

#[test]
fn memory_does_not_grow_with_the_number_of_tasklets_that_left_an_offer() {
    let ended = isolated(|| {
        run(|| {
            let (a, from_a) = channel::<usize>();
            let (b, from_b) = channel::<usize>();
            let mut before = 0;
            for round in 0..MANY {
                if round == MANY / 10 {
                    before = status_kib("VmRSS");
                }
                let (rx_a, rx_b) = (from_a.clone(), from_b.clone());
                spawn(move || select! { recv(rx_a) -> it => it, recv(rx_b) -> it => it });
                if round % 2 == 0 { a.send(round).unwrap() } else { b.send(round).unwrap() }
            }
            let grown = status_kib("VmRSS").saturating_sub(before);
            assert!(grown < 4_000, "{grown} KiB more");
        });
    });
    ended.map(|it| it.well());
}
