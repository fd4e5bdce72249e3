//! Async code that knows no runtime runs over our sockets: futures-io and hyper.

use futures_util::future::{join, join_all, poll_fn};
use futures_util::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client, server};
use std::cell::Cell;
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tasklets::futures::hyper::Tasklets;
use tasklets::futures::{Async, block_on, operation};
use tasklets::net::{self, Shutdown, TcpListener, TcpStream, UnixStream};
use tasklets::{
    Halt, Never, Operation, RunError, Runtime, channel, now, pause, run, select, sleep, spawn,
    within, yield_now,
};

/// Two ends of a connection.
fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn futures_read_what_tasklets_write_and_the_other_way_round() {
    run(|| {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|it| it as u8).collect();
        let (mut near, far) = tcp();
        let expected = bytes.clone();
        let sent = spawn(move || {
            near.write_all(&bytes).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            let mut back = Vec::new();
            near.read_to_end(&mut back).unwrap();
            back
        });
        // Reading and writing one socket at the same time, by reference.
        let (mut from, mut to) = (Async(&far), Async(&far));
        block_on(async {
            let mut all = Vec::new();
            from.read_to_end(&mut all).await.unwrap();
            to.write_all(&all).await.unwrap();
            to.close().await.unwrap();
        })
        .unwrap();
        assert!(sent.join().unwrap() == expected);
    });
}

#[test]
fn both_directions_of_a_pair_move_within_one_tasklet() {
    run(|| {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut near, mut far) = (Async(near), Async(far));
        let many = vec![7; 3_000_000]; // more than the OS holds back
        let write = async {
            near.write_all(&many).await.unwrap();
            near.close().await.unwrap();
        };
        let mut all = Vec::new();
        block_on(join(write, far.read_to_end(&mut all))).unwrap().1.unwrap();
        assert!(all == many);
    });
}

#[test]
fn a_peer_that_sends_byte_by_byte_and_then_resets_is_read_to_the_reset() {
    run(|| {
        let (near, far) = tcp();
        let mut far = Async(far);
        let slow = spawn(move || {
            for byte in 0..100 {
                (&near).write_all(&[byte]).unwrap();
                yield_now();
            }
            let mut one = [0];
            (&near).read_exact(&mut one).unwrap();
            // What it has not read is why the OS resets the connection.
        });
        let ended = block_on(async {
            let mut hundred = [0; 100];
            far.read_exact(&mut hundred).await.unwrap();
            assert!(hundred.iter().copied().eq(0..100));
            far.write_all(&[0; 10]).await.unwrap();
            slow.join().unwrap();
            far.read(&mut hundred).await
        });
        assert_eq!(ended.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_poll_that_is_stopped_finds_the_reason_and_a_read_that_lost_has_read_nothing() {
    run(|| {
        let (near, far) = tcp();
        let mut reader = Async(&far);
        let mut bytes = [0; 4];
        let late = within(Duration::from_millis(1), || block_on(reader.read(&mut bytes))).value;
        assert!(matches!(late, Err(Halt::TimedOut)));
        let (tx, stop) = channel::<Never>();
        drop(tx);
        select! {
            op(operation(reader.read(&mut bytes))) -> _ => panic!("nobody writes"),
            recv(stop) -> _ => {}
        }
        (&near).write_all(b"here").unwrap();
        block_on(reader.read_exact(&mut bytes)).unwrap().unwrap();
        assert_eq!(&bytes, b"here");
        let stopped = spawn(move || {
            let _ = pause(); // until it is cancelled
            let mut context = Context::from_waker(Waker::noop());
            match pin!(Async(&far)).poll_read(&mut context, &mut [0]) {
                Poll::Ready(Err(error)) => error.to_string(),
                other => panic!("{other:?}"),
            }
        });
        yield_now();
        stopped.cancel();
        assert_eq!(stopped.join().unwrap(), std::io::Error::from(Halt::Cancelled).to_string());
    });
}

#[test]
fn a_socket_that_a_forgotten_future_has_polled_keeps_no_run_alive() {
    let ended = Runtime::builder().build().run(|| {
        let (_near, far) = tcp();
        let mut reader = Async(&far);
        let (_tx, never) = channel::<Never>();
        let mut bytes = [0];
        assert!(operation(reader.read(&mut bytes)).poll().is_none());
        never.recv()
    });
    assert!(matches!(ended, Err(RunError::Stuck(_))), "{ended:?}");
}

#[test]
fn a_foreign_waker_that_panics_ends_the_run_with_its_panic_and_nothing_else_breaks() {
    struct Loud;
    impl Wake for Loud {
        fn wake(self: Arc<Loud>) {
            panic!("a loud waker");
        }
    }
    let ended = Runtime::builder().build().run(|| {
        let (near, far) = tcp();
        let loud = Waker::from(Arc::new(Loud));
        let mut context = Context::from_waker(&loud);
        assert!(pin!(Async(&far)).poll_read(&mut context, &mut [0]).is_pending());
        (&near).write_all(b"x").unwrap();
        sleep(Duration::from_secs(60))
    });
    let Err(RunError::Panicked(panic)) = ended else { panic!("{ended:?}") };
    assert_eq!(panic.payload.downcast_ref(), Some(&"a loud waker"));
}

/// Says what it was asked, and how much came with that.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let Ok(body) = request.into_body().collect().await else {
        let mut refused = Response::new(Full::default());
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refused);
    };
    let text = format!("{path} with {} bytes", body.to_bytes().len());
    Ok(Response::new(Full::new(text.into())))
}

/// Serves every connection until the run ends.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        net::serve(&listener, 1_000, |stream, _| {
            let served = server::conn::http1::Builder::new()
                .timer(Tasklets)
                .serve_connection(stream, service_fn(answer));
            let _ = block_on(served);
        })
    });
    address
}

