//! Real programs under every schedule: as many traces as there are, and the faults that they have.

use tasklets::explore::{Outcome, Program, Settings, Verdict, every_state, exhaust};
use tasklets::{Receiver, Sender, channel, spawn};

fn all(main: &dyn Fn()) -> Verdict {
    let verdict = exhaust(&Program::new("test", main), &Settings::default());
    assert!(verdict.exhausted && !verdict.diverged, "{verdict}");
    verdict
}

fn producers(count: usize, each: u32) {
    let (tx, rx) = channel();
    for _ in 0..count {
        let tx = tx.clone();
        spawn(move || (0..each).for_each(|it| tx.send(it).unwrap()));
    }
    drop(tx);
    assert_eq!(rx.iter().count(), count * each as usize);
}

fn fork() -> (Sender<()>, Sender<()>) {
    let ((take, taken), (put, back)) = (channel::<()>(), channel::<()>());
    tasklets::Builder::new()
        .daemon(true)
        .spawn(move || while taken.recv().is_ok() && back.recv().is_ok() {})
        .unwrap();
    (take, put)
}

fn philosophers(count: usize) {
    let forks: Vec<_> = (0..count).map(|_| fork()).collect();
    for seat in 0..count {
        let (left, right) = (forks[seat].clone(), forks[(seat + 1) % count].clone());
        spawn(move || {
            left.0.send(()).unwrap();
            right.0.send(()).unwrap();
            left.1.send(()).unwrap();
            right.1.send(()).unwrap();
        });
    }
}

fn pipe(cells: usize, items: u32) {
    let (tx, mut rx): (Sender<u32>, Receiver<u32>) = channel();
    spawn(move || tx.send_all(0..items).unwrap());
    for _ in 0..cells {
        let (next, after) = channel();
        let before = std::mem::replace(&mut rx, after);
        spawn(move || before.iter().for_each(|it| next.send(it).unwrap()));
    }
    assert!(rx.iter().eq(0..items));
}

#[test]
fn producers_have_as_many_traces_as_orders_of_arrival() {
    for (count, each, traces) in [(2, 1, 2), (2, 2, 6), (3, 1, 6), (3, 2, 90), (3, 3, 1_680)] {
        let verdict = all(&|| producers(count, each));
        assert_eq!(verdict.traces, traces, "{count} x {each}");
        assert!(verdict.failures.is_empty(), "{verdict}");
        assert_eq!(verdict.traces, traces, "{verdict}");
    }
}

#[test]
fn naive_philosophers_fail_in_one_trace_only() {
    for count in 2..=5 {
        let verdict = all(&|| philosophers(count));
        assert_eq!((verdict.traces, verdict.blocked), ((1 << count) - 1, 0), "{verdict}");
        assert_eq!(verdict.failures.len(), 1);
        assert_eq!(verdict.failures[0].outcome, Outcome::LeftBehind);
    }
}

#[test]
fn a_pipe_has_one_trace() {
    let verdict = all(&|| pipe(3, 5));
    assert_eq!((verdict.traces, verdict.executions), (1, 1), "{verdict}");
    assert!(verdict.failures.is_empty(), "{verdict}");
}

#[test]
fn values_without_size_make_few_states_of_many_traces() {
    let main = || {
        let (tx, rx) = channel();
        for _ in 0..3 {
            let tx = tx.clone();
            spawn(move || (0..10).for_each(|_| tx.send(()).unwrap()));
        }
        drop(tx);
        assert_eq!(rx.iter().count(), 30);
    };
    let verdict = every_state(&Program::new("units", &main), &Settings::default(), &mut |_, _| ());
    assert!(verdict.exhausted && verdict.failures.is_empty(), "{verdict}");
    // How many each has sent still, and the end: 11 x 11 x 11 and the last receive.
    assert_eq!(verdict.states, Some(1_332), "{verdict}");
}
