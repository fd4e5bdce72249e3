//! Pipelines: what must hold of any of them, and of each stage.

mod support;

use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use support::report::conserves;
use tasklets::pipeline::{self, Cause, OnError, Pipeline, Report};
use tasklets::{Halt, Runtime, channel, explore, pause, run, sleep, spawn, within, yield_now};

/// A stage of a random pipeline, and the same for iterators.
#[derive(Clone, Debug)]
enum Stage {
    Map(i64, usize),
    Filter(i64),
    FlatMap(usize, usize),
    Skip(i64),
    Throttle,
    Scan,
    Take(usize),
    Dedup,
    Batch(usize),
    Window(usize),
    Inspect,
    Tee,
    Partition,
    RoundRobinOfOne,
    ZipWithItself,
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        (-3..4_i64, 1..4_usize).prop_map(|(factor, workers)| Stage::Map(factor, workers)),
        (1..5_i64).prop_map(Stage::Filter),
        (0..3_usize, 1..4_usize).prop_map(|(times, workers)| Stage::FlatMap(times, workers)),
        (2..5_i64).prop_map(Stage::Skip),
        Just(Stage::Throttle),
        Just(Stage::Scan),
        (0..12_usize).prop_map(Stage::Take),
        Just(Stage::Dedup),
        (1..4_usize).prop_map(Stage::Batch),
        (1..4_usize).prop_map(Stage::Window),
        Just(Stage::Inspect),
        Just(Stage::Tee),
        Just(Stage::Partition),
        Just(Stage::RoundRobinOfOne),
        Just(Stage::ZipWithItself),
    ]
}

fn add<'a>(pipeline: Pipeline<'a, i64>, stage: &Stage) -> Pipeline<'a, i64> {
    match stage.clone() {
        Stage::Map(factor, workers) => pipeline
            .map(move |it| {
                (0..it.rem_euclid(3)).for_each(|_| yield_now()); // done in another order
                it.wrapping_mul(factor)
            })
            .workers(workers),
        Stage::Filter(divisor) => pipeline.filter(move |it| it % divisor == 0),
        Stage::FlatMap(times, workers) => {
            pipeline.flat_map(move |it| vec![it; times]).workers(workers)
        }
        Stage::Skip(divisor) => {
            let sound = move |it: &i64| if it % divisor == 0 { Err("no") } else { Ok(*it) };
            pipeline.try_map_or(OnError::skip().retry(1, Duration::ZERO), sound)
        }
        Stage::Throttle => pipeline.throttle(Duration::ZERO),
        Stage::Scan => pipeline.scan(0_i64, |sum, it| {
            *sum = sum.wrapping_add(it);
            *sum
        }),
        Stage::Take(count) => pipeline.take(count),
        Stage::Dedup => pipeline.dedup(),
        Stage::Batch(size) => pipeline.batch(size).map(|it| it.iter().sum()),
        Stage::Window(size) => pipeline.window(size).map(|it| it.iter().sum()),
        Stage::Inspect => pipeline.inspect(|_| yield_now()),
        Stage::Tee => pipeline.tee(|copy| copy.take(3).for_each(drop)),
        Stage::Partition => pipeline.partition(|it| *it >= 0, |rest| rest.count()),
        Stage::RoundRobinOfOne => pipeline.round_robin(1, |_, it| it.map(|it| it + 1)),
        Stage::ZipWithItself => {
            pipeline.zip(pipeline::from_iter(0..)).map(|(it, nth)| it.wrapping_add(nth))
        }
    }
}

