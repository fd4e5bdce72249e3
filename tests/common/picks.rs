//! The interpreter's selects: over operations that are made anew, among receivers alone, and the
//! reused one.

use super::play::{Player, halted, millis};
use super::program::{Arm, Chan, Leaf, Patience, Then};
use super::receives::{MOST, receive};
use super::world::{AtEnd, Event, OpId, Outcome, Payload, Rx, Tx, Want, World};
use std::rc::Rc;
use std::time::Instant;
use tasklets::channel::Permit;
use tasklets::select::{self, support};
use tasklets::{Direction, Halt, JoinError, Operation, Select, SendError, Tasklet, after};

/// What an arm needs to be made of.
enum Hand<'p> {
    Send(Rc<Tx>, Option<Payload>),
    Recv(Rc<Rx>),
    Reserve(Rc<Tx>, &'p Then),
    After(u64),
    Join(Lent),
}

/// A handle to join, which goes back to the others unless it was joined.
pub struct Lent {
    world: Rc<World>,
    index: usize,
    pub handle: Option<Tasklet<Payload>>,
}

impl Lent {
    pub fn new(world: &Rc<World>, index: usize) -> Option<Lent> {
        let mut peers = world.peers.borrow_mut();
        let index = index % peers.len();
        Some(Lent { world: world.clone(), index, handle: Some(peers[index].1.take()?) })
    }

    pub fn get(&self) -> &Tasklet<Payload> {
        self.handle.as_ref().expect("it has not been joined")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.world.peers.borrow_mut()[self.index].1 = Some(handle);
        }
    }
}

/// The output of any arm.
enum Won<'a> {
    Sent(Result<(), SendError<Payload>>),
    Got(Result<Payload, Halt>),
    Granted(Result<Permit<'a, Payload>, Halt>),
    Elapsed(Result<Instant, Halt>),
    Joined(Result<Payload, JoinError>),
}

/// An arm as an operation: its output says which it was, counted among those that are on.
type Made<'a> = Box<dyn Operation<Output = (usize, Won<'a>)> + 'a>;

fn made<'a>(index: usize, hand: &'a mut Hand<'_>) -> Made<'a> {
    match hand {
        Hand::Send(tx, payload) => {
            let payload = payload.take().expect("it has not been sent yet");
            Box::new(tx.end.sending(payload).map(move |it| (index, Won::Sent(it))))
        }
        Hand::Recv(rx) => Box::new(rx.end.receiving().map(move |it| (index, Won::Got(it)))),
        Hand::Reserve(tx, _) => {
            Box::new(tx.end.reserving().map(move |it| (index, Won::Granted(it))))
        }
        Hand::After(ms) => Box::new(after(millis(*ms)).map(move |it| (index, Won::Elapsed(it)))),
        Hand::Join(lent) => {
            let handle = lent.handle.as_mut().expect("it has not been joined");
            Box::new(handle.map(move |it| (index, Won::Joined(it))))
        }
    }
}

/// How the hands belong together.
#[derive(Clone, Copy)]
enum Group {
    One,
    Or,
    Off,
}

impl Player {
    pub fn select(&mut self, arms: &[Arm], patience: Patience, biased: bool) {
        let (mut hands, groups) = self.hands(arms);
        let wants = self.wants(&hands, &groups);
        if wants.is_empty() && matches!(patience, Patience::Forever) {
            return; // it would be a bug of the program
        }
        let op = self.world.begin(wants.clone(), self.until(patience));
        let thens: Vec<_> = hands
            .iter()
            .zip(on(&groups))
            .filter(|(_, on)| *on)
            .map(|(it, _)| if let Hand::Reserve(_, then) = it { Some(*then) } else { None })
            .collect();
        let plain = receivers(&hands, &groups).filter(|_| !biased);
        let won = match plain {
            Some(receivers) => receive(&receivers, patience).map(|(it, got)| (it, Won::Got(got))),
            None => perform(&mut hands, &groups, patience, biased),
        };
        if let Some(joined) = self.conclude(op, won, &wants, &thens) {
            let mut on = hands.iter_mut().zip(on(&groups)).filter(|(_, on)| *on);
            if let Some((Hand::Join(lent), _)) = on.nth(joined) {
                lent.handle = None;
            }
        }
    }

