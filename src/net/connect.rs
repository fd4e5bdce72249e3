//! Connecting without holding up the OS thread.
//!
//! Always: an attempt that was given up leaves no socket behind.
//! Attempt: `Begun -> Connected | Failed`, or given up.

use super::socket::{Socket, persist};
use crate::channel::channel;
use crate::descriptor::Descriptor;
use crate::error::Halt;
use crate::kernel::source::Side;
use crate::operation::Operation;
use crate::scope::scope;
use crate::time::{after, after_now};
use socket2::{Domain, Protocol, SockAddr, Type};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net as unix;
use std::panic::Location;
use std::time::Duration;

/// How long an address may take until the next one is tried beside it (RFC 8305, section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// A TCP socket that is connecting, or connected already.
fn begin(address: SocketAddr) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking();
    let socket = socket2::Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        other => other?,
    }
    Ok(socket.into())
}

/// Connects to `address`, within `limit` if that is given.
pub(super) fn tcp(
    address: SocketAddr,
    limit: Option<Duration>,
    at: &'static Location<'static>,
) -> io::Result<Socket<TcpStream>> {
    let limit = limit.map(after_now);
    let descriptor = Descriptor::of_nonblocking(begin(address)?);
    descriptor.perform(
        Side::Write,
        || limit,
        at,
        |it| {
            if let Some(error) = it.take_error()? {
                return Err(error);
            }
            // Connected as soon as it has a peer.
            match it.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                other => other.map(drop),
            }
        },
    )?;
    Ok(Socket::of(descriptor))
}

/// Connects to whichever of `addresses` answers first.
pub(super) fn tcp_any(
    addresses: Vec<SocketAddr>,
    at: &'static Location<'static>,
) -> io::Result<Socket<TcpStream>> {
    let mut addresses = by_turns(addresses).into_iter().peekable();
    let Some(first) = addresses.next() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no address"));
    };
    if addresses.peek().is_none() {
        return tcp(first, None, at);
    }
    let (tell, told) = channel();
    scope(|s| {
        let attempt = |address| {
            let tell = tell.clone();
            // Whoever comes second finds nobody who wants to know.
            s.spawn(move || drop(tell.send(tcp(address, None, at))));
        };
        attempt(first);
        let mut under_way = 1;
        loop {
            let next_is_due = addresses.peek().is_some();
            let late = after(HEAD_START).map(|it| it.map(|_| None)).only_if(next_is_due);
            let answer = told.receiving().map(|it| it.map(Some)).or(late).wait();
            let failed = match answer {
                Ok(None) => None,
                Ok(Some(Err(error))) => Some(error),
                Ok(Some(Ok(connected))) => {
                    s.cancel();
                    return Ok(connected);
                }
                Err(why) => {
                    s.cancel();
                    return Err(Halt::into(why));
                }
            };
            under_way -= u32::from(failed.is_some());
            match (addresses.next(), failed) {
                (Some(address), _) => {
                    attempt(address);
                    under_way += 1;
                }
                (None, Some(error)) if under_way == 0 => return Err(error),
                (None, _) => {}
            }
        }
    })
}

/// The addresses, the families taking turns, that of the first one first.
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let total = addresses.len();
    let (mut same, mut other): (Vec<_>, Vec<_>) =
        addresses.into_iter().rev().partition(|it| it.is_ipv6() == first);
    let mut turns = Vec::with_capacity(total);
    while turns.len() < total {
        turns.extend(same.pop());
        turns.extend(other.pop());
    }
    turns
}

/// Connects to a Unix socket.
#[track_caller]
pub(super) fn unix(address: &unix::SocketAddr) -> io::Result<Socket<unix::UnixStream>> {
    let address = raw(address)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    persist(None, || socket.connect(&address))?;
    Ok(Socket::of(Descriptor::of_nonblocking(socket.into())))
}

/// The address as the OS wants it.
fn raw(address: &unix::SocketAddr) -> io::Result<SockAddr> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    if let Some(path) = address.as_pathname() {
        return SockAddr::unix(path);
    }
    let Some(name) = address.as_abstract_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the address has no name"));
    };
    let name = [b"\0", name].concat();
    SockAddr::unix(std::ffi::OsStr::from_bytes(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_keep_their_order() {
        let six = |nth: u16| SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], nth));
        let four = |nth: u16| SocketAddr::from(([127, 0, 0, 1], nth));
        let mixed = vec![six(1), six(2), six(3), four(4), four(5)];
        assert_eq!(by_turns(mixed), [six(1), four(4), six(2), four(5), six(3)]);
        assert_eq!(by_turns(vec![four(1), six(2)]), [four(1), six(2)]);
        assert_eq!(by_turns(Vec::new()), []);
    }
}
