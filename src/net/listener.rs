//! Listeners: TCP and Unix.
//!
//! Always: each connection is accepted once, whoever asks; what a listener waits for is a
//! connection, not a stretch of time. Who goes on after an error that others have to mend rests.

use super::address::ToSocketAddrs;
use super::listen::Listen;
use super::socket::{Socket, common, options};
use super::stream::{TcpStream, UnixStream};
use crate::descriptor::Ready;
use crate::kernel::source::Side;
use crate::operation::Operation;
use crate::time::sleep;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix;
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

/// The shortest and the longest rest after an error that others have to mend.
const REST: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// A TCP socket that listens: [`std::net::TcpListener`] for tasklets.
///
/// ```
/// use tasklets::net::{TcpListener, TcpStream};
/// use tasklets::{run, spawn};
/// run(|| {
///     let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
///     let address = listener.local_addr().unwrap();
///     let client = spawn(move || TcpStream::connect(address).unwrap().local_addr().unwrap());
///     let (_stream, peer) = listener.accept().unwrap(); // the client runs meanwhile
///     assert_eq!(peer, client.join().unwrap());
/// });
/// ```
pub struct TcpListener {
    pub(super) socket: Socket<std::net::TcpListener>,
}

impl TcpListener {
    /// Listens on `address`; port 0 lets the OS choose. See [`Listen`] for more to say.
    ///
    /// # Errors
    /// As [`Listen::tcp`].
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<TcpListener> {
        Listen::new().tcp(address)
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// The OS's, such as that of too many open files: the connection stays where it is, and a later
    /// call finds it; that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accept = |it: &std::net::TcpListener| it.accept();
        let (stream, peer) = self.socket.perform(Side::Read, Location::caller(), accept)?;
        Ok((TcpStream::from_std(stream)?, peer))
    }

    /// The operation that [`accept`](Self::accept) waits for: an arm that accepts.
    ///
    /// If it loses, it has accepted nothing. Its output has the errors of [`accept`](Self::accept).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{after, net::TcpListener, run, select};
    /// run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     select! {
    ///         op(listener.accepting()) -> connection => panic!("{connection:?}"),
    ///         op(after(Duration::from_millis(1))) -> _ => {} // nobody came
    ///     }
    /// });
    /// ```
    pub fn accepting(&self) -> impl Operation<Output = io::Result<(TcpStream, SocketAddr)>> + '_ {
        self.socket.descriptor.reading_with(|it| {
            let (stream, peer) = it.accept()?;
            Ok((TcpStream::from_std(stream)?, peer))
        })
    }

    /// The connections, one after the other; ends never.
    pub fn incoming(&self) -> Incoming<'_, TcpListener> {
        Incoming::new(self)
    }
}

common!(TcpListener, std::net::TcpListener);
options! { TcpListener:
    "The address it listens on." local_addr() -> SocketAddr;
    "Sets how many hops a packet may make." set_ttl(ttl: u32) -> ();
    "How many hops a packet may make." ttl() -> u32;
}

/// A Unix socket that listens: [`std::os::unix::net::UnixListener`] for tasklets.
///
/// The file stays when the listener goes, as std's does.
///
/// ```
/// use tasklets::net::{UnixListener, UnixStream};
/// use tasklets::run;
/// let path = std::env::temp_dir().join(format!("tasklets-doc-{}", std::process::id()));
/// run(|| {
///     let listener = UnixListener::bind(&path).unwrap();
///     let _client = UnixStream::connect(&path).unwrap();
///     let (_stream, _) = listener.accept().unwrap();
/// });
/// std::fs::remove_file(path).unwrap();
/// ```
pub struct UnixListener {
    pub(super) socket: Socket<unix::UnixListener>,
}

