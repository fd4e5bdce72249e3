//! Datagrams: UDP and Unix.
//!
//! Always: a call sends or receives one datagram, whole, or none.

use super::address::ToSocketAddrs;
use super::socket::{Socket, checked, common, limits, options, persist};
use crate::descriptor::Ready;
use crate::kernel::source::Side;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix;
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

/// A UDP socket: [`std::net::UdpSocket`] for tasklets.
///
/// ```
/// use tasklets::{net::UdpSocket, run, spawn};
/// run(|| {
///     let server = UdpSocket::bind("127.0.0.1:0").unwrap();
///     let address = server.local_addr().unwrap();
///     spawn(move || {
///         let mut buffer = [0; 64];
///         let (length, peer) = server.recv_from(&mut buffer).unwrap();
///         server.send_to(&buffer[..length], peer).unwrap();
///     });
///     let client = UdpSocket::bind("127.0.0.1:0").unwrap();
///     client.connect(address).unwrap();
///     client.send(b"marco").unwrap();
///     let mut buffer = [0; 64];
///     assert_eq!(client.recv(&mut buffer).unwrap(), 5);
/// });
/// ```
pub struct UdpSocket {
    socket: Socket<std::net::UdpSocket>,
}

impl UdpSocket {
    /// Makes a socket that receives at the first of the addresses that allows it.
    ///
    /// # Errors
    /// The last address's; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is none; those of
    /// looking up a name, which needs a run.
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<UdpSocket> {
        let addresses: Vec<_> = address.to_socket_addrs()?.collect();
        UdpSocket::from_std(std::net::UdpSocket::bind(&*addresses)?)
    }

    /// Sets where [`send`](Self::send) sends to, and whose datagrams are received.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(&self, address: A) -> io::Result<()> {
        let addresses: Vec<_> = address.to_socket_addrs()?.collect();
        self.socket.std().connect(&*addresses)
    }

    /// Sends a datagram to the first of the addresses.
    ///
    /// # Errors
    /// The OS's; as [`bind`](Self::bind); that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, datagram: &[u8], address: A) -> io::Result<usize> {
        let at = Location::caller();
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "there is no address");
        let address = address.to_socket_addrs()?.next().ok_or_else(none)?;
        self.socket.perform(Side::Write, at, |it| it.send_to(datagram, address))
    }

    /// Waits for a datagram; what does not fit into the buffer is lost. Tells its sender.
    ///
    /// # Errors
    /// The OS's, and that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.perform(Side::Read, Location::caller(), |it| it.recv_from(buffer))
    }

    /// Waits for a datagram without taking it.
    ///
    /// # Errors
    /// As [`recv_from`](Self::recv_from).
    #[track_caller]
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.perform(Side::Read, Location::caller(), |it| it.peek_from(buffer))
    }
}

common!(UdpSocket, std::net::UdpSocket);
limits!(UdpSocket);
options! { UdpSocket:
    "The address that it is connected to." peer_addr() -> SocketAddr;
    "The address that it receives at." local_addr() -> SocketAddr;
    "Sets whether it may send to all." set_broadcast(on: bool) -> ();
    "Whether it may send to all." broadcast() -> bool;
    "Sets how many hops a packet may make." set_ttl(ttl: u32) -> ();
    "How many hops a packet may make." ttl() -> u32;
    "Sets whether this host gets its own multicasts." set_multicast_loop_v4(on: bool) -> ();
    "Whether this host gets its own multicasts." multicast_loop_v4() -> bool;
    "Sets how many hops a multicast may make." set_multicast_ttl_v4(ttl: u32) -> ();
    "How many hops a multicast may make." multicast_ttl_v4() -> u32;
    "Sets whether this host gets its own IPv6 multicasts." set_multicast_loop_v6(on: bool) -> ();
    "Whether this host gets its own IPv6 multicasts." multicast_loop_v6() -> bool;
    "Joins a group at an interface."
        join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    "Leaves a group at an interface."
        leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    "Joins an IPv6 group at an interface."
        join_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    "Leaves an IPv6 group at an interface."
        leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
}

