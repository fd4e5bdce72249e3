//! Waits that settle at a time, and alarms that ring at one.
//!
//! Always: what is due goes off in the order of its time, equal times in the order they were set.
//! A timer whose wait has been settled otherwise is dropped when it comes up, or earlier when such
//! timers are more than half of all.

use super::clock::Nanos;
use super::wait::Wait;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// Something else than a wait that wants to know when a time has come.
pub(crate) trait Alarm {
    /// Called once, by the scheduler, with nothing borrowed.
    fn ring(&self);
    /// Whether ringing would still do anything.
    fn is_set(&self) -> bool;
}

enum Target {
    Wait(Wait, u32),
    Alarm(Rc<dyn Alarm>),
}

impl Target {
    fn is_live(&self) -> bool {
        match self {
            Target::Wait(wait, _) => wait.is_open(),
            Target::Alarm(alarm) => alarm.is_set(),
        }
    }
}

struct Entry {
    at: Nanos,
    /// Tells timers of the same time apart.
    order: u64,
    target: Target,
}

impl Entry {
    fn key(&self) -> Reverse<(Nanos, u64)> {
        Reverse((self.at, self.order))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// The timers of one scheduler.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Entry>,
    made: u64,
    /// Entries to be dropped when the timers are no longer borrowed: a wait may be the last to
    /// know its tasklet, and that the last to own a value of the user.
    dead: Vec<Entry>,
    /// Size at which dead entries are looked for.
    clean_at: usize,
}

/// What came up: to be done when the timers are no longer borrowed.
pub(crate) enum Due {
    /// Settle this.
    Wait(Wait, u32),
    /// Ring this.
    Alarm(Rc<dyn Alarm>),
}

impl Timers {
    pub(crate) fn add_wait(&mut self, at: Nanos, wait: Wait, branch: u32) {
        self.add(at, Target::Wait(wait, branch));
    }

    pub(crate) fn add_alarm(&mut self, at: Nanos, alarm: Rc<dyn Alarm>) {
        self.add(at, Target::Alarm(alarm));
    }

    fn add(&mut self, at: Nanos, target: Target) {
        if self.heap.len() >= self.clean_at.max(1_024) {
            let (live, dead): (BinaryHeap<_>, BinaryHeap<_>) =
                self.heap.drain().partition(|it| it.target.is_live());
            self.heap = live;
            self.dead.extend(dead);
            self.clean_at = 2 * self.heap.len();
        }
        self.made += 1;
        self.heap.push(Entry { at, order: self.made, target });
    }

    /// The time of the next live timer.
    pub(crate) fn next(&mut self) -> Option<Nanos> {
        while let Some(first) = self.heap.peek() {
            if first.target.is_live() {
                return Some(first.at);
            }
            self.dead.extend(self.heap.pop());
        }
        None
    }

    /// The next live timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Nanos) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        match self.heap.pop()?.target {
            Target::Wait(wait, branch) => Some(Due::Wait(wait, branch)),
            Target::Alarm(alarm) => Some(Due::Alarm(alarm)),
        }
    }

    /// Takes what is to be dropped.
    pub(crate) fn take_dead(&mut self) -> Vec<impl Sized + use<>> {
        std::mem::take(&mut self.dead)
    }

    /// Takes everything, to be dropped.
    pub(crate) fn take_all(&mut self) -> impl Sized + use<> {
        std::mem::take(self)
    }
}
