//! Bad input: each gives a clear error or has a defined effect, and never hangs or corrupts.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tasklets::{
    Builder, Halt, JoinError, Operation, Progress, RunError, Runtime, Select, after, at, blocking,
    channel, current, now, pause, run, scope, scope_within, select, shield, sleep, sleep_until,
    snapshot, spawn, take_injected, tick, until, within, yield_now,
};

/// The message of the panic of `f`.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).map(drop).expect_err("it should panic");
    let text = payload.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| payload.downcast_ref::<&str>().unwrap_or(&"not a text").to_string())
}

#[test]
fn a_stack_size_out_of_range_is_refused_and_an_odd_one_is_rounded_up() {
    let sizes = [0, 1, 4095, 16 * 1024 - 1, (1 << 30) + 1, usize::MAX, usize::MAX - 4095];
    run(move || {
        for bytes in sizes {
            let error = Builder::new().stack_size(bytes).spawn(|| ()).unwrap_err().to_string();
            assert!(error.contains(&format!("{bytes} bytes")), "{error}");
            assert!(error.contains("16384") && error.contains("1073741824"), "{error}");
        }
        for bytes in [16 * 1024, 16 * 1024 + 1, 20_001, (1 << 20) + 7, (1 << 30) - 1, 1 << 30] {
            let spawned = Builder::new().stack_size(bytes).spawn(move || bytes).unwrap();
            assert_eq!(spawned.join().unwrap(), bytes);
        }
    });
    for bytes in sizes {
        let runtime = Runtime::builder().stack_size(bytes).build();
        let panicked = runtime.run(|| panic_of(|| spawn(|| ()))).unwrap();
        assert!(panicked.contains(&format!("{bytes} bytes")), "{panicked}");
        let rootless = Runtime::builder().root_stack_size(bytes).build().run(|| ());
        assert!(matches!(rootless, Err(RunError::Spawn(_))), "{rootless:?}");
    }
}

#[test]
fn a_deadline_in_the_past_has_passed() {
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    run(move || {
        let (tx, rx) = channel::<u8>();
        assert_eq!(sleep_until(long_ago), Ok(()));
        assert_eq!(rx.recv_deadline(long_ago), Err(Halt::TimedOut));
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(Halt::TimedOut));
        assert_eq!(tx.send_timeout(1, Duration::ZERO).unwrap_err().value, 1);
        assert!(at(long_ago).wait().is_ok() && after(Duration::ZERO).poll().is_some());
        let timed = until(long_ago, || rx.recv());
        assert_eq!((timed.value, timed.expired), (Err(Halt::TimedOut), true));
        let timed = within(Duration::ZERO, || (scope(|s| s.spawn(pause).join()), yield_now()));
        assert!(matches!(timed.value.0, Ok(Err(Halt::TimedOut)) | Err(JoinError::Halted(_))));
        let mut select = Select::new();
        select.recv(&rx);
        assert!(select.wait_deadline(long_ago).unwrap().is_none());
        let chosen = select! { recv(rx) -> _ => "message", default(Duration::ZERO) => "nothing" };
        assert_eq!(chosen, "nothing");
        // A rendezvous that is possible at once beats the deadline.
        drop(spawn(move || tx.send(7)));
        yield_now();
        assert_eq!(rx.recv_deadline(long_ago), Ok(7));
    });
    let runtime = Runtime::builder().build();
    drop(runtime.spawn(|| ()));
    assert_eq!(runtime.run_until(long_ago).unwrap(), Progress::More);
}

