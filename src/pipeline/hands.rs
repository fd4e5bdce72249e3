//! Who works for a stage on other OS threads, and how work gets there and back.
//!
//! Always: a load that is sent is answered, or its sender is told that nobody is there; who sent it
//! does not go away before, whatever stops it. Load: `Sent -> Begun -> Answered`.

use super::Cause;
use super::network::{Stop, own};
use crate::blocking::{Unanswered, blocking_or};
use crate::error::{Halt, JoinError};
use crate::kernel::announce;
use crate::operation::Operation;
use crate::shared::{self, Receiver, Remote, Sender, Which, Workers};
use crate::time::now;
use crate::trap::shield;
use parking_lot::Mutex;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Loads that are away for each who works on one: the others wait there, so that nobody there
/// waits for this thread, or here for their turn.
const LOADS_EACH: usize = 16;

/// Where the work of a stage is done.
#[derive(Clone, Copy)]
pub(super) enum Place<'env> {
    Pool,
    Workers(&'env Workers),
}

impl Place<'_> {
    /// How many workers a stage has there unless it is told.
    pub(super) fn workers(self) -> usize {
        match self {
            Place::Pool => 1,
            Place::Workers(workers) => workers.count(),
        }
    }
}

/// What came of a load: of each item in turn, up to the first that panicked, or that was not wanted
/// any more; those behind it, if they are kept; and how long it took.
pub(super) struct Outcome<T: 'static, R: 'static> {
    pub(super) results: Vec<thread::Result<R>>,
    pub(super) left: Vec<T>,
    pub(super) spent: Duration,
}

impl<T, R> Outcome<T, R> {
    /// Nobody has begun.
    fn none(left: Vec<T>) -> Outcome<T, R> {
        Outcome { results: Vec::new(), left, spent: Duration::ZERO }
    }
}

/// Why there is no outcome, and what there is of it all the same.
pub(super) type Unfinished<T, R> = (Stop, Option<Outcome<T, R>>);

/// The work, and whether it is still wanted.
struct Order<F> {
    work: F,
    enough: Arc<AtomicBool>,
    /// What is not begun is handed back.
    keeps: bool,
}

impl<F> Order<F> {
    fn carry_out<T, R: 'static>(&self, values: Vec<T>) -> Outcome<T, R>
    where
        F: Fn(T) -> R,
    {
        let (begun, mut results) = (now(), Vec::with_capacity(values.len()));
        let mut left = values.into_iter();
        while !self.enough.load(Ordering::Relaxed)
            && let Some(value) = left.next()
        {
            let result = catch_unwind(AssertUnwindSafe(|| (self.work)(value)));
            results.push(result.map_err(own)); // who is unwound goes on being so
            if results.last().is_some_and(Result::is_err) {
                break;
            }
        }
        let spent = now().saturating_duration_since(begun);
        if self.keeps {
            return Outcome { results, left: left.collect(), spent };
        }
        // What is not begun is dropped here; a panic in that is that of the first.
        for value in left {
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(value))).map_err(own);
            if let Err(panic) = dropped
                && results.last().is_none_or(Result::is_ok)
            {
                results.push(Err(panic));
            }
        }
        Outcome { results, left: Vec::new(), spent }
    }
}

/// A load on its way to a worker, and where the outcome goes.
struct Sent<T: 'static, R: 'static> {
    values: Vec<T>,
    answer: Sender<Outcome<T, R>>,
}

/// The way to those who work.
pub(super) struct Hands<T: 'static, R: 'static> {
    way: Way<T, R>,
    /// What has not been begun need not be.
    enough: Arc<AtomicBool>,
}

/// The work on a load, as a call.
type Call<T, R> = Arc<dyn Fn(Vec<T>) -> Outcome<T, R> + Send + Sync>;

enum Way<T: 'static, R: 'static> {
    /// In the tasklet that asks.
    Here(Call<T, R>),
    Pool(Call<T, R>),
    Workers(Sender<Sent<T, R>>),
}

impl<T: Send + 'static, R: Send + 'static> Hands<T, R> {
    /// Hires so many; if they have to be waited for in the end, that is the second.
    pub(super) fn new(
        place: Place<'_>,
        count: usize,
        keeps: bool,
        work: impl Fn(T) -> R + Send + Sync + 'static,
    ) -> (Hands<T, R>, Option<Ends>) {
        let enough = Arc::new(AtomicBool::new(false));
        let order = Arc::new(Order { work, enough: enough.clone(), keeps });
        let workers = match place {
            _ if announce::controlled().is_some() => None,
            Place::Pool => None,
            Place::Workers(workers) => Some(workers),
        };
        let Some(workers) = workers else {
            let call: Call<T, R> = Arc::new(move |values| order.carry_out(values));
            let way = match place {
                Place::Pool => Way::Pool(call),
                Place::Workers(_) => Way::Here(call),
            };
            return (Hands { way, enough }, None);
        };
        let (way, sent) = shared::channel::<Sent<T, R>>();
        let hire = |_| {
            let (sent, order) = (sent.clone(), order.clone());
            workers.spawn_on(Which::LeastLoaded, move || {
                while let Ok(Sent { values, answer }) = sent.recv() {
                    let outcome = order.carry_out(values);
                    // Whoever sent it waits, also if this tasklet has been cancelled meanwhile.
                    drop(shield(|| answer.send(outcome)));
                }
            })
        };
        let ends = Ends((0..count).map(hire).collect());
        (Hands { way: Way::Workers(way), enough }, Some(ends))
    }

