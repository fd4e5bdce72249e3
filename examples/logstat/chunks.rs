//! A log in parts that end with a line.
//!
//! Always: a part has no more than a line of the longest and what is read at a time; a line that is
//! longer comes in pieces. `Between --line too long--> Within --its end--> Between -> Ended`.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};

/// What is read at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// A line that is longer is malformed, whatever it says: memory stays bounded.
pub const LINE_BYTES: usize = 4 * 1024 * 1024;

/// A part of a log.
pub enum Chunk {
    /// Whole lines; at the end of the log the last may have no end.
    Lines(Vec<u8>),
    /// The beginning of a line that is too long.
    Head(Vec<u8>),
    /// More of it.
    Middle(Vec<u8>),
    /// Its last piece, without the end of the line; perhaps nothing.
    Tail(Vec<u8>),
}

/// Where the reader is.
enum Place {
    Between,
    /// Of a line that is too long.
    Within,
    Ended,
}

/// The parts of a reader.
pub struct Chunks<'a> {
    from: Box<dyn Read>,
    place: Place,
    /// What was read of the next part.
    rest: Vec<u8>,
    /// Why it ended, if not because there is no more.
    failure: &'a Cell<Option<io::Error>>,
}

impl<'a> Chunks<'a> {
    pub fn new(from: Box<dyn Read>, failure: &'a Cell<Option<io::Error>>) -> Chunks<'a> {
        Chunks { from, place: Place::Between, rest: Vec::new(), failure }
    }

    /// Reads more behind `chunk`; false at the end.
    fn fill(&mut self, chunk: &mut Vec<u8>) -> bool {
        let had = chunk.len();
        chunk.resize(had + CHUNK_BYTES, 0);
        let got = loop {
            match self.from.read(&mut chunk[had..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure.set(Some(error));
                    break 0;
                }
                Ok(got) => break got,
            }
        };
        chunk.truncate(had + got);
        got > 0
    }

    /// Whole lines, or the head of one.
    fn lines(&mut self) -> Option<Chunk> {
        let mut chunk = std::mem::take(&mut self.rest);
        let mut seen = 0;
        loop {
            if let Some(end) = memchr::memrchr(b'\n', &chunk[seen..]) {
                self.rest = chunk.split_off(seen + end + 1);
                return Some(Chunk::Lines(chunk));
            }
            if chunk.len() > LINE_BYTES {
                self.place = Place::Within;
                return Some(Chunk::Head(chunk));
            }
            seen = chunk.len();
            if !self.fill(&mut chunk) {
                self.place = Place::Ended;
                return (!chunk.is_empty()).then_some(Chunk::Lines(chunk));
            }
        }
    }

    /// More of a line that is too long.
    fn piece(&mut self) -> Chunk {
        let mut chunk = Vec::new();
        if !self.fill(&mut chunk) {
            self.place = Place::Ended;
            return Chunk::Tail(chunk);
        }
        match memchr::memchr(b'\n', &chunk) {
            Some(end) => {
                self.place = Place::Between;
                self.rest = chunk.split_off(end + 1);
                chunk.truncate(end);
                Chunk::Tail(chunk)
            }
            None => Chunk::Middle(chunk),
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        match self.place {
            Place::Between => self.lines(),
            Place::Within => Some(self.piece()),
            Place::Ended => None,
        }
    }
}
