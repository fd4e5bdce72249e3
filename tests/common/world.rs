//! What a run leaves behind: its log, and the lives of the values that were sent.
//!
//! Always: an entry is written at the very moment of what it tells, with no switch in between.

use super::program::Chan;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Instant;
use tasklets::{
    ChannelId, Counts, Direction, Halt, Receiver, Sender, Tasklet, TaskletId, TaskletRef,
};

/// An operation, by its number in the run.
pub type OpId = u32;

/// A value, by its number in the run.
pub type Value = u32;

pub type Id = TaskletId;
pub type Tx = Owned<Sender<Payload>>;
pub type Rx = Owned<Receiver<Payload>>;

/// What a tasklet would have happen: an arm of its operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    Send(Chan, Value),
    Reserve(Chan),
    Recv(Chan),
    Hold(Chan),
    /// This time.
    Time(u64),
    /// The end of a tasklet.
    End(Id),
    /// The end of these tasklets of a scope.
    Scope(Vec<Id>),
    /// To be inserted.
    Insertion,
}

/// How long it waits for that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    Forever,
    Now,
    At(u64),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Sent,
    Got(Value),
    /// A permit, or a chosen arm for sending.
    Granted,
    Elapsed,
    Joined(Option<Value>),
    JoinedPanic,
    /// So many tasklets of the scope panicked.
    Left(usize),
    Inserted,
    Halted(Halt),
    /// Patience was over before anything happened.
    Nobody,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    // By the hook:
    Spawned(Id),
    Entered(Id),
    Suspended(Id),
    Finished(Id),
    Attempt(Direction, Chan, bool),
    // By the interpreter:
    Started,
    Begin(OpId, Vec<Want>, Until),
    End(OpId, usize, Outcome),
    Cloned(Direction, Chan),
    Dropped(Direction, Chan),
    /// The sender that this receive holds is about to be released.
    Accepts(OpId),
    /// The permit that this operation was granted is about to be used.
    Uses(OpId, Value),
    /// ... or dropped.
    Refuses(OpId),
    /// What was given by permit came back: the end of the run has torn the receiver away.
    TornAway(Value),
    Yields,
    Cancels(Id),
    Inserts(Id, bool),
    /// It takes this one out of the ready queue, if it is there.
    Stops(Id, bool),
    Injects(Id),
    /// It is about to run this one ...
    RunsNow(Id),
    /// ... and has, or it could not.
    Ran(bool),
    Shields(bool),
    Deadline(u64),
    /// A deadline region was left; whether its deadline was the one that counted.
    Leaves(Option<bool>),
    Scoped(Id),
    /// A join was halted: its handle is gone.
    Detaches(Id),
    /// The tasklet's body ends with this value.
    Returns(Value),
    Panics,
    Balance(Chan, isize),
    Count(Counts),
}

impl Event {
    /// Whether it is told by the runtime's hook.
    pub fn is_hooked(&self) -> bool {
        use Event::{Attempt, Entered, Finished, Spawned, Suspended};
        matches!(self, Spawned(_) | Entered(_) | Suspended(_) | Finished(_) | Attempt(..))
    }
}

/// An event, when, and in which tasklet.
#[derive(Clone, PartialEq)]
pub struct Entry {
    pub at: u64,
    pub who: Option<Id>,
    pub event: Event,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who.map(|it| it.to_string()).unwrap_or_default();
        write!(f, "{:3} ms {who:11} {:?}", self.at, self.event)
    }
}

/// What the tasklets of a run share.
#[derive(Default)]
pub struct World {
    log: RefCell<Vec<Entry>>,
    pub channels: RefCell<Vec<ChannelId>>,
    /// Every tasklet, and its result while nobody joins it.
    pub peers: RefCell<Vec<(TaskletRef, Option<Tasklet<Payload>>)>>,
    ops: Cell<OpId>,
    start: Cell<Option<Instant>>,
    /// How often each value was dropped.
    drops: RefCell<Vec<u32>>,
    /// What the interpreter found wrong.
    pub wrong: RefCell<Vec<String>>,
}

impl World {
    pub fn log(&self, event: Event) {
        let (at, who) = (self.now(), tasklets::current().map(|it| it.id()));
        self.log.borrow_mut().push(Entry { at, who, event });
    }

