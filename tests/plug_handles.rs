//! Processes that are asked by handles: what must hold of each, under every schedule.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;
use tasklets::plug::{self, CallError, PoolError, Slow};
use tasklets::{Halt, Runtime, explore, pause, run, scope, sleep, spawn, within, yield_now};

/// Runs `law` under every schedule; a tasklet that is left is a failure, too.
fn always(law: impl Fn()) {
    let verdict = explore::Explore::new().check(law);
    assert!(verdict.exhausted, "{verdict}");
}

/// How many are inside, and how many were at most: for the test to look at only.
#[derive(Default)]
struct Inside {
    now: Cell<usize>,
    most: Cell<usize>,
}

impl Inside {
    fn enter(&self) {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
    }

    fn leave(&self) {
        self.now.set(self.now.get() - 1);
    }
}

#[test]
fn no_more_than_the_passes_are_out_under_every_schedule() {
    for count in [1, 2] {
        always(|| {
            let (semaphore, passes) = plug::Semaphore::new();
            let process = spawn(move || plug::semaphore(count, passes));
            let inside = Inside::default();
            scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        let _pass = semaphore.acquire().unwrap();
                        inside.enter();
                        yield_now();
                        inside.leave();
                    });
                }
            });
            assert!(inside.most.get() <= count);
            drop(semaphore);
            assert_eq!(process.join().unwrap(), Halt::Closed);
        });
    }
}

#[test]
fn a_pass_comes_back_from_who_is_cancelled_or_panics() {
    always(|| {
        let (semaphore, passes) = plug::Semaphore::new();
        spawn(move || plug::semaphore(1, passes));
        let (one, other) = (semaphore.clone(), semaphore.clone());
        let stopped = spawn(move || one.acquire().map(drop));
        let unlucky = spawn(move || {
            let _pass = other.acquire().unwrap();
            resume_unwind(Box::new("unlucky"));
        });
        stopped.cancel();
        assert!(unlucky.join().is_err());
        assert!(semaphore.acquire().is_ok());
    });
}

#[test]
fn who_waits_longest_for_a_pass_is_served_first() {
    run(|| {
        let (semaphore, passes) = plug::Semaphore::new();
        spawn(move || plug::semaphore(1, passes));
        let order = RefCell::new(Vec::new());
        scope(|s| {
            for nth in 0..20 {
                let (semaphore, order) = (&semaphore, &order);
                s.spawn(move || {
                    let _pass = semaphore.acquire().unwrap();
                    order.borrow_mut().push(nth);
                    (0..nth % 3).for_each(|_| yield_now());
                });
            }
        });
        assert!(order.into_inner().into_iter().eq(0..20));
    });
}

#[test]
fn nobody_passes_a_barrier_before_all_have_come() {
    always(|| {
        let (barrier, arrivals) = plug::Barrier::new();
        let process = spawn(move || plug::barrier(2, arrivals));
        let come = Cell::new(0);
        let leaders = Cell::new(0);
        scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    for round in 1..=2 {
                        come.set(come.get() + 1);
                        let leads = barrier.wait().unwrap();
                        assert!(come.get() >= 2 * round);
                        leaders.set(leaders.get() + usize::from(leads));
                    }
                });
            }
        });
        assert_eq!(leaders.get(), 2); // one a round
        drop(barrier);
        assert_eq!(process.join().unwrap(), Halt::Closed);
    });
}

#[test]
fn who_gives_up_at_a_barrier_does_not_count() {
    always(|| {
        let (barrier, arrivals) = plug::Barrier::new();
        spawn(move || plug::barrier(2, arrivals));
        let waits = barrier.clone();
        let gone = spawn(move || waits.wait());
        gone.cancel();
        let gone = gone.join();
        assert!(gone.is_err() || gone.unwrap() == Err(Halt::Cancelled));
        let other = barrier.clone();
        let other = spawn(move || other.wait().unwrap());
        assert_ne!(barrier.wait().unwrap(), other.join().unwrap()); // the two of them
    });
}

#[test]
fn every_call_gets_its_own_answer() {
    always(|| {
        let (client, calls) = plug::Client::new();
        let servers =
            [calls.clone(), calls].map(|it| spawn(move || plug::serve(it, |n: u32| n * n)));
        let other = client.clone();
        let other = spawn(move || other.call(3).unwrap());
        assert_eq!((client.call(2), other.join().unwrap()), (Ok(4), 9));
        drop(client);
        servers.into_iter().for_each(|it| assert_eq!(it.join().unwrap(), Ok(())));
    });
}

