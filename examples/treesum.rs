//! SHA-256 sums of every file under a directory: a farm of workers whose results come out in order.
//!
//! ```text
//!               number                one batch of files
//!    printer ------------> walker --------------------------> worker, worker, ...
//!       ^                                                          |
//!       +----------------------------------------------------------+
//!                          one page of sums, in any order
//! ```
//!
//! Always: at most [`WINDOW`] batches are on their way around, because the printer gives out no
//! more numbers; so memory does not grow with the tree. Nobody is told to stop: when the walker is
//! done it drops its end, the workers find their channel closed and drop theirs, and that ends
//! the printer. Files are touched only on the threads behind [`blocking`]; a value that is needed
//! there and here (the walk, a buffer) is lent to the call and comes back with its result.

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZero;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::{mem, vec};
use tasklets::{Halt, Receiver, Runtime, Sender, blocking, channel, scope, select};

/// Batches between the walker and the printer: how far others get ahead of one slow file.
const WINDOW: usize = 256;

/// A batch is full with so many files, or as soon as they have so many bytes.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: u64 = 1 << 20;

/// Names of one directory that are kept at a time, at least; it is read again for the others.
const NAMES: usize = 1 << 15;

/// What a worker reads at once.
const BUFFER_BYTES: usize = 128 * 1024;

const USAGE: &str = "usage: treesum [--jobs N] [--] DIR";

const HELP: &str = "\
Prints the SHA-256 sums of all regular files under DIR, as

    find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum

does: in the same order, with the same escapes; symbolic links are not followed. Also the same:
if there is no file, that is the sum of nothing, named `-`. Different: a DIR may begin with a
hyphen (after `--`), and if it is a file named `-` its sum is printed, not that of nothing.

    --jobs N    hash with N workers, 1 to 1024; otherwise as many as there are processors
    --help      print this

What cannot be read is told on stderr, and the rest goes on. Exit status: 0 if all went well, 1 if
something could not be read or written, 2 if the arguments are wrong. A closed pipe, as in
`treesum DIR | head`, is no failure.";

