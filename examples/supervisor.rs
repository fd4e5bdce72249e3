//! Starts programs, starts those again that fail, and ends them all gracefully when it is told to.
//!
//! Each argument is a program with arguments, separated by spaces. One that fails is started again
//! after a while, which doubles each time. Ctrl-C, SIGTERM and SIGHUP are passed on as SIGTERM; who
//! has not ended after the grace period is killed. The exit status is 0 then.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;
use tasklets::process::{Child, Command};
use tasklets::{Never, Signal, after, channel, run, scope, select, shield, signals, sleep};

const GRACE: Duration = Duration::from_secs(2);
const BACK_OFF: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let lines = std::env::args_os().skip(1).map(OsString::into_string);
    let lines = lines.collect::<Result<Vec<_>, _>>().unwrap_or_default();
    if lines.is_empty() || lines.iter().any(|it| it.starts_with([' ', '-']) || it.is_empty()) {
        eprintln!("usage: supervisor 'PROGRAM ARGUMENT...'...");
        return ExitCode::from(2);
    }
    run(|| supervise(&lines)).map_or_else(
        |error| {
            eprintln!("supervisor: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn supervise(lines: &[String]) -> io::Result<()> {
    let stop = signals([Signal::Interrupt, Signal::Terminate, Signal::Hangup])?;
    let (alive, all_done) = channel::<Never>(); // closed when nobody holds `alive` any more
    scope(|s| {
        for line in lines {
            let alive = alive.clone();
            s.spawn(move || (keep(line), alive));
        }
        drop(alive);
        select! {
            recv(all_done) -> _ => {}
            op(stop.receiving()) -> _ => s.cancel(), // see `keep`
        }
    });
    Ok(())
}

/// Says what happens. That nobody listens is no reason to leave the children alone.
fn say(line: &str, what: impl Display) {
    drop(writeln!(io::stdout(), "{line}: {what}"));
}

/// Runs a program until it succeeds, or this tasklet is cancelled.
fn keep(line: &str) {
    let mut command = Command::new(line.split(' ').next().unwrap_or_default());
    command.args(line.split(' ').skip(1)).as_std().process_group(0); // Ctrl-C is for us alone
    for failures in 0.. {
        let ended = command.spawn().and_then(|mut child| {
            say(line, format_args!("started as {}", child.id()));
            child.wait().or_else(|_| shield(|| end(&mut child)))
        });
        match ended {
            Ok(status) if status.success() => return say(line, "done"),
            Ok(status) => say(line, status),
            Err(error) => say(line, error),
        }
        if sleep(BACK_OFF * 2_u32.pow(failures.min(8))).is_err() {
            return; // cancelled
        }
    }
}

/// Asks a child to end, and makes it.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    child.signal(Signal::Terminate)?;
    select! {
        op(child.exited()) -> status => status,
        op(after(GRACE)) -> _ => child.kill().and_then(|()| child.wait()),
    }
}
