//! Serving: what must hold of a server with a bound, a grace and handlers that fail.

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use support::{Ended, isolated};
use tasklets::net::{Serve, TcpListener, TcpStream, listen, serve};
use tasklets::{
    Builder, Halt, Never, Operation, Runtime, after, channel, pause, run, scope, sleep, spawn,
    yield_now,
};

fn local() -> (TcpListener, SocketAddr) {
    let listener = listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves in a tasklet; the sender stops it.
macro_rules! served {
    ($serve:expr, $handler:expr) => {{
        let (listener, address) = local();
        let (stop, stopped) = channel::<Never>();
        let server = spawn(move || $serve.run(&listener, &stopped, $handler));
        (address, stop, server)
    }};
}

#[test]
fn no_more_than_the_limit_are_served_at_a_time_and_nobody_is_forgotten() {
    run(|| {
        let (active, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (counted, peak) = (active.clone(), most.clone());
        let (address, stop, server) = served!(Serve::new().limit(3), |mut it: TcpStream, _| {
            counted.set(counted.get() + 1);
            peak.set(peak.get().max(counted.get()));
            yield_now();
            it.write_all(b"x").unwrap();
            counted.set(counted.get() - 1);
        });
        scope(|s| {
            for _ in 0..20 {
                s.spawn(move || {
                    let mut client = TcpStream::connect(address).unwrap();
                    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 1);
                });
            }
        });
        drop(stop);
        let served = server.join().unwrap().unwrap();
        assert_eq!((served.connections, served.panics, served.cut), (20, 0, 0));
        assert!(most.get() <= 3, "{} at a time", most.get());
    });
}

#[test]
fn a_handler_that_panics_ends_its_connection_and_nothing_else() {
    run(|| {
        let told = Rc::new(RefCell::new(Vec::new()));
        let texts = told.clone();
        let serve = Serve::new().on_panic(move |it| texts.borrow_mut().push(it.to_owned()));
        let (address, stop, server) = served!(serve, |mut it: TcpStream, _| {
            let mut byte = [0];
            it.read_exact(&mut byte).unwrap();
            if byte == *b"!" {
                std::panic::resume_unwind(Box::new("bang"));
            }
            it.write_all(&byte).unwrap();
        });
        for byte in *b"a!b" {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(&[byte]).unwrap();
            let length = client.read(&mut [0]).unwrap();
            assert_eq!(length, usize::from(byte != b'!'));
        }
        drop(stop);
        let served = server.join().unwrap().unwrap();
        assert_eq!((served.connections, served.panics), (3, 1));
        let told = told.borrow();
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("the handler of 127.0.0.1:"), "{told:?}");
        assert!(told[0].ends_with(" panicked: bang"), "{told:?}");
    });
}

/// Serves two connections; the handler of the first one panics.
fn serve_two(serve: Serve) {
    let (address, stop, server) = served!(serve, |mut it: TcpStream, _| {
        let mut byte = [0];
        it.read_exact(&mut byte).unwrap();
        if byte == *b"!" {
            std::panic::resume_unwind(Box::new("bang"));
        }
        it.write_all(&byte).unwrap();
    });
    for byte in *b"!a" {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(&[byte]).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), usize::from(byte != b'!'));
    }
    drop(stop);
    let served = server.join().unwrap().unwrap();
    assert_eq!((served.connections, served.panics), (2, 1));
}

#[test]
fn a_report_that_panics_is_told_on_stderr_and_serving_goes_on() {
    struct Bang;
    impl Drop for Bang {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("once more"));
        }
    }
    let ended = isolated(|| {
        run(|| serve_two(Serve::new().on_panic(|_| panic!("cannot tell"))));
        run(|| serve_two(Serve::new().on_panic(|_| std::panic::panic_any(Bang))));
    });
    let text = "panicked: bang; its report panicked: cannot tell";
    ended.map(|it| it.well().saying(&["tasklets: the handler of 127.0.0.1:", text]));
}

#[test]
fn a_panic_that_nobody_can_be_told_of_does_not_end_the_server() {
    const SET: &str = "TASKLETS_TEST_DEAF";
    if std::env::var_os(SET).is_some() {
        return run(|| serve_two(Serve::new()));
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader); // writing to stderr fails from here on
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["a_panic_that_nobody_can_be_told_of_does_not_end_the_server", "--exact"]);
    let output = again.arg("--nocapture").env(SET, "1").stderr(writer).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn stopping_waits_for_handlers_and_cuts_the_slow() {
    run(|| {
        let serve = Serve::new().grace(Duration::from_millis(20));
        let (address, stop, server) = served!(serve, |mut it: TcpStream, _| {
            let mut byte = [0];
            it.read_exact(&mut byte).unwrap();
            if byte == *b"s" {
                pause().unwrap_err(); // until it is cut
            }
            it.write_all(b"done").unwrap_or_default();
        });
        let clients: Vec<_> = b"qs"
            .iter()
            .map(|byte| {
                let mut client = TcpStream::connect(address).unwrap();
                client.write_all(&[*byte]).unwrap();
                client
            })
            .collect();
        let mut clients = clients.into_iter();
        let mut text = String::new();
        clients.next().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "done");
        drop(stop);
        let served = server.join().unwrap().unwrap();
        assert_eq!((served.connections, served.cut), (2, 1));
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    });
}

#[test]
fn each_connection_has_its_deadline() {
    run(|| {
        let serve = Serve::new().deadline(Duration::from_millis(5));
        let (address, stop, server) = served!(serve, |mut it: TcpStream, _| {
            let error = it.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        });
        let mut idle = TcpStream::connect(address).unwrap();
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        drop(stop);
        assert_eq!(server.join().unwrap().unwrap().panics, 0);
    });
}

