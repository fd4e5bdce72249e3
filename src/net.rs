//! Sockets: `std::net` and `std::os::unix::net`, name by name, for tasklets.
//!
//! Always: a call waits in its tasklet only; what it returns and which errors it has are std's, and
//! beyond those the [`Halt`](crate::Halt) that ended the wait, as an [`io::Error`](std::io::Error).
//!
//! The types have the names and methods of std's. What differs:
//!
//! - Sockets never block, so there is no `set_nonblocking`; a socket that is made of one of std's
//!   becomes one that does not block, and one that is turned back into std's blocks again.
//! - They belong to the run that waits for them, and are not `Send`. To hand one to another OS
//!   thread turn it into std's with `into_std`.
//! - A time limit ([`TcpStream::set_read_timeout`] and its like) belongs to the handle, not to its
//!   clones; what it ends is [`TimedOut`](std::io::ErrorKind::TimedOut). Deadlines over a stretch
//!   of code ([`within`](crate::within)) end calls, too.
//! - `readable()` and `writable()` are [operations](crate::Operation): arms of a select beside
//!   messages and timers.
//! - Names are [looked up](lookup_host) on another OS thread.
//! - Cancellation ends a call at once with [`Halt::Cancelled`](crate::Halt::Cancelled); what was
//!   read or written before has been.
//!
//! A run that is explored refuses sockets: put what is to be explored behind channels.
//!
//! ```
//! use std::io::{Read, Write};
//! use tasklets::net::{TcpListener, TcpStream};
//! use tasklets::{run, spawn};
//! run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//!     let address = listener.local_addr().unwrap();
//!     spawn(move || {
//!         let (mut stream, _) = listener.accept().unwrap();
//!         stream.write_all(b"good day").unwrap();
//!     });
//!     let mut text = String::new();
//!     TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
//!     assert_eq!(text, "good day");
//! });
//! ```

mod address;
mod connect;
mod datagram;
mod listen;
mod listener;
mod serve;
mod socket;
mod stream;

pub use address::{ToSocketAddrs, lookup_host};
pub use datagram::{UdpSocket, UnixDatagram};
pub use listen::{Listen, listen};
pub use listener::{Incoming, TcpListener, UnixListener};
pub use serve::{Accept, Serve, Served, serve};
pub use std::net::Shutdown;
pub use stream::{TcpStream, UnixStream};
