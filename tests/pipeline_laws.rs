//! The laws of every source, stage and sink of a pipeline, under schedules of all kinds: what comes
//! out, that no item is lost, that it ends, whatever ends it, and that nothing of it is left.

mod support;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;
use support::report::conserves;
use tasklets::explore::Explore;
use tasklets::pipeline::{self, Cause, Done, Error, OnError, Pipeline, Report, Sink, from_iter};
use tasklets::shared::{self, Workers};
use tasklets::{Halt, Never, Receiver, Runtime, channel, snapshot, spawn, yield_now};

const SECOND: Duration = Duration::from_secs(1);

type Line = Pipeline<'static, u32>;

/// What went another way.
type Aside = Rc<RefCell<Vec<u32>>>;

/// When a pipeline is to be stopped, if it is.
type Stop<'a> = Option<&'a Receiver<Never>>;

/// What was given, what went another way, and what was done.
type Ended = Result<(Vec<u32>, Vec<u32>, Report), Error>;

/// What becomes of a pipeline that something stops, or not.
fn end<R: 'static>(
    sink: Sink<'static, R>,
    stop: Stop<'_>,
    given: impl FnOnce(R) -> Vec<u32>,
    aside: &Aside,
) -> Ended {
    let Done { value, report, .. } = match stop {
        Some(stop) => sink.run_until(stop.receiving())?,
        None => sink.run()?,
    };
    Ok((given(value), aside.take(), report))
}

/// No tasklet is there that was one of its stages.
fn nobody_is_left(report: &Report) {
    let there = snapshot().unwrap().tasklets;
    let is_stage = |name: &str| report.stages.iter().any(|it| it.name == name);
    let left = there.iter().find(|it| it.name.as_deref().is_some_and(is_stage));
    assert!(left.is_none(), "{left:?} is left");
}

/// Under many schedules, all if there are few, `body` gives what `holds`; also if it is stopped at
/// any moment, unless it tells that.
fn law(name: &str, body: impl Fn(Stop<'_>) -> Ended, holds: impl Fn(&[u32], &[u32]) -> bool) {
    let whole = |ended: Ended| {
        let (given, aside, report) = ended.unwrap();
        assert!(holds(&given, &aside), "{name}: {given:?} {aside:?}");
        conserves(&report);
        report
    };
    let stopped = || {
        let (stop, stopped) = channel::<Never>();
        let stopper = spawn(move || drop(stop));
        let report = match body(Some(&stopped)) {
            Err(Error { report, cause: Cause::Halted(Halt::Cancelled), .. }) => {
                conserves(&report);
                report
            }
            ended => whole(ended),
        };
        stopper.join().unwrap();
        report
    };
    // A tasklet that waits for ever is a failure there.
    let explorer = Explore::new().executions(200);
    explorer.check(|| _ = whole(body(None)));
    explorer.check(|| _ = stopped());
    for seed in 0..5 {
        let runtime = Runtime::builder().virtual_clock(true).seed(seed).build();
        let ended = runtime.run(|| {
            nobody_is_left(&whole(body(None)));
            nobody_is_left(&stopped());
        });
        ended.unwrap();
    }
}

/// Equal, in order or not.
fn equal(ordered: bool, one: &[u32], other: &[u32]) -> bool {
    let (mut one, mut other) = (one.to_vec(), other.to_vec());
    if !ordered {
        one.sort();
        other.sort();
    }
    one == other
}

/// A stage, what it makes of 0, 1, 2, in order unless it says that, and what goes another way.
struct Row {
    name: &'static str,
    stage: fn(Line, &Aside) -> Line,
    gives: &'static [u32],
    aside: &'static [u32],
    ordered: bool,
}

const fn row(
    name: &'static str,
    gives: &'static [u32],
    aside: &'static [u32],
    stage: fn(Line, &Aside) -> Line,
) -> Row {
    Row { name, stage, gives, aside, ordered: true }
}

const fn any_order(name: &'static str, stage: fn(Line, &Aside) -> Line) -> Row {
    Row { name, stage, gives: &[0, 1, 2], aside: &[], ordered: false }
}

/// A result that is an error for 1.
fn not_one(it: &u32) -> Result<u32, &'static str> {
    if *it == 1 { Err("one") } else { Ok(*it) }
}

/// Takes longer for 0 than for others.
fn slowly(it: u32) -> u32 {
    if it == 0 {
        yield_now();
    }
    it
}

/// A branch that leaves its items in `aside`.
fn branch(aside: &Aside) -> impl FnOnce(Line) -> Sink<'static, ()> + 'static {
    let aside = aside.clone();
    move |it| it.for_each(move |it| aside.borrow_mut().push(it))
}

/// Sends what fails to somebody who leaves it in `aside`.
fn letters(aside: &Aside) -> OnError<u32, &'static str> {
    let ((dead, letters), aside) = (channel::<pipeline::Failed<_, _>>(), aside.clone());
    spawn(move || letters.iter().for_each(|it| aside.borrow_mut().push(it.item)));
    OnError::dead_letter(dead)
}

