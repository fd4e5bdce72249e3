//! Systems whose traces can be counted by hand, and ports of known faults.
//!
//! Always: handles that a port's original never closes are held by a tasklet that needs them, so
//! that nobody is told "closed" who was left waiting in the original.

use super::{
    Arm, Expr, Program, Side, Step, number, receive, reg, send, send_of, spawn_all, times,
};
use super::{add, equal, less};

/// Holds handles without ever using them.
fn hold(steps: Vec<Step>) -> Step {
    Step::If(number(0), steps, vec![])
}

pub(super) fn select(arms: Vec<(Arm, Vec<Step>)>) -> Step {
    Step::Select(arms)
}

/// The root spawns `bodies` and does `after`.
pub(super) fn family(
    name: &str,
    channels: usize,
    bodies: Vec<Vec<Step>>,
    after: Vec<Step>,
) -> Program {
    let mut root = spawn_all(bodies.len());
    root.extend(after);
    let mut all = vec![root];
    all.extend(bodies);
    Program::new(name, channels, all)
}

/// Each of `producers` sends `count` values to the root.
pub fn producers(producers: usize, count: usize) -> Program {
    let bodies = (0..producers)
        .map(|who| (0..count).map(|nth| send(0, (who * 100 + nth) as i64)).collect())
        .collect();
    family("producers", 1, bodies, times(producers * count, &[receive(0, 1)]))
}

/// One sends once, the other often; the root takes all.
pub fn uneven(long: usize) -> Program {
    let bodies = vec![vec![send(0, 1)], times(long, &[send(0, 2)])];
    family("uneven", 1, bodies, times(long + 1, &[receive(0, 1)]))
}

/// `n` philosophers with forks that are tasklets; each eats once. Naive ones take the left fork
/// first; if ordered, the last one takes the right fork first.
pub fn philosophers(n: usize, ordered: bool) -> Program {
    let (take, put) = (|fork: usize| 2 * fork, |fork: usize| 2 * fork + 1);
    let mut bodies: Vec<Vec<Step>> =
        (0..n).map(|fork| times(2, &[receive(take(fork), 1), receive(put(fork), 1)])).collect();
    for who in 0..n {
        let (mut first, mut second) = (who, (who + 1) % n);
        if ordered && first > second {
            (first, second) = (second, first);
        }
        bodies.push(
            [take(first), take(second), put(first), put(second)].map(|it| send(it, 0)).into(),
        );
    }
    family("philosophers", 2 * n, bodies, vec![])
}

/// Milner's cyclers: each cell starts its agent, then in either order hears that the agent is
/// done and passes the token on.
pub fn cyclers(n: usize, rounds: usize) -> Program {
    let token = |cell: usize| cell % n;
    let (start, done) = (|cell: usize| n + 2 * cell, |cell: usize| n + 2 * cell + 1);
    let mut bodies = Vec::new();
    for cell in 0..n {
        let mut steps = Vec::new();
        for round in 0..rounds {
            if cell + round > 0 {
                steps.push(receive(token(cell), 1));
            }
            steps.push(send(start(cell), 0));
            if cell + 1 == n && round + 1 == rounds {
                steps.push(receive(done(cell), 1));
                continue;
            }
            let pass = || send(token(cell + 1), 0);
            steps.push(select(vec![
                (Arm::Receive(done(cell), 1), vec![pass()]),
                (Arm::Send(token(cell + 1), number(0)), vec![receive(done(cell), 1)]),
            ]));
        }
        bodies.push(steps);
    }
    for cell in 0..n {
        bodies.push(times(rounds, &[receive(start(cell), 1), send(done(cell), 0)]));
    }
    family("cyclers", 3 * n, bodies, vec![])
}

/// Prefix, delta, successor and consumer; a parallel delta sends in either order.
pub fn commstime(loops: usize, parallel: bool) -> Program {
    let (to_delta, to_succ, to_consumer, back) = (0, 1, 2, 3);
    let mut prefix = vec![send(to_delta, 0)];
    prefix.extend(times(loops - 1, &[receive(back, 1), send_of(to_delta, reg(1))]));
    prefix.push(receive(back, 1));
    let succ = [receive(to_succ, 1), send_of(back, add(reg(1), number(1)))];
    let delta = if parallel {
        select(vec![
            (Arm::Send(to_succ, reg(1)), vec![send_of(to_consumer, reg(1))]),
            (Arm::Send(to_consumer, reg(1)), vec![send_of(to_succ, reg(1))]),
        ])
    } else {
        Step::If(number(1), vec![send_of(to_succ, reg(1)), send_of(to_consumer, reg(1))], vec![])
    };
    let delta = times(loops, &[receive(to_delta, 1), delta]);
    let consumer = times(loops, &[receive(to_consumer, 1)]);
    family("commstime", 4, vec![prefix, delta, times(loops, &succ), consumer], vec![])
}

/// A source, cells that hold one item each, a sink.
pub fn pipe(cells: usize, items: usize) -> Program {
    let mut bodies = vec![(0..items).map(|it| send(0, it as i64)).collect::<Vec<_>>()];
    for cell in 0..cells {
        bodies.push(times(items, &[receive(cell, 1), send_of(cell + 1, reg(1))]));
    }
    family("pipe", cells + 1, bodies, times(items, &[receive(cells, 1)]))
}

/// Two-phase commit: votes on one channel, then the decision on another.
pub fn two_phase_commit(managers: usize) -> Program {
    let (votes, decision) = (0, 1);
    let vote = |value| (Arm::Send(votes, number(value)), vec![]);
    let manager = vec![select(vec![vote(1), vote(0)]), receive(decision, 1)];
    let mut root = times(managers, &[receive(votes, 1), Step::Set(2, add(reg(2), reg(1)))]);
    let all = equal(reg(2), number(managers as i64));
    root.extend(times(managers, &[send_of(decision, all)]));
    family("two-phase commit", 2, vec![manager; managers], root)
}

