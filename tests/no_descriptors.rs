//! A process that has no descriptor left: what needs none goes on, what needs one is refused with
//! the OS's error, and nothing is left half done.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit, test_kill_process};
use std::fs::File;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;
use support::{Ended, isolated};
use tasklets::futures::block_on;
use tasklets::net::listen;
use tasklets::process::{Child, Command, Stdio};
use tasklets::{Descriptor, Halt, Runtime, blocking, run, shared, spawn, within};

/// EMFILE.
const TOO_MANY: Option<i32> = Some(24);

/// Lets this process have descriptors below this number only.
fn limit(descriptors: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum }).unwrap();
}

/// Opens what there is to open, so that nobody else can.
fn hoard() -> Vec<File> {
    limit(64);
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Waits for a thread that wakes it.
fn woken_by_a_thread() -> Result<u32, Halt> {
    let mut polls = 0;
    block_on(poll_fn(|context| {
        polls += 1;
        if polls > 1 {
            return Poll::Ready(7);
        }
        let waker: Waker = context.waker().clone();
        thread::spawn(move || waker.wake());
        Poll::Pending
    }))
}

#[test]
fn other_threads_are_met_all_the_same() {
    let ended = isolated(|| {
        let hoard = hoard();
        let (tx, rx) = shared::channel();
        let sender = thread::spawn(move || (0..20).try_for_each(|it| tx.send(it)));
        let sum = run(|| {
            let beside = spawn(|| woken_by_a_thread().unwrap());
            let sum: u32 = rx.into_iter().sum();
            sum + beside.join().unwrap()
        });
        assert_eq!(sum, 190 + 7);
        sender.join().unwrap().unwrap();
        drop(hoard);
    });
    ended.map(Ended::well);
}

#[test]
fn deadlines_workers_and_calls_work_all_the_same() {
    let ended = isolated(|| {
        let _hoard = hoard();
        let workers = shared::workers(2).unwrap();
        let (_tx, rx) = shared::channel::<u8>();
        run(|| {
            let both = [0, 1].map(|it| workers.spawn_on(it, move || blocking(move || it).unwrap()));
            assert_eq!(both.map(|it| it.join().unwrap()), [0, 1]);
            let late = within(Duration::from_millis(1), || rx.recv());
            assert_eq!(late.value, Err(Halt::TimedOut));
            let waits = spawn(move || rx.recv());
            tasklets::yield_now();
            waits.cancel();
            assert_eq!(waits.join().unwrap(), Err(Halt::Cancelled));
        });
        workers.shutdown().unwrap();
    });
    ended.map(Ended::well);
}

#[test]
fn who_needs_a_descriptor_is_refused_and_served_as_soon_as_there_is_one() {
    let ended = isolated(|| {
        let runtime = Runtime::builder().build();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut reader = Descriptor::new(reader).unwrap();
        let hoard = hoard();
        let reader = runtime.run(move || {
            let refused = reader.read(&mut [0]).unwrap_err();
            assert_eq!(refused.raw_os_error(), TOO_MANY);
            assert_eq!(woken_by_a_thread(), Ok(7));
            reader
        });
        drop(hoard);
        let mut reader = reader.unwrap();
        runtime
            .run(move || {
                let waits = spawn(move || reader.read(&mut [0]));
                assert_eq!(woken_by_a_thread(), Ok(7)); // now by the queue that there is
                writer.write_all(b"x").unwrap();
                assert_eq!(waits.join().unwrap().unwrap(), 1);
            })
            .unwrap();
    });
    ended.map(Ended::well);
}

#[test]
fn who_goes_on_with_incoming_rests_between_errors_that_last() {
    let ended = isolated(|| {
        run(|| {
            let listener = listen("127.0.0.1:0").unwrap();
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let hoard = hoard();
            let errors = within(Duration::from_millis(100), || {
                let errors = listener.incoming().map(Result::unwrap_err);
                errors.take_while(|it| it.raw_os_error() == TOO_MANY).count()
            });
            assert!((1..=5).contains(&errors.value), "{} errors in 100 ms", errors.value);
            let mut incoming = listener.incoming();
            assert_eq!(incoming.next().unwrap().unwrap_err().raw_os_error(), TOO_MANY);
            drop(hoard);
            incoming.next().unwrap().unwrap().write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        });
    });
    ended.map(Ended::well);
}

#[test]
fn orphans_are_reaped_where_the_os_refuses_to_wait_for_so_many() {
    let ended = isolated(|| {
        let cat = || Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let children: Vec<_> = run(|| (0..20).map(|_| cat()).collect());
        let ids: Vec<_> = children.iter().map(Child::id).collect();
        let ends: Vec<_> = children.into_iter().map(|mut it| it.stdin.take()).collect();
        limit(10); // more cannot be polled at a time
        for (id, end) in ids.into_iter().zip(ends) {
            drop(end);
            let pid = Pid::from_raw(id.try_into().unwrap()).unwrap();
            while test_kill_process(pid).is_ok() {
                std::thread::yield_now();
            }
        }
    });
    ended.map(Ended::well);
}
