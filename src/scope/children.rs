//! The tasklets of a scope: who lives, who failed, and the wait for all of them.
//!
//! Always: a child is known until it has ended, and its panic until somebody has taken it.

use super::{Cause, ScopeFailure};
use crate::channel::{Never, Receiver, Sender, channel};
use crate::error::complain;
use crate::kernel::announce;
use crate::kernel::running;
use crate::kernel::scheduler::has_panic;
use crate::kernel::task::{Doing, Failure, Task, flag};
use crate::kernel::wait::Wait;
use crate::tasklet::TaskletRef;
use crate::time::Region;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::panic::Location;
use std::rc::Rc;

/// The two ends of the channel that tells of the shutdown.
pub(super) type Stop = (Option<Sender<Never>>, Receiver<Never>);

/// The children of a scope, and who waits for them.
pub(super) struct Children {
    pub(super) parent: Rc<Task>,
    pub(super) at: &'static Location<'static>,
    tasks: RefCell<Vec<Rc<Task>>>,
    /// In the order in which they ended.
    pub(super) failed: RefCell<Vec<Failed>>,
    pub(super) cancelled: Cell<bool>,
    /// The deadlines that were in force when the scope was opened.
    pub(super) region: Option<Rc<Region>>,
    /// Dropping the sender tells who listens that the scope shuts down.
    pub(super) stop: RefCell<Option<Stop>>,
}

impl Children {
    pub(super) fn new(parent: Rc<Task>, at: &'static Location<'static>) -> Children {
        // Under control it must not depend on the schedule who makes it.
        let stop = parent.home.controlled().map(|_| {
            let (tx, rx) = channel();
            (Some(tx), rx)
        });
        Children {
            region: Region::of(&parent),
            parent,
            at,
            tasks: RefCell::default(),
            failed: RefCell::default(),
            cancelled: Cell::new(false),
            stop: RefCell::new(stop),
        }
    }

    pub(super) fn add(&self, task: Rc<Task>) {
        let mut tasks = self.tasks.borrow_mut();
        // Those that are over are kept only for a panic that nobody has taken.
        if tasks.len() == tasks.capacity() && !self.is_controlled() {
            tasks.retain(|it| !it.has(flag::FINISHED) || has_panic(it));
        }
        tasks.push(task);
    }

    pub(super) fn living(&self) -> Vec<Rc<Task>> {
        self.tasks.borrow().iter().filter(|it| !it.has(flag::FINISHED)).cloned().collect()
    }

    fn is_controlled(&self) -> bool {
        self.parent.home.controlled().is_some()
    }

    /// Those that the scope knows of: at least all that live. Under control, where nobody may see
    /// by itself who lives or was spawned first, all of them, in the order of their spawn paths.
    pub(super) fn known(&self) -> Vec<Rc<Task>> {
        if !self.is_controlled() {
            return self.living();
        }
        let mut all: Vec<_> = self.tasks.borrow().clone();
        all.sort_by_cached_key(path);
        all
    }

    /// Those that have not ended, as the running tasklet may see it: at one time, so it asks again
    /// when one has, which may have spawned others and waited for the end of some.
    pub(super) fn unended(&self) -> Vec<Rc<Task>> {
        if !self.is_controlled() {
            return self.living();
        }
        let mut ended = BTreeSet::new();
        loop {
            let (mut living, before) = (self.known(), ended.len());
            living.retain(|it| !ended.contains(&it.id()));
            for task in living.iter().filter(|it| announce::has_ended(it, self.at)) {
                ended.insert(task.id());
            }
            if ended.len() == before {
                return living;
            }
        }
    }

    pub(super) fn cancel(&self) {
        // The parent looks at `cancelled` when it spawns: it must know whether this came before.
        announce::touch(&self.parent, self.at);
        self.cancelled.set(true);
        self.known().into_iter().for_each(|task| TaskletRef { task }.cancel_at(self.at));
    }

