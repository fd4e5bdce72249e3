//! Guards over a stretch of code: nothing may block, nothing may switch, nothing may interrupt.

use std::cell::Cell;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;
use tasklets::{
    BlockTrap, Halt, JoinError, Operation, Prefer, Runtime, SendError, State, after, block_trap,
    blocking, channel, pause, scope, select, shield, sleep, spawn, switch_trap, take_injected,
    within, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs `main` in virtual time.
#[track_caller]
fn run<R>(main: impl FnOnce() -> R) -> R {
    Runtime::builder().virtual_clock(true).build().run(main).unwrap()
}

/// Whether the caller is under a block trap.
fn trapped() -> bool {
    sleep(SECOND) == Err(Halt::CannotWait)
}

/// `drop` for what may be `Copy`.
fn discard<T>(_: T) {}

/// The message of the panic of `f`, if it panics.
fn panic_of(f: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
    Some(payload.downcast_ref::<String>().expect("a formatted message").clone())
}

/// The line that the message of the switch trap in force names.
#[track_caller]
fn set_at() -> Option<u32> {
    let message = panic_of(yield_now)?;
    let (_, place) = message.split_once("under the switch trap set at ").expect("a trap's words");
    let line = place.strip_prefix(file!()).expect("this file").split(':').nth(1);
    Some(line.unwrap().parse().unwrap())
}

#[test]
fn under_a_block_trap_every_operation_that_would_wait_says_so() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let mut other = spawn(pause);
        yield_now();
        let _trap = block_trap();
        assert_eq!(rx.recv(), Err(Halt::CannotWait));
        assert_eq!(rx.recv_timeout(SECOND), Err(Halt::CannotWait));
        assert_eq!(rx.recv_held().map(drop), Err(Halt::CannotWait));
        assert_eq!(rx.iter().next(), None);
        let refused = Err(SendError { value: 1, why: Halt::CannotWait });
        assert_eq!(tx.send(1), refused);
        assert_eq!(tx.send_timeout(1, SECOND), refused);
        assert_eq!(tx.sending(1).wait(), refused);
        assert_eq!(tx.reserving().wait().map(drop), Err(Halt::CannotWait));
        assert_eq!(tx.send_all([1, 2, 3]), Err(SendError { value: 1, why: Halt::CannotWait }));
        assert!(matches!(other.join_mut(), Err(JoinError::Halted(Halt::CannotWait))));
        assert_eq!((sleep(SECOND), pause()), (Err(Halt::CannotWait), Err(Halt::CannotWait)));
        assert_eq!(after(SECOND).wait(), Err(Halt::CannotWait));
        let called = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = called.clone();
        let call = blocking(move || told.store(true, std::sync::atomic::Ordering::Relaxed));
        assert_eq!(call, Err(Halt::CannotWait));
        assert!(!called.load(std::sync::atomic::Ordering::Relaxed));
        let chosen = select! { recv(rx) -> it => it, op(after(SECOND)) -> it => it.map(|_| 0) };
        assert_eq!(chosen, Err(Halt::CannotWait));
        assert_eq!((tx.balance(), rx.balance()), (0, 0), "nothing is left behind");
    });
}

#[test]
fn under_a_block_trap_what_need_not_wait_happens_and_yielding_does_nothing() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let (reader, ended) = (spawn(move || rx.recv()), spawn(|| 5));
        yield_now();
        let ran = Rc::new(Cell::new(false));
        let told = ran.clone();
        drop(spawn(move || told.set(true)));
        let trap = block_trap();
        assert_eq!(tx.send(3), Ok(()));
        assert_eq!(tx.try_send(4), Ok(Some(4)));
        assert_eq!(ended.join().unwrap(), 5);
        assert_eq!(select! { send(tx, 4) -> _ => 0, default => 1 }, 1);
        yield_now();
        assert!(!ran.get());
        drop(trap);
        yield_now();
        assert!(ran.get());
        assert_eq!(reader.join().unwrap(), Ok(3));
    });
}

