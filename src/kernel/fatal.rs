//! The last words of a process: what is left to do when a stack cannot be trusted any more.
//!
//! Always: nothing here allocates or waits for a lock, since a signal handler calls it.

use std::fs::File;
use std::io::{Write, stderr};
use std::os::fd::AsFd;
use std::sync::OnceLock;

/// Writes what it has to say to where it is told.
type Describe = fn(&mut dyn FnMut(&[u8]));

/// What a signal handler asks about the tasklet that runs on this OS thread, without allocating.
pub(crate) struct Running {
    /// Says who it is.
    pub(crate) describe: Describe,
    /// Where its stack lies.
    pub(crate) bounds: fn() -> Option<Bounds>,
}

/// Addresses of a stack: inaccessible from `guard` on, usable from `low` on.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) guard: usize,
    pub(crate) low: usize,
    pub(crate) bytes: usize,
}

pub(crate) static RUNNING: OnceLock<Running> = OnceLock::new();

/// Aborts if access to `address` overflows the stack of the running tasklet, and names that.
pub(super) fn fault(address: usize) {
    let Some(running) = RUNNING.get() else { return };
    if let Some(Bounds { guard, low, bytes }) = (running.bounds)()
        && (guard..low).contains(&address)
    {
        stack_overflow(running, bytes);
    }
}

fn stack_overflow(running: &Running, bytes: usize) -> ! {
    let mut digits = [b'0'; 20];
    let (mut rest, mut start) = (bytes, digits.len());
    while rest > 0 {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    say(b"\ntasklets: stack overflow in tasklet ");
    (running.describe)(&mut say);
    die(&[b", which has ", &digits[start..], b" bytes (Builder::stack_size)\n"])
}

/// Writes `parts` to stderr and aborts the process.
pub(super) fn die(parts: &[&[u8]]) -> ! {
    parts.iter().for_each(|it| say(it));
    std::process::abort()
}

/// Writes to stderr past std's lock, which the interrupted code may hold.
fn say(text: &[u8]) {
    if let Ok(descriptor) = stderr().as_fd().try_clone_to_owned() {
        // Nobody is left to tell if this fails.
        drop(File::from(descriptor).write_all(text));
    }
}
