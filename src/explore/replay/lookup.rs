//! Overrides ready to be followed in a run, in which they are asked at every step.
//!
//! Always: it says what the overrides say that it was made from, in any session: paths are told
//! apart by their fingerprints.

use std::collections::BTreeMap;

use super::Overrides;
use crate::explore::event::{Event, Kind, Names, Offer, mix, print_of_path};
use crate::explore::system::Enabled;

/// What completes a slot.
#[derive(PartialEq)]
struct Said {
    kind: Kind,
    /// The fingerprint of the tasklet on the other side, and its branch, if there is one.
    peer: Option<(u64, u16)>,
    second: bool,
    branch: u16,
}

/// What overrides ask for.
pub(in crate::explore) struct Lookup {
    /// By the fingerprints of slots.
    said: BTreeMap<u64, Said>,
    /// Whether the end of the root cancels the others.
    endings: bool,
}

impl Lookup {
    pub(super) fn new(overrides: &Overrides) -> Lookup {
        let all = overrides.wants.iter().map(|((path, nth), want)| {
            let peer = want.peer.as_ref().map(|(path, branch)| (print_of_path(path), *branch));
            let said = Said { kind: want.kind, peer, second: want.second, branch: want.branch };
            (mix(print_of_path(path), u64::from(*nth)), said)
        });
        Lookup { said: all.collect(), endings: overrides.endings }
    }

    /// Picks the event that they ask for; else the first that they say nothing about.
    pub(in crate::explore) fn choose(&self, enabled: &Enabled<'_>) -> usize {
        if self.said.is_empty() {
            return 0;
        }
        let (mut unsaid, mut late) = (None, None);
        for (index, event) in enabled.events.iter().enumerate() {
            let mut answers = self.answers(event, enabled.names).flatten();
            match answers.next().map(|it| it && answers.all(|it| it)) {
                // All that happened before the others were cancelled is older than that.
                Some(true) if self.endings && enabled.run.is_ending(event) => {
                    late = late.or(Some(index));
                }
                Some(true) => return index,
                Some(false) => {}
                None => unsaid = unsaid.or(Some(index)),
            }
        }
        late.or(unsaid).unwrap_or(0)
    }

    /// The events of which they ask for all.
    pub(in crate::explore) fn asked<'a>(
        &'a self,
        enabled: &'a Enabled<'_>,
    ) -> impl Iterator<Item = usize> + 'a {
        let asked = |it: &usize| {
            self.answers(&enabled.events[*it], enabled.names).all(|it| it == Some(true))
        };
        (0..enabled.events.len()).filter(asked)
    }

    /// For each slot that `event` completes whether it is asked for, if anything is said of it.
    fn answers(&self, event: &Event, names: &Names) -> impl Iterator<Item = Option<bool>> {
        let print = |it: Offer| names.print_of(it.slot.tasklet);
        let answer = |mine: Offer, peer: Option<Offer>, second: bool| {
            let peer = peer.map(|it| (print(it), it.branch));
            let would = Said { kind: event.kind, peer, second, branch: mine.branch };
            let said = self.said.get(&mix(print(mine), u64::from(mine.slot.nth)));
            said.map(|it| *it == would)
        };
        let first = answer(event.first, event.second, false);
        let second = event.second.map(|it| answer(it, Some(event.first), true));
        std::iter::once(first).chain(second)
    }
}
