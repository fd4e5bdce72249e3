//! The echo servers: ours and the peers', each written the plain way.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{FromRawFd, IntoRawFd};

/// A piece of what comes: more than anybody sends.
const PIECE: usize = 1_024;

pub fn tasklets(listener: TcpListener) {
    use tasklets::net;
    tasklets::run(|| {
        let listener = net::TcpListener::from_std(listener).expect("a listener need not block");
        net::serve(&listener, usize::MAX, |mut stream, _| {
            stream.set_nodelay(true)?;
            let mut buffer = [0; PIECE];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok::<_, std::io::Error>(()),
                    length => stream.write_all(&buffer[..length])?,
                }
            }
        })
    })
    .expect("the listener is fine");
}

pub fn may(listener: TcpListener) {
    use may::{go, net};
    may::config().set_workers(1);
    let serve = move || {
        // SAFETY: the descriptor is open, and nobody else's from now on.
        let listener = unsafe { net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
        while let Ok((mut stream, _)) = listener.accept() {
            go!(move || {
                stream.set_nodelay(true).expect("TCP has this option");
                let mut buffer = [0; PIECE];
                while let Ok(length) = stream.read(&mut buffer) {
                    if length == 0 || stream.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    };
    go!(serve).join().expect("it does not panic");
}

pub fn tokio(listener: TcpListener) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    listener.set_nonblocking(true).expect("a listener need not block");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    runtime.expect("the OS has a queue").block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true).expect("TCP has this option");
                let mut buffer = [0; PIECE];
                while let Ok(length) = stream.read(&mut buffer).await {
                    if length == 0 || stream.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}

pub fn smol(listener: TcpListener) {
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = smol::Async::new(listener).expect("a listener need not block");
        while let Ok((mut stream, _)) = listener.accept().await {
            let serve = async move {
                stream.get_ref().set_nodelay(true).expect("TCP has this option");
                let mut buffer = [0; PIECE];
                while let Ok(length) = stream.read(&mut buffer).await {
                    if length == 0 || stream.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            };
            executor.spawn(serve).detach();
        }
    }));
}
