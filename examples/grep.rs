//! Lines that match, of all files under a path, as `grep -rnE` prints them: files in the order of
//! their directories, searched by as many threads as there are processors.
//!
//! ```text
//! cargo run --release --example grep -- 'fn \w+_all' src
//! ```
//!
//! Always: files are searched in parallel and printed in order; no more of them than there are
//! workers are in memory. Symbolic links below the path are not followed.

use regex::bytes::{Regex, RegexBuilder};
use std::ffi::OsString;
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

/// Where a zero byte makes a file a binary one.
const HEAD_BYTES: usize = 32 * 1024;

/// What is printed of a file: lines, or why there are none.
type Found = io::Result<Vec<u8>>;

fn search(pattern: &Regex, path: &PathBuf) -> Found {
    let (text, mut lines) = (fs::read(path)?, Vec::new());
    let name = path.as_os_str().as_bytes();
    let binary = memchr::memchr(0, &text[..text.len().min(HEAD_BYTES)]).is_some();
    let (mut start, mut number, mut counted) = (0, 1, 0);
    while start < text.len() {
        let Some(found) = pattern.find_at(&text, start) else { break };
        let begin = memchr::memrchr(b'\n', &text[..found.start()]).map_or(0, |it| it + 1);
        let end = memchr::memchr(b'\n', &text[found.start()..]);
        let end = end.map_or(text.len(), |it| found.start() + it);
        if begin == text.len() {
            break; // behind the last line
        }
        if binary {
            return Ok([b"Binary file ", name, b" matches\n"].concat());
        }
        number += memchr::memchr_iter(b'\n', &text[counted..begin]).count();
        counted = begin;
        lines.extend_from_slice(name);
        write!(lines, ":{number}:")?;
        lines.extend_from_slice(&text[begin..end]);
        lines.push(b'\n');
        start = end + 1;
    }
    Ok(lines)
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
        eprintln!("usage: grep PATTERN PATH");
        return ExitCode::from(2);
    };
    let pattern = RegexBuilder::new(&pattern.to_string_lossy()).multi_line(true).build();
    let pattern = match pattern {
        Ok(pattern) => pattern,
        Err(error) => return (eprintln!("grep: {error}"), ExitCode::from(2)).1,
    };
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get());
    let (mut found, mut failed) = (false, false);
    let printed = Runtime::builder().blocking_threads(threads).build().run(|| {
        let mut out = io::stdout().lock();
        let files = pipeline::from_iter(walk(path.into())).batch(BATCH);
        let search = move |files: Vec<PathBuf>| -> Vec<_> {
            files.into_iter().map(|it| (search(&pattern, &it), it)).collect()
        };
        let searched = files.on_pool().map(search).workers(WINDOW).flat_map(|files| files);
        let print = |(lines, path): (Found, PathBuf)| match lines {
            Ok(lines) => {
                found |= !lines.is_empty();
                out.write_all(&lines)
            }
            Err(error) => {
                failed = true;
                eprintln!("grep: {}: {error}", path.display());
                Ok(())
            }
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
