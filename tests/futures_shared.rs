//! Shared channels as futures: any executor meets any run and any thread, and who is dropped, at
//! whatever stage, loses nothing.

use futures_util::future::{Either, select as either};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use tasklets::futures::block_on;
use tasklets::shared::{Receiver, Sender};
use tasklets::{
    Halt, Operation, Runtime, Select, SendError, run, select, shared, spawn, yield_now,
};

/// Polls once, for nobody.
fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// An executor that knows nothing of this crate: OS threads that poll what has been woken.
#[derive(Default)]
struct Pool {
    woken: Mutex<VecDeque<Arc<Job>>>,
    news: Condvar,
    unfinished: AtomicUsize,
}

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Job {
    future: Mutex<Option<Boxed>>,
    pool: Arc<Pool>,
}

impl Wake for Job {
    fn wake(self: Arc<Job>) {
        self.pool.woken.lock().unwrap().push_back(self.clone());
        self.pool.news.notify_one();
    }
}

impl Pool {
    /// Begins to run `futures` on so many threads; they end when these have.
    fn start(threads: usize, futures: Vec<Boxed>) -> Vec<thread::JoinHandle<()>> {
        let pool = Arc::new(Pool::default());
        pool.unfinished.store(futures.len(), Ordering::SeqCst);
        for future in futures {
            Arc::new(Job { future: Mutex::new(Some(future)), pool: pool.clone() }).wake();
        }
        let thread = |_| {
            let pool = pool.clone();
            thread::spawn(move || {
                while let Some(job) = pool.next() {
                    job.poll()
                }
            })
        };
        (0..threads).map(thread).collect()
    }

    fn run(threads: usize, futures: Vec<Boxed>) {
        Pool::start(threads, futures).into_iter().for_each(|it| it.join().unwrap());
    }

    fn next(&self) -> Option<Arc<Job>> {
        let busy = |_: &mut _| self.unfinished.load(Ordering::SeqCst) > 0;
        let woken = self.woken.lock().unwrap();
        let sleeps = |it: &mut VecDeque<_>| it.is_empty() && busy(it);
        self.news.wait_while(woken, sleeps).unwrap().pop_front()
    }
}

impl Job {
    fn poll(self: Arc<Job>) {
        let waker = Waker::from(self.clone());
        let mut future = self.future.lock().unwrap();
        let polled = future.as_mut().map(|it| it.as_mut().poll(&mut Context::from_waker(&waker)));
        if polled.is_some_and(|it| it.is_ready()) {
            *future = None;
            let woken = self.pool.woken.lock().unwrap();
            self.pool.unfinished.fetch_sub(1, Ordering::SeqCst);
            drop(woken);
            self.pool.news.notify_all();
        }
    }
}

/// Lets others be polled, once.
fn give_way() -> impl Future<Output = ()> {
    let mut first = true;
    std::future::poll_fn(move |context| {
        context.waker().wake_by_ref();
        if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }
    })
}

#[test]
fn a_hundred_thousand_go_each_way_between_an_executor_and_a_run_in_order() {
    const COUNT: u32 = 100_000;
    let ((to_them, from_us), (to_us, from_them)) = (shared::channel(), shared::channel());
    let echo = async move {
        while let Ok(number) = from_us.recv_async().await {
            let number: u32 = number;
            to_us.send_async(number).await.unwrap();
        }
    };
    let theirs = thread::spawn(move || Pool::run(2, vec![Box::pin(echo)]));
    let all = run(move || {
        spawn(move || to_them.send_all(0..COUNT).unwrap());
        from_them.into_iter().eq(0..COUNT)
    });
    assert!(all);
    theirs.join().unwrap();
}

#[test]
fn many_of_an_executor_and_many_of_others_lose_and_double_nothing() {
    const EACH: u64 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let (tx, rx) = shared::channel();
    let (sums, all) = shared::channel();
    let mut jobs: Vec<Boxed> = Vec::new();
    for _ in 0..4 {
        let (tx, rx, sums) = (tx.clone(), rx.clone(), sums.clone());
        jobs.push(Box::pin(async move {
            for number in 0..EACH {
                tx.send_async(number).await.unwrap();
            }
        }));
        jobs.push(Box::pin(async move {
            let mut sum = 0;
            while let Ok(number) = rx.recv_async().await {
                sum += number;
                // One that may be dropped at any stage, with or without a value under way.
                let other = either(rx.recv_async(), Box::pin(give_way()));
                if let Either::Left((Ok(number), _)) = other.await {
                    sum += number;
                }
            }
            sums.send_async(sum).await.unwrap();
        }));
    }
    let writes = {
        let tx = tx.clone();
        thread::spawn(move || run(|| tx.send_all(0..EACH)))
    };
    let reads = thread::spawn(move || sums.send(rx.iter().sum()).unwrap());
    drop(tx);
    let pool = Pool::start(3, jobs);
    assert_eq!(all.iter().sum::<u64>(), 5 * EACH * (EACH - 1) / 2);
    pool.into_iter().for_each(|it| it.join().unwrap());
    assert_eq!(writes.join().unwrap(), Ok(EACH as usize));
    reads.join().unwrap();
}

