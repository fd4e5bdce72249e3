//! Futures in tasklets: whoever wakes them they complete; what ends the wait drops them first.

use futures_util::future::{join3, pending, poll_fn, ready, select as either};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use tasklets::explore::{Program, Rules, Settings, exhaust_with};
use tasklets::futures::{block_on, operation};
use tasklets::{
    Halt, JoinError, Operation, Pending, RunError, Runtime, StuckReport, after, channel, now, run,
    select, sleep, spawn, within, yield_now,
};

/// Completes when somebody has opened it; tells whom it would wake.
#[derive(Clone, Default)]
struct Gate {
    open: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
    polls: Rc<Cell<u32>>,
}

impl Gate {
    fn open(&self) {
        self.open.set(true);
        let waker = self.waker.take();
        waker.expect("somebody has polled").wake();
    }
}

impl Future for Gate {
    type Output = u32;

    fn poll(self: Pin<&mut Gate>, context: &mut Context<'_>) -> Poll<u32> {
        self.polls.set(self.polls.get() + 1);
        if self.open.get() {
            return Poll::Ready(self.polls.get());
        }
        self.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}

/// Notes that it is dropped.
struct Noted(Rc<Cell<u32>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[track_caller]
fn stuck<R: std::fmt::Debug>(program: impl FnOnce() -> R) -> StuckReport {
    match Runtime::builder().build().run(program) {
        Err(RunError::Stuck(report)) => *report,
        other => panic!("it should get stuck: {other:?}"),
    }
}

#[test]
fn others_run_while_a_tasklet_waits_and_one_of_them_may_wake_it() {
    run(|| {
        let gate = Gate::default();
        let (waits, steps) = (gate.clone(), Rc::new(Cell::new(0)));
        let waiter = spawn(move || block_on(waits));
        let counts = steps.clone();
        spawn(move || (0..3).for_each(|_| counts.set(counts.get() + 1)));
        yield_now();
        assert!(!waiter.is_finished());
        gate.open();
        assert_eq!(waiter.join().unwrap(), Ok(2)); // polled at once, and when it was woken
        assert_eq!(steps.get(), 3);
    });
}

#[test]
fn a_future_that_is_ready_does_not_wait() {
    assert_eq!(block_on(ready(1)), Ok(1)); // also outside of any run
    assert_eq!(block_on(pending::<()>()), Err(Halt::CannotWait));
    run(|| {
        spawn(|| unreachable!("the run ends before")).cancel();
        assert_eq!(block_on(async { ready(2).await + ready(3).await }), Ok(5));
    });
}

#[test]
fn a_wake_from_another_os_thread_wakes_a_scheduler_that_sleeps() {
    run(|| {
        for round in 0..1_000 {
            let (tx, rx) = async_channel::bounded(1);
            let other = thread::spawn(move || tx.send_blocking(round).unwrap());
            assert_eq!(block_on(rx.recv()), Ok(Ok(round)));
            other.join().unwrap();
        }
    });
}

#[test]
fn no_wake_of_many_threads_is_missed() {
    const EACH: usize = 20_000;
    let total = run(|| {
        let (tx, rx) = async_channel::bounded::<usize>(2);
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let tx = tx.clone();
                thread::spawn(move || (0..EACH).for_each(|it| tx.send_blocking(it).unwrap()))
            })
            .collect();
        drop(tx);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let rx = rx.clone();
                spawn(move || {
                    let sum = async move { rx.fold(0, async |sum, it| sum + it).await };
                    block_on(std::pin::pin!(sum)).unwrap()
                })
            })
            .collect();
        let total: usize = readers.into_iter().map(|it| it.join().unwrap()).sum();
        writers.into_iter().for_each(|it| it.join().unwrap());
        total
    });
    assert_eq!(total, 4 * (EACH - 1) * EACH / 2);
}

#[test]
fn wakes_without_reason_only_cost_a_poll_each() {
    run(|| {
        let gate = Gate::default();
        let waits = gate.clone();
        let waiter = spawn(move || block_on(waits));
        yield_now();
        for round in 1..=5 {
            let waker = gate.waker.borrow().clone().unwrap();
            (0..10).for_each(|_| waker.wake_by_ref()); // ten wakes before it runs are one
            yield_now();
            assert_eq!(gate.polls.get(), 1 + round);
        }
        gate.open();
        assert_eq!(waiter.join().unwrap(), Ok(7));
    });
}

