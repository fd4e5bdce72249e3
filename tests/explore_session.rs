//! Exploring whole programs: every kind of failure is named, shrunk, explained and replayed.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use support::{Isolation, isolated};
use tasklets::explore::{
    Explore, Mode, Outcome, Program, ReplayError, Search, Settings, exhaust, explore, observe,
    replay,
};
use tasklets::{Builder, Sender, channel, current, sleep, spawn, yield_now};

/// Two tasklets that lock two things in different orders.
fn crosswise() {
    let lock = |name: &str| {
        let (take, taken) = channel::Builder::new().name(format!("take {name}")).channel::<()>();
        let (give, given) = channel::Builder::new().name(format!("give {name}")).channel::<()>();
        let serve = move || while taken.recv().is_ok() && given.recv().is_ok() {};
        Builder::new().name(name.to_owned()).daemon(true).spawn(serve).unwrap();
        (take, give)
    };
    let (one, two) = (lock("one"), lock("two"));
    type Lock = (Sender<()>, Sender<()>);
    let work = |name: &'static str, first: Lock, second: Lock| {
        let body = move || {
            first.0.send(()).unwrap();
            second.0.send(()).unwrap();
            second.1.send(()).unwrap();
            first.1.send(()).unwrap();
        };
        Builder::new().name(name).spawn(body).unwrap()
    };
    let left = work("left", one.clone(), two.clone());
    let right = work("right", two, one);
    left.join().unwrap();
    right.join().unwrap();
}

#[test]
fn a_deadlock_is_reported_with_those_who_wait_their_lines_and_their_circle() {
    let report = Explore::new().name("crosswise").run(crosswise).report.unwrap();
    assert!(report.outcome.starts_with("deadlock"), "{report}");
    let text = report.to_string();
    for part in ["`left`", "`right`", "`take one`", "explore_session.rs:", "TASKLETS_REPLAY='v2:"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(report.waiting.len(), 5, "{text}");
    assert!(report.why.contains("it does not fail so if"), "{text}");
    assert!(report.replay.len() < 200, "{text}");
    assert!(report.mermaid.starts_with("sequenceDiagram\n"));
    assert!(report.mermaid.contains("->>"), "{}", report.mermaid);
}

#[test]
fn a_circle_of_waiting_tasklets_is_named() {
    let report = Explore::new().run(|| {
        let ((to_a, a), (to_b, b)) = (channel::<()>(), channel::<()>());
        // Each has used its sending end, and waits for the other.
        spawn(move || (to_b.try_send(()).is_ok(), a.recv().is_ok(), drop(to_b)));
        spawn(move || (to_a.try_send(()).is_ok(), b.recv().is_ok(), drop(to_a)));
    });
    let report = report.report.unwrap();
    assert_eq!(report.cycle, ["root.0", "root.1"], "{report}");
}

#[test]
fn a_replay_string_leads_to_the_same_failure_at_once() {
    let explorer = Explore::new().name("crosswise");
    let report = explorer.run(crosswise).report.unwrap();
    let again = explorer.replay(&report.replay, crosswise).unwrap();
    assert_eq!(again.verdict.executions, 1);
    let again = again.report.unwrap();
    assert_eq!((&again.outcome, &again.chart), (&report.outcome, &report.chart));
    assert_eq!(again.waiting[1..], report.waiting[1..]); // the root is spawned at another line
}

#[test]
fn a_replay_string_that_is_not_of_this_program_says_so() {
    let explorer = Explore::new().name("crosswise");
    let text = explorer.run(crosswise).report.unwrap().replay;
    for cut in 0..text.len() {
        assert!(explorer.replay(&text[..cut], crosswise).is_err(), "{}", &text[..cut]);
    }
    let other = Explore::new().name("other").replay(&text, crosswise);
    assert_eq!(other.unwrap_err(), ReplayError::Program("crosswise".into()));
    let changed = explorer.replay(&text, || yield_now());
    assert_eq!(changed.unwrap_err(), ReplayError::Changed);
    assert!(matches!(replay("v9:a::0000", || ()), Err(ReplayError::Version(_))));
}

#[test]
fn the_environment_asks_for_a_replay() {
    let report = Explore::new().name("crosswise").run(crosswise).report.unwrap();
    let text: &'static str = Box::leak(report.replay.clone().into_boxed_str());
    let ended = Isolation::default().env("TASKLETS_REPLAY", text).run(move || {
        let one = Explore::new().name("crosswise").run(crosswise);
        assert_eq!(one.verdict.executions, 1, "the environment is not asked");
        eprintln!("{}", one.report.unwrap());
        // Another program of the same process is explored as ever.
        let other = Explore::new().name("other").executions(7).search(Search::Random(Mode::Walk));
        assert_eq!(other.run(yield_now).verdict.executions, 7);
    });
    if let Some(ended) = ended {
        assert!(ended.code == Some(0) && ended.text.contains("deadlock"), "{}", ended.text);
    }
    let ended = Isolation::default().env("TASKLETS_REPLAY", "v2:cut").run(|| {
        Explore::new().name("crosswise").run(crosswise);
    });
    if let Some(ended) = ended {
        assert!(ended.code != Some(0) && ended.text.contains("cut or changed"), "{}", ended.text);
    }
}

/// Fails if "second" comes before "first" and after "third".
fn order() {
    let (tx, rx) = channel();
    for name in ["first", "second", "third", "fourth"] {
        let tx = tx.clone();
        spawn(move || tx.send(name).unwrap());
    }
    drop(tx);
    let all: Vec<_> = rx.iter().collect();
    let place = |name| all.iter().position(|it| *it == name);
    assert!(place("third") > place("second") || place("second") > place("first"), "an order");
}

#[test]
fn a_panic_is_reported_once_with_its_line_and_what_led_to_it() {
    let report = Explore::new().run(order).report.unwrap();
    assert!(report.outcome.starts_with("root panicked: an order, at tests/explore_session.rs:"));
    assert!(report.waiting.is_empty() && report.cycle.is_empty(), "{report}");
    let overrides = report.overrides.len();
    assert!((1..=8).contains(&overrides), "{report}");
}

#[test]
fn a_check_panics_with_the_report() {
    let panic = std::panic::catch_unwind(|| explore(order)).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("an order") && text.contains("replay: TASKLETS_REPLAY="), "{text}");
}

