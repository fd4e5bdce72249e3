//! Shared channels and the rest: traps, reports, stuck runs, explored runs, idle threads.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use support::isolated;
use tasklets::explore::Explore;
use tasklets::shared::{Receiver, Sender};
use tasklets::{
    Event, Halt, Progress, RunError, Runtime, block_trap, pause, run, shared, snapshot, spawn,
    switch_trap, yield_now,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn nobody_waits_where_waiting_is_not_possible() {
    let (tx, rx) = shared::channel::<u8>();
    run(|| {
        let _trap = block_trap();
        assert_eq!(rx.recv(), Err(Halt::CannotWait));
        assert_eq!(tx.send(1).unwrap_err().why, Halt::CannotWait);
        assert_eq!(rx.try_recv(), Ok(None));
    });
    let trapped = || {
        let _trap = switch_trap();
        rx.recv()
    };
    assert!(catch_unwind(AssertUnwindSafe(|| run(trapped))).is_err());
    // A hook runs on the scheduler's own stack, which cannot be suspended.
    let (told, answer) = mpsc::channel();
    let from = rx.clone();
    let hooked = Runtime::builder().on_event(move |event| {
        if let Event::Switched { .. } = event {
            told.send(from.recv()).unwrap();
        }
    });
    hooked.build().run(yield_now).unwrap();
    assert_eq!(answer.recv().unwrap(), Err(Halt::CannotWait));
}

#[test]
fn a_wait_that_somebody_outside_may_end_is_not_stuck() {
    let (tx, rx) = shared::channel::<u8>();
    let runtime = Runtime::builder().build();
    let reader = runtime.spawn(move || rx.recv()).unwrap();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Idle);
    assert_eq!(tx.try_send(1), Ok(None)); // from this very thread, between two drives
    assert_eq!(runtime.run_ready().unwrap(), Progress::Stuck);
    assert_eq!(reader.join().unwrap(), Ok(1));
}

#[test]
fn a_run_is_stuck_once_its_shared_waits_are_over() {
    let ended = Runtime::builder().build().run(|| {
        let (tx, rx) = shared::channel::<u8>();
        let reader = spawn(move || rx.recv());
        yield_now();
        thread::spawn(move || drop(tx)).join().unwrap();
        assert_eq!(reader.join().unwrap(), Err(Halt::Closed));
        pause()
    });
    assert!(matches!(ended, Err(RunError::Stuck(_))));
}

#[test]
fn reports_show_shared_waits() {
    run(|| {
        let (tx, rx) = shared::channel::<u8>();
        tx.set_name("orders");
        let reader = spawn(move || rx.recv());
        yield_now();
        let picture = snapshot().unwrap();
        assert_eq!(picture.channels[0].receivers_waiting, [reader.id()]);
        assert_eq!((picture.channels[0].sender_handles, picture.counts.blocked), (1, 1));
        let text = picture.to_string();
        assert!(
            text.contains("receive from shared channel `orders` (made at tests/shared_reports.rs")
        );
        assert!(!text.contains("nobody known holds"), "{text}");
        tx.send(1).unwrap();
        assert_eq!(reader.join().unwrap(), Ok(1));
        drop(tx);
    });
}

/// Whether `future` is pending when it is polled once by nobody.
fn pends(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn an_explored_run_refuses_shared_channels_by_name() {
    type Case = fn(Sender<u8>, Receiver<u8>);
    let operation = "an operation of a shared channel";
    let cases: [(Case, &str); 6] = [
        (|tx, _rx| drop(tx.send(1)), operation),
        (|_tx, rx| assert_eq!(rx.try_recv(), Ok(None)), operation),
        (|tx, _rx| drop(tx.send_timeout(1, LONG)), operation),
        (|_tx, rx| assert!(!rx.is_closed()), "asking whether a channel is closed"),
        (|tx, _rx| assert!(pends(tx.send_async(1))), "a future"),
        (|_tx, rx| assert!(pends(rx.recv_async())), "a future"),
    ];
    for (case, what) in cases {
        let explored = Explore::new().run(move || {
            let (tx, rx) = shared::channel();
            case(tx, rx);
        });
        let text = format!("{:?}", explored.verdict);
        assert!(text.contains(what), "{text}");
    }
}

#[test]
fn idle_threads_use_no_processor() {
    let ended = isolated(|| {
        let (tx, rx) = shared::channel::<u8>();
        let others = [rx.clone(), rx].map(|rx| thread::spawn(move || run(|| rx.recv())));
        let (_never, wait) = shared::channel::<u8>();
        let before = ticks();
        assert_eq!(wait.recv_timeout(Duration::from_millis(500)), Err(Halt::TimedOut));
        // Clock ticks are hundredths of a second: three threads that spun would have used 100.
        assert!(ticks() - before <= 10, "{} ticks", ticks() - before);
        drop(tx);
        assert_eq!(others.map(|it| it.join().unwrap()), [Err(Halt::Closed); 2]);
    });
    if let Some(ended) = ended {
        ended.well();
    }
}

/// Processor time of this process.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
