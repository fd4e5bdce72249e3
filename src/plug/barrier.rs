//! A barrier as a process: it lets those who wait go on when so many have come.
//!
//! Always: nobody passes before so many wait, of whom none had been stopped before the first was
//! told; the barrier serves one round after the other.
//! Round: `Gathering -> Full -> Gathering`.

use crate::channel::{Never, Receiver, Sender, channel};
use crate::error::Halt;
use crate::operation::Operation;
use crate::select::{self, Arm};
use std::fmt;

/// One who has come to a [`barrier`], and waits.
///
/// ```
/// use tasklets::{Receiver, plug, run, spawn};
/// /// A barrier that says when it begins.
/// fn open_late(arrivals: Receiver<plug::Arrival>) {
///     println!("open");
///     plug::barrier(1, arrivals);
/// }
/// run(|| {
///     let (barrier, arrivals) = plug::Barrier::new();
///     spawn(move || open_late(arrivals));
///     assert_eq!(barrier.wait(), Ok(true));
/// });
/// ```
pub struct Arrival {
    /// Tells it to go on, and whether it is the first who is told.
    go: Sender<bool>,
    /// Closes when it waits no more.
    here: Receiver<Never>,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").finish_non_exhaustive()
    }
}

/// Where tasklets wait until so many have come. Can be cloned.
///
/// ```
/// use tasklets::{plug, run, scope, spawn};
/// run(|| {
///     let (barrier, arrivals) = plug::Barrier::new();
///     spawn(move || plug::barrier(3, arrivals));
///     let leaders = scope(|s| {
///         let workers: Vec<_> = (0..3).map(|_| s.spawn(|| barrier.wait().unwrap())).collect();
///         workers.into_iter().filter_map(|it| it.join().ok()).filter(|leads| *leads).count()
///     });
///     assert_eq!(leaders, 1);
/// });
/// ```
#[derive(Clone, Debug)]
#[doc(alias("AltingBarrier", "Rendezvous", "CyclicBarrier"))]
pub struct Barrier {
    arrivals: Sender<Arrival>,
}

impl Barrier {
    /// Makes a handle, and the end that its process takes.
    ///
    /// ```
    /// use tasklets::{plug, run, spawn};
    /// run(|| {
    ///     let (alone, arrivals) = plug::Barrier::new();
    ///     spawn(move || plug::barrier(1, arrivals));
    ///     assert_eq!(alone.wait(), Ok(true));
    /// });
    /// ```
    #[track_caller]
    pub fn new() -> (Barrier, Receiver<Arrival>) {
        let (arrivals, from) = channel();
        (Barrier { arrivals }, from)
    }

    /// Waits until so many wait; true for one of them.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the process has ended; otherwise why the caller was stopped: then it
    /// does not count, unless the others had been told to go on already.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, plug, run, spawn, within};
    /// run(|| {
    ///     let (barrier, arrivals) = plug::Barrier::new();
    ///     spawn(move || plug::barrier(2, arrivals));
    ///     let late = within(Duration::from_millis(1), || barrier.wait());
    ///     assert_eq!(late.value, Err(Halt::TimedOut)); // the other one has not come
    /// });
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<bool, Halt> {
        let ((go, told), (_here, here)) = (channel(), channel());
        self.arrivals.send(Arrival { go, here })?;
        told.recv()
    }
}

/// Lets those who have come go on when there are `count` of them, again and again.
///
/// Returns why it ended: [`Halt::Closed`] when nobody can come any more.
///
/// # Panics
/// If `count` is zero.
///
/// ```
/// use tasklets::{Halt, plug, run, spawn};
/// run(|| {
///     let (barrier, arrivals) = plug::Barrier::new();
///     let process = spawn(move || plug::barrier(3, arrivals));
///     drop(barrier);
///     assert_eq!(process.join().unwrap(), Halt::Closed);
/// });
/// ```
pub fn barrier(count: usize, arrivals: Receiver<Arrival>) -> Halt {
    assert!(count > 0, "a barrier for nobody");
    let mut waiting = Vec::new();
    loop {
        if let Err(why) = gather(count, &arrivals, &mut waiting) {
            return why;
        }
        if let Err(why) = release(&mut waiting) {
            return why;
        }
    }
}

/// Waits until there are `count`.
fn gather(
    count: usize,
    arrivals: &Receiver<Arrival>,
    waiting: &mut Vec<Arrival>,
) -> Result<(), Halt> {
    while waiting.len() < count {
        let mut arriving = arrivals.receiving();
        let mut leaving: Vec<_> = waiting.iter().map(|it| it.here.receiving()).collect();
        let mut arms: Vec<&mut dyn Arm> = vec![&mut arriving];
        arms.extend(leaving.iter_mut().map(|it| it as &mut dyn Arm));
        let won = select::select(&mut arms);
        if won == 0 {
            let arrival = arriving.take()?;
            waiting.push(arrival);
            continue;
        }
        match leaving.swap_remove(won - 1).take() {
            Err(Halt::Closed) => drop(waiting.remove(won - 1)),
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Tells all to go on, unless one has left before the first is told.
fn release(waiting: &mut Vec<Arrival>) -> Result<(), Halt> {
    let mut first = true;
    let mut round = std::mem::take(waiting).into_iter();
    while let Some(arrival) = round.next() {
        match arrival.go.send(first) {
            Ok(()) => first = false,
            Err(error) if error.why != Halt::Closed => return Err(error.why),
            Err(_) if first => {
                waiting.extend(round);
                break;
            }
            Err(_) => {}
        }
    }
    Ok(())
}
