//! SHA-256 sums of all files under a directory: a pipeline whose results stay in order.
//!
//! Walker, workers, printer: a batch of files goes in, a page of sums comes out. Always: no more
//! than `WINDOW` batches are under way, so memory does not grow with the tree. Only the threads of
//! the blocking pool touch files.

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;
use tasklets::fs::{self, Entry};
use tasklets::pipeline::{self, Cause};
use tasklets::{Runtime, scope};

/// Batches between walker and printer: how far the others get ahead of one large file.
const WINDOW: usize = 64;

/// A batch is full with so many files, or once they have so many bytes: one call on another thread
/// costs as much as a few small files, and large ones should go to different workers.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: usize = 1024 * 1024;

/// What is read of a file at a time.
const BUFFER_BYTES: usize = 128 * 1024;

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
    let printed = runtime.run(|| sum_tree(&dir, &mut printer));
    printer.bar.finish_and_clear();
    let printed = printed.unwrap_or_else(|error| Err(io::Error::other(error.to_string())));
    status(printed, printer.failed)
}

/// What the command line says: a directory and how many workers; `None` if it asks for help.
fn arguments() -> Result<Option<(PathBuf, usize)>, String> {
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
        Ok([dir]) => Ok(Some((dir.into(), jobs))),
        Err(dirs) => Err(format!("one DIR is needed, not {}", dirs.len())),
    }
}

/// Walks, sums and prints.
fn sum_tree(dir: &Path, printer: &mut Printer) -> io::Result<()> {
    scope(|s| {
        if !printer.bar.is_hidden() {
            // A second walk runs ahead, only to tell the bar how long it will be.
            let (ahead, bar) = (fs::walk(dir), printer.bar.clone());
            s.spawn(move || ahead.flatten().filter(is_file).for_each(|_| bar.inc_length(1)));
        }
        let pages =
            pipeline::from_iter(batches(fs::walk(dir))).on_pool().map(Page::of).workers(WINDOW);
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

/// Entries that go together: batched here, for a stage would be given each of them by itself.
fn batches(mut walk: fs::Walk) -> impl Iterator<Item = Vec<io::Result<Entry>>> {
    std::iter::from_fn(move || {
        let (mut batch, mut weight) = (Vec::new(), 0);
        while weight < BATCH_BYTES
            && let Some(entry) = walk.next()
        {
            weight += bytes(&entry);
            batch.push(entry);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

/// What an entry weighs in its batch: one that is not a file, no more than the smallest.
fn bytes(entry: &io::Result<Entry>) -> usize {
    let file = entry.as_ref().ok().filter(|it| is_file(it));
    let bytes = file.map_or(0, |it| it.metadata.len());
    usize::try_from(bytes).unwrap_or(BATCH_BYTES).max(BATCH_BYTES / BATCH_FILES)
}

fn is_file(entry: &Entry) -> bool {
    entry.metadata.is_file()
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
    fn of(batch: Vec<io::Result<Entry>>) -> Page {
        let mut page = Page::default();
        for entry in batch {
            match entry {
                Ok(entry) if is_file(&entry) => page.add_file(&entry.path),
                Ok(_) => {}
                Err(error) => page.complaints.push(error.to_string()),
            }
        }
        page
    }

    fn add_file(&mut self, path: &Path) {
        self.files += 1;
        match sum(path) {
            Ok(sum) => self.add_line(&sum, path.as_os_str().as_bytes()),
            Err(error) => self.complaints.push(format!("{path:?}: {error}")),
        }
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

fn sum(file: &Path) -> io::Result<[u8; 32]> {
    let file = File::open(file)?;
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

fn complain(text: &str) {
    // If stderr is gone there is nobody to tell.
    drop(writeln!(io::stderr(), "treesum: {text}"));
}
