//! Files and folders without holding up the OS thread: [`std::fs`], by the same names.
//!
//! There is no waiting for files in the OS, so each function is a [`blocking`] call: it runs on
//! another OS thread while the tasklet waits. In a run that is explored it is part of the tasklet's
//! own step.
//!
//! Errors are those of std's function and those of [`blocking`] as [`io::Error`]s. A tasklet that
//! is stopped returns at once; what has begun by then goes on: the file may be there later.
//!
//! ```
//! use tasklets::{fs, run, scope};
//! let bytes = run(|| scope(|s| {
//!     let paths = ["Cargo.toml", "README.md", "LICENSE"];
//!     let all = paths.map(|path| s.spawn(move || fs::read(path))); // beside each other
//!     all.map(|it| it.join().unwrap().unwrap().len())
//! }));
//! assert!(bytes.iter().all(|it| *it > 0));
//! ```
//!
//! Always: nothing here touches a file on the scheduler's own thread.

mod batches;
mod file;
pub(crate) mod kept;
mod read_dir;
mod walk;

pub use file::File;
pub use read_dir::{ReadDir, read_dir};
pub use std::fs::{DirEntry, FileType, Metadata, OpenOptions, Permissions};
pub use walk::{Entry, Walk, walk};

use crate::blocking::blocking;
use std::io;
use std::path::{Path, PathBuf};

/// The bytes of a file.
///
/// # Errors
/// See [`std::fs::read`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// assert!(run(|| fs::read("Cargo.toml")).unwrap().starts_with(b"[package]"));
/// ```
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::read(path))?
}

/// The text of a file.
///
/// # Errors
/// See [`std::fs::read_to_string`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// assert!(run(|| fs::read_to_string("Cargo.toml")).unwrap().contains("tasklets"));
/// ```
#[track_caller]
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::read_to_string(path))?
}

/// Writes a whole file, which is made if it is not there, and replaced if it is.
///
/// # Errors
/// See [`std::fs::write`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let path = std::env::temp_dir().join(format!("tasklets-write-{}", std::process::id()));
/// run(|| {
///     fs::write(&path, "all of it")?;
///     assert_eq!(fs::read_to_string(&path)?, "all of it");
///     fs::remove_file(&path)
/// }).unwrap();
/// ```
#[track_caller]
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, bytes) = (path.as_ref().to_owned(), bytes.as_ref().to_vec());
    blocking(move || std::fs::write(path, bytes))?
}

/// Copies a file with its permissions; tells its length.
///
/// # Errors
/// See [`std::fs::copy`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let folder = std::env::temp_dir().join(format!("tasklets-copy-{}", std::process::id()));
/// run(|| {
///     let length = fs::copy("Cargo.toml", &folder)?;
///     assert_eq!(length, fs::metadata("Cargo.toml")?.len());
///     fs::remove_file(&folder)
/// }).unwrap();
/// ```
#[track_caller]
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    blocking(move || std::fs::copy(from, to))?
}

/// Gives a file or folder another name, and takes the place of what has it.
///
/// # Errors
/// See [`std::fs::rename`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let folder = std::env::temp_dir().join(format!("tasklets-rename-{}", std::process::id()));
/// run(|| {
///     fs::create_dir(&folder)?;
///     fs::write(folder.join("new"), "1")?;
///     fs::rename(folder.join("new"), folder.join("current"))?; // whole or not at all
///     assert!(!fs::exists(folder.join("new"))?);
///     fs::remove_dir_all(&folder)
/// }).unwrap();
/// ```
#[track_caller]
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    blocking(move || std::fs::rename(from, to))?
}

/// Gives a file another name beside the one it has.
///
/// # Errors
/// See [`std::fs::hard_link`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let folder = std::env::temp_dir().join(format!("tasklets-link-{}", std::process::id()));
/// run(|| {
///     fs::create_dir(&folder)?;
///     fs::write(folder.join("one"), "1")?;
///     fs::hard_link(folder.join("one"), folder.join("other"))?;
///     fs::remove_file(folder.join("one"))?;
///     assert_eq!(fs::read(folder.join("other"))?, b"1"); // it is the same file
///     fs::remove_dir_all(&folder)
/// }).unwrap();
/// ```
#[track_caller]
pub fn hard_link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    blocking(move || std::fs::hard_link(from, to))?
}