    /// Logs what came of a select and uses what it gave; tells which arm was joined.
    fn conclude(
        &mut self,
        op: OpId,
        won: Option<(usize, Won<'_>)>,
        wants: &[Want],
        thens: &[Option<&Then>],
    ) -> Option<usize> {
        self.check_losers(wants, won.as_ref().map(|it| it.0));
        match won {
            None => self.world.end(op, 0, Outcome::Nobody),
            Some((index, Won::Granted(Ok(permit)))) => {
                self.world.end(op, index, Outcome::Granted);
                self.with_permit(op, permit, thens[index].expect("it was a reservation"));
            }
            Some((index, won)) => {
                let outcome = self.outcome(won, &wants[index]);
                let joined = matches!(outcome, Outcome::Joined(_) | Outcome::JoinedPanic);
                self.world.end(op, index, outcome);
                return joined.then_some(index);
            }
        }
        None
    }

    fn hands<'p>(&self, arms: &'p [Arm]) -> (Vec<Hand<'p>>, Vec<Group>) {
        let (mut hands, mut groups) = (Vec::new(), Vec::new());
        for arm in arms {
            match arm {
                Arm::One(leaf) | Arm::Off(leaf) => {
                    let Some(hand) = self.hand(leaf) else { continue };
                    hands.push(hand);
                    groups.push(if matches!(arm, Arm::One(_)) { Group::One } else { Group::Off });
                }
                Arm::Or(left, right) => {
                    let both: Vec<_> = [left, right].map(|it| self.hand(it)).into();
                    let both: Vec<_> = both.into_iter().flatten().collect();
                    groups.extend([None, Some(Group::One), Some(Group::Or)][both.len()]);
                    hands.extend(both);
                }
            }
        }
        (hands, groups)
    }

    fn hand<'p>(&self, leaf: &'p Leaf) -> Option<Hand<'p>> {
        Some(match leaf {
            Leaf::Send(channel) => Hand::Send(self.sender(*channel)?, Some(self.world.make())),
            Leaf::Recv(channel) => Hand::Recv(self.receiver(*channel)?),
            Leaf::Reserve(channel, then) => Hand::Reserve(self.sender(*channel)?, then),
            Leaf::After(ms) => Hand::After(u64::from(*ms)),
            Leaf::Join(peer) => Hand::Join(Lent::new(&self.world, usize::from(*peer))?),
        })
    }

    /// What the hands that are on want.
    fn wants(&self, hands: &[Hand<'_>], groups: &[Group]) -> Vec<Want> {
        let on = hands.iter().zip(on(groups)).filter(|(_, on)| *on);
        on.map(|(hand, _)| match hand {
            Hand::Send(tx, payload) => {
                Want::Send(tx.channel(), payload.as_ref().expect("not sent yet").value)
            }
            Hand::Recv(rx) => Want::Recv(rx.channel()),
            Hand::Reserve(tx, _) => Want::Reserve(tx.channel()),
            Hand::After(ms) => Want::Time(self.world.now() + ms),
            Hand::Join(lent) => Want::End(lent.get().id()),
        })
        .collect()
    }

    /// The value of a send that lost has been given back to its owner, who has dropped it.
    fn check_losers(&self, wants: &[Want], winner: Option<usize>) {
        for (index, want) in wants.iter().enumerate().filter(|(it, _)| winner != Some(*it)) {
            if let Want::Send(_, value) = want {
                let drops = self.world.drops_of(*value);
                self.world.claim(drops == 1, || format!("{value} of lost arm {index}: {drops}"));
            }
        }
    }

    fn outcome(&self, won: Won<'_>, want: &Want) -> Outcome {
        let outcome = match won {
            Won::Sent(result) => {
                let Want::Send(_, value) = want else { unreachable!("the index is the arm's") };
                return self.sent(*value, result);
            }
            Won::Got(result) => halted(result).map(|it| Outcome::Got(it.value)),
            Won::Granted(result) => halted(result).map(|_| Outcome::Granted),
            Won::Elapsed(result) => halted(result).map(|_| Outcome::Elapsed),
            Won::Joined(result) => return self.joined(result),
        };
        outcome.unwrap_or_else(|why| why)
    }

    pub fn reuse(
        &mut self,
        ends: &[(Direction, Chan)],
        rounds: u8,
        patience: Patience,
        then: &Then,
    ) {
        let ends = ends.iter().filter_map(|(direction, channel)| match direction {
            Direction::Send => Some(Hand::Reserve(self.sender(*channel)?, then)),
            Direction::Receive => Some(Hand::Recv(self.receiver(*channel)?)),
        });
        let ends: Vec<_> = ends.collect();
        let mut select = Select::new();
        for end in &ends {
            match end {
                Hand::Recv(rx) => select.recv(&rx.end),
                Hand::Reserve(tx, _) => select.send(&tx.end),
                Hand::Send(..) | Hand::After(_) | Hand::Join(_) => unreachable!("made above"),
            };
        }
        let mut arms: Vec<_> = (0..ends.len()).collect();
        for _ in 0..rounds {
            if arms.is_empty() {
                break;
            }
            let wants = arms.iter().map(|it| match &ends[*it] {
                Hand::Recv(rx) => Want::Recv(rx.channel()),
                Hand::Reserve(tx, _) => Want::Reserve(tx.channel()),
                Hand::Send(..) | Hand::After(_) | Hand::Join(_) => unreachable!("made above"),
            });
            let op = self.world.begin(wants.collect(), self.until(patience));
            let closed = self.round(&mut select, &ends, &arms, op, patience);
            if let Some(arm) = closed {
                self.world.claim(select.remove(arms.remove(arm)), || "no arm to remove".into());
            }
        }
    }

    /// One wait of a reused select; tells which of `arms` is closed, if one is.
    fn round<'a>(
        &mut self,
        select: &mut Select<'a>,
        ends: &'a [Hand<'_>],
        arms: &[usize],
        op: OpId,
        patience: Patience,
    ) -> Option<usize> {
        let waited = match patience {
            Patience::Forever => select.wait().map(Some),
            Patience::Now => select.try_wait(),
            Patience::For(ms) => select.wait_timeout(millis(ms.into())),
        };
        let chosen = match waited {
            Ok(Some(chosen)) => chosen,
            Ok(None) => {
                self.world.end(op, 0, Outcome::Nobody);
                return None;
            }
            Err(why) => {
                self.world.end(op, 0, Outcome::Halted(why));
                return None;
            }
        };
        let index = chosen.index();
        let arm = arms.iter().position(|it| *it == index).expect("an arm that is on");
        match &ends[index] {
            Hand::Recv(rx) => {
                let result = chosen.recv(&rx.end);
                let closed = result.is_err();
                let outcome = halted(result).map(|it| Outcome::Got(it.value));
                self.world.end(op, arm, outcome.unwrap_or_else(|why| why));
                closed.then_some(arm)
            }
            Hand::Reserve(tx, then) if !tx.end.is_closed() => {
                self.world.end(op, arm, Outcome::Granted);
                let world = self.world.clone();
                let mut note = AtEnd(&world, Some(Event::Refuses(op)));
                self.steps(&then.ops);
                if !then.used {
                    return None;
                }
                let payload = world.make();
                note.1 = Some(Event::Uses(op, payload.value));
                drop(note);
                self.given(chosen.send(&tx.end, payload));
                None
            }
            Hand::Reserve(tx, _) => {
                self.world.end(op, arm, Outcome::Halted(Halt::Closed));
                let sent = chosen.send(&tx.end, self.world.make());
                self.world.claim(sent.is_err(), || "sent to nobody".into());
                Some(arm)
            }
            Hand::Send(..) | Hand::After(_) | Hand::Join(_) => unreachable!("made by `reuse`"),
        }
    }
}

