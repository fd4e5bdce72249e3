//! The examples made with other people's libraries, as processes, and clients that are no tasklets.
#![cfg(not(miri))]

mod support;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::example::{Server, built};
use tungstenite::{Message, WebSocket, client};

const ANYWHERE: &str = "127.0.0.1:0";

/// A file name of its own, which goes away with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Temporary {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Temporary(std::env::temp_dir().join(format!("tasklets-{}-{count}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Answers by path, one request per connection, as it is written here, until the test ends.
fn website() -> SocketAddr {
    let listener = TcpListener::bind(ANYWHERE).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || respond(stream.unwrap(), address));
        }
    });
    address
}

fn respond(mut stream: TcpStream, address: SocketAddr) {
    let head = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<_> = head.map_while(Result::ok).take_while(|it| !it.is_empty()).collect();
    assert!(head.iter().any(|it| it.eq_ignore_ascii_case(&format!("host: {address}"))), "{head:?}");
    let path = head[0].strip_prefix("GET ").and_then(|it| it.split(' ').next()).unwrap();
    let moved =
        |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let text = match path {
        "/plain?with=query" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain".into(),
        "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
            .into(),
        "/until/end" => {
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(3_000_000))
        }
        "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nplain".into(),
        "/nonsense" => "I am no server\r\n\r\n".into(),
        "/first" => moved(&format!("http://{address}/folder/second")),
        "/folder/second" => moved("third"),
        "/folder/third" => moved("/plain?with=query"),
        "/round" => moved("/round"),
        "/outside" => moved("/plain?at=http://it"),
        "/plain?at=http://it" => moved("?with=query"),
        "/foreign" => moved("ftp://localhost/"),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".into(),
    };
    let _ = stream.write_all(text.as_bytes());
}

fn wget(arguments: &[&str]) -> Output {
    Command::new(built("wget")).args(arguments).output().unwrap()
}

/// The exit status, and what it has written to its standard output.
fn got(address: SocketAddr, path: &str) -> (i32, String) {
    let output = wget(&[&format!("http://{address}{path}")]);
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn wget_prints_what_is_there_however_it_comes_and_wherever_it_has_moved() {
    let site = website();
    assert_eq!(got(site, "/plain?with=query"), (0, "plain".into()));
    assert_eq!(got(site, "/chunked"), (0, "abcdefg".into()));
    assert_eq!(got(site, "/until/end"), (0, "x".repeat(3_000_000)));
    assert_eq!(got(site, "/first"), (0, "plain".into()));
    assert_eq!(got(site, "/outside"), (0, "plain".into()));
}

#[test]
fn wget_says_what_went_wrong_and_leaves_no_half_of_a_file() {
    let site = website();
    let file = Temporary::new();
    let name = file.0.to_str().unwrap();
    let fails = |path: &str, code: i32, why: &str| {
        let output = wget(&[&format!("http://{site}{path}"), name]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{path}: {error}");
        assert!(error.starts_with("wget: ") && error.contains(why), "{path}: {error}");
        assert!(!file.0.exists(), "{path}");
    };
    fails("/missing", 8, "404 Not Found");
    fails("/short", 4, "");
    fails("/nonsense", 4, "");
    fails("/round", 4, "too many redirections");
    fails("/foreign", 4, "only http and https");
    let nobody = TcpListener::bind(ANYWHERE).unwrap().local_addr().unwrap(); // not any more
    let output = wget(&[&format!("http://{nobody}/"), name]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8(output.stderr).unwrap().contains("refused"));
    std::os::unix::fs::symlink("/dev/null", &file.0).unwrap(); // no file, and not ours
    assert_eq!(wget(&[&format!("http://{site}/short"), name]).status.code(), Some(4));
    fs::remove_file(&file.0).unwrap();
    assert_eq!(wget(&[&format!("http://{site}/chunked"), name]).status.code(), Some(0));
    assert_eq!(fs::read(&file.0).unwrap(), b"abcdefg");
}

#[test]
fn https_is_understood_by_rustls_and_curl_who_check_its_certificate() {
    let file = Temporary::new();
    let server = Server::start("https", &[ANYWHERE, file.0.to_str().unwrap()]);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&file.0).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let config = Arc::new(config);
    let _idle = server.connect(); // says nothing, and holds nobody up
    let mut half = server.connect();
    half.write_all(b"\x16\x03\x01").unwrap(); // the beginning of a handshake
    let mut plain = server.connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap(); // no handshake at all
    let clients = (0..20).map(|client| {
        let (stream, config) = (server.connect(), config.clone());
        thread::spawn(move || {
            let tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
            let mut stream = StreamOwned::new(tls, stream);
            write!(stream, "GET /{client} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap(); // an end without notice is an error
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(text.ends_with(&format!("\r\n\r\nhello, /{client}\n")), "{text}");
        })
    });
    clients.collect::<Vec<_>>().into_iter().for_each(|it| it.join().unwrap());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60", "--cacert"]).arg(&file.0);
    curl.arg(format!("https://{}/by/curl", server.address));
    match curl.output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "hello, /by/curl\n"),
        Err(error) => eprintln!("no curl here: {error}"),
    }
}

