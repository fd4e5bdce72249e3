//! Listening for signals.
//!
//! Always: what the handler does is to note the signal and to wake who listens, by a byte in a
//! socket; nothing of the program runs there. Signal: `Unseen -> Noted -> Told`.

use super::Signal;
use super::disposition::Listening;
use crate::descriptor::Descriptor;
use crate::error::Halt;
use crate::kernel::announce;
use crate::kernel::operation::Arm;
use crate::kernel::task::Doing;
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use signal_hook::SigId;
use signal_hook::low_level::unregister;
use std::borrow::Borrow;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Listens for signals: from now on they arrive here, as messages, and do nothing else.
///
/// Everybody in the process who listens for a signal is told of it, in whatever run and on
/// whatever OS thread. A signal is told at least once after it has arrived; if it arrives again
/// before it was received, that may be one message or two, as it is with the OS itself. Of
/// different signals that wait the one that was named first is received first.
///
/// When nobody listens for it any more a signal does again what it does by default, or is ignored
/// if it was ignored before the first listener came. (The handler stays, so an empty one is what
/// code that asks for the present handler finds.)
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a signal that cannot be received, or none at all; the OS's,
/// if there is no descriptor left. A run that is explored refuses it.
///
/// ```
/// use tasklets::{Signal, run, select, signals};
/// # fn send(signal: Signal) {
/// #     signal_hook::low_level::raise(signal.number()).unwrap();
/// # }
/// run(|| {
///     let signals = signals([Signal::Hangup, Signal::Terminate]).unwrap();
///     send(Signal::Hangup); // to this process, by `kill` say
///     select! {
///         op(signals.receiving()) -> signal => assert_eq!(signal.unwrap(), Signal::Hangup),
///     }
/// });
/// ```
#[track_caller]
#[doc(alias("signal_handler", "sigaction", "trap"))]
pub fn signals(which: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
    announce::keep_inside("listening for signals", Location::caller())?;
    let (woken, wake) = UnixStream::pair()?;
    let mut listened = Vec::new();
    for signal in which {
        if !listened.iter().any(|it: &Listened| it.signal == signal) {
            listened.push(Listened::new(signal, &wake)?);
        }
    }
    if listened.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no signal to listen for"));
    }
    Ok(Signals { listened, woken: Descriptor::new(woken)? })
}

/// Signals that arrive as messages; made by [`signals`].
///
/// Not `Send`: each run listens for itself.
///
/// ```
/// use tasklets::{Signal, run, signals};
/// # fn send(signal: Signal) {
/// #     signal_hook::low_level::raise(signal.number()).unwrap();
/// # }
/// run(|| {
///     let signals = signals([Signal::User1]).unwrap();
///     for _ in 0..3 {
///         send(Signal::User1);
///     }
///     assert_eq!(signals.recv(), Ok(Signal::User1));
///     assert_eq!(signals.try_recv(), Ok(None)); // three were one
/// });
/// ```
pub struct Signals {
    listened: Vec<Listened>,
    /// Can be read when one has been noted.
    woken: Descriptor<UnixStream>,
}

/// One signal that is listened for.
struct Listened {
    signal: Signal,
    /// Set by the handler.
    noted: Arc<AtomicBool>,
    /// What the handler does.
    actions: Vec<SigId>,
    _listening: Listening,
}

impl Listened {
    fn new(signal: Signal, wake: &UnixStream) -> io::Result<Listened> {
        let number = signal.number();
        if signal_hook::consts::FORBIDDEN.contains(&number) {
            let why = format!("{signal} cannot be received");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let noted = Arc::new(AtomicBool::new(false));
        let listening = Listening::new(number)?;
        let mut listened =
            Listened { signal, noted: noted.clone(), actions: vec![], _listening: listening };
        // In this order: who is woken finds what was noted.
        listened.actions.push(signal_hook::flag::register(number, noted)?);
        let wake = wake.try_clone()?;
        listened.actions.push(signal_hook::low_level::pipe::register(number, wake)?);
        Ok(listened)
    }
}

impl Drop for Listened {
    fn drop(&mut self) {
        for action in self.actions.drain(..) {
            unregister(action);
        }
    }
}

impl Signals {
    /// Waits for the next signal.
    ///
    /// # Errors
    /// Those of a receive, except `Closed`. [`Halt::CannotWait`] also if the OS does not let it be
    /// waited for.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// # use tasklets::{Halt, Signal, run, signals, within};
    /// run(|| {
    ///     let signals = signals([Signal::User2]).unwrap();
    ///     let limit = std::time::Duration::from_millis(1);
    ///     assert_eq!(within(limit, || signals.recv()).value, Err(Halt::TimedOut));
    /// });
    /// ```
    #[track_caller]
    pub fn recv(&self) -> Result<Signal, Halt> {
        self.receiving().wait()
    }

