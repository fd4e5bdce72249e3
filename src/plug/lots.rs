//! Processes that join several inputs: merge, merge by priority, mux.
//!
//! Always: at most one item is held; the items of one input keep their order.

use super::Rest;
use crate::channel::{Receiver, Sender};
use crate::error::Halt;
use crate::operation::Operation;
use crate::select::{Arm, Select, support};

/// Gives the items of all `inputs`, whichever comes first.
///
/// Among several that are ready the choice is fair. Returns when all have ended; at once if there
/// are none.
///
/// # Errors
/// [`Rest`] with the item at hand, when nobody wants it or the tasklet is stopped.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((left, from_left), (right, from_right)) = (channel(), channel());
///     let (to, rx) = channel();
///     spawn(move || plug::merge(vec![from_left, from_right], to));
///     spawn(move || left.send_all([1, 3]));
///     spawn(move || right.send_all([2, 4]));
///     let mut all: Vec<_> = rx.into_iter().collect();
///     all.sort();
///     assert_eq!(all, [1, 2, 3, 4]);
/// });
/// ```
#[doc(alias("FairPlex", "fan_in", "FairMultiplexor"))]
pub fn merge<T>(inputs: Vec<Receiver<T>>, to: Sender<T>) -> Result<(), Rest<T>> {
    gather(&inputs, &to, |_, item| item)
}

/// Gives the items of all `inputs` with the number of the input each comes from, whichever comes
/// first: [`demux`](super::demux) parts them again.
///
/// Among several that are ready the choice is fair. Returns when all have ended; at once if there
/// are none.
///
/// # Errors
/// As [`merge`].
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((left, from_left), (right, from_right)) = (channel(), channel());
///     let (to, wire) = channel();
///     spawn(move || plug::mux(vec![from_left, from_right], to));
///     spawn(move || right.send("from the right"));
///     assert_eq!(wire.recv(), Ok((1, "from the right")));
///     drop(left);
/// });
/// ```
#[doc(alias("Multiplex", "Plex"))]
pub fn mux<T>(inputs: Vec<Receiver<T>>, to: Sender<(usize, T)>) -> Result<(), Rest<(usize, T)>> {
    gather(&inputs, &to, |input, item| (input, item))
}

fn gather<T, U>(
    inputs: &[Receiver<T>],
    to: &Sender<U>,
    tag: impl Fn(usize, T) -> U,
) -> Result<(), Rest<U>> {
    let (mut select, mut open) = (Select::new(), inputs.len());
    for input in inputs {
        select.recv(input);
    }
    while open > 0 {
        let chosen = select.wait()?;
        let index = chosen.index();
        match chosen.recv(&inputs[index]) {
            Ok(item) => to.send(tag(index, item))?,
            Err(Halt::Closed) => {
                select.remove(index);
                open -= 1;
            }
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

/// Gives the items of all `inputs`; of those that are ready that of the first input.
///
/// A later input may starve. Which are ready depends on who runs first, so an item of a later input
/// is given before one of an earlier that is about to come. Returns when all have ended; at once
/// if there are none. Looks at every input for each item.
///
/// # Errors
/// As [`merge`].
///
/// ```
/// use tasklets::{channel, plug, run, spawn, yield_now};
/// run(|| {
///     let ((urgent, from_urgent), (usual, from_usual)) = (channel(), channel());
///     let (to, rx) = channel();
///     spawn(move || usual.send_all([3, 4]));
///     spawn(move || urgent.send_all([1, 2]));
///     yield_now(); // both are ready
///     spawn(move || plug::merge_by_priority(vec![from_urgent, from_usual], to));
///     assert_eq!(rx.recv(), Ok(1));
/// });
/// ```
#[doc(alias("PriPlex", "pri_alt"))]
pub fn merge_by_priority<T>(inputs: Vec<Receiver<T>>, to: Sender<T>) -> Result<(), Rest<T>> {
    let mut open: Vec<_> = inputs.iter().collect();
    while !open.is_empty() {
        let mut receiving: Vec<_> = open.iter().map(|it| it.receiving()).collect();
        let mut arms: Vec<_> = receiving.iter_mut().map(|it| it as &mut dyn Arm).collect();
        let won = support::run(&mut arms, true, support::FOREVER);
        let index = won.expect("patience was without end");
        let got = receiving.swap_remove(index).take();
        match got {
            Ok(item) => to.send(item)?,
            Err(Halt::Closed) => drop(open.remove(index)),
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}