#[test]
fn a_wake_during_the_poll_is_kept_and_the_others_get_their_turn() {
    run(|| {
        let turns = Rc::new(Cell::new(0));
        let counts = turns.clone();
        let other = spawn(move || {
            (0..100).for_each(|_| {
                counts.set(counts.get() + 1);
                yield_now();
            });
        });
        let mut polls = 0;
        let impatient = poll_fn(|context| {
            context.waker().wake_by_ref();
            polls += 1;
            if polls < 50 { Poll::Pending } else { Poll::Ready(turns.get()) }
        });
        assert!(block_on(impatient).unwrap() >= 20);
        other.join().unwrap();
    });
}

#[test]
fn a_waker_that_outlives_its_future_or_its_run_wakes_nobody() {
    let kept = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let keeps = kept.clone();
    let keep = move || {
        let keeps = keeps.clone();
        poll_fn(move |context| {
            let mut kept = keeps.lock().unwrap();
            kept.push(context.waker().clone());
            if kept.len().is_multiple_of(2) { Poll::Ready(()) } else { Poll::Pending }
        })
    };
    let wakes = kept.clone();
    run(|| {
        for _ in 0..3 {
            let (ends, begins) = (keep(), wakes.clone());
            spawn(move || {
                let waker = begins.lock().unwrap().last().unwrap().clone();
                waker.wake();
            });
            block_on(ends).unwrap();
            // The place of the bell is another's now.
            wakes.lock().unwrap().iter().for_each(Waker::wake_by_ref);
        }
        let gate = Gate::default();
        let waits = gate.clone();
        let waiter = spawn(move || block_on(waits));
        yield_now();
        wakes.lock().unwrap().iter().for_each(Waker::wake_by_ref);
        yield_now();
        assert_eq!(gate.polls.get(), 1);
        gate.open();
        assert_eq!(waiter.join().unwrap(), Ok(2));
    });
    let mut old = kept.lock().unwrap();
    old.iter().for_each(Waker::wake_by_ref);
    run(|| old.drain(..).for_each(Waker::wake));
}

#[test]
fn a_waker_may_be_dropped_and_called_when_its_thread_ends() {
    thread_local!(static KEPT: RefCell<Option<Late>> = const { RefCell::new(None) });
    struct Late(Option<Waker>);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.take().unwrap().wake();
        }
    }
    run(|| {
        let mut started = false;
        let late = poll_fn(|context| {
            if std::mem::replace(&mut started, true) {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            thread::spawn(|| KEPT.with(|it| it.replace(Some(Late(Some(waker))))));
            Poll::Pending
        });
        block_on(late).unwrap();
    });
    // Of the run's own thread, after the run.
    thread::spawn(|| {
        run(|| {
            let gate = Gate::default();
            let waits = gate.clone();
            spawn(move || block_on(waits));
            yield_now();
            let waker = gate.waker.take();
            KEPT.with(|it| it.replace(Some(Late(waker))));
        });
    })
    .join()
    .unwrap();
}

#[test]
fn a_panic_of_the_future_is_the_callers_and_leaves_nothing_behind() {
    run(|| {
        let dropped = Rc::new(Cell::new(0));
        let noted = Noted(dropped.clone());
        let gate = Gate::default();
        let waits = gate.clone();
        let victim = spawn(move || {
            let _ = block_on(async move {
                let _noted = noted;
                waits.await;
                panic!("in a future")
            });
        });
        yield_now();
        gate.open();
        let Err(JoinError::Panicked(panic)) = victim.join() else { panic!("it panicked") };
        assert_eq!(panic.downcast_ref(), Some(&"in a future"));
        assert_eq!(dropped.get(), 1);
        assert!(catch_unwind(AssertUnwindSafe(|| block_on(async { panic!("at once") }))).is_err());
        assert_eq!(block_on(ready(())), Ok(()));
    });
}

