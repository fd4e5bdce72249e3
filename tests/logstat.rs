//! The example `logstat` prints what an awk program prints, on logs of all kinds.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use proptest::prelude::*;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use support::example::built;

/// The same facts by awk and sort, with pages; the log is stdin.
const AWK: &str = r#"
    BEGIN {
        FS = "[ ]"
        who = "^[^ ]+ [^ ]+ [^ ]+ \\[[^\\]]+\\] "
        quoted = "\"([^\"\\\\]|\\\\.)*\""
        said = "^ [0-9][0-9][0-9] ([0-9]+|-)( " quoted " " quoted ")?$"
        most = "18446744073709551615"
    }
    # Whether it is more than 64 bits hold; awk's numbers are exact to 53.
    function is_huge(size) {
        sub(/^0+/, "", size)
        return length(size) > length(most) || length(size) == length(most) && size "" > most ""
    }
    { sub(/\r$/, ""); wrong = 1 }
    match($0, who quoted) {
        rest = substr($0, RLENGTH + 1)
        asked = substr($0, 1, RLENGTH - 1)
        match(asked, who)
        asked = substr(asked, RLENGTH + 2)
        split(rest, words, / /)
        good = asked ~ /^[^ ]+ [^ ]+( HTTP\/[^ ]*)?$/ && rest ~ said
        wrong = !good || is_huge(words[3])
    }
    wrong { malformed++; next }
    {
        requests++; hosts[$1]++; codes[words[2]]++
        if (words[3] != "-") {
            size = "0000000000" words[3]
            low += substr(size, length(size) - 9)
            high += substr(size, 1, length(size) - 10)
        }
        split(asked, words, / /)
        paths[words[2]]++; sub(/\?.*/, "", words[2]); pages[words[2]]++
    }
    END {
        high += int(low / 10000000000)
        bytes = sprintf("%.0f%010.0f", high, low % 10000000000)
        sub(/^0+/, "", bytes)
        printf "requests\t%d\nmalformed\t%d\n", requests, malformed
        printf "bytes\t%s\n", bytes == "" ? 0 : bytes
        fflush()
        for (code in codes) print "status\t" code "\t" codes[code] | "sort"
        close("sort")
        top = "LC_ALL=C sort -t'\t' -k2,2nr -k3,3 | head -10"
        for (path in paths) print "path\t" paths[path] "\t" path | top
        close(top)
        for (host in hosts) print "host\t" hosts[host] "\t" host | top
        close(top)
        for (page in pages) print "page\t" pages[page] "\t" page | top
    }
"#;

fn logstat() -> PathBuf {
    built("logstat")
}

fn fed(command: &mut Command, log: &[u8]) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let log = log.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&log)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