    /// [`await_all`](Self::await_all) as announced: for each child, whether or not it has ended.
    fn await_announced(&self) {
        let (mut known, mut left, mut joined) = (0, VecDeque::new(), BTreeSet::new());
        loop {
            let stopped = self.parent.has(flag::CANCELLED) && self.parent.interruption().is_some();
            if stopped && !self.cancelled.get() {
                self.cancel();
            }
            let count = self.tasks.borrow().len(); // under control none is forgotten
            if known != count {
                known = count;
                left = VecDeque::from(self.known());
                left.retain(|it| !joined.contains(&it.id()));
            }
            let Some(child) = left.front() else { break };
            let doing = Doing::ScopeEnd(left.len() as u32);
            match announce::until_ended(&self.parent, child, doing, self.at) {
                None => break,
                Some(true) => {
                    joined.insert(child.id());
                    left.pop_front();
                }
                Some(false) => {}
            }
        }
    }

    /// Waits until every child has ended, whatever happens to the parent meanwhile.
    pub(super) fn await_all(&self) {
        if self.is_controlled() {
            self.await_announced();
        }
        loop {
            let living = self.living();
            let Some(child) = living.first() else { break };
            if self.parent.has(flag::CANCELLED) && self.parent.interruption().is_some() {
                self.cancel();
                if child.has(flag::FINISHED) {
                    continue;
                }
            }
            let doing = Doing::ScopeEnd(living.len() as u32);
            let wait = Wait::open(self.parent.clone());
            child.add_joiner(wait, 0);
            running::park(&self.parent, doing, self.at);
        }
        for task in self.tasks.borrow().iter().filter(|it| it.has(flag::ABANDONED)) {
            // `lend` is about to abort: say why.
            let at = self.at;
            complain(format_args!("{task:?} borrows from the scope at {at} and would not end"));
        }
    }

    /// Notes a child whose panic nobody has taken yet.
    pub(super) fn note_panic(&self, task: Rc<Task>) {
        let mut failed = self.failed.borrow_mut();
        if failed.len() == failed.capacity() {
            failed.retain(|it| !matches!(it, Failed::Panicked(task) if !has_panic(task)));
        }
        failed.push(Failed::Panicked(task));
    }

    pub(super) fn take_failures(&self) -> Vec<ScopeFailure> {
        // A child that got no stack has not run what notes its failure.
        for task in self.tasks.borrow().iter().filter(|it| has_panic(it)) {
            let known = |it: &Failed| matches!(it, Failed::Panicked(it) if Rc::ptr_eq(it, task));
            let noted = self.failed.borrow().iter().any(known);
            if !noted {
                self.failed.borrow_mut().push(Failed::Panicked(task.clone()));
            }
        }
        let failed = self.failed.take().into_iter();
        let mut failures: Vec<_> = failed
            .filter_map(|it| match it {
                Failed::Returned(failure) => Some(failure),
                Failed::Panicked(task) if !has_panic(&task) => None,
                Failed::Panicked(task) => match task.extra().failure.replace(REPORTED) {
                    Some(Failure::Panicked(payload)) => {
                        let cause = Cause::Panicked(payload);
                        Some(ScopeFailure { tasklet: TaskletRef { task }, cause })
                    }
                    _ => None,
                },
            })
            .collect();
        if self.is_controlled() {
            // Who of two failed first is not decided by anybody.
            failures.sort_by_cached_key(|it| path(&it.tasklet.task));
        }
        failures
    }
}

/// The spawn path of a tasklet, as numbers.
fn path(task: &Rc<Task>) -> Vec<u32> {
    task.who.path_text().split('.').filter_map(|it| it.parse().ok()).collect()
}

/// For who has kept the handle of a child that panicked.
const REPORTED: Option<Failure> = Some(Failure::Reported);

/// A child that failed, until the scope ends.
pub(super) enum Failed {
    /// A join may still take the panic.
    Panicked(Rc<Task>),
    Returned(ScopeFailure),
}
