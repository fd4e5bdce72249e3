//! Files: from the path of a request to what is there, in memory if it is small.
//!
//! Always: what is opened is below the root, whatever the path and the links on its way say: see
//! `beneath`. Only the threads behind `blocking` touch files.

use super::beneath::Root;
use super::request::{Method, Request};
use super::response::{Answer, Body};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tasklets::blocking;

/// Files up to this size are kept in memory.
const SMALL_BYTES: u64 = 64 * 1024;

/// How many of them, and for how long before the file is looked at again.
const KEPT: usize = 256;
const FRESH: Duration = Duration::from_secs(1);

/// What it means that there is nothing for the client: also that a link leads out of the root.
const ABSENT: [Errno; 6] =
    [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::XDEV, Errno::LOOP, Errno::NAMETOOLONG];

/// A directory and what is below.
pub struct Files {
    root: Arc<Root>,
    kept: RefCell<BTreeMap<Vec<u8>, (Instant, Found)>>,
}

/// A file.
#[derive(Clone)]
struct Found {
    content: Content,
    /// When it was changed last, as HTTP writes it.
    modified: String,
    kind: &'static str,
}

#[derive(Clone)]
enum Content {
    Small(Rc<[u8]>),
    Large(Arc<File>, u64),
}

/// What other threads find.
enum Entry {
    Directory,
    File { file: File, length: u64, modified: SystemTime, content: Option<Vec<u8>> },
}

impl Files {
    /// # Errors
    /// The OS's, if that is no directory.
    pub fn below(root: &Path) -> io::Result<Files> {
        Ok(Files { root: Root::open(root)?.into(), kept: RefCell::default() })
    }

    pub fn answer(&self, request: &Request) -> Answer {
        if request.method == Method::Post {
            return Answer::of(405);
        }
        match self.find(&request.path) {
            Ok(Some(found)) => found.answer(request),
            Ok(None) => redirect(&request.path),
            Err(error) => {
                let known = Errno::from_io_error(&error).is_some_and(|it| ABSENT.contains(&it));
                Answer::of(if known { 404 } else { 500 })
            }
        }
    }

    /// The file at this path; `None` if there is a directory.
    fn find(&self, path: &[u8]) -> io::Result<Option<Found>> {
        if let Some((since, found)) = self.kept.borrow().get(path)
            && since.elapsed() < FRESH
        {
            return Ok(Some(found.clone()));
        }
        let mut name = [b".", path].concat();
        if name.ends_with(b"/") {
            name.extend(b"index.html");
        }
        let kind = kind(&name);
        let root = self.root.clone();
        let (file, length, modified, content) = match blocking(move || look(&root, &name))?? {
            Entry::Directory => return Ok(None),
            Entry::File { file, length, modified, content } => (file, length, modified, content),
        };
        let modified = httpdate::fmt_http_date(modified);
        let Some(content) = content else {
            let content = Content::Large(Arc::new(file), length);
            return Ok(Some(Found { content, modified, kind }));
        };
        let found = Found { content: Content::Small(content.into()), modified, kind };
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= KEPT {
            kept.clear(); // those that are asked for will be there again soon
        }
        kept.insert(path.to_vec(), (Instant::now(), found.clone()));
        Ok(Some(found))
    }
}

fn look(root: &Root, name: &[u8]) -> io::Result<Entry> {
    // A pipe without a writer must not hold us up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = File::from(root.open_beneath(name, flags)?);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(Entry::Directory);
    }
    if !metadata.is_file() {
        return Err(Errno::NOENT.into());
    }
    let (length, modified) = (metadata.len(), metadata.modified()?);
    let mut content = None;
    if length <= SMALL_BYTES {
        let mut bytes = Vec::new();
        (&mut file).take(SMALL_BYTES + 1).read_to_end(&mut bytes)?;
        // Unless it changes under our hands.
        content = Some(bytes).filter(|it| it.len() as u64 == length);
    }
    Ok(Entry::File { file, length, modified, content })
}

impl Found {
    fn answer(self, request: &Request) -> Answer {
        let length = match &self.content {
            Content::Small(bytes) => bytes.len() as u64,
            Content::Large(_, length) => *length,
        };
        let mut fields = format!("Last-Modified: {}\r\nAccept-Ranges: bytes\r\n", self.modified);
        let date = |it: &str| httpdate::parse_http_date(it).ok();
        if let Some(since) = request.if_modified_since.as_deref().and_then(date)
            && date(&self.modified).is_some_and(|it| it <= since)
        {
            return Answer { status: 304, kind: self.kind, fields, body: Body::None };
        }
        let unchanged = request.if_range.as_ref().is_none_or(|it| *it == self.modified);
        let range = request.range.as_ref().filter(|_| unchanged && request.method == Method::Get);
        let (status, part) = match range.map(|it| part(it, length)) {
            None | Some(Part::All) => (200, 0..length),
            Some(Part::Some(part)) => {
                fields +=
                    &format!("Content-Range: bytes {}-{}/{length}\r\n", part.start, part.end - 1);
                (206, part)
            }
            Some(Part::Nothing) => {
                let fields = format!("Content-Range: bytes */{length}\r\n");
                return Answer { fields, ..Answer::of(416) };
            }
        };
        let body = match self.content {
            Content::Small(bytes) => Body::Shared(bytes, part.start as usize..part.end as usize),
            Content::Large(file, _) => Body::File(file, part),
        };
        Answer { status, kind: self.kind, fields, body }
    }
}

/// What a range asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    Some(Range<u64>),
    Nothing,
}

/// Of a file of this length; all if it asks for several parts, or for what nobody understands.
fn part(range: &str, length: u64) -> Part {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|it| it.split_once('-')) else {
        return Part::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |it: &str| {
        let is_number = !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        is_number.then(|| it.parse().unwrap_or(u64::MAX))
    };
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(count)) if first.is_empty() => length.saturating_sub(count)..length,
        _ => return Part::All,
    };
    if part.is_empty() { Part::Nothing } else { Part::Some(part) }
}

/// To the directory with a slash at the end, from where relative links of its page lead below it.
fn redirect(path: &[u8]) -> Answer {
    let start = path.iter().position(|it| *it != b'/').unwrap_or(0);
    let mut place = String::from("/");
    for byte in &path[start..] {
        match byte {
            b'/' | b'-' | b'.' | b'_' => place.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => place.push(char::from(*byte)),
            _ => place += &format!("%{byte:02X}"),
        }
    }
    Answer { fields: format!("Location: {place}/\r\n"), ..Answer::of(301) }
}

/// What kind of content a name promises.
fn kind(name: &[u8]) -> &'static str {
    let file = name.rsplit(|it| *it == b'/').next().unwrap_or_default();
    let ending = file.rsplit(|it| *it == b'.').next().unwrap_or_default();
    match ending.to_ascii_lowercase().as_slice() {
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"txt" | b"md" => "text/plain; charset=utf-8",
        b"css" => "text/css; charset=utf-8",
        b"js" | b"mjs" => "text/javascript; charset=utf-8",
        b"json" => "application/json",
        b"wasm" => "application/wasm",
        b"svg" => "image/svg+xml",
        b"png" => "image/png",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"ico" => "image/x-icon",
        b"pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}
