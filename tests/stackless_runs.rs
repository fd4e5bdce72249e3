//! Stackless's runs and deadlocks and greenlet's rules, row by row: SEEDS.md 1.3, 1.4 and 2.2.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;
use tasklets::{
    Builder, Counts, Direction, Event, Halt, Never, Progress, RunError, Runtime, StuckReport,
    Tasklet, TaskletId, channel, current, pause, sleep, snapshot, spawn, switch_trap, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    Runtime::builder().virtual_clock(true).build()
}

/// Runs `main` in virtual time.
#[track_caller]
fn run<R>(main: impl FnOnce() -> R) -> R {
    runtime().run(main).unwrap()
}

/// Runs a program that must get stuck; tells the labels of those in its report, and the report.
#[track_caller]
fn stuck<R: std::fmt::Debug>(program: impl FnOnce() -> R) -> (Vec<String>, StuckReport) {
    match runtime().run(program) {
        Err(RunError::Stuck(report)) => {
            (report.snapshot.tasklets.iter().map(|it| it.label()).collect(), *report)
        }
        other => panic!("it should get stuck: {other:?}"),
    }
}

fn named<T: 'static>(name: &str, f: impl FnOnce() -> T + 'static) -> Tasklet<T> {
    Builder::new().name(name).spawn(f).unwrap()
}

// SM-01
#[test]
fn run_ends_with_its_main_and_tells_who_was_left_waiting() {
    let runtime = runtime();
    let (_tx, rx) = channel::<Never>(); // outlives the run: dropping it would end the wait
    let value = runtime.run(|| {
        drop(named("blocked", move || rx.recv()));
        drop(named("done", || ()));
        yield_now();
        6 * 7
    });
    assert_eq!(value.unwrap(), 42);
    let left: Vec<_> = runtime.left_behind().iter().map(|it| it.label()).collect();
    assert_eq!(left, ["`blocked` (root.0)"]);
    assert_eq!(runtime.counts(), Counts::default(), "nobody stays");
}

// SM-02, SM-03
#[test]
fn run_for_lets_so_many_tasklets_run_and_interrupts_nobody() {
    let (runtime, turns) = (runtime(), Rc::new(Cell::new(0)));
    let count = turns.clone();
    let endless = move || {
        loop {
            count.set(count.get() + 1);
            yield_now();
            if current().is_some_and(|it| it.is_cancelled()) {
                return;
            }
        }
    };
    let _endless = runtime.spawn(endless).unwrap();
    for budget in [1, 2, 30] {
        let before = turns.get();
        assert_eq!(runtime.run_for(budget).unwrap(), Progress::More);
        assert_eq!(turns.get() - before, budget);
    }
    assert_eq!(runtime.run_for(0).unwrap(), Progress::More);
    assert_eq!(turns.get(), 33);
}

// SM-04
#[test]
fn run_until_returns_when_its_time_has_come() {
    let (runtime, beats) = (runtime(), Rc::new(Cell::new(0)));
    let count = beats.clone();
    let heart = move || {
        while sleep(SECOND).is_ok() {
            count.set(count.get() + 1);
        }
    };
    let _heart = runtime.spawn(heart).unwrap();
    let start = runtime.now();
    for minute in 1..=3 {
        let deadline = start + minute * 60 * SECOND;
        assert_ne!(runtime.run_until(deadline).unwrap(), Progress::Stuck);
        assert_eq!((runtime.now(), beats.get()), (deadline, minute * 60));
    }
}

// SM-06
#[test]
fn a_run_inside_of_a_run_is_refused_and_harms_nothing() {
    let (outer, inner) = (runtime(), runtime());
    let value = outer.run(|| {
        assert!(matches!(inner.run(|| ()), Err(RunError::Nested)));
        assert!(matches!(inner.step(), Err(RunError::Nested)));
        spawn(|| 3).join().unwrap()
    });
    assert_eq!((value.unwrap(), inner.run(|| 4).unwrap()), (3, 4));
}

