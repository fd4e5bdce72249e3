//! The same searches on several OS threads: only the runs are made beside each other.
//!
//! What is known to be left of an exhaustive search is a set of ways, and each end of a way stands
//! for one run, whatever is found meanwhile. So helpers make runs ahead, and the search takes them
//! in in its own order. Random schedules are decided by their numbers, so they are drawn in blocks
//! that know the same.
//!
//! Always: the verdict is that of the search on one thread, with the same failures in the same
//! order; each helper has names of its own, and a run whose names are not those of the search is
//! made again.

use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use parking_lot::Mutex;

use super::dpor::{Tree, exhaust_with, follow};
use super::draw::{Draw, Known};
use super::event::{Event, Names};
use super::live::Desk;
use super::random::{Mode, Plan};
use super::run::Run;
use super::steady;
use super::system::{Rules, System};
use super::verdict::{End, Settings, Verdict};
use super::witness::{Glimpse, Seen};

/// How many runs are asked for in advance, for each thread.
const AHEAD: usize = 8;

/// How many threads there are at most.
const THREADS_MAX: usize = 256;

/// A run to make: how it begins, in these names.
struct Job {
    path: Vec<Event>,
    names: Arc<Names>,
}

/// A run that was made.
struct Made {
    path: Vec<Event>,
    run: Run,
    /// Whether it could begin as it should.
    fits: bool,
    /// The names that it was asked for in.
    asked: Arc<Names>,
    /// Those after it, if there are more.
    grown: Option<Names>,
}

/// A run, or the panic of the system that made it.
type Result = std::result::Result<Made, Box<dyn Any + Send>>;

/// As [`exhaust`](super::exhaust), with the runs made on so many threads; the verdict is the same.
///
/// ```
/// use std::num::NonZero;
/// use tasklets::explore::{
///     Board, Branch, Settings, System, TaskletName, exhaust, exhaust_parallel,
/// };
///
/// /// Five send to the root, which takes every value.
/// struct Five;
///
/// impl System for Five {
///     fn run(&self, board: &mut Board<'_>) {
///         let root = TaskletName::ROOT;
///         let channel = board.channel(root);
///         for _ in 0..5 {
///             let sender = board.spawn(root);
///             board.offer(sender, &[Branch::Send(channel)]);
///         }
///         for left in (0..5).rev() {
///             board.offer(root, &[Branch::Receive(channel)]);
///             let event = board.choose().expect("somebody sends");
///             board.end(event.first.slot.tasklet);
///             if left == 0 {
///                 board.end(root);
///             }
///         }
///         board.choose();
///     }
/// }
///
/// let settings = Settings::default();
/// let verdict = exhaust_parallel(&Five, &settings, NonZero::new(2).unwrap());
/// assert_eq!(verdict.to_string(), exhaust(&Five, &settings).to_string());
/// assert_eq!(verdict.traces, 120);
/// ```
pub fn exhaust_parallel(
    system: &(dyn System + Sync),
    settings: &Settings,
    threads: NonZero<usize>,
) -> Verdict {
    exhaust_parallel_with(system, settings, threads, &mut |_, _| ())
}

/// As [`exhaust_parallel`], and shows each run to `look`, in the order of the search.
pub(super) fn exhaust_parallel_with(
    system: &(dyn System + Sync),
    settings: &Settings,
    threads: NonZero<usize>,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (jobs, queue) = mpsc::channel();
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        let (results, made) = mpsc::channel();
        let mut helpers = 0;
        for _ in 0..threads.get().min(THREADS_MAX) {
            let (results, queue) = (results.clone(), &queue);
            let helper = move || help(system, settings.rules, queue, &results);
            helpers += usize::from(thread::Builder::new().spawn_scoped(scope, helper).is_ok());
        }
        if helpers == 0 {
            return exhaust_with(system, settings, look);
        }
        let ahead = AHEAD * helpers;
        let (tree, names) = (Tree::new(settings.rules), Arc::new(Names::new()));
        Lead { tree, names, jobs, made, ready: BTreeMap::new(), ahead }
            .search(system, settings, look)
    })
}

