//! Operations: try now, else publish offers and park; the losers are withdrawn.
//!
//! Always: of the operations that wait together exactly one happens, or none and the first enabled
//! one gets the reason. The shape (wrap, try, block) is that of Concurrent ML (Reppy, 1991) as
//! implemented in Guile's fibers (Wingo, 2016); here attempts start at an arm drawn by lot.
//! Arm: `Idle -> Published -> Withdrawn | Won`.

use super::clock::Nanos;
use super::running;
use super::scheduler::Scheduler;
use super::task::Doing;
use super::wait::{self, Wait};
use crate::error::Halt;
use std::panic::Location;

/// The part of an operation that does not mention its output.
pub trait Arm {
    /// Does it, if that is possible without waiting for a partner to come.
    fn attempt(&mut self, at: &'static Location<'static>) -> bool;
    /// Offers it under `wait`, as the branches from `branch` on.
    fn publish(&mut self, wait: &Wait, branch: u32);
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
    let width: u32 = arms.iter().map(|it| it.width()).sum();
    assert!(width > 0 || patience != Patience::Forever, "select without an enabled arm, at {at}");
    loop {
        if let Err(why) = running::gate(patience != Patience::None) {
            return halt_first(arms, why);
        }
        if let Some(won) = attempt_any(arms, biased, at) {
            return Some(won);
        }
        if patience == Patience::None {
            return None;
        }
        let task = match running::waiter() {
            Ok(task) => task,
            Err(why) => return halt_first(arms, why),
        };
        let wait = Wait::open(task.clone());
        let mut branch = 0;
        for arm in arms.iter_mut() {
            arm.publish(&wait, branch);
            branch += arm.width();
        }
        if let Patience::Until(at) = patience
            && let Some(scheduler) = Scheduler::active()
        {
            scheduler.add_timer(at, wait.clone(), width);
        }
        let doing = if let [arm] = arms { arm.doing() } else { Doing::Selecting(width) };
        let outcome = running::park(&task, doing, at);
        match conclude(arms, &wait, outcome, width, at) {
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

/// Withdraws the losers and completes the winner.
fn conclude(
    arms: &mut [&mut dyn Arm],
    wait: &Wait,
    outcome: u32,
    width: u32,
    at: &'static Location<'static>,
) -> Concluded {
    let special = outcome >= wait::RETRY;
    let (won, closed) = (outcome & !wait::CLOSED, outcome & wait::CLOSED != 0);
    let (mut branch, mut winner) = (0, None);
    for (index, arm) in arms.iter_mut().enumerate() {
        let end = branch + arm.width();
        if !special && (branch..end).contains(&won) {
            winner = Some((index, won - branch));
        }
        if special || winner.is_none_or(|(it, _)| it != index) || arm.width() > 1 {
            arm.withdraw(wait, branch);
        }
        branch = end;
    }
    match winner {
        Some((index, own)) if arms[index].complete(own, closed, at) => Concluded::Won(index),
        Some(_) => Concluded::Again,
        None if outcome == wait::RETRY => Concluded::Again,
        None if special => Concluded::Halted,
        None => {
            debug_assert_eq!(won, width, "a branch that nobody published");
            Concluded::Nobody
        }
    }
}

fn attempt_any(
    arms: &mut [&mut dyn Arm],
    biased: bool,
    at: &'static Location<'static>,
) -> Option<usize> {
    let start = if biased || arms.len() < 2 { 0 } else { choose(arms.len()) };
    let (early, late) = arms.split_at_mut(start);
    let turned = late.iter_mut().enumerate().map(|(index, arm)| (index + start, arm));
    let mut turned = turned.chain(early.iter_mut().enumerate());
    turned.find_map(|(index, arm)| (arm.width() > 0 && arm.attempt(at)).then_some(index))
}

/// One of `0..ways`, by the chooser of the running tasklet's run; 0 outside any run.
pub(crate) fn choose(ways: usize) -> usize {
    running::current().map_or(0, |it| it.home.choices.choose(ways))
}

fn halt_first(arms: &mut [&mut dyn Arm], why: Halt) -> Option<usize> {
    let first = arms.iter().position(|it| it.width() > 0)?;
    arms[first].halt(why);
    Some(first)
}
