//! The least that a server on one thread can do: epoll, read, write, by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

/// The key of the listener; connections have their places.
const LISTENER: u64 = u64::MAX;

/// Echoes, for ever.
pub fn echo(listener: TcpListener) {
    listener.set_nonblocking(true).expect("a listener need not block");
    // SAFETY: no preconditions.
    let queue = unsafe { libc::epoll_create1(0) };
    assert!(queue >= 0, "the OS has no queue");
    watch(queue, listener.as_raw_fd(), LISTENER);
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1_024];
    let mut buffer = [0; 1_024];
    loop {
        // SAFETY: `events` is ours to write, and so long.
        let count = unsafe { libc::epoll_wait(queue, events.as_mut_ptr(), 1_024, -1) };
        for event in &events[..count.max(0) as usize] {
            if event.u64 == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).expect("a socket need not block");
                    stream.set_nodelay(true).expect("TCP has this option");
                    watch(queue, stream.as_raw_fd(), clients.len() as u64);
                    clients.push(Some(stream));
                }
                continue;
            }
            let place = event.u64 as usize;
            let Some(mut client) = clients[place].as_ref() else { continue };
            let echoed = client
                .read(&mut buffer)
                .and_then(|it| if it == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(it) });
            let echoed = echoed.and_then(|length| client.write_all(&buffer[..length]));
            if echoed.is_err_and(|it| it.kind() != ErrorKind::WouldBlock) {
                clients[place] = None;
            }
        }
    }
}

/// Has the queue tell when there is something to read.
fn watch(queue: RawFd, descriptor: RawFd, key: u64) {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: key };
    // SAFETY: both descriptors are open, and the event is read only.
    let failed = unsafe { libc::epoll_ctl(queue, libc::EPOLL_CTL_ADD, descriptor, &mut event) };
    assert_eq!(failed, 0, "the OS watches sockets");
}
