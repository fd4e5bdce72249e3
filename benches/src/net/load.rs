//! The other end of the network benchmarks: a process of its own, on a core of its own, that asks.
//!
//! Always: each active connection has one request under way, until all have been asked; answers
//! are awaited in turn, without sleeping, so the server's system calls wake nobody.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections, all of them open from the beginning to the end.
    pub open: usize,
    /// Those of them that ask.
    pub active: usize,
    /// What they say: 64 bytes that come back, or a request for the JSON route of `httpd`.
    pub http: bool,
}

const ECHO: &[u8] = &[b'x'; 64];
const HTTP: &[u8] = b"GET /json HTTP/1.1\r\nHost: bench\r\n\r\n";

impl Load {
    /// Starts the process. It prints `begin` when all are connected, begins when a byte comes, then
    /// prints the figures; it leaves when its input ends, so that no connection ends before.
    pub fn start(self, server: SocketAddr, count: u64) -> io::Result<Child> {
        let Load { open, active, http } = self;
        let mut command = Command::new(std::env::current_exe()?);
        let numbers = [open as u64, active as u64, http.into(), count].map(|it| it.to_string());
        command.args(["--load", &server.to_string()]).args(numbers);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    }
}

/// That process: `--load ADDRESS OPEN ACTIVE HTTP COUNT`.
pub fn command(arguments: &[String]) -> ExitCode {
    crate::run::pin_to_first_core();
    raise_limit();
    let parsed = |index: usize| arguments.get(index)?.parse::<u64>().ok();
    let address = arguments.first().and_then(|it| it.parse().ok());
    let (Some(address), Some(open), Some(active), Some(http), Some(count)) =
        (address, parsed(1), parsed(2), parsed(3), parsed(4))
    else {
        eprintln!("--load ADDRESS OPEN ACTIVE HTTP COUNT");
        return ExitCode::from(2);
    };
    let load = Load { open: open as usize, active: active as usize, http: http > 0 };
    match ask(address, load, count) {
        Ok(_connections) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks `count` times and prints how many nanoseconds each took; gives back the connections when
/// nobody needs them any more.
fn ask(server: SocketAddr, load: Load, count: u64) -> io::Result<Vec<TcpStream>> {
    let request = if load.http { HTTP } else { ECHO };
    // A server that makes its own listener is not there at once.
    let mut met = meet(server, load, request);
    for _ in 0..100_000 {
        if met.is_ok() {
            break;
        }
        std::thread::yield_now();
        met = meet(server, load, request);
    }
    let (open, length) = met?;
    let spread = load.open / load.active;
    let active: Vec<&TcpStream> = open.iter().step_by(spread).take(load.active).collect();
    active.iter().try_for_each(|it| it.set_nonblocking(true))?;
    println!("begin");
    io::stdin().read_exact(&mut [0])?;
    let (begin, mut answer) = (Instant::now(), vec![0; length]);
    let first = count.min(active.len() as u64);
    active[..first as usize].iter().copied().try_for_each(|mut it| it.write_all(request))?;
    for number in 0..count {
        let mut stream = active[number as usize % active.len()];
        read_exactly(stream, &mut answer)?;
        if number + first < count {
            stream.write_all(request)?;
        }
    }
    println!("ns={:.3}", begin.elapsed().as_nanos() as f64 / count as f64);
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(open)
}

/// Connects all, and asks each once, so that all are served; tells how long an answer is.
fn meet(server: SocketAddr, load: Load, request: &[u8]) -> io::Result<(Vec<TcpStream>, usize)> {
    let (mut open, mut length) = (Vec::with_capacity(load.open), 0);
    let mut answer = vec![0; 4_096];
    for _ in 0..load.open {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.write_all(request)?;
        length = if load.http { read_answer(&stream, &mut answer)? } else { request.len() };
        stream.read_exact(&mut answer[..if load.http { 0 } else { length }])?;
        open.push(stream);
    }
    Ok((open, length))
}

/// Reads an answer of HTTP; tells its length, which is that of all.
fn read_answer(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (mut known, invalid) = (0, || io::Error::from(ErrorKind::InvalidData));
    loop {
        known += stream.read(&mut buffer[known..])?;
        let text = str::from_utf8(&buffer[..known]).map_err(|_| invalid())?.to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let field = head.split("content-length: ").nth(1).and_then(|it| it.split("\r\n").next());
        let body: usize = field.and_then(|it| it.parse().ok()).ok_or_else(invalid)?;
        let length = head.len() + 4 + body;
        if length == known {
            return Ok(length);
        }
    }
}

/// Reads so many bytes, and asks until they are there.
fn read_exactly(mut stream: &TcpStream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Allows this process as many descriptors as it may have, and tells how many.
pub fn raise_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is ours to write.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(failed, 0, "the kernel does not say how many descriptors there may be");
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is initialised.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    limit.rlim_cur
}
