//! Selects that mix shared channels with others, in runs and in plain threads: exactly one arm
//! happens, for both sides.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tasklets::shared::{Receiver, Sender};
use tasklets::{
    Halt, Operation, Select, after, channel, run, select, shared, spawn, within, yield_now,
};

const SOON: Duration = Duration::from_micros(20);

#[test]
fn one_wait_is_over_local_arms_shared_arms_timers_and_joins() {
    let happens = |which: &str| {
        run(|| {
            let ((near, from_near), (far, from_far)) = (channel(), shared::channel());
            let (over, wait) = channel::<()>();
            let (hold_near, hold_far) = (near.clone(), far.clone());
            let mut there = None;
            match which {
                "near" => drop(spawn(move || near.send("near"))),
                "far" => there = Some(thread::spawn(move || far.send("far"))),
                _ => {}
            }
            let joined = which == "join";
            let mut child = spawn(move || if joined { Ok(()) } else { wait.recv() });
            let late = if which == "time" { SOON } else { Duration::from_secs(600) };
            let happened = select! {
                recv(from_near) -> it => it.unwrap(),
                op(&mut child) -> it => { it.unwrap().unwrap(); "join" }
                op(after(late)) -> _ => "time",
                recv(from_far) -> it => it.unwrap(),
            };
            there.into_iter().for_each(|it| it.join().unwrap().unwrap());
            drop((over, hold_near, hold_far));
            happened.to_owned()
        })
    };
    for which in ["near", "far", "join", "time"] {
        assert_eq!(happens(which), which);
    }
}

#[test]
fn losers_keep_their_values_and_nobody_sees_their_offers() {
    run(|| {
        let (near, from_near) = channel::<u8>();
        let (far, from_far) = shared::channel::<String>();
        spawn(move || near.send(1));
        let mut sending = far.sending("kept".to_owned());
        select! {
            recv(from_near) -> it => assert_eq!(it, Ok(1)),
            op(&mut sending) -> _ => panic!("nobody receives"),
        }
        assert_eq!(sending.into_value(), "kept");
        assert_eq!(from_far.try_recv(), Ok(None));
    });
}

#[test]
fn the_expression_of_a_shared_send_is_evaluated_only_when_its_arm_is_taken() {
    let (tx, rx) = shared::channel();
    run(|| {
        let made = Cell::new(0);
        let make = || made.replace(made.get() + 1);
        let late = select! {
            send(tx, make()) -> _ => false,
            default(SOON) => true,
        };
        assert!(late && made.get() == 0);
        let reader = thread::spawn(move || rx.recv());
        select! { send(tx, make()) -> sent => sent.unwrap() }
        assert_eq!((reader.join().unwrap(), made.get()), (Ok(0), 1));
    });
}

#[test]
fn an_expression_that_panics_lets_the_receiver_wait_again() {
    let (tx, rx) = shared::channel();
    let reader = thread::spawn(move || rx.recv());
    let broken = tx.clone();
    let no_value = || -> i32 { resume_unwind(Box::new("no value")) };
    let fall = move || select! { send(broken, no_value()) -> _ => () };
    assert!(thread::spawn(move || run(fall)).join().is_err());
    tx.send(2).unwrap();
    assert_eq!(reader.join().unwrap(), Ok(2));
}

#[test]
fn all_arms_that_receive_may_be_shared_or_not() {
    let (far, from_far) = shared::channel();
    let there = thread::spawn(move || far.send_all(0..100));
    run(|| {
        let (near, from_near) = channel();
        let here = spawn(move || near.send_all(0..100));
        let (mut nears, mut fars) = (Vec::new(), Vec::new());
        while nears.len() < 100 && fars.len() < 100 {
            select! {
                recv(from_near) -> it => nears.push(it.unwrap()),
                recv(from_far) -> it => fars.push(it.unwrap()),
            }
        }
        nears.extend(from_near);
        fars.extend(from_far);
        assert!(nears.into_iter().eq(0..100) && fars.into_iter().eq(0..100));
        assert_eq!(here.join().unwrap(), Ok(100));
    });
    assert_eq!(there.join().unwrap(), Ok(100));
}

#[test]
fn a_plain_thread_selects_over_shared_arms() {
    let (one, from_one) = shared::channel();
    let (two, from_two) = shared::channel();
    let writers = [(one, 1), (two, 2)].map(|(tx, it)| thread::spawn(move || run(|| tx.send(it))));
    let mut sum = 0;
    for _ in 0..2 {
        select! {
            recv(from_one) -> it if sum != 1 => sum += it.unwrap(),
            recv(from_two) -> it if sum != 2 => sum += it.unwrap(),
        }
    }
    assert_eq!(sum, 3);
    assert_eq!(writers.map(|it| it.join().unwrap()), [Ok(()), Ok(())]);
    select! { // closed arms are ready
        recv(from_one) -> it => assert_eq!(it, Err(Halt::Closed)),
        recv(from_two) -> it => assert_eq!(it, Err(Halt::Closed)),
    }
}