    /// A signal that has arrived, if there is one.
    ///
    /// # Errors
    /// None that is known of; it is like the `try_recv` of a channel.
    ///
    /// ```
    /// # use tasklets::{Signal, run, signals};
    /// run(|| {
    ///     let signals = signals([Signal::User2]).unwrap();
    ///     assert_eq!(signals.try_recv(), Ok(None));
    /// });
    /// ```
    #[track_caller]
    pub fn try_recv(&self) -> Result<Option<Signal>, Halt> {
        self.receiving().poll().transpose()
    }

    /// [`recv`](Self::recv) as an operation.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Signal, after, run, select, signals};
    /// run(|| {
    ///     let signals = signals([Signal::Interrupt]).unwrap();
    ///     select! {
    ///         op(signals.receiving()) -> _ => println!("somebody is in a hurry"),
    ///         op(after(Duration::from_millis(1))) -> _ => println!("work done"),
    ///     }
    /// });
    /// ```
    pub fn receiving(&self) -> ReceivingSignal<&Signals> {
        ReceivingSignal { of: self, refused: false, outcome: None }
    }

    /// Every signal that arrives, until the tasklet is stopped.
    ///
    /// ```
    /// # use tasklets::{Signal, run, signals, spawn, yield_now};
    /// run(|| {
    ///     let logger = spawn(|| {
    ///         let signals = signals([Signal::User2]).unwrap();
    ///         signals.iter().for_each(|it| println!("{it}"));
    ///     });
    ///     yield_now();
    ///     logger.cancel();
    ///     logger.join().unwrap();
    /// });
    /// ```
    pub fn iter(&self) -> SignalIter<'_> {
        SignalIter { of: self }
    }

    /// The first that has been noted.
    fn take(&self) -> Option<Signal> {
        let noted = self.listened.iter().find(|it| it.noted.swap(false, Ordering::SeqCst));
        noted.map(|it| it.signal)
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.listened.iter().map(|it| it.signal)).finish()
    }
}

impl<'a> IntoIterator for &'a Signals {
    type Item = Signal;
    type IntoIter = SignalIter<'a>;

    fn into_iter(self) -> SignalIter<'a> {
        self.iter()
    }
}

/// Made by [`Signals::iter`].
#[derive(Debug)]
pub struct SignalIter<'a> {
    of: &'a Signals,
}

impl Iterator for SignalIter<'_> {
    type Item = Signal;

    #[track_caller]
    fn next(&mut self) -> Option<Signal> {
        self.of.recv().ok()
    }
}

/// The operation made by [`Signals::receiving`] and [`ctrl_c`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct ReceivingSignal<S> {
    of: S,
    /// The OS does not let it be waited for.
    refused: bool,
    outcome: Option<Result<Signal, Halt>>,
}

/// Listens for Ctrl-C, from now on: an operation that happens when SIGINT arrives.
///
/// As a [`signals`] that is received from once; it can be waited for again.
///
/// # Errors
/// As [`signals`].
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Signal, after, ctrl_c, run, select};
/// run(|| {
///     let mut stop = ctrl_c().unwrap();
///     # signal_hook::low_level::raise(Signal::Interrupt.number()).unwrap();
///     loop {
///         select! {
///             op(&mut stop) -> signal => break assert_eq!(signal, Ok(Signal::Interrupt)),
///             op(after(Duration::from_millis(10))) -> _ => println!("working"),
///         }
///     }
/// });
/// ```
#[track_caller]
#[doc(alias("SIGINT", "KeyboardInterrupt"))]
pub fn ctrl_c() -> io::Result<ReceivingSignal<Signals>> {
    let of = signals([Signal::Interrupt])?;
    Ok(ReceivingSignal { of, refused: false, outcome: None })
}

impl<S: Borrow<Signals>> Arm for ReceivingSignal<S> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        let of = self.of.borrow();
        // What comes after this wakes again; what has come is noted.
        while matches!(of.woken.get_ref().read(&mut [0; 64]), Ok(64)) {}
        self.outcome = match (of.take(), std::mem::take(&mut self.refused)) {
            (None, true) => Some(Err(Halt::CannotWait)),
            (noted, _) => noted.map(Ok),
        };
        self.outcome.is_some()
    }

    fn ready(&self) -> bool {
        self.of.borrow().listened.iter().any(|it| it.noted.load(Ordering::SeqCst))
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        let open = wait.is_open();
        self.of.borrow().woken.readable().publish(wait, branch);
        self.refused = open && !wait.is_open();
        1
    }

    fn withdraw(&mut self, _: &Wait, _: u32) {} // what loses may stay where it is

    fn complete(&mut self, _: u32, _: bool, at: &'static Location<'static>) -> bool {
        self.attempt(at)
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why));
    }

    fn doing(&self) -> Doing {
        Doing::Signalled
    }
}

impl<S: Borrow<Signals>> Operation for ReceivingSignal<S> {
    type Output = Result<Signal, Halt>;

    fn take(&mut self) -> Result<Signal, Halt> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

impl<S: Borrow<Signals>> fmt::Debug for ReceivingSignal<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of the signals {:?}", self.of.borrow())
    }
}
