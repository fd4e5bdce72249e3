//! A program that cannot go on says so, to whoever runs it: who waits for what, where, and why.

mod support;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;
use support::isolated;
use tasklets::{
    Builder, Halt, Never, Operation, Pending, Receiver, RunError, Runtime, Select, Sender, State,
    StuckReport, Tasklet, TaskletId, after, blocking, channel, current, pause, run, scope, select,
    sleep, snapshot, spawn, within, yield_now,
};

/// Runs a program that must get stuck.
#[track_caller]
fn stuck<R: std::fmt::Debug>(program: impl FnOnce() -> R) -> StuckReport {
    match Runtime::builder().virtual_clock(true).build().run(program) {
        Err(RunError::Stuck(report)) => *report,
        other => panic!("it should get stuck: {other:?}"),
    }
}

/// The report has every one of `parts`, in this order.
#[track_caller]
fn says(report: &StuckReport, parts: &[&str]) {
    let text = report.to_string();
    let mut rest = text.as_str();
    for part in parts {
        let Some(at) = rest.find(part) else { panic!("no {part:?} here:\n{rest}\n--- in\n{text}") };
        rest = &rest[at + part.len()..];
    }
}

fn here(line: u32) -> String {
    format!("tests/stuck.rs:{line}:")
}

fn named<T: 'static>(name: &str, f: impl FnOnce() -> T + 'static) -> Tasklet<T> {
    Builder::new().name(name).spawn(f).unwrap()
}

fn names(report: &StuckReport, ids: &[TaskletId]) -> Vec<String> {
    ids.iter().map(|it| report.snapshot.tasklet(*it).unwrap().label()).collect()
}

#[test]
fn the_report_tells_name_spawn_site_operation_line_channel_and_holders() {
    let made = line!() + 2;
    let report = stuck(|| {
        let (jobs, todo) = tasklets::channel::Builder::new().name("jobs").channel::<u8>();
        let kept = todo.clone();
        let _worker = Builder::new().name("worker").spawn(move || todo.recv());
        let _pusher = Builder::new().name("pusher").spawn(move || {
            let mut numbers = 1..=3;
            while numbers.next().is_some_and(|it| jobs.send(it).is_ok()) {}
        });
        assert_eq!(kept.recv(), Ok(1));
        let _kept = kept;
        pause()
    });
    assert_eq!(report.snapshot.tasklets.len(), 2, "the worker has ended");
    let root = ["root, spawned at", &here(made - 1), "inserted", " at ", &here(made + 9)];
    says(&report, &[&["stuck: none of 2 tasklets can run"], &root[..]].concat());
    let pusher =
        ["`pusher` (root.1), spawned at", &here(made + 3), "waits to send on channel `jobs`"];
    let channel = [&*here(made), " at ", &*here(made + 5), "the receiving end is held by root"];
    says(&report, &[&pusher[..], &channel[..]].concat());
}

#[test]
fn every_kind_of_wait_is_named() {
    let report = stuck(|| {
        let (tx, rx) = channel::<u8>();
        let (quiet, silent) = tasklets::channel::Builder::new().name("quiet").channel::<u8>();
        let (other_tx, other) = tasklets::channel::Builder::new().name("other").channel::<u8>();
        let (to, from) = (tx.clone(), rx);
        drop(named("sender", move || tx.send(1)));
        drop(named("timed sender", move || to.send_timeout(1, Duration::MAX)));
        let (silent_too, other_too) = (silent.clone(), other.clone());
        drop(named("chooser", move || {
            select! { recv(silent_too) -> _ => (), recv(other_too) -> _ => (),
            op(after(Duration::MAX)) -> _ => () }
        }));
        let (silent_three, other_three) = (silent.clone(), other.clone());
        drop(named("reuser", move || {
            let mut select = Select::new();
            select.recv(&silent_three);
            select.recv(&other_three);
            drop(select.wait());
        }));
        let target = named("sleeper", || sleep(Duration::MAX));
        drop(named("joiner", move || target.join()));
        drop(named("parent", || scope(|s| drop(s.spawn(pause)))));
        drop(named("holder", move || other.recv_held().map(drop)));
        let _all = (quiet, other_tx, from, silent);
        pause()
    });
    says(
        &report,
        &["`sender` (root.0)", "waits to send on channel", "receiving end is held by root"],
    );
    says(&report, &["`timed sender`", "waits to send on channel", "at tests/stuck.rs"]);
    says(
        &report,
        &["`chooser`", "receive from channel `quiet`", " or ", "channel `other`", " or see"],
    );
    says(&report, &["`reuser`", "receive from channel `quiet`", " or ", "channel `other`"]);
    says(&report, &["`sleeper`", "waits to wake", "after the start"]);
    says(&report, &["`joiner`", "waits to join `sleeper` (root.4)"]);
    says(&report, &["`parent`", "waits to leave a scope with 1 tasklets"]);
    says(
        &report,
        &["`holder`", "waits to receive from channel `other`", "sending end is held by root"],
    );
    assert!(!report.to_string().contains("waits to  at"), "{report}");
}

