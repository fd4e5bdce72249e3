//! OS threads that are no scheduler's and meet tasklets at shared channels.
//!
//! Always: an outsider has a control block, as a tasklet has, so that operations need not know the
//! difference; it is in no queue, and waits by putting its OS thread to sleep.
//! Outsider: `Awake <-> Asleep`.

use super::choice::Choices;
use super::claim::{Claim, Owner, Wake};
use super::clock::{Clock, NEVER, Nanos};
use super::ready::Ready;
use super::task::{Home, Registry, Task, flag};
use super::trace::Trace;
use super::wait;
use crate::kernel::name::TaskletId;
use parking_lot::{Condvar, Mutex};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    /// The control block of this OS thread.
    static ME: Outsider = Outsider::new();
}

struct Outsider {
    task: Rc<Task>,
    bed: Arc<Bed>,
}

/// Where an OS thread sleeps.
#[derive(Default)]
struct Bed {
    called: Mutex<bool>,
    call: Condvar,
}

impl Wake for Bed {
    fn wake(&self, _: Arc<Claim>) {
        *self.called.lock() = true;
        self.call.notify_one();
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
        let (task, bed) = (Rc::new(Task::blank(home)), Arc::<Bed>::default());
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
            ME.with(|it| it.bed.sleep(until));
        }
    }
    task.clear(flag::CLAIMED);
    task.outcome.get()
}

impl Bed {
    fn sleep(&self, until: Nanos) {
        let mut called = self.called.lock();
        if !*called && until == NEVER {
            self.call.wait(&mut called);
        } else if !*called {
            let until = clock(|it| it.instant(until));
            self.call.wait_until(&mut called, until);
        }
        *called = false;
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
