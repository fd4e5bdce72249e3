//! Laws of a select whose arms all receive: it makes no arms, and leaves stale offers behind.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tasklets::{Halt, Operation, Runtime, block_trap, channel, run, select, spawn, yield_now};

#[test]
fn a_select_that_lost_waits_nowhere() {
    run(|| {
        let (a, from_a) = channel();
        let (b, from_b) = channel();
        for round in 0..5 {
            let tx = a.clone();
            spawn(move || tx.send(round).unwrap());
            let it = select! { recv(from_a) -> it => it, recv(from_b) -> it => it };
            assert_eq!(it, Ok(round));
            assert_eq!((a.balance(), b.balance()), (0, 0));
            assert!(b.waiters().1.is_empty());
            assert_eq!(b.try_send(9), Ok(Some(9)), "nobody waits");
        }
    });
}

#[test]
fn what_a_select_left_behind_is_in_nobodys_way() {
    run(|| {
        let (a, from_a) = channel();
        let (b, from_b) = channel();
        let (rx_a, rx_b) = (from_a.clone(), from_b.clone());
        let selector = spawn(move || select! { recv(rx_a) -> it => it, recv(rx_b) -> it => it });
        yield_now();
        assert_eq!((a.balance(), b.balance()), (-1, -1));
        a.send(1).unwrap();
        assert_eq!(selector.join().unwrap(), Ok(1));
        // Whoever comes first to the other channel finds it empty.
        let receiver = spawn(move || (from_b.recv(), from_b.recv()));
        yield_now();
        assert_eq!(b.balance(), -1);
        b.send(2).unwrap();
        b.send(3).unwrap();
        assert_eq!(receiver.join().unwrap(), (Ok(2), Ok(3)));
        drop(from_a);
    });
}

#[test]
fn a_channel_that_ends_after_a_select_lost_there_is_closed() {
    run(|| {
        let (a, from_a) = channel();
        let (b, from_b) = channel::<u8>();
        spawn(move || a.send(1).unwrap());
        assert_eq!(select! { recv(from_a) -> it => it, recv(from_b) -> it => it }, Ok(1));
        drop(from_b);
        assert_eq!(b.try_send(2).unwrap_err().why, Halt::Closed);
        assert_eq!(b.send(3).unwrap_err().why, Halt::Closed);
    });
}

#[test]
fn who_waits_beside_a_select_is_served_in_order() {
    run(|| {
        let (a, from_a) = channel();
        let (b, from_b) = channel();
        let (rx_a, rx_b) = (from_a.clone(), from_b.clone());
        let first = spawn(move || select! { recv(rx_a) -> it => it, recv(rx_b) -> it => it });
        yield_now();
        let second = spawn(move || from_b.recv());
        yield_now();
        assert_eq!((a.balance(), b.balance()), (-1, -2));
        b.send(1).unwrap();
        b.send(2).unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(1), Ok(2)));
        assert_eq!((a.balance(), b.balance()), (0, 0));
        drop(from_a);
    });
}

#[test]
fn the_same_channel_may_be_in_two_arms() {
    run(|| {
        let (tx, rx) = channel();
        let (quiet, never) = channel::<u8>();
        let sender = spawn(move || tx.send_all(0..100));
        let mut got = Vec::new();
        while got.len() < 100 {
            select! {
                recv(rx) -> it => got.push(it.unwrap()),
                recv(never) -> _ => unreachable!("nobody sends"),
                recv(rx) -> it => got.push(it.unwrap()),
            }
        }
        assert_eq!(got, (0..100).collect::<Vec<_>>());
        assert_eq!(sender.join().unwrap().unwrap(), 100);
        assert_eq!(quiet.balance(), 0);
    });
}

#[test]
fn a_select_that_is_stopped_or_too_late_waits_nowhere() {
    run(|| {
        let (a, from_a) = channel::<u8>();
        let (b, from_b) = channel::<u8>();
        let (rx_a, rx_b) = (from_a.clone(), from_b.clone());
        let selector = spawn(move || {
            select! { recv(rx_a) -> it => (1, it), recv(rx_b) -> it => (2, it) }
        });
        yield_now();
        selector.cancel();
        assert_eq!(selector.join().unwrap(), (1, Err(Halt::Cancelled)));
        let late = select! {
            recv(from_a) -> _ => false,
            recv(from_b) -> _ => false,
            default(Duration::from_millis(1)) => true,
        };
        assert!(late);
        assert_eq!((a.balance(), b.balance()), (0, 0));
        drop(b);
        assert_eq!(
            select! { recv(from_a) -> it => it, recv(from_b) -> it => it },
            Err(Halt::Closed)
        );
    });
}

