//! A program as a `System`: it reports everything to a board and does what this one says.

use std::collections::BTreeMap;
use std::sync::Arc;

use tasklets::explore::{Board, Branch, ChannelName, Event, Kind, Run, System, TaskletName};

use super::machine::{Act, Answer, Compiled, Handle, Machine, Ready};
use super::{Program, Side};

/// A program under control.
#[derive(Debug)]
pub struct Controlled {
    name: String,
    compiled: Arc<Compiled>,
}

impl Controlled {
    pub fn new(program: &Program) -> Controlled {
        Controlled { name: program.name.clone(), compiled: Arc::new(Compiled::new(program)) }
    }
}

/// One run.
struct World<'a, 'b> {
    board: &'a mut Board<'b>,
    digests: bool,
    channels: Vec<ChannelName>,
    machines: BTreeMap<TaskletName, Machine>,
    /// The tasklet of each body that was spawned.
    bodies: BTreeMap<usize, TaskletName>,
    handles: BTreeMap<Handle, u32>,
    /// The values offered by each waiting tasklet.
    offered: BTreeMap<TaskletName, Vec<Ready>>,
    ready: Vec<TaskletName>,
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
                    self.ready.push(child);
                }
                Act::Drop((side, channel), count) => {
                    let left = self.handles.get_mut(&(side, channel)).expect("it is counted");
                    *left -= count;
                    let last = *left == 0;
                    self.board.drop_end(tasklet, self.channels[channel], side, last);
                }
                Act::Fail(why) => self.board.panicked(tasklet, why),
                Act::End => return self.board.end(tasklet),
                Act::Offer(arms) => {
                    let branches: Vec<_> =
                        arms.iter().map(|it| self.branch(tasklet, *it)).collect();
                    self.board.offer_with(tasklet, branches);
                    self.offered.insert(tasklet, arms);
                    return;
                }
            }
        }
    }

    fn branch(&self, tasklet: TaskletName, arm: Ready) -> (Branch, Option<u64>) {
        let plain = |branch| (branch, None);
        match arm {
            Ready::Send(channel, value) => {
                let digest = self.digests.then_some(value as u64);
                (Branch::Send(self.channels[channel]), digest)
            }
            Ready::Receive(channel) => plain(Branch::Receive(self.channels[channel])),
            Ready::Default => plain(Branch::Default),
            Ready::Timer(delay) => plain(Branch::Timer(self.board.now(tasklet) + delay)),
            Ready::Join(body) => plain(Branch::Join(self.bodies[&body])),
            Ready::Cancel(body) => plain(Branch::Cancel(self.bodies[&body])),
        }
    }

    /// Makes `event` happen.
    fn perform(&mut self, event: Event) {
        let first = event.first.slot.tasklet;
        let branch = usize::from(event.first.branch);
        let sent = match self.offered[&first][branch] {
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

/// Who met whom: for each slot the kind, the own branch, and the peer with its branch.
pub type Matching = BTreeMap<(String, u32), (Kind, u16, Option<(String, u32, u16)>)>;

/// The matching of a run.
pub fn matching(run: &Run, names: &tasklets::explore::Names) -> Matching {
    let mut all = Matching::new();
    for event in &run.events {
        let event = event.event;
        let name =
            |it: tasklets::explore::Offer| (names.tasklet(it.slot.tasklet), it.slot.nth, it.branch);
        let first = name(event.first);
        let second = event.second.map(name);
        if let Some(second) = &second {
            let peer = Some(first.clone());
            all.insert((second.0.clone(), second.1), (event.kind, second.2, peer));
        }
        all.insert((first.0, first.1), (event.kind, first.2, second));
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
