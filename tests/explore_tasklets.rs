//! Operations of tasklets, scopes and time under exploration: what comes of each, and nothing else.

mod results;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::time::Duration;

use results::{SECOND, fail, ignore, label, results, set};
use tasklets::explore::{Program, Settings, every_choice, exhaust, exhaust_with};
use tasklets::{
    Builder, Halt, JoinError, Operation, Prefer, blocking, channel, current, now, pause, scope,
    select, shield, sleep, spawn, take_injected, tasklet_local, tick, try_scope, within, yield_now,
};

#[test]
fn ends_of_tasklets_are_awaited() {
    let all = results(|| {
        let mut slow = spawn(|| sleep(2 * SECOND).is_ok());
        let mut quick = spawn(yield_now);
        let first = select! { op(&mut slow) -> _ => "slow", op(&mut quick) -> _ => "quick" };
        let early = within(SECOND, || slow.join_mut()).value;
        assert!(matches!(early, Err(JoinError::Halted(Halt::TimedOut))));
        (first, slow.join_mut().unwrap())
    });
    assert_eq!(all, set([("quick", true)]));
    let seen = results(|| {
        let worker = spawn(yield_now);
        (worker.is_finished(), worker.is_finished())
    });
    assert_eq!(seen, set([(false, false), (false, true), (true, true)]));
}

#[test]
fn stopping_others_comes_before_or_after() {
    let cancelled = results(|| {
        let (tx, rx) = channel();
        let target = spawn(move || tx.send(1).is_ok());
        ignore(spawn(move || rx.recv()));
        target.cancel();
        match target.join() {
            Ok(sent) => sent.to_string(),
            Err(_) => "never began".into(),
        }
    });
    assert_eq!(cancelled, set(["true".into(), "false".into(), "never began".into()]));
    let hung_up = results(|| {
        let ((jobs, inbox), (calls, line), (_tx, rest)) = (channel(), channel(), channel());
        let worker = spawn(move || {
            let job = inbox.recv().is_ok();
            drop(line);
            ignore::<Result<(), _>>(rest.recv());
            job
        });
        spawn(move || jobs.send(()));
        yield_now();
        worker.cancel();
        let hung_up = calls.try_send(()).is_err();
        (worker.join().ok(), hung_up) // it may have a job, and not have run since
    });
    let ways = [None, Some(false), Some(true)].map(|job| [(job, false), (job, true)]);
    assert_eq!(hung_up, ways.into_iter().flatten().collect());
    let injected = results(|| {
        let target = spawn(|| (yield_now(), pause(), take_injected().map(|it| it.to_string())).2);
        target.inject("paper jam");
        target.join().unwrap()
    });
    assert_eq!(injected, set([Some("paper jam".into())]));
    let inserted = results(|| {
        let target = spawn(|| label(pause()));
        let first = target.insert();
        if !first {
            target.cancel();
        }
        (first, target.join().is_ok_and(|it| it == "done"))
    });
    assert_eq!(inserted, set([(true, true), (false, false)]));
}

#[test]
fn a_shield_keeps_cancellations_and_deadlines_away() {
    let all = results(|| {
        let (tx, rx) = channel();
        let target = spawn(move || {
            let kept = shield(|| rx.recv());
            (label(kept), label(pause()))
        });
        yield_now();
        target.cancel();
        ignore(tx.try_send(1));
        drop(tx);
        target.join().map_or(("never began".into(), String::new()), |it| it)
    });
    let cancelled = String::from("Cancelled");
    assert_eq!(
        all,
        set([
            ("never began".into(), String::new()),
            ("done".into(), cancelled.clone()),
            ("Closed".into(), cancelled),
        ])
    );
    let late = results(|| {
        let kept = within(SECOND, || (shield(|| sleep(2 * SECOND).is_ok()), sleep(SECOND).is_ok()));
        (kept.value, kept.expired)
    });
    assert_eq!(late, set([((true, false), true)]));
}

#[test]
fn deadlines_nest_and_are_inherited() {
    let nested = |outer: u32, inner: u32| {
        move || {
            let one =
                within(outer * SECOND, || within(inner * SECOND, || sleep(5 * SECOND).is_ok()));
            (one.value.value, one.value.expired, one.expired)
        }
    };
    assert_eq!(results(nested(3, 1)), set([(false, true, false)]));
    assert_eq!(results(nested(1, 3)), set([(false, false, true)]));
    assert_eq!(results(nested(9, 9)), set([(true, false, false)]));
    let inherited = results(|| {
        let timed = within(SECOND, || {
            scope(|s| {
                ignore(s.spawn(|| assert_eq!(pause(), Err(Halt::TimedOut))));
                s.spawn(|| (sleep(SECOND / 2), label(pause())).1).join().is_ok()
            })
        });
        timed.expired
    });
    assert_eq!(inherited, set([true]));
}