/// For each hand, whether it is on.
fn on(groups: &[Group]) -> impl Iterator<Item = bool> {
    groups.iter().flat_map(|it| match it {
        Group::One => vec![true],
        Group::Or => vec![true, true],
        Group::Off => vec![false],
    })
}

/// The receivers, if there is nothing but receivers and all are on.
fn receivers<'h>(hands: &'h [Hand<'_>], groups: &[Group]) -> Option<Vec<&'h Rc<Rx>>> {
    let all_on = groups.iter().all(|it| matches!(it, Group::One));
    let of = |hand: &'h Hand<'_>| if let Hand::Recv(rx) = hand { Some(rx) } else { None };
    let receivers: Option<Vec<_>> = hands.iter().map(of).collect();
    receivers.filter(|it| all_on && (1..=MOST).contains(&it.len()))
}

/// Makes the operations and waits for one of them.
fn perform<'a>(
    hands: &'a mut [Hand<'_>],
    groups: &[Group],
    patience: Patience,
    biased: bool,
) -> Option<(usize, Won<'a>)> {
    let mut next = 0;
    let leaves = hands.iter_mut().zip(on(groups)).map(|(hand, on)| {
        next += usize::from(on);
        made(next.saturating_sub(1), hand)
    });
    let mut leaves: Vec<Made<'a>> = leaves.collect();
    let mut rest = leaves.iter_mut();
    let mut leaf = || &mut **rest.next().expect("a leaf for each place in a group");
    let tops = groups.iter().map(|it| -> Box<dyn Operation<Output = (usize, Won<'a>)> + '_> {
        match it {
            Group::One => Box::new(leaf()),
            Group::Or => Box::new(leaf().or(leaf())),
            Group::Off => Box::new(leaf().only_if(false)),
        }
    });
    let mut tops: Vec<_> = tops.collect();
    if let [top] = &mut *tops {
        match patience {
            Patience::Forever => return Some((&mut **top).wait()),
            Patience::Now => return (&mut **top).poll(),
            Patience::For(_) => {}
        }
    }
    let mut arms: Vec<_> = tops.iter_mut().map(|it| &mut **it as &mut dyn select::Arm).collect();
    let won = match patience {
        Patience::Forever if !biased => Some(select::select(&mut arms)),
        Patience::Forever => support::run(&mut arms, biased, support::FOREVER),
        Patience::Now => support::run(&mut arms, biased, support::NONE),
        Patience::For(ms) => {
            support::run(&mut arms, biased, support::for_at_most(millis(ms.into())))
        }
    };
    won.map(|it| tops[it].take())
}
