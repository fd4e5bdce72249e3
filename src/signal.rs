//! Signals of the OS: their names, and receiving them as messages.
//!
//! Always: no code of the program runs inside a signal handler. A signal that arrived while
//! somebody listened for it is told to each who did: if it came several times, at least once.

#[cfg(feature = "signal")]
mod disposition;
#[cfg(feature = "signal")]
mod listen;

#[cfg(feature = "signal")]
pub use listen::{ReceivingSignal, SignalIter, Signals, ctrl_c, signals};

use std::fmt;

/// A signal, by its name.
///
/// ```
/// use tasklets::Signal;
/// assert_eq!(Signal::Terminate.to_string(), "SIGTERM");
/// assert_eq!(Signal::from_number(Signal::Interrupt.number()), Some(Signal::Interrupt));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGHUP: the terminal is gone; daemons read their configuration again.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGQUIT: Ctrl-\.
    Quit,
    /// SIGKILL: the end. Nobody can receive it.
    Kill,
    /// SIGUSR1: whatever the program makes of it.
    User1,
    /// SIGUSR2: the same.
    User2,
    /// SIGALRM: a timer of the OS.
    Alarm,
    /// SIGTERM: the request to end.
    Terminate,
    /// SIGCHLD: a child process ended, stopped or went on.
    Child,
    /// SIGCONT: the process goes on after it was stopped.
    Continue,
    /// SIGSTOP: the process stops. Nobody can receive it.
    Stop,
    /// SIGTSTP: Ctrl-Z.
    TerminalStop,
    /// SIGWINCH: the terminal has another size.
    WindowChange,
}

/// Number and name of each.
const ALL: &[(Signal, i32, &str)] = &[
    (Signal::Hangup, libc::SIGHUP, "SIGHUP"),
    (Signal::Interrupt, libc::SIGINT, "SIGINT"),
    (Signal::Quit, libc::SIGQUIT, "SIGQUIT"),
    (Signal::Kill, libc::SIGKILL, "SIGKILL"),
    (Signal::User1, libc::SIGUSR1, "SIGUSR1"),
    (Signal::User2, libc::SIGUSR2, "SIGUSR2"),
    (Signal::Alarm, libc::SIGALRM, "SIGALRM"),
    (Signal::Terminate, libc::SIGTERM, "SIGTERM"),
    (Signal::Child, libc::SIGCHLD, "SIGCHLD"),
    (Signal::Continue, libc::SIGCONT, "SIGCONT"),
    (Signal::Stop, libc::SIGSTOP, "SIGSTOP"),
    (Signal::TerminalStop, libc::SIGTSTP, "SIGTSTP"),
    (Signal::WindowChange, libc::SIGWINCH, "SIGWINCH"),
];

impl Signal {
    /// The OS's number of it.
    ///
    /// ```
    /// assert_eq!(tasklets::Signal::Kill.number(), 9);
    /// ```
    pub fn number(self) -> i32 {
        self.row().1
    }

    /// The signal with this number, if it has a name here.
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use tasklets::Signal;
    /// let killed = std::process::ExitStatus::from_raw(9);
    /// assert_eq!(killed.signal().and_then(Signal::from_number), Some(Signal::Kill));
    /// ```
    pub fn from_number(number: i32) -> Option<Signal> {
        ALL.iter().find(|it| it.1 == number).map(|it| it.0)
    }

    fn row(self) -> &'static (Signal, i32, &'static str) {
        ALL.iter().find(|it| it.0 == self).expect("every signal is listed")
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().2)
    }
}
