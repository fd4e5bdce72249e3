//! The command line: which benchmarks, how often, how much.

use crate::workload::BENCHES;

/// How often and how much a benchmark is run.
#[derive(Debug)]
pub struct Plan {
    /// How many times each peer is measured; the median is printed.
    pub reps: usize,
    /// Tiny counts: proves that everything runs, says nothing about speed.
    pub smoke: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Print the names of the benchmarks.
    List,
    /// Measure these benchmarks.
    Measure { benches: Vec<&'static str>, plan: Plan },
    /// Measure one peer once, in this process: what a profiler wants.
    Once { bench: String, peer: String, count: Option<u64> },
}

/// The command line, understood.
#[derive(Debug)]
pub struct Options {
    pub command: Command,
}

const USAGE: &str = "usage: [NAME...] [--reps N] [--smoke] | list | --once BENCH PEER [COUNT]";

impl Options {
    /// Reads the arguments after the program's name.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut args = args.peekable();
        if args.peek().is_some_and(|first| first == "--once") {
            return parse_once(args.skip(1).collect());
        }
        let mut benches = Vec::new();
        let mut plan = Plan { reps: 7, smoke: false };
        let mut reps = None;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "list" | "--list" => return Ok(Options { command: Command::List }),
                "--smoke" => plan.smoke = true,
                "--reps" => reps = Some(parse_reps(args.next())?),
                option if option.starts_with('-') => {
                    return Err(format!("unknown option `{option}`\n{USAGE}"));
                }
                name => benches.extend(named(name)?),
            }
        }
        plan.reps = reps.unwrap_or(if plan.smoke { 1 } else { plan.reps });
        // The printed order is ours, whatever order was asked for, and nothing runs twice.
        let all = benches.is_empty();
        let chosen = BENCHES.iter().copied().filter(|name| all || benches.contains(name));
        let benches = chosen.collect();
        Ok(Options { command: Command::Measure { benches, plan } })
    }
}

fn parse_once(args: Vec<String>) -> Result<Options, String> {
    let (bench, peer, count) = match args.as_slice() {
        [bench, peer] => (bench, peer, None),
        [bench, peer, count] => {
            let count = count.parse().map_err(|_| format!("`{count}` is not a count"))?;
            (bench, peer, Some(count))
        }
        _ => return Err(USAGE.to_string()),
    };
    let (bench, peer) = (bench.clone(), peer.clone());
    Ok(Options { command: Command::Once { bench, peer, count } })
}

fn parse_reps(arg: Option<String>) -> Result<usize, String> {
    let reps = arg.as_deref().and_then(|text| text.parse().ok());
    reps.filter(|reps| *reps > 0).ok_or(format!("--reps takes a number of at least 1\n{USAGE}"))
}

/// The benchmarks meant by `name`: one, or a family (`ring` means `ring1000` and `ring10000`).
fn named(name: &str) -> Result<Vec<&'static str>, String> {
    if let Some(bench) = BENCHES.iter().find(|bench| **bench == name) {
        return Ok(vec![bench]);
    }
    let of_family = |bench: &&&str| bench.trim_end_matches(|it: char| it.is_ascii_digit()) == name;
    let family: Vec<_> = BENCHES.iter().filter(of_family).copied().collect();
    if family.is_empty() {
        return Err(format!("unknown benchmark `{name}`; known: {}", BENCHES.join(" ")));
    }
    Ok(family)
}
