//! What a channel tells reports and monitors, and how they get to know of it.
//!
//! Always: telling changes nothing but where a waiter is kept.

use super::core::Core;
use crate::kernel::announce;
use crate::kernel::name::TaskletId;
use crate::kernel::running;
use crate::kernel::task::{ChannelFacts, Facts, Holder, Home};
use crate::kernel::trace::Direction;
use crate::kernel::wait::Wait;
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;

impl<T> Core<T> {
    /// Lets the reports of this scheduler know of the channel.
    pub(super) fn list(&self, home: &Rc<Home>)
    where
        T: 'static,
    {
        let mut listed = self.listed.borrow_mut();
        if let Some((former, slot)) = &*listed {
            if Rc::ptr_eq(former, home) {
                return;
            }
            former.channels.remove(*slot);
        }
        *listed = Some((home.clone(), home.channels.add(self.me.clone())));
    }

    /// Notes that the running tasklet uses the handle in this slot.
    #[cold]
    #[inline(never)]
    pub(super) fn note_holder(&self, direction: Direction, slot: usize)
    where
        T: 'static,
    {
        let Some(task) = running::current() else { return };
        self.list(&task.home);
        let handles = match direction {
            Direction::Send => &self.senders,
            Direction::Receive => &self.receivers,
        };
        if let Some(holder) = handles.borrow_mut().get_mut(slot) {
            *holder = Holder { tasklet: Some(task.id()), used: true };
        }
    }

    /// Tells who controls the run that a handle was dropped.
    pub(super) fn tell_dropped(&self, end: Direction, last: bool) {
        if let Some((home, _)) = &*self.listed.borrow()
            && let Some(control) = &home.control
            && control.hears_of_drops()
        {
            let name = if last { self.name.borrow().clone() } else { None };
            announce::dropped(control, self.id, name, end, last);
        }
    }

    /// Waiting senders less waiting receivers.
    pub(super) fn balance(&self) -> isize {
        let queue = self.queue();
        let senders = queue.senders.iter().filter(|it| it.wait.is_open()).count();
        let receivers = queue.receivers.iter().filter(|it| it.wait.is_open()).count();
        let standing = queue.standing.iter().filter(|(it, _)| it.waiting().is_some()).count();
        senders.cast_signed() - (receivers + standing).cast_signed()
    }

    /// Who waits on either end, first come first.
    pub(super) fn waiters(&self) -> (Vec<TaskletId>, Vec<TaskletId>) {
        let queue = self.queue();
        let senders = queue.senders.iter().map(|it| &it.wait).filter(|it| it.is_open());
        let senders = senders.map(|it| it.task.id()).collect();
        let plain = queue.receivers.iter().map(|it| it.wait.clone()).filter(Wait::is_open);
        let standing = queue.standing.iter().filter_map(|(it, _)| it.waiting());
        let mut receivers: Vec<_> = plain.chain(standing).map(|it| it.task).collect();
        receivers.sort_by_key(|it| it.arrived.get());
        (senders, receivers.iter().map(|it| it.id()).collect())
    }
}

impl<T> Facts for Core<T> {
    fn tell(&self, report: &mut dyn FnMut(ChannelFacts)) {
        let (senders_waiting, receivers_waiting) = self.waiters();
        let holders = |handles: &RefCell<Slab<Holder>>| {
            handles.borrow().iter().map(|(_, it)| *it).collect::<Vec<_>>()
        };
        report(ChannelFacts {
            id: self.id,
            name: self.name.borrow().clone(),
            made_at: self.made_at,
            senders_waiting,
            receivers_waiting,
            sender_holders: holders(&self.senders),
            receiver_holders: holders(&self.receivers),
            shared: false,
        });
    }
}

impl<T> Drop for Core<T> {
    fn drop(&mut self) {
        if let Some((home, slot)) = self.listed.take() {
            home.channels.remove(slot);
        }
    }
}
