//! The web servers asked by `wrk`, where that is on `PATH`, on the first core: 64 connections, one
//! request under way on each.

use super::Serve;
use crate::memory::cpu_time;
use crate::sample::Sample;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// The benchmark that takes `wrk`.
pub const BENCH: &str = "http64wrk";

pub fn is_here() -> bool {
    Command::new("wrk").arg("--version").output().is_ok()
}

/// `--wrk ADDRESS SECONDS`: becomes `wrk`, on the first core.
pub fn command(arguments: &[String]) -> ExitCode {
    let [address, seconds] = arguments else {
        eprintln!("--wrk ADDRESS SECONDS");
        return ExitCode::from(2);
    };
    crate::run::pin_to_first_core();
    let (length, url) = (format!("-d{seconds}s"), format!("http://{address}/json"));
    let error = Command::new("wrk").args(["-t1", "-c64", &length, &url]).exec();
    eprintln!("wrk: {error}");
    ExitCode::FAILURE
}

/// Serves on this thread until as many seconds as 100,000 of `count` go into have passed; that ends
/// this process.
pub fn measure(serve: Serve, count: u64) -> Sample {
    super::load::raise_limit();
    let listener = TcpListener::bind("127.0.0.1:0").expect("the OS has a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let sample = ask(address, 1).and_then(|_| {
            let before = cpu_time();
            let requests = ask(address, count.div_ceil(100_000))?;
            let cpu = (cpu_time() - before).as_nanos() as f64 / requests.0 as f64;
            Ok(Sample::per(requests.1, requests.0).with("cpu_ns", cpu))
        });
        match sample {
            Ok(sample) => println!("{sample}"),
            Err(error) => eprintln!("wrk has failed: {error}"),
        }
        std::process::exit(0);
    });
    serve(listener);
    unreachable!("a server ends with its process")
}

/// Lets `wrk` ask for so many seconds; how many answers came, and in what time.
fn ask(address: SocketAddr, seconds: u64) -> io::Result<(u64, Duration)> {
    let mut wrk = Command::new(std::env::current_exe()?);
    let output = wrk.args(["--wrk", &address.to_string(), &seconds.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let odd = || io::Error::other(format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    if !output.status.success() || text.contains("Socket errors") || text.contains("Non-2xx") {
        return Err(odd());
    }
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|it| *it > 0.0);
    // "  123456 requests in 2.00s, 17.19MB read"
    let (requests, rest) =
        text.lines().find_map(|it| it.split_once(" requests in ")).ok_or_else(odd)?;
    let seconds = rest.split_once("s,").and_then(|(it, _)| number(it)).ok_or_else(odd)?;
    let requests = number(requests).ok_or_else(odd)?;
    Ok((requests as u64, Duration::from_secs_f64(seconds)))
}
