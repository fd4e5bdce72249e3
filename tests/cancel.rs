//! Cancelling: a value first, a forced end only for who does not listen.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;
use support::Isolation;
use tasklets::{
    Builder, Halt, JoinError, Operation, Runtime, SendError, State, TaskletRef, after, blocking,
    channel, current, now, pause, run, select, shield, sleep, spawn, within, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_cancellation_while_the_target_gives_way_is_not_lost() {
    // Budget and steps put the cancellation at every place between two operations.
    for (budget, steps) in (1..4).flat_map(|budget| (0..10).map(move |steps| (budget, steps))) {
        let ended = Runtime::builder().budget(budget).build().run(|| {
            let (_tx, rx) = channel::<u8>();
            let target = spawn(move || {
                (0..3).for_each(|_| assert!(rx.try_recv().is_ok()));
                rx.recv()
            });
            (0..steps).for_each(|_| yield_now());
            target.cancel();
            target.join()
        });
        let stopped = match ended {
            Ok(Ok(received)) => received == Err(Halt::Cancelled),
            Ok(Err(error)) => matches!(error, JoinError::Cancelled),
            Err(error) => panic!("budget {budget}, after {steps} steps: {error}"),
        };
        assert!(stopped, "budget {budget}, after {steps} steps");
    }
}

#[test]
fn a_cancellation_while_a_select_waits_for_a_value_that_is_not_made_is_not_lost() {
    let ended = Runtime::builder().build().run(|| {
        let (tx, rx) = channel::<u8>();
        let (name, target) = channel::<tasklets::TaskletRef>();
        let sender = spawn(move || {
            let target = target.recv().unwrap();
            let permit = tx.reserving().wait().unwrap();
            target.cancel();
            drop(permit);
            tx // stays open
        });
        let receiver = spawn(move || select! { recv(rx) -> it => it });
        name.send(receiver.handle()).unwrap();
        let received = receiver.join();
        drop(sender.join());
        received.unwrap()
    });
    assert_eq!(ended.unwrap_or_else(|error| panic!("{error}")), Err(Halt::Cancelled));
}

#[test]
fn a_tasklet_that_polls_for_ever_does_not_keep_the_run() {
    let Some(ended) = Isolation::default().seconds(5).run(|| {
        let (_tx, rx) = channel::<u8>(); // outside: nothing closes
        run(|| {
            drop(spawn(move || while rx.try_recv().is_ok() {}));
            yield_now();
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_tasklet_that_selects_with_a_default_for_ever_does_not_keep_the_run() {
    let Some(ended) = Isolation::default().seconds(5).run(|| {
        let (_tx, rx) = channel::<u8>();
        run(|| {
            drop(spawn(move || {
                loop {
                    select! {
                        recv(rx) -> it => if it.is_err() { break },
                        default => {}
                    }
                }
            }));
            yield_now();
        });
    }) else {
        return;
    };
    ended.well();
}

/// A payload that tells when, and in which tasklet, it is dropped.
struct Told(Rc<RefCell<Vec<Option<TaskletRef>>>>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.borrow_mut().push(current());
    }
}

#[test]
fn every_blocking_operation_of_the_target_fails_at_once_and_from_then_on() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let ended = runtime.run(|| {
        let (tx, rx) = channel::<u8>();
        let start = now();
        let child = spawn(pause);
        let target = spawn(move || {
            let out = Err(Halt::Cancelled);
            assert_eq!(rx.recv(), Err(Halt::Cancelled));
            assert_eq!(tx.send(1), Err(SendError { value: 1, why: Halt::Cancelled }));
            assert_eq!((sleep(SECOND), pause(), blocking(|| ())), (out, out, out));
            assert_eq!(rx.recv_timeout(SECOND), Err(Halt::Cancelled));
            assert_eq!(rx.recv_held().map(|it| it.accept()), Err(Halt::Cancelled));
            assert_eq!(after(SECOND).wait().map(|_| ()), out);
            assert!(matches!(child.join(), Err(JoinError::Halted(Halt::Cancelled))));
            assert_eq!(select! { recv(rx) -> it => it }, Err(Halt::Cancelled));
            assert_eq!(within(SECOND, || rx.recv()).value, Err(Halt::Cancelled));
            // What does not wait goes on.
            assert_eq!((tx.try_send(2), rx.try_recv()), (Ok(Some(2)), Ok(None)));
            7
        });
        yield_now();
        target.cancel();
        let ended = target.join().unwrap();
        assert_eq!(now(), start);
        ended
    });
    assert_eq!(ended.unwrap_or_else(|error| panic!("{error}")), 7);
}

#[test]
fn cancelling_returns_at_once_and_again_and_after_the_end_does_nothing() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let target = spawn(move || (rx.recv(), rx.recv()));
        yield_now();
        (0..2_000).for_each(|_| target.cancel());
        assert!(target.is_cancelled() && !target.is_finished());
        let handle = target.handle();
        assert_eq!(target.join().unwrap(), (Err(Halt::Cancelled), Err(Halt::Cancelled)));
        handle.cancel();
        assert_eq!((handle.state(), tx.balance()), (State::Finished, 0));
        let done = spawn(|| 3);
        yield_now();
        done.cancel();
        assert_eq!((done.is_cancelled(), done.join().unwrap()), (false, 3));
    });
}

#[test]
fn a_tasklet_can_cancel_itself() {
    run(|| {
        let target = spawn(|| {
            current().unwrap().cancel();
            (pause(), sleep(SECOND))
        });
        assert_eq!(target.join().unwrap(), (Err(Halt::Cancelled), Err(Halt::Cancelled)));
    });
}

#[test]
fn a_tasklet_cancelled_before_it_began_never_runs_but_drops_its_captures_itself() {
    run(|| {
        let dropped = Rc::new(RefCell::new(Vec::new()));
        let told = Told(dropped.clone());
        let target = spawn(move || {
            let _told = told;
            panic!("it never begins");
        });
        target.cancel();
        assert_eq!(dropped.borrow().len(), 0, "not in the tasklet that cancels");
        let handle = target.handle();
        assert!(matches!(target.join(), Err(JoinError::Cancelled)));
        assert_eq!(dropped.take(), [Some(handle)]);
    });
}

#[test]
fn what_waited_to_be_sent_is_given_back_and_nobody_receives_it() {
    run(|| {
        let (tx, rx) = channel();
        let target = spawn(move || tx.send("mine"));
        yield_now();
        target.cancel();
        assert_eq!(rx.try_recv(), Ok(None), "it was taken back at once");
        let back = SendError { value: "mine", why: Halt::Cancelled };
        assert_eq!(target.join().unwrap(), Err(back));
        assert_eq!(rx.recv(), Err(Halt::Closed));
    });
}

#[test]
fn a_delivery_that_has_happened_wins_over_the_cancellation() {
    run(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || (rx.recv(), rx.recv()));
        yield_now();
        tx.send(1).unwrap();
        reader.cancel();
        assert_eq!(reader.join().unwrap(), (Ok(1), Err(Halt::Cancelled)));

        let (tx, rx) = channel();
        let writer = spawn(move || (tx.send(2), tx.send(3)));
        yield_now();
        assert_eq!(rx.recv(), Ok(2));
        writer.cancel();
        let back = SendError { value: 3, why: Halt::Cancelled };
        assert_eq!(writer.join().unwrap(), (Ok(()), Err(back)));

        let (tx, rx) = channel();
        let either = spawn(move || select! { recv(rx) -> it => it });
        yield_now();
        tx.send(4).unwrap();
        either.cancel();
        assert_eq!(either.join().unwrap(), Ok(4));
    });
}

