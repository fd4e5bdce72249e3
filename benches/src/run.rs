//! Runs measurements, each in a process of its own, and prints the medians.
//!
//! Repetition-major: in each repetition every peer of the benchmark runs once, the floor first.
//! So a slow moment of the machine hits all of them, not all repetitions of one.

use crate::floor::{COUNT, FLOOR};
use crate::go;
use crate::options::Plan;
use crate::sample::{Code, Entry, Sample};
use crate::workload::BENCHES;
use std::process::{Command, ExitCode};

/// A measurement that takes longer than this many seconds is stuck.
const LIMIT_SECONDS: u32 = 180;

/// Measures `benches` and prints one line for each peer.
pub fn measure(entries: &[Entry], benches: &[&'static str], plan: &Plan) -> ExitCode {
    pin_to_one_core();
    let uses_go = |entry: &Entry| matches!(entry.code, Code::Go) && benches.contains(&entry.bench);
    let go_program = if entries.iter().any(uses_go) { go::build() } else { None };
    let mut all_well = true;
    for bench in benches {
        let peers = entries.iter().filter(|entry| entry.bench == *bench && entry.peer != FLOOR);
        let floor = Entry { bench, ..floor_entry(entries) };
        let mut series: Vec<Series> =
            std::iter::once(&floor).chain(peers).map(Series::of).collect();
        series.retain(|it| matches!(it.entry.code, Code::Here(_)) || go_program.is_some());
        for _ in 0..plan.reps {
            for it in &mut series {
                it.measure_once(plan, go_program.as_deref());
            }
        }
        let floor_ns = series[0].median(0);
        for it in &series {
            all_well &= it.print(floor_ns);
        }
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures one peer in this process and prints its figures.
pub fn once(entries: &[Entry], bench: &str, peer: &str, count: Option<u64>) -> ExitCode {
    pin_to_one_core();
    // SAFETY: `alarm` has no preconditions; the signal ends the process, which is what we want.
    unsafe { libc::alarm(LIMIT_SECONDS) };
    let is_meant = |entry: &&Entry| match entry.peer {
        // The floor is the same for every benchmark.
        FLOOR => peer == FLOOR && BENCHES.contains(&bench),
        other => peer == other && entry.bench == bench,
    };
    let Some(entry) = entries.iter().find(is_meant) else {
        let known = entries.iter().filter(|entry| entry.bench == bench).map(|entry| entry.peer);
        let known: Vec<_> = known.collect();
        eprintln!("no peer `{peer}` in `{bench}`; known: {}", known.join(" "));
        return ExitCode::from(2);
    };
    match entry.code {
        Code::Here(code) => println!("{}", code(count.unwrap_or(entry.count))),
        Code::Go => {
            eprintln!("the Go program is run by its own name: target/go-peer BENCH COUNT");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn floor_entry(entries: &[Entry]) -> Entry {
    let it = entries.iter().find(|entry| entry.peer == FLOOR).expect("the floor is an entry");
    Entry { bench: it.bench, peer: FLOOR, count: COUNT, code: it.code }
}

/// What one peer did in each repetition.
struct Series<'a> {
    entry: &'a Entry,
    /// The measurements that came to an end.
    samples: Vec<Sample>,
    /// Why one did not.
    failure: Option<String>,
}

impl<'a> Series<'a> {
    fn of(entry: &'a Entry) -> Series<'a> {
        Series { entry, samples: Vec::new(), failure: None }
    }

    /// Runs the peer in a new process; a peer that failed once is not asked again.
    fn measure_once(&mut self, plan: &Plan, go_program: Option<&str>) {
        if self.failure.is_some() {
            return;
        }
        let entry = self.entry;
        let count = if plan.smoke { (entry.count / 1000).clamp(16, 1000) } else { entry.count };
        let mut command = match (entry.code, go_program) {
            (Code::Here(_), _) => {
                let mut command = Command::new(std::env::current_exe().expect("we have a path"));
                command.args(["--once", entry.bench, entry.peer]);
                command
            }
            (Code::Go, Some(program)) => {
                let mut command = Command::new(program);
                // It needs us again, as the load of its servers.
                let here = std::env::current_exe().expect("we have a path");
                command.arg(entry.bench).env("TASKLETS_BENCHES", here);
                command
            }
            (Code::Go, None) => unreachable!("peers without a program were taken out"),
        };
        match figures_of(command.arg(count.to_string())) {
            Ok(sample) => self.samples.push(sample),
            Err(why) => self.failure = Some(why),
        }
    }

    /// The median of the `index`-th figure over the repetitions.
    fn median(&self, index: usize) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(|it| it.figures[index].1).collect();
        values.sort_by(f64::total_cmp);
        match values.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => values[len / 2],
            len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
        }
    }

    /// Prints the line of this peer; says whether there was one to print.
    fn print(&self, floor_ns: f64) -> bool {
        let Entry { bench, peer, .. } = self.entry;
        if let Some(why) = &self.failure {
            eprintln!("bench={bench} peer={peer} failed: {why}");
            return false;
        }
        let ns = self.median(0);
        let (low, high) = self
            .samples
            .iter()
            .map(|it| it.figures[0].1)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
                (low.min(it), high.max(it))
            });
        print!("bench={bench} peer={peer} ns={} floor={:.2}", short(ns), ns / floor_ns);
        for (index, (name, _)) in self.samples[0].figures.iter().enumerate().skip(1) {
            print!(" {name}={}", short(self.median(index)));
        }
        println!(" low={} high={}", short(low), short(high));
        true
    }
}

/// One digit after the point is enough for small figures, none for large ones.
fn short(value: f64) -> String {
    if value < 1000.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Runs a measuring process to its end.
fn figures_of(command: &mut Command) -> Result<Sample, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        let last = stderr.lines().last().unwrap_or_default();
        return Err(format!("{}: {last}", output.status));
    }
    stdout.lines().find_map(Sample::parse).ok_or(format!("no figures in `{stdout}`"))
}

/// Lets this thread, and those that it makes, run on all cores of the machine again.
pub fn use_all_cores() {
    assert!(use_cores(0..libc::CPU_SETSIZE as usize), "cannot leave the core");
}

/// Keeps this thread on the core with this number, if the machine has one.
pub fn use_core(number: usize) {
    if !use_cores(number..number + 1) {
        eprintln!("there is no core {number}: the threads share what there is");
    }
}

/// False if this process may use none of these cores.
fn use_cores(cores: std::ops::Range<usize>) -> bool {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: a `cpu_set_t` is plain bits, for which all zeros is a value.
    let mut chosen: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: every index is below the number of bits of the set.
    cores.for_each(|core| unsafe { libc::CPU_SET(core, &mut chosen) });
    // SAFETY: `chosen` is initialised and `size` is its size.
    unsafe { libc::sched_setaffinity(0, size, &chosen) == 0 }
}

/// Keeps this process and its children on the last core that it may use.
pub fn pin_to_one_core() {
    pin(|cores| cores.next_back());
}

/// Keeps this process on the first core, also if who started it has another one.
pub fn pin_to_first_core() {
    // SAFETY: a `cpu_set_t` is plain bits, for which all ones is a value.
    let every: libc::cpu_set_t = unsafe { std::mem::transmute([u8::MAX; CORES_BYTES]) };
    // SAFETY: `every` is initialised and `CORES_BYTES` is its size; what there is not is left out.
    unsafe { libc::sched_setaffinity(0, CORES_BYTES, &every) };
    pin(|cores| cores.next());
}

const CORES_BYTES: usize = size_of::<libc::cpu_set_t>();

/// Keeps this process on one of the cores that it may use.
fn pin(choose: impl Fn(&mut dyn DoubleEndedIterator<Item = usize>) -> Option<usize>) {
    // SAFETY: a `cpu_set_t` is plain bits, for which all zeros is a value.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `allowed` is ours to write and `CORES_BYTES` is its size.
    let failed = unsafe { libc::sched_getaffinity(0, CORES_BYTES, &mut allowed) };
    assert_eq!(failed, 0, "the kernel does not say which cores we may use");
    // SAFETY: every index is below the number of bits of the set.
    let is_allowed = |core: &usize| unsafe { libc::CPU_ISSET(*core, &allowed) };
    let mut cores = (0..libc::CPU_SETSIZE as usize).filter(is_allowed);
    let core = choose(&mut cores).expect("we run somewhere");
    // SAFETY: as above.
    let mut chosen: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` came from the set's own indices.
    unsafe { libc::CPU_SET(core, &mut chosen) };
    // SAFETY: `chosen` is initialised and `CORES_BYTES` is its size.
    let failed = unsafe { libc::sched_setaffinity(0, CORES_BYTES, &chosen) };
    assert_eq!(failed, 0, "cannot stay on core {core}");
}
