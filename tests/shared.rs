//! Shared channels: a rendezvous between OS threads keeps the laws of one within a thread.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use tasklets::shared::{Receiver, Sender};
use tasklets::{Halt, Operation, Runtime, pause, run, shared, spawn, within, yield_now};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

fn is_shareable<T: Send + Sync + Clone>() {}

#[test]
fn ends_are_send_sync_and_clone() {
    is_shareable::<Sender<std::cell::Cell<u8>>>();
    is_shareable::<Receiver<std::cell::Cell<u8>>>();
}

/// Sends `0..count` from one thread to another and says what arrived.
fn carried(count: u32, sends_in_run: bool, receives_in_run: bool) -> Vec<u32> {
    let (tx, rx) = shared::channel();
    let send = move || tx.send_all(0..count).unwrap();
    let writer = thread::spawn(move || if sends_in_run { run(send) } else { send() });
    let receive = || rx.iter().collect();
    let received = if receives_in_run { run(receive) } else { receive() };
    assert_eq!(writer.join().unwrap(), count as usize);
    received
}

#[test]
fn values_arrive_once_and_in_order_whoever_waits() {
    for (sends, receives) in [(true, true), (true, false), (false, true), (false, false)] {
        assert!(carried(2_000, sends, receives).into_iter().eq(0..2_000), "{sends} {receives}");
    }
}

#[test]
fn tasklets_of_one_run_meet_too() {
    let sum = run(|| {
        let (tx, rx) = shared::channel();
        let writers = [tx.clone(), tx].map(|tx| spawn(move || tx.send_all(1..=100)));
        let sum = rx.iter().sum::<i32>();
        writers.into_iter().for_each(|it| assert_eq!(it.join().unwrap(), Ok(100)));
        sum
    });
    assert_eq!(sum, 2 * 5_050);
}

#[test]
fn who_waits_is_served_in_order_on_both_sides() {
    run(|| {
        let (tx, rx) = shared::channel();
        let writers = [0, 1, 2].map(|it| {
            let tx = tx.clone();
            spawn(move || tx.send(it))
        });
        yield_now();
        assert_eq!([(); 3].map(|()| rx.recv()), [Ok(0), Ok(1), Ok(2)]);
        writers.into_iter().for_each(|it| assert_eq!(it.join().unwrap(), Ok(())));
        let readers = [(); 3].map(|()| {
            let rx = rx.clone();
            spawn(move || rx.recv())
        });
        yield_now();
        (0..3).for_each(|it| tx.send(it).unwrap());
        assert_eq!(readers.map(|it| it.join().unwrap()), [Ok(0), Ok(1), Ok(2)]);
    });
}

#[test]
fn a_rendezvous_completes_for_both_or_for_neither() {
    let (tx, rx) = shared::channel::<u8>();
    let (told, tell) = mpsc::channel();
    let writer = thread::spawn(move || {
        let sent = tx.send(7);
        told.send(()).unwrap();
        sent
    });
    // Nothing is received, so the sender cannot have gone on, however long this takes.
    assert!((0..100).all(|_| tell.try_recv().is_err()));
    assert_eq!(rx.recv(), Ok(7));
    writer.join().unwrap().unwrap();
    tell.recv().unwrap();
}

#[test]
fn the_last_handle_closes_its_end_from_whatever_thread() {
    for waits_in_run in [true, false] {
        let (tx, rx) = shared::channel::<String>();
        let receive = move || rx.recv();
        let waiter = thread::spawn(move || if waits_in_run { run(receive) } else { receive() });
        thread::spawn(move || drop([tx.clone(), tx])).join().unwrap();
        assert_eq!(waiter.join().unwrap(), Err(Halt::Closed));

        let (tx, rx) = shared::channel();
        let send = move || tx.send("mine".to_owned());
        let waiter = thread::spawn(move || if waits_in_run { run(send) } else { send() });
        thread::spawn(move || drop([rx.clone(), rx])).join().unwrap();
        let refused = waiter.join().unwrap().unwrap_err();
        assert_eq!((&*refused.value, refused.why), ("mine", Halt::Closed));
    }
}

