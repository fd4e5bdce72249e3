//! What a network did: items and time of each stage, the bottleneck, and a picture of it.
//!
//! Always: of each stage `taken = delivered + failed + returned`, and what a stage gave is what the
//! stages behind it took, whatever ended the network.

use super::Settings;
use super::meter::Times;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// What is counted at a stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) taken: u64,
    pub(super) given: u64,
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) returned: u64,
    /// Nanoseconds at work on other threads, of all items.
    pub(super) away: u64,
    times: Times,
}

/// A stage while it runs.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) workers: usize,
    /// Where that goes which it was to give and nobody took: a `RefCell<Vec<_>>` of such values.
    pub(super) back: Option<Rc<dyn Any>>,
    counts: Cell<Counts>,
    /// Where its progress is shown.
    #[cfg(feature = "progress")]
    line: Option<super::progress::Line>,
}

impl Facts {
    pub(super) fn new(number: usize, name: String, settings: &Settings) -> Facts {
        Facts {
            number,
            name,
            workers: settings.workers.unwrap_or(1),
            back: settings.back.clone(),
            counts: Cell::default(),
            #[cfg(feature = "progress")]
            line: None,
        }
    }

    #[cfg(feature = "progress")]
    pub(super) fn shown_on(mut self, lines: Option<&indicatif::MultiProgress>) -> Facts {
        self.line = lines.map(|it| super::progress::Line::new(it, &self.name));
        self
    }

    /// Of the items of a source, `hint` tells how many there will be.
    #[cfg(feature = "progress")]
    pub(super) fn expect(&self, hint: impl FnOnce() -> (usize, Option<usize>)) {
        if let Some(line) = &self.line {
            line.expect(hint());
        }
    }

    /// Items have been delivered, or have failed.
    #[cfg(feature = "progress")]
    pub(super) fn show(&self) {
        if let Some(line) = &self.line {
            let Counts { delivered, failed, .. } = self.counts.get();
            line.show(delivered + failed);
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// Whether anything is kept of what nobody took.
    pub(super) fn keeps(&self) -> bool {
        self.back.is_some()
    }

    /// Nobody took `value`, which it was to give, or nobody has begun to work on it.
    #[cold]
    pub(super) fn hand_back<T: 'static>(&self, value: T) {
        if let Some(back) = self.back.as_ref().and_then(|it| it.downcast_ref::<RefCell<Vec<T>>>()) {
            back.borrow_mut().push(value);
        }
    }

    /// The time of a worker went so.
    pub(super) fn spent(&self, times: Times) {
        self.count(|it| it.times.add(times));
    }

    fn report(&self) -> StageReport {
        let counts = self.counts.get();
        let Times { busy, starved, choked, .. } = counts.times;
        StageReport {
            name: self.name.clone(),
            workers: self.workers,
            taken: counts.taken,
            given: counts.given,
            delivered: counts.delivered,
            failed: counts.failed,
            returned: counts.returned,
            busy: Duration::from_nanos(busy.saturating_add(counts.away)),
            blocked_on_input: Duration::from_nanos(starved),
            blocked_on_output: Duration::from_nanos(choked),
        }
    }
}

/// That one stage gives to another.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// To a branch, for which alone the one would not go on.
    pub(super) aside: bool,
    /// What has passed.
    pub(super) items: Rc<Cell<u64>>,
}

/// What one stage gave to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EdgeReport {
    /// Who gave: a place in [`Report::stages`].
    pub from: usize,
    /// Who took.
    pub to: usize,
    /// How many items.
    pub items: u64,
}

/// What one stage did.
///
/// The times are summed over the workers of the stage, and never more than those were there for.
/// They are measured where items take long; where many pass in a short time one of up to 512 is,
/// and how the time of the others went is estimated from those. Work on other OS threads is
/// measured there, without the way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// Its workers.
    pub workers: usize,
    /// Items that it took; of a source, that it made.
    pub taken: u64,
    /// Items that it gave to the stages behind it.
    pub given: u64,
    /// Items it took and has seen to: what it makes of them, if anything, has been given on, or is
    /// a part of the sink's result.
    pub delivered: u64,
    /// Items it took that failed in it.
    pub failed: u64,
    /// Items it took and had in hand when nobody wanted them any more, or it was stopped: dropped,
    /// or [handed back](super::Pipeline::handing_back).
    pub returned: u64,
    /// Time at work; so is that in which an item rests before it is tried again.
    pub busy: Duration,
    /// Time in which it waited for items.
    pub blocked_on_input: Duration,
    /// Time in which it waited for the next stage, for its turn, or for items to leave where they
    /// may not all be [on the way](super::Sink::in_flight).
    pub blocked_on_output: Duration,
}