fn facts(log: &[u8]) -> String {
    let output = fed(&mut Command::new(logstat()), log);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The facts, and the malformed lines.
fn sorted_out(name: &str, log: &[u8]) -> (String, Vec<u8>) {
    let reject = std::env::temp_dir().join(format!("logstat-{name}-{}", std::process::id()));
    let output = fed(Command::new(logstat()).arg("--reject").arg(&reject), log);
    let rejected = std::fs::read(&reject).unwrap();
    std::fs::remove_file(reject).unwrap();
    assert!(output.status.success(), "{output:?}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), rejected)
}

fn line() -> impl Strategy<Value = String> {
    let text = r#"/?([a-c?\[\]]|\\["\\ n]){0,2}"#;
    let sizes =
        ["-", "0", "007", "18446744073709551615", "18446744073709551616", "99999999999999999999"];
    let size = prop_oneof![
        8 => (0..5_000_u32).prop_map(|it| it.to_string()),
        1 => prop::sample::select(sizes.to_vec()).prop_map(String::from),
    ];
    let well = ("[a-d\t]{1,2}", text, 0..6_u32, size, 0..4_u8, r#"(a \(b|\\["\\]){0,2}"#);
    let well = well.prop_map(|(host, path, code, size, form, agent)| {
        let protocol = if form == 3 { "" } else { " HTTP/1.1" };
        let tail = format!(" \"http://from/\" \"{agent}\"");
        let tail = if form == 1 { &tail } else { "" };
        let end = if form == 2 { "\r" } else { "" };
        let who = format!("{host} - u [10/Oct/2000:13:55:36 -0700]");
        format!("{who} \"GET {path}{protocol}\" {:03} {size}{tail}{end}", code * 97)
    });
    let parts = [
        "a",
        " ",
        "\"",
        "\\",
        "[",
        "]",
        "- -",
        "200",
        "GET / HTTP/1.0",
        "",
        "\t",
        "\r",
        "a - - [t] ",
        "\"GET / HTTP/1.0\" 200 1",
        " \"a\" \"b\"",
    ];
    let ill = prop::collection::vec(prop::sample::select(parts.to_vec()), 0..9);
    let ill = ill.prop_map(|it| it.concat());
    prop_oneof![4 => well, 1 => ill]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_facts_are_those_of_awk(lines in prop::collection::vec(line(), 0..60), ended: bool) {
        let mut log = lines.join("\n");
        if ended && !lines.is_empty() {
            log.push('\n');
        }
        let awk = fed(Command::new("awk").arg(AWK), log.as_bytes()).stdout;
        let awk = String::from_utf8(awk).unwrap();
        let ours = fed(Command::new(logstat()).arg("--pages"), log.as_bytes());
        prop_assert_eq!(String::from_utf8(ours.stdout).unwrap(), &*awk);
        let without_pages = awk.split_inclusive('\n').filter(|it| !it.starts_with("page\t"));
        prop_assert_eq!(facts(log.as_bytes()), without_pages.collect::<String>());
    }
}

#[test]
fn chunks_do_not_tear_lines() {
    // Lines of all lengths, so that every place of a line is the end of some chunk.
    let line = |nth: usize| {
        let path = "x".repeat(nth % 3_001);
        format!("h{} - - [t] \"GET /{path} HTTP/1.1\" 200 {nth}\n", nth % 7)
    };
    let log: String = (0..2_000).map(line).collect();
    let facts = facts(log.as_bytes());
    assert!(facts.starts_with("requests\t2000\nmalformed\t0\n"), "{facts}");
    let bytes: usize = (0..2_000).sum();
    assert!(facts.contains(&format!("bytes\t{bytes}\n")), "{facts}");
}

#[test]
fn a_status_is_printed_as_it_stands() {
    let line = |code: &str| format!("h - - [t] \"GET / HTTP/1.1\" {code} 1\n");
    let facts = facts(["000", "099", "000"].map(line).concat().as_bytes());
    assert!(facts.contains("\nstatus\t000\t2\nstatus\t099\t1\n"), "{facts}");
}

#[test]
fn the_sum_of_sizes_has_more_than_64_bits() {
    let line = format!("h - - [t] \"GET / HTTP/1.1\" 200 {}\n", u64::MAX);
    let facts = facts(line.repeat(3).as_bytes());
    assert!(facts.contains(&format!("\nbytes\t{}\n", u128::from(u64::MAX) * 3)), "{facts}");
}

#[test]
fn a_page_is_a_path_without_its_query() {
    let paths = ["/a?x=1", "/a?x=2", "/b", "/a", "?", "/b?q?r"];
    let log = paths.map(|it| format!("h - - [t] \"GET {it} HTTP/1.1\" 200 1\n")).concat();
    let output = fed(Command::new(logstat()).arg("--pages"), log.as_bytes());
    let facts = String::from_utf8(output.stdout).unwrap();
    assert!(facts.ends_with("host\t6\th\npage\t3\t/a\npage\t2\t/b\npage\t1\t\n"), "{facts}");
}

#[test]
fn malformed_lines_are_put_aside_as_they_are() {
    let well = b"h - - [t] \"GET /\xff HTTP/1.1\" 200 1\r\n";
    let ill: [&[u8]; 4] = [b"nonsense \xfe\r\n", b"\n", b"\r\n", b"h - - [t] \"GET\" 200 1\n"];
    let log = [well, ill[0], ill[1], well, ill[2], ill[3], b"no end"].concat();
    let (_, rejected) = sorted_out("as-they-are", &log);
    assert_eq!(rejected, [ill.concat(), b"no end\n".to_vec()].concat());
}

/// The longest line that is looked at.
const LINE_BYTES: usize = 4 << 20;

#[test]
fn a_line_is_one_line_however_long() {
    let well = "h - - [t] \"GET / HTTP/1.1\" 200 1\n";
    for bytes in [9 << 20, LINE_BYTES + (256 << 10), LINE_BYTES + 1, LINE_BYTES] {
        let long = "x".repeat(bytes);
        // Alone, with a request at its end that is not one, and without an end.
        let ill = [format!("{long}\n"), format!("{long}{well}"), format!("{long}\r")];
        let log = format!("{well}{}{well}{}{well}{well}{}", ill[0], ill[1], ill[2]);
        let (facts, rejected) = sorted_out("long", log.as_bytes());
        assert!(facts.starts_with("requests\t4\nmalformed\t3\n"), "{bytes}: {facts}");
        assert!(rejected == format!("{}\n", ill.concat()).as_bytes(), "{bytes}");
    }
}

#[test]
fn a_line_is_too_long_wherever_it_begins() {
    let rest = "h - - [t] \"GET / HTTP/1.1\" 200 1".len();
    let line =
        |bytes: usize| format!("h - - [t] \"GET /{} HTTP/1.1\" 200 1\n", "x".repeat(bytes - rest));
    for before in [0, 100, 100_000, 256 << 10] {
        let log = ["\n".repeat(before), line(LINE_BYTES), line(LINE_BYTES + 1)].concat();
        let malformed = before + 1;
        let facts = facts(log.as_bytes());
        assert!(facts.starts_with(&format!("requests\t1\nmalformed\t{malformed}\n")), "{before}");
    }
}

#[test]
fn a_line_without_end_costs_bounded_memory() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 65536; exec \"$0\""]).arg(logstat());
    let output = fed(&mut limited, &vec![b'x'; 96 << 20]);
    assert_eq!(output.stdout, b"requests\t0\nmalformed\t1\nbytes\t0\n", "{output:?}");
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_counted() {
    let output = Command::new(logstat()).args(["/no/such/log", "Cargo.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("logstat: /no/such/log: "), "{text}");
    assert!(output.stdout.starts_with(b"requests\t0\nmalformed\t"));
    let bad = Command::new(logstat()).arg("--wrong").output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
    let unwritable = Command::new(logstat()).args(["--reject", "/no/such/dir/x", "-"]).output();
    assert_eq!(unwritable.unwrap().status.code(), Some(1));
}
