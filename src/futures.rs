//! Futures in tasklets: waiting for one, and having one as an arm of a select.
//!
//! Always: a future is polled, and dropped, in the tasklet that waits for it, on that one's stack;
//! nothing of ours is borrowed meanwhile. Future: `Fresh -> Pending <-> Rung -> Completed`, and it
//! may be dropped from any.
//!
//! `async` code that is not bound to a runtime of its own runs in a tasklet: it is polled there,
//! and while it is pending the others run. Its wakers may be cloned, kept and called wherever and
//! as often as it likes. On the run's own OS thread that makes no system call; from another one it
//! goes through the scheduler's inbox, with a system call only if the scheduler sleeps.
//!
//! [`Receiver::recv_async`](crate::Receiver::recv_async) and
//! [`Sender::send_async`](crate::Sender::send_async) are for code that is polled, by [`block_on`]
//! or by an executor of its own on the run's OS thread.
//!
//! Streams ([`TcpStream`](crate::net::TcpStream), [`UnixStream`](crate::net::UnixStream), and
//! references to them) are futures-io's `AsyncRead` and `AsyncWrite` within [`Async`]. With the
//! feature `hyper` they are hyper's `Read` and `Write` themselves, and [`hyper::Tasklets`] is its
//! executor and timer. Of several futures that poll one side of a socket the last one is woken, and
//! time limits of the socket do not count: that is how polling works everywhere. A tasklet that is
//! stopped finds its [`Halt`] as an [`io::Error`](std::io::Error).
//!
//! # When nothing can run any more
//! A tasklet that waits for a future can be woken by whoever has a clone of its waker. As long as
//! there is one, a run is not taken to be stuck: nobody can tell what other OS threads will do. As
//! soon as the last one has been dropped, and nothing else can happen, it is. So two tasklets that
//! wait for each other through futures are found only when [every OS
//! thread](crate::shared#stuck-runs) of the process waits.
//! With the virtual clock time goes on while wakers are held.
//!
//! A run that is explored refuses to wait for futures: what wakes them is not known to it.

mod awaiting;
mod channel;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "net")]
mod stream;
mod waker;

pub use awaiting::Awaiting;
pub use channel::{RecvAsync, SendAsync};
#[cfg(feature = "net")]
pub use stream::Async;

use crate::error::Halt;
use crate::operation::Operation;
use std::future::Future;
use std::pin::{Pin, pin};

/// Waits for `future` and returns its output; other tasklets run meanwhile.
///
/// It is polled in this tasklet, for the first time at once, and again whenever it has been woken.
/// Inside of it ordinary blocking calls of this crate are possible: they hold up this tasklet only.
/// Outside of any run it is polled once.
///
/// # Errors
/// [`Halt::Cancelled`], [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped;
/// [`Halt::CannotWait`] where waiting is not possible. The future has been dropped then.
///
/// # Panics
/// With the panic of the future; if it has to wait under a [`switch_trap`](crate::switch_trap) or
/// inside a raw generator.
///
/// ```
/// use tasklets::futures::block_on;
/// use tasklets::{run, spawn};
/// run(|| {
///     let (tx, rx) = async_channel::bounded(1);
///     spawn(move || block_on(async move { tx.send(7).await.unwrap() }));
///     assert_eq!(block_on(rx.recv()), Ok(Ok(7)));
/// });
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> Result<F::Output, Halt> {
    Awaiting::new(pin!(future)).wait()
}

/// `future` as an operation: an arm of a select.
///
/// Its output is the future's, or why the wait for it ended. It happens when the future completes.
/// If it loses it is not completed, but may have been polled, and have done something: whether
/// that matters is for the future to say. It can be waited for again through `&mut`, and goes on
/// then.
///
/// ```
/// use std::time::Duration;
/// use tasklets::futures::operation;
/// use tasklets::{after, run, select, spawn};
/// run(|| {
///     let (tx, rx) = async_channel::bounded(1);
///     let mut next = operation(rx.recv());
///     select! {
///         op(&mut next) -> _ => panic!("nobody sends"),
///         op(after(Duration::from_millis(1))) -> _ => {}
///     }
///     spawn(move || tx.try_send("late"));
///     let word = select! { op(&mut next) -> word => word };
///     assert_eq!(word, Ok(Ok("late")));
/// });
/// ```
pub fn operation<F: Future>(future: F) -> Awaiting<Pin<Box<F>>> {
    Awaiting::new(Box::pin(future))
}
