//! What to do with an item that fails.
//!
//! Always: an item that fails is counted as failed, once, whatever is done with it.
//! Item: `Tried -> Given | Tried again | Failed`.

use super::Cause;
use super::network::Stop;
use super::work::Worked;
use crate::channel::Sender;
use crate::error::Halt;
use crate::kernel::running;
use crate::time::sleep;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// An item that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed<T, E> {
    /// The item.
    pub item: T,
    /// Why it failed.
    pub error: E,
}

/// What came of trying an item once.
pub(super) type Tried<T, U, E> = Result<Worked<U>, Failed<T, E>>;

/// What [`try_map_or`](super::Pipeline::try_map_or) and
/// [`try_for_each_or`](super::Pipeline::try_for_each_or) do with an item that fails.
///
/// ```
/// use tasklets::pipeline::{self, Failed, OnError};
/// use tasklets::{channel, run, scope};
/// let (sum, rejected) = run(|| {
///     let (dead, letters) = channel::<Failed<_, std::num::ParseIntError>>();
///     scope(|s| {
///         let rejected = s.spawn(|| letters.iter().map(|it| it.item).collect::<Vec<_>>());
///         let numbers = pipeline::from_iter(["1", "two", "3"])
///             .try_map_or(OnError::dead_letter(dead), |it| it.parse::<i32>());
///         let sum = numbers.fold(0, |sum, it| sum + it).run().unwrap().value;
///         (sum, rejected.join().unwrap())
///     })
/// });
/// assert_eq!((sum, rejected), (4, vec!["two"]));
/// ```
pub struct OnError<T: 'static, E: 'static> {
    /// How often it is tried again, and the rest before the first time; each is twice the last.
    retry: Option<(u32, Duration)>,
    then: Then<T, E>,
}

enum Then<T: 'static, E: 'static> {
    Stop,
    Skip,
    Collect(Rc<RefCell<Vec<Failed<T, E>>>>),
    DeadLetter(Sender<Failed<T, E>>),
}

impl<T, E> OnError<T, E> {
    fn then(then: Then<T, E>) -> OnError<T, E> {
        OnError { retry: None, then }
    }

    /// The pipeline fails.
    pub fn stop() -> OnError<T, E> {
        OnError::then(Then::Stop)
    }

    /// The item is left out.
    pub fn skip() -> OnError<T, E> {
        OnError::then(Then::Skip)
    }

    /// The item is left out, and added to `failed`, in the order in which they failed.
    pub fn collect(failed: Rc<RefCell<Vec<Failed<T, E>>>>) -> OnError<T, E> {
        OnError::then(Then::Collect(failed))
    }

    /// The item is left out, and sent to `letters`; the worker waits until it is received. If
    /// nobody can receive it the pipeline fails.
    pub fn dead_letter(letters: Sender<Failed<T, E>>) -> OnError<T, E> {
        OnError::then(Then::DeadLetter(letters))
    }

    /// Before that, tries it `times` times more: after `rest`, then after twice that, and so on.
    ///
    /// Meanwhile other workers of the stage go on; of an ordered one each until it is its turn.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::time::Duration;
    /// use tasklets::pipeline::{self, OnError};
    /// let (tries, patient) = (Cell::new(0), OnError::stop().retry(3, Duration::from_millis(1)));
    /// let done = tasklets::run(|| {
    ///     let flaky = |it: &u8| {
    ///         tries.set(tries.get() + 1);
    ///         if tries.get() < 3 { Err("not yet") } else { Ok(*it) }
    ///     };
    ///     pipeline::from_iter([7]).try_map_or(patient, flaky).collect::<Vec<_>>().run()
    /// });
    /// assert_eq!((done.unwrap().value, tries.get()), (vec![7], 3));
    /// ```
    pub fn retry(mut self, times: u32, rest: Duration) -> OnError<T, E> {
        self.retry = Some((times, rest));
        self
    }

    /// Tries `item`.
    pub(super) fn attempt<U>(
        &self,
        item: T,
        mut attempt: impl FnMut(&T) -> Result<U, E>,
    ) -> Result<Worked<U>, Stop>
    where
        E: Into<Box<dyn Error>>,
    {
        let mut attempt = |item| match attempt(&item) {
            Ok(value) => Ok(Worked::Give(value)),
            Err(error) => Err(Failed { item, error }),
        };
        let tried = attempt(item);
        self.follow(tried, |item| Ok(attempt(item)))
    }

    /// Follows the first try of an item, by `again` if it is to be tried again.
    pub(super) fn follow<U>(
        &self,
        mut tried: Tried<T, U, E>,
        mut again: impl FnMut(T) -> Result<Tried<T, U, E>, Stop>,
    ) -> Result<Worked<U>, Stop>
    where
        E: Into<Box<dyn Error>>,
    {
        let (mut left, mut rest) = self.retry.unwrap_or_default();
        let Failed { item, error } = loop {
            match tried {
                Ok(worked) => return Ok(worked),
                // It has failed because it was to be left.
                Err(_) if running::has_been_told() => return Err(Stop::Halted(Halt::Cancelled)),
                Err(failed) if left == 0 => break failed,
                Err(Failed { item, .. }) => {
                    sleep(rest)?;
                    left -= 1;
                    rest = rest.saturating_mul(2);
                    tried = again(item)?;
                }
            }
        };
        match &self.then {
            Then::Stop => return Err(Stop::Failed(Cause::Failed(error.into()))),
            Then::Skip => {}
            Then::Collect(failed) => failed.borrow_mut().push(Failed { item, error }),
            Then::DeadLetter(letters) => {
                if let Err(unsent) = letters.send(Failed { item, error }) {
                    let why = unsent.why;
                    return Err(match why {
                        Halt::Closed => Stop::Failed(Cause::Failed(unsent.value.error.into())),
                        why => Stop::Halted(why),
                    });
                }
            }
        }
        Ok(Worked::Failed)
    }
}

impl<T, E> fmt::Debug for OnError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = match self.then {
            Then::Stop => "stop",
            Then::Skip => "skip",
            Then::Collect(_) => "collect",
            Then::DeadLetter(_) => "dead letter",
        };
        f.debug_struct("OnError").field("retry", &self.retry).field("then", &then).finish()
    }
}
