//! Signals as messages. Each body has a process of its own: signals belong to that.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use signal_hook::low_level::raise;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use support::{Ended, isolated};
use tasklets::{
    Halt, Operation, Pending, Progress, Runtime, Signal, after, ctrl_c, explore, run, select,
    signals, sleep, spawn, within, yield_now,
};

const SHORT: Duration = Duration::from_millis(1);

/// Lets `signal` arrive at this OS thread.
fn send(signal: Signal) {
    raise(signal.number()).unwrap();
}

/// Lets `signal` arrive at this process, from another one.
fn send_from_outside(signal: Signal) {
    let number = format!("-{}", signal.number());
    let own = std::process::id().to_string();
    assert!(Command::new("kill").args([number, own]).status().unwrap().success());
}

#[test]
fn a_signal_is_a_message_beside_others() {
    let ended = isolated(|| {
        run(|| {
            let signals = signals([Signal::Hangup, Signal::User1]).unwrap();
            for expected in [Signal::User1, Signal::Hangup, Signal::User1] {
                spawn(move || send_from_outside(expected));
                select! {
                    op(signals.receiving()) -> it => assert_eq!(it, Ok(expected)),
                    op(after(Duration::from_secs(20))) -> _ => panic!("no signal"),
                }
            }
            assert_eq!(signals.try_recv(), Ok(None));
        });
    });
    ended.map(Ended::well);
}

#[test]
fn what_arrives_before_it_is_waited_for_is_not_lost() {
    let ended = isolated(|| {
        run(|| {
            let signals = signals([Signal::User1, Signal::User2, Signal::User1]).unwrap();
            send(Signal::User2);
            send(Signal::User1);
            // In the order in which they were named.
            assert_eq!(signals.recv(), Ok(Signal::User1));
            assert_eq!(signals.iter().next(), Some(Signal::User2));
            assert_eq!(signals.try_recv(), Ok(None));
            assert!(within(SHORT, || signals.recv()).expired);
        });
    });
    ended.map(Ended::well);
}

#[test]
fn many_signals_may_be_one_message_but_never_none() {
    let ended = isolated(|| {
        run(|| {
            let signals = signals([Signal::User1, Signal::User2]).unwrap();
            for round in 0..3_000 {
                (0..=round % 3).for_each(|_| send(Signal::User1));
                assert_eq!(signals.recv(), Ok(Signal::User1));
                assert_eq!(signals.try_recv(), Ok(None));
            }
            (0..5_000).for_each(|_| send(Signal::User1)); // more than a socket holds
            send(Signal::User2);
            assert_eq!(signals.recv(), Ok(Signal::User1));
            assert_eq!(signals.recv(), Ok(Signal::User2));
            assert_eq!(signals.try_recv(), Ok(None));
        });
    });
    ended.map(Ended::well);
}

#[test]
fn every_run_on_every_thread_and_every_listener_in_it_is_told() {
    let ended = isolated(|| {
        let ready = Arc::new(Barrier::new(5));
        let threads: Vec<_> = (0..4)
            .map(|_| ready.clone())
            .map(|ready| {
                std::thread::Builder::new().spawn(move || {
                    run(move || {
                        let both = [(); 2].map(|()| signals([Signal::Terminate]).unwrap());
                        ready.wait();
                        both.map(|it| it.recv().unwrap())
                    })
                })
            })
            .collect();
        ready.wait();
        send_from_outside(Signal::Terminate); // the threads sleep, or will
        for thread in threads {
            assert_eq!(thread.unwrap().join().unwrap(), [Signal::Terminate; 2]);
        }
    });
    ended.map(Ended::well);
}

#[test]
fn a_signal_that_nobody_listens_for_any_more_does_what_it_did_before() {
    let ended = isolated(|| {
        run(|| {
            let first = signals([Signal::Terminate]).unwrap();
            let second = signals([Signal::Terminate, Signal::WindowChange]).unwrap();
            drop(first);
            send(Signal::Terminate);
            assert_eq!(second.recv(), Ok(Signal::Terminate));
            drop(second);
            let third = ctrl_c().unwrap();
            let fourth = signals([Signal::Terminate]).unwrap(); // once more
            send(Signal::Terminate);
            assert_eq!(fourth.recv(), Ok(Signal::Terminate));
            drop((third, fourth));
            send(Signal::WindowChange); // does nothing by default
            eprintln!("still here");
            send(Signal::Terminate);
            eprintln!("too late");
        });
    });
    let check = |it: Ended| it.by_signal(15).saying(&["still here"]).silent_about(&["too late"]);
    ended.map(check);
}

