//! A web server: the files below a directory, a JSON route, and an echo of what is posted.
//!
//! ```text
//! cargo run --release --example httpd -- 127.0.0.1:8080 .      # prints where it listens
//! curl http://127.0.0.1:8080/README.md http://127.0.0.1:8080/json
//! curl --data-binary @README.md http://127.0.0.1:8080/echo
//! ```
//!
//! A tasklet for each connection reads a request, answers it, and reads the next one, as if there
//! were no other. Always: so many connections at a time, each with so much memory and so much
//! patience (`httpd ADDR DIR SECONDS`). Ctrl-C lets requests that have begun finish; a second one
//! does not.

mod beneath;
mod files;
mod reader;
mod request;
mod response;

use files::Files;
use reader::Reader;
use request::{Length, Method, Refusal, Request};
use response::{Answer, Body, Date};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tasklets::net::{Serve, Shutdown, TcpListener, TcpStream};
use tasklets::{
    Never, Sender, Signal, Signals, TaskletRef, blocking, channel, current, run, signals, spawn,
    within,
};

const CONNECTIONS: usize = 10_000;

/// What is read of a file at a time, and how much may be written before it is sent.
const PIECE_BYTES: usize = 128 * 1024;

/// What is read and thrown away of somebody who is refused, so that they can read why.
const LINGER_BYTES: usize = 1024 * 1024;

