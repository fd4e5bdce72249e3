//! Stages whose work is done on other OS threads: on those of a group of workers, or of the
//! blocking pool.
//!
//! Always: so many items are away at a time and no more; when the stage has ended, by whatever
//! path, nothing of it runs there. Who works there shares nothing with the stage: values go and
//! results come back, several at a time, because a meeting across threads is dear. In a run that is
//! explored, which has one OS thread, the work is done here.
//! Load: `Gathering -> Away -> (its turn) -> Given`.

use super::Cause;
use super::Pipeline;
use super::hands::{Hands, Outcome, Place};
use super::meter::Meter;
use super::network::{Emit, Inlet, Item, Stop, Ticket};
use super::order::{Row, Turn};
use super::policy::{Failed, OnError, Tried};
use super::report::Facts;
use super::work::Worked;
use crate::channel::{Never, Receiver, Sender};
use crate::error::{Halt, SendError};
use crate::select;
use crate::shared::Workers;
use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

/// A load should keep a thread busy for about so long: much longer than handing it over takes.
const LOAD: Duration = Duration::from_millis(1);

/// Items that go to another thread together, at most.
const ITEMS_MAX: usize = 64;

/// A load has so many times as many items as those before, at most.
const GROWTH: usize = 8;

/// Loads that are away at a time, at most, unless there are more workers.
const LANES: usize = 1_024;

/// So many of the loads for each worker need not be full.
const EAGER: usize = 2;

/// Stages that give values of type `T` to one whose work is done on other OS threads.
///
/// Made by [`Pipeline::on_workers`] and [`Pipeline::on_pool`]. Its methods are those of a
/// [`Pipeline`] that map; what they are given is sent to these threads.
#[must_use = "a pipeline does nothing until its sink is run"]
pub struct Elsewhere<'env, T: 'static> {
    pipeline: Pipeline<'env, T>,
    place: Place<'env>,
}

impl<'env, T: Send + 'static> Pipeline<'env, T> {
    /// The next stage works on the threads of `workers`, in tasklets there.
    ///
    /// For computations, of microseconds and more each: small items travel together, by as many as
    /// make a load worth the journey, so that handing over costs little. Unless it is told
    /// otherwise the stage has as many [workers](Pipeline::workers) as the group; each works on one
    /// item at a time, and may wait. Up to 16 loads for each of them, of at most 64 items, are away
    /// or wait for their turn: no more are taken, even if the first item is slow
    /// ([`in_flight`](super::Sink::in_flight) sets a lower bound). A load that is not full waits
    /// for more items only while two others for each worker, handed over like it, are away or wait
    /// for their turn.
    ///
    /// When the pipeline is stopped items that are away and have not been begun are returned, and
    /// the one that is worked on is cancelled; the pipeline ends when nothing runs there. If the
    /// run of a worker has ended the stage fails.
    ///
    /// ```
    /// use tasklets::{pipeline, run, shared};
    /// let workers = shared::workers(2).unwrap();
    /// let is_prime = |it: &u64| (2..*it).take_while(|by| by * by <= *it).all(|by| it % by != 0);
    /// let primes = run(|| {
    ///     let numbers = pipeline::from_iter(2..1_000).on_workers(&workers);
    ///     numbers.filter(is_prime).collect::<Vec<_>>().run().unwrap()
    /// });
    /// assert_eq!(primes.value[..5], [2, 3, 5, 7, 11]); // in their order
    /// assert_eq!(primes.report.stages[1].workers, 2);
    /// ```
    pub fn on_workers(self, workers: &'env Workers) -> Elsewhere<'env, T> {
        Elsewhere { pipeline: self, place: Place::Workers(workers) }
    }

    /// The next stage works on the [blocking pool](crate::blocking()): each worker hands its item
    /// to a thread of it and waits.
    ///
    /// For system calls and long computations; handing over costs some microseconds. As many items
    /// are worked on at a time as there are [workers](Pipeline::workers), and threads in the pool.
    /// When the pipeline is stopped it ends when the calls that have begun have.
    ///
    /// ```
    /// use tasklets::{pipeline, run};
    /// let done = run(|| {
    ///     let files = pipeline::from_iter(["Cargo.toml", "README.md"]).on_pool();
    ///     let sizes = files.try_map(|it| std::fs::read(it).map(|text| text.len()));
    ///     sizes.workers(2).collect::<Vec<_>>().run()
    /// });
    /// assert_eq!(done.unwrap().value.len(), 2);
    /// ```
    pub fn on_pool(self) -> Elsewhere<'env, T> {
        Elsewhere { pipeline: self, place: Place::Pool }
    }
}

