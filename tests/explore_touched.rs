//! Who was met but has not run on can be stopped before it does: exploration tries that, wherever
//! its next step shows it, and nothing that production cannot do.

mod results;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use results::{results, set};
use tasklets::{
    Halt, Never, Receiver, TaskletRef, blocking, channel, current, now, pause, scope, sleep,
    sleep_until, spawn, take_injected, within, yield_now,
};

/// What a tasklet comes to that was met and then touched: it goes on with `body`.
fn touched<R: Debug + 'static>(
    body: impl Fn() -> R + Copy + 'static,
    touch: impl Fn(&TaskletRef) + Copy,
) -> BTreeSet<String> {
    results(move || {
        let (tx, rx) = channel();
        let target = spawn(move || {
            let met: Result<(), _> = rx.recv();
            met.unwrap();
            body()
        });
        yield_now();
        tx.send(()).unwrap();
        touch(&target.handle());
        told(target.join().ok())
    })
}

fn told(it: impl Debug) -> String {
    format!("{it:?}")
}

/// All of these are among what a tasklet comes to that was met and then touched.
fn shows<R: Debug + 'static>(
    body: impl Fn() -> R + Copy + 'static,
    touch: impl Fn(&TaskletRef) + Copy,
    all: &[R],
) {
    let found = touched(body, touch);
    for one in all {
        assert!(found.contains(&told(Some(one))), "{one:?} is not one of {found:?}");
    }
}

fn cancel(target: &TaskletRef) {
    target.cancel();
}

fn inject(target: &TaskletRef) {
    target.inject("x");
}

/// A receive that nobody answers.
fn receive() -> Result<Never, Halt> {
    let (_tx, rx): (_, Receiver<Never>) = channel();
    rx.recv()
}

#[test]
fn its_own_look_shows_a_cancellation() {
    shows(|| current().unwrap().is_cancelled(), cancel, &[false, true]);
}

#[test]
fn its_own_look_shows_an_injected_error() {
    shows(|| take_injected().is_some(), inject, &[false, true]);
}

#[test]
fn a_sleep_of_no_length_is_cancelled_or_not() {
    shows(|| sleep(Duration::ZERO), cancel, &[Ok(()), Err(Halt::Cancelled)]);
    shows(|| sleep_until(now()), cancel, &[Ok(()), Err(Halt::Cancelled)]);
}

#[test]
fn a_blocking_call_is_made_or_not() {
    shows(|| blocking(|| 3).ok(), cancel, &[Some(3), None]);
}

#[test]
fn a_deadline_that_has_passed_comes_after_a_cancellation() {
    let both = [Err(Halt::TimedOut), Err(Halt::Cancelled)];
    shows(|| within(Duration::ZERO, receive).value.map(drop), cancel, &both);
    let body = || (within(Duration::ZERO, receive).value.err(), take_injected().is_some());
    shows(body, inject, &[(Some(Halt::TimedOut), false), (Some(Halt::TimedOut), true)]);
}

#[test]
fn two_touches_may_both_come_before_it_runs_on() {
    let both = |target: &TaskletRef| (target.inject("x"), target.cancel()).1;
    shows(|| receive().err(), both, &[Some(Halt::Injected), Some(Halt::Cancelled)]);
    let twice = |target: &TaskletRef| (target.inject("x"), target.inject("y")).1;
    let body = || (pause(), take_injected().map(|it| it.to_string()));
    let text = |it: &str| Some(String::from(it));
    shows(body, twice, &[(Err(Halt::Injected), text("x")), (Err(Halt::Injected), text("y"))]);
}

#[test]
fn a_deadline_passes_and_then_it_is_cancelled() {
    const MS: Duration = Duration::from_millis(1);
    let all = results(|| {
        let target = spawn(|| within(MS, || (sleep(5 * MS).err(), receive().err())).value);
        sleep(MS).unwrap();
        target.cancel();
        told(target.join().ok())
    });
    assert!(all.contains("Some((Some(TimedOut), Some(Cancelled)))"), "{all:?}");
}

#[test]
fn the_children_of_a_scope_are_cancelled_before_they_run_on() {
    let all = results(|| {
        let (tx, rx) = channel();
        scope(|s| {
            let child = s.spawn(move || {
                let met: Result<(), _> = rx.recv();
                met.unwrap();
                sleep(Duration::ZERO)
            });
            yield_now();
            tx.send(()).unwrap();
            s.cancel();
            told(child.join().ok())
        })
    });
    assert!(all.contains("Some(Err(Cancelled))"), "{all:?}");
}

#[test]
fn two_looks_in_one_step_see_the_same() {
    let twice = || (current().unwrap().is_cancelled(), current().unwrap().is_cancelled());
    let found = touched(twice, cancel);
    assert_eq!(found, set(["Some((false, false))", "Some((true, true))"].map(String::from)));
}

#[test]
fn who_was_made_in_a_step_does_not_stop_it() {
    let all = results(|| {
        let target = spawn(|| {
            let me = current().unwrap();
            drop(spawn(move || me.cancel()));
            current().unwrap().is_cancelled()
        });
        target.join().ok()
    });
    assert_eq!(all, set([Some(false)]));
}

#[test]
fn who_is_cancelled_before_it_began_never_looks() {
    for wait in [Duration::ZERO, Duration::from_secs(1)] {
        let all = results(|| {
            sleep(wait).unwrap();
            let target = spawn(|| current().unwrap().is_cancelled());
            target.cancel();
            target.join().ok()
        });
        assert_eq!(all, set([None, Some(false)]), "after {wait:?}");
    }
}

#[test]
fn who_knows_that_it_has_run_on_comes_too_late() {
    let all = results(|| {
        let (tx, rx) = channel::<Never>();
        let target = spawn(move || {
            drop(tx);
            current().unwrap().is_cancelled()
        });
        assert_eq!(rx.recv().err(), Some(Halt::Closed));
        target.cancel();
        target.join().ok()
    });
    assert_eq!(all, set([Some(false)]));
}

#[test]
fn a_scope_counts_its_children_at_one_time() {
    let all = results(|| {
        scope(|s| {
            s.spawn(move || {
                s.spawn(pause);
            });
            let count = s.running();
            s.cancel();
            count
        })
    });
    assert_eq!(all, set([1]));
}