#[test]
fn wget_speaks_https_with_those_whose_certificate_it_trusts() {
    let file = Temporary::new();
    let server = Server::start("https", &[ANYWHERE, file.0.to_str().unwrap()]);
    let ask = |host: &str, trusted: &str| {
        let url = format!("https://{host}:{}/by/wget", server.address.port());
        Command::new(built("wget")).arg(url).env("SSL_CERT_FILE", trusted).output().unwrap()
    };
    let name = file.0.to_str().unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let output = ask(host, name);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello, /by/wget\n", "{output:?}");
        assert!(output.status.success());
    }
    let refusals =
        [("localhost", "/dev/null", "certificate"), ("localhost", "/no/such/file", "No such file")];
    for (host, trusted, why) in refusals {
        let output = ask(host, trusted);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(error.starts_with("wget: ") && error.contains(why), "{error}");
    }
    let plain = website(); // speaks no TLS
    let output = wget(&[&format!("https://{plain}/chunked")]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

fn join(server: &Server) -> WebSocket<TcpStream> {
    client(format!("ws://{}/", server.address), server.connect()).unwrap().0
}

#[test]
fn what_one_says_by_websocket_all_hear() {
    let server = Server::start("websocket", &[ANYWHERE]);
    let mut one = join(&server);
    one.send("alone".into()).unwrap();
    assert_eq!(one.read().unwrap(), Message::text("alone"));
    let mut others: Vec<_> = (0..10).map(|_| join(&server)).collect();
    for (number, other) in others.iter_mut().enumerate() {
        // Who has heard himself is known to the hub.
        other.send(Message::text(format!("here {number}"))).unwrap();
        while other.read().unwrap() != Message::text(format!("here {number}")) {}
    }
    let large = Message::binary(vec![5; 300_000]);
    one.send(large.clone()).unwrap();
    for socket in others.iter_mut().chain([&mut one]) {
        while socket.read().unwrap() != large {}
    }
}

#[test]
fn several_messages_that_come_at_once_are_all_heard_in_order() {
    let server = Server::start("websocket", &[ANYWHERE]);
    let mut socket = join(&server);
    for number in 0..1_000 {
        socket.write(Message::text(number.to_string())).unwrap();
    }
    socket.write(Message::Ping("are you there".into())).unwrap();
    socket.flush().unwrap();
    let (mut heard, mut answered) = (0, false);
    while heard < 1_000 || !answered {
        match socket.read().unwrap() {
            Message::Pong(_) => answered = true,
            message => {
                assert_eq!(message, Message::text(heard.to_string()));
                heard += 1;
            }
        }
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

#[test]
fn members_that_never_read_do_not_hold_up_one_who_does() {
    let server = Server::start("websocket", &[ANYWHERE]);
    let _deaf: Vec<_> = (0..30).map(|_| join(&server)).collect();
    let mut healthy = join(&server);
    // Each of them could be waited for, for a second: all of them would be too many.
    healthy.get_mut().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for number in 0..64 {
        let large = Message::binary(vec![number; 256 * 1024]); // in all more than sockets hold
        healthy.send(large.clone()).unwrap();
        assert!(healthy.read().unwrap() == large, "message {number}");
    }
}

#[test]
fn who_breaks_off_or_says_nonsense_by_websocket_disturbs_nobody() {
    let server = Server::start("websocket", &[ANYWHERE]);
    drop(server.connect());
    server.connect().write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    drop(join(&server)); // without a closing handshake
    let mut broken = join(&server);
    broken.get_mut().write_all(&[0xff; 100]).unwrap();
    let _half = {
        let mut half = join(&server);
        half.get_mut().write_all(&[0x81, 0xfe]).unwrap(); // the beginning of a frame
        half
    };
    let mut socket = join(&server);
    socket.send("still here".into()).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("still here"));
}