#[test]
fn block_traps_nest_and_may_be_dropped_in_any_order() {
    run(|| {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            assert!(!trapped());
            let mut traps = [(); 3].map(|()| Some(block_trap()));
            for index in order {
                assert!(trapped());
                traps[index] = None;
            }
            assert!(!trapped());
        }
    });
}

#[test]
fn traps_are_in_force_only_for_the_tasklet_that_set_them() {
    run(|| {
        let (block, switch) = (block_trap(), Cell::new(None));
        let other = spawn(|| (trapped(), set_at()));
        drop(block);
        assert_eq!(other.join().unwrap(), (false, None));
        let other = spawn(|| {
            let _traps = (block_trap(), switch_trap());
        });
        other.join().unwrap();
        assert_eq!((trapped(), set_at()), (false, None));
        switch.set(Some(switch_trap()));
        let child = spawn(|| (trapped(), set_at()));
        switch.set(None);
        assert_eq!(child.join().unwrap(), (false, None), "children do not inherit it");
    });
}

#[test]
fn a_guard_dropped_by_another_tasklet_frees_the_one_that_set_it() {
    run(|| {
        let (tx, rx) =
            tasklets::channel::Builder::new().prefer(Prefer::Receiver).channel::<BlockTrap>();
        let dropper = spawn(move || rx.recv().map(drop));
        yield_now();
        let (first, second) = (block_trap(), block_trap());
        assert!(trapped());
        assert!(tx.send(first).is_ok(), "the receiver waits and runs at once");
        assert!(dropper.is_finished() && trapped(), "the second is still in force");
        drop(second);
        assert!(!trapped());
    });
}

#[test]
fn a_guard_that_outlives_its_tasklet_does_nothing() {
    run(|| {
        let traps = spawn(|| (block_trap(), switch_trap())).join().unwrap();
        assert_eq!((trapped(), set_at()), (false, None));
        drop(traps);
        assert_eq!((trapped(), set_at()), (false, None));
    });
}

#[test]
fn a_forgotten_guard_stays_in_force_to_the_end_of_its_tasklet_and_no_longer() {
    run(|| {
        for _ in 0..3 {
            let forgetful = spawn(|| {
                forget(block_trap());
                (trapped(), trapped())
            });
            assert_eq!(forgetful.join().unwrap(), (true, true));
            let line = line!() + 2;
            let forgetful = spawn(|| {
                forget(switch_trap());
                (set_at(), set_at())
            });
            assert_eq!(forgetful.join().unwrap(), (Some(line), Some(line)));
            assert_eq!(spawn(|| (trapped(), set_at())).join().unwrap(), (false, None));
        }
    });
}

#[test]
fn outside_of_a_run_a_guard_does_nothing_and_shield_calls() {
    let traps = (block_trap(), switch_trap());
    assert_eq!(run(|| (trapped(), set_at())), (false, None));
    yield_now();
    drop(traps);
    assert_eq!(shield(|| 6), 6);
}

#[test]
fn under_a_switch_trap_every_operation_that_would_switch_panics_and_names_the_trap() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let other = spawn(pause);
        yield_now();
        let line = line!() + 1;
        let trap = switch_trap();
        let mut other = other;
        let mut reserving = tx.reserving();
        let tries: [(&str, &mut dyn FnMut()); 8] = [
            ("yield_now", &mut || yield_now()),
            ("recv", &mut || discard(rx.recv())),
            ("send", &mut || drop(tx.send(1))),
            ("recv_held", &mut || drop(rx.recv_held())),
            ("sleep", &mut || discard(sleep(SECOND))),
            ("pause", &mut || discard(pause())),
            ("join", &mut || drop(other.join_mut())),
            ("reserve", &mut || drop((&mut reserving).wait())),
        ];
        for (name, operation) in tries {
            let message = panic_of(operation).unwrap_or_else(|| panic!("{name} does not panic"));
            let place = format!("root would switch under the switch trap set at {}", file!());
            assert!(message.contains(&format!("{place}:{line}:")), "{name}: {message}");
            let operation = format!("in its operation at {}:", file!());
            assert!(message.contains(&operation), "{name}: {message}");
        }
        drop((trap, reserving));
        assert_eq!(tx.balance(), 0, "nothing is left behind");
        assert!(other.insert());
        assert!(other.join().is_ok());
    });
}

