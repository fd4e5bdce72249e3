//! Real programs under every schedule: as many traces as there are, and the faults that they have.

use tasklets::explore::{Outcome, Program, Settings, Verdict, every_state, exhaust};
use tasklets::{Receiver, Sender, channel, select, spawn};

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

/// Two readers come twice each, and a writer says that it waits; `polite` readers then wait too.
///
/// It fails if more readers than there are go before the writer.
fn readers_and_a_writer(polite: bool) {
    let ((read, to_read), (write, to_write)) = (channel(), channel());
    let ((wait, waits), (finish, finished)) = (channel(), channel());
    for _ in 0..2 {
        let (read, finish) = (read.clone(), finish.clone());
        spawn(move || {
            for _ in 0..2 {
                read.send(()).unwrap();
                finish.send(true).unwrap();
            }
        });
    }
    let own = (wait.clone(), write.clone(), finish.clone());
    spawn(move || {
        own.0.send(()).unwrap();
        own.1.send(()).unwrap();
        own.2.send(false).unwrap();
    });
    let (mut reading, mut writing, mut waiting, mut before) = (0, false, false, 0);
    for _ in 0..11 {
        select! {
            recv(waits) -> _ => waiting = true,
            recv(to_read) -> _ if !(writing || polite && waiting) => {
                reading += 1;
                before += usize::from(waiting);
            },
            recv(to_write) -> _ if waiting && reading == 0 => (writing, waiting) = (true, false),
            recv(finished) -> it => if it.unwrap() { reading -= 1 } else { writing = false },
        }
        assert!(before <= 2, "a writer starves");
    }
}

#[test]
fn a_writer_starves_in_some_traces_unless_readers_are_polite() {
    let count = |polite| {
        let main = move || readers_and_a_writer(polite);
        let verdict = exhaust(&Program::new("readers", &main), &Settings::default());
        let starves =
            |it: &Outcome| matches!(it, Outcome::Panicked(_, why) if why.contains("starves"));
        assert!(verdict.exhausted && verdict.failures.iter().all(|it| starves(&it.outcome)));
        (verdict.executions, verdict.traces, verdict.failures.len())
    };
    // As many traces as without reduction.
    assert_eq!((count(false), count(true)), ((1_084, 1_084, 94), (486, 486, 0)));
}