/// Leader election in a ring: a node passes on larger ids than its own; the leader's own id comes
/// back to it, and then the news goes round.
pub fn ring(ids: &[i64]) -> Program {
    let (n, news) = (ids.len(), 100);
    let body = |(node, id): (usize, &i64)| {
        let (from, to) = (node, (node + 1) % n);
        // Register 1 is what came in, 2 what waits to go out, 3 whether anything does, 4 whether
        // the node is done.
        let done = || Step::Set(4, number(1));
        let pass = |value: Expr| vec![Step::Set(2, value), Step::Set(3, number(1))];
        let larger = Step::If(less(number(*id), reg(1)), pass(reg(1)), vec![]);
        let leads = vec![send(to, news), receive(from, 1), done()];
        let other = vec![Step::If(equal(reg(1), number(*id)), leads, vec![larger])];
        let heard = vec![send(to, news), done()];
        let hear = vec![Step::If(equal(reg(1), number(news)), heard, other)];
        let either = select(vec![
            (Arm::Send(to, reg(2)), vec![Step::Set(3, number(0))]),
            (Arm::Receive(from, 1), hear.clone()),
        ]);
        let only = [vec![receive(from, 1)], hear].concat();
        let turn = Step::If(equal(reg(3), number(1)), vec![either], only);
        [pass(number(*id)), vec![Step::While(equal(reg(4), number(0)), vec![turn])]].concat()
    };
    let bodies = ids.iter().enumerate().map(body).collect();
    family("ring", n, bodies, vec![])
}

/// etcd 6857: a status request and a stop; after the stop nobody answers.
pub fn etcd_6857() -> Program {
    let (status, reply, stop, done) = (0, 1, 2, 3);
    let node = vec![
        Step::While(
            equal(reg(2), number(0)),
            vec![select(vec![
                (Arm::Receive(status, 1), vec![send(reply, 7)]),
                (
                    Arm::Receive(stop, 1),
                    vec![Step::Set(2, number(1)), Step::Drop(Side::Sender, done)],
                ),
            ])],
        ),
        hold(vec![send(done, 0), send(status, 0), send(stop, 0)]),
    ];
    let asks = vec![send(status, 0), receive(reply, 1), hold(vec![receive(status, 1)])];
    let stops = vec![
        select(vec![(Arm::Send(stop, number(0)), vec![]), (Arm::Receive(done, 1), vec![])]),
        receive(done, 1),
    ];
    family("etcd 6857", 4, vec![node, asks, stops], vec![])
}

/// etcd 6873: stop holds the lock and waits for a worker that needs the lock.
pub fn etcd_6873() -> Program {
    let (updates, done, take, give) = (0, 1, 2, 3);
    let worker = vec![
        Step::While(
            equal(reg(2), number(0)),
            vec![
                receive(updates, 1),
                Step::If(
                    reg(0),
                    vec![Step::Set(2, number(1)), Step::Drop(Side::Sender, done)],
                    vec![send(take, 0), send(give, 0)],
                ),
            ],
        ),
        hold(vec![send(done, 0)]),
    ];
    let stops = vec![
        send(take, 0),
        Step::Drop(Side::Sender, updates),
        receive(done, 1),
        send(give, 0),
        hold(vec![send(updates, 0)]),
    ];
    let root = vec![
        Step::Spawn(1),
        Step::Spawn(3),
        select(vec![(Arm::Send(updates, number(1)), vec![]), (Arm::Default, vec![])]),
        Step::Spawn(2),
    ];
    let mutex = vec![Step::While(
        equal(reg(0), number(0)),
        vec![receive(take, 1), Step::If(reg(0), vec![], vec![receive(give, 1)])],
    )];
    Program::new("etcd 6873", 4, vec![root, worker, stops, mutex])
}

/// kubernetes 1321: a watcher is stopped under the lock that the distributor holds while it
/// waits for the watcher.
pub fn kubernetes_1321(rounds: usize) -> Program {
    let (take, value, give, result) = (0, 1, 2, 3);
    // Register 2 is how many watchers there are.
    let mutex = vec![Step::While(
        equal(reg(0), number(0)),
        vec![
            receive(take, 1),
            Step::If(reg(0), vec![], vec![send_of(value, reg(2)), receive(give, 2)]),
        ],
    )];
    let round = [
        send(take, 0),
        receive(value, 1),
        Step::If(reg(1), vec![send(result, 0)], vec![]),
        send_of(give, reg(1)),
    ];
    let under_lock = |watchers| [send(take, 0), receive(value, 1), send(give, watchers)];
    let mut watcher: Vec<Step> = under_lock(1).into();
    watcher.extend(under_lock(0));
    watcher.push(hold(vec![receive(result, 1)]));
    let mut distributor = times(rounds, &round);
    distributor.push(hold(vec![receive(result, 1)]));
    family("kubernetes 1321", 4, vec![mutex, distributor, watcher], vec![])
}

/// kubernetes 5316: a request that times out leaves its worker behind.
pub fn kubernetes_5316() -> Program {
    let (result, error) = (0, 1);
    let worker = vec![
        select(vec![(Arm::Send(result, number(1)), vec![]), (Arm::Send(error, number(2)), vec![])]),
        hold(vec![receive(result, 1), receive(error, 1)]),
    ];
    let request = select(vec![
        (Arm::Receive(result, 1), vec![]),
        (Arm::Receive(error, 1), vec![]),
        (Arm::Timer(10), vec![]),
    ]);
    family("kubernetes 5316", 2, vec![worker], vec![request])
}
