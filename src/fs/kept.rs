//! Something that is read on other OS threads, and what was read of it that nobody has taken.
//!
//! Always: what a thread has read is kept here until a tasklet takes it, so a reader that is
//! stopped loses nothing. The lock is held while a thread reads; tasklets only try to get it.

use parking_lot::Mutex;
use std::io::{self, Read};

/// What was read, in front of what is still to be read.
pub(crate) struct Kept<T> {
    pub(crate) io: T,
    bytes: Vec<u8>,
    /// Bytes of it that have been taken.
    taken: usize,
}

impl<T> Kept<T> {
    pub(crate) const fn new(io: T) -> Kept<T> {
        Kept { io, bytes: Vec::new(), taken: 0 }
    }

    /// What nobody has taken.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Takes so many bytes of it.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.rest()[..count].to_vec();
        self.forget(count);
        taken
    }

    /// Whether a whole line is kept.
    pub(crate) fn has_line(&self) -> bool {
        self.rest().contains(&b'\n')
    }

    /// Takes a line with its end, if a whole one is kept.
    pub(crate) fn take_line(&mut self) -> Option<Vec<u8>> {
        let place = self.rest().iter().position(|it| *it == b'\n')?;
        Some(self.take(place + 1))
    }

    /// [`take_line`](Self::take_line) when no more bytes will come: the last one may have no end.
    pub(crate) fn take_last_line(&mut self) -> Vec<u8> {
        self.take_line().unwrap_or_else(|| self.take(self.rest().len()))
    }

    /// Moves as much as there is to `buffer`.
    pub(crate) fn give(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.rest().len());
        buffer[..count].copy_from_slice(&self.rest()[..count]);
        self.forget(count);
        count
    }

    /// Drops so many bytes of it.
    pub(crate) fn forget(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
    }

    /// Adds at most `most` bytes, by one call of `read`; tells how many came.
    pub(crate) fn fill(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut T, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        let before = self.bytes.len();
        self.bytes.resize(before + most, 0);
        let came = read(&mut self.io, &mut self.bytes[before..]);
        self.bytes.truncate(before + *came.as_ref().unwrap_or(&0));
        came
    }
}

/// Moves what is kept to `buffer`, if a tasklet may look now and there is anything.
pub(crate) fn try_give<T>(kept: &Mutex<Kept<T>>, buffer: &mut [u8]) -> Option<usize> {
    let mut kept = kept.try_lock()?;
    (!kept.rest().is_empty()).then(|| kept.give(buffer))
}

/// Reads if nothing is kept; tells whether there is anything now. For other threads.
pub(crate) fn fill_empty<T: Read>(kept: &Mutex<Kept<T>>, most: usize) -> io::Result<bool> {
    let mut kept = kept.lock();
    if kept.rest().is_empty() {
        kept.fill(most, |io, buffer| io.read(buffer))?;
    }
    Ok(!kept.rest().is_empty())
}
