//! Selecting: exactly one arm happens, fairly; the losers have no effect.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use tasklets::{
    Halt, Never, Operation, Receiver, Runtime, Select, SendError, Sender, State, Tasklet, channel,
    pause, run, select, spawn, yield_now,
};

#[test]
fn a_send_that_waited_in_an_or_gets_its_value_back_when_the_channel_closes() {
    run(|| {
        let (tx, rx) = channel();
        let (_kept, silent) = channel();
        drop(spawn(move || {
            yield_now();
            drop(rx);
        }));
        let sending = tx.sending(1).map(|sent| sent.map_err(|it| (it.value, it.why)).err());
        let back = sending.or(silent.receiving().map(|_: Result<u8, _>| None)).wait();
        assert_eq!(back, Some((1, Halt::Closed)));
    });
}

#[test]
fn a_sender_that_comes_while_a_select_waits_for_a_value_that_is_not_made_is_met() {
    let ended = Runtime::builder().build().run(|| {
        let (early, from_early) = channel();
        let (broken, from_broken) = channel::<u8>();
        drop(spawn(move || {
            let permit = broken.reserving().wait().unwrap();
            drop(spawn(move || early.send(7)));
            yield_now(); // it has tried to send, and waits
            drop(permit);
            let _ = pause(); // keeps `broken` open
        }));
        yield_now();
        select! {
            biased;
            recv(from_early) -> it => it,
            recv(from_broken) -> it => it,
        }
    });
    assert_eq!(ended.unwrap_or_else(|error| panic!("{error}")), Ok(7));
}

#[test]
fn among_ready_arms_the_choice_is_even() {
    run(|| {
        let ends: Vec<_> = (0..8).map(|_| channel::<u8>()).collect();
        for (tx, _) in &ends[..2] {
            for _ in 0..1_000 {
                let tx = tx.clone();
                drop(spawn(move || tx.send(1)));
            }
        }
        yield_now();
        let mut taken = [0; 8];
        for _ in 0..1_000 {
            let index = select! {
                recv(ends[0].1) -> _ => 0,
                recv(ends[1].1) -> _ => 1,
                recv(ends[2].1) -> _ => 2,
                recv(ends[3].1) -> _ => 3,
                recv(ends[4].1) -> _ => 4,
                recv(ends[5].1) -> _ => 5,
                recv(ends[6].1) -> _ => 6,
                recv(ends[7].1) -> _ => 7,
            };
            taken[index] += 1;
        }
        assert!(taken[0] > 400 && taken[1] > 400, "{taken:?}");
    });
}

#[test]
fn a_reused_select_sends_although_it_could_receive() {
    run(|| {
        let (tx_in, rx_in) = channel::<u8>();
        let (tx_out, rx_out) = channel::<u8>();
        for _ in 0..200 {
            let (tx_in, rx_out) = (tx_in.clone(), rx_out.clone());
            drop(spawn(move || tx_in.send(1)));
            drop(spawn(move || rx_out.recv()));
        }
        yield_now();
        let mut select = Select::new();
        let receive = select.recv(&rx_in);
        select.send(&tx_out);
        let mut taken = [0; 2];
        for _ in 0..200 {
            let chosen = select.wait().unwrap();
            taken[chosen.index()] += 1;
            if chosen.index() == receive {
                chosen.recv(&rx_in).unwrap();
            } else {
                chosen.send(&tx_out, 1).unwrap();
            }
        }
        assert!(taken.iter().all(|it| *it > 60), "{taken:?}");
    });
}

#[test]
fn removing_one_of_two_arms_on_one_channel_leaves_the_other() {
    let ended = Runtime::builder().build().run(|| {
        let (tx, rx) = channel::<u8>();
        let other = rx.clone();
        let mut select = Select::new();
        let (first, second) = (select.recv(&rx), select.recv(&other));
        assert!(select.try_wait().unwrap().is_none());
        assert!(select.remove(first));
        drop(spawn(move || tx.send(1)));
        let chosen = select.wait().unwrap();
        assert_eq!(chosen.index(), second);
        chosen.recv(&other)
    });
    assert_eq!(ended.unwrap_or_else(|error| panic!("{error}")), Ok(1));
}

/// A sender for which a receiver waits.
fn wanted<T: 'static>() -> (Sender<T>, Tasklet<Result<T, Halt>>) {
    let (tx, rx) = channel();
    let reader = spawn(move || rx.recv());
    yield_now();
    (tx, reader)
}

