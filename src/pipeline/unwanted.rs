//! Stopping the stages that nobody wants anything of any more, also those that wait.
//!
//! Always: a stage is stopped when all have ended that it gives to, except for branches, which do
//! not count; and so are those before it, at once. Who does that is the tasklet that runs the
//! pipeline, which has nothing else to do: items cost nothing more by it.
//! Stage: `Wanted -> Unwanted`.

use super::network::Net;
use super::report::Edge;
use crate::channel::Receiver;
use crate::error::Halt;
use crate::tasklet::TaskletRef;
use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

/// A tasklet of a stage.
pub(super) struct Worker {
    pub(super) stage: usize,
    pub(super) tasklet: TaskletRef,
    pub(super) reason: Reason,
}

/// Whether a worker was stopped because nobody wants what it gives.
#[derive(Clone, Default)]
pub(super) struct Reason(Rc<Cell<bool>>);

impl Reason {
    pub(super) fn is_given(&self) -> bool {
        self.0.get()
    }
}

/// Hears which stages leave, and stops those that work for nobody then; returns when all workers
/// have ended, or this tasklet is stopped.
#[track_caller]
pub(super) fn stop_unwanted(net: Net<'_, '_>, left: &Receiver<usize>) {
    let Net { scope, edges, workers, leaving, .. } = net;
    drop(leaving); // from now on only workers have one
    let (edges, workers, at) = (edges.borrow().clone(), workers.take(), Location::caller());
    let mut ended = vec![false; workers.iter().map(|it| it.stage + 1).max().unwrap_or(0)];
    loop {
        match left.recv() {
            Ok(stage) => ended[stage] = true,
            Err(Halt::Closed) => return,
            // The stages are under that deadline, too.
            Err(Halt::TimedOut) => return,
            Err(Halt::Cancelled | Halt::Injected | Halt::CannotWait | Halt::Busy) => {
                return scope.cancel();
            }
        }
        // Who gives has a smaller number than who takes.
        for stage in (0..ended.len()).rev() {
            if !ended[stage] && is_unwanted(stage, &edges, &ended) {
                ended[stage] = true;
                for Worker { tasklet, reason, .. } in workers.iter().filter(|it| it.stage == stage)
                {
                    tasklet.cancel_because(at, || reason.0.set(true));
                }
            }
        }
    }
}

/// Whether it gives to others, and all of them have ended.
fn is_unwanted(stage: usize, edges: &[Edge], ended: &[bool]) -> bool {
    let mut takers = edges.iter().filter(|it| it.from == stage && !it.aside).peekable();
    takers.peek().is_some() && takers.all(|it| ended[it.to])
}
