//! Facts about an access log in the Common or Combined format: a pipeline of chunks of lines.
//!
//! Read, parse, enrich, count: the reader gives chunks that end with a line, the parser finds the
//! fields of each line, the third stage adds what follows from them, the clerk counts and puts
//! malformed lines aside. Always: no more than four chunks are under way; what grows is the number
//! of different paths, hosts and pages only.

mod chunks;
mod line;

use chunks::{Chunk, Chunks};
use line::Line;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::process::ExitCode;
use tasklets::{pipeline, run};

/// Paths, hosts and pages that are printed.
const TOP: usize = 10;

const USAGE: &str = "usage: logstat [--pages] [--reject FILE] [--] [FILE...]";

const HELP: &str = "
Reads access logs in the Common or Combined format (stdin if no FILE is given, or for `-`) and
prints one fact a line, fields separated by tabs:

    requests N       well-formed lines
    malformed N      other lines
    bytes N          the sum of their sizes
    status CODE N    for each code, ascending
    path N PATH      the ten that were asked for most often, equal ones by name
    host N HOST      the ten that asked most often, equal ones by name
    page N PAGE      with --pages: as path, but the query of a path does not count

A line is one line however long; one of more than 4 MiB is malformed. In quoted fields a backslash
keeps a quote from being the end. A size that 64 bits do not hold is malformed.

    --pages          print pages, too
    --reject FILE    write malformed lines to FILE, whole and as they are; if the last line of a log
                     has no end, it gets one
    --help           this text

Exit status: 0; 1 if anything could not be read or written; 2 for bad arguments.
";

fn main() -> ExitCode {
    let Arguments { reject, pages, files } = match arguments() {
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
    let mut clerk = Clerk { reject, pages: pages.then(Counts::default), ..Clerk::default() };
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

/// What the command line says.
#[derive(Default)]
struct Arguments {
    /// Where malformed lines go.
    reject: Option<OsString>,
    /// Whether pages are printed.
    pages: bool,
    files: Vec<OsString>,
}

/// The command line; `None` if it asks for help.
fn arguments() -> Result<Option<Arguments>, String> {
    let (mut given, mut said) = (std::env::args_os().skip(1), Arguments::default());
    while let Some(argument) = given.next() {
        match &*argument.to_string_lossy() {
            "--" => said.files.extend(given.by_ref()),
            "--help" => return Ok(None),
            "--pages" => said.pages = true,
            "--reject" => said.reject = Some(given.next().ok_or("--reject needs a FILE")?),
            it if it.starts_with('-') && it != "-" => return Err(format!("unknown option {it:?}")),
            _ => said.files.push(argument),
        }
    }
    Ok(Some(said))
}

/// One file's lines, counted.
fn read(name: &OsString, clerk: &mut Clerk) -> io::Result<()> {
    let from: Box<dyn Read> =
        if name == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(name)?) };
    let failure = Cell::new(None);
    let chunks = Chunks::new(from, &failure);
    let counted = run(|| {
        let lines = pipeline::from_iter(chunks).named("read").map(parse).named("parse");
        let lines = lines.map(enrich).named("enrich");
        lines.try_for_each(|it| clerk.enter(&it)).named("count").run()
    });
    counted.map_err(|error| io::Error::other(error.to_string()))?;
    failure.take().map_or(Ok(()), Err)
}

/// A chunk and the lines in it, if it has whole ones.
struct Parsed {
    chunk: Chunk,
    lines: Vec<Line>,
}

fn parse(chunk: Chunk) -> Parsed {
    let Chunk::Lines(text) = &chunk else { return Parsed { chunk, lines: Vec::new() } };
    let mut lines = Vec::with_capacity(text.len() / 64);
    let mut start = 0;
    while start < text.len() {
        let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |it| start + it);
        lines.push(Line::parse(text, start, end));
        start = end + 1;
    }
    Parsed { chunk, lines }
}

fn enrich(mut parsed: Parsed) -> Parsed {
    if let Chunk::Lines(text) = &parsed.chunk {
        for line in &mut parsed.lines {
            if let Line::Request(request) = line {
                request.enrich(text);
            }
        }
    }
    parsed
}

/// How often each name was seen.
type Counts = FxHashMap<Box<[u8]>, u64>;

/// Who counts.
#[derive(Default)]
struct Clerk {
    requests: u64,
    malformed: u64,
    bytes: u128,
    codes: std::collections::BTreeMap<u16, u64>,
    paths: Counts,
    hosts: Counts,
    /// If they are printed.
    pages: Option<Counts>,
    reject: Option<BufWriter<File>>,
}

impl Clerk {
    fn enter(&mut self, parsed: &Parsed) -> io::Result<()> {
        match &parsed.chunk {
            Chunk::Lines(text) => parsed.lines.iter().try_for_each(|it| self.line(text, it)),
            Chunk::Head(text) => {
                self.malformed += 1;
                self.put_aside(text)
            }
            Chunk::Middle(text) => self.put_aside(text),
            Chunk::Tail(text) => {
                self.put_aside(text)?;
                self.put_aside(b"\n")
            }
        }
    }

    fn line(&mut self, chunk: &[u8], line: &Line) -> io::Result<()> {
        match line {
            Line::Request(request) => {
                self.requests += 1;
                self.bytes += u128::from(request.bytes);
                *self.codes.entry(request.code).or_default() += 1;
                count(&mut self.paths, &chunk[request.path.clone()]);
                count(&mut self.hosts, &chunk[request.host.clone()]);
                if let Some(pages) = &mut self.pages {
                    count(pages, &chunk[request.page.clone()]);
                }
                Ok(())
            }
            Line::Malformed(text) => {
                self.malformed += 1;
                self.put_aside(&chunk[text.clone()])?;
                self.put_aside(b"\n")
            }
        }
    }

    fn put_aside(&mut self, text: &[u8]) -> io::Result<()> {
        self.reject.as_mut().map_or(Ok(()), |it| it.write_all(text))
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
            writeln!(out, "status\t{code:03}\t{count}")?;
        }
        let names = [("path", &self.paths), ("host", &self.hosts)];
        for (what, counts) in names.into_iter().chain(self.pages.iter().map(|it| ("page", it))) {
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
