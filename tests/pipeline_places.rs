//! Stages that work on other OS threads: what holds of one that works here holds of them.

mod support;

use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::report::conserves;
use tasklets::pipeline::{self, Cause, Elsewhere, Failed, OnError, Pipeline};
use tasklets::shared::{self, Workers};
use tasklets::{Halt, Runtime, channel, explore, pause, run, sleep, spawn, yield_now};

/// Where a stage works.
#[derive(Clone, Copy, Debug)]
enum Place {
    Workers,
    Pool,
}

const PLACES: [Place; 2] = [Place::Workers, Place::Pool];

fn there<'a, T: Send>(
    from: Pipeline<'a, T>,
    place: Place,
    workers: &'a Workers,
) -> Elsewhere<'a, T> {
    match place {
        Place::Workers => from.on_workers(workers),
        Place::Pool => from.on_pool(),
    }
}

fn spin(turns: u64) -> u64 {
    (0..turns).fold(1, |it: u64, by| std::hint::black_box(it.wrapping_mul(31) ^ by))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_stage_on_other_threads_gives_what_iterators_give(
        items in prop::collection::vec(0..2_000_u64, 0..200),
        workers in 1..5_usize,
        in_flight in prop::option::of(1..9_usize),
        ordered in any::<bool>(),
        place in prop::sample::select(PLACES.to_vec()),
        step in 0..5_usize,
    ) {
        let group = shared::workers(2).unwrap();
        let keep = |it: &u64| !it.is_multiple_of(3);
        let part = |it: u64| (!it.is_multiple_of(3)).then_some(it + 1);
        let mut expected: Vec<u64> = match step {
            0 | 4 => items.iter().map(|it| it + 1).collect(),
            1 => items.iter().copied().filter(keep).collect(),
            2 => items.iter().copied().filter_map(part).collect(),
            _ => items.clone(),
        };
        let done = run(|| {
            let from = there(pipeline::from_iter(items), place, &group);
            let stage = match step {
                0 => from.map(|it| (spin(it), it + 1).1),
                1 => from.filter(keep),
                2 => from.filter_map(part),
                3 => from.inspect(|it| assert_ne!(spin(*it), 0)),
                _ => from.try_map(|it| Ok::<_, String>(it + 1)),
            };
            let stage = stage.workers(workers);
            let stage = if ordered { stage } else { stage.unordered() };
            let whole = stage.collect::<Vec<_>>();
            let whole = match in_flight {
                Some(count) => whole.in_flight(count),
                None => whole,
            };
            whole.run().unwrap()
        });
        let mut value = done.value;
        if !ordered {
            value.sort_unstable();
            expected.sort_unstable();
        }
        prop_assert_eq!(value, expected);
        conserves(&done.report);
    }
}

#[test]
fn the_work_is_done_on_the_threads_of_the_group() {
    let group = shared::workers(2).unwrap();
    let names = run(|| {
        let names = pipeline::from_iter(0..200).on_workers(&group).map(|_| {
            spin(20_000);
            std::thread::current().name().map(str::to_owned)
        });
        names.collect::<std::collections::BTreeSet<_>>().run().unwrap().value
    });
    let expected = ["tasklets-worker-0", "tasklets-worker-1"].map(|it| Some(it.to_owned()));
    assert!(names.into_iter().all(|it| expected.contains(&it)));
}

#[test]
fn a_stage_may_wait_on_its_workers() {
    let group = Workers::with(1, |it| it.virtual_clock(true)).unwrap();
    let done = run(|| {
        let naps = pipeline::from_iter([3_u64, 1, 2]).on_workers(&group);
        let slept = naps.map(|it| (sleep(Duration::from_secs(it)), it).1).workers(3);
        slept.collect::<Vec<_>>().run().unwrap()
    });
    assert_eq!(done.value, [3, 1, 2]);
}

#[test]
fn items_that_fail_there_are_skipped_collected_retried_or_sent_away() {
    let group = shared::workers(2).unwrap();
    for place in PLACES {
        run(|| {
            let parse = |it: &&'static str| it.parse::<i32>();
            let words = || there(pipeline::from_iter(["1", "x", "3"]), place, &group);
            let error = words().try_map(parse).named("parse").count().run().unwrap_err();
            assert!(error.to_string().starts_with("stage `parse` failed: invalid"), "{error}");
            assert_eq!(error.report.stages[1].failed, 1);
            conserves(&error.report);
            let failed = Rc::new(RefCell::new(Vec::new()));
            let rest = words().try_map_or(OnError::collect(failed.clone()), parse);
            assert_eq!(rest.collect::<Vec<_>>().run().unwrap().value, [1, 3]);
            assert_eq!(failed.borrow()[0].item, "x");
            let (dead, letters) = channel::<Failed<_, _>>();
            let reader = spawn(move || letters.iter().map(|it| it.item).collect::<Vec<_>>());
            let rest = words().try_map_or(OnError::dead_letter(dead), parse).count().run();
            let report = rest.unwrap().report;
            assert_eq!((report.stages[1].failed, report.stages[1].delivered), (1, 2));
            assert_eq!(reader.join().unwrap(), ["x"]);
            let tries = Arc::new(AtomicUsize::new(0));
            let counted = tries.clone();
            let flaky = move |it: &&'static str| {
                let early = *it == "x" && counted.fetch_add(1, Ordering::SeqCst) < 2;
                if early { Err("not yet") } else { Ok(*it) }
            };
            let patient = OnError::stop().retry(2, Duration::from_micros(1));
            let all = words().try_map_or(patient, flaky).collect::<Vec<_>>().run().unwrap();
            assert_eq!((all.value, tries.load(Ordering::SeqCst)), (vec!["1", "x", "3"], 3));
        });
    }
}

