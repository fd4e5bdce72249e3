//! Rendezvous channels: a value moves once, first come first served, and an end closes once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tasklets::{
    Halt, JoinError, Never, Runtime, SendError, Tasklet, block_trap, channel, now, run, spawn,
    yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// A payload that tells when it is dropped.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Lets all that are ready run until they wait.
fn settle() {
    (0..10).for_each(|_| yield_now());
}

#[test]
fn every_payload_is_received_or_given_back_and_dropped_once() {
    for readers in [0, 1, 7, 19] {
        let dropped = Rc::new(Cell::new(0));
        let (received, returned) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        run(|| {
            let (tx, rx) = channel();
            for _ in 0..20 {
                let (tx, value, returned) =
                    (tx.clone(), Counted(dropped.clone()), returned.clone());
                drop(spawn(move || {
                    if let Err(error) = tx.send(value) {
                        assert_eq!(error.why, Halt::Closed);
                        returned.set(returned.get() + 1);
                    }
                }));
            }
            for _ in 0..readers {
                let (rx, received) = (rx.clone(), received.clone());
                drop(spawn(move || {
                    assert!(rx.recv().is_ok());
                    received.set(received.get() + 1);
                }));
            }
            settle();
            drop(rx);
            settle();
        });
        assert_eq!((received.get(), returned.get()), (readers, 20 - readers));
        assert_eq!(dropped.get(), 20);
    }
}

#[test]
fn many_to_many_everything_arrives_once_and_in_each_senders_order() {
    run(|| {
        let (tx, rx) = channel();
        for sender in 0..8 {
            let tx = tx.clone();
            drop(spawn(move || tx.send_all((0..200).map(|it| (sender, it)))));
        }
        drop(tx);
        let readers: Vec<Tasklet<Vec<_>>> =
            (0..5).map(|_| rx.clone()).map(|rx| spawn(move || rx.into_iter().collect())).collect();
        let got: Vec<Vec<(usize, usize)>> =
            readers.into_iter().map(|it| it.join().unwrap()).collect();
        let mut seen = [[0; 200]; 8];
        for list in &got {
            for sender in 0..8 {
                let of_one = list.iter().filter(|it| it.0 == sender).map(|it| it.1);
                assert!(of_one.is_sorted());
            }
            list.iter().for_each(|&(sender, number)| seen[sender][number] += 1);
        }
        assert!(seen.iter().flatten().all(|it| *it == 1));
    });
}

#[test]
fn dropping_the_last_sender_wakes_every_receiver() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let other = tx.clone();
        let readers: Vec<_> =
            (0..5).map(|_| rx.clone()).map(|rx| spawn(move || rx.recv())).collect();
        yield_now();
        drop(tx);
        yield_now();
        assert!(readers.iter().all(|it| !it.is_finished()), "one sender is left");
        drop(other);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Err(Halt::Closed));
        }
        assert_eq!((rx.recv(), rx.try_recv()), (Err(Halt::Closed), Err(Halt::Closed)));
        assert!(rx.is_closed());
    });
}

#[test]
fn dropping_the_last_receiver_gives_every_value_back() {
    run(|| {
        let (tx, rx) = channel();
        let other = rx.clone();
        let senders: Vec<_> = (0..5).map(|it| (it, tx.clone())).collect();
        let senders: Vec<_> =
            senders.into_iter().map(|(it, tx)| spawn(move || tx.send(it))).collect();
        yield_now();
        drop(rx);
        yield_now();
        assert!(senders.iter().all(|it| !it.is_finished()), "one receiver is left");
        drop(other);
        for (value, sender) in senders.into_iter().enumerate() {
            assert_eq!(sender.join().unwrap(), Err(SendError { value, why: Halt::Closed }));
        }
        assert_eq!(tx.send(7), Err(SendError { value: 7, why: Halt::Closed }));
        assert_eq!(tx.try_send(8), Err(SendError { value: 8, why: Halt::Closed }));
        assert!(tx.is_closed());
    });
}

#[test]
fn waiters_are_served_first_come_first_served() {
    run(|| {
        let (tx, rx) = channel();
        for number in 0..10 {
            let tx = tx.clone();
            drop(spawn(move || tx.send(number)));
        }
        yield_now();
        let got: Vec<_> = (0..10).map(|_| rx.recv().unwrap()).collect();
        assert!(got.iter().copied().eq(0..10));
        let readers: Vec<_> =
            (0..10).map(|_| rx.clone()).map(|rx| spawn(move || rx.recv().unwrap())).collect();
        yield_now();
        assert_eq!(tx.send_all(0..10), Ok(10));
        let got: Vec<_> = readers.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(got.iter().copied().eq(0..10));
    });
}

#[test]
fn a_waiter_that_goes_away_leaves_the_order_of_the_others() {
    run(|| {
        let (tx, rx) = channel();
        let senders: Vec<_> = (0..5).map(|it| (it, tx.clone())).collect();
        let senders: Vec<_> =
            senders.into_iter().map(|(it, tx)| spawn(move || tx.send(it))).collect();
        yield_now();
        senders[0].cancel();
        senders[2].cancel();
        assert_eq!((rx.recv(), rx.recv(), rx.recv()), (Ok(1), Ok(3), Ok(4)));
        assert_eq!(rx.try_recv(), Ok(None));
    });
}

