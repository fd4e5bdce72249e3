//! Driving a controlled run: whoever is ready runs until nobody is, then somebody decides.
//!
//! Always: a run begins as if the scheduler were new, and nobody is ready when it is decided what
//! happens.

use super::{Active, Scheduler};
use crate::kernel::body::Turn;
use crate::kernel::clock::Nanos;
use crate::kernel::running::Running;
use crate::kernel::stage::Stage;
use crate::kernel::task::Task;
use std::rc::Rc;

impl Scheduler {
    /// Begins a run under control: the tasklets made from here on have the same ids each time.
    pub(crate) fn begin_controlled(&self, spawns: u32) {
        self.next_id.set(0);
        self.next_outer.set(0);
        self.home.choices.restart();
        self.set_time(0);
        self.home.parks.set(0);
        if let Some(control) = &self.home.control {
            control.begin(spawns);
        }
    }

    /// Lets the run go its own way, to its end.
    pub(crate) fn end_controlled(self: &Rc<Self>) {
        if let Some(control) = &self.home.control {
            control.end();
        }
        // It may have been stopped while some went on for ever under their shields.
        self.cancel_all(&self.tasks(), true);
        self.drain();
    }

    /// Sets the virtual time, also back.
    pub(crate) fn set_time(&self, now: Nanos) {
        self.home.clock.set(now);
        self.home.now.set(now);
    }

    /// Lets a new tasklet begin.
    pub(crate) fn begin(&self, task: Rc<Task>) {
        self.home.ready.push(task);
    }

    /// Runs whoever is ready, then asks `decide` what happens, again and again until it says that
    /// nothing does.
    pub(crate) fn drive_controlled(self: &Rc<Self>, decide: &mut dyn FnMut() -> bool) {
        let _active = Stage::new(Active, Some(self.clone()));
        let mut stage = Stage::new(Running, None);
        loop {
            while let Some(task) = self.home.ready.pop() {
                let turn = self.turn(task, &mut stage);
                if turn != Turn::Suspended {
                    self.after_turn(stage.show(None), turn);
                }
            }
            drop(stage.show(None));
            if !self.home.given_up.borrow().is_empty() {
                let given_up = self.home.given_up.take();
                given_up.iter().for_each(|it| self.abandon(it));
            }
            if !decide() && self.home.ready.is_empty() {
                break;
            }
        }
    }
}
