//! The interpreter: a tasklet that does what its part of the program says, and logs it.

use super::picks::Lent;
use super::program::{Body, Chan, Op, Patience, Program, Then};
use super::world::{AtEnd, Event, OpId, Outcome, Owned, Payload, Rx, Tx, Until, Want, World};
use std::cell::Cell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;
use tasklets::channel::{Held, Permit};
use tasklets::{Cause, Direction, Halt, JoinError, SendError};

/// What a program's own panics carry.
pub struct Boom;

/// A tasklet's ends: for each channel its handles.
pub struct Player {
    pub world: Rc<World>,
    senders: Vec<Vec<Rc<Tx>>>,
    receivers: Vec<Vec<Rc<Rx>>>,
}

/// Runs `program` as the root tasklet.
pub fn play(world: &Rc<World>, program: &Program) {
    world.start();
    let mut root = Player { world: world.clone(), senders: vec![], receivers: vec![] };
    for (index, kind) in (0..).zip(&program.channels) {
        let builder = tasklets::channel::Builder::new().prefer(kind.prefer);
        let (tx, rx) = builder.yield_always(kind.yields).channel();
        world.channels.borrow_mut().push(tx.id());
        root.senders.push(vec![Rc::new(Owned::new(tx, world, Direction::Send, index))]);
        root.receivers.push(vec![Rc::new(Owned::new(rx, world, Direction::Receive, index))]);
    }
    world.log(Event::Started);
    let me = tasklets::current().expect("the root runs");
    world.peers.borrow_mut().push((me, None));
    let (own, others) = program.tasklets.split_first().expect("a root");
    others.iter().for_each(|body| root.spawn(body));
    root.keep(own.ends);
    root.steps(&own.ops);
    let mut next = 0;
    while program.joins && next < world.peers.borrow().len() {
        root.join(next);
        next += 1;
    }
}