/// Whether `f` panics; nothing is printed.
fn panics<R>(f: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

#[test]
fn with_biased_the_first_arm_that_can_happen_wins() {
    run(|| {
        let (tx, rx) = channel();
        let (_silent, nobody) = channel::<u8>();
        drop(spawn(move || tx.send_all(0..100)));
        for round in 0..50 {
            yield_now();
            let got = select! {
                biased;
                recv(nobody) -> _ => panic!("nobody sends"),
                recv(rx) -> it => it,
                recv(rx) -> _ => panic!("the first one can happen"),
            };
            assert_eq!(got, Ok(round));
        }
    });
}

#[test]
fn a_value_is_made_only_if_its_arm_is_taken_and_then_once() {
    run(|| {
        let made = Cell::new(0);
        let make = || made.replace(made.get() + 1);
        let (tx, rx) = channel::<u8>();
        assert!(select! { send(tx, make()) -> _ => false, default => true });
        drop(spawn(move || rx.recv().map(|_| rx.recv())));
        let (other, silent) = channel::<u8>();
        drop(spawn(move || other.send(1)));
        yield_now();
        assert!(select! { biased; recv(silent) -> _ => true, send(tx, make()) -> _ => false });
        assert_eq!(made.get(), 0);
        assert!(select! { send(tx, make()) -> it => it.is_ok() });
        assert_eq!(made.get(), 1);
    });
}

#[test]
fn a_value_that_waited_to_be_wanted_is_made_when_it_is() {
    let ready = Rc::new(Cell::new(false));
    let seen = ready.clone();
    let got = run(|| {
        let (tx, rx) = channel();
        drop(spawn(move || select! { send(tx, seen.get()) -> sent => sent }));
        yield_now();
        ready.set(true);
        rx.recv()
    });
    assert_eq!(got, Ok(true));
}

#[test]
fn a_closed_channel_makes_its_arm_ready_and_gives_the_value_back() {
    run(|| {
        let (tx, rx) = channel::<&str>();
        drop(spawn(move || drop(rx)));
        let sent = select! { send(tx, "back") -> sent => sent };
        assert_eq!(sent, Err(SendError { value: "back", why: Halt::Closed }));
        let sent = select! { send(tx, "again") -> sent => sent, default => Ok(()) };
        assert_eq!(sent, Err(SendError { value: "again", why: Halt::Closed }));
    });
}

#[test]
fn a_panic_or_a_return_in_the_making_of_a_value_leaves_the_receiver_waiting() {
    fn leaves(tx: &Sender<u8>) -> bool {
        select! { send(tx, if tx.balance() < 9 { return true } else { 1 }) -> _ => false }
    }
    run(|| {
        let (tx, reader) = wanted::<u8>();
        let oops = || -> u8 { resume_unwind(Box::new("on purpose")) };
        assert!(panics(|| select! { send(tx, oops()) -> sent => sent }));
        yield_now();
        assert_eq!((tx.balance(), reader.state()), (-1, State::Waiting));
        assert!(leaves(&tx));
        assert_eq!(tx.send(7), Ok(()));
        assert_eq!(reader.join().unwrap(), Ok(7));
    });
}

#[test]
fn a_dropped_permit_lets_the_receiver_wait_behind_those_who_came_since() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let later = rx.clone();
        let first = spawn(move || rx.recv());
        yield_now();
        let permit = tx.reserving().wait().unwrap();
        let second = spawn(move || later.recv());
        yield_now();
        drop(permit);
        yield_now();
        assert_eq!(tx.balance(), -2);
        assert_eq!((tx.send(1), tx.send(2)), (Ok(()), Ok(())));
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(2), Ok(1)));
    });
}

#[test]
fn two_selects_meet_and_every_value_arrives_once() {
    run(|| {
        let (a, from_a) = channel();
        let (b, from_b) = channel();
        drop(spawn(move || {
            for number in 0..1_000 {
                select! {
                    send(a, number) -> it => it.unwrap(),
                    send(b, number) -> it => it.unwrap(),
                }
            }
        }));
        for number in 0..1_000 {
            let got = select! { recv(from_a) -> it => it, recv(from_b) -> it => it };
            assert_eq!(got, Ok(number));
        }
        assert_eq!(from_a.recv(), Err(Halt::Closed));
    });
}