#[test]
fn a_plain_thread_gives_up_in_time_and_waits_for_nothing_local() {
    let (tx, rx) = shared::channel::<u8>();
    let late = select! { recv(rx) -> _ => false, send(tx, 1) -> _ => false, default(SOON) => true };
    assert!(late);
    let (_near, from_near) = channel::<u8>();
    let answer = select! { recv(from_near) -> it => it, recv(rx) -> it => it };
    assert_eq!(answer, Err(Halt::CannotWait));
    let never = rx.receiving().or(from_near.receiving()).wait();
    assert_eq!(never, Err(Halt::CannotWait));
}

#[test]
fn who_selects_to_send_and_to_receive_on_one_channel_never_meets_itself() {
    let (tx, rx) = shared::channel();
    let late =
        || select! { recv(rx) -> _ => false, send(tx, 0) -> _ => false, default(SOON) => true };
    assert!(late() && run(late));
    let trade = |mine: u32, tx: Sender<u32>, rx: Receiver<u32>| {
        move || {
            let mut balance = 0_i64;
            for _ in 0..500 {
                select! {
                    recv(rx) -> it => balance += i64::from(it.unwrap()),
                    send(tx, mine) -> sent => { sent.unwrap(); balance -= i64::from(mine) }
                }
            }
            balance
        }
    };
    let other = thread::spawn({
        let (tx, rx) = (tx.clone(), rx.clone());
        move || run(trade(3, tx, rx))
    });
    let mine = trade(5, tx, rx)();
    assert_eq!(mine + other.join().unwrap(), 0);
}

#[test]
fn a_reused_select_has_shared_arms_too() {
    let (far, from_far) = shared::channel();
    let (back, answers) = shared::channel();
    let there = thread::spawn(move || {
        (0..50).for_each(|it| far.send(it).unwrap());
        answers.iter().sum::<i32>()
    });
    run(|| {
        let (near, from_near) = channel();
        spawn(move || near.send_all(100..150));
        let mut select = Select::new();
        let (near_arm, far_arm) = (select.recv(&from_near), select.recv(&from_far));
        let (mut sum, mut left) = (0, 100);
        while left > 0 {
            let chosen = select.wait().unwrap();
            let near = chosen.index() == near_arm;
            let it = if near { chosen.recv(&from_near) } else { chosen.recv(&from_far) };
            match it {
                Ok(value) => (sum, left) = (sum + value, left - 1),
                Err(why) => {
                    assert_eq!(why, Halt::Closed);
                    assert!(select.remove(if near { near_arm } else { far_arm }));
                }
            }
        }
        assert_eq!(sum, 50 * 49 + 5_000);
        select.remove(near_arm);
        select.remove(far_arm);
        let send_arm = select.send(&back);
        for _ in 0..10 {
            let chosen = select.wait().unwrap();
            assert_eq!(chosen.index(), send_arm);
            chosen.send(&back, 7).unwrap();
        }
        assert!(select.wait_timeout(Duration::ZERO).is_ok());
    });
    drop(back);
    assert_eq!(there.join().unwrap(), 70);
}

#[test]
fn a_plain_thread_reuses_a_select() {
    let (tx, rx) = shared::channel();
    let (idle, silent) = shared::channel::<i32>();
    let writer = thread::spawn(move || run(|| tx.send_all(0..100)));
    let mut select = Select::new();
    let mine = select.recv(&rx);
    select.recv(&silent);
    let mut got = Vec::new();
    while got.len() < 100 {
        let chosen = select.wait().unwrap();
        assert_eq!(chosen.index(), mine);
        got.push(chosen.recv(&rx).unwrap());
    }
    assert!(got.into_iter().eq(0..100));
    assert_eq!(writer.join().unwrap(), Ok(100));
    assert!(select.remove(mine) && select.wait_timeout(SOON).unwrap().is_none());
    drop(idle);
}

#[test]
fn a_cancelled_select_leaves_nothing_behind() {
    let (tx, rx) = shared::channel::<u8>();
    run(|| {
        let (_near, from_near) = channel::<u8>();
        let from_far = rx.clone();
        let waiter =
            spawn(move || select! { recv(from_near) -> it => it, recv(from_far) -> it => it });
        yield_now();
        waiter.cancel();
        assert_eq!(waiter.join().unwrap(), Err(Halt::Cancelled));
        let late = within(SOON, || select! { recv(rx) -> it => it, send(tx, 1) -> _ => Ok(0) });
        assert_eq!(late.value, Err(Halt::TimedOut));
    });
    assert_eq!(tx.try_send(1), Ok(Some(1)));
    assert_eq!(rx.try_recv(), Ok(None));
}

/// A payload that is counted for as long as it exists.
struct Counted {
    number: u64,
    alive: Arc<AtomicU64>,
}

