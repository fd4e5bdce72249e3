//! Reading requests: from the bytes of a connection to heads and bodies.
//!
//! Always: no more of a connection is kept than `HEAD_BYTES` and one body of `BODY_BYTES`.
//! Reader: head, body, head, body, ...; after a refusal nothing can be read any more.

use super::request::{Length, Refusal, Request, understand};
use std::io::{self, Read};
use std::mem::MaybeUninit;

/// The longest head of a request, and trailer of a chunked body.
const HEAD_BYTES: usize = 16 * 1024;

/// The longest body of a request.
pub const BODY_BYTES: usize = 1024 * 1024;

/// Fields of a head, at most.
const FIELDS: usize = 64;

/// The longest line before a chunk: 16 digits and extensions, which nobody uses.
const CHUNK_LINE_BYTES: usize = 256;

/// The bytes of a connection, read ahead.
pub struct Reader<S> {
    stream: S,
    buffer: Box<[u8]>,
    /// What is in the buffer and has not been used.
    start: usize,
    end: usize,
}

impl<S: Read> Reader<S> {
    pub fn new(stream: S) -> Reader<S> {
        Reader { stream, buffer: vec![0; HEAD_BYTES].into(), start: 0, end: 0 }
    }

    /// Whether there is nothing that was read and not used.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads once; tells how much came. There must be room.
    pub fn fill(&mut self) -> io::Result<usize> {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start.., 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let length = self.stream.read(&mut self.buffer[self.end..])?;
        self.end += length;
        Ok(length)
    }

    fn unused(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads more of something that is not complete.
    fn more(&mut self) -> Result<(), Refusal> {
        if self.fill()? == 0 { Err(Refusal::Status(400)) } else { Ok(()) }
    }

    /// The next head, if all of it has been read.
    pub fn read_head(&mut self) -> Result<Option<Request>, Refusal> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
        let mut head = httparse::Request::new(&mut []);
        match head.parse_with_uninit_headers(self.unused(), &mut fields) {
            Ok(httparse::Status::Complete(length)) => {
                let request = understand(&head)?;
                self.start += length;
                Ok(Some(request))
            }
            Ok(httparse::Status::Partial) if self.unused().len() < HEAD_BYTES => Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                Err(Refusal::Status(431))
            }
            Err(httparse::Error::Version) => Err(Refusal::Status(505)),
            Err(_) => Err(Refusal::Status(400)),
        }
    }

    /// Reads the next head, of which something is there; `None` if nothing but the end comes.
    pub fn head(&mut self) -> Result<Option<Request>, Refusal> {
        loop {
            if let Some(request) = self.read_head()? {
                return Ok(Some(request));
            }
            // A head ends with a line, so nothing is complete before the next one is.
            loop {
                let known = self.unused().len();
                if known == HEAD_BYTES {
                    break;
                }
                match self.fill()? {
                    0 if known == 0 => return Ok(None),
                    0 => return self.read_head().and(Err(Refusal::Status(400))),
                    _ if self.unused()[known..].contains(&b'\n') => break,
                    _ => {}
                }
            }
        }
    }

    /// Reads the body that follows a head.
    pub fn body(&mut self, length: Length) -> Result<Vec<u8>, Refusal> {
        let mut body = Vec::new();
        match length {
            Length::Bytes(count) => self.take(count, &mut body)?,
            Length::Chunked => {
                while let Some(count) = self.chunk_line()? {
                    self.take(count, &mut body)?;
                    self.line_end()?;
                }
                self.trailer()?;
            }
        }
        Ok(body)
    }

    /// Moves so many bytes to the body.
    fn take(&mut self, mut count: usize, body: &mut Vec<u8>) -> Result<(), Refusal> {
        if count > BODY_BYTES - body.len() {
            return Err(Refusal::Status(413));
        }
        loop {
            let here = &self.unused()[..count.min(self.end - self.start)];
            body.extend_from_slice(here);
            count -= here.len();
            self.start += here.len();
            if count == 0 {
                return Ok(());
            }
            self.more()?;
        }
    }

    /// The length of the next chunk; `None` of the last one.
    fn chunk_line(&mut self) -> Result<Option<usize>, Refusal> {
        loop {
            match httparse::parse_chunk_size(self.unused()) {
                Ok(httparse::Status::Complete((line, count))) if line <= CHUNK_LINE_BYTES => {
                    // Others may take the end of a line that is none of ours for one.
                    if self.unused()[..line - 1].contains(&b'\n') {
                        return Err(Refusal::Status(400));
                    }
                    self.start += line;
                    let count = usize::try_from(count).unwrap_or(usize::MAX);
                    return Ok((count > 0).then_some(count));
                }
                Ok(httparse::Status::Partial) if self.unused().len() < CHUNK_LINE_BYTES => {}
                Ok(_) | Err(_) => return Err(Refusal::Status(400)),
            }
            self.more()?;
        }
    }

    fn line_end(&mut self) -> Result<(), Refusal> {
        while self.unused().len() < 2 {
            self.more()?;
        }
        if !self.unused().starts_with(b"\r\n") {
            return Err(Refusal::Status(400));
        }
        self.start += 2;
        Ok(())
    }

    /// Reads the fields after the last chunk, of which none is wanted.
    fn trailer(&mut self) -> Result<(), Refusal> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS];
            match httparse::parse_headers(self.unused(), &mut fields) {
                Ok(httparse::Status::Complete((length, _))) => {
                    self.start += length;
                    return Ok(());
                }
                Ok(httparse::Status::Partial) if self.unused().len() < HEAD_BYTES => {}
                Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                    return Err(Refusal::Status(431));
                }
                Err(_) => return Err(Refusal::Status(400)),
            }
            self.more()?;
        }
    }
}