#[test]
fn a_closed_end_stays_closed_and_gives_values_back() {
    let (tx, rx) = shared::channel();
    drop(rx);
    assert_eq!(tx.try_send(1).unwrap_err().value, 1);
    assert_eq!(tx.send_timeout(2, LONG).unwrap_err().why, Halt::Closed);
    assert_eq!(run(|| tx.send(3)).unwrap_err().value, 3);
    assert!(tx.is_closed() && tx.reserving().wait().is_err());
    let (tx, rx) = shared::channel::<u8>();
    drop(tx);
    assert_eq!((rx.try_recv(), rx.recv()), (Err(Halt::Closed), Err(Halt::Closed)));
    assert_eq!(run(|| rx.recv_timeout(LONG)), Err(Halt::Closed));
}

#[test]
fn a_deadline_ends_the_wait_of_a_thread_and_of_a_tasklet() {
    let (tx, rx) = shared::channel::<u8>();
    let soon = Duration::from_millis(1);
    let late = || {
        assert_eq!(rx.recv_timeout(soon), Err(Halt::TimedOut));
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(Halt::TimedOut));
        assert_eq!(tx.send_timeout(1, soon).unwrap_err().why, Halt::TimedOut);
    };
    late();
    run(late);
    let past = tasklets::now();
    assert_eq!(rx.recv_deadline(past), Err(Halt::TimedOut));
    assert_eq!(run(|| within(soon, || rx.recv()).value), Err(Halt::TimedOut));
}

#[test]
fn virtual_time_passes_while_partners_outside_may_come() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let (_tx, rx) = shared::channel::<u8>();
    assert_eq!(runtime.run(|| rx.recv_timeout(LONG)).unwrap(), Err(Halt::TimedOut));
}

/// A count of what was sent, and of what was received, by who gives up again and again.
fn raced(
    send: impl Fn(&Sender<u64>, u64) -> bool + Send + 'static,
    recv: impl Fn(&Receiver<u64>) -> Option<u64> + Send + 'static,
) {
    const ROUNDS: u64 = 3_000;
    let (tx, rx) = shared::channel();
    let (over, stop) = mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        let sent: u64 = (0..ROUNDS).filter(|it| send(&tx, *it)).sum();
        drop(over);
        sent
    });
    let mut received = 0;
    while !(rx.is_closed() && matches!(stop.try_recv(), Err(mpsc::TryRecvError::Disconnected))) {
        received += recv(&rx).unwrap_or(0);
    }
    assert_eq!(writer.join().unwrap(), received);
}

#[test]
fn what_meets_its_deadline_is_delivered_or_comes_back() {
    let tiny = Duration::from_micros(5);
    raced(move |tx, it| tx.send_timeout(it, tiny).is_ok(), move |rx| rx.recv_timeout(tiny).ok());
    raced(
        move |tx, it| run(|| tx.send_timeout(it, tiny).is_ok()),
        move |rx| run(|| rx.recv_timeout(tiny).ok()),
    );
}

#[test]
fn what_meets_its_cancellation_is_delivered_or_comes_back() {
    raced(
        |tx, it| {
            run(|| {
                let tx = tx.clone();
                let sender = spawn(move || tx.send(it));
                yield_now();
                sender.cancel();
                match sender.join().unwrap() {
                    Ok(()) => true,
                    Err(back) => {
                        assert_eq!((back.value, back.why), (it, Halt::Cancelled));
                        false
                    }
                }
            })
        },
        |rx| {
            run(|| {
                let rx = rx.clone();
                let reader = spawn(move || rx.recv());
                yield_now();
                reader.cancel();
                reader.join().unwrap().ok()
            })
        },
    );
}

