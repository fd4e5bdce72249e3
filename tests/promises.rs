//! What the guide and the documentation say in passing about corners that nobody visits often.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;
use support::{Isolation, SIGABRT, isolated, real_stacks};
use tasklets::{
    Builder, Event, Halt, Never, Operation, Runtime, after, at, block_trap, channel, current, now,
    pause, run, scope, select, snapshot, spawn, switch_trap, tick, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Drops `runtime` while this thread panics.
fn dropped_in_a_panic(runtime: Runtime) {
    let unwinding = AssertUnwindSafe(move || {
        let _runtime = runtime;
        resume_unwind(Box::new("meanwhile"))
    });
    assert!(catch_unwind(unwinding).map(|never: ()| never).is_err());
}

#[test]
fn a_runtime_dropped_in_a_panic_poisons_the_std_locks_its_tasklets_held() {
    let lock = Rc::new(Mutex::new(0));
    let (mine, ended) = (lock.clone(), Rc::new(Cell::new(None)));
    let (runtime, seen) = (Runtime::builder().build(), ended.clone());
    let holder = runtime.spawn(move || {
        let _guard = mine.lock().unwrap();
        seen.set(Some((pause(), std::thread::panicking())));
    });
    runtime.run_ready().unwrap();
    dropped_in_a_panic(runtime);
    assert!(holder.unwrap().is_finished());
    assert_eq!(ended.get(), Some((Err(Halt::Cancelled), true)), "it sees the panic of its thread");
    assert!(lock.is_poisoned());
}

#[test]
fn a_runtime_dropped_in_a_panic_abandons_who_goes_on_after_its_cancellation() {
    let Some(ended) = isolated(|| {
        let runtime = Runtime::builder().build();
        drop(runtime.spawn_with(Builder::new().name("deaf"), || {
            loop {
                let _ = pause();
            }
        }));
        runtime.run_ready().unwrap();
        dropped_in_a_panic(runtime);
    }) else {
        return;
    };
    ended.well().saying(&["`deaf` (out.1)", "its stack is leaked"]);
}

#[test]
fn a_scope_in_a_destructor_during_a_panic_aborts_and_says_why() {
    struct Opens;
    impl Drop for Opens {
        fn drop(&mut self) {
            scope(|s| drop(s.spawn(|| ())));
        }
    }
    let Some(ended) = isolated(|| {
        run(|| {
            let _opens = Opens;
            resume_unwind(Box::new("the first"));
        });
    }) else {
        return;
    };
    ended.by_signal(SIGABRT).saying(&["a scope has to wait for its tasklets"]);
}

#[test]
fn a_timer_made_outside_of_any_run_counts_from_the_first_look_of_a_run() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let (timer, mut ticks) = (after(SECOND), tick(2 * SECOND));
    assert_eq!(after(SECOND).wait(), Err(Halt::CannotWait), "it waits for a run");
    let tasklet = runtime.spawn(move || {
        let start = now();
        let first = timer.wait().unwrap() - start;
        (first, (&mut ticks).wait().unwrap() - start, (&mut ticks).wait().unwrap() - start)
    });
    runtime.run_to_end().unwrap();
    // The first tick was looked at when one second had passed.
    assert_eq!(tasklet.unwrap().join().unwrap(), (SECOND, 3 * SECOND, 5 * SECOND));
    let deadline = at(runtime.now() + SECOND);
    let before = runtime.now();
    assert_eq!(runtime.run(|| deadline.wait().unwrap() - before).unwrap(), SECOND);
}

#[test]
fn spawning_spends_no_budget_and_never_gives_way() {
    let ended = Runtime::builder().budget(3).build().run(|| {
        let ran = Rc::new(Cell::new(0));
        let borrowed = RefCell::new(());
        let _held = borrowed.borrow_mut();
        for _ in 0..1_000 {
            let ran = ran.clone();
            drop(spawn(move || ran.set(ran.get() + 1)));
        }
        let before = ran.get();
        yield_now();
        (before, ran.get())
    });
    assert_eq!(ended.unwrap(), (0, 1_000));
}

#[test]
fn a_hook_sees_no_snapshot_before_its_root_runs() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    let hook = move |event: &Event| {
        let now = snapshot().map(|it| it.tasklets.len());
        if matches!(event, Event::Spawned { .. }) {
            log.borrow_mut().push((now, current().is_some()));
        }
    };
    Runtime::builder().on_event(hook).build().run(|| spawn(|| ()).join().unwrap()).unwrap();
    // The root is made before the run drives; a child is made by a tasklet.
    assert_eq!(*seen.borrow(), [(None, false), (Some(2), true)]);
}

