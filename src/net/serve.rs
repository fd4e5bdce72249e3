//! Serving: a tasklet for each connection, so many at a time, until somebody says stop.
//!
//! Always: when serving has ended, no handler runs; a handler that panics ends its own connection
//! and nothing else; what is refused for want of descriptors is accepted later, and what there is
//! no tasklet for is handled later.
//! Server: `Accepting <-> Full`, `Accepting <-> Resting`, then `Stopping -> Ended`.

use super::listener::{Rest, TcpListener, UnixListener, is_want};
use super::stream::{TcpStream, UnixStream};
use crate::channel::{Never, Receiver, Sender, channel};
use crate::error::{Halt, complain, discard, panic_message};
use crate::kernel::running::Unwound;
use crate::kernel::stack;
use crate::operation::Operation;
use crate::scope::{Scope, try_scope};
use crate::select;
use crate::tasklet::Builder;
use crate::time::{after, within};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
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
/// If `limit` is zero; as [`Serve::run`].
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
    /// longer up to a second, or until a handler has ended, and tries again; so it does if a
    /// connection was gone before it was accepted, and if there is no tasklet for one that was.
    /// Handlers that want to know of the end have a clone of `stop`. Connections that
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
        let awaited = Cell::new(Awaited::Any);
        let room = Room { active: Cell::new(0), unhandled: RefCell::default(), freed, awaited };
        let server = Server { serve: self, handler: &handler, room, counts: Cell::default() };
        let mut ended = None;
        let handled = try_scope(|s| {
            let accepted = server.accept_all(s, listener, stop, &free);
            ended = Some((accepted, s.shutdown(self.grace).len()));
        });
        // Handlers do not fail: these are tasklets that got no stack. Others took their places.
        handled.unwrap_or_else(|error| error.failures.into_iter().for_each(drop));
        let (accepted, cut) = ended.expect("a scope is left when its body has returned");
        accepted.map(|()| Served { cut, ..server.counts.get() })
    }
}

/// One that runs.
struct Server<'a, F, C> {
    serve: &'a Serve,
    handler: &'a F,
    room: Room<C>,
    counts: Cell<Served>,
}

/// Where connections are while they are served.
struct Room<C> {
    active: Cell<usize>,
    /// Accepted, but no tasklet could be made for them, or theirs got no stack.
    unhandled: RefCell<VecDeque<C>>,
    freed: Sender<()>,
    /// What `freed` is told of.
    awaited: Cell<Awaited>,
}

/// What the server waits for beside connections.
#[derive(Clone, Copy)]
enum Awaited {
    /// There is room for others: for one that comes back unhandled.
    Unhandled,
    /// It rests: for a handler to end.
    Ended,
    /// It is full: for either.
    Any,
}

/// The place of a connection among those that are served, until this is dropped: also when the
/// tasklet has to be unwound, or never begins.
struct Place<'a, C> {
    room: &'a Room<C>,
    /// Until its handler begins.
    connection: Option<C>,
}

impl<C> Drop for Place<'_, C> {
    fn drop(&mut self) {
        let is_awaited = match self.room.awaited.get() {
            Awaited::Unhandled => self.connection.is_some(),
            Awaited::Ended => self.connection.is_none(),
            Awaited::Any => true,
        };
        self.room.unhandled.borrow_mut().extend(self.connection.take());
        self.room.active.set(self.room.active.get() - 1);
        if is_awaited {
            drop(self.room.freed.try_send(()));
        }
    }
}

impl<F, S, P: fmt::Debug> Server<'_, F, (S, P)> {
    fn accept_all<'s, L, R>(
        &'s self,
        s: Scope<'s, '_>,
        listener: &L,
        stop: &Receiver<Never>,
        free: &Receiver<()>,
    ) -> io::Result<()>
    where
        L: Accept<Stream = S, Peer = P>,
        F: Fn(S, P) -> R,
    {
        let mut rest = Rest::new();
        loop {
            let unhandled = !self.room.unhandled.borrow().is_empty();
            if unhandled {
                if !self.rest(&mut rest, stop, free)? {
                    return Ok(());
                }
                let next = self.room.unhandled.borrow_mut().pop_front();
                next.into_iter().for_each(|it| self.start(s, it));
                continue;
            }
            let full = self.room.active.get() >= self.serve.limit;
            self.room.awaited.set(if full { Awaited::Any } else { Awaited::Unhandled });
            let accepted = select! {
                op(listener.accepting().only_if(!full)) -> it => it,
                recv(free) -> it => { it?; continue }
                recv(stop) -> it => return ended(it),
            };
            match accepted {
                Ok(connection) => {
                    rest = Rest::new();
                    self.count(|it| it.connections += 1);
                    self.start(s, connection);
                }
                Err(error) if is_of_connection(&error) || is_want(&error) => {
                    if !self.rest(&mut rest, stop, free)? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Rests, longer each time, or until a handler ends; false if serving is to end.
    fn rest(
        &self,
        rest: &mut Rest,
        stop: &Receiver<Never>,
        free: &Receiver<()>,
    ) -> io::Result<bool> {
        self.room.awaited.set(Awaited::Ended);
        select! {
            op(after(rest.next())) -> it => it.map(|_| ())?,
            recv(free) -> it => it?,
            recv(stop) -> it => return ended(it).map(|()| false),
        }
        Ok(true)
    }

    /// Makes a tasklet for a connection, which is unhandled if there can be none.
    fn start<'s, R>(&'s self, s: Scope<'s, '_>, connection: (S, P))
    where
        F: Fn(S, P) -> R,
    {
        self.room.active.set(self.room.active.get() + 1);
        let place = Place { room: &self.room, connection: Some(connection) };
        drop(s.spawn_with(Builder::new(), move || self.handle(place)));
    }

    fn handle<R>(&self, mut place: Place<'_, (S, P)>)
    where
        F: Fn(S, P) -> R,
    {
        let (stream, peer) = place.connection.take().expect("it is there until it is handled");
        let mut name = String::new();
        let handled = catch_unwind(AssertUnwindSafe(|| {
            name = format!("{peer:?}");
            match self.serve.deadline {
                None => drop((self.handler)(stream, peer)),
                Some(deadline) => drop(within(deadline, || (self.handler)(stream, peer))),
            }
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
fn ended(stop: Result<Never, Halt>) -> io::Result<()> {
    match stop {
        Ok(never) => match never {},
        Err(Halt::Closed) => Ok(()),
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