#[test]
fn a_poll_loop_by_hand_meets_plain_threads_both_ways() {
    struct Unparks(thread::Thread);
    impl Wake for Unparks {
        fn wake(self: Arc<Unparks>) {
            self.0.unpark();
        }
    }
    fn wait<F: Future>(future: F) -> F::Output {
        let (mut future, waker) = (pin!(future), Arc::new(Unparks(thread::current())).into());
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }
    let ((to_them, from_us), (to_us, from_them)) = (shared::channel(), shared::channel());
    let them = thread::spawn(move || from_us.iter().try_for_each(|it: u32| to_us.send(it + 1)));
    for number in 0..1_000 {
        wait(to_them.send_async(number)).unwrap();
        assert_eq!(wait(from_them.recv_async()), Ok(number + 1));
    }
    drop(to_them);
    assert_eq!(wait(from_them.recv_async()), Err(Halt::Closed));
    assert!(them.join().unwrap().is_ok());
}

#[test]
fn every_kind_of_sender_meets_a_future_that_waits() {
    let (tx, rx) = shared::channel();
    let sends: [fn(&Sender<u32>); 6] = [
        |tx| tx.send(1).unwrap(),
        |tx| assert_eq!(tx.try_send(1), Ok(None)),
        |tx| select! { send(tx, 1) -> sent => sent.unwrap(), default => panic!("it waits") },
        |tx| tx.reserving().wait().unwrap().send(1).unwrap(),
        |tx| {
            let mut select = Select::new();
            select.send(tx);
            select.wait().unwrap().send(tx, 1).unwrap();
        },
        |tx| assert_eq!(poll(&mut tx.send_async(1)), Poll::Ready(Ok(()))),
    ];
    for send in sends {
        let in_run = |tx: &Sender<u32>| run(|| send(tx));
        for send in [&send as &dyn Fn(&Sender<u32>), &in_run] {
            let mut receives = rx.recv_async();
            assert!(poll(&mut receives).is_pending());
            send(&tx);
            assert_eq!(poll(&mut receives), Poll::Ready(Ok(1)));
        }
    }
}

#[test]
fn every_kind_of_receiver_meets_a_future_that_waits() {
    let (tx, rx) = shared::channel();
    let receives: [fn(&Receiver<u32>) -> u32; 5] = [
        |rx| rx.recv().unwrap(),
        |rx| rx.try_recv().unwrap().unwrap(),
        |rx| select! { recv(rx) -> it => it.unwrap(), default => panic!("it waits") },
        |rx| {
            let mut select = Select::new();
            select.recv(rx);
            select.wait().unwrap().recv(rx).unwrap()
        },
        |rx| match poll(&mut rx.recv_async()) {
            Poll::Ready(value) => value.unwrap(),
            Poll::Pending => panic!("it waits"),
        },
    ];
    for receive in receives {
        let in_run = |rx: &Receiver<u32>| run(|| receive(rx));
        for receive in [&receive as &dyn Fn(&Receiver<u32>) -> u32, &in_run] {
            let mut sends = tx.send_async(7);
            assert!(poll(&mut sends).is_pending());
            assert_eq!(receive(&rx), 7);
            assert_eq!(poll(&mut sends), Poll::Ready(Ok(())));
        }
    }
}

#[test]
fn a_receive_that_is_dropped_while_it_waits_leaves_the_line() {
    let (tx, rx) = shared::channel();
    drop(rx.recv_async()); // never polled
    let mut receives = rx.recv_async();
    assert!(poll(&mut receives).is_pending() && poll(&mut receives).is_pending());
    drop(receives);
    assert_eq!(tx.try_send(1), Ok(Some(1)));
}

