//! Operations, handles and guards that safe code swaps, replaces or smuggles out: each keeps what
//! is its own, and nobody is told that a value is missing.

use std::cell::Cell;
use std::mem::{replace, swap};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;
use tasklets::select::{Arm, select};
use tasklets::{
    JoinError, Never, Operation, Runtime, Select, Tasklet, channel, pause, run, scope, spawn,
    try_scope, yield_now,
};

/// A run in which an operation that takes a moment loses to nobody but a timer.
fn virtually<R>(main: impl FnOnce() -> R) -> R {
    Runtime::builder().virtual_clock(true).build().run(main).unwrap()
}

const MOMENT: Duration = Duration::from_millis(1);

/// Counts its drops.
struct Counted(u8, Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
    }
}

#[test]
fn handles_that_are_swapped_between_two_waits_join_what_they_stand_for() {
    virtually(|| {
        let (tx, rx) = channel::<Never>();
        let mut slow = spawn(move || (rx.recv().is_err(), 1).1);
        let mut slower = spawn(|| (pause().is_ok(), 2).1);
        for _ in 0..3 {
            let (_quiet, silent) = channel::<Never>();
            let timer = tasklets::after(MOMENT);
            let mut arms = (timer, silent.receiving());
            // The joins lose, and are taken back from both tasklets.
            let won =
                select(&mut [&mut arms.0, &mut arms.1, &mut slow as &mut dyn Arm, &mut slower]);
            assert_eq!(won, 0);
            swap(&mut slow, &mut slower);
        }
        slow.insert();
        drop(tx);
        assert_eq!((slow.join().unwrap(), slower.join().unwrap()), (2, 1));
    });
}

#[test]
fn a_handle_that_is_replaced_while_another_tasklet_waits_for_the_same_end_loses_nothing() {
    run(|| {
        let mut first = spawn(|| (pause().is_ok(), "first").1);
        let watched = first.handle();
        let mut second = spawn(|| (pause().is_ok(), "second").1);
        yield_now();
        let kept = replace(&mut first, replace(&mut second, spawn(|| "third")));
        watched.insert();
        assert_eq!(kept.join().unwrap(), "first");
        first.insert();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), ("second", "third"));
    });
}

#[test]
fn the_handles_of_a_scope_may_be_swapped_and_replaced() {
    run(|| {
        let outside = Cell::new(0);
        let (smuggled, joined) = scope(|s| {
            let mut left = s.spawn(|| (outside.set(1), yield_now(), "left").2);
            let mut right = s.spawn(|| (yield_now(), "right").1);
            swap(left.joining(), right.joining());
            assert_eq!(left.join().unwrap(), "right");
            let kept = replace(right.joining(), spawn(|| "not of the scope"));
            (kept, right.join().unwrap())
        });
        assert_eq!(
            (smuggled.join().unwrap(), joined, outside.get()),
            ("left", "not of the scope", 1)
        );
    });
}

#[test]
fn a_scope_waits_for_a_child_whose_handle_was_replaced() {
    run(|| {
        let ended = Cell::new(false);
        scope(|s| {
            let mut child = s.spawn(|| {
                yield_now();
                ended.set(true);
            });
            drop(replace(child.joining(), spawn(|| ())));
        });
        assert!(ended.get());
    });
}

#[test]
fn a_handle_smuggled_out_of_a_scope_that_reported_its_panic_says_that_it_panicked() {
    run(|| {
        let mut smuggled: Option<Tasklet<()>> = None;
        let failed = try_scope(|s| {
            let mut child = s.spawn(|| resume_unwind(Box::new("on purpose")));
            smuggled = Some(replace(child.joining(), spawn(|| ())));
            Ok::<_, Never>(())
        });
        assert_eq!(failed.unwrap_err().failures.len(), 1);
        let joined = smuggled.unwrap().join();
        assert!(matches!(joined, Err(JoinError::Panicked(_))), "{joined:?}");
    });
}

