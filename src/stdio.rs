//! The standard input and output of the process, without holding up the OS thread.
//!
//! Always: the descriptors are left as they are, since other processes share them; what was read
//! and not taken stays for the next reader, in whatever run. Standard input is first waited for,
//! then read on another OS thread, which does so only if there is something.

mod lines;

pub use lines::{ReceivingLine, StdinLines};

use crate::blocking::blocking;
use crate::descriptor::Descriptor;
use crate::fs::kept::{self, Kept};
use crate::kernel::announce;
use crate::operation::Operation;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::OnceCell;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are read at a time.
const SOME: usize = 8 * 1024;

/// What was read of the standard input of this process and has not been taken.
static INPUT: Mutex<Kept<()>> = Mutex::new(Kept::new(()));

/// Reads on other threads that have been asked for and have not ended.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// The standard input of the process.
///
/// Read it by [`lines`](Stdin::lines), which are arms of a select, or as a [`Read`]. A reader that
/// is stopped loses nothing: the next one, in this run or a later one, goes on where it was. One
/// run at a time should read it. It has a buffer of its own: what [`std::io::stdin`] has read it
/// does not see, and the other way round.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{run, stdin, within};
/// run(|| {
///     let line = within(Duration::from_secs(5), || stdin().lines().next()).value;
///     println!("somebody wrote {line:?}, or nothing came in time, or that was all");
/// });
/// ```
pub fn stdin() -> Stdin {
    Stdin { own: OnceCell::new() }
}

/// Made by [`stdin`].
///
/// # Errors
/// Its methods return those of reading; those of [`blocking`]; if the tasklet is stopped, the
/// [`Halt`](crate::Halt) as an [`io::Error`]. A run that is explored refuses them.
///
/// ```no_run
/// use std::io::Read;
/// use tasklets::{run, stdin};
/// let mut all = String::new();
/// run(|| stdin().read_to_string(&mut all)).unwrap();
/// ```
#[derive(Debug)]
pub struct Stdin {
    /// A duplicate, so that several may wait.
    own: OnceCell<Descriptor<OwnedFd>>,
}

/// What came of an attempt to read.
enum Came {
    More,
    Nothing,
    End,
}

impl Stdin {
    /// Adds a line with its end to `line`; tells how many bytes that were: none at the end.
    ///
    /// # Errors
    /// See [`Stdin`]. [`io::ErrorKind::InvalidData`] for a line that is no UTF-8, which is skipped.
    ///
    /// ```no_run
    /// use tasklets::{run, stdin};
    /// let mut name = String::new();
    /// run(|| stdin().read_line(&mut name)).unwrap();
    /// println!("Hello, {}!", name.trim_end());
    /// ```
    #[track_caller]
    pub fn read_line(&self, line: &mut String) -> io::Result<usize> {
        let mut seen = 0;
        let bytes = loop {
            if let Some(mut kept) = INPUT.try_lock() {
                if let Some(line) = kept.take_line() {
                    break line;
                }
                seen = kept.rest().len();
            }
            if let Came::End = self.more_than(seen)?
                && let Some(mut kept) = INPUT.try_lock()
            {
                break kept.take_last_line();
            }
        };
        let text = text(bytes)?;
        line.push_str(&text);
        Ok(text.len())
    }

    /// The lines to come, without their ends.
    ///
    /// One that is no UTF-8 is an error, and the next one follows; after any other error of reading
    /// there is none. They can be waited for beside other things: see
    /// [`receiving`](StdinLines::receiving).
    ///
    /// ```no_run
    /// use tasklets::{run, stdin};
    /// let words: usize =
    ///     run(|| stdin().lines().map(|it| it.unwrap().split_whitespace().count()).sum());
    /// println!("{words} words");
    /// ```
    pub fn lines(self) -> StdinLines {
        StdinLines::of(self)
    }

    /// Waits until more than `seen` bytes are kept, or it is known that no more come.
    #[track_caller]
    fn more_than(&self, seen: usize) -> io::Result<Came> {
        announce::keep_inside("reading standard input", Location::caller())?;
        loop {
            // A read that is under way may have found what this would wait for.
            if UNDER_WAY.load(Ordering::SeqCst) == 0 {
                match self.descriptor()?.readable().wait() {
                    // A file, or the like, is always ready.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    other => other?,
                }
            }
            let reading = Reading::new();
            match blocking(move || read_after(seen, &reading))?? {
                Came::Nothing => {}
                came => return Ok(came),
            }
        }
    }

    fn descriptor(&self) -> io::Result<&Descriptor<OwnedFd>> {
        if self.own.get().is_none() {
            let own = io::stdin().as_fd().try_clone_to_owned()?;
            drop(self.own.set(Descriptor::of_nonblocking(own)));
        }
        Ok(self.own.get().expect("it was made if there was none"))
    }
}

/// The text that `bytes` are.
fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A read on another thread that has been asked for, until this is dropped.
struct Reading;

impl Reading {
    fn new() -> Reading {
        UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        Reading
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads if no more than `seen` bytes are kept and there is something to read.
fn read_after(seen: usize, _: &Reading) -> io::Result<Came> {
    let mut kept = INPUT.lock();
    if kept.rest().len() > seen {
        return Ok(Came::More);
    }
    let stdin = io::stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    if poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0) {
        return Ok(Came::Nothing);
    }
    loop {
        match kept.fill(SOME, |(), buffer| Ok(rustix::io::read(&stdin, buffer)?)) {
            Ok(0) => return Ok(Came::End),
            Ok(_) => return Ok(Came::More),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It does not block, as somebody who has it too wants it, and he was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Came::Nothing),
            Err(error) => return Err(error),
        }
    }
}

impl Read for &Stdin {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(count) = kept::try_give(&INPUT, buffer) {
                return Ok(count);
            }
            if let Came::End = self.more_than(0)? {
                return Ok(kept::try_give(&INPUT, buffer).unwrap_or(0));
            }
        }
    }
}

impl Read for Stdin {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

/// The standard output of the process.
///
/// Writing to it waits without holding up the OS thread, however slowly somebody reads it. It is
/// [`std::io::stdout`] on another OS thread, with the buffer that [`println!`] has.
///
/// ```
/// use std::io::Write;
/// use tasklets::{run, stdout};
/// run(|| writeln!(stdout(), "hello")).unwrap();
/// ```
pub fn stdout() -> Stdout {
    Stdout(())
}

/// Made by [`stdout`].
///
/// Each write is a [`blocking`] call. One that is stopped when it has begun goes on: what it writes
/// may come after what is written next.
///
/// ```
/// use std::io::{BufWriter, Write};
/// use tasklets::{run, stdout};
/// run(|| {
///     let mut all = BufWriter::new(stdout()); // one call for many lines
///     (0..10).try_for_each(|it| writeln!(all, "{it}"))?;
///     all.flush()
/// }).unwrap();
/// ```
#[derive(Debug)]
pub struct Stdout(());

impl Write for &Stdout {
    #[track_caller]
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        announce::keep_inside("writing to standard output", Location::caller())?;
        let bytes = buffer.to_vec();
        blocking(move || io::stdout().write(&bytes))?
    }
    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        announce::keep_inside("writing to standard output", Location::caller())?;
        blocking(|| io::stdout().flush())?
    }
}

impl Write for Stdout {
    #[track_caller]
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }
    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
