//! What `generator` does not promise and we do: DESIGN.md 3, cancellation, panics and overflow.

mod support;

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::panicking;
use std::time::Duration;
use support::{SIGABRT, SIGSEGV, isolated, real_stacks};
use tasklets::{
    Builder, Halt, JoinError, Never, Prefer, RunError, Runtime, Select, channel, current, pause,
    run, scope, select, shield, sleep, spawn, yield_now,
};

/// Runs its closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Ignores its cancellation, and the forced unwind too.
fn swallow() -> ! {
    loop {
        let _ = catch_unwind(|| {
            loop {
                let _ = pause();
            }
        });
    }
}

#[test]
fn a_tasklet_that_swallows_its_cancellation_is_suspended_for_good_and_reported() {
    let Some(ended) = isolated(|| {
        let kept = Rc::new(());
        let held = kept.clone();
        let after = run(move || {
            let stubborn = Builder::new().name("stubborn");
            let stubborn = stubborn.spawn(move || {
                let _held = held;
                swallow()
            });
            let stubborn = stubborn.unwrap();
            let other = spawn(|| (0..10).for_each(|_| yield_now()));
            yield_now();
            stubborn.cancel();
            let ended: Result<(), _> = stubborn.join();
            assert!(matches!(ended, Err(JoinError::Cancelled)));
            other.join().unwrap();
            spawn(|| "the stacks still work").join().unwrap()
        });
        assert_eq!(after, "the stacks still work");
        assert_eq!(Rc::strong_count(&kept), 2, "its frames are leaked, not unwound");
    }) else {
        return;
    };
    ended.well().saying(&["`stubborn` (root.0)", "tests/substrate.rs:", "swallowed", "leaked"]);
}

#[test]
fn a_swallowed_cancellation_at_the_end_of_a_run_does_not_keep_the_run() {
    let Some(ended) = isolated(|| {
        assert_eq!(run(|| drop(Builder::new().name("left").spawn(|| swallow()))), ());
        let runtime = Runtime::builder().build();
        let _handle = runtime.spawn_with(Builder::new().name("driven"), || swallow());
        runtime.run_ready().unwrap();
        drop(runtime);
    }) else {
        return;
    };
    // `left` never began: there was nothing to swallow.
    ended.well().saying(&["`driven` (out.1)"]).silent_about(&["`left`"]);
}

#[test]
fn a_tasklet_that_ends_after_all_has_its_result() {
    let ended = run(|| {
        let slow = spawn(|| {
            let caught = catch_unwind(|| {
                loop {
                    let _ = pause();
                }
            });
            assert!(caught.map(|never: ()| never).is_err());
            "at last"
        });
        yield_now();
        slow.cancel();
        slow.join().unwrap()
    });
    assert_eq!(ended, "at last");
}

#[test]
fn a_borrowing_tasklet_that_will_not_end_takes_the_process_with_it_by_name() {
    let Some(ended) = isolated(|| {
        let mut borrowed = 0;
        run(|| {
            scope(|s| {
                let clingy = s.spawn_with(Builder::new().name("clingy"), || {
                    borrowed += 1;
                    swallow()
                });
                drop(clingy.unwrap());
                yield_now();
                s.cancel();
            });
            unreachable!("its borrow would dangle");
        });
    }) else {
        return;
    };
    ended.by_signal(SIGABRT).saying(&["`clingy` (root.0)", "borrows", "tests/substrate.rs:"]);
}

#[test]
fn a_root_that_will_not_end_takes_the_process_with_it_by_name() {
    let Some(ended) = isolated(|| {
        run(|| {
            current().unwrap().cancel();
            swallow()
        })
    }) else {
        return;
    };
    ended.by_signal(SIGABRT).saying(&["root", "swallowed", "tests/substrate.rs:"]);
}

