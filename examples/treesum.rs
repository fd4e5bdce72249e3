//! SHA-256 sums of all files under a directory: a pipeline whose results stay in order.
//!
//! Walker, workers, printer: a batch of files goes in, a page of sums comes out. Always: no more
//! than `WINDOW` batches are under way, so memory does not grow with the tree. Only the threads of
//! the blocking pool touch files.

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File};
use std::io::{self, BufReader, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;
use std::thread::available_parallelism;
use tasklets::pipeline::{self, Cause};
use tasklets::{Runtime, blocking, scope};

/// Batches between walker and printer: how far the others get ahead of one large file.
const WINDOW: usize = 64;

/// A batch is full with so many files, or once they have so many bytes: one call on another thread
/// costs as much as a few small files, and large ones should go to different workers.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: u64 = 1024 * 1024;

/// What is read of a file at a time.
const BUFFER_BYTES: usize = 128 * 1024;

/// Names of one directory kept at a time, up to twice this; for more it is read again.
const NAMES: usize = 32 * 1024;

const USAGE: &str = "usage: treesum [--jobs N] [--] DIR";

const HELP: &str = "
Prints the SHA-256 sums of all regular files under DIR, exactly as

    find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum

does: same order, same escapes, symbolic links not followed, and for no file at all the sum of
nothing, named `-`. Unlike there, DIR may begin with a hyphen (after `--`) or be one.

    --jobs N    N workers, from 1 to 1024 (default: one for each processor)
    --help      this text

Whatever cannot be read costs a line on stderr. Exit status: 0; 1 if anything could not be read or
written; 2 for bad arguments. A closed pipe (`treesum DIR | head`) is a quiet end and no failure.
";

fn main() -> ExitCode {
    let (dir, jobs) = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return status(write!(io::stdout(), "{USAGE}\n{HELP}"), false),
        Err(why) => {
            complain(&format!("{why}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    let mut printer = Printer::new();
    let runtime = Runtime::builder().blocking_threads(jobs + 1).build(); // one is the walker's
    let printed = runtime.run(|| sum_tree(dir, &mut printer));
    printer.bar.finish_and_clear();
    let printed = printed.unwrap_or_else(|error| Err(io::Error::other(error.to_string())));
    status(printed, printer.failed)
}

/// What the command line says: a directory and how many workers; `None` if it asks for help.
fn arguments() -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut given = std::env::args_os().skip(1);
    let mut jobs = available_parallelism().map_or(1, |it| it.get().min(1_024)).to_string();
    let mut dirs = Vec::new();
    while let Some(argument) = given.next() {
        match &*argument.to_string_lossy() {
            "--" => dirs.extend(given.by_ref()),
            "--help" => return Ok(None),
            "--jobs" => jobs = given.next().unwrap_or_default().to_string_lossy().into(),
            it if it.starts_with("--jobs=") => jobs = it["--jobs=".len()..].into(),
            it if it.starts_with('-') && it != "-" => return Err(format!("unknown option {it:?}")),
            _ => dirs.push(argument),
        }
    }
    let jobs = jobs.parse().ok().filter(|it| (1..=1_024).contains(it));
    let jobs = jobs.ok_or("--jobs needs a number from 1 to 1024")?;
    match <[OsString; 1]>::try_from(dirs) {
        Ok([dir]) => Ok(Some((dir.into_vec(), jobs))),
        Err(dirs) => Err(format!("one DIR is needed, not {}", dirs.len())),
    }
}

/// Walks, sums and prints.
fn sum_tree(dir: Vec<u8>, printer: &mut Printer) -> io::Result<()> {
    scope(|s| {
        if !printer.bar.is_hidden() {
            // A second walk runs ahead, only to tell the bar how long it will be.
            let (dir, bar) = (dir.clone(), printer.bar.clone());
            s.spawn(move || walk(dir).for_each(|it| bar.inc_length(it.files.len() as u64)));
        }
        let pages = pipeline::from_iter(walk(dir)).on_pool().map(Page::of).workers(WINDOW);
        let printed = pages.try_for_each(|page| printer.print(page)).run();
        if printed.is_err() {
            s.cancel(); // nobody need know how long the bar would have been
        }
        printed.map_err(|error| match error.cause {
            Cause::Failed(error) => *error.downcast().expect("only printing fails"),
            _ => io::Error::other(error.to_string()),
        })
    })?;
    printer.bar.abandon(); // draws it once more, now that its length is known
    printer.finish()
}

/// The batches of `dir`. The walk is lent to another thread for each and comes back.
fn walk(dir: Vec<u8>) -> impl Iterator<Item = Batch> {
    let mut walk = Some(Walk::new(dir));
    std::iter::from_fn(move || {
        let mut here = walk.take()?;
        let (batch, rest) = blocking(move || here.next().map(|it| (it, here))).ok()??;
        walk = Some(rest);
        Some(batch)
    })
}

/// Files that follow each other in the output, and what went wrong on the way to them.
#[derive(Default)]
struct Batch {
    files: Vec<Vec<u8>>,
    bytes: u64,
    complaints: Vec<String>,
}

impl Batch {
    /// Takes a file in; one that cannot be read weighs nothing.
    fn add(&mut self, file: Vec<u8>) {
        self.bytes += fs::symlink_metadata(OsStr::from_bytes(&file)).map_or(0, |it| it.len());
        self.files.push(file);
    }
}

/// A tree, in the byte order of whole paths. Each directory's names are sorted as they stand in
/// paths, a subdirectory's with its slash: `a-`, `a/`, `a0`.
struct Walk {
    /// Where to begin, until it has begun.
    start: Option<Vec<u8>>,
    /// The directories it is in, outermost first.
    listings: Vec<Listing>,
}

/// What is still to come of one directory.
struct Listing {
    /// Its path, with the slash that a name goes behind.
    dir: Vec<u8>,
    names: std::vec::IntoIter<Vec<u8>>,
    /// The last of `names`, if there are more behind it that did not fit.
    last: Option<Vec<u8>>,
}

impl Iterator for Walk {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        while batch.files.len() + batch.complaints.len() < BATCH_FILES
            && batch.bytes < BATCH_BYTES
            && self.step(&mut batch)
        {}
        let is_empty = batch.files.is_empty() && batch.complaints.is_empty();
        (!is_empty).then_some(batch)
    }
}

impl Walk {
    fn new(dir: Vec<u8>) -> Walk {
        Walk { start: Some(dir), listings: Vec::new() }
    }

    /// Adds at most one file; false at the end of the tree.
    fn step(&mut self, batch: &mut Batch) -> bool {
        if let Some(dir) = self.start.take() {
            self.begin(dir, batch);
        } else if let Some(listing) = self.listings.last_mut() {
            if let Some(name) = listing.names.next() {
                let path = [&*listing.dir, &*name].concat();
                if path.ends_with(b"/") { self.enter(path, b"", batch) } else { batch.add(path) }
            } else if let Some(Listing { dir, last: Some(last), .. }) = self.listings.pop() {
                self.enter(dir, &last, batch);
            }
        } else {
            return false;
        }
        true
    }

    fn begin(&mut self, mut dir: Vec<u8>, batch: &mut Batch) {
        match fs::symlink_metadata(OsStr::from_bytes(&dir)) {
            Ok(it) if it.is_dir() => {
                if !dir.ends_with(b"/") {
                    dir.push(b'/');
                }
                self.enter(dir, b"", batch);
            }
            Ok(it) if it.is_file() => batch.add(dir),
            Ok(_) => {}
            Err(error) => batch.complaints.push(about(&dir, &error)),
        }
    }

    /// Lists the names of `dir` behind `after`.
    fn enter(&mut self, dir: Vec<u8>, after: &[u8], batch: &mut Batch) {
        let entries = match fs::read_dir(OsStr::from_bytes(&dir)) {
            Ok(entries) => entries,
            Err(error) => return batch.complaints.push(about(&dir, &error)),
        };
        let mut names = Vec::new();
        let mut all_fit = true;
        for name in entries.map(|it| it.and_then(name_to_walk)) {
            match name {
                Ok(Some(name)) if *name > *after => names.push(name),
                Ok(_) => {}
                Err(error) => batch.complaints.push(about(&dir, &error)),
            }
            if names.len() == 2 * NAMES {
                names.select_nth_unstable(NAMES);
                names.truncate(NAMES);
                all_fit = false;
            }
        }
        names.sort_unstable();
        names.truncate(if all_fit { 2 * NAMES } else { NAMES });
        let last = names.last().filter(|_| !all_fit).cloned();
        self.listings.push(Listing { dir, names: names.into_iter(), last });
    }
}

/// An entry's name, with a slash if it is a directory; `None` if it is neither that nor a file.
fn name_to_walk(entry: DirEntry) -> io::Result<Option<Vec<u8>>> {
    let kind = entry.file_type()?;
    let mut name = entry.file_name().into_vec();
    if kind.is_dir() {
        name.push(b'/');
    }
    Ok((kind.is_dir() || kind.is_file()).then_some(name))
}

/// What came of a batch, ready to be printed.
#[derive(Default)]
struct Page {
    lines: Vec<u8>,
    files: usize,
    complaints: Vec<String>,
}

impl Page {
    /// Reads and hashes the files of `batch`.
    fn of(batch: Batch) -> Page {
        let Batch { files, complaints, .. } = batch;
        let mut page = Page { lines: Vec::new(), files: files.len(), complaints };
        for file in &files {
            match sum(file) {
                Ok(sum) => page.add_line(&sum, file),
                Err(error) => page.complaints.push(about(file, &error)),
            }
        }
        page
    }

    /// Adds a line as sha256sum writes it: a backslash first tells of escapes in its name.
    fn add_line(&mut self, sum: &[u8], name: &[u8]) {
        let odd = |it: &u8| matches!(it, b'\\' | b'\n' | b'\r');
        self.lines.extend(name.iter().any(odd).then_some(b'\\'));
        let digits = sum.iter().flat_map(|it| [it >> 4, it & 15]);
        self.lines.extend(digits.map(|it| b"0123456789abcdef"[usize::from(it)]));
        self.lines.extend(b"  ");
        for byte in name {
            match byte {
                b'\\' => self.lines.extend(b"\\\\"),
                b'\n' => self.lines.extend(b"\\n"),
                b'\r' => self.lines.extend(b"\\r"),
                other => self.lines.push(*other),
            }
        }
        self.lines.push(b'\n');
    }
}

fn sum(file: &[u8]) -> io::Result<[u8; 32]> {
    let file = File::open(OsStr::from_bytes(file))?;
    let mut sum = Sha256::new();
    io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, file), &mut sum)?;
    Ok(sum.finalize().into())
}

