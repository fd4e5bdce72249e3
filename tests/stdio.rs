//! Standard input and output: each body is a process of its own, with pipes for both.
#![cfg(all(target_os = "linux", not(miri)))]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tasklets::{
    Halt, Never, Operation, Runtime, after, channel, explore, run, scope, select, spawn, stdin,
    stdout, within, yield_now,
};

/// Names the body that this process is to run.
const CASE: &str = "TASKLETS_STDIO_CASE";

/// Runs `body` in a process of its own, whose input is what `write` writes; none in that process.
fn with_input(
    name: &str,
    body: impl FnOnce(),
    write: impl FnOnce(&mut dyn Write, &mut dyn Read),
) -> Option<Output> {
    if std::env::var(CASE).is_ok_and(|it| it == name) {
        body();
        return None;
    }
    let mut child = command(name).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut heard = child.stdout.take().unwrap();
    write(&mut input, &mut heard);
    drop(input);
    let mut said = Vec::new();
    heard.read_to_end(&mut said).unwrap();
    let output = Output { stdout: said, ..child.wait_with_output().unwrap() };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && ran_one(&output), "the child said:\n{text}");
    Some(output)
}

/// Whether the name was that of a test.
fn ran_one(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("1 passed")
}

fn command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(CASE, name);
    command.env("RUST_BACKTRACE", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads until `mark` has been said.
fn wait_for(mark: &str, heard: &mut dyn Read) {
    let mut said = Vec::new();
    while !said.ends_with(mark.as_bytes()) {
        let mut byte = [0];
        heard.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
}

#[test]
fn lines_come_one_by_one_whatever_their_ends() {
    let body = || {
        let lines: Vec<_> = run(|| stdin().lines().map(Result::unwrap).collect());
        assert_eq!(lines, ["unix", "dos", "", "\r", "no end"]);
        assert!(run(|| stdin().lines().next().is_none())); // it has ended
    };
    with_input("lines_come_one_by_one_whatever_their_ends", body, |input, _| {
        input.write_all(b"unix\ndos\r\n\n\r\r\nno end").unwrap();
    });
}

#[test]
fn a_line_that_is_no_text_is_an_error_and_the_next_one_follows() {
    let body = || {
        run(|| {
            let lines: Vec<_> = stdin().lines().map(|it| it.map_err(|it| it.kind())).collect();
            let (good, bad) = (|it: &str| Ok(it.to_owned()), || Err(ErrorKind::InvalidData));
            assert_eq!(lines, [good("good"), bad(), good("better"), bad()]);
        });
    };
    with_input("a_line_that_is_no_text_is_an_error_and_the_next_one_follows", body, |input, _| {
        input.write_all(b"good\n\xff\xfe\nbetter\n\xc3").unwrap();
    });
}

#[test]
fn an_input_that_has_ended_is_an_end_and_a_closed_one_too() {
    const NAME: &str = "an_input_that_has_ended_is_an_end_and_a_closed_one_too";
    let body = || {
        run(|| {
            let mut text = String::from("kept");
            assert_eq!(stdin().read_line(&mut text).unwrap(), 0);
            assert_eq!(stdin().read(&mut [0; 8]).unwrap(), 0);
            assert_eq!(text, "kept");
            assert!(stdin().lines().next().is_none());
        });
    };
    if with_input(NAME, body, |_, _| {}).is_some() {
        for input in ["/dev/null", "/proc/self/statm"] {
            let mut input = File::open(input).unwrap();
            input.read_to_end(&mut Vec::new()).unwrap();
            let output = command(NAME).stdin(input).output().unwrap();
            assert!(output.status.success() && ran_one(&output), "{output:?}");
        }
    }
}

#[test]
fn a_file_is_an_input_like_any_other() {
    const NAME: &str = "a_file_is_an_input_like_any_other";
    if std::env::var_os(CASE).is_some() {
        let lines = run(|| stdin().lines().map(Result::unwrap).collect::<Vec<_>>());
        let there = std::fs::read_to_string("Cargo.toml").unwrap();
        return assert!(lines == there.lines().collect::<Vec<_>>());
    }
    let output = command(NAME).stdin(File::open("Cargo.toml").unwrap()).output().unwrap();
    assert!(output.status.success() && ran_one(&output), "{output:?}");
}

#[test]
fn who_waits_for_a_line_holds_nobody_up_and_loses_nothing_when_it_is_stopped() {
    let body = || {
        for limit in [0, 1, 2] {
            run(|| {
                let reader = spawn(|| stdin().read_line(&mut String::new()));
                let (tx, rx) = channel();
                spawn(move || tx.send_all(0..1_000));
                assert_eq!(rx.into_iter().count(), 1_000);
                assert!(!reader.is_finished());
                reader.cancel();
                let error = reader.join().unwrap().unwrap_err();
                assert_eq!(error.downcast::<Halt>().unwrap(), Halt::Cancelled);
                let limit = Duration::from_millis(limit);
                let late = within(limit, || stdin().lines().next().unwrap());
                assert_eq!(late.value.unwrap_err().kind(), ErrorKind::TimedOut);
            });
        }
        println!("ready");
        let lines: Vec<_> = run(|| stdin().lines().map(Result::unwrap).collect());
        assert_eq!(lines, ["begun before", "after"]);
    };
    const NAME: &str = "who_waits_for_a_line_holds_nobody_up_and_loses_nothing_when_it_is_stopped";
    with_input(NAME, body, |input, heard| {
        input.write_all(b"begun ").unwrap(); // the beginning of a line that nobody gets
        wait_for("ready\n", heard);
        input.write_all(b"before\nafter\n").unwrap();
    });
}

#[test]
fn readers_that_are_stopped_again_and_again_lose_no_byte() {
    let body = || {
        let mut got = Vec::new();
        for seed in 0.. {
            let (more, bytes) = Runtime::builder()
                .seed(seed)
                .build()
                .run(|| {
                    let reader = spawn(|| {
                        let mut bytes = vec![0; 700];
                        stdin().read(&mut bytes).map(|it| bytes[..it].to_vec())
                    });
                    (0..seed % 7).for_each(|_| yield_now());
                    if seed % 3 > 0 {
                        reader.cancel();
                    }
                    match reader.join() {
                        Ok(Ok(bytes)) => (!bytes.is_empty(), bytes),
                        Ok(Err(_)) | Err(_) => (true, Vec::new()),
                    }
                })
                .unwrap();
            got.extend(bytes);
            if !more {
                break;
            }
        }
        assert!(got == (0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    };
    with_input("readers_that_are_stopped_again_and_again_lose_no_byte", body, |input, _| {
        for number in 0..100_000_u32 {
            input.write_all(&number.to_le_bytes()).unwrap();
        }
    });
}

#[test]
fn lines_are_messages_beside_others() {
    let body = || {
        run(|| {
            let (tx, lines) = channel();
            spawn(move || tx.send_all(stdin().lines()));
            let (_never, rx) = channel::<Never>();
            let mut heard = Vec::new();
            loop {
                select! {
                    recv(lines) -> line => match line {
                        Ok(line) => heard.push(line.unwrap()),
                        Err(_) => break,
                    },
                    recv(rx) -> _ => unreachable!(),
                    op(after(Duration::from_secs(20))) -> _ => panic!("{heard:?}"),
                }
            }
            assert_eq!(heard.len(), 1_000);
        });
    };
    with_input("lines_are_messages_beside_others", body, |input, _| {
        (0..1_000).for_each(|it| writeln!(input, "{it}").unwrap());
    });
}

/// What comes before a timer, line by line.
fn lines_in_time() -> Vec<String> {
    let lines = stdin().lines();
    let mut heard = Vec::new();
    loop {
        select! {
            op(lines.receiving()) -> line => match line {
                Some(line) => heard.push(line.unwrap()),
                None => return heard,
            },
            op(after(Duration::from_secs(20))) -> _ => panic!("{heard:?}"),
        }
    }
}

#[test]
fn a_line_is_an_arm_and_an_ended_input_too() {
    const NAME: &str = "a_line_is_an_arm_and_an_ended_input_too";
    let body = || {
        let expected = if std::env::var_os("EMPTY").is_some() { 0 } else { 1_001 };
        let heard = run(lines_in_time);
        assert_eq!(heard.len(), expected);
        assert!(heard.iter().enumerate().all(|(nth, it)| *it == format!("line {nth}")));
        let lines = stdin().lines();
        let again =
            run(|| [lines.receiving().wait().is_none(), lines.receiving().wait().is_none()]);
        assert_eq!(again, [true, true]);
    };
    let done = with_input(NAME, body, |input, _| {
        (0..1_000).for_each(|it| write!(input, "line {it}\r\n").unwrap());
        input.write_all(b"line 1000").unwrap();
    });
    if done.is_some() {
        let output = command(NAME).env("EMPTY", "1").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success() && ran_one(&output), "{output:?}");
    }
}

#[test]
fn a_file_and_a_closed_input_are_arms_like_any_other() {
    const NAME: &str = "a_file_and_a_closed_input_are_arms_like_any_other";
    if std::env::var_os(CASE).is_some() {
        let lines = run(lines_in_time);
        let there = std::fs::read_to_string("Cargo.toml").unwrap();
        return assert!(lines.is_empty() || lines == there.lines().collect::<Vec<_>>());
    }
    let closed =
        format!("exec {:?} {NAME} --exact --nocapture <&-", std::env::current_exe().unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &closed]).env(CASE, NAME);
    let mut file = command(NAME);
    file.stdin(File::open("Cargo.toml").unwrap());
    for mut each in [shell, file] {
        let output = each.output().unwrap();
        assert!(output.status.success() && ran_one(&output), "{output:?}");
    }
}

#[test]
fn a_line_that_loses_takes_nothing_and_holds_nobody_up() {
    const NAME: &str = "a_line_that_loses_takes_nothing_and_holds_nobody_up";
    let body = || {
        run(|| {
            let lines = stdin().lines();
            assert!(lines.receiving().poll().is_none());
            for turn in 0..100 {
                let (tx, rx) = channel();
                spawn(move || tx.send(turn));
                select! {
                    op(lines.receiving()) -> line => panic!("{line:?}"),
                    recv(rx) -> it => assert_eq!(it, Ok(turn)),
                }
                let late = within(Duration::ZERO, || lines.receiving().wait()).value;
                assert_eq!(late.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
            }
            println!("ready");
            assert_eq!(lines.receiving().wait().unwrap().unwrap(), "begun before");
            let bad = lines.receiving().wait().unwrap().unwrap_err();
            assert_eq!(bad.kind(), ErrorKind::InvalidData);
            let rest = scope(|s| {
                let each = || lines.receiving().wait().map(Result::unwrap);
                let both = [s.spawn(each), s.spawn(each)];
                both.map(|it| it.join().unwrap().unwrap())
            });
            assert_eq!(rest, ["one", "two"]);
            assert!(lines.receiving().wait().is_none());
        });
    };
    with_input(NAME, body, |input, heard| {
        input.write_all(b"begun ").unwrap();
        wait_for("ready\n", heard);
        input.write_all(b"before\n\xff\none\ntwo\n").unwrap();
    });
}

#[test]
fn the_lines_of_who_is_stopped_go_on_when_that_is_over() {
    const NAME: &str = "the_lines_of_who_is_stopped_go_on_when_that_is_over";
    let body = || {
        run(|| {
            let mut lines = stdin().lines();
            for _ in 0..3 {
                let late = within(Duration::from_millis(1), || lines.by_ref().collect::<Vec<_>>());
                assert_eq!(late.value.len(), 1, "the error, once");
            }
            println!("ready");
            let lines = lines.map(Result::unwrap).collect::<Vec<_>>();
            assert_eq!(lines, ["here", "there"]);
        });
    };
    with_input(NAME, body, |input, heard| {
        wait_for("ready\n", heard);
        input.write_all(b"here\nthere\n").unwrap();
    });
}

#[test]
fn an_input_that_does_not_block_is_waited_for_all_the_same() {
    const NAME: &str = "an_input_that_does_not_block_is_waited_for_all_the_same";
    let body = || {
        rustix::io::ioctl_fionbio(std::io::stdin(), true).unwrap();
        println!("ready");
        assert_eq!(run(lines_in_time), ["late"]);
    };
    with_input(NAME, body, |input, heard| {
        wait_for("ready\n", heard);
        input.write_all(b"late\n").unwrap();
    });
}

#[test]
fn a_reader_that_nobody_hears_does_not_hold_up_who_writes() {
    let body = || {
        run(|| {
            scope(|s| {
                let writer = s.spawn(|| {
                    let mut out = stdout();
                    out.write_all(&vec![b'x'; 1 << 20])?; // more than a pipe holds
                    out.write_all(b"\nend of it\n")?;
                    out.flush()
                });
                let line = stdin().lines().next().unwrap(); // comes when the pipe is full
                assert_eq!(line.unwrap(), "now");
                assert!(!writer.is_finished());
                eprintln!("beside");
                writer.join().unwrap().unwrap();
            });
        });
    };
    const NAME: &str = "a_reader_that_nobody_hears_does_not_hold_up_who_writes";
    let output = with_input(NAME, body, |input, _| input.write_all(b"now\n").unwrap());
    if let Some(output) = output {
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.matches('x').count(), 1 << 20);
        assert!(text.contains("\nend of it\n"));
        assert!(String::from_utf8_lossy(&output.stderr).contains("beside\n"));
    }
}

#[test]
fn a_run_that_is_explored_refuses_both() {
    let explored = explore::Explore::new().run(|| drop(stdin().lines().next()));
    assert!(format!("{explored:?}").contains("reading standard input"), "{explored:?}");
    let explored = explore::Explore::new().run(|| drop(stdout().write(b"x")));
    assert!(format!("{explored:?}").contains("writing to standard output"), "{explored:?}");
}
