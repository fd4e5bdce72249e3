//! Runs that take turns through raw generators of the user and end in the wrong order.

mod support;

use generator::{Generator, Gn};
use support::{isolated, real_stacks};
use tasklets::{Event, Runtime, current, pause, run, spawn};

/// Words of a raw generator's stack that has room for a whole run.
const WORDS: usize = 64 * 1024;

/// A raw generator that can be left without its scope.
#[allow(deprecated, reason = "only the deprecated functions reach a generator without its scope")]
fn loose(f: impl FnOnce() -> u32 + Send + 'static) -> Generator<'static, (), u32> {
    Gn::<()>::new_opt(WORDS, f)
}

/// A runtime whose scheduler leaves the generator on top at every switch to a tasklet.
#[allow(deprecated, reason = "see `loose`")]
fn left_at_switches() -> Runtime {
    let hook = |event: &Event| {
        if matches!(event, Event::Switched { from: None, .. }) {
            generator::yield_with(1_u32);
        }
    };
    Runtime::builder().on_event(hook).build()
}

/// A raw coroutine that is left in the middle of a tasklet of its own run.
fn left_in_a_tasklet(run: impl FnOnce() + Send + 'static) -> Generator<'static, (), u32> {
    let mut coroutine = loose(move || {
        run();
        3
    });
    // Makes it what `co_yield_with` leaves, past the stack of the tasklet. It is not looked at.
    coroutine.set_local_data(Box::leak(Box::new(0_u8)));
    assert_eq!(coroutine.resume(), Some(1), "it is left in the middle of a tasklet");
    coroutine
}

/// A run of a tasklet that leaves its coroutine.
fn leaves_while_it_runs() {
    run(|| spawn(|| generator::co_yield_with(1_u32)).join().unwrap());
}

/// The end of a runtime whose tasklet leaves its coroutine: that may happen inside of another run.
fn leaves_while_it_ends() {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            generator::co_yield_with(1_u32);
        }
    }
    let runtime = Runtime::builder().build();
    let leave = Leave;
    drop(runtime.spawn(move || drop(leave)));
}

/// Ends `first` while `second` is left in the middle.
fn end_crosswise(mut first: Generator<'static, (), u32>, mut second: Generator<'static, (), u32>) {
    for coroutine in [&mut first, &mut second] {
        while !coroutine.is_done() {
            coroutine.resume();
        }
    }
    assert!(current().is_none());
    assert!(tasklets::snapshot().is_none(), "no run is under way");
    assert_eq!(run(|| spawn(|| 8).join().unwrap()), 8);
}

/// The process ends well, or refuses to go on and says why; it never uses freed memory.
#[track_caller]
fn defined(ended: Option<support::Ended>) {
    match ended {
        Some(ended) if ended.signal == Some(support::SIGABRT) => {
            ended.saying(&["tasklets:", "generator"]);
        }
        Some(ended) => drop(ended.well()),
        None => {}
    }
}

#[test]
fn two_runtimes_that_end_crosswise_through_raw_generators_leave_nothing_behind() {
    if !real_stacks() {
        return;
    }
    defined(isolated(|| {
        let ends_slowly = || {
            loose(|| {
                let runtime = left_at_switches();
                drop(runtime.spawn(pause));
                drop(runtime); // only the end of a runtime may happen inside of another run
                3
            })
        };
        let (mut first, mut second) = (ends_slowly(), ends_slowly());
        assert_eq!((first.resume(), second.resume()), (Some(1), Some(1)));
        end_crosswise(first, second);
    }));
}

#[test]
fn two_ends_of_runtimes_that_cross_through_raw_coroutines_abort_with_a_message_or_end() {
    if !real_stacks() {
        return;
    }
    defined(isolated(|| {
        let first = left_in_a_tasklet(leaves_while_it_ends);
        end_crosswise(first, left_in_a_tasklet(leaves_while_it_ends));
    }));
}

#[test]
fn a_run_and_the_end_of_a_runtime_that_cross_through_raw_coroutines_abort_or_end() {
    if !real_stacks() {
        return;
    }
    defined(isolated(|| {
        let first = left_in_a_tasklet(leaves_while_it_runs);
        end_crosswise(first, left_in_a_tasklet(leaves_while_it_ends));
    }));
}

#[test]
fn runs_in_raw_coroutines_that_end_innermost_first_end() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        let outer = left_in_a_tasklet(leaves_while_it_runs);
        end_crosswise(left_in_a_tasklet(leaves_while_it_ends), outer);
    }) else {
        return;
    };
    ended.well();
}