#[test]
fn under_a_switch_trap_what_need_not_switch_happens_and_the_caller_goes_on() {
    let runtime = Runtime::builder().virtual_clock(true).budget(1).build();
    let ended = runtime.run(|| {
        let (tx, rx) = tasklets::channel::Builder::new().prefer(Prefer::Receiver).channel::<u8>();
        let reader = spawn(move || rx.recv());
        yield_now();
        let ran = Rc::new(Cell::new(false));
        let told = ran.clone();
        let trap = switch_trap();
        drop(spawn(move || told.set(true)));
        assert_eq!(tx.send(3), Ok(()));
        (0..9).for_each(|_| assert_eq!(tx.try_send(4), Ok(Some(4))));
        assert_eq!(select! { send(tx, 4) -> _ => 0, default => 1 }, 1);
        assert!(!ran.get(), "neither the preference nor the budget switches");
        drop(trap);
        assert_eq!(reader.join().unwrap(), Ok(3));
    });
    ended.unwrap();
}

#[test]
fn switch_traps_nest_and_the_panic_names_the_last_one_that_is_left() {
    run(|| {
        let line = line!();
        let first = switch_trap(); // line + 1
        let second = switch_trap(); // line + 2
        let third = switch_trap(); // line + 3
        assert_eq!(set_at(), Some(line + 3));
        drop(second);
        assert_eq!(set_at(), Some(line + 3));
        drop(third);
        assert_eq!(set_at(), Some(line + 1));
        drop(first);
        assert_eq!(set_at(), None);
    });
}

#[test]
fn switch_traps_set_at_one_place_are_counted() {
    run(|| {
        let mut traps: Vec<_> = (0..3).map(|_| switch_trap()).collect();
        while !traps.is_empty() {
            assert!(set_at().is_some());
            drop(traps.swap_remove(0));
        }
        assert_eq!(set_at(), None);
    });
}

#[test]
fn under_both_traps_waiting_is_an_error_and_not_a_panic() {
    run(|| {
        let _traps = (switch_trap(), block_trap());
        assert!(trapped());
        assert_eq!(set_at(), None);
    });
}

#[test]
fn a_panic_under_a_switch_trap_unwinds_through_waiting_destructors() {
    struct Waits(Rc<Cell<Option<Halt>>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            yield_now();
            self.0.set(sleep(SECOND).err());
        }
    }
    let seen = Rc::new(Cell::new(None));
    let told = seen.clone();
    let error = run(|| {
        let child = spawn(move || {
            let _trap = switch_trap();
            let _waits = Waits(told);
            resume_unwind(Box::new("first"));
        });
        child.join().map(|never: ()| never).unwrap_err()
    });
    assert_eq!((error.message(), seen.get()), (Some("first"), Some(Halt::CannotWait)));
}

#[test]
fn a_scope_needs_to_wait_and_so_panics_under_a_trap_before_its_body_runs() {
    run(|| {
        let entered = Cell::new(false);
        let enter = || scope(|_| entered.set(true));
        let trap = block_trap();
        assert!(panic_of(enter).is_some_and(|it| it.contains("a scope has to wait")));
        drop(trap);
        let trap = switch_trap();
        assert!(panic_of(enter).is_some_and(|it| it.contains("under the switch trap set at")));
        drop(trap);
        assert!(!entered.get());
        enter();
        assert!(entered.get());
    });
}

