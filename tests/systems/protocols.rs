//! Servers and protocols whose traces are too many to count by hand; brute force confirms them.
//!
//! Always: as in `cases`; what is wrong in a variant is said where the variant is chosen.

use super::cases::{self, select};
use super::{Arm, Expr, Program, Step, number, receive, reg, send, send_of, times};
use super::{STATUS, add, equal, less};

/// As in `cases`, with values that are the same wherever they come from.
fn family(name: &str, channels: usize, bodies: Vec<Vec<Step>>, after: Vec<Step>) -> Program {
    Program { digests: true, ..cases::family(name, channels, bodies, after) }
}

/// Keeps ends open until the last of the bodies has ended: nobody is told "closed" before.
fn keep_open(bodies: usize, steps: Vec<Step>) -> Vec<Step> {
    let hold = Step::If(number(0), steps, vec![]);
    vec![select(vec![(Arm::Join(bodies), vec![])]), hold]
}

fn count_up(register: usize) -> Step {
    Step::Set(register, add(reg(register), number(1)))
}

fn count_down(register: usize) -> Step {
    Step::Set(register, add(reg(register), number(-1)))
}

fn unless(condition: Expr, steps: Vec<Step>) -> Step {
    Step::If(condition, vec![], steps)
}

fn repeat_while(condition: Expr, steps: Vec<Step>) -> Step {
    Step::While(condition, steps)
}

/// Philosophers who take the left fork first, after a butler has let them sit down; he lets all
/// but one.
pub fn butler(n: usize) -> Program {
    let (take, put) = (|fork: usize| 2 * fork, |fork: usize| 2 * fork + 1);
    let (sit, leave) = (2 * n, 2 * n + 1);
    let mut bodies: Vec<Vec<Step>> =
        (0..n).map(|fork| times(2, &[receive(take(fork), 1), receive(put(fork), 1)])).collect();
    for who in 0..n {
        let next = (who + 1) % n;
        let meal = [sit, take(who), take(next), put(who), put(next), leave];
        bodies.push(meal.map(|it| send(it, 0)).into());
    }
    // Register 2 is how many sit, 3 how many have left.
    let leaves = || (Arm::Receive(leave, 1), vec![count_down(2), count_up(3)]);
    let sits = (Arm::Receive(sit, 1), vec![count_up(2)]);
    let full = equal(reg(2), number(n as i64 - 1));
    let turn = Step::If(full, vec![select(vec![leaves()])], vec![select(vec![sits, leaves()])]);
    bodies.push(vec![repeat_while(less(reg(3), number(n as i64)), vec![turn])]);
    family("butler", 2 * n + 2, bodies, vec![])
}

