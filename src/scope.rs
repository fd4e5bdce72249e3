//! Scopes: tasklets that end before their parent goes on, and may borrow from it.
//!
//! Always: when a scope has been left, by whatever path, none of its tasklets exists; a tasklet
//! that cannot be ended takes the process with it, by name, because its borrows would dangle.
//! Scope: `Open -> Closing -> Closed`.

mod children;
mod failure;

pub use failure::{Cause, ScopeError, ScopeFailure};

use self::children::{Children, Failed};
use crate::channel::{Never, Receiver, channel};
use crate::error::JoinError;
use crate::kernel::announce;
use crate::kernel::running;
use crate::kernel::scheduler::{Scheduler, has_panic};
use crate::kernel::stack::{Loan, lend};
use crate::kernel::task::{Doing, flag};
use crate::kernel::wait::Wait;
use crate::tasklet::{Builder, SpawnError, Tasklet, TaskletRef, Value, fulfil};
use crate::time::{self, Region, Timed};
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

/// Runs `f`, which may spawn tasklets that borrow, and returns when all of them have ended.
///
/// If `f` or a child panics, or the caller is cancelled while it waits for them, the other
/// children are cancelled. Waits for the children even if the caller has been cancelled.
///
/// # Panics
/// With the panic of `f`, else with that of the first child that panicked and was not joined;
/// [`try_scope`] gives all of them. Where waiting is not possible (outside of a run, in a
/// destructor during a panic, under a trap).
///
/// ```
/// use tasklets::{run, scope};
/// let mut words = vec!["a".to_string(), "b".to_string()];
/// run(|| {
///     scope(|s| {
///         for word in &mut words {
///             s.spawn(|| word.push('!'));
///         }
///     });
/// });
/// assert_eq!(words, ["a!", "b!"]);
/// ```
#[track_caller]
#[doc(alias("nursery", "TaskGroup", "errgroup", "Group", "WaitGroup"))]
pub fn scope<'env, R>(f: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> R) -> R {
    match try_scope(f) {
        Ok(value) => value,
        Err(mut error) => match error.failures.swap_remove(0).cause {
            Cause::Panicked(payload) => resume_unwind(payload),
            Cause::Failed(error) => panic!("a tasklet of the scope failed: {error}"),
        },
    }
}

/// [`scope`] that returns what failed instead of panicking.
///
/// # Errors
/// [`ScopeError`] with every child that panicked unjoined or [failed](Scope::spawn_try), in the
/// order in which they ended. A panic of `f` itself is not an error: it goes on.
///
/// # Panics
/// With the panic of `f`; where waiting is not possible.
///
/// ```
/// use tasklets::{run, try_scope};
/// let error = run(|| {
///     try_scope(|s| drop(s.spawn_try(|| "x".parse::<i32>()))).unwrap_err()
/// });
/// assert_eq!(error.failures.len(), 1);
/// ```
#[track_caller]
pub fn try_scope<'env, R>(
    f: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> R,
) -> Result<R, ScopeError> {
    let at = Location::caller();
    let parent = match running::waiter_here(at) {
        Ok(parent) => parent,
        Err(why) => panic!("a scope has to wait for its tasklets, but {why}"),
    };
    let children = Rc::new(Children::new(parent, at));
    let watched = children.clone();
    let ended = lend(children, |loan| {
        let ended = catch_unwind(AssertUnwindSafe(|| f(Scope { loan })));
        if ended.is_err() {
            loan.state.cancel();
        }
        loan.state.await_all();
        ended
    });
    let value = ended.unwrap_or_else(|panic| resume_unwind(panic));
    let failures = watched.take_failures();
    if failures.is_empty() { Ok(value) } else { Err(ScopeError { failures }) }
}

