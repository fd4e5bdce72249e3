//! A child process and its end.
//!
//! Always: who owns the child reaps it, so its number is its own until it is seen to have ended.

use super::exit::{self, ExitStream};
use super::{ChildStderr, ChildStdin, ChildStdout, orphans};
use crate::descriptor::Ready;
use crate::error::Halt;
use crate::kernel::operation::Arm;
use crate::kernel::task::Doing;
use crate::kernel::wait::Wait;
use crate::operation::Operation;
use crate::select;
use crate::signal::Signal;
use rustix::process::{Pid, kill_process};
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::process::{ExitStatus, Output};

/// Most bytes that are read of one stream before the other's turn may come: what a pipe holds.
const SOME: u64 = 64 * 1024;

/// A child process.
///
/// If it is dropped the child goes on, and is reaped when it ends; see
/// [`Command::kill_on_drop`](super::Command::kill_on_drop).
///
/// ```
/// use tasklets::{Operation, process::Command, run};
/// run(|| {
///     let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
///     assert!(child.exited().poll().is_none()); // it runs
///     child.kill().unwrap();
///     assert!(!child.wait().unwrap().success());
/// });
/// ```
#[doc(alias("Popen"))]
pub struct Child {
    /// Its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    process: Process,
}

/// What is left of a child without its streams.
struct Process {
    id: u32,
    /// `None` once it has been given to who reaps orphans.
    std: RefCell<Option<std::process::Child>>,
    /// Made when it is waited for first.
    exit: OnceCell<ExitStream>,
    kill_on_drop: bool,
}

impl Child {
    pub(super) fn new(std: std::process::Child, kill_on_drop: bool) -> Child {
        let id = std.id();
        let std = RefCell::new(Some(std));
        let process = Process { id, std, exit: OnceCell::new(), kill_on_drop };
        Child { stdin: None, stdout: None, stderr: None, process }
    }

    /// The number that the OS has given it. Once it has been waited for it may be another's.
    ///
    /// ```
    /// # use tasklets::{process::{Command, Stdio}, run};
    /// run(|| {
    ///     let mut shell = Command::new("sh");
    ///     let child = shell.args(["-c", "echo $$"]).stdout(Stdio::piped()).spawn().unwrap();
    ///     let id = child.id();
    ///     let output = child.wait_with_output().unwrap();
    ///     assert_eq!(output.stdout, format!("{id}\n").as_bytes());
    /// });
    /// ```
    pub fn id(&self) -> u32 {
        self.process.id
    }

    /// Closes its standard input, if that is in [`stdin`](Self::stdin), and waits until it has
    /// ended.
    ///
    /// Returns its status, and the same again later.
    ///
    /// # Errors
    /// The OS's, if somebody else has reaped the child; if the tasklet is stopped, the
    /// [`Halt`] as an [`io::Error`]: the child goes on, and can be waited for again.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{process::Command, run, within};
    /// run(|| {
    ///     let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    ///     let late = within(Duration::from_millis(10), || child.wait()).value;
    ///     assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    ///     child.kill().unwrap();
    ///     child.wait().unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.exited().wait()
    }

    /// An operation that happens when it has ended; its output is what [`wait`](Self::wait)
    /// returns.
    ///
    /// It does not close the standard input, for the end of which the child may wait.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{after, process::Command, run, select};
    /// run(|| {
    ///     let child = Command::new("true").spawn().unwrap();
    ///     select! {
    ///         op(child.exited()) -> status => assert!(status.unwrap().success()),
    ///         op(after(Duration::from_secs(60))) -> _ => panic!("it hangs"),
    ///     }
    /// });
    /// ```
    pub fn exited(&self) -> Exited<'_> {
        Exited { process: &self.process, ready: None, refused: None, outcome: None }
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    /// The OS's, if somebody else has reaped the child.
    ///
    /// ```
    /// # use tasklets::{process::{Command, Stdio}, run};
    /// run(|| {
    ///     let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    ///     assert_eq!(child.try_wait().unwrap(), None); // it reads
    ///     let status = child.wait().unwrap();
    ///     assert_eq!(child.try_wait().unwrap(), Some(status));
    /// });
    /// ```
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Kills it. It has to be waited for all the same. One that has ended is left alone.
    ///
    /// # Errors
    /// The OS's.
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// # use tasklets::{process::Command, run};
    /// run(|| {
    ///     let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    ///     child.kill().unwrap();
    ///     assert_eq!(child.wait().unwrap().signal(), Some(9));
    ///     child.kill().unwrap(); // no harm
    /// });
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::Kill)
    }

    /// Sends it a signal. One that has ended is left alone.
    ///
    /// # Errors
    /// The OS's, for example if the child runs as somebody else now.
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use tasklets::{Signal, process::Command, run};
    /// run(|| {
    ///     let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    ///     child.signal(Signal::Terminate).unwrap();
    ///     let by = child.wait().unwrap().signal().and_then(Signal::from_number);
    ///     assert_eq!(by, Some(Signal::Terminate));
    /// });
    /// ```
    #[doc(alias("send_signal", "terminate"))]
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // Reaped here, so that the number is still its own.
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let signal = rustix::process::Signal::from_named_raw(signal.number());
        Ok(kill_process(self.process.pid(), signal.expect("a signal with a name"))?)
    }

    /// Closes its standard input, reads what it writes, both streams at a time, and waits until it
    /// has ended.
    ///
    /// Who writes to its standard input does so in another tasklet, if the child writes before it
    /// has read all.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and those of reading. If it is stopped, what was read is lost, and
    /// the child has been dropped.
    ///
    /// ```
    /// use std::io::Write;
    /// use tasklets::{process::{Command, Stdio}, run, spawn};
    /// run(|| {
    ///     let mut cat = Command::new("cat");
    ///     let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    ///     let mut input = cat.stdin.take().unwrap();
    ///     spawn(move || input.write_all(&[7; 1 << 20])); // more than a pipe holds
    ///     assert_eq!(cat.wait_with_output().unwrap().stdout.len(), 1 << 20);
    /// });
    /// ```
    #[track_caller]
    #[doc(alias = "communicate")]
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let mut output = Output { status: ExitStatus::default(), stdout: vec![], stderr: vec![] };
        match (self.stdout.take(), self.stderr.take()) {
            (None, None) => {}
            (Some(mut it), None) => drop(it.read_to_end(&mut output.stdout)?),
            (None, Some(mut it)) => drop(it.read_to_end(&mut output.stderr)?),
            (Some(one), Some(other)) => read_both(one, other, &mut output)?,
        }
        output.status = self.wait()?;
        Ok(output)
    }
}

