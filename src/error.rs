//! Why an operation ended without its effect, and what was lent to it.
//!
//! Always: an error gives back what the caller lent; `Debug` and `Display` ask nothing of `T`.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why an operation ended without meeting a partner.
///
/// Converts to [`io::Error`] with a kind that no loop of std retries.
///
/// ```
/// use tasklets::{Halt, channel};
/// let (tx, rx) = channel::<u8>();
/// drop(tx);
/// assert_eq!(rx.recv(), Err(Halt::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Halt {
    /// Every handle of the other end is gone.
    Closed,
    /// This tasklet has been cancelled.
    Cancelled,
    /// A deadline that this tasklet is under has passed.
    TimedOut,
    /// The operation would have had to wait where waiting is not possible: under a
    /// [`block_trap`](crate::block_trap), in a destructor that runs because of a panic, or outside
    /// any run.
    CannotWait,
    /// Every thread for blocking calls is at work, and as many calls wait for one as may
    /// ([`RuntimeBuilder::blocking_queue`](crate::RuntimeBuilder::blocking_queue)).
    Busy,
    /// Somebody injected an error ([`TaskletRef::inject`](crate::TaskletRef::inject)); it is in
    /// [`take_injected`](crate::take_injected).
    Injected,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Halt::Closed => "the other end of the channel is gone",
            Halt::Cancelled => "the tasklet has been cancelled",
            Halt::TimedOut => "the deadline has passed",
            Halt::CannotWait => "the operation would have to wait where waiting is not possible",
            Halt::Busy => "as many blocking calls wait for a thread as may",
            Halt::Injected => "an error was injected into the tasklet",
        })
    }
}

impl Error for Halt {}

impl From<Halt> for io::Error {
    fn from(why: Halt) -> io::Error {
        let kind = match why {
            Halt::Closed => io::ErrorKind::BrokenPipe,
            Halt::Cancelled => io::ErrorKind::ConnectionAborted,
            Halt::TimedOut => io::ErrorKind::TimedOut,
            Halt::CannotWait => io::ErrorKind::Unsupported,
            Halt::Busy => io::ErrorKind::ResourceBusy,
            Halt::Injected => io::ErrorKind::Other,
        };
        io::Error::new(kind, why)
    }
}

/// A value that could not be sent, and why.
///
/// ```
/// use tasklets::{Halt, SendError, channel};
/// let (tx, rx) = channel();
/// drop(rx);
/// assert_eq!(tx.send("back"), Err(SendError { value: "back", why: Halt::Closed }));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SendError<T> {
    /// What was not sent.
    pub value: T,
    /// Why it was not.
    pub why: Halt,
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value was not sent: {}", self.why)
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.why)
    }
}

impl<T> From<SendError<T>> for Halt {
    fn from(error: SendError<T>) -> Halt {
        error.why
    }
}

impl<T> From<SendError<T>> for io::Error {
    fn from(error: SendError<T>) -> io::Error {
        error.why.into()
    }
}

/// Why a join gave no value.
///
/// ```
/// use tasklets::{JoinError, Never, channel, run, spawn};
/// run(|| {
///     let never_began = spawn(|| 1);
///     never_began.cancel();
///     assert!(matches!(never_began.join(), Err(JoinError::Cancelled)));
///     let (_tx, rx) = channel::<Never>();
///     let stopped = spawn(move || rx.recv()); // that one returns, with an error of its own
///     tasklets::yield_now();
///     stopped.cancel();
///     assert!(stopped.join().unwrap().is_err());
/// });
/// ```
pub enum JoinError {
    /// The tasklet panicked; this is what it panicked with.
    Panicked(Box<dyn Any + Send + 'static>),
    /// The tasklet was cancelled before it began, or was unwound because it went on after it
    /// had been cancelled.
    Cancelled,
    /// The tasklet that joins was stopped from waiting; the other one goes on.
    Halted(Halt),
}

impl JoinError {
    /// The message of a panic made with a string, as std's panic hook prints it.
    ///
    /// ```
    /// use tasklets::{run, spawn};
    /// run(|| {
    ///     let unlucky = spawn(|| -> u8 { std::panic::resume_unwind(Box::new("no luck")) });
    ///     assert_eq!(unlucky.join().unwrap_err().message(), Some("no luck"));
    ///     let cancelled = spawn(|| 1);
    ///     cancelled.cancel();
    ///     assert_eq!(cancelled.join().unwrap_err().message(), None);
    /// });
    /// ```
    pub fn message(&self) -> Option<&str> {
        match self {
            JoinError::Panicked(payload) => Some(panic_message(&**payload)),
            JoinError::Cancelled | JoinError::Halted(_) => None,
        }
    }

    /// Panics with the payload of a panicked tasklet; otherwise panics with this error's text.
    ///
    /// ```
    /// use tasklets::{run, spawn};
    /// let caught = std::panic::catch_unwind(|| {
    ///     run(|| {
    ///         let child = spawn(|| -> u8 { std::panic::resume_unwind(Box::new(7)) });
    ///         child.join().unwrap_or_else(|error| error.resume()) // its panic is ours
    ///     })
    /// });
    /// assert_eq!(caught.unwrap_err().downcast_ref(), Some(&7));
    /// ```
    pub fn resume(self) -> ! {
        match self {
            JoinError::Panicked(payload) => std::panic::resume_unwind(payload),
            JoinError::Cancelled | JoinError::Halted(_) => panic!("{self}"),
        }
    }
}

/// The text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a value that is not a string"
    }
}

/// Drops the payload of a panic that nobody gets; if that panics too, with what it likes, so be it.
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    // This one may panic again, and so on for ever: it is leaked.
    dropped.unwrap_or_else(std::mem::forget);
}

/// Writes a line to standard error. Whether anybody reads that must not matter to who goes on.
pub(crate) fn complain(what: fmt::Arguments<'_>) {
    // `eprintln!` panics if nobody does; but a test harness shows it beside the test that it is of.
    drop(catch_unwind(AssertUnwindSafe(|| eprintln!("tasklets: {what}"))));
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The message as it is: who unwraps the error panics with this text, and so does who
            // joins that one. Were it escaped at each of them, it would double every time.
            JoinError::Panicked(payload) => {
                write!(f, "Panicked(\"{}\")", panic_message(&**payload))
            }
            JoinError::Cancelled => f.write_str("Cancelled"),
            JoinError::Halted(why) => f.debug_tuple("Halted").field(why).finish(),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(payload) => {
                write!(f, "the tasklet panicked: {}", panic_message(&**payload))
            }
            JoinError::Cancelled => f.write_str("the tasklet was cancelled"),
            JoinError::Halted(why) => write!(f, "the join was stopped: {why}"),
        }
    }
}

impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            JoinError::Halted(why) => Some(why),
            JoinError::Panicked(_) | JoinError::Cancelled => None,
        }
    }
}

impl From<Halt> for JoinError {
    fn from(why: Halt) -> JoinError {
        JoinError::Halted(why)
    }
}