/// [`scope`] under a deadline: [`within`](crate::within) around a scope.
///
/// # Panics
/// As [`scope`].
///
/// ```
/// use std::time::Duration;
/// use tasklets::{pause, run, scope_within};
/// // The deadline is that of the children, too.
/// let timed = run(|| scope_within(Duration::from_millis(1), |s| drop(s.spawn(pause))));
/// assert!(timed.expired);
/// ```
#[track_caller]
pub fn scope_within<'env, R>(
    delay: Duration,
    f: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> R,
) -> Timed<R> {
    time::within(delay, || scope(f))
}

/// A place to spawn tasklets that end before the scope does.
///
/// ```
/// use tasklets::{Scope, run, scope};
/// /// A scope can be handed on, to who spawns in it.
/// fn sum_halves<'scope>(s: Scope<'scope, '_>, all: &'scope [u64]) -> u64 {
///     let (left, right) = all.split_at(all.len() / 2);
///     let other = s.spawn(move || left.iter().sum::<u64>());
///     right.iter().sum::<u64>() + other.join().unwrap()
/// }
/// let numbers = [1, 2, 3, 4];
/// assert_eq!(run(|| scope(|s| sum_halves(s, &numbers))), 10);
/// ```
#[derive(Clone, Copy)]
pub struct Scope<'scope, 'env: 'scope> {
    loan: &'scope Loan<'scope, 'env, Rc<Children>>,
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a tasklet that may borrow what outlives the scope.
    ///
    /// The caller runs on. If the tasklet panics its siblings are cancelled.
    ///
    /// # Panics
    /// When no more tasklets can be made; [`spawn_with`](Self::spawn_with) returns an error.
    ///
    /// ```
    /// use tasklets::{run, scope};
    /// let text = String::from("to be or not to be");
    /// let (vowels, spaces) = run(|| {
    ///     scope(|s| {
    ///         let vowels = s.spawn(|| text.matches(['e', 'o']).count()); // both borrow it
    ///         let spaces = s.spawn(|| text.matches(' ').count());
    ///         (vowels.join().unwrap(), spaces.join().unwrap())
    ///     })
    /// });
    /// assert_eq!((vowels, spaces), (6, 5));
    /// ```
    #[track_caller]
    pub fn spawn<T: 'scope>(self, f: impl FnOnce() -> T + 'scope) -> ScopedTasklet<'scope, T> {
        match self.spawn_with(Builder::new(), f) {
            Ok(tasklet) => tasklet,
            Err(error) => panic!("{error}"),
        }
    }

    /// [`spawn`](Self::spawn) with a name or a stack of another size.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    ///
    /// ```
    /// use tasklets::{Builder, run, scope};
    /// run(|| {
    ///     scope(|s| {
    ///         let parser = s.spawn_with(Builder::new().name("parser"), || "12".parse::<i32>());
    ///         assert_eq!(parser.unwrap().join().unwrap(), Ok(12));
    ///         let huge = Builder::new().stack_size(usize::MAX);
    ///         assert!(s.spawn_with(huge, || ()).is_err());
    ///     });
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_with<T: 'scope>(
        self,
        builder: Builder,
        f: impl FnOnce() -> T + 'scope,
    ) -> Result<ScopedTasklet<'scope, T>, SpawnError> {
        let at = Location::caller();
        let children = self.loan.state.clone();
        let scheduler = Scheduler::active().expect("a scope is open only in a run");
        // A child that spawns has to know what has become of the scope, and to be known of.
        announce::touch(&children.parent, at);
        let value = Rc::new(Cell::new(None));
        let (result, watched) = (value.clone(), children.clone());
        let body = self.loan.erase(move || {
            fulfil(f, &result);
            if let Some(me) = running::current().filter(|it| has_panic(it)) {
                watched.note_panic(me);
                watched.cancel();
            }
        });
        let task = builder.queue(&scheduler, body, at)?;
        if let Some(region) = &children.region {
            Region::adopt(region, &task);
        }
        if children.cancelled.get() {
            task.set(flag::CANCELLED);
        }
        task.set(flag::SCOPED);
        children.add(task.clone());
        Ok(ScopedTasklet { inner: Tasklet::new(task, Value::Apart(value)), scope: PhantomData })
    }

    /// Spawns a tasklet whose error cancels its siblings and is kept in the [`ScopeError`].
    ///
    /// Its join gives `None` then.
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// use tasklets::{Halt, Never, channel, run, try_scope};
    /// let error = run(|| {
    ///     let (_tx, rx) = channel::<Never>();
    ///     try_scope(|s| {
    ///         let patient = s.spawn(|| rx.recv());
    ///         let number = s.spawn_try(|| "x".parse::<i32>());
    ///         assert_eq!(number.join().unwrap(), None);
    ///         assert_eq!(patient.join().unwrap(), Err(Halt::Cancelled)); // no use any more
    ///     })
    /// });
    /// assert_eq!(error.unwrap_err().failures.len(), 1);
    /// ```
    #[track_caller]
    pub fn spawn_try<T: 'scope, E: Into<Box<dyn Error>>>(
        self,
        f: impl FnOnce() -> Result<T, E> + 'scope,
    ) -> ScopedTasklet<'scope, Option<T>> {
        let children = self.loan.state.clone();
        self.spawn(move || match f() {
            Ok(value) => Some(value),
            Err(error) => {
                let tasklet = crate::current().expect("a body runs in its tasklet");
                let cause = Cause::Failed(error.into());
                let failure = ScopeFailure { tasklet, cause };
                children.failed.borrow_mut().push(Failed::Returned(failure));
                children.cancel();
                None
            }
        })
    }

    /// Cancels every tasklet of the scope, also those spawned from now on. Returns at once.
    ///
    /// ```
    /// use tasklets::{Halt, JoinError, pause, run, scope, yield_now};
    /// run(|| {
    ///     scope(|s| {
    ///         let waits = s.spawn(pause);
    ///         yield_now();
    ///         s.cancel();
    ///         assert_eq!(waits.join().unwrap(), Err(Halt::Cancelled));
    ///         assert!(matches!(s.spawn(|| 1).join(), Err(JoinError::Cancelled)));
    ///     });
    /// });
    /// ```
    pub fn cancel(self) {
        self.loan.state.cancel();
    }

    /// Tasklets of the scope that have not ended.
    ///
    /// ```
    /// use tasklets::{run, scope, yield_now};
    /// run(|| {
    ///     scope(|s| {
    ///         let crawl = |depth: u32| move || (0..depth).for_each(|_| yield_now());
    ///         (1..=3).for_each(|depth| drop(s.spawn(crawl(depth))));
    ///         let busy: Vec<_> = (0..4).map(|_| (s.running(), yield_now()).0).collect();
    ///         assert_eq!(busy, [3, 3, 2, 1]); // fewer and fewer
    ///     });
    /// });
    /// ```
    pub fn running(self) -> usize {
        self.loan.state.unended().len()
    }

    /// A receiver that is closed when [`shutdown`](Self::shutdown) begins.
    ///
    /// Made to be an arm of what a tasklet waits for: unlike one that has been cancelled, it can
    /// still send and receive while it ends its work.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{channel, run, scope, select, yield_now};
    /// let saved = run(|| {
    ///     scope(|s| {
    ///         let ((_tx, jobs), stop) = (channel::<u8>(), s.stopping());
    ///         let worker = s.spawn(move || {
    ///             select! { recv(jobs) -> _ => "a job", recv(stop) -> _ => "saved everything" }
    ///         });
    ///         yield_now();
    ///         assert!(s.shutdown(Duration::from_secs(5)).is_empty()); // nobody was slow
    ///         worker.join().unwrap()
    ///     })
    /// });
    /// assert_eq!(saved, "saved everything");
    /// ```
    pub fn stopping(self) -> Receiver<Never> {
        let mut stop = self.loan.state.stop.borrow_mut();
        stop.get_or_insert_with(|| {
            let (tx, rx) = channel();
            (Some(tx), rx)
        })
        .1
        .clone()
    }

    /// Asks the tasklets to end, waits for at most `grace`, cancels the slow and waits for them.
    ///
    /// They are asked through [`stopping`](Self::stopping). Returns the slow. If the caller is
    /// stopped, or under a [`block_trap`](crate::block_trap), the grace is over; it waits for those
    /// that were cancelled all the same.
    ///
    /// # Panics
    /// If called by another tasklet than the one that opened the scope, and if it has to wait under
    /// a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{pause, run, scope};
    /// run(|| {
    ///     let slow = scope(|s| {
    ///         let stop = s.stopping();
    ///         s.spawn(move || stop.recv());
    ///         s.spawn(|| pause());
    ///         s.shutdown(Duration::from_millis(1))
    ///     });
    ///     assert_eq!(slow.len(), 1);
    /// });
    /// ```
    #[track_caller]
    pub fn shutdown(self, grace: Duration) -> Vec<TaskletRef> {
        let children = &self.loan.state;
        let me = running::current();
        let opener = me.is_some_and(|it| Rc::ptr_eq(&it, &children.parent));
        assert!(opener, "only the tasklet that opened a scope can shut it down");
        drop(self.stopping());
        let stop = children.stop.borrow_mut().as_mut().and_then(|(tx, _)| tx.take());
        drop(stop);
        time::within(grace, || {
            for task in children.known() {
                let wait = |wait: Wait| task.add_joiner(wait, 0);
                let over = task.has(flag::FINISHED) && announce::controlled().is_none();
                if !over && running::wait_for(Doing::Joining(task.id()), children.at, wait).is_err()
                {
                    break;
                }
            }
        });
        let slow = children.unended();
        children.cancel();
        children.await_all();
        slow.into_iter().map(|task| TaskletRef { task }).collect()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.loan.state.living().len())
            .finish_non_exhaustive()
    }
}

