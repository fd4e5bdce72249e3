//! Vector clocks: for every tasklet, how much of it lies in the causal past.
//!
//! Always: an entry counts finished slots first and, within the local step after the last of them,
//! the drops; so "finished slot 3" and "finished slot 3 and dropped" are two different pasts.

use smallvec::SmallVec;

use super::event::{Slot, TaskletName};

/// The causal past of a slot, a drop or an end. A tasklet without an entry is not in it.
///
/// ```
/// use tasklets::explore::{Program, Settings, every_choice};
/// use tasklets::{channel, spawn};
/// let pair = || {
///     let (tx, rx) = channel();
///     spawn(move || tx.send(1));
///     rx.recv().unwrap();
/// };
/// every_choice(&Program::new("pair", &pair), &Settings::default(), &mut |run, _| {
///     // That the child begins comes before the two meet.
///     let [begins, meet] = [&run.events[0], &run.events[1]];
///     assert!(meet.before.has(begins.event.first.slot));
///     assert!(begins.before.within(&meet.before) && !meet.before.within(&begins.before));
/// });
/// ```
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Clock(SmallVec<[u64; 8]>);

/// As derived, but entries are copied as a block.
impl Clone for Clock {
    fn clone(&self) -> Clock {
        Clock(SmallVec::from_slice(&self.0))
    }

    fn clone_from(&mut self, from: &Clock) {
        self.0.clear();
        self.0.extend_from_slice(&from.0);
    }
}

/// An entry is `slots << 32 | drops`.
const SLOT: u64 = 1 << 32;

impl Clock {
    /// How much of `tasklet` is in the past: an opaque, growing number.
    pub(super) fn stamp(&self, tasklet: TaskletName) -> u64 {
        self.0.get(tasklet.index()).copied().unwrap_or(0)
    }

    /// How many slots of `tasklet` are finished in this past.
    pub(super) fn slots(&self, tasklet: TaskletName) -> u32 {
        (self.stamp(tasklet) / SLOT) as u32
    }

    /// Whether the completion of `slot` lies in this past.
    pub fn has(&self, slot: Slot) -> bool {
        self.slots(slot.tasklet) > slot.nth
    }

    /// Whether everything in this past is also in the other.
    pub fn within(&self, other: &Clock) -> bool {
        self.0
            .iter()
            .enumerate()
            .all(|(index, mine)| *mine <= other.0.get(index).copied().unwrap_or(0))
    }

    /// Adds the past of another.
    pub(super) fn join(&mut self, other: &Clock) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// The past of both.
    pub(super) fn joined(&self, other: &Clock) -> Clock {
        let mut both = self.clone();
        both.join(other);
        both
    }

    /// `slot` is finished.
    pub(super) fn finish(&mut self, slot: Slot) {
        *self.entry(slot.tasklet) = (u64::from(slot.nth) + 1) * SLOT;
    }

    /// The same, without what `tasklet` did after its last finished slot.
    pub(super) fn without_drops(&self, tasklet: TaskletName) -> Clock {
        let mut past = self.clone();
        let entry = past.entry(tasklet);
        *entry -= *entry % SLOT;
        past
    }

    /// The tasklet dropped an end in its present local step.
    pub(super) fn count_drop(&mut self, tasklet: TaskletName) {
        *self.entry(tasklet) += 1;
    }

    fn entry(&mut self, tasklet: TaskletName) -> &mut u64 {
        if self.0.len() <= tasklet.index() {
            self.0.resize(tasklet.index() + 1, 0);
        }
        &mut self.0[tasklet.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_lies_between_two_slots() {
        let root = TaskletName::ROOT;
        let mut clock = Clock::default();
        clock.finish(Slot { tasklet: root, nth: 0 });
        let mut dropped = clock.clone();
        dropped.count_drop(root);
        let mut later = clock.clone();
        later.finish(Slot { tasklet: root, nth: 1 });
        assert!(clock.within(&dropped));
        assert!(!dropped.within(&clock));
        assert!(dropped.within(&later));
        assert_eq!(dropped.slots(root), 1);
    }
}