fn model(items: Vec<i64>, stage: &Stage) -> Vec<i64> {
    match stage.clone() {
        Stage::Map(factor, _) => items.into_iter().map(|it| it.wrapping_mul(factor)).collect(),
        Stage::Filter(divisor) => items.into_iter().filter(|it| it % divisor == 0).collect(),
        Stage::FlatMap(times, _) => items.into_iter().flat_map(|it| vec![it; times]).collect(),
        Stage::Skip(divisor) => items.into_iter().filter(|it| it % divisor != 0).collect(),
        Stage::Scan => items
            .into_iter()
            .scan(0_i64, |sum, it| {
                *sum = sum.wrapping_add(it);
                Some(*sum)
            })
            .collect(),
        Stage::Take(count) => items.into_iter().take(count).collect(),
        Stage::Dedup => {
            let mut items = items;
            items.dedup();
            items
        }
        Stage::Batch(size) => items.chunks(size).map(|it| it.iter().sum()).collect(),
        Stage::Window(size) => items.windows(size).map(|it| it.iter().sum()).collect(),
        Stage::Inspect | Stage::Tee | Stage::Throttle => items,
        Stage::Partition => items.into_iter().filter(|it| *it >= 0).collect(),
        Stage::RoundRobinOfOne => items.into_iter().map(|it| it + 1).collect(),
        Stage::ZipWithItself => items.into_iter().zip(0..).map(|(it, nth)| it + nth).collect(),
    }
}

proptest! {
    #[test]
    fn a_pipeline_gives_what_iterators_give(
        items in prop::collection::vec(-20..20_i64, 0..30),
        stages in prop::collection::vec(stage(), 0..7),
        in_flight in prop::option::of(1..9_usize),
        seed in any::<u64>(),
    ) {
        let expected = stages.iter().fold(items.clone(), model);
        let runtime = Runtime::builder().seed(seed).build();
        let done = runtime.run(|| {
            let source = pipeline::from_iter(items);
            let whole = stages.iter().fold(source, add).collect::<Vec<_>>();
            let whole = match in_flight {
                Some(count) => whole.in_flight(count),
                None => whole,
            };
            whole.run()
        });
        let done = done.unwrap().unwrap();
        prop_assert_eq!(done.value, expected);
        conserves(&done.report);
    }
}

/// How a random pipeline ends before its time.
#[derive(Clone, Debug)]
enum End {
    /// A stage in its middle wants no more than so many.
    Take(usize),
    /// A stage in its middle fails at an item.
    Fail(i64),
    /// A stage in its middle panics at an item.
    Panic(i64),
    /// Who receives what it gives leaves after so many.
    Leave(usize),
    /// Who runs it is cancelled after so many turns.
    Cancel(usize),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        (0..9_usize).prop_map(End::Take),
        (-5..5_i64).prop_map(End::Fail),
        (-5..5_i64).prop_map(End::Panic),
        (0..9_usize).prop_map(End::Leave),
        (1..60_usize).prop_map(End::Cancel),
    ]
}

/// The report of a pipeline that `end` ends, if nothing else does.
fn ended(whole: Pipeline<'static, i64>, end: &End) -> Report {
    let (tx, rx) = channel();
    let sink = whole.into_channel(tx);
    let runner = spawn(move || match sink.run() {
        Ok(done) => done.report,
        Err(error) => error.report,
    });
    match end {
        End::Leave(count) => rx.iter().take(*count).for_each(drop),
        End::Cancel(turns) => {
            let reader = spawn(move || rx.iter().for_each(drop));
            (0..*turns).for_each(|_| yield_now());
            runner.cancel();
            reader.join().unwrap();
            return runner.join().unwrap();
        }
        End::Take(_) | End::Fail(_) | End::Panic(_) => rx.iter().for_each(drop),
    }
    drop(rx);
    runner.join().unwrap()
}

proptest! {
    #[test]
    fn no_item_is_lost_whatever_ends_a_pipeline(
        items in prop::collection::vec(-20..20_i64, 0..30),
        before in prop::collection::vec(stage(), 0..4),
        end in end(),
        after in prop::collection::vec(stage(), 0..4),
        seed in any::<u64>(),
    ) {
        let runtime = Runtime::builder().seed(seed).build();
        let report = runtime.run(move || {
            let first = before.iter().fold(pipeline::from_iter(items), add);
            let middle = match end.clone() {
                End::Take(count) => first.take(count),
                End::Fail(at) => first.try_map(move |it| (*it != at).then_some(*it).ok_or("at")),
                End::Panic(at) => first.map(move |it| {
                    let fine = it != at;
                    if fine { it } else { std::panic::resume_unwind(Box::new("at")) }
                }),
                End::Leave(_) | End::Cancel(_) => first,
            };
            ended(after.iter().fold(middle, add), &end)
        });
        conserves(&report.unwrap());
    }
}

