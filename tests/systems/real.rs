//! A program as real tasklets: the same machines, on the channels and operations of the crate.
//!
//! Always: which of the crate's ways to write an operation is used is decided by a number, so that
//! two executions with the same number are the same program; arms keep their order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tasklets::select::{Arm, support};
use tasklets::{
    Halt, JoinError, Operation, Receiver, Select, SendError, Sender, Tasklet, TaskletRef, after,
    channel, select, sleep, spawn, yield_now,
};

use super::machine::{Act, Answer, Compiled, Machine, Ready};
use super::{Program, Side};

/// What each body saw: for each operation how it went, which arm, and what was received.
pub type Seen = BTreeMap<usize, Vec<(&'static str, usize, i64)>>;

/// A program of tasklets.
pub struct Real {
    compiled: Arc<Compiled>,
    /// Which ways to write operations are used.
    style: u64,
    /// How often tasklets give way without need, in production.
    yields: Option<u64>,
    world: RefCell<Rc<World>>,
}

/// What one execution keeps beside the tasklets.
#[derive(Default)]
struct World {
    style: u64,
    yields: Option<u64>,
    joins: RefCell<BTreeMap<usize, Tasklet<()>>>,
    handles: RefCell<BTreeMap<usize, TaskletRef>>,
    cancelled: RefCell<BTreeSet<usize>>,
    seen: RefCell<Seen>,
    failed: Cell<bool>,
    joined_failed: Cell<bool>,
    over: Cell<bool>,
}

/// The handles of a tasklet, by channel.
struct Ends {
    senders: Vec<Vec<Sender<i64>>>,
    receivers: Vec<Vec<Receiver<i64>>>,
}

impl Real {
    pub fn new(program: &Program, style: u64) -> Real {
        let compiled = Arc::new(Compiled::new(program));
        Real { compiled, style, yields: None, world: RefCell::default() }
    }

    /// Tasklets give way now and then, as `seed` says.
    pub fn yielding(mut self, seed: u64) -> Real {
        self.yields = Some(seed);
        self
    }

    /// Runs the root; what is seen replaces what was.
    pub fn main(&self) {
        let world = World { style: self.style, yields: self.yields, ..World::default() };
        let world = Rc::new(world);
        self.world.replace(world.clone());
        let machine = Machine::root(&self.compiled);
        let ends = Ends::all(self.compiled.channels, &machine);
        play(&world, machine, ends);
    }

    /// From here on nothing counts as seen.
    pub fn over(&self) {
        self.world.borrow().over.set(true);
    }

    pub fn seen(&self) -> Seen {
        self.world.borrow().seen.borrow().clone()
    }

    /// Whether a tasklet panicked, and whether nobody has taken the panic.
    pub fn failed(&self) -> (bool, bool) {
        let world = self.world.borrow();
        (world.failed.get(), world.failed.get() && !world.joined_failed.get())
    }
}

impl Ends {
    /// One pair for each channel, cloned as often as the root's machine counts.
    fn all(channels: usize, machine: &Machine) -> Ends {
        let mut ends = Ends { senders: Vec::new(), receivers: Vec::new() };
        for index in 0..channels {
            let (tx, rx) = channel();
            let count = |side| machine.handles().get(&(side, index)).map_or(0, |it| *it as usize);
            ends.senders.push(vec![tx; count(Side::Sender)]);
            ends.receivers.push(vec![rx; count(Side::Receiver)]);
        }
        ends
    }

    /// What `machine` starts with.
    fn split(&mut self, machine: &Machine) -> Ends {
        let channels = self.senders.len();
        let mut child = Ends {
            senders: (0..channels).map(|_| Vec::new()).collect(),
            receivers: (0..channels).map(|_| Vec::new()).collect(),
        };
        for ((side, index), count) in machine.handles() {
            for _ in 0..*count {
                match side {
                    Side::Sender => child.senders[*index].extend(self.senders[*index].pop()),
                    Side::Receiver => child.receivers[*index].extend(self.receivers[*index].pop()),
                }
            }
        }
        child
    }

    fn drop_some(&mut self, side: Side, index: usize, count: u32) {
        for _ in 0..count {
            match side {
                Side::Sender => drop(self.senders[index].pop()),
                Side::Receiver => drop(self.receivers[index].pop()),
            }
        }
    }
}

fn mix(one: u64, other: u64) -> u64 {
    let word = (one ^ other.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x1656_67B1);
    (word ^ (word >> 29)).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 8
}

/// Runs a machine to its end.
fn play(world: &Rc<World>, mut machine: Machine, mut ends: Ends) {
    let body = machine.body;
    let mut steps = 0;
    loop {
        let act = machine.act();
        steps += 1;
        if let Some(seed) = world.yields {
            let often = mix(mix(seed, body as u64), steps) % 4;
            (0..often).for_each(|_| yield_now());
        }
        match act {
            Act::Spawn(child) => {
                let (number, theirs) = (child.body, ends.split(&child));
                let own = world.clone();
                let tasklet = spawn(move || play(&own, child, theirs));
                world.handles.borrow_mut().insert(number, tasklet.handle());
                world.joins.borrow_mut().insert(number, tasklet);
            }
            Act::Drop((side, index), count) => ends.drop_some(side, index, count),
            Act::Fail(why) => {
                world.failed.set(true);
                resume_unwind(Box::new(why));
            }
            Act::End => return,
            Act::Offer(arms) => {
                let style = mix(mix(world.style, body as u64), steps);
                let answer = Offer { world, body, ends: &ends, arms: &arms, style }.perform();
                let given_up = answer == Answer::Cancelled
                    && (world.over.get() || !world.cancelled.borrow().contains(&body));
                if given_up {
                    return; // the end of the run
                }
                world.note(body, answer);
                machine.answer(answer);
            }
        }
    }
}

impl World {
    fn note(&self, body: usize, answer: Answer) {
        let word = match answer {
            Answer::Done(arm, value) => ("done", arm, value),
            Answer::Closed(arm) => ("closed", arm, 0),
            Answer::Cancelled => ("cancelled", 0, 0),
        };
        if !self.over.get() {
            self.seen.borrow_mut().entry(body).or_default().push(word);
        }
    }
}

/// An operation about to be performed.
struct Offer<'a> {
    world: &'a Rc<World>,
    body: usize,
    ends: &'a Ends,
    arms: &'a [Ready],
    style: u64,
}

