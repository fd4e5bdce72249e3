//! One tasklet of a program: runs its local steps and stops where others could see it.
//!
//! Always: the same answers lead to the same acts, whoever drives the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Arm, Expr, Program, STATUS, Side, Step};

/// A statement with its jumps resolved.
#[derive(Clone, Debug)]
enum Code {
    Select(Vec<(Arm, usize)>),
    Jump(usize),
    Unless(Expr, usize),
    Set(usize, Expr),
    Spawn(usize),
    Drop(Side, usize),
    Fail(&'static str),
}

/// An end of a channel.
pub type Handle = (Side, usize);

/// A program made ready to run.
#[derive(Debug)]
pub struct Compiled {
    code: Vec<Vec<Code>>,
    /// The ends each body itself uses.
    own: Vec<BTreeSet<Handle>>,
    /// How many handles of each end a body starts with: its own and those of all it may spawn.
    all: Vec<BTreeMap<Handle, u32>>,
    pub channels: usize,
    pub digests: bool,
}

impl Compiled {
    pub fn new(program: &Program) -> Compiled {
        let own: Vec<_> = program.bodies.iter().map(|it| uses(it)).collect();
        let mut all: Vec<_> =
            (0..program.bodies.len()).map(|body| total(program, &own, body)).collect();
        for channel in 0..program.channels {
            for side in [Side::Sender, Side::Receiver] {
                if !own[0].contains(&(side, channel)) {
                    *all[0].entry((side, channel)).or_insert(0) += 1;
                }
            }
        }
        let code = program.bodies.iter().map(|it| {
            let mut code = Vec::new();
            compile(it, &mut code);
            code
        });
        let code = code.collect();
        Compiled { code, own, all, channels: program.channels, digests: program.digests }
    }
}

pub fn walk(steps: &[Step], look: &mut dyn FnMut(&Step)) {
    for step in steps {
        look(step);
        match step {
            Step::Select(arms) => arms.iter().for_each(|(_, then)| walk(then, look)),
            Step::If(_, yes, no) => {
                walk(yes, look);
                walk(no, look);
            }
            Step::While(_, body) => walk(body, look),
            Step::Set(..) | Step::Spawn(_) | Step::Drop(..) | Step::Fail(_) => {}
        }
    }
}

fn uses(steps: &[Step]) -> BTreeSet<Handle> {
    let mut used = BTreeSet::new();
    walk(steps, &mut |step| {
        if let Step::Select(arms) = step {
            for (arm, _) in arms {
                match arm {
                    Arm::Send(channel, _) => used.insert((Side::Sender, *channel)),
                    Arm::Receive(channel, _) => used.insert((Side::Receiver, *channel)),
                    Arm::Default
                    | Arm::Timer(_)
                    | Arm::Limit(_)
                    | Arm::Join(_)
                    | Arm::Cancel(_) => false,
                };
            }
        }
    });
    used
}

fn total(program: &Program, own: &[BTreeSet<Handle>], body: usize) -> BTreeMap<Handle, u32> {
    let mut all: BTreeMap<Handle, u32> = own[body].iter().map(|it| (*it, 1)).collect();
    walk(&program.bodies[body], &mut |step| {
        if let Step::Spawn(child) = step {
            assert!(*child > body, "bodies spawn later bodies");
            for (handle, count) in total(program, own, *child) {
                *all.entry(handle).or_insert(0) += count;
            }
        }
    });
    all
}

fn compile(steps: &[Step], code: &mut Vec<Code>) {
    for step in steps {
        match step {
            Step::Select(arms) => {
                let at = code.len();
                code.push(Code::Select(Vec::new()));
                let (mut targets, mut leaves) = (Vec::new(), Vec::new());
                // Where to go if no arm is left.
                leaves.push(code.len());
                code.push(Code::Jump(0));
                for (arm, then) in arms {
                    targets.push((arm.clone(), code.len()));
                    compile(then, code);
                    leaves.push(code.len());
                    code.push(Code::Jump(0));
                }
                let end = code.len();
                leaves.into_iter().for_each(|it| code[it] = Code::Jump(end));
                code[at] = Code::Select(targets);
            }
            Step::If(condition, yes, no) => {
                let at = code.len();
                code.push(Code::Jump(0));
                compile(yes, code);
                let leave = code.len();
                code.push(Code::Jump(0));
                code[at] = Code::Unless(condition.clone(), code.len());
                compile(no, code);
                code[leave] = Code::Jump(code.len());
            }
            Step::While(condition, body) => {
                let at = code.len();
                code.push(Code::Jump(0));
                compile(body, code);
                code.push(Code::Jump(at));
                code[at] = Code::Unless(condition.clone(), code.len());
            }
            Step::Set(register, value) => code.push(Code::Set(*register, value.clone())),
            Step::Spawn(body) => code.push(Code::Spawn(*body)),
            Step::Drop(side, channel) => code.push(Code::Drop(*side, *channel)),
            Step::Fail(why) => code.push(Code::Fail(why)),
        }
    }
}

/// What others can see of a tasklet.
#[derive(Clone, Debug)]
pub enum Act {
    /// It spawned a body.
    Spawn(Machine),
    /// It gave up that many handles of an end.
    Drop(Handle, u32),
    /// It waits.
    Offer(Vec<Ready>),
    /// It panicked; it ends next.
    Fail(&'static str),
    /// It ended.
    End,
}

/// An arm whose value has been computed.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    Send(usize, i64),
    Receive(usize),
    Default,
    Timer(u64),
    Limit(u64),
    Join(usize),
    Cancel(usize),
}

/// How an operation completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This arm, with the value received if it receives.
    Done(usize, i64),
    /// The other side of this arm's channel is gone.
    Closed(usize),
    Cancelled,
}

