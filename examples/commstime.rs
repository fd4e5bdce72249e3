//! Commstime, occam's classic network: the natural numbers by going round in a circle.
//!
//! ```text
//!   +--> prefix 0 --> delta --> main
//!   |                   |
//!   +---- successor <---+
//! ```
//!
//! Four tasklets and nothing but communication, so the time it takes is the time of a rendezvous.
//! Prints the sum of the first 100,000 numbers; the time goes to stderr.

use std::time::Instant;
use tasklets::{Halt, Receiver, Sender, channel, run, spawn};

const NUMBERS: u64 = 100_000;

/// Sends `first`, then whatever comes.
fn prefix(first: u64, from: Receiver<u64>, to: Sender<u64>) -> Result<(), Halt> {
    to.send(first)?;
    to.send_all(from)?;
    Ok(())
}

/// Sends everything to both.
fn delta(from: Receiver<u64>, left: Sender<u64>, right: Sender<u64>) -> Result<(), Halt> {
    for number in from {
        left.send(number)?;
        right.send(number)?;
    }
    Ok(())
}

/// Adds one to everything.
fn successor(from: Receiver<u64>, to: Sender<u64>) -> Result<(), Halt> {
    to.send_all(from.into_iter().map(|it| it + 1))?;
    Ok(())
}

fn main() {
    let start = Instant::now();
    let sum: u64 = run(|| {
        let (into_prefix, to_prefix) = channel();
        let (into_delta, to_delta) = channel();
        let (into_successor, to_successor) = channel();
        let (into_main, to_main) = channel();
        spawn(move || prefix(0, to_prefix, into_delta));
        spawn(move || delta(to_delta, into_main, into_successor));
        spawn(move || successor(to_successor, into_prefix));
        to_main.into_iter().take(NUMBERS as usize).sum()
    });
    println!("the first {NUMBERS} numbers add up to {sum}");
    // Each number takes four meetings: one on each arrow of the picture.
    eprintln!("{} ns per rendezvous", start.elapsed().as_nanos() as u64 / (4 * NUMBERS));
}