#[test]
fn scopes_end_with_their_children() {
    let borrowed = results(|| {
        let mut numbers = [1, 2, 3];
        scope(|s| numbers.iter_mut().for_each(|it| ignore(s.spawn(|| (yield_now(), *it *= 2)))));
        numbers
    });
    assert_eq!(borrowed, set([[2, 4, 6]]));
    let panicked = results(|| {
        let failed = try_scope(|s| {
            ignore(s.spawn(|| (yield_now(), fail::<u8>("one"))));
            ignore(s.spawn(|| pause().is_err()));
            s.spawn(|| (yield_now(), fail::<u8>("two"))).join().is_err()
        });
        let failures = failed.map_or_else(|it| it.failures, |_| Vec::new());
        failures.iter().map(|it| it.tasklet.path()).collect::<Vec<_>>()
    });
    // The second is joined, so its panic is not the scope's; it may stop the first in time.
    assert_eq!(panicked, set([vec![String::from("root.0")], vec![]]));
    let stopped = results(|| {
        scope(|s| {
            let stop = s.stopping();
            let polite = s.spawn(move || stop.recv() == Err(Halt::Closed));
            let rude = s.spawn(|| pause() == Err(Halt::Cancelled));
            let slow = s.shutdown(SECOND).len();
            (slow, polite.join().unwrap(), rude.join().unwrap())
        })
    });
    assert_eq!(stopped, set([(1, true, true)]));
    let cancelled = results(|| {
        scope(|s| {
            let child = s.spawn(|| label(pause()));
            s.cancel();
            child.join().unwrap_or_else(|_| "never began".into())
        })
    });
    assert_eq!(cancelled, set(["Cancelled".into(), "never began".into()]));
}

#[test]
fn ticks_come_at_their_times() {
    let all = results(|| {
        let (start, mut ticks) = (now(), tick(SECOND));
        let work = spawn(|| sleep(Duration::from_millis(2_500)).is_ok());
        let at: Vec<_> = (0..3).map(|_| (&mut ticks).wait().unwrap() - start).collect();
        (at, work.join().unwrap())
    });
    assert_eq!(all, set([(vec![SECOND, 2 * SECOND, 3 * SECOND], true)]));
}

tasklet_local! {
    static MARK: Cell<u32> = Cell::new(0);
}

#[test]
fn the_rest_is_as_in_production() {
    let all = results(|| {
        let reader = |prefer, yields| {
            let builder = channel::Builder::new().prefer(prefer).yield_always(yields);
            let (tx, rx) = builder.name("named").channel();
            MARK.with(|it| it.set(7));
            let reader = Builder::new().name("reader").daemon(true).spawn(move || {
                let name = current().expect("it runs").name().map(str::to_owned);
                (rx.recv().unwrap(), MARK.with(Cell::get), name)
            });
            tx.send(blocking(|| 3).unwrap()).unwrap();
            reader.unwrap().join().unwrap()
        };
        [
            reader(Prefer::Neither, false),
            reader(Prefer::Sender, false),
            reader(Prefer::Receiver, false),
            reader(Prefer::Receiver, true),
        ]
    });
    let one = (3, 0, Some(String::from("reader")));
    assert_eq!(all, set([[one.clone(), one.clone(), one.clone(), one]]));
}

#[test]
fn a_panic_counts_unless_it_is_joined() {
    let ending = |main: &dyn Fn()| {
        let mut all = BTreeSet::new();
        let program = Program::new("panics", main);
        exhaust_with(&program, &Settings::default(), &mut |run, names| {
            all.insert(run.outcome.text(names));
        });
        all
    };
    let joined = || assert!(spawn(|| fail::<()>("child")).join().is_err());
    assert_eq!(ending(&joined), set(["finished".into()]));
    let lost = || ignore(spawn(|| fail::<()>("child")));
    assert_eq!(ending(&lost), set(["root.0 panicked: child".into()]));
    assert_eq!(ending(&|| fail("root")), set(["root panicked: root".into()]));
    let sometimes = || {
        let (tx, rx) = channel();
        let other = tx.clone();
        ignore((spawn(move || tx.send(1)), spawn(move || other.send(2))));
        assert!(rx.recv() == Ok(1) || catch_unwind(|| fail::<()>("order")).is_ok());
    };
    assert_eq!(ending(&|| ignore(catch_unwind(sometimes))), set(["finished".into()]));
}

#[test]
fn children_that_spawn_into_their_scope_see_what_became_of_it() {
    let results = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let main = || {
        let ended = try_scope(|s| {
            for number in 0..2 {
                s.spawn(move || {
                    s.spawn_try(move || Err::<(), _>(format!("{number}")));
                });
            }
        });
        let failures = ended.unwrap_err().failures.into_iter();
        let all: Vec<_> = failures.map(|it| format!("{:?}", it.cause)).collect();
        results.borrow_mut().insert(all);
    };
    let verdict = exhaust(&Program::new("nested", &main), &Settings::default());
    assert!(verdict.exhausted, "{verdict}");
    let found = results.take();
    let few = Settings { executions_max: 5_000, ..Settings::default() };
    every_choice(&Program::new("nested", &main), &few, &mut |_, _| ());
    assert!(results.take().is_subset(&found), "brute force sees more than {found:?}");
    assert!(found.len() >= 3, "either one is cancelled by the other, or neither: {found:?}");
}

#[test]
fn of_deadlines_at_the_same_time_the_outer_one_expires() {
    let main = || {
        let (_tx, rx) = channel::<()>();
        let soon = Duration::from_millis(1);
        let outer = within(soon, || within(soon, || rx.recv().is_err()));
        assert_eq!((outer.value.expired, outer.expired), (false, true));
    };
    let verdict = exhaust(&Program::new("equal", &main), &Settings::default());
    assert!(verdict.exhausted && verdict.failures.is_empty(), "{verdict}");
    tasklets::Runtime::builder().virtual_clock(true).build().run(main).unwrap();
}
