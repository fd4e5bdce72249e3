//! What operations do first in a controlled run: they announce themselves, and wait to be decided.
//!
//! Always: who has been told that a branch was chosen carries exactly that one out. A tasklet that
//! may not be suspended where it is announces nothing: that is refused, or doubted
//! while it unwinds.

use super::control::{Control, News, Way};
use super::name::TaskletId;
use super::running;
use super::task::{Doing, Task, flag};
use super::trace::{ChannelId, Direction};
use super::wait::{self, Wait};
use crate::error::Halt;
use std::panic::Location;
use std::rc::Rc;
use std::thread;

/// What an announcement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    /// Nobody decides: go on as usual.
    Free,
    /// This way was chosen.
    Way(usize),
}

/// How an announced operation can end otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stops {
    /// By a cancellation, a deadline or an injected error.
    All,
    /// It cannot.
    None,
}

/// The running tasklet, if its run is under control.
#[inline]
pub(crate) fn controlled() -> Option<Rc<Task>> {
    running::current_if(|it| it.has(flag::TRACED) && it.home.controlled().is_some())
}

/// Announces an operation of the running tasklet and waits until a way of it is chosen.
///
/// # Errors
/// What stops the operation, if it can be stopped.
pub(crate) fn announce(
    ways: &[Way],
    stops: Stops,
    doing: Doing,
    at: &'static Location<'static>,
) -> Result<Go, Halt> {
    match controlled() {
        Some(task) => announce_by(&task, ways, (stops, doing), at),
        None => Ok(Go::Free),
    }
}

/// [`announce`]s an operation of one way by the running tasklet, which passes the gate by that;
/// none if it is not the one with this stamp, or may not pass, or somebody listens to it.
pub(crate) fn announce_only(
    stamp: u32,
    way: Way,
    doing: Doing,
    at: &'static Location<'static>,
) -> Option<Result<Go, Halt>> {
    let task = running::current_if(|it| {
        let plain = it.has(flag::TRACED) && !it.has(flag::INTERRUPTED) && !it.home.traced;
        plain && it.stamp == stamp && it.home.controlled().is_some() && it.spend()
    })?;
    Some(announce_by(&task, &[way], (Stops::All, doing), at))
}

/// [`announce`] by the running tasklet, whose run is under control.
#[inline(always)]
fn announce_by(
    task: &Rc<Task>,
    ways: &[Way],
    (stops, doing): (Stops, Doing),
    at: &'static Location<'static>,
) -> Result<Go, Halt> {
    if thread::panicking() {
        // Nobody can wait here, so nobody is found; in production somebody might be.
        tell(task, News::Doubted { by: task.id(), at });
        return Ok(Go::Free);
    }
    if task.has(flag::BLOCK_TRAP | flag::SWITCH_TRAP) {
        refuse("an operation under a trap", at); // whether a partner is there cannot be decided
        return Ok(Go::Free);
    }
    if !task.seat.is_own() {
        refuse("an operation inside a raw generator", at);
        return Ok(Go::Free);
    }
    loop {
        let Some(control) = task.home.controlled() else { return Ok(Go::Free) };
        if stops == Stops::All
            && let Some(why) = stopped(task)
        {
            return Err(fail(task, why, at));
        }
        wait::open(task);
        let own = ways.len();
        control.tell_announced(task.id(), (ways, deadline(task, stops)), at);
        let outcome = running::park(task, doing, at);
        if outcome >= wait::NO_BRANCH {
            if stops == Stops::All && outcome == wait::INJECTED {
                return Err(fail(task, Halt::Injected, at));
            }
            if stops == Stops::All
                && let Some(why) = running::halt_of(task, outcome)
            {
                return Err(why);
            }
            continue; // the tasklet was touched, or the control has ended
        }
        if outcome as usize == own {
            task.set(flag::TIMED_OUT);
            return Err(running::fail(task, Halt::TimedOut));
        }
        return Ok(Go::Way(outcome as usize));
    }
}

/// Lets others stop the running tasklet before it looks by itself whether they have: between when
/// its last operation was done and when it runs on they may.
///
/// Once after each operation, as what follows is one step; who knows of a part of that step comes
/// too late.
pub(crate) fn before_looking(at: &'static Location<'static>) {
    if let Some(task) = controlled() {
        look(&task, at);
    }
}

/// [`before_looking`] by `task`, which runs and is under control.
fn look(task: &Rc<Task>, at: &'static Location<'static>) {
    let looked = &task.extra().looked;
    let has_just_begun = task.at.get().is_none(); // who is stopped before never begins
    if has_just_begun || looked.get() == task.arrived.get() {
        return;
    }
    if running::may_wait().is_none() {
        return tell(task, News::Doubted { by: task.id(), at });
    }
    let ways = [Way::Default, Way::Insert];
    let passed = announce_by(task, &ways, (Stops::None, Doing::Nothing), at);
    debug_assert!(passed.is_ok(), "it cannot be stopped there");
    looked.set(task.arrived.get());
}

