//! Stackless's tasklets and channels, row by row: SEEDS.md 1.1 and 1.2 (its runs are in
//! `stackless_runs.rs`, the table of who runs next is in `fifo.rs`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tasklets::{
    Builder, Direction, Halt, JoinError, Never, Pending, RunError, Runtime, SendError, State,
    TaskletInfo, after, block_trap, channel, current, now, pause, select, snapshot, spawn,
    take_injected, yield_now,
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
        (last.join().unwrap(), after.join().unwrap());
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
                pause().unwrap();
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
        (unborn.cancel(), blocked.cancel());
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

// SC-01
#[test]
fn any_number_of_senders_and_receivers_meet_and_every_value_arrives_once() {
    let mut got = run(|| {
        let (tx, rx) = channel();
        for sender in 0..4 {
            let tx = tx.clone();
            drop(spawn(move || tx.send_all((0..5).map(|it| 5 * sender + it))));
        }
        drop(tx);
        let readers: Vec<_> = (0..3).map(|_| rx.clone()).collect();
        let readers: Vec<_> = readers
            .into_iter()
            .map(|rx| spawn(move || rx.into_iter().collect::<Vec<_>>()))
            .collect();
        readers.into_iter().flat_map(|it| it.join().unwrap()).collect::<Vec<_>>()
    });
    got.sort();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
}

// SC-02
#[test]
fn send_waits_until_a_receiver_takes_the_value() {
    run(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || tx.send(Box::new(1)));
        (0..5).for_each(|_| yield_now());
        assert_eq!((sender.state(), rx.balance()), (State::Waiting, 1));
        assert_eq!(rx.recv(), Ok(Box::new(1)));
        assert_eq!(rx.balance(), 0);
        assert_eq!(sender.join().unwrap(), Ok(()));
    });
}

// SC-03
#[test]
fn receive_waits_until_a_sender_gives_a_value() {
    run(|| {
        let (tx, rx) = channel();
        let receiver = spawn(move || rx.recv());
        (0..5).for_each(|_| yield_now());
        assert_eq!((receiver.state(), tx.balance()), (State::Waiting, -1));
        assert_eq!(tx.send(Box::new(1)), Ok(()));
        assert_eq!(tx.balance(), 0);
        assert_eq!(receiver.join().unwrap(), Ok(Box::new(1)));
    });
}

// SC-04, SC-05
#[test]
fn an_error_sent_comes_out_of_the_receive() {
    run(|| {
        let (tx, rx) = channel::<Result<u8, Box<dyn std::error::Error>>>();
        let failing = spawn(move || tx.send("x".parse::<u8>().map_err(Into::into)).is_ok());
        let receive = || -> Result<u8, Box<dyn std::error::Error>> { rx.recv()? };
        assert_eq!(receive().unwrap_err().to_string(), "invalid digit found in string");
        assert!(failing.join().unwrap());
        assert_eq!(receive().unwrap_err().to_string(), Halt::Closed.to_string());
    });
}

// SC-06
#[test]
fn send_all_tells_how_many_were_sent_and_asks_for_no_more_than_are_taken() {
    run(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || rx.iter().take(3).sum::<i32>());
        assert_eq!(tx.send_all([1, 2]), Ok(2));
        let mut asked = 0;
        let rest = tx.send_all((3..9).inspect(|_| asked += 1));
        assert_eq!(rest, Err(SendError { value: 4, why: Halt::Closed }));
        assert_eq!((asked, reader.join().unwrap()), (2, 6));
    });
}

// SC-07
#[test]
fn iteration_ends_when_the_channel_is_closed_also_while_it_waits() {
    run(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || {
            let mut seen = Vec::new();
            for value in &rx {
                seen.push(value);
            }
            (seen, rx.recv())
        });
        assert_eq!(tx.send_all(1..=3), Ok(3));
        while tx.balance() == 0 {
            yield_now();
        }
        drop(tx);
        assert_eq!(reader.join().unwrap(), (vec![1, 2, 3], Err(Halt::Closed)));
    });
}

// SC-10, SC-11
#[test]
fn balance_and_waiters_tell_who_waits_first_come_first() {
    run(|| {
        let (tx, rx) = channel::<usize>();
        assert_eq!((tx.balance(), tx.waiters()), (0, (vec![], vec![])));
        let senders: Vec<_> =
            (0..3).map(|it| (it, tx.clone())).map(|(it, tx)| spawn(move || tx.send(it))).collect();
        yield_now();
        let ids: Vec<_> = senders.iter().map(|it| it.id()).collect();
        assert_eq!((rx.balance(), rx.waiters()), (3, (ids, vec![])));
        for (expected, sender) in senders.into_iter().enumerate() {
            assert_eq!(rx.recv(), Ok(expected));
            sender.join().unwrap().unwrap();
        }
        let readers = [(); 2].map(|()| rx.clone()).map(|rx| spawn(move || rx.recv()));
        yield_now();
        let ids: Vec<_> = readers.iter().map(|it| it.id()).collect();
        assert_eq!((rx.balance(), tx.waiters()), (-2, (vec![], ids)));
        assert_eq!(tx.send_all([7, 8]), Ok(2));
        assert_eq!(readers.map(|it| it.join().unwrap()), [Ok(7), Ok(8)]);
    });
}

