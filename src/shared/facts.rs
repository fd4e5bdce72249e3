//! What a shared channel tells the reports of a run, and how they get to know of it.
//!
//! Always: a run is told only of its own tasklets; asking changes nothing.

use super::core::Core;
use crate::kernel::claim::Owner;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{ChannelFacts, Facts, Holder, Home};
use crate::kernel::trace::ChannelId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// The shared channels that the tasklets of one scheduler have waited on.
#[derive(Default)]
struct Known {
    channels: RefCell<BTreeMap<ChannelId, Entry>>,
}

struct Entry {
    listed: Rc<Listed>,
    slot: usize,
}

/// A shared channel, as one scheduler sees it.
struct Listed {
    channel: Weak<dyn SharedFacts>,
    home: u64,
}

/// What a shared channel tells.
trait SharedFacts {
    fn tell(&self, home: u64) -> ChannelFacts;
}

/// The number of the scheduler that is active on this OS thread; 0 if none is.
pub(super) fn number() -> u64 {
    Scheduler::active().map_or(0, |it| it.number())
}

/// Lets the reports of the active scheduler know of a channel.
pub(super) fn list<T: Send + 'static>(core: &Arc<Core<T>>, home: &Home) {
    let Some(scheduler) = Scheduler::active() else { return };
    let known = scheduler.extension::<Known>();
    let mut channels = known.channels.borrow_mut();
    if channels.contains_key(&core.id) {
        return;
    }
    // Those that are gone go whenever as many have come as are left.
    if channels.len().is_power_of_two() {
        channels.retain(|_, it| {
            let lives = it.listed.channel.strong_count() > 0;
            if !lives {
                home.channels.remove(it.slot);
            }
            lives
        });
    }
    let channel: Weak<Core<T>> = Arc::downgrade(core);
    let listed = Rc::new(Listed { channel, home: scheduler.number() });
    let entry: Rc<dyn Facts> = listed.clone();
    let slot = home.channels.add(Rc::downgrade(&entry));
    channels.insert(core.id, Entry { listed, slot });
}

impl Facts for Listed {
    fn tell(&self, report: &mut dyn FnMut(ChannelFacts)) {
        if let Some(channel) = self.channel.upgrade() {
            report(channel.tell(self.home));
        }
    }
}

impl<T> SharedFacts for Core<T> {
    fn tell(&self, home: u64) -> ChannelFacts {
        let mine = |owner: Owner| (owner.home == home).then_some(owner.tasklet);
        let lines = self.lines();
        let senders = lines.senders.iter().map(|it| &it.ticket).filter(|it| it.is_open());
        let senders_waiting = senders.filter_map(|it| mine(it.owner())).collect();
        let receivers = lines.receivers.iter().map(|it| &it.ticket).filter(|it| it.is_open());
        let receivers_waiting = receivers.filter_map(|it| mine(it.owner())).collect();
        drop(lines);
        // Which tasklet holds a handle is not known: it may have gone to another OS thread.
        let handles = |count: usize| vec![Holder::default(); count];
        ChannelFacts {
            id: self.id,
            name: self.name.lock().as_deref().map(Rc::from),
            made_at: self.made_at,
            senders_waiting,
            receivers_waiting,
            sender_holders: handles(self.senders.load(Ordering::SeqCst)),
            receiver_holders: handles(self.receivers.load(Ordering::SeqCst)),
            shared: true,
        }
    }
}
