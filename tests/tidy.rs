//! The source text itself: layers, file sizes, and where dangerous things may stand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rank of each module of the crate: a file uses lower ranks, and its own rank's siblings without
/// a circle. The reasons are in DESIGN.md, section 1, and in `src/kernel/mod.rs`.
const RANKS: &[(&str, u32)] = &[
    ("error", 0),
    ("kernel/choice", 0),
    ("kernel/clock", 0),
    ("kernel/name", 0),
    ("kernel/claim", 0),
    ("kernel/asleep", 0),
    ("kernel/fatal", 0),
    ("kernel/baton", 0),
    ("kernel/body", 0),
    ("kernel/stack", 0),
    ("kernel/stage", 0),
    ("kernel/trace", 0),
    // A control block holds its queue link, and a wait is of a control block.
    ("kernel/control", 1),
    ("kernel/task", 1),
    ("kernel/wait", 1),
    ("kernel/ready", 1),
    ("kernel/stacks", 1),
    ("kernel/table", 2),
    ("kernel/timer", 2),
    ("kernel/source", 2),
    ("kernel/poller", 2),
    ("kernel/running", 2),
    ("kernel/announce", 2),
    ("kernel/outsider", 2),
    ("kernel/scheduler", 3),
    ("kernel/operation", 4),
    // The public face of an operation, which everything that makes one implements.
    ("operation", 5),
    ("channel", 6),
    ("time", 6),
    ("descriptor", 6),
    ("tasklet", 6),
    ("local", 6),
    ("trap", 6),
    ("select", 7),
    ("shared", 7),
    ("scope", 7),
    ("blocking", 7),
    ("signal", 7),
    ("process", 7),
    // Beside `blocking`, which makes its thread; the scheduler knows it as a `trace::Watch`.
    ("monitor", 7),
    ("net", 8),
    ("plug", 8),
    ("fs", 8),
    ("stdio", 8),
    ("inspect", 8),
    // Runs runtimes, each on an OS thread of its own.
    ("shared/workers", 9),
    // Its stages may work there.
    ("pipeline", 9),
    ("explore", 9),
    ("futures", 9),
    ("runtime", 9),
    ("guide", 9),
    ("kernel", 9),
    ("lib", 10),
];

/// Modules of one rank that know each other on purpose.
const CIRCLES: &[(&str, &str)] = &[
    ("kernel/task", "kernel/wait"),
    // A scheduler has its control, whose news are about tasklets and their waits.
    ("kernel/task", "kernel/control"),
    ("kernel/control", "kernel/wait"),
    // What an operation passes first is, in a controlled run, that it is announced.
    ("kernel/running", "kernel/announce"),
    ("kernel/task", "kernel/ready"),
    // Timeouts are methods of the ends of a channel.
    ("channel", "time"),
];

/// What may stand only in certain files.
const PLACES: &[(&str, &[&str])] = &[
    ("unsafe ", &["kernel/stack.rs"]),
    ("generator::", &["kernel/stack.rs"]),
    ("mio::", &["kernel/poller.rs"]),
    (concat!("Instant::", "now"), &["kernel/clock.rs"]),
    // `baton.rs` is the stack engine for Miri: each of its stacks is a thread.
    ("thread::Builder", &["blocking.rs", "explore/parallel.rs", "kernel/baton.rs"]),
    ("thread::spawn", &[]),
    ("thread::scope", &["explore/parallel.rs"]),
    (concat!("thread::", "sleep"), &[]),
    ("split_mix", &["kernel/choice.rs"]),
    ("rand::", &[]),
    ("HashMap", &[]),
    ("todo!(", &[]),
    ("unimplemented!(", &[]),
    ("dbg!(", &[]),
    ("FIXME", &[]),
];

struct Source {
    /// Path below `src`, with slashes.
    path: String,
    text: String,
}

fn sources(below: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(below);
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    found
}

/// The module a path of the crate belongs to: the longest known prefix.
fn module(path: &str) -> &'static str {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let fits = |name: &str| path == name || path.starts_with(&format!("{name}/"));
    let known = RANKS.iter().map(|(name, _)| *name).filter(|it| fits(it));
    known.max_by_key(|it| it.len()).unwrap_or_else(|| panic!("no rank for {path}"))
}

fn rank(module: &str) -> u32 {
    RANKS.iter().find(|(name, _)| *name == module).unwrap().1
}

/// Code without comments, documentation and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().filter(|it| !it.trim_start().starts_with("//"));
    lines.map(|it| it.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules of the crate that `source` names in its `use` lines.
fn uses(source: &Source) -> Vec<&'static str> {
    let mut used = Vec::new();
    for line in code(&source.text).lines().map(str::trim) {
        let Some(rest) = line.strip_prefix("use ").or_else(|| line.strip_prefix("pub use ")) else {
            continue;
        };
        let (base, rest) = if let Some(rest) = rest.strip_prefix("crate::") {
            (String::new(), rest)
        } else if let Some(rest) = rest.strip_prefix("super::") {
            let parent = Path::new(&source.path).parent().unwrap().to_string_lossy().into_owned();
            (parent, rest)
        } else {
            continue;
        };
        let words: Vec<_> = rest.split([':', ';', '{', ' ']).filter(|it| !it.is_empty()).collect();
        let path = |count: usize| {
            let mut parts = if base.is_empty() { vec![] } else { vec![base.as_str()] };
            parts.extend(words.iter().take(count));
            parts.join("/")
        };
        let known = |path: &String| RANKS.iter().any(|(name, _)| name == path);
        if let Some(path) = [path(2), path(1)].into_iter().find(known) {
            used.push(module(&path));
        }
    }
    used
}