// SC-12, SC-14
#[test]
fn close_wakes_every_waiter_and_gives_senders_their_values_back() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let readers = [(); 3].map(|()| rx.clone()).map(|rx| spawn(move || rx.recv()));
        yield_now();
        drop((tx, rx));
        assert_eq!(readers.map(|it| it.join().unwrap()), [Err(Halt::Closed); 3]);
        let (tx, rx) = channel::<u8>();
        let writers = [1, 2].map(|it| (it, tx.clone())).map(|(it, tx)| spawn(move || tx.send(it)));
        yield_now();
        assert!(!tx.is_closed());
        drop(rx);
        assert!(tx.is_closed());
        let closed = |value| Err(SendError { value, why: Halt::Closed });
        assert_eq!(writers.map(|it| it.join().unwrap()), [closed(1), closed(2)]);
        assert_eq!((tx.send(3), tx.try_send(4).map(drop)), (closed(3), closed(4)));
    });
}

// SC-15
#[test]
fn tries_never_wait_with_or_without_a_trap() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        for trap in [None, Some(block_trap())] {
            assert_eq!((tx.try_send(1), rx.try_recv()), (Ok(Some(1)), Ok(None)));
            drop(trap);
        }
        let (from, sender) = (rx.clone(), spawn(move || tx.send(2)));
        yield_now();
        assert_eq!(rx.try_recv(), Ok(Some(2)));
        sender.join().unwrap().unwrap();
        assert_eq!(from.try_recv(), Err(Halt::Closed));
    });
}

// SC-18
#[test]
fn a_wait_on_a_channel_nobody_else_has_ends_when_the_last_other_end_goes() {
    run(|| {
        let receiver = spawn(|| channel::<u8>().1.recv());
        assert_eq!(receiver.join().unwrap(), Err(Halt::Closed));
        let (tx, rx) = channel::<u8>();
        let (sender, holder) = (spawn(move || tx.send(1)), spawn(move || drop(rx)));
        assert_eq!(sender.join().unwrap(), Err(SendError { value: 1, why: Halt::Closed }));
        holder.join().unwrap();
    });
}

// SC-19
#[test]
fn select_takes_what_can_happen_and_leaves_the_rest_untouched() {
    run(|| {
        let (quiet_tx, quiet) = channel::<u8>();
        let (tx, rx) = channel::<u8>();
        let (out, taken) = channel::<u8>();
        let sender = spawn(move || tx.send(1));
        let taker = |want: bool| {
            select! {
                recv(quiet) -> _ => "quiet",
                recv(rx) -> it => if it == Ok(1) { "one" } else { "closed" },
                send(out, 9) -> it if want => if it.is_ok() { "sent" } else { "refused" },
                op(after(Duration::from_secs(1))) -> _ => "late",
            }
        };
        assert_eq!(taker(false), "one");
        assert_eq!(quiet_tx.balance(), 0, "the losers have withdrawn");
        sender.join().unwrap().unwrap();
        assert_eq!(taker(false), "closed");
        let reader = spawn(move || taken.recv());
        drop(rx);
        yield_now();
        assert_eq!(select! { biased; recv(quiet) -> _ => 0, send(out, 9) -> _ => 1 }, 1);
        assert_eq!(reader.join().unwrap(), Ok(9));
    });
}

// SC-20
#[test]
fn an_operation_with_a_timeout_ends_at_its_time_and_leaves_no_offer() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (start, second) = (now(), Duration::from_secs(1));
        assert_eq!(rx.recv_timeout(second), Err(Halt::TimedOut));
        assert_eq!(now() - start, second);
        let late = Err(SendError { value: 1, why: Halt::TimedOut });
        assert_eq!(tx.send_timeout(1, second), late);
        assert_eq!(tx.send_deadline(1, start), late);
        assert_eq!(rx.recv_deadline(start + 3 * second), Err(Halt::TimedOut));
        assert_eq!((now() - start, rx.balance()), (3 * second, 0));
        let sender = spawn(move || tx.send_timeout(2, second));
        assert_eq!(rx.recv_timeout(second), Ok(2));
        assert_eq!((sender.join().unwrap(), now() - start), (Ok(()), 3 * second));
    });
}
