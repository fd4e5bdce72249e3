//! What a pipeline that ends before its time hands back: all that it took and nobody has.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;
use tasklets::explore::Explore;
use tasklets::pipeline::{OnError, Pipeline, Sink, from_channel, from_iter};
use tasklets::shared::{self, Workers};
use tasklets::{channel, run, spawn};

type Line = Pipeline<'static, u32>;

/// Where is put what nobody took.
type Rest = Rc<RefCell<Vec<u32>>>;

/// A pipeline behind a source, of which all stages tell what nobody took.
type Shape = (&'static str, fn(Line, &Rest) -> Sink<'static, Vec<u32>>);

/// Workers that have nothing to do in a run that is explored.
fn group() -> &'static Workers {
    static GROUP: LazyLock<Workers> = LazyLock::new(|| shared::workers(1).unwrap());
    &GROUP
}

/// The first item.
fn first(line: Line, rest: &Rest) -> Sink<'static, Vec<u32>> {
    line.handing_back(rest.clone()).take(1).collect()
}

const SHAPES: [Shape; 12] = [
    ("nothing", |it, rest| it.take(0).handing_back(rest.clone()).collect()),
    ("take", |it, rest| it.take(1).handing_back(rest.clone()).collect()),
    ("map", |it, rest| first(it.map(|it| it), rest)),
    ("by two", |it, rest| first(it.map(|it| it).workers(2), rest)),
    ("any order", |it, rest| first(it.map(|it| it).workers(2).unordered(), rest)),
    ("policy", |it, rest| first(it.try_map_or(OnError::skip(), |it| Ok::<_, &str>(*it)), rest)),
    ("flat_map by two", |it, rest| first(it.flat_map(|it| [it]).workers(2), rest)),
    ("on_pool", |it, rest| first(it.on_pool().map(|it| it).workers(2), rest)),
    ("on_workers", |it, rest| first(it.on_workers(group()).map(|it| it), rest)),
    ("zip", |it, rest| {
        first(it.zip(from_iter([()])).map(|it| it.0).handing_back(rest.clone()), rest)
    }),
    ("partition", |it, rest| {
        first(it.partition(|it| *it != 1, |it| it.take(0).for_each(drop)), rest)
    }),
    ("fan_out", |it, rest| first(it.round_robin(2, |_, it| it), rest)),
];

/// What came out, what was handed back, and what has never been taken are all there were.
fn all_are_somewhere(name: &str, shape: fn(Line, &Rest) -> Sink<'static, Vec<u32>>) {
    let ((tx, rx), rest) = (channel(), Rest::default());
    let sender = spawn(move || tx.send_all(0..4).is_ok());
    let source = from_channel(rx.clone()).handing_back(rest.clone());
    let mut all = shape(source, &rest).run().unwrap().value;
    all.append(&mut rest.take());
    all.extend(rx);
    assert!(sender.join().unwrap());
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3], "{name}");
}

#[test]
fn what_nobody_took_is_handed_back_under_every_schedule() {
    for (name, shape) in SHAPES {
        Explore::new().executions(300).check(|| all_are_somewhere(name, shape));
    }
}

#[test]
fn what_nobody_took_is_handed_back_by_other_threads() {
    for (name, shape) in SHAPES {
        for _ in 0..20 {
            run(|| all_are_somewhere(name, shape));
        }
    }
}

#[test]
fn a_batch_that_is_not_full_is_handed_back_item_by_item() {
    Explore::new().executions(300).check(|| {
        let ((tx, rx), rest) = (channel(), Rest::default());
        let source = from_channel(rx).handing_back(rest.clone());
        let (stop, stopped) = channel::<tasklets::Never>();
        let sender = spawn(move || {
            tx.send_all(0..3).unwrap();
            drop(stop);
            tx // lives until the pipeline has ended
        });
        let batches = Rc::new(RefCell::default());
        let pairs = source.batch(2).handing_back(batches.clone());
        let ended = pairs.collect::<Vec<_>>().run_until(stopped.receiving());
        assert!(ended.is_err(), "there may be more");
        let mut all: Vec<u32> = batches.take().into_iter().flatten().chain(rest.take()).collect();
        all.sort_unstable();
        // The first pair may be with the sink.
        assert!(all == [0, 1, 2] || all == [2], "{all:?}");
        drop(sender.join());
    });
}
