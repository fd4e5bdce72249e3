//! Receivers as iterators.
//!
//! Always: iteration ends when the senders are gone or the tasklet is stopped.

use super::ends::Receiver;

/// Receives until the senders are gone: see [`Receiver::iter`].
///
/// ```
/// use tasklets::{channel, run, spawn};
/// run(|| {
///     let (tx, rx) = channel();
///     spawn(move || tx.send_all([3, 1, 2]));
///     assert_eq!((&rx).into_iter().max(), Some(3));
/// });
/// ```
#[derive(Debug)]
pub struct Iter<'a, T: 'static> {
    pub(super) receiver: &'a Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// A receiver as an iterator that owns it.
///
/// ```
/// use tasklets::{channel, run, spawn};
/// run(|| {
///     let (tx, rx) = channel();
///     let writer = spawn(move || tx.send_all(1..));
///     for number in rx {
///         if number == 3 {
///             break; // drops the receiver, which ends the writer
///         }
///     }
///     assert!(writer.join().unwrap().is_err());
/// });
/// ```
#[derive(Debug)]
pub struct IntoIter<T: 'static> {
    receiver: Receiver<T>,
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}