/// What an operation of the running tasklet fails with that would with `why`: under control others
/// may stop it for a better reason before it runs on.
pub(super) fn reason(task: &Rc<Task>, why: Halt, at: &'static Location<'static>) -> Halt {
    if why == Halt::Cancelled || task.home.controlled().is_none() {
        return why;
    }
    look(task, at);
    task.interruption().unwrap_or(why)
}

/// Lets an announced operation fail with `why`, or with what comes before that.
fn fail(task: &Rc<Task>, why: Halt, at: &'static Location<'static>) -> Halt {
    let why = reason(task, why, at);
    running::fail(task, why)
}

/// Why a new operation of `task` fails at once.
#[inline]
fn stopped(task: &Task) -> Option<Halt> {
    let deadline = task.extra_if_any().and_then(|it| it.deadline.get());
    if deadline.is_some_and(|it| it <= task.home.clock.now()) {
        task.set(flag::TIMED_OUT);
    }
    task.interruption()
}

/// When a deadline stops the present operation of `task`.
#[inline]
fn deadline(task: &Task, stops: Stops) -> Option<u64> {
    let extra = task.extra_if_any()?;
    let shielded = extra.shields.get() > 0;
    extra.deadline.get().filter(|_| stops == Stops::All && !shielded)
}

/// Waits as announced, instead of [`running::wait_for`]; none if nobody decides.
pub(super) fn instead(doing: Doing, at: &'static Location<'static>) -> Result<Option<u32>, Halt> {
    let way = match doing {
        Doing::Joining(tasklet) => Way::Join(tasklet),
        Doing::Sleeping(time) => Way::Timer(time),
        Doing::Paused => Way::Insert,
        _ => Way::Unknown,
    };
    match announce(&[way], Stops::All, doing, at)? {
        Go::Free => Ok(None),
        Go::Way(way) => Ok(Some(way as u32)),
    }
}

/// Gives way as announced; false if nobody decides.
pub(super) fn give_way(at: &'static Location<'static>) -> bool {
    announce(&[Way::Default], Stops::None, Doing::Nothing, at) != Ok(Go::Free)
}

/// Announces that the running tasklet is about to do something to `target`: to stop it, or to let
/// it go on.
pub(crate) fn touch(target: &Rc<Task>, at: &'static Location<'static>) {
    let Some(me) = controlled() else { return };
    if Rc::ptr_eq(&me, target) || !Rc::ptr_eq(&me.home, &target.home) {
        return;
    }
    if thread::panicking() || me.has(flag::BLOCK_TRAP | flag::SWITCH_TRAP) {
        if !target.has(flag::FINISHED) {
            refuse("stopping another tasklet where nobody may wait", at);
        }
        return;
    }
    let way = [if is_foreign(target) { Way::Unknown } else { Way::Touch(target.id()) }];
    let touched = announce(&way, Stops::None, Doing::Joining(target.id()), at);
    debug_assert!(touched.is_ok(), "an operation was stopped that cannot be");
}

/// Whether `task` is not of the run that the running tasklet is of.
fn is_foreign(task: &Rc<Task>) -> bool {
    let own = |me: &Rc<Task>| {
        Rc::ptr_eq(&me.home, &task.home) && task.home.controlled().is_some_and(|it| it.owns(task))
    };
    running::current().is_some_and(|it| !own(&it))
}

/// The way that the end of `task` is.
pub(crate) fn end_of(task: &Rc<Task>) -> Way {
    if is_foreign(task) { Way::Unknown } else { Way::Join(task.id()) }
}

/// Whether `task` has ended, as the running tasklet may see it.
pub(crate) fn has_ended(task: &Rc<Task>, at: &'static Location<'static>) -> bool {
    if controlled().is_none_or(|me| Rc::ptr_eq(&me, task)) {
        look_up();
        return task.has(flag::FINISHED);
    }
    let ways = [end_of(task), Way::Default];
    match announce(&ways, Stops::None, Doing::Joining(task.id()), at) {
        Ok(Go::Way(way)) => way == 0,
        Ok(Go::Free) | Err(_) => task.has(flag::FINISHED),
    }
}

/// Waits until `task` has ended; a stopped tasklet does not wait, but may find that it has.
#[cold]
pub(crate) fn await_end(task: &Rc<Task>, at: &'static Location<'static>) -> Result<(), Halt> {
    if let Some(me) = controlled()
        && let Some(why) = stopped(&me)
    {
        return if has_ended(task, at) { Ok(()) } else { Err(fail(&me, why, at)) };
    }
    match announce(&[end_of(task)], Stops::All, Doing::Joining(task.id()), at)? {
        Go::Way(_) => Ok(()),
        Go::Free if task.has(flag::FINISHED) => Ok(()),
        Go::Free => running::wait_for(Doing::Joining(task.id()), at, |wait| {
            task.add_joiner(wait, 0);
        })
        .map(drop),
    }
}

