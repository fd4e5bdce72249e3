//! The syntax of `select!`: every form of an arm, and what may stand in a body.

use std::cell::RefCell;
use std::time::Duration;
use tasklets::{
    Halt, Never, Operation, Receiver, Runtime, Sender, Tasklet, after, channel, now, select, spawn,
    yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs `main` in virtual time.
#[track_caller]
fn run<R>(main: impl FnOnce() -> R) -> R {
    let ended = Runtime::builder().virtual_clock(true).build().run(main);
    ended.unwrap_or_else(|error| panic!("{error}"))
}

/// A receiver for which a sender waits with `value`.
fn ready<T: 'static>(value: T) -> Receiver<T> {
    let (tx, rx) = channel();
    drop(spawn(move || tx.send(value)));
    yield_now();
    rx
}

/// A sender for which a receiver waits.
fn wanted<T: 'static>() -> (Sender<T>, Tasklet<Result<T, Halt>>) {
    let (tx, rx) = channel();
    let reader = spawn(move || rx.recv());
    yield_now();
    (tx, reader)
}

#[test]
fn every_form_of_an_arm_gives_its_output() {
    run(|| {
        let rx = ready(1);
        assert_eq!(select! { recv(rx) -> it => it }, Ok(1));
        let (tx, reader) = wanted();
        assert_eq!(select! { send(tx, 2) -> it => it }, Ok(()));
        assert_eq!(reader.join().unwrap(), Ok(2));
        let rx = ready(3);
        assert_eq!(select! { op(rx.receiving()) -> it => it }, Ok(3));
        let mut child = spawn(|| 4);
        assert_eq!(select! { op(&mut child) -> it => it.unwrap() }, 4);
        assert_eq!(select! { op(spawn(|| 5)) -> it => it.unwrap() }, 5);
        assert!(select! { op(after(SECOND)) -> it => it.is_ok() });
    });
}

#[test]
fn every_form_of_a_default_happens_when_nothing_else_can() {
    run(|| {
        let (_tx, rx) = channel::<Never>();
        let start = now();
        assert_eq!(select! { default => 1 }, 1);
        assert_eq!(select! { default => { 2 } }, 2);
        assert_eq!(select! { recv(rx) -> _ => 0, default => 3 }, 3);
        assert_eq!(select! { default => 4, recv(rx) -> _ => 0 }, 4);
        assert_eq!(select! { biased; recv(rx) -> _ => 0, default => 5, }, 5);
        assert_eq!(now(), start);
        assert_eq!(select! { default(SECOND) => 6 }, 6);
        assert_eq!(select! { recv(rx) -> _ => 0, default(SECOND) => { 7 } }, 7);
        assert_eq!(select! { default(SECOND) => 8, recv(rx) -> _ => 0 }, 8);
        assert_eq!(select! { biased; recv(rx) -> _ => 0, default(SECOND) => 9, }, 9);
        assert_eq!(now() - start, 4 * SECOND);
    });
}

#[test]
fn a_default_does_not_happen_when_an_arm_can() {
    run(|| {
        let start = now();
        let rx = ready(1);
        assert_eq!(select! { recv(rx) -> it => it, default => Ok(0) }, Ok(1));
        let rx = ready(2);
        assert_eq!(select! { default(SECOND) => Ok(0), recv(rx) -> it => it }, Ok(2));
        let rx = ready(3);
        assert_eq!(select! { recv(rx) -> it => it, default(Duration::ZERO) => Ok(0) }, Ok(3));
        assert_eq!(now(), start);
    });
}

#[test]
fn a_default_after_an_endless_delay_never_happens() {
    run(|| {
        let (tx, rx) = channel();
        drop(spawn(move || {
            tasklets::sleep(1_000_000 * SECOND).unwrap();
            tx.send(1)
        }));
        assert_eq!(select! { recv(rx) -> it => it, default(Duration::MAX) => Ok(0) }, Ok(1));
    });
}

