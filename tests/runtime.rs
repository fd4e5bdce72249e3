//! Runtimes: driven from outside, watched by hooks, one after the other.

mod support;

use std::cell::Cell;
use std::time::Duration;
use support::isolated;
use tasklets::{Event, Progress, RunError, Runtime, current, scope, sleep, spawn};

#[test]
fn what_never_sleeps_does_not_move_virtual_time() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let sleeper = runtime.spawn(|| sleep(Duration::from_secs(1))).unwrap();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Idle);
    assert_eq!(runtime.run_for(100).unwrap(), Progress::Idle);
    assert_eq!(runtime.step().unwrap(), Progress::Idle);
    assert!(!sleeper.is_finished());
    assert_eq!(runtime.next_timer(), Some(Duration::from_secs(1)));
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert!(sleeper.is_finished());
}

#[test]
fn the_first_tasklet_of_every_run_is_its_root() {
    let runtime = Runtime::builder().build();
    for _ in 0..2 {
        assert_eq!(runtime.run(|| current().unwrap().path()).unwrap(), "root");
    }
}

#[test]
fn a_hook_that_panics_when_a_tasklet_ends_ends_the_run() {
    let Some(ended) = isolated(|| {
        let hook = |event: &Event| assert!(!matches!(event, Event::Finished { .. }), "hook");
        let ended = Runtime::builder().on_event(hook).build().run(|| spawn(|| ()).join().unwrap());
        assert!(matches!(ended, Err(RunError::Panicked(_))), "{ended:?}");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_hook_that_panics_when_a_child_is_made_leaves_no_child_behind() {
    let Some(ended) = isolated(|| {
        let made = Cell::new(0);
        let hook = move |event: &Event| {
            if matches!(event, Event::Spawned { .. }) {
                made.set(made.get() + 1);
                assert!(made.get() < 2, "hook");
            }
        };
        let runtime = Runtime::builder().on_event(hook).build();
        let ended = runtime.run(|| scope(|s| s.spawn(|| ()).join().unwrap()));
        assert!(matches!(ended, Err(RunError::Panicked(_))), "{ended:?}");
    }) else {
        return;
    };
    ended.well();
}