#[test]
fn whatever_ends_the_wait_drops_the_future_first() {
    run(|| {
        let dropped = Rc::new(Cell::new(0));
        let wait = |noted: Noted| {
            block_on(async move {
                let _noted = noted;
                pending::<()>().await
            })
        };
        let noted = Noted(dropped.clone());
        let late = within(Duration::from_millis(1), || wait(noted)).value;
        assert_eq!((late, dropped.get()), (Err(Halt::TimedOut), 1));
        let (noted, seen) = (Noted(dropped.clone()), dropped.clone());
        let cancelled = spawn(move || (wait(noted), seen.get()));
        yield_now();
        cancelled.cancel();
        assert_eq!(cancelled.join().unwrap(), (Err(Halt::Cancelled), 2));
        let noted = Noted(dropped.clone());
        let never = spawn(move || {
            yield_now();
            let first = wait(noted);
            (first, block_on(async { unreachable!("it was stopped before the first poll") }))
        });
        yield_now();
        never.cancel();
        assert_eq!(never.join().unwrap(), (Err(Halt::Cancelled), Err::<(), _>(Halt::Cancelled)));
        assert_eq!(dropped.get(), 3);
    });
}

#[test]
fn a_future_whose_waker_nobody_has_is_stuck_and_the_report_says_where() {
    let line = line!() + 1;
    let report = stuck(|| block_on(poll_fn(|_| Poll::<()>::Pending)));
    let root = &report.snapshot.tasklets[0];
    let waiting = root.waiting.as_ref().unwrap();
    assert!(matches!(waiting.operations[..], [Pending::Future]));
    assert_eq!(waiting.at.line(), line);
    assert!(report.to_string().contains("waits to see a future completed"), "{report}");
}

#[test]
fn a_run_is_stuck_as_soon_as_the_last_waker_is_dropped_on_another_thread() {
    for _ in 0..200 {
        stuck(|| {
            let mut first = true;
            block_on(poll_fn(move |context| {
                if std::mem::take(&mut first) {
                    let waker = context.waker().clone();
                    thread::spawn(move || drop(waker.clone()));
                }
                Poll::<()>::Pending
            }))
        });
    }
}

#[test]
fn virtual_time_goes_on_beside_a_future_that_a_tasklet_will_wake() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let waited = runtime.run(|| {
        let (start, gate) = (now(), Gate::default());
        let opens = gate.clone();
        spawn(move || {
            sleep(Duration::from_secs(3_600)).unwrap();
            opens.open();
        });
        block_on(gate).unwrap();
        now() - start
    });
    assert_eq!(waited.unwrap(), Duration::from_secs(3_600));
}

#[test]
fn virtual_time_alone_does_not_end_a_wait_for_another_thread() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let answer = runtime.run(|| {
        let (tx, rx) = async_channel::bounded(1);
        let (go, wait) = mpsc::channel::<()>();
        thread::spawn(move || {
            wait.recv().unwrap();
            tx.send_blocking(3).unwrap();
        });
        spawn(move || go.send(()).unwrap());
        block_on(rx.recv())
    });
    assert_eq!(answer.unwrap(), Ok(Ok(3)));
}

#[test]
fn an_arm_that_lost_goes_on_where_it_was_and_misses_no_wake() {
    run(|| {
        let gate = Gate::default();
        let mut waits = operation(gate.clone());
        let (tx, rx) = channel();
        let writer = spawn(move || tx.send_all(0..3));
        for round in 0..3 {
            select! {
                biased;
                op(&mut waits) -> _ => panic!("it is closed"),
                recv(rx) -> number => assert_eq!(number, Ok(round)),
            }
        }
        writer.join().unwrap().unwrap();
        assert_eq!(gate.polls.get(), 1); // nobody has woken it
        gate.open(); // while nobody waits; the last waker goes with that
        let opened = select! {
            biased;
            op(&mut waits) -> polls => polls,
            recv(rx) -> _ => panic!("it was asked first"),
        };
        assert_eq!(opened, Ok(2));
        let again = catch_unwind(AssertUnwindSafe(|| waits.wait()));
        assert!(again.is_err(), "a future that has been completed is polled no more");
    });
}

