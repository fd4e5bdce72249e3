//! A small language of communicating processes, to try searches on without any tasklet.
//!
//! Always: a body is spawned at most once; what a tasklet does between two operations depends
//! only on what it has received.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod cases;
pub mod controlled;
pub mod eager;
pub mod machine;
pub mod protocols;
pub mod real;
pub mod strategy;

use std::fmt;

pub use tasklets::explore::Side;

/// A number computed from registers.
#[derive(Clone, Debug)]
pub enum Expr {
    Const(i64),
    Reg(usize),
    Add(Box<Expr>, Box<Expr>),
    Less(Box<Expr>, Box<Expr>),
    Equal(Box<Expr>, Box<Expr>),
    /// The remainder of a division by a constant.
    Rest(Box<Expr>, i64),
}

/// One arm of a select.
#[derive(Clone, Debug)]
pub enum Arm {
    /// On a channel, a value.
    Send(usize, Expr),
    /// On a channel, into a register.
    Receive(usize, usize),
    Default,
    /// After so much time.
    Timer(u64),
    /// The time limit of the operation: after so much time, if nothing else was ready at first.
    Limit(u64),
    /// The end of the tasklet with this body.
    Join(usize),
    /// Cancels the tasklet with this body.
    Cancel(usize),
}

/// One statement.
#[derive(Clone, Debug)]
pub enum Step {
    /// Waits for one of the arms, then does what belongs to it.
    Select(Vec<(Arm, Vec<Step>)>),
    If(Expr, Vec<Step>, Vec<Step>),
    While(Expr, Vec<Step>),
    Set(usize, Expr),
    /// Spawns a body; it takes the handles that it needs with it.
    Spawn(usize),
    /// Drops the tasklet's own handle of one end of a channel.
    Drop(Side, usize),
    /// Panics.
    Fail(&'static str),
}

/// A program: the root is body 0, and makes all channels.
#[derive(Clone)]
pub struct Program {
    pub name: String,
    pub channels: usize,
    pub bodies: Vec<Vec<Step>>,
    /// Whether equal values are the same wherever they come from.
    pub digests: bool,
}

/// Register 0 says how the last operation went: 0 well, 1 closed.
pub const STATUS: usize = 0;

pub fn number(value: i64) -> Expr {
    Expr::Const(value)
}

pub fn reg(index: usize) -> Expr {
    Expr::Reg(index)
}

pub fn add(one: Expr, other: Expr) -> Expr {
    Expr::Add(Box::new(one), Box::new(other))
}

pub fn less(one: Expr, other: Expr) -> Expr {
    Expr::Less(Box::new(one), Box::new(other))
}

pub fn equal(one: Expr, other: Expr) -> Expr {
    Expr::Equal(Box::new(one), Box::new(other))
}

pub fn send(channel: usize, value: i64) -> Step {
    send_of(channel, number(value))
}

pub fn send_of(channel: usize, value: Expr) -> Step {
    Step::Select(vec![(Arm::Send(channel, value), vec![])])
}

pub fn receive(channel: usize, register: usize) -> Step {
    Step::Select(vec![(Arm::Receive(channel, register), vec![])])
}

pub fn spawn_all(count: usize) -> Vec<Step> {
    (1..=count).map(Step::Spawn).collect()
}

/// `steps`, `count` times.
pub fn times(count: usize, steps: &[Step]) -> Vec<Step> {
    (0..count).flat_map(|_| steps.iter().cloned()).collect()
}

impl Program {
    pub fn new(name: &str, channels: usize, bodies: Vec<Vec<Step>>) -> Program {
        Program { name: name.into(), channels, bodies, digests: false }
    }

    /// Whether any arm is such a one.
    pub fn has(&self, such: impl Fn(&Arm) -> bool) -> bool {
        let mut found = false;
        for body in &self.bodies {
            machine::walk(body, &mut |step| {
                if let Step::Select(arms) = step {
                    found |= arms.iter().any(|it| such(&it.0));
                }
            });
        }
        found
    }
}

/// One line for each statement: proptest's way needs one for each bracket.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} channels, digests {}", self.name, self.channels, self.digests)?;
        for (body, steps) in self.bodies.iter().enumerate() {
            write!(f, "\n  body {body}")?;
            for step in steps {
                write!(f, "\n    {step:?}")?;
            }
        }
        Ok(())
    }
}
