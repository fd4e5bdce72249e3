//! What a failing run looks like on paper: what happened, who waits for whom, why, and how to see
//! it again.
//!
//! Always: it is made from a run that fails in the reported way, after everything that this
//! failure does not need was taken away.

use super::chart::{Chart, brief, short};
use super::details::Details;
use super::event::{Branch, ChannelName, Event, Kind, Names, Side, Slot, TaskletName};
use super::replay::{Overrides, first_difference};
use super::run::{Outcome, Run, SlotRecord};
use super::steady;
use std::fmt;

/// A failure of an explored program, shrunk and explained.
///
/// [`Display`](fmt::Display) writes all of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The name of the program, as in the replay string.
    pub program: String,
    /// How the run ended, in words.
    pub outcome: String,
    /// The events, as a sequence chart in text.
    pub chart: String,
    /// The same chart, in the language of Mermaid.
    pub mermaid: String,
    /// Who waits at the end, one line each: for what, where, and who could help.
    pub waiting: Vec<String>,
    /// Tasklets that wait for each other in a circle, by their paths; empty if there is none.
    pub cycle: Vec<String>,
    /// What differs from the nearest run that does not fail like this.
    pub why: String,
    /// What differs from the default schedule; without any of it the program does not fail so.
    pub overrides: Overrides,
    /// How many events happened.
    pub events: usize,
    /// What [`replay`](super::replay()) and the environment variable `TASKLETS_REPLAY` accept.
    pub replay: String,
    /// What the search found, in one line.
    pub search: String,
}

/// What a report is made from.
pub(super) struct Evidence<'a> {
    pub(super) program: &'a str,
    pub(super) run: &'a Run,
    pub(super) names: &'a Names,
    pub(super) passing: Option<&'a Run>,
    pub(super) overrides: Overrides,
    pub(super) search: String,
}

impl Report {
    pub(super) fn new(evidence: Evidence<'_>) -> Report {
        let Evidence { program, run, names, passing, overrides, search } = evidence;
        let empty = Details::default();
        let details = run.details.as_deref().unwrap_or(&empty);
        let told = Told { run, names, details };
        let chart = Chart::new(run, names, details, |event| told.matters(event));
        Report {
            program: program.into(),
            outcome: told.outcome(),
            chart: chart.text(),
            mermaid: chart.mermaid(),
            waiting: told.waiting(),
            cycle: told.cycle(),
            why: told.why(passing, &overrides),
            events: run.events.len(),
            replay: overrides.text(program),
            overrides,
            search,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.program, self.outcome)?;
        write!(f, "what happened:\n{}", self.chart)?;
        if !self.waiting.is_empty() {
            writeln!(f, "who waits:")?;
            self.waiting.iter().try_for_each(|it| writeln!(f, "  {it}"))?;
        }
        if !self.cycle.is_empty() {
            let back = self.cycle.first().into_iter();
            let round: Vec<_> = self.cycle.iter().chain(back).map(String::as_str).collect();
            writeln!(f, "  in a circle: {}", round.join(" -> "))?;
        }
        writeln!(f, "why: {}", self.why)?;
        writeln!(f, "search: {}", self.search)?;
        write!(f, "replay: TASKLETS_REPLAY='{}'", self.replay)
    }
}

/// A run, and the words for what is in it.
struct Told<'a> {
    run: &'a Run,
    names: &'a Names,
    details: &'a Details,
}

