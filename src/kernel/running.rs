//! Which tasklet runs on this OS thread, and what it must pass before and while it waits.
//!
//! Always: nothing suspends while the thread panics, under a trap, or on a stack that is not the
//! tasklet's own. `FUEL` is zero whenever an operation has to look at more than its channel.

use super::stack::{self, Refused};
use super::task::{Doing, Task, flag};
use super::wait::{self, Wait};
use crate::error::Halt;
use std::cell::{Cell, RefCell};
use std::panic::{Location, resume_unwind};
use std::rc::Rc;
use std::thread;

/// Operations that may fail because of cancellation before the tasklet is unwound by force.
pub(crate) const PATIENCE: u32 = 1_000;

thread_local! {
    /// Operations the running tasklet may still do without a closer look; 0 means look now.
    static FUEL: Cell<u32> = const { Cell::new(0) };
    /// The tasklet that runs on this OS thread.
    static RUNNING: RefCell<Option<Rc<Task>>> = const { RefCell::new(None) };
}

/// What a tasklet that ignores its cancellation is unwound with.
pub(crate) struct Unwound;

/// The running tasklet.
#[inline]
pub(crate) fn current() -> Option<Rc<Task>> {
    RUNNING.try_with(|it| it.borrow().clone()).ok().flatten()
}

/// Shows the running tasklet to `f`, which must not suspend. Does not allocate.
pub(crate) fn peek(f: impl FnOnce(Option<&Rc<Task>>)) {
    let mut f = Some(f);
    let shown = RUNNING.try_with(|it| {
        if let (Ok(task), Some(f)) = (it.try_borrow(), f.take()) {
            f(task.as_ref());
        }
    });
    if let (Err(_), Some(f)) = (shown, f) {
        f(None);
    }
}

/// Makes `task` the running one; returns who ran before.
#[inline]
pub(crate) fn switch_to(task: Option<Rc<Task>>) -> Option<Rc<Task>> {
    if let Some(task) = &task {
        refuel(task);
    } else {
        FUEL.set(0);
    }
    RUNNING.with(|it| it.replace(task))
}

/// Gives `task`, which runs or is about to, its operations until it must give way.
#[inline]
pub(crate) fn refuel(task: &Task) {
    let watched = task.has(flag::INTERRUPTED) || task.home.trace.is_on();
    FUEL.set(if watched { 0 } else { task.home.budget });
}

/// Called when something about the running tasklet changed that its next operation must see.
pub(crate) fn look_closer(task: &Rc<Task>) {
    if current().is_some_and(|it| Rc::ptr_eq(&it, task)) {
        FUEL.set(0);
    }
}

/// What every operation passes first: interruption (if it may wait) and giving way.
#[inline]
pub(crate) fn gate(may_wait: bool) -> Result<(), Halt> {
    match FUEL.get() {
        0 => slow_gate(may_wait),
        fuel => {
            FUEL.set(fuel - 1);
            Ok(())
        }
    }
}

#[cold]
#[inline(never)]
fn slow_gate(may_wait: bool) -> Result<(), Halt> {
    let Some(task) = current() else { return Ok(()) };
    if may_wait && let Some(why) = task.interruption() {
        return Err(fail(&task, why));
    }
    if task.spend() {
        give_way(&task);
    }
    refuel(&task);
    Ok(())
}

impl Task {
    /// Counts an operation that took the slow gate; true if the budget is used up.
    fn spend(&self) -> bool {
        if !self.has(flag::INTERRUPTED) && !self.home.trace.is_on() {
            return true; // the fast gate has counted
        }
        let extra = self.extra();
        let spent = extra.spent.get() + 1;
        extra.spent.set(if spent > self.home.budget { 0 } else { spent });
        spent > self.home.budget
    }
}

/// Lets an operation fail with `why`; unwinds the tasklet if it does not listen.
pub(crate) fn fail(task: &Rc<Task>, why: Halt) -> Halt {
    match why {
        Halt::Injected => task.clear(flag::INJECTED),
        Halt::Cancelled => count_ignored(task),
        Halt::TimedOut | Halt::Closed | Halt::CannotWait => {}
    }
    if task.spend() {
        give_way(task);
    }
    why
}

/// A cancelled tasklet went on with another operation.
fn count_ignored(task: &Rc<Task>) {
    if thread::panicking() {
        return;
    }
    let extra = task.extra();
    let ignored = extra.ignored.get() + 1;
    extra.ignored.set(ignored);
    if ignored <= PATIENCE {
        return;
    }
    if !task.has(flag::UNWOUND) {
        task.set(flag::UNWOUND);
        resume_unwind(Box::new(Unwound));
    }
    if stack::is_own() {
        task.set(flag::ABANDONED);
        leave(task); // for good: nobody holds a wait of it
    }
    resume_unwind(Box::new(Unwound));
}