// SM-07
#[test]
fn yielding_goes_behind_all_that_are_ready() {
    let log = run(|| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let workers: Vec<_> = (0..3).map(|me| (me, log.clone())).collect();
        let workers: Vec<_> = workers
            .into_iter()
            .map(|(me, log)| {
                spawn(move || {
                    for turn in 0..2 {
                        log.borrow_mut().push((turn, me));
                        yield_now();
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|it| it.join().unwrap());
        log.take()
    });
    assert_eq!(log, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
}

// SM-08
#[test]
fn the_last_runnable_that_removes_itself_is_reported() {
    let (labels, report) = stuck(pause);
    assert_eq!((labels, report.snapshot.counts.paused), (vec!["root".into()], 1));
}

// SM-09
#[test]
fn counts_tell_every_state_apart_and_every_tasklet_once() {
    run(|| {
        let (_tx, rx) = channel::<Never>();
        drop(spawn(move || rx.recv()));
        drop((spawn(|| sleep(SECOND)), spawn(|| sleep(SECOND)), spawn(pause)));
        yield_now();
        let taken = spawn(|| ());
        assert!(taken.pause());
        drop(spawn(|| ()));
        let now = snapshot().unwrap();
        let counts =
            Counts { runnable: 2, blocked: 1, sleeping: 2, calling: 0, polling: 0, paused: 2 };
        assert_eq!((now.counts, now.tasklets.len()), (counts, 7));
        assert_eq!(current().unwrap().id(), now.tasklets[0].id);
        assert!(taken.insert());
    });
}

// SM-11
#[test]
fn under_a_switch_trap_a_switch_is_an_error_that_names_the_trap() {
    let line = line!() + 3;
    let error = run(|| {
        let careless = spawn(|| {
            let _trap = switch_trap();
            yield_now();
        });
        careless.join().unwrap_err()
    });
    let place = format!("under the switch trap set at {}:{line}:", file!());
    assert!(error.message().unwrap().contains(&place), "{error}");
}

// SM-12
#[test]
fn a_hook_sees_every_channel_operation_and_whether_it_will_block() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    let hook = move |event: &Event| {
        if let Event::Channel { tasklet, direction, will_block, .. } = event {
            told.borrow_mut().push((tasklet.unwrap(), *direction, *will_block));
        }
    };
    let (root, child) = Runtime::builder()
        .on_event(hook)
        .build()
        .run(|| {
            let (tx, rx) = channel();
            let child =
                spawn(move || rx.recv().unwrap() + rx.try_recv().unwrap_or(Some(7)).unwrap());
            yield_now();
            tx.send(1).unwrap();
            let ids = (current().unwrap().id(), child.id());
            drop(tx);
            assert_eq!(child.join().unwrap(), 8);
            ids
        })
        .unwrap();
    let recv = Direction::Receive;
    assert_eq!(seen.take()[..2], [(child, recv, true), (root, Direction::Send, false)]);
}

// SM-13
#[test]
fn a_hook_sees_every_switch_as_one_unbroken_chain() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    let hook = move |event: &Event| {
        if let Event::Switched { from, to } = event {
            told.borrow_mut().push((*from, *to));
        }
    };
    let runs = Rc::new(RefCell::new(Vec::new()));
    let ran = runs.clone();
    let note = move || ran.borrow_mut().push(current().unwrap().id());
    Runtime::builder()
        .on_event(hook)
        .build()
        .run(|| {
            note();
            let other = note.clone();
            drop(spawn(move || (0..3).for_each(|_| (other(), yield_now()).0)));
            (0..5).for_each(|_| (yield_now(), note()).1);
        })
        .unwrap();
    let seen = seen.take();
    assert!(seen.windows(2).all(|it| it[0].1 == it[1].0), "{seen:?}");
    assert_eq!((seen[0].0, seen.last().unwrap().1), (None, None));
    let mut turns: Vec<_> = seen.iter().filter_map(|it| it.1).collect();
    let mut ran = runs.take();
    turns.dedup();
    ran.dedup();
    assert!(turns.starts_with(&ran), "{turns:?} {ran:?}");
}

// SM-18
#[test]
fn a_foreign_loop_drives_step_by_step_and_feeds_its_channels() {
    let runtime = runtime();
    let (tx, rx) = channel();
    let (reply, answers) = channel();
    let server = move || rx.iter().try_for_each(|it: i32| reply.send(2 * it).map_err(|_| ()));
    let server = runtime.spawn(server).unwrap();
    assert_eq!(tx.try_send(1), Ok(Some(1)), "it has not run yet");
    for value in 1..=3 {
        assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
        assert_eq!(tx.try_send(value), Ok(None));
        assert_eq!(answers.try_recv(), Ok(None));
        runtime.step().unwrap();
        assert_eq!(answers.try_recv(), Ok(Some(2 * value)));
    }
    drop(tx);
    assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
    assert_eq!(server.join().unwrap(), Ok(()));
}

// SM-19
#[test]
fn a_frame_of_a_game_loop_runs_everybody_once() {
    let (runtime, turns) = (runtime(), Rc::new(RefCell::new(vec![0; 5])));
    for actor in 0..5 {
        let turns = turns.clone();
        let body = move || {
            while !current().unwrap().is_cancelled() {
                turns.borrow_mut()[actor] += 1;
                yield_now();
            }
        };
        drop(runtime.spawn(body).unwrap());
    }
    for frame in 1..=10 {
        let ready = runtime.counts().runnable as u64;
        assert_eq!(runtime.run_for(ready).unwrap(), Progress::More);
        assert_eq!(*turns.borrow(), [frame; 5]);
    }
}

// SM-20
#[test]
fn whoever_watches_can_name_the_tasklet_that_ran_and_stop_it() {
    let running = Rc::new(Cell::new(None));
    let told = running.clone();
    let hook = move |event: &Event| {
        if let Event::Switched { to: Some(id), .. } = event {
            told.set(Some(*id));
        }
    };
    let runtime = Runtime::builder().on_event(hook).build();
    let endless = || {
        while !current().unwrap().is_cancelled() {
            yield_now();
        }
    };
    let greedy = runtime.spawn_with(Builder::new().name("greedy"), endless).unwrap();
    assert_eq!(runtime.step().unwrap(), Progress::More);
    let picture = runtime.snapshot();
    let id: TaskletId = running.get().unwrap();
    assert_eq!(picture.tasklet(id).unwrap().label(), "`greedy` (out.1)");
    greedy.cancel();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
    assert!(greedy.is_finished());
}

// SD-01
#[test]
fn a_main_that_waits_alone_gets_a_report_of_everybody() {
    let (labels, report) = stuck(|| {
        let (_tx, rx) = tasklets::channel::Builder::new().name("void").channel::<Never>();
        rx.recv()
    });
    assert_eq!(labels, ["root"]);
    let text = report.to_string();
    for part in ["root", "waits to receive from channel `void`", file!(), "for 0ns"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

// SD-02
#[test]
fn the_last_to_wait_is_not_blamed() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    let (labels, _) = stuck(move || {
        let (tx, rx) = channel::<Never>();
        let innocent = named("innocent", move || {
            sleep(SECOND).unwrap();
            told.borrow_mut().push(rx.recv()); // ended by the end of the run only
        });
        let _kept = tx;
        innocent.join().is_ok()
    });
    assert_eq!(labels, ["root", "`innocent` (root.0)"]);
    assert_eq!(seen.take(), [Err(Halt::Cancelled)]);
}

// SD-03
#[test]
fn the_end_of_the_last_other_tasklet_gives_the_same_report() {
    let (labels, report) = stuck(|| {
        let (_tx, rx) = channel::<Never>();
        drop(spawn(|| sleep(SECOND)));
        rx.recv()
    });
    assert_eq!((labels, report.cycle.len()), (vec!["root".into()], 0));
}

// SD-04
#[test]
fn a_host_that_drives_by_itself_is_told_that_only_it_can_go_on() {
    let runtime = runtime();
    let (tx, rx) = channel::<u8>();
    let waiting = runtime.spawn(move || rx.recv()).unwrap();
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert_eq!(runtime.counts().blocked, 1);
    assert_eq!(tx.try_send(1), Ok(None));
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert_eq!((waiting.join().unwrap(), runtime.counts()), (Ok(1), Counts::default()));
}

// SD-05
#[test]
fn a_wait_that_nobody_else_can_end_is_closed_not_stuck() {
    run(|| {
        let (tx, rx) = channel::<Never>();
        drop(spawn(move || (sleep(SECOND), drop(tx)).0));
        assert_eq!(rx.recv(), Err(Halt::Closed));
    });
}

// SD-07
#[test]
fn a_failure_goes_to_the_joiner_or_the_run_and_never_through_a_channel() {
    let (seen, failed) = (Rc::new(Cell::new(None)), runtime());
    let told = seen.clone();
    let ended = failed.run(|| {
        let (_tx, rx) = channel::<u8>();
        drop(named("printer", || resume_unwind(Box::new("out of paper"))));
        told.set(Some(rx.recv()));
    });
    let Err(RunError::Panicked(report)) = ended else { panic!("{ended:?}") };
    assert_eq!((report.message(), &*report.tasklet), ("out of paper", "`printer` (root.0)"));
    assert_eq!(seen.get(), Some(Err(Halt::Cancelled)));
    run(|| {
        let (tx, rx) = channel::<u8>();
        let failing = spawn(|| resume_unwind(Box::new("mine")));
        let sender = spawn(move || (sleep(SECOND), tx.send(3)).1);
        assert_eq!(rx.recv(), Ok(3), "who joins decides");
        assert_eq!(failing.join().map(|never: ()| never).unwrap_err().message(), Some("mine"));
        sender.join().unwrap().unwrap();
    });
}

// SD-08
#[test]
fn a_cycle_among_some_is_found_on_demand_while_others_run() {
    run(|| {
        let (give, given) = channel::<Tasklet<()>>();
        let first = spawn(move || given.recv().unwrap().join().is_ok());
        let waits_for = first.id();
        let second = spawn(move || drop(first.join()));
        let mut both = [waits_for, second.id()];
        give.send(second).unwrap();
        (0..3).for_each(|_| yield_now());
        let picture = snapshot().unwrap();
        let mut cycle = picture.cycle();
        cycle.sort();
        both.sort();
        assert_eq!((cycle, picture.counts.runnable), (both.to_vec(), 1));
    });
}
