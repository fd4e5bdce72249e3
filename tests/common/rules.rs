//! The model: what meeting, closing, cancelling, joining and waiting for a time do to whom.
//!
//! Always: an offer is in a channel only while its tasklet waits; a tasklet that waits has no arm
//! that could happen. A wait is answered once; some answers are not known exactly (two timers for
//! one moment), then any of several may be given.

use super::program::{Chan, Kind};
use super::world::{Id, OpId, Outcome, Until, Value, Want};
use std::collections::BTreeMap;
use tasklets::{Direction, Halt, Prefer};

#[derive(Default)]
pub struct Rules {
    pub tasks: BTreeMap<Id, Task>,
    pub channels: Vec<Channel>,
    /// Those that may run, in order; who has the number of the first may be the next.
    pub ready: Vec<(u32, Id)>,
    pub now: u64,
    pub number: u32,
    /// Whose value or retreat the receiver waits for that an operation was granted.
    pub grants: BTreeMap<OpId, Id>,
    /// Who is released when the value of a held receive is accepted.
    pub holds: BTreeMap<OpId, Id>,
    pub draining: bool,
    /// Which arm of each operation is the one that happens in the end: which of two a partner
    /// meets is up to it.
    pub known: BTreeMap<OpId, usize>,
}

pub struct Channel {
    pub kind: Kind,
    /// Handles of each end.
    pub handles: [usize; 2],
    /// Offers at each end, first come first.
    pub offers: [Vec<Offer>; 2],
}

#[derive(Clone)]
pub struct Offer {
    who: Id,
    arm: usize,
    want: Want,
}

#[derive(Default)]
pub struct Task {
    pub call: Option<Call>,
    /// Its offers are out.
    pub waits: bool,
    /// A partner has taken it and will release it; nothing else can.
    pub committed: bool,
    /// It owes it to others to let them run.
    pub way: Option<bool>,
    pub ending: bool,
    pub finished: bool,
    pub started: bool,
    pub cancelled: bool,
    /// An error was handed to it that it has not been told of.
    pub injected: bool,
    /// It was taken out of the ready queue.
    pub stopped: bool,
    /// Whether it could run another one at once, as far as it has to say so.
    pub ran: Option<bool>,
    pub shields: u32,
    /// The end of the run has broken its shields.
    pub broken: bool,
    pub deadlines: Vec<u64>,
    pub scoped: bool,
    pub detached: bool,
    pub panicked: bool,
    /// Its panic has been given to who joined it.
    pub taken: bool,
    pub result: Option<Value>,
    joiners: Vec<Id>,
}

/// An operation under way.
pub struct Call {
    pub op: OpId,
    pub wants: Vec<Want>,
    pub until: Until,
    pub answer: Answer,
    /// The last thing it tried.
    pub tried: Option<(Direction, Chan)>,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Open,
    /// The partner went away, or it was woken to look again.
    Again,
    OneOf(Vec<(usize, Outcome)>),
}

/// What becomes of a tasklet whose arm has just happened.
pub enum Flow {
    GoesOn,
    /// It is queued behind all others; its partner is first if `newest`.
    GivesWay {
        newest: bool,
    },
    Commits,
}

pub fn end(direction: Direction) -> usize {
    match direction {
        Direction::Send => 0,
        Direction::Receive => 1,
    }
}

impl Want {
    /// The end of a channel it would use.
    pub fn place(&self) -> Option<(Direction, Chan)> {
        match self {
            Want::Send(channel, _) | Want::Reserve(channel) => Some((Direction::Send, *channel)),
            Want::Recv(channel) | Want::Hold(channel) => Some((Direction::Receive, *channel)),
            Want::Time(_) | Want::End(_) | Want::Scope(_) | Want::Insertion => None,
        }
    }
}

impl Rules {
    pub fn new(channels: Vec<Channel>) -> Rules {
        Rules { channels, ..Rules::default() }
    }

    /// Who is spawned when the run is over already is cancelled from the start.
    pub fn spawn(&mut self, who: Id) {
        self.tasks.insert(who, Task { cancelled: self.draining, ..Task::default() });
        self.make_ready(who);
    }

    pub fn task(&mut self, who: Id) -> &mut Task {
        self.tasks.get_mut(&who).expect("a tasklet that was spawned")
    }

    pub fn make_ready(&mut self, who: Id) {
        self.number += 1;
        self.ready.push((self.number, who));
    }

    /// Whether something waits at the other end, or will never come there again.
    pub fn is_open_at(&self, direction: Direction, channel: Chan) -> bool {
        let channel = &self.channels[usize::from(channel)];
        let other = 1 - end(direction);
        !channel.offers[other].is_empty() || channel.handles[other] == 0
    }