impl<'env, T: Send + 'static> Elsewhere<'env, T> {
    /// As [`Pipeline::map`].
    pub fn map<U: Send + 'static>(
        self,
        f: impl Fn(T) -> U + Send + Sync + 'static,
    ) -> Pipeline<'env, U> {
        self.sure("map", move |value| Worked::Give(f(value)))
    }

    /// As [`Pipeline::try_map`].
    pub fn try_map<U: Send + 'static, E>(
        self,
        f: impl Fn(&T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Pipeline<'env, U>
    where
        E: Into<Box<dyn Error>> + Send + 'static,
    {
        self.try_map_or(OnError::stop(), f)
    }

    /// As [`Pipeline::try_map_or`]. What is done with an item that failed, and the rest before it
    /// is tried again, are here; the tries are there.
    ///
    /// ```
    /// use tasklets::pipeline::{self, OnError};
    /// use tasklets::{run, shared};
    /// let workers = shared::workers(2).unwrap();
    /// let done = run(|| {
    ///     let words = pipeline::from_iter(["1", "two", "3"]).on_workers(&workers);
    ///     let numbers = words.try_map_or(OnError::skip(), |it| it.parse::<u64>());
    ///     numbers.collect::<Vec<_>>().run().unwrap()
    /// });
    /// assert_eq!((done.value, done.report.stages[1].failed), (vec![1, 3], 1));
    /// ```
    pub fn try_map_or<U: Send + 'static, E>(
        self,
        on_error: OnError<T, E>,
        f: impl Fn(&T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Pipeline<'env, U>
    where
        E: Into<Box<dyn Error>> + Send + 'static,
    {
        self.stage("try_map", on_error, move |item| match f(&item) {
            Ok(value) => Ok(Worked::Give(value)),
            Err(error) => Err(Failed { item, error }),
        })
    }

    /// As [`Pipeline::filter`].
    pub fn filter(self, keep: impl Fn(&T) -> bool + Send + Sync + 'static) -> Pipeline<'env, T> {
        self.sure("filter", move |value| keep(&value).then_some(value).into())
    }

    /// As [`Pipeline::filter_map`].
    pub fn filter_map<U: Send + 'static>(
        self,
        f: impl Fn(T) -> Option<U> + Send + Sync + 'static,
    ) -> Pipeline<'env, U> {
        self.sure("filter_map", move |value| f(value).into())
    }

    /// As [`Pipeline::flat_map`]; all that comes of an item is made there before any is given.
    ///
    /// ```
    /// use tasklets::{pipeline, run, shared};
    /// let workers = shared::workers(2).unwrap();
    /// let words = run(|| {
    ///     let lines = pipeline::from_iter(["to be", "or not", "to be"]).on_workers(&workers);
    ///     let words = lines.flat_map(|it| it.split(' ').map(String::from).collect::<Vec<_>>());
    ///     words.collect::<Vec<_>>().run().unwrap().value
    /// });
    /// assert_eq!(words.join(" "), "to be or not to be");
    /// ```
    pub fn flat_map<I>(self, f: impl Fn(T) -> I + Send + Sync + 'static) -> Pipeline<'env, I::Item>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
    {
        self.sure("flat_map", move |value| Worked::Several(f(value).into_iter().collect()))
    }

    /// As [`Pipeline::inspect`].
    pub fn inspect(self, f: impl Fn(&T) + Send + Sync + 'static) -> Pipeline<'env, T> {
        self.sure("inspect", move |value| {
            f(&value);
            Worked::Give(value)
        })
    }

    /// Adds a stage whose work cannot fail.
    fn sure<U: Send + 'static>(
        self,
        kind: &'static str,
        work: impl Fn(T) -> Worked<U> + Send + Sync + 'static,
    ) -> Pipeline<'env, U> {
        self.stage(kind, OnError::<T, Infallible>::stop(), move |value| Ok(work(value)))
    }

    fn stage<U: Send + 'static, E>(
        self,
        kind: &'static str,
        on_error: OnError<T, E>,
        work: impl Fn(T) -> Tried<T, U, E> + Send + Sync + 'static,
    ) -> Pipeline<'env, U>
    where
        E: Into<Box<dyn Error>> + Send + 'static,
    {
        let place = self.place;
        self.pipeline.then(move |net, mut settings, before| {
            let workers = *settings.workers.get_or_insert(place.workers());
            let facts = net.stage(kind, &settings);
            let inlet = net.inlet(before, &facts);
            let (to, outlet) = net.outlet(&facts);
            let (any, loads) = net.inside(&facts, "loads");
            let (full, full_loads) = net.inside(&facts, "full loads");
            let (hands, ends) = Hands::new(place, workers, inlet.before().keeps(), work);
            let hands = Rc::new(hands);
            let lanes = (workers * hands.loads_each()).min(workers.max(LANES));
            let most = hands.items_max(ITEMS_MAX);
            let (unknown, known) = net.inside(&facts, "size of loads");
            let size = Size {
                items: Cell::new(1),
                unknown: Cell::new((most > 1).then_some(unknown)),
                most,
            };
            let (size, on_error) = (Rc::new(size), Rc::new(on_error));
            let eager = EAGER * workers;
            let ways = Ways { any, full: (lanes > eager).then_some(full), known };
            for nth in 0..lanes {
                let meter = inlet.share().meter;
                let lane = Lane {
                    loads: if nth < eager { &loads } else { &full_loads }.clone(),
                    before: inlet.before().clone(),
                    emit: Emit { to: to.clone(), meter: meter.clone() },
                    hands: hands.clone(),
                    on_error: on_error.clone(),
                    size: size.clone(),
                };
                net.start(&meter, move || lane.run());
            }
            net.start(&inlet.meter.clone(), move || gather(&inlet, &ways, settings.ordered, &size));
            if let Some(ends) = ends {
                net.start(&Rc::new(Meter::new(facts)), move || ends.wait());
            }
            outlet
        })
    }
}

