//! Receiving as a future sees it: an attempt now, else a waker that is called when a sender comes.
//!
//! Always: a value goes to a future only while that is polled, so one that is dropped loses none;
//! wakers are code of others, and are called and dropped when nothing is borrowed.

use super::core::Core;
use super::ends::Receiver;
use std::task::Waker;

impl<T> Core<T> {
    /// Wakes all futures that would receive: there is no sender any more.
    pub(super) fn wake_polled(&self) {
        if self.is_quiet() {
            return;
        }
        let wakers = self.queue().take_polled();
        wakers.for_each(Waker::wake);
    }
}

impl<T> Receiver<T> {
    /// Lets `waker` be called when a sender comes or the last one goes, instead of what the future
    /// with this number left before; none to have nobody called.
    pub(crate) fn set_waker(&self, number: u64, waker: Option<Waker>) {
        if waker.is_none() && self.core.is_quiet() {
            return;
        }
        let mut queue = self.core.queue();
        let index = queue.polled.iter().position(|(it, _)| *it == number);
        let before = index.map(|it| queue.polled.swap_remove(it));
        queue.polled.extend(waker.map(|it| (number, it)));
        drop(queue);
        drop(before);
    }
}