#[test]
fn who_waits_for_the_end_of_a_meeting_names_channel_and_partner() {
    /// `early` tells whether the keeper waits first, or the one who is kept.
    fn kept(early: bool, keeper: fn(Receiver<u8>), one: fn(Sender<u8>)) {
        let report = stuck(|| {
            let (tx, rx) = tasklets::channel::Builder::new().name("forms").channel();
            if early {
                drop(named("keeper", move || keeper(rx)));
                yield_now();
                drop(named("kept", move || one(tx)));
            } else {
                drop(named("kept", move || one(tx)));
                yield_now();
                drop(named("keeper", move || keeper(rx)));
            }
            pause()
        });
        let parts = ["`kept` (", "waits to complete its meeting with `keeper` (", ") on channel"];
        says(&report, &[&parts[..], &["`forms` (made at tests/stuck.rs:", "at tests/"]].concat());
    }
    let hold = |rx: Receiver<u8>| drop((rx.recv_held(), pause()));
    let ways: [fn(Sender<u8>); 5] = [
        |tx| drop(tx.send(1)),
        |tx| drop(tx.send_timeout(1, Duration::MAX)),
        |tx| select! { send(tx, 1) -> _ => (), op(after(Duration::MAX)) -> _ => () },
        |tx| select! { op(tx.sending(1)) -> _ => (), op(after(Duration::MAX)) -> _ => () },
        |tx| {
            let mut select = Select::new();
            select.send(&tx);
            drop(select.wait().unwrap().send(&tx, 1));
        },
    ];
    ways.into_iter().for_each(|one| [true, false].iter().for_each(|it| kept(*it, hold, one)));
}

#[test]
fn who_waits_for_the_value_of_a_permit_names_channel_and_partner() {
    for early in [true, false] {
        let report = stuck(|| {
            let (tx, rx) = tasklets::channel::Builder::new().name("forms").channel::<u8>();
            let giver = move || named("giver", move || drop((tx.reserving().wait(), pause())));
            let taker = move || named("taker", move || select! { recv(rx) -> _ => () });
            let mut roles: [Box<dyn FnOnce() -> Tasklet<()>>; 2] =
                [Box::new(giver), Box::new(taker)];
            roles[..].rotate_left(usize::from(!early));
            roles.into_iter().for_each(|it| {
                drop(it());
                yield_now();
            });
            pause()
        });
        let parts = ["`taker` (", "waits to complete its meeting with `giver` (", "l `forms` ("];
        says(&report, &parts);
    }
}

