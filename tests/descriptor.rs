//! Descriptors: what must hold of waiting for them, however the OS tells of their readiness.

mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;
use support::{Ended, isolated};
use tasklets::{
    Descriptor, Halt, Operation, Pending, Progress, RunError, Runtime, State, after, channel,
    explore, run, scope, select, sleep, spawn, within, yield_now,
};

fn pair() -> (Descriptor<UnixStream>, Descriptor<UnixStream>) {
    let (near, far) = UnixStream::pair().unwrap();
    (Descriptor::new(near).unwrap(), Descriptor::new(far).unwrap())
}

#[test]
fn a_reader_waits_without_holding_up_the_others() {
    run(|| {
        let (mut near, mut far) = pair();
        let reader = spawn(move || {
            let mut buffer = [0; 5];
            near.read_exact(&mut buffer).unwrap();
            buffer
        });
        for part in ["he", "l", "lo"] {
            yield_now();
            far.write_all(part.as_bytes()).unwrap();
        }
        assert_eq!(&reader.join().unwrap(), b"hello");
    });
}

#[test]
fn a_writer_waits_until_there_is_room() {
    run(|| {
        let (mut near, mut far) = pair();
        let total = 4 << 20; // more than any socket buffers
        let writer = spawn(move || near.write_all(&vec![7; total]));
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), total);
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn what_arrives_between_an_attempt_and_the_wait_is_not_lost() {
    // The reader has found nothing, and the writer runs before the OS is asked again: many times,
    // so that every edge is one that could be missed.
    run(|| {
        let (mut near, mut far) = pair();
        let echo = spawn(move || {
            let mut byte = [0];
            while far.read(&mut byte).unwrap() == 1 {
                far.write_all(&byte).unwrap();
            }
        });
        for round in 0..2_000_u32 {
            let byte = [round as u8];
            near.write_all(&byte).unwrap();
            let mut back = [0];
            near.read_exact(&mut back).unwrap();
            assert_eq!(back, byte);
        }
        drop(near);
        echo.join().unwrap();
    });
}

#[test]
fn what_arrives_while_a_reader_gives_way_before_it_waits_is_not_lost() {
    // With a budget of one it gives way between each attempt and the wait, and the OS is asked.
    let runtime = Runtime::builder().budget(1).build();
    let ended = runtime.run(|| {
        let (mut near, mut far) = pair();
        let writer = spawn(move || {
            for byte in 0..200 {
                (0..300).for_each(|_| yield_now());
                far.write_all(&[byte]).unwrap();
            }
        });
        let mut got = Vec::new();
        near.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        got
    });
    assert_eq!(ended.unwrap(), (0..200).collect::<Vec<u8>>());
}

#[test]
fn all_readers_of_one_socket_are_served() {
    run(|| {
        let (near, mut far) = pair();
        let near = Rc::new(near);
        let readers: Vec<_> = (0..5)
            .map(|_| {
                let near = near.clone();
                spawn(move || {
                    let mut byte = [0];
                    (&*near).read_exact(&mut byte).unwrap();
                    byte[0]
                })
            })
            .collect();
        yield_now();
        far.write_all(&[1, 2, 3, 4, 5]).unwrap(); // one edge for all of them
        let mut got: Vec<_> = readers.into_iter().map(|it| it.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn reader_and_writer_of_one_socket_do_not_wake_each_other_for_nothing() {
    run(|| {
        let (near, far) = pair();
        let turns = Rc::new(Cell::new(0));
        let (near, counted) = (Rc::new(near), turns.clone());
        let same = near.clone();
        let reader = spawn(move || {
            same.read_with(|mut it| {
                counted.set(counted.get() + 1);
                it.read(&mut [0])
            })
        });
        for _ in 0..100 {
            (&*near).write_all(b"x").unwrap();
            yield_now();
        }
        assert!(turns.get() <= 3, "{} attempts to read", turns.get());
        drop(far);
        // What was not read makes the end of it a reset.
        assert!(matches!(reader.join().unwrap(), Ok(0) | Err(_)));
    });
}

#[test]
fn a_number_that_is_used_again_wakes_only_its_new_owner() {
    // In a process of its own: no other test takes the number.
    let ended = isolated(|| {
        run(|| (0..200).for_each(|_| use_a_number_twice()));
    });
    ended.map(Ended::well);
}

fn use_a_number_twice() {
    let (near, far) = pair();
    let number = near.as_raw_fd();
    assert!(near.readable().poll().is_none()); // it is registered
    (&far).write_all(b"for the old one").unwrap();
    drop(near);
    let (again, other) = pair();
    let mut both = [&again, &other].into_iter();
    let reused = both.find(|it| it.as_raw_fd() == number).expect("the least free number");
    assert!(reused.readable().poll().is_none(), "it is told of what the old one got");
    let over = |_| Err(io::Error::from(ErrorKind::TimedOut));
    let early = reused.readable().or(after(Duration::from_micros(1)).map(over));
    assert_eq!(early.wait().unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_clone_outlives_the_original_in_the_queue_of_the_os() {
    // A duplicate keeps the registration of a closed descriptor alive in epoll.
    run(|| {
        let (near, mut far) = pair();
        let twin = near.as_fd().try_clone_to_owned().unwrap();
        assert!(near.readable().poll().is_none());
        drop(near);
        far.write_all(b"x").unwrap();
        sleep(Duration::from_millis(1)).unwrap();
        let mut twin = Descriptor::new(UnixStream::from(twin)).unwrap();
        assert_eq!(twin.read(&mut [0]).unwrap(), 1);
    });
}

#[test]
fn readiness_is_an_arm_beside_messages_and_timers() {
    run(|| {
        let (near, mut far) = pair();
        let (tx, rx) = channel();
        let mut heard = Vec::new();
        spawn(move || {
            tx.send("message").unwrap();
            far.write_all(b"bytes").unwrap();
            sleep(Duration::from_millis(1)).unwrap();
        });
        while heard.len() < 3 {
            select! {
                recv(rx) -> it => heard.push(it.unwrap_or("closed")),
                op(near.readable()) -> it => {
                    it.unwrap();
                    let length = (&near).read(&mut [0; 16]).unwrap();
                    heard.push(if length == 5 { "bytes" } else { "end" });
                }
            }
        }
        assert_eq!(heard[0], "message");
        assert!(heard.contains(&"bytes"));
    });
}

#[test]
fn readiness_waits_until_it_is_taken() {
    run(|| {
        let (near, mut far) = pair();
        far.write_all(b"x").unwrap();
        for _ in 0..3 {
            near.readable().wait().unwrap();
            near.writable().wait().unwrap();
        }
        assert_eq!((&near).read(&mut [0; 8]).unwrap(), 1);
        assert!(near.readable().poll().is_none(), "what has been read is not readable");
        drop(far);
        near.readable().wait().unwrap(); // the end can be read
        assert_eq!((&near).read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn who_is_told_and_finds_nothing_waits_on() {
    run(|| {
        let (near, mut far) = pair();
        let near = Rc::new(near);
        let told: Vec<_> = (0..2)
            .map(|_| {
                let near = near.clone();
                spawn(move || {
                    near.readable().wait().unwrap();
                    (&*near).read(&mut [0; 1]).unwrap()
                })
            })
            .collect();
        yield_now();
        far.write_all(b"x").unwrap();
        while !told.iter().any(|it| it.is_finished()) {
            sleep(Duration::from_micros(10)).unwrap();
        }
        assert!(!told.iter().all(|it| it.is_finished()));
        far.write_all(b"y").unwrap();
        assert!(told.into_iter().all(|it| it.join().unwrap() == 1));
    });
}

#[test]
fn a_cancelled_reader_stops_at_once_and_takes_nothing() {
    run(|| {
        let (near, mut far) = pair();
        let near = Rc::new(near);
        let same = near.clone();
        let reader = spawn(move || (&*same).read(&mut [0; 4]));
        yield_now();
        reader.cancel();
        let error = reader.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert_eq!(error.downcast::<Halt>().unwrap(), Halt::Cancelled);
        far.write_all(b"data").unwrap();
        assert_eq!((&*near).read(&mut [0; 4]).unwrap(), 4);
    });
}

#[test]
fn a_deadline_ends_a_read_and_a_write() {
    run(|| {
        let (near, _far) = pair();
        let read = within(Duration::from_millis(1), || (&near).read(&mut [0]));
        assert_eq!(read.value.unwrap_err().kind(), ErrorKind::TimedOut);
        let write = within(Duration::from_millis(1), || (&near).write_all(&vec![0; 8 << 20]));
        assert_eq!(write.value.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn who_waits_for_a_descriptor_is_not_stuck_and_is_listed() {
    let runtime = Runtime::builder().build();
    let (near, mut far) = pair();
    let number = near.as_raw_fd();
    let reader = runtime.spawn(move || (&near).read(&mut [0])).unwrap();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Idle);
    let picture = runtime.snapshot();
    assert_eq!((picture.counts.polling, reader.state()), (1, State::Waiting));
    let waiting = picture.tasklets[0].waiting.as_ref().unwrap();
    assert!(matches!(waiting.operations[0], Pending::Readable(it) if it == number));
    assert!(picture.to_string().contains(&format!("waits to read descriptor {number} at ")));
    far.write_all(b"x").unwrap(); // outside of the run: it need not wait
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck);
    assert_eq!(reader.join().unwrap().unwrap(), 1);
}

#[test]
fn a_run_is_stuck_though_it_has_descriptors_that_nobody_waits_for() {
    let ended = Runtime::builder().build().run(|| {
        let (near, _far) = pair();
        assert!(near.readable().poll().is_none());
        let (_tx, rx) = channel::<u8>();
        rx.recv()
    });
    assert!(matches!(ended, Err(RunError::Stuck(_))));
}

#[test]
fn a_busy_tasklet_does_not_starve_the_network() {
    run(|| {
        let (mut near, mut far) = pair();
        let reader = spawn(move || near.read(&mut [0]).unwrap());
        yield_now();
        far.write_all(b"x").unwrap();
        let mut turns = 0_u32;
        while !reader.is_finished() {
            yield_now(); // never idle
            turns += 1;
        }
        assert!(turns < 100_000, "{turns} turns");
    });
}

#[test]
fn a_busy_network_does_not_starve_the_others() {
    run(|| {
        let (near, far) = pair();
        let pump = spawn(move || while (&near).write(&[1; 64]).is_ok() {});
        let drain = spawn(move || while (&far).read(&mut [0; 64]).is_ok_and(|it| it > 0) {});
        for _ in 0..1_000 {
            yield_now(); // comes back though the two never wait for anybody else
        }
        sleep(Duration::from_millis(1)).unwrap();
        pump.cancel();
        drain.cancel();
    });
}

#[test]
fn outside_of_a_run_what_is_there_is_read_and_nobody_waits() {
    let (mut near, mut far) = pair();
    far.write_all(b"x").unwrap();
    assert_eq!(near.read(&mut [0]).unwrap(), 1);
    assert_eq!(near.read(&mut [0]).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_descriptor_goes_from_run_to_run() {
    let (near, mut far) = pair();
    let near = Rc::new(near);
    for _ in 0..3 {
        let same = near.clone();
        let number = run(move || {
            assert!(same.readable().poll().is_none());
            same.as_raw_fd()
        });
        assert_eq!(number, near.as_raw_fd());
    }
    run(|| {
        let reader = spawn(move || (&*near).read(&mut [0]).unwrap());
        yield_now();
        far.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn a_second_registration_of_one_number_is_refused_with_a_reason() {
    run(|| {
        let (near, _far) = UnixStream::pair().unwrap();
        let first = Descriptor::new(near.as_fd()).unwrap();
        assert!(first.readable().poll().is_none());
        let second = Descriptor::new(near.as_fd()).unwrap();
        let refused = second.readable().wait().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(refused.to_string(), "somebody else waits for this descriptor already");
        drop(first);
        assert!(second.readable().poll().is_none());
    });
}

#[test]
fn a_regular_file_is_refused_when_it_would_be_waited_for() {
    run(|| {
        let file = Descriptor::new(std::fs::File::open("Cargo.toml").unwrap()).unwrap();
        assert!((&file).read(&mut [0; 4]).unwrap() > 0); // it never has to wait
        let refused = file.readable().wait().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    });
}

/// Closes the number of a descriptor, as a careless library might.
fn close_behind_its_back(descriptor: &Descriptor<UnixStream>) {
    let copy = descriptor.as_raw_fd();
    // Its owner closes the number again, which by then may be nobody's: these tests keep it free.
    drop(take_over(copy));
}

#[allow(unsafe_code, reason = "only this makes two owners of one number")]
fn take_over(number: i32) -> OwnedFd {
    // SAFETY: that the number has two owners is what is tested; the second one is leaked.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[test]
fn who_waits_for_what_was_closed_behind_its_back_is_told() {
    let ended = isolated(|| {
        let (near, _far) = pair();
        let near = Rc::new(near);
        let same = near.clone();
        run(move || {
            let (first, second) = (same.clone(), same.clone());
            let reader = spawn(move || (&*first).read(&mut [0]));
            let waiter = spawn(move || second.readable().wait());
            yield_now();
            close_behind_its_back(&same);
            let error = reader.join().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(9), "EBADF");
            assert!(waiter.join().unwrap().is_err());
        });
        std::mem::forget(near); // it would close the number again
    });
    ended.map(Ended::well);
}

#[test]
fn who_waited_for_a_number_that_is_another_s_now_is_told() {
    let ended = isolated(|| {
        let (near, far) = pair();
        let near = Rc::new(near);
        let same = near.clone();
        run(move || {
            let first = same.clone();
            let reader = spawn(move || (&*first).read(&mut [0]));
            yield_now();
            close_behind_its_back(&same);
            let (again, other) = pair(); // has the number, and registers it
            assert!(again.readable().poll().is_none() && other.readable().poll().is_none());
            (&far).write_all(b"x").unwrap_err(); // whose other end is gone
            (&other).write_all(b"x").unwrap();
            (&again).write_all(b"x").unwrap();
            // It may read what is not its own, as two owners of a number do; but it does not hang.
            if let Err(refused) = reader.join().unwrap() {
                assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
            }
        });
        std::mem::forget(near);
    });
    ended.map(Ended::well);
}

#[test]
fn children_of_a_scope_end_with_it_though_they_wait_for_sockets() {
    run(|| {
        let (near, _far) = pair();
        let ended = Cell::new(0);
        scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let error = (&near).read(&mut [0]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
                    ended.set(ended.get() + 1);
                });
            }
            yield_now();
            s.cancel();
        });
        assert_eq!(ended.get(), 3);
    });
}

#[test]
fn a_run_that_is_explored_refuses_descriptors() {
    let explored = explore::Explore::new().run(|| {
        let (mut near, _far) = pair();
        drop(near.read(&mut [0]));
    });
    let text = format!("{:?}", explored);
    assert!(text.contains("descriptor"), "{text}");
}
