//! Sending and receiving as futures: what a value's way is does not depend on who polls, and who is
//! dropped loses none.

use futures_util::future::{join, join_all, select as either};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tasklets::futures::{block_on, operation};
use tasklets::{
    Halt, Operation, Receiver, Select, SendError, channel, run, select, spawn, within, yield_now,
};

/// Whether `future` is pending when it is polled once by nobody.
fn pends(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn a_future_receives_what_tasklets_send_in_order_and_learns_of_the_end() {
    run(|| {
        let (tx, rx) = channel();
        let writer = spawn(move || tx.send_all(0..1_000));
        let all = block_on(async {
            let mut all = Vec::new();
            while let Ok(number) = rx.recv_async().await {
                all.push(number);
            }
            all
        });
        assert!(all.unwrap().into_iter().eq(0..1_000));
        assert_eq!(writer.join().unwrap(), Ok(1_000));
    });
}

#[test]
fn a_future_sends_to_tasklets_in_order_and_gets_back_what_nobody_takes() {
    run(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || rx.iter().take(100).collect::<Vec<_>>());
        let refused = block_on(async {
            for number in 0.. {
                if let Err(SendError { value, why }) = tx.send_async(number).await {
                    return (value, why);
                }
            }
            unreachable!("nobody reads for ever")
        });
        assert_eq!(refused, Ok((100, Halt::Closed)));
        assert!(reader.join().unwrap().into_iter().eq(0..100));
    });
}

#[test]
fn futures_of_one_tasklet_meet_each_other() {
    run(|| {
        let (tx, rx) = channel();
        let talk = async {
            let sends = join_all((0..10).map(|it| tx.send_async(it)));
            let receives = join_all((0..10).map(|_| rx.recv_async()));
            join(sends, receives).await
        };
        let (sent, received) = block_on(talk).unwrap();
        assert!(sent.iter().all(Result::is_ok));
        let mut numbers: Vec<_> = received.into_iter().map(Result::unwrap).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..10));
    });
}

#[test]
fn a_receive_that_is_dropped_when_a_sender_has_come_leaves_it_waiting() {
    run(|| {
        let (tx, rx) = channel();
        let mut receives = Box::pin(rx.recv_async());
        assert!(pends(&mut receives));
        let writer = spawn(move || tx.send("kept"));
        yield_now(); // the future has been told
        drop(receives);
        assert!(!writer.is_finished());
        assert_eq!(rx.recv(), Ok("kept"));
        assert_eq!(writer.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_send_that_is_dropped_takes_its_value_back_or_has_been_received() {
    struct Counted(Rc<Cell<u32>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    run(|| {
        let dropped = Rc::new(Cell::new(0));
        let (tx, rx) = channel();
        let mut sends = Box::pin(tx.send_async(Counted(dropped.clone())));
        assert!(pends(&mut sends));
        yield_now();
        assert_eq!(tx.balance(), 1);
        drop(sends);
        yield_now();
        assert_eq!((tx.balance(), dropped.get()), (0, 1));
        assert!(rx.try_recv().unwrap().is_none());
        let mut sends = Box::pin(tx.send_async(Counted(dropped.clone())));
        assert!(pends(&mut sends));
        let value = rx.recv().unwrap(); // it happened, whoever looks or not
        drop(sends);
        yield_now();
        assert_eq!(dropped.get(), 1);
        drop(value);
        assert_eq!(dropped.get(), 2);
        drop(tx);
        assert_eq!(rx.recv().err(), Some(Halt::Closed)); // nothing of it is left
    });
}

#[test]
fn a_send_whose_run_ends_before_it_could_begin_gives_its_value_back_in_the_next() {
    for turns in 0..3 {
        let (tx, rx) = channel();
        let mut sends = Box::pin(tx.send_async(vec![5]));
        run(|| {
            assert!(pends(&mut sends));
            (0..turns).for_each(|_| yield_now());
        });
        let back = run(|| block_on(&mut sends)).unwrap();
        assert_eq!(back, Err(SendError { value: vec![5], why: Halt::Cancelled }));
        run(|| assert!(rx.try_recv().unwrap().is_none()));
    }
}

#[test]
fn every_kind_of_sender_meets_a_receive() {
    run(|| {
        let (tx, rx) = channel();
        let receive = |rx: &Receiver<u32>| block_on(rx.recv_async()).unwrap();
        let to = tx.clone();
        spawn(move || select! { send(to, 1) -> sent => sent.unwrap() }); // a reservation
        assert_eq!(receive(&rx), Ok(1));
        let to = tx.clone();
        spawn(move || select! { op(to.sending(2)) -> _ => panic!("met"), default => {} });
        assert!(within(Duration::from_millis(1), || receive_in(&rx)).value.is_err()); // only tried
        let to = tx.clone();
        spawn(move || to.send_timeout(3, Duration::from_secs(60)));
        assert_eq!(receive(&rx), Ok(3));
        let to = tx.clone();
        spawn(move || to.sending(4).wait());
        assert_eq!(receive(&rx), Ok(4));
        let mut both = Select::new();
        both.recv(&rx); // a reused select stands at the channel
        let to = tx.clone();
        spawn(move || to.send(5));
        assert_eq!(receive(&rx), Ok(5));
    });

    fn receive_in(rx: &Receiver<u32>) -> Result<u32, Halt> {
        block_on(rx.recv_async()).and_then(|it| it)
    }
}

#[test]
fn closing_wakes_both_kinds_and_stopping_ends_them() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let reader = spawn(move || block_on(rx.recv_async()));
        yield_now();
        drop(tx);
        assert_eq!(reader.join().unwrap(), Ok(Err(Halt::Closed)));
        let (tx, rx) = channel();
        let writer = spawn(move || block_on(tx.send_async(3)));
        yield_now();
        drop(rx);
        let refused = writer.join().unwrap().unwrap().unwrap_err();
        assert_eq!((refused.value, refused.why), (3, Halt::Closed));
        let (tx, rx) = channel::<u8>();
        let stopped = spawn(move || (block_on(rx.recv_async()), rx));
        yield_now();
        stopped.cancel();
        let (ended, _rx) = stopped.join().unwrap();
        assert_eq!(ended, Err(Halt::Cancelled));
        let late = within(Duration::from_millis(1), || block_on(tx.send_async(1)));
        assert_eq!(late.value.err(), Some(Halt::TimedOut));
    });
}

#[test]
fn nothing_is_lost_or_doubled_between_many_of_both() {
    const EACH: usize = 500;
    let total = run(|| {
        let (tx, rx) = channel();
        let total = Rc::new(Cell::new(0));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let tx = tx.clone();
                spawn(move || match writer % 2 {
                    0 => (0..EACH).for_each(|it| tx.send(it).unwrap()),
                    _ => block_on(async {
                        for number in 0..EACH {
                            tx.send_async(number).await.unwrap();
                        }
                    })
                    .unwrap(),
                })
            })
            .collect();
        drop(tx);
        let (from, sum) = (rx.clone(), total.clone());
        let plain = spawn(move || from.iter().for_each(|it| sum.set(sum.get() + it)));
        block_on(async {
            let mut all: FuturesUnordered<_> = (0..5).map(|_| rx.recv_async()).collect();
            while let Some(received) = all.next().await {
                let Ok(number) = received else { continue };
                total.set(total.get() + number);
                // One that may be dropped when it has been told.
                let other = either(rx.recv_async(), std::future::ready(()));
                if let futures_util::future::Either::Left((Ok(number), _)) = other.await {
                    total.set(total.get() + number);
                }
                all.push(rx.recv_async());
            }
        })
        .unwrap();
        plain.join().unwrap();
        writers.into_iter().for_each(|it| it.join().unwrap());
        total.get()
    });
    assert_eq!(total, 4 * EACH * (EACH - 1) / 2);
}

