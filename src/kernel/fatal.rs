//! The last words of a process: what is left to do when a stack cannot be trusted any more.
//!
//! Always: nothing here allocates or waits for a lock, since a signal handler calls it.

use std::fs::File;
use std::io::{Write, stderr};
use std::os::fd::AsFd;
use std::sync::OnceLock;

/// Writes who the running tasklet is to where it is told, without allocating.
type Describe = fn(&mut dyn FnMut(&[u8]));

pub(crate) static DESCRIBE_RUNNING: OnceLock<Describe> = OnceLock::new();

/// Names the tasklet whose stack of `bytes` bytes overflowed and aborts.
pub(super) fn stack_overflow(bytes: usize) -> ! {
    let mut digits = [b'0'; 20];
    let (mut rest, mut start) = (bytes, digits.len());
    while rest > 0 {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    say(b"\ntasklets: stack overflow in tasklet ");
    if let Some(describe) = DESCRIBE_RUNNING.get() {
        describe(&mut say);
    }
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
