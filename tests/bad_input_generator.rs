//! Raw generators of the user in and around tasklets: a clear panic or a defined effect.

mod support;

use generator::{Generator, Gn, LocalGenerator, Scope};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use support::{isolated, real_stacks};
use tasklets::{
    Event, Halt, RunError, Runtime, Select, blocking, channel, current, pause, run, scope, select,
    sleep, spawn, yield_now,
};

/// Words of a raw generator's stack that has room for a panic, or for a whole run.
const WORDS: usize = 64 * 1024;

type Raw<'a> = LocalGenerator<'a, (), u32>;

/// A raw generator whose body calls `f` and then ends.
fn raw<'a>(f: impl FnOnce() + 'a) -> Raw<'a> {
    Gn::<()>::new_scoped_opt_local(WORDS, move |_| {
        f();
        0
    })
}

/// The message of the panic of `f` inside of a raw generator.
fn panic_inside(f: impl FnOnce()) -> String {
    let mut inside = raw(f);
    let payload = catch_unwind(AssertUnwindSafe(|| inside.resume())).map(drop);
    let payload = payload.expect_err("it should panic");
    payload.downcast_ref::<String>().expect("a text").clone()
}

#[test]
fn waiting_inside_of_a_raw_generator_is_a_clear_panic_that_corrupts_nothing() {
    if !real_stacks() {
        return;
    }
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (from, to) = (rx.clone(), tx.clone());
        let victim = spawn(move || {
            let hour = Duration::from_secs(3_600);
            let other = spawn(pause);
            let texts = [
                panic_inside(|| assert!(from.recv().is_ok())),
                panic_inside(|| drop(to.send(1))),
                panic_inside(|| drop(from.recv_held())),
                panic_inside(|| assert!(from.recv_timeout(hour).is_ok())),
                panic_inside(|| drop(to.send_timeout(1, hour))),
                panic_inside(
                    || select! { recv(from) -> _ => (), op(tasklets::after(hour)) -> _ => () },
                ),
                panic_inside(|| select! { send(to, 7) -> _ => () }),
                panic_inside(|| assert!(sleep(hour).is_ok())),
                panic_inside(|| assert!(pause().is_ok())),
                panic_inside(|| assert!(blocking(|| ()).is_ok())),
                panic_inside(|| drop(other.join())),
                panic_inside(yield_now),
                panic_inside(|| assert!(sleep(Duration::ZERO).is_ok())),
                panic_inside(|| scope(|s| drop(s.spawn(|| ())))),
                panic_inside(|| {
                    let mut select = Select::new();
                    select.recv(&from);
                    select.send(&to);
                    drop(select.wait());
                }),
            ];
            for text in texts {
                assert!(text.contains("inside a raw generator"), "{text}");
            }
            assert_eq!((from.balance(), to.balance()), (0, 0), "no offer is left behind");
            from.recv()
        });
        yield_now();
        tx.send(9).unwrap();
        assert_eq!(victim.join().unwrap(), Ok(9), "the tasklet goes on");
        drop(tx);
        assert_eq!(rx.recv(), Err(Halt::Closed));
    });
}

#[test]
fn a_value_whose_send_panicked_inside_of_a_raw_generator_is_dropped_once() {
    if !real_stacks() {
        return;
    }
    run(|| {
        let value = Rc::new(());
        let (tx, rx) = channel();
        for waiting_before in [false, true] {
            let first = waiting_before.then(|| {
                let to = tx.clone();
                spawn(move || to.send(Rc::new(())))
            });
            yield_now();
            let sent = value.clone();
            panic_inside(|| drop(tx.send(sent)));
            let sent = value.clone();
            panic_inside(|| drop(tx.send_timeout(sent, Duration::MAX)));
            assert_eq!(Rc::strong_count(&value), 1);
            if let Some(first) = first {
                assert!(rx.recv().is_ok());
                first.join().unwrap().unwrap();
            }
            assert!(rx.try_recv().unwrap().is_none());
        }
    });
}

#[test]
fn an_operation_inside_of_a_raw_generator_that_need_not_wait_happens() {
    run(|| {
        let (tx, rx) = channel();
        let (to, from) = (tx.clone(), rx.clone());
        let partner = spawn(move || (to.send(1), to.send(2), from.recv(), from.recv()));
        yield_now();
        let got = RefCell::new(Vec::new());
        raw(|| got.borrow_mut().push(rx.recv().unwrap())).resume();
        yield_now();
        raw(|| got.borrow_mut().push(select! { recv(rx) -> it => it.unwrap() })).resume();
        yield_now();
        raw(|| tx.send(3).unwrap()).resume();
        yield_now();
        raw(|| select! { send(tx, 4) -> it => it.unwrap() }).resume();
        assert_eq!(partner.join().unwrap(), (Ok(()), Ok(()), Ok(3), Ok(4)));
        assert_eq!(*got.borrow(), [1, 2]);
        raw(|| assert_eq!((rx.try_recv(), tx.try_send(5)), (Ok(None), Ok(Some(5))))).resume();
        raw(|| assert!(current().is_some_and(|it| it.path() == "root"))).resume();
    });
}

