//! A program as production runs it: any ready tasklet next, operations try first, waiters are
//! served first come first served. It knows neither clocks nor rules about who can meet.
//!
//! Always: every choice that a cooperative runtime could make between two visible acts is tried.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tasklets::explore::Kind;

use super::controlled::{Matching, other};
use super::machine::{Act, Answer, Compiled, Handle, Machine, Ready};
use super::{Program, Side};

/// What a tasklet is about to do.
#[derive(Clone, Debug)]
enum State {
    /// Its next visible act, when it is run.
    Ready(Act),
    /// It waits for one of these.
    Waiting(Vec<Ready>),
    Ended,
}

struct Tasklet {
    machine: Machine,
    path: String,
    children: u32,
    nth: u32,
    state: State,
    /// Who has cancelled it since its last operation: body, slot.
    cancelled_by: Vec<(usize, u32)>,
    /// Deadlines of its arms, by arm, while it waits.
    deadlines: Vec<(usize, u64)>,
}

struct World<'a> {
    tasklets: BTreeMap<usize, Tasklet>,
    handles: BTreeMap<Handle, u32>,
    queues: BTreeMap<Handle, VecDeque<(usize, usize)>>,
    matching: Matching,
    now: u64,
    /// Waits whose time has come: body, slot, arm.
    due: BTreeSet<(usize, u32, usize)>,
    choose: &'a mut dyn FnMut(usize) -> usize,
}

/// All matchings of the program; none if there are more than `max` executions.
pub fn matchings(program: &Program, max: usize) -> Option<(BTreeSet<Matching>, usize)> {
    let compiled = Arc::new(Compiled::new(program));
    let mut found = BTreeSet::new();
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for executions in 1..=max {
        let mut depth = 0;
        let mut choose = |ways: usize| {
            if ways == 1 {
                return 0;
            }
            if depth == stack.len() {
                stack.push((0, ways));
            }
            depth += 1;
            stack[depth - 1].0
        };
        found.insert(run(&compiled, &mut choose));
        while stack.last().is_some_and(|(taken, ways)| taken + 1 == *ways) {
            stack.pop();
        }
        match stack.last_mut() {
            Some((taken, _)) => *taken += 1,
            None => return Some((found, executions)),
        }
    }
    None
}

fn run(compiled: &Arc<Compiled>, choose: &mut dyn FnMut(usize) -> usize) -> Matching {
    let machine = Machine::root(compiled);
    let mut world = World {
        tasklets: BTreeMap::new(),
        handles: machine.handles().clone(),
        queues: BTreeMap::new(),
        matching: Matching::new(),
        now: 0,
        due: BTreeSet::new(),
        choose,
    };
    world.start(machine, String::from("root"));
    world.run_on(0);
    loop {
        let ready = world.tasklets.iter().filter(|it| matches!(it.1.state, State::Ready(_)));
        let ready: Vec<usize> = ready.map(|it| *it.0).collect();
        let due: Vec<_> = world.due.iter().copied().collect();
        if ready.is_empty() && due.is_empty() {
            if world.tick() {
                continue;
            }
            return world.matching;
        }
        let pick = (world.choose)(ready.len() + due.len());
        match ready.get(pick) {
            Some(body) => world.step(*body),
            None => world.fire(due[pick - ready.len()]),
        }
    }
}

