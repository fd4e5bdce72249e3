//! Which tasklet runs on this OS thread, and what it must pass before and while it waits.
//!
//! Always: nothing suspends while the thread panics, under a trap, or on a stack that is not the
//! tasklet's own. A tasklet has no fuel whenever an operation has to look at more than its channel.

use super::announce;
use super::fatal;
use super::stage::{self, Place, Slot};
use super::task::{Doing, Task, flag};
use super::wait::{self, Wait};
use crate::error::Halt;
use std::panic::{Location, resume_unwind};
use std::rc::Rc;
use std::thread;

/// Operations that may fail because of cancellation before the tasklet is unwound by force.
pub(crate) const PATIENCE: u32 = 1_000;

thread_local! {
    /// The tasklet that runs on this OS thread.
    static RUNNING: Slot<Task> = const { Slot::new() };
}

/// Where it is shown.
pub(crate) struct Running;

impl Place for Running {
    type Shown = Task;

    #[inline(always)]
    fn slot<R>(f: impl FnOnce(&Slot<Task>) -> R) -> R {
        RUNNING.with(f)
    }
}

/// What a tasklet that ignores its cancellation is unwound with.
pub(crate) struct Unwound;

/// The running tasklet.
#[inline(always)]
pub(crate) fn current() -> Option<Rc<Task>> {
    stage::shown(Running)
}

/// The running tasklet, if it is one that `f` wants.
#[inline(always)]
pub(crate) fn current_if(f: impl FnOnce(&Task) -> bool) -> Option<Rc<Task>> {
    with(|it| it.filter(|it| f(it)).cloned())
}

/// Calls `f` with the running tasklet.
#[inline(always)]
fn with<R>(f: impl FnOnce(Option<&Rc<Task>>) -> R) -> R {
    stage::peek(Running, f)
}

/// What a signal handler may ask.
pub(crate) const FOR_SIGNAL_HANDLERS: fatal::Running = fatal::Running {
    describe: |out| match current() {
        Some(task) => task.who.write(out),
        None => out(b"(unknown)"),
    },
    bounds: || current()?.seat.bounds(),
};

/// The stamp of the running tasklet; `u32::MAX` outside of any.
#[inline(always)]
pub(crate) fn stamp() -> u32 {
    with(|it| it.map_or(u32::MAX, |it| it.stamp))
}

/// Whether the next operation on this OS thread looks at everything.
#[inline(always)]
pub(crate) fn looks_at_all() -> bool {
    with(|it| it.is_none_or(|it| it.has(flag::INTERRUPTED | flag::TRACED)))
}

/// When the running tasklet parked last: whether it was suspended in between.
pub(crate) fn parked_at() -> u64 {
    current().map_or(0, |it| it.arrived.get())
}

/// The running tasklet, if somebody listens to what it does.
pub(crate) fn traced() -> Option<Rc<Task>> {
    current_if(|it| it.home.traced)
}

/// What every operation passes first: interruption (if it may wait) and giving way.
///
/// True if somebody listens to what the tasklet does, or controls it.
#[inline(always)]
pub(crate) fn gate(may_wait: bool) -> Result<bool, Halt> {
    let fast = with(|it| it.is_some_and(|it| it.goes_on()));
    if fast { Ok(false) } else { slow_gate(may_wait) }
}

/// Whether the tasklet with this stamp runs and need not pass the [`gate`]; counts as passing it.
#[inline(always)]
pub(crate) fn passes(stamp: u32) -> bool {
    with(|it| it.is_some_and(|it| it.stamp == stamp && it.goes_on()))
}

#[cold]
#[inline(never)]
fn slow_gate(may_wait: bool) -> Result<bool, Halt> {
    let goes_on = |it: &Task| !it.has(flag::INTERRUPTED) && it.spend();
    match with(|it| it.map(|it| goes_on(it).then(|| it.has(flag::TRACED)))) {
        None => return Ok(false),
        Some(Some(traced)) => return Ok(traced),
        Some(None) => {}
    }
    stop_at_gate(may_wait)
}

#[inline(never)]
fn stop_at_gate(may_wait: bool) -> Result<bool, Halt> {
    let Some(task) = current() else { return Ok(false) };
    if may_wait && let Some(why) = task.interruption() {
        let why = announce::reason(&task, why, Location::caller());
        return Err(fail(&task, why));
    }
    if !may_wait && task.has(flag::CANCELLED) && task.interruption() == Some(Halt::Cancelled) {
        count_ignored(&task); // trying is allowed, but not for ever
    }
    if !task.spend() {
        give_way(&task);
        task.refuel();
        // Others ran: one of them may have stopped this tasklet.
        if may_wait && let Some(why) = task.interruption() {
            return Err(fail(&task, why));
        }
    }
    Ok(task.has(flag::TRACED))
}

/// Lets an operation fail with `why`; unwinds the tasklet if it does not listen.
pub(crate) fn fail(task: &Rc<Task>, why: Halt) -> Halt {
    if why == Halt::Cancelled {
        count_ignored(task);
    }
    if !task.spend() {
        give_way(task);
        task.refuel();
    }
    if why == Halt::Injected {
        // Not before others ran: what they inject meanwhile takes the place of what was.
        task.clear(flag::INJECTED);
    }
    why
}

/// Lets the next operation of the running tasklet fail as this one could not.
pub(crate) fn inject_again() {
    if let Some(task) = current() {
        task.set(flag::INJECTED);
    }
}

