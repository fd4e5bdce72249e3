//! A tasklet that keeps its OS thread for itself is named, by a thread that does not need it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;
use tasklets::{
    Builder, Event, LongTurn, Runtime, RuntimeBuilder, channel, sleep, spawn, yield_now,
};

const LIMIT: Duration = Duration::from_millis(2);

/// A runtime whose long turns are told to the receiver.
fn monitored(limit: Duration) -> (RuntimeBuilder, mpsc::Receiver<LongTurn>) {
    let (tell, told) = mpsc::channel();
    let hook = move |turn: &LongTurn| drop(tell.send(turn.clone()));
    (Runtime::builder().monitor(limit, hook), told)
}

#[test]
fn who_holds_the_thread_is_named_with_path_spawn_site_and_last_wait() {
    for (threads, simulated) in [(false, false), (false, true), (true, false)] {
        let (builder, told) = monitored(LIMIT);
        let runtime = builder.threads_as_stacks(threads).virtual_clock(simulated).build();
        let line = line!() + 3;
        let report = runtime.run(move || {
            let (tx, rx) = channel();
            let hog = Builder::new().name("hog").spawn(move || {
                rx.recv().unwrap();
                // No operation of ours: it blocks the thread. (On a busy machine others may have
                // held it for so long before.)
                told.iter().find(|it| it.name.is_some() && it.waited_at.is_some()).unwrap()
            });
            spawn(move || tx.send(()).unwrap());
            hog.unwrap().join().unwrap()
        });
        let report = report.unwrap();
        assert_eq!((report.name.as_deref(), &*report.path), (Some("hog"), "root.0"));
        assert_eq!(report.tasklet.to_string(), "tasklet 1");
        assert_eq!((report.spawned_at.file(), report.spawned_at.line()), (file!(), line));
        assert_eq!(report.waited_at.unwrap().line(), line + 1);
        assert!(report.held >= LIMIT, "{report}");
        let text = report.to_string();
        let parts = ["`hog` (root.0), spawned at tests/monitor.rs:", "has held its OS thread for"];
        assert!(parts.iter().all(|it| text.contains(it)), "{text}");
        assert!(text.ends_with(&report.waited_at.unwrap().to_string()), "{text}");
    }
}

#[test]
fn a_turn_that_lasts_is_told_again_each_time_it_has_doubled() {
    let (builder, told) = monitored(LIMIT);
    let reports: Vec<_> = builder.build().run(|| told.iter().take(3).collect()).unwrap();
    assert!(reports.iter().all(|it: &LongTurn| it.path == "root" && it.waited_at.is_none()));
    assert!(reports[0].to_string().ends_with("since it began"), "{}", reports[0]);
    assert!(reports.windows(2).all(|it| it[1].held >= 2 * it[0].held), "{reports:?}");
}

#[test]
fn a_limit_that_never_passes_tells_nothing_and_keeps_nobody_waiting() {
    let (builder, told) = monitored(Duration::MAX);
    let runtime = builder.build();
    for _ in 0..3 {
        runtime.run(|| (0..1_000).for_each(|_| yield_now())).unwrap();
    }
    drop(runtime);
    // The thread drops the hook, and the sender in it.
    assert!(told.iter().next().is_none());
}

#[test]
fn a_runtime_that_never_runs_makes_no_thread_and_drops_the_hook() {
    let (builder, told) = monitored(LIMIT);
    let runtime = builder.build();
    let (tx, _rx) = channel::<u8>();
    drop(runtime);
    assert!(matches!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected)));
    drop(tx);
}

#[test]
fn each_turn_is_judged_by_itself_also_after_an_idle_time() {
    let (builder, told) = monitored(LIMIT);
    let told = Rc::new(told);
    let paths = builder.build().run(|| {
        let hold = |_| {
            let told = told.clone();
            spawn(move || {
                sleep(Duration::from_millis(1)).unwrap(); // the scheduler sleeps meanwhile
                // A later report of another turn may still be under way.
                let me = tasklets::current().unwrap().id();
                told.iter().find(|it| it.tasklet == me).unwrap().path
            })
        };
        let hogs: Vec<_> = (0..3).map(hold).collect();
        hogs.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(paths.unwrap(), ["root.0", "root.1", "root.2"]);
}

/// What two tasklets that use up their budgets do, one after the other.
fn turns(builder: RuntimeBuilder) -> Vec<u8> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let all = log.clone();
    let ended = builder.budget(3).build().run(move || {
        let (_tx, rx) = channel::<u8>();
        let poll = |who: u8| {
            let (log, rx) = (all.clone(), rx.clone());
            spawn(move || {
                for _ in 0..20 {
                    assert_eq!(rx.try_recv(), Ok(None));
                    log.borrow_mut().push(who);
                }
            })
        };
        [poll(1), poll(2)].into_iter().for_each(|it| it.join().unwrap());
    });
    ended.unwrap();
    log.take()
}

#[test]
fn watching_changes_no_schedule() {
    let plain = turns(Runtime::builder());
    assert_eq!(plain, turns(monitored(Duration::MAX).0));
    let heard = Rc::new(RefCell::new(0));
    let count = heard.clone();
    let hook = move |_: &Event| *count.borrow_mut() += 1;
    assert_eq!(plain, turns(monitored(Duration::MAX).0.on_event(hook)));
    assert!(*heard.borrow() > 40);
}

#[test]
fn a_hook_that_panics_ends_the_watch_and_not_the_run() {
    let (tell, told) = mpsc::channel();
    let builder = Runtime::builder().monitor(LIMIT, move |_| {
        tell.send(()).unwrap();
        std::panic::resume_unwind(Box::new("from the monitor's hook"));
    });
    // The sender is gone after the first report.
    let ended = builder.build().run(move || (told.iter().count(), spawn(|| 5).join().unwrap()));
    assert_eq!(ended.unwrap(), (1, 5));
}
