//! Child processes: what must hold of waiting for them, with descriptors of processes and with
//! threads that wait.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::time::Duration;
use support::{Ended, Isolation};
use tasklets::process::{Child, Command, Stdio};
use tasklets::{
    Operation, Pending, Progress, Runtime, Signal, after, channel, explore, run, scope, select,
    sleep, spawn, within, yield_now,
};

/// Each law holds where the kernel tells of the end of a process, and where a thread waits for it.
macro_rules! both_ways {
    ($($law:ident)*) => {
        mod with_descriptors {
            $(#[test] fn $law() { super::$law(); })*
        }
        mod with_threads {
            use super::support::{Ended, Isolation};
            $(#[test] fn $law() {
                let isolation = Isolation::default().env("TASKLETS_CHILDREN", "threads");
                isolation.run(|| super::$law()).map(Ended::well);
            })*
        }
    };
}

both_ways! {
    the_end_of_a_child_is_an_arm_beside_messages_and_timers
    a_child_is_waited_for_without_holding_up_the_others
    everybody_who_waits_for_a_child_is_told
    a_child_that_was_killed_says_so_and_is_left_alone_from_then_on
    a_child_that_ignores_sigterm_is_killed_after_a_while
    a_child_that_closes_its_pipes_has_not_ended
    more_than_pipes_hold_goes_both_ways
    a_cancelled_wait_leaves_the_child_to_be_waited_for
    a_child_that_is_dropped_goes_on_and_is_reaped
    a_child_is_killed_when_it_is_dropped_if_that_is_wanted
    a_child_is_killed_when_its_tasklet_panics
    the_end_of_a_run_does_not_wait_for_children
    who_waits_for_a_child_is_listed
    without_descriptors_nothing_hangs
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A child that ends when its standard input is closed.
fn cat() -> Child {
    Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Processes that this one has started, dead or alive.
fn children() -> BTreeSet<u32> {
    let own = std::process::id().to_string();
    let stats = std::fs::read_dir("/proc").unwrap().filter_map(|it| {
        let path = it.unwrap().path();
        let id = path.file_name()?.to_str()?.parse().ok()?;
        Some((id, std::fs::read_to_string(path.join("stat")).ok()?))
    });
    let parent = |stat: &str| Some(stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned());
    stats.filter(|it| parent(&it.1).as_deref() == Some(&own)).map(|it| it.0).collect()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until this process has no child with that number.
fn until_reaped(id: u32) {
    while children().contains(&id) {
        sleep(Duration::from_millis(1)).unwrap();
    }
}

fn the_end_of_a_child_is_an_arm_beside_messages_and_timers() {
    run(|| {
        let mut child = cat();
        let (tx, rx) = channel();
        let input = child.stdin.take();
        spawn(move || {
            tx.send("message").unwrap();
            drop(input);
        });
        let mut heard = Vec::new();
        while heard.len() < 2 {
            select! {
                recv(rx) -> it => if let Ok(word) = it { heard.push(word) },
                op(child.exited()) -> it => {
                    assert!(it.unwrap().success());
                    heard.push("end");
                }
                op(after(Duration::from_secs(30))) -> _ => panic!("{heard:?}"),
            }
        }
        assert_eq!(heard, ["message", "end"]);
    });
}

fn a_child_is_waited_for_without_holding_up_the_others() {
    run(|| {
        let mut child = cat();
        let input = child.stdin.take();
        let waiter = spawn(move || child.wait().unwrap().code());
        let (tx, rx) = channel();
        drop(spawn(move || tx.send_all(0..1_000)));
        assert_eq!(rx.into_iter().count(), 1_000);
        assert!(!waiter.is_finished());
        drop(input);
        assert_eq!(waiter.join().unwrap(), Some(0));
    });
}

fn everybody_who_waits_for_a_child_is_told() {
    run(|| {
        let mut child = shell("read line; exit 7").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let child = Rc::new(child);
        let waiters: Vec<_> = (0..5)
            .map(|_| child.clone())
            .map(|child| spawn(move || child.exited().wait().unwrap().code()))
            .collect();
        yield_now();
        drop(input);
        assert!(waiters.into_iter().all(|it| it.join().unwrap() == Some(7)));
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
        assert_eq!(child.exited().poll().unwrap().unwrap().code(), Some(7));
    });
}

fn a_child_that_was_killed_says_so_and_is_left_alone_from_then_on() {
    run(|| {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.signal(), status.code()), (Some(9), None));
        child.kill().unwrap();
        child.signal(Signal::Terminate).unwrap();
        assert_eq!(child.wait().unwrap(), status);
    });
}

fn a_child_that_ignores_sigterm_is_killed_after_a_while() {
    run(|| {
        let mut command = shell("trap '' TERM; echo ready; exec sleep 1000");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        child.signal(Signal::Terminate).unwrap();
        let grace = within(Duration::from_millis(20), || child.wait());
        assert!(grace.expired);
        assert_eq!(grace.value.unwrap_err().kind(), ErrorKind::TimedOut);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::Kill.number()));
    });
}

