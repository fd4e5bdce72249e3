//! Serving: a tasklet for each connection, so many at a time, until somebody says stop.
//!
//! Always: when serving has ended, no handler runs; a handler that panics ends its own connection
//! and nothing else; what is refused for want of descriptors is accepted later.
//! Server: `Accepting <-> Full`, `Accepting <-> Resting`, then `Stopping -> Ended`.

use super::listener::{TcpListener, UnixListener};
use super::stream::{TcpStream, UnixStream};
use crate::channel::{Never, Receiver, Sender, channel};
use crate::error::{complain, discard, panic_message};
use crate::kernel::running::Unwound;
use crate::kernel::stack;
use crate::operation::Operation;
use crate::scope::{Scope, scope};
use crate::select;
use crate::time::{after, within};
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net as unix;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

/// Connections at a time, unless said otherwise.
const LIMIT: usize = 1_000;

/// How long handlers may go on after serving was stopped, unless said otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// The shortest and the longest rest after an error that others have to mend.
const REST: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// What connections can be accepted from.
pub trait Accept {
    /// A connection.
    type Stream;
    /// Who is at the other end.
    type Peer: fmt::Debug;

    /// The operation of accepting one.
    fn accepting(&self) -> impl Operation<Output = io::Result<(Self::Stream, Self::Peer)>> + '_;
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    fn accepting(&self) -> impl Operation<Output = io::Result<(TcpStream, SocketAddr)>> + '_ {
        self.accepting()
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    type Peer = unix::SocketAddr;

    fn accepting(
        &self,
    ) -> impl Operation<Output = io::Result<(UnixStream, unix::SocketAddr)>> + '_ {
        self.accepting()
    }
}

/// Calls `handler` with each connection, in a tasklet of its own, at most `limit` at a time.
///
/// Goes on until the caller is stopped or the listener fails: [`Serve`] can be told to stop, and
/// says more. What `handler` returns is dropped.
///
/// # Errors
/// As [`Serve::run`].
///
/// # Panics
/// As [`Serve::run`].
///
/// ```
/// use std::io::{Read, Write};
/// use tasklets::net::{TcpListener, TcpStream, serve};
/// use tasklets::{run, spawn};
/// run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let address = listener.local_addr().unwrap();
///     spawn(move || serve(&listener, 100, |mut it, peer| write!(it, "hello {peer}")));
///     let mut client = TcpStream::connect(address).unwrap();
///     let mut text = String::new();
///     client.read_to_string(&mut text).unwrap();
///     assert_eq!(text, format!("hello {}", client.local_addr().unwrap()));
/// });
/// ```
#[doc(alias("StreamServer", "serve_forever"))]
pub fn serve<L: Accept, R>(
    listener: &L,
    limit: usize,
    handler: impl Fn(L::Stream, L::Peer) -> R,
) -> io::Result<Served> {
    let (_never, stop) = channel();
    Serve::new().limit(limit).run(listener, &stop, handler)
}

/// How to serve.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use tasklets::net::{Serve, TcpListener, TcpStream};
/// use tasklets::{Never, channel, run, select, spawn};
/// run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let address = listener.local_addr().unwrap();
///     let (stop, stopped) = channel::<Never>();
///     let server = spawn(move || {
///         let serve = Serve::new().limit(100).grace(Duration::from_secs(5));
///         serve.run(&listener, &stopped, |mut connection, _| {
///             connection.write_all(b"!").unwrap();
///             select! { // a handler that knows when to end
///                 op(connection.readable()) -> _ => {}
///                 recv(stopped) -> _ => {}
///             }
///         })
///     });
///     let mut client = TcpStream::connect(address).unwrap();
///     client.read_exact(&mut [0]).unwrap();
///     drop(stop);
///     assert_eq!(client.read(&mut [0]).unwrap(), 0); // its handler has ended
///     assert_eq!(server.join().unwrap().unwrap().cut, 0);
/// });
/// ```
#[derive(Clone)]
#[must_use = "it serves when it is run"]
pub struct Serve {
    limit: usize,
    grace: Duration,
    deadline: Option<Duration>,
    on_panic: Rc<dyn Fn(&str)>,
}

/// What came of serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections that were accepted.
    pub connections: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Handlers that had to be cancelled when the grace was over.
    pub cut: usize,
}

impl Serve {
    /// A thousand connections at a time, ten seconds of grace, no deadline.
    pub fn new() -> Serve {
        let on_panic = Rc::new(|text: &str| complain(format_args!("{text}")));
        Serve { limit: LIMIT, grace: GRACE, deadline: None, on_panic }
    }

    /// Sets how many connections are served at a time; others wait to be accepted.
    ///
    /// # Panics
    /// If that is zero.
    pub fn limit(mut self, connections: usize) -> Serve {
        assert!(connections > 0, "a server for no connections");
        self.limit = connections;
        self
    }

    /// Sets how long handlers may go on after serving was stopped; then they are cancelled.
    pub fn grace(mut self, grace: Duration) -> Serve {
        self.grace = grace;
        self
    }

    /// Sets how long each handler may take: its operations then fail as [`within`] says.
    pub fn deadline(mut self, deadline: Duration) -> Serve {
        self.deadline = Some(deadline);
        self
    }

    /// Sets what is done with the text of a handler's panic, instead of writing it to stderr.
    ///
    /// It is called in the tasklet of that handler, so it may wait. If it panics itself both texts
    /// are written to stderr, and serving goes on.
    pub fn on_panic(mut self, report: impl Fn(&str) + 'static) -> Serve {
        self.on_panic = Rc::new(report);
        self
    }

