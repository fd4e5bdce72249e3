//! WebSocket: what one client says all hear, also the one that said it. Each client has a tasklet,
//! and tungstenite, which takes its socket for one of std's; a hub knows them all. Nobody waits for
//! a slow client: its tasklet takes news even while it does not read, and leaves when too many pile
//! up.
//!
//! ```text
//! cargo run --release --example websocket -- 127.0.0.1:7001    # prints where it listens
//! // in a browser: s = new WebSocket("ws://127.0.0.1:7001"); s.onmessage = e => alert(e.data)
//! ```

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::Duration;
use tasklets::net::{Served, TcpListener, TcpStream, serve};
use tasklets::{Operation, Receiver, Sender, channel, run, select, spawn, within};
use tungstenite::{Error, Message, accept};

/// Who has not said for so long what he wants is left out.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of a message, and those that a client may be behind.
const MESSAGE: usize = 512 * 1_024;
const LIMIT: usize = 2 * MESSAGE;

enum News {
    Joined(Sender<Message>),
    Said(Message),
}

fn main() -> ExitCode {
    let given: Vec<_> = std::env::args_os().skip(1).map(OsString::into_string).collect();
    let address = match &*given {
        [] => "127.0.0.1:0",
        [Ok(address)] if address.contains(':') => address,
        _ => {
            eprintln!("usage: websocket [HOST:PORT]");
            return ExitCode::from(2);
        }
    };
    run(|| serve_at(address)).map_or_else(
        |error| {
            eprintln!("websocket: {address}: {error}");
            ExitCode::FAILURE
        },
        |_| ExitCode::SUCCESS,
    )
}

fn serve_at(address: &str) -> io::Result<Served> {
    let (hub, news) = channel();
    spawn(move || pass_on(&news));
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    serve(&listener, 1_000, |stream, peer| {
        talk(stream, &hub).unwrap_or_else(|error| eprintln!("{peer}: {error}"))
    })
}

fn pass_on(news: &Receiver<News>) {
    let mut members: Vec<Sender<Message>> = Vec::new();
    for news in news {
        match news {
            News::Joined(member) => members.push(member),
            News::Said(it) => members.retain(|to| to.send(it.clone()).is_ok()), // else he has left
        }
    }
}

fn talk(stream: TcpStream, hub: &Sender<News>) -> Result<(), Box<dyn std::error::Error>> {
    let patient = Patient { stream, waits: true };
    let mut socket = within(PATIENCE, || accept(patient).map_err(|it| it.to_string())).value?;
    socket.set_config(|it| {
        (it.max_message_size, it.max_write_buffer_size) = (Some(MESSAGE), LIMIT);
    });
    // From now on news are waited for, too: see below.
    socket.get_mut().waits = false;
    let (member, inbox) = channel();
    hub.send(News::Joined(member)).map_err(|it| it.why)?;
    let mut is_behind = false;
    loop {
        match socket.read() {
            Ok(message) if message.is_text() || message.is_binary() => {
                let mut message = Some(message);
                while message.is_some() {
                    select! { // the hub may be about to tell this one something
                        send(hub, News::Said(message.take().unwrap())) -> sent => sent?,
                        recv(inbox) -> news => is_behind = would_wait(socket.send(news?))?,
                    }
                }
            }
            Ok(_) => {} // tungstenite answers
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => select! {
                op(socket.get_ref().stream.readable()) -> ready => ready?,
                op(socket.get_ref().stream.writable()) -> ready if is_behind => {
                    ready?;
                    is_behind = would_wait(socket.flush())?;
                }
                recv(inbox) -> news => is_behind = would_wait(socket.send(news?))?,
            },
            Err(Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether tungstenite has kept something that there is no room for at present.
fn would_wait(sent: tungstenite::Result<()>) -> tungstenite::Result<bool> {
    match sent {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        other => other.map(|()| false),
    }
}

/// A stream that waits or, for who has something else to wait for, says that it would.
struct Patient {
    stream: TcpStream,
    waits: bool,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.waits && self.stream.readable().poll().is_none() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.stream.read(buffer)
    }
}

impl Write for Patient {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if !self.waits && self.stream.writable().poll().is_none() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