impl UnixListener {
    /// Listens at `path`, where it makes a socket.
    ///
    /// # Errors
    /// As [`Listen::unix`].
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        Listen::new().unix(path)
    }

    /// Listens at `address`.
    ///
    /// # Errors
    /// The OS's.
    pub fn bind_addr(address: &unix::SocketAddr) -> io::Result<UnixListener> {
        UnixListener::from_std(unix::UnixListener::bind_addr(address)?)
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, unix::SocketAddr)> {
        let accept = |it: &unix::UnixListener| it.accept();
        let (stream, peer) = self.socket.perform(Side::Read, Location::caller(), accept)?;
        Ok((UnixStream::from_std(stream)?, peer))
    }

    /// The operation that [`accept`](Self::accept) waits for.
    ///
    /// If it loses, it has accepted nothing. Its output has the errors of [`accept`](Self::accept).
    pub fn accepting(
        &self,
    ) -> impl Operation<Output = io::Result<(UnixStream, unix::SocketAddr)>> + '_ {
        self.socket.descriptor.reading_with(|it| {
            let (stream, peer) = it.accept()?;
            Ok((UnixStream::from_std(stream)?, peer))
        })
    }

    /// The connections, one after the other; ends never.
    pub fn incoming(&self) -> Incoming<'_, UnixListener> {
        Incoming::new(self)
    }
}

common!(UnixListener, unix::UnixListener);
options! { UnixListener:
    "The address it listens on." local_addr() -> unix::SocketAddr;
}

/// The connections of a listener, each accepted when asked for.
///
/// It does not end by itself: an error is one item, and the next call tries again. If it was for
/// want of descriptors or memory that call rests first, for 5 ms and, while that goes on, longer
/// up to a second. A loop that goes on after [`Halt::Cancelled`](crate::Halt::Cancelled) is unwound
/// some time.
#[derive(Debug)]
#[must_use = "connections are accepted when they are asked for"]
pub struct Incoming<'a, L> {
    listener: &'a L,
    rest: Rest,
    /// The last call ended for want of something.
    wants: bool,
}

impl<'a, L> Incoming<'a, L> {
    fn new(listener: &'a L) -> Incoming<'a, L> {
        Incoming { listener, rest: Rest::new(), wants: false }
    }

    /// What `accept` gives, after a rest if that is needed.
    #[track_caller]
    fn accept<T>(&mut self, accept: impl FnOnce(&L) -> io::Result<T>) -> io::Result<T> {
        if std::mem::take(&mut self.wants) {
            sleep(self.rest.next())?;
        }
        let accepted = accept(self.listener);
        match &accepted {
            Ok(_) => self.rest = Rest::new(),
            Err(error) => self.wants = is_want(error),
        }
        accepted
    }
}

/// Rests that get longer.
#[derive(Debug)]
pub(super) struct Rest(Duration);

impl Rest {
    pub(super) fn new() -> Rest {
        Rest(REST[0])
    }

    pub(super) fn next(&mut self) -> Duration {
        let longer = (2 * self.0).min(REST[1]);
        std::mem::replace(&mut self.0, longer)
    }
}

/// Whether the process or the machine has not enough of something, which may change.
pub(super) fn is_want(error: &io::Error) -> bool {
    let wants = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|it| wants.contains(&it))
}

impl Iterator for Incoming<'_, TcpListener> {
    type Item = io::Result<TcpStream>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.accept(|it| it.accept()).map(|(stream, _)| stream))
    }
}

impl Iterator for Incoming<'_, UnixListener> {
    type Item = io::Result<UnixStream>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.accept(|it| it.accept()).map(|(stream, _)| stream))
    }
}

impl<'a> IntoIterator for &'a TcpListener {
    type Item = io::Result<TcpStream>;
    type IntoIter = Incoming<'a, TcpListener>;

    fn into_iter(self) -> Incoming<'a, TcpListener> {
        self.incoming()
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a, UnixListener>;

    fn into_iter(self) -> Incoming<'a, UnixListener> {
        self.incoming()
    }
}
