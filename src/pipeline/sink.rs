//! Sinks: where a pipeline ends, and where it is run.
//!
//! Always: when `run` returns, nothing of the pipeline runs.

use super::network::{Failure, Inlet, Net, Stop};
use super::report::Report;
use super::unwanted::stop_unwanted;
use super::work::Worked;
use super::{Cause, Error, OnError, Pipeline, Settings};
use crate::channel::{Builder, Never, Sender, channel};
use crate::error::{Halt, JoinError};
use crate::operation::Operation;
use crate::scope::scope;
use crate::select;
use crate::time;
use crate::trap::shield;
use std::cell::{Cell, RefCell};
use std::error;
use std::fmt;
use std::io::Write;
use std::rc::Rc;

/// A whole pipeline, which gives an `R` when it is run.
#[must_use = "a pipeline does nothing until it is run"]
pub struct Sink<'env, R> {
    attach: Attach<'env, R>,
    settings: Settings,
    in_flight: Option<usize>,
    /// Where its progress is shown.
    #[cfg(feature = "progress")]
    pub(super) lines: Option<indicatif::MultiProgress>,
}

/// Makes the stages, the sink's last, which leaves its result there.
type Attach<'env, R> =
    Box<dyn for<'scope> FnOnce(&Net<'scope, 'env>, Settings) -> Rc<Cell<Option<R>>> + 'env>;

/// What a pipeline gave, and what it did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Done<R> {
    /// What the sink made of the items.
    pub value: R,
    /// What each stage did.
    pub report: Report,
}

impl<'env, R: 'env> Sink<'env, R> {
    /// Names the sink's stage, for reports and errors.
    pub fn named(mut self, name: impl Into<String>) -> Sink<'env, R> {
        self.settings.name = Some(name.into());
        self
    }

    /// Sets how many items of the sources may be on the way at a time, from end to end. A source
    /// waits before it asks for one more.
    ///
    /// An item that is made into several is on the way until the last of them has left. What a
    /// stage holds back until others come (a batch that is not full) is not on the way, so that no
    /// bound is too small for it. A branch counts. Each source has this bound for itself.
    ///
    /// # Panics
    /// If that is zero.
    pub fn in_flight(mut self, items: usize) -> Sink<'env, R> {
        assert!(items > 0, "a pipeline with nothing in it");
        self.in_flight = Some(items);
        self
    }

    /// Runs the pipeline; returns when all its stages have ended.
    ///
    /// # Errors
    /// [`Error`] when a stage failed or panicked, and when the caller was stopped.
    ///
    /// # Panics
    /// Outside of a run, and where waiting is not possible.
    pub fn run(self) -> Result<Done<R>, Error> {
        let start = time::now();
        let stages = Rc::new(RefCell::new(Vec::new()));
        let edges = Rc::new(RefCell::new(Vec::new()));
        let failed = Rc::new(RefCell::new(Vec::new()));
        let in_flight = self.in_flight;
        let value = scope(|scope| {
            let (stages, edges, failed) = (stages.clone(), edges.clone(), failed.clone());
            let (leaving, left) = Builder::new().name("stages that leave").channel();
            let net = Net {
                scope,
                stages,
                edges,
                in_flight,
                failed,
                workers: RefCell::default(),
                leaving,
                #[cfg(feature = "progress")]
                lines: self.lines,
            };
            let value = (self.attach)(&net, self.settings);
            stop_unwanted(net, &left);
            value
        });
        let report = Report::new(&stages.borrow(), &edges.borrow(), time::now() - start);
        // Of those that failed by themselves the one that comes first in the network; else of those
        // that others than the network have stopped: it cancels.
        let cancelled = |it: &Failure| matches!(it.2, Cause::Halted(Halt::Cancelled));
        let own = |it: &&Failure| (matches!(it.2, Cause::Halted(_)), cancelled(it), it.0);
        let mut failed = failed.take();
        failed.sort_by_key(|it| own(&it));
        match (failed.into_iter().next(), value.take()) {
            (Some((_, stage, cause)), _) => Err(Error { stage, cause, report }),
            (None, Some(value)) => Ok(Done { value, report }),
            (None, None) => Err(Error { report, ..never_ran(JoinError::Cancelled) }),
        }
    }

    /// Runs the pipeline, unless or until `stop` happens: then every stage is cancelled. Returns
    /// when nothing of it runs.
    ///
    /// What the stages have in hand then is returned, and counted in the report; what the sink has
    /// made so far is dropped. With `ctrl_c` (feature `signal`) as the operation
    /// Ctrl-C ends it.
    ///
    /// # Errors
    /// As [`run`](Self::run); with [`Halt::Cancelled`] as the cause if `stop` happened first.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, after, pipeline, run};
    /// let error = run(|| {
    ///     let endless = pipeline::tick(Duration::from_secs(3_600)).count();
    ///     endless.run_until(after(Duration::from_millis(1))).unwrap_err()
    /// });
    /// assert!(matches!(error.cause, pipeline::Cause::Halted(Halt::Cancelled)));
    /// ```
    pub fn run_until(self, mut stop: impl Operation) -> Result<Done<R>, Error> {
        scope(|scope| {
            let (running, over) = channel::<Never>();
            let runner = scope.spawn(move || {
                let _running = running;
                self.run()
            });
            let mut over = over.receiving();
            let stopped = select::select(&mut [&mut stop, &mut over]) == 0;
            // The caller may have been stopped while it waited.
            if stopped || over.take() != Err(Halt::Closed) {
                runner.cancel(); // and so its stages, which it waits for
            }
            shield(|| runner.join()).unwrap_or_else(|error| Err(never_ran(error)))
        })
    }

    /// Adds it to a network of which it is a branch.
    pub(super) fn attach(self, net: &Net<'_, 'env>) {
        (self.attach)(net, self.settings);
    }
}