#[test]
fn a_cycle_of_two_comes_first() {
    let report = stuck(|| {
        drop(named("bystander", pause));
        let (to_left, from_right) = channel::<u8>();
        let (to_right, from_left) = channel::<u8>();
        let (go, started) = channel::<()>();
        // Each has used its sending end before it waits, so it is known who holds it.
        let left = named("left", move || {
            assert_eq!(to_right.try_send(1), Ok(Some(1)));
            started.recv().unwrap();
            (from_right.recv(), to_right.send(1))
        });
        let right = named("right", move || {
            assert_eq!(to_left.try_send(1), Ok(Some(1)));
            go.send(()).unwrap();
            (from_left.recv(), to_left.send(1))
        });
        let _ = (left.join(), right.join());
    });
    let mut cycle = names(&report, &report.cycle);
    cycle.sort();
    assert_eq!(cycle, ["`left` (root.1)", "`right` (root.2)"], "{report}");
    says(
        &report,
        &["cycle: `", "waits for `", "waits for `", "\n  `left`", "\n  `right`", "bystander"],
    );
}

#[test]
fn a_cycle_is_not_made_up_from_ends_that_were_only_moved() {
    let report = stuck(|| {
        let (to_left, from_right) = channel::<u8>();
        let (to_right, from_left) = channel::<u8>();
        let left = named("left", move || (from_right.recv(), to_right.send(1)));
        let right = named("right", move || (from_left.recv(), to_left.send(1)));
        let _ = (left.join(), right.join());
    });
    // The root made all ends, but has none of them: it is in no cycle.
    let cycle = names(&report, &report.cycle);
    assert!(!cycle.contains(&"root".to_owned()), "{report}");
}

#[test]
fn a_tasklet_that_joins_itself_is_a_cycle_of_one() {
    let report = stuck(|| {
        let own = Rc::new(RefCell::new(None::<Tasklet<()>>));
        let mine = own.clone();
        let tasklet = named("ouroboros", move || {
            let me = mine.borrow_mut().take().unwrap();
            me.join().unwrap();
        });
        *own.borrow_mut() = Some(tasklet);
        pause()
    });
    assert_eq!(names(&report, &report.cycle), ["`ouroboros` (root.0)"], "{report}");
    says(
        &report,
        &["cycle: `ouroboros` (root.0) waits for `ouroboros`", "waits to join `ouroboros`"],
    );
}

/// A fork is a channel on which its place on the table is always ready to receive one token.
fn philosopher(
    left: (Sender<()>, Receiver<()>),
    right: (Sender<()>, Receiver<()>),
) -> Result<(), Halt> {
    left.1.recv()?; // takes the left fork
    yield_now();
    right.1.recv()?; // waits for the right one
    let _ = (left.0.send(()), right.0.send(()));
    Ok(())
}

#[test]
fn a_ring_of_philosophers_is_reported_seat_by_seat() {
    const SEATS: usize = 5;
    let report = stuck(|| {
        let forks: Vec<_> = (0..SEATS).map(|_| channel::<()>()).collect();
        let seats: Vec<_> = (0..SEATS)
            .map(|seat| {
                let (left, right) = (forks[seat].clone(), forks[(seat + 1) % SEATS].clone());
                named(&format!("philosopher {seat}"), move || philosopher(left, right))
            })
            .collect();
        for (fork, _) in forks {
            fork.send(()).unwrap();
        }
        seats.into_iter().for_each(|it| drop(it.join()));
    });
    assert_eq!(report.snapshot.tasklets.len(), SEATS + 1);
    for seat in 0..SEATS {
        says(&report, &[&format!("`philosopher {seat}` (root.{seat})"), "waits to receive from"]);
    }
}

#[test]
fn a_ring_of_joins_is_one_cycle() {
    let report = stuck(|| {
        let handles: Rc<RefCell<Vec<Option<Tasklet<()>>>>> = Rc::default();
        for seat in 0..5 {
            let all = handles.clone();
            let made = named(&format!("seat {seat}"), move || {
                let next = all.borrow_mut()[(seat + 1) % 5].take().unwrap();
                next.join().unwrap();
            });
            handles.borrow_mut().push(Some(made));
        }
        pause()
    });
    assert_eq!(report.cycle.len(), 5, "{report}");
    assert!(!names(&report, &report.cycle).contains(&"root".into()));
}

