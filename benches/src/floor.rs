//! The floor: two stacks that take turns, and nothing else.
//!
//! F is one resume and the yield that answers it, alternating between two stacks of `generator`
//! (the crate that tasklets is built on). `corosensei` shows what another switch costs.

use crate::sample::{Entry, Sample};
use corosensei::{Coroutine, CoroutineResult};
use generator::{Gn, LocalGenerator};
use std::time::Instant;

/// The name of the peer that every ratio is taken to.
pub const FLOOR: &str = "floor";

/// How many switches are measured.
pub const COUNT: u64 = 4_000_000;

pub fn entries() -> Vec<Entry> {
    vec![
        Entry::here("switch", FLOOR, COUNT, generator_switch),
        Entry::here("switch", "corosensei", COUNT, corosensei_switch),
    ]
}

fn generator_switch(count: u64) -> Sample {
    let rounds = count.div_ceil(2);
    let (mut left, mut right) = (turns(rounds), turns(rounds));
    let start = Instant::now();
    for _ in 0..rounds {
        left.resume();
        right.resume();
    }
    let sample = Sample::per(start.elapsed(), 2 * rounds);
    // Both have one yield behind them that nobody answered: let them return.
    left.resume();
    right.resume();
    sample
}

fn turns(rounds: u64) -> LocalGenerator<'static, (), ()> {
    Gn::<()>::new_scoped_local(move |mut scope| {
        for _ in 0..rounds {
            scope.yield_with(());
        }
    })
}

fn corosensei_switch(count: u64) -> Sample {
    let rounds = count.div_ceil(2);
    let (mut left, mut right) = (coroutine(rounds), coroutine(rounds));
    let start = Instant::now();
    for _ in 0..rounds {
        assert!(matches!(left.resume(()), CoroutineResult::Yield(())));
        assert!(matches!(right.resume(()), CoroutineResult::Yield(())));
    }
    let sample = Sample::per(start.elapsed(), 2 * rounds);
    left.resume(());
    right.resume(());
    sample
}

fn coroutine(rounds: u64) -> Coroutine<(), (), ()> {
    Coroutine::new(move |yielder, ()| {
        for _ in 0..rounds {
            yielder.suspend(());
        }
    })
}
