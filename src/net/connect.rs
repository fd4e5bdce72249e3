//! Connecting without holding up the OS thread.
//!
//! Always: an attempt that was given up leaves no socket behind; who is stopped or explored begins
//! none.
//! Attempt: `Begun -> Connected | Failed`, or given up.

use super::socket::{Socket, persist};
use crate::descriptor::{Descriptor, admit};
use crate::error::Halt;
use crate::kernel::operation::{Arm, Patience, perform};
use crate::kernel::source::Side;
use crate::operation::Operation;
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
fn begin(address: SocketAddr, at: &'static Location<'static>) -> io::Result<Descriptor<TcpStream>> {
    admit(at)?;
    let kind = Type::STREAM.nonblocking();
    let socket = socket2::Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        other => other?,
    }
    Ok(Descriptor::of_nonblocking(socket.into()))
}

/// What has become of one that is connecting.
fn finish(socket: &TcpStream) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // Connected as soon as it has a peer.
    match socket.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        other => other.map(drop),
    }
}

/// Connects to `address`, within `limit` if that is given.
pub(super) fn tcp(
    address: SocketAddr,
    limit: Option<Duration>,
    at: &'static Location<'static>,
) -> io::Result<Socket<TcpStream>> {
    let limit = limit.map(after_now);
    let descriptor = begin(address, at)?;
    descriptor.perform(Side::Write, || limit, at, finish)?;
    Ok(Socket::of(descriptor))
}

/// Connects to whichever of `addresses` answers first.
pub(super) fn tcp_any(
    addresses: Vec<SocketAddr>,
    at: &'static Location<'static>,
) -> io::Result<Socket<TcpStream>> {
    if let [only] = *addresses {
        return tcp(only, None, at);
    }
    let mut addresses = by_turns(addresses).into_iter();
    let mut under_way = Vec::new();
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "there is no address");
    loop {
        match addresses.next().map(|it| begin(it, at)) {
            Some(Ok(descriptor)) => under_way.push(descriptor),
            None if under_way.is_empty() => return Err(failed),
            None => {}
            Some(Err(error)) => {
                failed = unless_stopped(error)?;
                continue;
            }
        }
        match first_of(&under_way, addresses.len() > 0, at) {
            None => {}
            Some((nth, Ok(()))) => return Ok(Socket::of(under_way.swap_remove(nth))),
            Some((nth, Err(error))) => {
                failed = unless_stopped(error)?;
                under_way.remove(nth);
            }
        }
    }
}

/// Which of them has an answer first; none if it is time for another one to begin.
fn first_of(
    under_way: &[Descriptor<TcpStream>],
    others: bool,
    at: &'static Location<'static>,
) -> Option<(usize, io::Result<()>)> {
    let mut late = after(HEAD_START).only_if(others);
    let mut attempts: Vec<_> = under_way.iter().map(|it| it.writing_with(finish)).collect();
    let mut arms: Vec<_> = attempts.iter_mut().map(|it| it as &mut dyn Arm).collect();
    arms.push(&mut late);
    let nth = perform(&mut arms, Patience::Forever, true, at)?;
    attempts.get_mut(nth).map(|it| (nth, it.take()))
}

/// The error of an address; that of a tasklet that is stopped is the end.
fn unless_stopped(error: io::Error) -> io::Result<io::Error> {
    if error.get_ref().is_some_and(|it| it.is::<Halt>()) { Err(error) } else { Ok(error) }
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
