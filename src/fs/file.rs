//! Files that are read and written on other OS threads.
//!
//! Always: operations on one file come one after the other; what a stopped reader has left is read
//! by the next one, and counts as not read when the position is asked for or changed.

use super::kept::{self, Kept};
use crate::blocking::blocking;
use parking_lot::Mutex;
use std::fmt;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Most bytes that go at a time: through a buffer, since a thread cannot borrow from a tasklet.
const MOST: usize = 256 * 1024;

/// An open file.
///
/// As [`std::fs::File`], by value and by reference; each operation is a [`blocking`] call. So many
/// small ones are slow: put it into a [`BufReader`](io::BufReader) or a
/// [`BufWriter`](io::BufWriter).
///
/// # Cancellation
/// A read that is stopped loses nothing: the next one gets what it has left. A write that is
/// stopped when it has begun goes on, and may be seen later.
///
/// ```
/// use std::io::{BufRead, BufReader};
/// use tasklets::{fs::File, run};
/// let first = run(|| {
///     let file = BufReader::new(File::open("Cargo.toml")?);
///     file.lines().next().transpose()
/// });
/// assert_eq!(first.unwrap().as_deref(), Some("[package]"));
/// ```
pub struct File {
    kept: Arc<Mutex<Kept<std::fs::File>>>,
}