#[test]
fn a_deadline_at_the_end_of_time_never_comes() {
    for simulated in [false, true] {
        let runtime = Runtime::builder().virtual_clock(simulated).build();
        let ended = runtime.run(|| {
            let (tx, rx) = channel::<u8>();
            let forever = Duration::MAX;
            drop(spawn(move || {
                for value in 0..6 {
                    yield_now();
                    tx.send(value).unwrap();
                }
            }));
            assert_eq!(rx.recv_timeout(forever), Ok(0));
            assert_eq!(within(forever, || rx.recv()).value, Ok(1));
            assert_eq!(
                scope_within(forever, |s| s.spawn(|| rx.recv()).join().unwrap()).value,
                Ok(2)
            );
            assert_eq!(select! { recv(rx) -> it => it, default(forever) => Ok(99) }, Ok(3));
            assert_eq!(select! { recv(rx) -> it => it, op(after(forever)) -> _ => Ok(99) }, Ok(4));
            let mut ticks = tick(forever);
            assert_eq!(select! { recv(rx) -> it => it, op(&mut ticks) -> _ => Ok(99) }, Ok(5));
            assert!(tick(Duration::from_nanos(u64::MAX)).poll().is_none());
            assert_eq!(sleep(Duration::from_nanos(1)), Ok(()));
            let sleeper = spawn(move || sleep(forever));
            yield_now();
            sleeper.cancel();
            assert_eq!(sleeper.join().unwrap(), Err(Halt::Cancelled));
            sleep(forever) // nothing can ever wake it
        });
        assert!(matches!(ended, Err(RunError::Stuck(_))), "{ended:?}");
    }
    assert!(panic_of(|| tick(Duration::ZERO)).contains("zero"));
}

#[test]
fn a_select_without_an_enabled_arm_is_an_error_not_a_hang() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let off = Cell::new(false);
        let text = panic_of(|| {
            select! {
                recv(rx) -> _ if off.get() => (),
                send(tx, 1) -> _ if off.get() => (),
            }
        });
        assert!(text.contains("without an enabled arm") && text.contains("bad_input.rs"), "{text}");
        assert!(panic_of(|| select::select(&mut [])).contains("without an enabled arm"));
        assert!(panic_of(|| rx.receiving().only_if(false).wait()).contains("enabled arm"));
        let never = rx.receiving().only_if(false).or(rx.receiving().only_if(false));
        assert!(panic_of(|| never.wait()).contains("enabled arm"));
        assert_eq!(Select::new().wait().map(drop), Err(Halt::CannotWait));
        assert!(Select::new().try_wait().unwrap().is_none());
        assert!(Select::new().wait_timeout(Duration::from_nanos(1)).unwrap().is_none());
        let mut emptied = Select::new();
        let index = emptied.recv(&rx);
        assert!(emptied.remove(index) && !emptied.remove(index) && !emptied.remove(77));
        assert_eq!(emptied.wait().map(drop), Err(Halt::CannotWait));
        // With a `default` there is something to do.
        let done = select! { recv(rx) -> _ if off.get() => 1, default => 2 };
        let later = select! {
            recv(rx) -> _ if off.get() => 1,
            default(Duration::from_nanos(1)) => 2,
        };
        assert_eq!((done, later), (2, 2));
        assert_eq!((tx.balance(), rx.balance()), (0, 0));
    });
}

#[test]
fn a_select_never_meets_itself() {
    run(|| {
        let (tx, rx) = channel();
        for biased in [false, true] {
            let (to, from) = (tx.clone(), rx.clone());
            let both = spawn(move || {
                if biased {
                    select! { biased; send(to, 1) -> it => { it.unwrap(); 0 },
                    recv(from) -> it => it.unwrap() }
                } else {
                    select! { recv(from) -> it => it.unwrap(),
                    send(to, 1) -> it => { it.unwrap(); 0 } }
                }
            });
            yield_now();
            assert!(!both.is_finished(), "it met itself");
            if biased {
                assert_eq!(rx.recv(), Ok(1), "its sending arm can be met");
                assert_eq!(both.join().unwrap(), 0);
            } else {
                tx.send(9).unwrap(); // so can its receiving arm
                assert_eq!(both.join().unwrap(), 9);
            }
        }
        let (to, from) = (tx.clone(), rx.clone());
        let reused = spawn(move || {
            let mut select = Select::new();
            let (receive, _) = (select.recv(&from), select.send(&to));
            (0..2).map(|_| finish(select.wait().unwrap(), receive, &from, &to)).collect::<Vec<_>>()
        });
        yield_now();
        assert!(!reused.is_finished(), "it met itself");
        assert_eq!(rx.recv(), Ok(5));
        tx.send(6).unwrap();
        assert_eq!(reused.join().unwrap(), [0, 6]);
    });
}

