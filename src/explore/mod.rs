//! A program under every schedule: search, replay, shrinking.
//!
//! Tasklets share nothing but rendezvous channels, so between two operations a tasklet depends on
//! nobody. All that can vary between two runs is *which enabled event happens next*: which sender
//! meets which receiver, or which operation completes alone (closed, default, timer, ended). A
//! *trace* is a run up to the order of independent events; it is identified by its matching, that
//! is by who met whom at which slot. Two events are dependent exactly if they have a tasklet in
//! common; the channel does not matter.
//!
//! [`explore()`] takes the body of a root tasklet, [`Explore`] does so with settings; the guide
//! [testing a protocol](crate::guide::testing) says how to use them. What is explored is a
//! [`System`]: a [`Program`] of tasklets, or a model that reports to its [`Board`] by itself. Each
//! execution starts from scratch. Searches:
//!
//! - [`exhaust`]: every trace, each once (partial-order reduction).
//! - [`every_state`]: every state, each once, for systems with few states and many traces.
//! - [`sample`]: schedules drawn at random, in one of several ways.
//! - [`portfolio`]: every trace if there are few, else random schedules in all ways by turns.
//! - [`within_overrides`]: every schedule that differs little from the default.
//! - [`exhaust_parallel`] and [`sample_parallel`]: the same verdicts, sooner.
//! - [`estimate`]: about how many traces there are.
//! - [`every_choice`]: every order of events, without reduction; it is what the others are
//!   compared with.
//!
//! A failing run becomes [`Overrides`], which [`shrink`] makes as few as possible and which have a
//! short text form; a [`Report`] explains it.
//!
//! With the feature `proptest`, `schedule` is a strategy of proptest: data and schedule shrink
//! together. [`drive`] checks what concurrent clients see against a sequential [`Model`].
//!
//! Time passes only when nothing else can happen, or at any moment with lax timers. That somebody
//! has waited since an earlier time is never taken for granted: a default may be taken, and a later
//! waiter be served first, all the same. A real clock gives no such promise either. But an
//! operation is tried before its own time limit: what was sure to be ready does not time out.
//!
//! While a program is explored, its panics are not printed; for that the process's panic hook is
//! wrapped, once, by one that calls the former for all other panics. A report shows the panic.
//!
//! # What one execution is
//!
//! Every tasklet runs to its next operation and announces it; that is a *slot*, its branches are
//! the ways in which the operation can complete. When all have announced, one *event* is chosen:
//! two slots meet, or one completes alone (its channel is closed, its time has come, nothing else
//! is there). It happens on the real channels, those who took part run to their next operations,
//! and so on. The first slot of a tasklet, number 0, is that it begins; so a tasklet may be stopped
//! before it has. Giving way is a slot too. To drop the last handle of an end is no slot, but a
//! scheduling point: who finds the channel closed may go on before the one that dropped it comes to
//! its next operation. To stop, inject or insert is an event with the tasklet
//! that it is done to.
//!
//! Files in reading order: `event` (names, slots, events), `clock`, `run` (the record and its
//! rules), `listing` and `board` (what may happen next), with `asked`, `live` and `notes`;
//! `system` (the seam), `program` and `bridge` (tasklets as a system), `verdict`; the searches:
//! `dpor` with `races` and `wakeup`, `random` with `draw`, the others; `replay`, with `notation`;
//! `session`, with `witness`, `steady`, `isolation`, `ending`, `quiet`, `watchdog`; `found`, with
//! `report`, `chart` and `details`.
//!
//! Deliberately absent: any way of its own to run tasklets. `program` sees the news of a controlled
//! run, and decides what happens.

mod asked;
mod board;
mod bounded;
mod bridge;
mod brute;
mod chart;
mod clock;
mod details;
mod dpor;
mod draw;
mod ending;
mod estimate;
mod event;
mod found;
mod isolation;
mod linear;
mod listing;
mod live;
mod notes;
mod parallel;
mod program;
#[cfg(feature = "proptest")]
mod property;
mod quiet;
mod races;
mod random;
mod replay;
mod report;
mod run;
mod session;
mod states;
mod steady;
mod system;
mod verdict;
mod wakeup;
mod watchdog;
mod witness;

pub use board::Board;
pub use bounded::within_overrides;
pub use brute::every_choice;
pub use clock::Clock;
pub use dpor::{exhaust, exhaust_with};
pub use estimate::{Estimate, estimate};
pub use event::{Branch, ChannelName, Event, Kind, Names, Offer, Side, Slot, TaskletName};
pub use linear::{Done, History, Model, NotLinear, drive};
pub use parallel::{exhaust_parallel, sample_parallel};
pub use program::{Program, observe};
#[cfg(feature = "proptest")]
pub use property::{
    Clients, JointTree, Reference, Schedule, ScheduleTree, Schedules, TransitionTree, Transitions,
    WithData, clients, schedule, transitions,
};
pub use random::{Mode, portfolio, sample};
pub use replay::{Overrides, ReplayError, Shrunk, first_difference, shrink};
pub use report::Report;
pub use run::{EndRecord, EventRecord, Outcome, Run, SlotRecord, Tick};
pub use session::{Explore, Explored, Search, explore, replay};
pub use states::every_state;
pub use system::{Rules, System};
pub use verdict::{Failure, Settings, Verdict};

/// A fault of the search, made on purpose: the tests of the search must find each of them.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Selects that never wait meet each other all the same.
    AlwaysMeet,
    /// A child does not know what its parent knew.
    NoSpawnEdge,
    /// A drop is not told apart from the slot before it.
    NoHalfSteps,
    /// Slots that could have met are not looked at.
    ForgetMeetings,
    /// Completions without a partner are not looked at.
    ForgetAlone,
    /// Cancellations that came too late are not looked at.
    ForgetCancels,
    /// An event falls asleep for ever, and the same tasklets' later ones with it.
    NeverWake,
    /// Nothing falls asleep.
    NeverSleep,
    /// A race is reversed at the event before the right one.
    WrongPlace,
    /// The past of a race is left out when it is reversed.
    ForgetPast,
    /// Of a run only the past of a race is kept when it is reversed.
    KeepPastOnly,
    /// A race is reversed also where what sleeps makes that superfluous.
    AskSleepers,
}
