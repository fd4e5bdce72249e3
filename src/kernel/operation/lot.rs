//! A select among receivers, for which no arms are made unless something unusual happens.
//!
//! Always: it is drawn among the arms that are ready, as in a select of another kind.
//! Stage: `Drawing -> Tried`, or `Void` when it is not for this select, or others ran.

use super::{Glance, Offered, Patience, Start};
use crate::kernel::running;
use crate::kernel::task::{Doing, flag};
use crate::kernel::wait::Wait;
use std::panic::Location;

/// Arms that a [`Lot`] can know of.
const MOST: usize = 64;

/// Some of the first 64 arms, in their order.
#[derive(Debug)]
pub(crate) struct Places {
    list: [u8; MOST],
    len: usize,
    /// The place of the one that was drawn last; too large if none was.
    drawn: usize,
}

impl Places {
    /// Adds arm number `index`, which is above those that were added, if `fits`.
    #[inline(always)]
    pub(crate) fn add_if(&mut self, fits: bool, index: usize) {
        // No branch, because nobody could foresee it; what does not count is written over.
        self.list[self.len % MOST] = index as u8;
        self.len += usize::from(fits);
    }

    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.list.iter().take(self.len).map(|it| usize::from(*it))
    }

    /// Takes the one out that was drawn, which was in vain.
    #[inline(always)]
    fn remove_drawn(&mut self) {
        if self.drawn < self.len {
            self.list.copy_within(self.drawn + 1..self.len, self.drawn);
            self.len -= 1;
            self.drawn = MOST;
        }
    }
}

/// Tells which arm to attempt next, of those that look ready, until none is left; then it lets all
/// of them offer themselves, and parks.
#[derive(Debug)]
pub struct Lot {
    glance: Glance,
    ways: usize,
    stage: Stage,
    /// Those that look ready and have not been attempted since.
    ready: Places,
    /// What came of the gate, or of a wait that was not a plain meeting.
    start: Option<Start>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Drawing,
    /// Nothing is possible now.
    Tried,
    /// It is not for this select, or others ran.
    Void,
}

impl Lot {
    /// Passes the gate, unless the operation has to look at more than its channels.
    #[inline]
    pub fn new(ways: usize, patience: Patience) -> Lot {
        let ready = Places { list: [0; MOST], len: 0, drawn: MOST };
        let glance = Glance::now();
        if ways <= MOST && glance.me.as_ref().is_some_and(|it| it.goes_on()) {
            return Lot { glance, ways, stage: Stage::Drawing, ready, start: None };
        }
        Lot::new_watched(ways, patience, ready)
    }

    #[cold]
    #[inline(never)]
    fn new_watched(ways: usize, patience: Patience, ready: Places) -> Lot {
        let unusual = ways > MOST || running::looks_at_all();
        let passed = if unusual { Ok(true) } else { running::gate(patience != Patience::None) };
        let stage = if passed == Ok(false) { Stage::Drawing } else { Stage::Void };
        Lot { glance: Glance::now(), ways, stage, ready, start: passed.err().map(Start::Halted) }
    }

    /// Lets `look` add the arms that are ready, if it has to know them; `look` is told whether a
    /// sender that was stopped may seem to wait, and tells whether it could say.
    #[inline(always)]
    pub(crate) fn looks(&mut self, look: impl FnOnce(&mut Places, bool) -> bool) -> bool {
        let stopped = self.glance.me.as_ref().is_none_or(|it| it.home.stopped.get() > 0);
        if self.stage != Stage::Drawing || look(&mut self.ready, stopped) {
            return true;
        }
        self.ready.len = 0;
        false
    }

    /// Notes whether arm number `index` is ready, each in turn.
    pub fn see(&mut self, index: usize, ready: bool) {
        self.ready.add_if(ready, index);
    }

    /// The arm to attempt; a number that is too large after the last.
    #[inline]
    pub fn draw(&mut self) -> usize {
        self.ready.remove_drawn();
        if self.stage != Stage::Drawing || self.ready.len == 0 {
            return usize::MAX;
        }
        if self.glance.is_over() {
            self.stage = Stage::Void;
            return usize::MAX;
        }
        self.ready.drawn = self.glance.choose(self.ready.len);
        usize::from(self.ready.list[self.ready.drawn])
    }

    /// After the draws: a wait to be offered by every arm, if it may wait.
    #[inline]
    pub fn open(&mut self, patience: Patience) -> Option<Wait> {
        if self.stage != Stage::Drawing || self.glance.is_over() {
            return None;
        }
        self.stage = Stage::Tried;
        if patience == Patience::None || self.ways < 2 {
            return None;
        }
        let task = running::may_wait()?;
        task.clear(flag::MUST_WITHDRAW);
        Some(Wait::open(task))
    }

    /// Parks if every arm `stands` offered under `wait`, else takes it back; tells which arm has
    /// met its partner.
    #[inline]
    pub fn park(
        &mut self,
        wait: Wait,
        stands: bool,
        patience: Patience,
        at: &'static Location<'static>,
    ) -> Option<usize> {
        if !stands {
            running::close_wait(&wait.task);
            return None;
        }
        let offered = Offered { wait, width: self.ways as u32, even: true };
        let outcome = offered.park(patience, Doing::Selecting(offered.width), at);
        if outcome < offered.width && !offered.wait.task.has(flag::MUST_WITHDRAW) {
            return Some(outcome as usize);
        }
        self.start = Some(Start::Woken(offered, outcome));
        None
    }

    /// From where the select goes on once it has made its arms.
    pub(crate) fn start(&mut self) -> Start {
        match self.start.take() {
            Some(start) => start,
            None if self.stage == Stage::Tried && !self.glance.is_over() => Start::Tried,
            None => Start::Anew,
        }
    }
}
