//! A semaphore as a process: it gives passes while there are some, and knows when one is dropped.
//!
//! Always: no more passes are out than there are. A pass is given back by dropping it, by whatever
//! path, also by a panic: that closes a channel, which needs no waiting.
//! Pass: `In -> Out -> In`.

use crate::channel::{Never, Receiver, Sender, channel};
use crate::error::Halt;
use crate::operation::Operation;
use crate::select::{self, Arm};
use std::fmt;

/// The right to be one of so many; it is given back when it is dropped.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (semaphore, passes) = plug::Semaphore::new();
///     spawn(move || plug::semaphore(1, passes));
///     let pass = semaphore.acquire().unwrap();
///     drop(pass);
///     semaphore.acquire().unwrap();
/// });
/// ```
#[must_use = "a pass is given back when it is dropped"]
pub struct Pass {
    /// The semaphore has the other end, and sees it close.
    _out: Sender<Never>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").finish_non_exhaustive()
    }
}

/// Asks a [`semaphore`] for passes. Can be cloned.
///
/// Who waits longest is served first.
///
/// ```
/// use tasklets::{plug, run, scope, spawn, yield_now};
/// run(|| {
///     let (semaphore, passes) = plug::Semaphore::new();
///     spawn(move || plug::semaphore(2, passes));
///     scope(|s| {
///         for _ in 0..10 {
///             s.spawn(|| {
///                 let _one_of_two = semaphore.acquire().unwrap();
///                 yield_now();
///             });
///         }
///     });
/// });
/// ```
#[derive(Clone, Debug)]
#[doc(alias("BoundedSemaphore", "CappedSemaphore", "TokenPool", "Lock", "Mutex"))]
pub struct Semaphore {
    passes: Receiver<Pass>,
}

impl Semaphore {
    /// Makes a handle, and the end that its process takes.
    ///
    /// ```
    /// use tasklets::{Halt, plug, run};
    /// let (semaphore, passes) = plug::Semaphore::new();
    /// drop(passes); // nobody will be the process
    /// assert_eq!(run(|| semaphore.acquire()).unwrap_err(), Halt::Closed);
    /// ```
    #[track_caller]
    pub fn new() -> (Semaphore, Sender<Pass>) {
        let (to, passes) = channel();
        (Semaphore { passes }, to)
    }

    /// Waits for a pass.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the process has ended; otherwise why the caller was stopped: then it
    /// has none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, plug, run, spawn, within};
    /// run(|| {
    ///     let (semaphore, passes) = plug::Semaphore::new();
    ///     spawn(move || plug::semaphore(1, passes));
    ///     let _all_there_are = semaphore.acquire().unwrap();
    ///     let late = within(Duration::from_millis(1), || semaphore.acquire());
    ///     assert_eq!(late.value.unwrap_err(), Halt::TimedOut);
    /// });
    /// ```
    #[track_caller]
    pub fn acquire(&self) -> Result<Pass, Halt> {
        self.passes.recv()
    }

    /// The operation of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{after, plug, run, select, spawn};
    /// run(|| {
    ///     let (semaphore, passes) = plug::Semaphore::new();
    ///     spawn(move || plug::semaphore(1, passes));
    ///     let _all_there_are = semaphore.acquire().unwrap();
    ///     select! {
    ///         op(semaphore.acquiring()) -> _ => panic!("there is none"),
    ///         op(after(Duration::from_millis(1))) -> _ => {}
    ///     }
    /// });
    /// ```
    pub fn acquiring(&self) -> impl Operation<Output = Result<Pass, Halt>> + '_ {
        self.passes.receiving()
    }

    /// Takes a pass if the process offers one now. It offers the next as soon as it has its turn.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the process has ended.
    ///
    /// ```
    /// use tasklets::{plug, run, spawn, yield_now};
    /// run(|| {
    ///     let (semaphore, passes) = plug::Semaphore::new();
    ///     spawn(move || plug::semaphore(1, passes));
    ///     yield_now();
    ///     let pass = semaphore.try_acquire().unwrap();
    ///     yield_now();
    ///     assert!(pass.is_some() && semaphore.try_acquire().unwrap().is_none());
    /// });
    /// ```
    pub fn try_acquire(&self) -> Result<Option<Pass>, Halt> {
        self.passes.try_recv()
    }
}

/// Gives `count` passes, and each again when it is dropped.
///
/// Returns why it ended: [`Halt::Closed`] when nobody can ask any more, which it finds out when it
/// has a pass to give. Passes that are out then are of no more effect.
///
/// # Panics
/// If `count` is zero.
///
/// ```
/// use tasklets::{Halt, plug, run, spawn};
/// run(|| {
///     let (semaphore, passes) = plug::Semaphore::new();
///     let process = spawn(move || plug::semaphore(3, passes));
///     drop(semaphore);
///     assert_eq!(process.join().unwrap(), Halt::Closed);
/// });
/// ```
pub fn semaphore(count: usize, to: Sender<Pass>) -> Halt {
    assert!(count > 0, "a semaphore without passes");
    let mut out: Vec<Receiver<Never>> = Vec::new();
    loop {
        let mut giving = to.reserving().only_if(out.len() < count);
        let mut backs: Vec<_> = out.iter().map(Receiver::receiving).collect();
        let mut arms: Vec<&mut dyn Arm> = vec![&mut giving];
        arms.extend(backs.iter_mut().map(|it| it as &mut dyn Arm));
        let won = select::select(&mut arms);
        let ended = match won {
            0 => giving.take().and_then(|permit| {
                let (pass, back) = channel();
                permit.send(Pass { _out: pass })?;
                out.push(back);
                Ok(())
            }),
            _ => match backs.swap_remove(won - 1).take() {
                Err(Halt::Closed) => {
                    drop(out.swap_remove(won - 1));
                    Ok(())
                }
                Err(why) => Err(why),
            },
        };
        if let Err(why) = ended {
            return why;
        }
    }
}
