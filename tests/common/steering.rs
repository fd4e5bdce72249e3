//! The model, continued: what tasklets do to each other without a channel.
//!
//! Always: a tasklet that was taken out of the ready queue neither waits nor is ready; whoever
//! inserts, runs, interrupts or ends it makes it ready again.

use super::rules::Rules;
use super::world::{Id, Outcome, Want};
use tasklets::Halt;

impl Rules {
    pub fn cancel(&mut self, who: Id) {
        if self.tasks[&who].finished {
            return;
        }
        self.wake(who);
        self.task(who).cancelled = true;
        if self.tasks[&who].waits && self.interruption(who).is_some() {
            self.settle(who, vec![(0, Outcome::Halted(Halt::Cancelled))]);
        }
    }

    /// Its present or next operation fails, once.
    pub fn inject(&mut self, who: Id) {
        if self.tasks[&who].finished {
            return;
        }
        self.wake(who);
        self.task(who).injected = true;
        if self.tasks[&who].waits && self.interruption(who).is_some() {
            self.settle(who, vec![(0, Outcome::Halted(Halt::Injected))]);
        }
    }

    fn place_in_line(&self, who: Id) -> Option<usize> {
        self.ready.iter().position(|(_, it)| *it == who)
    }

    /// Takes it out of the ready queue; whether it was there.
    pub fn stop(&mut self, who: Id) -> bool {
        let place = self.place_in_line(who);
        if let Some(place) = place {
            self.ready.remove(place);
            self.task(who).stopped = true;
        }
        place.is_some()
    }

    /// Puts it back, if it was taken out.
    fn wake(&mut self, who: Id) {
        if std::mem::take(&mut self.task(who).stopped) {
            self.make_ready(who);
        }
    }

    /// Whether nothing but an insertion is missing.
    pub fn is_paused(&self, who: Id) -> bool {
        let task = &self.tasks[&who];
        let wants = task.call.as_ref().map(|it| &it.wants[..]);
        task.stopped || (task.waits && wants == Some(&[Want::Insertion]))
    }

    pub fn insert(&mut self, who: Id) {
        if self.tasks[&who].waits {
            self.settle(who, vec![(0, Outcome::Inserted)]);
        } else {
            self.wake(who);
        }
    }

    /// `other` is to run next, and `who` behind all; unless `other` cannot.
    pub fn run_now(&mut self, who: Id, other: Id) {
        if self.is_paused(other) {
            self.insert(other);
        }
        let place = self.place_in_line(other);
        if let Some(place) = place {
            let first = self.ready[0].0;
            self.ready.remove(place);
            self.ready.insert(0, (first, other));
            self.task(who).way = Some(false);
        }
        self.task(who).ran = Some(place.is_some());
    }

    /// The run ends: everybody is cancelled, at last also those who are shielded.
    pub fn drain(&mut self, force: bool) {
        self.draining = true;
        let living: Vec<_> =
            self.tasks.iter().filter(|(_, it)| !it.finished).map(|(id, _)| *id).collect();
        for who in living {
            self.task(who).broken |= force;
            self.cancel(who);
        }
    }
}
