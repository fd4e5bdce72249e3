//! Stackless's tasklets, row by row: SEEDS.md 1.1. Its channels are in `stackless_channel.rs`, its
//! runs in `stackless_runs.rs`, the table of who runs next in `fifo.rs`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tasklets::{
    Builder, Direction, Halt, JoinError, Never, Pending, RunError, Runtime, SendError, State,
    TaskletInfo, block_trap, channel, current, pause, snapshot, spawn, take_injected, yield_now,
};

type Log = Rc<RefCell<Vec<&'static str>>>;

/// Runs `main` in virtual time.
#[track_caller]
fn run<R>(main: impl FnOnce() -> R) -> R {
    Runtime::builder().virtual_clock(true).build().run(main).unwrap()
}

/// Spawns a tasklet that notes `name` once it runs.
fn note(log: &Log, name: &'static str) -> tasklets::Tasklet<()> {
    let log = log.clone();
    spawn(move || log.borrow_mut().push(name))
}

/// What a tasklet that has not ended is about.
#[track_caller]
fn info(of: &tasklets::TaskletRef) -> TaskletInfo {
    snapshot().unwrap().tasklet(of.id()).unwrap().clone()
}

// ST-01
#[test]
fn a_new_tasklet_is_queued_and_needs_no_reference() {
    let log = run(|| {
        let log = Log::default();
        drop(note(&log, "child"));
        log.borrow_mut().push("parent");
        yield_now();
        log.take()
    });
    assert_eq!(log, ["parent", "child"]);
}

// ST-04
#[test]
fn insert_appends_a_paused_tasklet_and_no_other() {
    let log = run(|| {
        let log = Log::default();
        let paused = note(&log, "paused");
        assert!(paused.pause());
        let (_tx, rx) = channel::<Never>();
        let blocked = spawn(move || rx.recv());
        note(&log, "ready").join().unwrap();
        assert!(!blocked.insert(), "it waits on a channel");
        assert_eq!(info(&blocked).state, State::Waiting);
        let last = note(&log, "before");
        assert!(paused.insert());
        assert!(!paused.insert(), "it is ready already");
        let after = note(&log, "after");
        last.join().unwrap();
        after.join().unwrap();
        assert!(!paused.insert(), "it has ended");
        log.take()
    });
    assert_eq!(log, ["ready", "before", "paused", "after"]);
}

// ST-05
#[test]
fn remove_takes_a_ready_tasklet_out_of_the_queue_until_it_is_inserted() {
    run(|| {
        let log = Log::default();
        let taken = note(&log, "taken");
        assert!(taken.pause());
        assert_eq!((taken.state(), taken.pause()), (State::Paused, false));
        (0..9).for_each(|_| yield_now());
        assert_eq!((log.borrow().len(), taken.state()), (0, State::Paused));
        let (tx, rx) = channel::<u8>();
        let blocked = spawn(move || rx.recv());
        yield_now();
        assert!(!blocked.pause(), "it waits on a channel");
        tx.send(1).unwrap();
        blocked.join().unwrap().unwrap();
        assert!(!current().unwrap().pause(), "the running tasklet is not in the queue");
        assert!(taken.insert());
        taken.join().unwrap();
    });
}

// ST-05
#[test]
fn a_paused_tasklet_without_a_reference_is_not_run_and_is_freed_with_its_run() {
    let freed = Rc::new(Cell::new(false));
    let (log, told) = (Log::default(), freed.clone());
    let kept = log.clone();
    run(|| {
        let guard = OnDrop(Box::new(move || told.set(true)));
        let taken = spawn(move || (guard, kept.borrow_mut().push("ran")));
        assert!(taken.pause());
        drop(taken);
        (0..9).for_each(|_| yield_now());
        assert!(!freed.get(), "no destructor runs because a handle was dropped");
    });
    assert!(freed.get());
    assert!(log.take().is_empty());
}

// ST-05
#[test]
fn a_tasklet_removed_after_its_meeting_keeps_its_value_and_one_that_is_killed_comes_back() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let reader = spawn(move || rx.recv());
        yield_now();
        tx.send(1).unwrap();
        assert!(reader.pause());
        (0..3).for_each(|_| yield_now());
        assert_eq!(reader.state(), State::Paused);
        assert!(reader.insert());
        assert_eq!(reader.join().unwrap(), Ok(1));
        let removed = spawn(|| (yield_now(), pause()).1);
        yield_now();
        assert!(removed.pause());
        removed.cancel();
        assert_eq!(removed.join().unwrap(), Err(Halt::Cancelled));
    });
}

