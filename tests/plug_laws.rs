//! The laws of processes with one input and one output that `plug.rs` has no table for: all that is
//! taken is given in order, or told to be left, whatever ends them, under every schedule.

use std::time::Duration;
use tasklets::explore::Explore;
use tasklets::plug::{self, Rest, TaskPool};
use tasklets::{Halt, JoinError, Receiver, Sender, channel, spawn};

/// Runs `law` under every schedule; a tasklet that is left is a failure, too.
#[track_caller]
fn always(name: &str, law: impl Fn()) {
    let verdict = Explore::new().check(law);
    assert!(verdict.exhausted, "{name}: {verdict}");
}

type Process<I, O, R> = fn(Receiver<I>, Sender<O>) -> Result<(), Rest<R>>;

/// A process, what its inputs are made of, and what was in its outputs and in what it left.
struct Row<I: 'static, O: 'static, R: 'static> {
    name: &'static str,
    process: Process<I, O, R>,
    input: fn(u32) -> I,
    output: fn(O) -> u32,
    rest: fn(R) -> u32,
}

/// What was read, then what is in `rest`, then what was refused, is all that there was.
fn told<R>(read: Vec<u32>, rest: Result<(), Rest<R>>, of: fn(R) -> u32, refused: u32) {
    let held = rest.map_or_else(|it| it.items, |()| Vec::new()).into_iter().map(of);
    let first: Vec<_> = read.into_iter().chain(held).collect();
    assert!(first.iter().copied().eq(0..refused), "{first:?}, {refused}");
}

impl<I, O, R> Row<I, O, R> {
    /// It gives all; it tells what it held when its output is gone; it loses nothing when it is
    /// cancelled at any moment.
    fn holds(&self) {
        let Row { process, input, output, rest, .. } = *self;
        // The number of the first that was not taken.
        let write = move |tx: Sender<I>, all| {
            spawn(move || (0..all).find(|it| tx.send(input(*it)).is_err()).unwrap_or(all))
        };
        always(self.name, || {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let (process, writer) = (spawn(move || process(from, to)), write(tx, 3));
            assert!(rx.into_iter().map(output).eq(0..3));
            assert!(process.join().unwrap().is_ok());
            assert_eq!(writer.join().unwrap(), 3);
        });
        always(self.name, || {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let (process, writer) = (spawn(move || process(from, to)), write(tx, 3));
            let read = vec![output(rx.recv().unwrap())];
            drop(rx);
            let ended = process.join().unwrap();
            assert!(ended.as_ref().is_err_and(|it| it.why == Halt::Closed));
            told(read, ended, rest, writer.join().unwrap());
        });
        always(self.name, || {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let (process, writer) = (spawn(move || process(from, to)), write(tx, 2));
            let reader = spawn(move || rx.into_iter().map(output).collect::<Vec<_>>());
            process.cancel();
            let ended = process.join().unwrap_or(Ok(())); // it may not have begun
            told(reader.join().unwrap(), ended, rest, writer.join().unwrap());
        });
    }
}

/// Numbers as they are.
fn plain(name: &'static str, process: Process<u32, u32, u32>) -> Row<u32, u32, u32> {
    Row { name, process, input: |it| it, output: |it| it, rest: |it| it }
}

#[test]
fn a_process_gives_all_it_takes_in_order_or_tells_what_is_left() {
    let lines = [
        plain("delta", |from, to| plug::delta(from, vec![to])),
        plain("rate_limiter", |from, to| plug::rate_limiter(1, Duration::from_secs(1), from, to)),
    ];
    lines.iter().for_each(Row::holds);
    let successor = plain("successor", plug::successor);
    Row { output: |it| it - 1, rest: |it| it - 1, ..successor }.holds();
    let (input, output) = (|it| it, |(input, it): (usize, u32)| it + input as u32);
    let process = |from, to| plug::mux(vec![from], to);
    Row { name: "mux", process, input, output, rest: output }.holds();
    let (input, output) = (|it| (0_usize, it), |it| it);
    let process = |from, to| plug::demux(from, vec![to]);
    Row { name: "demux", process, input, output, rest: |it: (usize, u32)| it.1 }.holds();
}

#[test]
fn a_tee_that_is_cancelled_has_a_copy_for_each_who_has_had_none() {
    always("tee", || {
        let ((tx, from), (to, rx), (aside, log)) = (channel(), channel(), channel());
        let process = spawn(move || plug::tee(from, to, aside));
        let writer = spawn(move || tx.send('x').is_ok());
        let count = |rx: Receiver<char>| spawn(move || rx.into_iter().count());
        let (one, other) = (count(rx), count(log));
        process.cancel();
        let rest = process.join().unwrap_or(Ok(())).map_or_else(|it| it.items.len(), |()| 0);
        let taken = if writer.join().unwrap() { 2 } else { 0 };
        assert_eq!(one.join().unwrap() + other.join().unwrap() + rest, taken);
    });
}

#[test]
fn a_ticker_that_is_cancelled_at_any_moment_ends_and_its_output_with_it() {
    always("ticker", || {
        let (to, ticks) = channel();
        let process = spawn(move || plug::ticker(Duration::from_secs(1), to));
        let reader = spawn(move || ticks.into_iter().take(2).is_sorted());
        process.cancel();
        match process.join() {
            Ok(why) => assert!([Halt::Cancelled, Halt::Closed].contains(&why), "{why}"),
            Err(why) => assert!(matches!(why, JoinError::Cancelled), "{why}"),
        }
        assert!(reader.join().unwrap());
    });
}

#[test]
fn a_map_over_pairs_keeps_the_order_and_who_waits_for_it_may_be_cancelled() {
    always("starmap", || {
        let sums = plug::starmap(2, [(1, 2), (3, 4)], |one, other| one + other);
        assert!(sums.map(Result::unwrap).eq([3, 7]));
    });
    always("starmap cancelled", || {
        let user = spawn(|| {
            let sums = plug::starmap(2, [(1, 2), (3, 4)], |one, other| one + other);
            sums.map_while(Result::ok).collect::<Vec<_>>()
        });
        user.cancel();
        let sums = user.join().unwrap_or_default();
        assert!([3, 7].starts_with(&sums), "{sums:?}");
    });
}

#[test]
fn a_pool_whose_user_is_cancelled_at_any_moment_has_room_for_others() {
    always("task pool", || {
        let pool = TaskPool::new(1);
        let other = pool.clone();
        let user = spawn(move || other.spawn(|| ()).map(|it| it.join().is_ok()).is_ok());
        user.cancel();
        assert_eq!(pool.spawn(|| 7).unwrap().join().unwrap(), 7);
        user.join().ok();
    });
}

#[test]
fn who_waits_for_several_and_is_cancelled_has_each_result_or_tasklet_once() {
    always("as completed", || {
        let user = spawn(|| {
            let mut each = plug::as_completed((0..2).map(|it| spawn(move || it)));
            let told: Vec<_> = each.by_ref().map(|it| it.0).collect();
            (told, each.into_rest().len())
        });
        user.cancel();
        if let Ok((told, left)) = user.join() {
            assert_eq!(told.len() + left, 2);
            assert!(told.iter().all(|it| told.iter().filter(|other| *other == it).count() == 1));
        }
    });
}