/// Reads both to their ends, whichever has something.
#[track_caller]
fn read_both(mut one: ChildStdout, mut other: ChildStderr, to: &mut Output) -> io::Result<()> {
    let ended = loop {
        let (which, went) = select! {
            op(one.reading_with(|it| read_some(it, &mut to.stdout))) -> went => (1, went?),
            op(other.reading_with(|it| read_some(it, &mut to.stderr))) -> went => (2, went?),
        };
        if went == 0 {
            break which;
        }
    };
    match ended {
        1 => other.read_to_end(&mut to.stderr)?,
        _ => one.read_to_end(&mut to.stdout)?,
    };
    Ok(())
}

fn read_some(pipe: &PipeReader, to: &mut Vec<u8>) -> io::Result<usize> {
    let before = to.len();
    match pipe.take(SOME).read_to_end(to) {
        // What came before that is there.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && to.len() > before => {
            Ok(to.len() - before)
        }
        other => other,
    }
}

impl Process {
    fn pid(&self) -> Pid {
        exit::pid(self.id)
    }

    fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        if self.exit.get().is_some_and(|it| !exit::may_reap(it)) {
            return Ok(None);
        }
        let mut std = self.std.borrow_mut();
        std.as_mut().expect("it is here until it is dropped").try_wait()
    }

    /// The stream that can be read when it has ended.
    fn exit(&self) -> io::Result<&ExitStream> {
        if self.exit.get().is_none() {
            let made = exit::stream(self.id)?;
            drop(self.exit.set(made));
        }
        Ok(self.exit.get().expect("it was made if there was none"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.try_wait(), Ok(None)) {
            return; // reaped, by whom ever
        }
        let Some(mut child) = self.std.take() else { return };
        if self.kill_on_drop {
            drop(child.kill());
        }
        let exit = self.exit.take().map(ExitStream::into_inner);
        orphans::adopt(child, exit);
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The operation made by [`Child::exited`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Exited<'a> {
    process: &'a Process,
    /// The offer it has made.
    ready: Option<Ready<'a, OwnedFd>>,
    /// Why it cannot be waited for.
    refused: Option<io::Error>,
    outcome: Option<io::Result<ExitStatus>>,
}

impl Exited<'_> {
    /// Settles the outcome if it can be told now.
    fn conclude(&mut self) -> bool {
        self.outcome = match self.refused.take() {
            Some(error) => Some(Err(error)),
            None => self.process.try_wait().transpose(),
        };
        self.outcome.is_some()
    }
}

impl Arm for Exited<'_> {
    fn attempt(&mut self, _: &'static Location<'static>) -> bool {
        self.conclude()
    }

    fn ready(&self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        match self.process.exit() {
            Ok(stream) => {
                let mut ready = stream.readable();
                ready.publish(wait, branch);
                self.ready = Some(ready);
            }
            Err(error) => {
                self.refused = Some(error);
                wait.clone().settle(branch);
            }
        }
        1
    }

    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        if let Some(mut ready) = self.ready.take() {
            ready.withdraw(wait, branch);
        }
    }

    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool {
        if let Some(mut ready) = self.ready.take()
            && ready.complete(branch, closed, at)
        {
            self.refused = ready.take().err();
        }
        self.conclude()
    }

    fn halt(&mut self, why: Halt) {
        self.outcome = Some(Err(why.into()));
    }

    fn doing(&self) -> Doing {
        Doing::Exiting(self.process.id)
    }
}

impl Operation for Exited<'_> {
    type Output = io::Result<ExitStatus>;

    fn take(&mut self) -> io::Result<ExitStatus> {
        self.outcome.take().expect("the outcome of an operation is taken once, after it happened")
    }
}

impl fmt::Debug for Exited<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the end of process {}", self.process.id)
    }
}