#[test]
fn hyper_serves_and_asks_over_many_connections_on_one_thread() {
    const CONNECTIONS: usize = 200;
    const EACH: usize = 20;
    run(|| {
        let address = serve();
        let answered = Rc::new(Cell::new(0));
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|client| {
                let answered = answered.clone();
                spawn(move || {
                    let stream = TcpStream::connect(address).unwrap();
                    block_on(ask(stream, client, &answered)).unwrap();
                })
            })
            .collect();
        clients.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(answered.get(), CONNECTIONS * EACH);
    });

    async fn ask(stream: TcpStream, client: usize, answered: &Cell<usize>) {
        let (mut requests, connection) = client::conn::http1::handshake(stream).await.unwrap();
        let driver = spawn(move || block_on(connection));
        for round in 0..EACH {
            let body = Full::new(Bytes::from(vec![0; round * 1_000]));
            let request = Request::post(format!("/{client}/{round}")).body(body).unwrap();
            let response = requests.send_request(request).await.unwrap();
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, format!("/{client}/{round} with {} bytes", round * 1_000));
            answered.set(answered.get() + 1);
        }
        drop(requests);
        driver.join().unwrap().unwrap().unwrap();
    }
}

#[test]
fn many_requests_are_one_future_of_one_tasklet() {
    let texts = run(|| {
        let address = serve();
        let ask = async |number: usize| {
            let stream = TcpStream::connect(address).unwrap();
            let (mut requests, connection) = client::conn::http1::handshake(stream).await.unwrap();
            let request = Request::get(format!("/{number}")).body(Empty::<Bytes>::new()).unwrap();
            let asked = async move {
                let response = requests.send_request(request).await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes()
            };
            join(asked, connection).await.0
        };
        block_on(join_all((0..100).map(ask))).unwrap()
    });
    for (number, text) in texts.iter().enumerate() {
        assert_eq!(*text, format!("/{number} with 0 bytes"));
    }
}

#[test]
fn hypers_time_limits_go_by_the_time_of_the_run() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let waited = runtime.run(|| {
        let start = now();
        let mut timer = hyper::rt::Timer::sleep(&Tasklets, Duration::from_secs(3_600));
        let early = within(Duration::from_secs(60), || block_on(&mut timer)).value;
        assert_eq!((early, now() - start), (Err(Halt::TimedOut), Duration::from_secs(60)));
        block_on(timer).unwrap();
        drop(hyper::rt::Timer::sleep_until(&Tasklets, now()));
        block_on(hyper::rt::Timer::sleep_until(&Tasklets, now())).unwrap();
        now() - start
    });
    assert_eq!(waited.unwrap(), Duration::from_secs(3_600));
    let refused = run(|| {
        let (near, far) = tcp();
        let served = server::conn::http1::Builder::new()
            .timer(Tasklets)
            .header_read_timeout(Duration::from_millis(1))
            .serve_connection(far, service_fn(answer));
        let refused = block_on(served).unwrap();
        drop(near); // it has never asked
        refused
    });
    assert!(refused.unwrap_err().is_timeout());
}

#[test]
fn a_timer_that_was_dropped_keeps_no_run_alive_and_one_that_never_comes_is_stuck() {
    let ended = Runtime::builder().virtual_clock(true).build().run(|| {
        let mut dropped = hyper::rt::Timer::sleep(&Tasklets, Duration::from_secs(60));
        let first = poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context).is_pending()));
        assert_eq!(block_on(first), Ok(true));
        drop(dropped);
        let start = now();
        let never = within(Duration::from_secs(600), || {
            block_on(hyper::rt::Timer::sleep(&Tasklets, Duration::MAX))
        });
        assert_eq!((never.value, now() - start), (Err(Halt::TimedOut), Duration::from_secs(600)));
        block_on(hyper::rt::Timer::sleep(&Tasklets, Duration::MAX))
    });
    assert!(matches!(ended, Err(RunError::Stuck(_))), "{ended:?}");
}

#[test]
fn hypers_executor_gives_each_future_a_tasklet() {
    run(|| {
        let (tx, rx) = async_channel::unbounded();
        for number in 0..3 {
            let tx = tx.clone();
            hyper::rt::Executor::execute(&Tasklets, async move { tx.send(number).await.unwrap() });
        }
        drop(tx);
        let mut all = Vec::new();
        while let Ok(number) = block_on(rx.recv()).unwrap() {
            all.push(number);
        }
        assert_eq!(all, [0, 1, 2]);
    });
}
