//! The Go peer: a program of ours in `go/`, built when a `go` tool is there.

use crate::sample::{Code, Entry};
use std::process::Command;

/// Benchmarks that the Go program knows, and how much of each.
const COUNTS: &[(&str, u64)] = &[
    ("stream", 500_000),
    ("pingpong", 250_000),
    ("commstime", 150_000),
    ("ring1000", 500_000),
    ("ring10000", 400_000),
    ("sieve2000", crate::workload::PRIMES),
    ("spawn", 300_000),
    ("yield", 1_000_000),
    ("select2", 500_000),
    ("select8", 200_000),
    ("select64", 20_000),
    ("select64_one", 20_000),
    ("memory10000", 10_000),
    ("memory100000", 100_000),
    ("memory1000000", 1_000_000),
    ("timers100k", crate::workload::SLEEPERS),
    ("cross_thread", 500_000),
    ("cross_thread_many", 500_000),
    ("pipe1", 500_000),
    ("pipe4", 125_000),
    ("pipe16", 31_250),
    ("batch", 1_000_000),
    ("ordered", 20_000),
    ("tcp1", 200_000),
    ("tcp64", 200_000),
    ("tcp1000", 200_000),
    ("tcp100of10000", 200_000),
    ("http64", 200_000),
];

pub fn entries() -> Vec<Entry> {
    let entry = |&(bench, count)| Entry { bench, peer: "go", count, code: Code::Go };
    COUNTS.iter().map(entry).collect()
}

/// Builds the program and returns its path; says why not when it cannot.
pub fn build() -> Option<String> {
    let here = env!("CARGO_MANIFEST_DIR");
    let program = format!("{here}/target/go-peer");
    let mut command = Command::new("go");
    command.args(["build", "-o", &program, "."]).current_dir(format!("{here}/go"));
    match command.output() {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            eprintln!("skipped: peer=go, its build failed: {}", stderr.trim().replace('\n', "; "));
            None
        }
        Err(_) => {
            eprintln!("skipped: peer=go, no `go` tool on PATH");
            None
        }
    }
}