#[test]
fn an_ordered_stage_keeps_the_order_under_every_schedule() {
    explore::Explore::new().check(|| {
        let done = pipeline::from_iter(0..3)
            .map(|it| {
                if it == 0 {
                    yield_now();
                }
                it
            })
            .workers(2)
            .collect::<Vec<_>>()
            .run();
        assert_eq!(done.unwrap().value, [0, 1, 2]);
    });
}

#[test]
fn an_early_end_leaves_nobody_under_every_schedule() {
    explore::Explore::new().check(|| {
        let done = pipeline::from_iter(0..).map(|it| it + 1).take(1).collect::<Vec<_>>().run();
        assert_eq!(done.unwrap().value, [1]);
    });
}

#[test]
fn a_failure_ends_every_stage_under_every_schedule() {
    explore::Explore::new().check(|| {
        let done = pipeline::from_iter(0..)
            .try_map(|it| if *it < 1 { Ok(*it) } else { Err("enough") })
            .for_each(drop)
            .run();
        assert_eq!(done.unwrap_err().to_string(), "stage `try_map 1` failed: enough");
    });
}

#[test]
fn no_more_than_the_bound_are_on_the_way() {
    run(|| {
        let (on_the_way, most) = (Cell::new(0_i32), Cell::new(0));
        let counted = pipeline::from_iter((0..100).inspect(|_| {
            on_the_way.set(on_the_way.get() + 1);
            most.set(most.get().max(on_the_way.get()));
        }));
        let slow = counted.map(|it| (yield_now(), it).1).workers(10).map(|it| it);
        let done = slow.for_each(|_| on_the_way.set(on_the_way.get() - 1)).in_flight(3).run();
        done.unwrap();
        assert!(most.get() <= 4, "{} on the way", most.get());
    });
}

#[test]
fn a_bound_that_is_smaller_than_a_batch_does_not_stop_it() {
    run(|| {
        let pairs = pipeline::from_iter(0..12).batch(2).named("pairs");
        let threes = pairs.batch_by(3, Some(Duration::from_secs(9)), |_| 1).window(2);
        let done = threes.count().in_flight(1).run();
        assert_eq!(done.unwrap().value, 1);
    });
}

#[test]
fn a_slow_first_item_holds_back_no_more_than_the_workers() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let begun = Rc::new(Cell::new(0));
    let counted = begun.clone();
    let done = runtime.run(move || {
        let slow = pipeline::from_iter(0..100).map(move |it| {
            counted.set(counted.get() + 1);
            if it == 0 {
                sleep(Duration::from_secs(10)).unwrap();
                assert!(counted.get() <= 4, "{} were begun", counted.get());
            }
            it
        });
        slow.workers(4).collect::<Vec<_>>().run()
    });
    assert_eq!(done.unwrap().unwrap().value, (0..100).collect::<Vec<_>>());
    assert_eq!(begun.get(), 100);
}

#[test]
fn a_panic_is_an_error_with_the_name_of_the_stage() {
    run(|| {
        let done = pipeline::from_iter(0..10)
            .map(|it| if it == 3 { std::panic::resume_unwind(Box::new("three")) } else { it })
            .named("picky")
            .count()
            .run();
        let error = done.unwrap_err();
        assert_eq!(error.to_string(), "stage `picky` panicked: three");
        assert_eq!((error.report.stages[1].taken, error.report.stages[1].failed), (4, 1));
    });
}

