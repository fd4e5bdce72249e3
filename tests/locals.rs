//! Tasklet-locals: one value per tasklet, made late and dropped in place.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use tasklets::{Sender, TaskletRef, channel, current, pause, run, spawn, tasklet_local, yield_now};

thread_local! {
    static DROPPED: Cell<u32> = const { Cell::new(0) };
}

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
    }
}

struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        MADE_IN_A_DESTRUCTOR.with(|_| DROPPED.set(0));
    }
}

tasklet_local! {
    static LATE: Late = Late;
    static MADE_IN_A_DESTRUCTOR: Counted = Counted;
}

#[test]
fn a_value_made_in_a_destructor_of_another_is_dropped_in_the_tasklet_too() {
    run(|| {
        let child = spawn(|| {
            LATE.with(|_| ());
        });
        let handle = child.handle(); // keeps the control block
        child.join().unwrap();
        assert!(handle.is_finished());
        if std::env::var_os("TASKLETS_STACKS").is_none() {
            assert_eq!(DROPPED.get(), 1);
        }
    });
}

tasklet_local! {
    /// Counts how often it is made.
    static COUNTER: Cell<u32> = {
        MADE.set(MADE.get() + 1);
        Cell::new(10)
    };
    static LOG: RefCell<Vec<&'static str>> = RefCell::new(Vec::new());
    static NESTED: u32 = COUNTER.with(|it| it.get()) + 1;
    static WHO: Owner = Owner(current());
}

thread_local! {
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// Checks that it is dropped in the tasklet that made it.
struct Owner(Option<TaskletRef>);

impl Drop for Owner {
    fn drop(&mut self) {
        assert_eq!(self.0, current());
        assert!(self.0.as_ref().is_some_and(|it| !it.is_finished()));
    }
}

/// Whether all tasklets are on one OS thread, so that `MADE` and `DROPPED` tell of all.
fn one_thread() -> bool {
    std::env::var_os("TASKLETS_STACKS").is_none_or(|it| it != "threads")
}

#[test]
fn each_tasklet_has_a_value_of_its_own_that_stays_while_others_run() {
    run(|| {
        let children: Vec<_> = (0..10)
            .map(|number| {
                spawn(move || {
                    for _ in 0..5 {
                        COUNTER.with(|it| it.set(it.get() + number));
                        yield_now();
                    }
                    COUNTER.with(Cell::get)
                })
            })
            .collect();
        for (number, child) in children.into_iter().enumerate() {
            assert_eq!(child.join().unwrap(), 10 + 5 * number as u32);
        }
        assert_eq!(COUNTER.with(Cell::get), 10);
    });
}

#[test]
fn a_value_is_made_when_it_is_first_asked_for_and_once() {
    run(|| {
        let before = MADE.get();
        drop(spawn(|| ()).join());
        assert_eq!(MADE.get(), before);
        COUNTER.with(|_| ());
        COUNTER.with(|_| ());
        assert_eq!(MADE.get(), before + 1);
    });
}

#[test]
fn a_value_may_be_made_from_another_and_used_while_another_is() {
    run(|| {
        assert_eq!(NESTED.with(|it| *it), 11);
        LOG.with(|log| COUNTER.with(|_| LOG.with(|it| assert!(std::ptr::eq(log, it)))));
    });
}

#[test]
fn outside_of_a_run_there_is_none() {
    assert_eq!(COUNTER.try_with(Cell::get), None);
    assert_eq!(run(|| COUNTER.try_with(Cell::get)), Some(10));
    run(|| COUNTER.with(|it| it.set(5)));
    assert_eq!(run(|| COUNTER.with(Cell::get)), 10);
    assert_eq!(COUNTER.try_with(Cell::get), None);
}

#[test]
fn values_are_dropped_in_their_tasklet_however_it_ends() {
    run(|| {
        let ask = || WHO.with(|it| assert_eq!(it.0, current()));
        ask();
        spawn(ask).join().unwrap();
        let fails = move || -> () {
            ask();
            resume_unwind(Box::new("on purpose"))
        };
        assert_eq!(spawn(fails).join().unwrap_err().message(), Some("on purpose"));
        let waits = spawn(move || {
            ask();
            pause()
        });
        yield_now();
        waits.cancel();
        waits.join().unwrap().unwrap_err();
        drop(spawn(move || {
            ask();
            pause()
        }));
        yield_now();
    });
}

#[test]
fn a_value_is_dropped_before_the_tasklet_has_ended_for_who_joins() {
    tasklet_local! { static GUARD: Counted = Counted; }
    run(|| {
        if one_thread() {
            let before = DROPPED.get();
            spawn(|| GUARD.with(|_| ())).join().unwrap();
            assert_eq!(DROPPED.get(), before + 1);
        }
    });
}

#[test]
fn a_destructor_may_use_channels() {
    struct Says(Sender<u8>);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.send(9).unwrap();
        }
    }
    tasklet_local! { static SAYS: RefCell<Option<Says>> = RefCell::new(None); }
    run(|| {
        let (tx, rx) = channel();
        let child = spawn(move || {
            SAYS.with(|it| *it.borrow_mut() = Some(Says(tx)));
        });
        yield_now();
        assert!(!child.is_finished(), "it waits in the destructor");
        assert_eq!(rx.recv(), Ok(9));
        child.join().unwrap();
    });
}

#[test]
fn a_panic_in_a_destructor_is_a_panic_of_the_tasklet() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            resume_unwind(Box::new("in a destructor"));
        }
    }
    tasklet_local! { static BAD: Bad = Bad; }
    run(|| {
        let ended = spawn(|| BAD.with(|_| ())).join();
        assert_eq!(ended.unwrap_err().message(), Some("in a destructor"));
    });
}
