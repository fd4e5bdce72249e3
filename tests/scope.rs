//! Scopes: no child outlives them, failures are kept, deadlines are inherited.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;
use support::{isolated, status_kib};
use tasklets::{
    Builder, Halt, JoinError, Never, Runtime, channel, current, now, run, scope, scope_within,
    shield, sleep, snapshot, spawn, tasklet_local, try_scope, within, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_shutdown_that_gives_way_first_does_not_wait_for_those_who_ended_meanwhile() {
    for (budget, before) in (1..4).flat_map(|budget| (0..8).map(move |before| (budget, before))) {
        let runtime = Runtime::builder().budget(budget).virtual_clock(true).build();
        let waited = runtime.run(|| {
            let start = now();
            scope(|s| {
                let (tx, _rx) = channel::<u8>();
                (0..2).for_each(|_| drop(s.spawn(|| ())));
                (0..before).for_each(|_| assert!(tx.try_send(0).is_ok()));
                assert_eq!(s.shutdown(SECOND).len(), 0);
            });
            now() - start
        });
        assert_eq!(waited.unwrap(), Duration::ZERO, "budget {budget}, {before} operations before");
    }
}

#[test]
fn a_child_is_not_under_a_deadline_inside_of_its_scope() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let slept = runtime.run(|| {
        scope(|s| {
            let child = within(SECOND, || {
                let child = s.spawn(|| sleep(10 * SECOND));
                let _ = sleep(5 * SECOND);
                child
            });
            assert!(child.expired);
            child.value.join().unwrap()
        })
    });
    assert_eq!(slept.unwrap_or_else(|error| panic!("{error}")), Ok(()));
}

#[test]
fn a_long_scope_does_not_remember_children_that_ended() {
    tasklet_local! { static DEPTH: Cell<u8> = Cell::new(0); }
    // In a process of its own: the others use memory, too.
    let Some(ended) = isolated(|| {
        run(|| {
            scope(|s| {
                let work = || s.spawn(|| shield(|| DEPTH.with(|it| it.set(1)))).join().unwrap();
                (0..1_000).for_each(|_| work());
                let before = status_kib("VmRSS");
                (0..30_000).for_each(|_| work());
                let grown = status_kib("VmRSS").saturating_sub(before);
                assert!(grown < 4_096, "{grown} KiB for children that have ended");
            });
            drop(spawn(|| ()));
            assert_eq!(snapshot().unwrap().tasklets.len(), 2);
        })
    }) else {
        return;
    };
    ended.well();
}

/// Runs `main` in virtual time.
#[track_caller]
fn timed<R>(main: impl FnOnce() -> R) -> R {
    let ended = Runtime::builder().virtual_clock(true).build().run(main);
    ended.unwrap_or_else(|error| panic!("{error}"))
}

/// Panics without the panic hook.
fn fail(with: &'static str) -> ! {
    resume_unwind(Box::new(with))
}

/// The text that `f` panics with.
fn panic_of<R>(f: impl FnOnce() -> R) -> Option<&'static str> {
    let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
    payload.downcast_ref::<&'static str>().copied()
}

#[test]
fn children_may_borrow_and_change_what_the_parent_owns() {
    run(|| {
        let (mut numbers, sum) = (vec![1, 2, 3, 4], Cell::new(0));
        let count = scope(|s| {
            for number in &mut numbers {
                let sum = &sum;
                s.spawn(move || {
                    yield_now();
                    *number *= 10;
                    sum.set(sum.get() + *number);
                });
            }
            s.running()
        });
        assert_eq!((count, numbers, sum.get()), (4, vec![10, 20, 30, 40], 100));
    });
}

#[test]
fn a_child_gives_its_parent_a_borrowed_result() {
    run(|| {
        let words = ["one".to_string(), "three".to_string()];
        let longest = scope(|s| {
            let child = s.spawn(|| words.iter().max_by_key(|it| it.len()).unwrap());
            child.join().unwrap()
        });
        assert_eq!(longest, "three");
    });
}

#[test]
fn scopes_nest_and_children_spawn_into_the_outer_one() {
    run(|| {
        let count = &Cell::new(0);
        let more = || count.set(count.get() + 1);
        scope(|outer| {
            outer.spawn(move || {
                scope(|inner| {
                    (0..3).for_each(|_| drop(inner.spawn(more)));
                    outer.spawn(more);
                });
                assert!(count.get() >= 3);
            });
        });
        assert_eq!(count.get(), 4);
    });
}

