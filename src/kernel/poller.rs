//! Waits that settle when the OS says so: where the scheduler sleeps, and what can wake it.
//!
//! Always: a message put into the inbox is seen before the scheduler sleeps, or wakes it; a system
//! call is made for it only if the scheduler sleeps.

use super::clock::Nanos;
use mio::{Events, Poll, Token, Waker};
use parking_lot::Mutex;
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The inbox's own event; readiness of sockets gets other tokens.
const INBOX: Token = Token(usize::MAX);

/// News from another OS thread: which pending call it is for, and what came of it.
pub(crate) struct Message {
    pub(crate) call: usize,
    pub(crate) result: Box<dyn Any + Send>,
}

/// Where other OS threads leave messages for a scheduler.
pub(crate) struct Inbox {
    messages: Mutex<Vec<Message>>,
    /// Whether a system call is needed to get attention.
    asleep: AtomicBool,
    waker: Waker,
}

impl Inbox {
    /// Leaves `message` and wakes the scheduler if it sleeps.
    pub(crate) fn put(&self, message: Message) {
        self.messages.lock().push(message);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A full pipe means that a wake-up is under way already.
            drop(self.waker.wake());
        }
    }
}

/// The OS's readiness queue of one scheduler.
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
    inbox: Arc<Inbox>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), INBOX)?;
        let inbox = Inbox { messages: Mutex::default(), asleep: AtomicBool::new(false), waker };
        Ok(Poller { poll, events: Events::with_capacity(1_024), inbox: Arc::new(inbox) })
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Takes what has been left in the inbox.
    pub(crate) fn messages(&self) -> Vec<Message> {
        std::mem::take(&mut *self.inbox.messages.lock())
    }

    /// Sleeps until something happens outside or `nanos` have passed; `None`: until something does.
    pub(crate) fn sleep(&mut self, nanos: Option<Nanos>) -> io::Result<()> {
        self.inbox.asleep.store(true, Ordering::SeqCst);
        let pending = !self.inbox.messages.lock().is_empty();
        let limit = if pending { Some(Duration::ZERO) } else { nanos.map(Duration::from_nanos) };
        let slept = self.poll.poll(&mut self.events, limit);
        self.inbox.asleep.store(false, Ordering::SeqCst);
        match slept {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }
}