impl World<'_> {
    fn start(&mut self, machine: Machine, path: String) {
        let tasklet = Tasklet {
            path,
            children: 0,
            nth: 0,
            state: State::Ended,
            cancelled_by: Vec::new(),
            deadlines: Vec::new(),
            machine,
        };
        self.tasklets.insert(tasklet.machine.body, tasklet);
    }

    fn of(&mut self, body: usize) -> &mut Tasklet {
        self.tasklets.get_mut(&body).expect("it was spawned")
    }

    /// Runs what nobody sees; what comes next is left for when the tasklet is run again.
    fn run_on(&mut self, body: usize) {
        loop {
            match self.of(body).machine.act() {
                Act::Spawn(machine) => {
                    let parent = self.of(body);
                    let path = format!("{}.{}", parent.path, parent.children);
                    parent.children += 1;
                    let child = machine.body;
                    self.start(machine, path);
                    self.run_on(child);
                }
                Act::Fail(_) => {}
                act @ (Act::Drop(..) | Act::Offer(_) | Act::End) => {
                    self.of(body).state = State::Ready(act);
                    return;
                }
            }
        }
    }

    fn step(&mut self, body: usize) {
        let State::Ready(act) = self.of(body).state.clone() else { unreachable!("it is ready") };
        match act {
            Act::Drop(handle, count) => {
                *self.handles.get_mut(&handle).expect("it is counted") -= count;
                if self.handles[&handle] == 0 {
                    self.close(handle);
                }
                self.run_on(body);
            }
            Act::End => self.end(body),
            Act::Offer(arms) => self.operate(body, arms),
            Act::Spawn(_) | Act::Fail(_) => unreachable!("nobody sees it"),
        }
    }

    /// Everybody who waits for the other side of `handle` is told.
    fn close(&mut self, handle: Handle) {
        let other = (other(handle.0), handle.1);
        while let Some((body, arm)) = self.queues.entry(other).or_default().pop_front() {
            self.settle(body, Kind::Closed, arm, None, Answer::Closed(arm));
        }
    }

    fn end(&mut self, body: usize) {
        self.of(body).state = State::Ended;
        for (canceller, nth) in std::mem::take(&mut self.of(body).cancelled_by) {
            let path = self.of(canceller).path.clone();
            let arm = self.matching[&(path.clone(), nth)].1;
            self.matching.insert((path, nth), (Kind::Ended, arm, None, false));
        }
        let joins = |arms: &[Ready]| {
            arms.iter().position(|it| matches!(it, Ready::Join(of) if *of == body))
        };
        let waiting = self.tasklets.iter().filter_map(|(who, it)| match &it.state {
            State::Waiting(arms) => Some((*who, joins(arms)?)),
            State::Ready(_) | State::Ended => None,
        });
        let waiting: Vec<_> = waiting.collect();
        for (who, arm) in waiting {
            self.settle(who, Kind::Ended, arm, None, Answer::Done(arm, 0));
        }
    }
}

/// A way in which an operation can go at once.
#[derive(Clone, Copy)]
enum Way {
    Meet(usize, usize, usize),
    Alone(Kind, usize),
    Cancel(usize, usize),
}

