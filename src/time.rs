//! Time: sleeping, timers as operations, and deadlines over a stretch of code.
//!
//! Always: nothing here waits in real time under a virtual clock; a time too far away to write
//! down never comes. Region: `Open -> Expired`, and `Left` from either.

use crate::error::Halt;
use crate::kernel::announce;
use crate::kernel::clock::{NEVER, Nanos};
use crate::kernel::control::{Way, Ways};
use crate::kernel::operation::Arm;
use crate::kernel::running;
use crate::kernel::scheduler::{self, Scheduler};
use crate::kernel::task::{Doing, Task, flag};
use crate::kernel::timer::Alarm;
use crate::kernel::wait::{self, Wait};
use crate::operation::Operation;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// The present time of the run, which is virtual if the runtime's clock is.
///
/// Outside any run, the real time.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Runtime, now, sleep};
/// let runtime = Runtime::builder().virtual_clock(true).build();
/// let slept = runtime.run(|| {
///     let start = now();
///     sleep(Duration::from_secs(3_600)).unwrap();
///     now() - start
/// });
/// assert_eq!(slept.unwrap(), Duration::from_secs(3_600));
/// ```
pub fn now() -> Instant {
    match Scheduler::active() {
        Some(it) => it.home.clock.instant(it.home.clock.now()),
        None => crate::kernel::clock::real_now(),
    }
}

/// `deadline` in the terms of the active run's clock.
pub(crate) fn nanos(deadline: Instant) -> Nanos {
    scheduler::clock(|it| it.nanos(deadline))
}

/// The time `delay` from now.
pub(crate) fn after_now(delay: Duration) -> Nanos {
    scheduler::clock(|it| it.after(delay))
}

/// Waits for `delay`.
///
/// A zero delay gives way once, so that the others and the outside get their turn.
///
/// # Errors
/// [`Halt::Cancelled`], [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped;
/// [`Halt::CannotWait`] outside any run, under a block trap and while panicking.
///
/// # Panics
/// Under a [`switch_trap`](crate::switch_trap) and inside a raw generator.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Halt, run, sleep, spawn, yield_now};
/// run(|| {
///     let sleeper = spawn(|| sleep(Duration::from_secs(3_600)));
///     yield_now();
///     sleeper.cancel();
///     assert_eq!(sleeper.join().unwrap(), Err(Halt::Cancelled));
/// });
/// ```
#[track_caller]
#[doc(alias("schedule_after", "time.Sleep"))]
pub fn sleep(delay: Duration) -> Result<(), Halt> {
    if delay.is_zero() {
        announce::before_looking(Location::caller());
        running::gate(true)?;
        running::waiter(Location::caller())?;
        running::yield_now();
        return Ok(());
    }
    sleep_to(after_now(delay), Location::caller())
}

/// Waits until `deadline`; returns at once if it has passed.
///
/// # Errors
/// As [`sleep`].
///
/// # Panics
/// As [`sleep`], if the time has not come.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Runtime, now, sleep_until};
/// let runtime = Runtime::builder().virtual_clock(true).build();
/// let late = runtime.run(|| {
///     let nine = now() + Duration::from_secs(9 * 3_600);
///     sleep_until(nine).unwrap();
///     now() - nine
/// });
/// assert_eq!(late.unwrap(), Duration::ZERO);
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Result<(), Halt> {
    sleep_to(nanos(deadline), Location::caller())
}

fn sleep_to(at: Nanos, place: &'static Location<'static>) -> Result<(), Halt> {
    let scheduler = Scheduler::active().ok_or(Halt::CannotWait)?;
    if at <= scheduler.home.clock.now() {
        announce::before_looking(place);
        return running::gate(true).map(drop);
    }
    running::wait_for(Doing::Sleeping(at), place, |it| scheduler.add_timer(at, it, 0)).map(drop)
}

/// An operation that happens once `delay` has passed, counted from this call.
///
/// Its output is the present time, or why the wait for it ended. Made outside of any run, for a
/// tasklet that is spawned later, it counts from when a run first looks at it: before, there is no
/// clock that it could go by.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Never, after, channel, run, select};
/// let answer = run(|| {
///     let (_tx, rx) = channel::<Never>();
///     select! {
///         recv(rx) -> _ => "message",
///         op(after(Duration::from_millis(1))) -> _ => "too late",
///     }
/// });
/// assert_eq!(answer, "too late");
/// ```
#[doc(alias("timer", "call_later", "time.After"))]
pub fn after(delay: Duration) -> After {
    After::new(Due::After(delay))
}

/// An operation that happens once `deadline` has passed, by the clock of the run it is used in.
///
/// Its output is as that of [`after`].
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Operation, at, now, run};
/// run(|| {
///     let soon = now() + Duration::from_millis(1);
///     assert!(at(soon).wait().unwrap() >= soon);
/// });
/// ```
pub fn at(deadline: Instant) -> After {
    After::new(Due::At(deadline))
}

/// When a timer is due.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// In the terms of the run's clock.
    Nanos(Nanos),
    /// Not yet known in these terms: it was made outside of any run.
    After(Duration),
    At(Instant),
}

