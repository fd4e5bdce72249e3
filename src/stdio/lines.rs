//! The lines of standard input, one after the other or as an arm.
//!
//! Always: a line is taken in one piece or not at all; what loses a select has taken nothing.
//! Lines: `Open -> Ended`. Arm: as every operation's.

use super::{Came, INPUT, Reading, Stdin, UNDER_WAY, read_after};
use crate::blocking::blocking;
use crate::descriptor::Ready;
use crate::error::Halt;
use crate::kernel::announce;
use crate::kernel::operation::Arm;
use crate::kernel::task::Doing;
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::sync::atomic::Ordering;

/// Made by [`Stdin::lines`].
///
/// As an iterator it tells once that the tasklet is stopped; then there is no line for as long as
/// that lasts, and asked again afterwards it goes on.
#[derive(Debug)]
pub struct StdinLines {
    stdin: Stdin,
    /// The last one has been given, or an error.
    over: Cell<bool>,
    /// The last one to ask the iterator was told that he is stopped.
    told: bool,
}

impl StdinLines {
    pub(super) fn of(stdin: Stdin) -> StdinLines {
        StdinLines { stdin, over: Cell::new(false), told: false }
    }

    /// An operation that happens when there is a line, or none will come; its output is what the
    /// iterator's [`next`](Iterator::next) returns.
    ///
    /// If it loses it has taken nothing. When
    /// there is something to read, it is read before any arm is chosen: if another process takes
    /// that away at this very moment, all wait until there is something else.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{after, run, select, stdin};
    /// run(|| {
    ///     let lines = stdin().lines();
    ///     select! {
    ///         op(lines.receiving()) -> line => match line {
    ///             Some(line) => println!("somebody wrote {}", line.unwrap()),
    ///             None => println!("that was all"),
    ///         },
    ///         op(after(Duration::from_secs(5))) -> _ => println!("nobody wrote"),
    ///     }
    /// });
    /// ```
    pub fn receiving(&self) -> ReceivingLine<'_> {
        ReceivingLine { lines: self, ready: None, outcome: None }
    }

    /// What came of reading, as an item.
    fn item(&self, read: io::Result<Option<String>>) -> Option<io::Result<String>> {
        let goes_on = match &read {
            Ok(line) => line.is_some(),
            Err(error) => error.kind() == io::ErrorKind::InvalidData || is_stop(error),
        };
        self.over.set(!goes_on);
        read.transpose()
    }
}

/// Whether the tasklet was stopped, and the input has no part in it.
fn is_stop(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|it| it.is::<Halt>())
}

impl Iterator for StdinLines {
    type Item = io::Result<String>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<String>> {
        if self.over.get() {
            return None;
        }
        let mut line = String::new();
        let read = self.stdin.read_line(&mut line);
        let stopped = read.as_ref().is_err_and(is_stop);
        self.told = stopped && !self.told;
        if stopped && !self.told {
            return None;
        }
        self.item(read.map(|it| (it > 0).then(|| without_end(line))))
    }
}

/// `line` without what ends it.
fn without_end(mut line: String) -> String {
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    line
}

/// The operation made by [`StdinLines::receiving`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct ReceivingLine<'a> {
    lines: &'a StdinLines,
    /// The offer it has made.
    ready: Option<Ready<'a, OwnedFd>>,
    /// The item, once it has happened.
    outcome: Option<Option<io::Result<String>>>,
}

impl ReceivingLine<'_> {
    fn conclude(&mut self, read: io::Result<Option<String>>) -> bool {
        self.outcome = Some(self.lines.item(read));
        true
    }

    /// Takes the next line, if it is kept.
    fn take_kept(&mut self) -> bool {
        if self.lines.over.get() {
            return self.conclude(Ok(None));
        }
        let line = INPUT.try_lock().and_then(|mut it| it.take_line());
        line.is_some_and(|it| self.conclude(super::text(it).map(|it| Some(without_end(it)))))
    }

    /// Whether there may be something to read.
    fn may_read(&self) -> bool {
        // Who reads already may find what this would wait for.
        UNDER_WAY.load(Ordering::SeqCst) > 0
            || self.lines.stdin.descriptor().map_or(true, |it| it.readable().ready())
    }

    /// Reads once; whether that gave a line, or there is none.
    fn read(&mut self) -> bool {
        let seen = INPUT.try_lock().map_or(0, |it| it.rest().len());
        let reading = Reading::new();
        match blocking(move || read_after(seen, &reading)) {
            Err(why) => self.conclude(Err(why.into())),
            Ok(Err(error)) => self.conclude(Err(error)),
            Ok(Ok(Came::More)) => self.take_kept(),
            Ok(Ok(Came::Nothing)) => false,
            Ok(Ok(Came::End)) => {
                let last = INPUT.try_lock().map(|mut it| it.take_last_line());
                let Some(last) = last.map(super::text) else { return false };
                self.conclude(last.map(|it| (!it.is_empty()).then(|| without_end(it))))
            }
        }
    }
}

impl Arm for ReceivingLine<'_> {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        if let Err(why) = announce::keep_inside("reading standard input", at) {
            return self.conclude(Err(why.into()));
        }
        self.take_kept() || (self.may_read() && self.read())
    }

    fn ready(&self) -> bool {
        assert!(self.outcome.is_none(), "an operation that has happened is waited for again");
        let kept = INPUT.try_lock().is_some_and(|it| it.has_line());
        kept || self.lines.over.get() || self.may_read()
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        match self.lines.stdin.descriptor() {
            Ok(descriptor) if UNDER_WAY.load(Ordering::SeqCst) == 0 => {
                let mut ready = descriptor.readable();
                ready.publish(wait, branch);
                self.ready = Some(ready);
            }
            // It finds out when it completes.
            Ok(_) | Err(_) => drop(wait.clone().settle(branch)),
        }
        1
    }

    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        if let Some(mut ready) = self.ready.take() {
            ready.withdraw(wait, branch);
        }
    }

    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool {
        let told = match self.ready.take() {
            Some(mut ready) => {
                if !ready.complete(branch, closed, at) {
                    return false;
                }
                ready.take()
            }
            None => self.lines.stdin.descriptor().map(drop),
        };
        match told {
            // A file, or the like, is always ready.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                self.conclude(Err(error))
            }
            Ok(()) | Err(_) => self.read(),
        }
    }

    fn halt(&mut self, why: Halt) {
        self.conclude(Err(why.into()));
    }

    fn doing(&self) -> Doing {
        Doing::Reading(0)
    }
}

impl Operation for ReceivingLine<'_> {
    type Output = Option<io::Result<String>>;

    fn take(&mut self) -> Option<io::Result<String>> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

impl fmt::Debug for ReceivingLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line of standard input")
    }
}