#[test]
fn attempts_meet_only_who_waits() {
    let (tx, rx) = shared::channel();
    assert_eq!((rx.try_recv(), tx.try_send(1)), (Ok(None), Ok(Some(1))));
    let writer = thread::spawn(move || tx.send(2));
    let found = std::iter::repeat_with(|| rx.try_recv().unwrap()).find_map(|it| it);
    assert_eq!(found, Some(2));
    writer.join().unwrap().unwrap();
}

#[test]
fn a_permit_makes_its_value_when_a_receiver_is_certain() {
    for in_run in [true, false] {
        let (tx, rx) = shared::channel();
        let receive = move || rx.recv();
        let reader = thread::spawn(move || if in_run { run(receive) } else { receive() });
        drop(tx.reserving().wait().unwrap()); // changed its mind: the reader waits again
        tx.reserving().wait().unwrap().send("at last").unwrap();
        assert_eq!(reader.join().unwrap(), Ok("at last"));
    }
}

#[test]
fn a_receiver_waits_for_a_sender_that_waits_with_a_reservation() {
    let (tx, rx) = shared::channel();
    let giver = thread::spawn(move || {
        drop(tx.reserving().wait()); // met, and not meant
        run(|| tx.reserving().wait().unwrap().send(5))
    });
    assert_eq!(rx.recv(), Ok(5));
    giver.join().unwrap().unwrap();
}

#[test]
fn the_end_of_a_run_tears_a_receiver_away_from_a_permit_that_is_leaked() {
    let (tx, rx) = shared::channel::<u8>();
    let gate = Arc::new(Barrier::new(2));
    let (won, ended) = (gate.clone(), gate);
    let holder = thread::spawn(move || {
        let permit = tx.reserving().wait().unwrap();
        won.wait(); // the receiver is held from here on
        won.wait();
        permit.send(1).unwrap_err().value
    });
    run(|| {
        let reader = spawn(move || rx.recv());
        yield_now();
        ended.wait();
        assert!(!reader.is_finished());
    });
    ended.wait();
    assert_eq!(holder.join().unwrap(), 1);

    let (tx, rx) = shared::channel::<u8>();
    let leaker = thread::spawn(move || std::mem::forget(tx.reserving().wait().unwrap()));
    run(|| {
        let reader = spawn(move || rx.recv());
        yield_now();
        leaker.join().unwrap();
        drop(reader);
    });
}

#[test]
fn ends_outlive_the_run_that_used_them() {
    let (tx, rx) = shared::channel();
    run(|| {
        let (tx, rx) = (tx.clone(), rx.clone());
        drop((spawn(move || tx.send(1)), spawn(pause)));
        yield_now();
        drop(rx);
    }); // the sender is cancelled with its value
    assert_eq!((rx.try_recv(), tx.try_send(2)), (Ok(None), Ok(Some(2))));
    let writer = thread::spawn(move || run(|| tx.send(3)));
    assert_eq!(run(|| rx.recv()), Ok(3));
    writer.join().unwrap().unwrap();
    assert_eq!(rx.recv(), Err(Halt::Closed));
}

/// Sends when it is dropped.
struct Farewell(Sender<&'static str>, mpsc::Sender<Result<(), Halt>>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.1.send(self.0.send("farewell").map_err(Halt::from)).unwrap();
    }
}

#[test]
fn a_destructor_during_a_panic_tries_once_and_never_waits() {
    for in_run in [true, false] {
        let (tx, rx) = shared::channel();
        let (told, result) = mpsc::channel();
        let farewell = Farewell(tx, told);
        let fall = move || {
            let _farewell = farewell;
            resume_unwind(Box::new("on purpose"))
        };
        let fallen = thread::spawn(move || if in_run { run(fall) } else { fall() });
        assert!(fallen.join().is_err());
        assert_eq!(result.recv().unwrap(), Err(Halt::CannotWait));
        assert_eq!(rx.recv(), Err(Halt::Closed));
    }
}

