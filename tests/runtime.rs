//! Runtimes: driven from outside, watched by hooks, one after the other.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;
use support::{isolated, maps};
use tasklets::{
    Builder, Counts, Event, Halt, Never, Progress, RunError, Runtime, State, TaskletId, blocking,
    channel, current, now, pause, scope, select, sleep, snapshot, spawn, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_never_sleeps_does_not_move_virtual_time() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let sleeper = runtime.spawn(|| sleep(Duration::from_secs(1))).unwrap();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Idle);
    assert_eq!(runtime.run_for(100).unwrap(), Progress::Idle);
    assert_eq!(runtime.step().unwrap(), Progress::Idle);
    assert!(!sleeper.is_finished());
    assert_eq!(runtime.next_timer(), Some(Duration::from_secs(1)));
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert!(sleeper.is_finished());
}

#[test]
fn the_first_tasklet_of_every_run_is_its_root() {
    let runtime = Runtime::builder().build();
    for _ in 0..2 {
        assert_eq!(runtime.run(|| current().unwrap().path()).unwrap(), "root");
    }
}

#[test]
fn a_hook_that_panics_when_a_tasklet_ends_ends_the_run() {
    let Some(ended) = isolated(|| {
        let hook = |event: &Event| assert!(!matches!(event, Event::Finished { .. }), "hook");
        let ended = Runtime::builder().on_event(hook).build().run(|| spawn(|| ()).join().unwrap());
        assert!(matches!(ended, Err(RunError::Panicked(_))), "{ended:?}");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_hook_that_panics_when_a_child_is_made_leaves_no_child_behind() {
    let Some(ended) = isolated(|| {
        let made = Cell::new(0);
        let hook = move |event: &Event| {
            if matches!(event, Event::Spawned { .. }) {
                made.set(made.get() + 1);
                assert!(made.get() < 2, "hook");
            }
        };
        let runtime = Runtime::builder().on_event(hook).build();
        let ended = runtime.run(|| scope(|s| s.spawn(|| ()).join().unwrap()));
        assert!(matches!(ended, Err(RunError::Panicked(_))), "{ended:?}");
    }) else {
        return;
    };
    ended.well();
}

/// What a run whose choices matter did, told without the numbers of channels.
fn choices_of(seed: u64) -> Vec<usize> {
    let runtime = Runtime::builder().seed(seed).virtual_clock(true).build();
    let chosen = runtime.run(|| {
        let ends: Vec<_> = (0..4).map(|_| channel::<usize>()).collect();
        for (index, (tx, _)) in ends.iter().enumerate() {
            let tx = tx.clone();
            drop(spawn(move || while tx.send(index).is_ok() {}));
        }
        yield_now();
        let receive = || {
            select! {
                recv(ends[0].1) -> it => it, recv(ends[1].1) -> it => it,
                recv(ends[2].1) -> it => it, recv(ends[3].1) -> it => it,
            }
        };
        (0..40).map(|_| receive().unwrap()).collect()
    });
    chosen.unwrap()
}

#[test]
fn one_seed_is_one_run_and_the_seeds_differ() {
    let runs: Vec<_> = (0..8).map(choices_of).collect();
    assert_eq!(runs, (0..8).map(choices_of).collect::<Vec<_>>());
    assert!(runs.iter().any(|it| *it != runs[0]), "{runs:?}");
    let seen: BTreeSet<_> = runs.concat().into_iter().collect();
    assert_eq!(seen.len(), 4, "the choice is fair");
}

#[test]
fn a_runtime_goes_on_with_its_seed_from_run_to_run() {
    let twice = |seed| {
        let runtime = Runtime::builder().seed(seed).build();
        [(); 2].map(|()| {
            let choose = || {
                let (left, right) = (spawn(|| 0), spawn(|| 1));
                yield_now();
                let (mut left, mut right) = (left, right);
                select! { op(&mut left) -> it => it.unwrap(), op(&mut right) -> it => it.unwrap() }
            };
            runtime.run(|| (0..20).map(|_| choose()).collect::<Vec<_>>()).unwrap()
        })
    };
    assert_eq!(twice(3), twice(3));
    let [first, second] = twice(3);
    assert_ne!(first, second);
}

#[test]
fn step_lets_exactly_one_tasklet_run() {
    let (runtime, turns) = (Runtime::builder().build(), Rc::new(Cell::new(0)));
    for _ in 0..3 {
        let turns = turns.clone();
        let body = move || (0..2).for_each(|_| (turns.set(turns.get() + 1), yield_now()).1);
        drop(runtime.spawn(body).unwrap());
    }
    for done in 1..=6 {
        assert_eq!(runtime.step().unwrap(), Progress::More);
        assert_eq!(turns.get(), done);
    }
    assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
    assert_eq!((turns.get(), runtime.counts()), (6, Counts::default()));
}

#[test]
fn a_drive_that_has_used_its_switches_says_more_only_if_more_can_run() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let sleeper = runtime.spawn(|| (yield_now(), sleep(SECOND)).1).unwrap();
    assert_eq!(runtime.step().unwrap(), Progress::More);
    assert_eq!(runtime.step().unwrap(), Progress::Idle);
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert!(sleeper.is_finished());
    let paused = runtime.spawn(pause).unwrap();
    assert_eq!(runtime.run_for(1).unwrap(), Progress::Stuck);
    assert!(paused.insert());
    assert_eq!(runtime.run_for(1).unwrap(), Progress::Stuck);
    assert!(paused.is_finished());
}

#[test]
fn virtual_time_passes_only_in_drives_that_may_sleep_and_stops_at_their_deadline() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let start = runtime.now();
    let naps = runtime.spawn(|| [1, 2, 3].map(|it| (sleep(it * SECOND), now()).1)).unwrap();
    assert_eq!(runtime.next_timer(), None, "it has not run yet");
    assert_eq!(runtime.run_ready().unwrap(), Progress::Idle);
    assert_eq!((runtime.now() - start, runtime.next_timer()), (Duration::ZERO, Some(SECOND)));
    let half = start + SECOND / 2;
    assert_ne!(runtime.run_until(half).unwrap(), Progress::Stuck);
    assert_eq!((runtime.now(), runtime.next_timer()), (half, Some(SECOND / 2)));
    assert_ne!(runtime.run_until(start).unwrap(), Progress::Stuck, "that time has passed");
    assert_eq!(runtime.now(), half);
    assert_ne!(runtime.run_until(start + 3 * SECOND).unwrap(), Progress::Stuck);
    assert_eq!((runtime.now(), runtime.next_timer()), (start + 3 * SECOND, Some(3 * SECOND)));
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert_eq!((runtime.now() - start, runtime.next_timer()), (6 * SECOND, None));
    assert_eq!(naps.join().unwrap(), [1, 3, 6].map(|it| start + it * SECOND));
}

#[test]
fn a_run_on_a_driven_runtime_ends_the_tasklets_that_were_there() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let before = runtime.spawn(pause).unwrap();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
    assert_eq!(runtime.run(|| sleep(SECOND)).unwrap(), Ok(()));
    assert_eq!(before.join().unwrap(), Err(Halt::Cancelled));
    let after = runtime.spawn(|| 8).unwrap();
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert_eq!(after.join().unwrap(), 8);
}

