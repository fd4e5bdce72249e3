//! Which tasklet runs on this OS thread, and what it must pass before and while it waits.
//!
//! Always: nothing suspends while the thread panics, under a trap, or on a stack that is not the
//! tasklet's own. `FUEL` is zero whenever an operation has to look at more than its channel.

use super::stack::{self, Slot};
use super::task::{Doing, Task, flag};
use super::wait::{self, Wait};
use crate::error::Halt;
use std::cell::Cell;
use std::panic::{Location, resume_unwind};
use std::rc::Rc;
use std::thread;

/// Operations that may fail because of cancellation before the tasklet is unwound by force.
pub(crate) const PATIENCE: u32 = 1_000;

thread_local! {
    /// Operations the running tasklet may still do without a closer look; 0 means look now.
    static FUEL: Cell<u32> = const { Cell::new(0) };
    /// The stamp of the tasklet that runs on this OS thread, for a quick look.
    static STAMP: Cell<u64> = const { Cell::new(u64::MAX) };
    /// The tasklet that runs on this OS thread.
    static RUNNING: Slot<Task> = const { Slot::new() };
}

/// What a tasklet that ignores its cancellation is unwound with.
pub(crate) struct Unwound;

/// The running tasklet.
#[inline(always)]
pub(crate) fn current() -> Option<Rc<Task>> {
    RUNNING.with(Slot::get)
}

/// Runs `f`, which enters the stack of `task`, with `task` as the running one.
#[inline(always)]
pub(crate) fn during<R>(task: Option<&Rc<Task>>, f: impl FnOnce() -> R) -> R {
    match task {
        Some(task) => refuel(task),
        None => {
            FUEL.set(0);
            STAMP.set(u64::MAX);
        }
    }
    Slot::during(&RUNNING, task, f)
}

/// After a scheduler inside of a tasklet has run: the tasklet is the running one again.
pub(crate) fn back_again() {
    FUEL.set(0);
    STAMP.set(current().map_or(u64::MAX, |it| it.stamp));
}

/// The stamp of the running tasklet; `u64::MAX` outside of any.
#[inline(always)]
pub(crate) fn stamp() -> u64 {
    STAMP.get()
}

/// Whether the next operation on this OS thread looks at everything.
#[inline(always)]
pub(crate) fn looks_at_all() -> bool {
    FUEL.get() == 0
}

/// When the running tasklet parked last: whether it was suspended in between.
pub(crate) fn parked_at() -> u64 {
    current().map_or(0, |it| it.arrived.get())
}

/// The running tasklet, if somebody listens to what it does.
#[inline]
pub(crate) fn traced() -> Option<Rc<Task>> {
    // There is no fuel wherever a hook listens.
    if FUEL.get() > 0 { None } else { current().filter(|it| it.home.traced) }
}

/// Gives `task`, which runs or is about to, its operations until it must give way.
#[inline(always)]
pub(crate) fn refuel(task: &Task) {
    FUEL.set(if task.has(flag::INTERRUPTED) { 0 } else { task.home.fuel });
    STAMP.set(task.stamp);
}

/// [`refuel`], if `task` runs: what made it look closer is over.
pub(crate) fn refuel_running(task: &Rc<Task>) {
    if FUEL.get() == 0 && current().is_some_and(|it| Rc::ptr_eq(&it, task)) {
        refuel(task);
    }
}

/// Called when something about the running tasklet changed that its next operation must see.
pub(crate) fn look_closer(task: &Rc<Task>) {
    if task.has(flag::INTERRUPTED) && current().is_some_and(|it| Rc::ptr_eq(&it, task)) {
        FUEL.set(0);
    }
}

/// What every operation passes first: interruption (if it may wait) and giving way.
///
/// True if somebody listens to what the tasklet does.
#[inline(always)]
pub(crate) fn gate(may_wait: bool) -> Result<bool, Halt> {
    match FUEL.get() {
        0 => slow_gate(may_wait),
        fuel => {
            FUEL.set(fuel - 1);
            Ok(false)
        }
    }
}

#[cold]
#[inline(never)]
fn slow_gate(may_wait: bool) -> Result<bool, Halt> {
    let Some(task) = current() else { return Ok(false) };
    if may_wait && let Some(why) = task.interruption() {
        return Err(fail(&task, why));
    }
    if !may_wait && task.has(flag::CANCELLED) && task.interruption() == Some(Halt::Cancelled) {
        count_ignored(&task); // trying is allowed, but not for ever
    }
    if task.spend() {
        give_way(&task);
        // Others ran: one of them may have stopped this tasklet.
        if may_wait && let Some(why) = task.interruption() {
            return Err(fail(&task, why));
        }
    }
    refuel(&task);
    Ok(task.home.traced)
}