fn a_child_that_closes_its_pipes_has_not_ended() {
    run(|| {
        let mut command = shell("exec >&- 2>&-; read line; exit 3");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut nothing = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut nothing).unwrap();
        child.stderr.take().unwrap().read_to_end(&mut nothing).unwrap();
        assert!(nothing.is_empty());
        assert!(child.exited().poll().is_none());
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
    });
}

fn more_than_pipes_hold_goes_both_ways() {
    run(|| {
        let much = 3 << 20;
        let mut command = shell("tee /dev/stderr");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = spawn(move || input.write_all(&vec![b'x'; much]));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (much, much));
    });
}

fn a_cancelled_wait_leaves_the_child_to_be_waited_for() {
    run(|| {
        let mut child = cat();
        let input = child.stdin.take();
        let child = Rc::new(child);
        let same = child.clone();
        let waiter = spawn(move || same.exited().wait());
        yield_now();
        waiter.cancel();
        let stopped = waiter.join().unwrap().unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::ConnectionAborted);
        assert_eq!(child.try_wait().unwrap(), None);
        drop(input);
        assert!(child.exited().wait().unwrap().success());
    });
}

fn a_child_that_is_dropped_goes_on_and_is_reaped() {
    run(|| {
        let mut waited_for = cat();
        let (input, same) = (waited_for.stdin.take(), waited_for.id());
        assert!(waited_for.exited().poll().is_none());
        assert!(within(Duration::from_millis(1), || waited_for.wait()).expired);
        let mut never = cat();
        let (other_input, other) = (never.stdin.take(), never.id());
        drop((waited_for, never));
        assert!(children().is_superset(&BTreeSet::from([same, other])));
        drop((input, other_input));
        [same, other].into_iter().for_each(until_reaped);
    });
}

fn a_child_is_killed_when_it_is_dropped_if_that_is_wanted() {
    run(|| {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").kill_on_drop(true).spawn().unwrap();
        let id = child.id();
        drop(child);
        until_reaped(id);
        let late = within(Duration::from_millis(1), || command.output());
        assert_eq!(late.value.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

fn a_child_is_killed_when_its_tasklet_panics() {
    run(|| {
        let (tx, rx) = channel();
        let unlucky = spawn(move || {
            let child = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
            tx.send(child.id()).unwrap();
            std::panic::resume_unwind(Box::new("on purpose"))
        });
        let id = rx.recv().unwrap();
        assert!(unlucky.join().is_err());
        until_reaped(id);
    });
}

fn the_end_of_a_run_does_not_wait_for_children() {
    let id = run(|| {
        let mut child = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let id = child.id();
        drop(spawn(move || child.wait().unwrap_err()));
        yield_now();
        id
    });
    run(move || until_reaped(id));
}

fn who_waits_for_a_child_is_listed() {
    let runtime = Runtime::builder().build();
    let mut child = cat();
    let (input, id) = (child.stdin.take(), child.id());
    let waiter = runtime.spawn(move || child.wait().unwrap()).unwrap();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Idle);
    let picture = runtime.snapshot();
    assert_eq!(picture.counts.polling, 1);
    let waiting = picture.tasklets[0].waiting.as_ref().unwrap();
    assert!(matches!(waiting.operations[..], [Pending::Process(it)] if it == id));
    assert!(picture.to_string().contains(&format!("waits to see process {id} end at ")));
    drop(input);
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert!(waiter.join().unwrap().success());
}

/// In a process of its own: it opens whatever there is.
fn without_descriptors_nothing_hangs() {
    let limited = || {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]);
        shell.arg(std::env::current_exe().unwrap());
        shell.args(["limited", "--exact", "--nocapture"]).env("LIMITED", "1");
        shell.output().unwrap()
    };
    let output = limited();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{output:?}");
}

#[test]
fn limited() {
    if std::env::var_os("LIMITED").is_none() {
        return; // a part of the one above
    }
    run(|| {
        let mut child = cat();
        let first = after(Duration::ZERO).wait(); // the queue for events is there
        assert!(first.is_ok() && child.exited().poll().is_none());
        let mut hoard: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let refused = child.exited().wait().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(24), "EMFILE");
        assert_eq!(cat_refused(), Some(24));
        hoard.truncate(hoard.len() - 8);
        assert!(within(Duration::from_millis(1), || child.exited().wait()).expired);
        assert!(child.wait().unwrap().success());
        // With no descriptor to wait by it is reaped all the same.
        let orphan = cat();
        hoard.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        let id = orphan.id();
        drop(orphan);
        hoard.clear();
        until_reaped(id);
    });
}

fn cat_refused() -> Option<i32> {
    Command::new("cat").stdin(Stdio::piped()).spawn().unwrap_err().raw_os_error()
}

