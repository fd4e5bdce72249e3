//! What pipelines keep to: bounds, periods, policies, names.

use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tasklets::pipeline::{self, OnError};
use tasklets::{RunError, Runtime, channel, run, sleep, spawn, yield_now};

proptest! {
    #[test]
    fn what_is_dealt_out_and_merged_is_all_there_was(
        items in prop::collection::vec(0..50_u32, 0..30),
        (copies, workers) in (1..5_usize, 1..4_usize),
        in_flight in prop::option::of(1..9_usize),
        seed in any::<u64>(),
    ) {
        let runtime = Runtime::builder().seed(seed).build();
        let (given, mut all) = (items.clone(), [&items[..], &items[..]].concat());
        let done = runtime.run(move || {
            let slowly = |it: u32| ((0..it % 3).for_each(|_| yield_now()), it).1;
            let left = pipeline::from_iter(items.clone());
            let left = left.fan_out(copies, |it| it % 7, move |_, it| it.map(slowly));
            let right = pipeline::from_iter(items).map(slowly).workers(workers).unordered();
            let right = right.round_robin(copies, |_, it| it.batch(2).flat_map(|it| it));
            let both = left.map(|it| (0, it)).merge(right.map(|it| (1, it))).collect::<Vec<_>>();
            if let Some(count) = in_flight { both.in_flight(count).run() } else { both.run() }
        });
        let got = done.unwrap().unwrap().value;
        // Equal items go the same way, and items of one way keep their order.
        for key in 0..7 {
            let of = |it: &&u32| **it % 7 == key;
            let left: Vec<_> = got.iter().filter(|it| it.0 == 0).map(|it| &it.1).collect();
            let left: Vec<_> = left.into_iter().filter(of).collect();
            prop_assert_eq!(left, given.iter().filter(of).collect::<Vec<_>>());
        }
        let mut got: Vec<_> = got.into_iter().map(|it| it.1).collect();
        got.sort_unstable();
        all.sort_unstable();
        prop_assert_eq!(got, all);
    }
}

#[test]
fn no_more_than_the_bound_are_on_the_way_of_either_source_of_a_zip() {
    run(|| {
        let under_way = Cell::new([0_i32; 2]);
        let count = |nth: usize, by: i32| {
            let mut counts = under_way.get();
            counts[nth] += by;
            assert!(counts[nth] <= 2, "of one, beside that which waits to be let in: {counts:?}");
            under_way.set(counts);
        };
        let [left, right] = [0, 1].map(|nth| (0..20).inspect(move |_| count(nth, 1)));
        let pairs = pipeline::from_iter(left).zip(pipeline::from_iter(right));
        let pairs = pairs.map(|it| (yield_now(), it).1).map(|it| it).map(|it| it);
        let ends = pairs.for_each(|_| [0, 1].into_iter().for_each(|nth| count(nth, -1)));
        ends.in_flight(1).run().unwrap();
        assert_eq!(under_way.get(), [0, 0]);
    });
}

#[test]
fn of_a_throttle_no_two_items_are_taken_within_a_period() {
    let done = Runtime::builder().virtual_clock(true).build().run(|| {
        let (start, milli) = (tasklets::now(), Duration::from_millis(1));
        let line = pipeline::from_iter(0..4).throttle(10 * milli);
        let times = line.map(move |it| {
            let at = tasklets::now() - start;
            sleep(if it == 0 { 19 * milli } else { Duration::ZERO }).unwrap();
            at
        });
        times.collect::<Vec<_>>().run().unwrap().value
    });
    let apart = done.unwrap().windows(2).map(|it| it[1] - it[0]).min();
    assert!(apart.unwrap() >= Duration::from_millis(10), "{apart:?}");
}

#[test]
fn a_sink_that_may_fail_does_with_what_fails_as_it_is_told() {
    let (seen, failed) = (RefCell::new(Vec::new()), Rc::new(RefCell::default()));
    let done = run(|| {
        let note = |it: &u32| {
            seen.borrow_mut().push(*it);
            if it.is_multiple_of(2) { Ok(()) } else { Err(format!("{it} is odd")) }
        };
        let policy = OnError::collect(failed.clone()).retry(1, Duration::ZERO);
        pipeline::from_iter(0..4).try_for_each_or(policy, note).run().unwrap()
    });
    assert_eq!(seen.into_inner(), [0, 1, 1, 2, 3, 3]);
    let failed: Vec<pipeline::Failed<u32, String>> = failed.take();
    assert_eq!(failed.iter().map(|it| it.item).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((done.report.stages[1].delivered, done.report.stages[1].failed), (2, 2));
}

#[test]
fn every_channel_of_a_pipeline_has_a_name() {
    let ended = Runtime::builder().build().run(|| {
        let (_never, nothing) = channel::<tasklets::Never>();
        nothing.set_name("nothing");
        let waits = |it: u32| nothing.recv().map_or(it, |_| it);
        let line = pipeline::from_iter(0..).map(waits).workers(2).tee(|it| it.count());
        let dealt = line.round_robin(2, |_, it| it).flat_map(|it| [it; 2]).workers(2);
        dealt.count().in_flight(3).run().map(drop)
    });
    let Err(RunError::Stuck(report)) = ended else { panic!("nobody gives anything") };
    let text = report.to_string();
    assert!(text.contains("channel `map 1, row`"), "{text}");
    let nameless = text.split_whitespace().zip(text.split_whitespace().skip(1));
    let mut nameless = nameless.filter(|(one, next)| *one == "channel" && !next.starts_with('`'));
    assert_eq!(nameless.next(), None, "{text}");
}

#[test]
fn a_pipeline_may_have_many_stages_whatever_the_stack() {
    let many = |count: u32| {
        let source = pipeline::from_iter(0..3_u32);
        (0..count).fold(source, |line, _| line.filter(|_| true))
    };
    let ended = run(|| spawn(move || many(1_000).take(2).count().run()).join());
    assert_eq!(ended.unwrap().unwrap().value, 2);
    drop(many(200_000));
}

/// Gives some bytes, then fails.
struct Broken(&'static [u8]);

impl io::Read for Broken {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.0.read(bytes)? {
            0 => Err(io::Error::other("the disk is gone")),
            count => Ok(count),
        }
    }
}

#[test]
fn lines_of_a_source_that_fails_half_way_are_those_before_and_the_error() {
    let sources = [
        (&b"one\ntwo\nthr"[..], "the disk is gone"),
        (b"one\ntwo\n\xff\nfour\n", "stream did not contain valid UTF-8"),
    ];
    for (bytes, why) in sources {
        let all = run(|| {
            let source = pipeline::lines(io::BufReader::new(Broken(bytes)));
            source.collect::<Vec<_>>().run().unwrap().value
        });
        let texts: Vec<_> = all.iter().map(|it| it.as_deref().ok()).collect();
        assert_eq!(texts, [Some("one"), Some("two"), None]);
        assert_eq!(all[2].as_ref().unwrap_err().to_string(), why);
        let error = run(|| {
            let source = pipeline::lines(io::BufReader::new(Broken(bytes)));
            let texts =
                source.try_map(|it| it.as_ref().map(String::len).map_err(ToString::to_string));
            texts.count().run().unwrap_err().to_string()
        });
        assert!(error.starts_with("stage `try_map 1` failed"), "{error}");
    }
}
