//! A select over channels known at run time, made once and waited on again and again.
//!
//! Always: an arm that could happen is in `hot`, or is found when it is published; a receiving arm
//! stays registered with its channel between waits, so that a wait costs the same for any number
//! of silent channels.

mod announced;

use super::Select as This;
use super::chosen::Chosen;
use crate::channel::{Grant, ReceiveEnd, SelectEnd, SendEnd, Watch};
use crate::error::Halt;
use crate::kernel::operation::{Glance, Patience};
use crate::kernel::running;
use crate::kernel::scheduler;
use crate::kernel::task::{Doing, Task};
use crate::kernel::wait::{self, Wait};
use crate::time;
use smallvec::SmallVec;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Receives from, and sends to, any number of channels, one at a time.
///
/// Made for loops: registering an arm costs once, waiting costs the same for 2 and for 2,000
/// silent channels. Between waits its receivers are not offered to anybody.
///
/// ```
/// use tasklets::{Select, channel, run, spawn};
/// run(|| {
///     let (ends, receivers): (Vec<_>, Vec<_>) = (0..10).map(|_| channel()).unzip();
///     for (number, tx) in ends.into_iter().enumerate() {
///         spawn(move || tx.send(number));
///     }
///     let mut select = Select::new();
///     receivers.iter().for_each(|rx| drop(select.recv(rx)));
///     let mut sum = 0;
///     for _ in 0..receivers.len() {
///         let chosen = select.wait().unwrap();
///         let index = chosen.index();
///         sum += chosen.recv(&receivers[index]).unwrap();
///         select.remove(index);
///     }
///     assert_eq!(sum, 45);
/// });
/// ```
pub struct Select<'a> {
    arms: Vec<Option<&'a dyn SelectEnd>>,
    /// Arms that have not been removed.
    live: usize,
    /// Those that have to be offered anew for each wait.
    published: Vec<usize>,
    watch: Rc<Watch>,
}

/// How a wait came out, before it is an answer.
enum Won {
    Arm(usize, Grant),
    Nobody,
}

