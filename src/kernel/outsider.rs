//! OS threads that are no scheduler's and meet tasklets at shared channels.
//!
//! Always: an outsider has a control block, as a tasklet has, so that operations need not know the
//! difference; it is in no queue, and waits by putting its OS thread to sleep.
//! Outsider: `Awake <-> Asleep`; one that nobody will ever wake panics.

use super::asleep::{self, Kind, Nap, Sleeper, Told, Watch};
use super::choice::Choices;
use super::claim::{Claim, Owner, Wake};
use super::clock::{Clock, NEVER, Nanos};
use super::ready::Ready;
use super::task::{Home, Registry, Task, flag};
use super::trace::Trace;
use super::wait;
use crate::kernel::name::TaskletId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};

thread_local! {
    /// The control block of this OS thread.
    static ME: Outsider = Outsider::new();
}

struct Outsider {
    task: Rc<Task>,
    bed: Arc<Bed>,
}

/// Where an OS thread sleeps.
struct Bed {
    called: Mutex<Called>,
    call: Condvar,
    nap: Nap,
}

/// Why an OS thread has to wake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Called {
    No,
    /// Its wait has been settled.
    Settled,
    /// Nobody will ever settle it.
    Told,
}

impl Bed {
    fn call(&self, why: Called) {
        let mut called = self.called.lock();
        *called = why;
        self.nap.call(asleep::process);
        self.call.notify_one();
    }
}

impl Wake for Bed {
    fn wake(&self, _: Arc<Claim>) {
        self.call(Called::Settled);
    }
}

impl Sleeper for Bed {
    fn kind(&self) -> Option<Kind> {
        self.nap.kind()
    }

    fn tell(&self) {
        self.call(Called::Told);
    }
}

impl Outsider {
    fn new() -> Outsider {
        let home = Rc::new(Home {
            ready: Ready::default(),
            now: Cell::new(0),
            host_panics: Cell::new(false),
            slice: Cell::new(0),
            unspent: Cell::new(0),
            attention: Cell::new(false),
            given_up: RefCell::default(),
            parks: Cell::new(0),
            stopped: Cell::new(0),
            clock: Clock::new(false),
            choices: Choices::Seeded(Cell::new(0)),
            trace: Trace::default(),
            control: None,
            traced: false,
            looked_at: false,
            plain: true,
            budget: u32::MAX,
            threads: false,
            channels: Registry::default(),
            claimed: Cell::new(0),
        });
        let called = Mutex::new(Called::No);
        let bed = Arc::new(Bed { called, call: Condvar::new(), nap: Nap::default() });
        let known: Weak<Bed> = Arc::downgrade(&bed);
        asleep::list(known);
        let task = Rc::new(Task::blank(home));
        task.set(flag::OUTSIDER);
        let owner = Owner { home: 0, tasklet: TaskletId(0), seat: 0 };
        let given = task.extra().claim.set(Claim::new(owner, bed.clone()));
        debug_assert!(given.is_ok(), "an outsider has one claim");
        Outsider { task, bed }
    }
}

/// The control block of this OS thread, if it may wait: not while it panics, or ends.
pub(super) fn me() -> Option<Rc<Task>> {
    if std::thread::panicking() {
        return None;
    }
    ME.try_with(|it| it.task.clone()).ok()
}

/// Sleeps until the open wait is settled, or settles it as `late` when the time has come.
pub(super) fn park(task: &Rc<Task>, until: Nanos, late: u32) -> u32 {
    let claim = task.claim().expect("an outsider has a claim").clone();
    if task.is_waiting() {
        claim.watch(|| false);
    }
    while task.is_waiting() {
        let now = if until == NEVER { 0 } else { clock(Clock::now) };
        if let Some(outcome) = claim.outcome() {
            wait::settle_here(task, outcome);
        } else if now >= until && claim.win_here() {
            wait::settle_here(task, late);
        } else if claim.park() {
            // Once a partner has it, it no longer ends by itself.
            let until = if now >= until { NEVER } else { until };
            let told = ME.with(|it| it.bed.sleep(until));
            if told.is_some() && (claim.win_here() || claim.tear()) {
                wait::settle_here(task, wait::STUCK);
            }
        }
    }
    task.clear(flag::CLAIMED);
    task.outcome.get()
}

impl Bed {
    /// Sleeps until it is called or the time has come, or nobody will ever settle its wait.
    fn sleep(&self, until: Nanos) -> Option<Told> {
        let mut called = self.called.lock();
        if *called == Called::No && until == NEVER {
            self.sleep_for_good(&mut called);
        } else if *called == Called::No {
            let until = clock(|it| it.instant(until));
            self.call.wait_until(&mut called, until);
        }
        let why = std::mem::replace(&mut *called, Called::No);
        (why == Called::Told).then(Told::new)
    }

    fn sleep_for_good(&self, called: &mut MutexGuard<'_, Called>) {
        self.nap.sleep(Kind::Plain, asleep::process());
        let mut watch = Watch::new();
        while **called == Called::No {
            if self.call.wait_for(called, watch.patience()).timed_out() {
                MutexGuard::unlocked(called, || watch.look());
            }
        }
        self.nap.rise(asleep::process);
    }
}

/// Asks the clock of this OS thread; a fresh one if it ends.
pub(crate) fn clock<R>(ask: impl Fn(&Clock) -> R) -> R {
    let asked = ME.try_with(|it| ask(&it.task.home.clock));
    asked.unwrap_or_else(|_| ask(&Clock::new(false)))
}

/// One of `0..ways`.
pub(super) fn choose_outside(ways: usize) -> usize {
    ME.try_with(|it| it.task.home.choices.choose(ways)).unwrap_or(0)
}
