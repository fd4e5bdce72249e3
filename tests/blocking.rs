//! Blocking calls: on other threads, bounded in number, answered or forgotten.

use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use tasklets::{
    Halt, Operation, RunError, Runtime, Unanswered, after, block_trap, blocking, blocking_or,
    channel, pause, run, scope, snapshot, spawn, within, yield_now,
};

/// Panics when it is dropped, unless the thread does so already.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "on purpose");
    }
}

/// Tells when it is dropped.
struct Told(mpsc::Sender<thread::ThreadId>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn a_forgotten_call_whose_captures_panic_costs_no_thread() {
    let runtime = Runtime::builder().blocking_threads(1).build();
    let answer = runtime.run(|| {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let first = spawn(move || blocking(move || wait.recv()));
        yield_now();
        let loud = Loud;
        let second = spawn(move || blocking(move || drop(loud)));
        yield_now();
        second.cancel();
        // What it was to do is dropped where it came from.
        assert_eq!(second.join().unwrap_err().message(), Some("on purpose"));
        go.send(()).unwrap();
        first.join().unwrap().unwrap().unwrap();
        within(Duration::from_secs(5), || blocking(|| 3)).value
    });
    assert_eq!(answer.unwrap(), Ok(3));
}

#[test]
fn a_call_gives_its_result_from_another_thread() {
    run(|| {
        let here = thread::current().id();
        let text = String::from("moved");
        let (there, text) = blocking(move || (thread::current().id(), text)).unwrap();
        assert_eq!(text, "moved");
        assert_ne!(there, here);
        assert_eq!(blocking(|| tasklets::current().is_none()), Ok(true));
    });
}

#[test]
fn a_panic_of_the_call_is_raised_in_the_caller_with_its_payload() {
    run(|| {
        let fails = || blocking(|| -> u8 { resume_unwind(Box::new(42_u64)) });
        let payload = catch_unwind(AssertUnwindSafe(fails)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&42_u64));
        assert_eq!(blocking(|| 1), Ok(1));
        let error = spawn(|| blocking(|| -> u8 { resume_unwind(Box::new("on purpose")) })).join();
        assert_eq!(error.unwrap_err().message(), Some("on purpose"));
    });
}

#[test]
fn other_tasklets_go_on_meanwhile() {
    run(|| {
        let (go, wait) = mpsc::channel();
        let call = spawn(move || blocking(move || wait.recv().unwrap()));
        let (tx, rx) = channel();
        drop(spawn(move || tx.send_all(0..1_000)));
        assert_eq!(rx.into_iter().count(), 1_000);
        assert!(!call.is_finished());
        go.send(7).unwrap();
        assert_eq!(call.join().unwrap(), Ok(7));
    });
}

#[test]
fn a_cancelled_call_is_answered_at_once_and_its_late_result_is_dropped_once() {
    run(|| {
        let (go, wait) = mpsc::channel::<()>();
        let (begins, begun) = mpsc::channel();
        let (tells, dropped) = mpsc::channel();
        let call = spawn(move || {
            let answer = blocking(move || {
                begins.send(()).unwrap();
                wait.recv().unwrap();
                Told(tells)
            });
            answer.map(drop)
        });
        yield_now();
        begun.recv().unwrap();
        call.cancel();
        assert_eq!(call.join().unwrap(), Err(Halt::Cancelled));
        assert!(dropped.try_recv().is_err());
        go.send(()).unwrap();
        // Another call waits, so that the run hears from outside.
        let dropped = blocking(move || (dropped.recv(), dropped)).unwrap();
        let (first, dropped) = dropped;
        assert!(first.is_ok());
        assert_eq!(dropped.recv(), Err(mpsc::RecvError), "only once");
    });
}

#[test]
fn a_result_that_comes_after_the_run_is_dropped_once() {
    let (go, wait) = mpsc::channel::<()>();
    let (begins, begun) = mpsc::channel();
    let (tells, dropped) = mpsc::channel();
    run(move || {
        drop(spawn(move || {
            let job = move || {
                begins.send(()).unwrap();
                wait.recv().unwrap();
                Told(tells)
            };
            assert_eq!(blocking(job).map(drop), Err(Halt::Cancelled));
        }));
        yield_now();
        begun.recv().unwrap();
    });
    assert!(dropped.try_recv().is_err(), "the run does not wait for it");
    go.send(()).unwrap();
    assert!(dropped.recv().is_ok());
    assert_eq!(dropped.recv(), Err(mpsc::RecvError), "only once");
}

#[test]
fn a_call_that_was_cancelled_before_it_began_is_not_made() {
    let runtime = Runtime::builder().blocking_threads(1).build();
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    runtime
        .run(move || {
            let (go, wait) = mpsc::channel::<()>();
            let first = spawn(move || blocking(move || wait.recv().unwrap()));
            yield_now();
            let second = spawn(move || blocking(move || count.fetch_add(1, Ordering::Relaxed)));
            yield_now();
            second.cancel();
            assert_eq!(second.join().unwrap(), Err(Halt::Cancelled));
            go.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(()));
            assert_eq!(blocking(|| 1), Ok(1));
        })
        .unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 0);
}

