//! Stages that work on each item by itself, with any number of workers.
//!
//! Always: each item is worked on by one worker; an ordered stage gives in the order of taking.
//! Worker: `Taking -> Working -> (its turn) -> Giving -> Taking`.

use super::Pipeline;
use super::network::{Emit, Inlet, Item, Stop};
use super::order::{Job, Turn, line_up};
use super::policy::OnError;
use crate::channel::{Receiver, channel};
use crate::error::Halt;
use std::error::Error;
use std::rc::Rc;

impl<'env, T: 'static> Pipeline<'env, T> {
    /// Adds a stage of as many [workers](Self::workers) as are asked for later; `work` gives the
    /// value that goes on, if any does.
    fn stage<U: 'static>(
        self,
        kind: &'static str,
        work: impl Fn(T) -> Result<Worked<U>, Stop> + 'env,
    ) -> Pipeline<'env, U> {
        Pipeline::new(move |net, settings| {
            let before = self.make(net);
            let facts = net.stage(kind, &settings);
            let inlet = net.inlet(before, &facts);
            let (to, outlet) = net.outlet(&facts);
            let work = Rc::new(work);
            let row = (settings.ordered && facts.workers > 1).then(|| {
                let (tx, row) = channel();
                let whole = inlet.share();
                net.start(&whole.meter.clone(), move || line_up(&whole, &tx));
                row
            });
            for _ in 0..facts.workers {
                let (inlet, work, row) = (inlet.share(), work.clone(), row.clone());
                let emit = Emit { to: to.clone(), meter: inlet.meter.clone() };
                net.start(&inlet.meter.clone(), move || match row {
                    None => labour(&inlet, &emit, &*work),
                    Some(row) => labour_in_turn(&row, &emit, &*work),
                });
            }
            outlet
        })
    }

    /// Gives what `f` makes of each item.
    ///
    /// `f` may wait; with several [workers](Self::workers) the others work meanwhile.
    pub fn map<U: 'static>(self, f: impl Fn(T) -> U + 'env) -> Pipeline<'env, U> {
        self.stage("map", move |value| Ok(Worked::Give(f(value))))
    }

    /// [`map`](Self::map) with an `f` that may fail, which ends the pipeline.
    pub fn try_map<U: 'static, E>(self, f: impl Fn(&T) -> Result<U, E> + 'env) -> Pipeline<'env, U>
    where
        E: Into<Box<dyn Error>> + 'static,
    {
        self.try_map_or(OnError::stop(), f)
    }

    /// [`map`](Self::map) with an `f` that may fail: then `on_error` says what to do.
    pub fn try_map_or<U: 'static, E>(
        self,
        on_error: OnError<T, E>,
        f: impl Fn(&T) -> Result<U, E> + 'env,
    ) -> Pipeline<'env, U>
    where
        E: Into<Box<dyn Error>> + 'static,
    {
        self.stage("try_map", move |value| on_error.attempt(value, &f))
    }

    /// Gives the items for which `keep` holds.
    pub fn filter(self, keep: impl Fn(&T) -> bool + 'env) -> Pipeline<'env, T> {
        self.stage("filter", move |value| Ok(keep(&value).then_some(value).into()))
    }

    /// Gives what `f` makes of items, if it makes something of them.
    pub fn filter_map<U: 'static>(self, f: impl Fn(T) -> Option<U> + 'env) -> Pipeline<'env, U> {
        self.stage("filter_map", move |value| Ok(f(value).into()))
    }

    /// Shows each item to `f` and gives it on.
    pub fn inspect(self, f: impl Fn(&T) + 'env) -> Pipeline<'env, T> {
        self.stage("inspect", move |value| {
            f(&value);
            Ok(Worked::Give(value))
        })
    }
}

/// What came of the work on an item.
pub(super) enum Worked<U> {
    Give(U),
    /// It is not to go on.
    LeaveOut,
    /// It failed, and that has been seen to.
    Failed,
}

impl<U> From<Option<U>> for Worked<U> {
    fn from(value: Option<U>) -> Worked<U> {
        value.map_or(Worked::LeaveOut, Worked::Give)
    }
}

/// What each worker does if the order does not matter.
fn labour<T, U>(
    inlet: &Inlet<T>,
    emit: &Emit<U>,
    work: impl Fn(T) -> Result<Worked<U>, Stop>,
) -> Result<(), Stop> {
    inlet.each(|item| handle(item, None, emit, &work))
}

/// What each worker does if it does.
fn labour_in_turn<T, U>(
    row: &Receiver<Job<T>>,
    emit: &Emit<U>,
    work: impl Fn(T) -> Result<Worked<U>, Stop>,
) -> Result<(), Stop> {
    loop {
        emit.meter.before_taking();
        match row.recv() {
            Ok(Job { item, turn }) => {
                emit.meter.take_over(1);
                handle(item, Some(&turn), emit, &work)?;
                emit.meter.all_delivered();
            }
            Err(why) => {
                emit.meter.starved();
                return if why == Halt::Closed { Ok(()) } else { Err(why.into()) };
            }
        }
    }
}

/// The work on one item.
#[inline(always)]
fn handle<T, U>(
    item: Item<T>,
    turn: Option<&Turn>,
    emit: &Emit<U>,
    work: impl Fn(T) -> Result<Worked<U>, Stop>,
) -> Result<(), Stop> {
    let worked = work(item.value)?;
    if let Some(turn) = turn {
        emit.meter.worked();
        let come = turn.come();
        emit.meter.choked();
        come?;
    }
    match worked {
        Worked::Give(value) => emit.give(value, item.ticket)?,
        Worked::LeaveOut => {}
        Worked::Failed => emit.meter.failed(),
    }
    Ok(())
}