/// Workers that have nothing to do in a run that is explored.
fn group() -> &'static Workers {
    static GROUP: LazyLock<Workers> = LazyLock::new(|| shared::workers(1).unwrap());
    &GROUP
}

const STAGES: [Row; 38] = [
    row("map", &[1, 2, 3], &[], |it, _| it.map(|it| it + 1)),
    row("map by two", &[0, 1, 2], &[], |it, _| it.map(slowly).workers(2)),
    any_order("map in any order", |it, _| it.map(slowly).workers(2).unordered()),
    row("try_map", &[0, 1, 2], &[], |it, _| it.try_map(|it| Ok::<_, &str>(*it))),
    row("skip", &[0, 2], &[], |it, _| it.try_map_or(OnError::skip(), not_one)),
    row("retry", &[0, 2], &[], |it, _| {
        it.try_map_or(OnError::skip().retry(1, SECOND), not_one).workers(2)
    }),
    row("dead_letter", &[0, 2], &[1], |it, aside| it.try_map_or(letters(aside), not_one)),
    row("filter", &[0, 2], &[], |it, _| it.filter(|it| *it != 1)),
    row("filter by two", &[0, 2], &[], |it, _| it.filter(|it| *it != 1).workers(2)),
    row("filter_map", &[0, 2], &[], |it, _| it.filter_map(|it| (it != 1).then_some(it))),
    row("inspect", &[0, 1, 2], &[0, 1, 2], |it, aside| {
        let aside = aside.clone();
        it.inspect(move |it| aside.borrow_mut().push(*it))
    }),
    row("flat_map", &[1, 2, 2], &[], |it, _| it.flat_map(|it| vec![it; it as usize])),
    row("flat_map by two", &[0, 0, 1, 1], &[], |it, _| {
        it.take(2).flat_map(|it| [slowly(it), it]).workers(2)
    }),
    row("collect", &[0, 2], &[1], |it, aside| {
        let (failed, aside) = (Rc::default(), aside.clone());
        let fails = it.try_map_or(OnError::collect(Rc::clone(&failed)), not_one);
        fails.inspect(move |_| {
            let failed: &RefCell<Vec<pipeline::Failed<u32, &str>>> = &failed;
            aside.borrow_mut().extend(failed.borrow_mut().drain(..).map(|it| it.item));
        })
    }),
    row("scan", &[0, 1, 3], &[], |it, _| it.scan(0, |sum, it| (*sum += it, *sum).1)),
    row("take", &[0, 1], &[], |it, _| it.take(2)),
    row("take none", &[], &[], |it, _| it.take(0)),
    row("dedup", &[0, 1], &[], |it, _| it.map(|it| it.div_ceil(2)).dedup()),
    row("throttle", &[0, 1, 2], &[], |it, _| it.throttle(SECOND)),
    row("window", &[1, 3], &[], |it, _| it.window(2).map(|it| it.iter().sum())),
    row("batch", &[0, 1, 2], &[], |it, _| it.batch(2).flat_map(|it| it)),
    row("batch_within", &[0, 1, 2], &[], |it, _| it.batch_within(2, SECOND).flat_map(|it| it)),
    row("batch late", &[0, 1, 2], &[], |it, _| {
        it.throttle(2 * SECOND).batch_within(2, SECOND).flat_map(|it| it)
    }),
    row("batch_by", &[1, 2], &[], |it, _| {
        it.batch_by(1, None, |it| *it as usize).map(|it| it.iter().sum())
    }),
    row("tee", &[0, 1, 2], &[0, 1, 2], |it, aside| it.tee(branch(aside))),
    row("tee to who leaves", &[0, 1, 2], &[], |it, _| it.tee(|it| it.take(1).for_each(drop))),
    row("partition", &[0, 2], &[1], |it, aside| it.partition(|it| *it != 1, branch(aside))),
    any_order("merge", |it, _| it.filter(|it| *it > 0).merge(from_iter([0]))),
    row("zip", &[0, 2], &[], |it, _| it.zip(from_iter(0..2)).map(|(one, two)| one + two)),
    any_order("fan_out", |it, _| it.fan_out(2, |it| *it, |_, share| share)),
    any_order("round_robin", |it, _| it.round_robin(2, |_, share| share)),
    row("on_pool", &[1, 2, 3], &[], |it, _| it.on_pool().map(|it| it + 1).workers(2)),
    row("skip on_pool", &[0, 2], &[], |it, _| it.on_pool().try_map_or(OnError::skip(), not_one)),
    row("flat_map on_pool", &[1, 2, 2], &[], |it, _| {
        it.on_pool().flat_map(|it| vec![it; it as usize]).workers(2)
    }),
    row("on_workers", &[1, 2, 3], &[], |it, _| it.on_workers(group()).map(|it| it + 1)),
    row("skip on_workers", &[0, 2], &[], |it, _| {
        it.on_workers(group()).try_map_or(OnError::skip(), not_one)
    }),
    any_order("on_workers in any order", |it, _| {
        it.on_workers(group()).inspect(|_| {}).workers(2).unordered()
    }),
    row("filter on_pool", &[2], &[], |it, _| {
        it.on_pool().filter(|it| *it > 0).on_pool().filter_map(|it| (it > 1).then_some(it))
    }),
];

