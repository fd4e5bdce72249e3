//! Fixed programs under any schedule: the first byte picks the program, the rest are the answers to
//! every question its run leaves open.
//!
//! Whatever the answers: a run ends as it should, no tasklet is left, and each counted value was
//! dropped once; those that were sent are those that were received.
#![no_main]

mod verdict;

use libfuzzer_sys::fuzz_target;
use std::cell::Cell;
use std::panic::panic_any;
use std::rc::Rc;
use std::time::Duration;
use tasklets::{
    Cause, Counts, JoinError, Operation, Receiver, RunError, Runtime, Select, Sender, after,
    channel, select, sleep, spawn, try_scope, within, yield_now,
};

const MS: Duration = Duration::from_millis(1);

/// An end of each kind.
type Ends = (Tx, Rx);

/// A program, told where to count.
type Fixed = fn(&Rc<Tally>);

const PROGRAMS: &[(&str, Fixed)] = &[
    ("producers and consumers", produce_and_consume),
    ("a mix of selects", mix_selects),
    ("a cancel storm", storm),
    ("a tree of scopes", grow),
    ("deadlines", race_deadlines),
];

fuzz_target!(init: verdict::let_panics_pass(), |bytes: &[u8]| {
    let (pick, answers) = bytes.split_first().unwrap_or((&0, &[]));
    let (name, fixed) = PROGRAMS[usize::from(*pick) % PROGRAMS.len()];
    verdict::expect(&(name, answers), || check(fixed, answers.to_vec()));
});

/// Runs `fixed`, with answer 0 when the answers are used up, and looks at what it leaves.
fn check(fixed: Fixed, answers: Vec<u8>) -> Result<(), String> {
    let tally = Rc::new(Tally::default());
    let mut answers = answers.into_iter();
    let runtime = Runtime::builder()
        .virtual_clock(true)
        .root_stack_size(256 * 1024)
        .stack_size(64 * 1024)
        .chooser(move |_: usize| usize::from(answers.next().unwrap_or(0)))
        .build();
    let ended = runtime.run(|| fixed(&tally));
    ended.map_err(|error: RunError| error.to_string())?;
    let left = runtime.counts();
    drop(runtime);
    let Tally { made, dropped, sent, got } = &*tally;
    let right = left == Counts::default() && made == dropped && sent == got;
    if right { Ok(()) } else { Err(format!("{tally:?}, left: {left:?}")) }
}