/// The alternating bit protocol: a medium that loses up to `losses` messages, a timer to send
/// again, up to `retries` times for each message; acknowledgements are not lost. A receiver that
/// ignores the bit delivers a message twice.
pub fn alternating_bit(messages: i64, losses: i64, retries: i64, ignores_bit: bool) -> Program {
    let (to_medium, to_receiver, acknowledge, deliver) = (0, 1, 2, 3);
    // A message is its number; its bit is the rest by two.
    let bit = |value: Expr| Expr::Rest(Box::new(value), 2);
    // Register 2 is the message, 3 how often it was sent, 4 whether it was acknowledged.
    let right = equal(reg(1), bit(reg(2)));
    let heard = || {
        Step::If(
            reg(STATUS),
            vec![],
            vec![Step::If(right.clone(), vec![Step::Set(4, number(1))], vec![])],
        )
    };
    let round = vec![
        select(vec![
            (Arm::Send(to_medium, reg(2)), vec![count_up(3), Step::Set(5, number(1))]),
            (Arm::Receive(acknowledge, 1), vec![heard(), Step::Set(5, number(0))]),
        ]),
        // It waits only after it has sent.
        repeat_while(
            equal(reg(5), number(1)),
            vec![select(vec![
                (
                    Arm::Receive(acknowledge, 1),
                    vec![heard(), unless(equal(reg(4), number(0)), vec![Step::Set(5, number(0))])],
                ),
                (Arm::Timer(10), vec![Step::Set(5, number(0))]),
            ])],
        ),
    ];
    let goes_on =
        Expr::Equal(Box::new(add(reg(4), less(number(retries), reg(3)))), Box::new(number(0)));
    let one = vec![
        Step::Set(3, number(0)),
        Step::Set(4, number(0)),
        repeat_while(goes_on, round),
        // Who gives up sends nothing more.
        Step::If(reg(4), vec![count_up(2)], vec![Step::Set(2, number(messages))]),
    ];
    let sender = vec![repeat_while(less(reg(2), number(messages)), one)];
    // Register 2 is how many it has lost.
    let forward = || Arm::Send(to_receiver, reg(1));
    let loses = select(vec![(forward(), vec![]), (Arm::Default, vec![count_up(2)])]);
    let pass = Step::If(
        less(reg(2), number(losses)),
        vec![loses],
        vec![select(vec![(forward(), vec![])])],
    );
    let medium = vec![repeat_while(
        equal(reg(STATUS), number(0)),
        vec![receive(to_medium, 1), unless(reg(STATUS), vec![pass, Step::Set(0, number(0))])],
    )];
    // Register 2 is the bit that is expected.
    let fits = if ignores_bit { number(1) } else { equal(bit(reg(1)), reg(2)) };
    let fresh = vec![send_of(deliver, reg(1)), Step::Set(2, bit(add(reg(2), number(1))))];
    let answer = vec![Step::If(fits, fresh, vec![]), send_of(acknowledge, bit(reg(1)))];
    let receiver = vec![repeat_while(
        equal(reg(STATUS), number(0)),
        vec![
            receive(to_receiver, 1),
            unless(reg(STATUS), [answer, vec![Step::Set(0, number(0))]].concat()),
        ],
    )];
    // The user counts what is delivered.
    let wrong = Step::If(equal(reg(1), reg(2)), vec![count_up(2)], vec![Step::Fail("twice")]);
    let user = vec![repeat_while(
        equal(reg(STATUS), number(0)),
        vec![receive(deliver, 1), unless(reg(STATUS), vec![wrong])],
    )];
    family("alternating bit", 4, vec![sender, medium, receiver, user], vec![])
}

/// A server that lets readers in together and writers alone; each comes once.
pub fn readers_writers(readers: usize, writers: usize) -> Program {
    let (read, done_reading, write, done_writing) = (0, 1, 2, 3);
    let reader = vec![send(read, 0), send(done_reading, 0)];
    let writer = vec![send(write, 0), send(done_writing, 0)];
    // Register 2 is how many read, 3 how many are done.
    let enters = || (Arm::Receive(read, 1), vec![count_up(2)]);
    let leaves = (Arm::Receive(done_reading, 1), vec![count_down(2), count_up(3)]);
    let writes = (Arm::Receive(write, 1), vec![receive(done_writing, 1), count_up(3)]);
    let turn = Step::If(
        equal(reg(2), number(0)),
        vec![select(vec![enters(), writes])],
        vec![select(vec![enters(), leaves])],
    );
    let all = number((readers + writers) as i64);
    let mut bodies = vec![reader; readers];
    bodies.extend(vec![writer; writers]);
    bodies.push(vec![repeat_while(less(reg(3), all), vec![turn])]);
    let open = [read, done_reading, write, done_writing].map(|it| send(it, 0)).into();
    let root = keep_open(bodies.len(), open);
    family("readers and writers", 4, bodies, root)
}