#[test]
fn commas_may_stand_after_everything_and_be_left_out_after_blocks() {
    run(|| {
        let (_tx, silent) = channel::<u8>();
        let (quiet, _rx) = channel::<u8>();
        let rx = ready(1);
        let got = select! {
            recv(silent,) -> _ => { 0 }
            send(quiet, 1,) -> _ => { 0 },
            op(silent.receiving(),) -> _ => 0,
            recv(rx) -> it => { it.unwrap() }
            default => { 0 }
        };
        assert_eq!(got, 1);
        let rx = ready(2);
        let got = select! {
            biased;
            recv(silent) -> _ if true => { 0 }
            send(quiet, 1) -> _ if 1 < 2 => 0,
            recv(rx) -> it => it.unwrap(),
            default(SECOND) => 0,
        };
        assert_eq!(got, 2);
    });
}

#[test]
fn an_arm_whose_guard_is_false_does_not_happen() {
    run(|| {
        let (first, second) = (ready(1), ready(2));
        let (tx, reader) = wanted::<u8>();
        let on = false;
        for _ in 0..50 {
            let got = select! {
                recv(first) -> _ if on => 1,
                send(tx, 1) -> _ if on => 2,
                op(second.receiving()) -> _ if on => 3,
                default => 4,
            };
            assert_eq!(got, 4);
        }
        let got = select! { recv(first) -> _ if on => Ok(0), recv(second) -> it if !on => it };
        assert_eq!(got, Ok(2));
        drop(tx);
        assert_eq!((first.recv(), reader.join().unwrap()), (Ok(1), Err(Halt::Closed)));
    });
}

#[test]
fn a_guard_may_call_and_compare() {
    run(|| {
        let (rx, limit) = (ready(1), Some(3));
        let got = select! {
            recv(rx) -> it if limit.is_some_and(|it| it > 5) => it,
            recv(rx) -> it if limit.is_some_and(|it| it < 5) && !rx.is_closed() => it.map(|it| -it),
        };
        assert_eq!(got, Ok(-1));
    });
}

#[test]
fn patterns_take_outputs_apart() {
    run(|| {
        let rx = ready((1, "one"));
        let got = select! { recv(rx) -> it => { let (number, _) = it.unwrap(); number } };
        assert_eq!(got, 1);
        let rx = ready(2);
        let pair = rx.receiving().map(|it| (it.unwrap(), "two"));
        assert_eq!(select! { op(pair) -> (number, name) => (name, number) }, ("two", 2));
        let rx = ready(3);
        let got = select! { recv(rx) -> mut it => { it = it.map(|it| it + 1); it } };
        assert_eq!(got, Ok(4));
    });
}

#[test]
fn bodies_may_leave_the_loop_and_the_function() {
    fn sum(rx: &Receiver<i32>) -> Result<i32, Halt> {
        let mut sum = 0;
        'outer: loop {
            for _ in 0..3 {
                select! {
                    recv(rx) -> it => match it? {
                        0 => continue,
                        -1 => continue 'outer,
                        -2 => break 'outer,
                        -3 => return Ok(-sum),
                        it => sum += it,
                    },
                }
            }
        }
        Ok(sum)
    }
    run(|| {
        let feed = |items: &'static [i32]| {
            let (tx, rx) = channel();
            drop(spawn(move || tx.send_all(items.iter().copied())));
            rx
        };
        assert_eq!(sum(&feed(&[1, 0, -1, 2, -2, 5])), Ok(3));
        assert_eq!(sum(&feed(&[1, 2, 3, 4, -3, 5])), Ok(-10));
        assert_eq!(sum(&feed(&[1, 2])), Err(Halt::Closed));
    });
}

#[test]
fn arms_may_diverge() {
    fn one_of(rx: &Receiver<i32>, quit: &Receiver<Never>) -> Option<i32> {
        let it = select! {
            recv(rx) -> it => it.unwrap(),
            recv(quit) -> _ => return None,
        };
        Some(it + 1)
    }
    run(|| {
        let (alive, quit) = channel();
        assert_eq!(one_of(&ready(1), &quit), Some(2));
        drop(alive);
        let (_tx, silent) = channel();
        assert_eq!(one_of(&silent, &quit), None);
    });
}

#[test]
fn a_body_may_move_and_change_what_its_arms_use() {
    run(|| {
        let rx = ready(1);
        let (tx, reader) = wanted::<u8>();
        let got = select! {
            biased;
            recv(rx) -> it => { drop(rx); drop(tx); it }
            send(tx, 2) -> _ => { drop(tx); Ok(0) }
        };
        assert_eq!((got, reader.join().unwrap()), (Ok(1), Err(Halt::Closed)));

        let mut rx = Some(ready(2));
        select! { recv(rx.as_ref().unwrap()) -> it => { assert_eq!(it, Ok(2)); rx = None } }
        assert!(rx.is_none());
    });
}