#[test]
fn a_panic_of_the_body_waits_for_the_children_and_goes_on() {
    run(|| {
        let ended = Cell::new(false);
        let (_tx, rx) = channel::<Never>();
        let panicked = panic_of(|| {
            scope(|s| {
                s.spawn(|| {
                    assert_eq!(rx.recv(), Err(Halt::Cancelled));
                    (0..5).for_each(|_| shield(yield_now));
                    ended.set(true);
                });
                yield_now();
                fail("body")
            })
        });
        assert_eq!((panicked, ended.get()), (Some("body"), true));
        let panicked = panic_of(|| {
            try_scope(|s| {
                s.spawn(|| fail("child"));
                yield_now();
                fail("body")
            })
        });
        assert_eq!(panicked, Some("body"));
    });
}

#[test]
fn a_panic_of_a_child_cancels_its_siblings_and_goes_on_in_the_parent() {
    run(|| {
        let (_tx, rx) = channel::<Never>();
        let seen = Cell::new(None);
        let panicked = panic_of(|| {
            scope(|s| {
                s.spawn(|| seen.set(Some(rx.recv())));
                s.spawn(|| fail("child"));
            })
        });
        assert_eq!((panicked, seen.get()), (Some("child"), Some(Err(Halt::Cancelled))));
    });
}

#[test]
fn all_failures_are_kept_in_the_order_in_which_they_ended() {
    run(|| {
        let error = try_scope(|s| {
            for (name, steps) in [("last", 9), ("first", 1), ("second", 3)] {
                let fails = move || -> () {
                    (0..steps).for_each(|_| yield_now());
                    fail(name)
                };
                drop(s.spawn_with(Builder::new().name(name), fails).unwrap());
            }
        });
        let failures = error.unwrap_err().failures;
        let names: Vec<_> = failures.iter().map(|it| it.tasklet.name().unwrap()).collect();
        assert_eq!(names, ["first", "second", "last"]);
        for (failure, name) in failures.iter().zip(names) {
            assert_eq!(failure.cause.to_string(), format!("panicked: {name}"));
        }
    });
}

#[test]
fn panics_and_errors_are_kept_in_one_order() {
    run(|| {
        let error = try_scope(|s| {
            s.spawn(|| {
                yield_now();
                fail("a panic")
            });
            s.spawn_try(|| {
                (0..3).for_each(|_| yield_now());
                Err::<(), _>("an error")
            });
        });
        let failures = error.unwrap_err().failures;
        let causes: Vec<_> = failures.iter().map(|it| it.cause.to_string()).collect();
        assert_eq!(causes, ["panicked: a panic", "failed: an error"]);
    });
}

#[test]
fn a_panic_that_was_joined_is_not_raised_again() {
    run(|| {
        let (value, survived) = scope(|s| {
            let sibling = s.spawn(|| {
                (0..5).for_each(|_| yield_now());
                7
            });
            let child = s.spawn(|| -> () { fail("joined") });
            let error = child.join().unwrap_err();
            assert_eq!(error.message(), Some("joined"));
            (1, sibling.join().unwrap())
        });
        assert_eq!((value, survived), (1, 7));
    });
}

#[test]
fn an_error_cancels_the_siblings_and_is_kept() {
    run(|| {
        let (_tx, rx) = channel::<Never>();
        let error = try_scope(|s| {
            s.spawn_try(|| rx.recv());
            let failed = s.spawn_try(|| "x".parse::<i32>());
            assert_eq!(failed.join().unwrap(), None);
        });
        let failures = error.unwrap_err().failures;
        let causes: Vec<_> = failures.iter().map(|it| it.cause.to_string()).collect();
        assert!(causes[0].starts_with("failed: invalid digit"));
        assert_eq!(causes[1], "failed: the tasklet has been cancelled");
        let fine = try_scope(|s| s.spawn_try(|| "7".parse::<i32>()).join().unwrap());
        assert_eq!(fine.unwrap(), Some(7));
    });
}

#[test]
fn cancelling_a_scope_ends_its_children_and_those_to_come() {
    run(|| {
        let (_tx, rx) = channel::<Never>();
        let later = scope(|s| {
            let waits = s.spawn(|| rx.recv());
            yield_now();
            s.cancel();
            assert_eq!(waits.join().unwrap(), Err(Halt::Cancelled));
            s.cancel();
            s.spawn(|| panic!("it never begins")).join()
        });
        assert!(matches!(later, Err(JoinError::Cancelled)));
    });
}

