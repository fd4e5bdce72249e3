//! The example `httpd` as a process; clients that are correct, slow, hostile, curl, wrk or `fetch`.
#![cfg(not(miri))]

#[path = "support/requests.rs"]
mod requests;
mod support;

use requests::requests;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use support::example::Server;

const SECRET: &str = "nobody may read this";

/// What the pages are, by path.
const PAGE: &str = "0123456789";

/// A server and the directory of its files, both of which go away with the test.
struct Site {
    server: Server,
    dir: PathBuf,
}

impl Site {
    fn new(test: &str) -> Site {
        Site::patient(test, "60")
    }

    fn patient(test: &str, seconds: &str) -> Site {
        Site::with(test, seconds, &[])
    }

    /// Where the kernel has no openat2.
    fn by_parts(test: &str) -> Site {
        Site::with(test, "60", &[("HTTPD_OPENAT2", "off")])
    }

    fn with(test: &str, seconds: &str, environment: &[(&str, &str)]) -> Site {
        let dir = std::env::temp_dir().join(format!("tasklets-{test}-{}", std::process::id()));
        let root = dir.join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(dir.join("secret"), SECRET).unwrap();
        fs::write(root.join("page.txt"), PAGE).unwrap();
        fs::write(root.join("sub/index.html"), "<p>sub").unwrap();
        fs::write(root.join("a b+\u{e9}.html"), "spaced").unwrap();
        fs::write(root.join(OsStr::from_bytes(b"\xff.png")), "bytes").unwrap();
        fs::write(root.join("large"), large()).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink(dir.join("secret"), root.join("away")).unwrap();
        symlink("/", root.join("top")).unwrap();
        symlink("sub/../page.txt", root.join("within")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let arguments = ["127.0.0.1:0", root.to_str().unwrap(), seconds];
        Site { server: Server::start_with("httpd", &arguments, environment), dir }
    }

    /// Sends all; gives back what comes until the server ends the connection.
    fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.server.connect();
        stream.write_all(request.as_ref()).unwrap();
        rest(stream)
    }

    /// Gets a path.
    fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n"))
    }

    /// Something that the kernel counts of the server.
    fn count(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.child.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.server.child.id())).unwrap().count()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn large() -> Vec<u8> {
    (0..3_000_001_u32).map(|it| (it * 7 % 251) as u8).collect()
}

fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    assert!(
        ended.as_ref().err().is_none_or(|it| it.kind() == ErrorKind::ConnectionReset),
        "{ended:?}"
    );
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3)).unwrap_or(answer)
}