#[test]
fn a_switch_trap_lets_pass_what_need_not_wait_however_often() {
    let ended = Runtime::builder().budget(2).build().run(|| {
        let others = Rc::new(Cell::new(0));
        let (tx, rx) = channel::Builder::new().prefer(tasklets::Prefer::Receiver).channel();
        let count = others.clone();
        let reader = spawn(move || rx.into_iter().map(|()| count.set(count.get() + 1)).count());
        yield_now();
        let trap = switch_trap();
        tx.send(()).unwrap(); // the receiver waits, and is preferred; but it has to wait its turn
        for _ in 0..10 {
            assert_eq!(tx.try_send(()), Ok(Some(())), "the budget is used up, and nobody runs");
        }
        drop(spawn(|| ()));
        let during = others.get();
        drop(trap);
        yield_now();
        drop(tx);
        (during, reader.join().unwrap())
    });
    assert_eq!(ended.unwrap(), (0, 1));
}

#[test]
fn running_another_tasklet_is_a_switch() {
    run(|| {
        let other = spawn(|| ());
        let trap = switch_trap();
        assert!(catch_unwind(AssertUnwindSafe(|| other.run_now())).is_err());
        drop(trap);
        let trap = block_trap();
        assert!(!other.run_now() && !other.is_finished(), "it cannot, under a block trap");
        drop(trap);
        assert!(other.run_now() && other.is_finished());
    });
}

#[test]
fn a_cancelled_select_gives_its_first_arm_the_reason_and_takes_no_default() {
    Runtime::builder()
        .virtual_clock(true)
        .build()
        .run(|| {
            let (_tx, rx) = channel::<Never>();
            let other = rx.clone();
            let selecting = spawn(move || {
                let waits = || {
                    select! {
                        recv(rx) -> it => it.map(|_| "value"),
                        recv(other) -> _ => Ok("the second arm"),
                        default(SECOND) => Ok("default"),
                    }
                };
                let tries = || select! { recv(rx) -> _ => "value", default => "default" };
                let disabled = || {
                    select! {
                        recv(rx) -> _ if false => "value", default(SECOND) => "default"
                    }
                };
                (waits(), waits(), tries(), disabled())
            });
            yield_now();
            selecting.cancel();
            let cancelled = Err(Halt::Cancelled);
            let start = now();
            assert_eq!(selecting.join().unwrap(), (cancelled, cancelled, "default", "default"));
            assert_eq!(now(), start, "nobody waited for the delay");
        })
        .unwrap();
}

#[test]
fn a_tasklet_that_is_refused_a_stack_ends_with_a_panic_that_says_so() {
    if !real_stacks() {
        return;
    }
    let limited = Isolation::default().virtual_kib(500 * 1024);
    let Some(ended) = limited.run(|| {
        run(|| {
            let huge = Builder::new().name("huge").stack_size(1 << 30).spawn(|| 1).unwrap();
            let why = huge.join().unwrap_err();
            let text = why.message().unwrap();
            assert!(text.starts_with("`huge` (root.0) got no stack: the OS refused"), "{text}");
            assert_eq!(spawn(|| 2).join().unwrap(), 2, "the others go on");
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn the_panic_hook_does_not_hear_of_a_refused_stack() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = Isolation::default().virtual_kib(500 * 1024).run(|| {
        std::panic::set_hook(Box::new(|_| eprintln!("the hook was called")));
        run(|| {
            let huge = Builder::new().stack_size(1 << 30).spawn(|| 1).unwrap();
            assert!(huge.join().is_err());
        });
    }) else {
        return;
    };
    ended.well().silent_about(&["the hook was called"]);
}

#[test]
fn a_switch_under_a_trap_is_the_panic_of_the_line_that_asks_for_it() {
    let Some(ended) = isolated(|| {
        run(|| {
            let other = spawn(|| ());
            let _trap = switch_trap();
            let yields = || yield_now();
            let switches = || other.run_now();
            assert!(catch_unwind(AssertUnwindSafe(yields)).is_err());
            assert!(catch_unwind(AssertUnwindSafe(switches)).is_err());
        });
    }) else {
        return;
    };
    let lines = ended.well().text.matches("panicked at tests/promises.rs").count();
    assert_eq!(lines, 2);
}
