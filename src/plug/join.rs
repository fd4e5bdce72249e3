//! Waiting for several tasklets: any, all, so many, one after the other as they end.
//!
//! Always: a result is given out once; a tasklet that has not been waited for is still in the list.

use super::Rest;
use crate::error::{Halt, JoinError};
use crate::operation::Operation;
use crate::select::{self, Arm};
use crate::tasklet::Tasklet;
use std::fmt;

/// What came of a tasklet.
///
/// ```
/// use tasklets::{plug::Joined, run, spawn};
/// let result: Joined<u8> = run(|| spawn(|| 1).join());
/// assert_eq!(result.unwrap(), 1);
/// ```
pub type Joined<T> = Result<T, JoinError>;

/// The place of a tasklet in a list, and what came of it.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// let (place, result): plug::Placed<u8> =
///     run(|| plug::wait_any(&mut vec![spawn(|| 1)]).unwrap().unwrap());
/// assert_eq!((place, result.unwrap()), (0, 1));
/// ```
pub type Placed<T> = (usize, Joined<T>);

/// Waits until one of `tasklets` has ended; removes it, and gives the place it had, and its result.
///
/// `None` if there is none in the list. Among several that have ended the choice is fair.
///
/// # Errors
/// Why the caller was stopped; the list is as before.
///
/// ```
/// use tasklets::{pause, plug, run, spawn};
/// run(|| {
///     let mut racers = vec![spawn(|| pause().map(|()| "slow")), spawn(|| Ok("quick"))];
///     let (place, result) = plug::wait_any(&mut racers).unwrap().unwrap();
///     assert_eq!((place, result.unwrap(), racers.len()), (1, Ok("quick"), 1));
///     racers[0].cancel();
/// });
/// ```
#[track_caller]
#[doc(alias("FIRST_COMPLETED", "race", "any_result", "iwait"))]
pub fn wait_any<T>(tasklets: &mut Vec<Tasklet<T>>) -> Result<Option<Placed<T>>, Halt> {
    if tasklets.is_empty() {
        return Ok(None);
    }
    let mut arms: Vec<_> = tasklets.iter_mut().map(|it| it as &mut dyn Arm).collect();
    let place = select::select(&mut arms);
    match tasklets[place].take() {
        Err(JoinError::Halted(why)) => Err(why),
        result => {
            drop(tasklets.remove(place));
            Ok(Some((place, result)))
        }
    }
}

/// Waits until all of `tasklets` have ended; empties the list, and gives the results in its order.
///
/// # Errors
/// [`Rest`] with the results of those that were waited for, when the caller was stopped; the
/// others are still in the list.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let mut workers = (1..=3).map(|it| spawn(move || it * it)).collect();
///     let squares = plug::wait_all(&mut workers).unwrap();
///     assert_eq!(squares.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 4, 9]);
/// });
/// ```
#[track_caller]
#[doc(alias("joinall", "waitall", "gather", "ALL_COMPLETED", "all_results"))]
pub fn wait_all<T>(tasklets: &mut Vec<Tasklet<T>>) -> Result<Vec<Joined<T>>, Rest<Joined<T>>> {
    let mut results = Vec::with_capacity(tasklets.len());
    let mut stopped = None;
    for tasklet in tasklets.iter_mut() {
        match tasklet.join_mut() {
            Err(JoinError::Halted(why)) => {
                stopped = Some(why);
                break;
            }
            result => results.push(result),
        }
    }
    drop(tasklets.drain(..results.len()));
    match stopped {
        None => Ok(results),
        Some(why) => Err(Rest { items: results, why }),
    }
}

/// Waits until `count` of `tasklets` have ended; removes them, and gives for each the place it had
/// at first, and its result, in the order in which they were found to have ended.
///
/// # Errors
/// [`Rest`] with what came of those that had ended, when the caller was stopped; the others are
/// still in the list.
///
/// # Panics
/// If there are less than `count`.
///
/// ```
/// use tasklets::{pause, plug, run, spawn};
/// run(|| {
///     // A majority is enough.
///     let vote = |it: usize| spawn(move || it != 1 || pause().is_ok());
///     let mut votes: Vec<_> = (0..3).map(vote).collect();
///     let two = plug::wait_n(2, &mut votes).unwrap();
///     assert!(two.into_iter().all(|(voter, vote)| voter != 1 && vote.unwrap()));
///     votes[0].cancel();
/// });
/// ```
#[track_caller]
#[doc(alias("wait_some", "quorum"))]
pub fn wait_n<T>(
    count: usize,
    tasklets: &mut Vec<Tasklet<T>>,
) -> Result<Vec<Placed<T>>, Rest<Placed<T>>> {
    assert!(count <= tasklets.len(), "{count} of {} tasklets cannot end", tasklets.len());
    let mut places: Vec<_> = (0..tasklets.len()).collect();
    let mut ended = Vec::with_capacity(count);
    while ended.len() < count {
        match wait_any(tasklets) {
            Ok(Some((place, result))) => ended.push((places.remove(place), result)),
            Ok(None) => break,
            Err(why) => return Err(Rest { items: ended, why }),
        }
    }
    Ok(ended)
}

/// Gives the place in the list, and the result, of each of `tasklets`, as they end.
///
/// Ends when all have been given. While the caller is stopped it gives `None` as well, and loses
/// nothing: asked again when the caller is stopped no more, it goes on.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Runtime, plug, sleep, spawn};
/// let order = Runtime::builder().virtual_clock(true).build().run(|| {
///     let nap = |it: u64| spawn(move || sleep(Duration::from_secs(it)));
///     let naps = [3, 1, 2].map(nap);
///     plug::as_completed(naps).map(|(place, _)| place).collect::<Vec<_>>()
/// });
/// assert_eq!(order.unwrap(), [1, 2, 0]);
/// ```
pub fn as_completed<T>(tasklets: impl IntoIterator<Item = Tasklet<T>>) -> AsCompleted<T> {
    let tasklets: Vec<_> = tasklets.into_iter().collect();
    AsCompleted { places: (0..tasklets.len()).collect(), tasklets }
}

/// What came of tasklets, as they end: see [`as_completed`].
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let mut results = plug::as_completed([spawn(|| 1), spawn(|| 2)]);
///     results.next();
///     assert_eq!(results.into_rest().len(), 1); // the other one
/// });
/// ```
#[must_use = "it waits when it is asked"]
pub struct AsCompleted<T> {
    /// Where each of them was at first.
    places: Vec<usize>,
    tasklets: Vec<Tasklet<T>>,
}

impl<T> AsCompleted<T> {
    /// Those that have not been given.
    ///
    /// ```
    /// use tasklets::{plug, run, spawn};
    /// run(|| {
    ///     let rest = plug::as_completed([spawn(|| 1)]).into_rest();
    ///     assert_eq!(rest.into_iter().map(|it| it.join().unwrap()).sum::<i32>(), 1);
    /// });
    /// ```
    pub fn into_rest(self) -> Vec<Tasklet<T>> {
        self.tasklets
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = Placed<T>;

    #[track_caller]
    fn next(&mut self) -> Option<Placed<T>> {
        let (place, result) = wait_any(&mut self.tasklets).ok()??;
        Some((self.places.remove(place), result))
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("tasklets", &self.tasklets).finish()
    }
}