#[test]
fn each_request_of_the_table_is_answered_as_it_says() {
    let site = Site::new("httpd-table");
    for (request, wanted, part) in requests() {
        let answer = site.ask(&request);
        assert_eq!(status(&answer), wanted, "{request:?}: {answer:?}");
        assert!(answer.contains(&part), "{request:?}: {answer:?}");
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_the_same_request() {
    let site = Site::new("httpd-bytes");
    for (request, wanted, part) in requests() {
        let mut stream = site.server.connect();
        stream.set_nodelay(true).unwrap();
        // It may be refused, and the connection closed, before the last byte.
        for byte in request.as_bytes() {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
        }
        let answer = rest(stream);
        let answer = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&answer);
        assert_eq!(status(answer), wanted, "{request:?}: {answer:?}");
        assert!(answer.contains(&part), "{request:?}: {answer:?}");
    }
}

#[test]
fn a_head_without_a_body_has_the_fields_of_the_one_with_it() {
    let site = Site::new("httpd-head");
    for path in ["/json", "/page.txt", "/large", "/nothing"] {
        let ask = |method| {
            site.ask(format!("{method} {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n"))
        };
        let fields = |answer: &str| {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.lines().filter(|it| !it.starts_with("Date: "));
            (head.map(str::to_owned).collect::<Vec<_>>(), body.len())
        };
        let ((head, nothing), (same, something)) = (fields(&ask("HEAD")), fields(&ask("GET")));
        assert_eq!((head, nothing), (same, 0));
        assert!(something > 0);
    }
}

#[test]
fn what_is_outside_of_the_directory_stays_there() {
    nothing_leaves(&Site::new("httpd-outside"));
}

#[test]
fn what_is_outside_stays_there_without_openat2() {
    nothing_leaves(&Site::by_parts("httpd-parts"));
}

#[test]
fn what_is_inside_is_found_without_openat2_as_with_it() {
    let (site, parts) = (Site::new("httpd-inside"), Site::by_parts("httpd-inside-parts"));
    for path in [
        "/page.txt",
        "/within",
        "/within/",
        "/sub",
        "/sub/",
        "/sub/..",
        "/sub/../page.txt",
        "/./sub/.//../page.txt",
        "/page.txt/",
        "/page.txt/..",
        "/loop",
        "/none",
        "/none/..",
        "/%ff.png",
        "/",
        "//",
    ] {
        let (known, found) = (site.get(path), parts.get(path));
        let text = |it: &str| {
            let lines = it.lines().filter(|it| !it.starts_with("Date") && !it.starts_with("Last"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(text(&found), text(&known), "{path}");
    }
}

fn nothing_leaves(site: &Site) {
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/sub/../../secret",
        "/sub/%2E%2E/%2E./secret",
        "/./.././secret",
        "//../secret",
        "/out",
        "/away",
        "/up/secret",
        "/top/etc/passwd",
        "/up/",
        "//etc/passwd",
        "/sub/../up/root/../secret",
        "/..",
        "/..;/secret",
        "/..\\secret",
        "/%c0%ae%c0%ae/secret",
        "/top",
        "/up",
    ] {
        let answer = site.get(path);
        assert_eq!(status(&answer), "404", "{path}: {answer:?}");
        assert!(!answer.contains(SECRET) && !answer.contains("root:"), "{path}: {answer:?}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = Site::new("httpd-pipeline");
    let mut requests = Vec::new();
    for number in 0..1_000 {
        let body = format!("number {number}");
        let head =
            format!("POST /echo HTTP/1.1\r\nHost: it\r\nContent-Length: {}\r\n\r\n", body.len());
        requests.extend([head.as_bytes(), body.as_bytes()].concat());
        requests.extend(b"GET /page.txt HTTP/1.1\r\nHost: it\r\n\r\n");
    }
    requests.extend(b"GET /json HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\nGET /page.txt");
    let stream = site.server.connect();
    let mut writer = stream.try_clone().unwrap();
    let writes = thread::spawn(move || writer.write_all(&requests).unwrap());
    let answer = rest(stream);
    writes.join().unwrap();
    let bodies: Vec<_> = answer.split("HTTP/1.1 200 OK").skip(1).collect();
    assert_eq!(bodies.len(), 2_001);
    for (number, pair) in bodies[..2_000].chunks(2).enumerate() {
        assert!(pair[0].ends_with(&format!("\r\n\r\nnumber {number}")), "{pair:?}");
        assert!(pair[1].ends_with(&format!("\r\n\r\n{PAGE}")), "{pair:?}");
    }
    assert!(bodies[2_000].ends_with('}'));
}

/// Sends a beginning, then the same again and again until the server has had enough.
fn flood(site: &Site, begin: &str, again: &[u8]) -> String {
    let again = again.repeat(1_000_000 / again.len());
    let stream = site.server.connect();
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|s| {
        s.spawn(move || {
            let sent = writer.write_all(begin.as_bytes()).and_then(|()| {
                (0..(1 << 30) / again.len()).try_for_each(|_| writer.write_all(&again))
            });
            assert!(sent.is_err(), "it takes a gigabyte");
        });
        rest(stream)
    })
}

#[test]
fn a_gigabyte_is_refused_and_takes_no_memory() {
    let site = Site::new("httpd-flood");
    site.get("/json");
    let before = site.count("VmHWM");
    let chunked = "POST /echo HTTP/1.1\r\nHost: it\r\nTransfer-Encoding: chunked\r\n\r\n";
    let fields = vec![b'x'; 1 << 16];
    for (wanted, begin, again) in [
        ("431", "GET / HTTP/1.1\r\nHost: it\r\nx: ", &fields[..]),
        ("431", "GET / HTTP/1.1\r\nHost: it\r\n", b"a: b\r\n"),
        ("431", "GET /", &fields),
        ("413", &format!("{chunked}1000000000\r\n"), &fields),
        ("413", chunked, b"1\r\nx\r\n"),
        ("400", &format!("{chunked}1;"), &fields),
        ("431", &format!("{chunked}0\r\n"), b"a: b\r\n"),
    ] {
        let answer = flood(&site, begin, again);
        assert_eq!(status(&answer), wanted, "{begin:?}: {answer:?}");
        assert!(answer.contains("Connection: close"), "{answer:?}");
    }
    let grown = site.count("VmHWM") - before;
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[test]
fn those_who_reset_and_those_who_stop_half_way_leave_nothing_behind() {
    let site = Site::new("httpd-reset");
    site.get("/page.txt");
    let before = site.descriptors();
    for (round, (request, ..)) in requests().enumerate() {
        let mut stream = site.server.connect();
        let request = request.as_bytes();
        stream.write_all(&request[..request.len() * (round % 5) / 5]).unwrap();
        match round % 3 {
            0 => drop(stream),
            1 => {
                stream.shutdown(Shutdown::Write).unwrap();
                let answer = rest(stream); // half a request, or none, and its end
                assert!(answer.is_empty() || status(&answer).starts_with(['2', '4', '5']));
            }
            _ => {
                stream.write_all(b"GET /large HTTP/1.0\r\n\r\n").unwrap();
                stream.peek(&mut [0]).unwrap();
                drop(stream); // unread: a reset
            }
        }
    }
    // The server has seen all ends by the time it has answered often enough.
    let left = (0..1_000).map(|_| (site.get("/json"), site.descriptors()).1).min();
    assert!(left.is_some_and(|it| it <= before + 1), "{left:?} descriptors, {before} before");
}

#[test]
fn a_large_file_arrives_whole_and_in_parts() {
    let site = Site::new("httpd-large");
    let raw = |request: &str| {
        let mut stream = site.server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        answer.split_off(head + 4)
    };
    let large = large();
    assert!(raw("GET /large HTTP/1.0\r\n\r\n") == large);
    for (range, part) in [("100000-300001", 100_000..300_002), ("-1", 3_000_000..3_000_001)] {
        let request = format!("GET /large HTTP/1.0\r\nRange: bytes={range}\r\n\r\n");
        assert!(raw(&request) == large[part]);
    }
}

#[test]
fn clients_that_stall_are_told_that_time_is_up() {
    let site = Site::patient("httpd-slow", "0.2");
    for half in
        ["G", "GET / HTTP/1.1\r\nHost", "POST /echo HTTP/1.0\r\nContent-Length: 9\r\n\r\nabc"]
    {
        let answer = site.ask(half);
        assert_eq!(status(&answer), "408", "{half:?}: {answer:?}");
    }
    // One who says nothing hears nothing.
    assert_eq!(rest(site.server.connect()), "");
    // One who does not read is dropped.
    let before = site.descriptors();
    let mut stream = site.server.connect();
    let requests = b"GET /large HTTP/1.1\r\nHost: it\r\n\r\n".repeat(1_000);
    drop(stream.write_all(&requests));
    let mut left = (0..100_000).map(|_| (site.get("/json"), site.descriptors()).1);
    assert!(left.any(|it| it <= before));
}

#[test]
fn a_client_that_waits_for_leave_to_send_gets_it() {
    let site = Site::new("httpd-expect");
    let mut stream = site.server.connect();
    let head = "POST /echo HTTP/1.1\r\nHost: it\r\nConnection: close\r\nExpect: 100-continue\r\n";
    write!(stream, "{head}Content-Length: 4\r\n\r\n").unwrap();
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").unwrap();
    assert!(rest(stream).ends_with("\r\n\r\nbody"));
    let answer = site.ask(format!("{head}Content-Length: 9999999\r\n\r\n"));
    assert_eq!(status(&answer), "413");
}

#[test]
fn an_interrupt_lets_requests_finish() {
    for signal in ["INT", "TERM"] {
        let mut site = Site::new("httpd-stop");
        let idle = site.server.connect();
        let mut used = site.server.connect();
        used.write_all(b"GET /json HTTP/1.1\r\nHost: it\r\n\r\n").unwrap();
        used.read_exact(&mut [0; 100]).unwrap();
        let mut busy = site.server.connect();
        write!(busy, "POST /echo HTTP/1.1\r\nHost: it\r\nExpect: 100-continue\r\n").unwrap();
        write!(busy, "Content-Length: 10\r\n\r\n").unwrap();
        busy.read_exact(&mut [0; 25]).unwrap();
        site.server.signal(signal);
        // Those who wait for nothing are let go...
        rest(idle);
        rest(used);
        // ... and the one who is at it gets an answer.
        busy.write_all(b"0123456789").unwrap();
        let answer = rest(busy);
        assert!(answer.contains("Connection: close\r\n\r\n0123456789"), "{answer:?}");
        let (status, text) = site.server.end();
        assert_eq!(status.code(), Some(0));
        assert_eq!(text, "3 connections served, 0 cut off\n");
    }
}

/// What a program prints that has to succeed; nothing if it is not here.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn wrk_gets_an_answer_to_all_it_asks() {
    let mut site = Site::new("httpd-wrk");
    let url = format!("http://{}/json", site.server.address);
    let Some(text) = output_of(Command::new("wrk").args(["-t2", "-c16", "-d1s", &url])) else {
        return; // nobody to ask
    };
    assert!(text.contains(" requests in ") && !text.contains("\n  0 requests in"), "{text}");
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    site.server.signal("INT");
    assert_eq!(site.server.end().0.code(), Some(0));
}

/// The `fetch` of browsers, as node has it.
#[test]
fn fetch_is_served() {
    const PROGRAM: &str = r#"
        const same = (a, b) => { if (a !== b) throw new Error(`${a} is not ${b}`) };
        const base = process.argv[1];
        const all = Array.from({ length: 20 }, () => fetch(base + "/page.txt"));
        for (const it of await Promise.all(all)) same(await it.text(), "0123456789");
        same(typeof await (await fetch(base + "/json")).json(), "object");
        const part = await fetch(base + "/page.txt", { headers: { range: "bytes=3-5" } });
        same(part.status + await part.text(), "206345");
        const text = "x".repeat(300_000);
        same(await (await fetch(base + "/echo", { method: "POST", body: text })).text(), text);
        same((await fetch(base + "/../secret")).status, 404);
        const stop = new AbortController();
        const large = await fetch(base + "/large", { signal: stop.signal });
        stop.abort();
        same(await large.text().catch((it) => it.name), "AbortError");
        same((await (await fetch(base + "/large")).arrayBuffer()).byteLength, +process.argv[2]);
    "#;
    let mut site = Site::new("httpd-fetch");
    let (base, bytes) = (format!("http://{}", site.server.address), large().len().to_string());
    let mut node = Command::new("node");
    output_of(node.args(["--input-type=module", "-e", PROGRAM, &base, &bytes]));
    site.server.signal("INT");
    assert_eq!(site.server.end().0.code(), Some(0));
}

#[test]
fn curl_is_served() {
    let site = Site::new("httpd-curl");
    if Command::new("curl").arg("--version").output().is_err() {
        return; // nobody to ask
    }
    let base = format!("http://{}", site.server.address);
    let curl = |arguments: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "--noproxy", "*", "--path-as-is"]).args(arguments);
        let output = command.arg(format!("{base}{path}")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(curl(&[], "/large") == large());
    assert_eq!(text(curl(&["-r", "3-5"], "/page.txt")), "345");
    assert_eq!(text(curl(&["-w", "%{http_code}", "-z", "1 Jan 2099"], "/page.txt")), "304");
    assert_eq!(
        text(curl(&["-w", "%{num_connects}", &format!("{base}/json")], "/page.txt"))
            .matches('1')
            .count(),
        2
    );
    assert!(text(curl(&["-I"], "/page.txt")).contains("Content-Length: 10\r\n"));
    assert!(!text(curl(&[], "/../secret")).contains(SECRET));
    let body = large()[..1_000_000].to_vec();
    let file = site.dir.join("body");
    fs::write(&file, &body).unwrap();
    let upload = format!("@{}", file.display());
    for way in [&[][..], &["-H", "Transfer-Encoding: chunked"], &["-H", "Expect: 100-continue"]] {
        let arguments = [&["--data-binary", &*upload], way].concat();
        assert!(curl(&arguments, "/echo") == body, "{way:?}");
    }
}
