//! Child processes: started, waited for, talked to and ended without holding up the OS thread.
//!
//! The names are those of [`std::process`]. The standard streams of a child are [`Descriptor`]s,
//! and its end is an [operation](Child::exited).
//!
//! ```
//! use std::io::{Read, Write};
//! use tasklets::process::{Command, Stdio};
//! use tasklets::run;
//! run(|| {
//!     let mut command = Command::new("tr");
//!     command.args(["a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped());
//!     let mut child = command.spawn().unwrap();
//!     child.stdin.take().unwrap().write_all(b"loud").unwrap(); // dropped: that is its end
//!     let mut text = String::new();
//!     child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
//!     assert!(child.wait().unwrap().success());
//!     assert_eq!(text, "LOUD");
//! });
//! ```
//!
//! # A child that nobody waits for
//!
//! A [`Child`] that is dropped goes on, unless it was to be [killed](Command::kill_on_drop). When
//! it ends it is reaped by an OS thread of this crate, which is there only while there is such a
//! child: no zombie stays.
//!
//! # Starting a process
//!
//! [`Command::spawn`] holds up the OS thread until the program has been loaded, as std's does:
//! about a millisecond, more from a slow disk. Hazards:
//!
//! - Never `fork` without `exec` inside of a run: the copy has the tasklets but none of the threads
//!   behind [`blocking`](crate::blocking()), and shares the queue for events with the original. A
//!   closure given to `pre_exec` of std runs in such a copy: it must not touch tasklets,
//!   channels, locks or memory.
//! - Descriptors that were opened without `O_CLOEXEC`, by C libraries mostly, are inherited. A
//!   child that holds the writing end of a pipe keeps its reader from seeing the end.
//! - Ctrl-C at a terminal goes to children as well; `process_group(0)` of std's
//!   [`CommandExt`](std::os::unix::process::CommandExt) keeps it from them: see
//!   [`Command::as_std`].
//! - Whoever waits for all children of the process (`waitpid(-1)`), or ignores SIGCHLD, takes away
//!   exit statuses: the wait then ends with the OS's error.
//! - Streams that are [`Descriptor`]s do not block, which a program that inherits one does not
//!   expect: see [`Descriptor::into_blocking`]. A pipe between two children is best made with
//!   [`std::io::pipe`].
//!
//! Always: a child is reaped once, by its owner or, when that is gone, by the thread for orphans.
//! Child: `Running -> Ended -> Reaped`.

mod child;
mod exit;
mod orphans;

pub use child::{Child, Exited};
pub use std::process::{ExitStatus, Output, Stdio};

use crate::descriptor::Descriptor;
use crate::kernel::announce;
use crate::kernel::running;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::path::Path;

/// What is written to it a child reads.
pub type ChildStdin = Descriptor<PipeWriter>;

/// What a child writes can be read from it.
pub type ChildStdout = Descriptor<PipeReader>;

/// What a child writes to its standard error can be read from it.
pub type ChildStderr = Descriptor<PipeReader>;

/// A program to be started, with its arguments, its environment and its standard streams.
///
/// As [`std::process::Command`], which it is made of.
///
/// ```
/// use tasklets::{process::Command, run};
/// let output = run(|| Command::new("echo").arg("hello").output()).unwrap();
/// assert_eq!(output.stdout, b"hello\n");
/// ```
#[doc(alias("Popen", "subprocess"))]
pub struct Command {
    std: std::process::Command,
    /// Which of the standard streams have been set.
    streams: [bool; 3],
    kill_on_drop: bool,
}

