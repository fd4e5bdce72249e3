//! The seam: what is explored is a [`System`], and what chooses its way is a function.
//!
//! Always: a system executes from scratch each time and does nothing that its choices, and the
//! values that its tasklets hand over, do not decide.

use super::Defect;
use super::board::Board;
use super::event::{Event, Names};
use super::listing::Waiting;
use super::live::Desk;
use super::run::Run;
use std::ops::Range;

/// A program that can be run again and again under control.
///
/// A run reports to its [`Board`] what tasklets do: that they spawn, make channels, drop ends,
/// publish offers, end. When all have published or ended it asks [`Board::choose`] for the next
/// event, makes it happen, and goes on until there is none.
///
/// ```
/// use tasklets::explore::{Board, Branch, Settings, System, TaskletName, exhaust};
///
/// /// Two senders and a receiver, which receives twice.
/// struct Two;
///
/// impl System for Two {
///     fn run(&self, board: &mut Board<'_>) {
///         let root = TaskletName::ROOT;
///         let channel = board.channel(root);
///         let senders = [board.spawn(root), board.spawn(root)];
///         senders.map(|it| board.offer(it, &[Branch::Send(channel)]));
///         board.offer(root, &[Branch::Receive(channel)]);
///         let mut received = 0;
///         while let Some(event) = board.choose() {
///             board.end(event.first.slot.tasklet);
///             received += 1;
///             match received {
///                 1 => board.offer(root, &[Branch::Receive(channel)]),
///                 _ => board.end(root),
///             }
///         }
///     }
/// }
///
/// let verdict = exhaust(&Two, &Settings::default());
/// assert!(verdict.exhausted);
/// assert_eq!((verdict.executions, verdict.traces), (2, 2));
/// ```
pub trait System {
    /// Which program it is, for replay strings.
    fn program(&self) -> &str {
        "program"
    }

    /// Runs the program once, from its start to the end of the run.
    fn run(&self, board: &mut Board<'_>);

    /// Called on each OS thread that a search has made, when it makes no more runs there.
    fn rest(&self) {}
}

/// What a run may do.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether a timer may fire at any moment; otherwise time passes only when nothing else can
    /// happen.
    pub lax_timers: bool,
    /// How many events a run may have.
    pub events_max: usize,
    /// Whether a report is to be made, so that the run collects names and places.
    pub details: bool,
    /// Whether a [`Program`](super::Program)'s root that ends cancels the others, at some time
    /// after that. What happens then depends on all of them, so nothing may be left out of such a
    /// search: it is for schedules that are drawn.
    #[doc(hidden)]
    pub endings: bool,
    /// A fault of the search, made on purpose to see that its tests find it.
    #[doc(hidden)]
    pub defect: Option<Defect>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            lax_timers: false,
            events_max: 10_000,
            details: false,
            endings: false,
            defect: None,
        }
    }
}

/// What may happen at a quiet point, and how the run came there.
#[derive(Clone, Copy)]
pub struct Enabled<'a> {
    /// At least one event, in the order of spawn paths.
    pub events: &'a [Event],
    /// The run so far.
    pub run: &'a Run,
    /// The names in it.
    pub names: &'a Names,
    /// Computes the state.
    pub(super) state: &'a dyn Fn() -> u64,
}

impl std::fmt::Debug for Enabled<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enabled").field("events", &self.events).finish_non_exhaustive()
    }
}

impl Enabled<'_> {
    /// Identifies the state: two runs in equal states have the same futures.
    pub fn state(&self) -> u64 {
        (self.state)()
    }
}

/// An answer to [`Enabled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The event with this place in the list.
    Take(usize),
    /// The run need not go on.
    Abandon,
}

/// Runs `system` once; `choose` decides what happens.
pub fn execute(
    system: &dyn System,
    names: &mut Names,
    rules: Rules,
    choose: &mut dyn FnMut(&Enabled<'_>) -> Choice,
) -> Run {
    let mut desk = Desk::default();
    execute_at(&mut desk, system, names, rules, choose);
    desk.run
}

/// What decides which of the events happens that may.
pub(super) trait Choose {
    /// Whether it can [find](Self::find) events.
    fn finds(&self) -> bool {
        false
    }

    /// The next event, if it finds one without a list of them all; something may happen, and the
    /// slots `fresh`, as places in the run's, have come since it was asked last.
    fn find(&mut self, _waiting: &Waiting<'_>, _fresh: Range<usize>) -> Option<Event> {
        None
    }

    /// Chooses from the list.
    fn choose(&mut self, enabled: &Enabled<'_>) -> Choice;
}

/// Chooses from lists only.
struct FromList<'a>(&'a mut dyn FnMut(&Enabled<'_>) -> Choice);

impl Choose for FromList<'_> {
    fn choose(&mut self, enabled: &Enabled<'_>) -> Choice {
        (self.0)(enabled)
    }
}

/// As [`execute`]; the record stays at the desk.
pub(super) fn execute_at(
    desk: &mut Desk,
    system: &dyn System,
    names: &mut Names,
    rules: Rules,
    choose: &mut dyn FnMut(&Enabled<'_>) -> Choice,
) {
    execute_with(desk, system, names, rules, &mut FromList(choose));
}

/// As [`execute_at`], by somebody who may not need a list.
pub(super) fn execute_with(
    desk: &mut Desk,
    system: &dyn System,
    names: &mut Names,
    rules: Rules,
    choose: &mut dyn Choose,
) {
    let mut board = Board::new(names, desk, rules, choose);
    system.run(&mut board);
    board.finish(desk);
}
