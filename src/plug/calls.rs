//! Questions and answers: a server is a process that takes calls, each with a way back.
//!
//! Always: a call is answered once, or its caller is told that it will not be. A caller that gives
//! up holds up nobody. Call: `Asked -> Taken -> Answered | Dropped`.

use crate::channel::{Receiver, Sender, channel};
use crate::error::{Halt, SendError};
use std::error::Error;
use std::fmt;

/// A question, and where its answer goes.
///
/// Dropping it tells the caller that there will be none. It can be handed on, and answered later.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (client, calls) = plug::Client::new();
///     let asker = spawn(move || client.call("6 * 7").unwrap());
///     let call = calls.recv().unwrap();
///     assert_eq!(call.question, "6 * 7");
///     call.answer(42).unwrap();
///     assert_eq!(asker.join().unwrap(), 42);
/// });
/// ```
pub struct Call<Q, R: 'static> {
    /// What is asked.
    pub question: Q,
    reply: Sender<R>,
}

impl<Q, R: 'static> Call<Q, R> {
    /// Answers. The caller waits for it, so this does not wait long.
    ///
    /// # Errors
    /// [`Halt::Closed`] with the answer, when the caller has given up; otherwise why the tasklet
    /// was stopped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, plug, run, spawn, within};
    /// run(|| {
    ///     let (client, calls) = plug::Client::<(), &str>::new();
    ///     spawn(move || within(Duration::from_millis(1), || client.call(())).value);
    ///     let call = calls.recv().unwrap();
    ///     tasklets::sleep(Duration::from_millis(5)).unwrap();
    ///     assert_eq!(call.answer("too late").unwrap_err().why, Halt::Closed);
    /// });
    /// ```
    #[track_caller]
    pub fn answer(self, answer: R) -> Result<(), SendError<R>> {
        self.reply.send(answer)
    }
}

impl<Q: fmt::Debug, R: 'static> fmt::Debug for Call<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("question", &self.question).finish_non_exhaustive()
    }
}

/// Why there is no answer.
///
/// ```
/// use tasklets::{Halt, plug, run};
/// let (client, calls) = plug::Client::<_, ()>::new();
/// drop(calls);
/// match run(|| client.call("anybody?")) {
///     Err(plug::CallError::NotTaken(error)) => assert_eq!(error.value, "anybody?"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum CallError<Q> {
    /// Nobody took the call: the question, and why.
    NotTaken(SendError<Q>),
    /// It was taken, but there is no answer: the server dropped it ([`Halt::Closed`]), or the
    /// caller was stopped.
    NotAnswered(Halt),
}

impl<Q> fmt::Debug for CallError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotTaken(error) => f.debug_tuple("NotTaken").field(error).finish(),
            CallError::NotAnswered(why) => f.debug_tuple("NotAnswered").field(why).finish(),
        }
    }
}

impl<Q> fmt::Display for CallError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotTaken(error) => write!(f, "the call was not taken: {}", error.why),
            CallError::NotAnswered(Halt::Closed) => f.write_str("the call was dropped unanswered"),
            CallError::NotAnswered(why) => write!(f, "the call was not answered: {why}"),
        }
    }
}

impl<Q> Error for CallError<Q> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CallError::NotTaken(error) => Some(&error.why),
            CallError::NotAnswered(why) => Some(why),
        }
    }
}

/// Asks a server. Can be cloned.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (client, calls) = plug::Client::new();
///     let mut total = 0;
///     spawn(move || plug::serve(calls, |amount: i32| { total += amount; total }));
///     assert_eq!((client.call(2), client.call(3)), (Ok(2), Ok(5)));
/// });
/// ```
#[doc(alias("Connection", "AltingConnectionClient", "rpc", "actor"))]
pub struct Client<Q: 'static, R: 'static> {
    calls: Sender<Call<Q, R>>,
}

impl<Q, R> Client<Q, R> {
    /// Makes a handle, and the end that its server takes.
    ///
    /// ```
    /// use tasklets::{plug, run, spawn};
    /// run(|| {
    ///     let (client, calls) = plug::Client::new();
    ///     for calls in [calls.clone(), calls] {
    ///         spawn(|| plug::serve(calls, |it: u64| it * it)); // two servers
    ///     }
    ///     assert_eq!(client.call(9), Ok(81));
    /// });
    /// ```
    #[track_caller]
    pub fn new() -> (Client<Q, R>, Receiver<Call<Q, R>>) {
        let (calls, from) = channel();
        (Client { calls }, from)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`CallError::NotTaken`] with the question, when there is no server or the caller is stopped
    /// before one takes it; [`CallError::NotAnswered`] when it dropped the call, or the caller is
    /// stopped: then the server goes on, and its answer is dropped.
    ///
    /// ```
    /// use tasklets::{Halt, plug, run, spawn};
    /// run(|| {
    ///     let (client, calls) = plug::Client::<_, ()>::new();
    ///     spawn(move || drop(calls.recv()));
    ///     assert_eq!(client.call(1), Err(plug::CallError::NotAnswered(Halt::Closed)));
    /// });
    /// ```
    #[track_caller]
    pub fn call(&self, question: Q) -> Result<R, CallError<Q>> {
        let (reply, answer) = channel();
        if let Err(SendError { value, why }) = self.calls.send(Call { question, reply }) {
            return Err(CallError::NotTaken(SendError { value: value.question, why }));
        }
        answer.recv().map_err(CallError::NotAnswered)
    }
}

impl<Q, R> Clone for Client<Q, R> {
    fn clone(&self) -> Self {
        Client { calls: self.calls.clone() }
    }
}

impl<Q, R> fmt::Debug for Client<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("calls", &self.calls).finish()
    }
}

/// Answers each call with what `f` says, one after the other.
///
/// Returns when nobody can call any more. An answer whose caller has given up is dropped.
///
/// # Errors
/// Why the tasklet was stopped.
///
/// # Panics
/// As `f` does: its caller, and those who wait, are told that there is no answer.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (client, calls) = plug::Client::new();
///     let server = spawn(move || plug::serve(calls, |name: &str| format!("hello, {name}")));
///     assert_eq!(client.call("ann").unwrap(), "hello, ann");
///     drop(client);
///     assert_eq!(server.join().unwrap(), Ok(()));
/// });
/// ```
#[doc(alias("Server", "AltingConnectionServer"))]
pub fn serve<Q, R>(calls: Receiver<Call<Q, R>>, mut f: impl FnMut(Q) -> R) -> Result<(), Halt> {
    loop {
        let Call { question, reply } = match calls.recv() {
            Ok(call) => call,
            Err(Halt::Closed) => return Ok(()),
            Err(why) => return Err(why),
        };
        match reply.send(f(question)) {
            Err(error) if error.why != Halt::Closed => return Err(error.why),
            _ => {}
        }
    }
}
