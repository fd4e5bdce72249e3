//! The entries of a folder, read some at a time.
//!
//! Always: entries come in the order in which the OS tells them. Iterator: `Open -> Ended`.

use crate::blocking::blocking;
use std::collections::VecDeque;
use std::fmt;
use std::fs::DirEntry;
use std::io;
use std::path::Path;

/// Entries that are read at a time: a call costs more than an entry.
const SOME: usize = 64;

/// The entries of a folder, as [`std::fs::read_dir`] tells them.
///
/// # Errors
/// See [`std::fs::read_dir`] and [the module](super).
///
/// ```
/// use tasklets::{fs, run};
/// let names = run(|| {
///     fs::read_dir("src")?.map(|it| Ok(it?.file_name())).collect::<std::io::Result<Vec<_>>>()
/// });
/// assert!(names.unwrap().contains(&"lib.rs".into()));
/// ```
#[track_caller]
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    let std = blocking(move || std::fs::read_dir(path))??;
    Ok(ReadDir { std: Some(std), some: VecDeque::new() })
}

/// Made by [`read_dir`]. If the tasklet is stopped it gives that error, and ends.
pub struct ReadDir {
    /// `None` when it has ended.
    std: Option<std::fs::ReadDir>,
    some: VecDeque<io::Result<DirEntry>>,
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.some.is_empty()
            && let Some(mut std) = self.std.take()
        {
            let read = blocking(move || {
                let some: VecDeque<_> = std.by_ref().take(SOME).collect();
                ((some.len() == SOME).then_some(std), some)
            });
            match read {
                Ok((std, some)) => (self.std, self.some) = (std, some),
                Err(why) => return Some(Err(why.into())),
            }
        }
        self.some.pop_front()
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").field("ended", &self.std.is_none()).finish_non_exhaustive()
    }
}