type Outcome = Result<i64, Halt>;

fn answer(arm: usize, outcome: Outcome) -> Answer {
    match outcome {
        Ok(value) => Answer::Done(arm, value),
        Err(Halt::Closed) => Answer::Closed(arm),
        Err(Halt::Cancelled) => Answer::Cancelled,
        Err(why) => panic!("an operation ended with {why}"),
    }
}

fn sent(result: Result<(), SendError<i64>>) -> Outcome {
    result.map(|()| 0).map_err(|it| it.why)
}

fn delay(units: u64) -> Duration {
    Duration::from_nanos(units)
}

impl Offer<'_> {
    /// Whether the number says so, once in so many.
    fn one_in(&self, many: u64) -> bool {
        self.style.is_multiple_of(many)
    }

    fn is_cancelled(&self) -> bool {
        self.world.over.get() || self.world.cancelled.borrow().contains(&self.body)
    }

    fn tx(&self, index: usize) -> &Sender<i64> {
        &self.ends.senders[index][0]
    }

    fn rx(&self, index: usize) -> &Receiver<i64> {
        &self.ends.receivers[index][0]
    }

    fn perform(&self) -> Answer {
        match *self.arms {
            [Ready::Default] => {
                if self.one_in(2) {
                    yield_now();
                } else {
                    let nothing = support::run(&mut [], false, support::NONE);
                    assert_eq!(nothing, None);
                }
                Answer::Done(0, 0)
            }
            [Ready::Cancel(body)] => {
                let handle = self.world.handles.borrow()[&body].clone();
                handle.cancel();
                self.world.cancelled.borrow_mut().insert(body); // before the target runs on
                Answer::Done(0, 0)
            }
            [Ready::Timer(units)] if units > 0 && self.one_in(2) => {
                answer(0, sleep(delay(units)).map(|()| 0))
            }
            [Ready::Send(index, value)] => answer(0, self.send(index, value)),
            [Ready::Receive(index)] => answer(0, self.receive(index)),
            [Ready::Send(index, value), Ready::Default] if self.one_in(3) => {
                match self.tx(index).try_send(value) {
                    Ok(None) => Answer::Done(0, 0),
                    Ok(Some(_)) => Answer::Done(1, 0),
                    Err(error) => answer(0, Err(error.why)),
                }
            }
            [Ready::Receive(index), Ready::Default] if self.one_in(3) => {
                match self.rx(index).try_recv().transpose() {
                    Some(outcome) => answer(0, outcome),
                    None => Answer::Done(1, 0),
                }
            }
            [Ready::Receive(index), Ready::Limit(units)] if self.one_in(4) => {
                match self.rx(index).recv_timeout(delay(units)) {
                    Err(Halt::TimedOut) => Answer::Done(1, 0),
                    outcome => answer(0, outcome),
                }
            }
            [Ready::Send(index, value), Ready::Limit(units)] if self.one_in(4) => {
                match sent(self.tx(index).send_timeout(value, delay(units))) {
                    Err(Halt::TimedOut) => Answer::Done(1, 0),
                    outcome => answer(0, outcome),
                }
            }
            _ => self.several(),
        }
    }

    fn send(&self, index: usize, value: i64) -> Outcome {
        let tx = self.tx(index);
        match self.style % 8 {
            0 | 1 => sent(tx.send(value)),
            2 => sent(tx.sending(value).wait()),
            3 => select! { send(tx, value) -> it => sent(it) },
            4 => select! { op(tx.sending(value)) -> it => sent(it) },
            5 => tx.reserving().wait().and_then(|it| sent(it.send(value))),
            6 => {
                let mut select = Select::new();
                select.send(tx);
                select.wait().and_then(|it| sent(it.send(tx, value)))
            }
            _ => tx.sending(value).or(tx.sending(value).only_if(false)).map(sent).wait(),
        }
    }

    fn receive(&self, index: usize) -> Outcome {
        let rx = self.rx(index);
        match self.style % 8 {
            0 | 1 => rx.recv(),
            2 => rx.receiving().wait(),
            3 => select! { recv(rx) -> it => it },
            4 => select! { biased; recv(rx) -> it => it, recv(rx) -> it if false => it },
            5 => rx.recv_held().map(|it| it.accept()),
            6 => {
                let mut select = Select::new();
                select.recv(rx);
                select.wait().and_then(|it| it.recv(rx))
            }
            _ => rx.receiving().only_if(false).or(rx.receiving()).map(|it| it).wait(),
        }
    }

    /// More than one arm.
    fn several(&self) -> Answer {
        let channels_only = |it: &Ready| matches!(it, Ready::Send(..) | Ready::Receive(_));
        let (last, before) = self.arms.split_last().expect("an offer has an arm");
        let plain = before.iter().all(channels_only);
        if plain && self.style % 3 == 1 && !matches!(last, Ready::Join(_) | Ready::Timer(_)) {
            return self.reused(before, *last);
        }
        let joins = self.arms.iter().map(|it| match it {
            Ready::Join(body) => self.world.joins.borrow_mut().remove(body),
            _ => None,
        });
        let mut joins: Vec<_> = joins.collect();
        let mut patience = support::FOREVER;
        let mut arms = self.arms;
        match *last {
            Ready::Default => (arms, patience) = (before, support::NONE),
            Ready::Limit(units) => {
                (arms, patience) = (before, support::for_at_most(delay(units)));
            }
            _ => {}
        }
        let mut operations: Vec<_> =
            arms.iter().zip(&mut joins).map(|(arm, join)| self.operation(*arm, join)).collect();
        let nested = patience == support::FOREVER && self.one_in(3);
        if let (true, [one, two]) = (nested, &mut operations[..]) {
            let one = (&mut **one).map(|it| (0, it));
            let (arm, outcome) = one.or((&mut **two).map(|it| (1, it))).wait();
            return answer(arm, outcome);
        }
        if let (true, [one, two, three]) = (nested, &mut operations[..]) {
            let one = (&mut **one).map(|it| (0, it));
            let later = (&mut **two).map(|it| (1, it)).or((&mut **three).map(|it| (2, it)));
            let (arm, outcome) = one.or(later).wait();
            return answer(arm, outcome);
        }
        let mut slice: Vec<&mut dyn Arm> =
            operations.iter_mut().map(|it| &mut **it as &mut dyn Arm).collect();
        match support::run(&mut slice, self.one_in(2), patience) {
            Some(arm) => answer(arm, operations[arm].take()),
            // Without an arm there is nobody to be told of a cancellation, which ends the wait.
            // To ask the tasklet itself would be a step more.
            None if arms.is_empty() && self.is_cancelled() => Answer::Cancelled,
            None => Answer::Done(arms.len(), 0),
        }
    }

    fn operation<'a>(
        &'a self,
        arm: Ready,
        join: &'a mut Option<Tasklet<()>>,
    ) -> Box<dyn Operation<Output = Outcome> + 'a> {
        match arm {
            Ready::Send(index, value) if self.style % 5 < 2 => {
                let permit = self.tx(index).reserving();
                Box::new(permit.map(move |it| it.and_then(|it| sent(it.send(value)))))
            }
            Ready::Send(index, value) => Box::new(self.tx(index).sending(value).map(sent)),
            Ready::Receive(index) => Box::new(self.rx(index).receiving()),
            Ready::Timer(units) => Box::new(after(delay(units)).map(|it| it.map(|_| 0))),
            Ready::Join(_) => {
                let tasklet = join.as_mut().expect("each body is joined in one place");
                let failed = &self.world.joined_failed;
                Box::new(tasklet.map(move |it| match it {
                    Ok(()) | Err(JoinError::Cancelled) => Ok(0),
                    Err(JoinError::Halted(why)) => Err(why),
                    Err(JoinError::Panicked(_)) => {
                        failed.set(true);
                        Ok(0)
                    }
                }))
            }
            Ready::Default | Ready::Limit(_) | Ready::Cancel(_) => {
                unreachable!("{arm:?} is no operation")
            }
        }
    }

    /// By a reused select.
    fn reused(&self, before: &[Ready], last: Ready) -> Answer {
        let mut select = Select::new();
        let channels = before.iter().chain(Some(&last));
        for arm in channels {
            match *arm {
                Ready::Send(index, _) => drop(select.send(self.tx(index))),
                Ready::Receive(index) => drop(select.recv(self.rx(index))),
                Ready::Default
                | Ready::Timer(_)
                | Ready::Limit(_)
                | Ready::Join(_)
                | Ready::Cancel(_) => {}
            }
        }
        let chosen = match last {
            Ready::Default => select.try_wait(),
            Ready::Limit(units) => select.wait_timeout(delay(units)),
            _ => select.wait().map(Some),
        };
        let chosen = match chosen {
            Err(why) => return answer(0, Err(why)),
            Ok(None) => return Answer::Done(before.len(), 0),
            Ok(Some(chosen)) => chosen,
        };
        let index = chosen.index();
        answer(
            index,
            match self.arms[index] {
                Ready::Send(channel, value) => sent(chosen.send(self.tx(channel), value)),
                Ready::Receive(channel) => chosen.recv(self.rx(channel)),
                other => unreachable!("{other:?} was chosen"),
            },
        )
    }
}