#[test]
fn what_a_dropped_receive_was_given_goes_to_who_waits_else_to_who_comes() {
    let (tx, rx) = shared::channel();
    let (mut first, mut second) = (rx.recv_async(), rx.recv_async());
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    tx.send(1).unwrap();
    drop(first);
    assert_eq!(poll(&mut second), Poll::Ready(Ok(1))); // who waits
    let mut met = [rx.recv_async(), rx.recv_async()];
    met.iter_mut().for_each(|it| assert!(poll(it).is_pending()));
    assert_eq!(tx.send_all([2, 3]), Ok(2));
    drop(met);
    let mut behind = tx.send_async(4);
    assert!(poll(&mut behind).is_pending());
    drop(tx.clone());
    assert_eq!(rx.recv(), Ok(2)); // who comes, in order, before those who wait to send
    assert_eq!(run(|| rx.try_recv()), Ok(Some(3)));
    assert_eq!(rx.recv(), Ok(4));
    assert_eq!(poll(&mut behind), Poll::Ready(Ok(())));
    let mut receives = rx.recv_async();
    assert!(poll(&mut receives).is_pending());
    tx.send(5).unwrap();
    drop(behind);
    drop((tx, receives));
    assert_eq!((rx.recv(), rx.recv()), (Ok(5), Err(Halt::Closed))); // and before the end
}

#[test]
fn what_nobody_can_receive_any_more_is_dropped_at_once() {
    let (tx, rx) = shared::channel();
    let value = Arc::new(());
    let give = || {
        let mut receives = rx.recv_async();
        assert!(poll(&mut receives).is_pending());
        tx.send(value.clone()).unwrap();
        assert_eq!(Arc::strong_count(&value), 2);
        receives
    };
    drop(give());
    assert_eq!(Arc::strong_count(&value), 2);
    drop(rx);
    assert_eq!(Arc::strong_count(&value), 1);
    assert!(tx.is_closed());
}

#[test]
fn a_receive_that_is_dropped_while_its_value_is_made_passes_it_on() {
    let (tx, rx) = shared::channel();
    for meets_first in [true, false] {
        let mut receives = rx.recv_async();
        if meets_first {
            assert!(poll(&mut receives).is_pending());
        }
        run(|| {
            let (to, (go, gone)) = (tx.clone(), tasklets::channel());
            let made = spawn(move || select! { send(to, gone.recv().unwrap()) -> sent => sent });
            yield_now(); // it offers, or is making the value
            if !meets_first {
                assert!(poll(&mut receives).is_pending());
                yield_now();
            }
            drop(receives);
            go.send(8).unwrap();
            assert_eq!(made.join().unwrap(), Ok(()));
            assert_eq!(rx.recv(), Ok(8));
        });
    }
}

#[test]
fn a_receive_whose_sender_makes_no_value_after_all_waits_again() {
    let (tx, rx) = shared::channel();
    let mut receives = rx.recv_async();
    assert!(poll(&mut receives).is_pending());
    let permit = run(|| tx.reserving().wait().unwrap());
    assert!(poll(&mut receives).is_pending());
    drop(permit);
    assert!(poll(&mut receives).is_pending());
    assert_eq!(tx.try_send(1), Ok(None));
    assert_eq!(poll(&mut receives), Poll::Ready(Ok(1)));
    let mut receives = rx.recv_async();
    assert!(poll(&mut receives).is_pending());
    let permit = run(|| tx.reserving().wait().unwrap());
    drop(receives);
    drop(permit); // nobody is there, on both sides
    assert_eq!((tx.try_send(2), rx.try_recv()), (Ok(Some(2)), Ok(None)));
}

