//! Stackless's channels, row by row: SEEDS.md 1.2.

use std::time::Duration;
use tasklets::{
    Halt, Runtime, SendError, State, after, block_trap, channel, now, select, spawn, yield_now,
};

/// Runs `main` in virtual time.
#[track_caller]
fn run<R>(main: impl FnOnce() -> R) -> R {
    Runtime::builder().virtual_clock(true).build().run(main).unwrap()
}

// SC-01
#[test]
fn any_number_of_senders_and_receivers_meet_and_every_value_arrives_once() {
    let mut got = run(|| {
        let (tx, rx) = channel();
        for sender in 0..4 {
            let tx = tx.clone();
            drop(spawn(move || tx.send_all((0..5).map(|it| 5 * sender + it))));
        }
        drop(tx);
        let readers: Vec<_> = (0..3).map(|_| rx.clone()).collect();
        let readers: Vec<_> = readers
            .into_iter()
            .map(|rx| spawn(move || rx.into_iter().collect::<Vec<_>>()))
            .collect();
        readers.into_iter().flat_map(|it| it.join().unwrap()).collect::<Vec<_>>()
    });
    got.sort();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
}

// SC-02
#[test]
fn send_waits_until_a_receiver_takes_the_value() {
    run(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || tx.send(Box::new(1)));
        (0..5).for_each(|_| yield_now());
        assert_eq!((sender.state(), rx.balance()), (State::Waiting, 1));
        assert_eq!(rx.recv(), Ok(Box::new(1)));
        assert_eq!(rx.balance(), 0);
        assert_eq!(sender.join().unwrap(), Ok(()));
    });
}

// SC-03
#[test]
fn receive_waits_until_a_sender_gives_a_value() {
    run(|| {
        let (tx, rx) = channel();
        let receiver = spawn(move || rx.recv());
        (0..5).for_each(|_| yield_now());
        assert_eq!((receiver.state(), tx.balance()), (State::Waiting, -1));
        assert_eq!(tx.send(Box::new(1)), Ok(()));
        assert_eq!(tx.balance(), 0);
        assert_eq!(receiver.join().unwrap(), Ok(Box::new(1)));
    });
}

// SC-04, SC-05
#[test]
fn an_error_sent_comes_out_of_the_receive() {
    run(|| {
        let (tx, rx) = channel::<Result<u8, Box<dyn std::error::Error>>>();
        let failing = spawn(move || tx.send("x".parse::<u8>().map_err(Into::into)).is_ok());
        let receive = || -> Result<u8, Box<dyn std::error::Error>> { rx.recv()? };
        assert_eq!(receive().unwrap_err().to_string(), "invalid digit found in string");
        assert!(failing.join().unwrap());
        assert_eq!(receive().unwrap_err().to_string(), Halt::Closed.to_string());
    });
}

// SC-06
#[test]
fn send_all_tells_how_many_were_sent_and_asks_for_no_more_than_are_taken() {
    run(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || rx.iter().take(3).sum::<i32>());
        assert_eq!(tx.send_all([1, 2]), Ok(2));
        let mut asked = 0;
        let rest = tx.send_all((3..9).inspect(|_| asked += 1));
        assert_eq!(rest, Err(SendError { value: 4, why: Halt::Closed }));
        assert_eq!((asked, reader.join().unwrap()), (2, 6));
    });
}

// SC-07
#[test]
fn iteration_ends_when_the_channel_is_closed_also_while_it_waits() {
    run(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || {
            let mut seen = Vec::new();
            for value in &rx {
                seen.push(value);
            }
            (seen, rx.recv())
        });
        assert_eq!(tx.send_all(1..=3), Ok(3));
        while tx.balance() == 0 {
            yield_now();
        }
        drop(tx);
        assert_eq!(reader.join().unwrap(), (vec![1, 2, 3], Err(Halt::Closed)));
    });
}

// SC-10, SC-11
#[test]
fn balance_and_waiters_tell_who_waits_first_come_first() {
    run(|| {
        let (tx, rx) = channel::<usize>();
        assert_eq!((tx.balance(), tx.waiters()), (0, (vec![], vec![])));
        let senders: Vec<_> =
            (0..3).map(|it| (it, tx.clone())).map(|(it, tx)| spawn(move || tx.send(it))).collect();
        yield_now();
        let ids: Vec<_> = senders.iter().map(|it| it.id()).collect();
        assert_eq!((rx.balance(), rx.waiters()), (3, (ids, vec![])));
        for (expected, sender) in senders.into_iter().enumerate() {
            assert_eq!(rx.recv(), Ok(expected));
            sender.join().unwrap().unwrap();
        }
        let readers = [(); 2].map(|()| rx.clone()).map(|rx| spawn(move || rx.recv()));
        yield_now();
        let ids: Vec<_> = readers.iter().map(|it| it.id()).collect();
        assert_eq!((rx.balance(), tx.waiters()), (-2, (vec![], ids)));
        assert_eq!(tx.send_all([7, 8]), Ok(2));
        assert_eq!(readers.map(|it| it.join().unwrap()), [Ok(7), Ok(8)]);
    });
}

