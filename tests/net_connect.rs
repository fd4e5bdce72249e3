//! Connecting: who does not get as far as to connect is told why, and reaches nobody.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tasklets::explore::Explore;
use tasklets::net::{Listen, TcpListener, TcpStream, UnixListener, UnixStream, listen};
use tasklets::{Halt, Operation, Runtime, after, pause, run, select, spawn, yield_now};

fn local() -> (TcpListener, SocketAddr) {
    let listener = listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn several_addresses_are_tried_without_another_tasklet() {
    let runtime = Runtime::builder().max_tasklets(1).build();
    let connected = runtime.run(|| {
        let dead = local().1;
        let (listener, live) = local();
        let stream = TcpStream::connect(&[dead, live, dead][..]).unwrap();
        assert_eq!(stream.local_addr().unwrap(), listener.accept().unwrap().1);
    });
    connected.unwrap();
}

#[test]
fn what_stops_a_tasklet_that_tries_several_addresses_is_told_at_once() {
    run(|| {
        let full = Listen::new().backlog(0).tcp("127.0.0.1:0").unwrap();
        let silent = full.local_addr().unwrap();
        let limit = Duration::from_millis(20);
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&silent, limit) {
            waiting.push(stream);
        }
        let client = spawn(move || TcpStream::connect(&[silent; 3][..]).unwrap_err());
        yield_now();
        client.inject("enough");
        let error = client.join().unwrap();
        assert_eq!(error.downcast::<Halt>().unwrap(), Halt::Injected);
    });
}

#[test]
fn who_is_stopped_before_connecting_reaches_nobody() {
    run(|| {
        let (listener, address) = local();
        let path = std::env::temp_dir().join(format!("tasklets-stopped-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let unix = UnixListener::bind(&path).unwrap();
        let there = path.clone();
        let client = spawn(move || {
            assert_eq!(pause(), Err(Halt::Cancelled));
            let limit = Duration::from_secs(60);
            let halts = [
                TcpStream::connect(address).unwrap_err(),
                TcpStream::connect(&[address, address][..]).unwrap_err(),
                TcpStream::connect_timeout(&address, limit).unwrap_err(),
                UnixStream::connect(there).unwrap_err(),
            ];
            halts.map(|it| it.downcast::<Halt>().unwrap())
        });
        yield_now();
        client.cancel();
        assert_eq!(client.join().unwrap(), [Halt::Cancelled; 4]);
        assert!(listener.accepting().poll().is_none());
        assert!(unix.accepting().poll().is_none());
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn a_run_that_is_explored_accepts_nobody() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepts: [fn(&TcpListener); 4] = [
        |it| drop(it.accept()),
        |it| drop(it.accepting().wait()),
        |it| drop(it.accepting().poll()),
        |it| select! { op(it.accepting()) -> _ => {}, op(after(Duration::ZERO)) -> _ => {} },
    ];
    for accept in accepts {
        let explored = Explore::new().run(|| {
            accept(&TcpListener::from_std(listener.try_clone().unwrap()).unwrap());
        });
        let text = format!("{explored:?}");
        assert!(text.contains("cannot be explored"), "{text}");
    }
    listener.set_nonblocking(true).unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_run_that_is_explored_connects_to_nobody() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let explored = Explore::new().run(move || drop(TcpStream::connect(address)));
    let text = format!("{explored:?}");
    assert!(text.contains("reading or writing a descriptor"), "{text}");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}