pub fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Player {
    pub fn steps(&mut self, ops: &[Op]) {
        ops.iter().for_each(|op| self.step(op));
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Send(channel, patience) => self.send(*channel, *patience),
            Op::Recv(channel, patience) => self.recv(*channel, *patience),
            Op::Yield => {
                self.world.log(Event::Yields);
                tasklets::yield_now();
            }
            Op::Drop(direction, channel) => self.drop_handle(*direction, *channel),
            Op::Clone(direction, channel) => self.clone_handle(*direction, *channel),
            Op::Sleep(ms) => self.sleep(u64::from(*ms)),
            Op::Join(peer) => self.join(usize::from(*peer)),
            Op::Cancel(peer) => self.cancel(*peer),
            Op::Pause => self.pause(),
            Op::Insert(peer) => self.insert(*peer),
            Op::Stop(peer) => self.stop(*peer),
            Op::Inject(peer) => self.inject(*peer),
            Op::RunNow(peer) => self.run_now(*peer),
            Op::Balance(channel) => self.balance(*channel),
            Op::Count => {
                let counts = tasklets::snapshot().expect("it runs").counts;
                self.world.log(Event::Count(counts));
            }
            Op::Panic => {
                self.world.log(Event::Panics);
                resume_unwind(Box::new(Boom)); // without the hook, which prints
            }
            Op::Select(arms, patience, biased) => self.select(arms, *patience, *biased),
            Op::Reuse(ends, rounds, patience, then) => self.reuse(ends, *rounds, *patience, then),
            Op::Hold(channel, then) => self.hold(*channel, then),
            Op::Spawn(body) => self.spawn(body),
            Op::Scope(bodies) => self.scope(bodies),
            Op::Shield(ops) => self.shield(ops),
            Op::Within(ms, ops) => self.within(u64::from(*ms), ops),
        }
    }

    pub fn sender(&self, channel: Chan) -> Option<Rc<Tx>> {
        let index = usize::from(channel) % self.senders.len();
        self.senders[index].last().cloned()
    }

    pub fn receiver(&self, channel: Chan) -> Option<Rc<Rx>> {
        let index = usize::from(channel) % self.receivers.len();
        self.receivers[index].last().cloned()
    }

    pub fn number(&self, channel: Chan) -> Chan {
        channel % u8::try_from(self.senders.len()).expect("few channels")
    }

    pub fn until(&self, patience: Patience) -> Until {
        match patience {
            Patience::Forever => Until::Forever,
            Patience::Now => Until::Now,
            Patience::For(ms) => Until::At(self.world.now() + u64::from(ms)),
        }
    }

    fn send(&self, channel: Chan, patience: Patience) {
        let Some(tx) = self.sender(channel) else { return };
        let payload = self.world.make();
        let value = payload.value;
        let wants = vec![Want::Send(self.number(channel), value)];
        let op = self.world.begin(wants, self.until(patience));
        let outcome = match patience {
            Patience::Forever => self.sent(value, tx.end.send(payload)),
            Patience::For(ms) => self.sent(value, tx.end.send_timeout(payload, millis(ms.into()))),
            Patience::Now => match tx.end.try_send(payload) {
                Ok(None) => Outcome::Sent,
                Ok(Some(back)) => {
                    self.given_back(value, back);
                    Outcome::Nobody
                }
                Err(error) => self.sent(value, Err(error)),
            },
        };
        self.world.end(op, 0, outcome);
    }

    /// What came of sending `value`; what was not sent has to be given back.
    pub fn sent(&self, value: u32, result: Result<(), SendError<Payload>>) -> Outcome {
        match result {
            Ok(()) => Outcome::Sent,
            Err(error) => {
                let why = error.why;
                self.given_back(value, error.value);
                Outcome::Halted(why)
            }
        }
    }

    fn given_back(&self, value: u32, back: Payload) {
        self.world.claim(back.value == value, || format!("{} back for {value}", back.value));
    }

    fn recv(&self, channel: Chan, patience: Patience) {
        let Some(rx) = self.receiver(channel) else { return };
        let wants = vec![Want::Recv(self.number(channel))];
        let op = self.world.begin(wants, self.until(patience));
        let result = match patience {
            Patience::Forever => rx.end.recv().map(Some),
            Patience::For(ms) => rx.end.recv_timeout(millis(ms.into())).map(Some),
            Patience::Now => rx.end.try_recv(),
        };
        let outcome = match &result {
            Ok(Some(payload)) => Outcome::Got(payload.value),
            Ok(None) => Outcome::Nobody,
            Err(why) => Outcome::Halted(*why),
        };
        self.world.end(op, 0, outcome);
    }

    fn hold(&mut self, channel: Chan, then: &Then) {
        let Some(rx) = self.receiver(channel) else { return };
        let op = self.world.begin(vec![Want::Hold(self.number(channel))], Until::Forever);
        match rx.end.recv_held() {
            Ok(held) => {
                self.world.end(op, 0, Outcome::Got(held.value));
                let world = self.world.clone();
                // Fields are dropped in order: the log first, then the guard, also by an unwind.
                let guard: (AtEnd<'_>, Held<Payload>) =
                    (AtEnd(&world, Some(Event::Accepts(op))), held);
                self.steps(&then.ops);
                let (note, held) = guard;
                drop(note);
                if then.used { drop(held.accept()) } else { drop(held) }
            }
            Err(why) => self.world.end(op, 0, Outcome::Halted(why)),
        }
    }

    /// Does what is to be done under a permit, and uses it or drops it.
    pub fn with_permit(&mut self, op: OpId, permit: Permit<'_, Payload>, then: &Then) {
        let world = self.world.clone();
        let guard = (AtEnd(&world, Some(Event::Refuses(op))), permit);
        self.steps(&then.ops);
        let (mut note, permit) = guard;
        if then.used {
            let payload = world.make();
            note.1 = Some(Event::Uses(op, payload.value));
            drop(note);
            self.given(permit.send(payload));
        } else {
            drop(note);
            drop(permit);
        }
    }

    /// What a granted receiver was sent; the end of the run may have torn it away meanwhile.
    pub fn given(&self, sent: Result<(), SendError<Payload>>) {
        if let Err(error) = sent {
            self.world.log(Event::TornAway(error.value.value));
        }
    }

    fn sleep(&self, ms: u64) {
        let at = self.world.now() + ms;
        let op = self.world.begin(vec![Want::Time(at)], Until::Forever);
        let outcome = tasklets::sleep(millis(ms)).map_or_else(Outcome::Halted, |()| {
            self.world.claim(self.world.now() >= at, || format!("awake before {at}"));
            Outcome::Elapsed
        });
        self.world.end(op, 0, outcome);
    }

    fn pause(&self) {
        let op = self.world.begin(vec![Want::Insertion], Until::Forever);
        let outcome = tasklets::pause().map_or_else(Outcome::Halted, |()| Outcome::Inserted);
        self.world.end(op, 0, outcome);
    }

    fn insert(&self, peer: u8) {
        let peer = self.peer(peer.into());
        let was_paused = peer.insert();
        self.world.log(Event::Inserts(peer.id(), was_paused));
    }

    fn stop(&self, peer: u8) {
        let peer = self.peer(peer.into());
        let was_ready = peer.pause();
        self.world.log(Event::Stops(peer.id(), was_ready));
    }

    fn inject(&self, peer: u8) {
        let peer = self.peer(peer.into());
        self.world.log(Event::Injects(peer.id()));
        peer.inject("by the program");
    }

    fn run_now(&self, peer: u8) {
        let peer = self.peer(peer.into());
        self.world.log(Event::RunsNow(peer.id()));
        let ran = peer.run_now();
        self.world.log(Event::Ran(ran));
    }

    fn cancel(&self, peer: u8) {
        let peer = self.peer(peer.into());
        self.world.log(Event::Cancels(peer.id()));
        peer.cancel();
    }

    fn balance(&self, channel: Chan) {
        let by_sender = self.sender(channel).map(|it| it.end.balance());
        let by_receiver = self.receiver(channel).map(|it| it.end.balance());
        if let Some(balance) = by_sender.or(by_receiver) {
            self.world.log(Event::Balance(self.number(channel), balance));
        }
    }

    fn peer(&self, index: usize) -> tasklets::TaskletRef {
        let peers = self.world.peers.borrow();
        peers[index % peers.len()].0.clone()
    }

    fn join(&self, peer: usize) {
        let Some(mut lent) = Lent::new(&self.world, peer) else { return };
        let handle = lent.handle.take().expect("just taken");
        let id = handle.id();
        // The end of one that has ended is had without waiting, also by who has been cancelled.
        let until = if handle.is_finished() { Until::Now } else { Until::Forever };
        let op = self.world.begin(vec![Want::End(id)], until);
        let outcome = self.joined(handle.join());
        if matches!(outcome, Outcome::Halted(_)) {
            self.world.log(Event::Detaches(id));
        }
        self.world.end(op, 0, outcome);
    }

    pub fn joined(&self, result: Result<Payload, JoinError>) -> Outcome {
        match result {
            Ok(payload) => Outcome::Joined(Some(payload.value)),
            Err(JoinError::Cancelled) => Outcome::Joined(None),
            Err(JoinError::Halted(why)) => Outcome::Halted(why),
            Err(JoinError::Panicked(payload)) => {
                let text = || format!("a panic: {:?}", payload.downcast_ref::<String>());
                self.world.claim(payload.is::<Boom>(), text);
                Outcome::JoinedPanic
            }
        }
    }

    fn clone_handle(&mut self, direction: Direction, channel: Chan) {
        let index = usize::from(self.number(channel));
        match direction {
            Direction::Send => another(&mut self.senders[index]),
            Direction::Receive => another(&mut self.receivers[index]),
        }
    }

    fn drop_handle(&mut self, direction: Direction, channel: Chan) {
        let index = usize::from(self.number(channel));
        match direction {
            Direction::Send => drop(self.senders[index].pop()),
            Direction::Receive => drop(self.receivers[index].pop()),
        }
    }

    /// A player with handles of its own, as `ends` says.
    fn child(&self, ends: u8) -> Player {
        let mut child = Player { world: self.world.clone(), senders: vec![], receivers: vec![] };
        for (index, (senders, receivers)) in self.senders.iter().zip(&self.receivers).enumerate() {
            let (sends, receives) = bits(ends, index);
            let tx = senders.last().filter(|_| sends).map(|it| Rc::new(it.another()));
            let rx = receivers.last().filter(|_| receives).map(|it| Rc::new(it.another()));
            child.senders.push(tx.into_iter().collect());
            child.receivers.push(rx.into_iter().collect());
        }
        child
    }

    /// Drops what `ends` does not name.
    fn keep(&mut self, ends: u8) {
        for index in 0..self.senders.len() {
            let (sends, receives) = bits(ends, index);
            if !sends {
                self.senders[index].clear();
            }
            if !receives {
                self.receivers[index].clear();
            }
        }
    }

    fn spawn(&self, body: &Body) {
        let (mut child, ops) = (self.child(body.ends), body.ops.clone());
        let handle = tasklets::spawn(move || {
            child.world.log(Event::Started);
            child.steps(&ops);
            let result = child.world.make();
            child.world.log(Event::Returns(result.value));
            result
        });
        self.world.peers.borrow_mut().push((handle.handle(), Some(handle)));
    }

    fn scope(&self, bodies: &[Body]) {
        let (runs, ended) = (Cell::new(0_usize), Cell::new(0_usize));
        let op = Cell::new(0);
        let result = tasklets::try_scope(|scope| {
            let mut children = Vec::new();
            for body in bodies {
                let mut child = self.child(body.ends);
                let (runs, ended) = (&runs, &ended);
                let handle = scope.spawn(move || {
                    let _count = Count(ended);
                    runs.set(runs.get() + 1);
                    child.world.log(Event::Started);
                    child.steps(&body.ops);
                });
                children.push(handle.id());
                self.world.log(Event::Scoped(handle.id()));
                self.world.peers.borrow_mut().push(((*handle).clone(), None));
            }
            op.set(self.world.begin(vec![Want::Scope(children)], Until::Forever));
        });
        let failures = result.err().map(|it| it.failures).unwrap_or_default();
        for failure in &failures {
            let Cause::Panicked(payload) = &failure.cause else { continue };
            self.world.claim(payload.is::<Boom>(), || format!("{failure:?}"));
        }
        self.world.end(op.get(), 0, Outcome::Left(failures.len()));
        self.world.claim(runs == ended, || "a scope was left before its tasklets".into());
    }

    fn shield(&mut self, ops: &[Op]) {
        let world = self.world.clone();
        tasklets::shield(|| {
            world.log(Event::Shields(true));
            let _end = AtEnd(&world, Some(Event::Shields(false)));
            self.steps(ops);
        });
    }

    fn within(&mut self, ms: u64, ops: &[Op]) {
        let world = self.world.clone();
        let mut end = AtEnd(&world, Some(Event::Leaves(None)));
        let timed = tasklets::within(millis(ms), || {
            world.log(Event::Deadline(world.now() + ms));
            self.steps(ops);
        });
        end.1 = Some(Event::Leaves(Some(timed.expired)));
    }
}

/// Counts those that have ended, by whatever path.
struct Count<'a>(&'a Cell<usize>);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn another<E: Clone>(handles: &mut Vec<Rc<Owned<E>>>) {
    if let Some(handle) = handles.last() {
        let clone = Rc::new(handle.another());
        handles.push(clone);
    }
}

/// Whether `ends` names the sender and the receiver of a channel.
fn bits(ends: u8, channel: usize) -> (bool, bool) {
    let own = ends >> (2 * channel);
    (own & 1 != 0, own & 2 != 0)
}

/// Why an operation that gives a value did not.
pub fn halted<T>(result: Result<T, Halt>) -> Result<T, Outcome> {
    result.map_err(Outcome::Halted)
}
