//! Handles that are leaked, misused or torn: nothing is lost in silence, and every run ends.

mod support;

use std::cell::{Cell, RefCell};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use support::isolated;
use tasklets::{
    Builder, Halt, JoinError, Never, Operation, RunError, Runtime, Select, block_trap, channel,
    pause, run, scope, select, shield, spawn, switch_trap, yield_now,
};

/// Runs its closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_forgotten_handle_of_a_tasklet_loses_neither_its_panic_nor_its_run() {
    let runtime = Runtime::builder().build();
    let ended = runtime.run(|| {
        forget(spawn(|| resume_unwind(Box::new("nobody asked"))));
        yield_now();
        7
    });
    let Err(RunError::Panicked(report)) = ended else { panic!("lost: {ended:?}") };
    assert_eq!(report.message(), "nobody asked");
    run(|| {
        forget(spawn(pause));
        let total = scope(|s| {
            forget(s.spawn(|| 1));
            s.running()
        });
        assert_eq!(total, 1);
    });
}

#[test]
fn a_forgotten_end_of_a_channel_keeps_it_open_and_the_stuck_report_ends_the_run() {
    let ended = Runtime::builder().build().run(|| {
        let (tx, rx) = channel::<Never>();
        forget(tx);
        rx.recv()
    });
    assert!(matches!(ended, Err(RunError::Stuck(_))), "{ended:?}");
    let ended = Runtime::builder().build().run(|| {
        let (tx, rx) = channel();
        forget(rx);
        tx.send(1)
    });
    assert!(matches!(ended, Err(RunError::Stuck(_))), "{ended:?}");
}

