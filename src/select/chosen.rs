//! What came of a wait of a reused select.
//!
//! Always: what has happened is finished once, by the method that fits, or given up by a drop.
//! Chosen: `Granted -> Finished | GivenUp`.

use super::Select;
use crate::channel::{Grant, ReceiveEnd, SelectEnd, SendEnd};
use crate::error::{Halt, SendError};
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;

/// The arm of a [`Select`] that has happened.
///
/// Finish it with [`recv`](Chosen::recv) or [`send`](Chosen::send). Dropping it drops the value
/// that was received, or lets the receiver wait again that was to be sent to.
///
/// ```
/// use tasklets::{Select, channel, run, spawn};
/// run(|| {
///     let (tx, rx) = channel();
///     let reader = spawn(move || rx.recv());
///     let mut select = Select::new();
///     select.send(&tx);
///     drop(select.wait().unwrap()); // changed its mind: the reader waits again
///     select.wait().unwrap().send(&tx, "at last").unwrap();
///     assert_eq!(reader.join().unwrap(), Ok("at last"));
/// });
/// ```
#[must_use = "the operation has happened: finish it with `recv` or `send`"]
pub struct Chosen<'s, 'a> {
    index: usize,
    end: &'a dyn SelectEnd,
    grant: Grant,
    used: bool,
    select: PhantomData<&'s mut Select<'a>>,
}

impl<'a> Chosen<'_, 'a> {
    pub(super) fn new(index: usize, end: &'a dyn SelectEnd, grant: Grant) -> Self {
        Chosen { index, end, grant, used: false, select: PhantomData }
    }

    /// The index of the arm.
    ///
    /// ```
    /// use tasklets::{Select, channel, run, spawn};
    /// run(|| {
    ///     let channels = [channel(), channel()];
    ///     let tx = channels[1].0.clone();
    ///     spawn(move || tx.send("from the second"));
    ///     let mut select = Select::new();
    ///     channels.iter().for_each(|(_, rx)| drop(select.recv(rx)));
    ///     let chosen = select.wait().unwrap();
    ///     let (_, rx) = &channels[chosen.index()];
    ///     assert_eq!(chosen.recv(rx), Ok("from the second"));
    /// });
    /// ```
    pub fn index(&self) -> usize {
        self.index
    }

    /// Takes what was received. Does not wait: that has been done.
    ///
    /// # Errors
    /// [`Halt::Closed`] if the last sender is gone.
    ///
    /// # Panics
    /// If `receiver` is not of the channel that was chosen, or the arm was for sending.
    ///
    /// ```
    /// use tasklets::{Halt, Select, channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send_all(1..=2));
    ///     let mut select = Select::new();
    ///     select.recv(&rx);
    ///     let mut next = || select.wait().unwrap().recv(&rx);
    ///     assert_eq!((next(), next(), next()), (Ok(1), Ok(2), Err(Halt::Closed)));
    /// });
    /// ```
    #[track_caller]
    pub fn recv<E: ReceiveEnd>(mut self, receiver: &E) -> Result<E::Item, Halt> {
        assert_eq!(receiver.channel(), self.end.channel(), "another channel was chosen");
        assert!(
            !matches!(self.grant, Grant::Receiver(_) | Grant::Far(_)),
            "the arm that was chosen is for sending"
        );
        self.used = true;
        receiver.claim(&mut self.grant)
    }

    /// Sends `value`. Waits only if the receiver [holds](crate::Receiver::recv_held) its senders.
    ///
    /// # Errors
    /// [`Halt::Closed`] with the value, if the last receiver is gone, or the end of the run has
    /// torn it away.
    ///
    /// # Panics
    /// If `sender` is not of the channel that was chosen, or the arm was for receiving; if it has
    /// to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{Halt, Select, channel, run};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let mut select = Select::new();
    ///     select.send(&tx);
    ///     drop(rx);
    ///     let refused = select.wait().unwrap().send(&tx, "given back").unwrap_err();
    ///     assert_eq!((refused.value, refused.why), ("given back", Halt::Closed));
    /// });
    /// ```
    #[track_caller]
    pub fn send<E: SendEnd>(
        mut self,
        sender: &E,
        value: E::Item,
    ) -> Result<(), SendError<E::Item>> {
        assert_eq!(sender.channel(), self.end.channel(), "another channel was chosen");
        assert!(!matches!(self.grant, Grant::Value(_)), "the arm that was chosen is for receiving");
        self.used = true;
        sender.fulfil(&mut self.grant, value, Location::caller())
    }
}

impl Drop for Chosen<'_, '_> {
    fn drop(&mut self) {
        if !self.used {
            self.end.give_up(&mut self.grant);
        }
    }
}

impl fmt::Debug for Chosen<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chosen").field("index", &self.index).finish_non_exhaustive()
    }
}