/// Puts the running tasklet at the end of the ready queue, if it may be suspended here.
pub(crate) fn give_way(task: &Rc<Task>) {
    if may_suspend(task) {
        wait::make_ready(task.clone());
        leave(task);
    }
}

/// [`give_way`], and the tasklet that became ready last runs next.
pub(crate) fn give_way_to_newest(task: &Rc<Task>) {
    if may_suspend(task) {
        let mut ready = task.home.ready.borrow_mut();
        if let Some(newest) = ready.pop_back() {
            ready.push_front(newest);
        }
        drop(ready);
        give_way(task);
    }
}

/// The running tasklet, if somebody listens to what it does.
#[inline]
pub(crate) fn traced() -> Option<Rc<Task>> {
    // Fuel is zero wherever a hook listens.
    if FUEL.get() > 0 { None } else { current().filter(|it| it.home.trace.is_on()) }
}

fn may_suspend(task: &Task) -> bool {
    !task.has(flag::SWITCH_TRAP) && !thread::panicking() && stack::is_own()
}

/// `yield_now`: like [`give_way`], but a violation of a trap is an error of the caller.
#[inline]
pub(crate) fn yield_now() {
    let Some(task) = current() else { return };
    if task.has(flag::INTERRUPTED) && task.interruption() == Some(Halt::Cancelled) {
        count_ignored(&task);
    }
    if thread::panicking() || task.has(flag::BLOCK_TRAP) {
        return;
    }
    check_place(&task);
    wait::make_ready(task.clone());
    leave(&task);
}

/// The running tasklet, if it may wait here and now.
///
/// # Panics
/// Under a switch trap, and on the stack of a raw generator.
#[inline]
pub(crate) fn waiter() -> Result<Rc<Task>, Halt> {
    let task = current().ok_or(Halt::CannotWait)?;
    if thread::panicking() || task.has(flag::BLOCK_TRAP) {
        return Err(Halt::CannotWait);
    }
    check_place(&task);
    Ok(task)
}

#[inline]
fn check_place(task: &Task) {
    if task.has(flag::SWITCH_TRAP) || !stack::is_own() {
        wrong_place(task);
    }
}

#[cold]
#[inline(never)]
fn wrong_place(task: &Task) -> ! {
    let set_at = task.extra().switch_traps.borrow().last().copied();
    match set_at {
        Some(set_at) => panic!("{task:?} would switch under the switch trap set at {set_at}"),
        None => panic!(
            "{task:?} would wait inside a raw generator: a tasklet can only be suspended on its \
             own stack"
        ),
    }
}

/// Suspends the running tasklet until its open wait is settled; returns how.
#[inline]
pub(crate) fn park(task: &Rc<Task>, doing: Doing, at: &'static Location<'static>) -> u32 {
    task.doing.set(doing);
    task.at.set(Some(at));
    task.since.set(task.home.now.get());
    let parks = task.home.parks.get() + 1;
    task.home.parks.set(parks);
    task.arrived.set(parks);
    if task.is_waiting() {
        leave(task);
    }
    task.outcome.get()
}

/// [`park`] that no cancellation and no deadline ends: a partner is about to settle it.
pub(crate) fn park_committed(task: &Rc<Task>, doing: Doing, at: &'static Location<'static>) -> u32 {
    task.set(flag::COMMITTED);
    let outcome = park(task, doing, at);
    task.clear(flag::COMMITTED);
    outcome
}

/// Leaves the stack; back when the scheduler enters it again.
#[inline]
fn leave(task: &Rc<Task>) {
    match stack::suspend() {
        Ok(()) => {}
        Err(Refused::NoStack | Refused::OtherStack) => unreachable!("checked by `waiter`"),
    }
    if task.home.threads {
        refuel(task); // the scheduler did so on its own OS thread
    }
}

/// What the end of a wait without a winner means.
pub(crate) fn halt_of(task: &Rc<Task>, outcome: u32) -> Option<Halt> {
    match outcome {
        wait::CANCELLED => Some(fail(task, Halt::Cancelled)),
        wait::TIMED_OUT => Some(Halt::TimedOut),
        wait::INJECTED => Some(fail(task, Halt::Injected)),
        _ => None,
    }
}

/// Waits until somebody settles the wait that `publish` was given, or an interruption does.
pub(crate) fn wait_for(
    doing: Doing,
    at: &'static Location<'static>,
    publish: impl FnOnce(Wait),
) -> Result<u32, Halt> {
    gate(true)?;
    let task = waiter()?;
    publish(Wait::open(task.clone()));
    let outcome = park(&task, doing, at);
    halt_of(&task, outcome).map_or(Ok(outcome), Err)
}
