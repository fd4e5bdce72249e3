//! The control block of a tasklet: what the kernel knows about it.
//!
//! Always: at most one wait of a tasklet is open; `serial` is odd exactly while one is.
//! Tasklet: `Ready -> Running -> Waiting -> Ready -> ... -> Finished`, aside `Ready <-> Paused`.

use super::body::Body;
use super::choice::Choices;
use super::claim::Claim;
use super::clock::{Clock, Nanos};
use super::control::Control;
use super::name::{Identity, TaskletId};
use super::ready::Ready;
use super::stack::Seat;
use super::trace::{ChannelId, Trace};
use super::wait::Wait;
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    /// Tasklets made on this OS thread.
    static STAMPS: Cell<u32> = const { Cell::new(0) };
}

/// The stamp of the tasklet that is made next on this OS thread.
pub(super) fn next_stamp() -> u32 {
    STAMPS.with(Cell::get)
}

/// What a tasklet waits for; together with the published offers it is what reports read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It has not begun.
    Nothing,
    Sending(ChannelId),
    Receiving(ChannelId),
    /// A partner has taken it and owes it a value, or holds it until a value is accepted.
    Meeting(ChannelId, PartnerId),
    /// Several operations at once.
    Selecting(u32),
    Joining(TaskletId),
    Sleeping(Nanos),
    /// A call that runs on another OS thread.
    Calling,
    /// A future.
    #[cfg(feature = "futures")]
    Awaiting,
    /// Until the descriptor with this number can be read.
    Reading(i32),
    /// Until it can be written.
    Writing(i32),
    /// Until the process with this number has ended.
    Exiting(u32),
    /// Until a signal arrives.
    Signalled,
    /// The end of a tasklet of a worker.
    JoiningAway,
    /// The end of a scope's children.
    ScopeEnd(u32),
    Paused,
}

/// Who a tasklet meets, if its id has 32 bits: then [`Doing`] is no larger for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartnerId(u32);

impl PartnerId {
    const UNKNOWN: PartnerId = PartnerId(u32::MAX);

    pub(crate) fn of(partner: &Task) -> PartnerId {
        u32::try_from(partner.id().0).map_or(PartnerId::UNKNOWN, PartnerId)
    }

    pub(crate) fn known(self) -> Option<TaskletId> {
        (self != PartnerId::UNKNOWN).then_some(TaskletId(self.0.into()))
    }
}

/// Bits of [`Task::flags`].
pub(crate) mod flag {
    pub(crate) const CANCELLED: u32 = 1;
    pub(crate) const TIMED_OUT: u32 = 1 << 1;
    pub(crate) const INJECTED: u32 = 1 << 2;
    /// Something makes operations fail at once.
    pub(crate) const INTERRUPTED: u32 = CANCELLED | TIMED_OUT | INJECTED;
    /// Taken out of the ready queue by somebody else.
    pub(crate) const PAUSED: u32 = 1 << 3;
    /// What its open wait offers must be withdrawn, not only left behind.
    pub(crate) const MUST_WITHDRAW: u32 = 1 << 4;
    pub(crate) const STARTED: u32 = 1 << 5;
    pub(crate) const FINISHED: u32 = 1 << 6;
    /// Does not count as left behind.
    pub(crate) const DAEMON: u32 = 1 << 7;
    /// Under a block trap.
    pub(crate) const BLOCK_TRAP: u32 = 1 << 8;
    /// Under a switch trap.
    pub(crate) const SWITCH_TRAP: u32 = 1 << 9;
    /// The private panic has been raised in it.
    pub(crate) const UNWOUND: u32 = 1 << 10;
    /// It will never run again; its stack is leaked.
    pub(crate) const ABANDONED: u32 = 1 << 11;
    /// The open wait may not be interrupted: a partner is about to complete it.
    pub(crate) const COMMITTED: u32 = 1 << 12;
    /// Its join handle is gone.
    pub(crate) const DETACHED: u32 = 1 << 13;
    /// The run ends and nothing else can happen: shields no longer count.
    pub(crate) const SHIELD_BROKEN: u32 = 1 << 14;
    /// A scope answers for its panic.
    pub(crate) const SCOPED: u32 = 1 << 15;
    /// Hooks listen to what it does, or its run is controlled.
    pub(crate) const TRACED: u32 = 1 << 16;
    /// Its wait was settled by nobody it could have met, and it has not run since.
    pub(crate) const STOPPED: u32 = 1 << 17;
    /// Who settles its open wait must win its claim: it has offers that other OS threads see.
    pub(crate) const CLAIMED: u32 = 1 << 18;
    /// Not a tasklet: an OS thread that waits by itself.
    pub(crate) const OUTSIDER: u32 = 1 << 19;
}

