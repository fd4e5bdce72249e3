//! What happened, as events, if somebody listens; it costs nothing when nobody does.
//!
//! Always: a hook runs while no state of the kernel or of a channel is borrowed.

use super::name::{Identity, TaskletId};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Identifies a channel within its process: counted in the order of making, by all OS threads.
/// So it is not part of what one seed fixes; names are.
///
/// ```
/// use tasklets::{ChannelId, channel, run, snapshot};
/// run(|| {
///     let (tx, _rx) = channel::<u8>();
///     let id: ChannelId = tx.id();
///     assert!(snapshot().unwrap().channels.iter().any(|it| it.id == id)); // the same one
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(crate) u64);

/// Channels made by this process.
static MADE: AtomicU64 = AtomicU64::new(0);

impl ChannelId {
    /// The identity of a new channel.
    pub(crate) fn next() -> ChannelId {
        ChannelId(MADE.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel {}", self.0)
    }
}

/// One of the two ends of a channel.
///
/// ```
/// use tasklets::{Direction, Pending, Runtime, channel};
/// let runtime = Runtime::builder().build();
/// let (tx, _rx) = channel();
/// runtime.spawn(move || tx.send(1)).unwrap();
/// runtime.run_ready().unwrap();
/// let waiting = runtime.snapshot().tasklets[0].waiting.clone().unwrap();
/// assert!(matches!(waiting.operations[0], Pending::Channel { direction: Direction::Send, .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The end that gives values.
    Send,
    /// The end that takes them.
    Receive,
}

/// Something that happened in a run, for [`on_event`](crate::RuntimeBuilder::on_event).
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// use tasklets::{Direction, Event, Runtime, channel, spawn};
/// let (log, seen) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
/// let notes = log.clone();
/// let runtime = Runtime::builder().on_event(move |event| {
///     if let Event::Channel { direction, will_block, .. } = event {
///         notes.borrow_mut().push((*direction, *will_block));
///     }
/// });
/// runtime.build().run(|| {
///     let (tx, rx) = channel();
///     spawn(move || tx.send(1));
///     seen.borrow_mut().push(rx.recv());
/// }).unwrap();
/// assert_eq!(*log.borrow(), [(Direction::Receive, true), (Direction::Send, false)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A tasklet was made; it has not run yet. (The root of a run is made before the run drives:
    /// there is nothing to [`snapshot`](crate::snapshot()) then.)
    Spawned {
        /// The new one.
        tasklet: TaskletId,
    },
    /// Another tasklet runs from now on; `None` is the scheduler itself.
    Switched {
        /// Who ran.
        from: Option<TaskletId>,
        /// Who runs.
        to: Option<TaskletId>,
    },
    /// A tasklet begins an operation on a channel.
    Channel {
        /// The channel.
        channel: ChannelId,
        /// Who; `None` outside any tasklet.
        tasklet: Option<TaskletId>,
        /// Which end it uses.
        direction: Direction,
        /// Whether it will have to wait.
        will_block: bool,
    },
    /// A tasklet ended.
    Finished {
        /// The one that ended.
        tasklet: TaskletId,
    },
}

type Hook = Rc<dyn Fn(&Event)>;

/// Who watches how long turns last, from another OS thread.
pub(crate) trait Watch {
    /// `who`, that has waited there last, is about to run.
    fn turn_begins(&self, who: &Identity, waited_at: Option<&'static Location<'static>>);
    /// It does not run any more.
    fn turn_ends(&self);
    /// No turn will begin.
    fn stop(&self);
}

/// Who listens.
#[derive(Default)]
pub(crate) struct Trace {
    hooks: RefCell<Vec<Hook>>,
    pub(crate) watch: Option<Box<dyn Watch>>,
    listening: Cell<bool>,
    /// A hook that causes an event is not told of it.
    inside: Cell<bool>,
}

impl Trace {
    pub(crate) fn listen(&self, hook: Hook) {
        self.hooks.borrow_mut().push(hook);
        self.listening.set(true);
    }

    /// Lets nobody listen or watch any more.
    pub(crate) fn silence(&self) {
        self.watch.iter().for_each(|it| it.stop());
        let hooks = self.hooks.take();
        drop(hooks);
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.listening.get()
    }

    /// Whether somebody listens, or watches how long turns last.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_on() || self.watch.is_some()
    }

    /// Tells every hook, in the order they were given.
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if !self.listening.get() || self.inside.replace(true) {
            return;
        }
        struct Leave<'a>(&'a Cell<bool>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        let _leave = Leave(&self.inside);
        let event = event();
        let hooks = self.hooks.borrow().clone();
        for hook in hooks {
            hook(&event);
        }
    }
}
