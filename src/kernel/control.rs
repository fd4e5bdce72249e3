//! Controlled runs: tasklets tell what they are about to do, and somebody else decides what
//! happens.
//!
//! Always: while a run is under control, its news are in the order in which things happened, and a
//! tasklet that may wait does nothing that concerns others before it has announced it.
//! Control: `Off <-> On`.

use super::clock::Nanos;
use super::name::TaskletId;
use super::task::{Home, Task};
use super::trace::{ChannelId, Direction};
use super::wait::Wait;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;

/// One way in which an announced operation can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Send(ChannelId),
    Receive(ChannelId),
    /// Nothing else, at this moment.
    Default,
    /// This time comes.
    Timer(Nanos),
    /// This time comes, and nothing else could be done before: the operation's own time limit.
    Limit(Nanos),
    /// A tasklet ends.
    Join(TaskletId),
    /// Something is done to a tasklet, which ends the operation that it waits in.
    Touch(TaskletId),
    /// Another tasklet lets this one go on.
    Insert,
    /// A partner that may be on another OS thread comes.
    Shared,
    /// Something that nobody can decide from here.
    Unknown,
}

/// The ways of one operation.
pub type Ways = SmallVec<[Way; 4]>;

/// What happened in a controlled run.
pub(crate) enum News {
    /// A tasklet was made; it begins when it is told to.
    Spawned {
        parent: Option<TaskletId>,
        child: Rc<Task>,
    },
    /// A channel was made.
    Made {
        maker: TaskletId,
        channel: ChannelId,
        /// Whether all its values are the same.
        unit: bool,
        at: &'static Location<'static>,
    },
    /// A handle was dropped; `last` if its end has no other.
    Dropped {
        by: Option<TaskletId>,
        channel: ChannelId,
        end: Direction,
        last: bool,
        name: Option<Rc<str>>,
    },
    /// A tasklet that has met a partner need not wait for it any longer: the operation is done,
    /// or has to be begun again. Whoever controls the run lets it go.
    Freed {
        by: Option<TaskletId>,
        wait: Wait,
        done: bool,
    },
    Ended {
        tasklet: TaskletId,
    },
    /// A tasklet did something whose outcome nobody could decide; it may make no difference.
    Doubted {
        by: TaskletId,
        at: &'static Location<'static>,
    },
    /// A tasklet panics.
    Panicking {
        by: TaskletId,
    },
    /// A tasklet has seen something.
    Observed {
        by: TaskletId,
        digest: u64,
    },
    /// A tasklet did what cannot be controlled.
    Refused {
        by: Option<TaskletId>,
        what: &'static str,
        at: &'static Location<'static>,
    },
}

/// A tasklet waits for one of its ways to be decided. It is kept beside the news, which are far
/// fewer.
#[derive(Clone, Copy)]
pub(crate) struct Announced {
    pub(crate) by: TaskletId,
    /// Its way, if it has only one.
    pub(crate) only: Option<Way>,
    /// How many of the ways that were told beside are its own: the next ones.
    pub(crate) ways: u32,
    /// How many news were told before.
    pub(crate) news: u32,
    pub(crate) at: &'static Location<'static>,
}

/// What was told and nobody has taken yet.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) news: VecDeque<News>,
    pub(crate) announced: Vec<Announced>,
    /// The ways of all who announced something with more than one, in order.
    pub(crate) ways: Vec<Way>,
}

impl Told {
    /// Adds the ways of an operation; tells how many they are.
    #[inline(never)]
    fn add_ways(&mut self, ways: &[Way], until: Option<Nanos>) -> usize {
        self.ways.extend_from_slice(ways);
        self.ways.extend(until.map(Way::Timer));
        ways.len() + usize::from(until.is_some())
    }

    fn is_empty(&self) -> bool {
        self.news.is_empty() && self.announced.is_empty()
    }

    /// Forgets all; the memory stays.
    fn clear(&mut self) {
        self.news.clear();
        self.announced.clear();
        self.ways.clear();
    }
}

