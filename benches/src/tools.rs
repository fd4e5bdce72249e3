//! Programs on real input: the examples `logstat` and `grep` beside awk and grep.
//!
//! Always: both read the same files, made here and warm, and what they print is the same.

use crate::run::use_all_cores;
use crate::sample::{Entry, Sample};
use crate::workload::below;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Lines of the log: some 200 MB.
const LINES: u64 = 1_700_000;

/// Files of the tree: some 50 MB.
const FILES: u64 = 5_000;

/// What is looked for in it.
const PATTERN: &str = "fn [a-z]+_all";

pub fn entries() -> Vec<Entry> {
    vec![
        Entry::here("logstat", "tasklets", LINES, |it| logstat(&mut example("logstat"), it)),
        Entry::here("logstat", "awk", LINES, |it| {
            let program = format!("{}/awk/logstat.awk", env!("CARGO_MANIFEST_DIR"));
            logstat(Command::new("awk").env("LC_ALL", "C").arg("-f").arg(program), it)
        }),
        Entry::here("grep", "tasklets", FILES, |it| grep(example("grep").arg(PATTERN), it)),
        Entry::here("grep", "gnu-grep", FILES, |it| {
            grep(Command::new("grep").env("LC_ALL", "C").args(["-rnE", PATTERN]), it)
        }),
    ]
}

/// One of the crate's examples, built if it has to be.
fn example(name: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Where the crate's own build is, so that it need not be done twice.
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--locked", "--example", name]);
    build.arg("--manifest-path").arg(root.join("Cargo.toml")).arg("--target-dir").arg(&target);
    // What cargo tells this program of its package: a dependency would be built anew for it.
    let told = |it: &str| it.starts_with("CARGO_PKG_") || it.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|it| it.0.to_str().is_some_and(told)) {
        build.env_remove(name);
    }
    assert!(build.status().expect("there is a cargo").success(), "{name} does not compile");
    Command::new(target.join("release/examples").join(name))
}

/// Nanoseconds for a line, with megabytes for a second and the most that was in memory.
fn logstat(program: &mut Command, lines: u64) -> Sample {
    let log = kept(&format!("access-{lines}.log"), |path| write_log(path, lines));
    let bytes = fs::metadata(&log).expect("the log is there").len();
    let start = Instant::now();
    let (facts, peak_bytes) = printed(program.arg(&log));
    let elapsed = start.elapsed();
    assert!(facts.starts_with("requests\t"), "{facts}");
    check(&log, "facts", &facts);
    Sample::per(elapsed, lines)
        .with("mb_per_s", bytes as f64 / 1e6 / elapsed.as_secs_f64())
        .with("peak_bytes", peak_bytes as f64)
}

/// Nanoseconds for a file, with both cores.
fn grep(program: &mut Command, files: u64) -> Sample {
    let tree = kept(&format!("tree-{files}"), |path| write_tree(path, files));
    use_all_cores();
    let start = Instant::now();
    let (lines, _) = printed(program.arg(&tree));
    let elapsed = start.elapsed();
    check(&tree, "lines", &lines);
    Sample::per(elapsed, files)
}

/// What a program prints, and the most memory it had at a time, or this process if that was more;
/// it has to end well.
#[expect(clippy::zombie_processes, reason = "wait4 waits, and tells what was used")]
fn printed(program: &mut Command) -> (String, u64) {
    let mut child =
        program.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it is on PATH");
    let (mut text, mut status) = (String::new(), 0);
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    // SAFETY: a `rusage` is plain numbers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the child is ours and nobody has waited for it; both places are ours to write.
    let ended = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    assert!(ended == child.id() as i32 && status == 0, "{program:?} ends with {status}");
    (text, usage.ru_maxrss as u64 * 1024)
}

/// Panics unless this is what the first peer printed.
fn check(input: &Path, what: &str, text: &str) {
    let first = input.with_extension(what);
    match fs::read_to_string(&first) {
        Ok(first) => assert_eq!(first, text, "peers do not agree"),
        Err(_) => fs::write(&first, text).expect("there is room"),
    }
}

/// A file or folder that is made once, whole or not at all.
fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/inputs");
    let path = folder.join(name);
    if !path.exists() {
        let half = folder.join(format!("{name}.{}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is room");
        make(&half);
        fs::rename(&half, &path).expect("both are in one folder");
    }
    path
}

/// Lines of both formats, one in a thousand malformed; few hosts and paths ask for most.
fn write_log(path: &Path, lines: u64) {
    let mut log = BufWriter::new(File::create(path).expect("there is room"));
    for line in 0..lines {
        let few = |salt, count| below(line ^ salt, below(line.rotate_left(7) ^ salt, count) + 1);
        if below(line, 1000) == 0 {
            writeln!(log, "what is this").expect("there is room");
            continue;
        }
        let (host, page) = (few(1 << 40, 5_000), few(1 << 41, 3_000));
        let code = [200, 200, 200, 200, 304, 404, 301, 500][few(1 << 42, 8) as usize];
        let (a, b, second) = (host / 250, host % 250, line % 60);
        let from = format!("10.7.{a}.{b} - - [10/Oct/2000:13:55:{second:02} -0700]");
        let size = below(line ^ 1 << 43, 100_000);
        let page = format!("/part{}/page{page}", page % 40);
        let agent = "\"http://example.com/start\" \"Mozilla/5.0 (X11; Linux x86_64) Gecko\"";
        let tail = if line % 2 == 1 { format!(" {agent}") } else { String::new() };
        writeln!(log, "{from} \"GET {page} HTTP/1.1\" {code} {size}{tail}").expect("there is room");
    }
    log.flush().expect("there is room");
}

/// Folders of a hundred files that look like source text, 10 KB each; a line in 500 matches.
fn write_tree(path: &Path, files: u64) {
    for file in 0..files {
        let folder = path.join(format!("part{}", file / 100));
        fs::create_dir_all(&folder).expect("there is room");
        let line = |nth: u64| match below(file << 20 | nth, 500) {
            0 => format!("    fn drain_all(it: &mut Shelf{nth}) {{\n"),
            other => format!("    let value_{other} = self.part({nth}).fold(0, add);\n"),
        };
        let text: String = (0..200).map(line).collect();
        fs::write(folder.join(format!("file{file}.rs")), text).expect("there is room");
    }
}
