//! What random programs (`laws.rs`) found, each reduced to the smallest program that shows it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tasklets::{
    Halt, Operation, Runtime, Select, State, TaskletRef, after, block_trap, channel, current,
    pause, select, shield, spawn, take_injected, within, yield_now,
};

/// Runs `main` in virtual time.
#[track_caller]
fn run<R>(main: impl FnOnce() -> R) -> R {
    Runtime::builder().virtual_clock(true).build().run(main).unwrap()
}

#[test]
fn a_send_that_is_not_the_first_arm_gets_its_value_back_when_the_channel_closes() {
    let back = run(|| {
        let (tx, rx) = channel();
        spawn(move || drop(rx));
        let mut timer = after(Duration::from_secs(1));
        let mut sending = tx.sending("back");
        assert_eq!(select::select(&mut [&mut timer, &mut sending]), 1);
        sending.take().unwrap_err()
    });
    assert_eq!((back.value, back.why), ("back", Halt::Closed));
}

#[test]
fn a_send_in_a_select_that_was_taken_is_done_also_when_the_run_has_to_break_a_shield() {
    let sent = Rc::new(Cell::new(None));
    let told = sent.clone();
    run(|| {
        let (tx, rx) = channel();
        spawn(move || told.set(Some(tx.sending(1).or(tx.sending(2)).wait().is_ok())));
        spawn(move || {
            let held = rx.recv_held();
            assert_eq!(shield(pause), Err(Halt::Cancelled)); // only the end of the run ends it
            drop(held);
        });
        yield_now();
        yield_now();
    });
    assert_eq!(sent.get(), Some(true));
}

#[test]
fn a_value_given_by_permit_arrives_or_comes_back_when_the_run_has_to_break_a_shield() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let (got, back) = (log.clone(), log.clone());
    run(|| {
        let (tx, rx) = channel();
        spawn(move || {
            let received = rx.recv();
            got.borrow_mut().extend(received);
        });
        yield_now();
        spawn(move || {
            let permit = tx.reserving().wait().unwrap();
            assert_eq!(shield(pause), Err(Halt::Cancelled)); // only the end of the run ends it
            back.borrow_mut().extend(permit.send(7).err().map(|it| it.value));
        });
        yield_now();
    });
    assert_eq!(log.take(), [7]);
}

#[test]
fn a_select_that_was_cancelled_while_its_partner_went_away_does_not_meet_another() {
    run(|| {
        let (tx, rx) = channel();
        let other = tx.clone();
        let fickle = spawn(move || {
            let permit = tx.reserving().wait().unwrap();
            yield_now();
            drop(permit);
        });
        yield_now();
        let reader = spawn(move || {
            let mut receiving = [rx.receiving(), rx.receiving()];
            let [first, second] = &mut receiving;
            let won = select::select(&mut [first, second]);
            receiving[won].take()
        });
        yield_now(); // it meets the reservation
        let writer = spawn(move || other.try_send(1));
        reader.cancel();
        fickle.join().unwrap();
        assert_eq!(reader.join().unwrap(), Err(Halt::Cancelled));
        drop(writer);
    });
}

#[test]
fn a_tasklet_that_its_partner_has_released_is_ready() {
    run(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || tx.send(1).unwrap());
        let held = rx.recv_held().unwrap();
        assert_eq!(sender.state(), State::Waiting);
        held.accept();
        assert_eq!((sender.state(), sender.run_now()), (State::Ready, true));
    });
}

#[test]
fn a_sender_freed_by_the_end_of_the_run_is_not_freed_again_by_a_guard_dropped_then() {
    let sent = Rc::new(Cell::new(None));
    let told = sent.clone();
    run(|| {
        let (tx, rx) = channel();
        let target = Rc::new(RefCell::new(None::<TaskletRef>));
        let victim = target.clone();
        spawn(move || {
            // The end of the run breaks the shield; so the holder is stopped before it can end.
            assert!(shield(pause).is_err());
            assert!(victim.take().unwrap().pause());
        });
        let holder = spawn(move || {
            let held = rx.recv_held();
            assert!(shield(pause).is_err());
            drop(held);
        });
        *target.borrow_mut() = Some(holder.handle());
        yield_now();
        spawn(move || told.set(Some(tx.send(1).is_ok())));
        yield_now();
    });
    assert_eq!(sent.get(), Some(true));
}

#[test]
fn an_injection_that_a_select_without_an_arm_cannot_tell_is_told_by_the_next_operation() {
    run(|| {
        let target = spawn(|| {
            let (_tx, rx) = channel::<u8>();
            let delay = Duration::from_secs(1);
            let chosen = select! { recv(rx) -> _ if false => "arm", default(delay) => "default" };
            (chosen, rx.recv(), take_injected().map(|it| it.to_string()))
        });
        yield_now();
        target.inject("out of paper");
        let told = (Err(Halt::Injected), Some("out of paper".into()));
        assert_eq!(target.join().unwrap(), ("default", told.0, told.1));
    });
}