#[test]
fn no_cycle_is_claimed_while_another_holder_can_still_run() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let own = tx.clone();
        let first = named("first", move || rx.recv());
        let second = named("second", move || {
            let mine = own.clone();
            drop(own);
            let _mine = mine;
            first.join().unwrap()
        });
        let third = named("third", move || {
            let mine = tx.clone();
            drop(tx);
            yield_now();
            mine.send(7).unwrap();
        });
        yield_now();
        // `first` waits for `second` or `third`, `second` for `first`; but `third` is ready.
        let now = snapshot().unwrap();
        assert_eq!(now.cycle(), [], "{now}");
        third.join().unwrap();
        assert_eq!(second.join().unwrap(), Ok(7));
    });
}

#[test]
fn waiting_for_a_time_is_not_being_stuck() {
    for simulated in [false, true] {
        let ended = Runtime::builder().virtual_clock(simulated).build().run(|| {
            let (_tx, rx) = channel::<Never>();
            let others = rx.clone();
            let blocked = spawn(move || others.recv());
            sleep(Duration::from_millis(1)).unwrap();
            let timed = within(Duration::from_millis(1), || rx.recv());
            let timeout = rx.recv_timeout(Duration::from_millis(1));
            blocked.cancel();
            (timed.value, timeout, blocked.join().unwrap())
        });
        let late = Err(Halt::TimedOut);
        assert_eq!(ended.unwrap(), (late, late, Err(Halt::Cancelled)));
    }
}

#[test]
fn waiting_for_a_call_on_another_os_thread_is_not_being_stuck() {
    for simulated in [false, true] {
        let ended = Runtime::builder().virtual_clock(simulated).build().run(|| {
            let (go, told) = std::sync::mpsc::channel();
            let call = spawn(move || blocking(move || told.recv().unwrap()));
            yield_now();
            let calling = snapshot().unwrap();
            assert_eq!(calling.counts.calling, 1);
            assert!(calling.to_string().contains("get the result of a blocking call"));
            go.send(5).unwrap();
            call.join().unwrap().unwrap()
        });
        assert_eq!(ended.unwrap(), 5);
    }
}

#[test]
fn the_report_goes_to_who_called_run_and_to_no_tasklet() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let log = heard.clone();
    let report = stuck(move || {
        let innocent = log.clone();
        drop(named("innocent", move || {
            let ended = pause();
            innocent.borrow_mut().push(ended);
        }));
        let ended = catch_unwind(AssertUnwindSafe(pause)).expect("no panic arrives here");
        log.borrow_mut().push(ended);
    });
    says(&report, &["root", "`innocent`"]);
    assert_eq!(*heard.borrow(), [Err(Halt::Cancelled); 2], "they are only cancelled");
    let text = catch_unwind(|| run(pause)).map(drop).unwrap_err();
    let text = text.downcast::<String>().unwrap();
    assert!(
        text.starts_with("stuck: none of 1 tasklets can run") && text.contains("tests/stuck.rs")
    );
}

#[test]
fn a_runtime_that_is_driven_says_stuck_and_can_go_on() {
    let runtime = Runtime::builder().build();
    let (tx, rx) = channel();
    let reader = runtime.spawn(move || rx.recv()).unwrap();
    assert_eq!(runtime.run_to_end().unwrap(), tasklets::Progress::Stuck);
    assert!(runtime.snapshot().to_string().contains("waits to receive from channel"));
    tx.try_send(3).unwrap();
    runtime.run_to_end().unwrap();
    assert_eq!(reader.join().unwrap(), Ok(3));
}

#[test]
fn a_channel_is_named_in_the_reports_of_every_run_that_uses_it() {
    let (_tx, rx) = tasklets::channel::Builder::new().name("old").channel::<u8>();
    for _ in 0..2 {
        let report = stuck(|| rx.recv());
        says(&report, &["root", "waits to receive from channel `old`"]);
        let report = stuck(|| select! { recv(rx) -> it => it });
        says(&report, &["root", "waits to receive from channel `old`"]);
        let report = stuck(|| {
            let mut select = Select::new();
            select.recv(&rx);
            select.wait().map(drop)
        });
        says(&report, &["root", "waits to receive from channel `old`"]);
    }
}

