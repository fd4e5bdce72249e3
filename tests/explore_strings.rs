//! A replay string is all that it takes to see a failure again, and can be pasted into a shell.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use support::Isolation;
use tasklets::explore::{Explore, ReplayError, Search, explore, replay};
use tasklets::{channel, spawn, yield_now};

/// An answer that a timeout may overtake if timers are lax.
fn answer() {
    let (tx, rx) = channel();
    spawn(move || tx.send(1));
    assert!(rx.recv_timeout(Duration::from_secs(1)).is_ok(), "it came too late");
}

/// Two of three who send in another order than they were spawned.
fn order() {
    let (tx, rx) = channel();
    for number in 0..3 {
        let tx = tx.clone();
        spawn(move || tx.send(number).unwrap());
    }
    drop(tx);
    assert_ne!(rx.iter().collect::<Vec<_>>(), [2, 1, 0], "they came in reverse");
}

fn spin() {
    loop {
        yield_now();
    }
}

#[test]
fn a_string_needs_no_other_settings() {
    let cases: [(Explore, fn(), &str); 5] = [
        (Explore::new().lax_timers(true), answer, "it came too late"),
        (Explore::new().lax_timers(true).name("mine"), answer, "it came too late"),
        (Explore::new().events(300), spin, "livelock"),
        (Explore::new().events(20_000), many, "too few"),
        (Explore::new().name("mine"), order, "they came in reverse"),
    ];
    for (explorer, main, why) in cases {
        let report = explorer.run(main).report.unwrap();
        assert!(report.outcome.contains(why), "{report}");
        assert!(report.replay.len() < 200, "{report}");
        let others = [
            Explore::new(),
            explorer,
            Explore::new().lax_timers(true).events(7),
            Explore::new().search(Search::Exhaustive).events(1_000),
        ];
        for other in others {
            let again = other.replay(&report.replay, main).unwrap();
            assert_eq!(again.report.map(|it| it.outcome), Some(report.outcome.clone()));
        }
        assert!(replay(&report.replay, main).unwrap().report.is_some());
    }
}

/// More meetings than a run mostly has, then a panic.
fn many() {
    let (tx, rx) = channel();
    spawn(move || (0..12_000).for_each(|it| drop(tx.send(it))));
    assert!(rx.iter().count() > 12_000, "too few");
}

#[test]
fn the_environment_needs_no_other_settings() {
    let lax = || Explore::new().name("lax");
    let report = lax().lax_timers(true).run(answer).report.unwrap();
    let text: &'static str = Box::leak(report.replay.into_boxed_str());
    let ended = Isolation::default().env("TASKLETS_REPLAY", text).run(move || {
        let explored = lax().run(answer);
        assert_eq!(explored.verdict.executions, 1, "the environment is not asked");
        eprintln!("{}", explored.report.unwrap());
    });
    if let Some(ended) = ended {
        let text = ended.text;
        assert!(ended.code == Some(0) && text.contains("it came too late"), "{text}");
    }
}

#[test]
fn a_string_of_a_named_program_replays_where_no_name_is_set_and_another_program_is_refused() {
    let text = Explore::new().name("mine").run(order).report.unwrap().replay;
    assert!(replay(&text, order).unwrap().report.is_some());
    let named = Explore::new().name("other").replay(&text, order);
    assert_eq!(named.unwrap_err(), ReplayError::Program("mine".into()));
    assert_eq!(replay(&text, answer).unwrap_err(), ReplayError::Changed);
}

#[test]
fn a_string_of_another_version_says_so() {
    let old = "v1:race:=5a6e8e,2@0.0d:0a75";
    let error = replay(old, order).unwrap_err();
    assert_eq!(error, ReplayError::Version("v1".into()));
    assert!(error.to_string().contains("version `v1`, this is v2"), "{error}");
}

#[test]
fn the_string_of_a_program_with_any_name_is_short_and_stands_between_quotes() {
    let long = "x".repeat(500);
    let names = [
        "",
        "a:b",
        "a'b",
        "a b\nc",
        "a\\b",
        "é:日本",
        "v1:",
        "\u{1F41F}",
        "~",
        "=",
        "\u{202E}abc",
        &long,
        "a::module::of::tests::a_law_that_holds_under_every_schedule_of_a_program",
    ];
    let mut texts = std::collections::BTreeSet::new();
    for name in names {
        let explorer = Explore::new().name(name);
        let report = explorer.run(order).report.unwrap();
        let text = &report.replay;
        assert!(text.len() < 200, "{name:?}: {text}");
        assert!(!text.contains(['\'', '\\']) && !text.contains(char::is_control), "{text}");
        assert!(explorer.replay(text, order).unwrap().report.is_some(), "{name:?}: {text}");
        assert!(texts.insert(report.replay), "{name:?} is written as another name");
    }
    // Of two long names that begin alike each has strings of its own.
    let text = Explore::new().name(long.clone()).run(order).report.unwrap().replay;
    let other = Explore::new().name(long + "y").replay(&text, order);
    assert!(matches!(other, Err(ReplayError::Program(_))));
}

#[test]
fn who_is_not_isolated_is_shown_with_few_overrides() {
    let shared = || {
        let shared = Rc::new(RefCell::new(Vec::new()));
        let each = (0..12).map(|number| {
            let shared = shared.clone();
            spawn(move || {
                shared.borrow_mut().push(number);
                if shared.borrow().len() == 1 {
                    yield_now();
                }
            })
        });
        each.collect::<Vec<_>>().into_iter().for_each(|it| it.join().unwrap());
    };
    let explorer = Explore::new().name("shared");
    let report = explorer.run(shared).report.unwrap();
    assert!(report.outcome.contains("is not isolated"), "{report}");
    assert!(report.overrides.len() <= 1 && report.replay.len() < 100, "{report}");
    assert!(report.search.contains("shrunk by"), "{report}");
    let again = explorer.replay(&report.replay, shared).unwrap().report.unwrap();
    assert!(again.outcome.contains("is not isolated"), "{again}");
}

#[test]
fn the_string_of_what_is_never_the_same_is_short() {
    let count = Cell::new(0_u32);
    let explorer = Explore::new().name("odd");
    let report = explorer.run(|| {
        let (tx, rx) = channel();
        for number in 0..40 {
            let tx = tx.clone();
            spawn(move || tx.send(number).unwrap());
        }
        count.set(count.get() + 1);
        if count.get().is_multiple_of(2) {
            yield_now();
        }
        drop(tx);
        rx.iter().for_each(drop);
    });
    let report = report.report.unwrap();
    assert!(report.outcome.contains("is not the same each time"), "{report}");
    assert!(report.replay.len() < 200, "{report}");
}

#[test]
fn a_check_prints_a_string_that_fails_at_once() {
    let panic = std::panic::catch_unwind(|| explore(order)).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    let line = text.lines().find_map(|it| it.strip_prefix("replay: TASKLETS_REPLAY='")).unwrap();
    let text = line.strip_suffix('\'').unwrap();
    assert_eq!(replay(text, order).unwrap().verdict.executions, 1);
}
