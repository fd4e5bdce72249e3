//! Rendezvous channels: a send and a receive complete together, or not at all.
//!
//! Always: a value moves once, waiters are served first come first served, and an end is closed
//! exactly when its last handle is dropped. Layout: `head`, `spot`, `line` and `queue` (who waits),
//! `core` (how two meet), `ends` ([`Sender`] and [`Receiver`], and what both can do), `sender`,
//! `receiver`, `iter`, `arms` (the operations that select and combinators use), `held` (receiving
//! with the sender kept waiting, and reserving), `facts` (what reports read), `standing` (the arms
//! of a reused select) and `watch` (what channels know of it).
//!
//! # Who runs next
//!
//! When an operation meets a partner that waits already, neither has to wait; which of the two
//! goes on is the channel's [preference](Builder::prefer) (Stackless: `channel.preference`):
//!
//! | operation | partner waits? | [`Prefer::Neither`] (default) | [`Prefer::Receiver`] | [`Prefer::Sender`] |
//! |---|---|---|---|---|
//! | send | yes | sender goes on, receiver is appended to the ready queue | receiver runs now, sender is appended | sender goes on, receiver is appended |
//! | receive | yes | receiver goes on, sender is appended | receiver goes on, sender is appended | sender runs now, receiver is appended |
//! | either | no | caller waits, next in the ready queue runs | same | same |
//! | either, [`yield_always`](Builder::yield_always) | yes | partner is appended, then the caller; next in the queue runs | same | same |
//!
//! `Neither` costs the fewest switches. Stackless's default is `Receiver`.

mod arms;
mod core;
mod ends;
mod facts;
mod head;
mod held;
mod iter;
mod line;
#[cfg(feature = "futures")]
mod polled;
mod queue;
mod receiver;
mod sender;
mod spot;
mod standing;
mod watch;

use self::core::{Core, Manners};
pub use arms::{Receiving, Reserving, Sending};
pub use ends::{Receiver, Sender};
pub use head::{Busy, Head};
pub(crate) use head::{look, stand};
pub use held::{Held, Permit};
pub use iter::{IntoIter, Iter};
pub(crate) use standing::{Grant, ReceiveEnd, SelectEnd, SendEnd};
pub(crate) use watch::Watch;

use std::panic::Location;
use std::rc::Rc;

/// A value that cannot exist: `Receiver<Never>` tells only that its senders have gone.
///
/// ```
/// use tasklets::{Halt, Never, channel, run, spawn};
/// run(|| {
///     let (alive, gone) = channel::<Never>();
///     let waiter = spawn(move || gone.recv());
///     drop(alive); // a broadcast to everybody who waits
///     assert_eq!(waiter.join().unwrap(), Err(Halt::Closed));
/// });
/// ```
pub type Never = std::convert::Infallible;

/// Which of the two runs on when an operation meets a partner that waits: see the
/// [table](mod@crate::channel#who-runs-next).
///
/// ```
/// use tasklets::{Prefer, channel};
/// assert_eq!(Prefer::default(), Prefer::Neither);
/// let as_in_stackless = channel::Builder::new().prefer(Prefer::Receiver);
/// assert!(as_in_stackless.channel::<u8>().0.name().is_none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prefer {
    /// The one whose operation completed the meeting goes on. The fewest switches.
    #[default]
    Neither,
    /// The receiver: Stackless's -1, its default.
    Receiver,
    /// The sender: Stackless's +1.
    Sender,
}

/// Makes a rendezvous channel.
///
/// Both ends can be cloned; neither is `Send`. It can be made outside of a run, and used in one.
///
/// ```
/// use tasklets::{channel, run, spawn};
/// let sum = run(|| {
///     let (tx, rx) = channel();
///     spawn(move || tx.send_all(1..=3));
///     rx.into_iter().sum::<i32>()
/// });
/// assert_eq!(sum, 6);
/// ```
#[track_caller]
#[doc(alias("chan", "make", "bounded", "sync_channel", "rendezvous"))]
pub fn channel<T: 'static>() -> (Sender<T>, Receiver<T>) {
    Builder::new().channel()
}

/// Makes channels that differ from the default.
///
/// ```
/// use tasklets::{Prefer, channel};
/// let (tx, _rx) = channel::Builder::new().name("jobs").prefer(Prefer::Receiver).channel::<u8>();
/// assert_eq!(tx.name().as_deref(), Some("jobs"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing until `channel` is called"]
pub struct Builder {
    name: Option<Rc<str>>,
    prefer: Prefer,
    yields: bool,
}

impl Builder {
    /// Starts from the defaults of [`channel`].
    ///
    /// ```
    /// use tasklets::{Prefer, channel};
    /// let plain = channel::Builder::new().prefer(Prefer::Receiver);
    /// let (orders, _) = plain.clone().name("orders").channel::<u32>();
    /// let (replies, _) = plain.name("replies").channel::<String>();
    /// assert!(orders.name().is_some() && replies.name().is_some());
    /// ```
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the channel in reports.
    ///
    /// ```
    /// use tasklets::{channel, run, snapshot};
    /// run(|| {
    ///     let (_tx, _rx) = channel::Builder::new().name("jobs").channel::<u8>();
    ///     assert_eq!(snapshot().unwrap().channels[0].name.as_deref(), Some("jobs"));
    /// });
    /// ```
    pub fn name(mut self, name: impl Into<Rc<str>>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Says who runs on when two meet: see the [table](mod@crate::channel#who-runs-next).
    ///
    /// ```
    /// use tasklets::{Prefer, channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel::Builder::new().prefer(Prefer::Receiver).channel();
    ///     let reader = spawn(move || rx.recv());
    ///     yield_now();
    ///     tx.send("read it at once").unwrap();
    ///     assert!(reader.is_finished()); // it ran before `send` returned
    /// });
    /// ```
    #[doc(alias = "preference")]
    pub fn prefer(mut self, prefer: Prefer) -> Builder {
        self.prefer = prefer;
        self
    }

    /// Makes every operation that completes give way too, whatever the preference.
    ///
    /// ```
    /// use tasklets::{channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel::Builder::new().yield_always(true).channel();
    ///     let reader = spawn(move || rx.recv());
    ///     yield_now();
    ///     let third = spawn(|| ());
    ///     tx.send(1).unwrap(); // need not wait, and lets all the others run all the same
    ///     assert!(reader.is_finished() && third.is_finished());
    /// });
    /// ```
    #[doc(alias = "schedule_all")]
    pub fn yield_always(mut self, yields: bool) -> Builder {
        self.yields = yields;
        self
    }

    /// Makes the channel. Nothing waits, also where operations could not.
    ///
    /// ```
    /// use tasklets::{channel, run, spawn};
    /// let (tx, rx) = channel::Builder::new().name("made before the run").channel();
    /// let answer = run(move || {
    ///     spawn(move || tx.send(42));
    ///     rx.recv()
    /// });
    /// assert_eq!(answer, Ok(42));
    /// ```
    #[track_caller]
    pub fn channel<T: 'static>(self) -> (Sender<T>, Receiver<T>) {
        let core = Core::new(Location::caller());
        *core.name.borrow_mut() = self.name;
        core.set_manners(Manners { prefer: self.prefer, yields: self.yields });
        (Sender::first(core.clone()), Receiver::first(core))
    }
}
