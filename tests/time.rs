//! Time: sleeping, timers as operations, deadlines.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use support::{isolated, status_kib};
use tasklets::{
    Halt, Never, Operation, Runtime, after, at, channel, now, run, select, shield, sleep,
    sleep_until, spawn, tick, until, within, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs `main` in virtual time.
#[track_caller]
fn timed<R>(main: impl FnOnce() -> R) -> R {
    let ended = Runtime::builder().virtual_clock(true).build().run(main);
    ended.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_timer_whose_time_has_come_happens_at_once() {
    run(|| {
        assert!(after(Duration::ZERO).poll().is_some());
        assert!(at(now()).poll().is_some());
        select! {
            biased;
            op(at(now())) -> it => assert!(it.is_ok()),
            default => panic!("its time had come"),
        }
    });
}

#[test]
fn virtual_time_passes_only_when_nothing_else_can_happen() {
    timed(|| {
        let start = now();
        let sleeper = spawn(|| sleep(SECOND));
        (0..1_000).for_each(|_| yield_now());
        assert_eq!((now(), sleeper.is_finished()), (start, false));
        sleeper.join().unwrap().unwrap();
        assert_eq!(now() - start, SECOND);
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_times_and_equal_ones_first_come_first_served() {
    timed(|| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let start = now();
        for (name, delay) in [3, 1, 2, 1, 3, 2, 1].into_iter().enumerate() {
            let log = log.clone();
            drop(spawn(move || {
                sleep(delay * SECOND).unwrap();
                log.borrow_mut().push((name, (now() - start).as_secs()));
            }));
        }
        sleep(10 * SECOND).unwrap();
        let order = [(1, 1), (3, 1), (6, 1), (2, 2), (5, 2), (0, 3), (4, 3)];
        assert_eq!(log.take(), order);
    });
}

#[test]
fn sleeping_until_the_past_is_at_once_and_for_nothing_gives_way() {
    timed(|| {
        let start = now();
        let ran = Rc::new(Cell::new(false));
        let told = ran.clone();
        drop(spawn(move || told.set(true)));
        sleep_until(start).unwrap();
        assert!(!ran.get());
        sleep(Duration::ZERO).unwrap();
        assert!(ran.get());
        sleep_until(start + SECOND).unwrap();
        assert_eq!(now() - start, SECOND);
    });
    assert_eq!(sleep(Duration::ZERO), Err(Halt::CannotWait));
    assert_eq!(sleep(SECOND), Err(Halt::CannotWait));
}

#[test]
fn times_that_cannot_be_written_down_never_come() {
    timed(|| {
        let endless = spawn(|| sleep(Duration::MAX));
        let timed = within(Duration::MAX, || sleep(1_000_000 * SECOND));
        assert_eq!((timed.value, timed.expired), (Ok(()), false));
        assert_eq!(after(Duration::MAX).poll(), None);
        assert!(!endless.is_finished());
        endless.cancel();
        assert_eq!(endless.join().unwrap(), Err(Halt::Cancelled));
    });
}

#[test]
fn a_timer_counts_from_when_it_was_made() {
    timed(|| {
        let start = now();
        let timer = after(2 * SECOND);
        sleep(SECOND).unwrap();
        assert_eq!(timer.wait(), Ok(start + 2 * SECOND));
        let (short, long) = (after(SECOND), at(start + 9 * SECOND));
        assert_eq!(long.or(short).wait(), Ok(start + 3 * SECOND));
    });
}

#[test]
fn a_timeout_of_zero_tries_once() {
    timed(|| {
        let ((tx, rx), start) = (channel(), now());
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(Halt::TimedOut));
        drop(spawn(move || tx.send(1)));
        yield_now();
        assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(1));
        yield_now();
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(Halt::Closed));
        assert_eq!(now(), start);
    });
}

#[test]
fn everything_that_waits_under_a_deadline_ends_at_it() {
    timed(|| {
        let ((tx, rx), start) = (channel::<u8>(), now());
        let late = within(SECOND, || {
            let first = rx.recv();
            assert_eq!(now() - start, SECOND);
            (first, tx.send(1).map_err(|it| it.why), sleep(SECOND), rx.recv_timeout(SECOND))
        });
        let out = Err(Halt::TimedOut);
        assert_eq!(late.value, (Err(Halt::TimedOut), out, out, Err(Halt::TimedOut)));
        assert_eq!((late.expired, now() - start), (true, SECOND));
        assert_eq!(sleep(SECOND), Ok(()));
    });
}

#[test]
fn the_outermost_deadline_that_passed_is_the_one_that_expired() {
    timed(|| {
        let inner_first =
            within(3 * SECOND, || within(SECOND, || within(2 * SECOND, || sleep(9 * SECOND))));
        assert!(!inner_first.expired && inner_first.value.expired);
        assert!(!inner_first.value.value.expired);
        let outer_first = within(SECOND, || within(2 * SECOND, || sleep(9 * SECOND)));
        assert!(outer_first.expired && !outer_first.value.expired);
        assert_eq!(outer_first.value.value, Err(Halt::TimedOut));
        let same = within(SECOND, || within(SECOND, || sleep(9 * SECOND)));
        assert!(same.expired && !same.value.expired);
    });
}

#[test]
fn an_inner_deadline_that_passed_does_not_stop_the_outer_code() {
    timed(|| {
        let start = now();
        let outer = within(3 * SECOND, || {
            let inner = within(SECOND, || sleep(9 * SECOND));
            (inner, sleep(SECOND), sleep(9 * SECOND))
        });
        let (inner, between, last) = outer.value;
        assert!(inner.expired && outer.expired);
        assert_eq!((between, last, now() - start), (Ok(()), Err(Halt::TimedOut), 3 * SECOND));
    });
}

#[test]
fn code_that_does_not_communicate_is_not_interrupted_and_a_past_deadline_has_expired() {
    timed(|| {
        let past = within(Duration::ZERO, || (1, sleep(SECOND)));
        assert_eq!((past.value, past.expired), ((1, Err(Halt::TimedOut)), true));
        let past = until(now(), || 2);
        assert_eq!((past.value, past.expired), (2, true));
        assert!(!within(SECOND, || 3).expired);
        let shielded = within(SECOND, || (shield(|| sleep(2 * SECOND)), sleep(SECOND)));
        assert_eq!(shielded.value, (Ok(()), Err(Halt::TimedOut)));
        assert!(shielded.expired);
    });
    assert_eq!(within(Duration::ZERO, || 4).value, 4);
}

#[test]
fn a_delivery_wins_over_a_deadline_of_the_same_instant() {
    timed(|| {
        let (tx, rx) = channel();
        drop(spawn(move || {
            sleep(SECOND).unwrap();
            tx.send(1)
        }));
        yield_now(); // its timer is set first
        assert_eq!(rx.recv_timeout(SECOND + Duration::from_nanos(1)), Ok(1));
    });
}

#[test]
fn a_tick_leaves_out_the_periods_that_passed_and_keeps_its_beat() {
    timed(|| {
        let start = now();
        let mut beat = tick(SECOND);
        let mut next = || ((&mut beat).wait().unwrap() - start).as_millis();
        assert_eq!((next(), next()), (1_000, 2_000));
        sleep(Duration::from_millis(3_500)).unwrap();
        assert_eq!((next(), next(), next()), (5_500, 6_000, 7_000));
        sleep(SECOND).unwrap();
        assert_eq!((next(), next()), (8_000, 9_000));
    });
}

#[test]
fn a_tick_that_lost_or_was_stopped_has_not_happened() {
    timed(|| {
        let (start, mut beat) = (now(), tick(2 * SECOND));
        let (_tx, rx) = channel::<Never>();
        select! { op(&mut beat) -> _ => panic!("too early"), default(SECOND) => {} }
        let stopped = within(SECOND / 2, || (&mut beat).wait());
        assert_eq!(stopped.value, Err(Halt::TimedOut));
        select! { recv(rx) -> _ => {}, op(&mut beat) -> it => assert!(it.is_ok()) }
        assert_eq!(now() - start, 2 * SECOND);
    });
}

#[test]
#[should_panic(expected = "the period of a tick is zero")]
fn a_tick_without_a_period_is_refused() {
    timed(|| drop(tick(Duration::ZERO)));
}

#[test]
fn timers_that_were_not_needed_do_not_pile_up() {
    // In a process of its own: the others use memory, too.
    let Some(ended) = isolated(|| {
        timed(|| {
            let (tx, rx) = channel();
            drop(spawn(move || tx.send_all(0..)));
            let round = || {
                for _ in 0..1_000 {
                    assert!(rx.recv_timeout(3_600 * SECOND).is_ok());
                    let (_alive, silent) = channel::<Never>();
                    assert_eq!(silent.recv_timeout(SECOND / 1_000), Err(Halt::TimedOut));
                    let child = spawn(|| sleep(36_000 * SECOND));
                    yield_now();
                    child.cancel();
                    assert_eq!(child.join().unwrap(), Err(Halt::Cancelled));
                }
            };
            (0..5).for_each(|_| round());
            let before = status_kib("VmRSS");
            (0..15).for_each(|_| round());
            let grown = status_kib("VmRSS").saturating_sub(before);
            assert!(grown < 4_096, "{grown} KiB for timers that were not needed");
        });
    }) else {
        return;
    };
    ended.well();
}
