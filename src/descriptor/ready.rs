//! What a descriptor becomes ready for, as operations: to be read or written at all, or a certain
//! attempt.
//!
//! Always: it is asked at that moment whether an attempt would have to wait; what the OS told
//! earlier may be out of date. Arm: as every operation's.

use super::{Descriptor, doing, keep_inside};
use crate::error::Halt;
use crate::kernel::operation::Arm;
use crate::kernel::source::{Side, Source};
use crate::kernel::task::Doing;
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::Location;
use std::rc::Rc;

/// The operation made by [`Descriptor::readable`] and [`Descriptor::writable`].
pub type Ready<'a, T> = Attempt<'a, T, fn(&T) -> io::Result<()>, ()>;

/// The operation made by [`Descriptor::reading_with`] and [`Descriptor::writing_with`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Attempt<'a, T: AsFd, F, R> {
    of: &'a Descriptor<T>,
    side: Side,
    attempt: F,
    /// Where it has offered itself.
    source: Option<Rc<Source>>,
    /// Why it cannot be waited for.
    refused: RefCell<Option<io::Error>>,
    outcome: Option<io::Result<R>>,
}

impl<'a, T: AsFd> Ready<'a, T> {
    pub(super) fn readiness(of: &'a Descriptor<T>, side: Side) -> Ready<'a, T> {
        let attempt: fn(&T) -> io::Result<()> = match side {
            Side::Read => |it| if is_ready(it, Side::Read)? { Ok(()) } else { Err(not_yet()) },
            Side::Write => |it| if is_ready(it, Side::Write)? { Ok(()) } else { Err(not_yet()) },
        };
        Attempt::new(of, side, attempt)
    }
}

fn not_yet() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

/// Whether an attempt would not have to wait: what the OS says, asked now.
fn is_ready(descriptor: &impl AsFd, side: Side) -> io::Result<bool> {
    let flags = match side {
        Side::Read => PollFlags::IN | PollFlags::RDHUP,
        Side::Write => PollFlags::OUT,
    };
    let mut asked = [PollFd::new(descriptor, flags)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match poll(&mut asked, Some(&at_once)) {
            Err(error) if error == rustix::io::Errno::INTR => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let answer = asked[0].revents();
    if answer.contains(PollFlags::NVAL) {
        return Err(io::Error::other("the descriptor is not open"));
    }
    Ok(!answer.is_empty())
}

impl<'a, T: AsFd, R, F: FnMut(&T) -> io::Result<R>> Attempt<'a, T, F, R> {
    pub(super) fn new(of: &'a Descriptor<T>, side: Side, attempt: F) -> Attempt<'a, T, F, R> {
        let refused = RefCell::new(None);
        Attempt { of, side, attempt, source: None, refused, outcome: None }
    }

    /// Settles the outcome if it need not wait.
    fn conclude(&mut self, at: &'static Location<'static>) -> bool {
        self.outcome = match (self.refused.take(), keep_inside(at)) {
            (Some(error), _) => Some(Err(error)),
            (None, Err(why)) => Some(Err(why.into())),
            (None, Ok(())) => loop {
                match (self.attempt)(&self.of.io) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break Some(other),
                }
            },
        };
        self.outcome.is_some()
    }
}

impl<T: AsFd, R, F: FnMut(&T) -> io::Result<R>> Arm for Attempt<'_, T, F, R> {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        self.conclude(at)
    }

    fn ready(&self) -> bool {
        assert!(self.outcome.is_none(), "an operation that has happened is waited for again");
        // That it cannot be waited for is its outcome.
        if let Err(error) = self.of.source(None) {
            self.refused.replace(Some(error));
            return true;
        }
        is_ready(&self.of.io, self.side).unwrap_or(true)
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        match self.of.source(None) {
            Ok((_, source)) => {
                source.add(self.side, wait.clone(), branch);
                self.source = Some(source);
            }
            Err(error) => {
                self.refused.replace(Some(error));
                wait.clone().settle(branch);
            }
        }
        1
    }

    fn withdraw(&mut self, wait: &Wait, _: u32) {
        if let Some(source) = self.source.take() {
            source.remove(self.side, wait);
        }
    }

    fn complete(&mut self, _: u32, _: bool, at: &'static Location<'static>) -> bool {
        self.conclude(at)
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why.into()));
    }

    fn doing(&self) -> Doing {
        doing(self.of.as_fd().as_raw_fd(), self.side)
    }
}

impl<T: AsFd, R, F: FnMut(&T) -> io::Result<R>> Operation for Attempt<'_, T, F, R> {
    type Output = io::Result<R>;

    fn take(&mut self) -> io::Result<R> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

impl<T: AsFd, F, R> fmt::Debug for Attempt<'_, T, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = self.of.as_fd().as_raw_fd();
        write!(f, "{:?} of descriptor {descriptor}", self.side)
    }
}
