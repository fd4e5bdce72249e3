//! Streams: TCP and Unix.
//!
//! Always: `Read` and `Write` are there by value and by reference, so that one tasklet may read
//! while another writes, and code for std's streams works unchanged. Stream: as the OS's.

use super::address::ToSocketAddrs;
use super::connect;
use super::socket::{Socket, checked, common, limits, options};
use crate::descriptor::Ready;
use crate::kernel::source::Side;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix;
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

/// A TCP connection: [`std::net::TcpStream`] for tasklets.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use tasklets::net::{TcpListener, TcpStream};
/// use tasklets::{run, scope};
/// run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
///     let (server, _) = listener.accept().unwrap();
///     scope(|s| {
///         s.spawn(|| (&server).write_all(&[1; 100_000]).unwrap()); // one writes...
///         s.spawn(|| {
///             let mut answer = [0; 3];
///             (&server).read_exact(&mut answer).unwrap(); // ... while another reads
///             assert_eq!(&answer, b"yes");
///         });
///         client.read_exact(&mut [0; 100_000]).unwrap();
///         client.write_all(b"yes").unwrap();
///     });
///     client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
///     assert_eq!(client.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
/// });
/// ```
#[doc(alias("GreenSocket", "socket"))]
pub struct TcpStream {
    pub(crate) socket: Socket<std::net::TcpStream>,
}

impl TcpStream {
    /// Connects to `address`, of which names are looked up first.
    ///
    /// If there are several addresses, the next one is tried when one has failed or has not
    /// answered for 250 ms, while the earlier ones go on; IPv6 and IPv4 take turns. The first one
    /// that answers wins, the others are given up. (Happy Eyeballs: RFC 8305, Schinazi and Pauly,
    /// 2017.)
    ///
    /// # Errors
    /// That of the address that failed last; [`InvalidInput`](io::ErrorKind::InvalidInput) if there
    /// is none; those of the lookup; that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(address: A) -> io::Result<TcpStream> {
        let at = Location::caller();
        let addresses = address.to_socket_addrs()?;
        Ok(TcpStream { socket: connect::tcp_any(addresses.collect(), at)? })
    }

    /// Connects to `address` within `limit`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); [`TimedOut`](io::ErrorKind::TimedOut) after `limit`;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if that is zero.
    #[track_caller]
    pub fn connect_timeout(address: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let at = Location::caller();
        Ok(TcpStream { socket: connect::tcp(*address, checked(Some(limit))?, at)? })
    }

    /// Reads without taking what it reads.
    ///
    /// # Errors
    /// The OS's, and that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.perform(Side::Read, Location::caller(), |it| it.peek(buffer))
    }
}

common!(TcpStream, std::net::TcpStream);
limits!(TcpStream);
options! { TcpStream:
    "The address of the other end." peer_addr() -> SocketAddr;
    "The address of this end." local_addr() -> SocketAddr;
    "Ends reading, writing, or both; who waits for that is woken." shutdown(how: Shutdown) -> ();
    "Sets whether small writes are sent at once (TCP_NODELAY)." set_nodelay(on: bool) -> ();
    "Whether small writes are sent at once." nodelay() -> bool;
    "Sets how many hops a packet may make." set_ttl(ttl: u32) -> ();
    "How many hops a packet may make." ttl() -> u32;
}

/// A Unix stream socket: [`std::os::unix::net::UnixStream`] for tasklets.
///
/// ```
/// use std::io::{Read, Write};
/// use tasklets::net::{Shutdown, UnixStream};
/// use tasklets::{run, spawn};
/// run(|| {
///     let (mut near, mut far) = UnixStream::pair().unwrap();
///     let echo = spawn(move || std::io::copy(&mut far.try_clone().unwrap(), &mut far));
///     near.write_all(b"over there").unwrap();
///     near.shutdown(Shutdown::Write).unwrap();
///     let mut back = String::new();
///     echo.join().unwrap().unwrap();
///     near.read_to_string(&mut back).unwrap();
///     assert_eq!(back, "over there");
/// });
/// ```
pub struct UnixStream {
    pub(crate) socket: Socket<unix::UnixStream>,
}

impl UnixStream {
    /// Connects to the socket at `path`; waits while its backlog is full.
    ///
    /// # Errors
    /// The OS's, and that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        let address = unix::SocketAddr::from_pathname(path)?;
        Ok(UnixStream { socket: connect::unix(&address)? })
    }

    /// Connects to the socket with this address; waits while its backlog is full.
    ///
    /// # Errors
    /// The OS's, and that of a [`Halt`](crate::Halt).
    #[track_caller]
    pub fn connect_addr(address: &unix::SocketAddr) -> io::Result<UnixStream> {
        Ok(UnixStream { socket: connect::unix(address)? })
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    /// The OS's.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (near, far) = unix::UnixStream::pair()?;
        Ok((UnixStream::from_std(near)?, UnixStream::from_std(far)?))
    }
}

common!(UnixStream, unix::UnixStream);
limits!(UnixStream);
options! { UnixStream:
    "The address of the other end." peer_addr() -> unix::SocketAddr;
    "The address of this end." local_addr() -> unix::SocketAddr;
    "Ends reading, writing, or both; who waits for that is woken." shutdown(how: Shutdown) -> ();
}

macro_rules! streams {
    ($($name:ident $transfer:ident)*) => {
        $(
            impl Read for &$name {
                #[track_caller]
                #[inline]
                fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                    let (at, want) = (Location::caller(), buffer.len());
                    self.socket.$transfer(Side::Read, at, want, |mut it| it.read(buffer))
                }

                #[track_caller]
                fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                    let (at, want) = (Location::caller(), buffers.iter().map(|it| it.len()).sum());
                    self.socket.$transfer(Side::Read, at, want, |mut it| it.read_vectored(buffers))
                }
            }

            impl Write for &$name {
                #[track_caller]
                #[inline]
                fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                    let (at, want) = (Location::caller(), buffer.len());
                    self.socket.transfer(Side::Write, at, want, |mut it| it.write(buffer))
                }

                #[track_caller]
                fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                    let (at, want) = (Location::caller(), buffers.iter().map(|it| it.len()).sum());
                    self.socket.transfer(Side::Write, at, want, |mut it| it.write_vectored(buffers))
                }

                /// Does nothing: nothing is held back.
                fn flush(&mut self) -> io::Result<()> {
                    Ok(())
                }
            }

            impl Read for $name {
                #[track_caller]
                #[inline]
                fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                    (&*self).read(buffer)
                }

                #[track_caller]
                fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                    (&*self).read_vectored(buffers)
                }
            }

            impl Write for $name {
                #[track_caller]
                #[inline]
                fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                    (&*self).write(buffer)
                }

                #[track_caller]
                fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                    (&*self).write_vectored(buffers)
                }

                fn flush(&mut self) -> io::Result<()> {
                    Ok(())
                }
            }
        )*
    };
}

// A read of a Unix stream stops where descriptors came along, though more may have come.
streams! { TcpStream transfer UnixStream transfer_some }
