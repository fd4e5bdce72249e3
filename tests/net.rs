//! Sockets: what must hold of them beyond what std's do, and that they do what std's do.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tasklets::net::{
    Listen, Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket, UnixDatagram, UnixListener,
    UnixStream, listen, lookup_host,
};
use tasklets::{
    Descriptor, Operation, RunError, Runtime, channel, pause, run, select, sleep, spawn, within,
    yield_now,
};

fn local() -> (TcpListener, SocketAddr) {
    let listener = listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connection: the client's end, then the server's.
fn connection() -> (TcpStream, TcpStream) {
    let (listener, address) = local();
    let client = TcpStream::connect(address).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn bytes_arrive_whole_and_in_order_however_slowly_they_are_read() {
    run(|| {
        let (client, server) = connection();
        let data: Vec<u8> = (0..3_000_000_u32).map(|it| (it * 7 % 251) as u8).collect();
        let sent = data.clone();
        let writer = spawn(move || {
            let mut client = client;
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        let (mut server, mut got) = (server, Vec::<u8>::new());
        let mut size = 1;
        loop {
            let mut buffer = vec![0; size];
            match server.read(&mut buffer).unwrap() {
                0 => break,
                length => got.extend(&buffer[..length]),
            }
            size = size * 3 % 4_001 + 1;
        }
        assert!(got == data, "{} bytes, or others", got.len());
        writer.join().unwrap();
    });
}

#[test]
fn an_end_that_comes_with_the_last_bytes_is_seen() {
    // A short read says that there is no more, unless the other end has closed by then.
    run(|| {
        for _ in 0..200 {
            let (mut client, mut server) = connection();
            client.write_all(b"last").unwrap();
            drop(client);
            let mut buffer = [0; 64];
            assert_eq!(server.read(&mut buffer).unwrap(), 4);
            assert_eq!(server.read(&mut buffer).unwrap(), 0);
        }
    });
}

#[test]
fn a_peer_that_sends_a_byte_at_a_time_is_understood() {
    run(|| {
        let (mut client, server) = connection();
        let text = b"GET / HTTP/1.1\r\n\r\n";
        spawn(move || {
            for byte in text {
                client.write_all(&[*byte]).unwrap();
                yield_now();
            }
        });
        let mut lines = io::BufRead::lines(io::BufReader::new(&server));
        assert_eq!(lines.next().unwrap().unwrap(), "GET / HTTP/1.1");
        assert_eq!(lines.next().unwrap().unwrap(), "");
    });
}

#[test]
fn a_reset_is_an_error_and_not_an_end() {
    run(|| {
        let (client, mut server) = connection();
        (&server).write_all(b"never read").unwrap();
        client.readable().wait().unwrap();
        drop(client); // with unread bytes: the OS resets the connection
        assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_peer_that_never_reads_does_not_hold_up_the_others() {
    run(|| {
        let (_stalls, server) = connection();
        let writer = spawn(move || (&server).write_all(&vec![0; 32 << 20]));
        yield_now();
        let (mut client, mut other) = connection();
        client.write_all(b"x").unwrap();
        other.read_exact(&mut [0]).unwrap();
        writer.cancel();
        assert!(writer.join().unwrap().is_err());
    });
}

#[test]
fn shutdown_wakes_who_reads() {
    run(|| {
        let (client, _server) = connection();
        let client = Rc::new(client);
        let same = client.clone();
        let reader = spawn(move || (&*same).read(&mut [0]));
        yield_now();
        client.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn time_limits_are_those_of_the_handle() {
    run(|| {
        let (client, _server) = connection();
        assert_eq!(client.read_timeout().unwrap(), None);
        let zero = client.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
        let limit = Some(Duration::from_millis(1));
        client.set_read_timeout(limit).unwrap();
        let twin = client.try_clone().unwrap();
        assert_eq!(twin.read_timeout().unwrap(), limit);
        client.set_read_timeout(None).unwrap();
        assert_eq!((&twin).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        twin.set_write_timeout(limit).unwrap();
        let late = (&twin).write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn peek_vectored_and_options_do_what_std_s_do() {
    run(|| {
        let (mut client, mut server) = connection();
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
        assert_eq!(client.write_vectored(&parts).unwrap(), 4);
        let mut buffer = [0; 4];
        server.readable().wait().unwrap();
        assert_eq!(server.peek(&mut buffer).unwrap(), 4);
        assert_eq!(server.peek(&mut buffer).unwrap(), 4);
        let (one, two) = buffer.split_at_mut(1);
        let mut parts = [io::IoSliceMut::new(one), io::IoSliceMut::new(two)];
        assert_eq!(server.read_vectored(&mut parts).unwrap(), 4);
        assert_eq!(&buffer, b"abcd");
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        client.set_ttl(42).unwrap();
        assert_eq!(client.ttl().unwrap(), 42);
        assert!(client.take_error().unwrap().is_none());
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        assert_eq!(client.read(&mut []).unwrap(), 0);
    });
}

#[test]
fn sockets_go_to_std_and_back() {
    run(|| {
        let (client, mut server) = connection();
        assert!(client.readable().poll().is_none()); // it is registered
        let std = client.into_std().unwrap();
        server.write_all(b"x").unwrap();
        (&std).read_exact(&mut [0]).unwrap(); // it blocks, and need not
        let mut client = TcpStream::try_from(std).unwrap();
        let reader = spawn(move || client.read(&mut [0]).unwrap());
        yield_now();
        server.write_all(b"y").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn sockets_and_descriptors_go_to_the_os_and_back() {
    run(|| {
        let (mut near, far) = UnixStream::pair().unwrap();
        assert!(far.readable().poll().is_none()); // it is registered
        let far = Descriptor::new(OwnedFd::from(far)).unwrap();
        assert!(far.readable().poll().is_none());
        let mut far = UnixStream::try_from(OwnedFd::from(far)).unwrap();
        let reader = spawn(move || far.read(&mut [0]).unwrap());
        yield_now();
        near.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
        let number = near.as_raw_fd();
        assert_eq!(near.into_raw_fd(), number); // and stays open
        assert!(std::fs::exists(format!("/proc/self/fd/{number}")).unwrap());
        let listener = TcpListener::bind::<&str>("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect::<SocketAddr>(address).unwrap();
        assert_ne!(Descriptor::new(listener).unwrap().into_raw_fd(), number);
    });
}

#[test]
fn who_connects_to_nobody_is_told() {
    run(|| {
        let (listener, address) = local();
        drop(listener);
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let limit = Duration::from_secs(5);
        let refused = TcpStream::connect_timeout(&address, limit).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let zero = TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
        let nowhere = TcpStream::connect(&[] as &[SocketAddr]).unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn of_several_addresses_one_that_answers_is_taken() {
    run(|| {
        let (gone, dead) = local();
        drop(gone);
        let (_listener, live) = local();
        let addresses = [dead, dead, live, dead];
        let stream = TcpStream::connect(&addresses[..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live);
        let all_dead = TcpStream::connect(&[dead, dead][..]).unwrap_err();
        assert_eq!(all_dead.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn an_address_that_does_not_answer_does_not_hold_up_the_next() {
    run(|| {
        // A listener whose backlog is full drops what comes: connecting to it takes its time.
        let full = Listen::new().backlog(0).tcp("127.0.0.1:0").unwrap();
        let silent = full.local_addr().unwrap();
        let limit = Duration::from_millis(20);
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&silent, limit) {
            waiting.push(stream);
        }
        let (_listener, live) = local();
        let stream = TcpStream::connect(&[silent, live][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live);
        let late = within(limit, || TcpStream::connect(&[silent, silent][..]));
        assert_eq!(late.value.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn names_are_looked_up_and_bad_ones_refused() {
    run(|| {
        assert!(lookup_host("localhost").unwrap().iter().all(|it| it.is_loopback()));
        assert!(lookup_host("no.such.host.invalid").is_err());
        for bad in ["", "localhost", "localhost:", "localhost:65536", ":80", "a\0b:80"] {
            let error = bad.to_socket_addrs().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
        assert_eq!("[::1]:80".to_socket_addrs().unwrap().count(), 1);
        let port = (Ipv4Addr::LOCALHOST, 7);
        assert_eq!(port.to_socket_addrs().unwrap().next().unwrap().port(), 7);
    });
    // A name needs a thread, and so a run; an address does not.
    assert_eq!("localhost:1".to_socket_addrs().unwrap_err().kind(), ErrorKind::Unsupported);
    assert!("127.0.0.1:1".to_socket_addrs().is_ok());
}

#[test]
fn a_port_in_use_is_an_error() {
    let (_listener, address) = local();
    assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn accepting_is_an_operation() {
    run(|| {
        let (listener, address) = local();
        assert!(listener.accepting().poll().is_none());
        let (tx, rx) = channel::<u8>();
        let client = spawn(move || {
            let stream = TcpStream::connect(address).unwrap();
            tx.send(1).unwrap();
            (stream, tx) // a channel that ends would be a ready arm too
        });
        let (mut accepted, mut received) = (0, 0);
        while accepted + received < 2 {
            select! {
                op(listener.accepting()) -> it => { it.unwrap(); accepted += 1 }
                recv(rx) -> it => { it.unwrap(); received += 1 }
            }
        }
        assert_eq!((accepted, received), (1, 1));
        drop(client.join().unwrap());
    });
}

#[test]
fn two_who_accept_share_the_connections() {
    run(|| {
        let (listener, address) = local();
        let listener = Rc::new(listener);
        let total = Rc::new(Cell::new(0));
        let acceptors: Vec<_> = (0..2)
            .map(|_| {
                let (listener, total) = (listener.clone(), total.clone());
                spawn(move || {
                    while let Some(Ok(_)) = listener.incoming().next() {
                        total.set(total.get() + 1);
                    }
                })
            })
            .collect();
        let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        while total.get() < clients.len() {
            sleep(Duration::from_micros(50)).unwrap();
        }
        acceptors.iter().for_each(|it| it.cancel());
    });
}

#[test]
fn datagrams_are_whole_and_their_errors_are_told_once() {
    run(|| {
        let (near, far) = (udp(), udp());
        near.connect(far.local_addr().unwrap()).unwrap();
        for size in [0, 1, 1_000, 9_000] {
            assert_eq!(near.send(&vec![7; size]).unwrap(), size);
            let mut buffer = vec![0; 10_000];
            let (length, from) = far.recv_from(&mut buffer).unwrap();
            assert_eq!((length, from), (size, near.local_addr().unwrap()));
        }
        let gone = far.local_addr().unwrap();
        drop(far);
        near.send(b"to nobody").unwrap();
        assert_eq!(near.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // The error has been told: now it waits, and does not spin.
        near.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(near.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        let again = UdpSocket::bind(gone).unwrap();
        again.send_to(b"back", near.local_addr().unwrap()).unwrap();
        near.set_read_timeout(None).unwrap();
        assert_eq!(near.recv(&mut [0; 8]).unwrap(), 4);
    });
}

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn scratch(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("tasklets-{name}-{}", std::process::id()));
    drop(std::fs::remove_file(&path));
    path
}

#[test]
fn unix_sockets_connect_serve_and_send() {
    let path = scratch("unix");
    run(|| {
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        let server = spawn(move || listener.incoming().next().unwrap().unwrap());
        let mut client = UnixStream::connect(&path).unwrap();
        let mut server = server.join().unwrap();
        server.write_all(b"hi").unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn who_connects_to_a_full_unix_socket_waits_for_room() {
    let path = scratch("full");
    run(|| {
        let listener = Listen::new().backlog(0).unix(&path).unwrap();
        let clients: Vec<_> = (0..5)
            .map(|_| {
                let path = path.clone();
                spawn(move || UnixStream::connect(path).unwrap())
            })
            .collect();
        let accepted: Vec<_> = listener.incoming().take(5).map(Result::unwrap).collect();
        assert_eq!(accepted.len(), 5);
        clients.into_iter().for_each(|it| drop(it.join().unwrap()));
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn who_sends_to_a_full_unix_datagram_socket_waits_for_room() {
    let path = scratch("datagram");
    run(|| {
        let reader = UnixDatagram::bind(&path).unwrap();
        let path = path.clone();
        let writer = spawn(move || {
            let from = UnixDatagram::unbound().unwrap();
            (0..100).for_each(|nth| assert_eq!(from.send_to(&[nth], &path).unwrap(), 1));
        });
        for nth in 0..100 {
            let mut byte = [0];
            assert_eq!(reader.recv(&mut byte).unwrap(), 1);
            assert_eq!(byte, [nth]);
        }
        writer.join().unwrap();
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn who_sends_to_a_full_connected_datagram_socket_waits_for_room() {
    run(|| {
        let (near, far) = UnixDatagram::pair().unwrap();
        let writer =
            spawn(move || assert!((0..2_000).all(|_| near.send(&[1; 100]).unwrap() == 100)));
        let mut buffer = [0; 100];
        assert!((0..2_000).all(|_| far.recv(&mut buffer).unwrap() == 100));
        writer.join().unwrap();
    });
}

#[test]
fn a_run_that_waits_for_a_socket_is_not_stuck_and_one_that_does_not_is() {
    let ended = Runtime::builder().build().run(|| {
        let (listener, _) = local();
        let accept = spawn(move || drop(listener.accept()));
        yield_now();
        accept.cancel();
        pause()
    });
    assert!(matches!(ended, Err(RunError::Stuck(_))));
}
