//! One schedule drawn at random, and what is learnt from schedules for later ones.
//!
//! Always: the mode, the seed and what is known decide a schedule, however tasklets are numbered
//! in this session; so threads with sessions of their own draw the same.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::kernel::choice::Choices;

use super::event::{Branch, ChannelName, Event, Kind, Names, Slot, TaskletName};
use super::random::Mode;
use super::run::{Run, SlotRecord};
use super::system::Enabled;

/// What is learnt from earlier runs of the same search; tasklets and channels by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// How many slots each tasklet had at most.
    slots: BTreeMap<u64, usize>,
    /// How many slots of each tasklet used each channel, at most: channel, tasklet.
    uses: BTreeMap<(u64, u64), usize>,
    /// How many slots the longest run had.
    longest: usize,
}

impl Known {
    /// Adds what `run` shows; the order of runs makes no difference.
    pub(super) fn learn(&mut self, run: &Run, names: &Names) {
        self.longest = self.longest.max(run.slots.len());
        let mut uses = BTreeMap::new();
        for record in &run.slots {
            let tasklet = names.print_of(record.slot.tasklet);
            let most = self.slots.entry(tasklet).or_default();
            *most = (*most).max(record.slot.nth as usize + 1);
            channels(record).for_each(|it| {
                *uses.entry((names.print_of_channel(it), tasklet)).or_default() += 1;
            });
        }
        self.add_uses(uses);
    }

    /// Adds what others have learnt.
    pub(super) fn join(&mut self, other: &Known) {
        self.longest = self.longest.max(other.longest);
        for (tasklet, count) in &other.slots {
            let most = self.slots.entry(*tasklet).or_default();
            *most = (*most).max(*count);
        }
        self.add_uses(other.uses.clone());
    }

    fn add_uses(&mut self, uses: BTreeMap<(u64, u64), usize>) {
        for (key, count) in uses {
            let most = self.uses.entry(key).or_default();
            *most = (*most).max(count);
        }
    }
}

/// The channels that a slot uses, each once.
fn channels(record: &SlotRecord) -> impl Iterator<Item = ChannelName> + '_ {
    let of = |it: &Branch| match it {
        Branch::Send(channel) | Branch::Receive(channel) => Some(*channel),
        Branch::Default | Branch::Timer(_) | Branch::Join(_) | Branch::Cancel(_) => None,
    };
    let all = record.branches.iter().enumerate().filter_map(move |(nth, it)| Some((nth, of(it)?)));
    let before = move |nth: usize| record.branches[..nth].iter().filter_map(of);
    all.filter(move |(nth, it)| before(*nth).all(|other| other != *it)).map(|it| it.1)
}

/// Draws schedules, one after the other; the memory stays.
pub(super) struct Draw<'a> {
    mode: Mode,
    random: Choices,
    known: &'a Known,
    /// Slots that came to their operation and wait there, in order of coming.
    arrived: Vec<Slot>,
    /// Slots that did not, in the order of spawn paths.
    held: Vec<Slot>,
    /// How often the tasklets do what weighs, in a whole run; indexed by tasklet.
    weights: Vec<usize>,
    /// How often they did; indexed by tasklet.
    done: Vec<usize>,
    /// Priorities of tasklets, 0 before they are drawn; more goes first.
    priorities: Vec<usize>,
    /// Priorities of the events that were possible at the last point.
    ranks: Vec<(Event, usize)>,
    /// At which arrivals the first becomes the last.
    changes: Vec<usize>,
    /// How many arrivals there were.
    arrivals: usize,
    /// The fingerprint of the channel whose operations weigh.
    channel: u64,
    /// Who does the next operation that weighs.
    intended: Option<TaskletName>,
    /// What a slot could do: branch, place of the peer among those who wait, place of the event.
    ways: Vec<(u16, usize, usize)>,
}

/// More than any number of tasklets or events that fit into memory. It decides what is drawn, so
/// where there are 64 bits it stays what it is.
const MANY: usize = 1 << if usize::BITS < 64 { 30 } else { 40 };

