//! A pool of resources as a process: it lends them, and knows when one comes back or is lost.
//!
//! Always: idle and lent together are never more than the limit. Who borrows makes what is missing,
//! so that making may wait and fail without anybody else waiting. One at a time has a resource.
//! Resource: `Missing -> Lent <-> Idle`, and `Lost` from any, which makes it `Missing`.

use crate::channel::{Permit, Receiver, Sender, channel};
use crate::error::Halt;
use crate::operation::Operation;
use crate::select::{self, Arm};
use crate::time;
use crate::trap::shield;
use std::error::Error;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A resource that is lent; it goes back when this is dropped.
///
/// It is lost, and may be made anew, if it is dropped because of a panic, or
/// [discarded](Self::discard).
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (pool, loans) = plug::Pool::new(|| Ok::<_, ()>(Vec::new()));
///     spawn(move || plug::pool(1, None, loans));
///     pool.get().unwrap().push("kept");
///     assert_eq!(*pool.get().unwrap(), ["kept"]);
/// });
/// ```
#[must_use = "a resource goes back when its loan is dropped"]
pub struct Loan<T: 'static> {
    /// Missing until who borrows has made it, and when it has been lost.
    resource: Option<T>,
    /// Where it goes back; when this closes before it is lost.
    back: Sender<T>,
}

impl<T> Loan<T> {
    /// Drops the resource, which is of no use any more: another one may be made.
    ///
    /// ```
    /// use tasklets::{plug, run, spawn};
    /// run(|| {
    ///     let (pool, loans) = plug::Pool::new(|| Ok::<_, ()>("fresh".to_string()));
    ///     spawn(move || plug::pool(1, None, loans));
    ///     let mut connection = pool.get().unwrap();
    ///     *connection = "broken".into();
    ///     connection.discard();
    ///     assert_eq!(*pool.get().unwrap(), "fresh");
    /// });
    /// ```
    pub fn discard(mut self) {
        let lost = self.resource.take();
        drop(lost);
    }
}

impl<T> Deref for Loan<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.resource.as_ref().expect("who has borrowed has a resource")
    }
}

impl<T> DerefMut for Loan<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.resource.as_mut().expect("who has borrowed has a resource")
    }
}

impl<T> Drop for Loan<T> {
    fn drop(&mut self) {
        let Some(resource) = self.resource.take() else { return };
        if !std::thread::panicking() {
            // The process takes it as soon as it has its turn; if it is gone the resource goes too.
            let sent = shield(|| self.back.send(resource));
            drop(sent);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Loan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loan").field(&self.resource).finish()
    }
}

/// Why a pool gave nothing.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (pool, loans) = plug::Pool::<(), _>::new(|| Err("refused"));
///     spawn(move || plug::pool(1, None, loans));
///     for _ in 0..3 {
///         assert_eq!(pool.get().unwrap_err(), plug::PoolError::NotMade("refused"));
///     }
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolError<E> {
    /// The process has ended ([`Halt::Closed`]), or the caller was stopped.
    Halted(Halt),
    /// A resource could not be made. There is as much room as before.
    NotMade(E),
}

impl<E: fmt::Display> fmt::Display for PoolError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::Halted(Halt::Closed) => f.write_str("the pool has ended"),
            PoolError::Halted(why) => write!(f, "no resource was lent: {why}"),
            PoolError::NotMade(error) => write!(f, "no resource could be made: {error}"),
        }
    }
}

impl<E: Error + 'static> Error for PoolError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PoolError::Halted(why) => Some(why),
            PoolError::NotMade(error) => Some(error),
        }
    }
}

/// Borrows from a [`pool()`]. Can be cloned.
///
/// Who waits longest is served first, with what came back last.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use tasklets::{plug, run, scope, spawn, yield_now};
/// let made = Rc::new(Cell::new(0));
/// let count = made.clone();
/// run(|| {
///     let (pool, loans) = plug::Pool::new(move || Ok::<_, ()>(count.replace(count.get() + 1)));
///     spawn(move || plug::pool(2, None, loans));
///     scope(|s| {
///         for _ in 0..10 {
///             s.spawn(|| {
///                 let _connection = pool.get().unwrap();
///                 yield_now();
///             });
///         }
///     });
/// });
/// assert_eq!(made.get(), 2); // ten shared them
/// ```
#[doc(alias("ConnectionPool", "db_pool", "ResourcePool"))]
pub struct Pool<T: 'static, E = Halt> {
    loans: Receiver<Loan<T>>,
    make: Rc<dyn Fn() -> Result<T, E>>,
}

impl<T, E> Pool<T, E> {
    /// Makes a handle whose resources `make` makes, in the tasklet of who needs one, and the end
    /// that its process takes.
    ///
    /// ```
    /// use tasklets::{Halt, plug, run};
    /// let (pool, loans) = plug::Pool::new(|| Ok::<_, ()>(1));
    /// drop(loans); // nobody will be the process
    /// assert_eq!(run(|| pool.get()).unwrap_err(), plug::PoolError::Halted(Halt::Closed));
    /// ```
    #[track_caller]
    pub fn new(make: impl Fn() -> Result<T, E> + 'static) -> (Pool<T, E>, Sender<Loan<T>>) {
        let (to, loans) = channel();
        (Pool { loans, make: Rc::new(make) }, to)
    }

