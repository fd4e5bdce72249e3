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
use std::io;
use std::process::ExitCode;
use tasklets::net::{Shutdown, TcpListener, TcpStream, serve};
use tasklets::{run, try_scope};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, target] = &*arguments else {
        eprintln!("usage: tcp_proxy ADDRESS TARGET");
        return ExitCode::from(2);
    };
    match run(|| proxy(address, target)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
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
