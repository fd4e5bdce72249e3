//! What the end of the root does to the others: it cancels them, as in production.
//!
//! In most runs the others go on when the root has ended, so that those who wait for ever are seen.
//! In these the root has one operation more, after its end: that the others are cancelled. What
//! they do before it they have done in time. It concerns everybody, so no order of it and another
//! event may be left out: such runs are drawn.
//!
//! Always: all that waited when the others were cancelled is published again, or over.

use super::board::Board;
use super::event::{Branch, Event, Names, TaskletName, mix};
use super::isolation;
use super::random::{Drawing, Plan};
use super::run::Run;
use super::system::System;
use super::verdict::{Settings, Verdict};
use super::witness::Seen;
use std::panic::Location;

/// How many of these runs are made at most, as a part of the budget and in all; and so many that
/// show nothing new in a row are enough.
const SHARE: u64 = 4;
const RUNS_MAX: u64 = 300;
const ROUND: u64 = 50;

/// What is added to the trace of a tasklet that the end of the root cancels.
const ENDING: u64 = 0xE4D;

impl Board<'_> {
    /// The root ends, and offers that its end cancels the others.
    pub(super) fn end_root(&mut self, at: &'static Location<'static>) {
        let root = TaskletName::ROOT;
        self.offer_at(root, &[Branch::Join(root)], at);
        self.end(root);
    }

    /// Whether `event`, which was chosen, cancels all others.
    pub(super) fn is_ending(&self, event: &Event) -> bool {
        self.rules.endings && self.run.is_ending(event)
    }

    /// Whether those who wait for ever, though they are cancelled, may do so.
    pub(super) fn may_be_forced(&self) -> bool {
        self.run.is_ended() && !self.live.iter().any(|it| it.alive && !it.daemon)
    }

    /// The last event has ended what all others waited for; each publishes something or ends.
    pub(super) fn withdraw_all(&mut self) {
        let past = self.live[0].clock.clone();
        let last = self.run.events.len().checked_sub(1);
        for place in self.pending.iter_mut().filter_map(Option::take) {
            let record = &mut self.run.slots[place];
            record.consumed = last;
            self.asked.remove(&record.branches);
        }
        // It concerns everybody, so it is the same time for all.
        let time = self.live.iter().map(|it| it.time).max().unwrap_or(0);
        self.live[0].time = time;
        for live in self.live.iter_mut().filter(|it| it.alive) {
            live.time = time;
            live.trace = mix(live.trace, ENDING);
            live.view = mix(live.view, ENDING);
            if !self.light {
                live.clock.join(&past);
            }
        }
        self.stale = true;
    }
}

/// Looks at how the others take it that the root has ended; `verdict` found no failure so far.
pub(super) fn look(
    system: &dyn System,
    seed: u64,
    settings: &Settings,
    endless: bool,
    verdict: &mut Verdict,
) {
    let (found, seen) = draw(system, seed, settings);
    verdict.failures.extend(found.failures);
    verdict.endings = found.executions;
    verdict.refused |= found.refused;
    if verdict.failures.is_empty() {
        verdict.failures.extend(isolation::livelock(system, settings, &seen.cuts, endless));
    }
}

/// Draws schedules in all ways by turns, until some in a row show nothing new.
fn draw(system: &dyn System, seed: u64, settings: &Settings) -> (Verdict, Seen) {
    let mut settings = *settings;
    settings.rules.endings = true;
    settings.executions_max = (settings.executions_max / SHARE).clamp(1, RUNS_MAX);
    let (mut names, mut verdict) = (Names::new(), Verdict::default());
    let (mut drawing, mut seen) = (Drawing::new(Plan { mode: None, seed }), Seen::default());
    loop {
        let (traces, next) = (verdict.traces, drawing.next + ROUND);
        let all = (&mut names, &mut verdict);
        let look = &mut |run: &Run, names: &Names| seen.note(run, names);
        let more = drawing.go_on(next, (system, &settings), all, look);
        if !more || verdict.traces == traces {
            return (verdict, seen);
        }
    }
}
