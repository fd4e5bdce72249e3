//! Explores known programs under many schedules: how many there are, and how soon a fault is found.
//!
//! `explore [CASE...] [--smoke]`: a case is meant by each of its prefixes. A case that is judged
//! wrongly (an alarm where there is no fault, no alarm where there is one, two searches that do not
//! agree) is reported on stderr, and the exit code is 1.

mod arrivals;
mod buffers;
mod case;
mod known;
mod loom_peer;
mod measure;
mod parts;
mod philosophers;
mod random;
mod rings;
mod services;
mod shuttle_peer;
mod speed;

use case::Case;
use measure::Budget;
use std::process::{Command, ExitCode, Stdio};

const USAGE: &str = "usage: explore [CASE...] [--smoke] | list | once CASE MODE EXECUTIONS";

/// All cases, in the order in which they run.
fn cases() -> Vec<Case> {
    let files = [
        arrivals::CASES,
        philosophers::CASES,
        rings::CASES,
        buffers::CASES,
        services::CASES,
        known::CASES,
    ];
    files.concat()
}

/// What is compared with another tool: the case, the tool, and how.
struct Peer {
    case: &'static str,
    tool: &'static str,
    run: fn(&Budget),
}

const PEERS: &[Peer] = &[
    peer("producers2x1", "loom", loom_peer::rendezvous),
    peer("producers2x2", "shuttle", |it| shuttle_peer::producers("producers2x2", 2, 2, it)),
    peer("producers2x2", "loom", |it| loom_peer::producers("producers2x2", 2, 2, it)),
    peer("producers3x1", "shuttle", |it| shuttle_peer::producers("producers3x1", 3, 1, it)),
    peer("producers3x1", "loom", |it| loom_peer::producers("producers3x1", 3, 1, it)),
    peer("producers3x10", "loom", |it| loom_peer::producers("producers3x10", 3, 10, it)),
    peer("producers3x10", "speed", speed::producers),
    peer("philosophers3", "shuttle", |it| shuttle_peer::philosophers("philosophers3", 3, it)),
    peer("philosophers3", "loom", |it| loom_peer::philosophers("philosophers3", 3, it)),
    peer("philosophers5", "shuttle", |it| shuttle_peer::philosophers("philosophers5", 5, it)),
    peer("philosophers5", "loom", |it| loom_peer::philosophers("philosophers5", 5, it)),
    peer("uneven25", "shuttle", shuttle_peer::uneven),
];

const fn peer(case: &'static str, tool: &'static str, run: fn(&Budget)) -> Peer {
    Peer { case, tool, run }
}

impl Peer {
    /// Runs in a process of its own: a failure can end it, and it writes on stderr as it likes.
    fn compare(&self, smoke: bool) -> bool {
        let mut command = Command::new(std::env::current_exe().expect("we have a path"));
        command.args(["explore", "peer", self.case, self.tool]).stderr(Stdio::null());
        let status = command.args(smoke.then_some("--smoke")).status();
        let well = status.is_ok_and(|it| it.success());
        if !well {
            eprintln!("case={} tool={} failed", self.case, self.tool);
        }
        well
    }
}

/// Runs the command; `arguments` follow after `explore`.
pub fn command(arguments: &[String]) -> ExitCode {
    // Programs fail here on purpose, thousands of times.
    std::panic::set_hook(Box::new(|_| ()));
    let (options, names): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    if names == ["list"] {
        cases().iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    if let [command, name, mode, executions] = names.as_slice()
        && *command == "once"
    {
        return once(name, mode, executions);
    }
    let budget = match options.as_slice() {
        [] => Budget::FULL,
        [option] if *option == "--smoke" => Budget::SMOKE,
        _ => return refuse(USAGE),
    };
    if let [command, case, tool] = names.as_slice()
        && *command == "peer"
    {
        let meant = |it: &&Peer| it.case == *case && it.tool == *tool;
        PEERS.iter().filter(meant).for_each(|it| (it.run)(&budget));
        return ExitCode::SUCCESS;
    }
    let meant = |name: &str| names.is_empty() || names.iter().any(|it| name.starts_with(*it));
    let known = |prefix: &str| {
        let compared = PEERS.iter().map(|it| it.case);
        cases().iter().map(|it| it.name).chain(compared).any(|it| it.starts_with(prefix))
    };
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return refuse(&format!("unknown case `{unknown}`; `explore list` lists them"));
    }
    let mut all_well = true;
    for case in cases().iter().filter(|case| meant(case.name)) {
        let (exhausted, mut wrong) = measure::measure(case, &budget);
        wrong.extend(random::measure(case, exhausted, &budget).err());
        wrong.iter().for_each(|why| eprintln!("case={} wrong: {why}", case.name));
        all_well &= wrong.is_empty();
    }
    for peer in PEERS.iter().filter(|peer| meant(peer.case)) {
        all_well &= peer.compare(budget.campaigns < Budget::FULL.campaigns);
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one case in one random mode.
fn once(name: &str, mode: &str, executions: &str) -> ExitCode {
    let cases = cases();
    let case = cases.iter().find(|case| case.name == name);
    let (Some(case), Ok(executions)) = (case, executions.parse()) else { return refuse(USAGE) };
    if random::once(case, mode, executions) { ExitCode::SUCCESS } else { refuse(USAGE) }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}
