//! What an explored run is made of: stable names, slots, branches and events.
//!
//! Always: a name depends only on the order in which one tasklet spawns and makes channels, so the
//! same path has the same name in every run of a session; two events are independent exactly when
//! they have no tasklet in common.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// A tasklet, named by its spawn path; the path itself is in [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskletName(pub(super) u32);

impl TaskletName {
    /// The tasklet that every run starts with.
    pub const ROOT: TaskletName = TaskletName(0);

    /// Its place in tables indexed by tasklet.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// The tasklet with this place in tables.
    pub(super) fn numbered(index: usize) -> TaskletName {
        TaskletName(index as u32)
    }
}

/// Generations of a long line of descent that are written.
const SHOWN: usize = 64;

/// A channel, named by its creator and the number of channels this one made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(pub(super) u32);

impl ChannelName {
    /// Its place in tables indexed by channel.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The paths behind the names of one session, that is of all runs of one search.
///
/// ```
/// use tasklets::explore::{Program, Settings, TaskletName, every_choice};
/// use tasklets::{channel, spawn};
/// let family = || drop(spawn(|| drop((channel::<u8>(), spawn(|| ())))));
/// every_choice(&Program::new("family", &family), &Settings::default(), &mut |_, names| {
///     let grandchild = names.find("root.0.0").unwrap();
///     assert_eq!(names.tasklet(grandchild), "root.0.0");
///     assert_eq!(names.path(grandchild), [0, 0]);
///     assert_eq!(names.tasklet(TaskletName::ROOT), "root");
///     assert!(names.compare(TaskletName::ROOT, grandchild).is_lt());
///     let channel = names.find_channel("root.0#0").unwrap();
///     assert_eq!(names.channel_text(channel), "root.0#0");
///     assert_eq!(names.find("root.7"), None);
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Names {
    /// The spawn path of each tasklet; the root's is empty.
    paths: Vec<Vec<u32>>,
    /// A fingerprint of each path, the same in every session.
    prints: Vec<u64>,
    /// All of them in the order of paths.
    order: Vec<TaskletName>,
    /// The place of each tasklet in that order.
    ranks: Vec<u32>,
    /// The tasklet that is the n-th child of another.
    children: BTreeMap<(TaskletName, u32), TaskletName>,
    /// Who made each channel, and how many it had made before.
    makers: Vec<(TaskletName, u32)>,
    /// The n-th channel of a tasklet.
    channels: BTreeMap<(TaskletName, u32), ChannelName>,
}

impl Default for Names {
    fn default() -> Names {
        Names::new()
    }
}

impl Names {
    /// Only the root is known.
    pub fn new() -> Names {
        Names {
            paths: vec![Vec::new()],
            prints: vec![print_of_path(&[])],
            order: vec![TaskletName::ROOT],
            ranks: vec![0],
            children: BTreeMap::new(),
            makers: Vec::new(),
            channels: BTreeMap::new(),
        }
    }

    /// The `nth` child of `parent`, from 0.
    pub(super) fn child(&mut self, parent: TaskletName, nth: u32) -> TaskletName {
        if let Some(known) = self.children.get(&(parent, nth)) {
            return *known;
        }
        let name = TaskletName(self.paths.len() as u32);
        let mut path = self.paths[parent.index()].clone();
        path.push(nth);
        let rank = self.order.partition_point(|it| self.paths[it.index()] < path);
        self.order.insert(rank, name);
        self.ranks.push(rank as u32);
        self.order[rank + 1..].iter().for_each(|it| self.ranks[it.index()] += 1);
        self.paths.push(path);
        self.prints.push(print_of_child(self.prints[parent.index()], nth));
        self.children.insert((parent, nth), name);
        name
    }

    /// The `nth` channel that `maker` made, from 0.
    pub(super) fn channel(&mut self, maker: TaskletName, nth: u32) -> ChannelName {
        let makers = &mut self.makers;
        *self.channels.entry((maker, nth)).or_insert_with(|| {
            makers.push((maker, nth));
            ChannelName(makers.len() as u32 - 1)
        })
    }

    /// The tasklet whose path is written like this, if a run of this session had it.
    pub fn find(&self, path: &str) -> Option<TaskletName> {
        let mut name = TaskletName::ROOT;
        let mut words = path.split('.');
        if words.next() != Some("root") {
            return None;
        }
        for word in words {
            name = *self.children.get(&(name, word.parse().ok()?))?;
        }
        Some(name)
    }

    /// The channel that is written like this, if a run of this session had it.
    pub fn find_channel(&self, text: &str) -> Option<ChannelName> {
        let (maker, nth) = text.split_once('#')?;
        self.channels.get(&(self.find(maker)?, nth.parse().ok()?)).copied()
    }

    /// The spawn path: `root.2.0` is the first child of the third child of the root. Of one with
    /// more than 64 generations the first are left out: `root.(9 more).2.0` and so on.
    pub fn tasklet(&self, name: TaskletName) -> String {
        let path = &self.paths[name.index()];
        let (more, last) = path.split_at(path.len().saturating_sub(SHOWN));
        let more = if more.is_empty() { String::new() } else { format!(".({} more)", more.len()) };
        last.iter().fold(format!("root{more}"), |text, nth| format!("{text}.{nth}"))
    }

    /// The creator's path and the number: `root.2#0`.
    pub fn channel_text(&self, name: ChannelName) -> String {
        let (maker, nth) = self.makers[name.index()];
        format!("{}#{nth}", self.tasklet(maker))
    }