#[test]
fn a_server_without_descriptors_rests_and_goes_on() {
    let ended = isolated(|| {
        run(|| {
            let (address, stop, server) = served!(Serve::new(), |mut it: TcpStream, _| {
                it.write_all(b"x").unwrap();
            });
            let mut clients: Vec<_> =
                (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let mut hoard = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                hoard.push(file);
            }
            // It has nothing to accept with; the connections wait in the backlog.
            sleep(Duration::from_millis(30)).unwrap();
            drop(hoard);
            for client in &mut clients {
                let client = TcpStream::try_from(client.try_clone().unwrap()).unwrap();
                assert_eq!((&client).read(&mut [0]).unwrap(), 1);
            }
            drop(stop);
            assert_eq!(server.join().unwrap().unwrap().connections, 3);
        });
    });
    ended.map(Ended::well);
}

/// Serves ten clients, of which each waits for its answer, all at a time; tells how many.
fn serve_ten() -> u64 {
    let (listener, address) = local();
    let clients = std::thread::spawn(move || {
        let mut all = [(); 10].map(|()| std::net::TcpStream::connect(address).unwrap());
        all.iter_mut().for_each(|it| it.write_all(b"x").unwrap());
        all.map(|mut it| it.read_to_end(&mut Vec::new()).unwrap())
    });
    let (stop, stopped) = channel::<Never>();
    let (stop, handled) = (Cell::new(Some(stop)), Cell::new(0));
    let handler = |mut it: TcpStream, _| {
        it.read_exact(&mut [0]).unwrap();
        (0..10).for_each(|_| yield_now()); // others are accepted meanwhile
        it.write_all(b"done").unwrap();
        handled.set(handled.get() + 1);
        if handled.get() == 10 {
            stop.take();
        }
    };
    let served = Serve::new().run(&listener, &stopped, handler).unwrap();
    assert_eq!(clients.join().unwrap(), [4; 10]);
    assert_eq!((served.panics, served.cut), (0, 0));
    served.connections
}

#[test]
fn connections_that_no_tasklet_can_be_made_for_wait_until_one_ends() {
    let served = Runtime::builder().max_tasklets(6).build().run(serve_ten);
    assert_eq!(served.unwrap(), 10);
}

#[test]
fn a_server_whose_run_has_no_tasklet_left_rests_and_goes_on() {
    let runtime = Runtime::builder().max_tasklets(10).build();
    let ended = runtime.run(|| {
        let (address, stop, server) = served!(Serve::new(), |mut it: TcpStream, _| {
            it.write_all(b"x").unwrap();
        });
        let others: Vec<_> = std::iter::from_fn(|| Builder::new().spawn(pause).ok()).collect();
        assert!(!others.is_empty());
        let mut client = TcpStream::connect(address).unwrap();
        sleep(Duration::from_millis(30)).unwrap(); // it is accepted and has nobody
        others.iter().for_each(|it| it.cancel());
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 1);
        drop(stop);
        assert_eq!(server.join().unwrap().unwrap().connections, 1);
    });
    ended.unwrap();
}

#[test]
fn a_server_that_has_no_tasklet_for_a_connection_can_be_stopped() {
    let runtime = Runtime::builder().max_tasklets(2).build();
    let ended = runtime.run(|| {
        let (address, stop, server) = served!(Serve::new(), |_, _| unreachable!());
        let mut client = TcpStream::connect(address).unwrap();
        sleep(Duration::from_millis(30)).unwrap(); // it is accepted and has nobody
        drop(stop);
        assert_eq!(server.join().unwrap().unwrap().connections, 1);
        assert_ne!(client.read(&mut [0]).unwrap_or(0), 1);
    });
    ended.unwrap();
}

#[test]
fn connections_that_the_os_has_no_stack_for_wait_until_one_ends() {
    let ended = isolated(|| {
        let limit = Rlimit { current: Some(7 << 29), maximum: getrlimit(Resource::As).maximum };
        setrlimit(Resource::As, limit).unwrap();
        let served = Runtime::builder().stack_size(1 << 30).build().run(serve_ten);
        assert_eq!(served.unwrap(), 10);
    });
    ended.map(Ended::well);
}

#[test]
fn serving_ends_with_its_tasklet_and_leaves_no_handler() {
    run(|| {
        let alive = Rc::new(());
        let held = alive.clone();
        let (address, _stop, server) = served!(Serve::new(), move |_, _| {
            let _held = held.clone();
            pause()
        });
        let client = TcpStream::connect(address).unwrap();
        client.readable().or(after(Duration::from_millis(5)).map(|_| Ok(()))).wait().unwrap();
        server.cancel();
        assert!(server.join().unwrap().is_err());
        assert_eq!(Rc::strong_count(&alive), 1);
    });
}

#[test]
fn many_clients_are_served_at_once_on_one_thread() {
    run(|| {
        let (listener, address) = local();
        let server = spawn(move || {
            serve(&listener, 1_000, |mut it, _| io::copy(&mut it.try_clone().unwrap(), &mut it))
        });
        scope(|s| {
            for client in 0..100_u32 {
                s.spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for round in 0..10_u32 {
                        let sent = (client * 1_000 + round).to_be_bytes();
                        stream.write_all(&sent).unwrap();
                        let mut back = [0; 4];
                        stream.read_exact(&mut back).unwrap();
                        assert_eq!(back, sent);
                    }
                });
            }
        });
        server.cancel();
        let error = server.join().unwrap().unwrap_err();
        assert_eq!(error.downcast::<Halt>().unwrap(), Halt::Cancelled);
    });
}