/// Where a symbolic link leads to.
///
/// # Errors
/// See [`std::fs::read_link`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let program = run(|| fs::read_link("/proc/self/exe")).unwrap();
/// assert_eq!(program, std::env::current_exe().unwrap());
/// assert!(run(|| fs::read_link("Cargo.toml")).is_err()); // no link
/// ```
#[track_caller]
pub fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::read_link(path))?
}

/// Changes who may do what to a file or folder.
///
/// # Errors
/// See [`std::fs::set_permissions`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let path = std::env::temp_dir().join(format!("tasklets-permissions-{}", std::process::id()));
/// run(|| {
///     fs::write(&path, "do not change")?;
///     let mut permissions = fs::metadata(&path)?.permissions();
///     permissions.set_readonly(true);
///     fs::set_permissions(&path, permissions)?;
///     assert!(fs::metadata(&path)?.permissions().readonly());
///     fs::remove_file(&path)
/// }).unwrap();
/// ```
#[track_caller]
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::set_permissions(path, permissions))?
}

/// Removes a file.
///
/// # Errors
/// See [`std::fs::remove_file`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let missing = run(|| fs::remove_file("no such file")).unwrap_err();
/// assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
/// ```
#[track_caller]
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::remove_file(path))?
}

/// Makes a folder.
///
/// # Errors
/// See [`std::fs::create_dir`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let there = run(|| fs::create_dir("src")).unwrap_err();
/// assert_eq!(there.kind(), std::io::ErrorKind::AlreadyExists);
/// ```
#[track_caller]
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::create_dir(path))?
}

/// Makes a folder, and those it is in, unless they are there.
///
/// # Errors
/// See [`std::fs::create_dir_all`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// run(|| fs::create_dir_all("src/fs")).unwrap(); // they are
/// ```
#[track_caller]
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::create_dir_all(path))?
}

/// Removes an empty folder.
///
/// # Errors
/// See [`std::fs::remove_dir`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let full = run(|| fs::remove_dir("src")).unwrap_err();
/// assert_eq!(full.kind(), std::io::ErrorKind::DirectoryNotEmpty);
/// ```
#[track_caller]
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::remove_dir(path))?
}

/// Removes a folder with all that is in it.
///
/// # Errors
/// See [`std::fs::remove_dir_all`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let folder = std::env::temp_dir().join(format!("tasklets-remove-{}", std::process::id()));
/// run(|| {
///     fs::create_dir_all(folder.join("a/b/c"))?;
///     fs::remove_dir_all(&folder)?;
///     assert!(!fs::exists(&folder)?);
///     std::io::Result::Ok(())
/// }).unwrap();
/// ```
#[track_caller]
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::remove_dir_all(path))?
}

/// What the OS knows of a file; of what a link leads to.
///
/// # Errors
/// See [`std::fs::metadata`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// assert!(run(|| fs::metadata("src")).unwrap().is_dir());
/// ```
#[track_caller]
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::metadata(path))?
}

/// What the OS knows of a file; of a link itself.
///
/// # Errors
/// See [`std::fs::symlink_metadata`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// assert!(!run(|| fs::symlink_metadata("src")).unwrap().is_symlink());
/// ```
#[track_caller]
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::symlink_metadata(path))?
}

/// The absolute path, without links and dots.
///
/// # Errors
/// See [`std::fs::canonicalize`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// let path = run(|| fs::canonicalize("src/../Cargo.toml")).unwrap();
/// assert!(path.is_absolute() && path.ends_with("Cargo.toml"));
/// ```
#[track_caller]
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::canonicalize(path))?
}

/// Whether there is anything.
///
/// # Errors
/// See [`std::fs::exists`] and [the module](self).
///
/// ```
/// use tasklets::{fs, run};
/// assert!(!run(|| fs::exists("no such file")).unwrap());
/// ```
#[track_caller]
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::exists(path))?
}