    /// The spawn path as numbers; the root's is empty.
    pub fn path(&self, name: TaskletName) -> &[u32] {
        &self.paths[name.index()]
    }

    /// A number that only the path decides.
    pub(super) fn print_of(&self, name: TaskletName) -> u64 {
        self.prints[name.index()]
    }

    /// A number that only the creator's path and the number decide.
    pub(super) fn print_of_channel(&self, name: ChannelName) -> u64 {
        let (maker, nth) = self.makers[name.index()];
        mix(self.print_of(maker), u64::from(nth) + 1)
    }

    /// Compares two tasklets by their paths; a parent comes before its children.
    pub fn compare(&self, one: TaskletName, other: TaskletName) -> Ordering {
        self.rank(one).cmp(&self.rank(other))
    }

    /// Its place in the order of paths.
    pub(super) fn rank(&self, name: TaskletName) -> u32 {
        self.ranks[name.index()]
    }

    /// How many tasklets and channels the session has seen. Names are only added, so of one session
    /// the names of one size are the same.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.paths.len(), self.makers.len())
    }

    /// How many tasklets the session has seen.
    pub(super) fn tasklets(&self) -> usize {
        self.paths.len()
    }
}

/// A fingerprint of a spawn path.
pub(super) fn print_of_path(path: &[u32]) -> u64 {
    path.iter().fold(mix(0, 1), |parent, nth| print_of_child(parent, *nth))
}

fn print_of_child(parent: u64, nth: u32) -> u64 {
    mix(parent, u64::from(nth) + 2)
}

/// The `nth` operation of a tasklet, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Whose operation it is.
    pub tasklet: TaskletName,
    /// How many operations the tasklet had completed before.
    pub nth: u32,
}

impl Slot {
    /// Written `root.2@5`.
    pub fn text(&self, names: &Names) -> String {
        format!("{}@{}", names.tasklet(self.tasklet), self.nth)
    }
}

/// One way in which an operation can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Branch {
    /// Hands a value over.
    Send(ChannelName),
    /// Takes a value.
    Receive(ChannelName),
    /// Goes on at once if nothing else does.
    Default,
    /// Goes on at this virtual time.
    Timer(u64),
    /// Goes on at this virtual time, unless something else was sure to be ready from the beginning:
    /// the time limit of the operation itself, which is tried before.
    Limit(u64),
    /// Waits for the end of a tasklet.
    Join(TaskletName),
    /// Cancels a tasklet, which ends the operation that it waits in.
    Cancel(TaskletName),
}

/// One end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end that sends.
    Sender,
    /// The end that receives.
    Receiver,
}

/// How an event completes its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The first slot sends to the second.
    Meeting,
    /// The first slot cancels the second, whatever that one waits for.
    Cancelled,
    /// The other side of the channel is gone.
    Closed,
    /// The default branch.
    Default,
    /// The branch's time has come.
    Timer,
    /// The tasklet to join, or to cancel, has ended.
    Ended,
}

/// A branch of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offer {
    /// The operation.
    pub slot: Slot,
    /// Which of its branches, from 0; 0 in a slot that is cancelled.
    pub branch: u16,
}

/// What happens between two quiet points of a run: two slots meet, or one completes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// How the slots complete.
    pub kind: Kind,
    /// The slot that sends, cancels, or completes alone.
    pub first: Offer,
    /// The slot that receives or is cancelled; none if the first completes alone.
    pub second: Option<Offer>,
}

impl Event {
    /// The slots that this event completes.
    pub fn offers(&self) -> impl Iterator<Item = Offer> + use<> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// Whether `tasklet` takes part.
    pub fn involves(&self, tasklet: TaskletName) -> bool {
        self.offers().any(|it| it.slot.tasklet == tasklet)
    }

    /// Whether the order of two events that can both happen makes no difference.
    pub fn independent(&self, other: &Event) -> bool {
        !other.offers().any(|it| self.involves(it.slot.tasklet))
    }

    /// Tells apart in which way the slot of `offer` takes part: one that cancels from one that is
    /// cancelled, and one that sends from one that receives.
    #[inline(always)]
    pub(super) fn role(&self, offer: Offer) -> u64 {
        (self.kind as u64) << 1 | u64::from(offer != self.first)
    }

    /// What one slot sees of the event: written `root.0@1.0 -> root.1@0.2` or `root@3.1 closed`.
    pub fn text(&self, names: &Names) -> String {
        let offer = |it: Offer| format!("{}.{}", it.slot.text(names), it.branch);
        match (self.kind, self.second) {
            (Kind::Meeting, Some(second)) => format!("{} -> {}", offer(self.first), offer(second)),
            (_, Some(second)) => {
                format!("{} cancels {}", offer(self.first), second.slot.text(names))
            }
            (kind, None) => {
                let why = ShowKind(kind);
                format!("{} {why}", offer(self.first))
            }
        }
    }
}

/// Writes why a slot completed.
struct ShowKind(Kind);

impl fmt::Display for ShowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Meeting => "meets",
            Kind::Cancelled => "cancels",
            Kind::Closed => "closed",
            Kind::Default => "default",
            Kind::Timer => "timer",
            Kind::Ended => "ended",
        })
    }
}

/// Adds `word` to a running hash. The function is part of trace ids, so it stays as it is.
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    let mut next = (hash ^ word.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x1656_67B1);
    next = (next ^ (next >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    next = (next ^ (next >> 29)).wrapping_mul(0xA076_1D64_78BD_642F);
    next ^ (next >> 32)
}
