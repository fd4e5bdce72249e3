//! HTTPS: rustls over a socket for tasklets, which it takes for one of std's. The certificate is
//! made at the start, and written to CERT if that is given.
//!
//! ```text
//! cargo run --release --example https -- 127.0.0.1:7443 cert.pem    # prints where it listens
//! curl --cacert cert.pem https://localhost:7443/some/path           # or curl -k
//! ```

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tasklets::net::{Served, TcpListener, TcpStream, serve};
use tasklets::{run, within};

/// Most bytes of a request.
const LONGEST: u64 = 16 * 1_024;

/// Longest time that a client may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut given = std::env::args_os().skip(1);
    let address = given.next().map_or(Ok("127.0.0.1:0".into()), OsString::into_string);
    let (file, more) = (given.next(), given.next());
    let (Some(address), None) = (address.ok().filter(|it| it.contains(':')), more) else {
        eprintln!("usage: https [HOST:PORT [CERT]]");
        return ExitCode::from(2);
    };
    serve_at(&address, file).map_or_else(
        |error| {
            eprintln!("https: {address}: {error}");
            ExitCode::FAILURE
        },
        |_| ExitCode::SUCCESS,
    )
}

fn serve_at(address: &str, file: Option<OsString>) -> Result<Served, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
    if let Some(file) = file {
        std::fs::write(&file, made.cert.pem()).map_err(|it| format!("{file:?}: {it}"))?;
    }
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![made.cert.into()], key.into())?);
    run(|| {
        let listener = TcpListener::bind(address)?;
        println!("listening on {}", listener.local_addr()?);
        Ok(serve(&listener, 1_000, |stream, peer| {
            let answered = within(PATIENCE, || answer(stream, config.clone()));
            answered.value.unwrap_or_else(|error| eprintln!("{peer}: {error}"))
        })?)
    })
}

/// Answers one request. The handshake is part of the first read.
fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    let mut head = (&mut stream).take(LONGEST).lines();
    let request = head.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    for line in head.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.strip_prefix("GET ").and_then(|it| it.split(' ').next());
    let (status, text) = match path {
        Some(path) => ("200 OK", format!("hello, {path}\n")),
        None => ("405 Method Not Allowed", "only GET\n".into()),
    };
    let mut stream = stream.into_inner();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n", text.len())?;
    write!(stream, "Content-Type: text/plain\r\nConnection: close\r\n\r\n{text}")?;
    stream.conn.send_close_notify();
    stream.flush()
}
