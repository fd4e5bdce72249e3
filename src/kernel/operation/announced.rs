//! Operations in a controlled run: announced whole, then only the chosen branch is carried out.
//!
//! Always: the arms that were not chosen are not touched.

use super::{Arm, Concluded, Patience, halt_first, wait_for_any};
use crate::error::Halt;
use crate::kernel::announce::{Go, Stops, announce};
use crate::kernel::control::{Way, Ways};
use crate::kernel::running;
use crate::kernel::task::Doing;
use std::panic::Location;

/// Performs as announced; none if nobody decides.
#[cold]
pub(super) fn perform(
    arms: &mut [&mut dyn Arm],
    patience: Patience,
    at: &'static Location<'static>,
) -> Option<Option<usize>> {
    loop {
        let mut ways = Ways::new();
        arms.iter().for_each(|it| it.ways(&mut ways));
        let width = ways.len();
        let stops = if patience == Patience::None { Stops::None } else { Stops::All };
        match patience {
            Patience::Forever if width == 0 => return None, // an error of the caller
            Patience::Forever => {}
            Patience::None => ways.push(Way::Default),
            Patience::Until(time) => ways.push(Way::Limit(time)),
        }
        let doing = match arms {
            [arm] => arm.doing(),
            _ => Doing::Selecting(width as u32),
        };
        match announce(&ways, stops, doing, at) {
            Err(why) => return Some(halt_first(arms, why)),
            Ok(Go::Free) => return None,
            Ok(Go::Way(way)) if way >= width => return Some(None),
            Ok(Go::Way(way)) => {
                let (index, own) = find(arms, way as u32);
                if perform_only(&mut *arms[index], own, at) {
                    return Some(Some(index));
                }
            }
        }
    }
}

/// The arm that branch number `branch` is of, and which one of its branches it is.
fn find(arms: &[&mut dyn Arm], mut branch: u32) -> (usize, u32) {
    for (index, arm) in arms.iter().enumerate() {
        if branch < arm.width() {
            return (index, branch);
        }
        branch -= arm.width();
    }
    unreachable!("a branch was chosen that nobody announced")
}

/// The innermost arm that branch number `branch` of `arm` is.
pub(crate) fn leaf(arm: &mut dyn Arm, branch: u32) -> &mut dyn Arm {
    if arm.pick(branch).is_some() {
        return arm.pick(branch).expect("an arm inside of another stays there");
    }
    arm
}

/// Carries one branch out; false if the partner went away again.
fn perform_only(arm: &mut dyn Arm, branch: u32, at: &'static Location<'static>) -> bool {
    let arm = leaf(arm, branch);
    if arm.attempt(at) {
        return true;
    }
    let arms: &mut [&mut dyn Arm] = &mut [arm];
    let (offered, outcome) = match wait_for_any(arms, Patience::Forever, at) {
        Ok(woken) => woken,
        Err(ended) => return ended.is_some(),
    };
    match offered.conclude(arms, outcome, at) {
        Concluded::Won(_) => true,
        Concluded::Again | Concluded::Nobody => false,
        Concluded::Halted => {
            let why = running::halt_of(&offered.wait.task, outcome).unwrap_or(Halt::Cancelled);
            halt_first(arms, why).is_some()
        }
    }
}