#[test]
fn balance_and_waiters_tell_who_waits() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        assert_eq!((tx.balance(), tx.waiters()), (0, (vec![], vec![])));
        let senders: Vec<_> =
            (0..3).map(|_| tx.clone()).map(|tx| spawn(move || tx.send(1))).collect();
        yield_now();
        let ids: Vec<_> = senders.iter().map(|it| it.id()).collect();
        assert_eq!((tx.balance(), rx.balance(), rx.waiters()), (3, 3, (ids, vec![])));
        (0..3).for_each(|_| assert_eq!(rx.recv(), Ok(1)));
        let readers: Vec<_> =
            (0..2).map(|_| rx.clone()).map(|rx| spawn(move || rx.recv())).collect();
        yield_now();
        let ids: Vec<_> = readers.iter().map(|it| it.id()).collect();
        assert_eq!((tx.balance(), rx.balance(), tx.waiters()), (-2, -2, (vec![], ids)));
        drop(tx);
        assert_eq!((rx.balance(), rx.waiters()), (0, (vec![], vec![])));
    });
}

#[test]
fn send_all_asks_for_no_more_items_than_are_received() {
    run(|| {
        let (tx, rx) = channel();
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let items = (0..100).inspect(move |_| count.set(count.get() + 1));
        let sender = spawn(move || tx.send_all(items));
        let got: Vec<_> = rx.iter().take(3).collect();
        settle();
        drop(rx);
        let error = sender.join().unwrap().unwrap_err();
        assert_eq!((got, error.value, error.why), (vec![0, 1, 2], 3, Halt::Closed));
        assert_eq!(asked.get(), 4);
        assert_eq!(channel::<u8>().0.send_all([]), Ok(0));
    });
}

#[test]
fn iteration_ends_with_the_senders_and_can_borrow_or_own() {
    run(|| {
        let (tx, rx) = channel();
        drop(spawn(move || tx.send_all(0..9)));
        let mut got = Vec::new();
        for item in &rx {
            got.push(item);
            if item == 2 {
                break;
            }
        }
        got.extend(rx.iter().take(3));
        got.extend(rx.clone());
        assert!(got.into_iter().eq(0..9));
        assert_eq!((rx.iter().next(), rx.into_iter().next()), (None, None));
    });
}

#[test]
fn try_never_waits() {
    run(|| {
        let (tx, rx) = channel();
        let trap = block_trap();
        assert_eq!((tx.try_send(1), rx.try_recv()), (Ok(Some(1)), Ok(None)));
        drop(trap);
        let sender = tx.clone();
        drop(spawn(move || sender.send(2)));
        yield_now();
        assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(Some(2)), Ok(None)));
        let other = rx.clone();
        let reader = spawn(move || other.recv());
        yield_now();
        assert_eq!((tx.try_send(3), tx.try_send(4)), (Ok(None), Ok(Some(4))));
        assert_eq!(reader.join().unwrap(), Ok(3));
    });
}

#[test]
fn a_timeout_gives_the_value_back_at_its_time_and_leaves_no_offer() {
    Runtime::builder()
        .virtual_clock(true)
        .build()
        .run(|| {
            let ((tx, rx), start) = (channel(), now());
            let late = SendError { value: 1, why: Halt::TimedOut };
            assert_eq!(tx.send_timeout(1, SECOND), Err(late.clone()));
            assert_eq!(tx.send_deadline(1, start + 2 * SECOND), Err(late.clone()));
            assert_eq!((tx.send_deadline(1, start), now() - start), (Err(late), 2 * SECOND));
            assert_eq!(rx.recv_timeout(SECOND), Err(Halt::TimedOut));
            assert_eq!(rx.recv_deadline(start + 4 * SECOND), Err(Halt::TimedOut));
            assert_eq!((rx.recv_deadline(start), now() - start), (Err(Halt::TimedOut), 4 * SECOND));
            assert_eq!((tx.try_send(2), rx.try_recv(), tx.balance()), (Ok(Some(2)), Ok(None), 0));
        })
        .unwrap();
}

#[test]
fn a_partner_that_comes_in_time_is_met() {
    Runtime::builder()
        .virtual_clock(true)
        .build()
        .run(|| {
            let (tx, rx) = channel();
            let sender = tx.clone();
            drop(spawn(move || {
                tasklets::sleep(SECOND).unwrap();
                sender.send(1)
            }));
            assert_eq!(rx.recv_timeout(2 * SECOND), Ok(1));
            drop(spawn(move || {
                tasklets::sleep(SECOND).unwrap();
                rx.recv()
            }));
            assert_eq!(tx.send_timeout(2, Duration::MAX), Ok(()));
        })
        .unwrap();
}

