//! A program as a `System`: it reports everything to a board and does what this one says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tasklets::explore::{Board, Branch, ChannelName, Event, Kind, Run, System, TaskletName};

use super::machine::{Act, Answer, Compiled, Handle, Machine, Ready};
use super::{Program, Side};

/// A program under control.
#[derive(Debug)]
pub struct Controlled {
    name: String,
    compiled: Arc<Compiled>,
    /// Whether the first slot of a tasklet but the root is that it begins.
    begins: bool,
}

impl Controlled {
    pub fn new(program: &Program) -> Controlled {
        let compiled = Arc::new(Compiled::new(program));
        Controlled { name: program.name.clone(), compiled, begins: false }
    }

    /// As real tasklets are: each begins when it is decided, and never does if cancelled before.
    pub fn beginning(program: &Program) -> Controlled {
        Controlled { begins: true, ..Controlled::new(program) }
    }
}

/// A branch, and what its value is told apart by.
type Told = (Branch, Option<u64>);

/// One run.
struct World<'a, 'b> {
    board: &'a mut Board<'b>,
    digests: bool,
    channels: Vec<ChannelName>,
    machines: BTreeMap<TaskletName, Machine>,
    /// The tasklet of each body that was spawned.
    bodies: BTreeMap<usize, TaskletName>,
    handles: BTreeMap<Handle, u32>,
    /// The values offered by each waiting tasklet, and its branches.
    offered: BTreeMap<TaskletName, (Vec<Ready>, Vec<Told>)>,
    ready: Vec<TaskletName>,
    /// Those that have not begun, and whether they will.
    unbegun: BTreeMap<TaskletName, bool>,
    /// Those that go on after they were cancelled, since they did not wait.
    cancelled: BTreeSet<TaskletName>,
    begins: bool,
}

impl System for Controlled {
    fn program(&self) -> &str {
        &self.name
    }

    fn run(&self, board: &mut Board<'_>) {
        let root = TaskletName::ROOT;
        let channels: Vec<_> = (0..self.compiled.channels).map(|_| board.channel(root)).collect();
        let machine = Machine::root(&self.compiled);
        let mut world = World {
            board,
            digests: self.compiled.digests,
            channels,
            handles: machine.handles().clone(),
            machines: BTreeMap::from([(root, machine)]),
            bodies: BTreeMap::from([(0, root)]),
            offered: BTreeMap::new(),
            ready: vec![root],
            unbegun: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            begins: self.begins,
        };
        loop {
            while let Some(tasklet) = world.ready.pop() {
                world.advance(tasklet);
            }
            let Some(event) = world.board.choose() else { return };
            world.perform(event);
        }
    }
}

impl World<'_, '_> {
    /// Runs a tasklet to its next operation.
    fn advance(&mut self, tasklet: TaskletName) {
        loop {
            let act = self.machines.get_mut(&tasklet).expect("it runs").act();
            match act {
                Act::Spawn(machine) => {
                    let child = self.board.spawn(tasklet);
                    self.bodies.insert(machine.body, child);
                    self.machines.insert(child, machine);
                    if self.begins {
                        self.board.offer(child, &[Branch::Default]);
                        self.unbegun.insert(child, true);
                    } else {
                        self.ready.push(child);
                    }
                }
                Act::Drop((side, channel), count) => {
                    let left = self.handles.get_mut(&(side, channel)).expect("it is counted");
                    *left -= count;
                    let last = *left == 0;
                    self.board.drop_end(tasklet, self.channels[channel], side, last);
                }
                Act::Fail(why) => self.board.panicked(tasklet, why),
                Act::End => return self.board.end(tasklet),
                Act::Offer(arms) if waits(&arms) && self.cancelled.contains(&tasklet) => {
                    let machine = self.machines.get_mut(&tasklet).expect("it runs");
                    machine.answer(Answer::Cancelled);
                }
                Act::Offer(arms) => {
                    let branches: Vec<_> =
                        arms.iter().map(|it| self.branch(tasklet, *it)).collect();
                    self.board.offer_with(tasklet, branches.iter().copied());
                    self.offered.insert(tasklet, (arms, branches));
                    return;
                }
            }
        }
    }

