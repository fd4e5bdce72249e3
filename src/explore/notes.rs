//! What a program tells the board beside its offers, source lines, names, panics, refusals, and how
//! its run has ended.
//!
//! Always: none of it decides what may happen; a refusal ends the run.

use super::board::Board;
use super::details::{Details, HolderDetails};
use super::event::{Branch, ChannelName, Side, TaskletName, mix};
use super::run::Outcome;
use smallvec::SmallVec;
use std::panic::Location;

/// Generations that a program may have. A name is as long as the line of descent, so all names
/// together grow with its square; who spawns deeper does it without end, as a rule.
const DEPTH_MAX: usize = 1_000;
const TOO_DEEP: &str = "spawning more than 1,000 deep, each tasklet by the one before";

/// Something that is explored in one way only.
pub(super) struct Doubt {
    tasklet: TaskletName,
    what: String,
    /// How many panics there were before.
    panics: usize,
}

impl Board<'_> {
    /// As [`offer`](Self::offer), and says where in the source the operation is.
    pub(super) fn offer_at(
        &mut self,
        tasklet: TaskletName,
        branches: &[Branch],
        at: &'static Location<'static>,
    ) {
        self.publish_at(tasklet, SmallVec::from_slice(branches), Vec::new(), at);
    }

    /// As [`publish`](Self::publish), and says where in the source the operation is.
    #[inline(always)]
    pub(super) fn publish_at(
        &mut self,
        tasklet: TaskletName,
        branches: SmallVec<[Branch; 2]>,
        digests: Vec<Option<u64>>,
        at: &'static Location<'static>,
    ) {
        self.publish(tasklet, branches, digests);
        self.run.places.push(at);
    }

    /// `tasklet` did something that cannot be explored.
    pub fn refuse(&mut self, tasklet: TaskletName, what: &str, at: &Location<'_>) {
        if self.refused.is_none() {
            self.refused = Some((tasklet, format!("{what}, at {at}")));
        }
    }

    /// `tasklet` was spawned, which cannot be explored if it was too deep.
    pub(super) fn check_depth(&mut self, tasklet: TaskletName, at: &Location<'_>) {
        if self.names.path(tasklet).len() > DEPTH_MAX {
            self.refuse(tasklet, TOO_DEEP, at);
        }
    }

    /// `tasklet` did something that is explored in one way only; that counts unless the run fails
    /// by a panic from before.
    pub(super) fn doubt(&mut self, tasklet: TaskletName, at: &Location<'_>) {
        if self.doubted.is_none() {
            let what = format!("an operation while the tasklet unwinds, at {at}");
            self.doubted = Some(Doubt { tasklet, what, panics: self.run.panics.len() });
        }
    }

    /// `tasklet` has seen something that `digest` tells apart from others.
    pub fn observe(&mut self, tasklet: TaskletName, digest: u64) {
        let live = self.live(tasklet);
        live.observed = mix(live.observed, digest);
        live.view = mix(live.view, digest);
    }

    /// `tasklet` panicked, and [`end`](Self::end) follows.
    pub fn panicked(&mut self, tasklet: TaskletName, message: impl Into<String>) {
        let better = |it: &(TaskletName, String)| {
            !self.panicked_before_doubt(it.0) && self.panicked_before_doubt(tasklet)
        };
        if self.panic.as_ref().is_none_or(better) {
            self.panic = Some((tasklet, message.into()));
        }
    }

    /// Whether `tasklet` panicked before anything was explored in one way only: what comes after
    /// that may be its consequence.
    fn panicked_before_doubt(&self, tasklet: TaskletName) -> bool {
        let Some(doubt) = &self.doubted else { return true };
        self.run.panics[..doubt.panics].iter().any(|it| it.0 == tasklet)
    }

    /// `tasklet` panics just now.
    pub(super) fn panicking(&mut self, tasklet: TaskletName) {
        let past = self.past(tasklet);
        self.run.panics.push((tasklet, past));
    }

    /// Whether a report is to be made.
    pub(super) fn wants_details(&self) -> bool {
        self.rules.details
    }

    /// Adds names and places to the record.
    pub(super) fn describe(&mut self, details: Details) {
        self.run.details = Some(Box::new(details));
    }

    /// Who had handles of that end when the run was over; no handle is known of others.
    pub(super) fn held_by(
        &mut self,
        channel: ChannelName,
        side: Side,
        mut holders: Vec<HolderDetails>,
    ) {
        let details = self.run.details.as_mut();
        let Some(known) = details.and_then(|it| it.channels.get_mut(&channel)) else { return };
        let before = match side {
            Side::Sender => &mut known.senders,
            Side::Receiver => &mut known.receivers,
        };
        if holders.len() < before.len() {
            holders.extend(before.iter().filter(|it| it.used)); // some were not dropped
        }
        *before = holders;
    }

    /// How the run has ended, when nothing can happen any more.
    pub(super) fn outcome(&self) -> Outcome {
        if let Some((tasklet, what)) = &self.refused {
            return Outcome::Refused(*tasklet, what.clone());
        }
        if let Some(stopped) = &self.stopped {
            return stopped.clone();
        }
        if let Some((tasklet, message)) = &self.panic
            && self.panicked_before_doubt(*tasklet)
        {
            return Outcome::Panicked(*tasklet, message.clone());
        }
        if let Some(Doubt { tasklet, what, .. }) = &self.doubted {
            return Outcome::Refused(*tasklet, what.clone());
        }
        if self.live[0].alive && !self.live[0].daemon {
            return Outcome::Deadlock;
        }
        if self.live.iter().any(|it| it.alive && !it.daemon) {
            return Outcome::LeftBehind;
        }
        Outcome::Finished
    }
}
