//! A line on a terminal for each stage of a pipeline that runs.
//!
//! Always: nothing is drawn but when an item is done with, so that a pipeline with lines does the
//! same as one without: no tasklet and no timer more, and no error. Nothing of the lines stays when
//! it has ended. Line: `Drawn -> Cleared`, `Drawn -> Broken` when whoever draws has panicked.

use super::Sink;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Of a stage that ends nobody knows when, and of a source of a known length.
const OPEN: &str = "{prefix}  {pos} items, {per_sec}";
const KNOWN: &str = "{prefix}  {pos} of {len} items, {per_sec}, {eta} to go";

impl<'env, R: 'env> Sink<'env, R> {
    /// Shows, while the pipeline runs, a line for each stage on stderr, if that is a terminal: how
    /// many items it is done with, and how many each second.
    ///
    /// A source whose iterator [knows its length](Iterator::size_hint) shows of how many, and how
    /// long it still takes; others know nothing of what is to come. A line is drawn again when its
    /// stage is done with an item, at most 20 times each second; that holds up the OS thread, as
    /// printing does. The lines are gone when the pipeline has ended, whatever ended it; then its
    /// [report](super::Done::report) has the figures.
    ///
    /// What is printed meanwhile gets in their way; see [`progress_on`](Self::progress_on).
    ///
    /// ```
    /// use tasklets::{pipeline, run};
    /// let done = run(|| pipeline::from_iter(0..1_000).map(|it| it * 2).count().progress().run());
    /// assert_eq!(done.unwrap().value, 1_000);
    /// ```
    #[must_use = "a pipeline does nothing until it is run"]
    pub fn progress(self) -> Sink<'env, R> {
        self.progress_on(&MultiProgress::new())
    }

    /// [`progress`](Self::progress) with the lines there, among others.
    ///
    /// What is to stand above the lines is printed inside of its `suspend`, which must not wait:
    /// whoever draws meanwhile, on the same OS thread, would wait for ever. Where nobody can see
    /// the lines there are none, and they cost nothing.
    ///
    /// ```
    /// use tasklets::pipeline::{self, MultiProgress};
    /// use tasklets::run;
    /// let lines = MultiProgress::new();
    /// let print = |it: i32| lines.suspend(|| println!("{it}"));
    /// run(|| pipeline::from_iter(0..3).for_each(print).progress_on(&lines).run()).unwrap();
    /// ```
    #[must_use = "a pipeline does nothing until it is run"]
    pub fn progress_on(mut self, lines: &MultiProgress) -> Sink<'env, R> {
        // Which panics if somebody has panicked in a `suspend`.
        let hidden = catch_unwind(AssertUnwindSafe(|| lines.is_hidden())).unwrap_or(true);
        self.lines = (!hidden).then(|| lines.clone());
        self
    }
}

/// The line of one stage.
pub(super) struct Line {
    /// `None` while it is dropped.
    bar: Option<ProgressBar>,
    /// Drawing it has panicked: somebody panicked in a `suspend`, say.
    broken: Cell<bool>,
}

impl Line {
    pub(super) fn new(lines: &MultiProgress, name: &str) -> Line {
        let line = Line { bar: Some(ProgressBar::no_length()), broken: Cell::new(false) };
        line.draw(|it| {
            let bar = lines.add(it.clone());
            bar.set_style(style(OPEN));
            bar.set_prefix(name.replace(char::is_control, " "));
        });
        line
    }

    /// So many items there will be, if an iterator with this hint knows.
    pub(super) fn expect(&self, hint: (usize, Option<usize>)) {
        if let (least, Some(most)) = hint
            && least == most
        {
            self.draw(|it| {
                it.set_style(style(KNOWN));
                it.set_length(most as u64);
            });
        }
    }

    /// So many items are done with.
    pub(super) fn show(&self, items: u64) {
        self.draw(|it| it.set_position(items));
    }

    /// A line is not worth an error.
    fn draw(&self, how: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.bar.as_ref().filter(|_| !self.broken.get()) {
            let drawn = catch_unwind(AssertUnwindSafe(|| how(bar)));
            self.broken.set(drawn.is_err());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let bar = self.bar.take();
        drop(catch_unwind(AssertUnwindSafe(|| drop(bar)))); // which clears it
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well formed")
}
