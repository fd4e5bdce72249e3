//! What a network did: items and time of each stage, the bottleneck, and a picture of it.
//!
//! Always: for a stage that gives one for one, `taken = given + failed + returned`.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

/// What is counted at a stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) taken: u64,
    pub(super) given: u64,
    pub(super) failed: u64,
    pub(super) returned: u64,
    /// Items whose time was taken, and how it went, in nanoseconds.
    pub(super) measured: u64,
    pub(super) busy: u64,
    pub(super) starved: u64,
    pub(super) choked: u64,
}

/// A stage while it runs.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) workers: usize,
    counts: Cell<Counts>,
}

impl Facts {
    pub(super) fn new(number: usize, name: String, workers: usize) -> Facts {
        Facts { number, name, workers, counts: Cell::default() }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    fn report(&self) -> StageReport {
        let counts = self.counts.get();
        let scaled = |nanos: u64| {
            let items = counts.taken.max(1) as f64 / counts.measured.max(1) as f64;
            Duration::from_nanos((nanos as f64 * items) as u64)
        };
        StageReport {
            name: self.name.clone(),
            workers: self.workers,
            taken: counts.taken,
            given: counts.given,
            failed: counts.failed,
            returned: counts.returned,
            busy: scaled(counts.busy),
            blocked_on_input: scaled(counts.starved),
            blocked_on_output: scaled(counts.choked),
        }
    }
}

/// That one stage gives to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
}

/// What one stage did.
///
/// The times are those of one item in 64, scaled up, summed over the workers of the stage; the time
/// of a stage whose work is done elsewhere (the blocking pool) includes the wait for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// Its workers.
    pub workers: usize,
    /// Items that it took.
    pub taken: u64,
    /// Items that it gave to the next stage.
    pub given: u64,
    /// Items that failed in it.
    pub failed: u64,
    /// Items that it had in hand when nobody wanted them any more.
    pub returned: u64,
    /// Time at work.
    pub busy: Duration,
    /// Time in which it waited for items.
    pub blocked_on_input: Duration,
    /// Time in which it waited for the next stage.
    pub blocked_on_output: Duration,
}

/// What a network did.
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
    /// How long it took.
    pub elapsed: Duration,
    edges: Vec<Edge>,
}

impl Report {
    pub(super) fn new(stages: &[std::rc::Rc<Facts>], edges: &[Edge], elapsed: Duration) -> Report {
        let stages = stages.iter().map(|it| it.report()).collect();
        Report { stages, elapsed, edges: edges.to_vec() }
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
        for Edge { from, to } in &self.edges {
            let label = self.rate(*from);
            text += &format!("  s{from} -> s{to} [label=\"{label}\"];\n");
        }
        text + "}\n"
    }

    /// The network in Mermaid's language; rates on the edges.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (number, stage) in self.stages.iter().enumerate() {
            text += &format!("  s{number}[\"{}\"]\n", quoted(&stage.name));
        }
        for Edge { from, to } in &self.edges {
            text += &format!("  s{from} -->|{}| s{to}\n", self.rate(*from));
        }
        text
    }

    /// What a stage gave, and how fast.
    fn rate(&self, stage: usize) -> String {
        let stage = &self.stages[stage];
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { stage.given as f64 / seconds } else { 0.0 };
        let blocked = stage.blocked_on_output;
        format!("{} items, {rate:.0}/s, blocked {blocked:.1?}", stage.given)
    }
}

fn quoted(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "'").replace('\n', " ")
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
