//! A TCP proxy: passes on what comes, in both directions at once.
//!
//! The end of one direction is passed on and leaves the other open, as some protocols want it; an
//! error in one ends both. After libtask's example of the same name (Russ Cox).
//!
//! ```text
//! cargo run --release --example tcp_proxy -- 127.0.0.1:7001 example.org:80
//! curl --connect-to ::127.0.0.1:7001 http://example.org/
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use tasklets::net::{Shutdown, TcpListener, TcpStream, serve};
use tasklets::{run, try_scope};

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(OsString::into_string);
    let Ok(arguments) = arguments.collect::<Result<Vec<_>, _>>() else { return usage() };
    let [address, target] = &*arguments else { return usage() };
    if ![address, target].iter().all(|it| it.contains(':')) {
        return usage();
    }
    match run(|| proxy(address, target)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcp_proxy: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: tcp_proxy HOST:PORT TARGET:PORT");
    ExitCode::from(2)
}

fn proxy(address: &str, target: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let passed = serve(&listener, 1_000, |client, peer| {
        relay(&client, target).unwrap_or_else(|error| eprintln!("{peer}: {error}"));
    });
    passed.map(drop)
}

fn relay(client: &TcpStream, target: &str) -> Result<(), Box<dyn Error>> {
    let server = TcpStream::connect(target)?;
    try_scope(|s| {
        // Whichever fails first has the other cancelled.
        s.spawn_try(|| pass_on(client, &server));
        s.spawn_try(|| pass_on(&server, client));
    })?;
    Ok(())
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
