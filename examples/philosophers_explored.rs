//! Dining philosophers under every schedule: the deadlock is found, explained, and fixed.
//!
//! A fork is a tasklet that is taken and put back. Who takes the left fork first can starve with
//! all the others; in one schedule of many. Prints the report of that one, then the verdict on
//! philosophers who agree on an order. Exits with 1 if either is not as expected.

use std::process::ExitCode;
use tasklets::explore::{Explore, Search};
use tasklets::{Builder, Sender, channel, scope};

const SEATS: usize = 4;

#[derive(Clone)]
struct Fork {
    take: Sender<()>,
    put: Sender<()>,
}

/// A fork that is taken and put back in turns, for as long as anybody can.
fn fork(number: usize) -> Fork {
    let (take, taken) = channel::Builder::new().name(format!("take {number}")).channel::<()>();
    let (put, back) = channel::Builder::new().name(format!("put {number}")).channel::<()>();
    let lies = move || while taken.recv().is_ok() && back.recv().is_ok() {};
    let fork = Builder::new().name(format!("fork {number}")).daemon(true).spawn(lies);
    drop(fork.expect("there is memory for a fork"));
    Fork { take, put }
}

fn eat(first: &Fork, second: &Fork) {
    for hand in [&first.take, &second.take, &first.put, &second.put] {
        hand.send(()).expect("a fork is there for as long as somebody can use it");
    }
}

fn dine(in_order: bool) {
    let forks: Vec<_> = (0..SEATS).map(fork).collect();
    scope(|table| {
        for seat in 0..SEATS {
            let (left, right) = (&forks[seat], &forks[(seat + 1) % SEATS]);
            let swap = in_order && seat + 1 == SEATS; // the only one whose left fork is the last
            let (first, second) = if swap { (right, left) } else { (left, right) };
            let name = Builder::new().name(format!("philosopher {seat}"));
            table.spawn_with(name, move || eat(first, second)).expect("there is memory for four");
        }
    });
}

fn main() -> ExitCode {
    let explorer = Explore::new().search(Search::Exhaustive);
    let hungry = explorer.clone().name("left first").run(|| dine(false)).report;
    hungry.iter().for_each(|it| println!("{it}\n"));
    let fed = explorer.name("in order").run(|| dine(true));
    println!("in order: {}", fed.verdict);
    let well = hungry.is_some() && fed.report.is_none() && fed.verdict.exhausted;
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