#[test]
fn of_futures_channels_and_timers_whatever_can_happen_happens() {
    run(|| {
        let (tx, rx) = channel();
        let late = || after(Duration::from_secs(5)).map(|_| 0);
        let gate = Gate::default();
        let opens = gate.clone();
        spawn(move || opens.open());
        let first = operation(gate).map(|it| it.unwrap()).or(rx.receiving().map(|it| it.unwrap()));
        assert_eq!(first.or(late()).wait(), 2);
        spawn(move || tx.send(7));
        let first = operation(pending()).map(|it| it.unwrap());
        assert_eq!(first.or(rx.receiving().map(|it| it.unwrap())).or(late()).wait(), 7);
        assert_eq!(operation(pending::<u8>()).poll(), None);
        assert_eq!(operation(ready(1)).poll(), Some(Ok(1)));
        assert!(format!("{:?}", operation(ready(1))).contains("Awaiting"));
    });
}

#[test]
fn a_future_begun_in_one_run_is_waited_for_in_the_next() {
    let gate = Gate::default();
    let mut waits = operation(gate.clone());
    run(|| {
        let ended = select! { op(&mut waits) -> _ => false, default => true };
        assert!(ended);
    });
    run(|| {
        let first = after(Duration::from_millis(1)).map(|_| Ok(0));
        assert_eq!((&mut waits).or(first).wait(), Ok(0));
    });
    run(|| {
        spawn(move || gate.open());
        assert_eq!(waits.wait(), Ok(2));
    });
}

#[test]
fn combinators_that_wrap_wakers_work_and_blocking_calls_work_inside() {
    let sums = run(|| {
        let (tx, rx) = channel();
        let writer = spawn(move || tx.send_all(1..=3));
        let gates = [Gate::default(), Gate::default(), Gate::default()];
        let opens = gates.clone();
        spawn(move || opens.iter().rev().for_each(Gate::open));
        let mut order = Vec::new();
        let all = async {
            let [a, b, c] = gates;
            let tagged = |tag, gate: Gate| async move {
                gate.await;
                tag
            };
            let mut any: FuturesUnordered<_> =
                [(1, a), (2, b), (3, c)].map(|(tag, it)| tagged(tag, it)).into_iter().collect();
            while let Some(tag) = any.next().await {
                order.push((tag, rx.recv().unwrap())); // waits in the tasklet
            }
        };
        block_on(all).unwrap();
        writer.join().unwrap().unwrap();
        let three = block_on(join3(ready(1), async { 2 }, ready(3))).unwrap();
        let first = block_on(either(pending::<u8>(), ready(4))).unwrap().factor_first().0;
        (order, three, first)
    });
    assert_eq!(sums.0.len(), 3);
    assert_eq!((sums.1, sums.2), ((1, 2, 3), 4));
}

#[test]
fn ten_thousand_tasklets_wait_for_futures_and_each_gets_its_own() {
    run(|| {
        let gates: Vec<_> = (0..10_000).map(|_| Gate::default()).collect();
        let waiters: Vec<_> = gates.iter().map(|it| (it.clone(), it.polls.clone())).collect();
        let waiters: Vec<_> = waiters
            .into_iter()
            .map(|(gate, polls)| spawn(move || (block_on(gate), polls.get())))
            .collect();
        yield_now();
        gates.iter().rev().for_each(Gate::open);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), (Ok(2), 2));
        }
    });
}

#[test]
fn a_run_that_is_explored_refuses_futures() {
    let main = || assert_eq!(block_on(ready(1)), Ok(1));
    let (lax_timers, events_max, details, endings) = (false, 200, false, false);
    let rules = Rules { lax_timers, events_max, details, endings, defect: None };
    let settings = Settings { rules, executions_max: 10, stop_at_failure: false };
    let mut all = Vec::new();
    let verdict = exhaust_with(&Program::new("futures", &main), &settings, &mut |run, names| {
        all.push(run.outcome.text(names));
    });
    assert!(verdict.refused, "{verdict}");
    assert!(all[0].starts_with("root cannot be explored: "), "{all:?}");
}
