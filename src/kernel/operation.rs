//! Operations: try now, else publish offers and park; the losers are withdrawn.
//!
//! Always: of the operations that wait together exactly one happens, or none and the first enabled
//! one gets the reason. The shape (wrap, try, block) is that of Concurrent ML (Reppy, 1991) as
//! implemented in Guile's fibers (Wingo, 2016); the arm is drawn by lot among those that are ready.
//! Arm: `Idle -> Published -> Withdrawn | Won`.

mod announced;
mod lot;
mod outside;
mod patience;

pub(crate) use announced::leaf;
pub use lot::Lot;
pub(crate) use lot::Places;
pub use patience::Patience;

use super::clock::{NEVER, Nanos};
use super::control::{Way, Ways};
use super::outsider::choose_outside;
use super::running;
use super::scheduler;
use super::task::{Doing, Task, flag};
use super::wait::{self, Wait};
use crate::error::Halt;
use smallvec::SmallVec;
use std::panic::Location;
use std::rc::Rc;

/// The part of an operation that does not mention its output.
///
/// Its methods are for `select` and [`wait`](crate::Operation::wait), which call them in a certain
/// order. Called by hand they can make an operation say that it happened when it did not; nothing
/// is doubled by that, and what was not sent is dropped with the operation.
///
/// ```
/// use tasklets::{Operation, after, channel, run, select, spawn};
/// run(|| {
///     let (tx, rx) = channel();
///     spawn(move || tx.send(7));
///     let (mut number, mut time) = (rx.receiving(), after(std::time::Duration::from_secs(5)));
///     let arms: &mut [&mut dyn select::Arm] = &mut [&mut number, &mut time]; // of any output
///     assert!(arms.iter().all(|it| it.width() == 1 && !it.ready())); // enabled; not yet
///     assert_eq!(select::select(arms), 0);
///     assert_eq!(number.take(), Ok(7));
/// });
/// ```
pub trait Arm {
    /// Does it, if that is possible without waiting for a partner to come.
    fn attempt(&mut self, at: &'static Location<'static>) -> bool;
    /// Whether an attempt is likely to succeed.
    fn ready(&self) -> bool;
    /// Offers it under `wait`, as the branches from `branch` on; tells how many.
    ///
    /// What loses may stay unless the wait has been told that it `must_withdraw`.
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32;
    /// Takes the offers back.
    fn withdraw(&mut self, wait: &Wait, branch: u32);
    /// Takes back those that lose to branch number `won` of it, which is about to complete.
    fn withdraw_losers(&mut self, _wait: &Wait, _branch: u32, _won: u32) {}
    /// Branch number `branch` of it has won; false if the partner went away again.
    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool;
    /// Ends it without effect.
    fn halt(&mut self, why: Halt);
    /// Number of branches; 0 while it is disabled.
    fn width(&self) -> u32 {
        1
    }
    /// Adds what each of its branches does, in a run that is explored.
    ///
    /// What an arm that does not say is part of cannot be explored.
    fn ways(&self, ways: &mut Ways) {
        ways.extend((0..self.width()).map(|_| Way::Unknown));
    }
    /// The innermost arm that branch number `branch` is, if it is made of others; it will win.
    fn pick(&mut self, _branch: u32) -> Option<&mut dyn Arm> {
        None
    }
    /// Whether all its partners may be on other OS threads, so that one in no run may wait for it.
    fn is_shared(&self) -> bool {
        false
    }
    /// What it is, for reports.
    fn doing(&self) -> Doing {
        Doing::Selecting(self.width())
    }
}

/// Makes exactly one of `arms` happen and tells which; `None` when patience ends first.
///
/// # Panics
/// If every arm is disabled and patience is `Forever`.
pub fn perform(
    arms: &mut [&mut dyn Arm],
    patience: Patience,
    biased: bool,
    at: &'static Location<'static>,
) -> Option<usize> {
    perform_from(arms, patience, biased, at, Start::Anew)
}

