//! So many tasklets at a time: pools of them, piles of results, maps over items.
//!
//! Always: no more run than is said; results come in the order of what they are of. Who is stopped
//! while it asks for one loses none: it is there when it is asked for again.

use super::join::Joined;
use super::semaphore::{Semaphore, semaphore};
use crate::error::{JoinError, SendError};
use crate::operation::Operation;
use crate::select::support;
use crate::tasklet::{Tasklet, spawn, yield_now};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::panic::resume_unwind;
use std::rc::Rc;

/// Runs so many tasklets at a time: who spawns one more waits for room. Can be cloned.
///
/// A tasklet of a pool that spawns in the same pool waits like anybody; if all of them do, that is
/// a deadlock, and reported as one. The pool's semaphore is a tasklet, which ends when nobody has
/// the pool any more and its tasklets have ended.
///
/// ```
/// use tasklets::{plug, run, yield_now};
/// run(|| {
///     let pool = plug::TaskPool::new(2);
///     let one = pool.spawn(yield_now).unwrap();
///     let other = pool.spawn(yield_now).unwrap();
///     let third = pool.spawn(|| "had to wait").unwrap();
///     assert!(one.is_finished() || other.is_finished());
///     assert_eq!(third.join().unwrap(), "had to wait");
/// });
/// ```
#[derive(Clone, Debug)]
#[doc(alias("GreenPool", "Group", "tpool", "ThreadPoolExecutor"))]
pub struct TaskPool {
    semaphore: Semaphore,
}

impl TaskPool {
    /// Makes a pool for `size` tasklets at a time.
    ///
    /// # Panics
    /// If `size` is zero; outside of a run.
    ///
    /// ```
    /// use tasklets::{plug, run};
    /// assert_eq!(run(|| plug::TaskPool::new(1).spawn(|| 5).unwrap().join().unwrap()), 5);
    /// ```
    #[track_caller]
    pub fn new(size: usize) -> TaskPool {
        assert!(size > 0, "a pool for no tasklets");
        let (handle, passes) = Semaphore::new();
        spawn(move || semaphore(size, passes));
        TaskPool { semaphore: handle }
    }

    /// Waits for room, then spawns a tasklet that runs `f`.
    ///
    /// There is room again when it has ended, by whatever path.
    ///
    /// # Errors
    /// `f`, and why the caller was stopped before there was room.
    ///
    /// # Panics
    /// When no more tasklets can be made.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, pause, plug, run, within};
    /// run(|| {
    ///     let pool = plug::TaskPool::new(1);
    ///     let first = pool.spawn(pause).unwrap();
    ///     let late = within(Duration::from_millis(1), || pool.spawn(pause).map(drop));
    ///     assert_eq!(late.value.unwrap_err().why, Halt::TimedOut);
    ///     first.cancel();
    /// });
    /// ```
    #[track_caller]
    #[doc(alias("spawn_n", "submit"))]
    pub fn spawn<T: 'static, F>(&self, f: F) -> Result<Tasklet<T>, SendError<F>>
    where
        F: FnOnce() -> T + 'static,
    {
        let pass = match self.semaphore.acquire() {
            Ok(pass) => pass,
            Err(why) => return Err(SendError { value: f, why }),
        };
        Ok(spawn(move || {
            let _pass = pass;
            f()
        }))
    }
}

/// Tasklets of a pool, and their results in the order in which they were spawned.
///
/// Keeps every result until it is asked for. Piles may share a pool.
///
/// ```
/// use tasklets::{plug, run, yield_now};
/// run(|| {
///     let mut pile = plug::Pile::new(plug::TaskPool::new(3));
///     for it in 0..10 {
///         pile.spawn(move || (0..it % 3).for_each(|_| yield_now())).unwrap();
///     }
///     pile.spawn(|| ()).unwrap();
///     assert_eq!(pile.map(Result::unwrap).count(), 11);
/// });
/// ```
#[derive(Debug)]
#[doc(alias("GreenPile"))]
pub struct Pile<T> {
    pool: TaskPool,
    tasklets: VecDeque<Tasklet<T>>,
}

