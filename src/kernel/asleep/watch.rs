//! Finds that every OS thread of the process is asleep, and tells those who are stuck.
//!
//! Always: it is asked by who has slept for a while in vain, ever more rarely: a wake-up that comes
//! soon costs nothing here, and one who sleeps for long wakes a handful of times. Of those who are
//! told none goes on before all have seen how things stand and have ended their waits: so what they
//! report, and how their waits end, does not depend on who was faster.
//! Of those who sleep one [kind](super::Kind) is told: all runs that are stuck, each of which ends
//! with its report; if there is none, all threads that are in no run. If that does not help, all
//! are asleep again soon, and are told again.
//!
//! Threads that wait for the next blocking call could hold an end in a thread-local, whose
//! destructor runs when they end. So they are not counted: they are asked to end instead.

use super::{Kind, process};
use parking_lot::{Condvar, Mutex};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long an OS thread sleeps before it looks whether all do. Afterwards twice as long each time:
/// that others end is seen after as long again at most.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// Those who may be told, and the lock under which that is done.
static SLEEPERS: Mutex<Vec<Weak<dyn Sleeper>>> = Mutex::new(Vec::new());

/// Those who have been told and may not go on yet.
static UNREADY: Mutex<usize> = Mutex::new(0);
/// There is none of these left.
static READY: Condvar = Condvar::new();

/// Threads in reserve.
static RESERVES: Mutex<Vec<Weak<dyn Reserve>>> = Mutex::new(Vec::new());

/// An OS thread, as others know it.
pub(crate) trait Sleeper: Send + Sync {
    /// As what it is counted, if it is.
    fn kind(&self) -> Option<Kind>;
    /// Tells it that nobody will ever wake it, and so does.
    fn tell(&self);
}

/// OS threads that do nothing until they get work.
pub(crate) trait Reserve: Send + Sync {
    fn threads(&self) -> u32;
    /// Lets them end.
    fn dismiss(&self);
}

/// Has a sleeper told, for as long as it lives.
pub(crate) fn list(sleeper: Weak<dyn Sleeper>) {
    add(&SLEEPERS, sleeper);
}

/// Has threads in reserve dismissed when they are all that is awake.
pub(crate) fn list_reserve(reserve: Weak<dyn Reserve>) {
    add(&RESERVES, reserve);
}

fn add<T: ?Sized>(to: &Mutex<Vec<Weak<T>>>, one: Weak<T>) {
    let mut all = to.lock();
    // Those that are gone go whenever as many have come as are left.
    if all.len().is_power_of_two() {
        all.retain(|it| it.strong_count() > 0);
    }
    all.push(one);
}

/// What one has who has been told. When it is dropped the others may go on, and it waits for them.
#[derive(Debug)]
pub(crate) struct Told(());

impl Told {
    /// For who has just found that it has been told.
    pub(crate) fn new() -> Told {
        Told(())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let mut unready = UNREADY.lock();
        *unready -= 1;
        if *unready == 0 {
            READY.notify_all();
        }
        READY.wait_while(&mut unready, |it| *it > 0);
    }
}

/// When an OS thread that is counted looks next whether all are.
pub(crate) struct Watch {
    patience: Duration,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch { patience: FIRST_LOOK }
    }

    /// How long to sleep before the next look.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Looks whether every OS thread is asleep: if so, some are told, perhaps the caller, which
    /// must be counted and hold no lock of its own.
    pub(crate) fn look(&mut self) {
        self.patience = self.patience.saturating_mul(2);
        if dismiss_reserves() {
            self.patience = FIRST_LOOK; // they end soon
            return;
        }
        let sleepers = SLEEPERS.lock();
        if process().is_everybody(threads) {
            tell_first(&sleepers.iter().filter_map(Weak::upgrade).collect::<Vec<_>>());
        }
    }
}

fn tell_first(all: &[Arc<dyn Sleeper>]) {
    let stuck = |it: &Kind| *it != Kind::Spare;
    let Some(first) = all.iter().filter_map(|it| it.kind()).filter(stuck).min() else { return };
    let told: Vec<_> = all.iter().filter(|it| it.kind() == Some(first)).collect();
    *UNREADY.lock() = told.len();
    told.iter().for_each(|it| it.tell());
}

/// Asks the threads in reserve to end, if nobody else is awake; whether there are any.
fn dismiss_reserves() -> bool {
    let all: Vec<_> = RESERVES.lock().iter().filter_map(Weak::upgrade).collect();
    let idle: u32 = all.iter().map(|it| it.threads()).sum();
    let alone = idle > 0 && threads() == Some(process().len().saturating_add(idle));
    if alone {
        all.iter().for_each(|it| it.dismiss());
    }
    alone
}

/// How many OS threads this process has; `None` if the system does not say.
fn threads() -> Option<u32> {
    if !cfg!(target_os = "linux") || cfg!(miri) {
        return None;
    }
    let stat = std::fs::read("/proc/self/stat").ok()?;
    // The second field is a name in brackets, which may hold anything.
    let name_ends = stat.iter().rposition(|it| *it == b')')?;
    let fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(17)?.parse().ok()
}
