//! The reused `Select`: its arms stay, its receivers are offered only while it waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use tasklets::{
    Halt, Receiver, Runtime, Select, SendError, Sender, Tasklet, channel, now, spawn, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs `main` in virtual time.
#[track_caller]
fn run<R>(main: impl FnOnce() -> R) -> R {
    let ended = Runtime::builder().virtual_clock(true).build().run(main);
    ended.unwrap_or_else(|error| panic!("{error}"))
}

/// A sender for which a receiver waits.
fn wanted<T: 'static>() -> (Sender<T>, Tasklet<Result<T, Halt>>) {
    let (tx, rx) = channel();
    let reader = spawn(move || rx.recv());
    yield_now();
    (tx, reader)
}

#[test]
fn between_waits_its_receivers_are_not_offered() {
    run(|| {
        let (tx, rx) = channel();
        let mut select = Select::new();
        select.recv(&rx);
        assert!(select.try_wait().unwrap().is_none());
        assert_eq!((tx.try_send(1), tx.balance()), (Ok(Some(1)), 0));
        assert!(select.wait_timeout(SECOND).unwrap().is_none());
        assert_eq!((tx.try_send(2), tx.balance()), (Ok(Some(2)), 0));
        let again = tx.clone();
        drop(spawn(move || again.send(3)));
        assert_eq!(select.wait().unwrap().recv(&rx), Ok(3));
        assert_eq!((tx.try_send(4), tx.balance()), (Ok(Some(4)), 0));
    });
}

#[test]
fn a_wait_gives_up_when_its_time_is_over() {
    run(|| {
        let (_tx, rx) = channel::<u8>();
        let (start, mut select) = (now(), Select::new());
        select.recv(&rx);
        assert!(select.wait_timeout(SECOND).unwrap().is_none());
        assert!(select.wait_deadline(start + 3 * SECOND).unwrap().is_none());
        assert!(select.wait_deadline(start).unwrap().is_none());
        assert_eq!(now() - start, 3 * SECOND);
    });
}

#[test]
fn a_cancelled_wait_says_so_and_takes_its_offers_back() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (out, from_out) = channel::<u8>();
        let waits = spawn(move || {
            let mut select = Select::new();
            select.recv(&rx);
            select.send(&out);
            let why = select.wait().map(|it| it.index()).unwrap_err();
            drop(select);
            (why, rx, out)
        });
        yield_now();
        assert_eq!((tx.balance(), from_out.balance()), (-1, 1));
        waits.cancel();
        let (why, _rx, _out) = waits.join().unwrap();
        assert_eq!(why, Halt::Cancelled);
        assert_eq!((tx.balance(), from_out.balance()), (0, 0));
    });
}

#[test]
fn removed_arms_do_not_happen_and_the_others_keep_their_index() {
    run(|| {
        let ends: Vec<_> = (0..4).map(|_| channel::<usize>()).collect();
        let mut select = Select::new();
        let indices: Vec<_> = ends.iter().map(|(_, rx)| select.recv(rx)).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
        assert_eq!((select.remove(1), select.remove(1), select.remove(9)), (true, false, false));
        for index in [1, 3] {
            let tx = ends[index].0.clone();
            drop(spawn(move || tx.send(index)));
        }
        let chosen = select.wait().unwrap();
        assert_eq!(chosen.index(), 3);
        assert_eq!(chosen.recv(&ends[3].1), Ok(3));
        assert!(select.try_wait().unwrap().is_none());
        drop(select);
        assert_eq!(ends[1].1.recv(), Ok(1));
    });
}

#[test]
fn closed_channels_are_chosen_and_tell_so() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (out, from_out) = channel::<u8>();
        drop(spawn(move || drop(tx)));
        let mut select = Select::new();
        select.recv(&rx);
        assert_eq!(select.wait().unwrap().recv(&rx), Err(Halt::Closed));
        assert_eq!(select.wait().unwrap().recv(&rx), Err(Halt::Closed));
        select.remove(0);
        drop(spawn(move || drop(from_out)));
        let index = select.send(&out);
        let chosen = select.wait().unwrap();
        assert_eq!(chosen.index(), index);
        let back = SendError { value: 1, why: Halt::Closed };
        assert_eq!(chosen.send(&out, 1), Err(back));
    });
}

