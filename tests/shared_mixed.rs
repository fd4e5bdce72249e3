//! One select over all that there is (channels of the run, shared ones, timers, joins, futures)
//! while its tasklet may be cancelled, on several OS threads at once: nothing is lost or doubled.
//! In a release build it is millions of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tasklets::futures::operation;
use tasklets::{
    Halt, JoinError, Operation, Receiver, Select, SendError, Sender, Tasklet, after, channel, run,
    select, shared, spawn, yield_now,
};

/// Runs, each on an OS thread, of so many tasklets; a plain thread is a party, too.
const RUNS: u64 = 3;
const TASKLETS: u64 = 12;
/// Selects of each.
const ROUNDS: u64 = if cfg!(debug_assertions) { 700 } else { 60_000 };

/// A value that is counted for as long as it exists.
struct Counted {
    number: u64,
    alive: Arc<AtomicU64>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many there are of a kind, and what the sum of their numbers is.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Sum(u64, u64);

impl Sum {
    fn add(&mut self, number: u64) {
        *self = Sum(self.0 + 1, self.1 + number);
    }

    fn plus(self, other: Sum) -> Sum {
        Sum(self.0 + other.0, self.1 + other.1)
    }
}

/// What became of selects. Near: within a run; far: at a shared channel.
#[derive(Clone, Copy, Default, Debug)]
struct Books {
    sent: [Sum; 2],
    received: [Sum; 2],
    late: u64,
    joined: u64,
    cancelled: u64,
}

const NEAR: usize = 0;
const FAR: usize = 1;

impl Books {
    fn sends(&mut self, place: usize, number: u64, outcome: Result<(), SendError<Counted>>) {
        match outcome {
            Ok(()) => self.sent[place].add(number),
            Err(it) => self.is_cancelled(it.why),
        }
    }

    fn receives(&mut self, place: usize, outcome: Result<Counted, Halt>) {
        match outcome {
            Ok(it) => self.received[place].add(it.number),
            Err(why) => self.is_cancelled(why),
        }
    }

    fn joins(&mut self, outcome: Result<(), JoinError>) {
        match outcome {
            Ok(()) => self.joined += 1,
            Err(_) => self.is_cancelled(Halt::Cancelled),
        }
    }

    fn waits<T>(&mut self, outcome: Result<T, Halt>) {
        match outcome {
            Ok(_) => self.late += 1,
            Err(why) => self.is_cancelled(why),
        }
    }

    fn is_cancelled(&mut self, why: Halt) {
        assert_eq!(why, Halt::Cancelled);
        self.cancelled += 1;
    }

    fn plus(mut self, other: Books) -> Books {
        for place in [NEAR, FAR] {
            self.sent[place] = self.sent[place].plus(other.sent[place]);
            self.received[place] = self.received[place].plus(other.received[place]);
        }
        self.late += other.late;
        self.joined += other.joined;
        self.cancelled += other.cancelled;
        self
    }

    /// How many selects these are.
    fn selects(&self) -> u64 {
        let met = [self.sent, self.received].concat().iter().map(|it| it.0).sum::<u64>();
        met + self.late + self.joined + self.cancelled
    }
}

type Shared = (shared::Sender<Counted>, shared::Receiver<Counted>);

/// Who has a part in the market: its channels, and where its numbers come from.
#[derive(Clone)]
struct Party {
    near: (Sender<Counted>, Receiver<Counted>),
    far: Vec<Shared>,
    alive: Arc<AtomicU64>,
    random: u64,
}

impl Party {
    fn pick(&mut self, ways: u64) -> u64 {
        let random = self.random.wrapping_mul(6_364_136_223_846_793_005);
        self.random = random.wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % ways
    }

    fn make(&self, number: u64) -> Counted {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Counted { number, alive: self.alive.clone() }
    }

    /// One select, in one of its forms.
    fn trade(&mut self, number: u64, child: &mut Tasklet<()>, books: &mut Books) {
        let late = Duration::from_nanos(self.pick(4) * 5_000);
        let [to, from] = [self.pick(3), self.pick(3)].map(|it| it as usize);
        match self.pick(16) {
            0..6 => self.all_arms(number, late, &self.far[to].0, &self.far[from].1, child, books),
            6..10 => self.values(number, late, &self.far[to].0, &self.far[from].1, child, books),
            10..12 => self.reused(number, late, to, from, books),
            12..14 => self.future(late, from, child, books),
            _ => self.either(late, from, books),
        }
    }

    fn all_arms(
        &self,
        number: u64,
        late: Duration,
        to: &shared::Sender<Counted>,
        from: &shared::Receiver<Counted>,
        child: &mut Tasklet<()>,
        books: &mut Books,
    ) {
        let (near, from_near) = &self.near;
        select! {
            recv(from_near) -> it => books.receives(NEAR, it),
            send(near, self.make(number)) -> it => books.sends(NEAR, number, it),
            recv(from) -> it => books.receives(FAR, it),
            send(to, self.make(number)) -> it => books.sends(FAR, number, it),
            op(&mut *child) -> it => books.joins(it),
            op(after(late)) -> it => books.waits(it),
        }
    }

    /// With the values made before.
    fn values(
        &self,
        number: u64,
        late: Duration,
        to: &shared::Sender<Counted>,
        from: &shared::Receiver<Counted>,
        child: &mut Tasklet<()>,
        books: &mut Books,
    ) {
        let mut near = self.near.0.sending(self.make(number));
        let mut far = to.sending(self.make(number));
        select! {
            op(&mut far) -> it => books.sends(FAR, number, it),
            op(&mut near) -> it => books.sends(NEAR, number, it),
            recv(self.near.1) -> it => books.receives(NEAR, it),
            recv(from) -> it => books.receives(FAR, it),
            op(&mut *child) -> it => books.joins(it),
            default(late) => books.late += 1,
        }
    }