thread_local!(static WATCHED: RefCell<Option<Receiver<u8>>> = const { RefCell::new(None) });

#[test]
fn a_waker_may_use_the_channel_that_calls_it() {
    struct Looks(AtomicUsize);
    impl Wake for Looks {
        fn wake(self: Arc<Looks>) {
            let number = WATCHED.with_borrow(|it| it.as_ref().unwrap().try_recv());
            self.0.fetch_add(usize::from(number == Ok(Some(9))), Ordering::SeqCst);
            self.0.fetch_add(if number == Err(Halt::Closed) { 100 } else { 0 }, Ordering::SeqCst);
        }
    }
    run(|| {
        let (tx, rx) = channel();
        WATCHED.set(Some(rx.clone()));
        let looks = Arc::new(Looks(AtomicUsize::new(0)));
        let waker = Waker::from(looks.clone());
        let mut receives = pin!(rx.recv_async());
        let mut context = Context::from_waker(&waker);
        assert!(receives.as_mut().poll(&mut context).is_pending());
        tx.send(9).unwrap(); // the waker receives it
        assert_eq!(looks.0.load(Ordering::SeqCst), 1);
        assert!(receives.as_mut().poll(&mut context).is_pending());
        drop(tx);
        assert_eq!(looks.0.load(Ordering::SeqCst), 101);
        assert_eq!(receives.poll(&mut context), Poll::Ready(Err(Halt::Closed)));
        WATCHED.set(None);
    });
}

#[test]
fn outside_of_a_run_only_what_need_not_wait_happens() {
    let (tx, rx) = channel();
    assert!(pends(rx.recv_async()));
    let refused = block_on(tx.send_async(1)).unwrap().unwrap_err();
    assert_eq!((refused.value, refused.why), (1, Halt::CannotWait));
    drop(rx);
    assert_eq!(block_on(tx.send_async(1)).unwrap().unwrap_err().why, Halt::Closed);
    let (tx, rx) = channel::<u8>();
    drop(tx);
    assert_eq!(operation(rx.recv_async()).poll(), Some(Ok(Err(Halt::Closed))));
    assert!(format!("{:?}", rx.recv_async()).contains("RecvAsync"));
}
