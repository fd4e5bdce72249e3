//! What a report says about a run beside its events: names, source lines, who holds what.
//!
//! Always: it is collected only when a report is to be made, and changes nothing in the run.

use super::event::{ChannelName, Names, TaskletName};
use std::collections::BTreeMap;
use std::panic::Location;

/// A tasklet of a run.
#[derive(Clone, Debug)]
pub(super) struct TaskletDetails {
    pub(super) name: Option<String>,
    pub(super) spawned_at: &'static Location<'static>,
}

/// Who has a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HolderDetails {
    pub(super) tasklet: TaskletName,
    /// It has used the handle; else it has made it, and may have given it away.
    pub(super) used: bool,
}

/// A channel of a run.
#[derive(Clone, Debug)]
pub(super) struct ChannelDetails {
    pub(super) name: Option<String>,
    pub(super) made_at: &'static Location<'static>,
    /// Who has a handle of the sending end, at the end of the run.
    pub(super) senders: Vec<HolderDetails>,
    /// Who has a handle of the receiving end, at the end of the run.
    pub(super) receivers: Vec<HolderDetails>,
}

/// What is known of everybody in a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Details {
    pub(super) tasklets: BTreeMap<TaskletName, TaskletDetails>,
    pub(super) channels: BTreeMap<ChannelName, ChannelDetails>,
}

impl Details {
    /// The spawn path of a tasklet, and its name if it has one.
    pub(super) fn tasklet(&self, tasklet: TaskletName, names: &Names) -> String {
        let path = names.tasklet(tasklet);
        match self.tasklets.get(&tasklet).and_then(|it| it.name.as_ref()) {
            Some(name) => format!("{path} `{name}`"),
            None => path,
        }
    }

    /// Notes the name of a channel.
    pub(super) fn name_channel(&mut self, channel: ChannelName, name: &str) {
        if let Some(known) = self.channels.get_mut(&channel) {
            known.name = Some(name.into());
        }
    }

    /// The name of a channel, else where it comes from.
    pub(super) fn channel(&self, channel: ChannelName, names: &Names) -> String {
        match self.channels.get(&channel).and_then(|it| it.name.as_ref()) {
            Some(name) => format!("`{name}`"),
            None => names.channel_text(channel),
        }
    }
}
