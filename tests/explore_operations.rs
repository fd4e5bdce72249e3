//! Operations of channels under exploration: what can come of each, and nothing else.

mod results;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use results::{SECOND, fail, ignore, label, lax, results, set};
use tasklets::{
    Halt, Never, Operation, Select, after, channel, now, pause, select, sleep, spawn, yield_now,
};

#[test]
fn an_attempt_may_come_early_or_late() {
    let receives = results(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || tx.send(1).is_ok());
        let first = rx.try_recv().unwrap();
        drop(rx);
        (first, sender.join().unwrap())
    });
    assert_eq!(receives, set([(None, false), (Some(1), true)]));
    let sends = results(|| {
        let (tx, rx) = channel();
        ignore(spawn(move || rx.recv()));
        tx.try_send(1).unwrap()
    });
    assert_eq!(sends, set([None, Some(1)]));
}

#[test]
fn two_attempts_never_meet() {
    let all = results(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || tx.try_send(1).unwrap());
        (rx.try_recv().map_err(|it| it.to_string()), sender.join().unwrap())
    });
    let closed = Err(Halt::Closed.to_string());
    assert_eq!(all, set([(Ok(None), Some(1)), (closed, Some(1))]));
    let zero = results(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || tx.try_send(1).is_ok_and(|it| it.is_none()));
        (label(rx.recv_timeout(Duration::ZERO)), sender.join().unwrap())
    });
    assert!(zero.iter().all(|it| it.0 != "done" && !it.1), "{zero:?}");
}

#[test]
fn a_time_limit_decides_between_times_only() {
    let race = |wait: u32| {
        move || {
            let (tx, rx) = channel();
            ignore(spawn(move || (sleep(2 * SECOND), tx.send(1))));
            label(rx.recv_timeout(wait * SECOND))
        }
    };
    assert_eq!(results(race(1)), set(["TimedOut".into()]));
    assert_eq!(results(race(3)), set(["done".into()]));
    assert_eq!(results(race(2)), set(["TimedOut".into(), "done".into()]));
    for wait in 1..4 {
        assert!(lax(race(wait)).contains("done"));
    }
    let early = results(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || (sleep(SECOND), rx.recv()).1);
        let sent = tx.send_deadline(1, now() + 2 * SECOND).is_ok();
        drop(tx);
        (sent, reader.join().unwrap().is_ok())
    });
    assert_eq!(early, set([(true, true)]));
}

#[test]
fn a_select_takes_each_arm_in_some_run() {
    let all = results(|| {
        let ((tx, rx), (other, from_other)) = (channel(), channel());
        let (one, two) = (spawn(move || tx.send(1).is_ok()), spawn(move || other.send(2).is_ok()));
        let value = select! { recv(rx) -> it => it, recv(from_other) -> it => it };
        ignore((rx, from_other));
        (value.unwrap(), one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(all, set([(1, true, false), (2, false, true)]));
    let biased = results(|| {
        let ((tx, rx), (other, from_other)) = (channel(), channel());
        ignore((spawn(move || tx.send(1)), spawn(move || other.send(2))));
        select! { biased; recv(rx) -> it => it, recv(from_other) -> it => it }.unwrap()
    });
    assert_eq!(biased, set([1, 2]));
    let late = results(|| {
        let (tx, rx) = channel();
        ignore(spawn(move || (sleep(SECOND), tx.send(1))));
        select! { recv(rx) -> _ => "value", default(2 * SECOND) => "late" }
    });
    assert_eq!(late, set(["value"]));
}

#[test]
fn an_expression_is_evaluated_only_if_its_arm_is_taken() {
    let all = results(|| {
        let ((tx, rx), (other, from_other)) = (channel(), channel());
        let reader = spawn(move || rx.recv().ok());
        ignore(spawn(move || other.send(2)));
        let made = Cell::new(0);
        let arm = select! {
            send(tx, { made.set(made.get() + 1); yield_now(); 1 }) -> it => it.map(|()| 1).unwrap(),
            recv(from_other) -> it => it.unwrap(),
        };
        drop(tx);
        (arm, made.get(), reader.join().unwrap())
    });
    assert_eq!(all, set([(1, 1, Some(1)), (2, 0, None)]));
}

#[test]
fn an_expression_that_panics_lets_the_receiver_wait_again() {
    let all = results(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || rx.recv().unwrap());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            select! { send(tx, fail("no value")) -> it => it.unwrap() }
        }));
        let dropped = tx.reserving().wait().map(ignore).is_ok();
        let held = tx.reserving().wait().map(|it| (yield_now(), it)).map(ignore).is_ok();
        tx.send(7).unwrap();
        (panicked.is_err(), dropped, held, reader.join().unwrap())
    });
    assert_eq!(all, set([(true, true, true, 7)]));
}

