//! Opening what is below a directory, and nothing else, whatever the path and the links on its way
//! say: by openat2 (RESOLVE_BENEATH), or part by part where the kernel has or allows no openat2.
//!
//! Always: part by part, a directory is left by the descriptor it was entered with, so that who
//! moves it meanwhile leads nobody out; a link is read, never followed by the OS.

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat, openat2, readlinkat};
use rustix::io::{Errno, Result};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;

/// As many links on one way as Linux follows.
const LINKS_MAX: usize = 40;

/// A directory, and how to open what is below.
pub struct Root {
    fd: OwnedFd,
    by_parts: bool,
}

impl Root {
    /// With `HTTPD_OPENAT2=off` in the environment as if there were no openat2.
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty())?;
        let probe = openat2(&fd, ".", flags, Mode::empty(), ResolveFlags::BENEATH);
        let off = std::env::var_os("HTTPD_OPENAT2").is_some_and(|it| it == "off");
        let by_parts = match probe {
            Ok(_) => off,
            Err(Errno::NOSYS | Errno::PERM) => true, // an old kernel, or a sandbox
            Err(error) => return Err(error),
        };
        Ok(Root { fd, by_parts })
    }

    /// Opens what has this name.
    ///
    /// # Errors
    /// The OS's; [`Errno::XDEV`] if the way leads out.
    pub fn open_beneath(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
        if self.by_parts {
            return walk(&self.fd, name, flags);
        }
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.fd, name, flags, Mode::empty(), beneath)
    }
}

fn walk(root: &OwnedFd, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let enter = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut inside: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    let mut way: VecDeque<Vec<u8>> = parts(name)?.collect();
    while let Some(part) = way.pop_front() {
        let here = inside.last().unwrap_or(root);
        match part.as_slice() {
            b"" | b"." => {}
            b".." => drop(inside.pop().ok_or(Errno::XDEV)?),
            part => match readlinkat(here, part, Vec::new()) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::LOOP);
                    }
                    parts(target.as_bytes())?.rev().for_each(|it| way.push_front(it));
                }
                // It is no link; should it become one now, it is not followed.
                Err(Errno::INVAL) if way.is_empty() => {
                    return openat(here, part, flags | OFlags::NOFOLLOW, Mode::empty());
                }
                Err(Errno::INVAL) => inside.push(openat(here, part, enter, Mode::empty())?),
                Err(error) => return Err(error),
            },
        }
    }
    openat(inside.last().unwrap_or(root), ".", flags, Mode::empty())
}

/// The parts of a way that does not begin outside.
fn parts(way: &[u8]) -> Result<impl DoubleEndedIterator<Item = Vec<u8>>> {
    let inside = !way.starts_with(b"/");
    inside.then(|| way.split(|it| *it == b'/').map(<[u8]>::to_vec)).ok_or(Errno::XDEV)
}
