//! Waiting for several things at once: two sources, a timeout for each wait, and the end of both.
//!
//! The clock is virtual: time passes only when nothing else can happen, and then at once. So the
//! program takes no time and prints the same on any machine:
//! ```text
//! 100ms: the fox says one
//! 170ms: the owl says hoo
//! 200ms: the fox says two
//! 300ms: the fox says three
//! 340ms: the owl says hoo
//! 470ms: silence
//! 510ms: the owl says hoo
//! 510ms: both are gone
//! ```

use std::time::Duration;
use tasklets::{Receiver, RunError, Runtime, after, channel, now, select, sleep, spawn};

const PATIENCE: Duration = Duration::from_millis(130);

/// Says `words`, one every `pause`, and goes.
fn speaker(words: [&'static str; 3], pause: Duration) -> Receiver<&'static str> {
    let (tx, rx) = channel();
    spawn(move || {
        for word in words {
            if sleep(pause).is_err() || tx.send(word).is_err() {
                break;
            }
        }
    });
    rx
}

fn listen() {
    let start = now();
    let fox = speaker(["one", "two", "three"], Duration::from_millis(100));
    let owl = speaker(["hoo"; 3], Duration::from_millis(170));
    let (mut fox_is_here, mut owl_is_here) = (true, true);
    while fox_is_here || owl_is_here {
        select! {
            recv(fox) -> word if fox_is_here => match word {
                Ok(word) => println!("{:?}: the fox says {word}", now() - start),
                Err(_) => fox_is_here = false,
            },
            recv(owl) -> word if owl_is_here => match word {
                Ok(word) => println!("{:?}: the owl says {word}", now() - start),
                Err(_) => owl_is_here = false,
            },
            op(after(PATIENCE)) -> _ => println!("{:?}: silence", now() - start),
        }
    }
    println!("{:?}: both are gone", now() - start);
}

fn main() -> Result<(), RunError> {
    Runtime::builder().virtual_clock(true).build().run(listen)
}