#[test]
fn a_held_sender_waits_whatever_its_receiver_does() {
    let all = results(|| {
        let ((tx, rx), (done, finished)) = (channel(), channel());
        let sender = spawn(move || (tx.send(5).unwrap(), done.send(()).unwrap()));
        let held = rx.recv_held().unwrap();
        let early = finished.try_recv();
        yield_now();
        let unfinished = !sender.is_finished();
        let value = held.accept();
        finished.recv().unwrap();
        ignore(sender.join());
        (value, early.unwrap(), unfinished)
    });
    assert_eq!(all, set([(5, None, true)]));
    // The guard may be given away, and whoever drops it lets the sender go.
    let away = results(|| {
        let ((tx, rx), (guards, guard)) = (channel(), channel());
        let sender = spawn(move || tx.send(5).is_ok());
        ignore(spawn(move || ignore(guard.recv())));
        guards.send(rx.recv_held().unwrap()).map_err(|_| ()).unwrap();
        sender.join().unwrap()
    });
    assert_eq!(away, set([true]));
}

#[test]
fn who_is_held_is_cancelled_by_its_next_operation() {
    let all = results(|| {
        let (tx, rx) = channel();
        let sender = spawn(move || (tx.send(5).is_ok(), label(pause())));
        let held = rx.recv_held().unwrap();
        sender.cancel();
        drop(held);
        sender.join().unwrap()
    });
    assert_eq!(all, set([(true, "Cancelled".into())]));
}

#[test]
fn operations_compose() {
    let all = results(|| {
        let ((tx, rx), (other, from_other)) = (channel(), channel());
        ignore((spawn(move || tx.send(1)), spawn(move || other.send(2))));
        let never = after(SECOND).only_if(false).map(|_| Ok(0));
        let late = after(SECOND).map(|_| Ok(3));
        let either = rx.receiving().map(|it| it.map(|it| it * 10)).or(from_other.receiving());
        never.or(either.or(late)).map(|it| it.unwrap()).wait()
    });
    assert_eq!(all, set([10, 2]));
    let nobody = results(|| {
        let (_tx, rx) = channel::<u8>();
        rx.receiving().poll().is_none()
    });
    assert_eq!(nobody, set([true]));
}

#[test]
fn a_reused_select_sends_and_receives() {
    let all = results(|| {
        let ((tx, rx), (mine, theirs)) = (channel(), channel());
        let (one, two) = (spawn(move || tx.send(1)), spawn(move || theirs.recv()));
        let mut select = Select::new();
        let (receives, sends) = (select.recv(&rx), select.send(&mine));
        let mut order = Vec::new();
        for _ in 0..2 {
            let chosen = select.wait().unwrap();
            let index = chosen.index();
            if index == receives {
                order.push(chosen.recv(&rx).unwrap());
            } else {
                chosen.send(&mine, 2).unwrap();
                order.push(2);
            }
            assert!(index == receives || index == sends);
            select.remove(index);
        }
        ignore((one.join(), two.join()));
        order
    });
    assert_eq!(all, set([vec![1, 2], vec![2, 1]]));
    let unused = results(|| {
        let (mine, theirs) = channel();
        let reader = spawn(move || theirs.recv());
        let mut select = Select::new();
        select.send(&mine);
        ignore(select.wait().unwrap()); // what is not used has not happened
        yield_now();
        select.wait().unwrap().send(&mine, 4).unwrap();
        reader.join().unwrap().unwrap()
    });
    assert_eq!(unused, set([4]));
}

struct Farewell(tasklets::Sender<&'static str>);

impl Drop for Farewell {
    fn drop(&mut self) {
        ignore(self.0.send("farewell"));
    }
}

#[test]
fn destructors_communicate_and_channels_travel() {
    let all = results(|| {
        let ((tx, rx), (box_in, box_out)) = (channel(), channel());
        let reader = spawn(move || rx.iter().collect::<Vec<_>>());
        ignore(spawn(move || ignore(box_out.recv())));
        box_in.send(Farewell(tx)).map_err(|_| ()).unwrap();
        reader.join().unwrap()
    });
    assert_eq!(all, set([vec!["farewell"]]));
    // What lies in an operation that fails is dropped, and the ends in it are closed by that.
    let closed = results(|| {
        let ((tx, rx), (alive, gone)) = (channel(), channel::<Never>());
        ignore(spawn(move || drop(rx)));
        ignore(tx.send(alive));
        label(gone.recv())
    });
    assert_eq!(closed, set(["Closed".into()]));
    let replies = results(|| {
        let (calls, called) = channel::<(u32, tasklets::Sender<u32>)>();
        ignore(spawn(move || called.iter().for_each(|(it, reply)| ignore(reply.send(it + 1)))));
        let clients = [1, 2].map(|it| {
            let calls = calls.clone();
            spawn(move || {
                let (reply, answer) = channel();
                calls.send((it, reply)).unwrap();
                answer.recv().unwrap()
            })
        });
        clients.map(|it| it.join().unwrap())
    });
    assert_eq!(replies, set([[2, 3]]));
}