#[test]
fn a_select_does_not_meet_itself() {
    run(|| {
        let (tx, rx) = channel();
        for _ in 0..20 {
            assert!(select! { recv(rx) -> _ => false, send(tx, 1) -> _ => false, default => true });
        }
        let other = tx.clone();
        drop(spawn(move || other.send(2)));
        let got = select! { recv(rx) -> it => it, send(tx, 1) -> _ => Ok(0) };
        assert_eq!((got, rx.balance()), (Ok(2), 0));
        let other = rx.clone();
        let reader = spawn(move || other.recv());
        let sent = select! { recv(rx) -> _ => Ok(()), send(tx, 3) -> it => it };
        assert_eq!((sent, reader.join().unwrap()), (Ok(()), Ok(3)));
        assert_eq!(rx.balance(), 0);
    });
}

#[test]
fn arms_that_lost_are_not_offered_any_more() {
    run(|| {
        let (tx, rx) = channel();
        let (other_tx, other_rx) = channel::<u8>();
        drop(spawn(move || tx.send(1)));
        let sending = other_tx.sending(2).map(|_| Ok(0));
        let receiving = other_rx.receiving();
        assert_eq!(rx.receiving().or(sending).or(receiving).wait(), Ok(1));
        assert_eq!((other_rx.try_recv(), other_tx.try_send(3)), (Ok(None), Ok(Some(3))));
        assert_eq!(other_rx.balance(), 0);
    });
}

#[test]
fn a_select_that_could_only_wait_for_ever_panics() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        assert!(panics(
            || select! { recv(rx) -> _ if false => (), send(tx, 1) -> _ if false => () }
        ));
        assert!(panics(|| select::select(&mut [])));
        assert!(panics(|| rx.receiving().only_if(false).wait().is_ok()));
        assert_eq!(Select::new().wait().map(|it| it.index()), Err(Halt::CannotWait));
        assert!(select! { recv(rx) -> _ if false => false, default => true });
    });
}

#[test]
fn a_stopped_select_gives_the_reason_to_the_first_arm_that_is_on() {
    run(|| {
        let (_tx, rx) = channel::<u8>();
        let (kept, _silent) = channel();
        let stopped = spawn(move || {
            select! {
                recv(rx) -> _ if false => None,
                send(kept, "kept") -> sent => sent.err(),
                recv(rx) -> _ => None,
            }
        });
        yield_now();
        stopped.cancel();
        let back = SendError { value: "kept", why: Halt::Cancelled };
        assert_eq!(stopped.join().unwrap(), Some(back));
    });
}

#[test]
fn operations_compose() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let number = || rx.receiving().map(|it| it.map(u32::from));
        assert_eq!(number().poll(), None);
        assert_eq!(number().only_if(false).or(number().only_if(false)).poll(), None);
        drop(spawn(move || tx.send_all([1, 2, 3])));
        assert_eq!(number().only_if(false).or(number()).wait(), Ok(1));
        assert_eq!(
            number().or(number().only_if(false)).map(|it| it.map(|it| -(it as i8))).wait(),
            Ok(-2)
        );
        yield_now();
        assert_eq!(number().only_if(true).poll(), Some(Ok(3)));
        assert_eq!(number().or(number()).wait(), Err(Halt::Closed));
    });
}

#[test]
fn a_library_can_export_an_operation_of_its_own() {
    fn reply_or_quit<'a>(
        replies: &'a Receiver<u8>,
        quit: &'a Receiver<Never>,
    ) -> impl Operation<Output = Option<u8>> + 'a {
        replies.receiving().map(Result::ok).or(quit.receiving().map(|_| None))
    }
    run(|| {
        let (tx, replies) = channel();
        let (alive, quit) = channel();
        drop(spawn(move || {
            tx.send(1).unwrap();
            drop(alive);
            let _ = pause(); // keeps `tx`
            drop(tx);
        }));
        assert_eq!(reply_or_quit(&replies, &quit).wait(), Some(1));
        assert_eq!(select! { op(reply_or_quit(&replies, &quit)) -> it => it }, None);
    });
}

#[test]
fn a_sending_that_lost_still_has_its_value() {
    run(|| {
        let (tx, _rx) = channel();
        let mut sending = tx.sending("mine");
        assert_eq!((&mut sending).poll(), None);
        select! { op(&mut sending) -> _ => panic!("nobody receives"), default => {} }
        assert_eq!(sending.into_value(), "mine");
    });
}