#[test]
fn a_forgotten_held_value_whose_sender_waited_first_does_not_keep_the_run() {
    let Some(ended) = isolated(|| {
        run(|| {
            let (tx, rx) = channel();
            let sender = Builder::new().name("held for ever").spawn(move || tx.send(7)).unwrap();
            yield_now();
            forget(rx.recv_held().unwrap());
            yield_now();
            assert_eq!(sender.state(), tasklets::State::Waiting);
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_forgotten_held_value_whose_receiver_waited_first_does_not_keep_the_run() {
    let Some(ended) = isolated(|| {
        run(|| {
            let (tx, rx) = channel();
            let receiver = spawn(move || forget(rx.recv_held().unwrap()));
            yield_now();
            let sender = spawn(move || tx.send(7));
            receiver.join().unwrap();
            assert_eq!(sender.state(), tasklets::State::Waiting);
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_sender_of_a_forgotten_held_value_is_named_by_the_stuck_report() {
    let Some(ended) = isolated(|| {
        let ended = Runtime::builder().build().run(|| {
            let (tx, rx) = channel();
            let sender = Builder::new().name("held for ever").spawn(move || tx.send(7)).unwrap();
            yield_now();
            forget(rx.recv_held().unwrap());
            sender.join()
        });
        let Err(RunError::Stuck(report)) = ended else { panic!("{ended:?}") };
        let text = report.to_string();
        assert!(text.contains("`held for ever` (root.0)"), "{text}");
        assert!(text.contains("complete its meeting with root on channel"), "{text}");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_forgotten_permit_does_not_keep_the_run() {
    let Some(ended) = isolated(|| {
        for receiver_first in [true, false] {
            run(move || {
                let (tx, rx) = channel::<u8>();
                let receiver = |rx: tasklets::Receiver<u8>| spawn(move || rx.recv());
                if receiver_first {
                    drop(receiver(rx));
                    yield_now();
                } else {
                    drop(receiver(rx));
                }
                forget(tx.reserving().wait().unwrap());
                yield_now();
            });
        }
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_receiver_of_a_forgotten_permit_is_named_by_the_stuck_report() {
    let Some(ended) = isolated(|| {
        let ended = Runtime::builder().build().run(|| {
            let (tx, rx) = channel::<u8>();
            let reader = Builder::new().name("promised").spawn(move || rx.recv()).unwrap();
            yield_now();
            forget(tx.reserving().wait().unwrap());
            reader.join()
        });
        let Err(RunError::Stuck(report)) = ended else { panic!("{ended:?}") };
        let text = report.to_string();
        assert!(text.contains("`promised` (root.0)"), "{text}");
        assert!(text.contains("complete its meeting with root on channel"), "{text}");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_value_in_a_forgotten_choice_is_not_given_to_a_later_receive() {
    run(|| {
        let (tx, rx) = channel();
        drop(spawn(move || tx.send_all(1..=3)));
        yield_now();
        let mut select = Select::new();
        select.recv(&rx);
        forget(select.wait().unwrap());
        drop(select);
        assert_eq!((rx.recv(), rx.recv()), (Ok(2), Ok(3)));
    });
}

#[test]
fn a_value_in_a_forgotten_choice_is_not_given_to_a_later_waiting_receive() {
    run(|| {
        let (tx, rx) = channel();
        let sender = tx.clone();
        drop(spawn(move || sender.send(1)));
        yield_now();
        let mut select = Select::new();
        select.recv(&rx);
        forget(select.wait().unwrap());
        drop(select);
        drop(spawn(move || tx.send(2)));
        assert_eq!(rx.recv(), Ok(2), "1 was forgotten");
    });
}

#[test]
fn a_forgotten_choice_to_send_does_not_keep_the_run() {
    let Some(ended) = isolated(|| {
        run(|| {
            let (tx, rx) = channel::<u8>();
            drop(spawn(move || rx.recv()));
            yield_now();
            let mut select = Select::new();
            select.send(&tx);
            forget(select.wait().unwrap());
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn the_partner_of_a_choice_used_with_the_wrong_end_goes_on() {
    let Some(ended) = isolated(|| {
        run(|| {
            let (tx, rx) = channel::<u8>();
            let (wrong_tx, wrong_rx) = channel::<u8>();
            let reader = spawn(move || rx.recv());
            yield_now();
            let mut select = Select::new();
            select.send(&tx);
            let chosen = select.wait().unwrap();
            catch_unwind(AssertUnwindSafe(|| chosen.send(&wrong_tx, 1))).unwrap_err();
            let chosen = select.wait().unwrap();
            catch_unwind(AssertUnwindSafe(|| chosen.recv(&wrong_rx))).unwrap_err();
            drop(select);
            assert_eq!(tx.send(5), Ok(()), "the reader waits again");
            assert_eq!(reader.join().unwrap(), Ok(5));
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_choice_used_with_the_wrong_end_drops_its_value_and_no_later_one() {
    run(|| {
        let ((tx, rx), (_wrong_tx, wrong_rx)) = (channel(), channel::<u8>());
        let sender = tx.clone();
        drop(spawn(move || sender.send(1)));
        yield_now();
        let mut select = Select::new();
        select.recv(&rx);
        let chosen = select.wait().unwrap();
        catch_unwind(AssertUnwindSafe(|| chosen.recv(&wrong_rx))).unwrap_err();
        drop(select);
        drop(spawn(move || tx.send(2)));
        assert_eq!(rx.recv(), Ok(2));
    });
}

#[test]
fn a_forgotten_select_takes_no_value_and_its_channels_go_on() {
    run(|| {
        let (tx, rx) = channel();
        let mut select = Select::new();
        select.recv(&rx);
        select.send(&tx);
        assert!(select.try_wait().unwrap().is_none());
        forget(select);
        assert_eq!((tx.balance(), tx.try_send(1)), (0, Ok(Some(1))));
        let to = tx.clone();
        let sender = spawn(move || to.send_all(0..100));
        assert_eq!(rx.iter().take(100).sum::<i32>(), 4_950);
        assert_eq!(sender.join().unwrap(), Ok(100));
        drop(rx);
        assert_eq!(tx.send(1).unwrap_err().why, Halt::Closed);
    });
}

#[test]
fn a_forgotten_trap_stays_in_force_for_its_tasklet_only() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (inner_rx, back) = (rx.clone(), tx.clone());
        let blocked = spawn(move || {
            forget(block_trap());
            (inner_rx.recv(), back.try_send(1))
        });
        assert_eq!(blocked.join().unwrap(), (Err(Halt::CannotWait), Ok(Some(1))));
        let pinned = spawn(|| {
            forget(switch_trap());
            yield_now();
        });
        let Err(JoinError::Panicked(why)) = pinned.join() else { panic!("it switched") };
        assert!(why.downcast::<String>().unwrap().contains("bad_input_forgotten.rs"));
        drop(spawn(move || tx.send(3)));
        assert_eq!(rx.recv(), Ok(3));
        let stubborn = spawn(|| {
            forget(block_trap());
            while pause().is_err() {}
        });
        yield_now();
        stubborn.cancel();
        assert!(matches!(stubborn.join(), Err(JoinError::Cancelled)), "it is unwound");
        forget((block_trap(), switch_trap()));
    });
}

#[test]
fn a_forgotten_runtime_leaves_its_tasklets_where_they_are() {
    let runs = Rc::new(Cell::new(0));
    let (tx, rx) = channel::<u8>();
    let runtime = Runtime::builder().build();
    let (seen, from) = (runs.clone(), rx.clone());
    let tasklet = runtime.spawn(move || {
        seen.set(1);
        let got = from.recv();
        seen.set(2);
        got
    });
    runtime.run_ready().unwrap();
    forget(runtime);
    assert_eq!(tx.try_send(4), Ok(None), "it waits, and is given what it waits for");
    assert_eq!(runs.get(), 1, "but nobody drives it any more");
    assert!(!tasklet.unwrap().is_finished());
    assert_eq!(run(|| spawn(|| 5).join().unwrap()), 5);
    drop(rx);
}

#[test]
fn a_tasklet_that_only_polls_does_not_keep_the_run() {
    let Some(ended) = isolated(|| {
        run(|| {
            let (tx, rx) = channel::<u8>();
            drop(spawn(move || while rx.try_recv() == Ok(None) {}));
            yield_now();
            forget(tx);
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_tasklet_that_selects_with_a_default_for_ever_does_not_keep_the_run() {
    let Some(ended) = isolated(|| {
        run(|| {
            let (tx, rx) = channel::<u8>();
            drop(spawn(move || {
                loop {
                    select! { recv(rx) -> _ => break, default => () }
                }
            }));
            yield_now();
            forget(tx);
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_destructor_may_communicate_in_a_normal_drop_on_cancel_and_in_the_drain() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let log = heard.clone();
    run(move || {
        let (tx, rx) = channel::<&'static str>();
        let talker = |name: &'static str| {
            let tx = tx.clone();
            OnDrop(move || shield(|| tx.send(name).unwrap_or_else(|it| panic!("{it}"))))
        };
        let listener = spawn(move || shield(|| rx.iter().for_each(|it| log.borrow_mut().push(it))));
        drop(talker("normal"));
        let owned = talker("cancel");
        let cancelled = spawn(move || {
            let _owned = owned;
            pause()
        });
        yield_now();
        cancelled.cancel();
        assert_eq!(cancelled.join().unwrap(), Err(Halt::Cancelled));
        let owned = talker("drain");
        drop(spawn(move || {
            let _owned = owned;
            pause()
        }));
        let unbegun = talker("never began");
        yield_now();
        drop(spawn(move || drop(unbegun)));
        drop(listener);
    });
    heard.borrow_mut()[2..].sort(); // in the drain, any order will do
    assert_eq!(*heard.borrow(), ["normal", "cancel", "drain", "never began"]);
}
