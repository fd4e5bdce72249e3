//! Vector clocks: for every tasklet, how much of it lies in the causal past.
//!
//! Always: finished slots and drops are counted apart; so "finished slot 3" and "finished slot 3
//! and dropped" are two different pasts, and who cancels slot 4 may know of either.

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
pub struct Clock(SmallVec<[u32; 16]>);

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

impl Clock {
    /// How many drops of `tasklet` are in this past.
    pub(super) fn drops(&self, tasklet: TaskletName) -> u32 {
        self.0.get(2 * tasklet.index() + 1).copied().unwrap_or(0)
    }

    /// How many slots of `tasklet` are finished in this past.
    pub(super) fn slots(&self, tasklet: TaskletName) -> u32 {
        self.0.get(2 * tasklet.index()).copied().unwrap_or(0)
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
        self.entry(slot.tasklet)[0] = slot.nth + 1;
    }

    /// The same, with only so many drops of `tasklet`.
    pub(super) fn with_drops(&self, tasklet: TaskletName, drops: u32) -> Clock {
        let mut past = self.clone();
        past.entry(tasklet)[1] = drops;
        past
    }

    /// The tasklet dropped an end.
    pub(super) fn count_drop(&mut self, tasklet: TaskletName) {
        self.entry(tasklet)[1] += 1;
    }

    /// The slots and the drops of a tasklet.
    fn entry(&mut self, tasklet: TaskletName) -> &mut [u32] {
        let place = 2 * tasklet.index();
        if self.0.len() <= place {
            self.0.resize(place + 2, 0);
        }
        &mut self.0[place..place + 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_is_known_only_with_itself() {
        let root = TaskletName::ROOT;
        let mut clock = Clock::default();
        clock.finish(Slot { tasklet: root, nth: 0 });
        let mut dropped = clock.clone();
        dropped.count_drop(root);
        let mut later = clock.clone();
        later.finish(Slot { tasklet: root, nth: 1 });
        assert!(clock.within(&dropped));
        assert!(!dropped.within(&clock));
        assert!(!dropped.within(&later));
        assert!(dropped.within(&later.joined(&dropped)));
        assert_eq!((dropped.slots(root), dropped.drops(root)), (1, 1));
        assert_eq!(dropped.with_drops(root, 0), clock);
    }
}
