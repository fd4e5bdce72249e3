//! What each tasklet offers, found without looking at every channel for every tasklet.
//!
//! Always: the offers of a tasklet are in the order in which the channels are listed.

use super::Pending;
use crate::kernel::name::TaskletId;
use crate::kernel::task::ChannelFacts;
use crate::kernel::trace::{ChannelId, Direction};
use std::collections::BTreeMap;
use std::panic::Location;

/// Channels, and who waits on which end of which.
pub(crate) struct Offers<'a> {
    channels: BTreeMap<ChannelId, &'a ChannelFacts>,
    waited_on: BTreeMap<TaskletId, Vec<(&'a ChannelFacts, Direction)>>,
}

impl<'a> Offers<'a> {
    pub(super) fn of(channels: &'a [ChannelFacts]) -> Offers<'a> {
        let mut waited_on: BTreeMap<_, Vec<(&ChannelFacts, _)>> = BTreeMap::new();
        for it in channels {
            let senders = it.senders_waiting.iter().map(|id| (id, Direction::Send));
            let receivers = it.receivers_waiting.iter().map(|id| (id, Direction::Receive));
            for (id, direction) in senders.chain(receivers) {
                let ends = waited_on.entry(*id).or_default();
                if ends.last().is_none_or(|last| (last.0.id, last.1) != (it.id, direction)) {
                    ends.push((it, direction));
                }
            }
        }
        Offers { channels: channels.iter().map(|it| (it.id, it)).collect(), waited_on }
    }

    pub(super) fn channel(&self, id: ChannelId) -> Option<&'a ChannelFacts> {
        self.channels.get(&id).copied()
    }

    pub(super) fn of_tasklet(&self, id: TaskletId) -> Vec<Pending> {
        self.waited_on.get(&id).into_iter().flatten().map(|it| offer(it.0, it.1)).collect()
    }
}

/// An operation on `channel`.
fn offer(channel: &ChannelFacts, direction: Direction) -> Pending {
    if channel.shared {
        return Pending::Shared {
            channel: channel.id,
            name: channel.name.as_deref().map(str::to_owned),
            made_at: channel.made_at,
            direction,
        };
    }
    let holders = match direction {
        Direction::Send => &channel.receiver_holders,
        Direction::Receive => &channel.sender_holders,
    };
    let mut held_by: Vec<_> = holders.iter().filter_map(|it| it.tasklet).collect();
    let first = holders.first().and_then(|it| it.tasklet);
    let alone = holders.iter().all(|it| it.used && it.tasklet == first);
    held_by.sort();
    held_by.dedup();
    Pending::Channel {
        channel: channel.id,
        name: channel.name.as_deref().map(str::to_owned),
        made_at: channel.made_at,
        direction,
        held_by,
        only_holder: first.filter(|_| alone),
    }
}

/// What an operation does to a channel.
pub(super) fn verb(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "send on",
        Direction::Receive => "receive from",
    }
}

/// A channel in a report.
pub(super) fn channel_text(
    id: ChannelId,
    name: Option<&String>,
    made_at: Option<&Location<'_>>,
) -> String {
    let name = name.map_or_else(|| id.to_string(), |it| format!("channel `{it}`"));
    made_at.map_or(name.clone(), |at| format!("{name} (made at {at})"))
}
