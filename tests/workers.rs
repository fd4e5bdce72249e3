//! Workers: tasklets of other OS threads are spawned, joined, cancelled and never lost.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;
use tasklets::shared::{self, Which, Workers, workers};
use tasklets::{
    Halt, JoinError, Never, Operation, RunError, RuntimeBuilder, after, channel, current, pause,
    run, select, snapshot, spawn, yield_now,
};

fn is_shareable<T: Send + Sync>() {}

fn unlucky() -> u8 {
    resume_unwind(Box::new("bad luck"))
}

#[test]
fn groups_and_handles_can_be_sent_and_shared() {
    is_shareable::<Workers>();
    is_shareable::<shared::Remote<std::cell::Cell<u8>>>();
}

#[test]
fn a_tasklet_runs_on_the_worker_that_was_named_and_stays_there() {
    let group = workers(3).unwrap();
    let id = || {
        let before = thread::current().id();
        yield_now();
        assert_eq!(spawn(|| thread::current().id()).join().unwrap(), before);
        before
    };
    let ids: Vec<_> = (0..6).map(|it| group.spawn_on(it % 3, id).join().unwrap()).collect();
    assert_eq!(ids[..3], ids[3..]);
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    group.shutdown().unwrap();
}

#[test]
fn the_least_loaded_worker_is_chosen() {
    let group = workers(3).unwrap();
    let (_keep, wait) = shared::channel::<Never>();
    let mut tasks: Vec<_> = (0..6)
        .map(|_| {
            let wait = wait.clone();
            group.spawn_on(Which::LeastLoaded, move || wait.recv())
        })
        .collect();
    let mut loads: Vec<_> = tasks.iter().map(|it| it.worker()).collect();
    loads.sort();
    assert_eq!(loads, [0, 0, 1, 1, 2, 2]);
    let freed = tasks.remove(4);
    let number = freed.worker();
    freed.cancel();
    assert!(matches!(freed.join(), Ok(Err(Halt::Cancelled)) | Err(JoinError::Cancelled)));
    assert_eq!(group.spawn_on(Which::LeastLoaded, || ()).worker(), number);
}

#[test]
fn results_are_joined_from_threads_tasklets_and_other_workers() {
    let group = workers(2).unwrap();
    assert_eq!(group.spawn_on(0, || 1).join().unwrap(), 1);
    assert_eq!(run(|| group.spawn_on(1, || 2).join().unwrap()), 2);
    let inner = group.spawn_on(0, || 3);
    let outer = group.spawn_on(1, move || inner.join().unwrap() + 1);
    assert_eq!(outer.join().unwrap(), 4);
    group.shutdown().unwrap();
}

#[test]
fn a_join_is_an_arm_beside_others() {
    let group = workers(1).unwrap();
    run(|| {
        let (tx, rx) = shared::channel();
        let mut task = group.spawn_on(0, move || rx.recv());
        select! {
            op(&mut task) -> _ => panic!("it waits"),
            op(after(Duration::from_micros(10))) -> _ => {}
        }
        let here = spawn(move || tx.send(5));
        let (_never, silent) = channel::<u8>();
        select! {
            recv(silent) -> _ => panic!("nobody sends"),
            op(&mut task) -> it => assert_eq!(it.unwrap(), Ok(5)),
        }
        here.join().unwrap().unwrap();
    });
    let either = group.spawn_on(0, || 1).or(group.spawn_on(0, || 2)).wait().unwrap();
    assert!(either == 1 || either == 2);
    group.shutdown().unwrap();
}

#[test]
fn a_panic_reaches_who_joins() {
    let group = workers(1).unwrap();
    let error = group.spawn_on(0, unlucky).join().unwrap_err();
    assert_eq!(error.message(), Some("bad luck"));
    assert_eq!(group.spawn_on(0, || 7).join().unwrap(), 7); // its worker lives
    group.shutdown().unwrap();
}

#[test]
fn a_panic_that_nobody_can_join_is_told_by_the_shutdown() {
    for late in [true, false] {
        let group = workers(2).unwrap();
        let (go, started) = shared::channel::<()>();
        let task = group.spawn_on(0, move || {
            started.recv().unwrap();
            unlucky()
        });
        if late {
            go.send(()).unwrap();
            while !task.is_finished() {
                thread::yield_now();
            }
            drop(task); // the panic was there, and nobody took it
        } else {
            drop(task);
            go.send(()).unwrap();
        }
        let Err(RunError::Panicked(report)) = group.shutdown() else { panic!("it is not told") };
        assert_eq!(report.message(), "bad luck");
    }
}

/// Panics when it is dropped.
struct Bang(&'static str);

impl Drop for Bang {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new(self.0));
    }
}

