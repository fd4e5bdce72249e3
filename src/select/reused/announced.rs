//! A reused select in a controlled run: announced whole, then only the chosen arm is carried out.
//!
//! Always: an arm wins only if it was chosen.

use super::{Select, Won};
use crate::error::Halt;
use crate::kernel::announce::{Go, Stops, announce};
use crate::kernel::control::{Way, Ways};
use crate::kernel::operation::Patience;
use crate::kernel::task::Doing;
use std::panic::Location;

impl Select<'_> {
    /// Waits as announced; none if nobody decides.
    #[cold]
    pub(super) fn perform_announced(
        &self,
        patience: Patience,
        at: &'static Location<'static>,
    ) -> Result<Option<Won>, Halt> {
        let live = |(index, arm): (usize, &Option<_>)| arm.is_some().then_some(index);
        let places: Vec<usize> = self.arms.iter().enumerate().filter_map(live).collect();
        let mut ways: Ways = self.arms.iter().flatten().map(|it| it.way()).collect();
        let stops = if patience == Patience::None { Stops::None } else { Stops::All };
        match patience {
            Patience::Forever if places.is_empty() => return Ok(None), // an error of the caller
            Patience::Forever => {}
            Patience::None => ways.push(Way::Default),
            Patience::Until(time) => ways.push(Way::Limit(time)),
        }
        let doing = Doing::Selecting(places.len() as u32);
        loop {
            let index = match announce(&ways, stops, doing, at)? {
                Go::Free => return Ok(None),
                Go::Way(way) => places.get(way).copied(),
            };
            let Some(index) = index else { return Ok(Some(Won::Nobody)) };
            if let Some(grant) = self.arms[index].and_then(|it| it.attempt(at)) {
                return Ok(Some(Won::Arm(index, grant)));
            }
            // Only the partner that was chosen carries its operation out just now, so whichever
            // arms are offered, this one is met.
            if let Some(won) = self.park(Patience::Forever, at)? {
                return Ok(Some(won));
            }
        }
    }
}