#[test]
fn an_end_that_has_happened_wins_over_the_cancellation() {
    run(|| {
        let child = spawn(|| 5);
        let joins = spawn(move || child.join());
        let handle = joins.handle();
        drop(spawn(move || handle.cancel()));
        yield_now(); // the child ends, `joins` sees that, then it is cancelled
        assert!(matches!(joins.join(), Ok(Ok(5))));
        let (tx, rx) = channel::<u8>();
        let reader = spawn(move || rx.recv());
        yield_now();
        drop(tx);
        reader.cancel();
        assert_eq!(reader.join().unwrap(), Err(Halt::Closed));
    });
}

#[test]
fn a_shield_postpones_the_cancellation_and_nests() {
    run(|| {
        let (tx, rx) = channel();
        let target = spawn(move || {
            let first = shield(|| (shield(|| rx.recv()), rx.recv()));
            (first, rx.recv())
        });
        yield_now();
        target.cancel();
        (0..5).for_each(|_| yield_now());
        assert!(target.is_cancelled() && !target.is_finished());
        tx.send_all([1, 2]).unwrap();
        assert_eq!(target.join().unwrap(), ((Ok(1), Ok(2)), Err(Halt::Cancelled)));
    });
}

#[test]
fn a_shield_is_lowered_by_a_panic_too() {
    run(|| {
        let (_tx, rx) = channel::<u8>();
        let target = spawn(move || {
            let shielded = || shield(|| -> () { resume_unwind(Box::new("on purpose")) });
            assert!(catch_unwind(AssertUnwindSafe(shielded)).is_err());
            rx.recv()
        });
        yield_now();
        target.cancel();
        assert_eq!(target.join().unwrap(), Err(Halt::Cancelled));
    });
}