#[test]
fn a_closure_that_is_refused_and_panics_when_it_is_dropped_does_not_end_its_worker() {
    let workers = Workers::with(1, |it| it.max_tasklets(2)).unwrap(); // one beside the root
    let (go, wait) = shared::channel::<Never>();
    let first = workers.spawn_on(0, move || wait.recv());
    let (bang, late) = (Bang("refused"), Bang("too"));
    let refused = workers.spawn_on(0, move || drop(bang));
    let again = workers.spawn_on(0, move || drop(late));
    assert!(matches!(refused.join(), Err(JoinError::Cancelled)));
    assert!(matches!(again.join(), Err(JoinError::Cancelled)));
    drop(go);
    assert_eq!(first.join().unwrap(), Err(Halt::Closed));
    assert_eq!(workers.spawn_on(0, || 7).join().unwrap(), 7); // it is alive
    let Err(RunError::Panicked(told)) = workers.shutdown() else { panic!("nothing told") };
    assert_eq!(told.message(), "refused");
}

#[test]
fn panics_that_panic_again_when_they_are_dropped_do_not_abort_the_shutdown() {
    for told in [true, false] {
        let group = workers(1).unwrap();
        for _ in 0..3 {
            let unlucky = || -> u8 { resume_unwind(Box::new(Bang("again"))) };
            let task = group.spawn_on(0, unlucky);
            while !task.is_finished() {
                thread::yield_now();
            } // it can be joined until here
        }
        if told {
            let Err(RunError::Panicked(first)) = group.shutdown() else { panic!("nothing told") };
            std::mem::forget(first);
        } else {
            drop(group);
        }
    }
}

#[test]
fn closures_that_panic_when_a_worker_that_never_ran_drops_them_end_nothing() {
    let (go, wait) = shared::channel::<Never>();
    let configure = move |it: RuntimeBuilder| {
        let _: Result<Never, Halt> = wait.recv(); // until all have been sent
        it.stack_size(1) // too small for anything
    };
    let workers = Workers::with(1, configure).unwrap();
    let bangs = ["one", "two", "three"].map(Bang);
    let all = bangs.map(|it| workers.spawn_on(0, move || drop(it)));
    drop(go);
    all.into_iter().for_each(|it| assert!(it.join().is_err()));
    assert!(workers.shutdown().is_err());
}

#[test]
fn a_worker_that_has_ended_cancels_what_it_is_given() {
    let group = workers(2).unwrap();
    let waiter = group.spawn_on(0, pause);
    drop(group.spawn_on(0, unlucky));
    assert!(matches!(waiter.join(), Ok(Err(Halt::Cancelled)) | Err(JoinError::Cancelled)));
    // Sooner or later its run is over.
    while !matches!(group.spawn_on(0, || ()).join(), Err(JoinError::Cancelled)) {}
    assert_eq!(group.spawn_on(1, || 1).join().unwrap(), 1);
    assert!(matches!(group.shutdown(), Err(RunError::Panicked(_))));
}

#[test]
fn cancelling_reaches_a_tasklet_before_it_begins_and_while_it_waits() {
    let group = workers(1).unwrap();
    let gate = Arc::new(Barrier::new(2));
    let busy = gate.clone();
    let blocker = group.spawn_on(0, move || [(); 2].map(|()| busy.wait().is_leader()));
    gate.wait();
    let early = group.spawn_on(0, || 1);
    early.cancel();
    gate.wait();
    assert!(matches!(early.join(), Err(JoinError::Cancelled)));
    blocker.join().unwrap();

    let (tell, told) = mpsc::channel();
    let waiting = group.spawn_on(0, move || {
        tell.send(()).unwrap();
        pause()
    });
    told.recv().unwrap();
    waiting.cancel();
    assert_eq!(waiting.join().unwrap(), Err(Halt::Cancelled));
    group.shutdown().unwrap();
}

#[test]
fn a_join_that_is_stopped_leaves_the_tasklet_alone() {
    let group = workers(1).unwrap();
    let (tx, rx) = shared::channel();
    let task = group.spawn_on(0, move || tx.send("it went on"));
    run(|| {
        let joiner = spawn(move || task.join().map(drop));
        yield_now();
        joiner.cancel();
        assert!(matches!(joiner.join().unwrap(), Err(JoinError::Halted(Halt::Cancelled))));
    });
    assert_eq!(rx.recv(), Ok("it went on"));
    group.shutdown().unwrap();
}

