//! The examples as programs: whatever is wrong with how they are called, they say how to call them.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};
use support::example::{Server, built};

/// Examples, and what they cannot make anything of.
const WRONG: &[(&str, &[&[&str]])] = &[
    ("chat", &[&["--help"], &["127.0.0.1:0", "more"], &["7000"], &[""]]),
    ("echo", &[&["--help"], &["127.0.0.1:0", "more"], &["7000"], &[""]]),
    ("https", &[&["--help"], &["127.0.0.1:0", "/dev/null", "more"], &["7000"], &[""]]),
    ("websocket", &[&["--help"], &["127.0.0.1:0", "more"], &["7000"], &[""]]),
    ("tcp_proxy", &[&[], &["--help"], &["127.0.0.1:0"], &["127.0.0.1:0", "it"], &["a", "b", "c"]]),
    ("resolver", &[&[], &["--help"], &["0", "localhost"], &["65", "localhost"], &["it", "it"]]),
    ("supervisor", &[&[], &["--help"], &[""], &["true", ""], &[" true"]]),
    (
        "wget",
        &[&[], &["--help"], &["ftp://it/"], &["it"], &["http://a b/"], &["http://a/", "b", "c"]],
    ),
    ("mandelbrot", &[&["--help"], &["0"], &["20001"], &["10", "more"]]),
    ("grep", &[&[], &["("], &["a", "b", "c"]]),
    ("logstat", &[&["--help-me"]]),
    ("treesum", &[&[], &["--help-me"], &["a", "b"], &["--jobs", "0", "a"]]),
];

fn call(example: &str, arguments: &[impl AsRef<OsStr>]) -> Output {
    let mut command = Command::new(built(example));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn says_how(example: &str, output: &Output, arguments: &dyn std::fmt::Debug) {
    let text = String::from_utf8_lossy(&output.stderr);
    let usage = format!("usage: {example}");
    assert!(text.contains(&usage), "{example} {arguments:?}: {text}");
    assert_eq!(output.status.code(), Some(2), "{example} {arguments:?}: {text}");
    assert!(output.stdout.is_empty(), "{example} {arguments:?}: {output:?}");
}

#[test]
fn wrong_arguments_are_answered_with_the_usage() {
    for (example, wrong) in WRONG {
        for arguments in *wrong {
            says_how(example, &call(example, arguments), arguments);
        }
    }
}

#[test]
fn arguments_that_are_no_text_are_wrong_where_text_is_needed() {
    let no_text = OsStr::from_bytes(b"\xff\xfe:80");
    for example in ["chat", "echo", "https", "websocket", "tcp_proxy", "resolver", "supervisor"] {
        says_how(example, &call(example, &[no_text]), &no_text);
    }
    for example in ["wget", "mandelbrot"] {
        says_how(example, &call(example, &[no_text]), &no_text);
    }
}

#[test]
fn an_address_that_cannot_be_had_is_told_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for example in ["chat", "echo", "https", "websocket", "tcp_proxy"] {
        for address in [&*address, "127.0.0.1:99999"] {
            let target = ["127.0.0.1:1"].iter().filter(|_| example == "tcp_proxy");
            let arguments: Vec<_> = std::iter::once(&address).chain(target).collect();
            let output = call(example, &arguments);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{example} {address}: {text}");
            let begins = format!("{example}: {address}: ");
            assert!(text.starts_with(&begins) && text.lines().count() == 1, "{text}");
        }
    }
    drop(taken);
}

/// By the signal that those whom a script began in its background do not ignore, as they do SIGINT.
#[test]
fn servers_that_await_no_signal_are_ended_by_one_at_every_stage() {
    for example in ["chat", "echo", "https", "websocket"] {
        for stage in 0..3 {
            let mut server = Server::start(example, &["127.0.0.1:0"]);
            let client = (stage > 0).then(|| server.connect());
            if let (2, Some(mut client)) = (stage, client.as_ref()) {
                std::io::Write::write_all(&mut client, b"h").unwrap();
            }
            server.signal("TERM");
            let (status, _) = server.end();
            assert!(!status.success(), "{example} {stage}: {status}");
        }
    }
}