/// The error of a pipeline that was stopped before it began, or went down with its run.
fn never_ran(why: JoinError) -> Error {
    let cause = match why {
        JoinError::Panicked(panic) => Cause::Panicked(panic),
        JoinError::Halted(why) => Cause::Halted(why),
        _ => Cause::Halted(Halt::Cancelled),
    };
    Error { stage: "the network".into(), cause, report: Report::default() }
}

impl<'env, T: 'static> Pipeline<'env, T> {
    /// A sink that `body` is, with what it returns.
    fn sink<R: 'env>(
        self,
        kind: &'static str,
        body: impl FnOnce(&Inlet<T>) -> Result<R, Stop> + 'env,
    ) -> Sink<'env, R> {
        let attach: Attach<'env, R> = Box::new(move |net, settings| {
            let before = self.make(net);
            let facts = net.stage(kind, &settings);
            let inlet = net.inlet(before, &facts);
            let value = Rc::new(Cell::new(None));
            let result = value.clone();
            net.start(&inlet.meter.clone(), move || {
                result.set(Some(body(&inlet)?));
                Ok(())
            });
            value
        });
        Sink {
            attach,
            settings: Settings::default(),
            in_flight: None,
            #[cfg(feature = "progress")]
            lines: None,
        }
    }

    /// Collects the items.
    pub fn collect<C>(self) -> Sink<'env, C>
    where
        C: Default + Extend<T> + 'env,
    {
        self.sink("collect", |inlet| {
            let mut all = C::default();
            while let Some(item) = inlet.next()? {
                all.extend([item.value]);
            }
            Ok(all)
        })
    }

    /// Calls `f` with each item.
    pub fn for_each(self, mut f: impl FnMut(T) + 'env) -> Sink<'env, ()> {
        self.sink("for_each", move |inlet| {
            while let Some(item) = inlet.next()? {
                f(item.value);
            }
            Ok(())
        })
    }

    /// Calls `f` with each item, until it fails, which ends the pipeline.
    ///
    /// ```
    /// use std::io::{self, Write};
    /// use tasklets::{pipeline, run};
    /// let mut out = [0; 2];
    /// let mut rest = &mut out[..];
    /// let full = run(|| pipeline::from_iter(0..9).try_for_each(|it| rest.write_all(&[it])).run());
    /// assert!(full.unwrap_err().to_string().starts_with("stage `try_for_each 1` failed: "));
    /// ```
    pub fn try_for_each<E>(self, mut f: impl FnMut(T) -> Result<(), E> + 'env) -> Sink<'env, ()>
    where
        E: Into<Box<dyn error::Error>> + 'static,
    {
        self.sink("try_for_each", move |inlet| {
            while let Some(item) = inlet.next()? {
                f(item.value).map_err(|it| Stop::Failed(Cause::Failed(it.into())))?;
            }
            Ok(())
        })
    }

    /// [`try_for_each`](Self::try_for_each) with an `f` that may fail: then `on_error` says what to
    /// do.
    ///
    /// ```
    /// use tasklets::pipeline::{self, OnError};
    /// use tasklets::run;
    /// let mut sum = 0;
    /// let done = run(|| {
    ///     let words = pipeline::from_iter(["1", "two", "3"]);
    ///     let add = |it: &&str| it.parse().map(|it: i32| sum += it);
    ///     words.try_for_each_or(OnError::skip(), add).run()
    /// });
    /// assert_eq!((done.unwrap().report.stages[1].failed, sum), (1, 4));
    /// ```
    pub fn try_for_each_or<E>(
        self,
        on_error: OnError<T, E>,
        mut f: impl FnMut(&T) -> Result<(), E> + 'env,
    ) -> Sink<'env, ()>
    where
        E: Into<Box<dyn error::Error>> + 'static,
    {
        self.sink("try_for_each", move |inlet| {
            while let Some(item) = inlet.next()? {
                if let Worked::Failed = on_error.attempt(item.value, &mut f)? {
                    inlet.meter.failed();
                }
            }
            Ok(())
        })
    }

    /// Counts the items.
    pub fn count(self) -> Sink<'env, u64> {
        self.fold(0, |count, _| count + 1)
    }

    /// Makes one value of all: of `first` and the first item, then of that and the second, and so
    /// on.
    pub fn fold<R: 'env>(self, first: R, mut f: impl FnMut(R, T) -> R + 'env) -> Sink<'env, R> {
        self.sink("fold", move |inlet| {
            let mut all = first;
            while let Some(item) = inlet.next()? {
                all = f(all, item.value);
            }
            Ok(all)
        })
    }

    /// Makes one value of all, of any two neighbours at a time, as a tree: `f` has to be
    /// associative. `None` if there is no item.
    ///
    /// ```
    /// use tasklets::{pipeline, run};
    /// let letters = || pipeline::from_iter("abcdefg".chars().map(String::from));
    /// let word = run(|| letters().reduce(|left, right| left + &right).run());
    /// assert_eq!(word.unwrap().value.as_deref(), Some("abcdefg"));
    /// ```
    pub fn reduce(self, mut f: impl FnMut(T, T) -> T + 'env) -> Sink<'env, Option<T>> {
        self.sink("reduce", move |inlet| {
            // Of each power of two the value of so many items, the largest first.
            let mut parts: Vec<(u32, T)> = Vec::new();
            while let Some(item) = inlet.next()? {
                let (mut level, mut value) = (0, item.value);
                while let Some((_, left)) = parts.pop_if(|it| it.0 == level) {
                    value = f(left, value);
                    level += 1;
                }
                parts.push((level, value));
            }
            let mut parts = parts.into_iter().map(|it| it.1).rev();
            let last = parts.next();
            Ok(last.map(|last| parts.fold(last, |right, left| f(left, right))))
        })
    }

    /// Sends the items to a channel, whose receivers may be others' than this pipeline's. If they
    /// are gone the pipeline ends.
    pub fn into_channel(self, to: Sender<T>) -> Sink<'env, ()> {
        self.sink("into_channel", move |inlet| {
            while let Some(item) = inlet.next()? {
                inlet.meter.worked();
                let sent = to.send(item.value);
                inlet.meter.choked();
                if let Err(error) = sent {
                    inlet.meter.all_returned();
                    let ended = error.why == Halt::Closed;
                    return if ended { Ok(()) } else { Err(error.why.into()) };
                }
            }
            Ok(())
        })
    }

    /// Writes each item as a line. An error ends the pipeline; of a closed pipe, too.
    ///
    /// ```
    /// use tasklets::{pipeline, run};
    /// let mut text = Vec::new();
    /// run(|| pipeline::from_iter([1, 2]).write_lines(&mut text).run()).unwrap();
    /// assert_eq!(text, b"1\n2\n");
    /// ```
    pub fn write_lines(self, mut to: impl Write + 'env) -> Sink<'env, ()>
    where
        T: fmt::Display,
    {
        self.sink("write_lines", move |inlet| {
            let fail = |error: std::io::Error| Stop::Failed(Cause::Failed(Box::new(error)));
            while let Some(item) = inlet.next()? {
                writeln!(to, "{}", item.value).map_err(fail)?;
            }
            to.flush().map_err(fail)
        })
    }
}

impl<R> fmt::Debug for Sink<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}
