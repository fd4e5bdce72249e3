//! Children whose owners have gone: they are reaped when they end.
//!
//! Always: there is a thread exactly while there is an orphan; the lock is held for moments only.
//! Orphan: `New -> Watched -> Reaped`.

use super::exit;
use crate::blocking::new_thread;
use crate::kernel::asleep::counted;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::thread;
use std::time::Duration;

/// Time between two looks at orphans that cannot be waited for all at once.
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Orphan {
    child: Child,
    /// Can be read when it has ended.
    exit: OwnedFd,
}

/// Orphans of this process that the thread has not seen, and how to wake it; `None` if there is no
/// thread.
static NEW: Mutex<Option<(Vec<Orphan>, PipeWriter)>> = Mutex::new(None);

/// Sees to it that `child` is reaped. If the OS has neither a descriptor nor a thread for that, it
/// stays a zombie until this process ends.
pub(super) fn adopt(child: Child, exit: Option<OwnedFd>) {
    match exit.map_or_else(|| exit::descriptor(child.id()), Ok) {
        Ok(exit) => hand_over(Orphan { child, exit }),
        Err(_) => by_itself(child),
    }
}

/// Gives an orphan to the thread, which is started if there is none.
fn hand_over(orphan: Orphan) {
    let mut new = NEW.lock();
    if let Some((orphans, wake)) = &mut *new {
        orphans.push(orphan);
        if orphans.len() == 1 {
            drop(wake.write(&[0])); // else it has been woken already
        }
        return;
    }
    let Ok((woken, wake)) = io::pipe() else { return by_itself(orphan.child) };
    *new = Some((vec![orphan], wake));
    if new_thread("tasklets-orphan", move || watch(woken)).is_err() {
        *new = None;
    }
}

/// A thread for one orphan.
fn by_itself(mut child: Child) {
    drop(new_thread("tasklets-orphan", move || drop(counted(|| child.wait()))));
}

/// What the thread does.
fn watch(mut woken: PipeReader) {
    let mut watched = Vec::new();
    loop {
        let mut new = NEW.lock();
        if let Some((came, _)) = &mut *new {
            watched.append(came);
        }
        if watched.is_empty() {
            *new = None;
            return;
        }
        drop(new);
        let ended = counted(|| wait_for_any(&woken, &watched));
        let ended = ended.unwrap_or_else(|_| look_at_each(&woken, &watched));
        if ended[0] {
            drop(woken.read(&mut [0; 8]));
        }
        let mut ended = ended[1..].iter();
        watched.retain_mut(|it| !ended.next().is_some_and(|ended| *ended && reap(&mut it.child)));
    }
}

/// Which of them has something to tell: the pipe first, then the orphans.
fn wait_for_any(woken: &PipeReader, watched: &[Orphan]) -> rustix::io::Result<Vec<bool>> {
    let mut all = vec![PollFd::new(woken, PollFlags::IN)];
    all.extend(watched.iter().map(|it| PollFd::new(&it.exit, PollFlags::IN)));
    match poll(&mut all, None) {
        Err(error) if error != Errno::INTR => Err(error), // more than may be open, or no memory
        _ => Ok(all.iter().map(|it| !it.revents().is_empty()).collect()),
    }
}

/// [`wait_for_any`] where the OS refuses to wait for that many: after a while, one by one.
fn look_at_each(woken: &PipeReader, watched: &[Orphan]) -> Vec<bool> {
    let rest = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() };
    let mut first = [PollFd::new(woken, PollFlags::IN)];
    if poll(&mut first, Some(&rest)).is_err() {
        thread::park_timeout(LOOK_EVERY);
    }
    let told = [!first[0].revents().is_empty()].into_iter();
    told.chain(watched.iter().map(|it| exit::has_told(&it.exit))).collect()
}

/// It has ended, so this does not wait; that somebody else has reaped it is as good.
fn reap(child: &mut Child) -> bool {
    drop(child.wait());
    true
}