// SC-12, SC-14
#[test]
fn close_wakes_every_waiter_and_gives_senders_their_values_back() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let readers = [(); 3].map(|()| rx.clone()).map(|rx| spawn(move || rx.recv()));
        yield_now();
        drop((tx, rx));
        assert_eq!(readers.map(|it| it.join().unwrap()), [Err(Halt::Closed); 3]);
        let (tx, rx) = channel::<u8>();
        let writers = [1, 2].map(|it| (it, tx.clone())).map(|(it, tx)| spawn(move || tx.send(it)));
        yield_now();
        assert!(!tx.is_closed());
        drop(rx);
        assert!(tx.is_closed());
        let closed = |value| Err(SendError { value, why: Halt::Closed });
        assert_eq!(writers.map(|it| it.join().unwrap()), [closed(1), closed(2)]);
        assert_eq!((tx.send(3), tx.try_send(4).map(drop)), (closed(3), closed(4)));
    });
}

// SC-15
#[test]
fn tries_never_wait_with_or_without_a_trap() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        for trap in [None, Some(block_trap())] {
            assert_eq!((tx.try_send(1), rx.try_recv()), (Ok(Some(1)), Ok(None)));
            drop(trap);
        }
        let (from, sender) = (rx.clone(), spawn(move || tx.send(2)));
        yield_now();
        assert_eq!(rx.try_recv(), Ok(Some(2)));
        sender.join().unwrap().unwrap();
        assert_eq!(from.try_recv(), Err(Halt::Closed));
    });
}

// SC-18
#[test]
fn a_wait_on_a_channel_nobody_else_has_ends_when_the_last_other_end_goes() {
    run(|| {
        let receiver = spawn(|| {
            let (_, rx) = channel::<u8>();
            rx.recv()
        });
        assert_eq!(receiver.join().unwrap(), Err(Halt::Closed));
        let (tx, rx) = channel::<u8>();
        let (sender, holder) = (spawn(move || tx.send(1)), spawn(move || drop(rx)));
        assert_eq!(sender.join().unwrap(), Err(SendError { value: 1, why: Halt::Closed }));
        holder.join().unwrap();
    });
}

// SC-19
#[test]
fn select_takes_what_can_happen_and_leaves_the_rest_untouched() {
    run(|| {
        let (quiet_tx, quiet) = channel::<u8>();
        let (tx, rx) = channel::<u8>();
        let (out, taken) = channel::<u8>();
        let sender = spawn(move || tx.send(1));
        let taker = |want: bool| {
            select! {
                recv(quiet) -> _ => "quiet",
                recv(rx) -> it => if it == Ok(1) { "one" } else { "closed" },
                send(out, 9) -> it if want => if it.is_ok() { "sent" } else { "refused" },
                op(after(Duration::from_secs(1))) -> _ => "late",
            }
        };
        assert_eq!(taker(false), "one");
        assert_eq!(quiet_tx.balance(), 0, "the losers have withdrawn");
        sender.join().unwrap().unwrap();
        assert_eq!(taker(false), "closed");
        let reader = spawn(move || taken.recv());
        drop(rx);
        yield_now();
        assert_eq!(select! { biased; recv(quiet) -> _ => 0, send(out, 9) -> _ => 1 }, 1);
        assert_eq!(reader.join().unwrap(), Ok(9));
    });
}

// SC-20
#[test]
fn an_operation_with_a_timeout_ends_at_its_time_and_leaves_no_offer() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (start, second) = (now(), Duration::from_secs(1));
        assert_eq!(rx.recv_timeout(second), Err(Halt::TimedOut));
        assert_eq!(now() - start, second);
        let late = Err(SendError { value: 1, why: Halt::TimedOut });
        assert_eq!(tx.send_timeout(1, second), late);
        assert_eq!(tx.send_deadline(1, start), late);
        assert_eq!(rx.recv_deadline(start + 3 * second), Err(Halt::TimedOut));
        assert_eq!((now() - start, rx.balance()), (3 * second, 0));
        let sender = spawn(move || tx.send_timeout(2, second));
        assert_eq!(rx.recv_timeout(second), Ok(2));
        assert_eq!((sender.join().unwrap(), now() - start), (Ok(()), 3 * second));
    });
}
