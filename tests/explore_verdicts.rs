//! What a verdict says is so: no trace that fails is missed, and none is made up.

use std::panic::resume_unwind;
use tasklets::explore::{
    Explore, Explored, Program, Search, Settings, Verdict, every_choice, every_state, exhaust,
};
use tasklets::{TaskletRef, channel, current, pause, spawn, try_scope, yield_now};

/// Explores all of it.
fn whole(main: impl Fn()) -> Explored {
    Explore::new().search(Search::Exhaustive).all_failures(true).run(main)
}

/// Every trace is executed once, and so many fail.
fn once(verdict: &Verdict, failures: usize) {
    assert!(verdict.exhausted, "{verdict}");
    assert_eq!(verdict.executions, verdict.traces, "{verdict}");
    assert_eq!(verdict.failures.len(), failures, "{verdict}");
}

/// Two cancel each other at the same operation; which of them is first decides whether it fails.
fn who_cancels_first() {
    let ((ta, ra), (tb, rb)) = (channel::<TaskletRef>(), channel::<TaskletRef>());
    let a = spawn(move || {
        let Ok(b) = ra.recv() else { return };
        b.cancel();
        assert!(!current().unwrap().is_cancelled(), "b came first");
        assert!(pause().is_err());
    });
    let b = spawn(move || {
        let Ok(a) = rb.recv() else { return };
        a.cancel();
        assert!(pause().is_err());
    });
    let (ha, hb) = (a.handle(), b.handle());
    yield_now();
    let one = tb.send(ha.clone()).is_ok();
    let sent = (ta.send(hb.clone()).is_ok(), one);
    if sent != (true, true) {
        ha.cancel();
        hb.cancel();
    }
    let a = a.join();
    let _ = b.join();
    if let (true, true, Err(error)) = (sent.0, sent.1, a) {
        error.resume();
    }
}

#[test]
fn who_cancels_whom_tells_traces_and_states_apart() {
    let program = Program::new("first", &who_cancels_first);
    let settings = Settings::default();
    let verdict = exhaust(&program, &settings);
    assert!(!verdict.failures.is_empty(), "{verdict}");
    once(&verdict, verdict.failures.len());
    let all = every_choice(&program, &settings, &mut |_, _| ());
    assert_eq!((all.traces, all.failures.len()), (verdict.traces, verdict.failures.len()), "{all}");
    let states = every_state(&program, &settings, &mut |_, _| ());
    assert!(!states.failures.is_empty(), "{states}");
    assert!(whole(who_cancels_first).report.is_some());
}

#[test]
fn a_scope_that_cancels_its_children_has_as_many_traces_as_executions() {
    let explored = whole(|| {
        let ended = try_scope(|s| {
            s.spawn(|| {
                resume_unwind(Box::new("on purpose"));
            });
            s.spawn(|| ());
            s.spawn(|| ());
            s.cancel();
        });
        drop(ended);
    });
    once(&explored.verdict, 0);
}