impl<'a> Select<'a> {
    /// Makes a select without arms.
    ///
    /// ```
    /// use tasklets::{Halt, Select, run};
    /// assert_eq!(run(|| Select::new().wait().unwrap_err()), Halt::CannotWait); // for ever, else
    /// ```
    pub fn new() -> Select<'a> {
        Select { arms: Vec::new(), live: 0, published: Vec::new(), watch: Rc::default() }
    }

    /// Adds receiving from `receiver`; returns the arm's index.
    ///
    /// Nothing is received before a wait. Indices count from 0 and are not used again.
    ///
    /// ```
    /// use tasklets::{Select, channel, run, spawn};
    /// run(|| {
    ///     let ((words, from_words), (_ticks, from_ticks)) = (channel(), channel::<()>());
    ///     let mut select = Select::new();
    ///     let (word, _tick) = (select.recv(&from_words), select.recv(&from_ticks));
    ///     spawn(move || words.send("hello"));
    ///     let chosen = select.wait().unwrap();
    ///     assert_eq!(chosen.index(), word);
    ///     assert_eq!(chosen.recv(&from_words), Ok("hello"));
    /// });
    /// ```
    pub fn recv<E: ReceiveEnd>(&mut self, receiver: &'a E) -> usize {
        self.add(receiver)
    }

    /// Adds sending to `sender`; returns the arm's index. The value is named when it is chosen.
    ///
    /// Sending arms are offered anew for each wait, which costs time in proportion to them.
    ///
    /// ```
    /// use tasklets::{Select, channel, run, spawn};
    /// run(|| {
    ///     let (ends, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| channel()).unzip();
    ///     let workers: Vec<_> =
    ///         receivers.into_iter().map(|rx| spawn(move || rx.into_iter().count())).collect();
    ///     let mut select = Select::new();
    ///     ends.iter().for_each(|tx| drop(select.send(tx)));
    ///     for job in 0..30 {
    ///         let idle = select.wait().unwrap(); // a worker that wants one
    ///         let index = idle.index();
    ///         idle.send(&ends[index], job).unwrap();
    ///     }
    ///     drop(select);
    ///     drop(ends);
    ///     assert_eq!(workers.into_iter().map(|it| it.join().unwrap()).sum::<usize>(), 30);
    /// });
    /// ```
    pub fn send<E: SendEnd>(&mut self, sender: &'a E) -> usize {
        self.add(sender)
    }

    fn add(&mut self, end: &'a dyn SelectEnd) -> usize {
        let index = self.arms.len();
        self.arms.push(Some(end));
        self.live += 1;
        self.watch.add();
        if end.stand(self.watch.clone(), index as u32) {
            self.watch.heat(index as u32);
        } else {
            self.published.push(index);
        }
        index
    }

    /// Takes an arm out; the indices of the others stay. True if it was there.
    ///
    /// ```
    /// use tasklets::{Halt, Select, channel, run};
    /// run(|| {
    ///     let ((tx, rx), (_other, from_other)) = (channel::<u8>(), channel::<u8>());
    ///     let mut select = Select::new();
    ///     let (first, second) = (select.recv(&rx), select.recv(&from_other));
    ///     drop(tx);
    ///     assert_eq!(select.wait().unwrap().recv(&rx), Err(Halt::Closed));
    ///     assert!(select.remove(first)); // a closed channel would be chosen again and again
    ///     assert!(!select.remove(first) && select.remove(second));
    /// });
    /// ```
    pub fn remove(&mut self, index: usize) -> bool {
        let Some(end) = self.arms.get_mut(index).and_then(Option::take) else { return false };
        end.unregister(&self.watch, index as u32);
        self.live -= 1;
        self.published.retain(|it| *it != index);
        true
    }

    /// Waits until one of the arms has happened.
    ///
    /// # Errors
    /// [`Halt::Cancelled`], [`Halt::TimedOut`], [`Halt::Injected`] when the tasklet is stopped;
    /// [`Halt::CannotWait`] without an arm, and where waiting is not possible.
    ///
    /// # Panics
    /// If it has to wait under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{Halt, Never, Select, channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (_tx, rx) = channel::<Never>();
    ///     let server = spawn(move || {
    ///         let mut select = Select::new();
    ///         select.recv(&rx);
    ///         select.wait().map(|it| it.index())
    ///     });
    ///     yield_now();
    ///     server.cancel();
    ///     assert_eq!(server.join().unwrap(), Err(Halt::Cancelled)); // of the wait itself
    /// });
    /// ```
    #[track_caller]
    pub fn wait(&mut self) -> Result<Chosen<'_, 'a>, Halt> {
        let chosen = self.perform(Patience::Forever, Location::caller())?;
        chosen.ok_or(Halt::CannotWait)
    }

    /// Does one of the arms if that is possible without waiting for a partner to come.
    ///
    /// # Errors
    /// None at present: a stopped tasklet may still try.
    ///
    /// ```
    /// use tasklets::{Select, channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     let mut select = Select::new();
    ///     select.send(&tx);
    ///     assert!(select.try_wait().unwrap().is_none());
    ///     let reader = spawn(move || rx.recv());
    ///     yield_now();
    ///     let chosen = select.try_wait().unwrap().expect("somebody receives");
    ///     chosen.send(&tx, 7).unwrap();
    ///     assert_eq!(reader.join().unwrap(), Ok(7));
    /// });
    /// ```
    #[track_caller]
    pub fn try_wait(&mut self) -> Result<Option<Chosen<'_, 'a>>, Halt> {
        self.perform(Patience::None, Location::caller())
    }

    /// Waits for at most `delay`; `None` if nothing happened.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Select, channel, run};
    /// run(|| {
    ///     let (_tx, rx) = channel::<u8>();
    ///     let mut select = Select::new();
    ///     select.recv(&rx);
    ///     let silence = select.wait_timeout(Duration::from_millis(1)).unwrap();
    ///     assert!(silence.is_none());
    /// });
    /// ```
    #[track_caller]
    pub fn wait_timeout(&mut self, delay: Duration) -> Result<Option<Chosen<'_, 'a>>, Halt> {
        self.perform(Patience::Until(time::after_now(delay)), Location::caller())
    }

    /// Waits until `deadline`; `None` if nothing happened.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Runtime, Select, channel, now, sleep, spawn};
    /// let runtime = Runtime::builder().virtual_clock(true).build();
    /// runtime.run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || while sleep(Duration::from_secs(25)).is_ok() && tx.send(()).is_ok() {});
    ///     let mut select = Select::new();
    ///     select.recv(&rx);
    ///     let deadline = now() + Duration::from_secs(60); // for all messages together
    ///     let mut messages = 0;
    ///     while let Some(chosen) = select.wait_deadline(deadline).unwrap() {
    ///         messages += chosen.recv(&rx).map_or(0, |()| 1);
    ///     }
    ///     assert_eq!((messages, now()), (2, deadline));
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn wait_deadline(&mut self, deadline: Instant) -> Result<Option<Chosen<'_, 'a>>, Halt> {
        self.perform(Patience::Until(time::nanos(deadline)), Location::caller())
    }

    fn perform(
        &mut self,
        patience: Patience,
        at: &'static Location<'static>,
    ) -> Result<Option<Chosen<'_, 'a>>, Halt> {
        let (index, grant) = loop {
            if running::gate(patience != Patience::None)?
                && let Some(won) = self.perform_announced(patience, at)?
            {
                match won {
                    Won::Arm(index, grant) => break (index, grant),
                    Won::Nobody => return Ok(None),
                }
            }
            let glance = Glance::now();
            if let Some(won) = self.attempt(&glance, at) {
                break won;
            }
            if glance.is_over() {
                continue; // others ran during an attempt
            }
            drop(glance);
            if patience.is_over() {
                return Ok(None);
            }
            if patience == Patience::Forever && self.live == 0 {
                return Err(Halt::CannotWait);
            }
            match self.park(patience, at)? {
                Some(Won::Arm(index, grant)) => break (index, grant),
                Some(Won::Nobody) => return Ok(None),
                None => {}
            }
        };
        let end = self.arms[index].expect("an arm that has won is there");
        Ok(Some(Chosen::new(index, end, grant)))
    }

    /// Tries the hot arms and those that send, one drawn by lot after the other, until others run.
    fn attempt(&self, glance: &Glance, at: &'static Location<'static>) -> Option<(usize, Grant)> {
        while self.published.is_empty() {
            let (place, index) = self.draw(glance)?;
            let arm = self.arms[index];
            let grant = arm.and_then(|it| it.attempt(at));
            if arm.is_none_or(|it| !it.ready()) {
                self.watch.cool(place, index as u32);
            } else if grant.is_none() && !glance.is_over() {
                break; // it must not be drawn again
            }
            if grant.is_some() || glance.is_over() {
                return grant.map(|it| (index, it));
            }
        }
        self.attempt_all(glance, at)
    }

    /// One of the hot arms by lot, and its place among them.
    fn draw(&self, glance: &Glance) -> Option<(usize, usize)> {
        let ways = self.watch.ways();
        if ways == 0 {
            return None;
        }
        let place = glance.choose(ways);
        Some((place, self.watch.arm(place) as usize))
    }

    /// [`attempt`](Self::attempt) where an arm may be unable to happen and stay hot.
    #[cold]
    fn attempt_all(
        &self,
        glance: &Glance,
        at: &'static Location<'static>,
    ) -> Option<(usize, Grant)> {
        let mut candidates: SmallVec<[u32; 64]> = SmallVec::new();
        candidates.extend((0..self.watch.ways()).map(|it| self.watch.arm(it)));
        candidates.extend(self.published.iter().map(|it| *it as u32));
        while !candidates.is_empty() {
            let index = candidates.swap_remove(glance.choose(candidates.len())) as usize;
            let Some(arm) = self.arms[index] else { continue };
            if let Some(grant) = arm.attempt(at) {
                return Some((index, grant));
            }
            if glance.is_over() {
                break;
            }
            if !arm.ready() {
                self.watch.cool(0, index as u32);
            }
        }
        None
    }

    /// This OS thread, where it is in no run and partners may come from others.
    fn outsider(&self) -> Option<Rc<Task>> {
        let shared = self.arms.iter().flatten().all(|it| it.is_shared());
        if shared { scheduler::outsider() } else { None }
    }

    /// `None`: the partner went away again.
    fn park(
        &self,
        patience: Patience,
        at: &'static Location<'static>,
    ) -> Result<Option<Won>, Halt> {
        let task = running::waiter(at).or_else(|why| self.outsider().ok_or(why))?;
        let wait = Wait::open(task.clone());
        // The others stand in their channels already.
        for index in &self.published {
            if let Some(arm) = self.arms[*index] {
                arm.publish(&wait, *index as u32);
            }
        }
        let width = self.arms.len() as u32;
        self.watch.wait(Some(wait.clone()));
        let outcome =
            scheduler::park_until(&wait, patience.end(), width, Doing::Selecting(width), at);
        self.watch.wait(None);
        let won = if outcome < wait::NO_BRANCH { outcome & !wait::CLOSED } else { u32::MAX };
        for index in self.published.iter().filter(|it| **it as u32 != won) {
            if let Some(arm) = self.arms[*index] {
                arm.withdraw(&wait, *index as u32);
            }
        }
        if let Some(why) = running::halt_of(&task, outcome) {
            return Err(why);
        }
        match self.arms.get(won as usize).copied().flatten() {
            Some(_) if outcome & wait::CLOSED != 0 => {
                Ok(Some(Won::Arm(won as usize, Grant::Closed)))
            }
            Some(arm) => Ok(arm.complete(&task).map(|it| Won::Arm(won as usize, it))),
            None if won == width => Ok(Some(Won::Nobody)),
            None => Ok(None),
        }
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        This::new()
    }
}

impl Drop for Select<'_> {
    fn drop(&mut self) {
        for index in 0..self.arms.len() {
            self.remove(index);
        }
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arms = self.arms.iter().flatten().count();
        f.debug_struct("Select").field("arms", &arms).finish_non_exhaustive()
    }
}
