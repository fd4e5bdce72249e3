//! Descriptors of the OS: reading and writing that waits without holding up the OS thread, and
//! readiness as an operation.
//!
//! Always: a descriptor in here does not block; an attempt comes before the first wait, and after
//! each; it is taken out of the OS's queue before it is closed.
//! Descriptor: `Unregistered -> Registered`, with the run that waits for it first, then with
//! whichever waits for it next.

#[cfg(all(feature = "futures", feature = "net"))]
mod polled;
mod ready;

pub use ready::{Attempt, Ready};

use crate::error::Halt;
use crate::kernel::announce;
use crate::kernel::clock::Nanos;
use crate::kernel::running;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::source::{Side, Source};
use crate::kernel::task::Doing;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::Location;
use std::rc::{Rc, Weak};

/// Something with a descriptor, which tasklets can wait for: a socket, a pipe, a terminal, a timer
/// or event descriptor of the OS.
///
/// The sockets of [`net`](crate::net) are made of it; use it by hand for what is not there. Reading
/// and writing wait, in the tasklet that calls, until the descriptor is ready; others run
/// meanwhile. Any number of tasklets may wait for one descriptor: each is woken when it may have
/// become ready, tries, and waits on.
///
/// It belongs to the run that waits for it: it is not `Send`. To move one to another OS thread take
/// out what is in it with [`into_inner`](Self::into_inner).
///
/// # Cancellation
/// Waiting ends when the tasklet is stopped, with the [`Halt`] as an [`io::Error`]; what was read
/// or written before has been. A run that is explored refuses it.
///
/// ```
/// use std::io::{Read, Write};
/// use tasklets::{Descriptor, run, spawn};
/// run(|| {
///     let (reader, writer) = std::io::pipe().unwrap();
///     let mut reader = Descriptor::new(reader).unwrap();
///     let mut writer = Descriptor::new(writer).unwrap();
///     spawn(move || writer.write_all(b"through the OS"));
///     let mut text = String::new();
///     reader.read_to_string(&mut text).unwrap(); // the writer runs meanwhile
///     assert_eq!(text, "through the OS");
/// });
/// ```
#[doc(alias("Async", "AsyncFd", "trampoline", "GreenPipe", "wait_read"))]
pub struct Descriptor<T: AsFd> {
    /// Dropped first: see [`Registration`].
    registration: RefCell<Option<Registration>>,
    io: T,
}

/// Where a descriptor is registered, until this is dropped.
struct Registration {
    scheduler: Weak<Scheduler>,
    source: Rc<Source>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(scheduler) = self.scheduler.upgrade() {
            scheduler.deregister(&self.source);
        }
    }
}

impl<T: AsFd> Descriptor<T> {
    /// Makes a descriptor one that does not block, and one that tasklets can wait for.
    ///
    /// That it does not block is a property of what it refers to, which it may share with others:
    /// with its clones, with the terminal of other processes. Whoever shares it has to be able to
    /// deal with that.
    ///
    /// # Errors
    /// The OS's, if it is not open. A kind of descriptor that nobody can wait for, such as that of
    /// a regular file, is refused when it is waited for first: see [`crate::blocking`].
    pub fn new(io: T) -> io::Result<Descriptor<T>> {
        rustix::io::ioctl_fionbio(&io, true)?;
        Ok(Descriptor::of_nonblocking(io))
    }

    /// [`new`](Self::new) for one that does not block already.
    pub(crate) fn of_nonblocking(io: T) -> Descriptor<T> {
        Descriptor { registration: RefCell::new(None), io }
    }

    /// What is in it. It does not block: an attempt that would have to wait is an error.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Takes out what is in it. It still does not block.
    ///
    /// ```
    /// use std::io::{ErrorKind, Read};
    /// use tasklets::Descriptor;
    /// let (reader, _writer) = std::io::pipe().unwrap();
    /// let mut reader = Descriptor::new(reader).unwrap().into_inner();
    /// assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// ```
    pub fn into_inner(self) -> T {
        let Descriptor { registration, io } = self;
        drop(registration);
        io
    }

    /// Takes out what is in it, and lets it block again: for who does not expect anything else,
    /// such as a child process that inherits it.
    ///
    /// # Errors
    /// The OS's, if it is not open.
    ///
    /// ```
    /// use std::io::Write;
    /// use tasklets::Descriptor;
    /// let (_reader, writer) = std::io::pipe().unwrap();
    /// let mut writer = Descriptor::new(writer).unwrap().into_blocking().unwrap();
    /// writer.write_all(b"as ever").unwrap();
    /// ```
    pub fn into_blocking(self) -> io::Result<T> {
        let io = self.into_inner();
        rustix::io::ioctl_fionbio(&io, false)?;
        Ok(io)
    }