/// Makes runs until no more are asked for.
fn help(system: &dyn System, rules: Rules, queue: &Mutex<Receiver<Job>>, results: &Sender<Result>) {
    let (mut names, mut desk) = (Names::new(), Desk::default());
    let mut same = true;
    loop {
        let job = queue.lock().recv();
        let Ok(Job { path, names: asked }) = job else { return system.rest() };
        if !same || names.size() != asked.size() {
            names.clone_from(&asked);
        }
        let attempt = AssertUnwindSafe(|| follow(&mut desk, system, &mut names, rules, &path));
        let result = catch_unwind(attempt).map(|fits| {
            same = names.size() == asked.size();
            let grown = (!same).then(|| names.clone());
            Made { path, run: std::mem::take(&mut desk).run, fits, asked, grown }
        });
        if results.send(result).is_err() {
            return system.rest();
        }
    }
}

/// The search itself, and what it has asked for.
struct Lead {
    tree: Tree,
    names: Arc<Names>,
    jobs: Sender<Job>,
    made: Receiver<Result>,
    /// The runs that were asked for; none while they are made.
    ready: BTreeMap<Vec<Event>, Option<Made>>,
    ahead: usize,
}

impl Lead {
    fn search(
        mut self,
        system: &dyn System,
        settings: &Settings,
        look: &mut dyn FnMut(&Run, &Names),
    ) -> Verdict {
        let mut verdict = Verdict::default();
        loop {
            let next = self.tree.next();
            self.ask(&next);
            let (run, fits) = self.take(&next, system, settings.rules);
            if !fits {
                let wanted = next.get(run.events.len());
                verdict.depart(steady::departure(&run, &self.names, wanted));
                return verdict;
            }
            look(&run, &self.names);
            let more = verdict.count(&run, &self.names, settings);
            if !self.tree.grow(&run) {
                verdict.exhausted = verdict.cut == 0 && !verdict.refused;
                return verdict;
            }
            if !more {
                verdict.estimate = self.tree.estimate(verdict.traces);
                return verdict;
            }
        }
    }

    /// Asks for the run that comes next, and for some of those that come later.
    fn ask(&mut self, next: &[Event]) {
        let Lead { tree, names, jobs, ready, ahead, .. } = self;
        let mut add = |path: &[Event]| {
            if !ready.contains_key(path) {
                ready.insert(path.to_vec(), None);
                // It fails only after a panic, which is on its way.
                let _ = jobs.send(Job { path: path.to_vec(), names: names.clone() });
            }
            ready.len() < *ahead
        };
        if add(next) {
            tree.left(&mut add);
        }
    }

    /// The run that is to begin like this, when it is made, and whether it does.
    fn take(&mut self, path: &[Event], system: &dyn System, rules: Rules) -> (Run, bool) {
        let made = loop {
            if let Some(Some(made)) = self.ready.get_mut(path).map(Option::take) {
                self.ready.remove(path);
                break made;
            }
            match self.made.recv() {
                Ok(Ok(made)) => drop(self.ready.insert(made.path.clone(), Some(made))),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => return self.make(path, system, rules),
            }
        };
        if let Some(grown) = made.grown {
            if made.asked.size() != self.names.size() {
                return self.make(path, system, rules);
            }
            self.names = Arc::new(grown);
        }
        (made.run, made.fits)
    }

    /// Makes a run itself.
    fn make(&mut self, path: &[Event], system: &dyn System, rules: Rules) -> (Run, bool) {
        let mut desk = Desk::default();
        let fits = follow(&mut desk, system, Arc::make_mut(&mut self.names), rules, path);
        (desk.run, fits)
    }
}

