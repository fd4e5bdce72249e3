//! Runs that somebody else decides, for exploration: the same tasklets, stacks and channels.
//!
//! Always: each run begins as if the runtime were new, but for the stacks that it uses again.

use super::{Runtime, RuntimeBuilder};
use crate::error::{discard, panic_message};
use crate::kernel::name::TaskletId;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::stack::lend;
use crate::kernel::task::{Failure, Task};
use crate::tasklet::{Builder, fulfil};
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;

/// A tasklet that panicked, and nobody has taken its panic.
#[derive(Clone, Debug)]
pub(crate) struct Panicked {
    pub(crate) tasklet: Option<TaskletId>,
    pub(crate) message: String,
}

/// What decides a controlled run.
pub(crate) trait Decide {
    /// Makes the next thing happen when nobody is ready; false if nothing can.
    fn decide(&mut self, scheduler: &Rc<Scheduler>) -> bool;
    /// Looks at the tasklets when nothing can happen any more.
    fn look(&mut self, scheduler: &Rc<Scheduler>);
    /// Looks at what was left of them, when they have been taken down.
    fn look_back(&mut self, scheduler: &Rc<Scheduler>);
}

impl RuntimeBuilder {
    /// For controlled runs: in virtual time, without budgets.
    pub(crate) fn controlled(mut self) -> RuntimeBuilder {
        self.controlled = true;
        self.virtual_clock = true;
        self.budget = u32::MAX;
        self.threads = false; // panics are told apart by the OS thread of the search
        self
    }
}

impl Runtime {
    /// Runs `main` under control. At most so many tasklets can be spawned.
    ///
    /// # Panics
    /// Inside of another run.
    pub(crate) fn run_controlled(
        &self,
        main: &dyn Fn(),
        spawns: u32,
        decide: &mut dyn Decide,
        at: &'static Location<'static>,
    ) -> Vec<Panicked> {
        if let Err(why) = self.check_alone() {
            panic!("{why}");
        }
        let scheduler = &self.scheduler;
        scheduler.begin_controlled(spawns);
        let value = Cell::new(None);
        lend((), |loan| {
            let body = loan.erase(|| fulfil(main, &value));
            let root = Builder::new().stack_size(self.root_bytes).root();
            let root = match root.queue(scheduler, body, at) {
                Ok(root) => root,
                Err(why) => panic!("the root tasklet was not made: {why}"),
            };
            let drive = AssertUnwindSafe(|| {
                scheduler.drive_controlled(&mut || decide.decide(scheduler));
                decide.look(scheduler);
            });
            let driven = catch_unwind(drive);
            let mut panics = untaken(scheduler);
            panics.extend(panic_of(&root));
            scheduler.end_controlled();
            decide.look_back(scheduler);
            let others = scheduler.panicked.take();
            others.iter().chain([&root]).filter_map(take_payload).for_each(discard);
            scheduler.stray_panic.take().into_iter().for_each(discard);
            self.report_abandoned();
            driven.unwrap_or_else(|panic| resume_unwind(panic));
            panics
        })
    }
}

/// The panics that would end a run by themselves.
fn untaken(scheduler: &Scheduler) -> Vec<Panicked> {
    let stray = scheduler.stray_panic.borrow();
    let stray = stray.iter().map(|it| {
        let message = panic_message(&**it).to_owned();
        Panicked { tasklet: None, message }
    });
    let panicked = scheduler.panicked.borrow();
    stray.chain(panicked.iter().filter_map(panic_of)).collect()
}

fn take_payload(task: &Rc<Task>) -> Option<Box<dyn Any + Send>> {
    match task.extra_if_any()?.failure.replace(Some(Failure::Reported))? {
        Failure::Panicked(payload) => Some(payload),
        Failure::Cancelled | Failure::Reported => None,
    }
}

fn panic_of(task: &Rc<Task>) -> Option<Panicked> {
    let failure = task.extra_if_any()?.failure.borrow();
    let Some(Failure::Panicked(payload)) = &*failure else { return None };
    let message = panic_message(&**payload).to_owned();
    Some(Panicked { tasklet: Some(task.id()), message })
}