#[test]
fn a_choice_that_is_dropped_drops_the_value_or_lets_the_receiver_wait() {
    run(|| {
        let value = Rc::new(());
        let (tx, rx) = channel();
        let (out, reader) = wanted::<u8>();
        let copy = value.clone();
        let sender = spawn(move || tx.send(copy));
        let mut select = Select::new();
        select.recv(&rx);
        drop(select.wait().unwrap());
        sender.join().unwrap().unwrap();
        assert_eq!(Rc::strong_count(&value), 1);
        select.remove(0);
        select.send(&out);
        drop(select.wait().unwrap());
        yield_now();
        assert_eq!(out.balance(), -1);
        assert_eq!(select.wait().unwrap().send(&out, 5), Ok(()));
        assert_eq!(reader.join().unwrap(), Ok(5));
    });
}

#[test]
fn finishing_a_choice_with_another_channel_is_refused() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (_kept, other) = channel::<u8>();
        drop(spawn(move || tx.send(1)));
        let mut select = Select::new();
        select.recv(&rx);
        select.recv(&other);
        let chosen = select.wait().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| chosen.recv(&other))).is_err());
    });
}

#[test]
fn everything_arrives_once_from_many_channels() {
    run(|| {
        let ends: Vec<_> = (0..50).map(|_| channel::<usize>()).collect();
        let (senders, receivers): (Vec<Sender<_>>, Vec<Receiver<_>>) = ends.into_iter().unzip();
        for (number, tx) in senders.into_iter().enumerate() {
            drop(spawn(move || tx.send_all((0..20).map(|it| 20 * number + it))));
        }
        let (mut select, mut seen, mut open) = (Select::new(), vec![0; 1_000], 50);
        receivers.iter().map(|rx| select.recv(rx)).for_each(|_| ());
        while open > 0 {
            let chosen = select.wait().unwrap();
            let index = chosen.index();
            match chosen.recv(&receivers[index]) {
                Ok(number) => seen[number] += 1,
                Err(why) => {
                    assert_eq!(why, Halt::Closed);
                    assert!(select.remove(index));
                    open -= 1;
                }
            }
        }
        assert!(seen.iter().all(|it| *it == 1));
    });
}

#[test]
fn who_waits_beside_a_reused_select_is_served_in_order() {
    run(|| {
        for select_first in [true, false] {
            let (tx, rx) = channel();
            let plain = rx.clone();
            let by_select = move || {
                let mut select = Select::new();
                select.recv(&rx);
                select.wait().unwrap().recv(&rx)
            };
            let (first, second) = if select_first {
                let first = spawn(by_select);
                yield_now();
                (first, spawn(move || plain.recv()))
            } else {
                let first = spawn(move || plain.recv());
                yield_now();
                (first, spawn(by_select))
            };
            yield_now();
            assert_eq!(tx.balance(), -2);
            tx.send(1).unwrap();
            tx.send(2).unwrap();
            assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(1), Ok(2)));
        }
    });
}

#[test]
fn senders_at_a_channel_of_a_reused_select_are_served_in_order() {
    run(|| {
        let (tx, rx) = channel();
        let mut select = Select::new();
        select.recv(&rx);
        assert!(select.try_wait().unwrap().is_none());
        for number in 0..3 {
            let tx = tx.clone();
            drop(spawn(move || tx.send(number)));
        }
        yield_now();
        assert_eq!(tx.balance(), 3);
        assert_eq!(select.wait().unwrap().recv(&rx), Ok(0));
        assert_eq!(rx.recv(), Ok(1)); // not by the select
        assert_eq!(select.wait().unwrap().recv(&rx), Ok(2));
        assert!(select.try_wait().unwrap().is_none());
    });
}

#[test]
fn a_sender_that_was_stopped_is_not_met_and_has_its_value_back() {
    run(|| {
        let (tx, rx) = channel();
        let mut select = Select::new();
        select.recv(&rx);
        assert!(select.try_wait().unwrap().is_none());
        let sender = spawn(move || tx.send("kept"));
        yield_now();
        sender.cancel();
        assert!(select.try_wait().unwrap().is_none());
        let refused = SendError { value: "kept", why: Halt::Cancelled };
        assert_eq!(sender.join().unwrap(), Err(refused));
        assert_eq!(select.wait().unwrap().recv(&rx), Err(Halt::Closed));
    });
}

#[test]
fn after_its_select_is_gone_a_channel_is_as_before() {
    run(|| {
        let (tx, rx) = channel();
        for number in 0..3 {
            let mut select = Select::new();
            select.recv(&rx);
            assert!(select.try_wait().unwrap().is_none());
            let sender = tx.clone();
            let sender = spawn(move || sender.send(number));
            yield_now();
            drop(select); // while a sender waits
            assert_eq!((rx.recv(), sender.join().unwrap()), (Ok(number), Ok(())));
            assert_eq!(tx.try_send(9), Ok(Some(9)));
        }
    });
}