#[test]
fn a_held_sender_goes_on_when_its_value_is_accepted_or_dropped() {
    for accept in [true, false] {
        for sender_first in [true, false] {
            run(|| {
                let (tx, rx) = channel();
                let log = Rc::new(RefCell::new(Vec::new()));
                let note = log.clone();
                let sender = spawn(move || {
                    tx.send(1).unwrap();
                    note.borrow_mut().push("sent");
                });
                if sender_first {
                    yield_now();
                }
                let mut held = rx.recv_held().unwrap();
                settle();
                assert_eq!(*held, 1);
                *held += 1;
                log.borrow_mut().push("held");
                if accept {
                    assert_eq!(held.accept(), 2);
                } else {
                    drop(held);
                }
                sender.join().unwrap();
                assert_eq!(log.take(), ["held", "sent"]);
                assert_eq!(rx.recv_held().map(|it| it.accept()), Err(Halt::Closed));
            });
        }
    }
}

#[test]
fn a_held_sender_cannot_be_cancelled_the_delivery_has_won() {
    run(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || (tx.send(1), tx.send(2)));
        let held = rx.recv_held().unwrap();
        sender.cancel();
        settle();
        assert!(!sender.is_finished());
        assert_eq!(held.accept(), 1);
        let stopped = SendError { value: 2, why: Halt::Cancelled };
        assert_eq!(sender.join().unwrap(), (Ok(()), Err(stopped)));
    });
}

#[test]
fn a_channel_of_never_is_a_broadcast_of_its_end() {
    run(|| {
        let (alive, gone) = channel::<Never>();
        let waiters: Vec<_> =
            (0..100).map(|_| gone.clone()).map(|it| spawn(move || it.recv())).collect();
        settle();
        assert!(waiters.iter().all(|it| !it.is_finished()));
        drop(alive);
        assert!(waiters.into_iter().all(|it| matches!(it.join(), Ok(Err(Halt::Closed)))));
    });
}

#[test]
fn clones_are_ends_of_the_same_channel() {
    let ((tx, rx), (other, other_rx)) = (channel::<u8>(), channel::<u8>());
    assert!(tx.same_channel(&tx.clone()) && rx.same_channel(&rx.clone()));
    assert!(!tx.same_channel(&other) && !rx.same_channel(&other_rx));
    assert_eq!((tx.id(), tx.clone().id()), (rx.id(), rx.clone().id()));
    assert_ne!(tx.id(), other.id());
}

#[test]
fn names_are_shared_by_both_ends_and_can_change() {
    let (tx, rx) = channel::Builder::new().name("jobs").channel::<u8>();
    assert_eq!((tx.name().as_deref(), rx.name().as_deref()), (Some("jobs"), Some("jobs")));
    rx.clone().set_name("tasks");
    assert_eq!(tx.name().as_deref(), Some("tasks"));
    assert!(format!("{tx:?} {rx:?}").contains("tasks"));
    assert_eq!(channel::<u8>().0.name(), None);
}

#[test]
fn a_channel_can_be_used_before_between_and_after_runs() {
    let (tx, rx) = channel();
    let outside = || {
        assert_eq!((tx.try_send(0), rx.try_recv(), tx.balance()), (Ok(Some(0)), Ok(None), 0));
        assert_eq!(tx.send(1), Err(SendError { value: 1, why: Halt::CannotWait }));
        assert_eq!(rx.recv(), Err(Halt::CannotWait));
    };
    outside();
    for round in 0..3 {
        let (sender, receiver) = (tx.clone(), rx.clone());
        let got = run(move || {
            drop(spawn(move || sender.send(round)));
            receiver.recv()
        });
        assert_eq!(got, Ok(round));
        outside();
    }
    let left = tx.clone();
    run(move || {
        drop(spawn(move || left.send(7)));
        yield_now();
    });
    outside();
    drop(tx);
    assert_eq!(rx.recv(), Err(Halt::Closed));
}

#[test]
fn a_runtime_driven_from_outside_is_reached_with_try() {
    let runtime = Runtime::builder().build();
    let (tx, rx) = channel();
    let mut reader = runtime.spawn(move || rx.recv()).unwrap();
    assert_eq!(tx.try_send(1), Ok(Some(1)));
    runtime.run_ready().unwrap();
    assert_eq!(tx.try_send(2), Ok(None));
    runtime.run_ready().unwrap();
    assert!(reader.is_finished());
    assert!(matches!(reader.join_mut(), Ok(Ok(2))));
    let stopped = runtime.spawn(|| tasklets::pause()).unwrap();
    assert!(matches!(stopped.join(), Err(JoinError::Halted(Halt::CannotWait))));
}

#[test]
fn a_payload_whose_destructor_communicates_is_fine() {
    struct Tells(tasklets::Sender<u8>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.try_send(1).unwrap();
        }
    }
    run(|| {
        let (told, hears) = channel();
        let listener = spawn(move || hears.into_iter().count());
        let (tx, rx) = channel();
        for _ in 0..3 {
            let (tx, value) = (tx.clone(), Tells(told.clone()));
            drop(spawn(move || tx.send(value)));
        }
        yield_now();
        drop((rx, told));
        settle();
        drop(tx);
        assert!((1..=3).contains(&listener.join().unwrap()));
    });
}