#[test]
fn an_error_injected_while_another_is_about_to_be_told_takes_its_place() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let told = log.clone();
    let main = move || {
        let (_tx, rx) = channel::<u8>();
        let target = spawn(move || {
            yield_now();
            assert_eq!(rx.try_recv(), Ok(None)); // the budget is used up by this ...
            for _ in 0..2 {
                let ended = rx.recv_timeout(Duration::from_secs(1)); // ... so this gives way
                told.borrow_mut().push((ended, take_injected().map(|it| it.to_string())));
            }
        });
        yield_now();
        target.inject("first");
        yield_now();
        target.inject("second");
        target.join().unwrap();
    };
    Runtime::builder().virtual_clock(true).budget(1).build().run(main).unwrap();
    let second = (Err(Halt::Injected), Some("second".into()));
    assert_eq!(*log.borrow(), [second, (Err(Halt::TimedOut), None)]);
}

/// The operations out of ten, none of which has to wait, before which the others had a turn.
fn gaps_of(before: fn(), listens: bool) -> Vec<u32> {
    let builder = Runtime::builder().virtual_clock(true).budget(3);
    let builder = if listens { builder.on_event(|_| {}) } else { builder };
    builder
        .build()
        .run(|| {
            let turns = Rc::new(Cell::new(0));
            let others = turns.clone();
            let (_tx, rx) = channel::<u8>();
            let polls = move || {
                assert_eq!(rx.try_recv(), Ok(None));
                before();
                (0..10)
                    .map(|_| {
                        assert_eq!(rx.try_recv(), Ok(None));
                        turns.get()
                    })
                    .collect::<Vec<_>>()
            };
            let polling = spawn(polls);
            spawn(move || {
                (0..20).for_each(|_| {
                    others.set(others.get() + 1);
                    yield_now();
                });
            });
            polling.join().unwrap()
        })
        .unwrap()
}

#[test]
fn an_interruption_within_a_turn_changes_no_budget_and_neither_does_listening() {
    let befores: [fn(); 4] = [
        || (),
        || shield(|| ()),
        || assert!(within(Duration::ZERO, || true).expired),
        || {
            let me = current().unwrap();
            me.inject("to itself");
            assert_eq!(pause(), Err(Halt::Injected));
        },
    ];
    let plain = gaps_of(befores[0], false);
    assert_eq!(plain.len(), 10);
    for (index, before) in befores.into_iter().enumerate() {
        let (heard, alone) = (gaps_of(before, true), gaps_of(before, false));
        assert_eq!(heard, alone, "{index}");
        assert!(index == 3 || alone == plain, "{index}: {alone:?}, not {plain:?}");
    }
}

/// The order in which a child and, after `before` and an operation that can go on, the root log.
fn order_after(before: fn(), listens: bool) -> Vec<&'static str> {
    let builder = Runtime::builder().virtual_clock(true);
    let builder = if listens { builder.on_event(|_| {}) } else { builder };
    let log = Rc::new(RefCell::new(Vec::new()));
    let (first, second) = (log.clone(), log.clone());
    let main = move || {
        before();
        spawn(move || second.borrow_mut().push("child"));
        let (tx, _rx) = channel();
        assert_eq!(tx.try_send(1), Ok(Some(1)));
        first.borrow_mut().push("root");
    };
    builder.build().run(main).unwrap();
    log.take()
}

#[test]
fn who_was_shielded_or_timed_out_need_not_give_way_and_listening_does_not_change_that() {
    let befores: [fn(); 2] =
        [|| shield(|| ()), || assert!(within(Duration::from_millis(1), || pause().is_err()).value)];
    for before in befores {
        assert_eq!(order_after(before, true), ["root"]);
        assert_eq!(order_after(before, false), ["root"]);
    }
}

#[test]
fn a_sender_that_a_trapped_select_could_not_wait_for_is_met_after_the_trap() {
    run(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || tx.reserving().wait().unwrap().send(1).unwrap());
        yield_now();
        let mut select = Select::new();
        select.recv(&rx);
        let trap = block_trap();
        assert!(select.try_wait().unwrap().is_none());
        drop(trap);
        assert_eq!(select.wait().unwrap().recv(&rx), Ok(1));
        sender.join().unwrap();
    });
}

#[test]
fn an_operation_that_has_happened_cannot_be_waited_for_again() {
    let again = run(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || (rx.recv(), rx));
        let again = spawn(move || {
            let mut sending = tx.sending(1);
            (&mut sending).wait().unwrap();
            drop((&mut sending).wait());
        });
        let ended = again.join();
        drop(reader);
        ended
    });
    assert!(again.unwrap_err().message().is_some());
}