// ST-06
#[test]
fn run_now_switches_at_once_and_the_caller_goes_behind_all_others() {
    let log = run(|| {
        let log = Log::default();
        let _first = note(&log, "first");
        let target = note(&log, "target");
        assert!(target.run_now());
        log.borrow_mut().push("caller");
        assert!(!target.run_now(), "it has ended");
        let (_tx, rx) = channel::<Never>();
        let blocked = spawn(move || rx.recv());
        yield_now();
        assert!(!blocked.run_now(), "it waits on a channel");
        log.take()
    });
    assert_eq!(log, ["target", "first", "caller"]);
}

// ST-07
#[test]
fn two_that_insert_each_other_and_pause_alternate_like_switch() {
    let log = run(|| {
        let log = Log::default();
        let (me, notes) = (current().unwrap(), log.clone());
        let other = spawn(move || {
            for _ in 0..3 {
                notes.borrow_mut().push("other");
                assert!(me.insert());
                if pause().is_err() {
                    return; // the run is over
                }
            }
        });
        assert!(other.pause());
        for _ in 0..3 {
            assert!(other.insert());
            pause().unwrap();
            log.borrow_mut().push("me");
        }
        log.take()
    });
    assert_eq!(log, ["other", "me", "other", "me", "other", "me"]);
}

// ST-08
#[test]
fn an_injected_error_comes_out_of_the_targets_operation_once() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let target = spawn(move || {
            let first = (rx.recv(), take_injected().map(|it| it.to_string()));
            (first, rx.recv(), take_injected().is_none())
        });
        yield_now();
        target.inject("out of paper");
        tx.send(7).unwrap();
        let first = (Err(Halt::Injected), Some("out of paper".into()));
        assert_eq!(target.join().unwrap(), (first, Ok(7), true));
    });
}

// ST-08
#[test]
fn an_error_injected_before_the_target_has_begun_comes_out_of_its_first_operation() {
    run(|| {
        let target = spawn(|| (pause(), take_injected().unwrap().to_string()));
        target.inject("early");
        assert_eq!(target.join().unwrap(), (Err(Halt::Injected), "early".into()));
    });
}

// ST-09
#[test]
fn injecting_queues_the_target_takes_it_off_its_channel_and_lets_the_caller_go_on() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let target = spawn(move || rx.recv());
        yield_now();
        assert_eq!(tx.balance(), -1);
        target.inject("later");
        assert_eq!((tx.balance(), target.state()), (0, State::Ready));
        assert_eq!(tx.try_send(1), Ok(Some(1)));
        let ended = target.handle();
        assert_eq!(target.join().unwrap(), Err(Halt::Injected));
        ended.inject("too late"); // no error, no effect
        assert_eq!(ended.state(), State::Finished);
    });
}

// ST-10
#[test]
fn kill_ends_the_waiting_through_their_operation_and_the_unborn_at_once() {
    run(|| {
        let log = Log::default();
        let unborn = note(&log, "unborn");
        let (tx, rx) = channel::<u8>();
        let blocked = spawn(move || (rx.recv(), rx.recv()));
        assert!(unborn.pause());
        yield_now();
        unborn.cancel();
        blocked.cancel();
        assert_eq!(tx.balance(), 0, "it is taken off its channel first");
        assert!(!blocked.is_finished(), "the caller goes on");
        assert!(matches!(unborn.join(), Err(JoinError::Cancelled)));
        let twice = (Err(Halt::Cancelled), Err(Halt::Cancelled));
        assert_eq!(blocked.join().unwrap(), twice, "it is told every time");
        assert!(log.borrow().is_empty());
    });
}

// ST-10
#[test]
fn a_killed_tasklet_may_refuse_to_die_for_a_while() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let stubborn = spawn(move || {
            while rx.recv() != Err(Halt::Cancelled) {}
            tasklets::shield(|| rx.recv())
        });
        yield_now();
        stubborn.cancel();
        yield_now();
        tx.send(5).unwrap();
        assert_eq!(stubborn.join().unwrap(), Ok(5));
    });
}

