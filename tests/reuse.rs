//! Laws of what is used again: control blocks, stacks, and the offers that selects leave behind.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tasklets::{
    Halt, JoinError, Never, Runtime, State, channel, current, run, select, sleep, spawn, yield_now,
};

/// A payload that counts its life.
struct Life(Rc<Cell<isize>>);

impl Life {
    fn new(count: &Rc<Cell<isize>>) -> Life {
        count.set(count.get() + 1);
        Life(count.clone())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[test]
fn a_handle_speaks_of_its_own_tasklet_for_ever() {
    run(|| {
        let mut old = Vec::new();
        for round in 0..3_000_u32 {
            let name = round.is_multiple_of(3).then(|| format!("n{round}"));
            let mut builder = tasklets::Builder::new();
            if let Some(name) = &name {
                builder = builder.name(name.clone());
            }
            let tasklet = builder.spawn(move || round).unwrap();
            let handle = tasklet.handle();
            if round.is_multiple_of(2) {
                assert_eq!(tasklet.join().unwrap(), round);
            } else {
                drop(tasklet);
                yield_now();
            }
            assert_eq!((handle.is_finished(), handle.name()), (true, name.as_deref()));
            if round.is_multiple_of(7) {
                old.push((handle.id(), handle.path(), name, handle));
            }
        }
        let other = spawn(|| tasklets::pause());
        yield_now();
        for (id, path, name, handle) in &old {
            handle.cancel();
            handle.inject("too late");
            assert!(!handle.insert() && !handle.pause() && !handle.run_now());
            assert_eq!(
                (handle.id(), handle.path(), handle.name()),
                (*id, path.clone(), name.as_deref())
            );
            assert_eq!(handle.state(), State::Finished);
            assert!(*handle != other.handle() && !handle.is_cancelled());
        }
        assert_eq!(other.state(), State::Paused);
        assert!(!other.is_cancelled());
        other.insert();
        assert_eq!(other.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_timer_of_a_select_that_is_over_wakes_nobody_else() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let clean = runtime.run(|| {
        for _ in 0..200 {
            let (a, from_a) = channel();
            let (_b, from_b) = channel::<u8>();
            let selector = spawn(move || {
                select! {
                    recv(from_a) -> it => it,
                    recv(from_b) -> it => it,
                    default(Duration::from_millis(5)) => panic!("too early"),
                }
            });
            yield_now();
            a.send(1).unwrap();
            assert_eq!(selector.join().unwrap(), Ok(1));
        }
        let sleepers: Vec<_> = (0..200)
            .map(|_| {
                spawn(|| {
                    let before = tasklets::now();
                    sleep(Duration::from_millis(100)).unwrap();
                    tasklets::now() - before
                })
            })
            .collect();
        for it in sleepers {
            assert!(it.join().unwrap() >= Duration::from_millis(100));
        }
    });
    clean.unwrap();
}

#[test]
fn locals_and_names_are_not_inherited_with_a_block() {
    tasklets::tasklet_local! { static MARK: Cell<u32> = Cell::new(0); }
    run(|| {
        for round in 1..2_000_u32 {
            let it = tasklets::Builder::new();
            let it = if round % 5 == 0 { it.name("named") } else { it };
            let it = it.spawn(move || {
                let me = current().unwrap();
                let name = me.name().map(str::to_owned);
                let before = if round % 3 == 0 { MARK.with(|it| it.replace(round)) } else { 0 };
                (name, before, me.is_cancelled(), tasklets::take_injected().is_none())
            });
            let it = it.unwrap().join().unwrap();
            assert_eq!(it, ((round % 5 == 0).then(|| "named".into()), 0, false, true));
        }
    });
}

#[test]
fn what_was_captured_and_never_run_is_dropped_once() {
    let count = Rc::new(Cell::new(0));
    run(|| {
        for round in 0..600 {
            let life = Life::new(&count);
            let it = spawn(move || drop(life));
            match round % 4 {
                0 => {
                    it.cancel();
                    assert!(matches!(it.join(), Err(JoinError::Cancelled)));
                }
                1 => it.cancel(),
                2 => std::mem::forget(it),
                _ => drop(it),
            }
            if round % 50 == 0 {
                yield_now();
            }
        }
    });
    assert_eq!(count.get(), 0);
}

#[test]
fn a_channel_outlives_the_run_whose_select_left_an_offer_in_it() {
    let count = Rc::new(Cell::new(0));
    let (a, from_a) = channel::<Life>();
    let (b, from_b) = channel::<Life>();
    for _ in 0..10 {
        let (ra, rb, a) = (from_a.clone(), from_b.clone(), a.clone());
        let life = count.clone();
        run(|| {
            let it = spawn(move || {
                select! { recv(ra) -> it => it.is_ok(), recv(rb) -> it => it.is_ok() }
            });
            yield_now();
            a.send(Life::new(&life)).unwrap();
            assert!(it.join().unwrap());
        });
        assert_eq!((b.balance(), b.waiters()), (0, (vec![], vec![])));
        assert!(b.try_send(Life::new(&count)).unwrap().is_some());
        assert!(!b.is_closed());
        let (b2, rb) = (b.clone(), from_b.clone());
        let life = count.clone();
        run(|| {
            let it = spawn(move || rb.recv().is_ok());
            b2.send(Life::new(&life)).unwrap();
            assert!(it.join().unwrap());
        });
    }
    drop((from_a, from_b));
    assert!(b.is_closed() && a.is_closed());
    assert_eq!(count.get(), 0);
}

#[test]
fn an_offer_left_by_an_ended_tasklet_is_nobodys() {
    run(|| {
        let (a, from_a) = channel::<u32>();
        let (b, from_b) = channel::<u32>();
        for round in 0..3_000 {
            let (ra, rb) = (from_a.clone(), from_b.clone());
            let it = spawn(move || select! { recv(ra) -> it => it, recv(rb) -> it => it });
            yield_now();
            let (now, other) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
            now.send(round).unwrap();
            if round % 3 == 0 {
                assert_eq!(it.join().unwrap(), Ok(round));
            } else {
                drop(it);
            }
            assert_eq!(other.try_send(0), Ok(Some(0)));
            // A tasklet in whatever block is free now waits for something else.
            let (c, from_c) = channel::<u32>();
            let next = spawn(move || from_c.recv());
            yield_now();
            assert_eq!(other.try_send(0), Ok(Some(0)));
            assert_eq!(now.try_send(0), Ok(Some(0)));
            c.send(7).unwrap();
            assert_eq!(next.join().unwrap(), Ok(7));
        }
    });
}

/// A value whose destructor looks at a channel, once the run of it is over.
struct Meddler(Rc<RefCell<Option<tasklets::Sender<u32>>>>);

impl Drop for Meddler {
    fn drop(&mut self) {
        let tx = self.0.borrow().clone();
        if let Some(tx) = tx {
            let _ = (tx.try_send(1), tx.balance());
        }
    }
}

tasklets::tasklet_local! {
    static KEPT: RefCell<Vec<Meddler>> = RefCell::new(Vec::new());
}

/// A result that leaves something behind in its tasklet when it is dropped.
struct Leaves(Option<Meddler>);

impl Drop for Leaves {
    fn drop(&mut self) {
        KEPT.with(|it| it.borrow_mut().extend(self.0.take()));
    }
}

#[test]
fn what_an_ended_tasklet_left_may_use_the_channel_that_has_its_offer() {
    let seat = Rc::new(RefCell::new(None));
    let within = seat.clone();
    run(move || {
        let (a, from_a) = channel::<u32>();
        let (b, from_b) = channel::<u32>();
        let (rb, meddler) = (from_b.clone(), Meddler(within.clone()));
        let it = spawn(move || {
            let _ = select! { recv(from_a) -> it => it, recv(rb) -> it => it };
            Leaves(Some(meddler))
        });
        drop(it);
        yield_now();
        a.send(1).unwrap();
        yield_now();
        *within.borrow_mut() = Some(b.clone());
        assert_eq!(b.balance(), 0);
        within.take();
        drop(from_b);
    });
    assert!(seat.take().is_none());
}

/// A local whose destructor makes another one, so many times.
struct Again(u32, Option<Meddler>);

tasklets::tasklet_local! {
    static AGAIN: RefCell<Vec<Again>> = RefCell::new(Vec::new());
}

impl Drop for Again {
    fn drop(&mut self) {
        if let Some(left) = self.0.checked_sub(1) {
            let next = Again(left, self.1.take());
            AGAIN.try_with(|it| it.borrow_mut().push(next));
        }
    }
}

#[test]
fn locals_that_make_others_for_long_are_gone_when_their_tasklet_is() {
    let seat = Rc::new(RefCell::new(None));
    let within = seat.clone();
    run(move || {
        let (a, from_a) = channel::<u32>();
        let (b, from_b) = channel::<u32>();
        let (rb, meddler) = (from_b.clone(), Meddler(within.clone()));
        let it = spawn(move || {
            AGAIN.with(|it| it.borrow_mut().push(Again(50, Some(meddler))));
            let _ = select! { recv(from_a) -> it => it, recv(rb) -> it => it };
        });
        yield_now();
        a.send(1).unwrap();
        it.join().unwrap();
        assert_eq!(Rc::strong_count(&within), 2, "the local has gone");
        *within.borrow_mut() = Some(b.clone());
        assert_eq!(b.balance(), 0);
        within.take();
        drop(from_b);
    });
    assert!(seat.take().is_none());
}

#[test]
fn the_choice_among_receivers_is_fair() {
    const ARMS: usize = 4;
    let runtime = Runtime::builder().seed(7).build();
    let counts = runtime
        .run(|| {
            let ends: Vec<_> = (0..ARMS).map(|_| channel::<usize>()).collect();
            for (index, (tx, _)) in ends.iter().enumerate() {
                // Two senders to a channel: one always waits.
                for _ in 0..2 {
                    let tx = tx.clone();
                    spawn(move || while tx.send(index).is_ok() {});
                }
            }
            yield_now();
            let mut counts = [0_u32; ARMS];
            for _ in 0..100_000 {
                let it = select! {
                    recv(ends[0].1) -> it => it,
                    recv(ends[1].1) -> it => it,
                    recv(ends[2].1) -> it => it,
                    recv(ends[3].1) -> it => it,
                };
                counts[it.unwrap()] += 1;
            }
            counts
        })
        .unwrap();
    let expected = 25_000.0;
    let square: f64 = counts.iter().map(|it| (f64::from(*it) - expected).powi(2) / expected).sum();
    assert!(square < 16.27, "chi-square with 3 degrees of freedom: {square}, {counts:?}");
}

#[test]
fn the_choice_is_fair_where_some_arms_are_never_ready() {
    let runtime = Runtime::builder().seed(11).build();
    let counts = runtime
        .run(|| {
            let (_never, nothing) = channel::<usize>();
            let ends: Vec<_> = (0..3).map(|_| channel::<usize>()).collect();
            for (index, (tx, _)) in ends.iter().enumerate() {
                for _ in 0..2 {
                    let tx = tx.clone();
                    spawn(move || while tx.send(index).is_ok() {});
                }
            }
            yield_now();
            let mut counts = [0_u32; 3];
            for _ in 0..99_999 {
                let it = select! {
                    recv(nothing) -> it => it,
                    recv(ends[0].1) -> it => it,
                    recv(nothing) -> it => it,
                    recv(ends[1].1) -> it => it,
                    recv(ends[2].1) -> it => it,
                };
                counts[it.unwrap()] += 1;
            }
            counts
        })
        .unwrap();
    let square: f64 = counts.iter().map(|it| (f64::from(*it) - 33_333.0).powi(2) / 33_333.0).sum();
    assert!(square < 13.82, "chi-square with 2 degrees of freedom: {square}, {counts:?}");
}

#[test]
fn waiters_are_served_in_order_whatever_they_wait_in() {
    run(|| {
        let (tx, rx) = channel::<u32>();
        let (_quiet, silence) = channel::<u32>();
        for shift in 0..4 {
            let log = Rc::new(RefCell::new(Vec::new()));
            let waiters: Vec<_> = (0..4_u32)
                .map(|who| {
                    let (rx, silence, log) = (rx.clone(), silence.clone(), log.clone());
                    spawn(move || {
                        let got = if (who + shift) % 2 == 0 {
                            rx.recv()
                        } else {
                            select! { recv(silence) -> it => it, recv(rx) -> it => it }
                        };
                        log.borrow_mut().push((who, got.unwrap()));
                    })
                })
                .collect();
            yield_now();
            assert_eq!(tx.balance(), -4);
            let ids: Vec<_> = waiters.iter().map(|it| it.id()).collect();
            assert_eq!(tx.waiters().1, ids);
            for value in 0..4 {
                tx.send(value).unwrap();
            }
            waiters.into_iter().for_each(|it| it.join().unwrap());
            assert_eq!(*log.borrow(), [(0, 0), (1, 1), (2, 2), (3, 3)]);
            assert_eq!((tx.balance(), silence.balance()), (0, 0));
        }
    });
}

#[test]
fn two_tasklets_may_select_on_the_same_channels_by_turns() {
    run(|| {
        let (a, from_a) = channel::<u32>();
        let (b, from_b) = channel::<u32>();
        let got = Rc::new(RefCell::new(Vec::new()));
        let readers: Vec<_> = (0..2)
            .map(|who| {
                let (ra, rb, got) = (from_a.clone(), from_b.clone(), got.clone());
                spawn(move || {
                    let next = || select! { recv(ra) -> it => it, recv(rb) -> it => it };
                    while let Ok(it) = next() {
                        got.borrow_mut().push((who, it));
                    }
                })
            })
            .collect();
        for round in 0..1_000 {
            yield_now();
            assert_eq!((a.balance(), b.balance()), (-2, -2), "round {round}");
            if round % 3 == 0 { a.send(round).unwrap() } else { b.send(round).unwrap() }
        }
        yield_now();
        drop((a, b));
        readers.into_iter().for_each(|it| it.join().unwrap());
        let got = got.borrow();
        assert_eq!(got.len(), 1_000);
        assert!(got.iter().enumerate().all(|(index, it)| it.1 as usize == index));
        assert!(got.iter().enumerate().all(|(index, it)| it.0 == index % 2), "by turns");
    });
}

#[test]
fn a_report_of_a_stuck_run_names_no_offer_that_was_left() {
    let (a, from_a) = channel::<u8>();
    let (b, from_b) = channel::<Never>();
    let ended = Runtime::builder().build().run(|| {
        let (ra, rb) = (from_a.clone(), from_b.clone());
        let it = tasklets::Builder::new().name("passer-by").spawn(move || {
            select! { recv(ra) -> _it => (), recv(rb) -> _it => () }
        });
        yield_now();
        a.send(1).unwrap();
        it.unwrap().join().unwrap();
        assert_eq!(tasklets::snapshot().unwrap().tasklets.len(), 1);
        let _ = from_b.recv();
    });
    let text = ended.unwrap_err().to_string();
    assert!(!text.contains("passer-by"), "{text}");
    drop(b);
}

#[test]
fn a_select_that_was_stopped_left_nothing() {
    run(|| {
        let (a, from_a) = channel::<u32>();
        let (b, from_b) = channel::<u32>();
        for how in 0..300 {
            let (ra, rb) = (from_a.clone(), from_b.clone());
            let it = spawn(move || {
                let first = select! { recv(ra) -> it => it, recv(rb) -> it => it };
                assert_eq!(first, Err([Halt::Cancelled, Halt::Injected][how % 2]));
                select! { recv(ra) -> it => it, recv(rb) -> it => it }
            });
            yield_now();
            if how % 2 == 0 {
                it.cancel()
            } else {
                it.inject("out")
            }
            assert_eq!((a.balance(), b.balance()), (0, 0));
            assert_eq!(a.try_send(1), Ok(Some(1)));
            yield_now();
            if how % 2 == 0 {
                assert_eq!(it.join().unwrap(), Err(Halt::Cancelled));
            } else {
                assert_eq!((a.balance(), b.balance()), (-1, -1));
                b.send(2).unwrap();
                assert_eq!(it.join().unwrap(), Ok(2));
            }
            assert_eq!((a.balance(), b.balance()), (0, 0));
        }
    });
}