#[test]
fn a_shutdown_waits_for_all_that_were_spawned() {
    let done = Arc::new(AtomicUsize::new(0));
    for in_run in [true, false] {
        let group = workers(2).unwrap();
        for number in 0..20 {
            let done = done.clone();
            drop(group.spawn_on(number % 2, move || {
                (0..number).for_each(|_| yield_now());
                done.fetch_add(1, Ordering::SeqCst);
            }));
        }
        if in_run { run(|| group.shutdown()).unwrap() } else { group.shutdown().unwrap() }
    }
    assert_eq!(done.load(Ordering::SeqCst), 40);
}

#[test]
fn a_shutdown_lets_others_run_meanwhile() {
    let group = workers(1).unwrap();
    let (tx, rx) = shared::channel();
    drop(group.spawn_on(0, move || rx.recv()));
    run(|| {
        let ending = spawn(move || group.shutdown());
        yield_now();
        tx.send(1).unwrap(); // from the thread on which somebody waits for the shutdown
        ending.join().unwrap().unwrap();
    });
}

#[test]
fn a_shutdown_of_those_who_can_never_end_is_stuck() {
    let group = workers(1).unwrap();
    drop(group.spawn_on(0, pause));
    assert!(matches!(group.shutdown(), Err(RunError::Stuck(_))));
}

#[test]
fn a_dropped_group_cancels_and_waits() {
    let gone = Arc::new(());
    let group = workers(2).unwrap();
    for number in 0..2 {
        let held = gone.clone();
        let (told, began) = mpsc::channel();
        drop(group.spawn_on(number, move || {
            let _held = held;
            told.send(()).unwrap();
            pause()
        }));
        began.recv().unwrap();
    }
    drop(group);
    assert_eq!(Arc::strong_count(&gone), 1);
}

#[test]
fn settings_apply_to_every_worker() {
    let small = Workers::with(2, |it| it.max_tasklets(2)).unwrap();
    for number in 0..2 {
        let full = small.spawn_on(number, || tasklets::Builder::new().spawn(|| ()).is_err());
        assert!(full.join().unwrap()); // the root and this one are two
    }
    small.shutdown().unwrap();
    let broken = Workers::with(1, |it| it.root_stack_size(1)).unwrap();
    assert!(matches!(broken.spawn_on(0, || 1).join(), Err(JoinError::Cancelled)));
    assert!(matches!(broken.shutdown(), Err(RunError::Spawn(_))));
    let panics = Workers::with(1, |_| resume_unwind(Box::new("no settings"))).unwrap();
    assert!(matches!(panics.spawn_on(0, || 1).join(), Err(JoinError::Cancelled)));
    let Err(RunError::Panicked(report)) = panics.shutdown() else { panic!("it is not told") };
    assert_eq!(report.message(), "no settings");
}

#[test]
fn bad_numbers_are_refused() {
    assert_eq!(workers(0).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    let group = workers(1).unwrap();
    let beyond = std::panic::AssertUnwindSafe(|| drop(group.spawn_on(1, || ())));
    assert!(std::panic::catch_unwind(beyond).is_err());
    group.shutdown().unwrap();
}

#[test]
fn a_worker_may_hold_its_own_group() {
    let group = Arc::new(workers(1).unwrap());
    let (mine, (tell, told)) = (group.clone(), mpsc::channel());
    drop(group.spawn_on(0, move || {
        let inner = mine.spawn_on(0, || 5).join().unwrap();
        drop(mine);
        tell.send(inner).unwrap();
    }));
    drop(group);
    assert!(told.recv().is_ok_and(|it| it == 5) || told.recv().is_err());
}

#[test]
fn reports_name_what_is_joined_away() {
    let group = workers(1).unwrap();
    let (tx, rx) = shared::channel::<u8>();
    let task = group.spawn_on(0, move || rx.recv());
    run(|| {
        let joiner = spawn(move || task.join().is_ok());
        yield_now();
        let text = snapshot().unwrap().to_string();
        assert!(text.contains("waits to join a tasklet of a worker at tests/workers.rs"), "{text}");
        tx.send(1).unwrap();
        assert!(joiner.join().unwrap() && current().is_some());
    });
    group.shutdown().unwrap();
}

#[test]
fn many_tasklets_on_many_workers_all_give_their_results() {
    const TASKS: usize = if cfg!(debug_assertions) { 2_000 } else { 50_000 };
    let group = workers(3).unwrap();
    let sum = run(|| {
        let all: Vec<_> =
            (0..TASKS).map(|it| group.spawn_on(Which::LeastLoaded, move || it)).collect();
        all.into_iter().map(|it| it.join().unwrap()).sum::<usize>()
    });
    assert_eq!(sum, TASKS * (TASKS - 1) / 2);
    group.shutdown().unwrap();
}
