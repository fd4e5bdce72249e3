//! Ready-made processes: plain functions that take ends of channels, to be spawned by the caller.
//!
//! Always: a process returns when its inputs have ended and all is given, or when nobody wants what
//! it gives; what it holds then is in its [`Rest`]. It acts on what it receives only, and shares
//! nothing: so a network of them can be [explored](crate::explore). Process: `Running -> Ended`.
//!
//! ```
//! use tasklets::{channel, plug, run, spawn};
//! // Natural numbers, in a ring: a prefix, a delta and a successor (Kerridge, Welch).
//! let numbers = run(|| {
//!     let ((a, from_a), (b, from_b), (c, from_c)) = (channel(), channel(), channel());
//!     let (out, numbers) = channel();
//!     spawn(move || plug::prefix([0], from_c, a));
//!     spawn(move || plug::delta(from_a, vec![b, out]));
//!     spawn(move || plug::successor(from_b, c));
//!     numbers.into_iter().take(4).collect::<Vec<u32>>()
//! });
//! assert_eq!(numbers, [0, 1, 2, 3]);
//! ```
//!
//! # Ends
//!
//! A process owns its ends: when it returns they are dropped, which ends those before and after it.
//! It finds out that nobody wants its output when it has something to give, not before. One that is
//! stopped (cancelled, late) returns at once, with the reason and what it held. Whoever takes an
//! item with [`recv_held`](crate::Receiver::recv_held) keeps it waiting, stopped or not, as any
//! sender, and so all who wait for it. It never meets itself: one that is given both ends of a
//! channel, like a ring that is full, waits for ever, and the report of that deadlock names it and
//! the channel.
//!
//! # What there is
//!
//! | for | processes | handles |
//! |---|---|---|
//! | holding | [`buffer`], [`overwriting`], [`sliding`], [`unbounded`] | |
//! | joining | [`merge`], [`merge_by_priority`], [`mux`] | |
//! | parting | [`delta`], [`tee`], [`demux`], [`topics`] | [`Topics`], [`Subscription`] |
//! | numbers | [`prefix`], [`successor`] | |
//! | time | [`ticker`], [`rate_limiter`] | |
//! | asking | [`serve`] | [`Client`], [`Call`] |
//! | limits | [`semaphore`], [`pool`] | [`Semaphore`], [`Pass`], [`Pool`], [`Loan`] |
//! | meeting | [`barrier`] | [`Barrier`] |
//! | tasklets | | [`TaskPool`], [`Pile`], [`imap`], [`wait_any`], [`as_completed`] and others |
//!
//! A handle is made together with the end of a channel that its process takes.

mod barrier;
mod buffer;
mod calls;
mod fan;
mod join;
mod line;
mod lots;
mod pace;
mod pool;
mod semaphore;
mod tasks;
mod topics;

pub use barrier::{Arrival, Barrier, barrier};
pub use buffer::{buffer, overwriting, sliding, unbounded};
pub use calls::{Call, CallError, Client, serve};
pub use fan::{delta, demux, tee};
pub use join::{AsCompleted, Joined, Placed, as_completed, wait_all, wait_any, wait_n};
pub use line::{prefix, successor};
pub use lots::{merge, merge_by_priority, mux};
pub use pace::{rate_limiter, ticker};
pub use pool::{Loan, Pool, PoolError, pool};
pub use semaphore::{Pass, Semaphore, semaphore};
pub use tasks::{Imap, Pile, TaskPool, imap, starmap};
pub use topics::{Request, Slow, Subscription, Topics, topics};

use crate::error::{Halt, SendError};
use std::error;
use std::fmt;

/// What a process held when it ended before its inputs had, and why.
///
/// [`Halt::Closed`]: nobody wants what it gives. Otherwise it was stopped. The items are in the
/// order in which they would have been given.
///
/// ```
/// use tasklets::{Halt, channel, plug, run, spawn};
/// run(|| {
///     let ((tx, from), (to, rx)) = (channel(), channel());
///     let buffer = spawn(move || plug::buffer(2, from, to));
///     tx.send_all(["in", "the buffer"]).unwrap();
///     drop(rx);
///     let rest = buffer.join().unwrap().unwrap_err();
///     assert_eq!((rest.items, rest.why), (vec!["in", "the buffer"], Halt::Closed));
/// });
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Rest<T> {
    /// What it had taken, and not given.
    pub items: Vec<T>,
    /// Why it ended.
    pub why: Halt,
}

impl<T> Rest<T> {
    fn new(items: impl IntoIterator<Item = T>, why: Halt) -> Rest<T> {
        Rest { items: items.into_iter().collect(), why }
    }
}

impl<T> From<Halt> for Rest<T> {
    fn from(why: Halt) -> Rest<T> {
        Rest { items: Vec::new(), why }
    }
}

impl<T> From<SendError<T>> for Rest<T> {
    fn from(error: SendError<T>) -> Rest<T> {
        Rest { items: vec![error.value], why: error.why }
    }
}

impl<T> fmt::Debug for Rest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Rest");
        out.field("items", &self.items.len()).field("why", &self.why).finish()
    }
}

impl<T> fmt::Display for Rest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the process ended with {} items: {}", self.items.len(), self.why)
    }
}

impl<T> error::Error for Rest<T> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.why)
    }
}
