//! Any bytes as what a client sends to the example `httpd`: the first byte is how many come at a
//! time, the rest is what comes.
//!
//! Whatever the bytes: no panic, no more than the limits is kept, what is understood is as
//! promised, and it is the same however the bytes are cut.
#![no_main]

#[path = "../../examples/httpd/reader.rs"]
mod reader;
#[path = "../../examples/httpd/request.rs"]
mod request;

use libfuzzer_sys::fuzz_target;
use reader::{BODY_BYTES, Reader};
use request::{Length, Refusal};
use std::io::{self, Read};

/// What comes, so many bytes at a time.
struct Cut<'a> {
    rest: &'a [u8],
    most: usize,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!buffer.is_empty(), "a read without room looks like the end");
        let count = buffer.len().min(self.most);
        self.rest.read(&mut buffer[..count])
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (most, rest) = bytes.split_first().unwrap_or((&1, &[]));
    let whole = serve(Cut { rest, most: usize::MAX });
    let pieces = serve(Cut { rest, most: usize::from(*most).max(1) });
    assert_eq!(whole, pieces);
});

/// What a server understands, and what it ends with.
fn serve(client: Cut<'_>) -> (Vec<String>, Option<u16>) {
    let mut reader = Reader::new(client);
    let mut understood = Vec::new();
    let end = loop {
        let head = match reader.head() {
            Ok(Some(head)) => head,
            Ok(None) => break None,
            Err(refusal) => break status(refusal),
        };
        assert!(head.path.starts_with(b"/") && !head.path.contains(&0), "{head:?}");
        match reader.body(head.length) {
            Ok(body) => {
                let told = head.length == Length::Bytes(body.len());
                assert!(told || head.length == Length::Chunked && body.len() <= BODY_BYTES);
                understood.push(format!("{head:?} {body:?}"));
            }
            Err(refusal) => break status(refusal),
        }
        if !head.keep_alive {
            break None;
        }
    };
    (understood, end)
}

fn status(refusal: Refusal) -> Option<u16> {
    match refusal {
        Refusal::Status(status) => {
            assert!([400, 413, 417, 431, 501, 505].contains(&status), "{status}");
            Some(status)
        }
        Refusal::Gone => unreachable!("memory does not fail"),
    }
}
