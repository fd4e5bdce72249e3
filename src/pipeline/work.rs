//! Stages that work on each item by itself, with any number of workers.
//!
//! Always: each item is worked on by one worker; an ordered stage gives in the order of taking.
//! Worker: `Taking -> Working -> (its turn) -> Giving -> Taking`.

use super::Pipeline;
use super::network::{Emit, Inlet, Item, Stop, Ticket};
use super::order::{Job, Turn, line_up};
use super::policy::OnError;
use super::report::Facts;
use crate::channel::Receiver;
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
        self.stage_of(kind, move |from, emit| match from {
            Input::Inlet(inlet) => inlet.each(|item| handle(item, None, emit, &work)),
            Input::Row(row) => in_turn(row, emit, |item, turn| handle(item, turn, emit, &work)),
        })
    }

    /// [`stage`](Self::stage) with workers that do all of their work themselves.
    fn stage_of<U: 'static>(
        self,
        kind: &'static str,
        worker: impl Fn(&Input<T>, &Emit<U>) -> Result<(), Stop> + 'env,
    ) -> Pipeline<'env, U> {
        self.then(move |net, settings, before| {
            let facts = net.stage(kind, &settings);
            let inlet = net.inlet(before, &facts);
            let (to, outlet) = net.outlet(&facts);
            let worker = Rc::new(worker);
            let row = (settings.ordered && facts.workers > 1).then(|| {
                let (tx, row) = net.inside(&facts, "row");
                let whole = inlet.share();
                net.start(&whole.meter.clone(), move || line_up(&whole, &tx));
                row
            });
            for _ in 0..facts.workers {
                let (inlet, worker, row) = (inlet.share(), worker.clone(), row.clone());
                let emit = Emit { to: to.clone(), meter: inlet.meter.clone() };
                let from = row.map_or_else(|| Input::Inlet(inlet), Input::Row);
                net.start(&emit.meter.clone(), move || worker(&from, &emit));
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

    /// Gives each of the items that `f` makes of one.
    ///
    /// One at a time, as they are asked for; but if several [workers](Self::workers) keep the order
    /// each makes all that come of an item before its turn, so that they can work at the same time.
    ///
    /// ```
    /// use tasklets::{pipeline, run};
    /// let done = run(|| {
    ///     let numbers = pipeline::from_iter([3, 1, 2]);
    ///     numbers.flat_map(|it| 0..it).workers(2).collect::<Vec<_>>().run()
    /// });
    /// assert_eq!(done.unwrap().value, [0, 1, 2, 0, 0, 1]);
    /// ```
    pub fn flat_map<I>(self, f: impl Fn(T) -> I + 'env) -> Pipeline<'env, I::Item>
    where
        I: IntoIterator,
        I::Item: 'static,
    {
        self.stage_of("flat_map", move |from, emit| match from {
            Input::Inlet(inlet) => inlet.each(|Item { value, ticket }| {
                f(value).into_iter().try_for_each(|it| emit.give(it, ticket.clone()))
            }),
            Input::Row(row) => in_turn(row, emit, |Item { value, ticket }, turn| {
                let all = f(value).into_iter().collect();
                give(Worked::Several(all), ticket, turn, emit)
            }),
        })
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
    Several(Vec<U>),
    /// It is not to go on.
    LeaveOut,
    /// It failed, and that has been seen to.
    Failed,
}

impl<U: 'static> Worked<U> {
    /// Nobody will take it.
    #[cold]
    pub(super) fn hand_back(self, stage: &Facts) {
        match self {
            Worked::Give(value) => stage.hand_back(value),
            Worked::Several(all) => all.into_iter().for_each(|it| stage.hand_back(it)),
            Worked::LeaveOut | Worked::Failed => {}
        }
    }
}

impl<U> From<Option<U>> for Worked<U> {
    fn from(value: Option<U>) -> Worked<U> {
        value.map_or(Worked::LeaveOut, Worked::Give)
    }
}

/// Where a worker takes its items from.
enum Input<T: 'static> {
    /// Whoever comes first has the item.
    Inlet(Inlet<T>),
    /// Each has its turn.
    Row(Receiver<Job<T>>),
}

/// Does `work` on each item of a row.
fn in_turn<T, U>(
    row: &Receiver<Job<T>>,
    emit: &Emit<U>,
    work: impl Fn(Item<T>, Option<&Turn>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    loop {
        emit.meter.before_taking();
        match row.recv() {
            Ok(Job { item, turn }) => {
                emit.meter.take_over(1);
                work(item, Some(&turn))?;
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
    give(work(item.value)?, item.ticket, turn, emit)
}

/// Gives on what has been made of an item, in its turn.
#[inline(always)]
fn give<U>(
    worked: Worked<U>,
    ticket: Ticket,
    turn: Option<&Turn>,
    emit: &Emit<U>,
) -> Result<(), Stop> {
    if let Some(turn) = turn {
        emit.meter.worked();
        let come = turn.come();
        emit.meter.choked();
        if let Err(why) = come {
            worked.hand_back(&emit.meter.facts);
            return Err(why.into());
        }
    }
    match worked {
        Worked::Give(value) => emit.give(value, ticket)?,
        Worked::Several(all) => emit.give_all(all, ticket)?,
        Worked::LeaveOut => {}
        Worked::Failed => emit.meter.failed(),
    }
    Ok(())
}
