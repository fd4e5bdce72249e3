//! Rendezvous channels: order, closing, preference, holding, and what tells about them.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use support::Isolation;
use tasklets::{Prefer, Runtime, channel, run, select, spawn, yield_now};

#[test]
fn a_select_that_waits_to_send_is_served_before_those_who_came_later() {
    run(|| {
        let (tx, rx) = channel();
        let later = tx.clone();
        drop(spawn(move || select! { send(tx, 1) -> sent => sent }));
        drop(spawn(move || later.send(2)));
        yield_now();
        assert_eq!((rx.recv(), rx.recv()), (Ok(1), Ok(2)));
    });
}

#[test]
fn a_preferred_receiver_runs_at_once_also_when_a_select_sends() {
    run(|| {
        let (tx, rx) = channel::Builder::new().prefer(Prefer::Receiver).channel::<u8>();
        let received = Rc::new(Cell::new(0));
        let place = received.clone();
        drop(spawn(move || place.set(rx.recv().unwrap())));
        yield_now();
        select! { send(tx, 5) -> sent => sent.unwrap() }
        assert_eq!(received.get(), 5);
    });
}

#[test]
fn a_held_value_may_outlive_the_run() {
    let Some(ended) = Isolation::default().seconds(5).run(|| {
        let held = run(|| {
            let (tx, rx) = channel();
            drop(spawn(move || tx.send(1)));
            yield_now();
            rx.recv_held().unwrap()
        });
        assert_eq!(held.accept(), 1);
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_held_value_that_is_forgotten_does_not_keep_the_run() {
    let Some(ended) = Isolation::default().seconds(5).run(|| {
        run(|| {
            let (tx, rx) = channel();
            drop(spawn(move || tx.send(1)));
            yield_now();
            std::mem::forget(rx.recv_held().unwrap());
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn channels_made_by_different_tasklets_have_different_ids() {
    let runtime = Runtime::builder().threads_as_stacks(true).build();
    let ids = runtime.run(|| {
        let make = || spawn(|| channel::<u8>().0.id());
        (make().join().unwrap(), make().join().unwrap())
    });
    let (first, second) = ids.unwrap();
    assert_ne!(first, second);
}