#[test]
fn a_deadline_ends_the_wait_for_a_call() {
    run(|| {
        let (go, wait) = mpsc::channel::<()>();
        let late = within(Duration::from_millis(1), || blocking(move || wait.recv().is_ok()));
        assert_eq!((late.value, late.expired), (Err(Halt::TimedOut), true));
        drop(go);
        assert_eq!(blocking(|| 2), Ok(2));
    });
}

#[test]
fn calls_use_as_many_threads_as_allowed_and_no_more() {
    let runtime = Runtime::builder().blocking_threads(4).build();
    runtime
        .run(|| {
            // Four calls that meet need four threads.
            let barrier = Arc::new(Barrier::new(4));
            let threads = scope(|s| {
                let calls: Vec<_> = (0..40)
                    .map(|_| barrier.clone())
                    .map(|barrier| {
                        s.spawn(move || {
                            blocking(move || {
                                barrier.wait();
                                thread::current().id()
                            })
                        })
                    })
                    .collect();
                let ids = calls.into_iter().map(|it| it.join().unwrap().unwrap());
                ids.collect::<HashSet<_>>()
            });
            assert_eq!(threads.len(), 4);
        })
        .unwrap();
}

#[test]
fn ten_thousand_calls_are_all_answered() {
    let runtime = Runtime::builder().blocking_threads(8).stack_size(64 * 1024).build();
    let sum = runtime.run(|| {
        let sum = Rc::new(Cell::new(0));
        scope(|s| {
            for lot in 0..100_u64 {
                let sum = &sum;
                s.spawn(move || {
                    for number in 0..100 {
                        let it = blocking(move || 100 * lot + number).unwrap();
                        sum.set(sum.get() + it);
                    }
                });
            }
        });
        sum.get()
    });
    assert_eq!(sum.unwrap(), (0..10_000).sum());
}

#[test]
fn where_waiting_is_not_possible_nothing_is_called() {
    let called = Arc::new(AtomicUsize::new(0));
    let call = || {
        let count = called.clone();
        blocking(move || count.fetch_add(1, Ordering::Relaxed))
    };
    assert_eq!(call(), Err(Halt::CannotWait));
    run(|| {
        let trap = block_trap();
        assert_eq!(call(), Err(Halt::CannotWait));
        drop(trap);
        let target = spawn(|| (pause(), blocking(|| 1)));
        yield_now();
        target.cancel();
        assert_eq!(target.join().unwrap().1, Err(Halt::Cancelled));
    });
    assert_eq!(called.load(Ordering::Relaxed), 0);
}

#[test]
fn a_virtual_clock_does_not_pass_over_a_call() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    runtime
        .run(|| {
            let (go, wait) = mpsc::channel();
            let call = spawn(move || blocking(move || wait.recv().unwrap()));
            let timer = spawn(|| after(Duration::from_secs(3_600)).wait());
            (0..100).for_each(|_| yield_now());
            assert!(!timer.is_finished() && !call.is_finished());
            go.send(1).unwrap();
            assert_eq!(call.join().unwrap(), Ok(1));
            assert!(!timer.is_finished());
        })
        .unwrap();
}

#[test]
fn a_late_result_goes_to_whom_the_caller_named_and_to_nobody_else() {
    let (keep, kept) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let (begins, begun) = mpsc::channel();
    run(|| {
        let call = spawn(move || {
            let job = move || {
                begins.send(()).unwrap();
                wait.recv().unwrap();
                String::from("late")
            };
            blocking_or(job, move |result| keep.send(result.unwrap()).unwrap())
        });
        yield_now();
        begun.recv().unwrap();
        call.cancel();
        let answer = call.join().unwrap();
        assert!(matches!(answer, Err(Unanswered::Begun { why: Halt::Cancelled })));
        assert_eq!(kept.try_recv(), Err(mpsc::TryRecvError::Empty));
        go.send(()).unwrap();
        let (first, second) = blocking(move || (kept.recv(), kept.recv())).unwrap();
        assert_eq!((first.as_deref(), second.is_err()), (Ok("late"), true));
    });
}

#[test]
fn a_late_panic_goes_there_too_and_a_panic_of_that_ends_the_run() {
    let runtime = Runtime::builder().blocking_threads(1).build();
    let ended = runtime.run(|| {
        let (keep, kept) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let (begins, begun) = mpsc::channel();
        let call = spawn(move || {
            let job = move || -> u8 {
                begins.send(()).unwrap();
                let _ = wait.recv();
                resume_unwind(Box::new(7_u64))
            };
            let late = move |result: thread::Result<u8>| {
                keep.send(result.unwrap_err().downcast_ref::<u64>().copied()).unwrap();
                resume_unwind(Box::new("of the one who was named"));
            };
            blocking_or(job, late).is_err()
        });
        yield_now();
        begun.recv().unwrap();
        call.cancel();
        assert!(call.join().unwrap());
        drop(go);
        assert_eq!(blocking(move || kept.recv()).unwrap(), Ok(Some(7))); // by the same thread
        pause() // until the run has ended
    });
    let Err(RunError::Panicked(report)) = ended else { panic!("lost: {ended:?}") };
    assert_eq!(report.message(), "of the one who was named");
}