impl Command {
    /// The program with this path, or with this name in a folder of `PATH`.
    ///
    /// ```
    /// use tasklets::{process::Command, run};
    /// let refused = run(|| Command::new("/no/such/program").spawn());
    /// assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        std::process::Command::new(program).into()
    }

    /// Adds an argument.
    ///
    /// ```
    /// # use tasklets::{process::Command, run};
    /// let output = run(|| Command::new("echo").arg("a  b").arg("c").output()).unwrap();
    /// assert_eq!(output.stdout, b"a  b c\n"); // no shell takes it apart
    /// ```
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(argument);
        self
    }

    /// Adds arguments.
    ///
    /// ```
    /// # use tasklets::{process::Command, run};
    /// let output = run(|| Command::new("echo").args(["a", "b"]).output()).unwrap();
    /// assert_eq!(output.stdout, b"a b\n");
    /// ```
    pub fn args<S: AsRef<OsStr>>(
        &mut self,
        arguments: impl IntoIterator<Item = S>,
    ) -> &mut Command {
        self.std.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    ///
    /// ```
    /// # use tasklets::{process::Command, run};
    /// let mut shell = Command::new("sh");
    /// shell.args(["-c", "echo $COLOUR"]).env("COLOUR", "green");
    /// assert_eq!(run(move || shell.output()).unwrap().stdout, b"green\n");
    /// ```
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(name, value);
        self
    }

    /// Sets variables of its environment.
    ///
    /// ```
    /// # use tasklets::{process::Command, run};
    /// let mut shell = Command::new("sh");
    /// shell.args(["-c", "echo $A$B"]).envs([("A", "x"), ("B", "y")]);
    /// assert_eq!(run(move || shell.output()).unwrap().stdout, b"xy\n");
    /// ```
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Command {
        self.std.envs(variables);
        self
    }

    /// Keeps a variable of this process from it.
    ///
    /// ```
    /// # use tasklets::{process::Command, run};
    /// let mut shell = Command::new("sh");
    /// shell.args(["-c", "echo .$HOME."]).env_remove("HOME");
    /// assert_eq!(run(move || shell.output()).unwrap().stdout, b"..\n");
    /// ```
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(name);
        self
    }

    /// Keeps all variables of this process from it.
    ///
    /// ```
    /// # use tasklets::{process::Command, run};
    /// let output = run(|| Command::new("env").env_clear().env("ONLY", "1").output()).unwrap();
    /// assert_eq!(output.stdout, b"ONLY=1\n");
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// Sets the folder it starts in.
    ///
    /// ```
    /// # use tasklets::{process::Command, run};
    /// let output = run(|| Command::new("pwd").current_dir("/").output()).unwrap();
    /// assert_eq!(output.stdout, b"/\n");
    /// ```
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(folder);
        self
    }

    /// Sets its standard input (default: that of this process; for [`output`](Self::output), an
    /// empty one).
    ///
    /// ```
    /// # use tasklets::{process::{Command, Stdio}, run};
    /// let output = run(|| Command::new("cat").stdin(Stdio::null()).output()).unwrap();
    /// assert_eq!(output.stdout, b"");
    /// ```
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.streams[0] = true;
        self.std.stdin(stream);
        self
    }

    /// Sets its standard output (default: that of this process; for [`output`](Self::output), a
    /// pipe).
    ///
    /// ```
    /// # use tasklets::{process::{Command, Stdio}, run};
    /// let status = run(|| Command::new("echo").stdout(Stdio::null()).status()).unwrap();
    /// assert!(status.success()); // and nothing printed
    /// ```
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.streams[1] = true;
        self.std.stdout(stream);
        self
    }

    /// Sets its standard error (default: that of this process; for [`output`](Self::output), a
    /// pipe).
    ///
    /// ```
    /// # use tasklets::{process::Command, run};
    /// let output = run(|| Command::new("cat").arg("/no/such/file").output()).unwrap();
    /// assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    /// ```
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.streams[2] = true;
        self.std.stderr(stream);
        self
    }

    /// Sets whether the child is killed if it has not ended when its [`Child`] is dropped (default:
    /// it goes on).
    ///
    /// So a wait that is stopped, by a deadline say, ends the child, too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{process::Command, run, within};
    /// run(|| {
    ///     let mut sleep = Command::new("sleep");
    ///     sleep.arg("1000").kill_on_drop(true);
    ///     let late = within(Duration::from_millis(10), move || sleep.status());
    ///     assert!(late.expired); // and nobody sleeps any more
    /// });
    /// ```
    pub fn kill_on_drop(&mut self, on: bool) -> &mut Command {
        self.kill_on_drop = on;
        self
    }

    /// What it is made of, for whatever has no method here.
    ///
    /// ```
    /// use std::os::unix::process::CommandExt;
    /// use tasklets::{process::Command, run};
    /// let mut command = Command::new("true");
    /// command.as_std().process_group(0); // Ctrl-C is not for it
    /// assert!(run(move || command.status()).unwrap().success());
    /// ```
    pub fn as_std(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// Starts it.
    ///
    /// # Errors
    /// The OS's: it is not found or may not be executed, there is no process or descriptor left.
    /// A run that is explored refuses it.
    ///
    /// ```
    /// use tasklets::{process::Command, run};
    /// run(|| {
    ///     let mut child = Command::new("true").spawn().unwrap();
    ///     assert!(child.wait().unwrap().success());
    /// });
    /// ```
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        announce::keep_inside("starting a process", Location::caller())?;
        let mut child = self.std.spawn()?;
        let stdin = child.stdin.take().map(OwnedFd::from);
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        let mut child = Child::new(child, self.kill_on_drop);
        child.stdin = stdin.map(|it| Descriptor::new(it.into())).transpose()?;
        child.stdout = stdout.map(|it| Descriptor::new(it.into())).transpose()?;
        child.stderr = stderr.map(|it| Descriptor::new(it.into())).transpose()?;
        Ok(child)
    }

    /// Starts it and waits until it has ended.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`Child::wait`]. Who has been stopped before starts nothing;
    /// if the wait is stopped the child goes on: see [`kill_on_drop`](Self::kill_on_drop).
    ///
    /// ```
    /// use tasklets::{process::Command, run};
    /// assert_eq!(run(|| Command::new("false").status()).unwrap().code(), Some(1));
    /// ```
    #[track_caller]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        running::gate(true)?;
        self.spawn()?.wait()
    }

    /// Starts it, waits until it has ended, and gives what it has written.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    ///
    /// ```
    /// use tasklets::{process::Command, run, scope};
    /// run(|| scope(|s| {
    ///     let print = |word: &'static str| move || Command::new("echo").arg(word).output();
    ///     let both = ["one", "two"].map(|it| s.spawn(print(it))); // beside each other
    ///     let both = both.map(|it| it.join().unwrap().unwrap().stdout);
    ///     assert_eq!(both, [b"one\n", b"two\n"]);
    /// }));
    /// ```
    #[track_caller]
    pub fn output(&mut self) -> io::Result<Output> {
        running::gate(true)?;
        let unset = self.streams.map(|it| !it);
        self.set_streams(unset, [Stdio::null(), Stdio::piped(), Stdio::piped()]);
        let child = self.spawn();
        self.set_streams(unset, [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()]);
        child?.wait_with_output()
    }

    fn set_streams(&mut self, which: [bool; 3], to: [Stdio; 3]) {
        let [stdin, stdout, stderr] = to;
        if which[0] {
            self.std.stdin(stdin);
        }
        if which[1] {
            self.std.stdout(stdout);
        }
        if which[2] {
            self.std.stderr(stderr);
        }
    }
}

/// Its standard streams count as not set: [`output`](Command::output) sets them anew.
impl From<std::process::Command> for Command {
    fn from(std: std::process::Command) -> Command {
        Command { std, streams: [false; 3], kill_on_drop: false }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}