#[test]
fn a_send_that_is_dropped_takes_its_value_back_or_has_been_received() {
    let (tx, rx) = shared::channel();
    let value = Arc::new(());
    drop(tx.send_async(value.clone())); // never polled
    assert_eq!(Arc::strong_count(&value), 1);
    let mut sends = tx.send_async(value.clone());
    assert!(poll(&mut sends).is_pending());
    drop(sends);
    assert_eq!((Arc::strong_count(&value), rx.try_recv()), (1, Ok(None)));
    let mut sends = tx.send_async(value.clone());
    assert!(poll(&mut sends).is_pending());
    let received = rx.recv().unwrap();
    drop(sends);
    assert_eq!(Arc::strong_count(&value), 2);
    drop(received);
    let mut sends = tx.send_async(value.clone());
    assert!(poll(&mut sends).is_pending());
    drop(rx); // it comes back, and nobody asks for it
    drop(sends);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn closing_wakes_both_kinds_and_values_come_back() {
    let ((tx, silent), (unheard, rx)) = (shared::channel::<u8>(), shared::channel::<u8>());
    let receives = async move { assert_eq!(rx.recv_async().await, Err(Halt::Closed)) };
    let sends = async move {
        let refused = tx.send_async(3).await;
        assert_eq!(refused, Err(SendError { value: 3, why: Halt::Closed }));
    };
    let pool = Pool::start(1, vec![Box::pin(receives), Box::pin(sends)]);
    drop((unheard, silent)); // before or after they wait
    pool.into_iter().for_each(|it| it.join().unwrap());
}

#[test]
fn futures_of_shared_channels_can_be_sent_and_say_what_they_are() {
    fn is_send<T: Send>(it: T) -> T {
        it
    }
    let (tx, rx) = shared::channel::<std::cell::Cell<u8>>();
    assert!(format!("{:?}", is_send(tx.send_async(Default::default()))).contains("SendAsync"));
    assert!(format!("{:?}", is_send(rx.recv_async())).contains("RecvAsync"));
}

#[test]
fn one_thread_polls_futures_beside_the_runtime_that_it_drives() {
    let ((to_it, from_us), (to_us, from_it)) = (shared::channel(), shared::channel());
    let runtime = Runtime::builder().build();
    drop(runtime.spawn(move || from_us.iter().try_for_each(|it: u8| to_us.send(it + 1))).unwrap());
    let mut sends = to_it.send_async(1);
    assert!(poll(&mut sends).is_pending());
    let mut receives = from_it.recv_async();
    assert!(poll(&mut receives).is_pending());
    runtime.run_ready().unwrap();
    assert_eq!(poll(&mut sends), Poll::Ready(Ok(())));
    assert_eq!(poll(&mut receives), Poll::Ready(Ok(2)));
}

/// A waker that does what it is told.
struct Does<F>(F, AtomicUsize);

impl<F: Fn() + Send + Sync + 'static> Does<F> {
    fn new(f: F) -> Arc<Does<F>> {
        Arc::new(Does(f, AtomicUsize::new(0)))
    }

    fn calls(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
    fn wake(self: Arc<Does<F>>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0();
    }
}

#[test]
fn a_waker_that_panics_harms_nobody_who_meets_its_future() {
    let panics = Does::new(|| std::panic::resume_unwind(Box::new("a waker's own")));
    let waker = Waker::from(panics.clone());
    let mut context = Context::from_waker(&waker);
    let (tx, rx) = shared::channel();
    let mut receives = [rx.recv_async(), rx.recv_async()];
    receives.iter_mut().for_each(|it| assert!(Pin::new(it).poll(&mut context).is_pending()));
    tx.send(1).unwrap();
    drop(tx); // the end is told to the other one
    let [first, second] = &mut receives;
    assert_eq!((poll(first), poll(second)), (Poll::Ready(Ok(1)), Poll::Ready(Err(Halt::Closed))));
    assert_eq!(panics.calls(), 2);
}

#[test]
fn a_waker_may_use_the_channel_that_calls_it() {
    let (tx, rx) = shared::channel();
    let theirs = (tx.clone(), rx.clone());
    let looks = Does::new(move || {
        let (tx, rx) = &theirs;
        assert_eq!((tx.try_send(0), rx.try_recv()), (Ok(Some(0)), Ok(None)));
        let mut receives = rx.recv_async();
        assert!(poll(&mut receives).is_pending());
        assert_eq!(tx.try_send(9), Ok(None));
        assert_eq!(poll(&mut receives), Poll::Ready(Ok(9)));
    });
    let waker = Waker::from(looks.clone());
    for send in [|tx: Sender<u8>| tx.send(1), |tx: Sender<u8>| run(|| tx.send(1))] {
        let mut receives = rx.recv_async();
        assert!(Pin::new(&mut receives).poll(&mut Context::from_waker(&waker)).is_pending());
        send(tx.clone()).unwrap();
        assert_eq!(poll(&mut receives), Poll::Ready(Ok(1)));
    }
    assert_eq!(looks.calls(), 2);
}

#[test]
fn of_several_wakers_the_last_one_is_called_once() {
    let (tx, rx) = shared::channel();
    let wakers = [(); 3].map(|()| Does::new(|| ()));
    let mut receives = rx.recv_async();
    for waker in &wakers {
        let waker = Waker::from(waker.clone());
        assert!(Pin::new(&mut receives).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    tx.send(1).unwrap();
    assert_eq!(wakers.each_ref().map(|it| it.calls()), [0, 0, 1]);
    assert_eq!(poll(&mut receives), Poll::Ready(Ok(1)));
    assert!(wakers.iter().all(|it| Arc::strong_count(it) == 1), "none is kept");
}

#[test]
fn a_future_in_a_tasklet_ends_with_it_and_loses_nothing() {
    let (tx, rx) = shared::channel();
    run(|| {
        let from = rx.clone();
        let stopped = spawn(move || block_on(from.recv_async()));
        yield_now();
        stopped.cancel(); // it stands in line until it runs,
        assert_eq!(tx.try_send(1), Ok(None)); // and is met
        assert_eq!(stopped.join().unwrap().err(), Some(Halt::Cancelled));
        assert_eq!(rx.recv(), Ok(1));
    });
}