#[test]
fn a_panic_in_a_drive_is_reported_once_if_nobody_can_join_it() {
    let runtime = Runtime::builder().build();
    let fail = |text: &'static str| move || -> () { resume_unwind(Box::new(text)) };
    let joinable = runtime.spawn(fail("joined")).unwrap();
    drop(runtime.spawn(fail("detached")).unwrap());
    let ended = runtime.run_ready();
    let Err(RunError::Panicked(report)) = ended else { panic!("{ended:?}") };
    assert_eq!((report.message(), report.is_root), ("detached", false));
    assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
    assert_eq!(joinable.join().unwrap_err().message(), Some("joined"));
}

#[test]
fn every_hook_is_told_of_every_event_in_the_order_they_were_given() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let hook = |number| {
        let log = log.clone();
        move |event: &Event| log.borrow_mut().push((event.clone(), number))
    };
    let builder = Runtime::builder().on_event(hook(0)).on_event(hook(1)).on_event(hook(2));
    let ended = builder.build().run(|| {
        let (tx, rx) = channel();
        drop(spawn(move || tx.send(1)));
        rx.recv()
    });
    assert_eq!(ended.unwrap(), Ok(1));
    let log = log.take();
    for three in log.chunks(3) {
        let numbers: Vec<_> = three.iter().map(|it| it.1).collect();
        assert_eq!(numbers, [0, 1, 2], "{log:?}");
        assert!(three.iter().all(|it| it.0 == three[0].0), "{log:?}");
    }
}

