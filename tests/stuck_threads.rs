//! When every OS thread of a process waits for another, and when not. Each law is tried in a
//! process of its own that has no thread but those of its body, so there is no harness here: this
//! binary runs itself once more for each law, and prints what came of it as the harness does.
#![cfg(not(miri))]

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tasklets::shared::{self, Receiver, Sender};
use tasklets::{
    Halt, Progress, RunError, Runtime, StuckReport, blocking, channel, ctrl_c, futures, process,
    run, select, shield, sleep, spawn, yield_now,
};

/// Set in the child: its law.
const CASE: &str = "TASKLETS_TEST_CASE";

/// A child takes longer only if it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough for several looks, whatever the machine does meanwhile.
const WHILE: Duration = Duration::from_millis(150);

/// Waits for so long with nothing of the crate.
fn linger() {
    let (_keep, never) = mpsc::channel::<()>();
    assert_eq!(never.recv_timeout(WHILE), Err(RecvTimeoutError::Timeout));
}

/// The report of a run that every other thread leaves waiting.
#[track_caller]
fn told<R: std::fmt::Debug>(ended: Result<R, RunError>) -> StuckReport {
    let Err(RunError::Stuck(report)) = ended else { panic!("{ended:?}") };
    assert!(report.everywhere, "{report}");
    *report
}

fn try_run<R>(main: impl FnOnce() -> R) -> Result<R, RunError> {
    Runtime::builder().build().run(main)
}

type Ends = (Sender<u8>, Receiver<u8>);

fn named(name: &str) -> Ends {
    shared::Builder::new().name(name).channel()
}

fn two_runs_that_wait_for_each_other_are_both_reported() {
    let ((to_us, from_them), (to_them, from_us)) = (named("theirs"), named("ours"));
    let them = thread::spawn(move || {
        let report = told(try_run(|| (from_us.recv(), to_us.send(1))));
        let text = report.to_string();
        assert!(text.contains("receive from shared channel `ours`"), "{text}");
    });
    let report = told(try_run(|| (from_them.recv(), to_them.send(1))));
    let text = report.to_string();
    assert!(text.contains("nothing can wake one: every OS thread of the process waits"), "{text}");
    assert!(text.contains("receive from shared channel `theirs` (made at tests/stuck_threads.rs"));
    them.join().unwrap();
}

fn a_run_that_waits_for_an_end_of_its_own_is_reported() {
    let report = told(try_run(|| {
        let (tx, rx) = shared::channel::<u8>();
        let (_keep, never) = channel::<u8>();
        let holder = spawn(move || (never.recv(), tx.send(1)));
        assert_eq!(rx.recv(), Err(Halt::Cancelled)); // at the end of the run: never the report
        drop(holder);
    }));
    assert_eq!(report.snapshot.tasklets.len(), 2);
}

fn workers_that_wait_for_each_other_are_reported_by_their_shutdown() {
    const ALL: usize = 8;
    let workers = shared::workers(ALL).unwrap();
    let (mut to, from): (Vec<_>, Vec<_>) = (0..ALL).map(|_| named("a link")).unzip();
    to.rotate_left(1);
    for (index, (tx, rx)) in to.into_iter().zip(from).enumerate() {
        let task = move || {
            // Whichever ends first: the others have ended their waits before.
            assert_eq!(rx.recv(), Err(Halt::Cancelled));
            tx.send(1)
        };
        drop(workers.spawn_on(index, task));
    }
    let text = told(workers.shutdown()).to_string();
    assert!(text.contains("to receive from shared channel `a link` (made at"), "{text}");
}

fn a_run_that_waits_for_workers_is_reported_with_them() {
    let workers = shared::workers(2).unwrap();
    let ((to_one, one), (to_two, two)) = (named("one"), named("two"));
    let first = workers.spawn_on(0, move || (one.recv(), to_two.send(1)).0);
    let second = workers.spawn_on(1, move || (two.recv(), to_one.send(1)).0);
    let report = told(try_run(move || [first.join(), second.join()]));
    assert!(report.to_string().contains("waits to join a tasklet of a worker"), "{report}");
    told(workers.shutdown());
}

fn workers_with_nothing_to_do_go_on_when_others_are_stuck() {
    let workers = shared::workers(2).unwrap();
    let (tx, rx) = shared::channel::<u8>();
    told(try_run(|| rx.recv()));
    assert_eq!(workers.spawn_on(1, || 6 * 7).join().unwrap(), 42);
    drop(tx);
    workers.shutdown().unwrap();
}

fn a_plain_thread_sees_the_ends_of_a_stuck_run_closed() {
    let ((to_us, from_them), (to_them, from_us)) = (named("theirs"), named("ours"));
    let them = thread::spawn(move || {
        told(try_run(move || (from_us.recv(), to_us.send(1))));
    });
    assert_eq!(from_them.recv(), Err(Halt::Closed));
    drop(to_them);
    them.join().unwrap();
}