impl World<'_> {
    /// Tries `arms`; waits if none can go on.
    fn operate(&mut self, body: usize, arms: Vec<Ready>) {
        if !self.of(body).cancelled_by.is_empty() {
            let (canceller, nth) = self.of(body).cancelled_by.remove(0);
            return self.cancel(body, canceller, nth);
        }
        let mut ways: Vec<Way> =
            arms.iter().enumerate().filter_map(|(arm, it)| self.way(body, arm, *it)).collect();
        let nothing_else = |it: &Ready| match it {
            Ready::Default => Some(Kind::Default),
            Ready::Limit(0) => Some(Kind::Timer),
            _ => None,
        };
        if ways.is_empty()
            && let Some((arm, kind)) =
                arms.iter().enumerate().find_map(|(arm, it)| Some((arm, nothing_else(it)?)))
        {
            ways.push(Way::Alone(kind, arm));
        }
        if ways.is_empty() {
            return self.wait(body, arms);
        }
        let pick = (self.choose)(ways.len());
        match ways[pick] {
            Way::Alone(Kind::Closed, arm) => {
                self.settle(body, Kind::Closed, arm, None, Answer::Closed(arm));
            }
            Way::Alone(kind, arm) => self.settle(body, kind, arm, None, Answer::Done(arm, 0)),
            Way::Meet(arm, peer, theirs) => self.meet((body, arm, &arms), (peer, theirs)),
            Way::Cancel(arm, target) => {
                let nth = self.of(body).nth;
                self.settle(body, Kind::Ended, arm, None, Answer::Done(arm, 0));
                match self.of(target).state {
                    State::Ended => {}
                    State::Ready(_) => self.of(target).cancelled_by.push((body, nth)),
                    State::Waiting(..) => self.cancel(target, body, nth),
                }
            }
        }
    }

    fn way(&mut self, body: usize, arm: usize, ready: Ready) -> Option<Way> {
        let handle = match ready {
            Ready::Send(channel, _) => (Side::Receiver, channel),
            Ready::Receive(channel) => (Side::Sender, channel),
            Ready::Default | Ready::Limit(_) => return None,
            Ready::Timer(delay) => return (delay == 0).then_some(Way::Alone(Kind::Timer, arm)),
            Ready::Join(other) => {
                let ended = matches!(self.of(other).state, State::Ended);
                return ended.then_some(Way::Alone(Kind::Ended, arm));
            }
            Ready::Cancel(other) => return Some(Way::Cancel(arm, other)),
        };
        if self.handles.get(&handle).is_none_or(|it| *it == 0) {
            return Some(Way::Alone(Kind::Closed, arm));
        }
        let queue = self.queues.get(&handle)?;
        let (peer, theirs) = queue.iter().find(|it| it.0 != body)?;
        Some(Way::Meet(arm, *peer, *theirs))
    }

    fn meet(&mut self, mine: (usize, usize, &[Ready]), peer: (usize, usize)) {
        let (body, arm, arms) = mine;
        let State::Waiting(theirs) = self.of(peer.0).state.clone() else {
            unreachable!("it is in a queue")
        };
        let value = [arms[arm], theirs[peer.1]].iter().find_map(|it| match it {
            Ready::Send(_, value) => Some(*value),
            _ => None,
        });
        let value = value.expect("one of them sends");
        let me = (self.of(body).path.clone(), self.of(body).nth, arm as u16);
        let you = (self.of(peer.0).path.clone(), self.of(peer.0).nth, peer.1 as u16);
        self.settle(body, Kind::Meeting, arm, Some(you), Answer::Done(arm, value));
        self.settle(peer.0, Kind::Meeting, peer.1, Some(me), Answer::Done(peer.1, value));
    }

    /// The operation of `body` ends because `canceller`'s slot `nth` says so.
    fn cancel(&mut self, body: usize, canceller: usize, nth: u32) {
        let (mine, slot) = (self.of(body).path.clone(), self.of(body).nth);
        let theirs = (self.of(canceller).path.clone(), nth);
        let arm = self.matching[&theirs].1;
        let done = (Kind::Cancelled, arm, Some((mine, slot, 0)), false);
        self.matching.insert(theirs.clone(), done);
        let by = Some((theirs.0, theirs.1, arm));
        self.settle(body, Kind::Cancelled, 0, by, Answer::Cancelled);
    }

    fn settle(
        &mut self,
        body: usize,
        kind: Kind,
        arm: usize,
        peer: Option<(String, u32, u16)>,
        answer: Answer,
    ) {
        for queue in self.queues.values_mut() {
            queue.retain(|it| it.0 != body);
        }
        self.due.retain(|it| it.0 != body);
        let tasklet = self.of(body);
        let slot = (tasklet.path.clone(), tasklet.nth);
        tasklet.nth += 1;
        tasklet.deadlines.clear();
        tasklet.machine.answer(answer);
        self.matching.insert(slot, (kind, arm as u16, peer, kind == Kind::Cancelled));
        self.run_on(body);
    }

    fn wait(&mut self, body: usize, arms: Vec<Ready>) {
        let now = self.now;
        for (arm, it) in arms.iter().enumerate() {
            let handle = match it {
                Ready::Send(channel, _) => (Side::Sender, *channel),
                Ready::Receive(channel) => (Side::Receiver, *channel),
                Ready::Timer(delay) | Ready::Limit(delay) => {
                    self.of(body).deadlines.push((arm, now + delay));
                    continue;
                }
                Ready::Default | Ready::Join(_) | Ready::Cancel(_) => continue,
            };
            self.queues.entry(handle).or_default().push_back((body, arm));
        }
        self.of(body).state = State::Waiting(arms);
    }

    /// Time passes to the next deadline; whether there is one.
    fn tick(&mut self) -> bool {
        let all = self.tasklets.values().flat_map(|it| &it.deadlines).map(|it| it.1);
        let Some(time) = all.min() else { return false };
        self.now = time;
        for (body, it) in &self.tasklets {
            let due = it.deadlines.iter().filter(|it| it.1 <= time);
            self.due.extend(due.map(|(arm, _)| (*body, it.nth, *arm)));
        }
        true
    }

    /// A timer whose time has come settles its wait.
    fn fire(&mut self, due: (usize, u32, usize)) {
        self.settle(due.0, Kind::Timer, due.2, None, Answer::Done(due.2, 0));
    }
}
