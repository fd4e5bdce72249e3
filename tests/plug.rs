//! Processes with plain inputs and outputs: what must hold of each, under every schedule.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tasklets::plug::{self, Rest};
use tasklets::{Halt, Receiver, Runtime, Sender, channel, explore, now, run, sleep, spawn};

/// Runs `law` under every schedule; a tasklet that is left is a failure, too.
fn always(law: impl Fn()) {
    let verdict = explore::Explore::new().check(law);
    assert!(verdict.exhausted, "{verdict}");
}

type Line = fn(Receiver<u32>, Sender<u32>) -> Result<(), Rest<u32>>;

/// Processes that give all they take, in order.
const LINES: [Line; 6] = [
    |from, to| plug::buffer(1, from, to),
    |from, to| plug::buffer(2, from, to),
    |from, to| plug::unbounded(2, |_| (), from, to),
    |from, to| plug::prefix([], from, to),
    |from, to| plug::merge(vec![from], to),
    |from, to| plug::merge_by_priority(vec![from], to),
];

#[test]
fn a_line_gives_all_it_takes_in_order_and_ends_with_its_input() {
    for line in LINES {
        always(|| {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let process = spawn(move || line(from, to));
            let writer = spawn(move || tx.send_all(0..3).is_ok());
            assert_eq!(rx.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
            assert!(writer.join().unwrap());
            assert_eq!(process.join().unwrap(), Ok(()));
        });
    }
}

/// What was read, then what is in `rest`, then what was refused, is all that there was.
fn told(read: Vec<u32>, rest: Result<(), Rest<u32>>, refused: Option<u32>, all: u32) {
    let held = rest.map_or_else(|it| it.items, |()| Vec::new());
    let first = read.into_iter().chain(held).collect::<Vec<_>>();
    assert!(first.iter().copied().eq(0..refused.unwrap_or(all)), "{first:?}, {refused:?}");
}

#[test]
fn a_line_whose_output_is_gone_gives_back_what_it_holds_and_ends_its_input() {
    for line in LINES {
        always(|| {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let process = spawn(move || line(from, to));
            let writer = spawn(move || tx.send_all(0..3));
            let read = vec![rx.recv().unwrap()];
            drop(rx);
            let rest = process.join().unwrap();
            assert!(rest.as_ref().is_err_and(|it| it.why == Halt::Closed));
            told(read, rest, writer.join().unwrap().err().map(|it| it.value), 3);
        });
    }
}

#[test]
fn a_line_that_is_cancelled_at_any_moment_loses_nothing() {
    for line in LINES {
        always(|| {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let process = spawn(move || line(from, to));
            let writer = spawn(move || tx.send_all(0..2));
            let reader = spawn(move || rx.into_iter().collect::<Vec<_>>());
            process.cancel();
            let rest = process.join().unwrap_or(Ok(())); // it may not have begun
            let refused = writer.join().unwrap().err().map(|it| it.value);
            told(reader.join().unwrap(), rest, refused, 2);
        });
    }
}

#[test]
fn a_buffer_holds_as_many_as_it_has_room_for_and_no_more() {
    always(|| {
        let ((tx, from), (to, rx)) = (channel(), channel());
        let process = spawn(move || plug::buffer(2, from, to));
        tx.send_all(0..2).unwrap(); // with nobody to receive
        assert_eq!(tx.try_send(2), Ok(Some(2)));
        drop((tx, rx));
        assert_eq!(process.join().unwrap().unwrap_err().items, [0, 1]);
    });
}

#[test]
fn who_holds_what_it_has_taken_keeps_the_process_waiting_and_has_it_once() {
    for line in LINES {
        always(|| {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let process = spawn(move || line(from, to));
            tx.send(0).unwrap();
            let held = rx.recv_held().unwrap();
            assert_eq!(tx.try_send(1), Ok(Some(1)));
            held.accept();
            tx.send(1).unwrap();
            let held = rx.recv_held().unwrap();
            process.cancel(); // ends it when the item is accepted
            assert_eq!(held.accept(), 1);
            assert_eq!(process.join().unwrap(), Err(Rest::from(Halt::Cancelled)));
        });
    }
}

#[test]
fn buffers_that_always_take_lose_only_what_they_say() {
    always(|| {
        let ((tx, from), (to, rx)) = (channel(), channel());
        spawn(move || plug::sliding(2, from, to));
        tx.send_all(0..4).unwrap();
        drop(tx);
        assert_eq!(rx.into_iter().collect::<Vec<_>>(), [2, 3]);
    });
    always(|| {
        let ((tx, from), (to, rx)) = (channel(), channel());
        spawn(move || plug::overwriting(2, from, to));
        tx.send_all(0..4).unwrap();
        drop(tx);
        assert_eq!(rx.into_iter().collect::<Vec<_>>(), [0, 3]);
    });
    always(|| {
        let ((tx, from), (to, rx)) = (channel(), channel());
        spawn(move || plug::sliding(1, from, to));
        let reader = spawn(move || rx.into_iter().collect::<Vec<_>>());
        tx.send_all(0..3).unwrap();
        drop(tx);
        let read = reader.join().unwrap();
        assert!(read.is_sorted() && read.last() == Some(&2), "{read:?}");
    });
}

#[test]
fn what_a_cancelled_buffer_has_not_dropped_is_given_back() {
    for line in [plug::sliding, plug::overwriting] {
        always(|| {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let process = spawn(move || line(1, from, to));
            let writer = spawn(move || tx.send_all(0..3).map_or_else(|it| it.value, |_| 3));
            let reader = spawn(move || rx.into_iter().collect::<Vec<_>>());
            process.cancel();
            let held =
                process.join().map_or(Vec::new(), |it| it.map_or_else(|it| it.items, |()| vec![]));
            let mut told = reader.join().unwrap();
            told.extend(held);
            let taken: u32 = writer.join().unwrap();
            assert!(told.is_sorted_by(|one, two| one < two), "{told:?}");
            assert_eq!(told.last().copied(), taken.checked_sub(1)); // the newest is never lost
        });
    }
}

#[test]
fn a_limited_line_loses_nothing_and_a_ticker_ends_with_its_output() {
    always(|| {
        let ((tx, from), (to, rx)) = (channel(), channel());
        let process = spawn(move || plug::rate_limiter(1, Duration::from_secs(1), from, to));
        spawn(move || tx.send_all(0..2));
        assert_eq!(rx.into_iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(process.join().unwrap(), Ok(()));
    });
    always(|| {
        let (to, ticks) = channel();
        let process = spawn(move || plug::ticker(Duration::from_secs(1), to));
        assert!(ticks.recv().unwrap() < ticks.recv().unwrap());
        drop(ticks);
        assert_eq!(process.join().unwrap(), Halt::Closed);
    });
}

#[test]
fn the_high_water_alarm_is_given_once_for_each_flood() {
    run(|| {
        let ((tx, from), (to, rx)) = (channel(), channel());
        let alarms = Rc::new(Cell::new(0));
        let count = alarms.clone();
        let alarm = move |held| {
            assert_eq!(held, 4);
            count.set(count.get() + 1);
        };
        spawn(move || plug::unbounded(4, alarm, from, to));
        tx.send_all(0..6).unwrap();
        assert_eq!(rx.iter().take(3).count(), 3); // three are left: not low enough
        tx.send_all(6..8).unwrap();
        assert_eq!(alarms.get(), 1);
        assert_eq!(rx.iter().take(5).count(), 5);
        tx.send_all(8..12).unwrap();
        drop(tx);
        assert_eq!(rx.into_iter().count(), 4);
        assert_eq!(alarms.get(), 2);
    });
}

#[test]
fn the_alarm_is_given_again_when_less_than_half_was_left_whatever_the_mark() {
    for high_water in 1..=5 {
        always(|| {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let alarms = Rc::new(Cell::new(0));
            let count = alarms.clone();
            let alarm = move |_| count.set(count.get() + 1);
            spawn(move || plug::unbounded(high_water, alarm, from, to));
            tx.send_all(0..high_water).unwrap();
            assert!(rx.recv().is_ok()); // so it has counted all of them
            assert_eq!(alarms.get(), 1);
            for left in (0..high_water).rev() {
                let before = alarms.get();
                assert_eq!(rx.iter().take(high_water - 1 - left).count(), high_water - 1 - left);
                tx.send_all(left..high_water).unwrap();
                assert!(rx.recv().is_ok());
                assert_eq!(alarms.get() > before, 2 * left < high_water, "{left}, {high_water}");
            }
        });
    }
}

#[test]
fn merging_keeps_each_order_and_loses_nothing() {
    for merge in [plug::merge::<(u8, u8)>, plug::merge_by_priority] {
        always(|| {
            let ((left, from_left), (right, from_right)) = (channel(), channel());
            let (to, rx) = channel();
            let process = spawn(move || merge(vec![from_left, from_right], to));
            spawn(move || left.send_all([(0, 0), (0, 1)]));
            spawn(move || right.send_all([(1, 0), (1, 1)]));
            let mut all: Vec<_> = rx.into_iter().collect();
            all.sort_by_key(|it| it.0); // stable: what is of one input keeps its order
            assert_eq!(all, [(0, 0), (0, 1), (1, 0), (1, 1)]);
            assert_eq!(process.join().unwrap(), Ok(()));
        });
    }
}

#[test]
fn the_first_ready_input_has_priority() {
    run(|| {
        let inputs: Vec<_> = (0..3).map(|_| channel()).collect();
        let (to, rx) = channel();
        let receivers = inputs.iter().map(|it| it.1.clone()).collect();
        for (nth, (tx, _)) in inputs.into_iter().enumerate().rev() {
            let other = tx.clone();
            spawn(move || tx.send(nth));
            spawn(move || other.send(nth));
        }
        tasklets::yield_now();
        spawn(move || plug::merge_by_priority(receivers, to));
        assert_eq!(rx.into_iter().collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    });
}

#[test]
fn a_fair_merge_starves_nobody() {
    run(|| {
        let inputs: Vec<_> = (0..4).map(|_| channel()).collect();
        let receivers = inputs.iter().map(|it| it.1.clone()).collect();
        for (nth, (tx, _)) in inputs.into_iter().enumerate() {
            spawn(move || tx.send_all(std::iter::repeat(nth)));
        }
        let (to, rx) = channel();
        spawn(move || plug::merge(receivers, to));
        let mut counts = [0; 4];
        rx.into_iter().take(4_000).for_each(|it| counts[it] += 1);
        assert!(counts.iter().all(|it| (800..1_200).contains(it)), "{counts:?}");
    });
}

#[test]
fn nothing_merged_ends_at_once_and_nothing_parted_is_given_back() {
    run(|| {
        let (to, rx) = channel::<u8>();
        assert_eq!(plug::merge(Vec::new(), to.clone()), Ok(()));
        assert_eq!(plug::merge_by_priority(Vec::new(), to), Ok(()));
        assert_eq!(rx.recv(), Err(Halt::Closed));
        let (tx, from) = channel();
        spawn(move || tx.send_all([5, 6]));
        assert_eq!(plug::delta(from, Vec::new()).unwrap_err().items, [5]);
    });
}

#[test]
fn a_delta_gives_everything_to_everybody() {
    always(|| {
        let ((tx, from), (a, from_a), (b, from_b)) = (channel(), channel(), channel());
        let process = spawn(move || plug::delta(from, vec![a, b]));
        spawn(move || tx.send_all(0..2));
        let other = spawn(move || from_b.into_iter().collect::<Vec<_>>());
        assert_eq!(from_a.into_iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(other.join().unwrap(), [0, 1]);
        assert_eq!(process.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_delta_goes_on_for_those_who_listen_and_ends_without_any() {
    always(|| {
        let ((tx, from), (a, from_a), (b, from_b)) = (channel(), channel(), channel());
        let process = spawn(move || plug::delta(from, vec![a, b]));
        let writer = spawn(move || tx.send_all(0..9).unwrap_err().value);
        let short = spawn(move || from_a.into_iter().take(1).count());
        assert_eq!(from_b.into_iter().take(2).collect::<Vec<_>>(), [0, 1]);
        let rest = process.join().unwrap().unwrap_err();
        assert_eq!((short.join().unwrap(), rest.why), (1, Halt::Closed));
        assert_eq!((rest.items, writer.join().unwrap()), (vec![2], 3));
    });
}

#[test]
fn a_delta_that_is_cancelled_has_a_copy_for_each_who_has_had_none() {
    always(|| {
        let ((tx, from), (a, from_a), (b, from_b)) = (channel(), channel(), channel());
        let process = spawn(move || plug::delta(from, vec![a, b]));
        let writer = spawn(move || tx.send('x').is_ok());
        let count = |rx: Receiver<char>| spawn(move || rx.into_iter().count());
        let (one, other) = (count(from_a), count(from_b));
        process.cancel();
        let rest = process.join().unwrap_or(Ok(())).map_or_else(|it| it.items.len(), |()| 0);
        let taken = if writer.join().unwrap() { 2 } else { 0 };
        assert_eq!(one.join().unwrap() + other.join().unwrap() + rest, taken);
    });
}

#[test]
fn a_tee_goes_on_without_its_listener_but_not_without_its_output() {
    always(|| {
        let ((tx, from), (to, rx), (aside, log)) = (channel(), channel(), channel());
        let process = spawn(move || plug::tee(from, to, aside));
        spawn(move || tx.send_all(0..3));
        let listener = spawn(move || log.recv());
        assert_eq!(rx.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(listener.join().unwrap(), Ok(0));
        assert_eq!(process.join().unwrap(), Ok(()));
    });
    always(|| {
        let ((tx, from), (to, rx), (aside, log)) = (channel(), channel(), channel());
        let process = spawn(move || plug::tee(from, to, aside));
        let writer = spawn(move || tx.send_all(0..3).unwrap_err().value);
        drop(rx);
        assert_eq!(log.into_iter().collect::<Vec<_>>(), [0]);
        let rest = process.join().unwrap().unwrap_err();
        assert_eq!((rest.items, rest.why, writer.join().unwrap()), (vec![0], Halt::Closed, 1));
    });
}

#[test]
fn what_was_muxed_is_demuxed() {
    always(|| {
        let ((a, from_a), (b, from_b), (wire, end)) = (channel(), channel(), channel());
        let ((to_a, a_again), (to_b, b_again)) = (channel(), channel());
        spawn(move || plug::mux(vec![from_a, from_b], wire));
        let process = spawn(move || plug::demux(end, vec![to_a, to_b]));
        spawn(move || a.send("a"));
        spawn(move || b.send("b"));
        let b_read = spawn(move || b_again.into_iter().collect::<Vec<_>>());
        assert_eq!(a_again.into_iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!(b_read.join().unwrap(), ["b"]);
        assert_eq!(process.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_tag_without_output_is_given_back() {
    run(|| {
        let ((tx, from), (to, rx)) = (channel(), channel());
        let process = spawn(move || plug::demux(from, vec![to]));
        tx.send_all([(1, "nowhere")]).unwrap();
        let rest = process.join().unwrap().unwrap_err();
        assert_eq!((rest.items, rest.why), (vec![(1, "nowhere")], Halt::Closed));
        assert_eq!((rx.recv(), tx.send((0, "")).is_err()), (Err(Halt::Closed), true));
    });
}

#[test]
fn a_prefix_comes_first_and_successors_are_one_more() {
    always(|| {
        let ((a, from_a), (b, from_b), (c, from_c)) = (channel(), channel(), channel());
        let first = spawn(move || plug::prefix([0, 10], from_a, b));
        let next = spawn(move || plug::successor::<u32>(from_b, c));
        spawn(move || a.send_all([20]));
        assert_eq!(from_c.into_iter().collect::<Vec<_>>(), [1, 11, 21]);
        assert_eq!((first.join().unwrap(), next.join().unwrap()), (Ok(()), Ok(())));
    });
}

#[test]
fn ticks_that_nobody_took_are_left_out() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    runtime
        .run(|| {
            let ((to, ticks), start) = (channel(), now());
            let process = spawn(move || plug::ticker(Duration::from_secs(1), to));
            let second = |it: std::time::Instant| (it - start).as_secs();
            assert_eq!(ticks.recv().map(second), Ok(1));
            sleep(Duration::from_millis(3_500)).unwrap();
            // One was on offer since, the next is late, and the one after that is lost.
            let next = [(); 3].map(|()| second(ticks.recv().unwrap()));
            assert_eq!(next, [2, 4, 5]);
            drop(ticks);
            assert_eq!(process.join().unwrap(), Halt::Closed);
        })
        .unwrap();
}

#[test]
fn no_stretch_of_time_has_more_than_the_rate() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    runtime
        .run(|| {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let process = spawn(move || plug::rate_limiter(3, Duration::from_secs(10), from, to));
            spawn(move || {
                for nth in 0..30_u64 {
                    sleep(Duration::from_millis(nth * 7 % 11 * 500)).unwrap();
                    tx.send(nth).unwrap();
                }
            });
            let (items, given): (Vec<_>, Vec<_>) = rx.iter().map(|it| (it, now())).unzip();
            assert!(items.into_iter().eq(0..30));
            let enough = |it: &[std::time::Instant]| it[3] - it[0] >= Duration::from_secs(10);
            assert!(given.windows(4).all(enough), "{given:?}");
            assert_eq!(process.join().unwrap(), Ok(()));
        })
        .unwrap();
}

#[test]
fn nothing_of_something_is_refused() {
    let refused = |f: fn()| std::panic::catch_unwind(f).is_err();
    type Ends = ((Sender<u8>, Receiver<u8>), (Sender<u8>, Receiver<u8>));
    fn ends() -> (Receiver<u8>, Sender<u8>) {
        let ((_, from), (to, _)): Ends = (channel(), channel());
        (from, to)
    }
    assert!(refused(|| drop(plug::buffer(0, ends().0, ends().1))));
    assert!(refused(|| drop(plug::overwriting(0, ends().0, ends().1))));
    assert!(refused(|| drop(plug::sliding(0, ends().0, ends().1))));
    assert!(refused(|| drop(plug::unbounded(0, |_| (), ends().0, ends().1))));
    assert!(refused(|| drop(plug::rate_limiter(0, Duration::MAX, ends().0, ends().1))));
    assert!(refused(|| drop(plug::rate_limiter(1, Duration::ZERO, ends().0, ends().1))));
    assert!(refused(|| drop(plug::imap(0, [1], |it| it))));
    assert!(refused(|| drop(plug::TaskPool::new(0))));
    assert!(refused(|| _ = plug::ticker(Duration::ZERO, channel().0)));
    assert!(refused(|| _ = plug::semaphore(0, channel().0)));
    assert!(refused(|| _ = plug::barrier(0, channel().1)));
    assert!(refused(|| _ = plug::pool::<u8>(0, None, channel().0)));
    assert!(refused(|| {
        let (topics, _requests) = plug::Topics::<u8, u8>::new();
        drop(topics.subscribe(1, 0, plug::Slow::LosesOldest));
    }));
    assert!(refused(|| drop(plug::wait_n(1, &mut Vec::<tasklets::Tasklet<u8>>::new()))));
}