/// Where pages go: lines to stdout, complaints to stderr, and a bar there if it is a terminal.
struct Printer {
    bar: ProgressBar,
    /// Whether stdout is a terminal too, so that the bar has to make room.
    beside_bar: bool,
    is_empty: bool,
    failed: bool,
}

impl Printer {
    fn new() -> Printer {
        let bar = ProgressBar::new(0); // draws on stderr, and only if that is a terminal
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} files, {eta} to go");
        bar.set_style(style.expect("the template is well formed"));
        Printer { bar, beside_bar: io::stdout().is_terminal(), is_empty: true, failed: false }
    }

    /// Prints a page, here and not through `blocking`: as long as the reader is not ready for it
    /// there is no point in doing anything else.
    fn print(&mut self, page: Page) -> io::Result<()> {
        if !page.complaints.is_empty() {
            self.failed = true;
            self.bar.suspend(|| page.complaints.iter().for_each(|it| complain(it)));
        }
        self.is_empty &= page.files == 0;
        self.bar.inc(page.files as u64);
        let write = || io::stdout().write_all(&page.lines);
        if self.beside_bar { self.bar.suspend(write) } else { write() }
    }

    /// Prints what comes after the last page: of no file at all, what xargs and sha256sum make.
    fn finish(&mut self) -> io::Result<()> {
        let mut page = Page::default();
        if self.is_empty {
            page.add_line(&Sha256::digest(b""), b"-");
        }
        self.print(page)
    }
}

/// The exit status, with a word about why nothing more could be printed.
fn status(printed: io::Result<()>, failed: bool) -> ExitCode {
    match printed {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => complain(&error.to_string()),
        Ok(()) | Err(_) if !failed => return ExitCode::SUCCESS,
        Ok(()) | Err(_) => {}
    }
    ExitCode::FAILURE
}

/// A line about a path, on one line whatever the path is.
fn about(path: &[u8], error: &io::Error) -> String {
    format!("{:?}: {error}", OsStr::from_bytes(path))
}

fn complain(text: &str) {
    // If stderr is gone there is nobody to tell.
    drop(writeln!(io::stderr(), "treesum: {text}"));
}