#[test]
fn dropping_a_runtime_in_a_panic_runs_the_destructors_of_its_tasklets() {
    let dropped = Rc::new(Cell::new(0));
    let count = dropped.clone();
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let runtime = Runtime::builder().build();
        for _ in 0..3 {
            let count = count.clone();
            let held = OnDrop(move || count.set(count.get() + 1));
            drop(runtime.spawn(move || {
                let _held = held;
                pause()
            }));
        }
        runtime.run_ready().unwrap();
        resume_unwind(Box::new("meanwhile"))
    }));
    assert_eq!(
        *caught.map(|never: ()| never).unwrap_err().downcast::<&str>().unwrap(),
        "meanwhile"
    );
    assert_eq!((dropped.get(), panicking()), (3, false));
    assert_eq!(run(|| spawn(|| 1).join().unwrap()), 1, "the thread is as good as before");
}

#[test]
fn dropping_a_runtime_in_a_panic_ends_tasklets_that_go_on_waiting() {
    let Some(ended) = isolated(|| {
        let shielded = Rc::new(Cell::new(None));
        let outcome = shielded.clone();
        let caught = catch_unwind(AssertUnwindSafe(move || {
            let runtime = Runtime::builder().build();
            drop(runtime.spawn(move || outcome.set(Some(shield(pause)))));
            drop(runtime.spawn(|| {
                loop {
                    let _ = pause(); // a server that ignores errors
                }
            }));
            runtime.run_ready().unwrap();
            resume_unwind(Box::new("meanwhile"))
        }));
        assert!(caught.map(|never: ()| never).is_err());
        assert!(shielded.get().is_some_and(|it| it.is_err()));
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_panic_leaves_a_run_after_its_tasklets_have_ended() {
    let dropped = Rc::new(Cell::new(false));
    let seen = dropped.clone();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        run(move || {
            let held = OnDrop(move || seen.set(!panicking()));
            drop(spawn(move || {
                let _held = held;
                pause()
            }));
            yield_now();
            panic_any(7_u8)
        })
    }));
    assert_eq!(*caught.map(|never: ()| never).unwrap_err().downcast::<u8>().unwrap(), 7);
    assert!(dropped.get(), "the destructor ran, and saw no panic");
}

/// Needs about half a KiB of stack per call, and has no end.
#[inline(never)]
fn dive(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { dive(depth + 1).wrapping_add(frame[depth as usize % 64]) }
}

#[test]
fn an_overflow_in_a_tasklet_of_default_size_names_it_and_aborts() {
    let Some(ended) = isolated(|| {
        if real_stacks() {
            run(|| Builder::new().name("deep").spawn(|| dive(0)).unwrap().join().unwrap());
        }
        std::process::abort();
    }) else {
        return;
    };
    check_overflow(ended, "`deep` (root.0)", 256 * 1024);
}

#[test]
fn an_overflow_in_a_small_tasklet_names_it_and_aborts() {
    let Some(ended) = isolated(|| {
        if real_stacks() {
            let small = Builder::new().name("small").stack_size(16 * 1024);
            run(move || small.spawn(|| dive(0)).unwrap().join().unwrap());
        }
        std::process::abort();
    }) else {
        return;
    };
    check_overflow(ended, "`small` (root.0)", 16 * 1024);
}

#[test]
fn an_overflow_in_the_root_names_it_and_aborts() {
    let Some(ended) = isolated(|| {
        if real_stacks() {
            run(|| dive(0));
        }
        std::process::abort();
    }) else {
        return;
    };
    check_overflow(ended, "root", 8 * 1024 * 1024);
}

#[test]
fn an_overflow_on_a_second_os_thread_names_the_tasklet_and_aborts() {
    let Some(ended) = isolated(|| {
        if real_stacks() {
            run(|| spawn(|| ()).join().unwrap());
            let second = std::thread::spawn(|| {
                run(|| {
                    let _bystander = Builder::new().name("bystander").spawn(pause);
                    Builder::new().name("elsewhere").spawn(|| dive(0)).unwrap().join().unwrap()
                })
            });
            second.join().unwrap();
        }
        std::process::abort();
    }) else {
        return;
    };
    check_overflow(ended, "`elsewhere` (root.1)", 256 * 1024);
}

#[track_caller]
fn check_overflow(ended: support::Ended, name: &str, bytes: usize) {
    let ended = ended.by_signal(SIGABRT);
    if real_stacks() {
        let ended = ended.saying(&["stack overflow in tasklet", name]);
        // Without guard markers the page of the sentinel is usable too.
        let sizes = [bytes, bytes + 4096].map(|it| format!("has {it} bytes"));
        assert!(sizes.iter().any(|it| ended.text.contains(it)), "{}", ended.text);
    }
}