impl<T: 'static> Pile<T> {
    /// Makes an empty pile, whose tasklets are of `pool`.
    ///
    /// ```
    /// use tasklets::{plug, run};
    /// run(|| assert!(plug::Pile::<()>::new(plug::TaskPool::new(1)).next().is_none()));
    /// ```
    pub fn new(pool: TaskPool) -> Pile<T> {
        Pile { pool, tasklets: VecDeque::new() }
    }

    /// Waits for room in the pool, then spawns a tasklet whose result comes after those before.
    ///
    /// # Errors
    /// As [`TaskPool::spawn`]; the others keep their places.
    ///
    /// # Panics
    /// As [`TaskPool::spawn`].
    ///
    /// ```
    /// use tasklets::{plug, run, yield_now};
    /// run(|| {
    ///     let mut pile = plug::Pile::new(plug::TaskPool::new(2));
    ///     pile.spawn(|| (yield_now(), "first").1).unwrap();
    ///     pile.spawn(|| "second").unwrap();
    ///     assert_eq!(pile.map(Result::unwrap).collect::<Vec<_>>(), ["first", "second"]);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F: FnOnce() -> T + 'static>(&mut self, f: F) -> Result<(), SendError<F>> {
        let tasklet = self.pool.spawn(f)?;
        self.tasklets.push_back(tasklet);
        Ok(())
    }
}

/// Waits for the first that was spawned, and not given. Ends when there is none. While the caller
/// is stopped it gives `None` as well; what it waited for stays on the pile.
impl<T> Iterator for Pile<T> {
    type Item = Joined<T>;

    #[track_caller]
    fn next(&mut self) -> Option<Joined<T>> {
        match self.tasklets.front_mut()?.join_mut() {
            Err(JoinError::Halted(_)) => None,
            result => {
                drop(self.tasklets.pop_front());
                Some(result)
            }
        }
    }
}

/// Gives what `f` makes of each item, in the order of the items, each in a tasklet of its own.
///
/// Takes items as results are asked for: no more than `limit` have been taken whose result has not
/// been given, so memory is bounded and a slow first item holds up no more than that. Who asks
/// waits for the next item or the first result, whichever comes first: a result that is there does
/// not wait for items that are to come. For that each item is taken in a tasklet, too. A panic is
/// an error at its place. Dropping the iterator cancels those that run, and drops an item that has
/// been taken just then; one that panics then ends the run, as nobody joins it.
///
/// # Panics
/// If `limit` is zero; when asked outside of a run; as the items do: then no more of them come, and
/// the results of those before can be asked for still.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Runtime, now, plug, sleep};
/// let runtime = Runtime::builder().virtual_clock(true).build();
/// let took = runtime.run(|| {
///     let start = now();
///     let fetched = plug::imap(10, 0..100, |page: u64| {
///         sleep(Duration::from_secs(1 + page % 2)).unwrap();
///         page
///     });
///     assert!(fetched.map(Result::unwrap).eq(0..100));
///     now() - start
/// });
/// assert!(took.unwrap() <= Duration::from_secs(20)); // not 150
/// ```
#[doc(alias("map_ordered", "buffered", "parallel_map"))]
pub fn imap<I: IntoIterator, U: 'static>(
    limit: usize,
    items: I,
    f: impl Fn(I::Item) -> U + 'static,
) -> Imap<I::IntoIter, U>
where
    I::IntoIter: 'static,
{
    assert!(limit > 0, "a map that takes nothing");
    let under_way = VecDeque::with_capacity(limit.min(1_024));
    Imap { limit, items: Items::Idle(items.into_iter()), f: Rc::new(f), under_way }
}

/// [`imap`] for a function of two arguments, over pairs of them.
///
/// # Panics
/// As [`imap`].
///
/// ```
/// use tasklets::{plug, run};
/// run(|| {
///     let powers = plug::starmap(2, [(2, 10), (3, 4)], u32::pow);
///     assert_eq!(powers.map(Result::unwrap).collect::<Vec<_>>(), [1024, 81]);
/// });
/// ```
pub fn starmap<A, B, I: IntoIterator<Item = (A, B)>, U: 'static>(
    limit: usize,
    items: I,
    f: impl Fn(A, B) -> U + 'static,
) -> Imap<I::IntoIter, U>
where
    I::IntoIter: 'static,
{
    imap(limit, items, move |(one, other)| f(one, other))
}