    /// Serves until every sender of `stop` is gone, then until the handlers have ended.
    ///
    /// While the process has no descriptor or memory left for a connection, it rests, for 5 ms and
    /// longer up to a second, and tries again; so it does if a connection was gone before it was
    /// accepted. Handlers that want to know of the end have a clone of `stop`. Connections that
    /// nobody has accepted by then are reset, by the OS, when the listener is dropped.
    ///
    /// # Errors
    /// That of the listener; that of a [`Halt`](crate::Halt) if the caller is stopped. Then, too,
    /// the handlers have ended; when the caller is stopped, without grace.
    ///
    /// # Panics
    /// Where waiting is not possible.
    pub fn run<L: Accept, R>(
        &self,
        listener: &L,
        stop: &Receiver<Never>,
        handler: impl Fn(L::Stream, L::Peer) -> R,
    ) -> io::Result<Served> {
        let (freed, free) = channel();
        let server = Server { serve: self, handler: &handler, freed, counts: Cell::default() };
        let active = Cell::new(0);
        let ended = scope(|s| {
            let ended = server.accept_all(s, listener, stop, &free, &active);
            (ended, s.shutdown(self.grace).len())
        });
        let (ended, cut) = ended;
        ended.map(|()| Served { cut, ..server.counts.get() })
    }
}

/// One that runs.
struct Server<'a, F> {
    serve: &'a Serve,
    handler: &'a F,
    /// Told of the end of a handler, if somebody waits for room.
    freed: Sender<()>,
    counts: Cell<Served>,
}

/// The place of a connection among those that are served, until this is dropped: also when the
/// tasklet has to be unwound.
struct Place<'a> {
    active: &'a Cell<usize>,
    freed: &'a Sender<()>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.active.set(self.active.get() - 1);
        drop(self.freed.try_send(()));
    }
}

impl<F> Server<'_, F> {
    fn accept_all<'s, L: Accept, R>(
        &'s self,
        s: Scope<'s, '_>,
        listener: &L,
        stop: &Receiver<Never>,
        free: &Receiver<()>,
        active: &'s Cell<usize>,
    ) -> io::Result<()>
    where
        F: Fn(L::Stream, L::Peer) -> R,
        L::Stream: 's,
        L::Peer: 's,
    {
        let mut rest = REST[0];
        loop {
            let full = active.get() >= self.serve.limit;
            let accepted = select! {
                op(listener.accepting().only_if(!full)) -> it => it,
                recv(free) -> it if full => { it?; continue }
                recv(stop) -> it => return ended(it),
            };
            match accepted {
                Ok((stream, peer)) => {
                    rest = REST[0];
                    self.count(|it| it.connections += 1);
                    active.set(active.get() + 1);
                    s.spawn(move || self.handle(stream, peer, active));
                }
                Err(error) if is_of_connection(&error) || is_want(&error) => {
                    select! {
                        op(after(rest)) -> it => it.map(|_| ())?,
                        recv(stop) -> it => return ended(it),
                    }
                    rest = (2 * rest).min(REST[1]);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn handle<S, P: fmt::Debug, R>(&self, stream: S, peer: P, active: &Cell<usize>)
    where
        F: Fn(S, P) -> R,
    {
        let _place = Place { active, freed: &self.freed };
        let name = format!("{peer:?}");
        let handled = catch_unwind(AssertUnwindSafe(|| match self.serve.deadline {
            None => drop((self.handler)(stream, peer)),
            Some(deadline) => drop(within(deadline, || (self.handler)(stream, peer))),
        }));
        if let Err(panic) = handled {
            self.report(&name, panic);
        }
    }

    fn report(&self, peer: &str, panic: Box<dyn Any + Send>) {
        if panic.is::<Unwound>() || stack::is_cancel(&*panic) {
            resume_unwind(panic); // the tasklet is being ended
        }
        self.count(|it| it.panics += 1);
        let text = panic_message(&*panic);
        let text = format!("the handler of {peer} panicked: {text}");
        if let Err(hook) = catch_unwind(AssertUnwindSafe(|| (self.serve.on_panic)(&text))) {
            if hook.is::<Unwound>() || stack::is_cancel(&*hook) {
                resume_unwind(hook);
            }
            complain(format_args!("{text}; its report panicked: {}", panic_message(&*hook)));
            discard(hook);
        }
        discard(panic);
    }

    fn count(&self, change: impl FnOnce(&mut Served)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

/// Whether serving ends because it was told to.
fn ended(stop: Result<Never, crate::error::Halt>) -> io::Result<()> {
    match stop {
        Ok(never) => match never {},
        Err(crate::error::Halt::Closed) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

/// Whether it is about a connection that has failed before it was accepted: see accept(2).
fn is_of_connection(error: &io::Error) -> bool {
    let failed = [
        libc::ECONNABORTED,
        libc::ENETDOWN,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
    ];
    error.raw_os_error().is_some_and(|it| failed.contains(&it))
}

/// Whether the process or the machine has not enough of something, which may change.
fn is_want(error: &io::Error) -> bool {
    let wants = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|it| wants.contains(&it))
}

impl Default for Serve {
    fn default() -> Serve {
        Serve::new()
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("limit", &self.limit)
            .field("grace", &self.grace)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