fn plain_threads_that_wait_for_each_other_panic() {
    let stuck = |wait: &dyn Fn()| {
        let payload = catch_unwind(AssertUnwindSafe(wait)).unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("stuck: this OS thread waits in its operation at tests/stuck_"));
    };
    let ((to_us, from_them), (to_them, from_us)) = (named("theirs"), named("ours"));
    let them = thread::spawn(move || {
        stuck(&|| assert_eq!(from_us.recv(), Err(Halt::Closed)));
        to_us.send(7).unwrap(); // what it could not wait for has left nothing behind
    });
    let (_keep, never) = named("never");
    stuck(&|| {
        select! {
            recv(from_them) -> it => panic!("{it:?}"),
            recv(never) -> it => panic!("{it:?}"),
        }
    });
    assert_eq!(from_them.recv(), Ok(7));
    them.join().unwrap();
    drop(to_them);
}

fn a_receiver_that_is_held_for_ever_is_stuck_too() {
    let ((tx, rx), (_keep, never)) = (named("held"), named("never"));
    let holder = thread::spawn(move || {
        told(try_run(move || {
            let permit = tasklets::Operation::wait(tx.reserving()).unwrap();
            assert_eq!(never.recv(), Err(Halt::Cancelled));
            drop(permit);
        }));
    });
    assert_eq!(rx.recv(), Err(Halt::Closed));
    holder.join().unwrap();
}

fn a_run_that_waits_for_a_future_of_another_thread_is_reported() {
    let (kept, (_keep, never)) = (Arc::new(Mutex::new(None)), named("never"));
    let waker = kept.clone();
    let them = thread::spawn(move || {
        told(try_run(|| {
            futures::block_on(poll_fn(|it| {
                *waker.lock().unwrap() = Some(it.waker().clone());
                Poll::<()>::Pending
            }))
        }));
    });
    told(try_run(|| never.recv()));
    them.join().unwrap();
    drop(kept);
}

fn what_is_driven_from_outside_is_told_that_it_is_stuck() {
    let (_keep, never) = named("never");
    let runtime = Runtime::builder().build();
    let reader = runtime.spawn(move || never.recv()).unwrap();
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert!(!reader.is_finished());
}

fn a_shield_does_not_keep_a_run_whose_end_nobody_can_help() {
    let (_keep, never) = named("never");
    run(move || {
        drop(spawn(move || shield(|| never.recv())));
        yield_now();
    });
}

