//! Turns that somebody follows: a chooser decides their order, hooks listen, a monitor watches.
//!
//! Always: a hook runs on the scheduler's own stack, with nobody shown as running and nothing
//! borrowed; a panic in it ends the run.

use super::{Running, Scheduler};
use crate::error::discard;
use crate::kernel::fatal;
use crate::kernel::stack;
use crate::kernel::stage::Stage;
use crate::kernel::task::Task;
use crate::kernel::trace::Event;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

impl Scheduler {
    /// Lets the next tasklet run, where a chooser decides, hooks listen or a
    /// monitor watches; false if there is none.
    #[inline(never)]
    pub(super) fn turn_watched(self: &Rc<Self>, stage: &mut Stage<Running>) -> bool {
        drop(stage.show(None));
        let Some(task) = self.next_watched() else { return false };
        self.announce(&task);
        let turn = self.turn(task, stage);
        let task = stage.show(None);
        self.tell_left(task.as_deref());
        self.after_turn(task, turn);
        true
    }

    fn next_watched(&self) -> Option<Rc<Task>> {
        if !self.home.choices.decides_order() {
            return self.home.ready.pop();
        }
        let ways = self.home.ready.len();
        let choose = AssertUnwindSafe(|| self.home.choices.choose(ways.max(1)));
        let index = catch_unwind(choose).unwrap_or_else(|panic| {
            self.note_stray(panic);
            0
        });
        self.check_order();
        self.home.ready.take(index)
    }

    /// Tells the hooks and the monitor that `task` is about to run.
    fn announce(&self, task: &Rc<Task>) {
        if self.home.traced {
            let told = catch_unwind(AssertUnwindSafe(|| self.tell_switch(None, Some(task))));
            if let Err(cancel) = told {
                self.home.ready.push_front(task.clone()); // it has yet to end
                resume_unwind(cancel);
            }
        }
        if let Some(watch) = &self.home.trace.watch {
            watch.turn_begins(&task.who, task.at.get());
        }
    }

    /// Tells the monitor and the hooks that `task` does not run any more.
    fn tell_left(&self, task: Option<&Task>) {
        self.home.trace.watch.iter().for_each(|it| it.turn_ends());
        self.tell_switch(task, None);
    }

    fn tell_switch(&self, from: Option<&Task>, to: Option<&Task>) {
        self.tell(|| Event::Switched { from: from.map(Task::id), to: to.map(Task::id) });
    }

    /// Tells the hooks; a panic of one of them ends the run.
    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.home.traced {
            let told = catch_unwind(AssertUnwindSafe(|| self.home.trace.emit(event)));
            told.unwrap_or_else(|panic| self.note_stray(panic));
            self.check_order();
        }
    }

    /// Called when code of the user has run on the scheduler's own stack: it may have left that
    /// through a raw generator, and another scheduler may have become active and not ended since.
    pub(super) fn check_order(&self) {
        let active = Scheduler::active();
        if active.is_some_and(|it| !std::ptr::eq(&*it, self)) {
            fatal::die(&[
                b"tasklets: runs took turns through a raw generator, which they cannot\n",
            ]);
        }
    }

    pub(super) fn note_stray(&self, panic: Box<dyn Any + Send>) {
        if stack::is_cancel(&*panic) {
            // The whole run stands in a generator that is being dropped: hooks may not leave it.
            self.home.trace.silence();
            resume_unwind(panic);
        }
        let first = self.stray_panic.borrow().is_none();
        if first {
            self.stray_panic.replace(Some(panic));
        } else {
            discard(panic);
        }
        self.home.look_soon();
    }
}
