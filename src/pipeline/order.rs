//! Giving in the order of taking, by workers that are done in any order.
//!
//! Always: each item knows when the one before it has been given on, or never will be; workers
//! share nothing else. Turn: `Waiting -> Present -> Past`.

use super::network::{Inlet, Item, Stop};
use crate::channel::{Builder, Never, Receiver, Sender};
use crate::error::Halt;

/// An item for one of the workers, and its place among the others.
pub(super) struct Job<T> {
    pub(super) item: Item<T>,
    pub(super) turn: Turn,
}

/// The right to give; when it is dropped the turn is over.
pub(super) struct Turn {
    /// Closed when the turn before is over.
    before: Option<Receiver<Never>>,
    _over: Sender<Never>,
}

impl Turn {
    /// Waits until it has come.
    pub(super) fn come(&self) -> Result<(), Halt> {
        match self.before.as_ref().map(Receiver::recv) {
            None | Some(Err(Halt::Closed)) => Ok(()),
            Some(Err(why)) => Err(why),
            Some(Ok(never)) => match never {},
        }
    }
}

/// Those who wait for their turn.
#[derive(Default)]
pub(super) struct Row {
    /// Closed when the last turn so far is over.
    last: Option<Receiver<Never>>,
}

impl Row {
    /// The turn after those there are.
    pub(super) fn join(&mut self) -> Turn {
        let (over, next) = Builder::new().name("turn").channel();
        Turn { before: self.last.replace(next), _over: over }
    }
}

/// Hands the items of `inlet` to workers, in a row.
pub(super) fn line_up<T>(inlet: &Inlet<T>, to: &Sender<Job<T>>) -> Result<(), Stop> {
    let mut row = Row::default();
    loop {
        let Some(item) = inlet.took(inlet.rx.recv())? else { return Ok(()) };
        if let Err(unsent) = to.send(Job { item, turn: row.join() }) {
            inlet.hand_back(unsent.value.item.value);
            return Err(unsent.why.into());
        }
        inlet.meter.hand_over();
    }
}