/// A tasklet.
#[derive(Clone, Debug)]
pub struct Machine {
    compiled: Arc<Compiled>,
    pub body: usize,
    at: usize,
    registers: [i64; 8],
    handles: BTreeMap<Handle, u32>,
    own: BTreeSet<Handle>,
    /// The bodies it may join or cancel: what it and its ancestors had spawned before.
    known: BTreeSet<usize>,
    /// The arms of the pending operation, as places in the select.
    arms: Vec<(Arm, usize)>,
}

impl Machine {
    pub fn root(compiled: &Arc<Compiled>) -> Machine {
        Machine::start(compiled, 0, BTreeSet::new())
    }

    fn start(compiled: &Arc<Compiled>, body: usize, known: BTreeSet<usize>) -> Machine {
        Machine {
            compiled: compiled.clone(),
            body,
            at: 0,
            registers: [0; 8],
            handles: compiled.all[body].clone(),
            own: compiled.own[body].clone(),
            known,
            arms: Vec::new(),
        }
    }

    /// The handles it holds.
    pub fn handles(&self) -> &BTreeMap<Handle, u32> {
        &self.handles
    }

    /// Runs on to the next act.
    pub fn act(&mut self) -> Act {
        if self.at == 0 && self.body == 0 {
            // The root keeps only the ends it uses.
            let unused = (0..self.compiled.channels)
                .flat_map(|it| [(Side::Sender, it), (Side::Receiver, it)])
                .find(|it| !self.own.contains(it) && self.surplus(*it));
            if let Some(handle) = unused {
                return self.give_up(handle, 1);
            }
        }
        loop {
            let Some(code) = self.compiled.code[self.body].get(self.at).cloned() else {
                let Some((handle, count)) = self.handles.pop_first() else { return Act::End };
                return Act::Drop(handle, count);
            };
            self.at += 1;
            match code {
                Code::Jump(to) => self.at = to,
                Code::Unless(condition, to) => {
                    if self.value(&condition) == 0 {
                        self.at = to;
                    }
                }
                Code::Set(register, value) => self.registers[register] = self.value(&value),
                Code::Spawn(body) => return self.spawn(body),
                Code::Drop(side, channel) => {
                    if self.own.remove(&(side, channel)) {
                        return self.give_up((side, channel), 1);
                    }
                }
                Code::Fail(why) => {
                    self.at = usize::MAX - 1;
                    return Act::Fail(why);
                }
                Code::Select(arms) => {
                    self.arms = arms.into_iter().filter(|it| self.can(&it.0)).collect();
                    if !self.arms.is_empty() {
                        return Act::Offer(self.arms.iter().map(|it| self.ready(&it.0)).collect());
                    }
                }
            }
        }
    }

    /// Whether the root still has the handle it made, besides those of its children.
    fn surplus(&self, handle: Handle) -> bool {
        self.handles.get(&handle).is_some_and(|it| *it == self.compiled.all[0][&handle])
    }

    fn give_up(&mut self, handle: Handle, count: u32) -> Act {
        let left = self.handles.get_mut(&handle).expect("it is held");
        *left -= count;
        if *left == 0 {
            self.handles.remove(&handle);
        }
        Act::Drop(handle, count)
    }

    fn spawn(&mut self, body: usize) -> Act {
        let child = Machine::start(&self.compiled, body, self.known.clone());
        for (handle, count) in &child.handles {
            let _ = self.give_up(*handle, *count);
        }
        self.known.insert(body);
        Act::Spawn(child)
    }

    /// Whether the tasklet has what the arm needs.
    fn can(&self, arm: &Arm) -> bool {
        match arm {
            Arm::Send(channel, _) => self.own.contains(&(Side::Sender, *channel)),
            Arm::Receive(channel, _) => self.own.contains(&(Side::Receiver, *channel)),
            Arm::Default | Arm::Timer(_) | Arm::Limit(_) => true,
            Arm::Join(body) | Arm::Cancel(body) => self.known.contains(body),
        }
    }

    fn ready(&self, arm: &Arm) -> Ready {
        match arm {
            Arm::Send(channel, value) => Ready::Send(*channel, self.value(value)),
            Arm::Receive(channel, _) => Ready::Receive(*channel),
            Arm::Default => Ready::Default,
            Arm::Timer(delay) => Ready::Timer(*delay),
            Arm::Limit(delay) => Ready::Limit(*delay),
            Arm::Join(body) => Ready::Join(*body),
            Arm::Cancel(body) => Ready::Cancel(*body),
        }
    }

    /// The pending operation is over.
    pub fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Done(arm, value) => {
                self.registers[STATUS] = 0;
                if let Arm::Receive(_, register) = self.arms[arm].0 {
                    self.registers[register] = value;
                }
                self.at = self.arms[arm].1;
            }
            Answer::Closed(arm) => {
                self.registers[STATUS] = 1;
                self.at = self.arms[arm].1;
            }
            Answer::Cancelled => self.at = usize::MAX - 1,
        }
    }

    fn value(&self, expr: &Expr) -> i64 {
        match expr {
            Expr::Const(value) => *value,
            Expr::Reg(index) => self.registers[*index],
            Expr::Add(one, other) => self.value(one) + self.value(other),
            Expr::Less(one, other) => i64::from(self.value(one) < self.value(other)),
            Expr::Equal(one, other) => i64::from(self.value(one) == self.value(other)),
            Expr::Rest(value, by) => self.value(value).rem_euclid(*by),
        }
    }
}
