//! Facts about an access log in the Common or Combined format: a pipeline of chunks of lines.
//!
//! Reader, parser, clerk: the reader gives chunks that end with a line, the parser finds the fields
//! of each line, the clerk counts and puts malformed lines aside. Always: no more than three chunks
//! are under way; what grows is the number of different paths and hosts only.

mod line;

use line::Line;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::process::ExitCode;
use tasklets::{pipeline, run};

/// What is read at a time; a line that is longer is read whole all the same.
const CHUNK_BYTES: usize = 256 * 1024;

/// A line without an end is malformed from here on: memory stays bounded.
const LINE_BYTES: usize = 4 * 1024 * 1024;

/// Paths and hosts that are printed.
const TOP: usize = 10;

const USAGE: &str = "usage: logstat [--reject FILE] [--] [FILE...]";

const HELP: &str = "
Reads access logs in the Common or Combined format (stdin if no FILE is given, or for `-`) and
prints one fact a line, fields separated by tabs:

    requests N       well-formed lines
    malformed N      other lines
    bytes N          the sum of their sizes
    status CODE N    for each code, ascending
    path N PATH      the ten that were asked for most often, equal ones by name
    host N HOST      the ten that asked most often, equal ones by name

    --reject FILE    malformed lines are written to FILE
    --help           this text

Exit status: 0; 1 if anything could not be read or written; 2 for bad arguments.
";

fn main() -> ExitCode {
    let (reject, files) = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return end(write!(io::stdout(), "{USAGE}\n{HELP}")),
        Err(why) => {
            complain(&format!("{why}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    let reject = match reject.map(File::create).transpose() {
        Ok(file) => file.map(BufWriter::new),
        Err(error) => return end(Err(error)),
    };
    let mut clerk = Clerk { reject, ..Clerk::default() };
    let (mut failed, names) = (false, if files.is_empty() { vec!["-".into()] } else { files });
    for name in names {
        if let Err(error) = read(&name, &mut clerk) {
            complain(&format!("{}: {error}", name.to_string_lossy()));
            failed = true;
        }
    }
    let printed = clerk.finish();
    if failed { ExitCode::FAILURE } else { end(printed) }
}

type Arguments = (Option<OsString>, Vec<OsString>);

/// What the command line says: where malformed lines go, and the files; `None` if it asks for help.
fn arguments() -> Result<Option<Arguments>, String> {
    let mut given = std::env::args_os().skip(1);
    let (mut reject, mut files) = (None, Vec::new());
    while let Some(argument) = given.next() {
        match &*argument.to_string_lossy() {
            "--" => files.extend(given.by_ref()),
            "--help" => return Ok(None),
            "--reject" => reject = Some(given.next().ok_or("--reject needs a FILE")?),
            it if it.starts_with('-') && it != "-" => return Err(format!("unknown option {it:?}")),
            _ => files.push(argument),
        }
    }
    Ok(Some((reject, files)))
}

/// One file's lines, counted.
fn read(name: &OsString, clerk: &mut Clerk) -> io::Result<()> {
    let from: Box<dyn Read> =
        if name == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(name)?) };
    let failure = Cell::new(None);
    let chunks = Chunks { from, rest: Vec::new(), ended: false, failure: &failure };
    let counted = run(|| {
        let lines = pipeline::from_iter(chunks).named("read").map(parse).named("parse");
        lines.try_for_each(|it| clerk.enter(&it)).named("count").run()
    });
    counted.map_err(|error| io::Error::other(error.to_string()))?;
    failure.take().map_or(Ok(()), Err)
}

/// Parts of a reader that end with a line.
struct Chunks<'a> {
    from: Box<dyn Read>,
    rest: Vec<u8>,
    ended: bool,
    /// Why it ended, if not because there is no more.
    failure: &'a Cell<Option<io::Error>>,
}

impl Iterator for Chunks<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut chunk = std::mem::take(&mut self.rest);
        loop {
            let had = chunk.len();
            chunk.resize(had + CHUNK_BYTES, 0);
            let got = match self.from.read(&mut chunk[had..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    chunk.truncate(had);
                    continue;
                }
                Err(error) => {
                    self.failure.set(Some(error));
                    0
                }
                Ok(got) => got,
            };
            chunk.truncate(had + got);
            if got == 0 {
                self.ended = true;
                return (!chunk.is_empty()).then_some(chunk);
            }
            if let Some(end) = memchr::memrchr(b'\n', &chunk[had..]) {
                self.rest = chunk.split_off(had + end + 1);
                return Some(chunk);
            }
            if chunk.len() > LINE_BYTES {
                return Some(chunk);
            }
        }
    }
}

/// A chunk and the lines in it.
struct Parsed {
    chunk: Vec<u8>,
    lines: Vec<Line>,
}

fn parse(chunk: Vec<u8>) -> Parsed {
    let mut lines = Vec::with_capacity(chunk.len() / 64);
    let mut start = 0;
    while start < chunk.len() {
        let end = memchr::memchr(b'\n', &chunk[start..]).map_or(chunk.len(), |it| start + it);
        lines.push(Line::parse(&chunk, start, end));
        start = end + 1;
    }
    Parsed { chunk, lines }
}

/// How often each name was seen.
type Counts = FxHashMap<Box<[u8]>, u64>;

/// Who counts.
#[derive(Default)]
struct Clerk {
    requests: u64,
    malformed: u64,
    bytes: u64,
    codes: std::collections::BTreeMap<u16, u64>,
    paths: Counts,
    hosts: Counts,
    reject: Option<BufWriter<File>>,
}

impl Clerk {
    fn enter(&mut self, parsed: &Parsed) -> io::Result<()> {
        for line in &parsed.lines {
            match line {
                Line::Request { host, path, code, bytes } => {
                    self.requests += 1;
                    self.bytes = self.bytes.saturating_add(*bytes);
                    *self.codes.entry(*code).or_default() += 1;
                    count(&mut self.paths, &parsed.chunk[path.clone()]);
                    count(&mut self.hosts, &parsed.chunk[host.clone()]);
                }
                Line::Malformed(text) => {
                    self.malformed += 1;
                    if let Some(reject) = &mut self.reject {
                        reject.write_all(&parsed.chunk[text.clone()])?;
                        reject.write_all(b"\n")?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Prints what has been counted.
    fn finish(mut self) -> io::Result<()> {
        if let Some(reject) = &mut self.reject {
            reject.flush()?;
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let Clerk { requests, malformed, bytes, codes, .. } = &self;
        writeln!(out, "requests\t{requests}\nmalformed\t{malformed}\nbytes\t{bytes}")?;
        for (code, count) in codes {
            writeln!(out, "status\t{code}\t{count}")?;
        }
        for (what, counts) in [("path", &self.paths), ("host", &self.hosts)] {
            for (name, count) in top(counts) {
                write!(out, "{what}\t{count}\t")?;
                out.write_all(name)?;
                out.write_all(b"\n")?;
            }
        }
        out.flush()
    }
}

fn count(counts: &mut Counts, name: &[u8]) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.into(), 1)),
    }
}

/// The names that were seen most often.
fn top(counts: &Counts) -> Vec<(&[u8], u64)> {
    let mut all: Vec<_> = counts.iter().map(|(name, count)| (&**name, *count)).collect();
    all.sort_unstable_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    all.truncate(TOP);
    all
}

/// The exit status, with a word about why nothing more could be printed.
fn end(printed: io::Result<()>) -> ExitCode {
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn complain(text: &str) {
    // If stderr is gone there is nobody to tell.
    drop(writeln!(io::stderr(), "logstat: {text}"));
}