#[test]
fn a_trap_set_inside_of_a_scope_does_not_keep_it_from_ending() {
    run(|| {
        let ended = Cell::new(0);
        let (mut block, mut switch) = (None, None);
        let count = || {
            yield_now();
            ended.set(ended.get() + 1);
        };
        scope(|s| {
            drop(s.spawn(count));
            block = Some(block_trap());
        });
        assert_eq!((ended.get(), trapped()), (1, true));
        drop(block);
        scope(|s| {
            drop(s.spawn(count));
            switch = Some(switch_trap());
        });
        assert_eq!(ended.get(), 2);
        drop(switch);
        assert_eq!(set_at(), None);
    });
}

#[test]
fn a_shield_keeps_cancellation_off_until_the_outermost_has_ended() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let careful = spawn(move || {
            let inside = shield(|| (shield(|| rx.recv()), rx.recv()));
            (inside, rx.recv())
        });
        yield_now();
        careful.cancel();
        assert!(careful.is_cancelled());
        assert_eq!(tx.send_all([1, 2]), Ok(2));
        assert_eq!(careful.join().unwrap(), ((Ok(1), Ok(2)), Err(Halt::Cancelled)));
    });
}

#[test]
fn a_shield_keeps_deadlines_off_until_it_has_ended() {
    run(|| {
        let timed = within(SECOND, || (shield(|| sleep(2 * SECOND)), sleep(SECOND)));
        assert_eq!(timed.value, (Ok(()), Err(Halt::TimedOut)));
        assert!(timed.expired);
        assert_eq!(sleep(SECOND), Ok(()));
    });
}

#[test]
fn a_shield_that_is_left_by_a_panic_shields_no_more() {
    run(|| {
        let careful = spawn(|| {
            drop(catch_unwind(|| shield(|| -> () { resume_unwind(Box::new("on purpose")) })));
            pause()
        });
        yield_now();
        careful.cancel();
        assert_eq!(careful.join().unwrap(), Err(Halt::Cancelled));
    });
}

#[test]
fn a_shield_is_for_its_own_tasklet_only() {
    run(|| {
        let child = shield(|| {
            let child = spawn(pause);
            yield_now();
            child.cancel();
            child.join()
        });
        assert_eq!(child.unwrap(), Err(Halt::Cancelled));
    });
}

#[test]
fn the_end_of_the_run_breaks_a_shield_under_which_nothing_can_happen() {
    let ended = Rc::new(Cell::new(None));
    let told = ended.clone();
    run(|| {
        drop(spawn(move || told.set(Some(shield(pause)))));
        yield_now();
    });
    assert_eq!(ended.get(), Some(Err(Halt::Cancelled)));
}

#[test]
fn the_end_of_the_run_lets_a_shield_end_by_itself_if_it_can() {
    let ended = Rc::new(Cell::new(None));
    let told = ended.clone();
    run(|| {
        drop(spawn(move || told.set(Some((shield(|| sleep(5 * SECOND)), sleep(SECOND))))));
        yield_now();
    });
    assert_eq!(ended.get(), Some((Ok(()), Err(Halt::Cancelled))));
}

#[test]
fn an_operation_under_a_shield_keeps_its_own_timeout() {
    run(|| {
        let (tx, rx) = channel::<u8>();
        let careful = spawn(move || shield(|| (rx.recv_timeout(SECOND), rx.recv())));
        yield_now();
        careful.cancel();
        sleep(2 * SECOND).unwrap();
        tx.send(1).unwrap();
        assert_eq!(careful.join().unwrap(), (Err(Halt::TimedOut), Ok(1)));
    });
}

#[test]
fn an_injection_waits_for_the_end_of_a_shield() {
    run(|| {
        let careful = spawn(|| (shield(pause), pause(), take_injected().is_some()));
        yield_now();
        careful.inject("later");
        yield_now();
        assert_eq!(careful.state(), State::Paused);
        assert!(careful.insert());
        assert_eq!(careful.join().unwrap(), (Ok(()), Err(Halt::Injected), true));
    });
}
