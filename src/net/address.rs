//! Addresses, and names that are looked up without holding up the OS thread.
//!
//! Always: only a name is looked up, on a thread of the blocking pool; an address is itself.

use crate::blocking::blocking;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::vec;

/// What can be turned into addresses: [`std::net::ToSocketAddrs`] for tasklets.
///
/// ```
/// use tasklets::net::ToSocketAddrs;
/// use tasklets::run;
/// run(|| {
///     let mut both = ("localhost", 80).to_socket_addrs().unwrap();
///     assert!(both.all(|it| it.ip().is_loopback() && it.port() == 80));
/// });
/// ```
pub trait ToSocketAddrs {
    /// The addresses; a name is looked up on another OS thread while the tasklet waits.
    ///
    /// # Errors
    /// Those of the OS's resolver; [`InvalidInput`](io::ErrorKind::InvalidInput) for a text that is
    /// not `HOST:PORT`; that of a [`Halt`](crate::Halt). The lookup of a tasklet that is stopped
    /// goes on by itself.
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>>;
}

/// The addresses of `host`, a name or an address.
///
/// # Errors
/// As [`ToSocketAddrs::to_socket_addrs`].
///
/// ```
/// use tasklets::{net::lookup_host, run};
/// run(|| {
///     assert_eq!(lookup_host("::1").unwrap(), ["::1".parse::<std::net::IpAddr>().unwrap()]);
///     assert!(lookup_host("localhost").unwrap().iter().all(|it| it.is_loopback()));
///     assert!(lookup_host("no.such.host.invalid").is_err());
/// });
/// ```
#[track_caller]
#[doc(alias("getaddrinfo", "gethostbyname", "greendns", "resolve"))]
pub fn lookup_host(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|it| it.ip()).collect())
}

fn one(address: impl Into<SocketAddr>) -> io::Result<vec::IntoIter<SocketAddr>> {
    Ok(vec![address.into()].into_iter())
}

fn lookup(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return one((address, port));
    }
    if host.contains('\0') || host.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name of a host"));
    }
    let host = host.to_owned();
    blocking(move || std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port)))?
}

impl ToSocketAddrs for str {
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return one(address);
        }
        let parts = self.rsplit_once(':');
        let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "an address is HOST:PORT");
        let (host, port) = parts.ok_or_else(invalid)?;
        lookup(host, port)
    }
}

impl ToSocketAddrs for String {
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        self.as_str().to_socket_addrs()
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        lookup(self.0, self.1)
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        lookup(&self.0, self.1)
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        Ok(Vec::from(self).into_iter())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        (**self).to_socket_addrs()
    }
}

macro_rules! themselves {
    ($($name:ty),*) => {
        $(
            impl ToSocketAddrs for $name {
                fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
                    one(*self)
                }
            }
        )*
    };
}

themselves! {
    SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16)
}
