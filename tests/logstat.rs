//! The example `logstat` prints what an awk program prints, on logs of all kinds.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use proptest::prelude::*;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use support::example::built;

/// The same facts by awk and sort; the log is stdin.
const AWK: &str = r#"
    { sub(/\r$/, "") }
    BEGIN {
        who = "^[^ ]+ [^ ]+ [^ ]+ \\[[^\\]]+\\] "
        what = "\"[^ \"]+ [^ \"]+( HTTP/[^ \"]*)?\" [0-9][0-9][0-9] ([0-9]+|-)"
        form = who what "( \"[^\"]*\" \"[^\"]*\")?$"
    }
    $0 !~ form { malformed++; next }
    {
        requests++; hosts[$1]++; split($0, quoted, "\""); split(quoted[2], words, " ")
        paths[words[2]]++; split(quoted[3], numbers, " "); codes[numbers[1]]++
        if (numbers[2] != "-") bytes += numbers[2]
    }
    END {
        printf "requests\t%d\nmalformed\t%d\nbytes\t%.0f\n", requests, malformed, bytes
        fflush()
        for (code in codes) print "status\t" code "\t" codes[code] | "sort"
        close("sort")
        top = "LC_ALL=C sort -t'\t' -k2,2nr -k3,3 | head -10"
        for (path in paths) print "path\t" paths[path] "\t" path | top
        close(top)
        for (host in hosts) print "host\t" hosts[host] "\t" host | top
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

fn line() -> impl Strategy<Value = String> {
    let well = ("[a-d]{1,2}", "/[a-c]{0,2}", 200..204_u32, prop::option::of(0..5_000_u32), 0..4_u8);
    let well = well.prop_map(|(host, path, code, bytes, form)| {
        let bytes = bytes.map_or("-".into(), |it| it.to_string());
        let protocol = if form == 3 { "" } else { " HTTP/1.1" };
        let tail = if form == 1 { " \"http://from/\" \"agent (a; b)\"" } else { "" };
        let end = if form == 2 { "\r" } else { "" };
        let who = format!("{host} - u [10/Oct/2000:13:55:36 -0700]");
        format!("{who} \"GET {path}{protocol}\" {code} {bytes}{tail}{end}")
    });
    let parts = ["a", " ", "\"", "[", "]", "- -", "200", "GET / HTTP/1.0", "", "\t"];
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
        let awk = fed(Command::new("awk").arg(AWK), log.as_bytes());
        prop_assert_eq!(facts(log.as_bytes()), String::from_utf8(awk.stdout).unwrap());
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
fn malformed_lines_are_put_aside_as_they_are() {
    let reject = std::env::temp_dir().join(format!("logstat-{}", std::process::id()));
    let log = b"h - - [t] \"GET /\xff HTTP/1.1\" 200 1\nnonsense \xfe\n\nh - - [t] \"GET\" 200 1\n";
    let output = fed(Command::new(logstat()).arg("--reject").arg(&reject), log);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read(&reject).unwrap(), b"nonsense \xfe\n\nh - - [t] \"GET\" 200 1\n");
    assert!(output.stdout.ends_with(b"path\t1\t/\xff\nhost\t1\th\n"));
    std::fs::remove_file(reject).unwrap();
}

#[test]
fn a_line_without_end_costs_bounded_memory_and_is_malformed() {
    let mut log = vec![b'x'; 10 << 20];
    log.extend(b"\nh - - [t] \"GET / HTTP/1.1\" 200 1\n");
    let facts = facts(&log);
    assert!(facts.starts_with("requests\t1\nmalformed\t"), "{facts}");
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
