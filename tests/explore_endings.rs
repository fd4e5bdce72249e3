//! What the end of the root does to the others is explored too: they are cancelled, as in
//! production, at any moment after it.

use tasklets::explore::{Explore, Explored, Search};
use tasklets::{Builder, Halt, Never, RunError, Runtime, channel, pause, shield, spawn, yield_now};

fn daemon(body: impl FnOnce() + 'static) {
    drop(Builder::new().daemon(true).spawn(body).unwrap());
}

/// Explores `main`, which fails; the failure is replayed, and production may fail as well.
fn fails(name: &str, main: fn()) -> String {
    let explorer = Explore::new().name(name).events(2_000);
    let report = explorer.run(main).report.expect("it fails");
    assert!(report.replay.len() < 200, "{report}");
    let again = explorer.replay(&report.replay, main).unwrap().report.expect("it fails again");
    assert_eq!((&again.outcome, again.events), (&report.outcome, report.events));
    report.to_string()
}

fn passes(main: impl Fn()) -> Explored {
    let explored = Explore::new().run(main);
    assert!(explored.report.is_none(), "{}", explored.report.unwrap());
    explored
}

/// Two daemons wait for ever; one does not expect to be cancelled.
fn surprised() {
    let (tx, rx) = channel::<Never>();
    daemon(move || match rx.recv().expect("a request") {});
    daemon(move || drop((pause(), tx)));
    yield_now();
}

#[test]
fn a_daemon_that_panics_when_it_is_cancelled_is_found() {
    let text = fails("surprised", surprised);
    assert!(text.contains("root.0 panicked: a request: Cancelled"), "{text}");
    assert!(text.contains("its end cancels all"), "{text}");
    let ended = Runtime::builder().build().run(surprised);
    assert!(matches!(ended, Err(RunError::Panicked(_))), "production does the same");
}

#[test]
fn a_tasklet_that_would_have_ended_well_is_cancelled_in_the_middle() {
    let text = fails("in_the_middle", || {
        let (tx, rx) = channel();
        spawn(move || (0..3).for_each(|it| tx.send(it).expect("a reader")));
        spawn(move || assert_eq!(rx.iter().count(), 3, "all of them"));
    });
    assert!(text.contains("panicked: "), "{text}");
}

#[test]
fn cleanup_that_waits_for_ever_is_found() {
    let text = fails("stuck", || {
        let (tx, rx) = channel();
        spawn(move || {
            if rx.recv().is_err() {
                assert!(shield(pause).is_err());
            }
        });
        spawn(move || tx.send(()));
    });
    assert!(text.contains("cancelled the others, and some wait for ever"), "{text}");
    assert!(text.contains("who waits:\n  root.0"), "{text}");
}

#[test]
fn shields_of_daemons_are_broken_in_the_end() {
    passes(|| daemon(|| assert_eq!(shield(pause), Err(Halt::Cancelled))));
    let text = fails("forced", || daemon(|| shield(pause).expect("a reason")));
    assert!(text.contains("a reason: Cancelled"), "{text}");
}

#[test]
fn cleanup_that_goes_on_for_ever_is_a_livelock() {
    let endless = || {
        let (tx, rx) = channel();
        let until_cancelled = || while pause().is_ok() {};
        daemon(move || {
            until_cancelled();
            shield(|| while tx.send(()).is_ok() {});
        });
        daemon(move || {
            until_cancelled();
            shield(|| while rx.recv().is_ok() {});
        });
        yield_now();
    };
    let text = fails("endless", endless);
    assert!(text.contains("endless: livelock"), "{text}");
    // Meant to go on for ever is the root.
    let explored = Explore::new().events(2_000).endless(true).run(endless);
    assert!(explored.report.unwrap().outcome.starts_with("livelock"));
}

#[test]
fn every_operation_fails_from_then_on() {
    let text = fails("level", || {
        let (tx, rx) = channel::<()>();
        spawn(move || {
            if rx.recv() == Err(Halt::Cancelled) {
                assert_eq!(pause(), Err(Halt::Cancelled));
                assert_eq!(rx.recv(), Err(Halt::Cancelled));
                assert!(spawn(|| panic!("it begins")).join().is_err());
                panic!("as it should be");
            }
        });
        spawn(move || tx.send(()));
    });
    assert!(text.contains("as it should be"), "{text}");
}

#[test]
fn who_takes_a_cancellation_well_raises_no_alarm() {
    let explored = passes(|| {
        let (tx, rx) = channel();
        let (out, results) = channel();
        // A server, a client that says goodbye, one that does not listen, and one that is stopped
        // before it has begun.
        daemon(move || {
            while let Ok(number) = rx.recv() {
                let _ = out.send(number + 1);
            }
        });
        daemon(move || {
            let _ = tx.send(1);
            let _ = shield(|| tx.send(2));
        });
        daemon(|| {
            loop {
                let _ = pause();
            }
        });
        daemon(|| assert!(pause().is_err()));
        assert_eq!(results.recv(), Ok(2));
    });
    assert!(explored.verdict.endings > 0, "{}", explored.verdict);
    assert!(explored.verdict.to_string().contains("ended with the root"), "{}", explored.verdict);
}

#[test]
fn a_root_that_ends_last_costs_nothing_more() {
    let joined = || spawn(yield_now).join().unwrap();
    for search in [Search::Exhaustive, Search::Portfolio, Search::States] {
        let explored = Explore::new().search(search).run(joined);
        assert_eq!(explored.verdict.endings, 0);
        assert!(explored.verdict.exhausted && explored.report.is_none());
    }
}

#[test]
fn tasklets_left_behind_are_found_before_they_are_cancelled() {
    let report = Explore::new().run(|| drop(spawn(pause))).report.unwrap();
    assert!(report.outcome.contains("others wait for ever"), "{report}");
}