    pub fn can_happen(&self, want: &Want) -> bool {
        if let Some((direction, channel)) = want.place() {
            return self.is_open_at(direction, channel);
        }
        match want {
            Want::Time(at) => *at <= self.now,
            Want::End(of) => self.tasks[of].finished,
            Want::Scope(of) => of.iter().all(|it| self.tasks[it].finished),
            _ => false,
        }
    }

    /// The arms of its operation that can happen now.
    pub fn enabled(&self, who: Id) -> Vec<usize> {
        let wants = self.tasks[&who].call.iter().flat_map(|it| it.wants.iter().enumerate());
        wants.filter(|(_, want)| self.can_happen(want)).map(|(arm, _)| arm).collect()
    }

    /// Why its operations that may wait fail at present.
    pub fn interruption(&self, who: Id) -> Option<Halt> {
        let task = &self.tasks[&who];
        if task.shields > 0 && !task.broken {
            None
        } else if task.cancelled {
            Some(Halt::Cancelled)
        } else if task.deadlines.iter().any(|it| *it <= self.now) {
            Some(Halt::TimedOut)
        } else {
            task.injected.then_some(Halt::Injected)
        }
    }

    pub fn answer(&mut self, who: Id, answers: Vec<(usize, Outcome)>) {
        let call = self.task(who).call.as_mut().expect("it is in an operation");
        let looks_again = matches!(call.wants[..], [Want::Scope(_)]);
        // Without an arm that is on nobody can be told why.
        let answers = if call.wants.is_empty() { vec![(0, Outcome::Nobody)] } else { answers };
        call.answer = if looks_again { Answer::Again } else { Answer::OneOf(answers) };
    }

    /// Takes its offers back: it waits no more.
    fn withdraw(&mut self, who: Id) {
        for offers in self.channels.iter_mut().flat_map(|it| &mut it.offers) {
            offers.retain(|it| it.who != who);
        }
        self.tasks.values_mut().for_each(|it| it.joiners.retain(|it| *it != who));
        self.task(who).waits = false;
    }

    /// Answers an open wait and makes its tasklet ready.
    pub fn settle(&mut self, who: Id, answers: Vec<(usize, Outcome)>) {
        self.withdraw(who);
        self.answer(who, answers);
        self.make_ready(who);
    }

    /// Puts its offers out.
    pub fn publish(&mut self, who: Id) {
        let call = self.tasks[&who].call.as_ref().expect("it is in an operation");
        for (arm, want) in call.wants.clone().into_iter().enumerate() {
            match want {
                Want::End(of) => self.task(of).joiners.push(who),
                Want::Scope(of) => self.await_scope(who, &of),
                Want::Time(_) | Want::Insertion => {}
                Want::Send(..) | Want::Reserve(_) | Want::Recv(_) | Want::Hold(_) => {
                    let (direction, channel) = want.place().expect("it is on a channel");
                    let offers = &mut self.channels[usize::from(channel)].offers;
                    offers[end(direction)].push(Offer { who, arm, want });
                }
            }
        }
        self.task(who).waits = true;
    }

    /// Waits for the first that lives; if the parent must stop, so must they.
    fn await_scope(&mut self, who: Id, children: &[Id]) {
        if self.tasks[&who].cancelled && self.interruption(who).is_some() {
            children.iter().for_each(|it| self.cancel(*it));
        }
        let living = children.iter().find(|it| !self.tasks[it].finished);
        let living = *living.expect("it waits for somebody");
        self.task(living).joiners.push(who);
    }

    /// Lets an arm that can happen do so.
    pub fn happen(&mut self, who: Id, arm: usize) -> Flow {
        let want =
            self.tasks[&who].call.as_ref().expect("it is in an operation").wants[arm].clone();
        let Some((direction, channel)) = want.place() else {
            let outcome = match want {
                Want::End(of) => self.end_of(of),
                Want::Scope(of) => Outcome::Left(self.failures(&of)),
                _ => Outcome::Elapsed,
            };
            self.task(who).call.as_mut().expect("as above").answer =
                Answer::OneOf(vec![(arm, outcome)]);
            return Flow::GoesOn;
        };
        let Some(partner) = self.first_come(1 - end(direction), channel) else {
            self.answer(who, vec![(arm, Outcome::Halted(Halt::Closed))]);
            return Flow::GoesOn;
        };
        let kind = self.channels[usize::from(channel)].kind;
        match direction {
            Direction::Send => self.meet_receiver(who, arm, &want, &partner, kind),
            Direction::Receive => self.meet_sender(who, arm, &want, &partner, kind),
        }
    }