/// What a controlled run keeps for who controls it.
pub(crate) struct Control {
    on: Cell<bool>,
    told: RefCell<Box<Told>>,
    /// Tasklets that may be spawned still.
    spawns_left: Cell<u32>,
    /// The tasklets of this run, and later ones, have this stamp or one of those that come next.
    first_stamp: Cell<u32>,
    /// The tasklet whose remains are being dropped.
    ending: Cell<Option<TaskletId>>,
    /// The handles that were held at the end of the run, if somebody wants to know.
    remains: RefCell<Option<Vec<Remains>>>,
}

/// A handle that was dropped when its run was over and was taken down.
#[derive(Clone, Copy)]
pub(crate) struct Remains {
    pub(crate) of: TaskletId,
    pub(crate) channel: ChannelId,
    pub(crate) end: Direction,
}

impl Control {
    pub(crate) fn new() -> Control {
        Control {
            on: Cell::new(false),
            told: RefCell::default(),
            spawns_left: Cell::new(0),
            first_stamp: Cell::new(0),
            ending: Cell::new(None),
            remains: RefCell::new(None),
        }
    }

    /// From now on it is noted whose handles are dropped when the run is over.
    pub(crate) fn watch_remains(&self) {
        self.remains.replace(Some(Vec::new()));
    }

    /// Whether handles that are dropped are to be told of.
    pub(crate) fn hears_of_drops(&self) -> bool {
        self.on.get() || self.remains.borrow().is_some()
    }

    /// What has been noted of that.
    pub(crate) fn take_remains(&self) -> Vec<Remains> {
        self.remains.take().unwrap_or_default()
    }

    pub(super) fn note_remains(&self, of: TaskletId, channel: ChannelId, end: Direction) {
        if let Some(remains) = &mut *self.remains.borrow_mut() {
            remains.push(Remains { of, channel, end });
        }
    }

    /// Takes control of a run that may spawn so many tasklets.
    pub(crate) fn begin(&self, spawns: u32) {
        self.on.set(true);
        self.first_stamp.set(super::task::next_stamp());
        self.spawns_left.set(spawns);
    }

    /// Lets the run go its own way; what it tells from here on is forgotten.
    pub(crate) fn end(&self) {
        self.on.set(false);
        if !self.told.borrow().is_empty() {
            let mut told = self.told.take();
            told.clear();
            self.told.replace(told);
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    pub(crate) fn tell(&self, news: News) {
        if self.on.get() {
            self.told.borrow_mut().news.push_back(news);
        }
    }

    /// Tells of an operation that waits, perhaps only until some time.
    #[inline]
    pub(super) fn tell_announced(
        &self,
        by: TaskletId,
        (ways, until): (&[Way], Option<Nanos>),
        at: &'static Location<'static>,
    ) {
        if !self.on.get() {
            return;
        }
        let told = &mut **self.told.borrow_mut();
        let (only, ways) = match (ways, until) {
            ([only], None) => (Some(*only), 0),
            _ => (None, told.add_ways(ways, until)),
        };
        let (ways, news) = (ways as u32, told.news.len() as u32);
        told.announced.push(Announced { by, only, ways, news, at });
    }

    /// What has been told since, in exchange for `empty`.
    pub(crate) fn take(&self, empty: Box<Told>) -> Box<Told> {
        self.told.replace(empty)
    }

    /// Counts a tasklet; false if there have been too many.
    pub(super) fn may_spawn(&self) -> bool {
        let left = self.spawns_left.get();
        self.spawns_left.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether `task` is of this run, and not of an earlier one.
    pub(super) fn owns(&self, task: &Task) -> bool {
        task.stamp.wrapping_sub(self.first_stamp.get()) < u32::MAX / 2
    }

    /// Drops what `f` drops in the name of `tasklet`.
    pub(super) fn in_the_name_of<R>(&self, tasklet: TaskletId, f: impl FnOnce() -> R) -> R {
        self.ending.set(Some(tasklet));
        let result = f();
        self.ending.set(None);
        result
    }

    /// Who is taken to do something when no tasklet runs.
    pub(super) fn ending(&self) -> Option<TaskletId> {
        self.ending.get()
    }
}

impl Home {
    /// The control that this scheduler's run is under, if it is.
    pub(crate) fn controlled(&self) -> Option<&Control> {
        self.control.as_ref().filter(|it| it.is_on())
    }
}