    /// An operation that happens when reading would not have to wait: there is something to read,
    /// or the end of it, or an error.
    ///
    /// Its output is an error if it cannot be waited for, or the wait was stopped. It takes
    /// nothing: of two tasklets that are told, one may find that the other was there first, and
    /// then its read waits; [`reading_with`](Self::reading_with) does not.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Descriptor, Operation, after, run, select};
    /// run(|| {
    ///     let (reader, _writer) = std::io::pipe().unwrap();
    ///     let reader = Descriptor::new(reader).unwrap();
    ///     select! {
    ///         op(reader.readable()) -> _ => panic!("nobody writes"),
    ///         op(after(Duration::from_millis(1))) -> _ => {}
    ///     }
    ///     assert!(reader.readable().poll().is_none());
    /// });
    /// ```
    #[doc(alias = "wait_read")]
    pub fn readable(&self) -> Ready<'_, T> {
        Ready::readiness(self, Side::Read)
    }

    /// An operation that happens when writing would not have to wait: there is room, or an error.
    ///
    /// Its output is as that of [`readable`](Self::readable).
    ///
    /// ```
    /// use tasklets::{Descriptor, Operation, run};
    /// run(|| {
    ///     let (_reader, writer) = std::io::pipe().unwrap();
    ///     let writer = Descriptor::new(writer).unwrap();
    ///     writer.writable().wait().unwrap(); // a new pipe has room
    /// });
    /// ```
    #[doc(alias = "wait_write")]
    pub fn writable(&self) -> Ready<'_, T> {
        Ready::readiness(self, Side::Write)
    }

    /// Calls `attempt` until it does anything else than ask to be called when the descriptor can be
    /// read ([`io::ErrorKind::WouldBlock`]), and waits in between.
    ///
    /// # Errors
    /// Those of `attempt`; those of waiting: see [`Descriptor`].
    ///
    /// # Panics
    /// As `attempt` does; if it has to wait under a [`switch_trap`](crate::switch_trap) or inside a
    /// raw generator.
    ///
    /// ```
    /// use std::os::unix::net::UnixDatagram;
    /// use tasklets::{Descriptor, run};
    /// run(|| {
    ///     let (near, far) = UnixDatagram::pair().unwrap();
    ///     let near = Descriptor::new(near).unwrap();
    ///     far.send(b"hello").unwrap();
    ///     let mut buffer = [0; 8];
    ///     let length = near.read_with(|it| it.recv(&mut buffer)).unwrap();
    ///     assert_eq!(&buffer[..length], b"hello");
    /// });
    /// ```
    #[track_caller]
    pub fn read_with<R>(&self, attempt: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.perform(Side::Read, || None, Location::caller(), attempt)
    }

    /// [`read_with`](Self::read_with) for an attempt that writes.
    ///
    /// # Errors
    /// As [`read_with`](Self::read_with).
    ///
    /// # Panics
    /// As [`read_with`](Self::read_with).
    #[track_caller]
    pub fn write_with<R>(&self, attempt: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.perform(Side::Write, || None, Location::caller(), attempt)
    }

    /// The operation that [`read_with`](Self::read_with) waits for: an arm that reads.
    ///
    /// If it loses, it has read nothing. Its output is an error if it cannot be waited for, or the
    /// wait was stopped.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use tasklets::{Descriptor, Never, channel, run, select, spawn};
    /// run(|| {
    ///     let (reader, mut writer) = std::io::pipe().unwrap();
    ///     let reader = Descriptor::new(reader).unwrap();
    ///     let (_tx, stop) = channel::<Never>();
    ///     writer.write_all(b"news").unwrap();
    ///     let mut buffer = [0; 16];
    ///     let length = select! {
    ///         op(reader.reading_with(|mut it| it.read(&mut buffer))) -> length => length.unwrap(),
    ///         recv(stop) -> _ => 0,
    ///     };
    ///     assert_eq!(&buffer[..length], b"news");
    /// });
    /// ```
    pub fn reading_with<R, F>(&self, attempt: F) -> Attempt<'_, T, F, R>
    where
        F: FnMut(&T) -> io::Result<R>,
    {
        Attempt::new(self, Side::Read, attempt)
    }

    /// The operation that [`write_with`](Self::write_with) waits for.
    ///
    /// If it loses, it has written nothing. Its output is as that of
    /// [`reading_with`](Self::reading_with).
    pub fn writing_with<R, F>(&self, attempt: F) -> Attempt<'_, T, F, R>
    where
        F: FnMut(&T) -> io::Result<R>,
    {
        Attempt::new(self, Side::Write, attempt)
    }

    /// Attempts, and waits in between, until what `limit` says when it has to wait first.
    pub(crate) fn perform<R>(
        &self,
        side: Side,
        limit: impl Fn() -> Option<Nanos>,
        at: &'static Location<'static>,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut until = None;
        loop {
            admit(at)?;
            if self.may_succeed(side) {
                match attempt(&self.io) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.exhaust(side),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => return other,
                }
            }
            self.park(side, *until.get_or_insert_with(&limit), at)?;
        }
    }

    /// [`perform`](Self::perform) for a stream, from or to which `want` bytes are to go: that fewer
    /// went says that no more can go now.
    #[cfg(feature = "net")]
    pub(crate) fn transfer(
        &self,
        side: Side,
        limit: impl Fn() -> Option<Nanos>,
        at: &'static Location<'static>,
        want: usize,
        attempt: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let went = self.perform(side, limit, at, attempt)?;
        self.note_went(side, went, want);
        Ok(went)
    }

    #[cfg(feature = "net")]
    #[inline]
    fn note_went(&self, side: Side, went: usize, want: usize) {
        if went < want
            && went > 0
            && let Some(it) = &*self.registration.borrow()
        {
            it.source.drain(side);
        }
    }

    /// Whether an attempt is worth while: nobody knows yet, or the OS has told.
    fn may_succeed(&self, side: Side) -> bool {
        let registration = self.registration.borrow();
        registration.as_ref().is_none_or(|it| it.source.is_ready(side))
    }

    fn exhaust(&self, side: Side) {
        if let Some(it) = &*self.registration.borrow() {
            it.source.exhaust(side);
        }
    }

    /// Waits until the OS tells that this side is ready.
    fn park(
        &self,
        side: Side,
        limit: Option<Nanos>,
        at: &'static Location<'static>,
    ) -> io::Result<()> {
        let (scheduler, source) = self.source(Some(side))?;
        let outcome = running::wait_for(doing(source.number, side), at, |wait| {
            if let Some(limit) = limit {
                scheduler.add_timer(limit, wait.clone(), TIME_IS_UP);
            }
            if source.is_ready(side) {
                wait.settle(0); // told while the tasklet gave way
            } else {
                source.add(side, wait, 0);
            }
        })?;
        if outcome == TIME_IS_UP { Err(Halt::TimedOut.into()) } else { Ok(()) }
    }

    /// The descriptor as the active run's scheduler knows it. If nothing was known of it so far, it
    /// is known now that the side `exhausted` is.
    fn source(&self, exhausted: Option<Side>) -> io::Result<(Rc<Scheduler>, Rc<Source>)> {
        let scheduler = Scheduler::active().ok_or(Halt::CannotWait)?;
        let registration = self.registration.borrow();
        if let Some(it) = &*registration
            && std::ptr::eq(it.scheduler.as_ptr(), &*scheduler)
            && !it.source.is_gone()
        {
            let source = it.source.clone();
            return Ok((scheduler, source));
        }
        drop(registration);
        drop(self.registration.take());
        let source = scheduler.register(self.io.as_fd().as_raw_fd()).map_err(explained)?;
        exhausted.into_iter().for_each(|it| source.exhaust(it));
        let registration =
            Registration { scheduler: Rc::downgrade(&scheduler), source: source.clone() };
        *self.registration.borrow_mut() = Some(registration);
        Ok((scheduler, source))
    }
}

