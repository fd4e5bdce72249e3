//! Answers: a status, fields and a body, and how they are written.
//!
//! Always: the length of a body is told before it, so the connection can go on after it.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What follows the head.
pub enum Body {
    /// Nothing, not even a length.
    None,
    Text(&'static str),
    Bytes(Vec<u8>),
    /// A part of what others share.
    Shared(Rc<[u8]>, Range<usize>),
    /// A part of a file, which is read while it is sent.
    File(Arc<File>, Range<u64>),
}

impl Body {
    fn length(&self) -> Option<u64> {
        Some(match self {
            Body::None => return None,
            Body::Text(text) => text.len() as u64,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Shared(_, part) => part.len() as u64,
            Body::File(_, part) => part.end - part.start,
        })
    }

    /// What is in memory.
    fn bytes(&self) -> &[u8] {
        match self {
            Body::None | Body::File(..) => &[],
            Body::Text(text) => text.as_bytes(),
            Body::Bytes(bytes) => bytes,
            Body::Shared(bytes, part) => &bytes[part.clone()],
        }
    }
}

pub struct Answer {
    pub status: u16,
    pub kind: &'static str,
    /// More fields, each with the end of its line.
    pub fields: String,
    pub body: Body,
}

impl Answer {
    /// One that says what went wrong.
    pub fn of(status: u16) -> Answer {
        let fields = match status {
            405 => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let body = Body::Text(reason(status));
        Answer { status, kind: "text/plain", fields: fields.into(), body }
    }

    /// Appends the head, and the body if it is in memory and wanted.
    pub fn write(&self, out: &mut Vec<u8>, date: &str, stays: bool, with_body: bool) {
        let (status, reason) = (self.status, reason(self.status));
        let mut head = || {
            write!(out, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\n")?;
            if let Some(length) = self.body.length() {
                write!(out, "Content-Type: {}\r\nContent-Length: {length}\r\n", self.kind)?;
            }
            out.write_all(self.fields.as_bytes())?;
            out.write_all(if stays { b"\r\n" } else { b"Connection: close\r\n\r\n" })
        };
        head().expect("a vector takes everything");
        if with_body {
            out.extend_from_slice(self.body.bytes());
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

/// The date as answers tell it, written once a second.
#[derive(Default)]
pub struct Date {
    second: u64,
    text: String,
}

impl Date {
    pub fn now(&mut self) -> &str {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text =
                httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
        }
        &self.text
    }
}