impl Task {
    /// Counts an operation that took the slow gate; true if the budget is used up.
    fn spend(&self) -> bool {
        if !self.has(flag::INTERRUPTED) && !self.home.traced {
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
    let spent = task.spend();
    match why {
        Halt::Injected => task.clear(flag::INJECTED),
        Halt::Cancelled => count_ignored(task),
        Halt::TimedOut | Halt::Closed | Halt::CannotWait => {}
    }
    if spent {
        give_way(task);
    }
    refuel(task);
    why
}

/// A cancelled tasklet went on with another operation.
fn count_ignored(task: &Rc<Task>) {
    let panicking = thread::panicking();
    if panicking && !task.home.host_panics.get() {
        return; // a destructor during the tasklet's own unwinding
    }
    let extra = task.extra();
    let ignored = extra.ignored.get() + 1;
    extra.ignored.set(ignored);
    if ignored <= PATIENCE {
        return;
    }
    // While the host panics nobody can tell whether the tasklet unwinds: it must not again.
    if !panicking && !task.has(flag::UNWOUND) {
        task.set(flag::UNWOUND);
        resume_unwind(Box::new(Unwound));
    }
    if stack::is_own() {
        task.set(flag::ABANDONED);
        leave(task); // for good: nobody holds a wait of it
    }
    if !panicking {
        resume_unwind(Box::new(Unwound));
    }
}

/// Puts the running tasklet at the end of the ready queue, if it may be suspended here.
pub(crate) fn give_way(task: &Rc<Task>) {
    if may_suspend(task) {
        task.home.again.set(true);
        leave(task);
    }
}

fn may_suspend(task: &Task) -> bool {
    !task.has(flag::SWITCH_TRAP) && !thread::panicking() && stack::is_own()
}

/// `yield_now`: like [`give_way`], but a violation of a trap is an error of the caller.
#[inline(always)]
pub(crate) fn yield_now() {
    let Some(task) = current() else { return };
    if task.has(flag::INTERRUPTED | flag::BLOCK_TRAP | flag::SWITCH_TRAP) {
        return yield_watched(&task);
    }
    if thread::panicking() {
        return;
    }
    task.home.again.set(true);
    if !leave(&task) {
        task.home.again.set(false);
        wrong_place(&task);
    }
}

#[cold]
#[inline(never)]
fn yield_watched(task: &Rc<Task>) {
    if task.interruption() == Some(Halt::Cancelled) {
        count_ignored(task);
    }
    if !thread::panicking() && !task.has(flag::BLOCK_TRAP) {
        check_place(task);
        task.home.again.set(true);
        leave(task);
    }
}

/// The running tasklet, if it may wait here and now.
///
/// # Panics
/// Under a switch trap.
#[inline(always)]
pub(crate) fn waiter() -> Result<Rc<Task>, Halt> {
    let task = current().ok_or(Halt::CannotWait)?;
    if thread::panicking() || task.has(flag::BLOCK_TRAP | flag::SWITCH_TRAP) {
        return trapped(task);
    }
    Ok(task)
}

/// The running tasklet, if it could wait here and now; never panics.
pub(crate) fn may_wait() -> Option<Rc<Task>> {
    let task = current()?;
    let trapped = task.has(flag::BLOCK_TRAP | flag::SWITCH_TRAP);
    (!trapped && !thread::panicking() && stack::is_own()).then_some(task)
}

/// [`waiter`] for who could not undo what it does before it parks.
///
/// # Panics
/// Under a switch trap, and on the stack of a raw generator.
pub(crate) fn waiter_here() -> Result<Rc<Task>, Halt> {
    let task = waiter()?;
    check_place(&task);
    Ok(task)
}

#[cold]
#[inline(never)]
fn trapped(task: Rc<Task>) -> Result<Rc<Task>, Halt> {
    if !thread::panicking() && !task.has(flag::BLOCK_TRAP) {
        wrong_place(&task);
    }
    Err(Halt::CannotWait)
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

/// Takes back the wait that was opened for the running tasklet.
pub(crate) fn close_wait(task: &Task) {
    wait::settle_here(task, wait::RETRY);
}

/// Suspends the running tasklet until its open wait is settled; returns how.
#[inline(always)]
pub(crate) fn park(task: &Rc<Task>, doing: Doing, at: &'static Location<'static>) -> u32 {
    task.doing.set(doing);
    task.at.set(Some(at));
    let arrived = task.home.parks.get() + 1;
    task.home.parks.set(arrived);
    task.arrived.set(arrived);
    if !leave(task) {
        wait::settle_here(task, wait::MISPLACED);
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

/// Leaves the stack; back when the scheduler enters it again. False if it is not the tasklet's.
#[inline(always)]
fn leave(task: &Rc<Task>) -> bool {
    match stack::suspend() {
        Some(false) => true,
        Some(true) => {
            refuel(task); // the scheduler did so on its own OS thread
            true
        }
        None => false,
    }
}

/// What the end of a wait without a winner means.
pub(crate) fn halt_of(task: &Rc<Task>, outcome: u32) -> Option<Halt> {
    match outcome {
        wait::CANCELLED => Some(fail(task, Halt::Cancelled)),
        wait::TIMED_OUT => Some(Halt::TimedOut),
        wait::INJECTED => Some(fail(task, Halt::Injected)),
        wait::MISPLACED => wrong_place(task),
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
    let task = waiter_here()?;
    publish(Wait::open(task.clone()));
    let outcome = park(&task, doing, at);
    halt_of(&task, outcome).map_or(Ok(outcome), Err)
}