#[test]
fn an_overflow_of_the_os_threads_own_stack_is_not_claimed() {
    let Some(ended) = isolated(|| {
        let second = std::thread::spawn(|| {
            run(|| spawn(|| ()).join().unwrap());
            dive(0)
        });
        second.join().unwrap();
    }) else {
        return;
    };
    ended.by_signal(SIGABRT).saying(&["has overflowed its stack"]).silent_about(&["tasklet"]);
}

#[test]
fn a_fault_that_is_no_overflow_of_a_tasklet_is_not_claimed() {
    let Some(ended) = isolated(|| {
        if !real_stacks() {
            std::process::exit(0);
        }
        run(|| {
            let inside = spawn(|| {
                let mut raw = generator::Gn::<()>::new_scoped_local(|_| dive(0));
                raw.resume()
            });
            inside.join().unwrap()
        });
    }) else {
        return;
    };
    if real_stacks() {
        ended.by_signal(SIGSEGV).silent_about(&["tasklets:"]);
    }
}

/// Panics in a tasklet whose destructor calls `f`; returns what `f` returned.
fn in_unwind<R: 'static>(f: impl FnOnce() -> R + 'static) -> R {
    let (result, given) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(Some(f))));
    let place = result.clone();
    let victim = spawn(move || {
        let _last = OnDrop(move || {
            let f = given.take().unwrap();
            assert!(panicking());
            *place.borrow_mut() = Some(f());
        });
        resume_unwind(Box::new("on purpose"))
    });
    let ended: Result<(), _> = victim.join();
    assert_eq!(ended.unwrap_err().message(), Some("on purpose"));
    result.take().unwrap()
}

#[test]
fn an_operation_in_an_unwind_tries_once_and_never_waits() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (tx, rx) = (Rc::new(tx), Rc::new(rx));
        let (from, to) = (rx.clone(), tx.clone());
        assert_eq!(in_unwind(move || from.recv()), Err(Halt::CannotWait));
        assert_eq!(in_unwind(move || to.send(5)).unwrap_err().value, 5);
        let (from, hour) = (rx.clone(), Duration::from_secs(3_600));
        assert_eq!(in_unwind(move || from.recv_timeout(hour)), Err(Halt::CannotWait));
        let from = rx.clone();
        assert_eq!(in_unwind(move || from.recv_held().map(drop)), Err(Halt::CannotWait));
        assert_eq!(in_unwind(pause), Err(Halt::CannotWait));
        assert_eq!(in_unwind(move || sleep(hour)), Err(Halt::CannotWait));
        assert_eq!(in_unwind(|| sleep(Duration::ZERO)), Err(Halt::CannotWait));
        let never: Result<(), _> = in_unwind(|| tasklets::blocking(|| panic!("not called")));
        assert_eq!(never, Err(Halt::CannotWait));
        let joined = in_unwind(|| spawn(pause).join());
        assert!(matches!(joined, Err(JoinError::Halted(Halt::CannotWait))));
        let from = rx.clone();
        let waited = in_unwind(move || {
            let mut select = Select::new();
            select.recv(&*from);
            select.wait().map(drop)
        });
        assert_eq!(waited, Err(Halt::CannotWait));
        let selected = in_unwind(move || select! { recv(rx) -> it => it });
        assert_eq!(selected, Err(Halt::CannotWait));
    });
}

#[test]
fn an_operation_in_an_unwind_that_can_happen_at_once_does() {
    run(|| {
        let (tx, rx) = channel();
        let (rx, feeder) = (Rc::new(rx), tx.clone());
        let senders = spawn(move || feeder.send_all(1..=4));
        let from = rx.clone();
        yield_now();
        assert_eq!(in_unwind(move || from.recv()), Ok(1));
        let from = rx.clone();
        assert_eq!(in_unwind(move || select! { recv(from) -> it => it }), Ok(2));
        let from = rx.clone();
        assert_eq!(in_unwind(move || from.recv_held().map(|it| *it)), Ok(3));
        let from = rx.clone();
        assert_eq!(in_unwind(move || from.try_recv()), Ok(Some(4)));
        assert_eq!(senders.join().unwrap(), Ok(4));
        let reader = spawn(move || (rx.recv(), rx.recv_held().map(|it| it.accept())));
        yield_now();
        let (first, second) = (tx.clone(), tx);
        assert_eq!(in_unwind(move || first.send(8)), Ok(()));
        yield_now();
        assert_eq!(in_unwind(move || second.send(9)), Ok(()));
        assert_eq!(reader.join().unwrap(), (Ok(8), Ok(9)));
        let done = spawn(|| 6);
        yield_now();
        assert_eq!(in_unwind(move || done.join().unwrap()), 6);
    });
}

