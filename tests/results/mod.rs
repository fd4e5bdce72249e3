//! Everything that a program of tasklets can come to, by search and in production.
//!
//! Always: what production comes to is among what the search has seen.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::time::Duration;

use tasklets::explore::{Outcome, Program, Rules, Settings, exhaust_with};
use tasklets::{Halt, Runtime};

pub const SECOND: Duration = Duration::from_secs(1);

/// Everything that `main` can come to; all runs end well.
pub fn results_with<R: Ord>(rules: Rules, main: impl Fn() -> R) -> BTreeSet<R> {
    let (last, mut all) = (RefCell::new(None), BTreeSet::new());
    let store = || ignore(last.replace(Some(main())));
    let settings = Settings { rules, ..Settings::default() };
    let program = Program::new("operations", &store);
    let verdict = exhaust_with(&program, &settings, &mut |run, names| {
        let end = run.outcome.text(names);
        assert!(matches!(run.outcome, Outcome::Finished | Outcome::Abandoned), "{end}");
        if run.is_complete() {
            all.insert(last.take().expect("the root has a result"));
        }
    });
    assert!(verdict.exhausted && !verdict.diverged, "{verdict}");
    all
}

/// [`results_with`] time that passes only when nothing else happens; production shows no others.
pub fn results<R: Ord + std::fmt::Debug>(main: impl Fn() -> R) -> BTreeSet<R> {
    let all = results_with(Rules::default(), &main);
    for seed in 0..30 {
        let runtime = Runtime::builder().seed(seed).virtual_clock(true).build();
        let one = runtime.run(&main).expect("it ends well");
        assert!(all.contains(&one), "production came to {one:?}, not one of {all:?}");
    }
    all
}

/// With timers that may fire at any moment.
pub fn lax<R: Ord>(main: impl Fn() -> R) -> BTreeSet<R> {
    results_with(Rules { lax_timers: true, ..Rules::default() }, main)
}

pub fn set<R: Ord, const N: usize>(all: [R; N]) -> BTreeSet<R> {
    BTreeSet::from(all)
}

/// For what comes of an operation.
pub fn ignore<T>(_: T) {}

pub fn fail<T>(why: &'static str) -> T {
    resume_unwind(Box::new(why))
}

pub fn label<T>(result: Result<T, Halt>) -> String {
    result.map_or_else(|why| format!("{why:?}"), |_| String::from("done"))
}