    /// The offer of who has waited longest at this end of a channel.
    fn first_come(&self, end: usize, channel: Chan) -> Option<Offer> {
        let offers = &self.channels[usize::from(channel)].offers[end];
        let first = offers.first()?;
        let known = self.known.get(&self.op(first.who));
        let likely = |it: &&Offer| it.who == first.who && Some(&it.arm) == known;
        Some(offers.iter().find(likely).unwrap_or(first).clone())
    }

    fn meet_receiver(&mut self, who: Id, arm: usize, want: &Want, it: &Offer, kind: Kind) -> Flow {
        let Want::Send(_, value) = want else {
            self.withdraw(it.who);
            self.answer(who, vec![(arm, Outcome::Granted)]);
            let op = self.op(who);
            return self.commit_receiver(it.who, it.arm, op);
        };
        self.settle(it.who, vec![(it.arm, Outcome::Got(*value))]);
        self.answer(who, vec![(arm, Outcome::Sent)]);
        if self.hold_if_asked(who, it.who, &it.want) {
            return Flow::Commits;
        }
        gives_way(kind, Prefer::Receiver)
    }

    fn meet_sender(&mut self, who: Id, arm: usize, want: &Want, it: &Offer, kind: Kind) -> Flow {
        let Want::Send(_, value) = it.want else {
            let granted = self.op(it.who);
            self.settle(it.who, vec![(it.arm, Outcome::Granted)]);
            self.commit_receiver(who, arm, granted);
            return Flow::Commits;
        };
        self.answer(who, vec![(arm, Outcome::Got(value))]);
        if matches!(want, Want::Hold(_)) {
            self.withdraw(it.who);
            self.answer(it.who, vec![(it.arm, Outcome::Sent)]);
            self.task(it.who).committed = true;
            let op = self.op(who);
            self.holds.insert(op, it.who);
            return Flow::GoesOn;
        }
        self.settle(it.who, vec![(it.arm, Outcome::Sent)]);
        gives_way(kind, Prefer::Sender)
    }

    fn op(&self, who: Id) -> OpId {
        self.tasks[&who].call.as_ref().expect("it is in an operation").op
    }

    /// `who` waits for the value of the operation `op`, to receive it as its `arm`.
    fn commit_receiver(&mut self, who: Id, arm: usize, op: OpId) -> Flow {
        self.grants.insert(op, who);
        self.task(who).committed = true;
        let call = self.task(who).call.as_mut().expect("it is in an operation");
        // Which arm it is to be; the value is not known yet.
        call.answer = Answer::OneOf(vec![(arm, Outcome::Granted)]);
        Flow::GoesOn
    }

    /// If the receive holds its senders, `sender` waits until it accepts.
    fn hold_if_asked(&mut self, sender: Id, receiver: Id, want: &Want) -> bool {
        let asked = matches!(want, Want::Hold(_));
        if asked {
            let op = self.op(receiver);
            self.holds.insert(op, sender);
            self.task(sender).committed = true;
        }
        asked
    }

    /// The permit of `op` gives its receiver `value`.
    pub fn use_permit(&mut self, giver: Id, op: OpId, value: Value) -> Flow {
        let receiver = self.grants.remove(&op).expect("a permit that was granted");
        self.task(receiver).committed = false;
        let call = self.task(receiver).call.as_mut().expect("it is in an operation");
        let Answer::OneOf(granted) = &call.answer else { unreachable!("it is committed") };
        let (arm, want) = (granted[0].0, call.wants[granted[0].0].clone());
        self.answer(receiver, vec![(arm, Outcome::Got(value))]);
        self.make_ready(receiver);
        if self.hold_if_asked(giver, receiver, &want) {
            return Flow::Commits;
        }
        let (_, channel) = want.place().expect("it is on a channel");
        gives_way(self.channels[usize::from(channel)].kind, Prefer::Receiver)
    }

    /// `who` lets others run, its partner, who became ready last, before them if `newest`.
    pub fn give_way(&mut self, who: Id, newest: bool) {
        if newest {
            let partner = self.ready.pop().expect("the partner is ready");
            let first = self.ready.first().map_or(partner.0, |it| it.0);
            self.ready.insert(0, (first.min(partner.0), partner.1));
        }
        self.make_ready(who);
    }

    /// The permit of `op` is dropped: its receiver looks again.
    pub fn refuse(&mut self, op: OpId) {
        let receiver = self.grants.remove(&op).expect("a permit that was granted");
        let task = self.task(receiver);
        task.committed = false;
        task.call.as_mut().expect("it is in an operation").answer = Answer::Again;
        self.make_ready(receiver);
    }

