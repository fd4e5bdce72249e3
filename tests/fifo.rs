//! Who runs when, first come first served: the table of `channel`, and the ready queue.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tasklets::channel::Builder;
use tasklets::{
    Operation, Prefer, Receiver, Runtime, Select, Sender, channel, pause, select, sleep, spawn,
    yield_now,
};

/// Who has done what, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<&'static str>>>);

impl Log {
    fn add(&self, what: &'static str) {
        self.0.borrow_mut().push(what);
    }

    fn take(&self) -> Vec<&'static str> {
        self.0.take()
    }
}

/// Runs `main` in virtual time; what was logged.
#[track_caller]
fn run(main: impl FnOnce(&Log)) -> Vec<&'static str> {
    let log = Log::default();
    Runtime::builder().virtual_clock(true).build().run(|| main(&log)).unwrap();
    log.take()
}

/// Lets everybody else run.
fn rest() {
    sleep(Duration::from_millis(10)).unwrap();
}

type Send = fn(&Sender<u8>);
type Receive = fn(&Receiver<u8>);

/// Every way to send that may not wait long.
const SENDS: [(&str, Send); 6] = [
    ("send", |tx| tx.send(1).unwrap()),
    ("try_send", |tx| assert_eq!(tx.try_send(1), Ok(None))),
    ("send_timeout", |tx| tx.send_timeout(1, Duration::from_secs(1)).unwrap()),
    ("sending", |tx| tx.sending(1).wait().unwrap()),
    ("select!", |tx| select!(send(tx, 1) -> sent => sent.unwrap())),
    ("Select", |tx| {
        let mut select = Select::new();
        select.send(tx);
        select.wait().unwrap().send(tx, 1).unwrap();
    }),
];

/// Every way to receive.
const RECEIVES: [(&str, Receive); 6] = [
    ("recv", |rx| assert_eq!(rx.recv(), Ok(1))),
    ("try_recv", |rx| assert_eq!(rx.try_recv(), Ok(Some(1)))),
    ("recv_timeout", |rx| assert_eq!(rx.recv_timeout(Duration::from_secs(1)), Ok(1))),
    ("receiving", |rx| assert_eq!(rx.receiving().wait(), Ok(1))),
    ("select!", |rx| select!(recv(rx) -> value => assert_eq!(value, Ok(1)))),
    ("Select", |rx| {
        let mut select = Select::new();
        select.recv(rx);
        assert_eq!(select.wait().unwrap().recv(rx), Ok(1));
    }),
];

/// A channel of that kind is sent to by the root while a receiver waits and another is ready.
fn send_meets(kind: Builder, send: Send) -> Vec<&'static str> {
    run(|log| {
        let (tx, rx) = kind.channel();
        let (receiver, other) = (log.clone(), log.clone());
        spawn(move || {
            rx.recv().unwrap();
            receiver.add("receiver");
        });
        yield_now();
        spawn(move || other.add("other"));
        send(&tx);
        log.add("sender");
        rest();
    })
}

/// ... is received from by the root while a sender waits and another is ready.
fn receive_meets(kind: Builder, receive: Receive) -> Vec<&'static str> {
    run(|log| {
        let (tx, rx) = kind.channel();
        let (sender, other) = (log.clone(), log.clone());
        spawn(move || {
            tx.send(1).unwrap();
            sender.add("sender");
        });
        yield_now();
        spawn(move || other.add("other"));
        receive(&rx);
        log.add("receiver");
        rest();
    })
}

fn check_sends(kind: &Builder, order: [&str; 3]) {
    for (name, send) in SENDS {
        assert_eq!(send_meets(kind.clone(), send), order, "{name}");
    }
}

fn check_receives(kind: &Builder, order: [&str; 3]) {
    for (name, receive) in RECEIVES {
        assert_eq!(receive_meets(kind.clone(), receive), order, "{name}");
    }
}

#[test]
fn by_default_a_sender_that_meets_a_receiver_goes_on() {
    check_sends(&Builder::new(), ["sender", "other", "receiver"]);
}

#[test]
fn a_preferred_receiver_that_is_met_runs_now_and_the_sender_last() {
    check_sends(&Builder::new().prefer(Prefer::Receiver), ["receiver", "other", "sender"]);
}

#[test]
fn a_preferred_sender_that_meets_a_receiver_goes_on() {
    check_sends(&Builder::new().prefer(Prefer::Sender), ["sender", "other", "receiver"]);
}

#[test]
fn by_default_a_receiver_that_meets_a_sender_goes_on() {
    check_receives(&Builder::new(), ["receiver", "other", "sender"]);
}

#[test]
fn a_preferred_receiver_that_meets_a_sender_goes_on() {
    check_receives(&Builder::new().prefer(Prefer::Receiver), ["receiver", "other", "sender"]);
}

#[test]
fn a_preferred_sender_that_is_met_runs_now_and_the_receiver_last() {
    check_receives(&Builder::new().prefer(Prefer::Sender), ["sender", "other", "receiver"]);
}

#[test]
fn who_meets_on_a_channel_that_yields_is_queued_behind_its_partner() {
    for prefer in [Prefer::Neither, Prefer::Receiver, Prefer::Sender] {
        let kind = Builder::new().prefer(prefer).yield_always(true);
        check_sends(&kind, ["other", "receiver", "sender"]);
        check_receives(&kind, ["other", "sender", "receiver"]);
    }
}