    fn reused(&self, number: u64, late: Duration, to: usize, from: usize, books: &mut Books) {
        let mut select = Select::new();
        let ((near, from_near), from) = (&self.near, &self.far[from].1);
        let arms = (select.recv(from_near), select.recv(from), select.send(near));
        select.send(&self.far[to].0);
        match select.wait_timeout(late) {
            Err(why) => books.is_cancelled(why),
            Ok(None) => books.late += 1,
            Ok(Some(it)) if it.index() == arms.0 => books.receives(NEAR, it.recv(from_near)),
            Ok(Some(it)) if it.index() == arms.1 => books.receives(FAR, it.recv(from)),
            Ok(Some(it)) if it.index() == arms.2 => {
                books.sends(NEAR, number, it.send(near, self.make(number)));
            }
            Ok(Some(it)) => {
                books.sends(FAR, number, it.send(&self.far[to].0, self.make(number)));
            }
        }
    }

    fn future(&self, late: Duration, from: usize, child: &mut Tasklet<()>, books: &mut Books) {
        let far = operation(self.far[from].1.recv_async());
        select! {
            op(far) -> it => books.receives(FAR, it.and_then(|it| it)),
            recv(self.near.1) -> it => books.receives(NEAR, it),
            op(&mut *child) -> it => books.joins(it),
            default(late) => books.late += 1,
        }
    }

    fn either(&self, late: Duration, from: usize, books: &mut Books) {
        let near = self.near.1.receiving().map(|it| (NEAR, it));
        let far = self.far[from].1.receiving().map(|it| (FAR, it));
        select! {
            op(near.or(far)) -> (place, it) => books.receives(place, it),
            default(late) => books.late += 1,
        }
    }
}

/// Ends soon, or a little later.
fn child(turns: u64) -> Tasklet<()> {
    spawn(move || (0..turns).for_each(|_| yield_now()))
}

/// The selects of one tasklet, some of them by others that it cancels.
fn tasklet(mut me: Party, seed: u64) -> Books {
    me.random = seed;
    let (mut all, mut its) = (Books::default(), child(1));
    for round in 0..ROUNDS {
        let number = (seed << 32) + round;
        let mut books = Books::default();
        if me.pick(8) > 0 {
            me.trade(number, &mut its, &mut books);
            if books.joined > 0 {
                its = child(me.pick(20));
            }
        } else {
            let mut other = me.clone();
            let victim = spawn(move || {
                let (mut books, mut its) = (Books::default(), child(3));
                other.trade(number, &mut its, &mut books);
                books
            });
            (0..me.pick(3)).for_each(|_| yield_now());
            victim.cancel();
            match victim.join() {
                Ok(its) => books = its,
                Err(_) => books.cancelled = 1, // before it began
            }
        }
        assert_eq!(books.selects(), 1, "{books:?}");
        all = all.plus(books);
    }
    its.join().unwrap();
    all
}

/// The selects of the tasklets of one run.
fn tasklets(run: u64, far: Vec<Shared>, alive: Arc<AtomicU64>) -> Books {
    let me = Party { near: channel(), far, alive, random: 0 };
    let begin = |number| {
        let me = me.clone();
        spawn(move || tasklet(me, run * TASKLETS + number))
    };
    let all: Vec<_> = (1..=TASKLETS).map(begin).collect();
    all.into_iter().map(|it| it.join().unwrap()).fold(Books::default(), Books::plus)
}

/// The selects of a plain thread, which has shared channels only.
fn plain(far: &[Shared], alive: &Arc<AtomicU64>) -> Books {
    let (near, seed) = (channel(), 99);
    let mut me = Party { near, far: far.to_vec(), alive: alive.clone(), random: seed };
    let mut books = Books::default();
    for round in 0..ROUNDS {
        let number = (seed << 32) + round;
        let late = Duration::from_micros(me.pick(4) * 5);
        let [to, one, two] = [me.pick(3), me.pick(3), me.pick(3)].map(|it| it as usize);
        select! {
            recv(me.far[one].1) -> it => books.receives(FAR, it),
            send(me.far[to].0, me.make(number)) -> it => books.sends(FAR, number, it),
            recv(me.far[two].1) -> it => books.receives(FAR, it),
            default(late) => books.late += 1,
        }
    }
    books
}

#[test]
fn selects_over_everything_under_cancellation_lose_and_double_nothing() {
    let alive = Arc::new(AtomicU64::new(0));
    let far: Vec<Shared> = (0..3).map(|_| shared::channel()).collect();
    let party = |number| {
        let (far, alive) = (far.clone(), alive.clone());
        thread::spawn(move || {
            if number == RUNS { plain(&far, &alive) } else { run(|| tasklets(number, far, alive)) }
        })
    };
    let parties: Vec<_> = (0..=RUNS).map(party).collect();
    let all = parties.into_iter().map(|it| it.join().unwrap());
    let mut all = all.fold(Books::default(), Books::plus);
    assert_eq!(all.selects(), (RUNS * TASKLETS + 1) * ROUNDS);
    // What was given to a future that lost, and nobody asked for since.
    for (_, rx) in &far {
        while let Ok(Some(it)) = rx.try_recv() {
            all.received[FAR].add(it.number);
        }
    }
    assert_eq!(all.sent, all.received);
    let kinds = [all.sent[NEAR].0, all.sent[FAR].0, all.late, all.joined, all.cancelled];
    assert!(kinds.iter().all(|it| *it > ROUNDS / 50), "hardly mixed: {all:?}");
    drop(far);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}