#[test]
fn a_program_that_is_right_passes_in_every_way_of_searching() {
    let right = || {
        let (tx, rx) = channel();
        let sums = (0..3).map(|it| {
            let tx = tx.clone();
            spawn(move || tx.send(it).unwrap())
        });
        let sums: Vec<_> = sums.collect();
        assert_eq!(rx.iter().take(3).sum::<i32>(), 3);
        sums.into_iter().for_each(|it| it.join().unwrap());
    };
    for search in [
        Search::Portfolio,
        Search::Exhaustive,
        Search::States,
        Search::Random(Mode::Walk),
        Search::Random(Mode::Pct(3)),
        Search::Random(Mode::Pos),
        Search::Random(Mode::Weighted),
        Search::Random(Mode::Pairs),
    ] {
        let explored = Explore::new().search(search).executions(500).run(right);
        assert!(explored.report.is_none(), "{search:?}: {}", explored.report.unwrap());
        assert!(explored.verdict.isolated && !explored.verdict.diverged, "{search:?}");
    }
}

#[test]
fn a_tasklet_left_behind_is_a_failure_and_a_daemon_is_not() {
    let forgotten = |daemon| {
        move || {
            let (tx, rx) = channel::<()>();
            let body = move || (rx.recv().is_ok(), drop(tx));
            drop(Builder::new().daemon(daemon).spawn(body).unwrap());
        }
    };
    let report = Explore::new().run(forgotten(false)).report.unwrap();
    assert!(report.outcome.contains("others wait for ever"), "{report}");
    assert!(Explore::new().run(forgotten(true)).report.is_none());
}

#[test]
fn a_run_that_does_not_end_is_a_livelock_unless_it_is_meant_to() {
    let spin = || loop {
        yield_now();
    };
    let explored = Explore::new().name("spin").events(300).run(spin);
    let report = explored.report.unwrap();
    assert!(report.outcome.starts_with("livelock"), "{report}");
    let again = Explore::new().name("spin").events(300).replay(&report.replay, spin).unwrap();
    assert!(again.report.unwrap().outcome.starts_with("livelock"));
    let endless = Explore::new().events(300).endless(true).run(spin);
    assert!(endless.report.is_none() && endless.verdict.cut > 0 && !endless.verdict.exhausted);
}