/// Receives, or sends a 5.
fn finish(
    chosen: select::Chosen<'_, '_>,
    receive: usize,
    from: &tasklets::Receiver<i32>,
    to: &tasklets::Sender<i32>,
) -> i32 {
    if chosen.index() == receive {
        chosen.recv(from).unwrap()
    } else {
        chosen.send(to, 5).unwrap();
        0
    }
}

#[test]
fn the_wrong_end_for_what_a_select_chose_is_a_clear_panic() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (other_tx, other_rx) = channel::<u8>();
        let mut select = Select::new();
        select.recv(&rx);
        let feeder = spawn(move || tx.send_all([1, 2, 3]));
        let chosen = select.wait().unwrap();
        assert!(panic_of(|| chosen.recv(&other_rx)).contains("another channel"));
        let chosen = select.wait().unwrap();
        assert!(panic_of(|| chosen.send(&other_tx, 1)).contains("another channel"));
        drop(select);
        while rx.recv().is_ok() {}
        assert_eq!(feeder.join().unwrap(), Ok(3));
    });
}

#[test]
fn a_channel_outlives_runs_and_may_be_used_before_between_and_after_them() {
    let (tx, rx) = channel();
    let try_all = || {
        assert_eq!(tx.send(1).unwrap_err().why, Halt::CannotWait);
        assert_eq!(tx.send_timeout(2, Duration::from_secs(9)).unwrap_err().why, Halt::CannotWait);
        assert_eq!(tx.try_send(3), Ok(Some(3)));
        assert_eq!((rx.recv(), rx.try_recv()), (Err(Halt::CannotWait), Ok(None)));
        assert_eq!(rx.recv_timeout(Duration::from_secs(9)), Err(Halt::CannotWait));
        assert_eq!(rx.recv_deadline(Instant::now()), Err(Halt::CannotWait));
        assert_eq!((tx.balance(), rx.is_closed()), (0, false));
    };
    let use_it = |left: bool| {
        run(|| {
            let to = tx.clone();
            drop(spawn(move || to.send_all(0..5)));
            assert_eq!(rx.iter().take(5).sum::<i32>(), 10);
            if left {
                let (to, from) = (tx.clone(), rx.clone());
                drop(spawn(move || from.recv()));
                drop(spawn(move || to.send_timeout(4, Duration::from_secs(900))));
                drop(spawn(pause));
                yield_now();
            }
        });
    };
    try_all();
    use_it(true);
    try_all();
    use_it(false);
    try_all();
    let runtime = Runtime::builder().build();
    let from = rx.clone();
    let reader = runtime.spawn(move || from.recv()).unwrap();
    runtime.run_ready().unwrap();
    assert_eq!(tx.try_send(8), Ok(None));
    runtime.run_ready().unwrap();
    assert_eq!(reader.join().unwrap(), Ok(8));
    drop((runtime, rx));
    assert_eq!(tx.try_send(1).unwrap_err().why, Halt::Closed);
}

