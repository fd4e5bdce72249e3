//! Tasklets that have met a partner which has done something else since: on the board they wait for
//! the end of a channel that only the partner can send on.
//!
//! Always: who is held goes on when that is decided, not when the partner lets it go.

use super::{Bridge, Hold, Pending, Seat};
use crate::explore::event::{Branch, Side};
use crate::kernel::name::TaskletId;
use crate::kernel::task::{Doing, flag};
use crate::kernel::wait::Wait;
use std::panic::Location;

impl Bridge<'_, '_> {
    /// Who waits for a partner waits on the board from when the partner does something else.
    pub(super) fn hold(&mut self) {
        for id in 0..self.seats.len() {
            let Seat { task, pending: Pending::Nothing, .. } = &self.seats[id] else { continue };
            let at = task.at.get().unwrap_or(task.who.spawned_at);
            match task.doing.get() {
                Doing::Meeting(_, partner) if task.has(flag::COMMITTED) => {
                    let partner = self.doer(partner.known());
                    let until = self.board.channel(partner);
                    self.held(id, Hold { until, freed: None }, at);
                }
                _ => {
                    let what = "an operation that waits without being announced";
                    self.board.refuse(self.seats[id].name, what, at);
                }
            }
        }
    }

    /// Offers that a tasklet goes on when its partner has let it go.
    pub(super) fn held(&mut self, id: usize, hold: Hold, at: &'static Location<'static>) {
        let until = Branch::Receive(hold.until);
        self.seats[id].pending = Pending::Held(hold);
        self.pending += 1;
        self.board.offer_at(self.seats[id].name, &[until], at);
    }

    /// A partner let a tasklet go.
    pub(super) fn freed(&mut self, by: Option<TaskletId>, wait: Wait, done: bool) {
        let by = self.doer(by);
        match &mut self.seats[wait.task.id().0 as usize].pending {
            Pending::Held(hold) => {
                hold.freed = Some((wait, done));
                self.board.drop_end(by, hold.until, Side::Sender, true);
            }
            Pending::Unbegun | Pending::Waiting | Pending::Nothing | Pending::Over => {
                wait.let_go(done, false);
            }
        }
    }
}
