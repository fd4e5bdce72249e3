//! A thread that names a tasklet which has held its OS thread for too long.
//!
//! Always: it knows only what the scheduler wrote down when the turn began, which needs no tasklet
//! to be asked and so also works while one hangs; it calls nobody while its state is locked.
//! Monitor: `Fresh --first turn--> Watching <-> Asleep --runtime dropped--> Over`.

use crate::blocking::new_thread;
use crate::error::complain;
use crate::kernel::asleep::{self, Kind, Nap};
use crate::kernel::clock::{Clock, Nanos};
use crate::kernel::name::{Identity, TaskletId};
use crate::kernel::trace::Watch;
use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A turn that lasts: a tasklet has held its OS thread, and nobody else could run meanwhile.
///
/// What a [`monitor`](crate::RuntimeBuilder::monitor) is told.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use tasklets::{Builder, Runtime};
/// let (tell, told) = mpsc::channel();
/// let runtime = Runtime::builder().monitor(Duration::from_millis(1), move |turn| {
///     let _ = tell.send(turn.to_string());
/// });
/// let report = runtime.build().run(move || {
///     // A mistake: it blocks the OS thread. Here, until the report has come.
///     Builder::new().name("hog").spawn(move || told.recv().unwrap()).unwrap().join().unwrap()
/// });
/// assert!(report.unwrap().starts_with("`hog` (root.0), spawned at "));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LongTurn {
    /// Whose turn it is.
    pub tasklet: TaskletId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its place in the tree of spawns.
    pub path: String,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// The operation that it waited for last, before the turn; `None` if it has not waited yet.
    /// What holds the thread comes after it.
    pub waited_at: Option<&'static Location<'static>>,
    /// How long the turn has lasted, at least.
    pub held: Duration,
}

impl fmt::Display for LongTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "`{name}` ({})", self.path)?,
            None => f.write_str(&self.path)?,
        }
        let (spawned_at, held) = (self.spawned_at, self.held);
        write!(f, ", spawned at {spawned_at}, has held its OS thread for {held:?} and more")?;
        match self.waited_at {
            Some(at) => write!(f, ", since its operation at {at}"),
            None => f.write_str(", since it began"),
        }
    }
}

type Hook = Box<dyn FnMut(&LongTurn) + Send>;

/// The scheduler's side.
pub(crate) struct Monitor {
    shared: Arc<Shared>,
    /// What the thread is to do, until it is made.
    fresh: Cell<Option<(Duration, Hook)>>,
}

struct Shared {
    turn: Mutex<Turn>,
    /// Sleeps until a turn begins.
    nap: Nap,
    /// Whether `turn` lasts still. Written without the lock: to see its end late does no harm.
    lasts: AtomicBool,
    /// Told when a turn begins while the thread is asleep, and of the end.
    news: Condvar,
}

/// The present turn, or the last one.
#[derive(Default)]
struct Turn {
    /// Counts turns.
    number: u64,
    tasklet: u64,
    named: bool,
    name: String,
    path: Vec<u8>,
    spawned_at: Option<&'static Location<'static>>,
    waited_at: Option<&'static Location<'static>>,
    over: bool,
}

impl Monitor {
    pub(crate) fn new(limit: Duration, hook: impl FnMut(&LongTurn) + Send + 'static) -> Monitor {
        let fresh = Cell::new(Some((limit, Box::new(hook) as Hook)));
        let (turn, lasts, news) = (Mutex::default(), AtomicBool::new(false), Condvar::new());
        Monitor { shared: Arc::new(Shared { turn, nap: Nap::default(), lasts, news }), fresh }
    }

    /// Makes the thread, when the first turn begins.
    fn start(&self) {
        let Some((limit, hook)) = self.fresh.take() else { return };
        let shared = self.shared.clone();
        if let Err(error) = new_thread("tasklets-monitor", move || shared.watch(limit, hook)) {
            complain(format_args!("there is no monitor, the OS refused its thread: {error}"));
        }
    }
}

impl Watch for Monitor {
    fn turn_begins(&self, who: &Identity, waited_at: Option<&'static Location<'static>>) {
        self.start();
        let mut turn = self.shared.turn.lock();
        turn.number += 1;
        turn.tasklet = who.id.0;
        turn.named = who.name.is_some();
        turn.name.clear();
        turn.name.push_str(who.name.as_deref().unwrap_or_default());
        turn.path.clear();
        let path = &mut turn.path;
        who.path().write(&mut |part| path.extend_from_slice(part));
        turn.spawned_at = Some(who.spawned_at);
        turn.waited_at = waited_at;
        self.shared.lasts.store(true, Ordering::Relaxed);
        if self.shared.nap.call(asleep::process) {
            self.shared.news.notify_one();
        }
    }

    fn turn_ends(&self) {
        self.shared.lasts.store(false, Ordering::Relaxed);
    }

    fn stop(&self) {
        drop(self.fresh.take());
        self.shared.turn.lock().over = true;
        self.shared.nap.call(asleep::process);
        self.shared.news.notify_one();
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Turn {
    fn report(&self, held: Nanos) -> Option<LongTurn> {
        Some(LongTurn {
            tasklet: TaskletId(self.tasklet),
            name: self.named.then(|| self.name.clone()),
            path: String::from_utf8_lossy(&self.path).into_owned(),
            spawned_at: self.spawned_at?,
            waited_at: self.waited_at,
            held: Duration::from_nanos(held),
        })
    }
}

impl Shared {
    /// What the thread does: looks four times per limit whether the turn is still the same.
    fn watch(&self, limit: Duration, mut hook: Hook) {
        let clock = Clock::new(false);
        let limit = limit.max(Duration::from_millis(1));
        let most = u64::try_from(limit.as_nanos()).unwrap_or(Nanos::MAX);
        let (mut number, mut since, mut due) = (0, 0, most);
        let mut turn = self.turn.lock();
        while !turn.over {
            if !self.lasts.load(Ordering::Relaxed) {
                // Who begins a turn needs the lock, so it sees this.
                self.nap.sleep(Kind::Spare, asleep::process());
                self.news.wait(&mut turn);
                self.nap.rise(asleep::process);
                continue;
            }
            let now = clock.now();
            if turn.number != number {
                (number, since, due) = (turn.number, now, most);
            } else if now - since >= due {
                due = (now - since).saturating_mul(2);
                let report = turn.report(now - since);
                drop(turn);
                report.iter().for_each(&mut hook);
                turn = self.turn.lock();
                continue;
            }
            self.news.wait_for(&mut turn, limit / 4);
        }
    }
}