#[test]
fn a_livelock_behind_a_poll_is_found_and_its_replay_string_is_short() {
    let program = || {
        let ((ready, polled), (tx, rx)) = (channel(), channel());
        let [one, other] = [1, 2].map(|it| {
            let tx = tx.clone();
            spawn(move || tx.send(it).unwrap())
        });
        spawn(move || ready.send(()).unwrap());
        // An unfair schedule goes on with this for ever, and that is no fault.
        while polled.try_recv().unwrap().is_none() {
            yield_now();
        }
        let first = rx.recv().unwrap();
        rx.recv().unwrap();
        if first == 2 {
            loop {
                yield_now();
            }
        }
        one.join().and(other.join()).unwrap();
    };
    for seed in 0..20 {
        let explorer = Explore::new().name("poll").seed(seed).events(200);
        let explorer = explorer.search(Search::Random(Mode::Pct(3))).executions(300);
        let report = explorer.run(program).report.unwrap();
        assert!(report.outcome.starts_with("livelock"), "{report}");
        assert!(report.replay.len() < 200 && report.overrides.len() <= 4, "{report}");
        let again = explorer.replay(&report.replay, program).unwrap();
        assert!(again.report.unwrap().outcome.starts_with("livelock"));
    }
}

#[test]
fn a_poll_that_only_an_unfair_schedule_keeps_waiting_is_no_livelock() {
    let explored = Explore::new().events(200).run(|| {
        let (tx, rx) = channel();
        spawn(move || tx.send(()).unwrap());
        while rx.try_recv().unwrap().is_none() {
            yield_now();
        }
    });
    assert!(explored.report.is_none(), "{}", explored.report.unwrap());
}

#[test]
fn state_that_tasklets_share_beside_channels_is_found() {
    let report = Explore::new().run(|| {
        let shared = Rc::new(RefCell::new(Vec::new()));
        let each = (0..2).map(|number| {
            let shared = shared.clone();
            spawn(move || {
                shared.borrow_mut().push(number);
                // What it does depends on who was here before.
                if shared.borrow().len() == 1 {
                    yield_now()
                }
            })
        });
        each.collect::<Vec<_>>().into_iter().for_each(|it| it.join().unwrap());
    });
    let report = report.report.unwrap();
    assert!(report.outcome.contains("is not isolated"), "{report}");
}

#[test]
fn state_that_is_shared_in_few_of_few_runs_is_found() {
    let report = Explore::new().search(Search::Exhaustive).run(|| {
        let (tx, rx) = channel();
        for number in 0..2 {
            let tx = tx.clone();
            spawn(move || tx.send(number).unwrap());
        }
        drop(tx);
        let first = rx.recv().unwrap();
        rx.recv().unwrap();
        if first == 1 {
            // Not in the run that comes first.
            let shared = Rc::new(Cell::new(false));
            let each = (0..2).map(|_| {
                let shared = shared.clone();
                spawn(move || {
                    if !shared.replace(true) {
                        yield_now();
                    }
                })
            });
            each.collect::<Vec<_>>().into_iter().for_each(|it| it.join().unwrap());
        }
    });
    assert!(report.report.unwrap().outcome.contains("is not isolated"));
}

#[test]
fn a_program_that_is_another_one_each_time_is_found() {
    let runs = Cell::new(0);
    let explored = Explore::new().search(Search::Exhaustive).run(|| {
        runs.set(runs.get() + 1);
        let (tx, rx) = channel();
        for it in 0..2 {
            let tx = tx.clone();
            spawn(move || tx.send(it).unwrap());
        }
        if runs.get() % 2 == 0 {
            yield_now();
        }
        drop(tx);
        rx.iter().for_each(drop);
    });
    let found = explored.report.map(|it| it.outcome).unwrap_or_default();
    assert!(explored.verdict.diverged || found.contains("not isolated"), "{}", explored.verdict);
}