fn a_thread_that_is_not_ours_is_waited_for_until_it_ends() {
    let (_keep, never) = named("never");
    let (told_other, other) = mpsc::channel::<()>();
    let lingers = thread::spawn(move || {
        linger();
        drop(told_other);
    });
    told(try_run(|| never.recv()));
    // The report came after its end: who reads the count of threads has seen it go.
    assert_eq!(other.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    lingers.join().unwrap();
}

fn idle_threads_for_blocking_calls_wake_nobody() {
    let (_keep, never) = named("never");
    told(try_run(|| {
        assert_eq!(blocking(|| 1), Ok(1));
        never.recv()
    }));
}

fn what_an_idle_thread_for_blocking_calls_holds_is_waited_for() {
    thread_local! { static HELD: RefCell<Option<Sender<u8>>> = const { RefCell::new(None) }; }
    let (tx, rx) = shared::channel::<u8>();
    run(|| {
        blocking(move || HELD.set(Some(tx))).unwrap();
        assert_eq!(rx.recv(), Err(Halt::Closed)); // by a destructor, at the end of that thread
    });
}

fn a_monitor_wakes_nobody() {
    let (_keep, never) = named("never");
    let watched = Runtime::builder().monitor(Duration::from_millis(10), |_| {}).build();
    told(watched.run(|| never.recv()));
}

fn a_thread_that_is_not_ours_may_still_send() {
    let (tx, rx) = named("late");
    let sender = thread::spawn(move || {
        linger();
        tx.try_send(1).unwrap()
    });
    assert_eq!(run(|| rx.recv()), Ok(1));
    assert_eq!(sender.join().unwrap(), None);
}

/// Lets `wait` pass in a run on a thread of its own, which then sends to this one's.
fn another_run_sends_after(wait: impl FnOnce() + Send + 'static) {
    let (tx, rx) = named("late");
    let them = thread::spawn(move || {
        run(move || {
            wait();
            tx.send(1).unwrap();
        });
    });
    assert_eq!(run(|| rx.recv()), Ok(1));
    them.join().unwrap();
}

fn a_timer_may_still_wake_somebody() {
    another_run_sends_after(|| sleep(WHILE).unwrap());
}

fn a_plain_thread_with_a_deadline_may_still_send() {
    let ((_keep, never), (tx, rx)) = (named("never"), named("late"));
    let them = thread::spawn(move || {
        assert_eq!(never.recv_timeout(WHILE), Err(Halt::TimedOut));
        tx.send(1).unwrap();
    });
    assert_eq!(run(|| rx.recv()), Ok(1));
    them.join().unwrap();
}

fn a_blocking_call_may_still_wake_somebody() {
    another_run_sends_after(|| blocking(linger).unwrap());
}

fn a_child_may_still_wake_somebody() {
    another_run_sends_after(|| {
        let ended = process::Command::new("sh").arg("-c").arg("sleep 0.15").status();
        assert!(ended.unwrap().success());
    });
}

fn a_stream_may_still_wake_somebody() {
    another_run_sends_after(|| {
        let echo = process::Command::new("sh").arg("-c").arg("sleep 0.15; echo x").output();
        assert_eq!(echo.unwrap().stdout, b"x\n");
    });
}

fn a_signal_may_still_wake_somebody() {
    another_run_sends_after(|| {
        let mut interrupted = ctrl_c().unwrap();
        let kill = format!("sleep 0.15; kill -INT {}", std::process::id());
        let mut other = Command::new("sh").arg("-c").arg(kill).spawn().unwrap();
        tasklets::Operation::wait(&mut interrupted).unwrap();
        other.wait().unwrap();
    });
}

/// Threads that fall asleep and wake each other all the time, each a run or plain, while the last
/// message goes round: there is always one that is not asleep, or about to be woken.
fn threads_that_wake_each_other_are_never_reported() {
    const PARTIES: usize = 6;
    const ROUNDS: u32 = 20_000;
    let (mut ends, mut from): (Vec<_>, Vec<_>) =
        (0..PARTIES).map(|_| shared::channel::<u32>()).unzip();
    from.rotate_right(1);
    let first = ends[PARTIES - 1].clone();
    let parties = (0..PARTIES).map(|index| {
        let (tx, rx) = (ends.remove(0), from.remove(0));
        let pass = move || while rx.recv().is_ok_and(|it| it > 0 && tx.send(it - 1).is_ok()) {};
        thread::spawn(move || if index % 2 == 0 { run(pass) } else { pass() })
    });
    let parties: Vec<_> = parties.collect();
    first.send(PARTIES as u32 * ROUNDS).unwrap();
    drop(first);
    parties.into_iter().for_each(|it| it.join().unwrap());
}

/// Each with its name.
macro_rules! laws {
    ($($law:ident,)+) => { &[$((stringify!($law), $law)),+] };
}

const LAWS: &[(&str, fn())] = laws![
    two_runs_that_wait_for_each_other_are_both_reported,
    a_run_that_waits_for_an_end_of_its_own_is_reported,
    workers_that_wait_for_each_other_are_reported_by_their_shutdown,
    a_run_that_waits_for_workers_is_reported_with_them,
    workers_with_nothing_to_do_go_on_when_others_are_stuck,
    a_plain_thread_sees_the_ends_of_a_stuck_run_closed,
    plain_threads_that_wait_for_each_other_panic,
    a_receiver_that_is_held_for_ever_is_stuck_too,
    a_run_that_waits_for_a_future_of_another_thread_is_reported,
    what_is_driven_from_outside_is_told_that_it_is_stuck,
    a_shield_does_not_keep_a_run_whose_end_nobody_can_help,
    a_thread_that_is_not_ours_is_waited_for_until_it_ends,
    idle_threads_for_blocking_calls_wake_nobody,
    what_an_idle_thread_for_blocking_calls_holds_is_waited_for,
    a_monitor_wakes_nobody,
    a_thread_that_is_not_ours_may_still_send,
    a_timer_may_still_wake_somebody,
    a_plain_thread_with_a_deadline_may_still_send,
    a_blocking_call_may_still_wake_somebody,
    a_child_may_still_wake_somebody,
    a_stream_may_still_wake_somebody,
    a_signal_may_still_wake_somebody,
    threads_that_wake_each_other_are_never_reported,
];

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        let law = LAWS.iter().find(|it| it.0 == case).expect("a law of this file");
        law.1();
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| name.contains(it));
    let mut failed = 0;
    for (name, _) in LAWS.iter().filter(|it| is_wanted(it.0)) {
        let why = in_a_process(name).err();
        println!("test {name} ... {}", if why.is_some() { "FAILED" } else { "ok" });
        failed += usize::from(why.is_some());
        why.iter().for_each(|it| println!("{it}"));
    }
    println!("{failed} laws of {} do not hold", LAWS.len());
    ExitCode::from(u8::from(failed > 0))
}

/// The error is what the child said.
fn in_a_process(name: &str) -> Result<(), String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CASE, name).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let (mut stderr, (over, ended)) = (child.stderr.take().unwrap(), mpsc::channel());
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        over.send(()).unwrap();
        text
    });
    let hangs = ended.recv_timeout(PATIENCE).is_err();
    if hangs {
        child.kill().unwrap();
    }
    let (status, text) = (child.wait().unwrap(), reader.join().unwrap());
    let why = if hangs { "it hangs; " } else { "" };
    if status.success() { Ok(()) } else { Err(format!("{why}{status}; it said:\n{text}")) }
}
