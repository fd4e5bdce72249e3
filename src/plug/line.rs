//! Processes with one input and one output that hold nothing: prefix, successor.
//!
//! Always: what comes in goes out, in order, one at a time.

use super::Rest;
use crate::channel::{Receiver, Sender};
use crate::error::Halt;
use std::ops::Add;

/// Gives `items` first, then what comes from `from`.
///
/// Returns when `from` has ended.
///
/// # Errors
/// [`Rest`] with the item at hand, when nobody wants it or the tasklet is stopped; of `items` no
/// more is asked for then.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((tx, from), (to, rx)) = (channel(), channel());
///     spawn(move || plug::prefix(["title"], from, to));
///     spawn(move || tx.send_all(["one", "two"]));
///     assert_eq!(rx.into_iter().collect::<Vec<_>>(), ["title", "one", "two"]);
/// });
/// ```
#[doc(alias("Prefix", "PrefixInt", "startWith"))]
pub fn prefix<T>(
    items: impl IntoIterator<Item = T>,
    from: Receiver<T>,
    to: Sender<T>,
) -> Result<(), Rest<T>> {
    to.send_all(items)?;
    relay(&from, &to, |item| item)
}

/// Gives each number plus one.
///
/// Returns when `from` has ended.
///
/// # Errors
/// [`Rest`] with the number at hand, one added, when nobody wants it or the tasklet is stopped.
///
/// # Panics
/// As `+` does, when there is no greater number.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((tx, from), (to, rx)) = (channel(), channel());
///     spawn(move || plug::successor(from, to));
///     spawn(move || tx.send_all([1_i64, 41]));
///     assert_eq!(rx.into_iter().collect::<Vec<_>>(), [2, 42]);
/// });
/// ```
#[doc(alias("Successor", "SuccessorInt"))]
pub fn successor<T: From<u8> + Add<Output = T>>(
    from: Receiver<T>,
    to: Sender<T>,
) -> Result<(), Rest<T>> {
    relay(&from, &to, |number| number + T::from(1))
}

/// Gives what `f` makes of each item.
fn relay<T>(from: &Receiver<T>, to: &Sender<T>, f: impl Fn(T) -> T) -> Result<(), Rest<T>> {
    loop {
        match from.recv() {
            Ok(item) => to.send(f(item))?,
            Err(Halt::Closed) => return Ok(()),
            Err(why) => return Err(why.into()),
        }
    }
}
