//! Echo: whatever a client sends comes back. Each client has a tasklet of its own, whose code reads
//! as if there were no other; a thousand are served at a time, on one OS thread.
//!
//! ```text
//! cargo run --release --example echo -- 127.0.0.1:7000    # prints where it listens
//! nc 127.0.0.1 7000
//! ```

use std::io;
use tasklets::net::{TcpListener, serve};
use tasklets::run;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    run(|| {
        let listener = TcpListener::bind(address)?;
        println!("listening on {}", listener.local_addr()?);
        serve(&listener, 1_000, |stream, _| io::copy(&mut &stream, &mut &stream)).map(drop)
    })
}