/// What a network did.
///
/// No item is lost, whatever ended the pipeline: of each stage `taken = delivered + failed +
/// returned`, and what a stage has `given` is what the stages behind it have `taken`. So of stages
/// that give one for one what the sources made is what the sinks delivered, and what failed or was
/// returned on the way. Left out (by a filter, say) counts as delivered; so does what a window or a
/// batch has made a part of something it gave; what a batch that was never given held is returned.
///
/// ```
/// use tasklets::{pipeline, run};
/// let done = run(|| pipeline::from_iter(0..).map(|it| it * 2).take(3).count().run()).unwrap();
/// for stage in &done.report.stages {
///     assert_eq!(stage.taken, stage.delivered + stage.failed + stage.returned);
/// }
/// assert_eq!(done.report.stages[1].given, done.report.stages[2].taken);
/// ```
///
/// ```
/// use tasklets::{pipeline, run};
/// let done = run(|| pipeline::from_iter(0..1_000).map(|it| it * 2).named("double").count().run());
/// let report = done.unwrap().report;
/// assert_eq!(report.stages[1].name, "double");
/// assert_eq!((report.stages[1].taken, report.stages[1].given), (1_000, 1_000));
/// assert!(report.to_dot().contains("\"double\""));
/// println!("{report}");
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The stages, sources first.
    pub stages: Vec<StageReport>,
    /// What joins them.
    pub edges: Vec<EdgeReport>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    pub(super) fn new(stages: &[std::rc::Rc<Facts>], edges: &[Edge], elapsed: Duration) -> Report {
        let stages = stages.iter().map(|it| it.report()).collect();
        let edge = |it: &Edge| EdgeReport { from: it.from, to: it.to, items: it.items.get() };
        Report { stages, elapsed, edges: edges.iter().map(edge).collect() }
    }

    /// The stage that was at work for the largest part of the time, each of its workers on average.
    pub fn bottleneck(&self) -> Option<&StageReport> {
        let load = |it: &&StageReport| it.busy / it.workers.max(1) as u32;
        self.stages.iter().max_by_key(load)
    }

    /// The network in Graphviz's language; rates on the edges.
    pub fn to_dot(&self) -> String {
        let mut text = String::from("digraph pipeline {\n  rankdir=LR;\n  node [shape=box];\n");
        for (number, stage) in self.stages.iter().enumerate() {
            let (name, busy) = (quoted(&stage.name), stage.busy);
            text += &format!("  s{number} [label=\"{name}\\nbusy {busy:.1?}\", id=\"{name}\"];\n");
        }
        for edge @ EdgeReport { from, to, .. } in &self.edges {
            let label = self.rate(edge);
            text += &format!("  s{from} -> s{to} [label=\"{label}\"];\n");
        }
        text + "}\n"
    }

    /// The network in Mermaid's language; rates on the edges.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (number, stage) in self.stages.iter().enumerate() {
            text += &format!("  s{number}[\"{}\"]\n", in_mermaid(&stage.name));
        }
        for edge @ EdgeReport { from, to, .. } in &self.edges {
            text += &format!("  s{from} -->|{}| s{to}\n", self.rate(edge));
        }
        text
    }

    /// What passed, how fast, and how long who gives there and who takes there waited in all.
    fn rate(&self, EdgeReport { from, to, items }: &EdgeReport) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { *items as f64 / seconds } else { 0.0 };
        let (room, input) =
            (self.stages[*from].blocked_on_output, self.stages[*to].blocked_on_input);
        format!("{items} items, {rate:.0}/s, no room {room:.1?}, no input {input:.1?}")
    }
}

/// A name within quotes in Graphviz's language.
fn quoted(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}

/// A name within quotes in Mermaid's language, as text: neither quotes nor tags nor entities.
fn in_mermaid(name: &str) -> String {
    let plain = |it: char| it.is_alphanumeric() || " _-.,:;()'/+*=!?".contains(it);
    let escaped = |it: char| if plain(it) { it.to_string() } else { format!("#{};", it as u32) };
    name.chars().map(escaped).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.stages.iter().map(|it| it.name.chars().count()).max().unwrap_or(0).max(5);
        writeln!(
            f,
            "{:width$}  workers      in     out  failed  returned      busy  no input  no room",
            "stage"
        )?;
        for it in &self.stages {
            writeln!(
                f,
                "{:width$}  {:7} {:7} {:7} {:7}  {:8} {:>9} {:>9} {:>8}",
                it.name,
                it.workers,
                it.taken,
                it.given,
                it.failed,
                it.returned,
                format!("{:.1?}", it.busy),
                format!("{:.1?}", it.blocked_on_input),
                format!("{:.1?}", it.blocked_on_output),
            )?;
        }
        match self.bottleneck() {
            Some(it) => writeln!(f, "in {:.1?}; the bottleneck is {}", self.elapsed, it.name),
            None => writeln!(f, "in {:.1?}", self.elapsed),
        }
    }
}