const HELLO: &str = r#"{"message":"Hello, World!"}"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let patience = arguments.get(2).map_or("10", |it| it).parse().ok();
    let patience = patience.and_then(|it| Duration::try_from_secs_f64(it).ok());
    let ([address, dir] | [address, dir, _], Some(patience)) = (&*arguments, patience) else {
        eprintln!("usage: httpd ADDR DIR [SECONDS]");
        return ExitCode::from(2);
    };
    let served = run(|| {
        let listener = TcpListener::bind(&**address)?;
        println!("listening on {}", listener.local_addr()?);
        serve(&listener, Path::new(dir), patience)
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("httpd: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a connection waits for a request of which nothing has come.
type Idle = Rc<Cell<bool>>;

/// What all connections share.
struct Site {
    files: Files,
    date: RefCell<Date>,
    /// How long a client may take for a head, a body, or to read a piece of an answer.
    patience: Duration,
    stopping: Cell<bool>,
    /// The connections by number.
    connected: RefCell<BTreeMap<u64, (TaskletRef, Idle)>>,
    count: Cell<u64>,
}

/// Serves until it is interrupted.
pub fn serve(listener: &TcpListener, dir: &Path, patience: Duration) -> io::Result<()> {
    let files = Files::below(dir)?;
    let site = Rc::new(Site {
        files,
        date: RefCell::default(),
        patience,
        stopping: Cell::new(false),
        connected: RefCell::default(),
        count: Cell::new(0),
    });
    let (stop, stopped) = channel();
    let signals = signals([Signal::Interrupt, Signal::Terminate])?;
    let stops = site.clone();
    spawn(move || stops.stop_on(signals, stop));
    let serve = Serve::new().limit(CONNECTIONS).grace(3 * patience);
    let served = serve.run(listener, &stopped, |stream, _| site.connected(&stream))?;
    println!("{} connections served, {} cut off", served.connections, served.cut);
    Ok(())
}

impl Site {
    /// Stops at the first signal, at once at the second.
    fn stop_on(&self, signals: Signals, stop: Sender<Never>) {
        if signals.recv().is_err() {
            return; // the run ends
        }
        self.stopping.set(true);
        drop(stop);
        let connected = self.connected.borrow();
        connected.values().filter(|(_, idle)| idle.get()).for_each(|(it, _)| it.cancel());
        drop(connected);
        if signals.recv().is_ok() {
            std::process::exit(130);
        }
    }

    /// Serves a connection until either side ends it.
    fn connected(&self, stream: &TcpStream) {
        let idle = Idle::default();
        let id = self.count.replace(self.count.get() + 1);
        let tasklet = current().expect("a handler runs in a tasklet");
        self.connected.borrow_mut().insert(id, (tasklet, idle.clone()));
        let (reader, out) = (Reader::new(stream), Vec::new());
        let mut connection = Connection { site: self, id, stream, reader, out, idle };
        if let Err(Refusal::Status(status)) = connection.serve() {
            connection.refuse(status);
        }
    }

    fn answer(&self, request: &Request, body: Vec<u8>) -> Answer {
        let (kind, fields) = ("application/octet-stream", String::new());
        match (request.path.as_slice(), request.method) {
            (b"/json", Method::Get | Method::Head) => {
                Answer { status: 200, kind: "application/json", fields, body: Body::Text(HELLO) }
            }
            (b"/echo", Method::Post) => {
                Answer { status: 200, kind, fields, body: Body::Bytes(body) }
            }
            (b"/echo", _) => Answer { fields: "Allow: POST\r\n".into(), ..Answer::of(405) },
            _ => self.files.answer(request),
        }
    }
}

struct Connection<'a> {
    site: &'a Site,
    id: u64,
    stream: &'a TcpStream,
    reader: Reader<&'a TcpStream>,
    /// Answers that have not been sent.
    out: Vec<u8>,
    idle: Idle,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.site.connected.borrow_mut().remove(&self.id);
    }
}

impl Connection<'_> {
    fn serve(&mut self) -> Result<(), Refusal> {
        self.stream.set_nodelay(true)?;
        self.stream.set_read_timeout(Some(6 * self.site.patience))?;
        self.stream.set_write_timeout(Some(self.site.patience))?;
        while let Some(request) = self.next()? {
            let body = self.body(&request)?;
            let answer = self.site.answer(&request, body);
            let stays = request.keep_alive && !self.site.stopping.get();
            let with_body = request.method != Method::Head;
            answer.write(&mut self.out, self.site.date.borrow_mut().now(), stays, with_body);
            if let (Body::File(file, part), true) = (&answer.body, with_body) {
                self.send()?;
                self.send_file(file, part.start, part.end)?;
            }
            if self.out.len() > PIECE_BYTES {
                self.send()?;
            }
            if !stays {
                break;
            }
        }
        self.send()
    }

    /// The next request; `None` when none will come.
    fn next(&mut self) -> Result<Option<Request>, Refusal> {
        if !self.reader.is_empty()
            && let Some(request) = self.reader.read_head()?
        {
            return Ok(Some(request)); // others have come with the last one
        }
        self.send()?;
        if self.reader.is_empty() {
            if self.site.stopping.get() {
                return Ok(None);
            }
            self.idle.set(true);
            let came = self.reader.fill();
            self.idle.set(false);
            if !came.is_ok_and(|it| it > 0) {
                return Ok(None);
            }
            if let Some(request) = self.reader.read_head()? {
                return Ok(Some(request));
            }
        }
        within(self.site.patience, || self.reader.head()).value
    }

    fn body(&mut self, request: &Request) -> Result<Vec<u8>, Refusal> {
        if request.length == Length::Bytes(0) {
            return Ok(Vec::new());
        }
        if request.expects && self.reader.is_empty() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.send()?;
        within(3 * self.site.patience, || self.reader.body(request.length)).value
    }

    /// Sends the answers that have been written.
    fn send(&mut self) -> Result<(), Refusal> {
        if !self.out.is_empty() {
            let sent = send(self.stream, &self.out, self.site.patience);
            self.out.clear();
            sent.map_err(|_| Refusal::Gone)?;
        }
        Ok(())
    }

    fn send_file(&self, file: &Arc<File>, mut from: u64, to: u64) -> Result<(), Refusal> {
        while from < to {
            let file = file.clone();
            let length = (to - from).min(PIECE_BYTES as u64) as usize;
            let piece = blocking(move || {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, from).map(|()| piece)
            });
            // A file that has become shorter: the client will see that there is less than said.
            let piece = piece.map_err(io::Error::from).flatten().map_err(|_| Refusal::Gone)?;
            send(self.stream, &piece, self.site.patience).map_err(|_| Refusal::Gone)?;
            from += length as u64;
        }
        Ok(())
    }

    /// Says why there will be no more answers.
    fn refuse(&mut self, status: u16) {
        Answer::of(status).write(&mut self.out, self.site.date.borrow_mut().now(), false, true);
        if self.send().is_ok() && self.stream.shutdown(Shutdown::Write).is_ok() {
            // To close while something comes would take away from them what they have not read.
            let mut rest = self.stream.take(LINGER_BYTES as u64);
            within(self.site.patience, || io::copy(&mut rest, &mut io::sink())).value.ok();
        }
    }
}

/// Writes all of it, within `patience`.
fn send(mut stream: &TcpStream, bytes: &[u8], patience: Duration) -> io::Result<()> {
    let sent = stream.write(bytes)?;
    if sent < bytes.len() {
        within(patience, || stream.write_all(&bytes[sent..])).value?;
    }
    Ok(())
}