#[test]
fn a_panic_there_is_an_error_with_the_name_of_the_stage() {
    let group = shared::workers(2).unwrap();
    for place in PLACES {
        let error = run(|| {
            let items = there(pipeline::from_iter(0..1_000), place, &group);
            let picky = items.map(|it| {
                if it == 333 { std::panic::resume_unwind(Box::new("elsewhere")) } else { it }
            });
            picky.workers(2).named("far").count().run().unwrap_err()
        });
        assert_eq!(error.to_string(), "stage `far` panicked: elsewhere");
        assert_eq!(error.report.stages[1].failed, 1, "{}", error.report);
        conserves(&error.report);
    }
    group.shutdown().unwrap(); // nothing is left to tell
}

#[test]
fn an_early_end_waits_until_nothing_runs_there() {
    let group = shared::workers(2).unwrap();
    for place in PLACES {
        let running = Arc::new(AtomicUsize::new(0));
        let counted = running.clone();
        let work = move |it: u64| {
            counted.fetch_add(1, Ordering::SeqCst);
            spin(10_000);
            counted.fetch_sub(1, Ordering::SeqCst);
            it
        };
        let report = run(|| {
            let worked = there(pipeline::from_iter(0..), place, &group).map(work).workers(3);
            let done = worked.take(100).collect::<Vec<_>>().run().unwrap();
            assert_eq!(running.load(Ordering::SeqCst), 0);
            assert_eq!(done.value, (0..100).collect::<Vec<_>>());
            done.report
        });
        conserves(&report);
        assert_eq!(Arc::strong_count(&running), 1, "the work is gone, {place:?}");
    }
}

#[test]
fn who_is_cancelled_waits_until_nothing_runs_there() {
    let group = shared::workers(2).unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let counted = running.clone();
    run(|| {
        let (begins, begun) = shared::channel();
        let runner = spawn(move || {
            let waits = pipeline::from_iter(0..).on_workers(&group).map(move |_: i32| {
                counted.fetch_add(1, Ordering::SeqCst);
                drop(begins.send(()));
                let ended = pause();
                counted.fetch_sub(1, Ordering::SeqCst);
                ended
            });
            waits.count().run().map(drop)
        });
        begun.recv().unwrap();
        runner.cancel();
        drop(begun);
        let error = runner.join().unwrap().unwrap_err();
        assert!(matches!(error.cause, Cause::Halted(Halt::Cancelled)), "{error}");
        conserves(&error.report);
    });
    assert_eq!((running.load(Ordering::SeqCst), Arc::strong_count(&running)), (0, 1));
}

#[test]
fn a_slow_first_item_holds_back_a_bounded_number() {
    let group = shared::workers(2).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let (counted, watched) = (taken.clone(), taken.clone());
    let done = run(move || {
        let source = (0..100_000_u64).inspect(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let slow = pipeline::from_iter(source).on_workers(&group).map(move |it| {
            if it == 0 {
                while watched.load(Ordering::SeqCst) < 8 {
                    yield_now(); // others are taken meanwhile
                }
                (0..100_000).for_each(|_| yield_now());
                assert!(watched.load(Ordering::SeqCst) <= (2 * 16 + 1) * 64 + 1);
            }
            it
        });
        slow.collect::<Vec<_>>().run().unwrap()
    });
    assert!(done.value.is_sorted() && done.value.len() == 100_000);
}

#[test]
fn workers_that_have_ended_are_a_failure() {
    let group = shared::workers(1).unwrap();
    drop(group.spawn_on(0, || std::panic::resume_unwind(Box::new("the worker's end"))));
    let error = run(|| {
        // It may end before or while it is asked.
        let endless = pipeline::from_iter(0..).on_workers(&group).map(|it: u64| it).named("far");
        endless.count().run().unwrap_err()
    });
    assert_eq!(error.to_string(), "stage `far` failed: the runs of its workers have ended");
    conserves(&error.report);
    assert!(group.shutdown().is_err());
}

#[test]
fn no_workers_are_refused() {
    let group = shared::workers(1).unwrap();
    let none = || pipeline::from_iter(0..1).on_workers(&group).map(|it| it).workers(0);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(none()))).is_err());
}

