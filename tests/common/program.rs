//! Random programs as data: what each tasklet does, small enough to read when one fails.
//!
//! Every value of these types is a program that makes sense: channels and peers are numbered, the
//! numbers are taken modulo what there is, and an operation on an end that its tasklet does not
//! have is left out.

use std::fmt;
use tasklets::{Direction, Prefer};

/// A channel, by its number.
pub type Chan = u8;

/// Milliseconds of virtual time.
pub type Ms = u8;

/// The first body is the root's: it makes the channels and spawns the others.
#[derive(Clone)]
pub struct Program {
    pub channels: Vec<Kind>,
    /// Whether the root joins all whose handle is left before it returns.
    pub joins: bool,
    pub tasklets: Vec<Body>,
}

impl fmt::Debug for Program {
    /// One line for each tasklet, also where `{:#?}` is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "channels {:?}, joins {}", self.channels, self.joins)?;
        for Body { ends, ops } in &self.tasklets {
            writeln!(f, "  tasklet with {ends:#010b}: {ops:?}")?;
        }
        Ok(())
    }
}

/// What a channel is like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub prefer: Prefer,
    pub yields: bool,
}

/// What one tasklet has and does.
#[derive(Clone, Debug)]
pub struct Body {
    /// The ends it gets: two bits for each channel, sender and receiver.
    pub ends: u8,
    pub ops: Vec<Op>,
}

/// One step of a tasklet.
#[derive(Clone, Debug)]
pub enum Op {
    Send(Chan, Patience),
    Recv(Chan, Patience),
    Yield,
    Drop(Direction, Chan),
    Clone(Direction, Chan),
    Sleep(Ms),
    Join(u8),
    Cancel(u8),
    Pause,
    Insert(u8),
    /// Takes another tasklet out of the ready queue.
    Stop(u8),
    Inject(u8),
    RunNow(u8),
    /// Compares the channel's balance with the model's.
    Balance(Chan),
    /// Compares the numbers of tasklets with the model's.
    Count,
    Panic,
    Select(Vec<Arm>, Patience, Bias),
    Reuse(Vec<(Direction, Chan)>, Rounds, Patience, Then),
    /// Receives, does this while the sender waits, then accepts or drops the guard.
    Hold(Chan, Then),
    Spawn(Body),
    Scope(Vec<Body>),
    Shield(Vec<Op>),
    Within(Ms, Vec<Op>),
}

/// How often a reused select waits.
pub type Rounds = u8;

/// Whether a select takes its first arm that can happen.
pub type Bias = bool;

/// How long to wait for a partner.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    Forever,
    Now,
    For(Ms),
}

/// An arm of a select.
#[derive(Clone, Debug)]
pub enum Arm {
    One(Leaf),
    Or(Leaf, Leaf),
    /// Turned off by `only_if`.
    Off(Leaf),
}

/// An operation.
#[derive(Clone, Debug)]
pub enum Leaf {
    Send(Chan),
    Recv(Chan),
    Reserve(Chan, Then),
    After(Ms),
    Join(u8),
}

/// What is done under a guard, and whether the guard is then used or dropped.
#[derive(Clone, Debug)]
pub struct Then {
    pub ops: Vec<Op>,
    pub used: bool,
}

/// Makes a program from answers to `pick(ways)`, each below `ways`: for a fuzzer's bytes.
pub struct Draw<'a>(pub &'a mut dyn FnMut(usize) -> usize);

impl Draw<'_> {
    fn pick(&mut self, ways: usize) -> usize {
        (self.0)(ways)
    }

    fn byte(&mut self, ways: usize) -> u8 {
        u8::try_from(self.pick(ways)).expect("few ways")
    }

    fn many<T>(&mut self, most: usize, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        let count = 1 + self.pick(most);
        (0..count).map(|_| make(self)).collect()
    }

    pub fn program(&mut self) -> Program {
        Program {
            channels: self.many(4, |it| Kind {
                prefer: [Prefer::Neither, Prefer::Receiver, Prefer::Sender][it.pick(3)],
                yields: it.pick(8) == 7,
            }),
            joins: self.pick(2) == 0,
            tasklets: self.many(6, |it| it.body(3)),
        }
    }

    fn body(&mut self, depth: u8) -> Body {
        Body { ends: self.byte(256), ops: self.many(6, |it| it.op(depth)) }
    }

    fn op(&mut self, depth: u8) -> Op {
        let ways = if depth == 0 { 16 } else { 24 };
        match self.pick(ways) {
            0 => Op::Send(self.byte(4), self.patience()),
            1 => Op::Recv(self.byte(4), self.patience()),
            2 => Op::Yield,
            3 => Op::Drop(self.direction(), self.byte(4)),
            4 => Op::Clone(self.direction(), self.byte(4)),
            5 => Op::Sleep(1 + self.byte(3)),
            6 => Op::Join(self.byte(8)),
            7 => Op::Cancel(self.byte(8)),
            8 => Op::Pause,
            9 => Op::Insert(self.byte(8)),
            10 => Op::Balance(self.byte(4)),
            11 => Op::Count,
            12 => Op::Panic,
            13 => Op::Stop(self.byte(8)),
            14 => Op::Inject(self.byte(8)),
            15 => Op::RunNow(self.byte(8)),
            16 => {
                Op::Select(self.many(4, |it| it.arm(depth - 1)), self.patience(), self.pick(2) == 0)
            }
            17 => Op::Select(self.many(6, Draw::receiver), self.patience(), false),
            18 => Op::Reuse(
                self.many(4, |it| (it.direction(), it.byte(4))),
                1 + self.byte(3),
                self.patience(),
                self.then(depth - 1),
            ),
            19 => Op::Hold(self.byte(4), self.then(depth - 1)),
            20 => Op::Spawn(self.body(depth - 1)),
            21 => Op::Scope(self.many(3, |it| it.body(depth - 1))),
            22 => Op::Shield(self.many(3, |it| it.op(depth - 1))),
            _ => Op::Within(1 + self.byte(3), self.many(3, |it| it.op(depth - 1))),
        }
    }

    fn arm(&mut self, depth: u8) -> Arm {
        match self.pick(6) {
            0 => Arm::Or(self.leaf(depth), self.leaf(depth)),
            1 => Arm::Off(self.leaf(depth)),
            _ => Arm::One(self.leaf(depth)),
        }
    }

    fn receiver(&mut self) -> Arm {
        Arm::One(Leaf::Recv(self.byte(4)))
    }

    fn leaf(&mut self, depth: u8) -> Leaf {
        match self.pick(6) {
            0 | 1 => Leaf::Recv(self.byte(4)),
            2 => Leaf::Send(self.byte(4)),
            3 => Leaf::Reserve(self.byte(4), self.then(depth)),
            4 => Leaf::After(1 + self.byte(3)),
            _ => Leaf::Join(self.byte(8)),
        }
    }

    fn then(&mut self, depth: u8) -> Then {
        let ops = if self.pick(2) == 0 { vec![] } else { self.many(2, |it| it.op(depth)) };
        Then { ops, used: self.pick(3) > 0 }
    }

    fn direction(&mut self) -> Direction {
        [Direction::Send, Direction::Receive][self.pick(2)]
    }

    fn patience(&mut self) -> Patience {
        match self.pick(4) {
            0 | 1 => Patience::Forever,
            2 => Patience::Now,
            _ => Patience::For(1 + self.byte(3)),
        }
    }
}
