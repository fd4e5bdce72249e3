//! Processes that give to several outputs: delta, tee, demux.
//!
//! Always: the next item is taken when all who are to have this one have it.

use super::Rest;
use crate::channel::{Receiver, Sender};
use crate::error::{Halt, SendError};
use crate::operation::Operation;
use crate::select::{self, Arm};

/// Gives a copy of each item to every output, in whichever order they take it.
///
/// The slowest sets the pace. An output that nobody wants any more is left out. Returns when `from`
/// has ended.
///
/// # Errors
/// [`Rest`] when nobody wants any of its outputs: with the item at hand, if none of them has had
/// it. When the tasklet is stopped: with a copy for each output that has not had one.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let (tx, from) = channel();
///     let ((left, from_left), (right, from_right)) = (channel(), channel());
///     spawn(move || plug::delta(from, vec![left, right]));
///     spawn(move || tx.send("news"));
///     assert_eq!((from_left.recv(), from_right.recv()), (Ok("news"), Ok("news")));
/// });
/// ```
#[doc(alias("Delta", "DynamicDelta", "broadcast", "fan_out"))]
pub fn delta<T: Clone>(from: Receiver<T>, outputs: Vec<Sender<T>>) -> Result<(), Rest<T>> {
    let mut outputs: Vec<_> = outputs.into_iter().map(Some).collect();
    loop {
        let refused = match from.recv() {
            Ok(item) => offer_to_all(item, &mut outputs)?,
            Err(Halt::Closed) => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        if outputs.iter().all(Option::is_none) {
            // Nobody has taken it: who has is left in.
            return Err(Rest::new(refused.into_iter().map(|it| it.1).next(), Halt::Closed));
        }
    }
}

/// Gives each item to `to`, and a copy to `aside`, in whichever order they take it.
///
/// The slower sets the pace. When nobody wants what goes aside any more, the rest goes on. Returns
/// when `from` has ended.
///
/// # Errors
/// [`Rest`] when nobody wants what goes to `to`, even if somebody listens aside: with the item,
/// which may have been heard aside. When the tasklet is stopped: with a copy for each of the two
/// that has not had one.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((tx, from), (to, rx), (aside, log)) = (channel(), channel(), channel());
///     spawn(move || plug::tee(from, to, aside));
///     spawn(move || tx.send_all(1..=3));
///     assert_eq!((log.recv(), rx.recv()), (Ok(1), Ok(1)));
///     drop(log);
///     assert_eq!(rx.into_iter().collect::<Vec<_>>(), [2, 3]);
/// });
/// ```
#[doc(alias("tap", "TapListener"))]
pub fn tee<T: Clone>(from: Receiver<T>, to: Sender<T>, aside: Sender<T>) -> Result<(), Rest<T>> {
    let mut outputs = [Some(to), Some(aside)];
    loop {
        let refused = match from.recv() {
            Ok(item) => offer_to_all(item, &mut outputs)?,
            Err(Halt::Closed) => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        if outputs[0].is_none() {
            let first = refused.into_iter().find(|(output, _)| *output == 0);
            return Err(Rest::new(first.map(|(_, item)| item), Halt::Closed));
        }
    }
}

/// Gives each item to the output whose number it has: the other end of [`mux`](super::mux).
///
/// An output that is slow holds up all. Returns when `from` has ended.
///
/// # Errors
/// [`Rest`] with the item at hand, when nobody wants it, no output has its number, or the tasklet
/// is stopped.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let (wire, from) = channel();
///     let ((left, from_left), (right, from_right)) = (channel(), channel());
///     spawn(move || plug::demux(from, vec![left, right]));
///     spawn(move || wire.send_all([(1, "to the right"), (0, "to the left")]));
///     assert_eq!(from_right.recv(), Ok("to the right"));
///     assert_eq!(from_left.recv(), Ok("to the left"));
/// });
/// ```
#[doc(alias("DeMultiplex", "DeMux"))]
pub fn demux<T>(
    from: Receiver<(usize, T)>,
    outputs: Vec<Sender<T>>,
) -> Result<(), Rest<(usize, T)>> {
    loop {
        let (output, item) = match from.recv() {
            Ok(tagged) => tagged,
            Err(Halt::Closed) => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        let sent = match outputs.get(output) {
            Some(to) => to.send(item),
            None => Err(SendError { value: item, why: Halt::Closed }),
        };
        sent.map_err(|it| Rest { items: vec![(output, it.value)], why: it.why })?;
    }
}

/// Gives a copy to each output that there is, in whichever order they take it; those that refuse
/// theirs are left out from then on, and their numbers and copies returned.
fn offer_to_all<T: Clone>(
    item: T,
    outputs: &mut [Option<Sender<T>>],
) -> Result<Vec<(usize, T)>, Rest<T>> {
    let mut refused = Vec::new();
    let there = outputs.iter().enumerate().filter_map(|(nth, to)| Some((nth, to.as_ref()?)));
    let mut offers: Vec<_> = there.map(|(nth, to)| (nth, to.sending(item.clone()))).collect();
    if offers.is_empty() {
        return Err(Rest { items: vec![item], why: Halt::Closed });
    }
    drop(item);
    while !offers.is_empty() {
        let mut arms: Vec<_> = offers.iter_mut().map(|(_, it)| it as &mut dyn Arm).collect();
        let won = select::select(&mut arms);
        let (output, mut offer) = offers.remove(won);
        match offer.take() {
            Ok(()) => {}
            Err(error) if error.why == Halt::Closed => refused.push((output, error.value)),
            Err(error) => {
                let others = offers.into_iter().map(|(_, it)| it.into_value());
                return Err(Rest::new([error.value].into_iter().chain(others), error.why));
            }
        }
    }
    refused.iter().for_each(|(output, _)| outputs[*output] = None);
    Ok(refused)
}