#[test]
fn a_panicking_partner_leaves_the_channel_whole() {
    let (tx, rx) = shared::channel();
    let clone = tx.clone();
    let broken = thread::spawn(move || {
        run(|| {
            clone.send(1).unwrap();
            resume_unwind(Box::new("on purpose"))
        })
    });
    assert_eq!(rx.recv(), Ok(1));
    assert!(broken.join().is_err());
    let writer = thread::spawn(move || tx.send(2));
    assert_eq!((rx.recv(), rx.recv()), (Ok(2), Err(Halt::Closed)));
    writer.join().unwrap().unwrap();
}

#[test]
fn values_that_panic_when_dropped_do_so_in_their_owners_hands() {
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            if !thread::panicking() {
                resume_unwind(Box::new("loud"));
            }
        }
    }
    let (tx, rx) = shared::channel();
    let dropped = thread::spawn(move || {
        let refused = tx.send(Loud).unwrap_err(); // nobody will receive
        catch_unwind(AssertUnwindSafe(|| drop(refused))).is_err()
    });
    drop(rx);
    assert!(dropped.join().unwrap());
}

#[test]
fn a_thread_that_ends_still_drops_and_tries() {
    struct Last(Option<Sender<u8>>);
    impl Drop for Last {
        fn drop(&mut self) {
            let tx = self.0.take().unwrap();
            // The thread may wait or not by now; either way nothing is lost and nothing hangs.
            if let Err(back) = tx.send_timeout(9, Duration::from_millis(1)) {
                assert_eq!(back.value, 9);
            }
        }
    }
    thread_local!(static LAST: std::cell::RefCell<Last> =
        const { std::cell::RefCell::new(Last(None)) });
    let (tx, rx) = shared::channel::<u8>();
    let ending = thread::spawn(move || {
        LAST.with(|it| it.borrow_mut().0 = Some(tx.clone()));
        assert_eq!(tx.try_send(1), Ok(Some(1)));
    });
    ending.join().unwrap();
    assert_eq!(rx.recv(), Err(Halt::Closed));
}

#[test]
fn many_threads_lose_and_double_nothing() {
    const EACH: u64 = if cfg!(debug_assertions) { 2_000 } else { 50_000 };
    let (tx, rx) = shared::channel::<u64>();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let tx = tx.clone();
            let send = move || tx.send_all((0..EACH).map(|it| writer * EACH + it)).unwrap();
            thread::spawn(move || if writer % 2 == 0 { run(send) } else { send() })
        })
        .collect();
    drop(tx);
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let rx = rx.clone();
            let receive = move || rx.into_iter().collect::<Vec<_>>();
            thread::spawn(move || if reader % 2 == 0 { run(receive) } else { receive() })
        })
        .collect();
    drop(rx);
    writers.into_iter().for_each(|it| assert_eq!(it.join().unwrap(), EACH as usize));
    let mut all = BTreeSet::new();
    for reader in readers {
        let received = reader.join().unwrap();
        // First in, first out: what one writer sent reaches one reader in order.
        for writer in 0..4 {
            let mine = received.iter().filter(|it| *it / EACH == writer);
            assert!(mine.is_sorted());
        }
        received.into_iter().for_each(|it| assert!(all.insert(it), "{it} twice"));
    }
    assert!(all.into_iter().eq(0..4 * EACH));
}

#[test]
fn a_deadline_far_away_never_comes() {
    let (tx, rx) = shared::channel();
    let writer = thread::spawn(move || tx.send(1));
    let far = tasklets::now().checked_add(LONG).unwrap_or_else(tasklets::now);
    assert_eq!(rx.recv_deadline(far), Ok(1));
    writer.join().unwrap().unwrap();
    let (tx, rx) = shared::channel();
    let writer = thread::spawn(move || tx.send(1));
    assert_eq!(rx.recv_timeout(Duration::MAX), Ok(1));
    writer.join().unwrap().unwrap();
}