#[test]
fn the_budget_does_not_suspend_a_tasklet_inside_of_a_raw_generator() {
    let ended = Runtime::builder().budget(3).build().run(|| {
        let (tx, rx) = channel::<u8>();
        let mut polls = raw(|| (0..100).for_each(|_| assert_eq!(rx.try_recv(), Ok(None))));
        polls.resume();
        assert!(polls.is_done());
        drop(tx);
        spawn(|| 5).join().unwrap()
    });
    assert_eq!(ended.unwrap(), 5);
}

#[test]
fn a_raw_generator_may_be_shared_by_tasklets_as_long_as_it_does_not_wait() {
    run(|| {
        let numbers: LocalGenerator<'static, (), u32> =
            Gn::<()>::new_scoped_opt_local(WORDS, |mut s: Scope<'_, '_, (), u32>| {
                (1..=20).for_each(|it| s.yield_with(it));
                0
            });
        let numbers = Rc::new(RefCell::new(numbers));
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let numbers = numbers.clone();
                spawn(move || {
                    let mut sum = 0;
                    for _ in 0..5 {
                        sum += numbers.borrow_mut().resume().unwrap();
                        yield_now();
                    }
                    sum
                })
            })
            .collect();
        assert_eq!(takers.into_iter().map(|it| it.join().unwrap()).sum::<u32>(), 210);
    });
}