#[test]
fn a_signal_that_was_ignored_is_ignored_again() {
    if std::env::var_os("IGNORED").is_some() {
        let received = run(|| {
            let signals = signals([Signal::Hangup]).unwrap();
            send(Signal::Hangup);
            signals.recv()
        });
        assert_eq!(received, Ok(Signal::Hangup));
        return send(Signal::Hangup);
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    shell.args(["a_signal_that_was_ignored_is_ignored_again", "--exact"]).env("IGNORED", "1");
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{output:?}");
}

#[test]
fn children_start_with_what_signals_do_by_default() {
    let ended = isolated(|| {
        run(|| {
            let _signals = signals([Signal::Terminate]).unwrap();
            let status = Command::new("sh").args(["-c", "kill -TERM $$; sleep 1000"]).status();
            assert_eq!(status.unwrap().signal(), Some(15));
        });
    });
    ended.map(Ended::well);
}

#[test]
fn ctrl_c_can_be_waited_for_again_and_again() {
    let ended = isolated(|| {
        run(|| {
            let mut stop = ctrl_c().unwrap();
            for _ in 0..3 {
                assert_eq!((&mut stop).poll(), None);
                let late = after(SHORT).map(|_| Err(Halt::TimedOut));
                assert_eq!((&mut stop).or(late).wait(), Err(Halt::TimedOut));
                send(Signal::Interrupt);
                assert_eq!((&mut stop).wait(), Ok(Signal::Interrupt));
            }
        });
    });
    ended.map(Ended::well);
}

#[test]
fn a_receiver_that_is_stopped_takes_no_signal() {
    let ended = isolated(|| {
        run(|| {
            let signals = std::rc::Rc::new(signals([Signal::User1]).unwrap());
            let same = signals.clone();
            let receiver = spawn(move || same.recv());
            yield_now();
            receiver.cancel();
            assert_eq!(receiver.join().unwrap(), Err(Halt::Cancelled));
            send(Signal::User1);
            let same = signals.clone();
            let receiver = spawn(move || same.recv());
            receiver.cancel();
            drop(receiver.join());
            assert_eq!(signals.recv(), Ok(Signal::User1));
        });
    });
    ended.map(Ended::well);
}

#[test]
fn of_several_who_wait_for_one_message_one_gets_it_and_the_others_wait_on() {
    let ended = isolated(|| {
        run(|| {
            let signals = std::rc::Rc::new(signals([Signal::User1]).unwrap());
            let waiters: Vec<_> = (0..3)
                .map(|_| signals.clone())
                .map(|signals| spawn(move || signals.recv().unwrap()))
                .collect();
            for done in 1..=3 {
                yield_now();
                send(Signal::User1);
                while waiters.iter().filter(|it| it.is_finished()).count() < done {
                    sleep(SHORT).unwrap();
                }
                assert_eq!(waiters.iter().filter(|it| it.is_finished()).count(), done);
            }
        });
    });
    ended.map(Ended::well);
}

#[test]
fn who_waits_for_a_signal_is_listed_and_the_run_is_not_stuck() {
    let ended = isolated(|| {
        let runtime = Runtime::builder().build();
        let waiter = runtime.spawn(|| signals([Signal::User1]).unwrap().recv()).unwrap();
        assert_eq!(runtime.run_ready().unwrap(), Progress::Idle);
        let picture = runtime.snapshot();
        assert_eq!(picture.counts.polling, 1);
        let waiting = picture.tasklets[0].waiting.as_ref().unwrap();
        assert!(matches!(waiting.operations[..], [Pending::Signal]));
        assert!(picture.to_string().contains("waits to get a signal at "));
        send(Signal::User1);
        assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
        assert_eq!(waiter.join().unwrap(), Ok(Signal::User1));
    });
    ended.map(Ended::well);
}

#[test]
fn what_cannot_be_received_is_refused_with_a_reason() {
    let ended = isolated(|| {
        run(|| {
            for signal in [Signal::Kill, Signal::Stop] {
                let error = signals([Signal::Terminate, signal]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert_eq!(error.to_string(), format!("{signal} cannot be received"));
            }
            assert_eq!(signals([]).unwrap_err().kind(), ErrorKind::InvalidInput);
            let hoard: Vec<_> =
                std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            assert_eq!(signals([Signal::Alarm]).unwrap_err().raw_os_error(), Some(24), "EMFILE");
            drop(hoard);
            send(Signal::Terminate); // nobody listens, after what was refused
        });
    });
    ended.map(|it| it.by_signal(15));
}

#[test]
fn listeners_leave_no_descriptor() {
    let ended = isolated(|| {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        run(|| {
            let _ = signals([Signal::User1, Signal::User2]).unwrap().receiving().poll();
            let _ = after(SHORT).wait();
            let before = open();
            for _ in 0..1_000 {
                let signals = signals([Signal::User1, Signal::User2]).unwrap();
                send(Signal::User1);
                assert_eq!(signals.recv(), Ok(Signal::User1));
            }
            assert_eq!(open(), before);
        });
    });
    ended.map(Ended::well);
}

#[test]
fn a_run_that_is_explored_refuses_to_listen() {
    let explored = explore::Explore::new().run(|| drop(signals([Signal::User1])));
    let text = format!("{explored:?}");
    assert!(text.contains("listening for signals"), "{text}");
}
