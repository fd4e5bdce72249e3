//! Ports of faults that were found in real programs, and of dejafu's examples.
//!
//! Channels of Go do not close when their holders go. So that a port loses nothing of the fault,
//! somebody who is left waiting holds what the original would not have closed.

use super::case::Case;
use super::parts::{Lock, buffer, daemon};
use std::time::Duration;
use tasklets::{Receiver, Sender, after, channel, select, spawn};

pub const CASES: &[Case] = &[
    Case::faulty("logger", "is missing", || logger(false)).traces(2).states(17),
    Case::sound("logger_fixed", || logger(true)),
    Case::faulty("autoupdate", "Deadlock", || auto_update(false)).traces(2).states(11),
    Case::sound("autoupdate_fixed", || auto_update(true)),
    Case::faulty("etcd6857", "LeftBehind", || etcd_6857(false)).traces(2).states(7),
    Case::sound("etcd6857_fixed", || etcd_6857(true)),
    Case::faulty("etcd6873", "LeftBehind", || etcd_6873(false)).traces(3).states(14),
    Case::sound("etcd6873_fixed", || etcd_6873(true)),
    Case::faulty("kubernetes1321", "LeftBehind", || kubernetes_1321(3, false)).traces(7).states(94),
    Case::sound("kubernetes1321_fixed", || kubernetes_1321(3, true)),
    Case::faulty("kubernetes5316", "LeftBehind", || kubernetes_5316(false))
        .lax()
        .traces(3)
        .states(4),
    Case::sound("kubernetes5316_fixed", || kubernetes_5316(true)).lax(),
];

/// Case 12. A logger with a mailbox of one place is stopped; bug: the log is read before the last
/// message is in it. Source: dejafu.
fn logger(fixed: bool) {
    let (tx, mailbox) = buffer();
    let log = Lock::new(Vec::new());
    let own = log.clone();
    let logger = spawn(move || {
        while let Ok(Some(message)) = mailbox.recv() {
            let mut all = own.take();
            all.push(message);
            own.give(all);
        }
    });
    for message in 0..3 {
        tx.send(Some(message)).unwrap();
    }
    tx.send(None).unwrap();
    if fixed {
        logger.join().unwrap();
    }
    assert_eq!(log.take(), [0, 1, 2], "a message is missing");
}

/// Case 13. A value is computed on demand and forgotten after a while; bug: it is forgotten before
/// the one who demanded it has read it, and both wait. Source: auto-update, in dejafu.
fn auto_update(fixed: bool) {
    let ((demand, demands), (put, placed)) = (channel::<()>(), channel());
    let ((forget, forgotten), (show, value)) = (channel::<()>(), channel());
    // The place of the value: whoever wants to read or to forget it waits until it is there.
    let never_closed = value.clone();
    daemon(move || {
        let _never_closed = never_closed;
        while let Ok(it) = placed.recv() {
            loop {
                select! {
                    send(show, it) -> _ => {}
                    recv(forgotten) -> _ => break,
                }
            }
        }
    });
    daemon(move || {
        while demands.recv().is_ok() && put.send(7).is_ok() {
            if fixed {
                // It stays until the next demand.
                demands.recv().ok();
            }
            if forget.send(()).is_err() {
                return;
            }
        }
    });
    demand.send(()).unwrap();
    assert_eq!(value.recv(), Ok(7));
}

/// Case 14. A node is asked for its status and is stopped; bug: after the stop nobody answers.
/// Source: etcd 6857, in GoKer.
fn etcd_6857(fixed: bool) {
    let ((ask, asked), (reply, status)) = (channel(), channel());
    let ((stop, stopped), (done, is_done)) = (channel(), channel::<()>());
    let (until_done, never_closed, open) = (is_done.clone(), asked.clone(), ask.clone());
    spawn(move || {
        let (_done, _open) = (done, open);
        loop {
            select! {
                recv(asked) -> _ => reply.send(7).unwrap(),
                recv(stopped) -> _ => return,
            }
        }
    });
    spawn(move || {
        let _never_closed = never_closed;
        select! {
            send(ask, ()) -> _ => assert_eq!(status.recv(), Ok(7)),
            recv(until_done) -> _ if fixed => {}
        }
    });
    spawn(move || {
        stop.send(()).unwrap();
        is_done.recv().unwrap_err();
    });
}

/// Case 15. A stop holds the lock while it waits for the worker; bug: the worker needs the lock
/// for an update that came before. Source: etcd 6873, in GoKer.
fn etcd_6873(fixed: bool) {
    let ((update, updates), (done, is_done)) = (channel::<()>(), channel::<()>());
    let lock = Lock::new(());
    let workers = lock.clone();
    spawn(move || {
        let _done = done;
        for () in &updates {
            workers.take();
            workers.give(());
        }
    });
    drop(update.try_send(()));
    spawn(move || {
        lock.take();
        drop(update);
        if fixed {
            lock.give(());
        }
        is_done.recv().unwrap_err();
        if !fixed {
            lock.give(());
        }
    });
}

/// Case 16. A distributor sends to all watchers while it holds the lock; bug: a watcher that stops
/// needs the lock and receives no more. Source: kubernetes 1321, in GoKer.
fn kubernetes_1321(rounds: usize, fixed: bool) {
    let (result, results) = channel();
    // The lock is around the number of watchers.
    let lock = Lock::new(0);
    let distributors = lock.clone();
    spawn(move || {
        for _ in 0..rounds {
            let watchers = distributors.take();
            if watchers > 0 {
                // It fails if the watcher is about to go.
                drop(result.send(()));
            }
            distributors.give(watchers);
        }
    });
    spawn(move || {
        lock.take();
        lock.give(1);
        let never_closed = (!fixed).then_some(results);
        lock.take();
        lock.give(0);
        drop(never_closed);
    });
}

/// Case 17. A request gives up after a while; bug: its worker is left behind with the answer.
/// Source: kubernetes 5316, in GoKer.
fn kubernetes_5316(fixed: bool) {
    let ((result, results), (error, errors)) = (channel(), channel());
    let never_closed = (!fixed).then(|| (results.clone(), errors.clone()));
    spawn(move || {
        let _never_closed = never_closed;
        answer(&result, &error);
    });
    request(&results, &errors);
}

/// Sends a result or an error, whether or not somebody wants it.
fn answer(result: &Sender<u32>, error: &Sender<u32>) {
    select! {
        send(result, 1) -> _ => {}
        send(error, 2) -> _ => {}
    }
}

fn request(results: &Receiver<u32>, errors: &Receiver<u32>) {
    select! {
        recv(results) -> it => { assert_eq!(it, Ok(1)); }
        recv(errors) -> it => { assert_eq!(it, Ok(2)); }
        op(after(Duration::from_millis(10))) -> _ => {}
    }
}
