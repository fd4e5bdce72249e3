//! Pipelines: a source, stages, a sink, each a process of its own, joined by rendezvous channels.
//!
//! Always: nothing is held between two stages, so memory is bounded by construction and a slow
//! stage slows those before it; when a pipeline has been run, by whatever path, none of its
//! tasklets exists. Pipeline: `Built -> Running -> Done | Failed`.
//!
//! A pipeline is built from left to right and does nothing until its sink is [run](Sink::run), in a
//! run of tasklets. Its closures may borrow what outlives that call.
//!
//! ```
//! use tasklets::{pipeline, run};
//! let text = "a stage slows\nthose before it\n\nand holds nothing";
//! let longest = run(|| {
//!     pipeline::lines(text.as_bytes())
//!         .try_map(|line| line.as_ref().map(String::len).map_err(ToString::to_string))
//!         .filter(|length| *length > 0)
//!         .fold(0, |longest, length| longest.max(length))
//!         .run()
//! });
//! assert_eq!(longest.unwrap().value, 17);
//! ```
//!
//! # Order
//!
//! A stage with one worker keeps the order. One with [several](Pipeline::workers) keeps it too,
//! unless it is [`unordered`](Pipeline::unordered): a worker that is done early then waits for its
//! turn, so that no more items are on the way than there are workers.
//!
//! Unless it is said otherwise a stage works in tasklets of the run. One that maps may be told to
//! work on other OS threads, on [workers](Pipeline::on_workers) or on the
//! [blocking pool](Pipeline::on_pool); order, errors and ends are the same.
//!
//! # Errors and ends
//!
//! The first error, or panic, of a stage ends the pipeline: the others are cancelled, and
//! [`run`](Sink::run) returns an [`Error`] with the name of the stage, when nothing runs any more.
//! [`OnError`] says what else to do with an item that fails. A sink that wants no more (such as
//! [`take`](Pipeline::take)) ends the stages before it; what they have in hand is *returned*: each
//! item is delivered, failed or returned, and the [`Report`] counts all three at each stage. Items
//! that are returned are dropped, or [handed back](Pipeline::handing_back).
//!
//! A stage ends as soon as all that it gives to have ended, also while it waits, for items or in a
//! closure: its operations then fail with [`Halt::Cancelled`](crate::Halt::Cancelled). What it
//! makes of that, an error or a panic, does not count: the pipeline has its result.
//!
//! ```
//! use tasklets::{channel, pipeline, run};
//! run(|| {
//!     let (tx, rx) = channel();
//!     let first = pipeline::from_channel(rx).take(1).collect::<Vec<_>>();
//!     tasklets::scope(|s| {
//!         s.spawn(|| tx.send(7));
//!         assert_eq!(first.run().unwrap().value, [7]); // though there may be more
//!     });
//!     assert!(tx.send(8).is_err()); // nobody is left to take it
//! });
//! ```
//!
//! # Cycles
//!
//! A pipeline has no cycle by construction; one can be made through channels
//! ([`into_channel`](Pipeline::into_channel) and [`from_channel`], or a closure that sends). Such a
//! network has room for one item in each stage. When it is given more it ends as the deadlock it
//! is: [`RunError::Stuck`](crate::RunError::Stuck), and a failure under
//! [`explore`](crate::explore), name the stages that wait for each other, and their channels. A
//! [`buffer`](crate::plug::buffer) or [`unbounded`](crate::plug::unbounded) in the cycle is more
//! room. Nor does a cycle end by itself, because it holds the sender of its own source: one of its
//! stages has to want no more.
//!
//! ```
//! use tasklets::{channel, pipeline, plug, run, spawn};
//! // A tree: each number has two of the one below it.
//! let nodes = run(|| {
//!     let ((tx, found), (to, todo)) = (channel(), channel());
//!     spawn(move || plug::unbounded(1_000, |_| (), found, to));
//!     tx.send(3).unwrap();
//!     let nodes = pipeline::from_channel(todo).take(15).tee(|nodes| {
//!         let parents = nodes.filter(|it| *it > 0);
//!         parents.flat_map(|it| [it - 1; 2]).into_channel(tx)
//!     });
//!     nodes.collect::<Vec<i32>>().run().unwrap().value
//! });
//! assert_eq!(nodes[..7], [3, 2, 2, 1, 1, 1, 1]);
//! ```
//!
//! Patterns: pipes and filters (McIlroy, 1964); a bound on what is on the way instead of on each
//! queue as in oneTBB's `parallel_pipeline`.

