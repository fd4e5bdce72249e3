//! What a report says beside the events: names and places, and who had which handle in the end.
//!
//! Always: who holds a handle is who drops it when the run is over and is taken down: a handle that
//! was moved into a tasklet, and never used there, is seen so too.

use super::Bridge;
use crate::explore::details::{HolderDetails, TaskletDetails};
use crate::explore::event::{ChannelName, Side};
use crate::kernel::name::TaskletId;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Holder;
use crate::kernel::trace::Direction;
use std::collections::BTreeMap;

impl Bridge<'_, '_> {
    /// Collects names and places.
    pub(super) fn describe(&mut self, scheduler: &Scheduler) {
        let mut details = std::mem::take(&mut self.details);
        for seat in &self.seats {
            let name = seat.task.who.name.as_ref().map(|it| it.to_string());
            let spawned_at = seat.task.who.spawned_at;
            details.tasklets.insert(seat.name, TaskletDetails { name, spawned_at });
        }
        for facts in scheduler.home.channels.list() {
            let Some(channel) = self.channel(facts.id) else { continue };
            if let Some(name) = &facts.name {
                details.name_channel(channel, name);
            }
            let holders = |all: &[Holder]| {
                let known = all.iter().filter_map(|it| Some((it.tasklet?, it.used)));
                known.map(|(id, used)| HolderDetails { tasklet: self.name(id), used }).collect()
            };
            if let Some(known) = details.channels.get_mut(&channel) {
                known.senders = holders(&facts.sender_holders);
                known.receivers = holders(&facts.receiver_holders);
            }
        }
        self.board.describe(details);
        if let Some(control) = &scheduler.home.control {
            control.watch_remains();
        }
    }

    /// Says who held what, instead of who had made or used it.
    pub(super) fn tell_holders(&mut self, scheduler: &Scheduler) {
        let remains = scheduler.home.control.as_ref().map(|it| it.take_remains());
        let mut ends: BTreeMap<(ChannelName, bool), Vec<HolderDetails>> = BTreeMap::new();
        for it in remains.into_iter().flatten() {
            // Who was spawned meanwhile is not of the run.
            let known = |of: TaskletId| self.seats.get(of.0 as usize).map(|it| it.name);
            if let (Some(channel), Some(tasklet)) = (self.channel(it.channel), known(it.of)) {
                let sends = it.end == Direction::Send;
                let holders = ends.entry((channel, sends)).or_default();
                holders.push(HolderDetails { tasklet, used: true });
            }
        }
        for ((channel, sends), holders) in ends {
            let side = if sends { Side::Sender } else { Side::Receiver };
            self.board.held_by(channel, side, holders);
        }
    }
}
