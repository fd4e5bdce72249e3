//! Processes that hold items on their way, and what they do when there is no more room.
//!
//! Always: items leave in the order in which they came; never more are held than is said.

use super::Rest;
use crate::channel::{Receiver, Sender};
use crate::error::Halt;
use crate::select;
use std::collections::VecDeque;

/// Holds up to `room` items, so that those before it need not wait for those after it.
///
/// Waits when it is full until one is taken. Returns when `from` has ended and all is given.
///
/// # Errors
/// [`Rest`] with what it held, when nobody wants it or the tasklet is stopped.
///
/// # Panics
/// If `room` is zero: that is a channel.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((tx, from), (to, rx)) = (channel(), channel());
///     spawn(move || plug::buffer(3, from, to));
///     tx.send_all(1..=3).unwrap(); // nobody receives yet
///     drop(tx);
///     assert_eq!(rx.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
/// });
/// ```
#[doc(alias("Buffer", "Queue", "LightQueue", "make", "QueueChannel"))]
pub fn buffer<T>(room: usize, from: Receiver<T>, to: Sender<T>) -> Result<(), Rest<T>> {
    assert!(room > 0, "a buffer without room");
    hold(&from, &to, |held| held.len() < room, VecDeque::push_back)
}

/// Holds up to `room` items; when it is full a new one takes the place of the newest.
///
/// Always takes; what was the newest is dropped then. Returns when `from` has ended and all is
/// given.
///
/// # Errors
/// As [`buffer`].
///
/// # Panics
/// If `room` is zero.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((tx, from), (to, rx)) = (channel(), channel());
///     spawn(move || plug::overwriting(2, from, to));
///     tx.send_all(1..=5).unwrap();
///     drop(tx);
///     assert_eq!(rx.into_iter().collect::<Vec<_>>(), [1, 5]);
/// });
/// ```
#[doc(alias("OverWritingBuffer", "conflate"))]
pub fn overwriting<T>(room: usize, from: Receiver<T>, to: Sender<T>) -> Result<(), Rest<T>> {
    assert!(room > 0, "a buffer without room");
    hold(
        &from,
        &to,
        |_| true,
        |held, item| {
            let newest = (held.len() == room).then(|| held.pop_back());
            held.push_back(item);
            drop(newest);
        },
    )
}

/// Holds up to `room` items; when it is full the oldest makes room for a new one.
///
/// Always takes; the oldest is dropped then. With room for one it holds the latest news. Returns
/// when `from` has ended and all is given.
///
/// # Errors
/// As [`buffer`].
///
/// # Panics
/// If `room` is zero.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((tx, from), (to, rx)) = (channel(), channel());
///     spawn(move || plug::sliding(2, from, to));
///     tx.send_all(1..=5).unwrap();
///     drop(tx);
///     assert_eq!(rx.into_iter().collect::<Vec<_>>(), [4, 5]);
/// });
/// ```
#[doc(alias("OverWriteOldestBuffer", "sliding_buffer", "ring"))]
pub fn sliding<T>(room: usize, from: Receiver<T>, to: Sender<T>) -> Result<(), Rest<T>> {
    assert!(room > 0, "a buffer without room");
    hold(
        &from,
        &to,
        |_| true,
        |held, item| {
            let oldest = (held.len() == room).then(|| held.pop_front());
            held.push_back(item);
            drop(oldest);
        },
    )
}

/// Holds as many items as come; calls `alarm` with their number when there are `high_water`.
///
/// Always takes. After an alarm there is another one when there are `high_water` again and were
/// less than half as many meanwhile: with a mark of one or two, none. When a flood has gone, so has
/// its memory. Returns when `from` has ended and all is given.
///
/// # Errors
/// As [`buffer`].
///
/// # Panics
/// If `high_water` is zero; as `alarm` does.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let ((tx, from), (to, rx)) = (channel(), channel());
///     let high = Rc::new(Cell::new(0));
///     let seen = high.clone();
///     spawn(move || plug::unbounded(100, move |held| seen.set(held), from, to));
///     tx.send_all(0..1_000).unwrap();
///     drop(tx);
///     assert_eq!((rx.into_iter().count(), high.get()), (1_000, 100));
/// });
/// ```
#[doc(alias("InfiniteBuffer", "Queue(None)"))]
pub fn unbounded<T>(
    high_water: usize,
    mut alarm: impl FnMut(usize),
    from: Receiver<T>,
    to: Sender<T>,
) -> Result<(), Rest<T>> {
    assert!(high_water > 0, "a high-water mark of nothing");
    let mut high = false;
    hold(
        &from,
        &to,
        |_| true,
        |held, item| {
            high = high && held.len() * 2 >= high_water;
            held.push_back(item);
            if held.len() >= high_water && !high {
                high = true;
                alarm(held.len());
            }
        },
    )
}

/// Takes while `takes`, with `put`; gives the first.
fn hold<T>(
    from: &Receiver<T>,
    to: &Sender<T>,
    takes: impl Fn(&VecDeque<T>) -> bool,
    mut put: impl FnMut(&mut VecDeque<T>, T),
) -> Result<(), Rest<T>> {
    let (mut held, mut open) = (VecDeque::new(), true);
    while open || !held.is_empty() {
        select! {
            recv(from) -> got if open && takes(&held) => match got {
                Ok(item) => put(&mut held, item),
                Err(Halt::Closed) => open = false,
                Err(why) => return Err(Rest::new(held, why)),
            },
            send(to, first(&mut held)) -> sent if !held.is_empty() => if let Err(error) = sent {
                held.push_front(error.value);
                return Err(Rest::new(held, error.why));
            },
        }
    }
    Ok(())
}

/// For so many items a buffer keeps the memory that it once had.
const FEW: usize = 64;

/// Asked for only if there is one.
fn first<T>(held: &mut VecDeque<T>) -> T {
    let item = held.pop_front().expect("the arm is on if there is an item");
    // By half, so that no more are moved than have left.
    if held.capacity() > FEW && held.len() < held.capacity() / 4 {
        held.shrink_to(held.capacity() / 2);
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_flood_has_gone_so_has_its_memory() {
        let mut held: VecDeque<_> = (0..100_000).collect();
        for nth in 0..100_000 {
            assert_eq!(first(&mut held), nth);
            assert!(held.capacity() <= held.len() * 4 + FEW, "{} of {nth}", held.capacity());
        }
    }
}