#[test]
fn a_source_and_a_sink_that_panic_are_errors_too() {
    run(|| {
        let source = pipeline::from_iter(
            (0..3).map(|it| if it == 2 { std::panic::resume_unwind(Box::new("dry")) } else { it }),
        );
        assert_eq!(source.count().run().unwrap_err().to_string(), "stage `source 0` panicked: dry");
        let sink = pipeline::from_iter(0..3).for_each(|_| {
            std::panic::resume_unwind(Box::new("full"));
        });
        let error = sink.run().unwrap_err();
        assert_eq!(error.to_string(), "stage `for_each 1` panicked: full");
        assert!(matches!(error.cause, Cause::Panicked(_)));
    });
}

#[test]
fn items_that_fail_are_skipped_collected_retried_or_sent_away() {
    run(|| {
        let parse = |it: &&'static str| it.parse::<i32>();
        let words = || pipeline::from_iter(["1", "x", "3"]);
        let skip = words().try_map_or(OnError::skip(), parse).collect::<Vec<_>>().run().unwrap();
        assert_eq!(skip.value, [1, 3]);
        assert_eq!(skip.report.stages[1].failed, 1);
        let failed = Rc::new(RefCell::new(Vec::new()));
        let collect = words().try_map_or(OnError::collect(failed.clone()), parse);
        assert_eq!(collect.count().run().unwrap().value, 2);
        assert_eq!(failed.borrow()[0].item, "x");
        let (dead, letters) = channel();
        drop(letters);
        let lost = words().try_map_or(OnError::dead_letter(dead), parse).count().run();
        assert!(lost.unwrap_err().to_string().contains("invalid digit"));
        let tries = Cell::new(0);
        let patient = OnError::skip().retry(2, Duration::from_micros(1));
        let never = pipeline::from_iter([()]).try_map_or(patient, |()| {
            tries.set(tries.get() + 1);
            Err::<(), _>("never")
        });
        assert_eq!((never.count().run().unwrap().value, tries.get()), (0, 3));
    });
}

#[test]
fn cancelling_who_runs_it_ends_all_stages() {
    run(|| {
        let alive = Rc::new(());
        let held = alive.clone();
        let runner = spawn(move || {
            let waits = pipeline::from_iter(0..).map(move |_| (held.clone(), pause()).1).workers(3);
            waits.count().run().map(|_| ())
        });
        yield_now();
        yield_now();
        runner.cancel();
        let error = runner.join().unwrap().unwrap_err();
        assert!(matches!(error.cause, Cause::Halted(Halt::Cancelled)), "{error}");
        assert_eq!(Rc::strong_count(&alive), 1);
    });
}

#[test]
fn a_deadline_ends_a_stage_that_never_ends() {
    run(|| {
        let endless = || pipeline::from_iter(0..).for_each(|_| yield_now()).run();
        let ended = within(Duration::from_millis(2), endless);
        assert!(matches!(ended.value.unwrap_err().cause, Cause::Halted(Halt::TimedOut)));
    });
}

#[test]
fn merged_pipelines_give_all_of_both_and_fan_outs_lose_nothing() {
    run(|| {
        let merged = pipeline::from_iter(0..50).merge(pipeline::from_iter(50..100));
        let all = merged.collect::<BTreeSet<_>>().run().unwrap().value;
        assert_eq!(all, (0..100).collect());
        let dealt = pipeline::from_iter(0..100).round_robin(3, |_, it| it.map(|it| it * 2));
        let all = dealt.collect::<BTreeSet<_>>().run().unwrap().value;
        assert_eq!(all, (0..100).map(|it| it * 2).collect());
        let by_key = pipeline::from_iter(0..100).fan_out(4, |it| it % 10, |_, it| it);
        assert_eq!(by_key.count().run().unwrap().value, 100);
    });
}

#[test]
fn work_on_other_threads_keeps_the_order_and_carries_panics() {
    run(|| {
        let squares = pipeline::from_iter(0..50_u64).on_pool().map(|it| it * it).workers(4);
        let expected: Vec<_> = (0..50_u64).map(|it| it * it).collect();
        assert_eq!(squares.collect::<Vec<_>>().run().unwrap().value, expected);
        let panics = pipeline::from_iter(0..3).on_pool().map(|it: i32| {
            if it == 1 { std::panic::resume_unwind(Box::new("elsewhere")) } else { it }
        });
        let error = panics.named("far").count().run().unwrap_err();
        assert_eq!(error.to_string(), "stage `far` panicked: elsewhere");
    });
}