#[test]
fn a_panic_inside_of_a_raw_generator_is_the_panic_of_its_tasklet() {
    run(|| {
        let inside = spawn(|| raw(|| std::panic::resume_unwind(Box::new("inside"))).resume());
        assert_eq!(inside.join().unwrap_err().message(), Some("inside"));
        let done = spawn(|| {
            generator::done::<()>() // ends a generator, and a tasklet is not one
        });
        assert!(done.join().is_err());
        assert_eq!(spawn(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn a_run_inside_of_a_raw_generator_outside_of_any_run_is_a_run() {
    let result = Cell::new(0);
    let mut outer = raw(|| result.set(run(|| spawn(|| 1).join().unwrap())));
    outer.resume();
    assert!(outer.is_done());
    assert_eq!(result.get(), 1);
}

#[test]
fn leaving_an_outer_raw_generator_from_a_tasklet_is_giving_way() {
    if !real_stacks() {
        return;
    }
    let order = RefCell::new(Vec::new());
    let mut outer: Raw<'_> =
        Gn::<()>::new_scoped_opt_local(WORDS, |mut s: Scope<'_, '_, (), u32>| {
            run(|| {
                let (tx, rx) = channel::<u8>();
                scope(|children| {
                    children.spawn(|| {
                        for value in 0..3 {
                            order.borrow_mut().push(format!("sends {value}"));
                            tx.send(value).unwrap();
                        }
                    });
                    for _ in 0..3 {
                        s.yield_with(1); // the generator on top is the root tasklet's
                        let value = rx.recv().unwrap();
                        order.borrow_mut().push(format!("gets {value}"));
                    }
                });
            });
            7
        });
    assert_eq!(outer.resume(), Some(7), "it was never left");
    assert!(outer.is_done());
    assert_eq!(order.borrow().len(), 6);
}

#[test]
fn leaving_an_outer_raw_generator_in_an_unwind_lets_nobody_see_the_panic() {
    if !real_stacks() {
        return;
    }
    let seen = Cell::new(0);
    let mut outer: Raw<'_> = Gn::<()>::new_scoped_opt_local(WORDS, |s: Scope<'_, '_, (), u32>| {
        struct Leave<'a, 'b>(RefCell<Scope<'a, 'b, (), u32>>);
        impl Drop for Leave<'_, '_> {
            fn drop(&mut self) {
                self.0.borrow_mut().yield_with(1);
            }
        }
        let leave = Leave(RefCell::new(s));
        let ended = Runtime::builder().build().run(|| {
            scope(|children| {
                children.spawn(|| {
                    (0..10).for_each(|_| {
                        seen.set(seen.get() + u32::from(std::thread::panicking()));
                        yield_now();
                    });
                });
                let _leave = leave;
                yield_now();
                std::panic::resume_unwind(Box::new("on purpose"))
            })
        });
        let ended: Result<(), _> = ended;
        assert!(matches!(ended, Err(RunError::Panicked(_))));
        7
    });
    assert_eq!(outer.resume(), Some(7));
    assert_eq!(seen.get(), 0);
}

/// Leaves the raw generator that is on top, which must have been made by [`loose`].
#[allow(deprecated, reason = "only the deprecated functions reach a generator without its scope")]
fn leave_top() {
    generator::yield_with(1_u32);
}

/// A raw generator that [`leave_top`] can leave.
#[allow(deprecated, reason = "see `leave_top`")]
fn loose(f: impl FnOnce() -> u32 + Send + 'static) -> Generator<'static, (), u32> {
    Gn::<()>::new_opt(WORDS, f)
}

/// A runtime whose scheduler is left at every switch to a tasklet.
fn left_at_switches() -> Runtime {
    let hook = |event: &Event| {
        if matches!(event, Event::Switched { from: None, .. }) {
            leave_top();
        }
    };
    Runtime::builder().on_event(hook).build()
}

#[test]
fn a_second_run_is_refused_while_a_first_one_is_left_through_a_raw_generator() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        let mut first = loose(|| left_at_switches().run(|| spawn(|| 5).join().unwrap()).unwrap());
        let mut second = loose(|| match left_at_switches().run(|| 6) {
            Err(RunError::Nested) => 77,
            other => panic!("{other:?}"),
        });
        assert_eq!(first.resume(), Some(1), "it is left in the middle of its run");
        assert_eq!(second.resume(), Some(77));
        assert!(current().is_none());
        assert!(matches!(Runtime::builder().build().run(|| 1), Err(RunError::Nested)));
        let results: Vec<_> = first.by_ref().collect();
        assert_eq!(results.last(), Some(&5));
        assert_eq!(run(|| 8), 8, "now it is over");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_tasklet_left_through_a_raw_coroutine_waits_for_nobody_outside() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        let mut mark = 0_u8;
        let mut first = loose(|| {
            run(|| {
                let inside = spawn(|| {
                    generator::co_yield_with(2_u32);
                    current().unwrap().path()
                });
                assert_eq!(inside.join().unwrap(), "root.0");
                4
            })
        });
        first.set_local_data(&raw mut mark);
        assert_eq!(first.resume(), Some(2), "it is left in the middle of a tasklet");
        let (_tx, rx) = channel::<u8>();
        let waited = catch_unwind(AssertUnwindSafe(|| rx.recv()));
        assert!(waited.is_err(), "this is not the tasklet's stack: {waited:?}");
        let gave_way = catch_unwind(yield_now);
        assert!(gave_way.is_err());
        assert!(matches!(Runtime::builder().build().run(|| 1), Err(RunError::Nested)));
        assert_eq!(first.resume(), Some(4));
        assert!(current().is_none());
        assert_eq!(run(|| 8), 8);
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_run_that_is_left_through_a_raw_generator_and_dropped_is_unwound() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        let mut first = loose(|| {
            let ended = left_at_switches().run(|| spawn(pause).join().is_ok());
            u32::from(ended.is_err())
        });
        assert_eq!(first.resume(), Some(1));
        drop(first);
        assert!(current().is_none());
        assert_eq!(run(|| spawn(|| 8).join().unwrap()), 8);
    }) else {
        return;
    };
    ended.well();
}

/// Leaves the run in `inside`, lets a panic drop it, and looks at what is left.
fn dropped_by_a_panic(mut inside: Generator<'static, (), u32>) {
    assert!(inside.resume().is_some());
    // `generator` frees the stack then, and runs no destructors.
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let _inside = inside;
        std::panic::resume_unwind(Box::new("meanwhile"))
    }));
    assert!(caught.map(|never: ()| never).is_err());
    let (_tx, rx) = channel::<u8>();
    for _ in 0..3 {
        assert!(!matches!(catch_unwind(AssertUnwindSafe(|| rx.recv())), Ok(Ok(_))));
        assert!(matches!(Runtime::builder().build().run(|| 1), Ok(1) | Err(RunError::Nested)));
    }
}

#[test]
fn a_run_that_a_panic_drops_with_its_raw_generator_is_never_entered_again() {
    if !real_stacks() {
        return;
    }
    let left = || dropped_by_a_panic(loose(|| left_at_switches().run(|| 5).unwrap()));
    let Some(ended) = isolated(left) else { return };
    ended.well();
}

#[test]
fn a_tasklet_that_a_panic_drops_with_its_raw_coroutine_is_never_entered_again() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        let mut mark = 0_u8;
        let mut inside = loose(|| {
            run(|| spawn(|| generator::co_yield_with(2_u32)).join().unwrap());
            4
        });
        inside.set_local_data(&raw mut mark);
        dropped_by_a_panic(inside);
    }) else {
        return;
    };
    ended.well();
}