    /// How many loads may be away for each who works.
    pub(super) fn loads_each(&self) -> usize {
        if matches!(self.way, Way::Workers(_)) { LOADS_EACH } else { 1 }
    }

    /// How many items a load may have: what is dear to hand over goes together.
    pub(super) fn items_max(&self, most: usize) -> usize {
        if matches!(self.way, Way::Workers(_)) { most } else { 1 }
    }

    /// Items that nobody has begun to work on are left from now on.
    ///
    /// In a run that is explored each worker finds that out by itself: they share nothing there.
    pub(super) fn enough(&self) {
        if announce::controlled().is_none() {
            self.enough.store(true, Ordering::Relaxed);
        }
    }

    /// Has `values` worked on and waits until nobody does any more.
    pub(super) fn work(&self, values: Vec<T>) -> Result<Outcome<T, R>, Unfinished<T, R>> {
        let (answer, outcome) = shared::channel();
        match &self.way {
            Way::Here(call) => Ok(call(values)),
            Way::Pool(call) => {
                let late = move |result: thread::Result<_>| drop(result.map(|it| answer.send(it)));
                let (call, kept) = (call.clone(), Arc::new(Mutex::new(values)));
                let values = kept.clone();
                match blocking_or(move || call(mem::take(&mut *values.lock())), late) {
                    Ok(outcome) => Ok(outcome),
                    Err(Unanswered::NotBegun { why, .. }) => {
                        Err((why.into(), Some(Outcome::none(mem::take(&mut *kept.lock())))))
                    }
                    Err(Unanswered::Begun { why }) => Err(self.leave(&outcome, why)),
                }
            }
            Way::Workers(way) => {
                way.send(Sent { values, answer }).map_err(|unsent| {
                    (gone_or(unsent.why), Some(Outcome::none(unsent.value.values)))
                })?;
                match outcome.recv() {
                    Ok(outcome) => Ok(outcome),
                    Err(Halt::Closed) => Err((gone_or(Halt::Closed), None)),
                    Err(why) => Err(self.leave(&outcome, why)),
                }
            }
        }
    }

    /// Who asked has been stopped: waits for the outcome all the same.
    fn leave(&self, outcome: &Receiver<Outcome<T, R>>, why: Halt) -> Unfinished<T, R> {
        self.enough();
        let mut late = shield(|| outcome.recv()).ok();
        // A panic is that of the last item.
        let panic = late.as_mut().and_then(|it| it.results.pop_if(|last| last.is_err()));
        let stop = match panic {
            Some(Err(panic)) => Stop::Failed(Cause::Panicked(panic)),
            _ => Stop::Halted(why),
        };
        (stop, late)
    }
}

/// A stop for that reason; closed means that those who should work have ended.
fn gone_or(why: Halt) -> Stop {
    if why != Halt::Closed {
        return Stop::Halted(why);
    }
    let error = io::Error::other("the runs of its workers have ended");
    Stop::Failed(Cause::Failed(error.into()))
}

/// Tasklets of other threads, to be waited for.
pub(super) struct Ends(Vec<Remote<()>>);

impl Ends {
    /// Waits until they have ended, which the end of the way to them tells them to; cancels them if
    /// this tasklet is stopped. A panic of one (when it drops the work, say) is one of the stage.
    pub(super) fn wait(mut self) -> Result<(), Stop> {
        let (mut panicked, mut stopped) = (None, None);
        for at in 0..self.0.len() {
            let mut ended = (&mut self.0[at]).wait();
            if let Err(JoinError::Halted(why)) = ended {
                self.0.iter().for_each(Remote::cancel);
                stopped = Some(why);
                ended = shield(|| (&mut self.0[at]).wait());
            }
            if let Err(JoinError::Panicked(panic)) = ended {
                panicked.get_or_insert(panic);
            }
        }
        match (panicked, stopped) {
            (Some(panic), _) => Err(Stop::Failed(Cause::Panicked(panic))),
            (None, Some(why)) => Err(Stop::Halted(why)),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An item that cannot be dropped without a panic.
    struct Awkward;

    impl Drop for Awkward {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("awkward"));
        }
    }

    #[test]
    fn a_panic_of_items_that_are_left_is_that_of_the_first() {
        for begun in [0, 1] {
            let enough = Arc::new(AtomicBool::new(begun == 0));
            let told = enough.clone();
            let work =
                move |it: Awkward| (std::mem::forget(it), told.store(true, Ordering::Relaxed)).1;
            let outcome =
                Order { work, enough, keeps: false }.carry_out(vec![Awkward, Awkward, Awkward]);
            let ended: Vec<_> = outcome.results.iter().map(Result::is_ok).collect();
            assert_eq!(ended, [true, false][1 - begun..], "{begun} begun");
        }
    }
}