#[test]
fn a_file_uses_only_lower_ranks() {
    for source in sources("src") {
        let (me, mine) = (module(&source.path), rank(module(&source.path)));
        for other in uses(&source) {
            let allowed = other == me
                || rank(other) < mine
                || (rank(other) == mine && !knows(other, me))
                || CIRCLES.contains(&(me, other))
                || CIRCLES.contains(&(other, me));
            assert!(allowed, "src/{} ({me}, rank {mine}) uses {other}", source.path);
        }
    }
}

/// Whether any file of `module` uses `other`.
fn knows(of: &str, other: &str) -> bool {
    sources("src").iter().any(|it| module(&it.path) == of && uses(it).contains(&other))
}

#[test]
fn dangerous_things_stand_where_they_may() {
    for source in sources("src") {
        let code = code(&source.text);
        for (word, files) in PLACES {
            let here = files.contains(&source.path.as_str());
            assert!(here || !code.contains(word), "`{word}` in src/{}", source.path);
        }
    }
}

#[test]
fn every_unsafe_operation_has_a_proof() {
    for source in sources("src") {
        let lines: Vec<_> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let line = line.trim();
            if line.starts_with("//")
                || !(line.contains("unsafe {") || line.contains("unsafe impl"))
            {
                continue;
            }
            let proof =
                lines[index.saturating_sub(8)..index].iter().any(|it| it.contains("SAFETY"));
            assert!(proof, "src/{}:{} has no SAFETY comment", source.path, index + 1);
        }
    }
}

#[test]
fn files_functions_and_lines_are_short() {
    for folder in ["src", "tests", "examples", "benches/src", "fuzz/fuzz_targets"] {
        for source in sources(folder) {
            let name = format!("{folder}/{}", source.path);
            let lines: Vec<_> = source.text.lines().collect();
            assert!(lines.len() <= 500, "{name} has {} lines", lines.len());
            for (index, line) in lines.iter().enumerate() {
                // A row of a table cannot be broken.
                let fits = line.chars().count() <= 100 || line.starts_with("//! |");
                assert!(fits, "{name}:{} is too long", index + 1);
            }
            assert!(
                lines[0].starts_with("//!") || lines[0].starts_with("#![doc"),
                "{name}: no //!"
            );
            if folder == "src" {
                check_functions(&name, &lines);
            }
        }
    }
}

/// Functions end at the line with a brace at the indentation of their `fn`.
fn check_functions(name: &str, lines: &[&str]) {
    let mut open: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let is_fn = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "unsafe fn "];
        if is_fn.iter().any(|it| words.starts_with(it)) && !words.ends_with(';') {
            open.insert(indent, index);
        } else if words == "}"
            && let Some(start) = open.remove(&indent)
        {
            let length = index - start + 1;
            assert!(length <= 50, "{name}:{} has a function of {length} lines", start + 1);
        }
    }
}

/// What a test that depends on the speed of the machine would need: such a test fails under load.
/// Time is told by the virtual clock, order by channels, cost by counting.
const UNTESTABLE: &[&str] = &[
    concat!("thread::", "sleep"),
    concat!("#[", "ignore"),
    concat!(".elap", "sed()"),
    concat!("duration_", "since"),
    concat!("Instant::", "now"),
    concat!("System", "Time"),
];

/// Where one of these is used all the same, how often, and why.
const EXCEPTIONS: &[(&str, &str, usize, &str)] = &[(
    "tests/bad_input.rs",
    concat!("Instant::", "now"),
    5,
    "an instant of std as an argument: a deadline in the past, or outside of any run",
)];

/// What is checked: the tests beside the code, those in files of their own, examples and fuzzing.
/// (The kernel's clock is the one place that reads the time: see `PLACES`.)
#[test]
fn tests_neither_sleep_nor_measure_time_nor_are_ignored() {
    for folder in ["src", "tests", "fuzz/fuzz_targets"] {
        for source in sources(folder) {
            let name = format!("{folder}/{}", source.path);
            let parts: Vec<_> = source.text.split("#[cfg(test)]").collect();
            let tests = if folder == "src" { &parts[1..] } else { &parts[..] };
            for word in UNTESTABLE {
                let allowed = EXCEPTIONS.iter().find(|it| (it.0, it.1) == (&*name, *word));
                let most = allowed.map_or(0, |it| it.2);
                let found: usize = tests.iter().map(|it| code(it).matches(word).count()).sum();
                assert!(found == most, "`{word}` {found} times in {name}, {most} are known");
            }
        }
    }
}

#[test]
fn benches_measure_time_and_judge_nobody_by_it() {
    let quick = [concat!("thread::", "sleep"), concat!("#[", "test]"), concat!("#[", "ignore")];
    let times = [concat!("elap", "sed"), "Instant", "Duration", "nanos", "_ns"];
    for source in sources("benches/src") {
        let code = code(&source.text);
        for word in quick {
            assert!(!code.contains(word), "`{word}` in benches/src/{}", source.path);
        }
        // An assertion ends at its semicolon.
        for check in code.split("assert").skip(1).filter_map(|it| it.split(';').next()) {
            let time = times.iter().find(|it| check.contains(*it));
            assert!(time.is_none(), "an assertion about time in benches/src/{}", source.path);
        }
    }
}