/// Waits until `child` has ended, or something stops the running tasklet `me`: whether it has
/// ended; none if nobody decides.
///
/// Who is stopped already is not stopped by that.
pub(crate) fn until_ended(
    me: &Rc<Task>,
    child: &Rc<Task>,
    doing: Doing,
    at: &'static Location<'static>,
) -> Option<bool> {
    if controlled().is_none_or(|it| !Rc::ptr_eq(&it, me)) {
        return None;
    }
    let stops = if stopped(me).is_some() { Stops::None } else { Stops::All };
    match announce(&[Way::Join(child.id())], stops, doing, at) {
        Ok(Go::Free) => None,
        Ok(Go::Way(_)) => Some(true),
        Err(_) => Some(false), // what stopped it is to be seen in its flags
    }
}

/// Lets a tasklet go on that waits for its partner: see [`Wait::let_go`].
///
/// Under control it goes on when that has been decided.
pub(crate) fn let_go(wait: Wait, done: bool, at_once: bool) {
    let home = wait.task.home.clone();
    match home.controlled() {
        Some(control) => control.tell(News::Freed { by: doer(control), wait, done }),
        None => wait.let_go(done, at_once),
    }
}

/// Says that what the running tasklet does cannot be controlled, if somebody wants to; it stops
/// there until the end of the run.
#[inline]
pub(crate) fn refuse(what: &'static str, at: &'static Location<'static>) {
    if running::looks_at_all() {
        refuse_now(what, at);
    }
}

/// [`refuse`]s what would reach somebody outside of the run.
///
/// # Errors
/// What it is refused with: also when the run is over, and what is left of it goes on.
#[inline]
pub(crate) fn keep_inside(what: &'static str, at: &'static Location<'static>) -> Result<(), Halt> {
    if running::looks_at_all() { keep_inside_now(what, at) } else { Ok(()) }
}

#[cold]
fn keep_inside_now(what: &'static str, at: &'static Location<'static>) -> Result<(), Halt> {
    refuse_now(what, at);
    // Also when the control has ended.
    if running::current().is_none_or(|it| it.home.control.is_none()) {
        return Ok(());
    }
    running::gate(true)?;
    Err(Halt::CannotWait) // it could not be stopped where it was refused, or may try all the same
}

#[cold]
fn refuse_now(what: &'static str, at: &'static Location<'static>) {
    let Some(task) = controlled() else { return look_up() };
    let by = Some(task.id());
    tell(&task, News::Refused { by, what, at });
    if running::may_wait().is_some() {
        let stopped = announce(&[Way::Unknown], Stops::None, Doing::Nothing, at);
        debug_assert_eq!(stopped, Ok(Go::Free), "nobody decides that");
    }
}

/// At the end of a run that was controlled: a tasklet that only looks on ends at some time too.
fn look_up() {
    if !running::looks_at_all() {
        return;
    }
    if running::current().is_some_and(|it| it.home.control.is_some()) {
        let attempt = running::gate(false);
        debug_assert!(attempt.is_ok(), "an attempt is not stopped");
    }
}

/// Tells that the running tasklet panics.
pub(crate) fn panicking() {
    if let Some(task) = controlled() {
        tell(&task, News::Panicking { by: task.id() });
    }
}

/// Tells of something that the running tasklet has seen.
pub(crate) fn observed(digest: u64) {
    if let Some(task) = controlled() {
        tell(&task, News::Observed { by: task.id(), digest });
    }
}

/// Tells of a channel that the running tasklet has made.
pub(crate) fn made(task: &Task, channel: ChannelId, unit: bool, at: &'static Location<'static>) {
    tell(task, News::Made { maker: task.id(), channel, unit, at });
}

/// Tells of a handle that was dropped.
#[cold]
pub(crate) fn dropped(
    control: &Control,
    channel: ChannelId,
    name: Option<Rc<str>>,
    end: Direction,
    last: bool,
) {
    let by = doer(control);
    if control.is_on() {
        control.tell(News::Dropped { by, channel, end, last, name });
    } else if let Some(by) = by {
        control.note_remains(by, channel, end);
    }
}

/// Who does what is done at present.
fn doer(control: &Control) -> Option<TaskletId> {
    running::current().map(|it| it.id()).or(control.ending())
}

fn tell(task: &Task, news: News) {
    if let Some(control) = task.home.controlled() {
        control.tell(news);
    }
}
