//! Hostile programs and extreme settings: every exploration ends with a named verdict.

mod support;

use std::ffi::OsString;
use std::num::NonZero;
use std::os::unix::ffi::OsStringExt;
use std::panic::{catch_unwind, panic_any};
use std::time::Duration;
use support::{Isolation, isolated};
use tasklets::explore::{Explore, Mode, Search};
use tasklets::{channel, scope, select, spawn, yield_now};

/// Explores `main` in some ways; how it fails. Nothing escapes.
fn outcome(main: fn()) -> String {
    catch_unwind(|| explore(main)).unwrap_or_else(|payload| {
        std::mem::forget(payload);
        panic!("a panic of the program escapes");
    })
}

fn explore(main: fn()) -> String {
    let searches = [Search::Portfolio, Search::Exhaustive, Search::Random(Mode::Walk)];
    let outcomes = searches.map(|it| {
        let explored = Explore::new().name("hostile").search(it).executions(40).run(main);
        let report = explored.report.expect("it fails");
        let again = Explore::new().name("hostile").replay(&report.replay, main).unwrap();
        assert_eq!(again.report.unwrap().outcome, report.outcome);
        report.outcome
    });
    assert!(outcomes.iter().all(|it| *it == outcomes[0]), "{outcomes:?}");
    outcomes.into_iter().next().unwrap()
}

/// Panics with another one of it when it is dropped, so many times.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Bomb(self.0 - 1));
        }
    }
}

#[test]
fn a_panic_whose_payload_panics_when_it_is_dropped_is_a_panic() {
    assert!(outcome(|| panic_any(Bomb(1))).starts_with("root panicked: "));
    assert!(outcome(|| panic_any(Bomb(9))).starts_with("root panicked: "));
    let detached = outcome(|| drop(spawn(|| panic_any(Bomb(9)))));
    assert!(detached.starts_with("root.0 panicked: "), "{detached}");
    let held = outcome(|| {
        let child = spawn(|| panic_any(Bomb(1)));
        yield_now();
        std::mem::forget(child);
    });
    assert!(held.starts_with("root.0 panicked: "), "{held}");
    let scoped = outcome(|| scope(|s| drop(s.spawn(|| panic_any(Bomb(2))))));
    assert!(scoped.contains(" panicked: "), "{scoped}");
    // Who joins it drops it, and that is a panic of its own.
    let joined = outcome(|| drop(spawn(|| panic_any(Bomb(1))).join()));
    assert!(joined.starts_with("root panicked: "), "{joined}");
    let twice = outcome(|| {
        drop(spawn(|| panic_any(Bomb(9))));
        panic_any(Bomb(9));
    });
    assert!(twice.contains(" panicked: "), "{twice}");
}

#[test]
fn a_payload_that_panics_at_the_end_of_a_run_that_is_given_up_counts_for_nothing() {
    let stuck = outcome(|| {
        let _bomb = Bomb(3);
        let _ = tasklets::pause();
    });
    assert!(stuck.starts_with("deadlock"), "{stuck}");
}

#[test]
fn an_operation_of_too_many_branches_is_refused() {
    let select = outcome(|| {
        let (_tx, rx) = channel::<()>();
        let mut operations: Vec<_> = (0..=1 << 16).map(|_| rx.receiving()).collect();
        let mut arms: Vec<_> = operations.iter_mut().map(|it| it as &mut dyn select::Arm).collect();
        select::select(&mut arms);
    });
    let why = "root cannot be explored: an operation of more than 65,536 branches, at tests";
    assert!(select.starts_with(why), "{select}");
}

/// Two senders; right in any order.
fn right() {
    let (tx, rx) = channel();
    for number in 1..=2 {
        let tx = tx.clone();
        spawn(move || tx.send(number));
    }
    drop(tx);
    assert_eq!(rx.iter().sum::<i32>(), 3);
}

#[test]
fn extreme_settings_have_an_effect_and_no_alarm() {
    let searches = [
        Search::Portfolio,
        Search::Exhaustive,
        Search::States,
        Search::Within(0),
        Search::Within(usize::MAX),
    ];
    for search in searches {
        let explorer = Explore::new().name("right").search(search);
        let least = explorer.clone().executions(0).run(right);
        assert_eq!(least.verdict.executions, 1, "{search:?}");
        assert!(least.report.is_none() && !least.verdict.exhausted, "{search:?}");
        let most = explorer.executions(u64::MAX).events(usize::MAX).seed(u64::MAX);
        let most = most.step_limit(Duration::MAX).run(right);
        let limited = matches!(search, Search::Within(_));
        assert_eq!(most.verdict.exhausted, !limited, "{search:?}: {}", most.verdict);
        assert!(most.report.is_none(), "{search:?}");
    }
    for mode in [Mode::Pct(0), Mode::Pct(u32::MAX), Mode::Weighted, Mode::Selective] {
        let explorer = Explore::new().search(Search::Random(mode)).executions(20);
        assert_eq!(explorer.clone().seed(0).run(right).verdict.executions, 20);
        assert_eq!(explorer.seed(u64::MAX).run(right).verdict.executions, 20);
    }
    // No run ends within one event, and each ends within two.
    let cut = Explore::new().events(0).endless(true).run(right);
    assert!(cut.verdict.cut == cut.verdict.executions && !cut.verdict.exhausted);
}

#[test]
fn any_number_of_threads_is_taken() {
    for search in [Search::Exhaustive, Search::Random(Mode::Walk)] {
        let explorer = Explore::new().search(search).executions(10);
        let one = explorer.run(right).verdict.to_string();
        let many = explorer.run_parallel(NonZero::<usize>::MAX, right).verdict.to_string();
        assert_eq!(one, many);
        let none = explorer.executions(0).run_parallel(NonZero::new(3).unwrap(), right);
        assert_eq!(none.verdict.executions, 1);
    }
}

