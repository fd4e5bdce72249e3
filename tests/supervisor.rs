//! The example `supervisor`, driven as a process of its own, with signals from outside.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use support::example::built;
use tasklets::Signal;

/// A supervisor, killed with its children if a test fails.
struct Supervisor {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Lines that nobody has looked for so far: programs and supervisor write as they please.
    unheard: Vec<String>,
    programs: Vec<u32>,
}

impl Supervisor {
    fn start(programs: &[&str]) -> Supervisor {
        let mut command = Command::new(built("supervisor"));
        let mut process = command.args(programs).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Supervisor { process, lines, unheard: Vec::new(), programs: Vec::new() }
    }

    /// A line that begins with that, once it is there; the number at its end.
    fn heard(&mut self, beginning: &str) -> Option<u32> {
        let line = loop {
            if let Some(place) = self.unheard.iter().position(|it| it.starts_with(beginning)) {
                break self.unheard.remove(place);
            }
            self.unheard.push(self.lines.next().expect(beginning).unwrap());
        };
        line.rsplit(' ').next()?.parse().ok()
    }

    fn started(&mut self, program: &str) -> u32 {
        let process = self.heard(&format!("{program}: started as ")).unwrap();
        self.programs.push(process);
        process
    }

    /// Its exit status, and what else it said.
    fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let rest = self.lines.by_ref().map(Result::unwrap);
        let said = self.unheard.drain(..).chain(rest).collect();
        (self.process.wait().unwrap().code(), said)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            // First who would start them again.
            drop(self.process.kill());
            drop(self.process.wait());
            for program in &self.programs {
                send(Signal::Kill, *program);
            }
        }
    }
}

/// Whether there was such a process.
fn send(signal: Signal, process: u32) -> bool {
    let mut kill = Command::new("kill");
    kill.args([format!("-{}", signal.number()), process.to_string()]).stderr(Stdio::null());
    kill.status().unwrap().success()
}

fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

#[test]
fn when_all_have_succeeded_it_ends() {
    let (code, said) = Supervisor::start(&["true", "sh -c exit", "true"]).ended();
    assert_eq!(code, Some(0));
    assert_eq!(said.iter().filter(|it| it.ends_with(": done")).count(), 3, "{said:?}");
    assert_eq!(Supervisor::start(&[]).ended().0, Some(2)); // what is it to do?
}

#[test]
fn that_nobody_listens_to_it_ends_neither_it_nor_its_programs() {
    let mut it = Command::new(built("supervisor"));
    let mut it = it.arg("sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(it.stdout.take().unwrap()).lines();
    let program = said.next().unwrap().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    drop(said);
    assert!(send(Signal::Kill, program));
    while is_alive(program) {
        std::thread::yield_now();
    }
    assert!(send(Signal::Terminate, it.id()));
    assert_eq!(it.wait().unwrap().code(), Some(0));
}

#[test]
fn who_fails_or_is_killed_is_started_again() {
    let mut it = Supervisor::start(&["false", "sleep 1000"]);
    it.started("sleep 1000");
    for _ in 0..3 {
        it.started("false");
        it.heard("false: exit status: 1");
    }
    let mut it = Supervisor::start(&["sleep 1000"]);
    let first = it.started("sleep 1000");
    assert!(send(Signal::Kill, first));
    it.heard("sleep 1000: signal: 9");
    let second = it.started("sleep 1000");
    assert!(first != second && is_alive(second) && !is_alive(first));
}

#[test]
fn ctrl_c_sigterm_and_a_closed_terminal_end_all_gracefully() {
    for signal in [Signal::Interrupt, Signal::Terminate, Signal::Hangup] {
        let mut it = Supervisor::start(&["sleep 1000", "no-such-program", "sleep 2000"]);
        let programs = [it.started("sleep 1000"), it.started("sleep 2000")];
        assert!(send(signal, it.process.id()));
        let (code, said) = it.ended();
        assert_eq!(code, Some(0), "{said:?}");
        assert_eq!(said.iter().filter(|it| it.contains(": signal: 15")).count(), 2, "{said:?}");
        assert!(!programs.into_iter().any(is_alive));
    }
}

#[test]
fn who_ignores_sigterm_is_killed_after_the_grace_period() {
    let folder = std::env::temp_dir().join(format!("supervisor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = folder.join("stubborn");
    std::fs::write(&script, "trap '' TERM\necho ready\nexec sleep 1000\n").unwrap();
    let line = format!("sh {}", script.display());
    let mut it = Supervisor::start(&[&line]);
    let program = it.started(&line);
    it.heard("ready");
    assert!(send(Signal::Interrupt, it.process.id()));
    let (code, said) = it.ended();
    assert_eq!(code, Some(0));
    assert!(said.iter().any(|it| it.contains(": signal: 9")), "{said:?}");
    assert!(!is_alive(program));
    std::fs::remove_dir_all(folder).unwrap();
}
