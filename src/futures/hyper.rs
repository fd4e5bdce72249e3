//! What hyper runs by, beside streams: tasklets and time.
//!
//! Always: a timer belongs to the run it was polled in last; a timer that was dropped is none.
//! Timer: `Fresh -> Armed -> Rung`, and armed again by a poll in another run.

use super::block_on;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::timer::Alarm;
use crate::tasklet::spawn;
use crate::time::{nanos, now};
use ::hyper::rt;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Tasklets as hyper's executor, and the run's time as its timer.
///
/// [`TcpStream`](crate::net::TcpStream) and [`UnixStream`](crate::net::UnixStream) are hyper's
/// `Read` and `Write`.
///
/// ```
/// use http_body_util::{BodyExt, Empty, Full};
/// use hyper::body::Bytes;
/// use hyper::{Request, Response, client, server, service::service_fn};
/// use tasklets::futures::{block_on, hyper::Tasklets};
/// use tasklets::net::{TcpListener, TcpStream};
/// use tasklets::{run, spawn};
/// run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let address = listener.local_addr().unwrap();
///     spawn(move || {
///         let hello = service_fn(async |_| {
///             Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from("hello"))))
///         });
///         let (stream, _) = listener.accept().unwrap();
///         let http = server::conn::http1::Builder::new().timer(Tasklets).to_owned();
///         let _ = block_on(http.serve_connection(stream, hello)); // cancelled when main has ended
///     });
///     let body = block_on(async {
///         let stream = TcpStream::connect(address).unwrap();
///         let (mut requests, connection) = client::conn::http1::handshake(stream).await.unwrap();
///         spawn(move || block_on(connection));
///         let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
///         let answer = requests.send_request(request).await.unwrap();
///         answer.into_body().collect().await.unwrap().to_bytes()
///     });
///     assert_eq!(body.unwrap(), "hello");
/// });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tasklets;

/// Each future gets a tasklet.
impl<F: Future + 'static> rt::Executor<F> for Tasklets
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        spawn(move || block_on(future)); // whoever cancels it knows
    }
}

impl rt::Timer for Tasklets {
    fn sleep(&self, delay: Duration) -> Pin<Box<dyn rt::Sleep>> {
        // A time too far away to write down never comes.
        Box::pin(Sleep::new(now().checked_add(delay)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep::new(Some(deadline)))
    }

    fn now(&self) -> Instant {
        now()
    }
}

/// Whom a timer wakes.
type Sleeper = Mutex<Option<Waker>>;

struct Sleep {
    until: Option<Instant>,
    sleeper: Arc<Sleeper>,
    /// Kept by the alarm that will ring.
    armed: Weak<()>,
}

impl Sleep {
    fn new(until: Option<Instant>) -> Sleep {
        Sleep { until, sleeper: Arc::default(), armed: Weak::new() }
    }
}

impl rt::Sleep for Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        if now() >= until {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let before = self.sleeper.lock().replace(waker);
        drop(before);
        if self.armed.strong_count() == 0 {
            let scheduler = Scheduler::active().expect("a timer is waited for inside of a run");
            let armed = Arc::new(());
            self.armed = Arc::downgrade(&armed);
            let alarm = Wakes { sleeper: Arc::downgrade(&self.sleeper), _armed: armed };
            scheduler.add_alarm(nanos(until), Rc::new(alarm));
        }
        Poll::Pending
    }
}

/// The alarm of a [`Sleep`].
struct Wakes {
    sleeper: Weak<Sleeper>,
    _armed: Arc<()>,
}

impl Alarm for Wakes {
    fn ring(&self) {
        let waker = self.sleeper.upgrade().and_then(|it| it.lock().take());
        if let (Some(waker), Some(scheduler)) = (waker, Scheduler::active()) {
            scheduler.wake(waker);
        }
    }

    fn is_set(&self) -> bool {
        self.sleeper.strong_count() > 0
    }
}
