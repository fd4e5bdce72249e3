//! So many tasklets at a time, and waiting for several: what must hold, under every schedule.

use proptest::prelude::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;
use tasklets::plug::{self, Joined, Pile, TaskPool};
use tasklets::{
    Halt, JoinError, Runtime, Tasklet, channel, explore, now, pause, run, sleep, spawn, within,
    yield_now,
};

/// Runs `law` under every schedule; a tasklet that is left is a failure, too.
fn always(law: impl Fn()) {
    let verdict = explore::Explore::new().check(law);
    assert!(verdict.exhausted, "{verdict}");
}

#[test]
fn a_pool_runs_no_more_than_its_size() {
    always(|| {
        let pool = TaskPool::new(1);
        let (tx, rx) = channel();
        let tasklets: Vec<_> = (0..2)
            .map(|it| {
                let tx = tx.clone();
                // Two of them could give both their firsts before their seconds.
                pool.spawn(move || tx.send_all([it, it]).is_ok()).unwrap()
            })
            .zip((0..2).map(|it| [rx.recv(), rx.recv(), Ok(it)]))
            .map(|(tasklet, got)| (tasklet, assert_eq!(got, [got[2]; 3])).0)
            .collect();
        assert!(tasklets.into_iter().all(|it| it.join().unwrap()));
    });
    run(|| {
        let (inside, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let pool = TaskPool::new(3);
        for nth in 0..30 {
            let (inside, most) = (inside.clone(), most.clone());
            let body = move || {
                inside.set(inside.get() + 1);
                most.set(most.get().max(inside.get()));
                (0..10 + nth % 5).for_each(|_| yield_now());
                inside.set(inside.get() - 1);
            };
            pool.spawn(body).unwrap();
        }
        assert_eq!(most.get(), 3);
    });
}

#[test]
fn there_is_room_again_after_a_panic_and_a_cancellation() {
    always(|| {
        let pool = TaskPool::new(1);
        let unlucky = pool.spawn(|| -> () { resume_unwind(Box::new("unlucky")) }).unwrap();
        assert!(unlucky.join().is_err());
        let stopped = pool.spawn(|| ()).unwrap();
        stopped.cancel();
        assert_eq!(pool.spawn(|| 7).unwrap().join().unwrap(), 7);
        drop(stopped);
    });
}

#[test]
fn who_waits_for_room_in_vain_gets_its_work_back() {
    run(|| {
        let pool = TaskPool::new(1);
        let first = pool.spawn(pause).unwrap();
        let late = within(Duration::from_millis(1), || pool.spawn(|| "work"));
        let error = late.value.unwrap_err();
        assert_eq!(((error.value)(), error.why), ("work", Halt::TimedOut));
        first.insert();
        assert_eq!(pool.spawn(|| "done").unwrap().join().unwrap(), "done");
    });
}

#[test]
fn piles_that_share_a_pool_keep_their_own_order() {
    always(|| {
        let pool = TaskPool::new(2);
        let (mut one, mut other) = (Pile::new(pool.clone()), Pile::new(pool));
        for it in 0..2_u8 {
            one.spawn(move || it).unwrap();
            other.spawn(move || it + 10).unwrap();
        }
        assert!(one.map(Result::unwrap).eq(0..2));
        assert!(other.map(Result::unwrap).eq(10..12));
    });
}

#[test]
fn a_pile_that_was_stopped_has_its_results_still() {
    run(|| {
        let mut pile = Pile::new(TaskPool::new(2));
        let (tx, rx) = channel();
        pile.spawn(move || rx.recv().unwrap()).unwrap();
        pile.spawn(|| 2).unwrap();
        assert!(within(Duration::from_millis(1), || pile.next()).value.is_none());
        tx.send(1).unwrap();
        assert_eq!(pile.map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    });
}

#[test]
fn a_map_keeps_the_order_and_a_panic_its_place() {
    always(|| {
        let halves = plug::imap(2, [2, 3, 4], |it: i32| {
            if it % 2 == 0 { it / 2 } else { resume_unwind(Box::new("odd")) }
        });
        let halves: Vec<_> =
            halves.map(|it| it.map_err(|it| it.message() == Some("odd"))).collect();
        assert!(matches!(halves[..], [Ok(1), Err(true), Ok(2)]));
    });
}

#[test]
fn a_map_takes_no_more_than_its_limit_ahead() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let (taken, given) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    runtime
        .run(|| {
            let (count, gave) = (taken.clone(), given.clone());
            let items = (0..100_u64).inspect(move |_| {
                count.set(count.get() + 1);
                assert!(count.get() - gave.get() <= 4, "{} after {}", count.get(), gave.get());
            });
            let slow = plug::imap(4, items, |it| {
                sleep(Duration::from_secs(if it == 0 { 1_000 } else { it % 7 })).unwrap();
                it
            });
            for (expected, it) in slow.enumerate() {
                assert_eq!(it.unwrap(), expected as u64);
                given.set(given.get() + 1);
            }
            assert_eq!(taken.get(), 100);
        })
        .unwrap();
}

#[test]
fn a_map_that_was_stopped_goes_on_and_has_lost_nothing() {
    let milli = Duration::from_millis;
    for limit in 1..=6 {
        let runtime = Runtime::builder().virtual_clock(true).build();
        let law = move || {
            let (tx, rx) = channel();
            spawn(move || (0..5).for_each(|it| (sleep(milli(10)), tx.send(it).unwrap()).1));
            let mut map = plug::imap(limit, rx, move |it| (sleep(milli(7)), it).1);
            assert!(within(milli(15), || map.next()).value.is_none()); // the item is under way
            assert_eq!(within(milli(5), || map.next()).value.unwrap().unwrap(), 0);
            assert!(within(milli(1), || map.next()).value.is_none()); // no item is
            assert!(map.map(Result::unwrap).eq(1..5), "{limit}");
        };
        runtime.run(law).unwrap();
    }
}

/// Two results, asked for by one who is stopped at any moment, and then again.
fn asked_again<I: Iterator<Item = Joined<u8>>>(in_order: bool, make: impl Fn() -> I) {
    always(|| {
        let mut results = make();
        let me = tasklets::current().unwrap();
        let stops = spawn(move || me.inject("stopped"));
        let mut got: Vec<_> = results.by_ref().collect();
        stops.join().ok();
        tasklets::take_injected();
        got.extend(results);
        let mut got: Vec<_> = got.into_iter().map(Result::unwrap).collect();
        if !in_order {
            got.sort();
        }
        assert_eq!(got, [0, 1]);
    });
}

#[test]
fn whoever_is_stopped_while_it_asks_for_results_gets_the_rest_later() {
    let two = || {
        let (tx, rx) = channel();
        spawn(move || tx.send_all(0..2).unwrap());
        rx
    };
    asked_again(true, || plug::imap(1, two(), |it| it));
    asked_again(true, || plug::imap(2, two(), |it| it));
    asked_again(true, || plug::imap(2, 0..2, |it| it));
    asked_again(true, || {
        let mut pile = Pile::new(TaskPool::new(2));
        (0..2).for_each(|it| pile.spawn(move || it).unwrap());
        pile
    });
    let both = || (0..2).map(|it| spawn(move || it));
    asked_again(false, || plug::as_completed(both()).map(|it| it.1));
}

#[test]
fn a_map_gives_a_result_though_no_item_comes() {
    for limit in [1, 2, 3] {
        always(|| {
            let (tx, rx) = channel();
            let mut map = plug::imap(limit, rx, |it| it);
            for it in 0..2_u8 {
                let tx = tx.clone();
                let writer = spawn(move || tx.send(it));
                assert_eq!(map.next().unwrap().unwrap(), it); // with the sender still open
                assert_eq!(writer.join().unwrap(), Ok(()));
            }
            drop(tx);
            assert!(map.next().is_none());
        });
    }
}

#[test]
fn a_map_takes_what_there_is_before_it_gives() {
    let second = Duration::from_secs(1);
    for seed in 0..20 {
        let runtime = Runtime::builder().virtual_clock(true).seed(seed).build();
        let took = runtime.run(|| {
            let start = now();
            let mut map = plug::imap(4, 0..6, move |it| (sleep(second), it).1);
            assert!(map.by_ref().take(3).map(Result::unwrap).eq(0..3));
            sleep(second).unwrap(); // busy with the three, while two more are made
            assert!(map.map(Result::unwrap).eq(3..6));
            now() - start
        });
        assert_eq!(took.unwrap(), 2 * second);
    }
}

#[test]
fn a_panic_of_the_items_is_that_of_the_map_which_has_its_results_still() {
    always(|| {
        let items = (0..3).inspect(|it| {
            if *it == 1 {
                resume_unwind(Box::new("no item"));
            }
        });
        let mut map = plug::imap(2, items, |it| it);
        let mut ask = || catch_unwind(AssertUnwindSafe(|| map.next().map(Result::unwrap)));
        let (one, other) = (ask(), ask()); // in whichever order they come
        let (unlucky, result) = if one.is_err() { (one, other) } else { (other, one) };
        assert_eq!(unlucky.unwrap_err().downcast_ref(), Some(&"no item"));
        assert_eq!((result.unwrap(), ask().unwrap()), (Some(0), None));
    });
}

#[test]
fn dropping_a_map_ends_who_writes_its_items() {
    always(|| {
        let (tx, rx) = channel();
        let writer = spawn(move || tx.send_all(0..));
        let mut map = plug::imap(2, rx, |it| it);
        assert_eq!(map.next().unwrap().unwrap(), 0);
        drop(map);
        assert_eq!(writer.join().unwrap().unwrap_err().why, Halt::Closed);
    });
}

#[test]
fn dropping_a_map_cancels_what_runs() {
    always(|| {
        let mut endless = plug::imap(2, 0.., |it| if it == 0 { Ok(()) } else { pause() });
        assert!(endless.next().unwrap().unwrap().is_ok());
        drop(endless); // else the second would be left
    });
}

#[test]
fn any_is_the_one_that_has_ended() {
    always(|| {
        let (tx, rx) = channel::<u8>();
        let mut both = vec![spawn(move || rx.recv()), spawn(|| Ok(2))];
        let (place, result) = plug::wait_any(&mut both).unwrap().unwrap();
        assert_eq!((place, result.unwrap()), (1, Ok(2)));
        drop(tx);
        let (place, result) = plug::wait_any(&mut both).unwrap().unwrap();
        assert_eq!((place, result.unwrap()), (0, Err(Halt::Closed)));
        assert!(plug::wait_any(&mut both).unwrap().is_none());
    });
}

#[test]
fn all_and_so_many_are_told_in_their_order() {
    always(|| {
        let three = || (0..3).map(|it| spawn(move || it)).collect::<Vec<_>>();
        let all = plug::wait_all(&mut three()).unwrap();
        assert!(all.into_iter().map(Result::unwrap).eq(0..3));
        let mut some = three();
        let two = plug::wait_n(2, &mut some).unwrap();
        assert!(two.iter().all(|(place, it)| it.as_ref().is_ok_and(|it| it == place)));
        let left = plug::as_completed(some).map(|it| it.1.unwrap()).collect::<Vec<_>>();
        let told = two.iter().map(|it| it.0).chain(left).sum::<usize>();
        assert_eq!(told, 3);
        let mut places: Vec<_> = plug::as_completed(three()).map(|it| it.0).collect();
        places.sort();
        assert_eq!(places, [0, 1, 2]);
    });
}

#[test]
fn who_is_stopped_while_it_waits_for_several_has_the_rest() {
    run(|| {
        let soon = Duration::from_millis(1);
        let tasklets = || -> Vec<Tasklet<Result<(), Halt>>> {
            vec![spawn(|| Ok(())), spawn(pause), spawn(pause)]
        };
        let end = |rest: Vec<Tasklet<_>>| rest.iter().for_each(|it| it.cancel());
        let mut all = tasklets();
        let rest = within(soon, || plug::wait_all(&mut all)).value.unwrap_err();
        assert_eq!((rest.items.len(), rest.why, all.len()), (1, Halt::TimedOut, 2));
        assert!(matches!(within(soon, || plug::wait_any(&mut all)).value, Err(Halt::TimedOut)));
        end(all);
        let mut some = tasklets();
        let rest = within(soon, || plug::wait_n(2, &mut some)).value.unwrap_err();
        assert_eq!((rest.items.len(), rest.items[0].0, some.len()), (1, 0, 2));
        end(some);
        let mut each = plug::as_completed(tasklets());
        assert_eq!(within(soon, || each.by_ref().count()).value, 1);
        end(each.into_rest());
        assert!(plug::wait_all(&mut Vec::<Tasklet<()>>::new()).unwrap().is_empty());
    });
}

#[test]
fn a_panic_is_told_to_who_waits() {
    run(|| {
        let mut tasklets = vec![spawn(|| -> u8 { resume_unwind(Box::new("told")) })];
        let (_, result) = plug::wait_any(&mut tasklets).unwrap().unwrap();
        assert!(matches!(result, Err(JoinError::Panicked(_))));
    });
}

proptest! {
    #[test]
    fn a_map_gives_what_an_iterator_gives(
        naps in prop::collection::vec(0..6_u64, 0..40),
        limit in 1..6_usize,
        wanted in 0..50_usize,
        seed in any::<u64>(),
    ) {
        let expected: Vec<_> = naps.iter().map(|it| it * 3).take(wanted).collect();
        let runtime = Runtime::builder().virtual_clock(true).seed(seed).build();
        let got = runtime.run(|| {
            let map = plug::imap(limit, naps, |it| {
                sleep(Duration::from_secs(it)).ok(); // the last may be cancelled
                it * 3
            });
            map.take(wanted).map(Result::unwrap).collect::<Vec<_>>()
        });
        prop_assert_eq!(got.unwrap(), expected);
    }
}
