//! One schedule drawn at random, and what is learnt from schedules for later ones.
//!
//! Where one tasklet after the other comes to its operation no list of what may happen is made.
//!
//! Always: the mode, the seed and what is known decide a schedule, however tasklets are numbered
//! in this session; so threads with sessions of their own draw the same.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::kernel::choice::Choices;

use super::asked::wanted;
use super::event::{Branch, ChannelName, Event, Kind, Names, Side, TaskletName};
use super::listing::{Found, Waiting};
use super::random::Mode;
use super::run::{Run, SlotRecord};
use super::system::{Choice, Choose, Enabled};

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
        Branch::Default
        | Branch::Timer(_)
        | Branch::Limit(_)
        | Branch::Join(_)
        | Branch::Cancel(_) => None,
    };
    let all = record.branches.iter().enumerate().filter_map(move |(nth, it)| Some((nth, of(it)?)));
    let before = move |nth: usize| record.branches[..nth].iter().filter_map(of);
    all.filter(move |(nth, it)| before(*nth).all(|other| other != *it)).map(|it| it.1)
}

/// Who has come to an operation on a channel and waits there, at which end: lines in the order of
/// coming. Who has gone is still in them, up to when somebody looks.
#[derive(Default)]
struct Lines(Vec<[Line; 2]>);

/// One line: who came, and the branch that is meant.
#[derive(Default)]
struct Line {
    all: Vec<(Comer, u16)>,
    /// How many of the first ones have gone.
    gone: usize,
}

/// Who comes to an operation: the slot, as a place in the run's, and its tasklet.
#[derive(Clone, Copy)]
struct Comer {
    place: u32,
    tasklet: TaskletName,
}

impl Comer {
    /// Whether its slot waits.
    #[inline]
    fn is_pending(self, waiting: &Waiting<'_>) -> bool {
        waiting.pending[self.tasklet.index()] == Some(self.place())
    }

    fn place(self) -> usize {
        self.place as usize
    }
}

impl Lines {
    fn clear(&mut self) {
        for line in self.0.iter_mut().flatten() {
            line.all.clear();
            line.gone = 0;
        }
    }

    /// Adds who came to the lines of the branches of its slot.
    fn add(&mut self, comer: Comer, record: &SlotRecord) {
        for (nth, branch) in record.branches.iter().enumerate() {
            let Some((channel, side)) = wanted(*branch) else { continue };
            if self.0.len() <= channel.index() {
                self.0.resize_with(channel.index() + 1, Default::default);
            }
            self.0[channel.index()][1 - side as usize].all.push((comer, nth as u16));
        }
    }

    /// The first of those who wait at this end that `record` may meet, by its branch `mine`.
    #[inline(always)]
    fn first(
        &mut self,
        (channel, side): (ChannelName, Side),
        (record, mine): (&SlotRecord, usize),
        waiting: &Waiting<'_>,
    ) -> Option<Found> {
        let line = &mut self.0.get_mut(channel.index())?[side as usize];
        while !line.all.get(line.gone)?.0.is_pending(waiting) {
            line.gone += 1;
        }
        let slots = &waiting.run.slots;
        let waits = |it: &&(Comer, u16)| {
            it.0.is_pending(waiting) && !waiting.apart(record, &slots[it.0.place()])
        };
        let left = &line.all[line.gone..];
        // Who has nothing else to do meets the first.
        let (peer, theirs) =
            if record.branches.len() == 1 { left[0] } else { *left.iter().find(waits)? };
        Some(Found { kind: Kind::Meeting, mine: mine as u16, peer: Some(peer.place()), theirs })
    }
}