#[test]
fn a_caller_that_gives_up_holds_up_nobody() {
    always(|| {
        let (client, calls) = plug::Client::new();
        let server = spawn(move || plug::serve(calls, |n: u32| n + 1));
        let impatient = client.clone();
        let impatient = spawn(move || impatient.call(1));
        impatient.cancel();
        assert_eq!(client.call(2), Ok(3));
        if let Ok(ended) = impatient.join() {
            match ended {
                Ok(answer) => assert_eq!(answer, 2),
                Err(CallError::NotTaken(error)) => assert_eq!(error.value, 1),
                Err(CallError::NotAnswered(why)) => assert_eq!(why, Halt::Cancelled),
            }
        }
        drop(client);
        assert_eq!(server.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_server_that_panics_leaves_nobody_waiting() {
    always(|| {
        let (client, calls) = plug::Client::<(), ()>::new();
        let server = spawn(move || plug::serve(calls, |()| resume_unwind(Box::new("broken"))));
        let other = client.clone();
        let other = spawn(move || other.call(()).is_err());
        assert!(client.call(()).is_err() && other.join().unwrap());
        assert_eq!(server.join().unwrap_err().message(), Some("broken"));
    });
}

#[test]
fn a_pool_makes_no_more_than_its_limit_and_shares_none() {
    always(|| {
        // Each resource is a number of its own, which is told by who uses it.
        let (pool, loans) = plug::Pool::new(|| Ok::<_, ()>(Rc::new(Cell::new(false))));
        let process = spawn(move || plug::pool(1, None, loans));
        scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let used = pool.get().unwrap();
                    assert!(!used.replace(true), "two have it");
                    yield_now();
                    used.set(false);
                });
            }
        });
        drop(pool);
        assert_eq!(process.join().unwrap(), Halt::Closed);
    });
    run(|| {
        let made = Rc::new(Cell::new(0));
        let count = made.clone();
        let (pool, loans) = plug::Pool::new(move || {
            count.set(count.get() + 1);
            yield_now(); // making takes its time
            Ok::<_, ()>(count.get())
        });
        spawn(move || plug::pool(3, None, loans));
        let inside = Inside::default();
        scope(|s| {
            for nth in 0..30 {
                let (pool, inside) = (&pool, &inside);
                s.spawn(move || {
                    let _loan = pool.get().unwrap();
                    inside.enter();
                    (0..nth % 4).for_each(|_| yield_now());
                    inside.leave();
                });
            }
        });
        assert_eq!((made.get(), inside.most.get()), (3, 3));
    });
}

#[test]
fn what_fails_to_be_made_or_breaks_costs_no_room() {
    always(|| {
        let fails = Cell::new(true);
        let (pool, loans) = plug::Pool::new(move || {
            if fails.replace(false) { Err("not yet") } else { Ok("made".to_string()) }
        });
        spawn(move || plug::pool(1, None, loans));
        assert_eq!(pool.get().unwrap_err(), PoolError::NotMade("not yet"));
        let mut loan = pool.get().unwrap();
        *loan = "broken".into();
        loan.discard();
        let unlucky = pool.clone();
        let unlucky = spawn(move || {
            let mut loan = unlucky.get().unwrap();
            assert_eq!(*loan, "made");
            *loan = "half done".into();
            resume_unwind(Box::new("unlucky"));
        });
        assert!(unlucky.join().is_err());
        assert_eq!(*pool.get().unwrap(), "made");
    });
}

#[test]
fn a_borrower_that_is_cancelled_loses_no_resource() {
    always(|| {
        let made = Cell::new(0);
        let (pool, loans) = plug::Pool::new(move || Ok::<_, ()>(made.replace(made.get() + 1)));
        spawn(move || plug::pool(1, None, loans));
        assert_eq!(*pool.get().unwrap(), 0);
        let stopped = pool.clone();
        let stopped = spawn(move || stopped.get().map(|loan| (pause(), *loan).1));
        stopped.cancel();
        assert_eq!(*pool.get().unwrap(), 0); // it came back
    });
}

