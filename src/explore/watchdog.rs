//! A watch over local steps: one that does not end is named, and ends the process.
//!
//! A tasklet that computes for ever without an operation cannot be stopped from outside, and a
//! search that waits for it would hang without a word. The real time that a step takes decides
//! nothing else.
//!
//! Always: one thread watches all searches of the process; it sleeps nearly all the time.

use crate::blocking::new_thread;
use parking_lot::{Condvar, Mutex};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

/// How long a local step may take, unless the program is told otherwise.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// How often the watch looks. It counts looks, so that a process that was stopped for a while is
/// not taken for one that hangs.
const LOOK: Duration = Duration::from_millis(500);

static STARTED: Once = Once::new();
static WATCHED: Mutex<Vec<Weak<Pulse>>> = Mutex::new(Vec::new());

/// The signs of life of one program.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    program: String,
    /// After how many looks without a sign of life it is given up.
    looks: u32,
    running: AtomicBool,
    /// Counts quiet points.
    count: AtomicU64,
    /// Who was let go on last: spawn paths, packed.
    first: AtomicU64,
    second: AtomicU64,
}

impl Pulse {
    /// Lets `program` be watched for as long as this lives.
    pub(super) fn new(program: &str, limit: Duration) -> Arc<Pulse> {
        STARTED.call_once(|| {
            if let Err(error) = new_thread("tasklets-explore-watch", watch) {
                eprintln!("tasklets: nobody watches local steps, the OS refused: {error}");
            }
        });
        let looks = u32::try_from(limit.as_millis() / LOOK.as_millis()).unwrap_or(u32::MAX).max(1);
        let pulse = Arc::new(Pulse { program: program.into(), looks, ..Pulse::default() });
        let mut watched = WATCHED.lock();
        watched.retain(|it| it.strong_count() > 0);
        watched.push(Arc::downgrade(&pulse));
        pulse
    }

    /// A run begins or ends.
    pub(super) fn run(&self, running: bool) {
        self.let_go(0, 0);
        self.beat();
        self.watch(running);
    }

    /// Whether tasklets run just now.
    pub(super) fn watch(&self, running: bool) {
        self.running.store(running, Ordering::Relaxed);
    }

    /// A quiet point was reached.
    pub(super) fn beat(&self) {
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count.wrapping_add(1), Ordering::Relaxed);
    }

    /// Notes who goes on: see [`pack`].
    pub(super) fn let_go(&self, first: u64, second: u64) {
        self.first.store(first, Ordering::Relaxed);
        self.second.store(second, Ordering::Relaxed);
    }
}

/// A spawn path as one number; its end only, if it is long.
pub(super) fn pack(path: &[u32]) -> u64 {
    path.iter().fold(0, |packed, nth| packed << 8 | u64::from((*nth).min(254) + 1))
}

fn unpack(packed: u64) -> String {
    let numbers = packed.to_be_bytes().into_iter().filter(|it| *it > 0);
    numbers.fold(String::from("root"), |text, nth| format!("{text}.{}", nth - 1))
}

/// What was seen of a program at the last look.
struct Known {
    pulse: Weak<Pulse>,
    count: u64,
    /// How often it was the same.
    looks: u32,
}

/// Looks for programs that give no sign of life.
fn watch() {
    let (asleep, news) = (Mutex::new(()), Condvar::new());
    let mut known: Vec<Known> = Vec::new();
    loop {
        news.wait_for(&mut asleep.lock(), LOOK);
        let watched: Vec<_> = WATCHED.lock().iter().filter_map(Weak::upgrade).collect();
        known.retain(|it| it.pulse.strong_count() > 0);
        for pulse in watched.iter().filter(|it| it.running.load(Ordering::Relaxed)) {
            let count = pulse.count.load(Ordering::Relaxed);
            let same = |it: &&mut Known| it.pulse.as_ptr() == Arc::as_ptr(pulse);
            match known.iter_mut().find(same) {
                None => known.push(Known { pulse: Arc::downgrade(pulse), count, looks: 0 }),
                Some(it) if it.count != count => (it.count, it.looks) = (count, 0),
                Some(it) if it.looks >= pulse.looks => give_up(pulse),
                Some(it) => it.looks += 1,
            }
        }
    }
}

/// Names the step that does not end, and ends the process.
fn give_up(pulse: &Pulse) -> ! {
    let (first, second) =
        (pulse.first.load(Ordering::Relaxed), pulse.second.load(Ordering::Relaxed));
    let who = if second == 0 {
        unpack(first)
    } else {
        format!("{} or {}", unpack(first), unpack(second))
    };
    // Not `eprintln`: a test harness would keep what it prints and lose it.
    let _ = writeln!(
        std::io::stderr(),
        "tasklets: {}: a local step that does not end: {who}, or a tasklet that it has spawned, \
         has run for {:?} without an operation; nothing can stop it, so the process ends",
        pulse.program,
        LOOK * pulse.looks,
    );
    std::process::exit(101);
}