impl<'a> Draw<'a> {
    pub(super) fn new(known: &'a Known) -> Draw<'a> {
        Draw {
            mode: Mode::Default,
            random: Choices::Seeded(Cell::new(0)),
            known,
            arrived: Vec::new(),
            held: Vec::new(),
            weights: Vec::new(),
            done: Vec::new(),
            priorities: Vec::new(),
            ranks: Vec::new(),
            changes: Vec::new(),
            arrivals: 0,
            channel: 0,
            intended: None,
            ways: Vec::new(),
        }
    }

    /// Turns to another schedule.
    pub(super) fn start(&mut self, mode: Mode, seed: u64) {
        (self.mode, self.random) = (mode, Choices::Seeded(Cell::new(seed)));
        self.arrived.clear();
        self.weights.clear();
        self.done.clear();
        self.priorities.clear();
        self.ranks.clear();
        self.changes.clear();
        (self.arrivals, self.intended) = (0, None);
        if let Mode::Pct(depth) = mode {
            let (random, steps) = (&self.random, self.known.longest.max(2));
            self.changes.extend((1..depth.min(1_000)).map(|_| random.choose(steps)));
        }
        if mode == Mode::Selective && !self.known.uses.is_empty() {
            // A channel comes up as often as tasklets use it.
            let nth = self.random.choose(self.known.uses.len());
            self.channel = self.known.uses.keys().nth(nth).map_or(0, |it| it.0);
        }
    }

    /// The place of the next event.
    pub(super) fn choose(&mut self, enabled: &Enabled<'_>) -> usize {
        match self.mode {
            Mode::Default => 0,
            Mode::Pairs => self.random.choose(enabled.events.len()),
            Mode::Pos => self.highest(enabled.events),
            Mode::Walk | Mode::Weighted | Mode::Selective | Mode::Pct(_) => {
                self.next_arrival(enabled)
            }
        }
    }

    fn highest(&mut self, events: &[Event]) -> usize {
        self.ranks.retain(|it| events.contains(&it.0));
        for event in events {
            if !self.ranks.iter().any(|it| it.0 == *event) {
                self.ranks.push((*event, self.random.choose(MANY)));
            }
        }
        let Some(best) = self.ranks.iter().max_by_key(|it| it.1) else { return 0 };
        events.iter().position(|it| *it == best.0).unwrap_or(0)
    }

    /// Lets one tasklet after the other come to its operation, until one can go on there.
    ///
    /// So the order is that of a scheduler that runs one ready tasklet after the other, where
    /// those who wait are served first come first served.
    fn next_arrival(&mut self, enabled: &Enabled<'_>) -> usize {
        let pending = |slot: &Slot| enabled.run.slot(*slot).is_some_and(|it| it.consumed.is_none());
        self.arrived.retain(pending);
        self.held.clear();
        let waiting = enabled.waiting.iter().map(|it| enabled.run.slots[*it].slot);
        let arrived = &self.arrived;
        self.held.extend(waiting.filter(|it| !arrived.contains(it)));
        while !self.held.is_empty() {
            let nth = self.pick(enabled);
            let slot = self.held.remove(nth);
            self.arrivals += 1;
            self.note(slot, enabled);
            if let Some(place) = self.tries(slot, enabled.events) {
                return place;
            }
            self.arrived.push(slot);
        }
        // Only timers are left, or meetings of slots that wait since an earlier time.
        self.random.choose(enabled.events.len())
    }

    /// Which of those that are held comes next.
    fn pick(&mut self, enabled: &Enabled<'_>) -> usize {
        match self.mode {
            Mode::Weighted => self.heaviest(enabled, |_, _| true),
            Mode::Selective => self.intended(enabled),
            Mode::Pct(_) => {
                self.give_priorities();
                if self.changes.contains(&self.arrivals) {
                    let tasklet = self.held[self.first()].tasklet;
                    self.priorities[tasklet.index()] = MANY - self.arrivals;
                }
                self.first()
            }
            Mode::Default | Mode::Pairs | Mode::Walk | Mode::Pos => {
                self.random.choose(self.held.len())
            }
        }
    }

    fn give_priorities(&mut self) {
        for slot in &self.held {
            let index = slot.tasklet.index();
            if self.priorities.len() <= index {
                self.priorities.resize(index + 1, 0);
            }
            if self.priorities[index] == 0 {
                self.priorities[index] = MANY + self.random.choose(MANY);
            }
        }
    }

    /// The one with the highest priority.
    fn first(&self) -> usize {
        let priority = |it: &usize| self.priorities[self.held[*it].tasklet.index()];
        (0..self.held.len()).max_by_key(priority).unwrap_or(0)
    }

    /// One of those that `counts`, each as likely as it has operations left that weigh.
    fn heaviest(
        &mut self,
        enabled: &Enabled<'_>,
        counts: impl Fn(&Self, TaskletName) -> bool,
    ) -> usize {
        let tasklets = enabled.names.tasklets();
        for index in self.weights.len()..tasklets {
            let print = enabled.names.print_of(TaskletName(index as u32));
            let known = match self.mode {
                Mode::Selective => self.known.uses.get(&(self.channel, print)),
                _ => self.known.slots.get(&print),
            };
            self.weights.push(known.copied().unwrap_or(0));
        }
        self.done.resize(tasklets, 0);
        let left = |own: &Self, slot: &Slot| {
            let index = slot.tasklet.index();
            let left = own.weights[index].saturating_sub(own.done[index]).max(1);
            if counts(own, slot.tasklet) { left } else { 0 }
        };
        let all: usize = self.held.iter().map(|it| left(self, it)).sum();
        let mut rest = self.random.choose(all.max(1));
        let found = self.held.iter().position(|it| {
            let mine = left(self, it);
            let found = rest < mine;
            rest = rest.saturating_sub(mine);
            found
        });
        found.unwrap_or(0)
    }

    /// Any of those who do nothing that weighs, or the one that does so next; that one is drawn by
    /// weight.
    fn intended(&mut self, enabled: &Enabled<'_>) -> usize {
        let weighs = |own: &Self, slot: Slot| {
            let record = enabled.run.slot(slot);
            let print = |it| enabled.names.print_of_channel(it) == own.channel;
            record.is_some_and(|it| channels(it).any(print))
        };
        let held = |own: &Self, who: TaskletName| own.held.iter().any(|it| it.tasklet == who);
        if !self.intended.is_some_and(|it| held(self, it)) {
            let slot = |own: &Self, who: TaskletName| {
                own.held.iter().find(|it| it.tasklet == who).is_some_and(|it| weighs(own, *it))
            };
            let any = self.held.iter().any(|it| weighs(self, *it));
            let nth = if any { Some(self.heaviest(enabled, slot)) } else { None };
            self.intended = nth.map(|it| self.held[it].tasklet);
        }
        let free = |own: &Self, it: &Slot| own.intended == Some(it.tasklet) || !weighs(own, *it);
        let count = self.held.iter().filter(|it| free(self, it)).count();
        let nth = self.random.choose(count.max(1));
        let found = self.held.iter().enumerate().filter(|it| free(self, it.1)).nth(nth);
        found.map_or(0, |it| it.0)
    }

    /// `slot` comes to its operation.
    fn note(&mut self, slot: Slot, enabled: &Enabled<'_>) {
        let index = slot.tasklet.index();
        match self.mode {
            Mode::Weighted => self.done[index] = slot.nth as usize + 1,
            Mode::Selective => {
                let record = enabled.run.slot(slot);
                let print = |it| enabled.names.print_of_channel(it) == self.channel;
                if record.is_some_and(|it| channels(it).any(print)) {
                    self.done.resize(self.done.len().max(index + 1), 0);
                    self.done[index] += 1;
                    self.intended = None;
                }
            }
            Mode::Default | Mode::Pairs | Mode::Walk | Mode::Pct(_) | Mode::Pos => {}
        }
    }

    /// What `slot` does when its tasklet comes to it: meets the first who waits, in any of its
    /// branches, or goes on alone; a default only if there is nothing else.
    fn tries(&mut self, slot: Slot, events: &[Event]) -> Option<usize> {
        self.ways.clear();
        let mut default = None;
        for (place, event) in events.iter().enumerate() {
            let (mine, peer) = match event.second {
                _ if event.first.slot == slot => (event.first, event.second),
                Some(second) if second.slot == slot => (second, Some(event.first)),
                _ => continue,
            };
            let rank = match (event.kind, peer) {
                (Kind::Default, _) => {
                    default = Some(place);
                    None
                }
                (Kind::Cancelled, _) => (event.first.slot == slot).then_some(0),
                (_, Some(peer)) => self.arrived.iter().position(|it| *it == peer.slot),
                (_, None) => Some(0),
            };
            self.ways.extend(rank.map(|it| (mine.branch, it, place)));
        }
        if self.ways.is_empty() {
            return default;
        }
        self.ways.sort_unstable();
        self.ways.dedup_by_key(|it| it.0);
        Some(self.ways[self.random.choose(self.ways.len())].2)
    }
}