impl<T> fmt::Debug for Elsewhere<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

/// Items that are away together, and their turn if their order matters.
struct Load<T> {
    items: Vec<Item<T>>,
    turn: Option<Turn>,
}

/// The ways to the lanes: some take what there is, the others full loads only.
///
/// If all took what there is, many a load would be small; behind a large one, whose turn comes
/// first, those would soon be done, and nobody had anything to do.
struct Ways<T: 'static> {
    any: Sender<Load<T>>,
    full: Option<Sender<Load<T>>>,
    /// Closes when it is known how many items make a load; none is full before.
    known: Receiver<Never>,
}

/// How many items make a load. Lanes find out, each for all.
///
/// `Unknown -> Known`: with the first load that is back. Who waits for that has the other end.
struct Size {
    items: Cell<usize>,
    unknown: Cell<Option<Sender<Never>>>,
    most: usize,
}

impl Size {
    fn get(&self) -> usize {
        self.items.get()
    }

    /// Learns from a load of so many items how many the next ones should have.
    fn learn(&self, items: usize, spent: Duration) {
        let fits = items as u128 * LOAD.as_nanos() / spent.as_nanos().max(1);
        let fits = usize::try_from(fits).unwrap_or(usize::MAX).clamp(1, self.most);
        if spent > 2 * LOAD {
            self.items.set(fits);
        } else if items == self.get() && spent < LOAD / 2 {
            // These may be uncommon ones.
            self.items.set(fits.min(GROWTH * items));
        }
        drop(self.unknown.take());
    }
}

/// Hands the items of `inlet` to the lanes, as many at a time as there are when one is free.
fn gather<T>(
    inlet: &Inlet<T>,
    Ways { any, full, known }: &Ways<T>,
    ordered: bool,
    size: &Size,
) -> Result<(), Stop> {
    let (mut row, mut items, mut open) = (Row::default(), Vec::new(), true);
    let load = |items: &mut Vec<_>, row: &mut Row| Load {
        items: std::mem::take(items),
        turn: ordered.then(|| row.join()),
    };
    let (others, mut others_too) = (full.as_ref().unwrap_or(any), false);
    while open || !items.is_empty() {
        select! {
            biased;
            send(any, load(&mut items, &mut row)) -> sent if !items.is_empty() => {
                handed(inlet, sent)?;
            }
            send(others, load(&mut items, &mut row)) -> sent
                if others_too && items.len() >= size.get() => handed(inlet, sent)?,
            recv(known) -> closed if full.is_some() && !others_too => match closed {
                Err(Halt::Closed) => others_too = true,
                Err(why) => return Err(leave(inlet, items, why)),
            },
            recv(inlet.rx) -> item if open && items.len() < size.get() => match inlet.took(item) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => open = false,
                Err(why) => return Err(leave(inlet, items, why)),
            },
        }
    }
    Ok(())
}

fn handed<T>(inlet: &Inlet<T>, sent: Result<(), SendError<Load<T>>>) -> Result<(), Stop> {
    sent.map_err(|unsent| leave(inlet, unsent.value.items, unsent.why))?;
    inlet.meter.hand_over();
    Ok(())
}

/// Hands `items` back, because of that.
fn leave<T>(inlet: &Inlet<T>, items: Vec<Item<T>>, why: impl Into<Stop>) -> Stop {
    items.into_iter().for_each(|it| inlet.hand_back(it.value));
    why.into()
}

/// What has become of an item, and its ticket.
type Settled<U> = Result<(Worked<U>, Ticket), Stop>;

