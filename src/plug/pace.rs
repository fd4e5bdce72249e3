//! Processes that go by the clock: ticker, rate limiter.
//!
//! Always: the clock is the run's, so under a virtual one nobody waits in real time.

use super::Rest;
use crate::channel::{Receiver, Sender};
use crate::error::Halt;
use crate::operation::Operation;
use crate::time;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Gives the time, every `period`, first after one.
///
/// Ticks that nobody took do not pile up: one is on offer, the next comes late, those after it that
/// should have come meanwhile are left out. Returns why it ended:
/// [`Halt::Closed`] when nobody wants the next tick.
///
/// # Panics
/// If `period` is zero.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Runtime, channel, now, plug, spawn};
/// let runtime = Runtime::builder().virtual_clock(true).build();
/// let waited = runtime.run(|| {
///     let ((to, ticks), start) = (channel(), now());
///     spawn(move || plug::ticker(Duration::from_secs(60), to));
///     ticks.into_iter().nth(9).unwrap() - start
/// });
/// assert_eq!(waited.unwrap(), Duration::from_secs(600));
/// ```
#[doc(alias("CSTimer", "NewTicker", "call_repeatedly"))]
pub fn ticker(period: Duration, to: Sender<Instant>) -> Halt {
    let mut tick = time::tick(period);
    loop {
        let sent = (&mut tick).wait().and_then(|now| Ok(to.send(now)?));
        if let Err(why) = sent {
            return why;
        }
    }
}

/// Gives no more than `count` items in any stretch of time as long as `period`.
///
/// While it may not give it does not take. It keeps the times at which it gave within a `period`,
/// so memory is bounded by what passes in one. Returns when `from` has ended, and the time has come
/// in which it would have given one more.
///
/// # Errors
/// [`Rest`] with the item at hand, when nobody wants it or the tasklet is stopped.
///
/// # Panics
/// If `count` or `period` is zero.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Runtime, channel, now, plug, spawn};
/// let runtime = Runtime::builder().virtual_clock(true).build();
/// let took = runtime.run(|| {
///     let ((tx, from), (to, rx), start) = (channel(), channel(), now());
///     spawn(move || plug::rate_limiter(2, Duration::from_secs(1), from, to));
///     spawn(move || tx.send_all(1..));
///     rx.into_iter().take(5).count();
///     now() - start
/// });
/// assert_eq!(took.unwrap(), Duration::from_secs(2)); // two, two, and the fifth
/// ```
#[doc(alias("Regulate", "throttle", "token_bucket"))]
pub fn rate_limiter<T>(
    count: usize,
    period: Duration,
    from: Receiver<T>,
    to: Sender<T>,
) -> Result<(), Rest<T>> {
    assert!(count > 0, "a rate of nothing");
    assert!(!period.is_zero(), "a rate of anything");
    let mut given: VecDeque<Instant> = VecDeque::new();
    loop {
        if given.len() == count
            && let Some(first) = given.pop_front()
        {
            match first.checked_add(period) {
                Some(due) => time::sleep_until(due)?,
                None => time::sleep(Duration::MAX)?,
            }
        }
        match from.recv() {
            Ok(item) => to.send(item)?,
            Err(Halt::Closed) => return Ok(()),
            Err(why) => return Err(why.into()),
        }
        note(time::now(), period, &mut given);
    }
}

/// Adds `now` to the times at which items were given; those that are a period old hold up nobody.
fn note(now: Instant, period: Duration, given: &mut VecDeque<Instant>) {
    while given.front().is_some_and(|it| now.saturating_duration_since(*it) >= period) {
        given.pop_front();
    }
    given.push_back(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_times_are_kept_than_are_within_one_period() {
        let (start, mut given) = (time::now(), VecDeque::new());
        for nth in 0..10_000 {
            note(start + Duration::from_millis(nth), Duration::from_millis(7), &mut given);
            assert!(given.len() <= 7, "{} after {nth}", given.len());
        }
        let left: Vec<_> = given.iter().map(|it| (*it - start).as_millis()).collect();
        assert_eq!(left, [9_993, 9_994, 9_995, 9_996, 9_997, 9_998, 9_999]);
    }
}