/// What comes before each attempt: who is stopped does not attempt, nor who is explored.
pub(crate) fn admit(at: &'static Location<'static>) -> Result<(), Halt> {
    if running::gate(true)? {
        keep_inside(at)?;
    }
    Ok(())
}

/// Refuses it in a run that is explored.
fn keep_inside(at: &'static Location<'static>) -> Result<(), Halt> {
    announce::keep_inside("reading or writing a descriptor", at)
}

/// The branch of a wait's time limit.
const TIME_IS_UP: u32 = 1;

/// What waiting for a side is, for reports.
fn doing(number: RawFd, side: Side) -> Doing {
    match side {
        Side::Read => Doing::Reading(number),
        Side::Write => Doing::Writing(number),
    }
}

/// What it means that the OS does not register a descriptor.
fn explained(error: io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::AlreadyExists => "somebody else waits for this descriptor already",
        io::ErrorKind::PermissionDenied => "it is always ready, as files are: use `blocking`",
        _ => return error,
    };
    io::Error::new(error.kind(), why)
}

impl<T: AsFd> Read for &Descriptor<T>
where
    for<'a> &'a T: Read,
{
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(|mut it| it.read(buffer))
    }
    #[track_caller]
    fn read_vectored(&mut self, buffers: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with(|mut it| it.read_vectored(buffers))
    }
}

impl<T: AsFd> Write for &Descriptor<T>
where
    for<'a> &'a T: Write,
{
    #[track_caller]
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_with(|mut it| it.write(buffer))
    }
    #[track_caller]
    fn write_vectored(&mut self, buffers: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.write_with(|mut it| it.write_vectored(buffers))
    }
    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        self.write_with(|mut it| it.flush())
    }
}

impl<T: AsFd> Read for Descriptor<T>
where
    for<'a> &'a T: Read,
{
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
    #[track_caller]
    fn read_vectored(&mut self, buffers: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl<T: AsFd> Write for Descriptor<T>
where
    for<'a> &'a T: Write,
{
    #[track_caller]
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }
    #[track_caller]
    fn write_vectored(&mut self, buffers: &[io::IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }
    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl<T: AsFd> AsFd for Descriptor<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Descriptor<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + Into<OwnedFd>> From<Descriptor<T>> for OwnedFd {
    fn from(descriptor: Descriptor<T>) -> OwnedFd {
        descriptor.into_inner().into()
    }
}

impl<T: AsFd + IntoRawFd> IntoRawFd for Descriptor<T> {
    fn into_raw_fd(self) -> RawFd {
        self.into_inner().into_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Descriptor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}