/// What became of the counted values of a run.
#[derive(Debug, Default)]
struct Tally {
    made: Cell<u32>,
    dropped: Cell<u32>,
    /// Sends that said they had a partner.
    sent: Cell<u32>,
    got: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

/// A counted value.
struct Counted(Rc<Tally>);

impl Counted {
    fn new(tally: &Rc<Tally>) -> Counted {
        count(&tally.made);
        Counted(tally.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        count(&self.0.dropped);
    }
}

type Tx = Sender<Counted>;
type Rx = Receiver<Counted>;

/// Counts a send, if it was one; true if it was.
fn sent<E>(tally: &Tally, result: Result<(), E>) -> bool {
    result.inspect(|()| count(&tally.sent)).is_ok()
}

/// Counts a receive, if it was one; true if it was.
fn got<T, E>(tally: &Tally, result: Result<T, E>) -> bool {
    result.inspect(|_| count(&tally.got)).is_ok()
}

fn produce_and_consume(tally: &Rc<Tally>) {
    let (tx, rx) = channel();
    for items in 1..4 {
        let (tx, tally) = (tx.clone(), tally.clone());
        drop(spawn(move || {
            (0..items).for_each(|_| assert!(sent(&tally, tx.send(Counted::new(&tally)))));
        }));
    }
    drop(tx);
    let consumers = [(); 2].map(|()| {
        let (rx, tally) = (rx.clone(), tally.clone());
        spawn(move || while got(&tally, rx.recv()) {})
    });
    drop(rx);
    consumers.into_iter().for_each(|it| it.join().unwrap());
    assert_eq!(tally.got.get(), 6);
}

/// Every kind of select at both ends of two channels.
fn mix_selects(tally: &Rc<Tally>) {
    let ((tx, rx), (other_tx, other_rx)) = (channel(), channel());
    let parts: [fn(&Rc<Tally>, &Ends, &Ends); 5] =
        [either_way, either_way, reuse, reserve, alternate];
    let tasklets = parts.map(|part| {
        let tally = tally.clone();
        let ends = ((tx.clone(), rx.clone()), (other_tx.clone(), other_rx.clone()));
        spawn(move || part(&tally, &ends.0, &ends.1))
    });
    tasklets.into_iter().for_each(|it| it.join().unwrap());
}

fn either_way(tally: &Rc<Tally>, one: &Ends, other: &Ends) {
    for _ in 0..3 {
        select! {
            recv(one.1) -> it => got(tally, it),
            send(other.0, Counted::new(tally)) -> it => sent(tally, it),
            recv(other.1) -> it if tally.got.get() > 1 => got(tally, it),
            op(after(MS)) -> _ => false,
        };
    }
    select! {
        biased;
        send(one.0, Counted::new(tally)) -> it => sent(tally, it),
        recv(other.1) -> it => got(tally, it),
        default => false,
    };
}

fn reuse(tally: &Rc<Tally>, one: &Ends, other: &Ends) {
    let mut select = Select::new();
    let receive = select.recv(&one.1);
    select.send(&other.0);
    for _ in 0..4 {
        let Some(chosen) = select.wait_timeout(2 * MS).unwrap() else { continue };
        if chosen.index() == receive {
            got(tally, chosen.recv(&one.1));
        } else if tally.sent.get() % 3 == 2 {
            drop(chosen); // the receiver goes on waiting
        } else {
            sent(tally, chosen.send(&other.0, Counted::new(tally)));
        }
    }
}

fn reserve(tally: &Rc<Tally>, one: &Ends, other: &Ends) {
    for round in 0..3 {
        select! {
            op(one.0.reserving()) -> permit => {
                yield_now();
                let permit = permit.unwrap();
                if round != 1 {
                    sent(tally, permit.send(Counted::new(tally)));
                }
            }
            op(other.0.reserving()) -> permit => drop(permit),
            op(after(MS)) -> _ => {}
        }
    }
}

fn alternate(tally: &Rc<Tally>, one: &Ends, other: &Ends) {
    for _ in 0..3 {
        let (first, second) = (Counted::new(tally), Counted::new(tally));
        let sending = one.0.sending(first).or(other.0.sending(second)).map(|it| it.is_ok());
        select! {
            op(sending) -> done => if done { count(&tally.sent) },
            default(MS) => {}
        }
        let held = within(MS, || one.1.recv_held()).value;
        got(
            tally,
            held.map(|held| {
                yield_now();
                held.accept()
            }),
        );
    }
}

/// Tasklets that go on until they are stopped; one of two that stop them does so for each, the
/// other for every second, wherever they are.
fn storm(tally: &Rc<Tally>) {
    let (tx, rx) = channel();
    let workers: Vec<_> = (0..6)
        .map(|kind| {
            let (tx, rx, tally) = (tx.clone(), rx.clone(), tally.clone());
            spawn(move || while work(kind, &tally, &tx, &rx) {})
        })
        .collect();
    let targets: Vec<_> = workers.iter().map(|it| it.handle()).collect();
    let stopper = spawn(move || {
        for target in &targets {
            yield_now();
            target.cancel();
        }
    });
    (0..2).for_each(|_| yield_now());
    for (index, worker) in workers.into_iter().enumerate() {
        if index % 2 == 0 {
            worker.cancel();
        }
        // One that had not begun, or asked for nothing, ends without a value.
        assert!(matches!(worker.join(), Ok(()) | Err(JoinError::Cancelled)));
    }
    stopper.join().unwrap();
}

/// One round of a worker; false once it is told to stop.
fn work(kind: u8, tally: &Rc<Tally>, tx: &Tx, rx: &Rx) -> bool {
    match kind {
        0 => sent(tally, tx.send(Counted::new(tally))),
        1 => got(tally, rx.recv()),
        2 => got(tally, rx.recv_held().inspect(|_| yield_now())),
        3 => tx.reserving().wait().is_ok_and(|permit| {
            yield_now();
            sent(tally, permit.send(Counted::new(tally)))
        }),
        4 => select! {
            recv(rx) -> it => got(tally, it),
            send(tx, Counted::new(tally)) -> it => sent(tally, it),
        },
        _ => {
            let mut select = Select::new();
            let (receive, _) = (select.recv(rx), select.send(tx));
            select.wait().is_ok_and(|chosen| match chosen.index() == receive {
                true => got(tally, chosen.recv(rx)),
                false => sent(tally, chosen.send(tx, Counted::new(tally))),
            })
        }
    }
}

/// What a tasklet of the tree panics with.
struct Boom;

fn grow(tally: &Rc<Tally>) {
    let (tx, rx) = channel();
    let tree = Tree { tally, tx, rx, spawned: Cell::new(0), ended: Cell::new(0) };
    tree.branch(3);
    assert_eq!(tree.spawned, tree.ended);
}

struct Tree<'a> {
    tally: &'a Rc<Tally>,
    tx: Tx,
    rx: Rx,
    spawned: Cell<u32>,
    ended: Cell<u32>,
}

impl Tree<'_> {
    /// Two children that do the same one level below and talk to each other; one leaf panics.
    fn branch(&self, depth: u32) {
        if depth == 0 {
            got(self.tally, self.rx.recv_timeout(MS));
            return;
        }
        let (ended, panicked) = (Cell::new(0), Cell::new(0));
        let result = try_scope(|scope| {
            for side in 0..2 {
                count(&self.spawned);
                let (ends, panicked) = ((AtEnd(&self.ended), AtEnd(&ended)), &panicked);
                drop(scope.spawn(move || {
                    let _ends = ends;
                    self.child(depth);
                    if depth + side == 1 {
                        count(panicked);
                        panic_any(Boom);
                    }
                }));
            }
            got(self.tally, self.rx.recv_timeout(MS));
            if depth == 2 {
                scope.cancel();
            }
        });
        assert_eq!(ended.get(), 2, "a scope was left before its tasklets");
        let failures = result.err().map_or(vec![], |it| it.failures);
        let is_boom = |cause: &Cause| matches!(cause, Cause::Panicked(it) if it.is::<Boom>());
        assert!(failures.iter().all(|it| is_boom(&it.cause)), "{failures:?}");
        assert_eq!(failures.len(), panicked.get() as usize);
    }

    fn child(&self, depth: u32) {
        self.branch(depth - 1);
        sent(self.tally, self.tx.send_timeout(Counted::new(self.tally), MS));
    }
}

/// Counts an end, by whatever path.
struct AtEnd<'a>(&'a Cell<u32>);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        count(self.0);
    }
}

/// Timeouts of the same moment on both sides of a meeting.
fn race_deadlines(tally: &Rc<Tally>) {
    let (tx, rx) = channel();
    let tasklets: Vec<_> = (0..4)
        .map(|index| {
            let (tx, rx, tally) = (tx.clone(), rx.clone(), tally.clone());
            spawn(move || {
                for round in 0..3 {
                    if index % 2 == 0 {
                        sent(&tally, tx.send_timeout(Counted::new(&tally), round * MS));
                        let _ = sleep(index * MS);
                    } else {
                        let _ = sleep(round * MS);
                        got(&tally, within(index * MS, || rx.recv()).value);
                    }
                }
            })
        })
        .collect();
    drop((tx, rx));
    tasklets.into_iter().for_each(|it| it.join().unwrap());
}
