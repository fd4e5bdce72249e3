//! What all sockets share: a descriptor, and how long a call may wait.
//!
//! Always: a time limit counts from when a call has to wait first. The macros below write what
//! std's types have and what this crate's types have in common.

use crate::descriptor::{Descriptor, admit};
use crate::error::Halt;
use crate::kernel::clock::Nanos;
use crate::kernel::source::Side;
use crate::time::{after_now, sleep};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::time::Duration;

/// A socket of std's that does not block, and its time limits.
pub(crate) struct Socket<T: AsFd> {
    pub(crate) descriptor: Descriptor<T>,
    pub(super) read_limit: Cell<Option<Duration>>,
    pub(super) write_limit: Cell<Option<Duration>>,
}

impl<T: AsFd> Socket<T> {
    /// Makes `io` one that does not block.
    pub(super) fn new(io: T) -> io::Result<Socket<T>> {
        Ok(Socket::of(Descriptor::new(io)?))
    }

    pub(super) fn of(descriptor: Descriptor<T>) -> Socket<T> {
        Socket { descriptor, read_limit: Cell::new(None), write_limit: Cell::new(None) }
    }

    /// Another handle of the same socket.
    pub(super) fn twin(&self, twin: T) -> Socket<T> {
        let socket = Socket::of(Descriptor::of_nonblocking(twin));
        socket.read_limit.set(self.read_limit.get());
        socket.write_limit.set(self.write_limit.get());
        socket
    }

    /// What is in it, which blocks again.
    pub(super) fn into_std(self) -> io::Result<T> {
        let io = self.descriptor.into_inner();
        rustix::io::ioctl_fionbio(&io, false)?;
        Ok(io)
    }

    #[inline]
    pub(super) fn std(&self) -> &T {
        self.descriptor.get_ref()
    }

    fn limit(&self, side: Side) -> Option<Nanos> {
        let limit = match side {
            Side::Read => self.read_limit.get(),
            Side::Write => self.write_limit.get(),
        };
        limit.map(after_now)
    }

    /// Attempts until it need not wait.
    pub(super) fn perform<R>(
        &self,
        side: Side,
        at: &'static Location<'static>,
        attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.descriptor.perform(side, || self.limit(side), at, attempt)
    }

    /// Attempts until some of `want` bytes of a stream have gone; of none, none go at once.
    #[inline]
    pub(super) fn transfer(
        &self,
        side: Side,
        at: &'static Location<'static>,
        want: usize,
        attempt: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if want == 0 {
            return Ok(0); // the OS would wait for something to come all the same
        }
        self.descriptor.transfer(side, || self.limit(side), at, want, attempt)
    }
}

impl<T: AsFd> Socket<T> {
    /// [`transfer`](Self::transfer) where less than `want` says nothing about what comes next.
    #[inline]
    pub(super) fn transfer_some(
        &self,
        side: Side,
        at: &'static Location<'static>,
        want: usize,
        attempt: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if want == 0 { Ok(0) } else { self.perform(side, at, attempt) }
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Socket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.descriptor.fmt(f)
    }
}

/// The shortest and the longest rest between two attempts where the OS tells nobody when to try.
const REST: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(50)];

/// Attempts until it need not wait, with rests: for another socket to have room, of which the OS
/// does not tell.
#[track_caller]
pub(super) fn persist<R>(
    limit: Option<Duration>,
    mut attempt: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    let (mut rest, limit) = (REST[0], limit.map(after_now));
    loop {
        admit(Location::caller())?;
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        if limit.is_some_and(|it| after_now(Duration::ZERO) >= it) {
            return Err(Halt::TimedOut.into());
        }
        sleep(rest)?;
        rest = (2 * rest).min(REST[1]);
    }
}