/// Who sees to one load at a time.
struct Lane<T: 'static, U: 'static, E: 'static> {
    loads: Receiver<Load<T>>,
    /// The stage that gives the items.
    before: Rc<Facts>,
    emit: Emit<U>,
    hands: Rc<Hands<T, Tried<T, U, E>>>,
    on_error: Rc<OnError<T, E>>,
    size: Rc<Size>,
}

impl<T: Send, U: Send, E: Into<Box<dyn Error>> + Send> Lane<T, U, E> {
    fn run(&self) -> Result<(), Stop> {
        loop {
            self.emit.meter.before_taking();
            let ended = match self.loads.recv() {
                Ok(load) => self.see_to(load),
                Err(why) => {
                    self.emit.meter.starved();
                    if why == Halt::Closed {
                        return Ok(());
                    }
                    Err(why.into())
                }
            };
            ended.inspect_err(|_| self.hands.enough())?;
        }
    }

    fn see_to(&self, Load { items, turn }: Load<T>) -> Result<(), Stop> {
        let meter = &self.emit.meter;
        meter.take_over(items.len() as u64);
        let (values, tickets): (Vec<_>, Vec<_>) =
            items.into_iter().map(|it| (it.value, it.ticket)).unzip();
        let Outcome { results, left, spent } = self.work(values)?;
        left.into_iter().for_each(|it| self.before.hand_back(it));
        meter.was_away(spent);
        self.size.learn(tickets.len(), spent);
        let left = tickets.len() - results.len();
        let mut results = results.into_iter().zip(tickets);
        match turn {
            None => {
                let mut settled = results.by_ref().map(|(it, ticket)| self.settle(it, ticket));
                let passed = settled.try_for_each(|it| self.pass_on(it?));
                self.leave(results.map(|it| it.0));
                passed?;
            }
            Some(turn) => {
                let settled = results.by_ref().map(|(it, ticket)| self.settle(it, ticket));
                // What is tried again does not keep others of their turn from theirs.
                let settled = until_first_error(settled);
                meter.worked();
                let come = turn.come();
                meter.choked();
                let mut settled = settled.into_iter();
                let passed = come.map_err(Stop::from);
                let give = || settled.try_for_each(|it| self.pass_on(it?));
                let passed = passed.and_then(|()| meter.without_stops(give));
                meter.choked();
                let stage = &meter.facts;
                settled.flatten().for_each(|(worked, _)| worked.hand_back(stage));
                self.leave(results.map(|it| it.0));
                passed?;
            }
        }
        // Who worked on it was told to leave the rest.
        if left > 0 { Err(Stop::Unwanted) } else { Ok(()) }
    }

    /// Has `values` worked on; what comes of them when it has been stopped is handed back.
    fn work(&self, values: Vec<T>) -> Result<Outcome<T, Tried<T, U, E>>, Stop> {
        self.hands.work(values).map_err(|(stop, late)| {
            if let Some(Outcome { results, left, .. }) = late {
                self.leave(results.into_iter());
                left.into_iter().for_each(|it| self.before.hand_back(it));
            }
            stop
        })
    }

    /// Hands back what nobody will take.
    fn leave(&self, results: impl Iterator<Item = thread::Result<Tried<T, U, E>>>) {
        results.flatten().flatten().for_each(|it| it.hand_back(&self.emit.meter.facts));
    }

    /// What becomes of an item of which that came.
    fn settle(&self, result: thread::Result<Tried<T, U, E>>, ticket: Ticket) -> Settled<U> {
        let tried = result.map_err(|panic| Stop::Failed(Cause::Panicked(panic)))?;
        let worked = self.on_error.follow(tried, |item| {
            let Outcome { mut results, spent, .. } = self.work(vec![item])?;
            self.emit.meter.was_away(spent);
            let result = results.pop().ok_or(Stop::Unwanted)?;
            result.map_err(|panic| Stop::Failed(Cause::Panicked(panic)))
        })?;
        Ok((worked, ticket))
    }

    /// Gives on what is to be.
    fn pass_on(&self, (worked, ticket): (Worked<U>, Ticket)) -> Result<(), Stop> {
        match worked {
            Worked::Give(value) => self.emit.give(value, ticket)?,
            Worked::Several(all) => self.emit.give_all(all, ticket)?,
            Worked::LeaveOut => {}
            Worked::Failed => {
                self.emit.meter.failed();
                return Ok(());
            }
        }
        self.emit.meter.delivered(1);
        Ok(())
    }
}

/// The items up to the first error, and that.
fn until_first_error<T, E>(items: impl Iterator<Item = Result<T, E>>) -> Vec<Result<T, E>> {
    let mut failed = false;
    items.take_while(|it| !std::mem::replace(&mut failed, it.is_err())).collect()
}
