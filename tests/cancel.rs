//! Cancelling: a value first, a forced end only for who does not listen.

mod support;

use support::Isolation;
use tasklets::{Halt, JoinError, Operation, Runtime, channel, run, select, spawn, yield_now};

#[test]
fn a_cancellation_while_the_target_gives_way_is_not_lost() {
    // Budget and steps put the cancellation at every place between two operations.
    for (budget, steps) in (1..4).flat_map(|budget| (0..10).map(move |steps| (budget, steps))) {
        let ended = Runtime::builder().budget(budget).build().run(|| {
            let (_tx, rx) = channel::<u8>();
            let target = spawn(move || {
                (0..3).for_each(|_| assert!(rx.try_recv().is_ok()));
                rx.recv()
            });
            (0..steps).for_each(|_| yield_now());
            target.cancel();
            target.join()
        });
        let stopped = match ended {
            Ok(Ok(received)) => received == Err(Halt::Cancelled),
            Ok(Err(error)) => matches!(error, JoinError::Cancelled),
            Err(error) => panic!("budget {budget}, after {steps} steps: {error}"),
        };
        assert!(stopped, "budget {budget}, after {steps} steps");
    }
}

#[test]
fn a_cancellation_while_a_select_waits_for_a_value_that_is_not_made_is_not_lost() {
    let ended = Runtime::builder().build().run(|| {
        let (tx, rx) = channel::<u8>();
        let (name, target) = channel::<tasklets::TaskletRef>();
        let sender = spawn(move || {
            let target = target.recv().unwrap();
            let permit = tx.reserving().wait().unwrap();
            target.cancel();
            drop(permit);
            tx // stays open
        });
        let receiver = spawn(move || select! { recv(rx) -> it => it });
        name.send(receiver.handle()).unwrap();
        let received = receiver.join();
        drop(sender.join());
        received.unwrap()
    });
    assert_eq!(ended.unwrap_or_else(|error| panic!("{error}")), Err(Halt::Cancelled));
}

#[test]
fn a_tasklet_that_polls_for_ever_does_not_keep_the_run() {
    let Some(ended) = Isolation::default().seconds(5).run(|| {
        let (_tx, rx) = channel::<u8>(); // outside: nothing closes
        run(|| {
            drop(spawn(move || while rx.try_recv().is_ok() {}));
            yield_now();
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_tasklet_that_selects_with_a_default_for_ever_does_not_keep_the_run() {
    let Some(ended) = Isolation::default().seconds(5).run(|| {
        let (_tx, rx) = channel::<u8>();
        run(|| {
            drop(spawn(move || {
                loop {
                    select! {
                        recv(rx) -> it => if it.is_err() { break },
                        default => {}
                    }
                }
            }));
            yield_now();
        });
    }) else {
        return;
    };
    ended.well();
}