impl Told<'_> {
    fn who(&self, tasklet: TaskletName) -> String {
        self.details.tasklet(tasklet, self.names)
    }

    fn outcome(&self) -> String {
        match &self.run.outcome {
            Outcome::Panicked(who, what) => format!("{} panicked: {what}", self.who(*who)),
            Outcome::LeftBehind if self.run.is_ended() => String::from(
                "the root has ended, which has cancelled the others, and some wait for ever",
            ),
            Outcome::LeftBehind => String::from("the root has ended, others wait for ever"),
            Outcome::Deadlock => String::from("deadlock: the root waits for ever"),
            other => other.text(self.names),
        }
    }

    /// Whether an event is in the past of what failed.
    fn matters(&self, event: &Event) -> bool {
        let Outcome::Panicked(who, _) = &self.run.outcome else { return true };
        let panic = self.run.panics.iter().find(|it| it.0 == *who);
        panic.is_none_or(|(_, past)| event.offers().any(|it| past.has(it.slot)))
    }

    /// The slots that nothing completed.
    fn open(&self) -> impl Iterator<Item = &SlotRecord> {
        self.run.slots.iter().filter(|it| it.consumed.is_none())
    }

    fn waiting(&self) -> Vec<String> {
        if !matches!(self.run.outcome, Outcome::Deadlock | Outcome::LeftBehind) {
            return Vec::new();
        }
        let line = |slot: &SlotRecord| {
            let at = self.run.place(slot.slot).map(|it| format!(", at {}", short(it)));
            let ways: Vec<_> = slot.branches.iter().map(|it| self.way(*it)).collect();
            let (tasklet, at) = (slot.slot.tasklet, at.unwrap_or_default());
            let spawned = self.details.tasklets.get(&tasklet).map(|it| short(it.spawned_at));
            let spawned = spawned.map(|it| format!(" (spawned at {it})")).unwrap_or_default();
            format!("{}{spawned}{at}: {}", self.who(tasklet), ways.join(", or "))
        };
        let mut open: Vec<_> = self.open().collect();
        open.sort_by(|one, other| self.names.compare(one.slot.tasklet, other.slot.tasklet));
        open.into_iter().map(line).collect()
    }

    /// What a branch waits for, and who could help.
    fn way(&self, branch: Branch) -> String {
        match branch {
            Branch::Send(channel) => self.on(channel, "send on", Side::Receiver),
            Branch::Receive(channel) => self.on(channel, "receive from", Side::Sender),
            Branch::Join(other) => format!("for {} to end", self.who(other)),
            Branch::Cancel(other) => format!("stop {}", self.who(other)),
            Branch::Timer(_) | Branch::Limit(_) => String::from("for a time"),
            Branch::Default => String::from("go on"),
        }
    }

    fn on(&self, channel: ChannelName, verb: &str, other: Side) -> String {
        let name = self.details.channel(channel, self.names);
        let Some(known) = self.details.channels.get(&channel) else {
            return format!("{verb} {name}");
        };
        let (end, holders) = match other {
            Side::Sender => ("sending", &known.senders),
            Side::Receiver => ("receiving", &known.receivers),
        };
        let made = short(known.made_at);
        let mut texts: Vec<_> = holders
            .iter()
            .map(|it| {
                let who = self.who(it.tasklet);
                if it.used { who } else { format!("whomever {who} gave it to") }
            })
            .collect();
        texts.sort();
        texts.dedup();
        format!("{verb} {name} made at {made}; its {end} end is held by {}", texts.join(", "))
    }

    /// Whom a waiting tasklet waits for, as far as is known.
    fn helpers(&self, slot: &SlotRecord) -> Vec<TaskletName> {
        let of = |channel: &ChannelName, side| {
            let known = self.details.channels.get(channel);
            let all =
                known.map(|it| if side == Side::Sender { &it.senders } else { &it.receivers });
            all.into_iter().flatten().filter(|it| it.used).map(|it| it.tasklet)
        };
        let mut helpers = Vec::new();
        for branch in &slot.branches {
            match branch {
                Branch::Send(channel) => {
                    helpers.extend(of(channel, Side::Receiver));
                }
                Branch::Receive(channel) => {
                    helpers.extend(of(channel, Side::Sender));
                }
                Branch::Join(other) | Branch::Cancel(other) => helpers.push(*other),
                Branch::Timer(_) | Branch::Limit(_) | Branch::Default => {}
            }
        }
        helpers.retain(|it| *it != slot.slot.tasklet);
        helpers
    }

    /// A circle of tasklets each of which waits for the next, if there is one.
    fn cycle(&self) -> Vec<String> {
        if !matches!(self.run.outcome, Outcome::Deadlock | Outcome::LeftBehind) {
            return Vec::new();
        }
        for start in self.open() {
            let mut path = vec![start.slot.tasklet];
            while let Some(slot) = self.open().find(|it| Some(&it.slot.tasklet) == path.last()) {
                let waits = |it: &TaskletName| self.open().any(|slot| slot.slot.tasklet == *it);
                let Some(next) = self.helpers(slot).into_iter().find(waits) else { break };
                if let Some(from) = path.iter().position(|it| *it == next) {
                    return path[from..].iter().map(|it| self.who(*it)).collect();
                }
                path.push(next);
            }
        }
        Vec::new()
    }

    fn why(&self, passing: Option<&Run>, overrides: &Overrides) -> String {
        if let Outcome::NotDeterministic(..) = self.run.outcome {
            return steady::CAUSES.into();
        }
        let count = overrides.len();
        if count == 0 {
            return String::from("it fails under the default schedule");
        }
        let count = format!("{count} override{} of the default", if count == 1 { "" } else { "s" });
        let Some(passing) = passing else { return count };
        match first_difference(self.run, passing) {
            Some((event, Some(other))) => {
                let (is, would) = (self.completion(&event), self.completion(&other));
                format!("{is}; it does not fail so if {would} instead ({count})")
            }
            Some((event, None)) => {
                format!("{}; without that it does not fail so ({count})", self.completion(&event))
            }
            None => count,
        }
    }

    /// A slot in words.
    fn operation(&self, slot: Slot) -> String {
        let place = self.run.place(slot).map(|it| format!(" at {}", brief(it)));
        let place = place.unwrap_or_default();
        format!("{} (operation {}{place})", self.who(slot.tasklet), slot.nth)
    }

    /// What an event is for the slot that it is told of.
    fn completion(&self, event: &Event) -> String {
        let slot = event.second.unwrap_or(event.first).slot;
        let (subject, peer) = (self.operation(slot), self.operation(event.first.slot));
        match event.kind {
            _ if self.run.is_ending(event) => {
                format!("the end of {} cancels all others", self.who(slot.tasklet))
            }
            Kind::Meeting => format!("{subject} receives from {peer}"),
            Kind::Cancelled => format!("{subject} is stopped by {peer}"),
            Kind::Closed => format!("{subject} finds its channel closed"),
            Kind::Default => format!("{subject} finds nothing else"),
            Kind::Timer => format!("{subject} times out"),
            Kind::Ended => format!("{subject} finds its tasklet ended"),
        }
    }
}