#[test]
fn who_meets_nobody_waits_and_the_next_in_the_queue_runs() {
    for prefer in [Prefer::Neither, Prefer::Receiver, Prefer::Sender] {
        for yields in [false, true] {
            let log = run(|log| {
                let (tx, rx) = Builder::new().prefer(prefer).yield_always(yields).channel();
                for waits in [true, false] {
                    let (own, tx, rx) = (log.clone(), tx.clone(), rx.clone());
                    spawn(move || {
                        own.add(if waits { "waits" } else { "meets" });
                        if waits { tx.send(1).unwrap() } else { assert_eq!(rx.recv(), Ok(1)) }
                    });
                    let own = log.clone();
                    spawn(move || own.add("next"));
                }
                rest();
            });
            assert_eq!(log[..3], ["waits", "next", "meets"], "{prefer:?} {yields}");
        }
    }
}

#[test]
fn senders_and_receivers_are_served_in_the_order_in_which_they_came() {
    for (name, receive) in RECEIVES {
        let log = run(|log| {
            let (tx, rx) = channel();
            for (name, send) in SENDS.into_iter().filter(|it| it.0 != "try_send") {
                let (log, tx) = (log.clone(), tx.clone());
                spawn(move || {
                    send(&tx);
                    log.add(name);
                });
            }
            yield_now();
            for _ in 1..SENDS.len() {
                receive(&rx);
                rest();
            }
        });
        let sends = SENDS.map(|it| it.0);
        let sends: Vec<_> = sends.into_iter().filter(|it| *it != "try_send").collect();
        assert_eq!(log, sends, "{name}");
    }
    let log = run(|log| {
        let (tx, rx) = channel();
        for (name, receive) in RECEIVES.into_iter().filter(|it| it.0 != "try_recv") {
            let (log, rx) = (log.clone(), rx.clone());
            spawn(move || {
                receive(&rx);
                log.add(name);
            });
        }
        yield_now();
        for _ in 1..RECEIVES.len() {
            tx.try_send(1).unwrap();
            rest();
        }
    });
    assert_eq!(log, ["recv", "recv_timeout", "receiving", "select!", "Select"]);
}

#[test]
fn a_permit_that_is_dropped_puts_its_receiver_behind_those_who_came_since() {
    let log = run(|log| {
        let (tx, rx) = channel();
        for name in ["first", "second"] {
            let (log, rx) = (log.clone(), rx.clone());
            spawn(move || {
                rx.recv().unwrap();
                log.add(name);
            });
            if name == "first" {
                yield_now();
            }
        }
        let permit = tx.reserving().wait().unwrap();
        yield_now(); // the second comes
        drop(permit);
        yield_now();
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        rest();
    });
    assert_eq!(log, ["second", "first"]);
}

#[test]
fn the_spawned_run_in_their_order_and_who_yields_runs_last() {
    let log = run(|log| {
        for names in [["a", "d"], ["b", "e"], ["c", "f"]] {
            let log = log.clone();
            spawn(move || {
                log.add(names[0]);
                yield_now();
                log.add(names[1]);
            });
        }
        rest();
    });
    assert_eq!(log, ["a", "b", "c", "d", "e", "f"]);
}

/// Three tasklets that log their name; `act` is given their handles before they have run.
fn three(act: impl FnOnce([&tasklets::TaskletRef; 3], &Log)) -> Vec<&'static str> {
    run(|log| {
        let handles = ["a", "b", "c"].map(|name| {
            let log = log.clone();
            spawn(move || log.add(name)).handle()
        });
        act(handles.each_ref(), log);
        log.add("root");
        rest();
    })
}

#[test]
fn who_is_run_now_runs_before_all_and_its_caller_after_all() {
    let log = three(|[_, _, c], _| assert!(c.run_now()));
    assert_eq!(log, ["c", "a", "b", "root"]);
    let log = three(|[a, b, _], _| {
        assert!(b.run_now());
        assert!(!b.run_now(), "it has ended");
        assert!(!a.run_now(), "it has ended");
    });
    assert_eq!(log, ["b", "a", "c", "root"]);
}

#[test]
fn who_is_paused_does_not_run_until_it_is_inserted_at_the_end() {
    let log = three(|[a, b, _], log| {
        assert!(a.pause() && b.pause());
        yield_now();
        log.add("then");
        assert!(b.insert() && a.insert());
        assert!(!a.insert(), "it is not paused");
        yield_now();
    });
    assert_eq!(log, ["c", "then", "b", "a", "root"]);
    let log = three(|[a, _, _], _| {
        assert!(a.pause() && a.insert());
        yield_now();
    });
    assert_eq!(log, ["b", "c", "a", "root"]);
}

#[test]
fn who_pauses_itself_is_inserted_at_the_end() {
    let log = run(|log| {
        let (first, second) = (log.clone(), log.clone());
        let sleeper = spawn(move || {
            pause().unwrap();
            first.add("sleeper");
        });
        yield_now();
        spawn(move || second.add("other"));
        sleeper.insert();
        rest();
    });
    assert_eq!(log, ["other", "sleeper"]);
}

#[test]
fn timers_of_one_moment_go_off_in_the_order_in_which_they_were_set() {
    let log = run(|log| {
        for (name, delay) in [("late", 2), ("a", 1), ("b", 1), ("c", 1)] {
            let log = log.clone();
            spawn(move || {
                sleep(Duration::from_millis(delay)).unwrap();
                log.add(name);
            });
        }
        rest();
    });
    assert_eq!(log, ["a", "b", "c", "late"]);
}

#[test]
fn the_end_of_a_channel_wakes_in_the_order_in_which_they_came() {
    let log = run(|log| {
        let (tx, rx) = channel::<u8>();
        for name in ["a", "b", "c"] {
            let (log, rx) = (log.clone(), rx.clone());
            spawn(move || {
                rx.recv().unwrap_err();
                log.add(name);
            });
        }
        yield_now();
        drop(tx);
        rest();
    });
    assert_eq!(log, ["a", "b", "c"]);
}
