//! Cases about the order in which messages of several senders arrive at one receiver.

use super::case::Case;
use tasklets::{Receiver, Sender, channel, spawn};

pub const CASES: &[Case] = &[
    Case::sound("producers2x2", || producers(2, 2)).traces(6).states(14),
    Case::sound("producers3x1", || producers(3, 1)).traces(6),
    Case::sound("producers3x2", || producers(3, 2)).traces(90).states(182),
    Case::sound("producers3x3", || producers(3, 3)).traces(1_680).states(5_248),
    Case::sound("producers3x10", || producers(3, 10)).vast().states(1_331),
    Case::faulty("uneven25", "came last", || uneven(25, Oracle::Strict)).traces(26).states(377),
    Case::sound("uneven25_fixed", || uneven(25, Oracle::Lenient)).traces(26),
    Case::faulty("needle40", "the middle", || needle(40, Oracle::Strict)).traces(41).states(902),
    Case::sound("needle40_fixed", || needle(40, Oracle::Lenient)).traces(41),
    Case::faulty("exact5", "order of spawning", || exact(5, Oracle::Strict)).traces(120),
    Case::sound("exact5_fixed", || exact(5, Oracle::Lenient)).traces(120),
    Case::faulty("exact7", "order of spawning", || exact(7, Oracle::Strict)).traces(5_040),
    Case::sound("exact7_fixed", || exact(7, Oracle::Lenient)).traces(5_040),
    Case::faulty("reorder3", "half written", || reorder(3, Writes::OneByOne))
        .traces(2_520)
        .states(1_191),
    Case::sound("reorder3_fixed", || reorder(3, Writes::Together)),
    Case::faulty("reorder10", "half written", || reorder(10, Writes::OneByOne)).vast(),
    Case::sound("reorder10_fixed", || reorder(10, Writes::Together)).vast(),
    Case::faulty("reorder20", "half written", || reorder(20, Writes::OneByOne)).vast(),
    Case::sound("reorder20_fixed", || reorder(20, Writes::Together)).vast(),
    Case::faulty("twostage20", "second stage", || twostage(20, Writes::OneByOne)).vast(),
    Case::sound("twostage20_fixed", || twostage(20, Writes::Together)).vast(),
];

/// Whether the receiver insists on an order that nobody promised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Oracle {
    Strict,
    Lenient,
}

/// Case 1. `count` senders, `each` messages from each, one receiver; no bug.
fn producers(count: usize, each: u32) {
    let (tx, rx) = channel();
    for _ in 0..count {
        let tx = tx.clone();
        spawn(move || tx.send_all(0..each).unwrap());
    }
    drop(tx);
    assert_eq!(rx.iter().count(), count * each as usize);
}

/// One sender sends `true` once, another `false` `many` times; the order in which they arrive.
fn once_among(many: usize) -> Vec<bool> {
    let (tx, rx) = channel();
    let often = tx.clone();
    spawn(move || tx.send(true).unwrap());
    spawn(move || often.send_all((0..many).map(|_| false)).unwrap());
    rx.iter().collect()
}

/// Case 18. One message against `many`; bug: it arrives last. Source: shuttle's SURW test.
fn uneven(many: usize, oracle: Oracle) {
    let arrivals = once_among(many);
    assert_eq!(arrivals.len(), many + 1);
    assert!(oracle == Oracle::Lenient || !arrivals[many], "the only message came last");
}

/// Case 20. One message against `many`; bug: it arrives exactly in the middle. Synthetic.
fn needle(many: usize, oracle: Oracle) {
    let arrivals = once_among(many);
    assert_eq!(arrivals.len(), many + 1);
    assert!(oracle == Oracle::Lenient || !arrivals[many / 2], "the message hit the middle");
}

/// Case 20. One message from each of `count`; bug: they arrive in one certain order. Synthetic.
fn exact(count: usize, oracle: Oracle) {
    let (tx, rx) = channel();
    for who in 0..count {
        let tx = tx.clone();
        spawn(move || tx.send(who).unwrap());
    }
    drop(tx);
    let arrivals: Vec<usize> = rx.iter().collect();
    assert_eq!(arrivals.len(), count);
    assert!(oracle == Oracle::Lenient || !arrivals.is_sorted(), "the order of spawning");
}

/// Whether two variables are accessed by one request, or by one each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    OneByOne,
    Together,
}

/// What is asked of the tasklet that owns two variables.
enum Request {
    Set(usize, i32),
    SetBoth([i32; 2]),
    Get(Sender<[i32; 2]>),
}

/// Owns two variables, as memory does.
fn memory(requests: &Receiver<Request>) {
    let mut values = [0, 0];
    for request in requests {
        match request {
            Request::Set(which, value) => values[which] = value,
            Request::SetBoth(both) => values = both,
            Request::Get(reply) => reply.send(values).unwrap(),
        }
    }
}

fn get(memory: &Sender<Request>) -> [i32; 2] {
    let (reply, answer) = channel();
    memory.send(Request::Get(reply)).ok().unwrap();
    answer.recv().unwrap()
}

/// Spawns `count` writers of `first` and then of `second`; the root owns the variables.
fn writers(count: usize, writes: Writes, [first, second]: [i32; 2], reader: fn(Sender<Request>)) {
    let (tx, requests) = channel();
    for _ in 0..count {
        let tx = tx.clone();
        spawn(move || {
            let all = match writes {
                Writes::Together => vec![Request::SetBoth([first, second])],
                Writes::OneByOne => vec![Request::Set(0, first), Request::Set(1, second)],
            };
            all.into_iter().for_each(|it| tx.send(it).ok().unwrap());
        });
    }
    spawn(move || reader(tx));
    memory(&requests);
}

/// Case 19. `count` writers of two variables; bug: a reader sees one written, the other not.
/// Source: SCTBench `reorder`.
fn reorder(count: usize, writes: Writes) {
    let reader: fn(Sender<Request>) = match writes {
        Writes::Together => |memory| assert!([[0, 0], [1, -1]].contains(&get(&memory))),
        Writes::OneByOne => |memory| {
            let seen = [get(&memory)[0], get(&memory)[1]];
            assert!([[0, 0], [1, -1]].contains(&seen), "half written: {seen:?}");
        },
    };
    writers(count, writes, [1, -1], reader);
}

/// Case 19. `count` writers of a value, then of its successor; bug: a reader comes in between.
/// Source: SCTBench `twostage`.
fn twostage(count: usize, writes: Writes) {
    writers(count, writes, [1, 2], |memory| {
        let first = get(&memory)[0];
        if first != 0 {
            let second = get(&memory)[1];
            assert_eq!(second, first + 1, "the second stage was not there yet");
        }
    });
}
