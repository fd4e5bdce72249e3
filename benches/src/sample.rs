//! One measurement's figures, how they travel between processes, and what can be measured.

use std::fmt;
use std::time::Duration;

/// The figures of one measurement: `ns` first, then what else the benchmark counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name and value, in the order in which they are printed.
    pub figures: Vec<(String, f64)>,
}

impl Sample {
    /// Nanoseconds for each of `ops` operations that took `elapsed` together.
    pub fn per(elapsed: Duration, ops: u64) -> Sample {
        assert!(ops > 0, "a benchmark did nothing");
        Sample { figures: vec![("ns".to_string(), elapsed.as_nanos() as f64 / ops as f64)] }
    }

    /// Nanoseconds for the whole run.
    pub fn total(elapsed: Duration) -> Sample {
        Sample::per(elapsed, 1)
    }

    /// Adds another figure.
    pub fn with(mut self, name: &str, value: f64) -> Sample {
        self.figures.push((name.to_string(), value));
        self
    }

    /// Reads a line that [`Display`](fmt::Display) wrote; other words on it are skipped.
    pub fn parse(line: &str) -> Option<Sample> {
        let words = line.split_whitespace().filter_map(|word| word.split_once('='));
        let figures: Vec<_> = words
            .filter_map(|(name, value)| Some((name.to_string(), value.parse().ok()?)))
            .collect();
        figures.first().is_some_and(|(name, _)| name == "ns").then_some(Sample { figures })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.figures.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(out, "{space}{name}={value:.3}")?;
        }
        Ok(())
    }
}

/// One peer's way to run one benchmark.
#[derive(Debug)]
pub struct Entry {
    /// What is measured, one of [`BENCHES`](crate::workload::BENCHES).
    pub bench: &'static str,
    /// Who does the work.
    pub peer: &'static str,
    /// How much of it: messages, hops, tasklets…, whatever the benchmark counts.
    pub count: u64,
    /// Where the code is.
    pub code: Code,
}

/// Where the code of a measurement is.
#[derive(Clone, Copy, Debug)]
pub enum Code {
    /// In this program.
    Here(fn(u64) -> Sample),
    /// In our Go program, under the name of the benchmark.
    Go,
}

impl Entry {
    /// An entry whose code is in this program.
    pub fn here(
        bench: &'static str,
        peer: &'static str,
        count: u64,
        code: fn(u64) -> Sample,
    ) -> Entry {
        Entry { bench, peer, count, code: Code::Here(code) }
    }
}