struct OnDrop(Box<dyn Fn()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

// ST-11
#[test]
fn dropping_the_last_handle_of_a_waiting_tasklet_runs_no_user_code() {
    let places = Rc::new(RefCell::new(Vec::new()));
    let told = places.clone();
    run(|| {
        let (tx, rx) = channel::<u8>();
        let place = move || told.borrow_mut().push(current().map(|it| it.path()));
        let orphan = spawn(move || {
            let _guard = OnDrop(Box::new(place));
            rx.recv()
        });
        yield_now();
        drop(orphan);
        assert!(places.borrow().is_empty());
        drop(tx); // the orphan's last peer: it is told, and ends by itself
        assert!(places.borrow().is_empty(), "it runs when its turn comes, not in a destructor");
        yield_now();
    });
    assert_eq!(places.take(), [Some("root.0".into())]);
}

// ST-13
#[test]
fn a_block_trap_turns_waiting_into_an_error_and_leaves_what_need_not_wait() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let trap = block_trap();
        assert_eq!(rx.recv(), Err(Halt::CannotWait));
        assert_eq!(tx.send(3), Err(SendError { value: 3, why: Halt::CannotWait }));
        drop(trap);
        let reader = spawn(move || rx.recv());
        yield_now();
        let trap = block_trap();
        assert_eq!(tx.send(4), Ok(()));
        drop(trap);
        assert_eq!(reader.join().unwrap(), Ok(4));
    });
}

// ST-16 to ST-19
#[test]
fn a_waiting_tasklets_state_names_its_channel_and_direction() {
    run(|| {
        let (tx, rx) = tasklets::channel::Builder::new().name("orders").channel::<u8>();
        let writer = spawn(move || tx.send(1).unwrap());
        assert_eq!((writer.state(), info(&writer).waiting.is_none()), (State::Ready, true));
        yield_now();
        let waiting = info(&writer).waiting.unwrap();
        let [Pending::Channel { channel, name, direction, .. }] = &waiting.operations[..] else {
            panic!("{waiting:?}");
        };
        assert_eq!((*channel, name.as_deref()), (rx.id(), Some("orders")));
        assert_eq!(*direction, Direction::Send);
        assert_eq!(rx.recv(), Ok(1));
        let handle = writer.handle();
        writer.join().unwrap();
        assert!(handle.is_finished() && handle.state() == State::Finished);
    });
}

// ST-23
#[test]
fn everybody_is_told_where_each_tasklet_waits_and_where_it_was_spawned() {
    let line = line!();
    let report = Runtime::builder().build().run(|| {
        let (_tx, rx) = channel::<Never>();
        let child = spawn(move || rx.recv());
        yield_now();
        let child = info(&child);
        assert_eq!(child.spawned_at.line(), line + 3);
        let at = child.waiting.unwrap().at;
        assert_eq!((at.file(), at.line()), (file!(), line + 3));
        pause()
    });
    let Err(RunError::Stuck(report)) = report else { panic!("{report:?}") };
    let root = report.snapshot.tasklets[0].waiting.as_ref().unwrap();
    assert_eq!(root.at.line(), line + 9);
    assert!(report.to_string().contains(&format!("{}:{}", file!(), line + 9)), "{report}");
}

// ST-27
#[test]
fn names_and_locals_go_with_the_tasklet_and_reports_use_the_name() {
    tasklets::tasklet_local! {
        static DATA: Cell<u8> = Cell::new(0);
    }
    let report = Runtime::builder().build().run(|| {
        let clerk = Builder::new().name("clerk").spawn(|| {
            DATA.with(|it| it.set(9));
            pause().unwrap();
            DATA.with(Cell::get)
        });
        let clerk = clerk.unwrap();
        assert_eq!(clerk.name(), Some("clerk"));
        yield_now();
        assert_eq!(DATA.with(Cell::get), 0);
        assert!(clerk.insert());
        assert_eq!(clerk.join().unwrap(), 9);
        let _waits = Builder::new().name("doorman").spawn(pause);
        pause()
    });
    let Err(RunError::Stuck(report)) = report else { panic!("{report:?}") };
    assert!(report.to_string().contains("`doorman` (root.1)"), "{report}");
}
