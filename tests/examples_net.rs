//! The examples that serve, as processes, and clients that know nothing of tasklets.
#![cfg(not(miri))]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use support::example::{Server, built};

const ANYWHERE: &str = "127.0.0.1:0";

fn lines_of(stream: &TcpStream) -> impl Iterator<Item = String> + use<> {
    BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap)
}

/// Sends all and ends; gives back what comes until the end.
fn exchange(mut stream: TcpStream, data: &[u8]) -> Vec<u8> {
    let mut reader = stream.try_clone().unwrap();
    let answer = thread::spawn(move || {
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).map(|_| answer)
    });
    stream.write_all(data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    answer.join().unwrap().unwrap()
}

/// What is long enough not to fit anywhere on its way.
fn megabytes(count: usize) -> Vec<u8> {
    (0..count << 20).map(|it| (it * 7 % 251) as u8).collect()
}

#[test]
fn echo_gives_everybody_back_what_they_sent() {
    let server = Server::start("echo", &[ANYWHERE]);
    let idle = server.connect();
    thread::scope(|s| {
        for client in 1..20_u8 {
            let stream = server.connect();
            s.spawn(move || {
                let data = vec![client; 100_000 * usize::from(client)];
                assert!(exchange(stream, &data) == data);
            });
        }
    });
    drop(idle);
}

#[test]
fn echo_survives_those_who_reset_and_those_who_never_read() {
    let server = Server::start("echo", &[ANYWHERE]);
    for _ in 0..20 {
        let mut stream = server.connect();
        stream.write_all(b"comes back, and is not read").unwrap();
        stream.peek(&mut [0]).unwrap();
        // Unread bytes: the OS resets the connection.
    }
    assert_eq!(exchange(server.connect(), b"well?"), b"well?");
}

#[test]
fn the_proxy_passes_on_both_directions_and_their_ends() {
    let target = TcpListener::bind(ANYWHERE).unwrap();
    let address = target.local_addr().unwrap().to_string();
    let proxy = Server::start("tcp_proxy", &[ANYWHERE, &address]);
    let client = proxy.connect();
    let (mut server, _) = target.accept().unwrap();
    let answer = thread::spawn(move || {
        let mut asked = Vec::new();
        server.read_to_end(&mut asked).unwrap(); // it learns of the end, and answers after it
        server.write_all(&asked).unwrap();
    });
    let data = megabytes(20);
    assert!(exchange(client, &data) == data);
    answer.join().unwrap();
}

#[test]
fn the_proxy_ends_both_connections_when_one_fails() {
    let target = TcpListener::bind(ANYWHERE).unwrap();
    let address = target.local_addr().unwrap().to_string();
    let proxy = Server::start("tcp_proxy", &[ANYWHERE, &address]);
    let client = proxy.connect();
    let (mut server, _) = target.accept().unwrap();
    server.write_all(b"not read").unwrap();
    client.peek(&mut [0]).unwrap();
    drop(client); // resets
    // One direction fails when it reads or writes; the other waits for this side and is cancelled.
    let mut rest = Vec::new();
    let ended = server.read_to_end(&mut rest);
    assert!(ended.is_err() || rest.is_empty());
    // The next client is served as ever.
    let mut client = proxy.connect();
    client.write_all(b"x").unwrap();
    target.accept().unwrap().0.read_exact(&mut [0]).unwrap();
    // Nobody listens any more.
    drop(target);
    let mut client = proxy.connect();
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn in_the_chat_everybody_hears_everybody() {
    let server = Server::start("chat", &[ANYWHERE]);
    let (anna, bert) = (server.connect(), server.connect());
    let [mut anna_hears, mut bert_hears] = [&anna, &bert].map(lines_of);
    let [anna_is, bert_is] = [&anna, &bert].map(|it| it.local_addr().unwrap().to_string());
    assert!(bert_hears.any(|it| it == format!("* {bert_is} is here")));
    for line in ["hello", "h\u{e9}llo"] {
        writeln!(&anna, "{line}").unwrap();
        for hears in [&mut anna_hears, &mut bert_hears] {
            assert!(hears.any(|it| it == format!("{anna_is}: {line}")));
        }
    }
    drop((anna, anna_hears));
    assert!(bert_hears.any(|it| it == format!("* {anna_is} has left")));
    // What is no text, or a line that is cut within a character, is shown as well as it can be.
    let noise = server.connect();
    (&noise).write_all(b"\xff!\n").unwrap();
    assert!(bert_hears.any(|it| it.ends_with(": \u{fffd}!")));
    writeln!(&noise, "{}\u{e9}?", "a".repeat(4 * 4_096 - 1)).unwrap();
    assert!(bert_hears.any(|it| it.ends_with("a\u{fffd}")));
    assert!(bert_hears.any(|it| it.ends_with(": \u{fffd}?")));
    writeln!(&bert, "still there").unwrap();
    assert!(bert_hears.any(|it| it.ends_with("still there")));
}

#[test]
fn the_chat_drops_a_slow_client_and_waits_for_nobody() {
    let server = Server::start("chat", &[ANYWHERE]);
    let sleepy = server.connect();
    let sleepy_is = sleepy.local_addr().unwrap().to_string();
    sleepy.peek(&mut [0]).unwrap(); // is here
    let talker = server.connect();
    let mut talk = talker.try_clone().unwrap();
    let talks = thread::spawn(move || {
        let line = format!("{}\n", "bla".repeat(10_000));
        while talk.write_all(line.as_bytes()).is_ok() {}
    });
    assert!(lines_of(&talker).any(|it| it == format!("* {sleepy_is} has left")));
    talker.shutdown(Shutdown::Both).unwrap();
    talks.join().unwrap();
    drop(sleepy);
}

#[test]
fn the_resolver_keeps_the_order_and_reports_failures() {
    let resolve = |arguments: &[&str]| {
        let output = Command::new(built("resolver")).args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let names = ["3", "::1", "127.0.0.1", "localhost", "192.0.2.7", "::2", "10.0.0.1"];
    let (code, found, errors) = resolve(&names);
    assert_eq!((code, &*errors), (Some(0), ""));
    let order: Vec<_> = found.lines().map(|it| it.split_once(' ').unwrap().0).collect();
    assert_eq!(order, names[1..]);
    assert!(found.contains("::1 [::1]\n127.0.0.1 [127.0.0.1]\n"));
    let (code, found, errors) = resolve(&["1", "no.such.host.invalid", "::1", ""]);
    assert_eq!((code, &*found), (Some(1), "::1 [::1]\n"));
    assert!(errors.starts_with("no.such.host.invalid: "), "{errors}");
    for wrong in [&[][..], &["0", "::1"], &["many", "::1"], &["65", "::1"], &["-1"]] {
        assert_eq!(resolve(wrong).0, Some(2), "{wrong:?}");
    }
}
