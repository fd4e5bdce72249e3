//! Tasklets: their states, being joined, paused, run now, injected into.

mod support;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use support::{isolated, status_kib};
use tasklets::{
    Builder, JoinError, Runtime, State, TaskletRef, channel, run, scope, spawn, yield_now,
};

#[test]
fn a_join_that_gives_way_first_sees_an_end_that_comes_meanwhile() {
    for (budget, before) in (1..4).flat_map(|budget| (0..8).map(move |before| (budget, before))) {
        let ended = Runtime::builder().budget(budget).build().run(|| {
            let (tx, _rx) = channel::<u8>();
            let child = spawn(|| 1);
            (0..before).for_each(|_| assert!(tx.try_send(0).is_ok()));
            child.join().unwrap()
        });
        let ended = ended.unwrap_or_else(|error| panic!("budget {budget}, {before}: {error}"));
        assert_eq!(ended, 1);
    }
}

#[test]
fn a_paused_tasklet_is_inserted_at_the_end() {
    let order = run(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let note = |name| {
            let order = order.clone();
            spawn(move || order.borrow_mut().push(name))
        };
        let (first, second) = (note("first"), note("second"));
        assert!(first.pause());
        assert!(first.insert());
        first.join().unwrap();
        second.join().unwrap();
        order.take()
    });
    assert_eq!(order, ["second", "first"]);
}

#[test]
fn a_result_that_the_run_has_reported_is_an_error_to_who_joins_later() {
    let runtime = Runtime::builder().build();
    let child = runtime.spawn(|| resume_unwind(Box::new("on purpose"))).unwrap();
    assert!(runtime.run(yield_now).is_err());
    let joined = catch_unwind(AssertUnwindSafe(|| child.join().map(|never: ()| never)));
    assert!(matches!(joined, Ok(Err(_))), "join panicked");
}

#[test]
fn panics_that_were_joined_are_not_kept() {
    // In a process of its own: the others use memory, too.
    let Some(ended) = isolated(|| {
        run(|| {
            let fail = || {
                let child = spawn(|| resume_unwind(Box::new(())));
                let ended: Result<(), JoinError> = child.join();
                assert!(ended.is_err());
            };
            (0..1_000).for_each(|_| fail());
            let before = status_kib("VmRSS");
            (0..30_000).for_each(|_| fail());
            let grown = status_kib("VmRSS").saturating_sub(before);
            assert!(grown < 4_096, "{grown} KiB for tasklets that have been joined");
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_sender_held_by_its_receiver_is_waiting() {
    run(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || tx.send(1));
        yield_now(); // it waits before the receiver comes
        let held = rx.recv_held().unwrap();
        assert_eq!(sender.state(), State::Waiting);
        assert!(!sender.pause(), "only a ready tasklet can be taken out of the ready queue");
        drop(held);
        sender.join().unwrap().unwrap();
    });
}

#[test]
fn a_receiver_that_a_permit_was_granted_for_is_waiting() {
    use tasklets::Operation;
    run(|| {
        let (tx, rx) = channel::<u8>();
        let receiver = spawn(move || rx.recv());
        yield_now();
        let permit = tx.reserving().wait().unwrap();
        assert_eq!(receiver.state(), State::Waiting);
        permit.send(3).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(3));
    });
}

#[test]
fn a_handle_of_an_ended_tasklet_is_never_that_of_a_later_one() {
    run(|| {
        let mut ended: Vec<TaskletRef> = Vec::new();
        for round in 0..50 {
            // Some handles are kept and some are not, so that some memory can be used again.
            let tasklet = if round % 7 == 0 {
                Builder::new().name(format!("round {round}")).spawn(yield_now).unwrap()
            } else {
                spawn(yield_now)
            };
            let handle = tasklet.handle();
            assert!(ended.iter().all(|it| *it != handle && it.id() != handle.id()));
            assert_eq!(handle.state(), State::Ready);
            assert_eq!(handle.name().is_some(), round % 7 == 0);
            tasklet.join().unwrap();
            if round % 3 == 0 {
                ended.push(handle);
            }
        }
        assert!(ended.iter().all(TaskletRef::is_finished));
        let paths: Vec<_> = ended.iter().map(|it| it.path()).collect();
        assert!(paths.iter().zip((0..50).step_by(3)).all(|(it, nth)| *it == format!("root.{nth}")));
    });
}

#[test]
fn everybody_who_waits_for_an_end_learns_of_it() {
    run(|| {
        let log = Rc::new(RefCell::new(Vec::new()));
        scope(|s| {
            let child = s.spawn(|| (0..5).for_each(|_| yield_now()));
            let log = log.clone();
            // The scope waits for the child too.
            s.spawn(move || {
                child.join().unwrap();
                log.borrow_mut().push("joined");
            });
        });
        log.borrow_mut().push("left");
        assert_eq!(*log.borrow(), ["joined", "left"]);
    });
}

#[test]
fn memory_of_ended_tasklets_is_used_again() {
    let Some(ended) = isolated(|| {
        let churn = |count| {
            run(move || {
                (0..count).for_each(|it| assert_eq!(spawn(move || it).join().unwrap(), it))
            });
        };
        churn(1_000);
        let before = status_kib("VmRSS");
        churn(100_000);
        assert!(status_kib("VmRSS") < before + 1_024, "ended tasklets use up memory");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn the_message_of_a_panic_that_is_passed_on_grows_by_as_much_each_time() {
    fn line(more: usize) {
        match more {
            0 => panic!("\"deep\""),
            _ => spawn(move || line(more - 1)).join().unwrap(),
        }
    }
    let text = |depth| tasklets::run(move || format!("{:?}", spawn(move || line(depth)).join()));
    let [ten, twenty, thirty] = [10, 20, 30].map(|it| text(it).len());
    assert_eq!(thirty - twenty, twenty - ten);
    assert!(text(5).contains("Panicked(\"\"deep\"\")"), "{}", text(5));
}
