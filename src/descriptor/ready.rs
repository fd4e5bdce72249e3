//! Readiness of a descriptor as an operation.
//!
//! Always: it happens only if the OS says, at that moment, that an attempt would not have to wait;
//! what the OS told earlier may be out of date. Arm: as every operation's.

use super::{Descriptor, doing};
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
#[must_use = "an operation does nothing until it is waited for"]
pub struct Ready<'a, T: AsFd> {
    of: &'a Descriptor<T>,
    side: Side,
    /// Where it has offered itself.
    source: Option<Rc<Source>>,
    /// Why it cannot be waited for.
    refused: RefCell<Option<io::Error>>,
    outcome: Option<io::Result<()>>,
}

impl<'a, T: AsFd> Ready<'a, T> {
    pub(super) fn new(of: &'a Descriptor<T>, side: Side) -> Ready<'a, T> {
        Ready { of, side, source: None, refused: RefCell::new(None), outcome: None }
    }

    /// Whether an attempt would not have to wait: what the OS says, asked now.
    fn is_now(&self) -> io::Result<bool> {
        let flags = match self.side {
            Side::Read => PollFlags::IN | PollFlags::RDHUP,
            Side::Write => PollFlags::OUT,
        };
        let mut asked = [PollFd::new(self.of, flags)];
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

    /// Settles the outcome if it can be told now.
    fn conclude(&mut self) -> bool {
        self.outcome = match self.refused.take() {
            Some(error) => Some(Err(error)),
            None => match self.is_now() {
                Ok(true) => Some(Ok(())),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            },
        };
        self.outcome.is_some()
    }
}

impl<T: AsFd> Arm for Ready<'_, T> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        self.conclude()
    }

    fn ready(&self) -> bool {
        // It can be waited for if it can be registered, and then it is when it is waited for.
        if let Err(error) = self.of.source(None) {
            self.refused.replace(Some(error));
            return true;
        }
        self.is_now().unwrap_or(true)
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

    fn complete(&mut self, _: u32, _: bool, _: &'static Location<'static>) -> bool {
        self.conclude()
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why.into()));
    }

    fn doing(&self) -> Doing {
        doing(self.of.as_fd().as_raw_fd(), self.side)
    }
}

impl<T: AsFd> Operation for Ready<'_, T> {
    type Output = io::Result<()>;

    fn take(&mut self) -> io::Result<()> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

impl<T: AsFd> fmt::Debug for Ready<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = self.of.as_fd().as_raw_fd();
        write!(f, "{:?} of descriptor {descriptor}", self.side)
    }
}