#[test]
fn ends_may_be_temporaries_references_and_fields() {
    struct Client {
        replies: RefCell<Vec<Receiver<u8>>>,
        named: Receiver<u8>,
    }
    impl Client {
        fn named(&self) -> &Receiver<u8> {
            &self.named
        }
    }
    run(|| {
        assert_eq!(select! { recv(ready(1)) -> it => it }, Ok(1));
        let client = Client { replies: RefCell::new(vec![ready(2)]), named: ready(3) };
        assert_eq!(select! { recv(client.replies.borrow()[0]) -> it => it }, Ok(2));
        assert!(client.replies.try_borrow_mut().is_ok());
        assert_eq!(select! { recv(client.named()) -> it => it }, Ok(3));
        assert_eq!(select! { recv(&&client.named) -> it => it }, Err(Halt::Closed));
        let (tx, reader) = wanted();
        assert_eq!(select! { send(tx.clone(), String::from("four")) -> it => it }, Ok(()));
        assert_eq!(reader.join().unwrap(), Ok("four".to_owned()));
    });
}

#[test]
fn selects_nest_in_bodies_values_and_operations() {
    run(|| {
        let (tx, reader) = wanted();
        let (a, b) = (ready(1), ready(2));
        select! {
            send(tx, select! { recv(a) -> it => it.unwrap() }) -> sent => select! {
                recv(b) -> it => { sent.unwrap(); assert_eq!(it, Ok(2)) }
            },
        }
        assert_eq!(reader.join().unwrap(), Ok(1));
        let c = ready(3);
        let got = select! {
            op(select! { default => c.receiving() }) -> it if select! { default => true } => it,
        };
        assert_eq!(got, Ok(3));
    });
}

#[test]
fn names_of_the_user_are_not_those_of_the_macro() {
    run(|| {
        let (chosen, end, operation, output) = (ready(1), ready(2), ready(3), ready(4));
        let mut sum = 0;
        for _ in 0..4 {
            sum += select! {
                recv(chosen) -> end if !chosen.is_closed() => end.unwrap(),
                recv(end) -> chosen if !end.is_closed() => chosen.unwrap(),
                op(operation.receiving()) -> output if !operation.is_closed() => output.unwrap(),
                recv(output) -> operation if !output.is_closed() => operation.unwrap(),
            };
            yield_now(); // the sender of the one that was chosen ends
        }
        assert_eq!(sum, 10);
    });
}

macro_rules! each_arm_of {
    ($($index:tt)*) => {{
        let count = [$($index),*].len();
        for chosen in 0..count {
            let (to, from): (Vec<_>, Vec<_>) = (0..count).map(|_| channel::<usize>()).unzip();
            let tx = to[chosen].clone();
            drop(spawn(move || tx.send(chosen)));
            let got = select! { $(recv(from[$index]) -> it => ($index, it)),* };
            assert_eq!(got, (chosen, Ok(chosen)), "{count} arms");
            let reader = from[chosen].clone();
            let reader = spawn(move || reader.recv());
            let got = select! {
                biased;
                $(send(to[$index], 10 + $index) -> it => { it.unwrap(); $index })*
            };
            assert_eq!((got, reader.join().unwrap()), (chosen, Ok(10 + chosen)), "{count} arms");
        }
    }};
}

#[test]
fn there_may_be_one_to_sixteen_arms() {
    run(|| {
        each_arm_of!(0);
        each_arm_of!(0 1);
        each_arm_of!(0 1 2);
        each_arm_of!(0 1 2 3);
        each_arm_of!(0 1 2 3 4);
        each_arm_of!(0 1 2 3 4 5);
        each_arm_of!(0 1 2 3 4 5 6);
        each_arm_of!(0 1 2 3 4 5 6 7);
    });
    run(|| {
        each_arm_of!(0 1 2 3 4 5 6 7 8);
        each_arm_of!(0 1 2 3 4 5 6 7 8 9 10);
        each_arm_of!(0 1 2 3 4 5 6 7 8 9 10 11 12);
        each_arm_of!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        each_arm_of!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    });
}