/// How far a select has come.
#[derive(Debug)]
pub(crate) enum Start {
    Anew,
    /// The gate did not let it pass.
    Halted(Halt),
    /// The gate has been passed, and nothing was possible just now.
    Tried,
    /// It has waited, and its wait came out like this.
    Woken(Offered, u32),
}

/// [`perform`] that begins somewhere else.
pub(crate) fn perform_from(
    arms: &mut [&mut dyn Arm],
    patience: Patience,
    biased: bool,
    at: &'static Location<'static>,
    mut start: Start,
) -> Option<usize> {
    loop {
        let (offered, outcome) = match std::mem::replace(&mut start, Start::Anew) {
            Start::Woken(offered, outcome) => (offered, outcome),
            Start::Halted(why) => return halt_first(arms, why),
            Start::Tried => match wait_for_any(arms, patience, at) {
                Ok(woken) => woken,
                Err(ended) => return ended,
            },
            Start::Anew => {
                match running::gate(patience != Patience::None) {
                    Err(why) => return halt_first(arms, why),
                    Ok(false) => {}
                    Ok(true) => {
                        if let Some(ended) = announced::perform(arms, patience, at) {
                            return ended;
                        }
                    }
                }
                let glance = Glance::now();
                if let Some(won) = glance.attempt_any(arms, biased, at) {
                    return Some(won);
                }
                if !glance.is_over() {
                    start = Start::Tried;
                } // else others ran during an attempt: what failed may be possible now
                continue;
            }
        };
        match offered.conclude(arms, outcome, at) {
            Concluded::Won(arm) => return Some(arm),
            Concluded::Again => {}
            Concluded::Nobody => return None,
            Concluded::Halted => {
                let why = running::halt_of(&offered.wait.task, outcome).unwrap_or(Halt::Cancelled);
                return halt_first(arms, why);
            }
        }
    }
}

/// Offers all arms and parks; an error is how the select ends without that.
fn wait_for_any(
    arms: &mut [&mut dyn Arm],
    patience: Patience,
    at: &'static Location<'static>,
) -> Result<(Offered, u32), Option<usize>> {
    if patience.is_over() {
        return Err(None);
    }
    let task = match running::waiter_here(at) {
        Ok(task) => task,
        Err(why) => outside::waiter(arms).ok_or_else(|| halt_first(arms, why))?,
    };
    let offered = Offered::publish(arms, Wait::open(task));
    if offered.width == 0 && patience == Patience::Forever {
        running::close_wait(&offered.wait.task);
        panic!("select without an enabled arm, at {at}");
    }
    let doing = if let [arm] = arms { arm.doing() } else { Doing::Selecting(offered.width) };
    let outcome = offered.park(patience, doing, at);
    Ok((offered, outcome))
}

enum Concluded {
    Won(usize),
    Again,
    Nobody,
    Halted,
}

/// Offers that have been published under one wait.
#[derive(Debug)]
pub(crate) struct Offered {
    wait: Wait,
    /// Number of branches.
    width: u32,
    /// Every arm is one branch, so that branch numbers are places.
    even: bool,
}

impl Offered {
    fn publish(arms: &mut [&mut dyn Arm], wait: Wait) -> Offered {
        let (mut width, mut even) = (0, true);
        wait.task.clear(flag::MUST_WITHDRAW);
        for arm in arms.iter_mut() {
            let branches = arm.publish(&wait, width);
            even &= branches == 1;
            width += branches;
        }
        Offered { wait, width, even }
    }

    #[inline]
    fn park(&self, patience: Patience, doing: Doing, at: &'static Location<'static>) -> u32 {
        let until = patience.end();
        if until == NEVER && !self.wait.task.has(flag::CLAIMED) {
            return running::park(&self.wait.task, doing, at);
        }
        scheduler::park_until(&self.wait, until, self.width, doing, at)
    }