    /// Waits for a resource, or for room to make one.
    ///
    /// # Errors
    /// [`PoolError::Halted`] when the process has ended or the caller was stopped;
    /// [`PoolError::NotMade`] with the error of who makes them.
    ///
    /// # Panics
    /// As who makes them: then there is as much room as before.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, plug, run, spawn, within};
    /// run(|| {
    ///     let (pool, loans) = plug::Pool::new(|| Ok::<_, ()>("the only one"));
    ///     spawn(move || plug::pool(1, None, loans));
    ///     let held = pool.get().unwrap();
    ///     let late = within(Duration::from_millis(1), || pool.get().map(|it| *it));
    ///     assert_eq!(late.value, Err(plug::PoolError::Halted(Halt::TimedOut)));
    ///     drop(held);
    ///     assert_eq!(*pool.get().unwrap(), "the only one");
    /// });
    /// ```
    #[track_caller]
    pub fn get(&self) -> Result<Loan<T>, PoolError<E>> {
        let mut loan = self.loans.recv().map_err(PoolError::Halted)?;
        if loan.resource.is_none() {
            loan.resource = Some((self.make)().map_err(PoolError::NotMade)?);
        }
        Ok(loan)
    }
}

impl<T, E> Clone for Pool<T, E> {
    fn clone(&self) -> Self {
        Pool { loans: self.loans.clone(), make: self.make.clone() }
    }
}

impl<T, E> fmt::Debug for Pool<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("loans", &self.loans).finish_non_exhaustive()
    }
}

/// Lends up to `limit` resources, which are made when they are needed; one that has been idle for
/// `idle_age` is dropped.
///
/// Returns why it ended: [`Halt::Closed`] when nobody can borrow any more, which it finds out when
/// it has something to lend. What is idle is dropped then; what is lent, when its loan is.
///
/// # Panics
/// If `limit` is zero.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{Runtime, plug, sleep, spawn};
/// let runtime = Runtime::builder().virtual_clock(true).build();
/// runtime.run(|| {
///     let (pool, loans) = plug::Pool::new(|| Ok::<_, ()>("fresh".to_string()));
///     spawn(move || plug::pool(4, Some(Duration::from_secs(60)), loans));
///     *pool.get().unwrap() = "used".into();
///     sleep(Duration::from_secs(59)).unwrap();
///     assert_eq!(*pool.get().unwrap(), "used");
///     sleep(Duration::from_secs(61)).unwrap();
///     assert_eq!(*pool.get().unwrap(), "fresh");
/// }).unwrap();
/// ```
pub fn pool<T>(limit: usize, idle_age: Option<Duration>, to: Sender<Loan<T>>) -> Halt {
    assert!(limit > 0, "a pool of nothing");
    let mut stock = Stock { limit, idle_age, idle: Vec::new(), lent: Vec::new() };
    loop {
        if let Err(why) = stock.serve(&to) {
            return why;
        }
    }
}

/// What the process of a pool knows.
struct Stock<T: 'static> {
    limit: usize,
    idle_age: Option<Duration>,
    /// What is idle and when it is too old, the oldest first.
    idle: Vec<(Option<Instant>, T)>,
    /// Where what is lent comes back.
    lent: Vec<Receiver<T>>,
}

/// What has happened to a stock.
enum News<T> {
    Wanted(Result<(), Halt>),
    Back(usize, Result<T, Halt>),
    TooOld(Result<Instant, Halt>),
}

impl<T> Stock<T> {
    /// Lends one, takes one back or drops one, whichever comes first.
    fn serve(&mut self, to: &Sender<Loan<T>>) -> Result<(), Halt> {
        match self.await_news(to) {
            News::Wanted(lent) => lent?,
            News::Back(index, back) => {
                drop(self.lent.swap_remove(index));
                match back {
                    Ok(resource) => {
                        let too_old = self.idle_age.and_then(|it| time::now().checked_add(it));
                        self.idle.push((too_old, resource));
                    }
                    Err(Halt::Closed) => {}
                    Err(why) => return Err(why),
                }
            }
            News::TooOld(now) => {
                now?;
                drop(self.idle.remove(0));
            }
        }
        Ok(())
    }

    fn await_news(&mut self, to: &Sender<Loan<T>>) -> News<T> {
        let can_lend = !self.idle.is_empty() || self.lent.len() < self.limit;
        let mut lending = to.reserving().only_if(can_lend);
        let mut backs: Vec<_> = self.lent.iter().map(Receiver::receiving).collect();
        let mut aging = self.idle.first().and_then(|it| it.0).map(time::at);
        let mut arms: Vec<&mut dyn Arm> = vec![&mut lending];
        arms.extend(backs.iter_mut().map(|it| it as &mut dyn Arm));
        arms.extend(aging.as_mut().map(|it| it as &mut dyn Arm));
        let won = select::select(&mut arms);
        if won == 0 {
            let permit = lending.take();
            drop((backs, aging));
            return News::Wanted(permit.and_then(|it| self.lend(it)));
        }
        match (won - 1 < backs.len(), aging) {
            (false, Some(mut aging)) => News::TooOld(aging.take()),
            _ => News::Back(won - 1, backs.swap_remove(won - 1).take()),
        }
    }

    fn lend(&mut self, permit: Permit<'_, Loan<T>>) -> Result<(), Halt> {
        let (back, from) = channel();
        let resource = self.idle.pop().map(|it| it.1);
        match permit.send(Loan { resource, back }) {
            Ok(()) => {
                self.lent.push(from);
                Ok(())
            }
            Err(error) => {
                drop(from); // first: the loan would wait for somebody to take it back
                Err(error.why)
            }
        }
    }
}