#[test]
fn what_came_back_last_is_lent_first_and_the_idle_are_dropped() {
    struct Tells(u64, Rc<RefCell<Vec<u64>>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }
    let (dropped, made) = (Rc::new(RefCell::new(Vec::new())), Cell::new(0));
    let told = dropped.clone();
    let runtime = Runtime::builder().virtual_clock(true).build();
    runtime
        .run(move || {
            let dropped = told.clone();
            let (pool, loans) = plug::Pool::new(move || {
                Ok::<_, ()>(Tells(made.replace(made.get() + 1), told.clone()))
            });
            let process = spawn(move || plug::pool(3, Some(Duration::from_secs(10)), loans));
            drop((pool.get().unwrap(), pool.get().unwrap(), pool.get().unwrap()));
            for _ in 0..3 {
                sleep(Duration::from_secs(4)).unwrap();
                assert_eq!(pool.get().unwrap().0, 2);
            }
            assert_eq!(*dropped.borrow(), [0, 1]);
            drop(pool);
            assert_eq!(process.join().unwrap(), Halt::Closed);
            assert_eq!(*dropped.borrow(), [0, 1, 2]);
        })
        .unwrap();
}

#[test]
fn a_loan_outlives_its_pool() {
    let dropped = Rc::new(Cell::new(0));
    let count = dropped.clone();
    struct Counts(Rc<Cell<u32>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let kept = run(move || {
        let (pool, loans) = plug::Pool::new(move || Ok::<_, ()>(Counts(count.clone())));
        spawn(move || plug::pool(2, None, loans));
        pool.get().unwrap()
    });
    assert_eq!(dropped.get(), 0);
    drop(kept);
    assert_eq!(dropped.get(), 1);
}

#[test]
fn a_message_goes_to_those_who_have_subscribed_in_order() {
    always(|| {
        let (topics, requests) = plug::Topics::new();
        let process = spawn(move || plug::topics(requests));
        let [one, other] = ["a", "a"].map(|it| topics.subscribe(it, 1, Slow::HoldsUpAll).unwrap());
        let silent = topics.subscribe("b", 1, Slow::HoldsUpAll).unwrap();
        let reader = spawn(move || other.iter().collect::<Vec<_>>());
        spawn(move || (0..3).for_each(|it| topics.publish("a", it).unwrap()));
        assert_eq!(one.iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(reader.join().unwrap(), [0, 1, 2]);
        assert_eq!(silent.recv(), Err(Halt::Closed));
        assert_eq!(process.join().unwrap(), Ok(()));
    });
}

#[test]
fn who_has_ended_a_subscription_holds_up_nobody() {
    always(|| {
        let (topics, requests) = plug::Topics::new();
        let process = spawn(move || plug::topics(requests));
        let gone = topics.subscribe((), 1, Slow::HoldsUpAll).unwrap();
        let stays = topics.subscribe((), 3, Slow::HoldsUpAll).unwrap();
        let leaves = spawn(move || drop(gone));
        (0..3).for_each(|it| topics.publish((), it).unwrap());
        leaves.join().unwrap();
        drop(topics);
        assert_eq!(stays.iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(process.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_clone_of_its_receiver_does_not_keep_a_subscription_that_has_ended() {
    for slow in [Slow::HoldsUpAll, Slow::LosesOldest, Slow::LosesNewest] {
        always(|| {
            let (topics, requests) = plug::Topics::new();
            let process = spawn(move || plug::topics(requests));
            let gone = topics.subscribe('a', 1, slow).unwrap();
            let clone = (*gone).clone();
            topics.publish('a', 1).unwrap(); // it waits, and for ever
            drop(gone);
            topics.publish('b', 2).unwrap();
            drop(topics);
            assert_eq!(process.join().unwrap(), Ok(()));
            assert_eq!(clone.recv(), Err(Halt::Closed));
        });
    }
}

#[test]
fn a_slow_subscriber_loses_what_it_said() {
    for (slow, left) in [(Slow::LosesOldest, [3, 4]), (Slow::LosesNewest, [0, 1])] {
        always(|| {
            let (topics, requests) = plug::Topics::new();
            spawn(move || plug::topics(requests));
            let lazy = topics.subscribe('t', 2, slow).unwrap();
            (0..5).for_each(|it| topics.publish('t', it).unwrap());
            drop(topics);
            assert_eq!(lazy.iter().collect::<Vec<_>>(), left);
        });
    }
}

#[test]
fn who_has_had_everything_need_not_wait_for_others_when_it_ends() {
    always(|| {
        let (topics, requests) = plug::Topics::new();
        spawn(move || plug::topics(requests));
        let [one, other] = ['a', 'b'].map(|it| topics.subscribe(it, 2, Slow::HoldsUpAll).unwrap());
        topics.publish('b', 1).unwrap();
        drop(topics);
        assert_eq!(one.recv(), Err(Halt::Closed)); // before the other has read
        assert_eq!(other.iter().collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn topics_that_are_cancelled_give_back_what_waits() {
    run(|| {
        let (topics, requests) = plug::Topics::new();
        let process = spawn(move || plug::topics(requests));
        let lazy = topics.subscribe(0, 4, Slow::HoldsUpAll).unwrap();
        (0..3).for_each(|it| topics.publish(0, it).unwrap());
        assert_eq!(lazy.recv(), Ok(0));
        process.cancel();
        let rest = process.join().unwrap().unwrap_err();
        assert_eq!((rest.items, rest.why), (vec![1, 2], Halt::Cancelled));
        assert_eq!(lazy.recv(), Err(Halt::Closed));
        assert_eq!(topics.publish(0, 3).unwrap_err().value, 3);
    });
}

#[test]
fn a_process_that_is_cancelled_at_any_moment_leaves_nobody_waiting() {
    always(|| {
        let (pool, loans) = plug::Pool::new(|| Ok::<_, ()>(1));
        let process = spawn(move || plug::pool(1, None, loans));
        let user = spawn(move || pool.get().map(|loan| *loan)); // its loan goes back, or nowhere
        process.cancel();
        let ended = [Ok(1), Err(PoolError::Halted(Halt::Closed))];
        assert!(ended.contains(&user.join().unwrap()));
        if let Ok(why) = process.join() {
            assert!([Halt::Cancelled, Halt::Closed].contains(&why), "{why}");
        }
    });
    always(|| {
        let (semaphore, passes) = plug::Semaphore::new();
        let process = spawn(move || plug::semaphore(1, passes));
        let users = [semaphore.clone(), semaphore].map(|it| spawn(move || it.acquire().map(drop)));
        process.cancel();
        let ended = [Ok(()), Err(Halt::Closed)];
        users.into_iter().for_each(|it| assert!(ended.contains(&it.join().unwrap())));
    });
    always(|| {
        let (barrier, arrivals) = plug::Barrier::new();
        let process = spawn(move || plug::barrier(2, arrivals));
        let users = [barrier.clone(), barrier].map(|it| spawn(move || it.wait()));
        process.cancel();
        let ended = users.map(|it| it.join().unwrap());
        assert!(ended.contains(&Err(Halt::Closed)) || ended.contains(&Ok(true)), "{ended:?}");
    });
    always(|| {
        let (client, calls) = plug::Client::new();
        let server = spawn(move || plug::serve(calls, |n: u32| n + 1));
        let caller = spawn(move || client.call(1));
        server.cancel();
        match caller.join().unwrap() {
            Ok(answer) => assert_eq!(answer, 2),
            Err(CallError::NotTaken(error)) => {
                assert_eq!((error.value, error.why), (1, Halt::Closed))
            }
            Err(CallError::NotAnswered(why)) => assert_eq!(why, Halt::Closed),
        }
    });
    always(|| {
        let (topics, requests) = plug::Topics::new();
        let process = spawn(move || plug::topics(requests));
        let user = spawn(move || {
            let hears = topics.subscribe('t', 2, Slow::HoldsUpAll)?;
            let published = topics.publish('t', 1).is_ok();
            drop(topics);
            Ok::<_, Halt>((published, hears.iter().count()))
        });
        process.cancel();
        let held = process.join().map_or(0, |it| it.map_or_else(|it| it.items.len(), |()| 0));
        if let Ok((published, heard)) = user.join().unwrap() {
            assert_eq!(heard + held, usize::from(published));
        }
    });
}

#[test]
fn who_waits_in_vain_is_told_why() {
    run(|| {
        let soon = Duration::from_millis(1);
        let (semaphore, _passes) = plug::Semaphore::new();
        assert_eq!(within(soon, || semaphore.acquire()).value.unwrap_err(), Halt::TimedOut);
        let (barrier, arrivals) = plug::Barrier::new();
        assert_eq!(within(soon, || barrier.wait()).value, Err(Halt::TimedOut));
        drop(arrivals);
        assert_eq!(barrier.wait(), Err(Halt::Closed));
        let (pool, _loans) = plug::Pool::<(), ()>::new(|| Ok(()));
        let late = within(soon, || pool.get().unwrap_err()).value;
        assert_eq!(late, PoolError::Halted(Halt::TimedOut));
    });
}