#[test]
fn garbage_in_the_environment_is_named() {
    let texts =
        ["", ":", "v2", "v2::", "v2:right:", "v2:right:=zz:0000", "v0:right::0000", "\u{1F41F}"];
    let texts = texts.map(OsString::from).into_iter();
    for text in texts.chain([OsString::from_vec(vec![b'v', 0xFF, b':'])]) {
        let ended = Isolation::default().env("TASKLETS_REPLAY", text).run(|| {
            drop(Explore::new().name("right").run(right));
        });
        let Some(ended) = ended else { return };
        assert!(ended.code.is_some_and(|it| it != 0), "{}", ended.text);
        ended.saying(&["TASKLETS_REPLAY: the replay string is "]);
    }
}

#[test]
fn eight_threads_explore_at_once_each_for_itself() {
    let explore = |nth: i32| {
        let program = move || {
            let (tx, rx) = channel();
            for number in 0..3 {
                let tx = tx.clone();
                spawn(move || tx.send(number));
            }
            assert_ne!(rx.recv(), Ok(nth), "thread {nth}");
            drop(tx);
            rx.iter().for_each(drop);
        };
        let explored = Explore::new().name("one of many").search(Search::Exhaustive).run(program);
        explored.report.map(|it| it.outcome)
    };
    let all: Vec<_> = std::thread::scope(|s| {
        let all: Vec<_> = (0..8).map(|nth| s.spawn(move || explore(nth))).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for (nth, outcome) in all.into_iter().enumerate() {
        let text = outcome.unwrap_or_default();
        assert_eq!(text.contains(&format!("thread {nth}")), nth < 3, "{nth}: {text}");
    }
}

#[test]
fn a_run_of_a_hundred_thousand_events_is_nothing_special() {
    let program = |fails: bool| {
        move || {
            let (tx, rx) = channel();
            spawn(move || (0..100_000).for_each(|it| tx.send(it).unwrap()));
            assert_eq!(rx.iter().count(), 100_000);
            assert!(!fails, "at the end");
        }
    };
    let explorer = Explore::new().name("long").events(200_000).executions(1);
    let explored = explorer.clone().search(Search::Random(Mode::Walk)).run(program(false));
    assert!(explored.report.is_none() && explored.verdict.cut == 0, "{}", explored.verdict);
    let report = explorer.run(program(true)).report.unwrap();
    assert!(report.outcome.contains("at the end") && report.events >= 100_000, "{report}");
    assert!(report.replay.len() < 200);
}

#[test]
fn a_panic_hook_of_the_user_is_called_for_what_is_not_explored() {
    let ended = isolated(|| {
        std::panic::set_hook(Box::new(|info| eprintln!("my hook: {info}")));
        let panics = || panic!("explored");
        assert!(Explore::new().run(panics).report.unwrap().outcome.contains("explored, at tests"));
        drop(catch_unwind(|| panic!("not explored")));
    });
    if let Some(ended) = ended {
        ended.well().saying(&["my hook: ", "not explored"]).silent_about(&["\nexplored"]);
    }
}

#[test]
fn a_panic_hook_that_the_program_sets_sees_its_panics_and_changes_no_verdict() {
    let ended = isolated(|| {
        let panics = || {
            std::panic::set_hook(Box::new(|_| eprintln!("inner hook")));
            let (tx, rx) = channel();
            for number in 1..=2 {
                let tx = tx.clone();
                spawn(move || tx.send(number));
            }
            drop(tx);
            let first = rx.recv();
            rx.iter().for_each(drop);
            assert_eq!(first, Ok(1), "explored");
        };
        for _ in 0..2 {
            let explored = Explore::new().name("hook").search(Search::Exhaustive).run(panics);
            let report = explored.report.unwrap();
            assert!(report.outcome.contains("explored"), "{report}");
            let again = Explore::new().name("hook").replay(&report.replay, panics).unwrap();
            assert!(again.report.unwrap().outcome.contains("explored"));
        }
    });
    if let Some(ended) = ended {
        ended.well().saying(&["inner hook"]);
    }
}

#[test]
fn who_spawns_deeper_and_deeper_is_refused_at_once() {
    fn detached() {
        spawn(detached);
    }
    fn joined() {
        let _ = spawn(joined).join();
    }
    for main in [detached, joined] {
        let outcome = outcome(main);
        let named = "cannot be explored: spawning more than 1,000 deep";
        assert!(outcome.contains(named) && outcome.contains(".rs:"), "{outcome}");
        // Of the name the first generations are left out.
        assert!(outcome.starts_with("root.(937 more).0.") && outcome.len() < 400, "{outcome}");
    }
}

#[test]
fn who_spawns_more_and_more_at_every_generation_is_refused_at_once() {
    fn twins() {
        spawn(twins);
        spawn(twins);
    }
    let explored = Explore::new().run(twins);
    let report = explored.report.expect("it fails");
    assert!(report.outcome.contains("cannot be explored: spawning more than"), "{report}");
    assert_eq!(explored.verdict.executions, 1);
}

#[test]
fn a_program_that_spawns_deep_but_not_without_end_is_explored() {
    fn line(more: u32) {
        if more > 0 {
            spawn(move || line(more - 1)).join().unwrap();
        }
    }
    let verdict = Explore::new().search(Search::Exhaustive).check(|| line(900));
    assert!(verdict.exhausted);
}
