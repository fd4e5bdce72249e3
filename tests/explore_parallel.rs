//! Searches on several OS threads come to the verdict and the report of one.

use std::num::NonZero;
use tasklets::explore::{Explore, Mode, Search};
use tasklets::{Builder, channel, select, spawn};

/// Three who take two of three things each, in a circle.
fn circle() {
    let things: Vec<_> = (0..3)
        .map(|_| {
            let ((take, taken), (put, back)) = (channel::<()>(), channel::<()>());
            let lies = move || while taken.recv().is_ok() && back.recv().is_ok() {};
            drop(Builder::new().daemon(true).spawn(lies));
            (take, put)
        })
        .collect();
    for seat in 0..3 {
        let (one, two) = (things[seat].clone(), things[(seat + 1) % 3].clone());
        spawn(move || {
            for hand in [&one.0, &two.0, &one.1, &two.1] {
                hand.send(()).unwrap();
            }
        });
    }
}

/// Three messages, of which the last must not come first.
fn order() {
    let (tx, rx) = channel();
    for number in 0..3 {
        let tx = tx.clone();
        spawn(move || tx.send(number).unwrap());
    }
    drop(tx);
    let all: Vec<i32> = rx.iter().collect();
    assert_ne!(all[0], 2, "the last came first");
}

/// A merge without any fault.
fn merge() {
    let ((a, from_a), (b, from_b)) = (channel(), channel());
    spawn(move || a.send_all(0..3).unwrap());
    spawn(move || b.send_all(10..12).unwrap());
    let mut sum = 0;
    for _ in 0..5 {
        select! {
            recv(from_a) -> it => sum += it.unwrap_or(0),
            recv(from_b) -> it => sum += it.unwrap_or(0),
        }
    }
    assert!(sum <= 24);
}

#[test]
fn any_number_of_threads_comes_to_the_same_verdict_and_report() {
    let searches = [Search::Exhaustive, Search::Random(Mode::Walk), Search::Random(Mode::Pct(2))];
    for (nth, main) in [circle as fn(), order, merge].into_iter().enumerate() {
        for (search, all) in searches.into_iter().flat_map(|it| [(it, false), (it, true)]) {
            let explorer = Explore::new().name("parallel").search(search).executions(120);
            let explorer = explorer.all_failures(all).seed(7);
            let one = explorer.run(main);
            for threads in 1..=3 {
                let many = explorer.run_parallel(NonZero::new(threads).unwrap(), main);
                let what = format!("program {nth}, {search:?}, {threads} threads");
                assert_eq!(many.verdict.to_string(), one.verdict.to_string(), "{what}");
                let failures = |it: &tasklets::explore::Verdict| {
                    it.failures.iter().map(|it| (it.execution, it.trace)).collect::<Vec<_>>()
                };
                assert_eq!(failures(&many.verdict), failures(&one.verdict), "{what}");
                let lines = |it: Option<tasklets::explore::Report>| {
                    it.map(|it| (it.outcome, it.chart, it.why, it.search, it.replay))
                };
                assert_eq!(lines(many.report), lines(one.report.clone()), "{what}");
            }
        }
    }
}

#[test]
fn a_search_without_parallel_form_runs_on_one_thread() {
    let explorer = Explore::new().search(Search::Portfolio).executions(50);
    let (one, two) = (explorer.run(merge), explorer.run_parallel(NonZero::new(2).unwrap(), merge));
    assert_eq!(one.verdict.to_string(), two.verdict.to_string());
}

/// Two who share a list beside their channels.
fn share() {
    let shared = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let each = (0..2).map(|number| {
        let shared = shared.clone();
        spawn(move || {
            shared.borrow_mut().push(number);
            if shared.borrow().len() == 1 {
                tasklets::yield_now();
            }
        })
    });
    each.collect::<Vec<_>>().into_iter().for_each(|it| it.join().unwrap());
}

#[test]
fn what_is_not_isolated_is_found_on_any_number_of_threads_and_replays() {
    let explorer = Explore::new().name("share").search(Search::Exhaustive);
    let one = explorer.run(share);
    let many = explorer.run_parallel(NonZero::new(2).unwrap(), share);
    for explored in [one, many] {
        let report = explored.report.expect("they share a list");
        assert!(report.outcome.contains("is not isolated"), "{report}");
        assert!(!explored.verdict.exhausted && !explored.verdict.isolated);
        let again = explorer.replay(&report.replay, share).unwrap().report.expect("as before");
        assert!(again.outcome.contains("is not isolated"), "{again}");
    }
}