impl File {
    /// Opens a file to be read.
    ///
    /// # Errors
    /// As [`std::fs::File::open`]; those of [`blocking`].
    ///
    /// ```
    /// use tasklets::{fs::File, run};
    /// let missing = run(|| File::open("no such file").unwrap_err().kind());
    /// assert_eq!(missing, std::io::ErrorKind::NotFound);
    /// ```
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(OpenOptions::new().read(true), path)
    }

    /// Opens a file to be written, which is made if it is not there, and emptied if it is.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// ```
    /// use std::io::Write;
    /// use tasklets::{fs::{self, File}, run};
    /// let path = std::env::temp_dir().join(format!("tasklets-create-{}", std::process::id()));
    /// run(|| {
    ///     File::create(&path)?.write_all(b"new")?;
    ///     assert_eq!(fs::read(&path)?, b"new");
    ///     fs::remove_file(&path)
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(OpenOptions::new().write(true).create(true).truncate(true), path)
    }

    /// Makes a file, to be read and written, where nothing may be yet.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// ```
    /// use tasklets::{fs::File, run};
    /// let there = run(|| File::create_new("Cargo.toml").unwrap_err().kind());
    /// assert_eq!(there, std::io::ErrorKind::AlreadyExists); // and is what it was
    /// ```
    #[track_caller]
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(OpenOptions::new().read(true).write(true).create_new(true), path)
    }

    /// Options of std to say how a file is opened, for [`open_with`](Self::open_with): their own
    /// `open` holds up the OS thread, and gives std's file.
    ///
    /// ```
    /// use std::io::Write;
    /// use tasklets::{fs::{self, File}, run};
    /// let path = std::env::temp_dir().join(format!("tasklets-options-{}", std::process::id()));
    /// run(|| {
    ///     for word in ["one ", "two"] {
    ///         let mut log = File::open_with(File::options().append(true).create(true), &path)?;
    ///         log.write_all(word.as_bytes())?;
    ///     }
    ///     assert_eq!(fs::read(&path)?, b"one two");
    ///     fs::remove_file(&path)
    /// }).unwrap();
    /// ```
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Opens a file as `options` of std say.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// ```
    /// use std::fs::OpenOptions;
    /// use tasklets::{fs::File, run};
    /// let there = run(|| File::open_with(OpenOptions::new().write(true).create_new(true), "src"));
    /// assert_eq!(there.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    /// ```
    #[track_caller]
    pub fn open_with(options: &OpenOptions, path: impl AsRef<Path>) -> io::Result<File> {
        let (options, path) = (options.clone(), path.as_ref().to_owned());
        blocking(move || options.open(path))?.map(File::from)
    }

    /// What the OS knows of it.
    ///
    /// # Errors
    /// As [`std::fs::File::metadata`]; those of [`blocking`].
    ///
    /// ```
    /// use tasklets::{fs::File, run};
    /// assert!(run(|| File::open("Cargo.toml")?.metadata()).unwrap().is_file());
    /// ```
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.call(|it| it.metadata())
    }

    /// Cuts it off or fills it up with zeros.
    ///
    /// # Errors
    /// As [`std::fs::File::set_len`]; those of [`blocking`].
    ///
    /// ```
    /// use tasklets::{fs::{self, File}, run};
    /// let path = std::env::temp_dir().join(format!("tasklets-length-{}", std::process::id()));
    /// run(|| {
    ///     File::create(&path)?.set_len(7)?;
    ///     assert_eq!(fs::metadata(&path)?.len(), 7);
    ///     fs::remove_file(&path)
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        self.call(move |it| it.set_len(length))
    }

    /// Waits until all that was written is on the disk.
    ///
    /// # Errors
    /// As [`std::fs::File::sync_all`]; those of [`blocking`].
    ///
    /// ```
    /// use tasklets::{fs::File, run};
    /// run(|| File::open("Cargo.toml")?.sync_all()).unwrap();
    /// ```
    #[track_caller]
    pub fn sync_all(&self) -> io::Result<()> {
        self.call(|it| it.sync_all())
    }

    /// Waits until all that was written is on the disk, and as much about the file as is needed to
    /// read it again: not when it was changed, say.
    ///
    /// # Errors
    /// As [`std::fs::File::sync_data`]; those of [`blocking`].
    ///
    /// ```
    /// use tasklets::{fs::File, run};
    /// run(|| File::open("Cargo.toml")?.sync_data()).unwrap();
    /// ```
    #[track_caller]
    pub fn sync_data(&self) -> io::Result<()> {
        self.call(|it| it.sync_data())
    }

    /// Another handle of the same open file: they share its position. It takes no descriptor.
    ///
    /// # Errors
    /// None; it is a result because std's is.
    ///
    /// ```
    /// use std::io::Read;
    /// use tasklets::{fs::File, run};
    /// run(|| {
    ///     let (mut bracket, mut name) = ([0; 1], [0; 7]);
    ///     let mut file = File::open("Cargo.toml")?;
    ///     file.read_exact(&mut bracket)?;
    ///     file.try_clone()?.read_exact(&mut name)?; // it goes on
    ///     assert_eq!(&name, b"package");
    ///     std::io::Result::Ok(())
    /// }).unwrap();
    /// ```
    pub fn try_clone(&self) -> io::Result<File> {
        Ok(File { kept: self.kept.clone() })
    }

    /// Calls `f` with it on another OS thread, at the position that is known here.
    #[track_caller]
    fn call<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut std::fs::File) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let kept = self.kept.clone();
        blocking(move || {
            let mut kept = kept.lock();
            let left = kept.rest().len();
            if left > 0 {
                let back = i64::try_from(left).expect("a buffer has a length of 63 bits");
                kept.io.seek(SeekFrom::Current(-back))?;
                kept.forget(left);
            }
            f(&mut kept.io)
        })?
    }
}

impl From<std::fs::File> for File {
    fn from(std: std::fs::File) -> File {
        File { kept: Arc::new(Mutex::new(Kept::new(std))) }
    }
}

impl From<OwnedFd> for File {
    fn from(descriptor: OwnedFd) -> File {
        std::fs::File::from(descriptor).into()
    }
}

impl Read for &File {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(count) = kept::try_give(&self.kept, buffer) {
                return Ok(count);
            }
            let (kept, most) = (self.kept.clone(), buffer.len().min(MOST));
            if !blocking(move || kept::fill_empty(&kept, most))?? {
                return Ok(0);
            }
        }
    }
}

impl Write for &File {
    #[track_caller]
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let bytes = buffer[..buffer.len().min(MOST)].to_vec();
        self.call(move |it| it.write(&bytes))
    }

    /// Does nothing: what is written has gone to the OS.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    #[track_caller]
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.call(move |it| it.seek(to))
    }
}

impl Read for File {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for File {
    #[track_caller]
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }
    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Seek for File {
    #[track_caller]
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("File");
        if let Some(kept) = self.kept.try_lock() {
            shown.field("std", &kept.io);
        }
        shown.finish_non_exhaustive()
    }
}