/// Results in the order of the items: see [`imap`].
///
/// Ends when the items have, and all results are given. While the caller is stopped it gives `None`
/// as well, and loses nothing: asked again when the caller is stopped no more, it goes on.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Runtime, channel, plug, sleep, spawn, within};
/// let runtime = Runtime::builder().virtual_clock(true).build();
/// let lengths = runtime.run(|| {
///     let (tx, words) = channel();
///     spawn(move || (sleep(Duration::from_secs(9)), tx.send_all(["one", "three"])));
///     let mut lengths: plug::Imap<_, usize> = plug::imap(2, words, str::len);
///     assert!(within(Duration::from_secs(1), || lengths.next()).value.is_none()); // too early
///     lengths.map(Result::unwrap).collect::<Vec<_>>()
/// });
/// assert_eq!(lengths.unwrap(), [3, 5]);
/// ```
#[must_use = "it takes items when it is asked for results"]
pub struct Imap<I: Iterator, U> {
    limit: usize,
    items: Items<I>,
    f: Rc<dyn Fn(I::Item) -> U>,
    /// Those whose results have not been given, the next one first.
    under_way: VecDeque<Tasklet<U>>,
}

/// Where items come from: `Idle -> Asked -> Idle`, in the end `Ended`.
enum Items<I: Iterator> {
    Idle(I),
    /// A tasklet waits for an item; it gives back both.
    Asked(Tasklet<Option<(I, I::Item)>>),
    Ended,
}

/// What a map has heard.
enum News<I: Iterator, U> {
    Item(Joined<Option<(I, I::Item)>>),
    /// Of the first that is under way.
    Result(Joined<U>),
}

impl<I: Iterator + 'static, U: 'static> Imap<I, U> {
    /// Has an item taken, if there is room for it and none is taken already.
    #[track_caller]
    fn ask(&mut self) {
        if self.under_way.len() == self.limit {
            return;
        }
        match mem::replace(&mut self.items, Items::Ended) {
            Items::Idle(mut items) => {
                let taking = spawn(move || items.next().map(|item| (items, item)));
                self.items = Items::Asked(taking);
                yield_now(); // an item that is there gets under way before a result is given
            }
            as_before @ (Items::Asked(_) | Items::Ended) => self.items = as_before,
        }
    }

    /// Waits for an item or the first result; `None` when there will be neither.
    #[track_caller]
    fn await_news(&mut self) -> Option<News<I, U>> {
        Some(match (&mut self.items, self.under_way.front_mut()) {
            (Items::Asked(taking), None) => News::Item(taking.join_mut()),
            (Items::Asked(taking), Some(first)) => {
                match support::run(&mut [taking, first], true, support::FOREVER) {
                    Some(0) => News::Item(taking.take()),
                    Some(_) | None => News::Result(first.take()),
                }
            }
            (Items::Idle(_) | Items::Ended, Some(first)) => News::Result(first.join_mut()),
            (Items::Idle(_) | Items::Ended, None) => return None,
        })
    }
}

impl<I: Iterator + 'static, U: 'static> Iterator for Imap<I, U> {
    type Item = Joined<U>;

    #[track_caller]
    fn next(&mut self) -> Option<Joined<U>> {
        loop {
            self.ask();
            match self.await_news()? {
                News::Item(Ok(Some((items, item)))) => {
                    self.items = Items::Idle(items);
                    let f = self.f.clone();
                    self.under_way.push_back(spawn(move || f(item)));
                }
                News::Item(Ok(None) | Err(JoinError::Cancelled)) => self.items = Items::Ended,
                News::Item(Err(JoinError::Panicked(payload))) => {
                    self.items = Items::Ended;
                    resume_unwind(payload);
                }
                News::Item(Err(JoinError::Halted(_))) => return None,
                News::Result(Err(JoinError::Halted(_))) => return None,
                News::Result(result) => {
                    drop(self.under_way.pop_front());
                    return Some(result);
                }
            }
        }
    }
}

impl<I: Iterator, U> Drop for Imap<I, U> {
    fn drop(&mut self) {
        if let Items::Asked(taking) = &self.items {
            taking.cancel();
        }
        self.under_way.iter().for_each(|it| it.cancel());
    }
}

impl<I: Iterator, U> fmt::Debug for Imap<I, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}