    /// As real tasklets do it: who has not begun never does, and who does not wait is stopped by
    /// its next operation only. Whether it is one of these.
    fn cancelled_later(&mut self, tasklet: TaskletName) -> bool {
        if let Some(begins) = self.unbegun.get_mut(&tasklet) {
            *begins = false;
            self.board.offer(tasklet, &[Branch::Default]);
            return true;
        }
        let (arms, branches) = &self.offered[&tasklet];
        if !self.begins || waits(arms) {
            return false;
        }
        self.cancelled.insert(tasklet);
        // It is the same operation, and its timers are due when they were.
        self.board.offer_with(tasklet, branches.iter().copied());
        true
    }

    fn branch(&self, tasklet: TaskletName, arm: Ready) -> Told {
        let plain = |branch| (branch, None);
        match arm {
            Ready::Send(channel, value) => {
                let digest = self.digests.then_some(value as u64);
                (Branch::Send(self.channels[channel]), digest)
            }
            Ready::Receive(channel) => plain(Branch::Receive(self.channels[channel])),
            Ready::Default => plain(Branch::Default),
            Ready::Timer(delay) => plain(Branch::Timer(self.board.now(tasklet) + delay)),
            Ready::Limit(delay) => plain(Branch::Limit(self.board.now(tasklet) + delay)),
            Ready::Join(body) => plain(Branch::Join(self.bodies[&body])),
            Ready::Cancel(body) => plain(Branch::Cancel(self.bodies[&body])),
        }
    }

    /// Makes `event` happen.
    fn perform(&mut self, event: Event) {
        let first = event.first.slot.tasklet;
        let branch = usize::from(event.first.branch);
        if let Some(begins) = self.unbegun.remove(&first) {
            if !begins {
                self.machines.get_mut(&first).expect("it waits").answer(Answer::Cancelled);
            }
            self.ready.push(first);
            return;
        }
        let sent = match self.offered[&first].0[branch] {
            Ready::Send(_, value) => value,
            _ => 0,
        };
        self.answer(
            first,
            match event.kind {
                Kind::Closed => Answer::Closed(branch),
                _ => Answer::Done(branch, 0),
            },
        );
        if let Some(second) = event.second {
            let cancelled = event.kind == Kind::Cancelled;
            if cancelled && self.cancelled_later(second.slot.tasklet) {
                return;
            }
            self.answer(
                second.slot.tasklet,
                match event.kind {
                    Kind::Cancelled => Answer::Cancelled,
                    _ => Answer::Done(usize::from(second.branch), sent),
                },
            );
        }
    }

    fn answer(&mut self, tasklet: TaskletName, answer: Answer) {
        self.machines.get_mut(&tasklet).expect("it waits").answer(answer);
        self.ready.push(tasklet);
    }
}

/// Whether an operation ends when its tasklet is cancelled.
fn waits(arms: &[Ready]) -> bool {
    !arms.iter().any(|it| matches!(it, Ready::Default | Ready::Cancel(_)))
}

/// Who met whom: for each slot the kind, the own branch, the peer with its branch, and whether
/// that one did something to this one.
pub type Matching = BTreeMap<(String, u32), (Kind, u16, Option<(String, u32, u16)>, bool)>;

/// The matching of a run.
pub fn matching(run: &Run, names: &tasklets::explore::Names) -> Matching {
    let mut all = Matching::new();
    for event in &run.events {
        let event = event.event;
        let name =
            |it: tasklets::explore::Offer| (names.tasklet(it.slot.tasklet), it.slot.nth, it.branch);
        let first = name(event.first);
        let (second, cancels) = (event.second.map(name), event.kind == Kind::Cancelled);
        if let Some(second) = &second {
            let peer = Some(first.clone());
            all.insert((second.0.clone(), second.1), (event.kind, second.2, peer, cancels));
        }
        all.insert((first.0, first.1), (event.kind, first.2, second, false));
    }
    all
}

/// The side that meets `side`.
pub fn other(side: Side) -> Side {
    match side {
        Side::Sender => Side::Receiver,
        Side::Receiver => Side::Sender,
    }
}