#[test]
fn a_run_inside_of_a_run_is_refused() {
    let text = run(|| panic_of(|| run(|| unreachable!("nested"))));
    assert!(text.contains("a run inside of another run"), "{text}");
    run(|| {
        let inner = Rc::new(Runtime::builder().build());
        assert!(matches!(inner.run(|| ()), Err(RunError::Nested)));
        let tasklet = inner.spawn(|| 5).unwrap();
        let same = inner.clone();
        let refused = spawn(move || (same.run(|| ()).is_err(), same.step().is_err()));
        assert_eq!(refused.join().unwrap(), (true, true));
        assert!(matches!(inner.run_until(Instant::now()), Err(RunError::Nested)));
        assert!(!tasklet.is_finished());
        drop(inner); // ends its tasklets, here and now
        assert!(matches!(tasklet.join(), Err(JoinError::Cancelled)));
        assert_eq!(blocking(|| run(|| 6)).unwrap(), 6, "another OS thread is another matter");
        assert_eq!(spawn(|| 7).join().unwrap(), 7);
    });
    assert_eq!(run(|| 8), 8);
}

#[test]
fn an_operation_outside_of_any_run_says_so() {
    let (tx, rx) = channel::<u8>();
    let hour = Duration::from_secs(3_600);
    assert_eq!(
        (sleep(hour), sleep(Duration::ZERO)),
        (Err(Halt::CannotWait), Err(Halt::CannotWait))
    );
    assert_eq!(sleep_until(Instant::now() + hour), Err(Halt::CannotWait));
    assert_eq!((pause(), blocking(|| 1)), (Err(Halt::CannotWait), Err(Halt::CannotWait)));
    yield_now();
    assert!(current().is_none() && snapshot().is_none() && take_injected().is_none());
    assert!(now() <= Instant::now());
    let error = Builder::new().spawn(|| ()).unwrap_err();
    assert!(error.to_string().contains("only be spawned in a run"), "{error}");
    assert!(panic_of(|| spawn(|| ())).contains("only be spawned in a run"));
    assert!(panic_of(|| scope(|_| ())).contains("scope has to wait"));
    assert_eq!((shield(|| 1), within(hour, || 2).value, until(now(), || 3).value), (1, 2, 3));
    assert_eq!(select! { recv(rx) -> it => it }, Err(Halt::CannotWait));
    assert_eq!(select! { recv(rx) -> it => it, default(hour) => Ok(1) }, Err(Halt::CannotWait));
    assert_eq!(select! { recv(rx) -> it => it, default => Ok(1) }, Ok(1));
    let sent = select! { send(tx, 7) -> it => it };
    assert_eq!(sent.unwrap_err().value, 7);
    assert_eq!(after(hour).wait(), Err(Halt::CannotWait));
    let mut select = Select::new();
    select.recv(&rx);
    assert_eq!(select.wait().map(drop), Err(Halt::CannotWait));
    assert!(select.try_wait().unwrap().is_none());
    let runtime = Runtime::builder().build();
    let mut tasklet = runtime.spawn(|| 4).unwrap();
    assert!(matches!(tasklet.join_mut(), Err(JoinError::Halted(Halt::CannotWait))));
    assert!(!tasklet.run_now());
    runtime.run_ready().unwrap();
    assert_eq!(tasklet.join().unwrap(), 4);
    drop((tasklets::block_trap(), tasklets::switch_trap()));
    tx.set_name("still usable");
}

#[test]
fn a_receive_outside_of_any_run_from_a_reused_select_gets_the_value() {
    let runtime = Runtime::builder().build();
    let (tx, rx) = channel();
    drop(runtime.spawn(move || tx.send(5)));
    runtime.run_ready().unwrap();
    let mut select = Select::new();
    select.recv(&rx);
    let chosen = select.try_wait().unwrap().expect("a sender waits");
    assert_eq!(chosen.recv(&rx), Ok(5));
}

/// An operation that always succeeds at once.
type Step = Box<dyn Fn()>;

/// Makes one.
type Make = fn() -> Step;