    /// Takes an event from the runtime's hook.
    pub fn hear(&self, event: &tasklets::Event) {
        use tasklets::Event as Told;
        match event {
            Told::Spawned { tasklet } => self.log(Event::Spawned(*tasklet)),
            Told::Finished { tasklet } => self.log(Event::Finished(*tasklet)),
            Told::Switched { from: Some(from), .. } => self.log(Event::Suspended(*from)),
            Told::Switched { to: Some(to), .. } => self.log(Event::Entered(*to)),
            Told::Channel { channel, direction, will_block, .. } => {
                let index = self.channels.borrow().iter().position(|it| it == channel);
                let index = u8::try_from(index.expect("a known channel")).expect("few channels");
                self.log(Event::Attempt(*direction, index, *will_block));
            }
            other => self.claim(false, || format!("an event of no kind known: {other:?}")),
        }
        drop(tasklets::snapshot()); // a hook may look around
    }

    pub fn take_log(&self) -> Vec<Entry> {
        self.log.take()
    }

    /// Starts the clock, in the root.
    pub fn start(&self) {
        self.start.set(Some(tasklets::now()));
    }

    /// Milliseconds of virtual time.
    pub fn now(&self) -> u64 {
        let passed = self.start.get().map(|it| tasklets::now() - it).unwrap_or_default();
        u64::try_from(passed.as_millis()).expect("a short run")
    }

    pub fn begin(&self, wants: Vec<Want>, until: Until) -> OpId {
        let op = self.ops.get();
        self.ops.set(op + 1);
        self.log(Event::Begin(op, wants, until));
        op
    }

    pub fn end(&self, op: OpId, arm: usize, outcome: Outcome) {
        if outcome == Outcome::Halted(Halt::Injected) {
            let error = tasklets::take_injected();
            self.claim(error.is_some(), || format!("operation {op}: where is the error?"));
        }
        self.log(Event::End(op, arm, outcome));
    }

    pub fn make(self: &Rc<World>) -> Payload {
        let mut drops = self.drops.borrow_mut();
        drops.push(0);
        Payload { value: u32::try_from(drops.len() - 1).expect("few"), world: self.clone() }
    }

    /// Notes what is wrong, for the end of the run.
    pub fn claim(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.borrow_mut().push(otherwise());
        }
    }

    /// How often `value` was dropped: 1 if all is well and it is gone.
    pub fn drops_of(&self, value: Value) -> u32 {
        self.drops.borrow()[value as usize]
    }

    /// The values that were not dropped exactly once.
    pub fn misdropped(&self) -> Vec<(usize, u32)> {
        self.drops.borrow().iter().copied().enumerate().filter(|(_, count)| *count != 1).collect()
    }
}

/// A value to be sent, which counts its ends.
pub struct Payload {
    pub value: Value,
    world: Rc<World>,
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.world.drops.borrow_mut()[self.value as usize] += 1;
        // A destructor may look around: nothing of the kernel or a channel is borrowed.
        drop(tasklets::snapshot());
    }
}

/// A handle of a channel whose clones and drops are in the log.
pub struct Owned<E> {
    pub end: E,
    world: Rc<World>,
    direction: Direction,
    channel: Chan,
}

impl<E> Owned<E> {
    pub fn channel(&self) -> Chan {
        self.channel
    }
}

impl<E: Clone> Owned<E> {
    pub fn new(end: E, world: &Rc<World>, direction: Direction, channel: Chan) -> Owned<E> {
        Owned { end, world: world.clone(), direction, channel }
    }

    pub fn another(&self) -> Owned<E> {
        self.world.log(Event::Cloned(self.direction, self.channel));
        Owned::new(self.end.clone(), &self.world, self.direction, self.channel)
    }
}

impl<E> Drop for Owned<E> {
    fn drop(&mut self) {
        self.world.log(Event::Dropped(self.direction, self.channel));
    }
}

/// Writes its event when it is dropped, also by an unwind.
pub struct AtEnd<'a>(pub &'a World, pub Option<Event>);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.1.take().into_iter().for_each(|it| self.0.log(it));
    }
}