#[test]
fn a_cancelled_parent_cancels_its_children_and_waits_for_them() {
    run(|| {
        let (_tx, rx) = channel::<Never>();
        let parent = spawn(move || {
            let ended = Cell::new(0);
            scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        assert_eq!(rx.recv(), Err(Halt::Cancelled));
                        (0..5).for_each(|_| shield(yield_now));
                        ended.set(ended.get() + 1);
                    });
                }
            });
            (ended.get(), rx.recv())
        });
        yield_now();
        yield_now();
        parent.cancel();
        assert_eq!(parent.join().unwrap(), (3, Err(Halt::Cancelled)));
    });
}

#[test]
fn a_parent_cancelled_before_it_waits_cancels_its_children_too() {
    run(|| {
        let (_tx, rx) = channel::<Never>();
        let parent = spawn(move || {
            current().unwrap().cancel();
            scope(|s| s.spawn(|| rx.recv()).joining().handle())
        });
        assert!(parent.join().unwrap().is_finished());
    });
}

#[test]
fn a_shielded_parent_does_not_cancel_its_children() {
    run(|| {
        let (tx, rx) = channel();
        let parent = spawn(move || shield(|| scope(|s| s.spawn(|| rx.recv()).join().unwrap())));
        yield_now();
        parent.cancel();
        yield_now();
        tx.send(5).unwrap();
        assert_eq!(parent.join().unwrap(), Ok(5));
    });
}

#[test]
fn shutdown_asks_waits_and_cancels_the_slow() {
    timed(|| {
        let start = now();
        let (_tx, never) = channel::<Never>();
        let (quick, slow) = scope(|s| {
            let stop = s.stopping();
            let quick = s.spawn(move || (stop.recv(), sleep(SECOND)));
            let slow = s.spawn(|| never.recv());
            yield_now();
            let left = s.shutdown(3 * SECOND);
            assert_eq!(left, [(*slow).clone()]);
            (quick.join().unwrap(), slow.join().unwrap())
        });
        assert_eq!(quick, (Err(Halt::Closed), Ok(())));
        assert_eq!((slow, now() - start), (Err(Halt::Cancelled), 3 * SECOND));
    });
}

#[test]
fn a_shutdown_that_all_obey_ends_when_they_have_ended() {
    timed(|| {
        let start = now();
        scope(|s| {
            for delay in 1..4 {
                let stop = s.stopping();
                s.spawn(move || (stop.recv(), sleep(delay * SECOND)));
            }
            assert_eq!(s.shutdown(100 * SECOND).len(), 0);
            assert_eq!(s.stopping().recv(), Err(Halt::Closed));
        });
        assert_eq!(now() - start, 3 * SECOND);
    });
}

#[test]
fn deadlines_are_inherited_by_children_and_grandchildren() {
    timed(|| {
        let (start, slept) = (now(), [const { Cell::new(Ok(())) }; 3]);
        let timed = within(SECOND, || {
            scope(|s| {
                s.spawn(|| slept[0].set(sleep(9 * SECOND)));
                s.spawn(|| {
                    scope(|s| drop(s.spawn(|| slept[1].set(sleep(9 * SECOND)))));
                    slept[2].set(sleep(9 * SECOND));
                });
            });
        });
        assert!(timed.expired);
        assert_eq!(now() - start, SECOND);
        assert!(slept.iter().all(|it| it.get() == Err(Halt::TimedOut)));
    });
}

#[test]
fn scope_within_tells_whether_its_time_was_over() {
    timed(|| {
        let results = RefCell::new(Vec::new());
        let wait = |delay| {
            let slept = sleep(delay);
            results.borrow_mut().push(slept);
        };
        let late = scope_within(SECOND, |s| {
            s.spawn(|| wait(2 * SECOND));
            s.spawn(|| wait(SECOND / 2));
        });
        assert!(late.expired);
        assert_eq!(results.take(), [Ok(()), Err(Halt::TimedOut)]);
        let early = scope_within(SECOND, |s| s.spawn(|| sleep(SECOND / 2)).join().unwrap());
        assert_eq!((early.value, early.expired), (Ok(()), false));
        assert_eq!(sleep(5 * SECOND), Ok(()));
    });
}

#[test]
fn a_scope_outside_a_run_is_refused() {
    assert!(catch_unwind(|| scope(|_| ())).is_err());
}
