//! Pipelines of which somebody wants no more: who works for nobody ends at once, though it waits.

mod support;

use std::cell::Cell;
use std::time::Duration;
use support::report::conserves;
use tasklets::explore::Explore;
use tasklets::pipeline::{self, Cause, OnError, Pipeline, from_channel, from_iter};
use tasklets::{Never, Operation, Runtime, channel, pause, run, sleep, spawn, yield_now};

/// Longer than any test.
const AGES: Duration = Duration::from_secs(1_000_000);

type Line = Pipeline<'static, u32>;

/// A part of a pipeline, and what it is called.
type Part = (&'static str, fn(Line) -> Line);

/// Pipelines that want one item of a channel, whose sender stays.
const SHAPES: [Part; 15] = [
    ("take", |it| it.take(1)),
    ("far", |it| it.map(|it| it).filter(|_| true).take(1).map(|it| it)),
    ("two workers", |it| it.map(|it| it).workers(2).take(1)),
    ("any order", |it| it.map(|it| it).workers(2).unordered().take(1)),
    ("take twice", |it| it.take(2).take(1)),
    ("zip", |it| it.zip(from_iter([()])).map(|it| it.0).take(1)),
    ("merge", |it| it.merge(waits()).take(1)),
    ("merge ends", |it| waits().take(0).merge(it).take(1)),
    ("tee", |it| it.tee(|it| it.count()).take(1)),
    ("partition", |it| it.partition(|_| true, |it| it.count()).take(1)),
    ("fan_out", |it| it.fan_out(2, |it| *it, |_, it| it).take(1)),
    ("copies end", |it| it.round_robin(2, |nth, it| it.take(1 - nth))),
    ("on_pool", |it| it.on_pool().map(|it| it).take(1)),
    ("batch", |it| it.batch(1).flat_map(|it| it).take(1)),
    ("window", |it| it.window(1).map(|it| it[0]).take(1)),
];

/// A source that waits for ever.
fn waits() -> Line {
    let (tx, rx) = channel::<Never>();
    from_iter(std::iter::from_fn(move || (rx.receiving().wait().ok(), &tx).0.map(|it| match it {})))
}

#[test]
fn a_source_that_waits_ends_when_nobody_wants_more_under_many_schedules() {
    for (name, shape) in SHAPES {
        Explore::new().executions(300).check(|| {
            let (tx, rx) = channel();
            let giver = spawn(move || (tx.send(7).is_ok(), tx));
            let done = shape(from_channel(rx)).collect::<Vec<_>>().run().unwrap();
            assert_eq!(done.value, [7], "{name}");
            conserves(&done.report);
            let (sent, tx) = giver.join().unwrap();
            assert!(sent && tx.send(8).is_err(), "{name}: the receiver is still there");
        });
    }
}

#[test]
fn a_source_of_any_kind_ends_at_once_and_so_does_a_stage_that_rests() {
    let soon = || from_iter([0]);
    let sources: [(&str, &dyn Fn() -> Line); 7] = [
        ("tick", &|| pipeline::tick(AGES).map(|_| 0).merge(soon())),
        ("from_fn", &|| {
            from_iter(std::iter::from_fn(|| sleep(AGES).ok().map(|()| 0))).merge(soon())
        }),
        ("one that panics when stopped", &|| {
            from_iter(std::iter::from_fn(|| {
                Some(sleep(AGES).map_or_else(|it| panic!("{it}"), |()| 0))
            }))
            .merge(soon())
        }),
        ("throttle", &|| from_iter(0..).throttle(AGES)),
        ("batch_within", &|| {
            let (first, waits) = (from_iter([0]), pipeline::tick(AGES).map(|_| 0));
            first.merge(waits).batch_within(9, AGES).map(|_| 0).merge(soon())
        }),
        ("retry", &|| {
            let patient = OnError::stop().retry(9, AGES);
            let even = |it: &u32| if it.is_multiple_of(2) { Ok(*it) } else { Err("odd") };
            from_iter(0..).try_map_or(patient, even)
        }),
        ("a closure", &|| {
            let first = Cell::new(true);
            let map = move |it| (first.take() || sleep(AGES).map(|()| false).unwrap(), it).1;
            from_iter(0..).map(map)
        }),
    ];
    for (name, source) in sources {
        let runtime = Runtime::builder().virtual_clock(true).build();
        let done = runtime.run(|| {
            let done = source().take(1).collect::<Vec<_>>().run().unwrap();
            conserves(&done.report);
            done
        });
        let done = done.unwrap();
        assert_eq!(done.value, [0], "{name}");
        assert!(done.report.elapsed < AGES, "{name} waited");
    }
}

#[test]
fn what_is_worked_on_when_nobody_wants_it_is_returned_or_failed_and_no_error() {
    let stages: [Part; 3] = [
        ("returned", |it| it.map(|it| (it == 0 || pause().is_ok(), it).1)),
        ("returned", |it| it.try_map(|it| if *it == 0 { Ok(0) } else { pause().map(|()| 1) })),
        ("failed", |it| it.map(|it| if it == 0 { 0 } else { pause().map(|()| 1).unwrap() })),
    ];
    for (what, stage) in stages {
        run(|| {
            let line = stage(from_iter(0..)).workers(3).unordered();
            let done = line.take(1).count().run().unwrap();
            conserves(&done.report);
            let stage = &done.report.stages[1];
            assert!(stage.taken > 1, "{}", done.report);
            let count = if what == "failed" { stage.failed } else { stage.returned };
            assert_eq!(count, stage.taken - 1, "{what}: {}", done.report);
        });
    }
}

#[test]
fn a_failure_that_was_there_before_the_end_is_an_error() {
    let error = run(|| {
        let line = from_iter(0..).map(|it| if it == 1 { panic!("a bug") } else { it });
        line.tee(|it| it.count()).map(|it| (yield_now(), it).1).take(2).count().run().unwrap_err()
    });
    assert!(matches!(error.cause, Cause::Panicked(_)), "{error}");
}

#[test]
fn a_sink_whose_receivers_are_gone_ends_a_source_that_waits_under_every_schedule() {
    Explore::new().check(|| {
        let ((tx, rx), (to, out)) = (channel(), channel());
        let taker = spawn(move || out.recv());
        let giver = spawn(move || (tx.send(1).is_ok(), tx.send(2).is_ok(), tx));
        let done = from_channel(rx).into_channel(to).run().unwrap();
        conserves(&done.report);
        assert_eq!(taker.join().unwrap(), Ok(1));
        drop(giver.join().unwrap());
    });
}

#[test]
fn who_runs_a_pipeline_can_be_stopped_while_stages_leave_under_every_schedule() {
    Explore::new().executions(2_000).check(|| {
        let (tx, rx) = channel();
        let giver = spawn(move || (tx.send(1).is_ok(), tx).1);
        let runner = spawn(move || from_channel(rx).take(1).collect::<Vec<_>>().run());
        runner.cancel();
        match runner.join() {
            Ok(Ok(done)) => assert_eq!(done.value, [1]),
            Ok(Err(error)) => {
                assert!(matches!(error.cause, Cause::Halted(tasklets::Halt::Cancelled)), "{error}");
                conserves(&error.report);
            }
            Err(_) => {}
        }
        drop(giver.join().unwrap());
    });
}

#[test]
fn a_copy_that_wants_no_more_leaves_the_others_what_there_is_under_many_schedules() {
    Explore::new().executions(1_000).check(|| {
        let dealt =
            from_iter(0..4).round_robin(2, |nth, it| if nth == 0 { it.take(1) } else { it });
        let mut done = dealt.collect::<Vec<u32>>().run().unwrap();
        conserves(&done.report);
        done.value.sort();
        assert_eq!(done.value, [0, 1, 2, 3]);
    });
}

#[test]
fn items_whose_copy_wants_no_more_are_returned_under_many_schedules() {
    let copies = || {
        let which = from_iter(0..5).fan_out(2, |it| *it, |nth, it| it.map(move |it| (nth, it)));
        which.collect::<Vec<(usize, u32)>>().run().unwrap().value
    };
    let (first, others): (Vec<_>, Vec<_>) = run(copies).into_iter().partition(|it| it.0 == 0);
    assert!(first.len() > 1 && !others.is_empty(), "keys of one copy only");
    let mut expected: Vec<u32> = first[..1].iter().chain(&others).map(|it| it.1).collect();
    expected.sort();
    Explore::new().executions(1_000).check(|| {
        let limit = |nth| if nth == 0 { 1 } else { 9 };
        let dealt = from_iter(0..5).fan_out(2, |it| *it, |nth, it| it.take(limit(nth)));
        let mut done = dealt.collect::<Vec<u32>>().run().unwrap();
        conserves(&done.report);
        done.value.sort();
        assert_eq!(done.value, expected);
        assert_eq!(done.report.stages[1].returned, first.len() as u64 - 1, "{}", done.report);
    });
}

#[test]
fn a_branch_that_wants_no_more_is_left_out_and_ends_with_what_is_given_on() {
    run(|| {
        let (left_out, seen) = (Cell::new(0), Cell::new(0));
        let see = |seen: &Cell<u32>| seen.set(seen.get() + 1);
        let line = from_iter(0..9).tee(|it| it.take(2).for_each(|_| see(&left_out)));
        let done = line.count().run().unwrap();
        assert_eq!((done.value, left_out.get()), (9, 2));
        conserves(&done.report);

        let line = from_iter(0..9).partition(|it| it % 3 == 0, |it| it.take(2).for_each(drop));
        let done = line.collect::<Vec<u32>>().run().unwrap();
        assert_eq!((done.value, done.report.stages[1].returned), (vec![0, 3, 6], 4));
        conserves(&done.report);

        let endless = from_iter(0..).tee(|it| it.for_each(|_| see(&seen))).take(3);
        let done = endless.count().run().unwrap();
        assert!((3..=5).contains(&seen.get()), "{} went aside", seen.get());
        conserves(&done.report);
    });
}

#[test]
fn zip_ends_with_its_first_input_though_the_other_one_waits() {
    let done = Runtime::builder().virtual_clock(true).build().run(|| {
        let pairs = from_iter([7]).zip(from_iter([()]).merge(pipeline::tick(AGES).map(|_| ())));
        pairs.count().run().unwrap()
    });
    let done = done.unwrap();
    assert_eq!(done.value, 1);
    assert!(done.report.elapsed < AGES, "it waited");
    conserves(&done.report);
}

#[test]
fn zip_ends_with_its_second_input_though_the_first_one_waits() {
    Explore::new().executions(300).check(|| {
        let first = from_iter([7]).merge(pipeline::tick(AGES).map(|_| 8));
        let done = first.zip(from_iter(["a"])).collect::<Vec<_>>().run().unwrap();
        assert_eq!(done.value, [(7, "a")]);
        assert!(done.report.elapsed < AGES, "it waited");
        conserves(&done.report);
    });
}
