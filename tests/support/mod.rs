//! Helpers of the tests: a body in a process of its own, and what /proc says about this one.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod example;
pub mod report;

use std::any::type_name;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Set in the child: the name of the test whose body is to run.
const CASE: &str = "TASKLETS_TEST_CASE";

/// Exit code of a child whose body did not end in time.
const HANGS: i32 = 98;

pub const SIGABRT: i32 = 6;
pub const SIGSEGV: i32 = 11;

/// How an isolated body ended.
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// Its standard error.
    pub text: String,
}

impl Ended {
    /// The body returned.
    #[track_caller]
    pub fn well(self) -> Ended {
        let hangs = if self.code == Some(HANGS) { "it hangs; " } else { "" };
        assert_eq!(
            (self.code, self.signal),
            (Some(0), None),
            "{hangs}the child said:\n{}",
            self.text
        );
        self
    }

    /// The process was ended by `signal`.
    #[track_caller]
    pub fn by_signal(self, signal: i32) -> Ended {
        assert_eq!(
            (self.code, self.signal),
            (None, Some(signal)),
            "the child said:\n{}",
            self.text
        );
        self
    }

    /// Its standard error has every one of `parts`.
    #[track_caller]
    pub fn saying(self, parts: &[&str]) -> Ended {
        for part in parts {
            assert!(self.text.contains(part), "no {part:?} in what the child said:\n{}", self.text);
        }
        self
    }

    /// Its standard error has none of `parts`.
    #[track_caller]
    pub fn silent_about(self, parts: &[&str]) -> Ended {
        for part in parts {
            assert!(!self.text.contains(part), "{part:?} in what the child said:\n{}", self.text);
        }
        self
    }
}

/// Runs `body` in a process of its own: this test binary once more, only the calling test.
///
/// Returns `None` in that process, after `body`; the caller then has nothing left to check.
#[must_use]
pub fn isolated<F: FnOnce()>(body: F) -> Option<Ended> {
    Isolation::default().run(body)
}

/// What is special about the process.
pub struct Isolation {
    env: Vec<(&'static str, OsString)>,
    /// Virtual memory it may have, in KiB.
    virtual_kib: Option<u64>,
    seconds: u64,
}

impl Default for Isolation {
    fn default() -> Isolation {
        Isolation { env: Vec::new(), virtual_kib: None, seconds: 30 }
    }
}

impl Isolation {
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Isolation {
        self.env.push((name, value.into()));
        self
    }

    pub fn virtual_kib(mut self, kib: u64) -> Isolation {
        self.virtual_kib = Some(kib);
        self
    }

    /// The body hangs if it takes longer.
    pub fn seconds(mut self, seconds: u64) -> Isolation {
        self.seconds = seconds;
        self
    }

    /// See [`isolated`].
    #[must_use]
    pub fn run<F: FnOnce()>(self, body: F) -> Option<Ended> {
        // `binary::test::{{closure}}`
        let path = type_name::<F>().trim_end_matches("::{{closure}}");
        let name = path.split_once("::").expect("a closure of a test").1;
        if std::env::var(CASE).is_ok_and(|it| it == name) {
            within(self.seconds, body);
            return None;
        }
        let exe = std::env::current_exe().unwrap();
        let limit = self.virtual_kib.map_or("unlimited".to_owned(), |it| it.to_string());
        let script = format!("ulimit -c 0; ulimit -v {limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(exe);
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(CASE, name).env("RUST_BACKTRACE", "0").envs(self.env).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let ran = String::from_utf8_lossy(&output.stdout).contains("running 1 test");
        assert!(ran, "the child did not find the test {name}:\n{text}");
        Some(Ended { code: output.status.code(), signal: output.status.signal(), text })
    }
}

/// Runs `body`; ends the process if it takes longer than `seconds`.
fn within(seconds: u64, body: impl FnOnce()) {
    let (over, watched) = channel::<()>();
    let watch = std::thread::spawn(move || {
        if watched.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the body has not ended after {seconds} s");
            std::process::exit(HANGS);
        }
    });
    body();
    drop(over);
    watch.join().unwrap();
}

/// Whether tasklets have stacks here, not OS threads; says so if not.
pub fn real_stacks() -> bool {
    let threads = std::env::var_os("TASKLETS_STACKS").is_some_and(|it| it == "threads");
    if threads {
        eprintln!("not tested: it needs real stacks, and TASKLETS_STACKS=threads is set");
    }
    !threads
}

/// A figure of /proc/self/status in KiB.
pub fn status_kib(field: &str) -> usize {
    figure(&std::fs::read_to_string("/proc/self/status").unwrap(), field)
}

/// A figure of /proc/meminfo in KiB.
pub fn memory_kib(field: &str) -> usize {
    figure(&std::fs::read_to_string("/proc/meminfo").unwrap(), field)
}

fn figure(text: &str, field: &str) -> usize {
    let line = text.lines().find(|it| it.split(':').next() == Some(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Memory maps of this process.
pub fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}
