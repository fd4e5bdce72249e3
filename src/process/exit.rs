//! What tells that a process has ended: a descriptor that can be read from then on.
//!
//! Always: it tells, and leaves the process to be reaped, which nobody does before. It is the
//! kernel's own if there is such a thing (Linux 5.3), else a pipe whose other end a thread holds
//! that waits for the process.

use crate::blocking::new_thread;
use crate::descriptor::Descriptor;
use crate::kernel::asleep::counted;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// Can be read once its process has ended; holds nothing to read.
pub(super) type ExitStream = Descriptor<OwnedFd>;

/// The process with this number.
pub(super) fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process has a positive number")
}

/// The stream of a process that nobody reaps meanwhile.
pub(super) fn stream(id: u32) -> io::Result<ExitStream> {
    descriptor(id).map(Descriptor::of_nonblocking)
}

/// [`stream`] for who polls by himself.
pub(super) fn descriptor(id: u32) -> io::Result<OwnedFd> {
    if kernel_tells() { Ok(pidfd_open(pid(id), PidfdFlags::empty())?) } else { by_thread(id) }
}

/// Whether the process with this stream may be reaped: a thread that waits for it by its number
/// must not find another one that has the same.
pub(super) fn may_reap(stream: &ExitStream) -> bool {
    kernel_tells() || has_told(stream.get_ref())
}

/// Whether the process of this descriptor has ended.
pub(super) fn has_told(exit: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(exit, PollFlags::IN)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|it| it > 0)
}

/// Whether the kernel has descriptors of processes, and lets us have them.
fn kernel_tells() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| {
        let refused = std::env::var_os("TASKLETS_CHILDREN").is_some_and(|it| it == "threads");
        // Any other error, such as too many open files, is not about that.
        let lacks = [Errno::NOSYS, Errno::PERM, Errno::ACCESS, Errno::INVAL];
        let tried = pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        !refused && !tried.is_err_and(|it| lacks.contains(&it))
    })
}

/// A stream that ends when a thread finds that the process has.
fn by_thread(id: u32) -> io::Result<OwnedFd> {
    let (reader, writer) = io::pipe()?;
    new_thread("tasklets-child", move || {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        counted(|| while waitid(WaitId::Pid(pid(id)), ended).is_err_and(|it| it == Errno::INTR) {});
        drop(writer);
    })?;
    Ok(reader.into())
}