#[test]
fn what_is_left_behind_is_listed_without_daemons() {
    let runtime = Runtime::builder().build();
    runtime
        .run(|| {
            drop(named("left", pause));
            drop(Builder::new().name("daemon").daemon(true).spawn(pause));
            let (tx, rx) = channel::<u8>();
            drop(named("reader", move || rx.recv()));
            drop(named("done", || ()));
            yield_now();
            drop(named("unbegun", pause));
            std::mem::forget(tx);
        })
        .unwrap();
    let left = runtime.left_behind();
    assert_eq!(
        left.iter().map(|it| it.name.as_deref().unwrap()).collect::<Vec<_>>(),
        ["left", "reader"]
    );
    let waiting = left[1].waiting.as_ref().unwrap();
    assert!(matches!(waiting.operations[..], [Pending::Channel { .. }]), "{waiting:?}");
    assert!(!left[0].cancelled && left[0].state == State::Paused);
    runtime.run(|| ()).unwrap();
    assert!(runtime.left_behind().is_empty());
}

#[test]
fn a_snapshot_on_demand_shows_everybody_and_changes_nothing() {
    run(|| {
        let (tx, rx) = tasklets::channel::Builder::new().name("news").channel::<u8>();
        let reader = named("reader", move || rx.recv());
        let sleeper = named("sleeper", || sleep(Duration::from_secs(3_600)));
        let idler = named("idler", pause);
        yield_now();
        let unbegun = named("unbegun", || ());
        let now = snapshot().unwrap();
        let states: Vec<_> = now.tasklets.iter().map(|it| it.state).collect();
        let expected =
            [State::Running, State::Waiting, State::Waiting, State::Paused, State::Ready];
        assert_eq!(states, expected, "{now}");
        let counts = now.counts;
        assert_eq!((counts.runnable, counts.blocked, counts.sleeping, counts.paused), (2, 1, 1, 1));
        assert_eq!(now.tasklet(current().unwrap().id()).unwrap().path, "root");
        let news = now.channels.iter().find(|it| it.name.as_deref() == Some("news")).unwrap();
        assert_eq!((&news.receivers_waiting[..], news.sender_handles), (&[reader.id()][..], 1));
        assert!(now.to_string().starts_with("5 tasklets: 2 runnable, 1 blocked, 1 sleeping"));
        tx.send(1).unwrap();
        assert_eq!(reader.join().unwrap(), Ok(1));
        unbegun.join().unwrap();
        assert_eq!(snapshot().unwrap().tasklets.len(), 3);
        sleeper.cancel();
        idler.cancel();
    });
}

#[test]
fn the_report_of_a_panic_names_the_tasklet_and_where_it_was_spawned() {
    let line = line!() + 2;
    let ended = Runtime::builder().build().run(|| {
        drop(named("unlucky", || resume_unwind(Box::new("bad luck"))));
        pause()
    });
    let text = ended.unwrap_err().to_string();
    assert!(text.contains("`unlucky` (root.0)") && text.contains("panicked: bad luck"), "{text}");
    assert!(text.contains("tests/stuck.rs:"), "{text} {line}");
    let Some(ended) = isolated(|| {
        run(|| {
            drop(named("unlucky", || resume_unwind(Box::new("bad luck"))));
            let _ = pause();
        });
    }) else {
        return;
    };
    assert_eq!(ended.code, Some(101));
    ended.saying(&["`unlucky` (root.0)", "spawned at tests/stuck.rs", "bad luck"]);
}

#[test]
fn a_stuck_run_whose_tasklet_would_not_end_is_reported_and_so_is_the_tasklet() {
    let Some(ended) = isolated(|| {
        let report = stuck(|| {
            drop(named("abandoned", || {
                loop {
                    let _ = catch_unwind(|| while pause().is_err() {});
                }
            }));
            pause()
        });
        says(&report, &["`abandoned` (root.0)", "waits to be inserted"]);
    }) else {
        return;
    };
    ended
        .well()
        .saying(&["`abandoned` (root.0), spawned at tests/stuck.rs", "its stack is leaked"]);
}