/// The operation made by [`after`] and [`at`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct After {
    due: Cell<Due>,
    outcome: Option<Result<Instant, Halt>>,
}

impl After {
    fn new(due: Due) -> After {
        let after = After { due: Cell::new(due), outcome: None };
        after.at();
        after
    }

    /// When it is due, which is settled by the first run that asks.
    fn at(&self) -> Nanos {
        let at = match self.due.get() {
            Due::Nanos(at) => return at,
            _ if Scheduler::active().is_none() => return NEVER,
            Due::After(delay) => after_now(delay),
            Due::At(deadline) => nanos(deadline),
        };
        self.due.set(Due::Nanos(at));
        at
    }
}

impl Arm for After {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        let due = self.ready();
        if due {
            self.outcome = Some(Ok(now()));
        }
        due
    }
    fn ready(&self) -> bool {
        let at = self.at();
        Scheduler::active().is_some_and(|it| {
            // The clock is asked only if the last look at it was too early.
            it.home.now.get() >= at || it.home.clock.now() >= at
        })
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        if let Some(scheduler) = Scheduler::active() {
            scheduler.add_timer(self.at(), wait.clone(), branch);
        }
        1
    }
    fn withdraw(&mut self, _: &Wait, _: u32) {
        // The timer finds that its wait is over.
    }
    fn complete(&mut self, _: u32, _: bool, _: &'static Location<'static>) -> bool {
        self.outcome = Some(Ok(now()));
        true
    }
    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }
    fn ways(&self, ways: &mut Ways) {
        ways.push(Way::Timer(self.at()));
    }
    fn doing(&self) -> Doing {
        Doing::Sleeping(self.at())
    }
}

impl Operation for After {
    type Output = Result<Instant, Halt>;

    fn take(&mut self) -> Result<Instant, Halt> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

/// A timer that happens again and again, every `period`.
///
/// Wait for it through `&mut`: each time it happens it sets itself for the next period. Periods
/// that passed while nobody waited are left out.
///
/// # Panics
/// If `period` is zero.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Operation, run, tick};
/// run(|| {
///     let mut tick = tick(Duration::from_millis(1));
///     let first = (&mut tick).wait().unwrap();
///     let second = (&mut tick).wait().unwrap();
///     assert!(second > first);
/// });
/// ```
#[doc(alias("ticker", "interval"))]
#[track_caller]
pub fn tick(period: Duration) -> Tick {
    let period = u64::try_from(period.as_nanos()).unwrap_or(NEVER);
    assert!(period > 0, "the period of a tick is zero");
    Tick { timer: after(Duration::from_nanos(period)), period }
}

/// The operation made by [`tick`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Tick {
    timer: After,
    period: Nanos,
}

impl Arm for Tick {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        self.timer.attempt(at)
    }
    fn ready(&self) -> bool {
        self.timer.ready()
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        self.timer.publish(wait, branch)
    }
    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        self.timer.withdraw(wait, branch);
    }
    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool {
        self.timer.complete(branch, closed, at)
    }
    fn halt(&mut self, why: Halt) {
        self.timer.halt(why);
    }
    fn ways(&self, ways: &mut Ways) {
        ways.push(Way::Timer(self.timer.at()));
    }
    fn doing(&self) -> Doing {
        self.timer.doing()
    }
}

impl Operation for Tick {
    type Output = Result<Instant, Halt>;

    fn take(&mut self) -> Result<Instant, Halt> {
        let outcome = self.timer.take();
        if outcome.is_ok() {
            let now = Scheduler::active().map_or(0, |it| it.home.clock.now());
            let due = self.timer.at();
            let missed = now.saturating_sub(due) / self.period;
            let steps = self.period.saturating_mul(missed.saturating_add(1));
            self.timer.due.set(Due::Nanos(due.saturating_add(steps)));
        }
        outcome
    }
}

/// What came of a stretch of code under a deadline.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Timed, run, within};
/// let done = run(|| within(Duration::from_secs(5), || "in time"));
/// assert_eq!(done, Timed { value: "in time", expired: false });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed<R> {
    /// What the code returned.
    pub value: R,
    /// Whether this deadline passed, and none further out did: then the timeouts were its own.
    pub expired: bool,
}

/// Runs `f` under a deadline `delay` from now.
///
/// Once it has passed, every blocking operation in `f` (and in the children of scopes opened
/// there) returns [`Halt::TimedOut`], also those that wait already. Deadlines nest; the outermost
/// that has passed is the one that counts as expired. Code that does not communicate is not
/// interrupted.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Halt, Never, channel, run, within};
/// run(|| {
///     let (_tx, rx) = channel::<Never>();
///     let timed = within(Duration::from_millis(1), || rx.recv());
///     assert_eq!(timed.value, Err(Halt::TimedOut));
///     assert!(timed.expired);
/// });
/// ```
#[doc(alias("timeout", "with_timeout", "Timeout"))]
pub fn within<R>(delay: Duration, f: impl FnOnce() -> R) -> Timed<R> {
    under(after_now(delay), f)
}

