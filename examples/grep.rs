//! Lines that match, of all files under a path, as `LC_ALL=C grep -rnE` prints them: files in the
//! order of their directories, searched by as many threads as there are processors.
//!
//! ```text
//! cargo run --release --example grep -- '\<fn \w+_all' src
//! ```
//!
//! The pattern is an extended regular expression of bytes, without back-references. A line that
//! matches is printed whatever its bytes are; of a file with a zero byte, which is a binary one,
//! stderr is told that it matches. Always: files are searched in parallel and printed in order; no
//! more of them than there are workers are in memory. Symbolic links below the path are not
//! followed.

#[path = "grep/ere.rs"]
mod ere;

use regex::bytes::{Regex, RegexBuilder};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use tasklets::Runtime;
use tasklets::pipeline::{self, Cause};

/// Files that go to another thread together: one call costs as much as a small file.
const BATCH: usize = 32;

/// Batches that are searched, or wait for their turn to be printed.
const WINDOW: usize = 8;

/// What GNU grep reads at a time: of a binary file it prints what it read before it knew.
const BLOCK_BYTES: usize = 96 * 1024;

/// Said if the arguments are not these two.
const USAGE: &str = "usage: grep PATTERN PATH
Prints the lines of the files under PATH that match PATTERN, an extended regular expression as for
grep -E (no back-references; a character is a byte), as LC_ALL=C grep -rnE does.";

/// What is printed of a file.
struct Lines {
    text: Vec<u8>,
    /// Whether more lines match that are not printed, as the file is a binary one.
    binary: bool,
}

fn search(pattern: &Regex, path: &PathBuf) -> io::Result<Lines> {
    let (mut text, mut lines) = (fs::read(path)?, Lines { text: Vec::new(), binary: false });
    let name = path.as_os_str().as_bytes();
    let shown = memchr::memchr(0, &text).map(|zero| zero - zero % BLOCK_BYTES);
    if let Some(shown) = shown {
        // In a binary file a zero byte ends a line, too.
        text[shown..].iter_mut().filter(|it| **it == 0).for_each(|it| *it = b'\n');
    }
    let (mut start, mut number, mut counted) = (0, 1, 0);
    while start < text.len() {
        let Some(found) = pattern.find_at(&text, start) else { break };
        let begin = memchr::memrchr(b'\n', &text[..found.start()]).map_or(0, |it| it + 1);
        let end = memchr::memchr(b'\n', &text[found.start()..]);
        let end = end.map_or(text.len(), |it| found.start() + it);
        if begin == text.len() {
            break; // behind the last line
        }
        if shown.is_some_and(|it| end >= it) {
            lines.binary = true;
            break;
        }
        number += memchr::memchr_iter(b'\n', &text[counted..begin]).count();
        counted = begin;
        lines.text.extend_from_slice(name);
        write!(lines.text, ":{number}:")?;
        lines.text.extend_from_slice(&text[begin..end]);
        lines.text.push(b'\n');
        start = end + 1;
    }
    Ok(lines)
}

/// The pattern, compiled.
fn compiled(pattern: &OsStr) -> Result<Regex, String> {
    let translated = ere::translated(pattern.as_bytes())?;
    let mut builder = RegexBuilder::new(&translated);
    builder.unicode(false).multi_line(true).build().map_err(|error| error.to_string())
}

/// The files under `path`, each directory's in the order in which the OS lists them, as GNU grep
/// has them; `tasklets::fs::walk` sorts.
fn walk(path: PathBuf) -> impl Iterator<Item = PathBuf> {
    let mut left = vec![path];
    std::iter::from_fn(move || {
        while let Some(path) = left.pop() {
            let first = left.is_empty();
            let kind = if first { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
            match kind {
                Ok(it) if it.is_dir() => match fs::read_dir(&path) {
                    Ok(entries) => {
                        let names: Vec<_> = entries.flatten().map(|it| it.path()).collect();
                        left.extend(names.into_iter().rev());
                    }
                    Err(error) => eprintln!("grep: {}: {error}", path.display()),
                },
                Ok(it) if it.is_file() => return Some(path),
                Ok(_) => {}
                Err(_) => return Some(path), // reading it will say why
            }
        }
        None
    })
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [pattern, path] = &arguments[..] else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match compiled(pattern) {
        Ok(pattern) => print(pattern, path.into()),
        Err(error) => (eprintln!("grep: {error}"), ExitCode::from(2)).1,
    }
}

/// Prints what matches under `path`: 0 if there is anything, 1 if not, 2 if something went wrong.
fn print(pattern: Regex, path: PathBuf) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get());
    let (mut found, mut failed) = (false, false);
    let printed = Runtime::builder().blocking_threads(threads).build().run(|| {
        let mut out = io::stdout().lock();
        let files = pipeline::from_iter(walk(path)).batch(BATCH);
        let search = move |files: Vec<PathBuf>| -> Vec<_> {
            files.into_iter().map(|it| (search(&pattern, &it), it)).collect()
        };
        let searched = files.on_pool().map(search).workers(WINDOW).flat_map(|files| files);
        let print = |(lines, path): (io::Result<Lines>, PathBuf)| -> io::Result<()> {
            match lines {
                Ok(lines) => {
                    found |= lines.binary || !lines.text.is_empty();
                    out.write_all(&lines.text)?;
                    if lines.binary {
                        eprintln!("grep: {}: binary file matches", path.display());
                    }
                }
                Err(error) => {
                    failed = true;
                    eprintln!("grep: {}: {error}", path.display());
                }
            }
            Ok(())
        };
        searched.try_for_each(print).run().map(drop)
    });
    match printed {
        Ok(Err(error)) if !matches!(&error.cause, Cause::Failed(it) if is_closed(&**it)) => {
            (eprintln!("grep: {error}"), ExitCode::from(2)).1
        }
        Ok(_) if failed => ExitCode::from(2),
        Ok(_) => ExitCode::from(u8::from(!found)),
        Err(error) => (eprintln!("grep: {error}"), ExitCode::from(2)).1,
    }
}

/// Whether nobody reads any more.
fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == ErrorKind::BrokenPipe)
}
