//! The rules that greenlet's documentation teaches, row by row: SEEDS.md 2.2.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tasklets::{
    Halt, JoinError, Receiver, Runtime, SendError, Sender, channel, current, now, pause, run,
    snapshot, spawn, switch_trap, yield_now,
};

/// Runs its closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

// GR-02
#[test]
fn a_destructor_during_a_panic_cannot_switch_but_may_try() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    run(move || {
        let (tx, rx) = channel::<u8>();
        let reader = spawn(move || rx.recv());
        yield_now();
        let others = Rc::new(Cell::new(0));
        let count = others.clone();
        let failing = spawn(move || {
            let _guard = OnDrop(move || {
                yield_now();
                told.borrow_mut().push((tx.try_send(1), pause(), others.get()));
            });
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        let bystander = spawn(move || count.set(1));
        assert!(failing.join().map(|never: ()| never).is_err());
        assert_eq!(reader.join().unwrap(), Ok(1));
        bystander.join().unwrap();
    });
    assert_eq!(seen.take(), [(Ok(None), Err(Halt::CannotWait), 0)]);
}

// GR-02
#[test]
fn native_code_that_is_not_reentrant_is_guarded_by_a_switch_trap() {
    let buffer = Rc::new(RefCell::new(Vec::new())); // like the static buffer of a C library
    let static_buffer = buffer.clone();
    let error = run(move || {
        let careless = spawn(move || {
            let mut buffer = static_buffer.borrow_mut();
            let _trap = switch_trap();
            buffer.push(1);
            yield_now();
        });
        careless.join().unwrap_err()
    });
    assert!(error.message().unwrap().contains("switch trap"), "{error}");
    assert_eq!(buffer.take(), [1], "the borrow has ended with the panic");
}

// GR-04
#[test]
fn after_its_run_every_handle_still_answers() {
    let (tx, rx) = channel::<u8>();
    let (other_tx, other_rx) = channel::<u8>();
    let from = other_rx.clone();
    let (reader, done) = run(move || (spawn(move || (from.recv(), other_rx)), spawn(|| 5)));
    assert!(reader.is_finished() && done.is_finished());
    reader.cancel();
    reader.inject("late");
    assert_eq!((reader.pause(), reader.insert(), reader.run_now()), (false, false, false));
    assert!(matches!(reader.join(), Err(JoinError::Cancelled)));
    assert!(matches!(done.join(), Ok(5) | Err(JoinError::Cancelled)));
    let closed = Err(SendError { value: 1, why: Halt::Closed });
    assert_eq!((other_tx.try_send(1).map(drop), other_tx.send(1)), (closed.clone(), closed));
    assert_eq!((tx.try_send(1), rx.recv()), (Ok(Some(1)), Err(Halt::CannotWait)));
    assert_eq!(tx.send(1), Err(SendError { value: 1, why: Halt::CannotWait }));
    assert!(current().is_none() && snapshot().is_none());
}

// GR-04
#[test]
fn destructors_at_the_end_of_a_thread_may_use_what_is_left_of_a_run() {
    struct Last {
        runtime: Runtime,
        ends: (Sender<u8>, Receiver<u8>),
        told: std::sync::mpsc::Sender<bool>,
    }
    impl Drop for Last {
        fn drop(&mut self) {
            let (tx, rx) = &self.ends;
            let outside = current().is_none() && snapshot().is_none() && now() <= now();
            let refused = rx.recv() == Err(Halt::CannotWait) && tx.try_send(1) == Ok(Some(1));
            yield_now();
            self.told.send(outside && refused && self.runtime.step().is_ok()).unwrap();
        }
    }
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    for before in [true, false] {
        let (told, heard) = std::sync::mpsc::channel();
        let body = move || {
            if before {
                LAST.with(|_| ()); // its destructor is registered before the crate's own
            }
            let runtime = Runtime::builder().build();
            drop(runtime.spawn(pause).unwrap());
            runtime.run_ready().unwrap();
            LAST.set(Some(Last { runtime, ends: channel(), told }));
        };
        std::thread::spawn(body).join().unwrap();
        assert_eq!(heard.recv(), Ok(true), "registered first: {before}");
    }
}

/// An iterator over what `body` sends.
fn generator<T: 'static>(
    body: impl FnOnce(Sender<T>) -> Result<(), SendError<T>> + 'static,
) -> impl Iterator<Item = T> {
    let (tx, rx) = channel();
    drop(spawn(move || body(tx)));
    rx.into_iter()
}

fn hanoi(
    height: u32,
    [from, to, over]: [u8; 3],
    out: &Sender<(u8, u8)>,
) -> Result<(), SendError<(u8, u8)>> {
    if height == 0 {
        return Ok(());
    }
    hanoi(height - 1, [from, over, to], out)?;
    out.send((from, to))?;
    hanoi(height - 1, [over, to, from], out)
}

// GR-06
#[test]
fn a_generator_yields_from_any_depth_of_calls() {
    run(|| {
        let moves: Vec<_> = generator(|out| hanoi(2, [0, 2, 1], &out)).collect();
        assert_eq!(moves, [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(generator(|out| hanoi(8, [0, 2, 1], &out)).count(), 255);
    });
}

// GR-06
#[test]
fn a_generator_that_is_dropped_is_left_from_any_depth_at_once() {
    run(|| {
        let deepest = Rc::new(Cell::new(None));
        let told = deepest.clone();
        let body = move |out: Sender<_>| {
            let ended = hanoi(8, [0, 2, 1], &out);
            told.set(Some(ended.as_ref().unwrap_err().why));
            ended
        };
        assert_eq!(generator(body).take(3).count(), 3);
        yield_now();
        assert_eq!(deepest.get(), Some(Halt::Closed));
    });
}

// GR-06
#[test]
fn one_generator_yields_out_of_another_several_levels_at_once() {
    run(|| {
        let outer = generator(|out| {
            let inner = out.clone();
            generator(move |steps| {
                inner.send("inner, to the outermost")?;
                drop(steps.send("inner, to its caller"));
                inner.send("inner, again")
            })
            .try_for_each(|it| out.send(it))
        });
        let mut seen: Vec<_> = outer.collect();
        let first = seen.remove(0);
        seen.sort();
        assert_eq!(first, "inner, to the outermost");
        assert_eq!(seen, ["inner, again", "inner, to its caller"]);
    });
}

// GR-07
#[test]
fn a_callback_driven_loop_becomes_straight_line_code() {
    /// The program: it asks for the next character when it wants one.
    fn commands(keys: &Receiver<char>) -> Vec<String> {
        let line = || keys.iter().take_while(|it| *it != '\n').collect::<String>();
        std::iter::from_fn(|| Some(line())).take_while(|it| it != "quit").collect()
    }
    let runtime = Runtime::builder().build();
    let (tx, keys) = channel();
    let program = runtime.spawn(move || commands(&keys)).unwrap();
    // The loop of the user interface, which knows nothing of tasklets but this callback.
    let on_key = |key| {
        runtime.run_ready().unwrap();
        tx.try_send(key).is_ok_and(|it| it.is_none())
    };
    assert!("look\ngo north\nquit\n".chars().all(on_key));
    assert!(!on_key('x'), "the program has ended");
    assert_eq!(program.join().unwrap(), ["look", "go north"]);
}
