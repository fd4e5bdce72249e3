//! Descriptors for futures: an attempt now, else a waker that is called when the next may succeed.
//!
//! Always: who is told to wait has a waker where the OS's news arrive. Poll: `Ready | Pending`.

use super::{Descriptor, admit};
use crate::kernel::source::Side;
use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::task::{Context, Poll};

impl<T: AsFd> Descriptor<T> {
    /// [`transfer`](Descriptor::transfer) that does not wait: the waker of `context` is called when
    /// it is to be called again; of several futures the one that asked last is.
    pub(crate) fn poll_transfer(
        &self,
        side: Side,
        context: &mut Context<'_>,
        want: usize,
        mut attempt: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if want == 0 {
            return Poll::Ready(Ok(0)); // the OS would have it wait for something to come
        }
        loop {
            admit(Location::caller())?;
            if self.may_succeed(side) {
                match attempt(&self.io) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.exhaust(side),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(went) => {
                        self.note_went(side, went, want);
                        return Poll::Ready(Ok(went));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            let (_, source) = self.source(Some(side))?;
            source.set_waker(side, context.waker());
            if !source.is_ready(side) {
                return Poll::Pending;
            } // else others ran meanwhile, in a clone of the waker, and the OS was asked
        }
    }
}