/// Whether an operation of the running tasklet has failed because that was cancelled.
pub(crate) fn has_been_told() -> bool {
    let told = |it: Rc<Task>| it.extra_if_any().is_some_and(|it| it.ignored.get() > 0);
    current().is_some_and(told)
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
    if task.seat.is_own() {
        task.set(flag::ABANDONED);
        task.home.given_up.borrow_mut().push(task.clone());
        task.home.look_soon();
        task.seat.suspend(); // for good: nobody holds a wait of it
    }
    if !panicking {
        resume_unwind(Box::new(Unwound));
    }
}

/// Puts the running tasklet at the end of the ready queue, if it may be suspended here.
pub(crate) fn give_way(task: &Rc<Task>) {
    if may_suspend(task) {
        task.home.ready.push(task.clone());
        task.seat.suspend();
    }
}

fn may_suspend(task: &Task) -> bool {
    !task.has(flag::SWITCH_TRAP) && !thread::panicking() && task.seat.is_own()
}

/// `yield_now`: like [`give_way`], but a violation of a trap is an error of the caller.
#[track_caller]
#[inline(always)]
pub(crate) fn yield_now() {
    let Some(task) = current() else { return };
    if task.has(flag::INTERRUPTED | flag::TRACED | flag::BLOCK_TRAP | flag::SWITCH_TRAP) {
        return yield_watched(&task);
    }
    if thread::panicking() {
        return;
    }
    task.home.ready.push(task.clone());
    if !task.seat.suspend() {
        task.home.ready.remove(&task);
        wrong_place(&task, Location::caller());
    }
}

#[track_caller]
#[cold]
#[inline(never)]
fn yield_watched(task: &Rc<Task>) {
    if task.interruption() == Some(Halt::Cancelled) {
        count_ignored(task);
    }
    if !thread::panicking() && !task.has(flag::BLOCK_TRAP) {
        check_place(task, Location::caller());
        if announce::give_way(Location::caller()) {
            return;
        }
        task.home.ready.push(task.clone());
        task.seat.suspend();
    }
}

/// The running tasklet, if it may wait here and now.
///
/// # Panics
/// Under a switch trap.
#[track_caller]
#[inline(always)]
pub(crate) fn waiter(at: &'static Location<'static>) -> Result<Rc<Task>, Halt> {
    let task = current().ok_or(Halt::CannotWait)?;
    if thread::panicking() || task.has(flag::BLOCK_TRAP | flag::SWITCH_TRAP) {
        return trapped(task, at);
    }
    Ok(task)
}

/// The running tasklet, if it could wait here and now; never panics.
pub(crate) fn may_wait() -> Option<Rc<Task>> {
    let task = current()?;
    let trapped = task.has(flag::BLOCK_TRAP | flag::SWITCH_TRAP);
    (!trapped && !thread::panicking() && task.seat.is_own()).then_some(task)
}

/// [`waiter`] for who could not undo what it does before it parks.
///
/// # Panics
/// Under a switch trap, and on the stack of a raw generator.
#[track_caller]
#[inline(always)]
pub(crate) fn waiter_here(at: &'static Location<'static>) -> Result<Rc<Task>, Halt> {
    let task = waiter(at)?;
    check_place(&task, at);
    Ok(task)
}

#[track_caller]
#[cold]
#[inline(never)]
fn trapped(task: Rc<Task>, at: &'static Location<'static>) -> Result<Rc<Task>, Halt> {
    if !thread::panicking() && !task.has(flag::BLOCK_TRAP) {
        wrong_place(&task, at);
    }
    Err(Halt::CannotWait)
}

#[track_caller]
#[inline]
fn check_place(task: &Task, at: &Location<'_>) {
    if task.has(flag::SWITCH_TRAP) || !task.seat.is_own() {
        wrong_place(task, at);
    }
}

#[track_caller]
#[cold]
#[inline(never)]
fn wrong_place(task: &Task, at: &Location<'_>) -> ! {
    let set_at = task.extra().switch_traps.borrow().last().copied();
    match set_at {
        Some(set_at) => panic!(
            "{task:?} would switch under the switch trap set at {set_at}, in its operation at {at}"
        ),
        None => panic!(
            "{task:?} would wait inside a raw generator, in its operation at {at}: a tasklet can \
             only be suspended on its own stack"
        ),
    }
}

#[cold]
fn stuck_outside(task: &Task) -> ! {
    let at = task.at.get().unwrap_or(task.who.spawned_at);
    panic!(
        "stuck: this OS thread waits in its operation at {at}, and every other one of the process \
         waits, too: nothing can wake one"
    )
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
    if !task.seat.suspend() {
        wait::settle_here(task, wait::MISPLACED);
    }
    if task.has(flag::STOPPED) {
        wait::note_running(task);
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

/// What the end of a wait without a winner means.
#[inline]
pub(crate) fn halt_of(task: &Rc<Task>, outcome: u32) -> Option<Halt> {
    match outcome {
        wait::CANCELLED => Some(fail(task, Halt::Cancelled)),
        wait::TIMED_OUT => Some(Halt::TimedOut),
        wait::INJECTED => Some(fail(task, Halt::Injected)),
        wait::MISPLACED => wrong_place(task, task.at.get().unwrap_or(task.who.spawned_at)),
        wait::STUCK => stuck_outside(task),
        _ => None,
    }
}

/// Waits until somebody settles the wait that `publish` was given, or an interruption does.
#[inline(always)]
pub(crate) fn wait_for(
    doing: Doing,
    at: &'static Location<'static>,
    publish: impl FnOnce(Wait),
) -> Result<u32, Halt> {
    if gate(true)?
        && let Some(outcome) = announce::instead(doing, at)?
    {
        return Ok(outcome);
    }
    let task = waiter_here(at)?;
    publish(Wait::open(task.clone()));
    let outcome = park(&task, doing, at);
    halt_of(&task, outcome).map_or(Ok(outcome), Err)
}
