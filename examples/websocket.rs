//! WebSocket: what one client says all hear, also the one that said it. Each client has a tasklet,
//! and tungstenite, which takes its socket for one of std's; a hub knows them all.
//!
//! ```text
//! cargo run --release --example websocket -- 127.0.0.1:7001    # prints where it listens
//! // in a browser: s = new WebSocket("ws://127.0.0.1:7001"); s.onmessage = e => alert(e.data)
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use tasklets::net::{TcpListener, TcpStream, serve};
use tasklets::{Receiver, Sender, channel, run, select, spawn};
use tungstenite::{Error, Message, accept};

/// Who does not take a message for so long is left out from then on.
const PATIENCE: Duration = Duration::from_secs(1);

enum News {
    Joined(Sender<Message>),
    Said(Message),
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    run(|| {
        let (hub, news) = channel();
        spawn(move || pass_on(&news));
        let listener = TcpListener::bind(address)?;
        println!("listening on {}", listener.local_addr()?);
        serve(&listener, 1_000, |stream, peer| {
            talk(stream, &hub).unwrap_or_else(|error| eprintln!("{peer}: {error}"))
        })
        .map(drop)
    })
}

fn pass_on(news: &Receiver<News>) {
    let mut members: Vec<Sender<Message>> = Vec::new();
    for news in news {
        match news {
            News::Joined(member) => members.push(member),
            News::Said(it) => members.retain(|to| to.send_timeout(it.clone(), PATIENCE).is_ok()),
        }
    }
}

fn talk(stream: TcpStream, hub: &Sender<News>) -> Result<(), Box<dyn std::error::Error>> {
    let mut socket = accept(Patient { stream, waits: true }).map_err(|it| it.to_string())?;
    // From now on news are waited for, too: see below.
    socket.get_mut().waits = false;
    let (member, inbox) = channel();
    hub.send(News::Joined(member)).map_err(|it| it.why)?;
    loop {
        match socket.read() {
            Ok(message) if message.is_text() || message.is_binary() => {
                let mut message = Some(message);
                while message.is_some() {
                    select! { // the hub may be about to tell this one something
                        send(hub, News::Said(message.take().unwrap())) -> sent => sent?,
                        recv(inbox) -> news => socket.send(news?)?,
                    }
                }
            }
            Ok(_) => {} // tungstenite answers
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => select! {
                op(socket.get_ref().stream.readable()) -> ready => ready?,
                recv(inbox) -> news => socket.send(news?)?,
            },
            Err(Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A stream whose reads wait or, for who has something else to wait for, say that they would.
struct Patient {
    stream: TcpStream,
    waits: bool,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use tasklets::Operation;
        if !self.waits && self.stream.readable().poll().is_none() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.stream.read(buffer)
    }
}

impl Write for Patient {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
