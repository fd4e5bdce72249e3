//! State that tasklets share beside their channels is found, also where every schedule that the
//! search tries is harmless; and who shares nothing is accused of nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tasklets::explore::{Explore, Explored, Search};
use tasklets::{channel, spawn, yield_now};

/// The exhaustive search finds it, and so does a replay; others find something, too.
fn is_found(main: fn()) {
    let explorer = Explore::new().name("shared").search(Search::Exhaustive);
    let Explored { verdict, report } = explorer.run(main);
    let report = report.unwrap_or_else(|| panic!("{verdict}"));
    assert!(report.outcome.contains("is not isolated"), "{report}");
    assert!(!verdict.exhausted && !verdict.isolated, "{verdict}");
    let again = explorer.executions(1).replay(&report.replay, main).unwrap();
    assert_eq!(again.report.expect("it fails again").outcome, report.outcome);
    for search in [Search::Portfolio, Search::States, Search::Within(1)] {
        let other = Explore::new().search(search).run(main);
        assert!(other.report.is_some(), "{search:?}: {}", other.verdict);
    }
}

fn all<T: 'static>(count: usize, body: impl Fn(usize) -> T + Clone + 'static) {
    let start = |nth| {
        let body = body.clone();
        spawn(move || body(nth))
    };
    let each: Vec<_> = (0..count).map(start).collect();
    each.into_iter().for_each(|it| drop(it.join().unwrap()));
}

#[test]
fn an_update_that_is_lost_across_an_operation_is_found() {
    is_found(|| {
        let sum = Rc::new(Cell::new(0));
        let adds = sum.clone();
        all(2, move |_| {
            let old = adds.get();
            yield_now();
            adds.set(old + 1);
        });
        assert_eq!(sum.get(), 2);
    });
}

#[test]
fn an_update_that_is_lost_across_a_rendezvous_is_found() {
    is_found(|| {
        let sum = Rc::new(Cell::new(0));
        let adds = sum.clone();
        all(2, move |_| {
            let (tx, rx) = channel();
            let helper = spawn(move || tx.send(1).unwrap());
            let old = adds.get();
            let more = rx.recv().unwrap();
            adds.set(old + more);
            helper.join().unwrap();
        });
        assert_eq!(sum.get(), 2);
    });
}

#[test]
fn a_check_that_is_stale_after_an_operation_is_found() {
    is_found(|| {
        let (taken, owners) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let count = owners.clone();
        all(2, move |_| {
            if !taken.get() {
                yield_now();
                taken.set(true);
                count.set(count.get() + 1);
            }
        });
        assert!(owners.get() <= 1, "two owners");
    });
}

#[test]
fn a_borrow_that_is_held_across_an_operation_is_found() {
    is_found(|| {
        let shared = Rc::new(RefCell::new(0));
        all(2, move |_| {
            let mut here = shared.borrow_mut();
            yield_now();
            *here += 1;
        });
    });
}

#[test]
fn an_order_that_only_chance_hits_is_found() {
    is_found(|| {
        let list = Rc::new(RefCell::new(Vec::new()));
        let pushed = list.clone();
        all(3, move |nth| pushed.borrow_mut().push(nth));
        assert_ne!(*list.borrow(), [1, 0, 2]);
    });
}

#[test]
fn who_shares_what_makes_no_difference_is_accused_of_nothing() {
    for search in [Search::Portfolio, Search::Exhaustive, Search::States] {
        let verdict = Explore::new().search(search).check(|| {
            let list = Rc::new(RefCell::new(Vec::new()));
            let pushed = list.clone();
            all(3, move |nth| {
                yield_now();
                pushed.borrow_mut().push(nth);
            });
            assert_eq!(list.borrow().iter().sum::<usize>(), 3);
        });
        assert!(verdict.exhausted && verdict.isolated, "{verdict}");
    }
}

#[test]
fn the_check_costs_a_few_percent_of_a_search() {
    let runs = Cell::new(0);
    let explored = Explore::new().run(|| {
        runs.set(runs.get() + 1);
        let (tx, rx) = channel();
        for number in 0..8 {
            let tx = tx.clone();
            spawn(move || tx.send(number));
        }
        drop(tx);
        rx.iter().for_each(drop);
    });
    let verdict = explored.verdict;
    assert!(verdict.isolated && verdict.executions == 3_000, "{verdict}");
    let more = runs.get() - verdict.executions - verdict.endings;
    assert!(more * 16 < verdict.executions, "{more} executions more");
}
