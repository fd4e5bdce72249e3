//! A program that is not the same under the same choices is a failure, in whatever way it is found.

use std::cell::Cell;
use std::collections::HashMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::test_runner::{Config, TestRunner};
use tasklets::explore::{Explore, Explored, Mode, Search, explore, schedule};
use tasklets::{channel, spawn, yield_now};

const SEARCHES: [Search; 5] = [
    Search::Portfolio,
    Search::Exhaustive,
    Search::States,
    Search::Within(2),
    Search::Random(Mode::Walk),
];

/// Three send to the root, which gives way before if it is told so.
fn three(gives_way: bool) {
    let (tx, rx) = channel();
    for number in 0..3 {
        let tx = tx.clone();
        spawn(move || tx.send(number));
    }
    if gives_way {
        yield_now();
    }
    drop(tx);
    rx.iter().for_each(drop);
}

/// The number of this execution, from 1.
fn next(count: &Cell<u32>) -> u32 {
    count.set(count.get() + 1);
    count.get()
}

/// What `check` panics with.
fn caught(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("it passes");
    *panic.downcast::<String>().expect("the report is a text")
}

/// Asserts that a program was found not to be the same each time; the report.
fn not_the_same(explored: Explored, what: &str) -> String {
    let verdict = &explored.verdict;
    let report = explored.report.unwrap_or_else(|| panic!("{what}: {verdict}")).to_string();
    assert!(report.contains("is not the same each time"), "{what}: {report}");
    assert!(verdict.diverged && !verdict.exhausted && !verdict.isolated, "{what}: {verdict}");
    assert_eq!(verdict.failures.len(), 1, "{what}: {verdict}");
    report
}

#[test]
fn one_other_run_of_an_exhaustive_search_fails_the_check_and_says_where_and_why() {
    let count = Cell::new(0);
    let search = Explore::new().search(Search::Exhaustive);
    let text = caught(|| drop(search.check(|| three(next(&count) == 2))));
    assert!(text.contains("root is not the same each time"), "{text}");
    assert!(text.contains("explore_steady.rs:") && text.contains("hash table"), "{text}");
}

#[test]
fn one_other_run_of_the_default_search_fails_the_check() {
    // Runs that are drawn at first, and those of the search of all traces after these.
    for odd in [2, 3, 20, 50, 83, 84, 85, 86, 87, 88] {
        let count = Cell::new(0);
        let text = caught(|| drop(explore(|| three(next(&count) == odd))));
        assert!(text.contains("is not the same each time"), "run {odd}: {text}");
    }
}

#[test]
fn a_program_that_depends_on_its_run_is_found_in_every_way_of_searching() {
    for search in SEARCHES {
        let (count, explorer) = (Cell::new(0), Explore::new().search(search));
        let explored = explorer.run(|| three(next(&count) % 3 == 1));
        not_the_same(explored, &format!("{search:?}"));
    }
}

#[test]
fn the_order_of_a_hash_table_is_found_in_every_way_of_searching() {
    for search in SEARCHES {
        let explored = Explore::new().search(search).run(|| {
            let table: HashMap<u32, ()> = (0..6).map(|it| (it, ())).collect();
            let (tx, rx) = channel();
            for key in table.into_keys() {
                let tx = tx.clone();
                spawn(move || {
                    if key % 2 == 0 {
                        yield_now();
                    }
                    tx.send(key).unwrap();
                });
            }
            drop(tx);
            rx.iter().for_each(drop);
        });
        not_the_same(explored, &format!("{search:?}"));
    }
}

#[test]
fn a_failure_that_does_not_come_again_is_no_fact() {
    for search in SEARCHES {
        let (count, explorer) = (Cell::new(0), Explore::new().search(search));
        let explored = explorer.run(|| {
            three(false);
            assert_ne!(next(&count), 3, "the third run");
        });
        let report = not_the_same(explored, &format!("{search:?}"));
        assert!(report.contains("the third run") && report.contains("finished"), "{report}");
    }
}