#[test]
fn who_ignores_it_a_thousand_times_is_unwound_without_the_panic_hook() {
    let Some(ended) = Isolation::default().seconds(10).run(|| {
        run(|| {
            let (_tx, rx) = channel::<u8>();
            let failed = Rc::new(Cell::new(0));
            let (count, dropped) = (failed.clone(), Rc::new(RefCell::new(Vec::new())));
            let told = Told(dropped.clone());
            let target = spawn(move || {
                let _told = told;
                loop {
                    assert_eq!(rx.recv(), Err(Halt::Cancelled));
                    count.set(count.get() + 1);
                }
            });
            let handle = target.handle();
            yield_now();
            target.cancel();
            let ended: Result<(), JoinError> = target.join();
            assert!(matches!(ended, Err(JoinError::Cancelled)));
            assert_eq!((failed.get(), dropped.take()), (1_000, vec![Some(handle)]));
        });
    }) else {
        return;
    };
    ended.well().silent_about(&["panicked"]);
}

#[test]
fn who_swallows_even_that_is_suspended_for_good_and_reported_by_name() {
    let Some(ended) = Isolation::default().seconds(10).run(|| {
        let left = run(|| {
            let (_tx, rx) = channel::<u8>();
            let target = Builder::new().name("deaf").spawn(move || {
                loop {
                    let _ = catch_unwind(AssertUnwindSafe(|| {
                        loop {
                            let _ = rx.recv();
                        }
                    }));
                }
            });
            let target: tasklets::Tasklet<()> = target.unwrap();
            yield_now();
            target.cancel();
            yield_now();
            5
        });
        assert_eq!(left, 5);
    }) else {
        return;
    };
    ended.well().saying(&["deaf", "swallowed its cancellation"]);
}

#[test]
fn a_destructor_during_a_panic_tries_once_and_never_waits() {
    struct Says(tasklets::Sender<u8>, Rc<Cell<Option<Halt>>>);
    impl Drop for Says {
        fn drop(&mut self) {
            self.1.set(self.0.send(1).err().map(|it| it.why));
        }
    }
    run(|| {
        let why = Rc::new(Cell::new(None));
        let fails = |tx: &tasklets::Sender<u8>| {
            let says = Says(tx.clone(), why.clone());
            let child = spawn(move || {
                let _says = says;
                resume_unwind(Box::new("on purpose"))
            });
            let ended: Result<(), JoinError> = child.join();
            assert_eq!(ended.unwrap_err().message(), Some("on purpose"));
            why.take()
        };
        let (tx, rx) = channel();
        assert_eq!(fails(&tx), Some(Halt::CannotWait));
        let reader = spawn(move || rx.recv());
        yield_now();
        assert_eq!((fails(&tx), reader.join().unwrap()), (None, Ok(1)));
        assert_eq!(fails(&tx), Some(Halt::Closed));
    });
}

#[test]
fn the_end_of_the_run_cancels_who_is_left() {
    let seen = Rc::new(Cell::new(None));
    let told = seen.clone();
    let (_tx, rx) = channel::<u8>();
    run(|| {
        drop(spawn(move || told.set(Some((rx.recv(), sleep(SECOND))))));
        yield_now();
    });
    assert_eq!(seen.get(), Some((Err(Halt::Cancelled), Err(Halt::Cancelled))));
}

#[test]
fn a_joiner_that_is_cancelled_leaves_the_other_running() {
    run(|| {
        let (tx, rx) = channel();
        let mut child = spawn(move || rx.recv());
        let joiner = spawn(move || {
            let stopped = child.join_mut();
            assert!(matches!(stopped, Err(JoinError::Halted(Halt::Cancelled))));
            shield(|| child.join_mut())
        });
        yield_now();
        yield_now();
        joiner.cancel();
        yield_now();
        tx.send(6).unwrap();
        assert!(matches!(joiner.join(), Ok(Ok(Ok(6)))));
    });
}
