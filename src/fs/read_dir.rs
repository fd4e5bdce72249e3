//! The entries of a folder, read some at a time.
//!
//! Always: entries come in the order in which the OS tells them, each once.

use super::batches::Batches;
use crate::blocking::blocking;
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
    Ok(ReadDir { entries: Batches::new(std) })
}

/// Made by [`read_dir`].
///
/// If the tasklet is stopped the next item says so; then there is none for as long as that lasts.
/// Asked again afterwards, it goes on where it was.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{fs, run, within};
/// run(|| {
///     let mut entries = fs::read_dir("src").unwrap();
///     let in_time = within(Duration::ZERO, || entries.by_ref().flatten().count()).value;
///     assert_eq!(in_time, 0);
///     assert!(entries.count() > 20); // all of them
/// });
/// ```
pub struct ReadDir {
    entries: Batches<std::fs::ReadDir, io::Result<DirEntry>>,
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        let entry = self.entries.next(|std, found| {
            found.extend(std.by_ref().take(SOME));
            found.len() == SOME
        })?;
        Some(entry.unwrap_or_else(|why| Err(why.into())))
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").field("ended", &self.entries.is_ended()).finish_non_exhaustive()
    }
}
