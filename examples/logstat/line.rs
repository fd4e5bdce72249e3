//! One line of an access log.
//!
//! Always: a line is a request if it is `HOST IDENT USER [TIME] "METHOD PATH PROTOCOL" CODE BYTES`,
//! with two quoted texts behind it or without; the protocol may be missing, as in HTTP/0.9.

use crate::chunks::LINE_BYTES;
use std::ops::Range;

/// A line, as places in a chunk.
pub enum Line {
    Request(Request),
    Malformed(Range<usize>),
}

/// What a well-formed line says, and what follows from it.
pub struct Request {
    pub host: Range<usize>,
    pub path: Range<usize>,
    /// The path without its query, once [`enrich`](Request::enrich) has looked for one.
    pub page: Range<usize>,
    pub code: u16,
    pub bytes: u64,
}

impl Line {
    /// The line from `start` to `end` of `chunk`; a carriage return at its end says nothing.
    pub fn parse(chunk: &[u8], start: usize, end: usize) -> Line {
        let length = end - usize::from(end > start && chunk[end - 1] == b'\r');
        let fields = Fields { text: &chunk[..length], at: start };
        let request = if end - start > LINE_BYTES { None } else { fields.request() };
        request.map_or(Line::Malformed(start..end), Line::Request)
    }
}

impl Request {
    /// Finds the page.
    pub fn enrich(&mut self, chunk: &[u8]) {
        if let Some(query) = memchr::memchr(b'?', &chunk[self.path.clone()]) {
            self.page.end = self.path.start + query;
        }
    }
}

/// What is left of a line.
struct Fields<'a> {
    text: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn request(mut self) -> Option<Request> {
        let host = self.word()?;
        self.word()?;
        self.word()?;
        self.time()?;
        let path = self.quoted_request()?;
        let code = self.code()?;
        let bytes = self.size()?;
        if self.at < self.text.len() {
            self.expect(b' ')?;
            self.quoted()?;
            self.expect(b' ')?;
            self.quoted()?;
        }
        let page = path.clone();
        (self.at == self.text.len()).then_some(Request { host, path, page, code, bytes })
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.text.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    /// A word that is not empty, and the blank behind it.
    fn word(&mut self) -> Option<Range<usize>> {
        let length = memchr::memchr(b' ', &self.text[self.at..])?;
        let word = self.at..self.at + length;
        self.at += length + 1;
        (length > 0).then_some(word)
    }

    /// `[...] `
    fn time(&mut self) -> Option<()> {
        self.expect(b'[')?;
        let length = memchr::memchr(b']', &self.text[self.at..])?;
        self.at += length + 1;
        if length == 0 { None } else { self.expect(b' ') }
    }

    /// `"METHOD PATH PROTOCOL" `, of which the path.
    fn quoted_request(&mut self) -> Option<Range<usize>> {
        let text = self.quoted()?;
        self.expect(b' ')?;
        let inside = &self.text[text.clone()];
        let method = memchr::memchr(b' ', inside)?;
        let rest = &inside[method + 1..];
        let path = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        let protocol = rest.get(path + 1..);
        let known = protocol.is_none_or(|it| it.starts_with(b"HTTP/") && !it.contains(&b' '));
        let start = text.start + method + 1;
        (method > 0 && path > 0 && known).then_some(start..start + path)
    }

    /// `"..."`, in which a backslash keeps a quote from ending it.
    fn quoted(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', &self.text[self.at..])? + 1;
            if self.text[self.at - 1] == b'"' {
                return Some(start..self.at - 1);
            }
            self.at += 1; // whatever comes behind the backslash
            if self.at > self.text.len() {
                return None;
            }
        }
    }

    fn code(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 3)?;
        self.at += 3;
        self.expect(b' ')?;
        let digit =
            |sum: u16, it: &u8| it.is_ascii_digit().then(|| sum * 10 + u16::from(it - b'0'));
        digits.iter().try_fold(0, digit)
    }

    /// A number of bytes, or `-` for none.
    fn size(&mut self) -> Option<u64> {
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
            return Some(0);
        }
        let start = self.at;
        let mut size = 0_u64;
        while let Some(digit) = self.text.get(self.at).filter(|it| it.is_ascii_digit()) {
            size = size.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        (self.at > start).then_some(size)
    }
}