/// A handle to a tasklet of a scope; it may be dropped.
///
/// Dereferences to [`TaskletRef`].
///
/// ```
/// use tasklets::{TaskletRef, run, scope};
/// run(|| {
///     scope(|s| {
///         let child = s.spawn(|| 7);
///         let handle: TaskletRef = (*child).clone();
///         drop(child); // the scope waits for it all the same
///         assert!(!handle.is_finished());
///         s.spawn(|| ());
///     });
/// });
/// ```
pub struct ScopedTasklet<'scope, T> {
    inner: Tasklet<T>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedTasklet<'_, T> {
    /// Waits until the tasklet has ended and takes its result: see [`Tasklet::join`].
    ///
    /// # Errors
    /// As [`Tasklet::join`]; a panic that is taken here is not raised by the scope.
    ///
    /// # Panics
    /// As [`Tasklet::join`].
    ///
    /// ```
    /// use tasklets::{run, scope};
    /// run(|| {
    ///     scope(|s| {
    ///         let risky = s.spawn(|| -> u8 { std::panic::resume_unwind(Box::new("no luck")) });
    ///         let error = risky.join().unwrap_err(); // taken: the scope goes on
    ///         assert_eq!(error.message(), Some("no luck"));
    ///     });
    /// });
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        self.inner.join()
    }

    /// The handle, to be used as an operation: an arm `op(child.joining()) -> result => ...`.
    ///
    /// It may be replaced and kept for longer than the scope; the scope waits for the tasklet all
    /// the same. A panic that the scope has reported is told to such a handle in other words.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{after, run, scope, select};
    /// let answer = run(|| {
    ///     scope(|s| {
    ///         let mut child = s.spawn(|| 42);
    ///         select! {
    ///             op(child.joining()) -> result => result.unwrap(),
    ///             op(after(Duration::from_secs(5))) -> _ => 0,
    ///         }
    ///     })
    /// });
    /// assert_eq!(answer, 42);
    /// ```
    pub fn joining(&mut self) -> &mut Tasklet<T> {
        &mut self.inner
    }
}

impl<T> std::ops::Deref for ScopedTasklet<'_, T> {
    type Target = TaskletRef;

    fn deref(&self) -> &TaskletRef {
        &self.inner
    }
}

impl<T> fmt::Debug for ScopedTasklet<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