#[test]
fn a_tasklet_is_spawned_then_switched_to_then_finished() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let told = log.clone();
    let builder = Runtime::builder().on_event(move |it| told.borrow_mut().push(it.clone()));
    builder.build().run(|| (0..3).for_each(|_| spawn(yield_now).join().unwrap())).unwrap();
    let log = log.take();
    let place = |wanted: &dyn Fn(&Event) -> bool| {
        let found: Vec<_> = (0..log.len()).filter(|it| wanted(&log[*it])).collect();
        (found.first().copied().unwrap(), found.last().copied().unwrap())
    };
    let made: Vec<_> = log.iter().filter_map(spawned).collect();
    assert_eq!(made.len(), 4);
    for id in made {
        let spawned = place(&|it| spawned(it) == Some(id));
        let runs = place(&|it| matches!(it, Event::Switched { to, .. } if *to == Some(id)));
        let leaves = place(&|it| matches!(it, Event::Switched { from, .. } if *from == Some(id)));
        let finished = place(&|it| matches!(it, Event::Finished { tasklet } if *tasklet == id));
        assert!(spawned.0 == spawned.1 && finished.0 == finished.1, "once each: {log:?}");
        assert!(spawned.0 < runs.0 && runs.0 < leaves.0, "{log:?}");
        assert!(runs.1 < finished.0, "nobody runs after its end: {log:?}");
    }
}

fn spawned(event: &Event) -> Option<TaskletId> {
    match event {
        Event::Spawned { tasklet } => Some(*tasklet),
        _ => None,
    }
}

#[test]
fn a_hook_may_look_around() {
    let seen = Rc::new(Cell::new(0));
    let told = seen.clone();
    let hook = move |event: &Event| {
        let Some(picture) = snapshot() else {
            return assert!(spawned(event).is_some(), "the root is made before the run begins");
        };
        let me = current().map(|it| it.id());
        match event {
            Event::Spawned { tasklet } => {
                assert_eq!(picture.tasklet(*tasklet).unwrap().state, State::Ready);
            }
            Event::Channel { tasklet, channel, .. } => {
                assert_eq!(me, *tasklet);
                assert_eq!(picture.tasklet(me.unwrap()).unwrap().state, State::Running);
                assert!(picture.channels.iter().any(|it| it.id == *channel));
            }
            Event::Switched { .. } => drop(picture.to_string()),
            _ => {}
        }
        told.set(told.get() + 1);
    };
    let ended = Runtime::builder().virtual_clock(true).on_event(hook).build().run(|| {
        let (tx, rx) = channel();
        drop(spawn(move || tx.send_all(0..5)));
        drop(spawn(|| sleep(SECOND)));
        rx.into_iter().sum::<i32>()
    });
    assert_eq!(ended.unwrap(), 10);
    assert!(seen.get() > 10);
}