#[test]
fn a_stage_gives_what_it_says_loses_nothing_and_ends_with_its_input() {
    for Row { name, stage, gives, aside, ordered } in STAGES {
        let body = |stop: Stop<'_>| {
            let other = Aside::default();
            let sink = stage(from_iter(0..3), &other).collect();
            end(sink, stop, |it| it, &other)
        };
        law(name, body, |given, other| equal(ordered, given, gives) && equal(true, other, aside));
    }
}

#[test]
fn a_stage_whose_output_is_not_wanted_any_more_ends_and_loses_nothing() {
    for Row { name, stage, gives, ordered, .. } in STAGES {
        let body = |stop: Stop<'_>| {
            let other = Aside::default();
            let sink = stage(from_iter(0..3), &other).take(1).collect();
            end(sink, stop, |it| it, &other)
        };
        let first = &gives[..gives.len().min(1)];
        law(name, body, |given, _| {
            given == first || !ordered && given.len() == 1 && gives.contains(&given[0])
        });
    }
}

type Source = (&'static str, fn() -> Line);

/// Sources that give 0, 1, 2.
const SOURCES: [Source; 4] = [
    ("from_iter", || from_iter(0..3)),
    ("from_channel", || {
        let (tx, rx) = channel();
        spawn(move || tx.send_all(0..3));
        pipeline::from_channel(rx)
    }),
    ("lines", || pipeline::lines(&b"0\n1\n2"[..]).map(|it| it.unwrap().parse().unwrap())),
    ("tick", || {
        let numbers = pipeline::tick(SECOND).zip(from_iter(0..3));
        numbers.map(|(_, it)| it)
    }),
];

#[test]
fn a_source_gives_all_in_order_and_ends() {
    for (name, source) in SOURCES {
        for bound in [None, Some(1)] {
            let body = |stop: Stop<'_>| {
                let all = source().collect();
                let all = if let Some(bound) = bound { all.in_flight(bound) } else { all };
                end(all, stop, |it| it, &Aside::default())
            };
            law(name, body, |given, _| given == [0, 1, 2]);
        }
    }
}

/// Reads what is written.
struct Log(Aside);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let digits = text.iter().filter(|it| it.is_ascii_digit());
        self.0.borrow_mut().extend(digits.map(|it| u32::from(it - b'0')));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Drain = fn(Line, Stop<'_>, &Aside) -> Ended;

/// Sinks, what they make of 0, 1, 2, and what they have seen.
const SINKS: [(&str, Drain, &[u32], &[u32]); 8] = [
    ("collect", |it, stop, aside| end(it.collect(), stop, |it| it, aside), &[0, 1, 2], &[]),
    ("count", |it, stop, aside| end(it.count(), stop, |it| vec![it as u32], aside), &[3], &[]),
    (
        "fold",
        |it, stop, aside| end(it.fold(7, |all, it| all * 2 + it), stop, |it| vec![it], aside),
        &[60],
        &[],
    ),
    (
        "reduce",
        |it, stop, aside| {
            let words = it.map(|it| vec![it]).reduce(|one, other| [one, other].concat());
            end(words, stop, Option::unwrap_or_default, aside)
        },
        &[0, 1, 2],
        &[],
    ),
    (
        "for_each",
        |it, stop, aside| end(branch(aside)(it), stop, |()| vec![], aside),
        &[],
        &[0, 1, 2],
    ),
    (
        "try_for_each",
        |it, stop, aside| {
            let log = aside.clone();
            let sink = it.try_for_each(move |it| {
                log.borrow_mut().push(it);
                Ok::<_, &str>(())
            });
            end(sink, stop, |()| vec![], aside)
        },
        &[],
        &[0, 1, 2],
    ),
    (
        "write_lines",
        |it, stop, aside| end(it.write_lines(Log(aside.clone())), stop, |()| vec![], aside),
        &[],
        &[0, 1, 2],
    ),
    (
        "into_channel",
        |it, stop, aside| {
            let (tx, rx) = channel();
            let reader = spawn(move || rx.into_iter().collect::<Vec<_>>());
            let ended = end(it.into_channel(tx), stop, |()| vec![], aside);
            let read = reader.join().unwrap();
            assert!(read.iter().copied().eq(0..read.len() as u32));
            ended.map(|(given, _, report)| (given, read, report))
        },
        &[],
        &[0, 1, 2],
    ),
];

#[test]
fn a_sink_takes_all_in_order_and_ends_with_its_input() {
    for (name, drain, gives, aside) in SINKS {
        let body = |stop: Stop<'_>| drain(from_iter(0..3), stop, &Aside::default());
        law(name, body, |given, other| (given, other) == (gives, aside));
    }
}
