//! Sockets and servers against peers and handlers that mean no good.
#![cfg(not(miri))]

use socket2::{MsgHdr, SockRef};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as Plain;
use std::panic::panic_any;
use std::rc::Rc;
use std::time::Duration;
use tasklets::net::{Accept, Serve, TcpListener, TcpStream, UnixStream};
use tasklets::{
    Never, Operation, Runtime, TaskletRef, after, channel, current, run, spawn, within, yield_now,
};

/// The crate looks at all descriptors anew every second: what only that mends takes longer than
/// this if it is done as often as this.
const SOON: Duration = Duration::from_secs(60);
const ROUNDS: usize = 100;

fn in_time(round: impl Fn()) {
    let rounds = within(SOON, || (0..ROUNDS).for_each(|_| round()));
    assert!(!rounds.expired, "it takes a second each time");
}

/// What comes until there are so many bytes.
fn read_all(stream: &mut impl Read, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 64];
    while all.len() < count {
        let came = stream.read(&mut buffer);
        let came = came.unwrap_or_else(|error| panic!("{error} after {all:?}"));
        assert!(came > 0, "the end after {all:?}");
        all.extend_from_slice(&buffer[..came]);
    }
    all
}

#[test]
fn urgent_data_does_not_hide_what_comes_after_it() {
    run(|| {
        in_time(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let far = listener.accept().unwrap().0;
            let reader = spawn(move || {
                let all = read_all(&mut near, 3);
                (near, all)
            });
            (&far).write_all(b"abc").unwrap();
            let (mut near, all) = reader.join().unwrap();
            assert_eq!(all, b"abc");
            (&far).write_all(b"def").unwrap();
            SockRef::from(&far).send_out_of_band(b"!").unwrap();
            (&far).write_all(b"ghi").unwrap();
            assert_eq!(read_all(&mut near, 6), b"defghi");
        });
    });
}

/// Sends bytes with a descriptor.
fn send_descriptor(to: &Plain, bytes: &[u8]) {
    let mut control = Vec::new();
    control.extend(20_usize.to_ne_bytes());
    control.extend(1_i32.to_ne_bytes()); // SOL_SOCKET
    control.extend(1_i32.to_ne_bytes()); // SCM_RIGHTS
    control.extend(to.as_raw_fd().to_ne_bytes());
    control.extend([0; 4]);
    let bytes = [IoSlice::new(bytes)];
    let message = MsgHdr::new().with_buffers(&bytes).with_control(&control);
    assert_eq!(SockRef::from(to).sendmsg(&message, 0).unwrap(), 3);
}

#[test]
fn descriptors_that_come_along_do_not_hide_what_comes_after_them() {
    run(|| {
        in_time(|| {
            let (near, far) = Plain::pair().unwrap();
            let mut near = UnixStream::from_std(near).unwrap();
            let reader = spawn(move || {
                let all = read_all(&mut near, 3);
                (near, all)
            });
            yield_now();
            (&far).write_all(b"abc").unwrap();
            let (mut near, all) = reader.join().unwrap();
            assert_eq!(all, b"abc");
            send_descriptor(&far, b"def");
            (&far).write_all(b"ghi").unwrap();
            assert_eq!(read_all(&mut near, 6), b"defghi");
        });
    });
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the payload panics, too");
        }
    }
}

#[test]
fn a_panic_whose_payload_panics_ends_its_connection_and_nothing_else() {
    let served = run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = channel::<Never>();
        spawn(move || {
            for _ in 0..2 {
                let mut text = String::new();
                drop(TcpStream::connect(address).unwrap().read_to_string(&mut text));
            }
            drop(stop);
        });
        let serve = Serve::new().on_panic(|_| {});
        serve.run(&listener, &stopped, |_, _| panic_any(Bomb))
    });
    assert_eq!(served.unwrap().panics, 2);
}

#[test]
fn a_handler_that_has_to_be_unwound_frees_its_place() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = channel::<Never>();
        let deaf: Rc<RefCell<Option<TaskletRef>>> = Rc::default();
        let first = deaf.clone();
        let client = spawn(move || {
            let mut one = TcpStream::connect(address).unwrap();
            let mut other = TcpStream::connect(address).unwrap();
            assert_eq!(one.read(&mut [0; 8]).unwrap(), 1);
            deaf.take().unwrap().cancel();
            let answered = within(SOON, || other.read(&mut [0; 8])).value;
            drop(stop);
            answered.unwrap()
        });
        let (serve, once) = (Serve::new().limit(1), Cell::new(false));
        serve
            .run(&listener, &stopped, |mut stream: TcpStream, _| {
                stream.write_all(b"!").unwrap();
                if !once.replace(true) {
                    *first.borrow_mut() = current();
                    loop {
                        drop(stream.read(&mut [0; 8]));
                    }
                }
            })
            .unwrap();
        assert_eq!(client.join().unwrap(), 1);
    });
}

/// Whose first connections have failed before they are accepted.
struct Unlucky(TcpListener, Cell<usize>);

/// What accept(2) says of the connection, not of the listener.
const ERRORS: [i32; 8] = [
    libc::ENETDOWN,
    libc::EPROTO,
    libc::ENOPROTOOPT,
    libc::EHOSTDOWN,
    libc::ENONET,
    libc::EHOSTUNREACH,
    libc::EOPNOTSUPP,
    libc::ENETUNREACH,
];

impl Accept for Unlucky {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    fn accepting(&self) -> impl Operation<Output = io::Result<(TcpStream, SocketAddr)>> + '_ {
        let accepting = self.0.accepting();
        accepting.map(|it| match ERRORS.get(self.1.replace(self.1.get() + 1)) {
            Some(error) => Err(io::Error::from_raw_os_error(*error)),
            None => it,
        })
    }
}

#[test]
fn an_error_of_a_connection_that_has_yet_to_be_accepted_ends_no_server() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = channel::<Never>();
        spawn(move || {
            for _ in 0..=ERRORS.len() {
                drop(TcpStream::connect(address).unwrap().read(&mut [0]));
            }
            drop(stop);
        });
        let listener = Unlucky(listener, Cell::new(0));
        let served = Serve::new().run(&listener, &stopped, |_, _| {});
        assert_eq!(served.unwrap().connections, 1);
    });
}

/// Whose every connection fails before it is accepted, at once.
struct Hopeless(Cell<u64>);

impl Accept for Hopeless {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    fn accepting(&self) -> impl Operation<Output = io::Result<(TcpStream, SocketAddr)>> + '_ {
        after(Duration::ZERO).map(|_| {
            self.0.set(self.0.get() + 1);
            Err(io::Error::from_raw_os_error(libc::EHOSTUNREACH))
        })
    }
}

#[test]
fn a_server_rests_between_errors_that_may_last() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let tries = runtime.run(|| {
        let (stop, stopped) = channel::<Never>();
        spawn(move || {
            after(Duration::from_secs(60)).wait().unwrap();
            drop(stop);
        });
        let listener = Hopeless(Cell::new(0));
        Serve::new().run(&listener, &stopped, |_, _| {}).unwrap();
        listener.0.get()
    });
    assert!((60..80).contains(&tries.unwrap()));
}