/// Runs `f` under a deadline: [`within`] with an absolute time.
///
/// ```
/// use tasklets::{Halt, now, pause, run, until};
/// let timed = run(|| until(now(), pause)); // the deadline has passed already
/// assert_eq!((timed.value, timed.expired), (Err(Halt::TimedOut), true));
/// ```
#[doc(alias("Deadline", "context.WithDeadline"))]
pub fn until<R>(deadline: Instant, f: impl FnOnce() -> R) -> Timed<R> {
    under(nanos(deadline), f)
}

fn under<R>(at: Nanos, f: impl FnOnce() -> R) -> Timed<R> {
    let (Some(task), Some(scheduler)) = (running::current(), Scheduler::active()) else {
        return Timed { value: f(), expired: false };
    };
    struct Leave(Rc<Task>, Rc<Region>);
    impl Drop for Leave {
        fn drop(&mut self) {
            self.1.leave(&self.0);
        }
    }
    let region = Region::enter(&task, &scheduler, at);
    let leave = Leave(task, region.clone());
    let value = f();
    drop(leave);
    Timed { value, expired: region.is_culprit() }
}

/// A stretch of code under a deadline, and who is in it.
pub(crate) struct Region {
    parent: Option<Rc<Region>>,
    at: Nanos,
    expired: Cell<bool>,
    /// Still entered by the tasklet that opened it.
    open: Cell<bool>,
    members: RefCell<Vec<Weak<Task>>>,
    children: RefCell<Vec<Weak<Region>>>,
}

impl Region {
    fn enter(task: &Rc<Task>, scheduler: &Scheduler, at: Nanos) -> Rc<Region> {
        let parent = Region::of(task);
        let region = Rc::new(Region {
            expired: Cell::new(false),
            open: Cell::new(true),
            members: RefCell::new(vec![Rc::downgrade(task)]),
            children: RefCell::default(),
            parent,
            at,
        });
        if let Some(parent) = &region.parent {
            let mut siblings = parent.children.borrow_mut();
            siblings.retain(|it| it.strong_count() > 0);
            siblings.push(Rc::downgrade(&region));
        }
        let former = task.extra().region.replace(Some(region.clone()));
        drop(former);
        task.extra().deadline.set(region.earliest());
        if at <= scheduler.home.clock.now() {
            region.ring();
        } else if scheduler.home.controlled().is_none() {
            scheduler.add_alarm(at, region.clone());
        }
        region
    }

    /// The innermost region `task` is in.
    pub(crate) fn of(task: &Task) -> Option<Rc<Region>> {
        let region = task.extra_if_any()?.region.borrow().clone()?;
        region.downcast::<Region>().ok()
    }

    /// Puts a child under the deadlines its parent is under.
    pub(crate) fn adopt(region: &Rc<Region>, child: &Rc<Task>) {
        let mut members = region.members.borrow_mut();
        if members.len() == members.capacity() {
            members.retain(|it| it.strong_count() > 0);
        }
        members.push(Rc::downgrade(child));
        drop(members);
        drop(child.extra().region.replace(Some(region.clone())));
        child.extra().deadline.set(region.earliest());
        if region.has_expired() {
            child.set(flag::TIMED_OUT);
        }
    }

    fn leave(&self, task: &Rc<Task>) {
        // The code may not have communicated since: then nothing has told this one, or those
        // around it whose time has come too.
        let (now, mut due) = (task.home.clock.now(), Some(self));
        while let Some(region) = due {
            region.expired.set(region.expired.get() || now >= region.at);
            due = region.parent.as_deref();
        }
        self.open.set(false);
        let outer = self.parent.clone();
        if !outer.as_ref().is_some_and(|it| it.has_expired()) {
            task.clear(flag::TIMED_OUT);
        }
        task.extra().deadline.set(outer.as_ref().and_then(|it| it.earliest()));
        let outer = outer.map(|it| it as Rc<dyn std::any::Any>);
        drop(task.extra().region.replace(outer));
    }

    /// The earliest deadline that is in force in it.
    fn earliest(&self) -> Option<Nanos> {
        let outer = self.parent.as_ref().and_then(|it| it.earliest());
        outer.into_iter().chain((self.at != NEVER).then_some(self.at)).min()
    }

    fn has_expired(&self) -> bool {
        self.expired.get() || self.parent.as_ref().is_some_and(|it| it.has_expired())
    }

    /// Expired itself, and no region around it is.
    fn is_culprit(&self) -> bool {
        self.expired.get() && !self.parent.as_ref().is_some_and(|it| it.has_expired())
    }

    fn interrupt_members(&self) {
        let members: Vec<_> = self.members.borrow().iter().filter_map(Weak::upgrade).collect();
        for task in members.iter().filter(|it| !it.has(flag::FINISHED)) {
            wait::interrupt(task, Halt::TimedOut);
        }
        let children: Vec<_> = self.children.borrow().iter().filter_map(Weak::upgrade).collect();
        children.iter().filter(|it| it.open.get()).for_each(|it| it.interrupt_members());
    }
}

impl Alarm for Region {
    fn ring(&self) {
        self.expired.set(true);
        self.interrupt_members();
    }

    fn is_set(&self) -> bool {
        self.open.get()
    }
}
