//! Real programs as systems: the tasklets of a controlled run, reported to the board.
//!
//! Always: executions have nothing in common but the name, the runtime and the stacks that they use
//! again; each OS thread has its own.

use super::board::Board;
use super::bridge::{Bridge, Memory};
use super::quiet::{self, Quiet};
use super::system::System;
use super::watchdog::{self, Pulse};
use crate::kernel::announce;
use crate::runtime::Runtime;
use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    /// What this OS thread runs programs with.
    static BENCH: Cell<Option<Box<Bench>>> = const { Cell::new(None) };
}

/// What the executions of a program on one OS thread have in common.
struct Bench {
    program: String,
    limit: Duration,
    runtime: Runtime,
    pulse: Arc<Pulse>,
    memory: Memory,
}

impl Bench {
    fn new(program: &str, limit: Duration) -> Box<Bench> {
        let runtime = Runtime::builder().controlled().build();
        let (pulse, memory) = (Pulse::new(program, limit), Memory::default());
        Box::new(Bench { program: program.into(), limit, runtime, pulse, memory })
    }
}

/// A program of tasklets, as something to be explored.
///
/// It is run again and again, on the same stacks.
///
/// A run that does what nobody can decide ends as [`Refused`](super::Outcome::Refused), with the
/// place: it looks at others without an operation (`state`, `balance`, `is_closed`, a snapshot),
/// orders the ready queue, operates under a trap, or uses channels and tasklets of another run.
/// So does one in which a destructor operates while its tasklet unwinds, and whose panics are all
/// joined: nobody can wait there, so it is seen to find nobody only.
/// The failures of a scope are in the order of spawning.
pub struct Program<'a, M: ?Sized = dyn Fn() + 'a> {
    name: String,
    main: &'a M,
    limit: Duration,
    at: &'static Location<'static>,
}

impl<M: ?Sized> std::fmt::Debug for Program<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a, M: Fn() + ?Sized> Program<'a, M> {
    /// The program that `main` is the root tasklet of, called `name` in replay strings.
    #[track_caller]
    pub fn new(name: impl Into<String>, main: &'a M) -> Program<'a, M> {
        Program::at(name, main, Location::caller())
    }

    /// How long a local step may take in real time; else 20 s.
    ///
    /// A step that takes longer is named on stderr, and ends the process: nothing can stop it.
    pub fn step_limit(mut self, limit: Duration) -> Program<'a, M> {
        self.limit = limit;
        self
    }

    pub(super) fn at(
        name: impl Into<String>,
        main: &'a M,
        at: &'static Location<'static>,
    ) -> Program<'a, M> {
        Program { name: name.into(), main, limit: watchdog::LIMIT, at }
    }
}

impl<M: ?Sized> Drop for Program<'_, M> {
    fn drop(&mut self) {
        drop(BENCH.take());
    }
}

impl<M: Fn() + ?Sized> System for Program<'_, M> {
    fn program(&self) -> &str {
        &self.name
    }

    fn run(&self, board: &mut Board<'_>) {
        let quiet = Quiet::new();
        let bench = BENCH.take().filter(|it| it.program == self.name && it.limit == self.limit);
        let mut bench = bench.unwrap_or_else(|| Bench::new(&self.name, self.limit));
        // Each begins by an event of its own, but for the root.
        let spawns = u32::try_from(board.rules.events_max).unwrap_or(u32::MAX).saturating_add(2);
        let mut bridge = Bridge::new(board, &bench.pulse, std::mem::take(&mut bench.memory));
        bench.pulse.run(true);
        let main = || (self.main)();
        let panics = bench.runtime.run_controlled(&main, spawns, &mut bridge, self.at);
        bench.pulse.run(false);
        let places = quiet::take_places();
        for panicked in panics {
            // A panic that was passed on, as by a scope, is that of who began it.
            let same = |it: &&quiet::Place| it.message == panicked.message;
            let mine = |it: &&quiet::Place| Some(it.tasklet) == panicked.tasklet && same(it);
            let first = places.iter().filter(same).min_by_key(|it| it.tasklet);
            let origin = places.iter().rfind(mine).or(first);
            let (who, place) = match origin {
                Some(it) => (Some(it.tasklet), format!(", at {}", it.at)),
                None => (panicked.tasklet, String::new()),
            };
            let message = format!("{}{place}", panicked.message);
            bridge.board.panicked(bridge.doer(who), message);
        }
        bench.memory = bridge.rest();
        BENCH.set(Some(bench));
        drop(quiet);
    }

    fn rest(&self) {
        drop(BENCH.take());
    }
}

/// Tells the search what the running tasklet has seen; does nothing outside of an explored run.
///
/// Searches know who met whom, but not what was in a value. What is told here is compared in the
/// isolation check, and tells states apart for [`every_state`](super::every_state).
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use tasklets::explore::{Explore, observe};
/// use tasklets::spawn;
/// let explored = Explore::new().run(|| {
///     let shared = Rc::new(Cell::new(0)); // a mistake: tasklets should share nothing
///     let each = (1..=2).map(|number| {
///         let shared = shared.clone();
///         spawn(move || {
///             tasklets::yield_now();
///             observe(&shared.replace(number));
///             tasklets::yield_now();
///         })
///     });
///     each.collect::<Vec<_>>().into_iter().for_each(|it| it.join().unwrap());
/// });
/// assert!(explored.report.unwrap().outcome.contains("is not isolated"));
/// ```
pub fn observe(seen: &impl Hash) {
    let mut hasher = DefaultHasher::new();
    seen.hash(&mut hasher);
    announce::observed(hasher.finish());
}
