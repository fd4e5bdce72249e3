//! Waits that settle when the OS says so: where the scheduler sleeps, and what can wake it.
//!
//! Always: a message put into the inbox is seen before the scheduler sleeps in the poller, or wakes
//! it; a system call is made for it only if the scheduler sleeps. Where the OS gives no poller the
//! scheduler looks for messages now and then. What the OS tells of a descriptor that has been
//! deregistered reaches nobody, also if its number and place have been used again.

use super::asleep::{self, Kind, Nap, Sleeper, Watch};
use super::claim::{Claim, Wake};
use super::clock::Nanos;
use super::source::{Listener, Side, Source};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use slab::Slab;
use std::any::Any;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// The inbox's own event; readiness of sockets gets other tokens.
const INBOX: Token = Token(usize::MAX);

/// Time between two looks for descriptors that were closed behind our back.
const CHECK_EVERY: Nanos = 1_000_000_000;

/// News from another OS thread.
pub(crate) enum Message {
    /// What came of a pending call.
    Answer { call: usize, result: Box<dyn Any + Send> },
    /// A partner has settled the wait that this is the claim of.
    Done(Arc<Claim>),
    /// Something to do on the scheduler's own OS thread, between two turns.
    Errand(Box<dyn FnOnce() + Send>),
    /// Somebody has rung this bell.
    #[cfg(feature = "futures")]
    Rung(BellId),
    /// Nobody can ring a certain bell any more: look whether there is anything left to wait for.
    #[cfg(feature = "futures")]
    Hopeless,
}

/// Which [bell](super::scheduler) of a scheduler.
#[cfg(feature = "futures")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BellId {
    pub(super) place: usize,
    /// Tells it from those that had its place before.
    pub(super) serial: u64,
}

/// In cache lines that nothing else shares: who looks at it again and again takes nothing away from
/// who writes what is beside it. (The processor fetches lines in pairs of 64 bytes.)
#[derive(Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// Where other OS threads leave messages for a scheduler.
#[derive(Default)]
pub(crate) struct Inbox {
    messages: Mutex<Vec<Message>>,
    /// Whether there are any.
    filled: Apart<AtomicBool>,
    /// Whether a system call is needed to get attention.
    nap: Nap,
    /// Nobody will ever leave a message.
    told: AtomicBool,
    /// Of the scheduler's poller, once it has one.
    waker: OnceLock<Waker>,
    /// System calls made to wake the scheduler.
    #[cfg(test)]
    pub(crate) wakes: std::sync::atomic::AtomicU64,
}

impl Inbox {
    /// Leaves `message` and wakes the scheduler if it sleeps.
    pub(crate) fn put(&self, message: Message) {
        let mut messages = self.messages.lock();
        messages.push(message);
        self.filled.0.store(true, Ordering::SeqCst);
        drop(messages);
        self.call();
    }

    fn call(&self) {
        // Both sides say what they do before they look at what the other does: one of them sees it.
        if self.nap.call(asleep::process) {
            #[cfg(test)]
            self.wakes.fetch_add(1, Ordering::SeqCst);
            // A full pipe means that a wake-up is under way already.
            drop(self.waker.get().map(Waker::wake));
        }
    }

    /// Whether a message has been left.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.0.load(Ordering::SeqCst)
    }

    /// Takes what has been left.
    pub(crate) fn take(&self) -> Vec<Message> {
        if !self.is_filled() {
            return Vec::new();
        }
        let mut messages = self.messages.lock();
        self.filled.0.store(false, Ordering::SeqCst);
        std::mem::take(&mut *messages)
    }
}

impl Wake for Inbox {
    fn wake(&self, claim: Arc<Claim>) {
        self.put(Message::Done(claim));
    }
}

impl Sleeper for Inbox {
    fn kind(&self) -> Option<Kind> {
        self.nap.kind()
    }

    fn tell(&self) {
        let messages = self.messages.lock();
        self.told.store(true, Ordering::SeqCst);
        self.filled.0.store(true, Ordering::SeqCst);
        drop(messages);
        self.call();
    }
}

/// The OS's readiness queue of one scheduler.
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
    inbox: Arc<Inbox>,
    sources: Slab<Rc<Source>>,
    /// Where the source is that has a number, if there is one: one more than its place.
    places: Vec<usize>,
    /// Sources registered so far: tells one from those that had its place before.
    registered: usize,
    /// The place of a source that was awaited when somebody asked last.
    awaited: usize,
    /// Whether all descriptors were seen to be open since anything happened.
    checked: bool,
    checked_at: Nanos,
}

/// What the OS is to tell of a descriptor.
const EVENTS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);

/// Low bits of a key: the place among the sources. High bits: how many came before.
const PLACE: usize = usize::MAX >> (usize::BITS / 2);

