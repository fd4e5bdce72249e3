//! Who waits for whom, counted: how many branches of the slots that wait are at which end of which
//! channel.
//!
//! Always: a slot is counted from when it is published until it is completed; while `is_certain`,
//! something may happen.

use super::event::{Branch, ChannelName, Side};

/// The counts of one run.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Sender first; indexed by channel.
    ends: Vec<[End; 2]>,
    /// The channels at both of whose ends a slot waits that has no other branch, and the slots
    /// that can do nothing but go on.
    certain: usize,
    /// Whether any slot ever cancelled another.
    cancels: bool,
    /// Whether any slot ever waited for the end of a tasklet.
    watches: bool,
}

/// The branches at one end of a channel.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// Those that are the only one of their slot: two of them can always meet.
    only: u32,
    /// The others.
    of_many: u32,
}

/// The channel of `branch` and the end where its partner is; none if it needs none.
#[inline]
pub(super) fn wanted(branch: Branch) -> Option<(ChannelName, Side)> {
    match branch {
        Branch::Send(channel) => Some((channel, Side::Receiver)),
        Branch::Receive(channel) => Some((channel, Side::Sender)),
        Branch::Default
        | Branch::Timer(_)
        | Branch::Limit(_)
        | Branch::Join(_)
        | Branch::Cancel(_) => None,
    }
}

impl Asked {
    /// Nobody waits.
    pub(super) fn clear(&mut self) {
        self.ends.clear();
        (self.certain, self.cancels, self.watches) = (0, false, false);
    }

    /// Makes room for a channel.
    pub(super) fn make(&mut self, channel: ChannelName) {
        if self.ends.len() <= channel.index() {
            self.ends.resize(channel.index() + 1, Default::default());
        }
    }

    /// A slot with these branches is published.
    #[inline]
    pub(super) fn add(&mut self, branches: &[Branch]) {
        match branches {
            [only] => self.add_one(*only, true),
            _ => branches.iter().for_each(|it| self.add_one(*it, false)),
        }
    }

    #[inline]
    fn add_one(&mut self, branch: Branch, only: bool) {
        let Some((channel, peers)) = wanted(branch) else {
            self.certain += usize::from(only && branch == Branch::Default);
            self.cancels |= matches!(branch, Branch::Cancel(_));
            self.watches |= matches!(branch, Branch::Join(_) | Branch::Cancel(_));
            return;
        };
        let ends = &mut self.ends[channel.index()];
        let mine = &mut ends[1 - peers as usize];
        if only {
            mine.only += 1;
            let first = mine.only == 1;
            self.certain += usize::from(first && ends[peers as usize].only > 0);
        } else {
            mine.of_many += 1;
        }
    }

    /// It is completed.
    #[inline]
    pub(super) fn remove(&mut self, branches: &[Branch]) {
        match branches {
            [only] => self.remove_one(*only, true),
            _ => branches.iter().for_each(|it| self.remove_one(*it, false)),
        }
    }

    #[inline]
    fn remove_one(&mut self, branch: Branch, only: bool) {
        let Some((channel, peers)) = wanted(branch) else {
            self.certain -= usize::from(only && branch == Branch::Default);
            return;
        };
        let ends = &mut self.ends[channel.index()];
        let mine = &mut ends[1 - peers as usize];
        if only {
            mine.only -= 1;
            let last = mine.only == 0;
            self.certain -= usize::from(last && ends[peers as usize].only > 0);
        } else {
            mine.of_many -= 1;
        }
    }

    /// Whether a branch waits at this end.
    #[inline]
    pub(super) fn has(&self, channel: ChannelName, side: Side) -> bool {
        let end = self.ends[channel.index()][side as usize];
        end.only > 0 || end.of_many > 0
    }

    /// Whether any slot ever cancelled another.
    pub(super) fn cancels(&self) -> bool {
        self.cancels
    }

    /// Whether any slot ever waited for the end of a tasklet.
    pub(super) fn watches(&self) -> bool {
        self.watches
    }

    /// Whether something is sure to be possible; if not, it may be all the same.
    pub(super) fn is_certain(&self) -> bool {
        self.certain > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slots_without_another_branch_are_certain_to_meet() {
        let channel = ChannelName(0);
        let one = |branch: Branch| [branch];
        let (sends, receives) = (one(Branch::Send(channel)), one(Branch::Receive(channel)));
        let tries = [Branch::Receive(channel), Branch::Default];
        let mut asked = Asked::default();
        asked.make(channel);
        asked.add(&sends);
        asked.add(&tries);
        assert!(asked.has(channel, Side::Receiver) && !asked.is_certain());
        asked.add(&receives);
        assert!(asked.is_certain());
        asked.remove(&sends);
        asked.remove(&tries);
        assert!(!asked.is_certain() && !asked.has(channel, Side::Sender));
        asked.remove(&receives);
        asked.add(&one(Branch::Default));
        assert!(asked.is_certain());
    }
}
