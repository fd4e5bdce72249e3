//! Stages that change how many items there are: one worker each, in order.
//!
//! Always: what such a stage holds back is bounded by what it was asked for, and given when the
//! input ends.

use super::Pipeline;
use super::network::{Emit, Inlet, Stop, Ticket};
use crate::error::Halt;
use crate::time::{self, sleep_until};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

impl<'env, T: 'static> Pipeline<'env, T> {
    /// Gives what `f` makes of a state and each item.
    ///
    /// ```
    /// use tasklets::{pipeline, run};
    /// let done = run(|| {
    ///     let sums = pipeline::from_iter(1..=4).scan(0, |sum, it| {
    ///         *sum += it;
    ///         *sum
    ///     });
    ///     sums.collect::<Vec<i32>>().run()
    /// });
    /// assert_eq!(done.unwrap().value, [1, 3, 6, 10]);
    /// ```
    pub fn scan<S: 'env, U: 'static>(
        self,
        mut state: S,
        mut f: impl FnMut(&mut S, T) -> U + 'env,
    ) -> Pipeline<'env, U> {
        self.process("scan", move |inlet, emit: &Emit<U>| {
            while let Some(item) = inlet.next()? {
                emit.give(f(&mut state, item.value), item.ticket)?;
            }
            Ok(())
        })
    }

    /// Gives the first `count` items, then ends the stages before it, also those that wait.
    pub fn take(self, count: usize) -> Pipeline<'env, T> {
        self.process("take", move |inlet, emit| {
            for _ in 0..count {
                let Some(item) = inlet.next()? else { break };
                emit.give(item.value, item.ticket)?;
            }
            Ok(())
        })
    }

    /// Leaves out items that are equal to the one before.
    pub fn dedup(self) -> Pipeline<'env, T>
    where
        T: PartialEq + Clone,
    {
        self.process("dedup", move |inlet, emit| {
            let mut last = None;
            while let Some(item) = inlet.next()? {
                if last.as_ref() != Some(&item.value) {
                    last = Some(item.value.clone());
                    emit.give(item.value, item.ticket)?;
                }
            }
            Ok(())
        })
    }

    /// Gives at most one item in each `period`, which begins when an item has been taken.
    ///
    /// Meanwhile the stages before it wait.
    pub fn throttle(self, period: Duration) -> Pipeline<'env, T> {
        self.process("throttle", move |inlet, emit| {
            let mut next: Option<Instant> = None;
            while let Some(item) = inlet.next()? {
                if let Some(next) = next {
                    sleep_until(next)?;
                }
                emit.give(item.value, item.ticket)?;
                next = time::now().checked_add(period);
            }
            Ok(())
        })
    }

    /// Gives the last `size` items, each time one comes, from the time on when there are so many.
    ///
    /// # Panics
    /// If `size` is zero.
    pub fn window(self, size: usize) -> Pipeline<'env, Vec<T>>
    where
        T: Clone,
    {
        assert!(size > 0, "a window of no items");
        self.process("window", move |inlet, emit: &Emit<Vec<T>>| {
            let mut last = VecDeque::new();
            while let Some(item) = inlet.another()? {
                if last.len() == size {
                    last.pop_front();
                }
                last.push_back(item.value);
                if last.len() == size {
                    emit.give(last.iter().cloned().collect(), item.ticket)?;
                    inlet.meter.all_delivered();
                }
            }
            inlet.meter.all_returned(); // those that were too few for a window
            Ok(())
        })
    }

    /// Gives `size` items at a time; fewer when the input ends.
    ///
    /// # Panics
    /// If `size` is zero.
    pub fn batch(self, size: usize) -> Pipeline<'env, Vec<T>> {
        self.batch_by(size, None, |_| 1)
    }

    /// [`batch`](Self::batch) that waits for at most `delay`, from its first item, until it is
    /// given.
    ///
    /// # Panics
    /// If `size` is zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Runtime, pipeline};
    /// let done = Runtime::builder().virtual_clock(true).build().run(|| {
    ///     let ticks = pipeline::tick(Duration::from_secs(2)).take(7);
    ///     let batches = ticks.batch_within(100, Duration::from_secs(5));
    ///     batches.map(|it| it.len()).collect::<Vec<_>>().run()
    /// });
    /// assert_eq!(done.unwrap().unwrap().value, [3, 3, 1]);
    /// ```
    pub fn batch_within(self, size: usize, delay: Duration) -> Pipeline<'env, Vec<T>> {
        self.batch_by(size, Some(delay), |_| 1)
    }

    /// [`batch`](Self::batch) of items whose weights add up to at least `size`, given after at most
    /// `delay`, if that is given.
    ///
    /// # Panics
    /// If `size` is zero.
    pub fn batch_by(
        self,
        size: usize,
        delay: Option<Duration>,
        weight: impl Fn(&T) -> usize + 'env,
    ) -> Pipeline<'env, Vec<T>> {
        assert!(size > 0, "a batch of no items");
        self.process("batch", move |inlet, emit| {
            let mut batch = Batch { items: Vec::new(), weight: 0, ticket: None };
            while let Some(item) = inlet.next()? {
                let limit = delay.and_then(|it| time::now().checked_add(it));
                batch.add(item.value, item.ticket, &weight);
                while batch.weight < size {
                    batch.ticket = None; // it is not on the way while it waits for others
                    let next = next_until(inlet, limit).inspect_err(|_| {
                        batch.items.drain(..).for_each(|it| inlet.hand_back(it));
                    });
                    match next? {
                        Next::Item(value, ticket) => batch.add(value, ticket, &weight),
                        Next::Late => break,
                        Next::End => return batch.give(emit),
                    }
                }
                batch.give(emit)?;
            }
            Ok(())
        })
    }
}

/// Items that are waiting for others.
struct Batch<T> {
    items: Vec<T>,
    weight: usize,
    /// That of the item that came last.
    ticket: Ticket,
}

impl<T: 'static> Batch<T> {
    fn add(&mut self, value: T, ticket: Ticket, weight: &dyn Fn(&T) -> usize) {
        self.weight = self.weight.saturating_add(weight(&value));
        self.items.push(value);
        self.ticket = ticket;
    }

    /// Gives them on: one item from here on.
    fn give(&mut self, emit: &Emit<Vec<T>>) -> Result<(), Stop> {
        self.weight = 0;
        emit.give(std::mem::take(&mut self.items), self.ticket.take())
    }
}

enum Next<T> {
    Item(T, Ticket),
    Late,
    End,
}

/// The next item, unless `limit` comes first.
fn next_until<T>(inlet: &Inlet<T>, limit: Option<Instant>) -> Result<Next<T>, Stop> {
    let Some(limit) = limit else {
        return Ok(inlet.another()?.map_or(Next::End, |it| Next::Item(it.value, it.ticket)));
    };
    inlet.meter.before_taking();
    match inlet.rx.recv_deadline(limit) {
        Err(Halt::TimedOut) if time::now() >= limit => Ok(Next::Late),
        got => Ok(inlet.took(got)?.map_or(Next::End, |it| Next::Item(it.value, it.ticket))),
    }
}