#[test]
fn what_is_observed_is_compared_and_costs_nothing_outside() {
    observe(&"nobody explores");
    let report = Explore::new().run(|| {
        let shared = Rc::new(Cell::new(0));
        let each = (0..2).map(|number| {
            let shared = shared.clone();
            spawn(move || {
                observe(&shared.replace(number + 1));
                yield_now();
            })
        });
        each.collect::<Vec<_>>().into_iter().for_each(|it| it.join().unwrap());
    });
    assert!(report.report.unwrap().outcome.contains("not isolated"));
}

#[test]
fn an_empty_program_has_one_trace() {
    let program = || ();
    let verdict = exhaust(&Program::new("empty", &program), &Settings::default());
    assert!(verdict.exhausted && verdict.failures.is_empty());
    assert_eq!((verdict.executions, verdict.traces), (1, 1));
}

#[test]
fn a_program_that_spawns_without_end_is_stopped() {
    let explored = Explore::new().executions(1).run(|| {
        loop {
            drop(spawn(|| ()));
        }
    });
    let report = explored.report.unwrap();
    assert!(report.outcome.contains("cannot be explored: spawning more tasklets"), "{report}");
}

#[test]
fn a_step_that_does_not_end_is_named_and_ends_the_process() {
    let ended = isolated(|| {
        Explore::new().name("busy").step_limit(Duration::from_secs(1)).run(|| {
            let (tx, rx) = channel::<()>();
            spawn(move || {
                rx.recv().unwrap();
                loop {
                    std::hint::spin_loop();
                }
            });
            tx.send(()).unwrap();
        });
    });
    if let Some(ended) = ended {
        assert!(
            ended.code != Some(0) && ended.text.contains("busy: a local step"),
            "{}",
            ended.text
        );
        assert!(ended.text.contains("root or root.0"), "{}", ended.text);
    }
}

#[test]
fn time_is_virtual_and_the_same_in_every_run() {
    let explored = Explore::new().search(Search::Exhaustive).run(|| {
        let start = tasklets::now();
        let naps = [3_600, 60, 1].map(|it| spawn(move || sleep(Duration::from_secs(it)).unwrap()));
        naps.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(tasklets::now() - start, Duration::from_secs(3_600));
    });
    assert!(explored.report.is_none(), "{}", explored.report.unwrap());
    assert!(explored.verdict.exhausted);
}

#[test]
fn lax_timers_find_what_a_timeout_that_comes_early_breaks() {
    let timeout = || {
        let (tx, rx) = channel();
        spawn(move || tx.send("an answer"));
        let answer = rx.recv_timeout(Duration::from_secs(5));
        assert_eq!(answer, Ok("an answer"));
    };
    assert!(Explore::new().run(timeout).report.is_none());
    let report = Explore::new().lax_timers(true).run(timeout).report.unwrap();
    assert!(report.outcome.contains("panicked"), "{report}");
}

#[test]
fn a_panic_that_is_joined_is_no_failure() {
    let explored = Explore::new().search(Search::Exhaustive).run(|| {
        let failing = spawn(|| panic!("as expected"));
        assert!(failing.join().is_err());
    });
    assert!(explored.report.is_none(), "{}", explored.report.unwrap());
    let alone = Explore::new().run(|| drop(spawn(|| panic!("nobody joins"))));
    assert!(alone.report.unwrap().outcome.contains("root.0 panicked: nobody joins"));
}

#[test]
fn all_failures_are_counted_if_asked_for() {
    let explored = Explore::new().search(Search::Exhaustive).all_failures(true).run(order);
    assert!(explored.verdict.exhausted);
    assert_eq!((explored.verdict.traces, explored.verdict.failures.len()), (24, 4));
    let panicked = |it: &Outcome| matches!(it, Outcome::Panicked(..));
    assert!(explored.verdict.failures.iter().all(|it| panicked(&it.outcome)));
}

#[test]
fn a_tasklet_has_the_same_id_and_path_in_every_execution() {
    let seen = RefCell::new(std::collections::BTreeSet::new());
    Explore::new().search(Search::Random(Mode::Walk)).executions(50).check(|| {
        let child = spawn(|| current().map(|it| (it.id(), it.path())));
        seen.borrow_mut().insert(child.join().unwrap());
    });
    assert_eq!(seen.borrow().len(), 1);
}