#[test]
fn nobody_else_sees_the_panic_of_an_unwinding_tasklet() {
    let mutexes: Vec<_> = (0..4).map(|_| Arc::new(Mutex::new(()))).collect();
    let seen = Rc::new(Cell::new(0));
    let (held, witness, told) = (mutexes.clone(), seen.clone(), seen.clone());
    let look = move || {
        if panicking() {
            told.set(told.get() + 1);
        }
    };
    // A hook makes every operation take the long way; a budget of 1 makes it give way each time.
    let runtime = Runtime::builder().budget(1).on_event(|_| ()).build();
    let ended = runtime.run(move || {
        let make = || tasklets::channel::Builder::new().prefer(Prefer::Receiver).yield_always(true);
        let (tx, rx) = make().channel::<u8>();
        let (back, results) = make().channel::<u8>();
        let (never, asked) = channel::<Never>();
        for own in held {
            let (look, rx, back) = (look.clone(), rx.clone(), back.clone());
            drop(spawn(move || {
                while let Ok(value) = rx.recv() {
                    look();
                    let guard = own.lock().unwrap();
                    yield_now();
                    look();
                    drop(guard);
                    let _ = back.try_send(value);
                    look();
                }
            }));
        }
        yield_now();
        let talk = move || {
            for value in 0..20 {
                let _ = (tx.send(value), results.try_recv(), results.recv(), asked.try_recv());
                yield_now();
                drop(spawn(yield_now));
                let _ = Select::new().recv(&results);
            }
        };
        in_unwind(talk);
        drop(never);
        (0..100).for_each(|_| yield_now());
    });
    ended.unwrap();
    assert_eq!(witness.get(), 0);
    assert!(mutexes.iter().all(|it| !it.is_poisoned()));
}

#[test]
fn a_panic_of_a_tasklet_reaches_who_joins_or_else_the_caller_of_run() {
    let joined = run(|| spawn(|| panic_any(4_i32)).join().map(|never: ()| never));
    let Err(JoinError::Panicked(payload)) = joined else { panic!("{joined:?}") };
    assert_eq!(*payload.downcast::<i32>().unwrap(), 4);
    let runtime = Runtime::builder().build();
    let ended = runtime.run(|| {
        drop(Builder::new().name("lost").spawn(|| resume_unwind(Box::new(5_i32))));
        pause()
    });
    let Err(RunError::Panicked(report)) = ended else { panic!("{ended:?}") };
    assert!(report.tasklet.contains("`lost`"), "{report}");
    assert_eq!(*report.payload.downcast::<i32>().unwrap(), 5);
}

#[test]
fn the_process_wide_panic_hook_stays_the_users_own() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let Some(ended) = isolated(|| {
        let count = || {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                CALLS.fetch_add(1, Ordering::Relaxed);
                print(info);
            }));
        };
        count();
        let program = || {
            run(|| {
                assert!(spawn(|| panic!("one")).join().map(|never: ()| never).is_err());
                let unwound = spawn(|| while pause().is_err() {});
                yield_now();
                unwound.cancel(); // is unwound by force: no panic of anybody
                assert!(unwound.join().is_err());
            });
        };
        program();
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        count(); // after the first run: ours again, twice now
        program();
        assert_eq!(CALLS.load(Ordering::Relaxed), 3);
        assert!(catch_unwind(|| panic!("outside of any run")).map(|never: ()| never).is_err());
        assert_eq!(CALLS.load(Ordering::Relaxed), 5);
    }) else {
        return;
    };
    ended.well();
}
