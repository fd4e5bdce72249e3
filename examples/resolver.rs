//! A resolver: looks up all names that it is given, so many at a time, and prints their addresses
//! in the order of the names. What cannot be found costs a line on stderr, and the exit code is 1.
//!
//! ```text
//! cargo run --release --example resolver -- 4 localhost ::1 example.org no.such.invalid
//! ```

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use tasklets::{Sender, channel, net::lookup_host, run, scope};

/// A name to look up, and who wants to know.
type Job = (String, Sender<io::Result<Vec<IpAddr>>>);

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(OsString::into_string);
    let Ok(arguments) = arguments.collect::<Result<Vec<_>, _>>() else { return usage() };
    let most = arguments.first().and_then(|it| it.parse().ok()).filter(|it| (1..=64).contains(it));
    let (Some(most), [_, names @ ..]) = (most, &*arguments) else { return usage() };
    match run(|| resolve(most, names)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stdout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: resolver AT_A_TIME NAME..., at most 64 at a time");
    ExitCode::from(2)
}

/// Prints what the names are; tells how many are nothing.
fn resolve(most: usize, names: &[String]) -> io::Result<usize> {
    // One who is done first waits until its turn has come: so much is known too early, not more.
    let (wanted, answers): (Vec<_>, Vec<_>) = names.iter().map(|_| channel()).unzip();
    let (give, jobs) = channel::<Job>();
    scope(|s| {
        for _ in 0..most {
            let jobs = jobs.clone();
            s.spawn(move || jobs.into_iter().for_each(|(it, to)| drop(to.send(lookup_host(&it)))));
        }
        let asked = names.iter().cloned().zip(wanted);
        s.spawn(move || give.send_all(asked));
        let printed = names.iter().zip(answers).try_fold(0, |failed, (name, answer)| match answer
            .recv()
            .unwrap_or_else(|why| Err(why.into()))
        {
            Ok(found) => writeln!(io::stdout(), "{name} {found:?}").map(|()| failed),
            Err(error) => writeln!(io::stderr(), "{name}: {error}").map(|()| failed + 1),
        });
        s.cancel(); // what nobody wants to know any more
        printed
    })
}