const STEPS: [(&str, Make); 8] = [
    ("try_recv", || {
        let (tx, rx) = channel::<u8>();
        Box::new(move || assert_eq!((rx.try_recv(), tx.is_closed()), (Ok(None), false)))
    }),
    ("try_send", || {
        let (tx, rx) = channel::<u8>();
        Box::new(move || assert_eq!((tx.try_send(1), rx.is_closed()), (Ok(Some(1)), false)))
    }),
    ("recv", || {
        let (tx, rx) = channel::<u8>();
        drop(tx);
        Box::new(move || assert!(rx.recv().is_err()))
    }),
    ("select", || {
        let (_tx, rx) = channel::<u8>();
        Box::new(move || select! { recv(rx) -> _ => (), default => () })
    }),
    ("Select", || {
        let (_tx, rx) = channel::<u8>();
        Box::new(move || {
            let mut select = Select::new();
            select.recv(&rx);
            drop(select.try_wait());
        })
    }),
    ("sleep", || Box::new(|| assert!(sleep_until(now()).is_ok()))),
    ("after", || Box::new(|| assert!(after(Duration::ZERO).poll().is_some()))),
    ("within", || Box::new(|| assert!(within(Duration::ZERO, || sleep(Duration::MAX)).expired))),
];

#[test]
fn a_tasklet_whose_operations_keep_succeeding_gives_way() {
    for (name, make) in STEPS {
        let ended = Runtime::builder().budget(10).build().run(move || {
            let (turns, count) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let other = turns.clone();
            let counter = spawn(move || {
                while other.get() < 3 {
                    other.set(other.get() + 1);
                    yield_now();
                }
            });
            let step = make();
            while turns.get() < 3 && count.get() < 1_000 {
                step();
                count.set(count.get() + 1);
            }
            counter.join().unwrap();
            count.get()
        });
        let steps = ended.unwrap();
        assert!(steps < 100, "{name}: nobody else had a turn in {steps} operations");
    }
}

/// Panics with its text when dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new(self.0));
    }
}

#[test]
fn a_payload_whose_drop_panics_ends_nobody_but_its_owner() {
    run(|| {
        let (tx, rx) = channel();
        let waiting = spawn(move || drop(tx.send(Bomb("waiting sender"))));
        yield_now();
        drop(rx);
        assert_eq!(waiting.join().unwrap_err().message(), Some("waiting sender"));
        let (tx, rx) = channel();
        drop(rx);
        let late = spawn(move || drop(tx.send(Bomb("closed channel"))));
        assert_eq!(late.join().unwrap_err().message(), Some("closed channel"));
        let result = spawn(|| Bomb("result"));
        yield_now();
        assert_eq!(panic_of(|| drop(result)), "result");
        let (tx, rx) = channel();
        let held = spawn(move || drop(rx.recv_held()));
        assert!(tx.send(Bomb("held")).is_ok(), "the sender is released all the same");
        assert_eq!(held.join().unwrap_err().message(), Some("held"));
    });
}

#[test]
fn a_payload_whose_drop_panics_with_nobody_to_tell_ends_the_run() {
    let lost = |program: fn()| {
        let ended = Runtime::builder().build().run(program);
        let Err(RunError::Panicked(report)) = ended else { panic!("lost: {ended:?}") };
        report.message().to_owned()
    };
    assert_eq!(
        lost(|| {
            drop(spawn(|| Bomb("detached")));
            yield_now()
        }),
        "detached"
    );
    assert_eq!(
        lost(|| {
            drop(spawn(|| drop(Bomb("body"))));
            yield_now()
        }),
        "body"
    );
    let late = lost(|| {
        let ((begins, begun), (goes, go)) = (mpsc::channel(), mpsc::channel());
        let call = spawn(move || {
            let slow = move || (begins.send(()).unwrap(), go.recv().unwrap(), Bomb("late result"));
            blocking(slow).map(drop)
        });
        yield_now();
        blocking(move || begun.recv().unwrap()).unwrap();
        call.cancel();
        assert_eq!(call.join().unwrap(), Err(Halt::Cancelled));
        goes.send(()).unwrap();
        // Until the result has come, and the run has ended with it.
        while sleep(Duration::from_millis(1)).is_ok() {}
    });
    assert_eq!(late, "late result");
}