    /// The held receive `op` releases its sender, if it has one.
    pub fn accept(&mut self, op: OpId) {
        if let Some(sender) = self.holds.remove(&op) {
            self.task(sender).committed = false;
            self.make_ready(sender);
        }
    }

    /// A handle was dropped; the last one answers those who wait at the other end.
    pub fn drop_handle(&mut self, direction: Direction, channel: Chan) {
        let channel = &mut self.channels[usize::from(channel)];
        channel.handles[end(direction)] -= 1;
        if channel.handles[end(direction)] > 0 {
            return;
        }
        let offers = channel.offers[1 - end(direction)].clone();
        let number = self.number + 1;
        for who in offers.iter().map(|it| it.who) {
            if self.tasks[&who].waits {
                let arms = offers.iter().filter(|it| it.who == who).map(|it| it.arm);
                let closed = arms.map(|it| (it, Outcome::Halted(Halt::Closed))).collect();
                self.settle(who, closed);
                self.share(number);
            }
        }
    }

    /// The one made ready last is as early as others of this number.
    fn share(&mut self, number: u32) {
        self.ready.last_mut().expect("somebody was made ready").0 = number;
        self.number = number;
    }

    /// The times at which something would happen by itself.
    pub fn timers(&self) -> Vec<u64> {
        let mut times = Vec::new();
        for task in self.tasks.values().filter(|it| !it.finished) {
            times.extend(task.deadlines.iter().filter(|it| **it > self.now));
            let Some(call) = task.call.as_ref().filter(|_| task.waits) else { continue };
            times.extend(call.wants.iter().filter_map(|it| match it {
                Want::Time(at) => Some(*at),
                _ => None,
            }));
            if let Until::At(at) = call.until {
                times.push(at);
            }
        }
        times
    }

    /// It is later: what was waited for has come. All of one moment are as early.
    pub fn advance(&mut self, to: u64) {
        let before = std::mem::replace(&mut self.now, to);
        let number = self.number + 1;
        let waiting: Vec<_> =
            self.tasks.iter().filter(|(_, it)| it.waits).map(|(id, _)| *id).collect();
        for who in waiting {
            let task = &self.tasks[&who];
            let call = task.call.as_ref().expect("it is in an operation");
            let mut answers = Vec::new();
            for (arm, want) in call.wants.iter().enumerate() {
                if matches!(want, Want::Time(at) if *at <= to) {
                    answers.push((arm, Outcome::Elapsed));
                }
            }
            if matches!(call.until, Until::At(at) if at <= to) {
                answers.push((0, Outcome::Nobody));
            }
            let expires = task.deadlines.iter().any(|it| *it > before && *it <= to);
            if expires && self.interruption(who).is_some() {
                answers.push((0, Outcome::Halted(Halt::TimedOut)));
            }
            if !answers.is_empty() {
                self.settle(who, answers);
                self.share(number);
            }
        }
    }

    /// How a tasklet has ended, for who joins it.
    fn end_of(&self, who: Id) -> Outcome {
        let task = &self.tasks[&who];
        if task.panicked { Outcome::JoinedPanic } else { Outcome::Joined(task.result) }
    }

    fn failures(&self, children: &[Id]) -> usize {
        children.iter().filter(|it| self.tasks[it].panicked).count()
    }

    pub fn finish(&mut self, who: Id) {
        self.task(who).finished = true;
        if self.tasks[&who].scoped && self.tasks[&who].panicked {
            let scopes = self.tasks.values().filter_map(|it| it.call.as_ref());
            let siblings = scopes.flat_map(|it| &it.wants).find_map(|it| match it {
                Want::Scope(children) if children.contains(&who) => Some(children.clone()),
                _ => None,
            });
            siblings.into_iter().flatten().for_each(|it| self.cancel(it));
        }
        let joiners = std::mem::take(&mut self.task(who).joiners);
        for joiner in joiners {
            let wants = &self.tasks[&joiner].call.as_ref().expect("it waits").wants;
            let arm = wants.iter().position(|it| *it == Want::End(who)).unwrap_or(0);
            let end = self.end_of(who);
            self.settle(joiner, vec![(arm, end)]);
        }
    }
}

fn gives_way(kind: Kind, preferred: Prefer) -> Flow {
    if kind.yields {
        Flow::GivesWay { newest: false }
    } else if kind.prefer == preferred {
        Flow::GivesWay { newest: true }
    } else {
        Flow::GoesOn
    }
}