/// A time limit as std takes it: none, or one that is not zero.
pub(super) fn checked(limit: Option<Duration>) -> io::Result<Option<Duration>> {
    if limit.is_some_and(|it| it.is_zero()) {
        let why = "a time limit of zero: None means that there is no limit";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(limit)
}

/// What every socket has: conversions, descriptor, readiness, clones, its last error.
macro_rules! common {
    ($name:ident, $std:ty) => {
        impl $name {
            /// Makes one of std's a socket for tasklets; from now on it does not block.
            ///
            /// # Errors
            /// The OS's.
            pub fn from_std(socket: $std) -> io::Result<$name> {
                Ok($name { socket: Socket::new(socket)? })
            }

            /// Turns it into one of std's, which blocks again, as do its clones: they must not be
            /// used by tasklets any more.
            ///
            /// # Errors
            /// The OS's.
            pub fn into_std(self) -> io::Result<$std> {
                self.socket.into_std()
            }

            /// Another handle of the same socket.
            ///
            /// # Errors
            /// The OS's.
            pub fn try_clone(&self) -> io::Result<$name> {
                Ok($name { socket: self.socket.twin(self.socket.std().try_clone()?) })
            }

            /// Takes the error of the socket, if it has one.
            ///
            /// # Errors
            /// The OS's.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket.std().take_error()
            }

            /// An operation that happens when reading (or accepting) would not have to wait: see
            /// [`Descriptor::readable`](crate::Descriptor::readable).
            pub fn readable(&self) -> Ready<'_, $std> {
                self.socket.descriptor.readable()
            }

            /// An operation that happens when writing would not have to wait: see
            /// [`Descriptor::writable`](crate::Descriptor::writable).
            pub fn writable(&self) -> Ready<'_, $std> {
                self.socket.descriptor.writable()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.std().as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.std().as_raw_fd()
            }
        }

        impl TryFrom<$std> for $name {
            type Error = io::Error;

            fn try_from(socket: $std) -> io::Result<$name> {
                $name::from_std(socket)
            }
        }

        impl TryFrom<$name> for $std {
            type Error = io::Error;

            fn try_from(socket: $name) -> io::Result<$std> {
                socket.into_std()
            }
        }

        impl TryFrom<OwnedFd> for $name {
            type Error = io::Error;

            fn try_from(descriptor: OwnedFd) -> io::Result<$name> {
                $name::from_std(descriptor.into())
            }
        }

        /// The descriptor, which does not block.
        impl From<$name> for OwnedFd {
            fn from(socket: $name) -> OwnedFd {
                socket.socket.descriptor.into_inner().into()
            }
        }

        /// The descriptor, which does not block and is no longer closed by anybody.
        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.socket.fmt(f)
            }
        }
    };
}

/// Time limits of calls that read and write.
macro_rules! limits {
    ($name:ident) => {
        impl $name {
            /// Sets how long a call that reads may wait; `None`: for ever.
            ///
            /// # Errors
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a limit of zero.
            pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
                self.socket.read_limit.set(checked(limit)?);
                Ok(())
            }

            /// Sets how long a call that writes may wait; `None`: for ever.
            ///
            /// # Errors
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a limit of zero.
            pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
                self.socket.write_limit.set(checked(limit)?);
                Ok(())
            }

            /// How long a call that reads may wait.
            ///
            /// # Errors
            /// None; it is a result because std's is.
            pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.socket.read_limit.get())
            }

            /// How long a call that writes may wait.
            ///
            /// # Errors
            /// None; it is a result because std's is.
            pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.socket.write_limit.get())
            }
        }
    };
}

/// Methods that ask or set something without waiting, as std's do.
macro_rules! options {
    ($name:ident: $($doc:literal $method:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        impl $name {
            $(
                #[doc = $doc]
                ///
                /// # Errors
                /// The OS's.
                pub fn $method(&self, $($arg: $type),*) -> io::Result<$result> {
                    self.socket.std().$method($($arg),*)
                }
            )*
        }
    };
}

pub(super) use {common, limits, options};