#[test]
fn operations_that_lost_and_are_swapped_keep_their_channel_and_value() {
    virtually(|| {
        let drops = Rc::new(Cell::new(0));
        let ((left, from_left), (right, from_right)) = (channel(), channel());
        let mut to_left = left.sending(Counted(1, drops.clone()));
        let mut to_right = right.sending(Counted(2, drops.clone()));
        for _ in 0..3 {
            let mut timer = tasklets::after(MOMENT);
            assert_eq!(select(&mut [&mut timer, &mut to_left as &mut dyn Arm, &mut to_right]), 0);
            swap(&mut to_left, &mut to_right);
        }
        let readers = [spawn(move || from_left.recv().unwrap().0), {
            spawn(move || from_right.recv().unwrap().0)
        }];
        // What is called `to_left` is the send to the right.
        assert!(to_left.wait().is_ok() && to_right.wait().is_ok());
        assert_eq!(readers.map(|it| it.join().unwrap()), [1, 2]);
        assert_eq!(drops.get(), 2);
    });
}

#[test]
fn guards_and_permits_that_are_swapped_release_their_own_partner() {
    run(|| {
        let ((left, from_left), (right, from_right)) = (channel(), channel());
        let first = spawn(move || left.send("left"));
        let second = spawn(move || right.send("right"));
        let mut held = from_left.recv_held().unwrap();
        let mut other = from_right.recv_held().unwrap();
        swap(&mut held, &mut other);
        assert_eq!(other.accept(), "left");
        assert!(first.join().is_ok() && !second.is_finished());
        drop(held);
        assert!(second.join().unwrap().is_ok());

        let ((left, from_left), (right, from_right)) = (channel(), channel());
        let readers = [spawn(move || from_left.recv()), spawn(move || from_right.recv())];
        yield_now();
        let mut permit = left.reserving().wait().unwrap();
        let mut other = right.reserving().wait().unwrap();
        swap(&mut permit, &mut other);
        permit.send("right").unwrap();
        other.send("left").unwrap();
        assert_eq!(readers.map(|it| it.join().unwrap()), [Ok("left"), Ok("right")]);
    });
}

#[test]
fn selects_and_what_they_chose_may_be_swapped() {
    run(|| {
        let ((left, from_left), (right, from_right)) = (channel(), channel());
        spawn(move || left.send(1));
        spawn(move || right.send(2));
        let (mut one, mut two) = (Select::new(), Select::new());
        one.recv(&from_left);
        two.recv(&from_right);
        swap(&mut one, &mut two);
        let (mut chosen, mut other) = (one.wait().unwrap(), two.wait().unwrap());
        swap(&mut chosen, &mut other);
        assert_eq!((chosen.recv(&from_left), other.recv(&from_right)), (Ok(1), Ok(2)));
    });
}

#[test]
fn the_methods_of_an_arm_called_by_hand_double_nothing_and_free_nothing_twice() {
    run(|| {
        let drops = Rc::new(Cell::new(0));
        let here = Location::caller();
        let (tx, rx) = channel();
        // It claims that the value was sent; it was not, so it is dropped with the operation.
        let mut lie = tx.sending(Counted(1, drops.clone()));
        assert!(lie.complete(0, false, here));
        assert!(lie.take().is_ok());
        assert!(catch_unwind(AssertUnwindSafe(|| lie.take())).is_err());
        drop(lie);
        assert_eq!((drops.get(), rx.try_recv().map(|it| it.is_some())), (1, Ok(false)));
        let mut nothing = rx.receiving();
        assert!(!nothing.complete(0, false, here) && !nothing.attempt(here));
        assert!(catch_unwind(AssertUnwindSafe(|| nothing.take())).is_err());
        let mut permit = tx.reserving();
        assert!(!permit.complete(0, false, here) && !permit.complete(7, false, here));
        let mut twice = tx.sending(Counted(2, drops.clone()));
        let reader = spawn(move || rx.recv().unwrap().0);
        yield_now();
        assert!(twice.attempt(here) && !twice.attempt(here));
        assert!(twice.take().is_ok());
        assert_eq!((reader.join().unwrap(), drops.get()), (2, 2));
        let mut running = spawn(pause);
        assert!(running.complete(0, false, here));
        assert!(catch_unwind(AssertUnwindSafe(|| running.take())).is_err());
        yield_now();
        running.insert();
        assert!(running.join().unwrap().is_ok());
    });
}