impl Counted {
    fn new(number: u64, alive: &Arc<AtomicU64>) -> Counted {
        alive.fetch_add(1, Ordering::Relaxed);
        Counted { number, alive: alive.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one party of the market did: how many it sent and received, and the sums.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Books {
    sent: u64,
    sent_sum: u64,
    received: u64,
    received_sum: u64,
}

impl Books {
    fn plus(self, other: Books) -> Books {
        Books {
            sent: self.sent + other.sent,
            sent_sum: self.sent_sum + other.sent_sum,
            received: self.received + other.received,
            received_sum: self.received_sum + other.received_sum,
        }
    }
}

/// One party: selects to send on one channel and to receive from two, in several forms.
fn trade(
    seed: u64,
    rounds: u64,
    tx: &[Sender<Counted>],
    rx: &[Receiver<Counted>],
    alive: &Arc<AtomicU64>,
) -> Books {
    let (mut books, mut random) = (Books::default(), seed);
    for round in 0..rounds {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32| (random >> shift) as usize % tx.len();
        let (to, one, two) = (&tx[pick(20)], &rx[pick(30)], &rx[pick(40)]);
        let number = seed * 1_000_000 + round;
        let mut received = None;
        let sent = match random >> 60 {
            0..6 => select! {
                send(to, Counted::new(number, alive)) -> it => it.is_ok(),
                recv(one) -> it => { received = it.ok(); false }
                recv(two) -> it => { received = it.ok(); false }
                default(SOON) => false,
            },
            6..9 => {
                let mut sending = to.sending(Counted::new(number, alive));
                select! {
                    op(&mut sending) -> it => it.is_ok(),
                    recv(one) -> it => { received = it.ok(); false }
                    default(SOON) => false,
                }
            }
            9..11 => to.send_timeout(Counted::new(number, alive), SOON).is_ok(),
            11..13 => {
                received = one.recv_timeout(SOON).ok();
                false
            }
            13 => matches!(to.try_send(Counted::new(number, alive)), Ok(None)),
            _ => {
                received = two.try_recv().ok().flatten();
                false
            }
        };
        if sent {
            books.sent += 1;
            books.sent_sum += number;
        }
        if let Some(it) = received {
            books.received += 1;
            books.received_sum += it.number;
        }
    }
    books
}

#[test]
fn a_market_of_mixed_selects_loses_and_doubles_nothing() {
    const ROUNDS: u64 = if cfg!(debug_assertions) { 1_500 } else { 200_000 };
    let alive = Arc::new(AtomicU64::new(0));
    let (tx, rx): (Vec<_>, Vec<_>) = (0..3).map(|_| shared::channel::<Counted>()).unzip();
    let parties: Vec<_> = (1..=4)
        .map(|party| {
            let (tx, rx, alive) = (tx.clone(), rx.clone(), alive.clone());
            thread::spawn(move || {
                if party == 4 {
                    return trade(party, ROUNDS, &tx, &rx, &alive); // a plain thread
                }
                run(|| {
                    let all: Vec<_> = (0..4)
                        .map(|it| {
                            let (tx, rx, alive) = (tx.clone(), rx.clone(), alive.clone());
                            spawn(move || trade(10 * party + it, ROUNDS, &tx, &rx, &alive))
                        })
                        .collect();
                    all.into_iter().map(|it| it.join().unwrap()).fold(Books::default(), Books::plus)
                })
            })
        })
        .collect();
    let all = parties.into_iter().map(|it| it.join().unwrap()).fold(Books::default(), Books::plus);
    assert_eq!((all.sent, all.sent_sum), (all.received, all.received_sum));
    assert!(all.sent > ROUNDS / 10, "{all:?}");
    drop((tx, rx));
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_wins_inside_of_an_or_while_it_waits_is_not_lost() {
    run(|| {
        let rounds = within(LONG, || {
            for round in 0..300 {
                let (tx, rx) = shared::channel();
                let (_never, silent) = channel::<u32>();
                let there = thread::spawn(move || tx.send(round));
                let either = silent.receiving().or(rx.receiving()).wait();
                assert_eq!(either, Ok(round));
                assert_eq!(there.join().unwrap(), Ok(()));
            }
        });
        assert!(!rounds.expired, "it came, and was lost");
    });
}

#[test]
fn what_is_sent_inside_of_an_or_while_it_waits_is_sent_once() {
    run(|| {
        let rounds = within(LONG, || {
            for round in 0..300 {
                let (tx, rx) = shared::channel();
                let (_never, silent) = channel::<()>();
                let there = thread::spawn(move || rx.iter().collect::<Vec<_>>());
                let sent = tx.sending(round).map(|it| it.is_ok());
                assert!(silent.receiving().map(|_| false).or(sent).wait());
                drop(tx);
                assert_eq!(there.join().unwrap(), [round]);
            }
        });
        assert!(!rounds.expired, "it was taken, and nobody was told");
    });
}

#[test]
fn a_plain_thread_loses_nothing_that_wins_inside_of_an_or_either() {
    let (tx, rx) = shared::channel();
    let (_never, silent) = shared::channel::<u32>();
    let there = thread::spawn(move || (0..300).all(|it| tx.send(it).is_ok()));
    for round in 0..300 {
        let either = silent.receiving().or(rx.receiving()).or(silent.receiving());
        assert_eq!(either.wait(), Ok(round));
    }
    assert!(there.join().unwrap());
}