impl Poller {
    /// The poller of the scheduler that has `inbox`: its only one.
    pub(crate) fn new(inbox: Arc<Inbox>) -> io::Result<Poller> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), INBOX)?;
        let first = inbox.waker.set(waker);
        debug_assert!(first.is_ok(), "a scheduler has one poller");
        let known: Weak<Inbox> = Arc::downgrade(&inbox);
        asleep::list(known);
        Ok(Poller {
            poll,
            events: Events::with_capacity(1_024),
            inbox,
            sources: Slab::new(),
            places: Vec::new(),
            registered: 0,
            awaited: 0,
            checked: false,
            checked_at: 0,
        })
    }

    /// Registers a descriptor, which stays the caller's. Whoever had its number has been closed
    /// behind our back: who waits for that is moved to `due`.
    ///
    /// # Errors
    /// The OS's: it is registered already, it is not open, it is of a kind that is always ready.
    pub(crate) fn register(
        &mut self,
        number: RawFd,
        due: &mut Vec<Listener>,
    ) -> io::Result<Rc<Source>> {
        self.registered = self.registered.wrapping_add(1);
        let key = (self.registered << (usize::BITS / 2)) | (self.sources.vacant_key() & PLACE);
        self.poll.registry().register(&mut SourceFd(&number), Token(key), EVENTS)?;
        let index = usize::try_from(number).expect("an open descriptor has a number");
        if self.places.len() <= index {
            self.places.resize(index + 1, 0);
        }
        let source = Rc::new(Source::new(key, number));
        let place = self.sources.insert(source.clone());
        let former = std::mem::replace(&mut self.places[index], place + 1);
        if former > 0 {
            self.sources.remove(former - 1).lose(due);
        }
        Ok(source)
    }

    /// Forgets a descriptor, before it is closed; moves those who still wait for it to `due`.
    pub(crate) fn deregister(&mut self, source: &Source, due: &mut Vec<Listener>) {
        if self.source(source.key).is_some() {
            self.sources.remove(source.key & PLACE);
            self.places[source.number as usize] = 0;
            // Who has closed it behind our back has taken it out of the OS's queue, too.
            drop(self.poll.registry().deregister(&mut SourceFd(&source.number)));
            source.take_listeners(due);
        }
    }

    /// The source with this key, unless it has gone and its place is another's.
    fn source(&self, key: usize) -> Option<&Rc<Source>> {
        self.sources.get(key & PLACE).filter(|it| it.key == key)
    }

    /// Whether there is anything to look for without sleeping.
    pub(crate) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether somebody waits for a descriptor.
    pub(crate) fn is_awaited(&mut self) -> bool {
        if self.sources.get(self.awaited).is_some_and(|it| it.is_awaited()) {
            return true;
        }
        let found = self.sources.iter().find(|(_, it)| it.is_awaited());
        found.inspect(|(place, _)| self.awaited = *place).is_some()
    }

    /// Sleeps until something happens outside or `nanos` have passed (`None`: until something
    /// does); moves those who waited for what happened to `due`.
    pub(crate) fn poll(&mut self, nanos: Option<Nanos>, due: &mut Vec<Listener>) -> io::Result<()> {
        let sleeps = nanos != Some(0);
        let mut limit = nanos.map(Duration::from_nanos);
        if sleeps {
            self.inbox.nap.doze();
            if self.inbox.is_filled() {
                limit = Some(Duration::ZERO);
            }
        }
        let polled = self.poll.poll(&mut self.events, limit);
        if sleeps {
            self.inbox.nap.rise(asleep::process);
        }
        self.sort(polled, due)
    }

    /// Sleeps, as what `kind` says, while nobody is told of any descriptor, until there is a
    /// message; true if there never will be one, because every OS thread of the process sleeps so.
    pub(crate) fn poll_inbox(&mut self, kind: Kind, due: &mut Vec<Listener>) -> io::Result<bool> {
        let messages = self.inbox.messages.lock();
        if !messages.is_empty() {
            return Ok(false);
        }
        self.inbox.nap.sleep(kind, asleep::process());
        drop(messages);
        let mut watch = Watch::new();
        // A signal, or a descriptor that nobody waits for, is no reason to be counted as awake.
        let mut sorted = Ok(());
        while sorted.is_ok() && !self.inbox.is_filled() && due.is_empty() {
            let polled = self.poll.poll(&mut self.events, Some(watch.patience()));
            sorted = self.sort(polled, due);
            if self.events.is_empty() {
                watch.look();
            }
        }
        self.inbox.nap.rise(asleep::process);
        sorted.map(|()| self.inbox.told.swap(false, Ordering::SeqCst))
    }

    /// Whether anybody would be told of any descriptor.
    pub(crate) fn has_listeners(&self) -> bool {
        self.sources.iter().any(|(_, it)| it.has_listeners())
    }

    /// Moves those who waited for what has happened to `due`.
    fn sort(&self, polled: io::Result<()>, due: &mut Vec<Listener>) -> io::Result<()> {
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let Some(source) = self.source(event.token().0) else { continue };
            let failed = event.is_error();
            if event.is_readable() || event.is_read_closed() || failed {
                // A read stops where urgent data is, though more may have come behind that.
                let ended = event.is_read_closed() || failed || event.is_priority();
                source.tell(Side::Read, ended, due);
            }
            if event.is_writable() || event.is_write_closed() || failed {
                source.tell(Side::Write, event.is_write_closed() || failed, due);
            }
        }
        Ok(())
    }

    /// Notes that something happens: descriptors may be closed by who does it.
    pub(crate) fn stir(&mut self) {
        self.checked = false;
    }

    /// How long to sleep at most before descriptors are [checked](Self::check).
    pub(crate) fn until_check(&self) -> Option<Nanos> {
        (!self.checked && !self.sources.is_empty()).then_some(CHECK_EVERY)
    }

    /// Looks, now and then and when nothing happens, for descriptors that were closed behind our
    /// back: nobody would ever be told of them.
    pub(crate) fn check(&mut self, now: Nanos, due: &mut Vec<Listener>) {
        if self.checked || now < self.checked_at.saturating_add(CHECK_EVERY) {
            return;
        }
        (self.checked, self.checked_at) = (true, now);
        for (_, source) in self.sources.iter().filter(|(_, it)| it.has_listeners()) {
            let mut known = SourceFd(&source.number);
            if self.poll.registry().reregister(&mut known, Token(source.key), EVENTS).is_err() {
                source.tell(Side::Read, true, due);
                source.tell(Side::Write, true, due);
            }
        }
    }
}