/// A Unix datagram socket: [`std::os::unix::net::UnixDatagram`] for tasklets.
///
/// ```
/// use tasklets::{net::UnixDatagram, run, spawn};
/// run(|| {
///     let (near, far) = UnixDatagram::pair().unwrap();
///     spawn(move || far.send(b"whole").unwrap());
///     let mut buffer = [0; 16];
///     assert_eq!(near.recv(&mut buffer).unwrap(), 5);
/// });
/// ```
pub struct UnixDatagram {
    socket: Socket<unix::UnixDatagram>,
}

impl UnixDatagram {
    /// Makes a socket at `path`.
    ///
    /// # Errors
    /// The OS's.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(unix::UnixDatagram::bind(path)?)
    }

    /// Makes a socket at `address`.
    ///
    /// # Errors
    /// The OS's.
    pub fn bind_addr(address: &unix::SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(unix::UnixDatagram::bind_addr(address)?)
    }

    /// Makes a socket without an address.
    ///
    /// # Errors
    /// The OS's.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(unix::UnixDatagram::unbound()?)
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    /// The OS's.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (near, far) = unix::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(near)?, UnixDatagram::from_std(far)?))
    }

    /// Sets where [`send`](Self::send) sends to.
    ///
    /// # Errors
    /// The OS's.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.socket.std().connect(path)
    }

    /// Sends a datagram to the socket at `path`; waits while that one is full.
    ///
    /// # Errors
    /// The OS's, and that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, datagram: &[u8], path: P) -> io::Result<usize> {
        let (std, path) = (self.socket.std(), path.as_ref());
        persist(self.socket.write_limit.get(), || std.send_to(datagram, path))
    }

    /// Sends a datagram to the socket with this address; waits while that one is full.
    ///
    /// # Errors
    /// The OS's, and that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn send_to_addr(&self, datagram: &[u8], address: &unix::SocketAddr) -> io::Result<usize> {
        let std = self.socket.std();
        persist(self.socket.write_limit.get(), || std.send_to_addr(datagram, address))
    }

    /// Waits for a datagram; what does not fit into the buffer is lost. Tells its sender.
    ///
    /// # Errors
    /// The OS's, and that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, unix::SocketAddr)> {
        self.socket.perform(Side::Read, Location::caller(), |it| it.recv_from(buffer))
    }
}

common!(UnixDatagram, unix::UnixDatagram);
limits!(UnixDatagram);
options! { UnixDatagram:
    "The address that it is connected to." peer_addr() -> unix::SocketAddr;
    "The address that it receives at." local_addr() -> unix::SocketAddr;
    "Sets where datagrams are sent to." connect_addr(address: &unix::SocketAddr) -> ();
    "Ends reading, writing, or both; who waits for that is woken." shutdown(how: Shutdown) -> ();
}

macro_rules! connected {
    ($($name:ident)*) => {
        $(
            impl $name {
                /// Sends a datagram to the socket that this one is connected to.
                ///
                /// # Errors
                /// The OS's, and that of a [`Halt`](crate::Halt).
                #[track_caller]
                pub fn send(&self, datagram: &[u8]) -> io::Result<usize> {
                    self.socket.perform(Side::Write, Location::caller(), |it| it.send(datagram))
                }

                /// Waits for a datagram; what does not fit into the buffer is lost.
                ///
                /// # Errors
                /// The OS's, and that of a [`Halt`](crate::Halt).
                #[track_caller]
                pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                    self.socket.perform(Side::Read, Location::caller(), |it| it.recv(buffer))
                }
            }
        )*
    };
}

connected! { UdpSocket UnixDatagram }

impl UdpSocket {
    /// Waits for a datagram of the socket that this one is connected to, without taking it.
    ///
    /// # Errors
    /// The OS's, and that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.perform(Side::Read, Location::caller(), |it| it.peek(buffer))
    }
}
