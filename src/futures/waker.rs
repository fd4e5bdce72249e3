//! What a future is woken with.
//!
//! Always: of all wakes of one wait one rings its bell; a wake that comes while nobody waits is
//! remembered until the next poll; nothing of the user is in here.
//! Ringer: `Quiet -> Rung`, or `Quiet -> Awaited -> Rung`; a poll makes it quiet.

use crate::kernel::poller::{BellId, Inbox, Message};
use crate::kernel::scheduler::Scheduler;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;

const QUIET: u8 = 0;
const RUNG: u8 = 1;
const AWAITED: u8 = 2;

/// A bell and the scheduler that it hangs at.
pub(super) struct Door {
    pub(super) inbox: Weak<Inbox>,
    pub(super) bell: BellId,
}

/// What all wakers of one future share.
#[derive(Default)]
pub(super) struct Ringer {
    state: AtomicU8,
    /// Where to ring, once somebody has waited.
    door: Mutex<Option<Door>>,
}

impl Ringer {
    /// Forgets that it has been rung: the future is about to look by itself.
    pub(super) fn hush(&self) {
        self.state.store(QUIET, Ordering::SeqCst);
    }

    pub(super) fn is_rung(&self) -> bool {
        self.state.load(Ordering::SeqCst) == RUNG
    }

    /// From now on `door` is where to ring; false if it has been rung already.
    pub(super) fn listen(&self, door: Door) -> bool {
        *self.door.lock() = Some(door);
        let quiet = self.state.compare_exchange(QUIET, AWAITED, Ordering::SeqCst, Ordering::SeqCst);
        // Also fine: somebody else's wait ended it, and nobody has rung since.
        quiet != Err(RUNG)
    }

    /// Tells the scheduler: itself if this is its OS thread, else through its inbox.
    fn tell(&self, rung: bool) {
        let door = self.door.lock();
        let Some(Door { inbox, bell }) = &*door else { return };
        let here = Scheduler::active().filter(|it| it.has_inbox(inbox));
        let (there, bell) = (if here.is_some() { None } else { inbox.upgrade() }, *bell);
        drop(door);
        match (here, there, rung) {
            (Some(scheduler), _, true) => scheduler.ring(bell),
            (None, Some(inbox), true) => inbox.put(Message::Rung(bell)),
            (None, Some(inbox), false) => inbox.put(Message::Hopeless),
            // It does not sleep, and will see it; or it is gone.
            (Some(_), _, false) | (None, None, _) => {}
        }
    }
}

impl Wake for Ringer {
    fn wake(self: Arc<Ringer>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Ringer>) {
        if self.state.swap(RUNG, Ordering::SeqCst) == AWAITED {
            self.tell(true);
        }
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        if *self.state.get_mut() == AWAITED {
            self.tell(false);
        }
    }
}
