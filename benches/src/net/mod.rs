//! Servers beside each other: 64 bytes that come back, and a hello over HTTP.
//!
//! The server has the last core for itself and the load, a process of its own, the first one. The
//! time of a request is the longer of what the two take for it; the processor time of the server
//! (`cpu_ns`) is its own.

mod epoll;
mod load;
mod peers;
mod web;
mod wrk;

pub use load::command;
pub use wrk::{BENCH as WRK, command as wrk, is_here as wrk_is_here};

use crate::memory::cpu_time;
use crate::sample::{Entry, Sample};
use load::Load;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;

/// The benchmark that needs more descriptors than every process may have.
pub const CROWD: &str = "tcp100of10000";

/// Whether a process may have so many.
pub fn crowd_has_room() -> bool {
    load::raise_limit() > 10_100
}

/// A measurement with so many requests.
type Measure = fn(u64) -> Sample;

/// How each peer serves: for ever.
type Serve = fn(TcpListener);

/// The web servers with `wrk` as the load.
const BY_WRK: [(&str, Measure); 3] = [
    ("tasklets", |count| wrk::measure(web::tasklets, count)),
    ("may-minihttp", |count| wrk::measure(web::may, count)),
    ("tokio-hyper", |count| wrk::measure(web::hyper, count)),
];

pub fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    macro_rules! entry {
        ($bench:literal $open:literal $active:literal $http:literal $count:literal:
            $($peer:literal $serve:path,)*) => {
            $(entries.push(Entry::here($bench, $peer, $count, |count| {
                let load = Load { open: $open, active: $active, http: $http };
                measure(load, $serve, count)
            }));)*
        };
    }
    macro_rules! echo {
        ($($bench:literal $open:literal $active:literal;)*) => {
            $(entry! { $bench $open $active false 200_000:
                "epoll" epoll::echo,
                "tasklets" peers::tasklets,
                "may" peers::may,
                "tokio" peers::tokio,
                "smol" peers::smol,
            })*
        };
    }
    echo! {
        "tcp1" 1 1;
        "tcp64" 64 64;
        "tcp1000" 1000 1000;
        "tcp100of10000" 10000 100;
    }
    entry! { "http64" 64 64 true 200_000:
        "tasklets" web::tasklets,
        "may-minihttp" web::may,
        "tokio-hyper" web::hyper,
    }
    for (peer, code) in BY_WRK {
        entries.push(Entry::here(WRK, peer, 200_000, code));
    }
    entries
}

/// Serves on this thread while the load asks; the end of the load ends this process.
fn measure(load: Load, serve: Serve, count: u64) -> Sample {
    load::raise_limit();
    let listener = TcpListener::bind("127.0.0.1:0").expect("the OS has a port");
    // SAFETY: the descriptor is open; listening again only changes the backlog.
    unsafe { libc::listen(listener.as_raw_fd(), 4_096) };
    let address = listener.local_addr().expect("it is bound");
    let mut child = load.start(address, count.max(1)).expect("we can start ourselves");
    std::thread::spawn(move || {
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let begun = lines.next().is_some_and(|it| it.is_ok_and(|it| it == "begin"));
        let before = cpu_time();
        let go = child.stdin.as_mut().expect("it is piped").write_all(b"!");
        let begun = begun && go.is_ok();
        let figures = lines.next().and_then(Result::ok).filter(|_| begun);
        let cpu = cpu_time() - before;
        drop(child.wait());
        let Some(sample) = figures.as_deref().and_then(Sample::parse) else {
            eprintln!("the load has failed");
            std::process::exit(1);
        };
        println!("{}", sample.with("cpu_ns", cpu.as_nanos() as f64 / count.max(1) as f64));
        std::process::exit(0);
    });
    serve(listener);
    unreachable!("a server ends with its process")
}