#[test]
fn every_ready_arm_has_its_turn_and_no_value_is_lost() {
    run(|| {
        let mut counts = [0_u32; 4];
        let ends: Vec<_> = (0..4).map(|_| channel()).collect();
        for (number, (tx, _)) in ends.iter().enumerate() {
            let tx = tx.clone();
            spawn(move || while tx.send(number).is_ok() {});
        }
        let [a, b, c, d] = [0, 1, 2, 3].map(|it: usize| &ends[it].1);
        for _ in 0..4_000 {
            let it = select! {
                recv(a) -> it => it, recv(b) -> it => it,
                recv(c) -> it => it, recv(d) -> it => it,
            };
            counts[it.unwrap()] += 1;
        }
        assert_eq!(counts.iter().sum::<u32>(), 4_000);
        assert!(counts.iter().all(|it| (700..1_300).contains(it)), "{counts:?}");
    });
}

/// How many ways each question has in a run that ends with `last`, told nothing but zeros.
fn questions(heard: bool, last: fn()) -> Vec<usize> {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let notes = asked.clone();
    let builder = Runtime::builder().chooser(move |ways: usize| {
        notes.borrow_mut().push(ways);
        0
    });
    let builder = if heard { builder.on_event(|_| ()) } else { builder };
    builder.build().run(last).unwrap();
    asked.take()
}

#[test]
fn a_sender_that_was_stopped_is_no_way_to_choose() {
    let last = || {
        let ends: Vec<_> = (0..3).map(|_| channel()).collect();
        let senders = ends.iter().map(|(tx, _)| {
            let tx = tx.clone();
            spawn(move || tx.send(1).is_err())
        });
        let senders: Vec<_> = senders.collect();
        yield_now();
        senders.iter().for_each(|it| it.cancel());
        let nothing = select! {
            recv(ends[0].1) -> _ => false,
            recv(ends[1].1) -> _ => false,
            recv(ends[2].1) -> _ => false,
            default => true,
        };
        assert!(nothing && senders.into_iter().all(|it| it.join().unwrap()));
    };
    assert_eq!(questions(false, last), questions(true, last));
}

#[test]
fn arms_that_could_not_be_met_leave_the_same_choice_with_and_without_a_listener() {
    let last = || {
        let ends: Vec<_> = (0..4).map(|_| channel()).collect();
        // Who only reserves cannot be met by who may not wait.
        for (tx, _) in &ends[..3] {
            let tx = tx.clone();
            spawn(move || tx.reserving().wait().map(|it| it.send(1)).is_ok());
        }
        let tx = ends[3].0.clone();
        spawn(move || tx.send(2).unwrap());
        yield_now();
        let trap = block_trap();
        let it = select! {
            recv(ends[0].1) -> it => it,
            recv(ends[1].1) -> it => it,
            recv(ends[2].1) -> it => it,
            recv(ends[3].1) -> it => it,
        };
        drop(trap);
        assert_eq!(it, Ok(2));
        ends.iter().take(3).for_each(|(_, rx)| assert_eq!(rx.recv(), Ok(1)));
    };
    assert_eq!(questions(false, last), questions(true, last));
}

#[test]
fn a_send_that_has_lost_in_a_select_is_no_way_to_choose() {
    let last = || {
        let ends: Vec<_> = (0..3).map(|_| channel()).collect();
        let senders: Vec<_> = ends.iter().map(|(tx, _)| tx.clone()).collect();
        let sender = spawn(move || {
            let (mut first, mut second) = (senders[0].sending(0), senders[1].sending(1));
            select! { op(&mut first) -> it => it.is_ok(), op(&mut second) -> _ => false }
        });
        yield_now();
        assert_eq!(ends[0].1.recv(), Ok(0)); // the sender has not run since
        let nothing = select! {
            recv(ends[0].1) -> _ => false,
            recv(ends[1].1) -> _ => false,
            recv(ends[2].1) -> _ => false,
            default => true,
        };
        assert!(nothing && sender.join().unwrap());
    };
    assert_eq!(questions(false, last), questions(true, last));
}

#[test]
fn it_is_asked_once_and_only_among_the_ready() {
    let last = || {
        let ends: Vec<_> = (0..4).map(|_| channel()).collect();
        for (number, (tx, _)) in ends.iter().enumerate().skip(1) {
            let tx = tx.clone();
            drop(spawn(move || tx.send(number)));
        }
        yield_now();
        let taken = (0..3).map(|_| {
            let it = select! {
                recv(ends[0].1) -> it => it,
                recv(ends[1].1) -> it => it,
                recv(ends[2].1) -> it => it,
                recv(ends[3].1) -> it => it,
            };
            it.unwrap()
        });
        assert_eq!(taken.sum::<usize>(), 6);
    };
    let asked = questions(false, last);
    assert!(asked.ends_with(&[3, 2]), "{asked:?}");
    assert_eq!(asked, questions(true, last));
}
