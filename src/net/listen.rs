//! Making listeners, with what std's `bind` does not let one say.
//!
//! Always: the address may be bound again at once after the listener has gone (SO_REUSEADDR).

use super::address::ToSocketAddrs;
use super::listener::{TcpListener, UnixListener};
use super::socket::Socket;
use crate::descriptor::Descriptor;
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Connections that may wait to be accepted, unless said otherwise; the OS may allow fewer.
const BACKLOG: i32 = 1_024;

/// Listens for TCP connections: [`Listen::new`] with nothing said.
///
/// # Errors
/// As [`Listen::tcp`].
///
/// ```
/// use tasklets::net::listen;
/// let listener = listen("127.0.0.1:0").unwrap();
/// assert_ne!(listener.local_addr().unwrap().port(), 0);
/// ```
#[track_caller]
pub fn listen(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    Listen::new().tcp(address)
}

/// How to listen.
///
/// ```
/// use tasklets::net::Listen;
/// // Two processes, or two threads, share the connections to one port.
/// let first = Listen::new().reuse_port(true).backlog(64).tcp("127.0.0.1:0").unwrap();
/// let address = first.local_addr().unwrap();
/// let second = Listen::new().reuse_port(true).tcp(address).unwrap();
/// assert_eq!(second.local_addr().unwrap(), address);
/// assert!(Listen::new().tcp(address).is_err()); // who does not share
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "it listens when it is told where"]
pub struct Listen {
    backlog: i32,
    reuse_port: bool,
    only_v6: Option<bool>,
}

impl Listen {
    /// A backlog of 1,024 connections, a port of its own.
    pub fn new() -> Listen {
        Listen { backlog: BACKLOG, reuse_port: false, only_v6: None }
    }

    /// Sets how many connections may wait to be accepted; the OS may allow fewer
    /// (`net.core.somaxconn`).
    pub fn backlog(mut self, connections: u32) -> Listen {
        self.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Sets whether others who say the same may listen there too (SO_REUSEPORT); the OS deals the
    /// connections out.
    pub fn reuse_port(mut self, on: bool) -> Listen {
        self.reuse_port = on;
        self
    }

    /// Sets whether a listener on an IPv6 address refuses IPv4; otherwise the OS decides.
    pub fn only_v6(mut self, on: bool) -> Listen {
        self.only_v6 = Some(on);
        self
    }

    /// Listens for TCP connections on the first of the addresses that allows it.
    ///
    /// # Errors
    /// The last address's; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is none; those of
    /// looking up a name, which needs a run.
    #[track_caller]
    pub fn tcp(self, address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "there is no address");
        for address in address.to_socket_addrs()? {
            match self.tcp_at(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn tcp_at(self, address: SocketAddr) -> io::Result<TcpListener> {
        let kind = Type::STREAM.nonblocking();
        let domain = Domain::for_address(address);
        let socket = socket2::Socket::new(domain, kind, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let (Some(only), true) = (self.only_v6, address.is_ipv6()) {
            socket.set_only_v6(only)?;
        }
        socket.bind(&address.into())?;
        socket.listen(self.backlog)?;
        Ok(TcpListener { socket: Socket::of(Descriptor::of_nonblocking(socket.into())) })
    }

    /// Listens for connections to the Unix socket that it makes at `path`.
    ///
    /// # Errors
    /// The OS's; [`AddrInUse`](io::ErrorKind::AddrInUse) if something is there, which may be what
    /// an earlier listener has left.
    pub fn unix(self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let address = socket2::SockAddr::unix(path)?;
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&address)?;
        socket.listen(self.backlog)?;
        Ok(UnixListener { socket: Socket::of(Descriptor::of_nonblocking(socket.into())) })
    }
}

impl Default for Listen {
    fn default() -> Listen {
        Listen::new()
    }
}
