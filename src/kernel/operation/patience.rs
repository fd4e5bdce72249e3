//! How long an operation waits.
//!
//! Always: patience that is over makes an operation a mere attempt, which nobody can meet later.

use crate::kernel::clock::{NEVER, Nanos};
use crate::kernel::scheduler::Scheduler;

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

impl Patience {
    /// When it ends, if it has not already.
    #[inline]
    pub(crate) fn end(self) -> Nanos {
        if let Patience::Until(time) = self { time } else { NEVER }
    }

    /// Whether there is none, or none left.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Patience::Forever => false,
            Patience::None => true,
            Patience::Until(time) => {
                Scheduler::active().is_some_and(|it| it.home.clock.now() >= time)
            }
        }
    }
}
