//! Operations: try now, else publish offers and park; the losers are withdrawn.
//!
//! Always: of the operations that wait together exactly one happens, or none and the first enabled
//! one gets the reason. The shape (wrap, try, block) is that of Concurrent ML (Reppy, 1991) as
//! implemented in Guile's fibers (Wingo, 2016); the arm is drawn by lot among those that are ready.
//! Arm: `Idle -> Published -> Withdrawn | Won`.

use super::clock::Nanos;
use super::running;
use super::scheduler::Scheduler;
use super::task::Doing;
use super::wait::{self, Wait};
use crate::error::Halt;
use smallvec::SmallVec;
use std::panic::Location;

/// The part of an operation that does not mention its output.
pub trait Arm {
    /// Does it, if that is possible without waiting for a partner to come.
    fn attempt(&mut self, at: &'static Location<'static>) -> bool;
    /// Whether an attempt is likely to succeed.
    fn ready(&self) -> bool;
    /// Offers it under `wait`, as the branches from `branch` on; tells how many.
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32;
    /// Takes the offers back.
    fn withdraw(&mut self, wait: &Wait, branch: u32);
    /// Branch number `branch` of it has won; false if the partner went away again.
    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool;
    /// Ends it without effect.
    fn halt(&mut self, why: Halt);
    /// Number of branches; 0 while it is disabled.
    fn width(&self) -> u32 {
        1
    }
    /// What it is, for reports.
    fn doing(&self) -> Doing {
        Doing::Selecting(self.width())
    }
}

/// What to do when no arm can happen at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Wait.
    Forever,
    /// Do not wait.
    None,
    /// Wait until this time.
    Until(Nanos),
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
    loop {
        if let Err(why) = running::gate(patience != Patience::None) {
            return halt_first(arms, why);
        }
        let parked_at = running::parked_at();
        if let Some(won) = attempt_any(arms, biased, at) {
            return Some(won);
        }
        if running::parked_at() != parked_at {
            continue; // others ran during an attempt: what failed before may be possible now
        }
        if patience == Patience::None {
            return None;
        }
        let task = match running::waiter_here() {
            Ok(task) => task,
            Err(why) => return halt_first(arms, why),
        };
        let offered = Offered::publish(arms, Wait::open(task.clone()));
        if offered.width == 0 && patience == Patience::Forever {
            running::close_wait(&task);
            panic!("select without an enabled arm, at {at}");
        }
        if let Patience::Until(at) = patience
            && let Some(scheduler) = Scheduler::active()
        {
            scheduler.add_timer(at, offered.wait.clone(), offered.width);
        }
        let doing = if let [arm] = arms { arm.doing() } else { Doing::Selecting(offered.width) };
        let outcome = running::park(&task, doing, at);
        match offered.conclude(arms, outcome, at) {
            Concluded::Won(arm) => return Some(arm),
            Concluded::Again => {}
            Concluded::Nobody => return None,
            Concluded::Halted => {
                let why = running::halt_of(&task, outcome).unwrap_or(Halt::Cancelled);
                return halt_first(arms, why);
            }
        }
    }
}

enum Concluded {
    Won(usize),
    Again,
    Nobody,
    Halted,
}

/// Offers that have been published under one wait.
struct Offered {
    wait: Wait,
    /// Number of branches.
    width: u32,
    /// Every arm is one branch, so that branch numbers are places.
    even: bool,
}

impl Offered {
    fn publish(arms: &mut [&mut dyn Arm], wait: Wait) -> Offered {
        let (mut width, mut even) = (0, true);
        for arm in arms.iter_mut() {
            let branches = arm.publish(&wait, width);
            even &= branches == 1;
            width += branches;
        }
        Offered { wait, width, even }
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
            for (index, arm) in arms.iter_mut().enumerate() {
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
            if winner.is_none_or(|(it, _)| it != index) || arm.width() > 1 {
                arm.withdraw(&self.wait, branch);
            }
            branch = end;
        }
        winner
    }
}

/// Attempts the arms that look ready, one drawn by lot after the other; biased: in their order.
fn attempt_any(
    arms: &mut [&mut dyn Arm],
    biased: bool,
    at: &'static Location<'static>,
) -> Option<usize> {
    if biased || arms.len() < 2 {
        return attempt_in_order(arms, at);
    }
    // Any arm that a draw from all of them hits is a fair choice among the ready ones.
    let parked_at = running::parked_at();
    for _ in 0..PROBES {
        let index = choose(arms.len());
        if arms[index].ready() && arms[index].attempt(at) {
            return Some(index);
        }
        if running::parked_at() != parked_at {
            return None; // others ran: what was seen before is no longer true
        }
    }
    let mut ready: SmallVec<[u16; 32]> = SmallVec::new();
    for (index, arm) in arms.iter().enumerate() {
        if arm.ready() {
            ready.push(index as u16);
        }
    }
    while !ready.is_empty() {
        let index = usize::from(ready.swap_remove(choose(ready.len())));
        if arms[index].attempt(at) {
            return Some(index);
        }
        if running::parked_at() != parked_at {
            break;
        }
    }
    None
}

fn attempt_in_order(arms: &mut [&mut dyn Arm], at: &'static Location<'static>) -> Option<usize> {
    let parked_at = running::parked_at();
    for (index, arm) in arms.iter_mut().enumerate() {
        if arm.ready() && arm.attempt(at) {
            return Some(index);
        }
        if running::parked_at() != parked_at {
            break;
        }
    }
    None
}

/// Draws from all arms before the ready ones are looked for.
const PROBES: usize = 2;

/// One of `0..ways`, by the chooser of the running tasklet's run; 0 outside any run.
pub(crate) fn choose(ways: usize) -> usize {
    if ways < 2 {
        return 0;
    }
    running::current().map_or(0, |it| it.home.choices.choose(ways))
}

fn halt_first(arms: &mut [&mut dyn Arm], why: Halt) -> Option<usize> {
    let first = arms.iter().position(|it| it.width() > 0)?;
    arms[first].halt(why);
    Some(first)
}
