//! The same cases for loom 0.7: its own threads, mutexes and channel, searched exhaustively.
//!
//! Loom's channel is not a rendezvous: a send does not wait. One case builds a rendezvous from a
//! mutex and a condition variable.

use super::measure::Budget;
use loom::sync::{Arc, Condvar, Mutex, mpsc};
use loom::thread;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// How often the program was run.
static EXECUTIONS: AtomicU64 = AtomicU64::new(0);

/// Searches `main` and prints the line. A failure ends the process: what loom drops after a
/// deadlock can panic again.
fn exhaust(case: &str, what: &str, budget: &Budget, main: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_permutations = Some(budget.peers as usize);
    builder.log = false;
    let (start, most) = (Instant::now(), budget.peers);
    let head = format!("case={case} tool=loom{what} mode=exhaustive");
    let print = move |failed: bool| {
        let executions = EXECUTIONS.load(Relaxed);
        let first_bug = if failed { executions.to_string() } else { String::from("-") };
        let exhausted = if !failed && executions + 1 < most { "yes" } else { "no" };
        let nanos = start.elapsed().as_nanos() as u64 / executions.max(1);
        print!("{head} executions={executions} first_bug={first_bug} exhausted={exhausted}");
        println!(" ns_per_execution={nanos}");
    };
    let at_failure = print.clone();
    std::panic::set_hook(Box::new(move |_| {
        at_failure(true);
        std::process::exit(0);
    }));
    builder.check(move || {
        EXECUTIONS.fetch_add(1, Relaxed);
        main();
    });
    print(false);
}

/// Case 1, over a channel whose sends do not wait.
pub fn producers(case: &str, count: usize, each: u32, budget: &Budget) {
    exhaust(case, "-mpsc", budget, move || {
        let (tx, rx) = mpsc::channel();
        for _ in 0..count {
            let tx = tx.clone();
            thread::spawn(move || (0..each).for_each(|it| tx.send(it).unwrap()));
        }
        (0..count * each as usize).for_each(|_| _ = rx.recv().unwrap());
    });
}

/// Case 2; forks are mutexes here.
pub fn philosophers(case: &str, count: usize, budget: &Budget) {
    exhaust(case, "", budget, move || {
        let forks: Vec<_> = (0..count).map(|_| Arc::new(Mutex::new(()))).collect();
        let sit = |seat: usize| {
            let (left, right) = (forks[seat].clone(), forks[(seat + 1) % count].clone());
            move || {
                let first = left.lock().unwrap();
                let second = right.lock().unwrap();
                drop((first, second));
            }
        };
        // Loom has at most five threads, and this is one of them.
        let others: Vec<_> = (1..count).map(|seat| thread::spawn(sit(seat))).collect();
        sit(0)();
        others.into_iter().for_each(|it| it.join().unwrap());
    });
}

/// Two senders of one message each, one receiver, over a rendezvous made by hand.
pub fn rendezvous(budget: &Budget) {
    exhaust("producers2x1", "-condvar", budget, || {
        let place = Arc::new((Mutex::new(Place::Empty), Condvar::new()));
        for who in 0..2 {
            let place = place.clone();
            thread::spawn(move || send(&place, who));
        }
        (0..2).for_each(|_| _ = receive(&place));
    });
}

enum Place {
    Empty,
    Full(u32),
    Taken,
}

type Shared = (Mutex<Place>, Condvar);

fn send((place, changed): &Shared, value: u32) {
    let mut place = place.lock().unwrap();
    while !matches!(*place, Place::Empty) {
        place = changed.wait(place).unwrap();
    }
    *place = Place::Full(value);
    changed.notify_all();
    while !matches!(*place, Place::Taken) {
        place = changed.wait(place).unwrap();
    }
    *place = Place::Empty;
    changed.notify_all();
}

fn receive((place, changed): &Shared) -> u32 {
    let mut place = place.lock().unwrap();
    loop {
        if let Place::Full(value) = *place {
            *place = Place::Taken;
            changed.notify_all();
            return value;
        }
        place = changed.wait(place).unwrap();
    }
}