#[test]
fn runs_on_several_os_threads_do_not_know_of_each_other() {
    let run = |seed: u64| move || (choices_of(seed), choices_of(seed));
    let threads: Vec<_> = (0..8).map(|it| std::thread::spawn(run(it % 2))).collect();
    let ended: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
    for (index, (first, second)) in ended.iter().enumerate() {
        assert_eq!(first, second);
        assert_eq!(*first, choices_of(index as u64 % 2));
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn two_thousand_runs_leave_no_descriptor_and_no_memory_map() {
    let Some(ended) = isolated(|| {
        let body = || {
            let (tx, rx) = channel();
            drop(spawn(move || tx.send_all(0..9)));
            drop(spawn(pause));
            drop(spawn(|| sleep(Duration::MAX)));
            assert_eq!(rx.iter().take(4).sum::<i32>(), 6);
            // The poller is made, and ready at once.
            assert_eq!(sleep(Duration::from_nanos(1)), Ok(()));
        };
        let rounds = |count| (0..count).for_each(|_| tasklets::run(body));
        rounds(20);
        let before = (descriptors(), maps());
        rounds(2_000);
        let after = (descriptors(), maps());
        assert_eq!(after.0, before.0);
        assert!(after.1 <= before.1 + 8, "maps: {before:?} became {after:?}");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn calls_on_other_threads_leave_no_descriptor() {
    let Some(ended) = isolated(|| {
        let rounds = |count| {
            (0..count).for_each(|it| assert_eq!(tasklets::run(|| blocking(move || it)), Ok(it)));
        };
        rounds(10);
        let before = descriptors();
        rounds(300);
        // A thread of the last run may still be about to drop what it answered through.
        while descriptors() > before {
            std::thread::yield_now();
        }
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn channels_are_used_from_outside_between_steps() {
    let runtime = Runtime::builder().build();
    let (tx, rx) = channel::<u8>();
    assert_eq!((tx.try_send(1), rx.try_recv()), (Ok(Some(1)), Ok(None)));
    assert_eq!(rx.recv(), Err(Halt::CannotWait), "nobody runs outside");
    let echo = {
        let (rx, tx) = (rx.clone(), tx.clone());
        move || (0..2).for_each(|_| tx.send(rx.recv().unwrap() + 1).unwrap())
    };
    let echo = runtime.spawn(echo).unwrap();
    for value in [10, 20] {
        runtime.run_ready().unwrap();
        assert_eq!((tx.balance(), tx.waiters().1), (-1, vec![echo.id()]));
        assert_eq!(tx.send(value), Ok(()), "it need not wait");
        assert_eq!((tx.balance(), rx.try_recv()), (0, Ok(None)));
        runtime.run_ready().unwrap();
        assert_eq!(rx.balance(), 1);
        assert_eq!(rx.recv(), Ok(value + 1));
    }
    runtime.run_ready().unwrap();
    assert!(echo.is_finished());
}

#[test]
fn closing_from_outside_readies_those_who_wait() {
    let runtime = Runtime::builder().build();
    let (tx, rx) = channel::<Never>();
    let readers: Vec<_> = (0..3).map(|_| rx.clone()).collect();
    let readers = readers.into_iter().map(|rx| runtime.spawn(move || rx.recv()).unwrap());
    let readers: Vec<_> = readers.collect();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
    assert_eq!(runtime.counts().blocked, 3);
    drop(tx);
    assert_eq!((runtime.counts().blocked, runtime.counts().runnable), (0, 3));
    assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
    assert!(readers.into_iter().all(|it| it.join().unwrap() == Err(Halt::Closed)));
}

#[test]
fn what_waits_when_a_run_ends_is_left_behind_unless_it_is_a_daemon() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let (_tx, rx) = channel::<Never>();
    let main = || {
        let named = |name: &str| Builder::new().name(name);
        let other = rx.clone();
        drop(named("reader").spawn(move || other.recv()).unwrap());
        drop(named("sleeper").spawn(|| sleep(SECOND)).unwrap());
        drop(named("daemon").daemon(true).spawn(pause).unwrap());
        drop(named("paused").spawn(pause).unwrap());
        yield_now();
        drop(named("ready").spawn(|| ()).unwrap());
    };
    for _ in 0..2 {
        runtime.run(main).unwrap();
        let left: Vec<_> = runtime.left_behind().into_iter().filter_map(|it| it.name).collect();
        assert_eq!(left, ["reader", "sleeper", "paused"]);
        assert_eq!(runtime.counts(), Counts::default(), "all of them have ended");
    }
    runtime.run(|| ()).unwrap();
    assert!(runtime.left_behind().is_empty(), "of the last run only");
}

#[test]
fn a_runtime_dropped_inside_of_another_run_ends_its_tasklets_and_leaves_that_run_alone() {
    let inner = Runtime::builder().build();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let told = ended.clone();
    let waits = inner.spawn(move || told.borrow_mut().push(pause())).unwrap();
    inner.run_ready().unwrap();
    let unborn = inner.spawn(|| ()).unwrap();
    let outer = Runtime::builder().virtual_clock(true).build();
    let value = outer.run(|| {
        drop(inner);
        assert_eq!(current().unwrap().path(), "root");
        assert!(waits.is_finished() && unborn.is_finished());
        (spawn(|| 7).join().unwrap(), sleep(SECOND))
    });
    assert_eq!((value.unwrap(), ended.take()), ((7, Ok(())), vec![Err(Halt::Cancelled)]));
}

#[test]
fn a_chooser_and_a_hook_with_an_end_go_with_their_runtime() {
    let owned = Rc::new(());
    let (tx, rx) = channel::<u8>();
    let (choosing, listening) = ((owned.clone(), tx.clone()), (owned.clone(), tx));
    let chooser = move |ways: usize| {
        (choosing.1.balance().unsigned_abs() + Rc::strong_count(&choosing.0)) % ways
    };
    let hook =
        move |_: &Event| assert!(Rc::strong_count(&listening.0) > 0 && listening.1.balance() == 0);
    let runtime = Runtime::builder().chooser(chooser).on_event(hook).build();
    let ended = runtime.run(|| spawn(move || rx.try_recv()).join().unwrap());
    assert_eq!(ended.unwrap(), Ok(None));
    drop(runtime);
    assert_eq!(Rc::strong_count(&owned), 1);
}
