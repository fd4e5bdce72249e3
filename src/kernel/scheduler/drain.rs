//! The end of a run: every tasklet ends, by ever stronger means, or is given up by name.
//!
//! Always: when a drain is over, no tasklet is left that could run.
//! Means: cancel -> break shields -> end waits whose partner leaked what it owed -> give up.

use super::{Limit, Ran, Scheduler, wake_paused};
use crate::error::Halt;
use crate::kernel::clock::NEVER;
use crate::kernel::running::PATIENCE;
use crate::kernel::task::{Failure, Task, flag};
use crate::kernel::wait;
use std::rc::Rc;

/// Times that nobody could run until all who are left are given up: by then each has ignored its
/// cancellation often enough.
const LAST_RESORT: u32 = 2 * PATIENCE;

impl Scheduler {
    /// Ends the run: cancels all tasklets and runs until none is left.
    pub(crate) fn drain(self: &Rc<Self>) {
        self.draining.set(true);
        self.home.host_panics.set(std::thread::panicking());
        let all = Limit {
            until_ended: None,
            switches: u64::MAX,
            at: NEVER,
            sleep: true,
            until_failed: false,
        };
        let mut stuck = 0;
        loop {
            let tasks = self.tasks();
            if tasks.is_empty() {
                break;
            }
            for task in &tasks {
                if stuck > LAST_RESORT {
                    self.abandon(task);
                    continue;
                }
                if stuck > 0 {
                    task.set(flag::SHIELD_BROKEN);
                }
                if stuck > 1 && task.has(flag::COMMITTED) {
                    // The partner leaked what it owed: nobody else can end this wait.
                    if task.is_waiting() {
                        // Before it has run the partner may let it go all the same.
                        task.clear(flag::COMMITTED);
                        wait::settle_now(task, wait::RETRY);
                    } else {
                        wait::unhold(task, false);
                    }
                }
                wake_paused(task);
                wait::interrupt(task, Halt::Cancelled);
            }
            drop(tasks);
            // Each time stronger: nothing else can end those who are left.
            stuck += u32::from(self.drive(&all) == Ran::Stuck);
        }
        let timers = self.timers.borrow_mut().take_all();
        drop(timers);
        self.draining.set(false);
    }

    /// Gives a tasklet up that would not end: it never runs again.
    pub(super) fn abandon(&self, task: &Rc<Task>) {
        drop(task.seat.take()); // it holds live frames, so this leaks it
        *task.extra().failure.borrow_mut() = Some(Failure::Cancelled);
        self.abandoned.borrow_mut().push(task.clone());
        self.finish(task);
    }
}