/// What every tasklet of one scheduler shares.
pub(crate) struct Home {
    /// Tasklets that may run now.
    pub(crate) ready: Ready,
    /// The time at the last look at the clock.
    pub(crate) now: Cell<Nanos>,
    /// The run ends because its OS thread panics.
    pub(crate) host_panics: Cell<bool>,
    /// Turns until the scheduler looks at what happened.
    pub(crate) slice: Cell<u64>,
    /// Turns that were taken out of a slice because something happened.
    pub(crate) unspent: Cell<u64>,
    /// Something has happened that the scheduler must look at.
    pub(crate) attention: Cell<bool>,
    /// How many tasklets may have an offer in a spot that is not open, because they were stopped.
    pub(crate) stopped: Cell<u32>,
    /// Tasklets that have suspended themselves for good.
    pub(crate) given_up: RefCell<Vec<Rc<Task>>>,
    /// When the next one parks: the time of the last look at the clock, and later by as many
    /// nanoseconds as tasklets have parked since.
    pub(crate) parks: Cell<Nanos>,
    pub(crate) clock: Clock,
    pub(crate) choices: Choices,
    pub(crate) trace: Trace,
    /// What makes it a scheduler of controlled runs.
    pub(crate) control: Option<Control>,
    /// Whether somebody listens to `trace`.
    pub(crate) traced: bool,
    /// Whether operations are looked at: by who listens, or by a control.
    pub(crate) looked_at: bool,
    /// Nobody listens or watches, and the ready queue is first in, first out.
    pub(crate) plain: bool,
    /// Operations a tasklet may do without giving way.
    pub(crate) budget: u32,
    /// Whether stacks are OS threads.
    pub(crate) threads: bool,
    /// Channels that a tasklet of this scheduler has waited on or made, for reports.
    pub(crate) channels: Registry,
    /// Tasklets that wait for partners on other OS threads.
    pub(crate) claimed: Cell<usize>,
}

/// Weak references to what reports list.
#[derive(Default)]
pub(crate) struct Registry {
    entries: RefCell<slab::Slab<std::rc::Weak<dyn Facts>>>,
}

/// What a channel tells a report.
pub(crate) trait Facts {
    /// Adds itself and its offers.
    fn tell(&self, report: &mut dyn FnMut(ChannelFacts));
}

/// Who is known to hold a handle of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holder {
    /// `None` outside of any tasklet.
    pub(crate) tasklet: Option<TaskletId>,
    /// It has used the handle; otherwise it made it, and may have given it away.
    pub(crate) used: bool,
}

/// A channel as a report sees it.
#[derive(Clone, Debug)]
pub(crate) struct ChannelFacts {
    pub(crate) id: ChannelId,
    pub(crate) name: Option<Rc<str>>,
    pub(crate) made_at: &'static Location<'static>,
    pub(crate) senders_waiting: Vec<TaskletId>,
    pub(crate) receivers_waiting: Vec<TaskletId>,
    pub(crate) sender_holders: Vec<Holder>,
    pub(crate) receiver_holders: Vec<Holder>,
    /// Its handles may be on other OS threads.
    pub(crate) shared: bool,
}

impl Home {
    /// Makes the scheduler look at what happened before its next turn.
    pub(crate) fn look_soon(&self) {
        self.unspent.set(self.unspent.get() + self.slice.replace(0));
        self.attention.set(true);
    }
}

impl Registry {
    pub(crate) fn add(&self, entry: std::rc::Weak<dyn Facts>) -> usize {
        self.entries.borrow_mut().insert(entry)
    }

    pub(crate) fn remove(&self, slot: usize) {
        self.entries.borrow_mut().try_remove(slot);
    }

    pub(crate) fn list(&self) -> Vec<ChannelFacts> {
        let live: Vec<_> =
            self.entries.borrow().iter().filter_map(|(_, it)| it.upgrade()).collect();
        let mut facts = Vec::new();
        live.iter().for_each(|it| it.tell(&mut |fact| facts.push(fact)));
        facts
    }
}

/// How a tasklet ended, if not with a value.
pub(crate) enum Failure {
    Panicked(Box<dyn Any + Send>),
    Cancelled,
    /// The report of the run, or of the scope, has the panic.
    Reported,
}

