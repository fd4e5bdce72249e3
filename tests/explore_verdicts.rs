//! What a verdict says is so: no trace that fails is missed, and none is made up.

use std::panic::resume_unwind;
use std::time::Duration;
use tasklets::explore::{
    Explore, Explored, Mode, Program, Search, Settings, Verdict, every_choice, every_state, exhaust,
};
use tasklets::{
    Builder, Halt, TaskletRef, after, channel, current, now, pause, scope_within, select, sleep,
    spawn, try_scope, yield_now,
};

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

const MILLI: Duration = Duration::from_millis(1);

/// Nothing fails, in whatever way it is searched.
fn never_fails(lax: bool, main: impl Fn()) {
    let explorer = Explore::new().lax_timers(lax);
    let verdict = explorer.clone().search(Search::Exhaustive).check(&main);
    assert!(verdict.exhausted, "{verdict}");
    explorer.executions(200).check(&main);
}

/// Some run fails.
fn may_fail(lax: bool, main: impl Fn()) {
    for search in [Search::Exhaustive, Search::Portfolio] {
        let report = Explore::new().lax_timers(lax).search(search).run(&main).report;
        assert!(report.is_some(), "lax {lax}, {search:?}");
    }
}

/// What is ready is done within `limit`.
fn what_is_ready_is_in_time(limit: Duration) {
    let (tx, rx) = channel::<u8>();
    drop(tx);
    assert_eq!(rx.recv_timeout(limit), Err(Halt::Closed));
    assert_eq!(rx.recv_deadline(now() + limit), Err(Halt::Closed));
    let (tx, rx) = channel::<u8>();
    drop(rx);
    assert_eq!(tx.send_timeout(1, limit).map_err(|it| it.why), Err(Halt::Closed));
    select! {
        op(after(Duration::ZERO)) -> _ => (),
        default(limit) => panic!("a time limit came before a timer that was due"),
    }
}

#[test]
fn an_operation_that_is_sure_to_be_ready_is_tried_before_its_own_time_limit() {
    never_fails(false, || what_is_ready_is_in_time(Duration::ZERO));
    never_fails(true, || what_is_ready_is_in_time(Duration::ZERO));
    never_fails(true, || what_is_ready_is_in_time(3 * MILLI));
}

#[test]
fn a_timer_beside_an_operation_that_is_ready_may_be_chosen() {
    let both = |delay| {
        let (tx, rx) = channel::<u8>();
        drop(tx);
        select! {
            recv(rx) -> _ => (),
            op(after(delay)) -> _ => panic!("the timer was chosen"),
        }
    };
    may_fail(false, || both(Duration::ZERO));
    may_fail(true, || both(Duration::ZERO));
    may_fail(true, || both(MILLI));
}

#[test]
fn a_time_limit_ends_what_is_not_sure_to_be_ready() {
    let late = |limit| {
        let (tx, rx) = channel::<u8>();
        spawn(move || drop(tx));
        assert_eq!(rx.recv_timeout(limit), Err(Halt::Closed));
    };
    may_fail(false, || late(Duration::ZERO));
    may_fail(true, || late(MILLI));
    never_fails(false, || late(MILLI));
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn time_does_not_go_backwards_across_the_end_of_a_tasklet() {
    never_fails(true, || {
        let before = now();
        let child = spawn(|| {
            sleep(SECOND).unwrap();
            now()
        });
        let ended = child.join().unwrap();
        assert!(ended >= before + SECOND);
        assert!(now() >= ended);
    });
    // Nor if nobody joins it, but finds that it is too late to stop it.
    never_fails(true, || {
        let (tx, rx) = channel();
        let child = spawn(move || {
            sleep(SECOND).unwrap();
            rx.recv().unwrap();
        });
        tx.send(()).unwrap();
        let sent = now();
        child.cancel();
        assert!(now() >= sent);
    });
}

#[test]
fn time_does_not_go_backwards_across_a_close() {
    never_fails(true, || {
        let (tx, rx) = channel::<u8>();
        let child = spawn(move || {
            sleep(SECOND).unwrap();
            let dropped = now();
            drop(tx);
            dropped
        });
        assert_eq!(rx.recv(), Err(Halt::Closed));
        let closed = now();
        assert!(closed >= child.join().unwrap());
    });
    // Every handle was dropped before, not only the last one.
    never_fails(true, || {
        let (tx, rx) = channel::<u8>();
        let before = now();
        for delay in [SECOND, 2 * SECOND] {
            let rx = rx.clone();
            spawn(move || {
                sleep(delay).unwrap();
                drop(rx);
            });
        }
        drop(rx);
        assert_eq!(tx.send(1).map_err(|it| it.why), Err(Halt::Closed));
        assert!(now() >= before + 2 * SECOND);
    });
}

#[test]
fn time_does_not_go_backwards_for_who_was_held() {
    never_fails(true, || {
        let (tx, rx) = channel::<u8>();
        let before = now();
        spawn(move || {
            let held = rx.recv_held().unwrap();
            sleep(SECOND).unwrap();
            drop(held);
        });
        drop(tx.send(1));
        assert!(now() >= before + SECOND);
    });
}

#[test]
fn a_scope_whose_child_timed_out_has_expired() {
    never_fails(true, || {
        let timed = scope_within(SECOND, |s| {
            let child = s.spawn(pause);
            child.join().is_ok_and(|it| it == Err(Halt::TimedOut))
        });
        assert!(timed.expired);
    });
}

#[test]
fn time_does_not_go_backwards_when_the_end_of_the_root_cancels_the_others() {
    never_fails(true, || {
        for delay in [SECOND, 2 * SECOND] {
            let late = move || {
                let _ = sleep(delay);
                let before = now();
                assert!(pause().is_err());
                assert!(now() >= before);
            };
            Builder::new().daemon(true).spawn(late).unwrap();
        }
        sleep(SECOND).unwrap();
    });
}

#[test]
fn of_two_that_panic_a_report_names_the_one_that_its_replay_names_and_is_shrunk() {
    let main = || {
        for nth in 0..2 {
            spawn(move || {
                yield_now();
                panic!("this is number {nth}");
            });
        }
        yield_now();
        yield_now();
    };
    for mode in [Mode::Walk, Mode::Pos, Mode::Pct(2), Mode::Pairs] {
        for seed in 0..30 {
            let explore = Explore::new().name("two").search(Search::Random(mode)).seed(seed);
            let report = explore.run(main).report.unwrap();
            let again = explore.replay(&report.replay, main).unwrap().report.unwrap();
            assert_eq!(again.outcome, report.outcome);
            assert!(report.overrides.is_empty(), "{mode:?} {seed}: {report}");
        }
    }
}