#[test]
fn a_call_that_has_not_begun_is_given_back_and_leaves_the_queue() {
    let runtime = Runtime::builder().blocking_threads(1).build();
    let ended = runtime.run(|| {
        let (go, wait) = mpsc::channel::<()>();
        let first = spawn(move || blocking(move || wait.recv().is_ok()));
        yield_now();
        let text = String::from("kept");
        let others: Vec<_> = (0..10)
            .map(|_| text.clone())
            .map(|text| spawn(move || blocking_or(move || text, drop)))
            .collect();
        yield_now();
        let pool = snapshot().unwrap().blocking;
        assert_eq!((pool.threads, pool.under_way, pool.queued), (1, 1, 10));
        for other in others {
            other.cancel();
            let Err(Unanswered::NotBegun { f, why }) = other.join().unwrap() else { panic!() };
            assert_eq!((f(), why), ("kept".to_owned(), Halt::Cancelled));
        }
        assert_eq!(snapshot().unwrap().blocking.queued, 0);
        go.send(()).unwrap();
        first.join().unwrap()
    });
    assert_eq!(ended.unwrap(), Ok(true));
}

#[test]
fn a_result_that_is_there_when_its_caller_is_cancelled_is_delivered() {
    run(|| {
        let (tells, done) = mpsc::channel();
        let call = spawn(move || {
            // Dropped with the closure, when it has returned.
            let told = Told(tells);
            blocking(move || told.0.clone()).map(drop)
        });
        yield_now();
        done.recv().unwrap();
        let mut info = snapshot().unwrap().blocking;
        while info.under_way > 0 {
            std::thread::yield_now(); // no tasklet: the answer stays in the inbox
            info = snapshot().unwrap().blocking;
        }
        call.cancel();
        assert_eq!(call.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_full_queue_refuses_and_makes_the_call_of_nobody() {
    let runtime = Runtime::builder().blocking_threads(2).blocking_queue(3).build();
    let ended = runtime.run(|| {
        let barrier = Arc::new(Barrier::new(3));
        let calls: Vec<_> = (0..8)
            .map(|_| barrier.clone())
            .map(|it| spawn(move || blocking_or(move || it.wait().is_leader(), drop)))
            .collect();
        (0..2).for_each(|_| yield_now()); // to be refused, and to return
        let (refused, accepted): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|it| it.is_finished());
        assert_eq!((refused.len(), accepted.len()), (3, 5));
        for it in refused {
            let Err(Unanswered::NotBegun { why, .. }) = it.join().unwrap() else { panic!() };
            assert_eq!(why, Halt::Busy);
        }
        assert_eq!(std::io::Error::from(Halt::Busy).kind(), std::io::ErrorKind::ResourceBusy);
        // Pairs are let go by a third from outside; the queue has room again.
        for _ in 0..2 {
            barrier.wait();
        }
        assert!(accepted.into_iter().take(4).all(|it| it.join().unwrap().is_ok()));
        assert_eq!(snapshot().unwrap().blocking.queued, 0);
        let (last, own) = (barrier.clone(), barrier);
        let other = spawn(move || blocking(move || last.wait().is_leader()));
        yield_now();
        own.wait();
        other.join().unwrap().is_ok()
    });
    assert!(ended.unwrap());
}

#[test]
fn when_all_threads_hang_callers_are_still_answered_when_they_are_stopped() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    let runtime = Runtime::builder().blocking_threads(2).build();
    let ended = runtime.run(move || {
        for _ in 0..2 {
            let wait = wait.clone();
            drop(spawn(move || blocking(move || wait.lock().unwrap().recv())));
        }
        yield_now();
        let late = within(Duration::from_millis(1), || blocking_or(|| 1, drop));
        matches!(late.value, Err(Unanswered::NotBegun { why: Halt::TimedOut, .. }))
    });
    assert!(ended.unwrap());
    drop(go);
}

#[test]
fn a_thread_without_work_leaves_when_its_time_is_up_and_others_come() {
    let runtime = Runtime::builder().blocking_idle(Duration::ZERO).blocking_threads(3).build();
    runtime
        .run(|| {
            for round in 0..50 {
                assert_eq!(blocking(move || round), Ok(round));
                while snapshot().unwrap().blocking.threads > 0 {
                    yield_now();
                }
            }
        })
        .unwrap();
}

#[test]
fn the_pool_is_told_of_in_a_picture_of_the_run() {
    run(|| {
        let empty = snapshot().unwrap();
        assert_eq!(empty.blocking, tasklets::BlockingInfo::default());
        assert!(!empty.to_string().contains("  blocking:"));
        let (go, wait) = mpsc::channel::<()>();
        let call = spawn(move || blocking(move || wait.recv()));
        yield_now();
        let text = snapshot().unwrap().to_string();
        assert!(text.contains("  blocking: 1 threads, 1 at work, 0 queued\n"), "{text}");
        drop(go);
        assert!(call.join().unwrap().unwrap().is_err());
    });
}
