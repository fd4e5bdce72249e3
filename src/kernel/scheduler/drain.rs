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
            if stuck > LAST_RESORT {
                tasks.iter().for_each(|it| self.abandon(it));
            } else {
                if stuck > 1 {
                    tasks.iter().for_each(end_owed_wait);
                }
                self.cancel_all(&tasks, stuck > 0);
            }
            drop(tasks);
            drop(self.told.take()); // those whose ends go now have ended their waits
            // Each time stronger: nothing else can end those who are left.
            stuck += u32::from(self.drive(&all) == Ran::Stuck);
        }
        drop(self.told.take());
        let timers = self.timers.borrow_mut().take_all();
        drop(timers);
        self.draining.set(false);
    }

    /// Cancels `tasks`, which are all, and from the start those that are made from here on.
    pub(crate) fn cancel_all(&self, tasks: &[Rc<Task>], shields_broken: bool) {
        self.draining.set(true);
        for task in tasks {
            if shields_broken {
                task.set(flag::SHIELD_BROKEN);
            }
            Scheduler::tear_away(task);
            wake_paused(task);
            wait::interrupt(task, Halt::Cancelled);
        }
    }

    /// Gives a tasklet up that would not end: it never runs again.
    pub(super) fn abandon(&self, task: &Rc<Task>) {
        self.give_up_claim(task);
        drop(task.seat.take()); // it holds live frames, so this leaks it
        *task.extra().failure.borrow_mut() = Some(Failure::Cancelled);
        self.abandoned.borrow_mut().push(task.clone());
        self.finish(task);
    }
}

/// Ends a wait for a partner that leaked what it owed: nobody else can.
fn end_owed_wait(task: &Rc<Task>) {
    if !task.has(flag::COMMITTED) {
        return;
    }
    if task.is_waiting() {
        // Before it has run the partner may let it go all the same.
        task.clear(flag::COMMITTED);
        wait::settle_now(task, wait::RETRY);
    } else {
        wait::unhold(task, false);
    }
}