mod elsewhere;
mod hands;
mod meter;
mod network;
mod order;
mod policy;
#[cfg(feature = "progress")]
mod progress;
mod report;
mod shape;
mod sink;
mod source;
mod split;
mod unwanted;
mod work;

pub use elsewhere::Elsewhere;
#[cfg(feature = "progress")]
pub use indicatif::MultiProgress;
pub use policy::{Failed, OnError};
pub use report::{EdgeReport, Report, StageReport};
pub use sink::{Done, Sink};
pub use source::{from_channel, from_iter, lines, tick, walk};

use network::{Emit, Inlet, Net, Outlet, Stop};
use std::any::Any;
use std::cell::RefCell;
use std::error;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

/// Stages that give values of type `T`.
///
/// Methods that add a stage return the longer pipeline; [`named`](Self::named),
/// [`workers`](Self::workers) and [`unordered`](Self::unordered) are about the stage added last.
#[must_use = "a pipeline does nothing until its sink is run"]
pub struct Pipeline<'env, T: 'static> {
    /// The stages before the last one.
    before: Vec<(Step<'env>, Settings)>,
    last: Step<'env>,
    settings: Settings,
    gives: PhantomData<fn() -> T>,
}

/// Adds a stage with these settings to those that are made: takes the outlet of the one before, if
/// there is one, and gives its own.
type Step<'env> = Box<dyn for<'scope> FnOnce(&Net<'scope, 'env>, Settings, Made) -> Made + 'env>;

/// An outlet of values of some type. So a pipeline is made, and dropped, one stage after the other,
/// however many there are.
type Made = Box<dyn Any>;

/// What is said of a stage after it was added.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    name: Option<String>,
    /// One, unless it is said.
    workers: Option<usize>,
    ordered: bool,
    /// A `RefCell<Vec<_>>` for what the stage was to give and nobody took.
    back: Option<Rc<dyn Any>>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { name: None, workers: None, ordered: true, back: None }
    }
}