/// As [`sample`](super::sample), with the runs made on so many threads; the verdict is the same.
///
/// ```
/// use std::num::NonZero;
/// use tasklets::explore::{Board, Mode, Settings, System, sample_parallel};
///
/// /// A root that ends at once.
/// struct Nothing;
///
/// impl System for Nothing {
///     fn run(&self, board: &mut Board<'_>) {
///         board.end(tasklets::explore::TaskletName::ROOT);
///         board.choose();
///     }
/// }
///
/// let settings = Settings { executions_max: 100, ..Settings::default() };
/// let verdict = sample_parallel(&Nothing, Mode::Walk, 1, &settings, NonZero::new(2).unwrap());
/// assert_eq!((verdict.executions, verdict.traces), (100, 1));
/// ```
pub fn sample_parallel(
    system: &(dyn System + Sync),
    mode: Mode,
    seed: u64,
    settings: &Settings,
    threads: NonZero<usize>,
) -> Verdict {
    let plan = Plan { mode: Some(mode), seed };
    sample_parallel_with(system, plan, settings, threads, &mut Seen::default())
}

/// As [`sample_parallel`], and `seen` remembers what a search on one thread would.
pub(super) fn sample_parallel_with(
    system: &(dyn System + Sync),
    plan: Plan,
    settings: &Settings,
    threads: NonZero<usize>,
    seen: &mut Seen,
) -> Verdict {
    let (mut verdict, mut names) = (Verdict::default(), Names::new());
    let (mut known, mut start, mut desk) = (Known::default(), 0, Desk::light());
    let (executions, threads) = (settings.executions_max.max(1), threads.get().min(THREADS_MAX));
    while start < executions {
        let block = Plan::block(start, executions);
        let share = block.clone().count().div_ceil(threads) as u64;
        let parts: Vec<_> = (0..threads as u64)
            .map(|it| start + it * share..(start + (it + 1) * share).min(block.end))
            .collect();
        let (ends, learnt) = draw_parts(system, plan, settings, &known, parts);
        let mut draw = Draw::new(&known);
        for (execution, (end, glimpse)) in block.clone().zip(ends) {
            seen.keep(glimpse);
            let goes_on = if let End::Failure(_) | End::Refused = end {
                plan.run(execution, &mut draw, (&mut desk, &mut names), (system, settings));
                if !desk.run.outcome.is_failure() {
                    verdict.depart(steady::passing(&desk.run, &names));
                    return verdict;
                }
                verdict.count(&desk.run, &names, settings)
            } else {
                verdict.count_end(end, settings)
            };
            if !goes_on {
                return verdict;
            }
        }
        (known, start) = (learnt, block.end);
    }
    verdict
}

/// Draws the schedules of each part on a thread of its own; how they ended, in order, and what is
/// known then.
fn draw_parts(
    system: &(dyn System + Sync),
    plan: Plan,
    settings: &Settings,
    known: &Known,
    parts: Vec<Range<u64>>,
) -> (Vec<(End, Glimpse)>, Known) {
    let draw_part = |part: Range<u64>| {
        let (mut desk, mut names, mut learnt) = (Desk::light(), Names::new(), known.clone());
        let (mut draw, mut seen) = (Draw::new(known), Seen::after(part.start));
        let ends = part.map(|execution| {
            plan.run(execution, &mut draw, (&mut desk, &mut names), (system, settings));
            Plan::learn(execution, &mut learnt, &desk.run, &names);
            let glimpse = seen.glimpse(&desk.run, &names);
            seen.keep(glimpse.clone());
            (End::of(&desk.run), glimpse)
        });
        let ends = ends.collect::<Vec<_>>();
        system.rest();
        (ends, learnt)
    };
    thread::scope(|scope| {
        let begin = |part: Range<u64>| {
            let own = part.clone();
            let helper = thread::Builder::new().spawn_scoped(scope, || draw_part(own));
            helper.map_err(|_refused| part)
        };
        let helpers: Vec<_> = parts.into_iter().map(begin).collect();
        let (mut all, mut learnt) = (Vec::new(), known.clone());
        for helper in helpers {
            let (ends, more) = match helper {
                Ok(helper) => helper.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(part) => draw_part(part),
            };
            all.extend(ends);
            learnt.join(&more);
        }
        (all, learnt)
    })
}
