//! Requests: what a head asks for.
//!
//! Always: what does not follow RFC 9112 is refused where two readers could differ about it.

use super::reader::BODY_BYTES;
use std::io;

/// Why there will be no more requests on a connection.
#[derive(Debug)]
pub enum Refusal {
    /// What was sent is answered with this status.
    Status(u16),
    /// Nobody is there to be answered.
    Gone,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        match error.kind() {
            io::ErrorKind::TimedOut => Refusal::Status(408),
            _ => Refusal::Gone,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Bytes(usize),
    Chunked,
}

/// The head of a request, understood.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// The path with its escapes decoded: any bytes but NUL, with a slash at the beginning.
    pub path: Vec<u8>,
    pub length: Length,
    /// Whether the connection goes on after the answer.
    pub keep_alive: bool,
    /// Whether the client waits for leave to send the body.
    pub expects: bool,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub if_modified_since: Option<String>,
}

/// What a head asks for.
pub fn understand(head: &httparse::Request<'_, '_>) -> Result<Request, Refusal> {
    let refused = Refusal::Status;
    let modern = head.version == Some(1);
    let mut request = Request {
        method: match head.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("POST") => Method::Post,
            _ => return Err(refused(501)),
        },
        path: path(head.path.unwrap_or_default().as_bytes()).ok_or(refused(400))?,
        length: Length::Bytes(0),
        keep_alive: modern, // HTTP/1.0 would have to be told that it may stay
        expects: false,
        range: None,
        if_range: None,
        if_modified_since: None,
    };
    let (mut hosts, mut lengths, mut encodings) = (0, 0, 0);
    for field in head.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let text = || str::from_utf8(field.value).ok().map(str::to_owned);
        if is("host") {
            hosts += 1;
            if !field.value.iter().all(|it| it.is_ascii_alphanumeric() || b".-_:[]".contains(it)) {
                return Err(refused(400));
            }
        } else if is("content-length") {
            lengths += 1;
            request.length = Length::Bytes(number(field.value).ok_or(refused(400))?);
        } else if is("transfer-encoding") {
            encodings += 1;
            request.length = Length::Chunked;
            if !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(refused(501));
            }
        } else if is("connection") {
            for token in field.value.split(|it| *it == b',').map(<[u8]>::trim_ascii) {
                if token.eq_ignore_ascii_case(b"close") {
                    request.keep_alive = false;
                }
            }
        } else if is("expect") && modern {
            if !field.value.eq_ignore_ascii_case(b"100-continue") {
                return Err(refused(417));
            }
            request.expects = true;
        } else if is("range") {
            request.range = text();
        } else if is("if-range") {
            request.if_range = text();
        } else if is("if-modified-since") {
            request.if_modified_since = text();
        }
    }
    // Two lengths, or a length and chunks: somebody before us may have believed the other one.
    let ambiguous = lengths + encodings > 1 || (encodings > 0 && !modern);
    if ambiguous || hosts > 1 || (hosts == 0 && modern) {
        return Err(refused(400));
    }
    if matches!(request.length, Length::Bytes(count) if count > BODY_BYTES) {
        return Err(refused(413));
    }
    Ok(request)
}

/// A number of digits; one that is too large is the largest.
fn number(digits: &[u8]) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(text.parse().unwrap_or(usize::MAX))
}

/// The path of a target, decoded; `None` if there is none.
fn path(target: &[u8]) -> Option<Vec<u8>> {
    let target = match target.strip_prefix(b"http://") {
        Some(rest) => &rest[rest.iter().position(|it| *it == b'/')?..],
        None => target,
    };
    let encoded = target.split(|it| b"?#".contains(it)).next().filter(|it| it.starts_with(b"/"))?;
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(if *byte == b'%' {
            let digit = |it: Option<&u8>| char::from(*it?).to_digit(16);
            (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8
        } else {
            *byte
        });
    }
    (!decoded.contains(&0)).then_some(decoded)
}