#[test]
fn a_sink_that_fails_or_closes_early_ends_the_pipeline() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    run(|| {
        let error = pipeline::from_iter(0..).write_lines(Full).named_run();
        assert!(error.starts_with("stage `write_lines 1` failed"), "{error}");
        let (tx, rx) = channel();
        let sender = spawn(move || pipeline::from_iter(0..).into_channel(tx).run().unwrap().report);
        assert_eq!(rx.recv(), Ok(0));
        drop(rx);
        let report = sender.join().unwrap();
        assert_eq!((report.stages[1].taken, report.stages[1].returned), (2, 1));
    });
}

trait NamedRun {
    fn named_run(self) -> String;
}

impl NamedRun for pipeline::Sink<'_, ()> {
    fn named_run(self) -> String {
        self.run().unwrap_err().to_string()
    }
}

#[test]
fn an_item_that_finds_no_other_and_a_batch_that_is_not_given_are_returned() {
    run(|| {
        let pairs = pipeline::from_iter(0..9).zip(pipeline::from_iter(0..2));
        let report = pairs.count().run().unwrap().report;
        let zip = &report.stages[2];
        assert_eq!((zip.taken, zip.delivered, zip.returned), (5, 4, 1), "{report}");
        let source =
            (0..5).map(|it| if it < 4 { it } else { std::panic::resume_unwind(Box::new(4)) });
        let report = pipeline::from_iter(source).batch(3).count().run().unwrap_err().report;
        let batch = &report.stages[1];
        assert_eq!((batch.taken, batch.delivered, batch.returned), (4, 3, 1), "{report}");
        assert_eq!((report.edges[1].from, report.edges[1].to, report.edges[1].items), (1, 2, 1));
    });
}

#[test]
fn what_has_no_workers_or_size_is_refused() {
    let refused = |f: fn()| std::panic::catch_unwind(f).is_err();
    assert!(refused(|| drop(pipeline::from_iter(0..1).workers(0))));
    assert!(refused(|| drop(pipeline::from_iter(0..1).batch(0))));
    assert!(refused(|| drop(pipeline::from_iter(0..1).window(0))));
    assert!(refused(|| drop(pipeline::from_iter(0..1).round_robin(0, |_, it| it))));
    assert!(refused(|| drop(pipeline::from_iter(0..1).map(|it| it).workers(usize::MAX))));
    assert!(refused(|| drop(pipeline::from_iter(0..1).count().in_flight(0))));
}

#[test]
fn the_report_names_the_bottleneck_and_draws_the_network() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let done = runtime.run(|| {
        let quick = pipeline::from_iter(0..64).map(|it| it).named("quick");
        let slow = quick.map(|it| (sleep(Duration::from_secs(1)), it).1).named("slow \"one\"");
        slow.tee(|it| it.count()).count().run()
    });
    let report = done.unwrap().unwrap().report;
    assert_eq!(report.bottleneck().unwrap().name, "slow \"one\"");
    assert!(report.to_dot().contains("s1 -> s2 [label=\"64 items, 1/s"), "{}", report.to_dot());
    assert!(report.to_mermaid().contains("s2[\"slow #34;one#34;\"]"), "{}", report.to_mermaid());
    assert_eq!(report.to_dot().matches("->").count(), 5);
    assert!(report.to_string().contains("the bottleneck is slow"), "{report}");
}

#[test]
fn items_that_are_too_few_for_a_window_are_returned() {
    let done = run(|| pipeline::from_iter(0..3).window(5).count().run()).unwrap();
    let window = &done.report.stages[1];
    assert_eq!((done.value, window.delivered, window.returned), (0, 0, 3));
    conserves(&done.report);
}