    /// Withdraws the losers and completes the winner.
    fn conclude(
        &self,
        arms: &mut [&mut dyn Arm],
        outcome: u32,
        at: &'static Location<'static>,
    ) -> Concluded {
        let special = outcome >= wait::NO_BRANCH;
        let (won, closed) = (outcome & !wait::CLOSED, outcome & wait::CLOSED != 0);
        let winner = if special { None } else { self.withdraw_losers(arms, won) };
        match winner {
            Some((index, own)) if arms[index].complete(own, closed, at) => Concluded::Won(index),
            Some(_) => Concluded::Again,
            None if special => {
                self.withdraw_losers(arms, u32::MAX);
                if outcome == wait::RETRY { Concluded::Again } else { Concluded::Halted }
            }
            None => {
                debug_assert_eq!(won, self.width, "a branch that nobody published");
                Concluded::Nobody
            }
        }
    }

    /// Withdraws all but the branch that won; tells whose it is and which of its branches.
    fn withdraw_losers(&self, arms: &mut [&mut dyn Arm], won: u32) -> Option<(usize, u32)> {
        if self.even {
            let winner = won as usize;
            let must = self.wait.task.has(flag::MUST_WITHDRAW);
            for (index, arm) in arms.iter_mut().enumerate().filter(|_| must) {
                if index != winner {
                    arm.withdraw(&self.wait, index as u32);
                }
            }
            return (winner < arms.len()).then_some((winner, 0));
        }
        let (mut branch, mut winner) = (0, None);
        for (index, arm) in arms.iter_mut().enumerate() {
            let end = branch + arm.width();
            if (branch..end).contains(&won) {
                winner = Some((index, won - branch));
            }
            match winner {
                Some((it, own)) if it == index => arm.withdraw_losers(&self.wait, branch, own),
                _ => arm.withdraw(&self.wait, branch),
            }
            branch = end;
        }
        winner
    }
}

/// A time during which the running tasklet is not suspended.
#[derive(Debug)]
pub(crate) struct Glance {
    me: Option<Rc<Task>>,
    parked_at: Nanos,
}

impl Glance {
    #[inline]
    pub(crate) fn now() -> Glance {
        let me = running::current();
        let parked_at = me.as_ref().map_or(0, |it| it.arrived.get());
        Glance { me, parked_at }
    }

    /// Whether others ran, so that what was seen before is no longer true.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.me.as_ref().is_some_and(|it| it.arrived.get() != self.parked_at)
    }

    #[inline]
    pub(crate) fn choose(&self, ways: usize) -> usize {
        self.me.as_ref().map_or_else(|| choose_outside(ways), |it| it.home.choices.choose(ways))
    }

    /// Attempts the arms that look ready, one drawn by lot after the other; biased: in order.
    fn attempt_any(
        &self,
        arms: &mut [&mut dyn Arm],
        biased: bool,
        at: &'static Location<'static>,
    ) -> Option<usize> {
        if biased || arms.len() < 2 {
            return self.attempt_in_order(arms, at);
        }
        let mut ready: SmallVec<[u16; 32]> = SmallVec::new();
        for (index, arm) in arms.iter().enumerate() {
            if arm.ready() {
                ready.push(index as u16);
            }
        }
        while !ready.is_empty() {
            let index = usize::from(ready.remove(self.choose(ready.len())));
            if arms[index].attempt(at) {
                return Some(index);
            }
            if self.is_over() {
                break;
            }
        }
        None
    }

    fn attempt_in_order(
        &self,
        arms: &mut [&mut dyn Arm],
        at: &'static Location<'static>,
    ) -> Option<usize> {
        for (index, arm) in arms.iter_mut().enumerate() {
            if arm.ready() && arm.attempt(at) {
                return Some(index);
            }
            if self.is_over() {
                break;
            }
        }
        None
    }
}

/// One of `0..ways`, by the chooser of the running tasklet's run; 0 outside any run.
pub(crate) fn choose(ways: usize) -> usize {
    if ways < 2 {
        return 0;
    }
    running::current().map_or_else(|| choose_outside(ways), |it| it.home.choices.choose(ways))
}

fn halt_first(arms: &mut [&mut dyn Arm], why: Halt) -> Option<usize> {
    let first = arms.iter().position(|it| it.width() > 0);
    match first {
        Some(first) => arms[first].halt(why),
        // There is nobody to tell of it: the next operation is told.
        None if why == Halt::Injected => running::inject_again(),
        None => {}
    }
    first
}