fn main() -> ExitCode {
    let (dir, jobs) = match arguments(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return say(&format!("{USAGE}\n{HELP}\n")),
        Err(why) => {
            complain(&format!("treesum: {why}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    let runtime = Runtime::builder().blocking_threads(jobs).build();
    match runtime.run(|| sum_tree(dir, jobs)) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

/// What the command line asks for: a directory and a number of workers, or, `None`, help.
fn arguments(
    mut given: impl Iterator<Item = OsString>,
) -> Result<Option<(PathBuf, usize)>, String> {
    let mut jobs = available_parallelism().map_or(1, NonZero::get);
    let mut dirs = Vec::new();
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--help") => return Ok(None),
            Some("--jobs") => jobs = number(&given.next().ok_or("--jobs needs a number")?)?,
            Some("--") => dirs.extend(given.by_ref()),
            Some(it) if it.starts_with("--jobs=") => jobs = number(OsStr::new(&it[7..]))?,
            _ if argument.as_bytes().starts_with(b"-") && argument.len() > 1 => {
                return Err(format!("unknown option {argument:?}"));
            }
            _ => dirs.push(argument),
        }
    }
    match <[OsString; 1]>::try_from(dirs) {
        Ok([dir]) => Ok(Some((dir.into(), jobs))),
        Err(dirs) => Err(format!("one DIR is needed, {} were given", dirs.len())),
    }
}

fn number(text: &OsStr) -> Result<usize, String> {
    let jobs = text.to_str().and_then(|it| it.parse().ok());
    jobs.filter(|it| (1..=1_024).contains(it))
        .ok_or_else(|| format!("--jobs {text:?} is not a number from 1 to 1024"))
}

/// Walks, hashes and prints; true if everything could be read.
fn sum_tree(dir: PathBuf, jobs: usize) -> io::Result<bool> {
    let bar = progress_bar();
    let (number, numbers) = channel();
    let (batch, batches) = channel();
    let (page, pages) = channel();
    scope(|s| {
        if !bar.is_hidden() {
            let dir = dir.clone();
            s.spawn(|| count(dir, &bar));
        }
        s.spawn(move || walk(dir, &numbers, &batch));
        for _ in 0..jobs {
            let (batches, page) = (batches.clone(), page.clone());
            s.spawn(move || work(&batches, &page));
        }
        drop((batches, page));
        let printed = print(&number, &pages, &bar);
        // Nobody is left after the last page; after a closed pipe they would all read on.
        s.cancel();
        printed
    })
}

/// Walks `dir` a batch at a time.
fn walk(
    dir: PathBuf,
    numbers: &Receiver<usize>,
    batches: &Sender<(usize, Batch)>,
) -> Result<(), Halt> {
    let mut walk = Walk::new(dir);
    loop {
        let (lent, batch) = blocking(move || {
            let batch = walk.next();
            (walk, batch)
        })?;
        let Some(batch) = batch else { return Ok(()) };
        walk = lent;
        batches.send((numbers.recv()?, batch))?;
    }
}

/// Makes pages of batches until there are none.
fn work(batches: &Receiver<(usize, Batch)>, pages: &Sender<(usize, Page)>) -> Result<(), Halt> {
    let mut buffer = vec![0; BUFFER_BYTES];
    for (number, batch) in batches {
        let (lent, page) = blocking(move || {
            let page = batch.hash(&mut buffer);
            (buffer, page)
        })?;
        buffer = lent;
        pages.send((number, page))?;
    }
    Ok(())
}

/// Gives out numbers, and prints the pages that come back for them in their order.
fn print(
    numbers: &Sender<usize>,
    pages: &Receiver<(usize, Page)>,
    bar: &ProgressBar,
) -> io::Result<bool> {
    let mut window: VecDeque<Option<Page>> = VecDeque::new();
    let mut first = 0;
    let mut all_well = true;
    let mut walking = true;
    loop {
        select! {
            send(numbers, first + window.len()) -> sent if walking && window.len() < WINDOW => {
                walking = sent.is_ok();
                if walking { window.push_back(None) }
            }
            recv(pages) -> page => {
                let Ok((number, page)) = page else { break };
                window[number - first] = Some(page);
            }
        }
        while let Some(page) = window.front_mut().and_then(Option::take) {
            window.pop_front();
            first += 1;
            all_well &= page.complaints.is_empty();
            page.print(bar)?
        }
    }
    Ok(all_well)
}

/// Tells the bar how many files there will be.
fn count(dir: PathBuf, bar: &ProgressBar) -> Result<(), Halt> {
    let mut walk = Walk::new(dir);
    loop {
        let (lent, batch) = blocking(move || {
            let batch = walk.next();
            (walk, batch)
        })?;
        let Some(batch) = batch else { return Ok(()) };
        walk = lent;
        bar.inc_length(batch.paths.len() as u64);
    }
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} files, {eta} to go");
    bar.set_style(style.expect("the template is well formed"));
    bar
}

/// Some files that follow each other in the output.
#[derive(Default)]
struct Batch {
    paths: Vec<Vec<u8>>,
    bytes: u64,
    complaints: Vec<String>,
}

/// What came of a batch.
#[derive(Default)]
struct Page {
    lines: Vec<u8>,
    files: u64,
    complaints: Vec<String>,
}

impl Batch {
    fn hash(self, buffer: &mut [u8]) -> Page {
        let mut page = Page::default();
        page.complaints = self.complaints;
        page.files = self.paths.len() as u64;
        for path in &self.paths {
            match sum(path, buffer) {
                Ok(sum) => page.add_line(&sum, path),
                Err(e) => {
                    page.complaints.push(format!("treesum: {:?}: {e}", OsStr::from_bytes(path)))
                }
            }
        }
        page
    }
}

fn sum(path: &[u8], buffer: &mut [u8]) -> io::Result<[u8; 32]> {
    let mut file = File::open(OsStr::from_bytes(path))?;
    let mut hash = Sha256::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(n) => hash.update(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

impl Page {
    fn add_line(&mut self, sum: &[u8], path: &[u8]) {
        if path.iter().any(|it| b"\\\n\r".contains(it)) {
            self.lines.push(b'\\');
        }
        for byte in sum {
            self.lines.extend([byte >> 4, byte & 15].map(|it| b"0123456789abcdef"[it as usize]));
        }
        self.lines.extend(b"  ");
        for byte in path {
            match byte {
                b'\\' => self.lines.extend(b"\\\\"),
                b'\n' => self.lines.extend(b"\\n"),
                b'\r' => self.lines.extend(b"\\r"),
                _ => self.lines.push(*byte),
            }
        }
        self.lines.push(b'\n');
    }

    fn print(&self, bar: &ProgressBar) -> io::Result<()> {
        for c in &self.complaints {
            complain(c)
        }
        bar.inc(self.files);
        let mut out = io::stdout();
        out.write_all(&self.lines)?;
        out.flush()
    }
}

struct Walk {
    stack: Vec<Listing>,
}
struct Listing {
    dir: Vec<u8>,
    names: vec::IntoIter<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Walk {
    fn new(dir: PathBuf) -> Walk {
        let mut dir = dir.into_os_string().into_vec();
        if !dir.ends_with(b"/") {
            dir.push(b'/')
        }
        Walk { stack: vec![Listing { dir: Vec::new(), names: vec![dir].into_iter(), last: None }] }
    }
    fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        while batch.paths.len() < BATCH_FILES && batch.bytes < BATCH_BYTES && self.step(&mut batch)
        {
        }
        if batch.paths.is_empty() { None } else { Some(batch) }
    }
    fn step(&mut self, batch: &mut Batch) -> bool {
        let Some(top) = self.stack.last_mut() else { return false };
        let Some(name) = top.names.next() else {
            let top = self.stack.pop().unwrap();
            if let Some(last) = top.last {
                self.enter(top.dir, &last, batch)
            }
            return true;
        };
        let path = [&*top.dir, &*name].concat();
        if path.ends_with(b"/") {
            self.enter(path, b"", batch)
        } else {
            if std::env::var_os("NOSTAT").is_none() {
                batch.bytes +=
                    fs::symlink_metadata(OsStr::from_bytes(&path)).map_or(0, |it| it.len());
            }
            batch.paths.push(path);
        }
        true
    }
    fn enter(&mut self, dir: Vec<u8>, after: &[u8], batch: &mut Batch) {
        let mut names = Vec::new();
        let mut more = false;
        let Ok(entries) = fs::read_dir(OsStr::from_bytes(&dir)) else {
            batch.complaints.push("x".into());
            return;
        };
        for entry in entries {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let mut name = entry.file_name().into_vec();
            if kind.is_dir() {
                name.push(b'/')
            } else if !kind.is_file() {
                continue;
            }
            if *name <= *after {
                continue;
            }
            names.push(name);
            if names.len() == 2 * NAMES {
                names.select_nth_unstable(NAMES);
                names.truncate(NAMES);
                more = true;
            }
        }
        names.sort_unstable();
        if names.len() > NAMES && more {
            names.truncate(NAMES)
        }
        let last = if more { names.last().cloned() } else { None };
        self.stack.push(Listing { dir, names: names.into_iter(), last })
    }
}
fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
fn fail(error: &dyn std::error::Error) -> ExitCode {
    complain(&format!("treesum: {error}"));
    ExitCode::FAILURE
}