/// Santa Claus sleeps until all reindeer are back, or a group of elves wants to ask; the reindeer
/// come once, and all elves in groups. The one who gathers a group lets it go after Santa.
pub fn santa(reindeer: usize, elves: usize, group: usize) -> Program {
    let (back, harness, ask, meet) = (0, 1, 2, 3);
    let mut bodies = vec![vec![send(back, 0)]; reindeer];
    bodies.extend(vec![vec![send(ask, 0)]; elves]);
    bodies.push([times(reindeer, &[receive(back, 1)]), vec![send(harness, 0)]].concat());
    let gather = [times(group, &[receive(ask, 1)]), vec![send(meet, 0)]].concat();
    bodies.push(times(elves / group, &gather));
    let either = select(vec![(Arm::Receive(harness, 1), vec![]), (Arm::Receive(meet, 1), vec![])]);
    bodies.push(times(1 + elves / group, &[either]));
    let root = keep_open(bodies.len(), [harness, meet].map(|it| send(it, 0)).into());
    family("santa", 4, bodies, root)
}

/// A log whose writer is behind a cell: a stop that comes sooner loses the last line.
pub fn logger() -> Program {
    let (line, written, stop) = (0, 1, 2);
    let client = vec![send(line, 1), send(line, 2), send(stop, 0)];
    let lost = Step::If(reg(STATUS), vec![Step::Fail("a line is lost")], vec![]);
    let cell = times(2, &[receive(line, 1), send_of(written, reg(1)), lost]);
    let writer = vec![repeat_while(
        equal(reg(2), number(0)),
        vec![select(vec![
            (
                Arm::Receive(written, 1),
                vec![Step::If(reg(STATUS), vec![Step::Set(2, number(1))], vec![])],
            ),
            (Arm::Receive(stop, 1), vec![Step::Set(2, number(1))]),
        ])],
    )];
    let root = keep_open(3, vec![send(written, 0), send(stop, 0)]);
    family("logger", 3, vec![client, cell, writer], root)
}

/// Memory with two variables, which serves so many requests: register 2 is the first, 3 the second.
fn memory(requests: i64, (write, read): ([usize; 2], [usize; 2])) -> Vec<Step> {
    let set = |nth: usize| (Arm::Receive(write[nth], 2 + nth), vec![count_up(4)]);
    let get = |nth: usize| (Arm::Send(read[nth], reg(2 + nth)), vec![count_up(4)]);
    let serve = select(vec![set(0), set(1), get(0), get(1)]);
    vec![repeat_while(less(reg(4), number(requests)), vec![serve])]
}

/// Keeps all ends of the memory open until it has ended; it is the last body.
fn memory_open(bodies: usize) -> Vec<Step> {
    keep_open(bodies, vec![send(0, 0), send(1, 0), receive(2, 1), receive(3, 1)])
}

/// SCTBench's reorder: so many set one variable and then the other; who reads both may see one set
/// and not the other.
pub fn reorder(setters: usize) -> Program {
    let (write, read) = ([0, 1], [2, 3]);
    let mut bodies = vec![vec![send(write[0], 1), send(write[1], -1)]; setters];
    let wrong = unless(equal(add(reg(1), reg(2)), number(0)), vec![Step::Fail("a stale value")]);
    bodies.push(vec![receive(read[0], 1), receive(read[1], 2), wrong]);
    bodies.push(memory(2 * setters as i64 + 2, (write, read)));
    family("reorder", 4, bodies, memory_open(setters + 2))
}

/// SCTBench's twostage: so many set one variable and then the other to one more; who reads the
/// first as set expects the second to be set, too.
pub fn two_stage(setters: usize) -> Program {
    let (write, read) = ([0, 1], [2, 3]);
    let mut bodies = vec![vec![send(write[0], 1), send(write[1], 2)]; setters];
    let wrong = unless(equal(reg(2), number(2)), vec![Step::Fail("a stale value")]);
    bodies.push(vec![
        receive(read[0], 1),
        receive(read[1], 2),
        Step::If(reg(1), vec![wrong], vec![]),
    ]);
    bodies.push(memory(2 * setters as i64 + 2, (write, read)));
    family("two stages", 4, bodies, memory_open(setters + 2))
}