impl<'env, T: 'static> Pipeline<'env, T> {
    fn new(
        build: impl for<'scope> FnOnce(&Net<'scope, 'env>, Settings) -> Outlet<T> + 'env,
    ) -> Pipeline<'env, T> {
        Pipeline {
            before: Vec::new(),
            last: Box::new(move |net, settings, _| Box::new(build(net, settings))),
            settings: Settings::default(),
            gives: PhantomData,
        }
    }

    /// Adds a stage, which takes from the outlet of the one before.
    fn then<U: 'static>(
        self,
        build: impl for<'scope> FnOnce(&Net<'scope, 'env>, Settings, Outlet<T>) -> Outlet<U> + 'env,
    ) -> Pipeline<'env, U> {
        let mut before = self.before;
        before.push((self.last, self.settings));
        let last: Step<'env> = Box::new(move |net, settings, made| {
            let made = made.downcast().expect("a stage takes what the one before it gives");
            Box::new(build(net, settings, *made))
        });
        Pipeline { before, last, settings: Settings::default(), gives: PhantomData }
    }

    /// Makes the stages so far.
    fn make(self, net: &Net<'_, 'env>) -> Outlet<T> {
        let nothing: Made = Box::new(());
        let before = self.before.into_iter();
        let made = before.fold(nothing, |made, (step, settings)| step(net, settings, made));
        let last = (self.last)(net, self.settings, made);
        *last.downcast().expect("the last stage gives what the pipeline does")
    }

    /// Adds a stage with one worker, which `body` is.
    fn process<U: 'static>(
        self,
        kind: &'static str,
        body: impl FnOnce(&Inlet<T>, &Emit<U>) -> Result<(), Stop> + 'env,
    ) -> Pipeline<'env, U> {
        self.then(move |net, mut settings, before| {
            settings.workers = None;
            let facts = net.stage(kind, &settings);
            let inlet = net.inlet(before, &facts);
            let (to, outlet) = net.outlet(&facts);
            let emit = Emit { to, meter: inlet.meter.clone() };
            net.start(&inlet.meter.clone(), move || body(&inlet, &emit));
            outlet
        })
    }

    /// Names the stage added last, for reports and errors.
    pub fn named(mut self, name: impl Into<String>) -> Pipeline<'env, T> {
        self.settings.name = Some(name.into());
        self
    }

    /// Sets how many items the stage added last works on at a time. For stages that map; others
    /// have one worker.
    ///
    /// # Panics
    /// If that is zero, or more than 65,536.
    pub fn workers(mut self, count: usize) -> Pipeline<'env, T> {
        assert!(count > 0, "a stage without workers");
        assert!(count <= 1 << 16, "a stage of {count} workers");
        self.settings.workers = Some(count);
        self
    }

    /// Puts into `rest` what the stage added last was to give and nobody wanted any more, and what
    /// the stage behind it had taken and not begun to work on, when the pipeline has ended before
    /// its time: others may go on with the rest of a source.
    ///
    /// What is worked on then is not among them, nor what other stages have made of such items:
    /// each can be told where that goes. In no certain order.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use tasklets::{channel, pipeline, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send_all(1..=9));
    ///     let rest = Rc::new(RefCell::default());
    ///     let source = pipeline::from_channel(rx.clone()).handing_back(rest.clone());
    ///     let first = source.take(3).collect::<Vec<_>>().run().unwrap();
    ///     let left: Vec<i32> = rest.take().into_iter().chain(rx).collect();
    ///     assert_eq!((first.value, left), (vec![1, 2, 3], vec![4, 5, 6, 7, 8, 9]));
    /// });
    /// ```
    pub fn handing_back(mut self, rest: Rc<RefCell<Vec<T>>>) -> Pipeline<'env, T> {
        self.settings.back = Some(rest);
        self
    }

    /// The stage added last gives in the order in which it takes: the default.
    pub fn ordered(mut self) -> Pipeline<'env, T> {
        self.settings.ordered = true;
        self
    }

    /// The stage added last gives in the order in which its workers are done.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Runtime, pipeline, sleep};
    /// let naps = [30, 10, 20];
    /// let done = Runtime::builder().virtual_clock(true).build().run(|| {
    ///     let nap = |it: u64| (sleep(Duration::from_secs(it)), it).1;
    ///     pipeline::from_iter(naps).map(nap).workers(3).unordered().collect::<Vec<_>>().run()
    /// });
    /// assert_eq!(done.unwrap().unwrap().value, [10, 20, 30]);
    /// ```
    pub fn unordered(mut self) -> Pipeline<'env, T> {
        self.settings.ordered = false;
        self
    }
}

impl<T> fmt::Debug for Pipeline<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why a stage failed.
#[non_exhaustive]
pub enum Cause {
    /// One of its items failed.
    Failed(Box<dyn error::Error>),
    /// It panicked; this is what with.
    Panicked(Box<dyn Any + Send>),
    /// It was stopped: the tasklet that ran the pipeline was.
    Halted(crate::Halt),
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Cause::Panicked(panic) => {
                f.debug_tuple("Panicked").field(&crate::error::panic_message(&**panic)).finish()
            }
            Cause::Halted(why) => f.debug_tuple("Halted").field(why).finish(),
        }
    }
}

/// What ended a pipeline before its time.
///
/// ```
/// use tasklets::{pipeline, run};
/// let error = run(|| {
///     let numbers = pipeline::from_iter(["1", "two", "3"]).try_map(|it| it.parse::<i32>());
///     numbers.named("parse").collect::<Vec<_>>().run().unwrap_err()
/// });
/// assert_eq!(error.to_string(), "stage `parse` failed: invalid digit found in string");
/// assert_eq!(error.report.stages[1].failed, 1);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Error {
    /// The name of the stage.
    pub stage: String,
    /// Why it failed.
    pub cause: Cause,
    /// What the pipeline did until then.
    pub report: Report,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = &self.stage;
        match &self.cause {
            Cause::Failed(error) => write!(f, "stage `{stage}` failed: {error}"),
            Cause::Panicked(panic) => {
                write!(f, "stage `{stage}` panicked: {}", crate::error::panic_message(&**panic))
            }
            Cause::Halted(why) => write!(f, "stage `{stage}` was stopped: {why}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.cause {
            Cause::Failed(error) => Some(&**error),
            Cause::Halted(why) => Some(why),
            Cause::Panicked(_) => None,
        }
    }
}