#[test]
fn what_cannot_be_started_is_refused_and_leaves_nothing() {
    run(|| {
        let kind = |command: &mut Command| command.spawn().unwrap_err().kind();
        assert_eq!(kind(&mut Command::new("no-such-program")), ErrorKind::NotFound);
        assert_eq!(kind(&mut Command::new("/etc/passwd")), ErrorKind::PermissionDenied);
        assert_eq!(kind(Command::new("true").arg("a\0b")), ErrorKind::InvalidInput);
        assert_eq!(kind(Command::new("true").current_dir("/no/such")), ErrorKind::NotFound);
        assert_eq!(kind(&mut Command::new("")), ErrorKind::NotFound);
    });
}

#[test]
fn a_child_that_does_not_read_breaks_the_pipe_of_who_writes() {
    run(|| {
        let mut child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let error = input.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn output_gives_the_child_no_input_and_takes_both_streams_unless_told_otherwise() {
    run(|| {
        let mut both = shell("cat; echo out; echo err >&2; exit 5");
        let output = both.output().unwrap();
        assert_eq!(output.status.code(), Some(5));
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        let output = both.stdout(Stdio::null()).output().unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b""[..], &b"err\n"[..]));
        let child = both.spawn().unwrap();
        assert!(child.stdin.is_none() && child.stderr.is_none());
        assert_eq!(child.wait_with_output().unwrap().stdout, b"");
    });
}

#[test]
fn the_streams_of_a_child_have_their_ends_for_themselves() {
    run(|| {
        let mut child = cat();
        let input = child.stdin.take().unwrap();
        let blocking = input.into_blocking().unwrap(); // for another child, as its output
        let mut echo = Command::new("echo").arg("through").stdout(blocking).spawn().unwrap();
        assert!(echo.wait().unwrap().success());
        assert_eq!(child.wait_with_output().unwrap().stdout, b"through\n");
    });
}

#[test]
fn two_thousand_children_leave_no_descriptor_and_no_zombie() {
    let ended = Isolation::default().seconds(120).run(|| {
        run(|| {
            let mut before = 0;
            for round in 0..500 {
                scope(|s| {
                    s.spawn(|| assert!(Command::new("true").status().unwrap().success()));
                    s.spawn(|| assert!(Command::new("true").output().unwrap().status.success()));
                    s.spawn(|| drop(Command::new("true").spawn().unwrap()));
                    s.spawn(|| drop(cat()));
                });
                if round == 9 {
                    settle_down();
                    before = open_descriptors();
                }
            }
            settle_down();
            assert_eq!(open_descriptors(), before);
        });
    });
    ended.map(Ended::well);
}

/// Waits until all children are reaped, and the thread for orphans has closed what it had.
fn settle_down() {
    while !children().is_empty() || threads("tasklets-orphan") > 0 {
        sleep(Duration::from_millis(1)).unwrap();
    }
}

/// OS threads of this process with that name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|it| std::fs::read_to_string(it.ok()?.path().join("comm")).ok());
    names.filter(|it| it.trim() == name).count()
}

fn threads_that_wait_for_a_child() -> usize {
    run(|| {
        let mut child = cat();
        let input = child.stdin.take();
        assert!(within(Duration::from_millis(1), || child.exited().wait()).expired);
        let count = threads("tasklets-child");
        drop(input);
        child.wait().unwrap();
        count
    })
}

#[test]
fn no_thread_waits_where_the_kernel_tells() {
    let isolation = Isolation::default().env("TASKLETS_CHILDREN", "as the kernel can");
    let ended = isolation.run(|| assert_eq!(threads_that_wait_for_a_child(), 0));
    ended.map(Ended::well);
}

#[test]
fn a_thread_waits_where_the_kernel_does_not_tell() {
    let isolation = Isolation::default().env("TASKLETS_CHILDREN", "threads");
    let ended = isolation.run(|| assert_eq!(threads_that_wait_for_a_child(), 1));
    ended.map(Ended::well);
}

#[test]
fn outside_of_a_run_a_child_is_looked_at_but_not_waited_for() {
    let mut child = cat();
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.exited().wait().unwrap_err().kind(), ErrorKind::Unsupported);
    drop(child.stdin.take());
    let child = run(move || {
        child.wait().unwrap();
        child
    });
    assert!(child.exited().wait().unwrap().success());
}

#[test]
fn a_child_is_waited_for_in_one_run_after_the_other() {
    let mut child = cat();
    let input = child.stdin.take();
    let number = input.as_ref().unwrap().as_raw_fd();
    let child = Rc::new(child);
    for _ in 0..3 {
        let child = child.clone();
        run(move || assert!(within(Duration::from_millis(1), || child.exited().wait()).expired));
    }
    assert!(number > 2);
    drop(input);
    run(move || assert!(child.exited().wait().unwrap().success()));
}

#[test]
fn a_run_that_is_explored_refuses_to_start_processes() {
    let explored = explore::Explore::new().run(|| drop(Command::new("true").spawn()));
    let text = format!("{explored:?}");
    assert!(text.contains("starting a process"), "{text}");
}