/// Rarely used parts of a control block.
#[derive(Default)]
pub(crate) struct Extra {
    /// Depth of shields: while positive, interruptions wait.
    pub(crate) shields: Cell<u32>,
    /// Operations that failed because of cancellation.
    pub(crate) ignored: Cell<u32>,
    pub(crate) block_traps: Cell<u32>,
    /// Where the switch traps in force were set.
    pub(crate) switch_traps: RefCell<Vec<&'static Location<'static>>>,
    pub(crate) failure: RefCell<Option<Failure>>,
    pub(crate) injected: RefCell<Option<Box<dyn std::error::Error>>>,
    pub(crate) locals: RefCell<Vec<(usize, Rc<dyn Any>)>>,
    /// The innermost deadline region the tasklet is in.
    pub(crate) region: RefCell<Option<Rc<dyn Any>>>,
    /// The earliest deadline of the regions it is in, in a controlled run.
    pub(crate) deadline: Cell<Option<Nanos>>,
    /// When it let others stop it last before it looked, in a controlled run.
    pub(super) looked: Cell<Nanos>,
    /// What its waits are claimed by, once it has waited for partners on other OS threads.
    pub(crate) claim: OnceCell<Arc<Claim>>,
}

/// A tasklet, as the kernel sees it. What every switch touches comes first.
#[repr(C)]
pub struct Task {
    pub(crate) home: Rc<Home>,
    /// Counts openings and settlements of waits.
    pub(super) serial: Cell<u64>,
    pub(crate) seat: Seat,
    /// Operations it may still do in this turn before it gives way.
    left: Cell<u32>,
    /// What `left` begins with.
    budget: u32,
    /// How the last wait was settled.
    pub(super) outcome: Cell<u32>,
    pub(crate) flags: Cell<u32>,
    /// Tells it from the last four billion others of this OS thread, also those of other runs.
    pub(crate) stamp: u32,
    /// When it parked last; no two park at the same time, so it orders those who wait.
    pub(crate) arrived: Cell<Nanos>,
    pub(crate) doing: Cell<Doing>,
    /// Where the present operation is in the user's source.
    pub(crate) at: Cell<Option<&'static Location<'static>>>,
    pub(crate) who: Identity,
    pub(crate) body: Cell<Option<Rc<dyn Body>>>,
    pub(crate) stack_bytes: usize,
    /// Its place in the scheduler's table.
    pub(crate) slot: Cell<usize>,
    joiners: Cell<Joiners>,
    extra: OnceCell<Box<Extra>>,
}

/// Who waits for the end of a tasklet, in the order in which they came.
#[derive(Default)]
pub(crate) enum Joiners {
    #[default]
    None,
    One(Wait, u32),
    Many(Vec<(Wait, u32)>),
}

impl Task {
    /// The control block of no tasklet yet.
    pub(crate) fn blank(home: Rc<Home>) -> Task {
        Task {
            who: Identity::nobody(),
            stamp: u32::MAX,
            serial: Cell::new(0),
            outcome: Cell::new(0),
            flags: Cell::new(0),
            doing: Cell::new(Doing::Nothing),
            at: Cell::new(None),
            arrived: Cell::new(0),
            body: Cell::new(None),
            seat: Seat::default(),
            left: Cell::new(0),
            budget: home.budget,
            stack_bytes: 0,
            slot: Cell::new(0),
            joiners: Cell::default(),
            extra: OnceCell::new(),
            home,
        }
    }

    /// Makes a block that is blank, or that of a plain tasklet which has ended, ready for another.
    #[inline]
    pub(crate) fn begin(&mut self, body: Rc<dyn Body>, stack_bytes: usize, flags: u32) {
        // The rest is blank still, or again: an ended tasklet has no stack, no joiners and no
        // place in a queue.
        self.stamp = STAMPS.with(|it| it.replace(it.get().wrapping_add(1)));
        self.serial.set(0);
        self.outcome.set(0);
        self.flags.set(if self.home.looked_at { flags | flag::TRACED } else { flags });
        self.doing.set(Doing::Nothing);
        self.at.set(None);
        self.arrived.set(self.home.now.get());
        std::mem::forget(self.body.replace(Some(body))); // the former was taken when it began
        self.stack_bytes = stack_bytes;
    }