#[test]
fn a_stage_elsewhere_keeps_order_and_items_under_every_schedule() {
    // Its work is done here then; the rest of it is the same.
    let group = shared::workers(1).unwrap();
    for place in PLACES {
        explore::Explore::new().check(|| {
            let items = there(pipeline::from_iter(0..3), place, &group);
            let odd =
                items.try_map_or(OnError::skip(), |it| (*it != 1).then_some(*it).ok_or("one"));
            let done = odd.workers(2).collect::<Vec<_>>().run().unwrap();
            assert_eq!((done.value, done.report.stages[1].failed), (vec![0, 2], 1));
            conserves(&done.report);
        });
    }
}

#[test]
fn stages_of_several_pipelines_share_a_group() {
    let group = shared::workers(2).unwrap();
    let runtime = Runtime::builder().build();
    let sums = runtime.run(|| {
        let sum = || {
            let squares = pipeline::from_iter(0..500_u64).on_workers(&group).map(|it| it * it);
            let halves = squares.on_workers(&group).filter(|it| it % 2 == 0).unordered();
            halves.fold(0, |sum, it| sum + it).run().unwrap().value
        };
        tasklets::scope(|s| {
            let other = s.spawn(sum);
            yield_now();
            (sum(), other.join().unwrap())
        })
    });
    let expected = (0..500_u64).map(|it| it * it).filter(|it| it % 2 == 0).sum::<u64>();
    assert_eq!(sums.unwrap(), (expected, expected));
}

/// Who works on the threads of a group and does not heed that it is cancelled.
fn deaf(_: u32) -> u32 {
    loop {
        let _ = sleep(Duration::from_micros(10));
    }
}

#[test]
fn who_will_not_be_cancelled_on_a_worker_is_unwound_and_nothing_waits_for_it() {
    let ended = support::Isolation::default().run(|| {
        let workers = shared::workers(1).unwrap();
        let error = run(|| {
            let line = pipeline::from_iter(0..9).on_workers(&workers).map(deaf);
            line.count().run_until(tasklets::after(Duration::from_millis(1))).unwrap_err()
        });
        assert!(matches!(error.cause, pipeline::Cause::Halted(_)), "{error}");
        drop(workers);
    });
    ended.map(support::Ended::well);
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn items_that_are_tried_again_do_not_wait_for_each_others_turns() {
    let group = shared::workers(2).unwrap();
    for place in PLACES {
        let patient = || {
            let line = there(pipeline::from_iter(0..3), place, &group);
            let policy = OnError::skip().retry(2, SECOND);
            let line = line.try_map_or(policy, |it| if *it < 2 { Err("no") } else { Ok(*it) });
            let done = line.workers(3).collect::<Vec<_>>().run().unwrap();
            assert_eq!(done.value, [2]);
            conserves(&done.report);
            done.report.elapsed
        };
        // Virtual time does not stand still for other threads; here there are none.
        explore::Explore::new().executions(20).check(|| {
            assert_eq!(patient(), 3 * SECOND, "{place:?}: both rest at the same time");
        });
        Runtime::builder().virtual_clock(true).build().run(patient).unwrap();
    }
}

#[test]
fn each_try_is_work_and_the_rest_between_them_is_not() {
    let group = shared::workers(1).unwrap();
    for place in PLACES {
        explore::Explore::new().executions(20).check(|| {
            let failing = |_: &u32| sleep(SECOND).map_or(Ok(()), |()| Err("no"));
            let patient = OnError::skip().retry(2, SECOND);
            let line = there(pipeline::from_iter([7]), place, &group);
            let done = line.try_map_or(patient, failing).named("slow").count().run().unwrap();
            let slow = &done.report.stages[1];
            assert_eq!((slow.failed, slow.busy), (1, 3 * SECOND), "{place:?}");
        });
    }
}

/// What cannot be dropped without a panic.
struct Awkward;

impl Drop for Awkward {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("awkward"));
    }
}

#[test]
fn a_panic_of_what_is_dropped_on_a_worker_is_an_error_with_the_name_of_the_stage() {
    let group = shared::workers(2).unwrap();
    run(|| {
        let awkward = Awkward;
        let holds = move |it: u32| (&awkward, it).1; // dropped when all have been worked on
        let line = pipeline::from_iter(0..100).on_workers(&group).map(holds).named("holds");
        let error = line.count().run().unwrap_err();
        assert_eq!(error.to_string(), "stage `holds` panicked: awkward");

        let drops = |it: (u32, Option<Awkward>)| it.0;
        let items = (0..100).map(|it| (it, (it == 50).then(|| Awkward)));
        let line = pipeline::from_iter(items).on_workers(&group).map(drops).named("drops");
        let error = line.count().run().unwrap_err();
        assert_eq!(error.to_string(), "stage `drops` panicked: awkward");
        conserves(&error.report);
    });
}
