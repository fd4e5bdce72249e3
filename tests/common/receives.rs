//! The interpreter's selects among receivers alone: by the macro itself, which makes no arms then.

use super::play::millis;
use super::program::Patience;
use super::world::{Payload, Rx};
use std::rc::Rc;
use tasklets::{Halt, select};

/// Receives from one of `receivers`, of which there are at most [`MOST`]; `None`: from nobody.
pub fn receive(
    receivers: &[&Rc<Rx>],
    patience: Patience,
) -> Option<(usize, Result<Payload, Halt>)> {
    macro_rules! among {
        ($($arm:literal)+) => {
            match patience {
                Patience::Forever => select! {
                    $(recv(receivers[$arm].end) -> it => Some(($arm, it)),)+
                },
                Patience::Now => select! {
                    $(recv(receivers[$arm].end) -> it => Some(($arm, it)),)+
                    default => None,
                },
                Patience::For(ms) => select! {
                    $(recv(receivers[$arm].end) -> it => Some(($arm, it)),)+
                    default(millis(ms.into())) => None,
                },
            }
        };
    }
    match receivers.len() {
        1 => among!(0),
        2 => among!(0 1),
        3 => among!(0 1 2),
        4 => among!(0 1 2 3),
        5 => among!(0 1 2 3 4),
        MOST => among!(0 1 2 3 4 5),
        count => unreachable!("a select among {count} receivers"),
    }
}

/// Most arms.
pub const MOST: usize = 6;