    /// Whether nothing of the user is in it, as far as it has ended.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.extra.get().is_none() && self.who.name.is_none()
    }

    pub(crate) fn id(&self) -> TaskletId {
        self.who.id
    }

    pub(crate) fn extra(&self) -> &Extra {
        self.extra.get_or_init(Box::default)
    }

    /// The rare parts, if it has any.
    pub(crate) fn extra_if_any(&self) -> Option<&Extra> {
        self.extra.get().map(|it| &**it)
    }

    /// Its claim, if it has ever waited for partners on other OS threads.
    pub(crate) fn claim(&self) -> Option<&Arc<Claim>> {
        self.extra_if_any()?.claim.get()
    }

    #[inline]
    pub(crate) fn has(&self, bits: u32) -> bool {
        self.flags.get() & bits != 0
    }

    pub(crate) fn set(&self, bits: u32) {
        self.flags.set(self.flags.get() | bits);
    }

    pub(crate) fn clear(&self, bits: u32) {
        self.flags.set(self.flags.get() & !bits);
    }

    /// Lets it begin a turn.
    #[inline(always)]
    pub(crate) fn refuel(&self) {
        self.left.set(self.budget);
    }

    /// Counts an operation that needs no closer look; false if it needs one.
    #[inline(always)]
    pub(super) fn goes_on(&self) -> bool {
        let left = self.left.get();
        let plain = left > 0 && !self.has(flag::INTERRUPTED | flag::TRACED);
        if plain {
            self.left.set(left - 1);
        }
        plain
    }

    /// Counts an operation; false if there is none left in this turn.
    pub(super) fn spend(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether a wait of it is open.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.serial.get() & 1 == 1
    }

    /// Lets `wait` be settled as `branch` when the tasklet ends.
    pub(crate) fn add_joiner(&self, wait: Wait, branch: u32) {
        if self.has(flag::FINISHED) {
            wait.settle(branch); // it ended while the joiner gave way
            return;
        }
        match self.joiners.take() {
            Joiners::None => self.put_joiners(Joiners::One(wait, branch)),
            others => self.add_to_joiners(others, (wait, branch)),
        }
    }

    /// Puts them where they were just taken from.
    #[inline]
    fn put_joiners(&self, joiners: Joiners) {
        std::mem::forget(self.joiners.replace(joiners));
    }

    #[cold]
    fn add_to_joiners(&self, others: Joiners, joiner: (Wait, u32)) {
        let mut joiners = match others {
            Joiners::None => Vec::new(),
            Joiners::One(wait, branch) => vec![(wait, branch)],
            Joiners::Many(joiners) => joiners,
        };
        if joiners.len() == joiners.capacity() {
            joiners.retain(|(it, _)| it.is_open());
        }
        joiners.push(joiner);
        self.put_joiners(Joiners::Many(joiners));
    }

    /// Takes back what [`add_joiner`](Self::add_joiner) was given.
    pub(crate) fn remove_joiner(&self, wait: &Wait) {
        let joiners = match self.joiners.take() {
            Joiners::One(it, branch) if !it.is_same(wait) => Joiners::One(it, branch),
            Joiners::None | Joiners::One(..) => Joiners::None,
            Joiners::Many(mut joiners) => {
                joiners.retain(|(it, _)| !it.is_same(wait));
                Joiners::Many(joiners)
            }
        };
        self.put_joiners(joiners);
    }

    /// Settles the waits of those who wait for its end.
    #[inline]
    pub(crate) fn settle_joiners(&self) {
        match self.joiners.take() {
            Joiners::None => {}
            Joiners::One(wait, branch) => {
                wait.settle(branch);
            }
            Joiners::Many(joiners) => {
                for (wait, branch) in joiners {
                    wait.settle(branch);
                }
            }
        }
    }

    /// Why its blocking operations fail at present, if they do.
    pub(crate) fn interruption(&self) -> Option<crate::error::Halt> {
        use crate::error::Halt;
        let shielded = self.extra_if_any().is_some_and(|it| it.shields.get() > 0);
        if shielded && !self.has(flag::SHIELD_BROKEN) {
            None
        } else if self.has(flag::CANCELLED) {
            Some(Halt::Cancelled)
        } else if self.has(flag::TIMED_OUT) {
            Some(Halt::TimedOut)
        } else {
            self.has(flag::INJECTED).then_some(Halt::Injected)
        }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::new();
        self.who.write(&mut |part| text.extend_from_slice(part));
        f.write_str(&String::from_utf8_lossy(&text))
    }
}