/// Draws schedules, one after the other; the memory stays.
pub(super) struct Draw<'a> {
    mode: Mode,
    random: Choices,
    known: &'a Known,
    /// Slots that came to their operation and wait there.
    arrived: Lines,
    /// Who did not come yet, in the order of spawn paths.
    held: Vec<Comer>,
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
    /// How many events there are while each was found here; then those who are held still wait.
    found: usize,
    /// The fingerprint of the channel whose operations weigh.
    channel: u64,
    /// Who does the next operation that weighs.
    intended: Option<TaskletName>,
    /// What a slot could do, with each of its branches.
    ways: Vec<Found>,
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
            arrived: Lines::default(),
            held: Vec::new(),
            weights: Vec::new(),
            done: Vec::new(),
            priorities: Vec::new(),
            ranks: Vec::new(),
            changes: Vec::new(),
            arrivals: 0,
            found: 0,
            channel: 0,
            intended: None,
            ways: Vec::new(),
        }
    }

    /// Turns to another schedule.
    pub(super) fn start(&mut self, mode: Mode, seed: u64) {
        (self.mode, self.random) = (mode, Choices::Seeded(Cell::new(seed)));
        self.arrived.clear();
        self.held.clear();
        self.weights.clear();
        self.done.clear();
        self.priorities.clear();
        self.ranks.clear();
        self.changes.clear();
        (self.arrivals, self.found, self.intended) = (0, 0, None);
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

    /// Adds those that have come since.
    fn hold(&mut self, fresh: Range<usize>, waiting: &Waiting<'_>) {
        if waiting.run.events.len() != self.found || waiting.rules.endings {
            self.held.retain(|it| it.is_pending(waiting));
        }
        for (place, record) in fresh.clone().zip(&waiting.run.slots[fresh]) {
            let comer = Comer { place: place as u32, tasklet: record.slot.tasklet };
            if !comer.is_pending(waiting) {
                continue;
            }
            let (rank, mut at) = (waiting.names.rank(comer.tasklet), self.held.len());
            self.held.push(comer);
            while at > 0 && waiting.names.rank(self.held[at - 1].tasklet) > rank {
                self.held.swap(at - 1, at);
                at -= 1;
            }
        }
    }

    /// Which of those that are held comes next.
    #[inline]
    fn pick(&mut self, waiting: &Waiting<'_>) -> usize {
        if self.mode == Mode::Walk {
            return self.random.choose(self.held.len());
        }
        self.pick_by_weight(waiting)
    }

    fn pick_by_weight(&mut self, waiting: &Waiting<'_>) -> usize {
        match self.mode {
            Mode::Weighted => self.heaviest(waiting, |_, _| true),
            Mode::Selective => self.intended(waiting),
            Mode::Pct(_) => {
                self.give_priorities();
                if self.changes.contains(&self.arrivals) {
                    let first = self.held[self.first()].tasklet;
                    self.priorities[first.index()] = MANY - self.arrivals;
                }
                self.first()
            }
            Mode::Default | Mode::Pairs | Mode::Walk | Mode::Pos => {
                self.random.choose(self.held.len())
            }
        }
    }

    fn give_priorities(&mut self) {
        for held in &self.held {
            let index = held.tasklet.index();
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
        waiting: &Waiting<'_>,
        counts: impl Fn(&Self, &SlotRecord) -> bool,
    ) -> usize {
        let tasklets = waiting.names.tasklets();
        for index in self.weights.len()..tasklets {
            let print = waiting.names.print_of(TaskletName(index as u32));
            let known = match self.mode {
                Mode::Selective => self.known.uses.get(&(self.channel, print)),
                _ => self.known.slots.get(&print),
            };
            self.weights.push(known.copied().unwrap_or(0));
        }
        self.done.resize(tasklets, 0);
        let left = |own: &Self, held: &Comer| {
            let index = held.tasklet.index();
            let left = own.weights[index].saturating_sub(own.done[index]).max(1);
            if counts(own, &waiting.run.slots[held.place()]) { left } else { 0 }
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

    /// Whether `record` uses the channel whose operations weigh.
    fn weighs(&self, record: &SlotRecord, names: &Names) -> bool {
        channels(record).any(|it| names.print_of_channel(it) == self.channel)
    }

    /// Any of those who do nothing that weighs, or the one that does so next; that one is drawn by
    /// weight.
    fn intended(&mut self, waiting: &Waiting<'_>) -> usize {
        let (slots, names) = (&waiting.run.slots, waiting.names);
        if !self.intended.is_some_and(|it| self.held.iter().any(|held| held.tasklet == it)) {
            let any = self.held.iter().any(|it| self.weighs(&slots[it.place()], names));
            let nth = any.then(|| self.heaviest(waiting, |own, it| own.weighs(it, names)));
            self.intended = nth.map(|it| self.held[it].tasklet);
        }
        let free = |own: &Self, it: &Comer| {
            own.intended == Some(it.tasklet) || !own.weighs(&slots[it.place()], names)
        };
        let count = self.held.iter().filter(|it| free(self, it)).count();
        let nth = self.random.choose(count.max(1));
        let found = self.held.iter().enumerate().filter(|it| free(self, it.1)).nth(nth);
        found.map_or(0, |it| it.0)
    }

    /// The slot at `place` comes to its operation.
    fn note(&mut self, record: &SlotRecord, names: &Names) {
        let index = record.slot.tasklet.index();
        match self.mode {
            Mode::Weighted => self.done[index] = record.slot.nth as usize + 1,
            Mode::Selective if self.weighs(record, names) => {
                self.done.resize(self.done.len().max(index + 1), 0);
                self.done[index] += 1;
                self.intended = None;
            }
            Mode::Selective
            | Mode::Default
            | Mode::Pairs
            | Mode::Walk
            | Mode::Pct(_)
            | Mode::Pos => {}
        }
    }

    /// What a slot of several branches does when its tasklet comes to it: meets the first who
    /// waits, in any of them, or goes on alone; a default only if there is nothing else.
    #[inline(never)]
    fn draws(&mut self, record: &SlotRecord, waiting: &Waiting<'_>) -> Option<Found> {
        self.ways.clear();
        for (mine, branch) in record.branches.iter().enumerate() {
            let way = self.way(record, (*branch, mine), waiting);
            self.ways.extend(way);
        }
        let is_default = |it: &Found| it.kind == Kind::Default;
        let default = self.ways.iter().rposition(is_default).map(|it| self.ways.remove(it));
        if self.ways.is_empty() {
            return default;
        }
        Some(self.ways[self.random.choose(self.ways.len())])
    }

    /// What a slot can do with `branch`, its number `mine`.
    #[inline(always)]
    fn way(
        &mut self,
        record: &SlotRecord,
        (branch, mine): (Branch, usize),
        waiting: &Waiting<'_>,
    ) -> Option<Found> {
        match wanted(branch) {
            Some((channel, side)) if waiting.run.is_closed(channel, side) => {
                let mine = mine as u16;
                Some(Found { kind: Kind::Closed, mine, peer: None, theirs: 0 })
            }
            Some(end) => self.arrived.first(end, (record, mine), waiting),
            None => {
                let alone = waiting.alone(record, mine);
                if alone.is_some() || !matches!(branch, Branch::Cancel(_)) {
                    return alone;
                }
                // Who is cancelled need not have come.
                waiting.places().find_map(|it| waiting.with(record, mine, (it, 0)))
            }
        }
    }
}

impl Choose for Draw<'_> {
    fn finds(&self) -> bool {
        match self.mode {
            Mode::Default | Mode::Pairs | Mode::Pos => false,
            Mode::Walk | Mode::Weighted | Mode::Selective | Mode::Pct(_) => true,
        }
    }

    /// Lets one tasklet after the other come to its operation, until one can go on there.
    ///
    /// So the order is that of a scheduler that runs one ready tasklet after the other, where
    /// those who wait are served first come first served.
    fn find(&mut self, waiting: &Waiting<'_>, fresh: Range<usize>) -> Option<Event> {
        self.hold(fresh, waiting);
        while !self.held.is_empty() {
            let nth = self.pick(waiting);
            (nth + 1..self.held.len()).for_each(|it| self.held.swap(it - 1, it));
            let Some(comer) = self.held.pop() else { break };
            let record = &waiting.run.slots[comer.place()];
            self.arrivals += 1;
            if self.mode != Mode::Walk {
                self.note(record, waiting.names);
            }
            let found = match record.branches[..] {
                [branch] => self.way(record, (branch, 0), waiting),
                _ => self.draws(record, waiting),
            };
            let Some(found) = found else {
                self.arrived.add(comer, record);
                continue;
            };
            if found.kind == Kind::Cancelled {
                self.held.retain(|it| found.peer != Some(it.place()));
            }
            self.found = waiting.run.events.len() + 1;
            return Some(waiting.event(record, found));
        }
        None
    }

    fn choose(&mut self, enabled: &Enabled<'_>) -> Choice {
        let nth = match self.mode {
            Mode::Default => 0,
            Mode::Pos => self.highest(enabled.events),
            Mode::Pairs => self.random.choose(enabled.events.len()),
            // Only timers are left, or meetings of slots that wait since an earlier time.
            Mode::Walk | Mode::Weighted | Mode::Selective | Mode::Pct(_) => {
                self.random.choose(enabled.events.len())
            }
        };
        Choice::Take(nth)
    }
}
