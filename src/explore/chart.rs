//! A run as a sequence chart, in text and for Mermaid.
//!
//! Always: a lane for each tasklet that takes part, in the order of spawn paths; one line for each
//! event, in the order in which they happened.

use super::details::Details;
use super::event::{Branch, Event, Kind, Names, TaskletName};
use super::run::Run;
use std::fmt::Write as _;
use std::panic::Location;

/// A chart is cut to so many events, the last ones.
const EVENTS_MAX: usize = 40;

/// With more lanes than this, events are listed instead.
const LANES_MAX: usize = 7;

/// The widest lane.
const LANE_MAX: usize = 24;

/// What is drawn.
pub(super) struct Chart<'a> {
    run: &'a Run,
    names: &'a Names,
    details: &'a Details,
    /// The places of the events that are shown.
    events: Vec<usize>,
    /// How many events before them are not.
    left_out: usize,
    lanes: Vec<TaskletName>,
}

impl<'a> Chart<'a> {
    /// The part of `run` that `shown` says.
    pub(super) fn new(
        run: &'a Run,
        names: &'a Names,
        details: &'a Details,
        shown: impl Fn(&Event) -> bool,
    ) -> Chart<'a> {
        let events = run.events.iter().enumerate();
        let events = events.filter(|(_, it)| !is_beginning(&it.event) && shown(&it.event));
        let mut events: Vec<usize> = events.map(|it| it.0).collect();
        let left_out = events.len().saturating_sub(EVENTS_MAX);
        events.drain(..left_out);
        let of = |it: &usize| run.events[*it].event.offers().map(|it| it.slot.tasklet);
        let mut lanes: Vec<TaskletName> = events.iter().flat_map(of).collect();
        lanes.sort_by(|one, other| names.compare(*one, *other));
        lanes.dedup();
        Chart { run, names, details, events, left_out, lanes }
    }

    /// What an event is about: a channel, or why it happened.
    fn label(&self, event: &Event) -> String {
        let branch = self.branch(event);
        match (event.kind, branch) {
            _ if self.run.is_ending(event) => String::from("its end cancels all"),
            (Kind::Meeting, Some(Branch::Send(channel))) => {
                self.details.channel(channel, self.names)
            }
            (Kind::Closed, Some(Branch::Send(channel) | Branch::Receive(channel))) => {
                format!("{} is closed", self.details.channel(channel, self.names))
            }
            (Kind::Timer, Some(Branch::Timer(at) | Branch::Limit(at))) => {
                format!("time {:?}", std::time::Duration::from_nanos(at))
            }
            (Kind::Ended, Some(Branch::Join(other) | Branch::Cancel(other))) => {
                format!("{} has ended", self.details.tasklet(other, self.names))
            }
            (Kind::Cancelled, _) => String::from("stops it"),
            (Kind::Default, _) => String::from("nothing else"),
            _ => String::from("?"),
        }
    }

    fn branch(&self, event: &Event) -> Option<Branch> {
        let slot = self.run.slot(event.first.slot)?;
        slot.branches.get(usize::from(event.first.branch)).copied()
    }

    fn places(&self, event: &Event) -> String {
        let places = event.offers().filter_map(|it| self.run.place(it.slot)).map(brief);
        places.collect::<Vec<_>>().join(" -> ")
    }

    /// The chart in text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if self.left_out > 0 {
            let _ = writeln!(text, "  ({} events before are left out)", self.left_out);
        }
        if self.events.is_empty() {
            text.push_str("  (nothing happened before)\n");
        } else if self.lanes.len() > LANES_MAX {
            self.list(&mut text);
        } else {
            self.draw(&mut text);
        }
        text
    }

    fn list(&self, text: &mut String) {
        for place in &self.events {
            let event = &self.run.events[*place].event;
            let who = event.offers().map(|it| self.details.tasklet(it.slot.tasklet, self.names));
            let who = who.collect::<Vec<_>>().join(" -> ");
            let (label, places) = (self.label(event), self.places(event));
            let _ = writeln!(text, "  {who}: {label}   {places}");
        }
    }

    fn draw(&self, text: &mut String) {
        let heads: Vec<_> =
            self.lanes.iter().map(|it| self.details.tasklet(*it, self.names)).collect();
        let labels = self.events.iter().map(|it| self.label(&self.run.events[*it].event));
        let labels: Vec<_> = labels.collect();
        let widest = heads.iter().chain(&labels).map(|it| it.chars().count()).max();
        let lane = widest.unwrap_or(0).clamp(8, LANE_MAX) + 4;
        let mut line = String::from("  ");
        for head in &heads {
            let head: String = head.chars().take(lane - 2).collect();
            let _ = write!(line, "{head:lane$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
        let (mut former, mut again) = (String::new(), 0);
        let mut say = |text: &mut String, line: String| {
            if line == former {
                again += 1;
                return;
            }
            if again > 0 {
                let _ = writeln!(text, "  (the same {again} times more)");
            }
            text.push_str(&line);
            (former, again) = (line, 0);
        };
        for (place, label) in self.events.iter().zip(&labels) {
            let event = &self.run.events[*place].event;
            let row = self.row(event, label, lane);
            say(text, format!("  {row}   {}\n", self.places(event)));
        }
        say(text, String::new());
    }

    /// One line: the lanes, and the arrow between two of them.
    fn row(&self, event: &Event, label: &str, lane: usize) -> String {
        let column = |it: TaskletName| self.lanes.iter().position(|lane| *lane == it).unwrap_or(0);
        let mut row = vec![' '; lane * self.lanes.len()];
        for index in 0..self.lanes.len() {
            row[index * lane + 1] = '|';
        }
        let from = column(event.first.slot.tasklet) * lane + 1;
        let Some(second) = event.second else {
            row[from] = 'o';
            let label = format!(" {label}");
            write_into(&mut row, from + 1, &label, lane - 2);
            return row.into_iter().collect();
        };
        let to = column(second.slot.tasklet) * lane + 1;
        let (low, high) = (from.min(to), from.max(to));
        row[low + 1..high].fill('-');
        row[if from < to { high - 1 } else { low + 1 }] = if from < to { '>' } else { '<' };
        write_into(&mut row, low + 3, label, lane - 5);
        row.into_iter().collect()
    }

    /// The chart in the language of Mermaid.
    pub(super) fn mermaid(&self) -> String {
        let mut text = String::from("sequenceDiagram\n");
        for (index, tasklet) in self.lanes.iter().enumerate() {
            let who = self.details.tasklet(*tasklet, self.names);
            let _ = writeln!(text, "    participant t{index} as {who}");
        }
        let lane = |it: TaskletName| self.lanes.iter().position(|lane| *lane == it).unwrap_or(0);
        for place in &self.events {
            let event = &self.run.events[*place].event;
            let (first, label) = (lane(event.first.slot.tasklet), self.label(event));
            let _ = match event.second {
                Some(second) => {
                    let second = lane(second.slot.tasklet);
                    writeln!(text, "    t{first}->>t{second}: {label}")
                }
                None => writeln!(text, "    Note over t{first}: {label}"),
            };
        }
        text
    }
}

/// Whether all that happens is that a tasklet begins, or gives way.
fn is_beginning(event: &Event) -> bool {
    event.kind == Kind::Default && event.first.slot.nth == 0
}

/// Writes as much of `text` as fits.
fn write_into(row: &mut [char], at: usize, text: &str, most: usize) {
    let cells = row.iter_mut().skip(at);
    cells.zip(text.chars().take(most)).for_each(|(cell, letter)| *cell = letter);
}

/// A source line without folders and column.
pub(super) fn brief(at: &Location<'_>) -> String {
    let text = short(at);
    text.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A source line without the column; of the standard library only that it is there.
pub(super) fn short(at: &Location<'_>) -> String {
    if at.file().starts_with("/rustc/") {
        return String::from("(inside std)");
    }
    format!("{}:{}", at.file(), at.line())
}