#[test]
fn a_deadlock_that_does_not_come_again_is_no_fact() {
    let (count, explorer) = (Cell::new(0), Explore::new().search(Search::Exhaustive));
    let explored = explorer.run(|| {
        let (tx, rx) = channel::<()>();
        if next(&count) == 1 {
            assert!(rx.recv().is_ok(), "it waits for itself");
        }
        drop(tx);
    });
    let report = not_the_same(explored, "deadlock");
    assert!(report.contains("deadlock") && report.contains("finished"), "{report}");
}

#[test]
fn a_failure_that_only_one_order_of_independent_steps_shows_is_not_reported_as_a_fact() {
    let explored = Explore::new().run(|| {
        let sum = Rc::new(Cell::new(0));
        let both: Vec<_> = (0..2)
            .map(|_| {
                let sum = sum.clone();
                spawn(move || {
                    let old = sum.get();
                    yield_now();
                    sum.set(old + 1);
                })
            })
            .collect();
        both.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(sum.get(), 2);
    });
    let outcome = explored.report.expect("an update is lost").outcome;
    let said = ["is not isolated", "is not the same each time"];
    assert!(said.iter().any(|it| outcome.contains(it)), "{outcome}");
    assert!(!explored.verdict.exhausted);
}

#[test]
fn a_program_of_one_trace_is_made_again_a_few_times() {
    let (count, explorer) = (Cell::new(0), Explore::new().search(Search::Exhaustive));
    let explored = explorer.run(|| assert_ne!(next(&count) % 7, 0, "each seventh run"));
    assert!(not_the_same(explored, "a seventh").contains("each seventh run"));
}

#[test]
fn it_is_found_by_several_threads_too() {
    for search in [Search::Exhaustive, Search::Random(Mode::Walk)] {
        for threads in 1..=3 {
            let (threads, what) = (NonZero::new(threads).unwrap(), format!("{search:?} {threads}"));
            let explorer = Explore::new().search(search);
            let count = AtomicU32::new(0);
            let next = || count.fetch_add(1, Ordering::Relaxed);
            let explored = explorer.run_parallel(threads, || three(next() % 3 == 1));
            not_the_same(explored, &what);
            for many in [false, true] {
                let explored = explorer.run_parallel(threads, || {
                    if many {
                        three(false);
                    }
                    assert_ne!(next() % 7, 6, "some run");
                });
                not_the_same(explored, &what);
            }
        }
    }
}

#[test]
fn the_replay_of_what_is_not_the_same_each_time_says_so() {
    let (count, explorer) = (Cell::new(0), Explore::new().name("odd"));
    let program = || three(next(&count).is_multiple_of(2));
    let report = explorer.run(program).report.unwrap();
    let again = explorer.replay(&report.replay, program).unwrap();
    assert!(not_the_same(again, "replay").contains("root is not the same each time"));
    let always = explorer.replay(&report.replay, || three(false)).unwrap();
    assert!(always.report.is_none() && always.verdict.executions > 1, "{}", always.verdict);
    // A string that leads to a failure, in a program that has become another one each time.
    let order = |gives_way| {
        let (tx, rx) = channel();
        for number in 0..3 {
            let tx = tx.clone();
            spawn(move || tx.send(number));
        }
        if gives_way {
            yield_now();
        }
        drop(tx);
        assert_ne!(rx.iter().last(), Some(0), "the first came last");
    };
    let report = explorer.run(|| order(false)).report.unwrap();
    count.set(0);
    let again = explorer.replay(&report.replay, || order(next(&count) % 2 == 1)).unwrap();
    not_the_same(again, "changed");
}

#[test]
fn it_fails_a_property_test() {
    let runner = || {
        let failure_persistence = None;
        TestRunner::new(Config { failure_persistence, cases: 5, ..Config::default() })
    };
    let count = Cell::new(0);
    let found = runner().run(&schedule().name("odd"), |schedule| {
        schedule.run(|| three(next(&count).is_multiple_of(2)))?;
        Ok(())
    });
    let text = found.expect_err("it passes").to_string();
    assert!(text.contains("is not the same each time"), "{text}");
    let found = runner().run(&schedule().name("flaky").with(0..9_u8), |(_, schedule)| {
        schedule.run(|| {
            three(false);
            assert_ne!(next(&count) % 50, 49, "some run");
        })?;
        Ok(())
    });
    let text = found.expect_err("it passes").to_string();
    assert!(text.contains("is not the same each time"), "{text}");
}
