//! A chat: each line that somebody sends goes to everybody. Nobody waits for a slow client: its
//! writer takes lines even while the client does not read, and leaves when too many pile up. Try
//! `cargo run --release --example chat -- 127.0.0.1:7002`, then `nc 127.0.0.1 7002`, twice.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::{ffi::OsString, process::ExitCode, rc::Rc};
use tasklets::net::{Served, Shutdown, TcpListener, TcpStream, serve};
use tasklets::{Receiver, Sender, channel, run, scope, select, spawn};

/// Bytes that a client may be behind; a line with more of them than `LINE` is several.
const LIMIT: usize = 64 * 1_024;
const LINE: u64 = 4 * 1_024;

/// Something to tell everybody, and perhaps where to tell somebody new from now on.
type News = (String, Option<Sender<Rc<str>>>);

fn main() -> ExitCode {
    let given: Vec<_> = std::env::args_os().skip(1).map(OsString::into_string).collect();
    let address = match &*given {
        [] => "127.0.0.1:0",
        [Ok(address)] if address.contains(':') => address,
        _ => {
            eprintln!("usage: chat [HOST:PORT]");
            return ExitCode::from(2);
        }
    };
    run(|| serve_at(address)).map_or_else(
        |error| {
            eprintln!("chat: {address}: {error}");
            ExitCode::FAILURE
        },
        |_| ExitCode::SUCCESS,
    )
}

fn serve_at(address: &str) -> io::Result<Served> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let (hub, news) = channel();
    spawn(move || broadcast(news));
    serve(&listener, 1_000, |it, who| client(&it, &who.to_string(), &hub))
}

fn broadcast(news: Receiver<News>) {
    let mut clients = vec![];
    for (line, newcomer) in news {
        clients.extend(newcomer);
        let line: Rc<str> = line.into();
        clients.retain(|it: &Sender<_>| it.send(line.clone()).is_ok()); // without those who left
    }
}

fn client(stream: &TcpStream, who: &str, hub: &Sender<News>) {
    let (inbox, lines) = channel();
    scope(|s| {
        s.spawn(|| write(stream, lines).and(stream.shutdown(Shutdown::Both))); // wakes the reader
        drop(hub.send((format!("* {who} is here\n"), Some(inbox))));
        let (mut reader, mut line) = (BufReader::new(stream), vec![]);
        while reader.by_ref().take(LINE).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let said = String::from_utf8_lossy(&line); // a long line may be cut within a character
            drop(hub.send((format!("{who}: {}\n", said.trim_end()), None)));
            line.clear();
        }
        s.cancel(); // the writer
    });
    drop(hub.send((format!("* {who} has left\n"), None)));
}

fn write(mut stream: &TcpStream, lines: Receiver<Rc<str>>) -> io::Result<()> {
    let mut unsent = vec![];
    while unsent.len() <= LIMIT {
        select! {
            recv(lines) -> line => unsent.extend(line?.bytes()),
            op(stream.writable()) -> it if !unsent.is_empty() => {
                unsent.drain(..it.and_then(|()| stream.write(&unsent))?);
            }
        }
    }
    Ok(())
}
