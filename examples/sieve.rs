//! The sieve of Eratosthenes as a chain of tasklets that grows by one filter for each prime.
//!
//! ```text
//! numbers --2,3,4..--> drop multiples of 2 --3,5,7..--> drop multiples of 3 --5,7,11..--> main
//! ```
//!
//! Nobody is told to stop: when main has enough it drops its receiver, the last filter finds its
//! channel closed and ends, and so on up to the numbers. Prints the primes below 50.

use tasklets::{Receiver, SendError, channel, run, spawn};

/// Sends 2, 3, 4, ...
fn numbers() -> Receiver<u32> {
    let (tx, rx) = channel();
    spawn(move || tx.send_all(2..));
    rx
}

/// Passes on what `prime` does not divide.
fn filter(prime: u32, from: Receiver<u32>) -> Receiver<u32> {
    let (tx, rx) = channel();
    spawn(move || -> Result<(), SendError<u32>> {
        for number in from {
            if number % prime != 0 {
                tx.send(number)?;
            }
        }
        Ok(())
    });
    rx
}

fn main() {
    let primes = run(|| {
        let mut primes = Vec::new();
        let mut numbers = numbers();
        // The first number that comes through all filters is the next prime.
        while let Ok(prime) = numbers.recv()
            && prime < 50
        {
            primes.push(prime);
            numbers = filter(prime, numbers);
        }
        primes
    });
    println!("{primes:?}");
}
