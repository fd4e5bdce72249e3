//! Echo: whatever a client sends comes back. Each client has a tasklet of its own, whose code reads
//! as if there were no other; a thousand are served at a time, on one OS thread.
//!
//! ```text
//! cargo run --release --example echo -- 127.0.0.1:7000    # prints where it listens
//! nc 127.0.0.1 7000
//! ```

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use tasklets::net::{Served, TcpListener, serve};
use tasklets::run;

fn main() -> ExitCode {
    let given: Vec<_> = std::env::args_os().skip(1).map(OsString::into_string).collect();
    let address = match &*given {
        [] => "127.0.0.1:0",
        [Ok(address)] if address.contains(':') => address,
        _ => {
            eprintln!("usage: echo [HOST:PORT]");
            return ExitCode::from(2);
        }
    };
    run(|| serve_at(address)).map_or_else(
        |error| {
            eprintln!("echo: {address}: {error}");
            ExitCode::FAILURE
        },
        |_| ExitCode::SUCCESS,
    )
}

fn serve_at(address: &str) -> io::Result<Served> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    serve(&listener, 1_000, |stream, _| io::copy(&mut &stream, &mut &stream))
}
