//! Measures tasklets beside its peers: one benchmark, one peer, one figure a line.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -- [NAME...]`; README.md says the rest.
//! Every measurement is a process of its own: this program runs itself again with `--once`.

// One macro call over 64 names needs more than the usual 128 steps.
#![recursion_limit = "512"]

mod across;
mod explore;
mod floor;
mod go;
mod may_peers;
mod memory;
mod net;
mod options;
mod ours;
mod pipes;
mod run;
mod sample;
mod threads;
mod tokio_peers;
mod tools;
mod workload;

use options::{Command, Options};
use std::process::ExitCode;

/// Everything that can be measured, in the order in which it is printed.
fn entries() -> Vec<sample::Entry> {
    let mut entries = floor::entries();
    entries.extend(ours::entries());
    entries.extend(may_peers::entries());
    entries.extend(tokio_peers::entries());
    entries.extend(threads::entries());
    entries.extend(across::entries());
    entries.extend(pipes::entries());
    entries.extend(tools::entries());
    entries.extend(net::entries());
    entries.extend(go::entries());
    entries.retain(|entry| entry.bench != net::CROWD || net::crowd_has_room());
    entries.retain(|entry| entry.bench != net::WRK || net::wrk_is_here());
    // A stable sort: within one benchmark the peers stay in the order above.
    entries.sort_by_key(|entry| workload::BENCHES.iter().position(|name| *name == entry.bench));
    entries
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, rest @ ..] = arguments.as_slice()
        && command == "explore"
    {
        run::pin_to_one_core();
        return explore::command(rest);
    }
    if let [command, rest @ ..] = arguments.as_slice()
        && command == "--load"
    {
        return net::command(rest);
    }
    if let [command, rest @ ..] = arguments.as_slice()
        && command == "--wrk"
    {
        return net::wrk(rest);
    }
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match options.command {
        Command::List => {
            for name in workload::BENCHES {
                println!("{name}");
            }
            ExitCode::SUCCESS
        }
        Command::Once { bench, peer, count } => run::once(&entries(), &bench, &peer, count),
        Command::Measure { benches, plan } => run::measure(&entries(), &benches, &plan),
    }
}
