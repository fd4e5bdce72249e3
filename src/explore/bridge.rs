//! One run of a real program: what its tasklets tell is reported to the board, and what the board
//! says is made to happen.
//!
//! Always: between two choices every tasklet that lives has one slot on the board; the chosen
//! event, and nothing else, happens before the next one. The first slot of a tasklet is that it
//! begins.
//! A tasklet here: `Unbegun -> Waiting <-> Going -> Over`, and `Going -> Held -> Going`.

mod holding;
mod remains;

use super::board::{BRANCHES_MAX, Board, TOO_MANY_BRANCHES};
use super::details::{ChannelDetails, Details};
use super::event::{Branch, ChannelName, Kind, Offer, Side, TaskletName};
use super::run::EventRecord;
use super::watchdog::{self, Pulse};
use crate::kernel::control::{Announced, News, Told, Way};
use crate::kernel::name::TaskletId;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Task, flag};
use crate::kernel::trace::{ChannelId, Direction};
use crate::kernel::wait::{self, Wait};
use crate::runtime::Decide;
use smallvec::SmallVec;
use std::mem::forget;
use std::panic::Location;
use std::rc::Rc;

/// What a tasklet waits for.
enum Pending {
    /// To begin.
    Unbegun,
    /// For its operation to be decided.
    Waiting,
    /// For a partner that it has met, and that has done something else since.
    Held(Hold),
    /// Nothing: it is about to announce something, or its partner lets it go within this step.
    Nothing,
    /// Nothing any more.
    Over,
}

/// Waiting for a partner is waiting for the end of a channel that only the partner can send on.
struct Hold {
    until: ChannelName,
    /// Set when the partner has let it go: under which wait, and whether the operation is done.
    freed: Option<(Wait, bool)>,
}

/// A tasklet of the present run.
struct Seat {
    task: Rc<Task>,
    name: TaskletName,
    /// Its spawn path: see [`watchdog::pack`].
    packed: u64,
    pending: Pending,
    /// Whether its operation goes on at once if nobody is there.
    never_waits: bool,
}

/// A channel of the present run.
struct Known {
    id: ChannelId,
    name: ChannelName,
    /// Whether all its values are the same.
    unit: bool,
}

/// One run.
pub(super) struct Bridge<'a, 'b> {
    pub(super) board: &'a mut Board<'b>,
    pulse: &'a Pulse,
    /// Indexed by the ids of tasklets.
    seats: Vec<Seat>,
    /// The ids of tasklets, indexed by their names.
    ids: Vec<usize>,
    /// In the order in which they were made.
    channels: Vec<Known>,
    /// Names and places, if a report is to be made.
    details: Details,
    /// Memory, empty between two reports.
    told: Option<Box<Told>>,
    /// How many live, and how many of them have a slot on the board.
    living: usize,
    pending: usize,
    /// To whom something was done that ends its operation, or not.
    touched: Option<usize>,
    /// Whether shields no longer count, because the root has ended and nothing else can happen.
    forced: bool,
}

/// What a run needs memory for; it is used again by the next one.
#[derive(Default)]
pub(super) struct Memory {
    seats: Vec<Seat>,
    ids: Vec<usize>,
    channels: Vec<Known>,
    told: Option<Box<Told>>,
}

impl<'a, 'b> Bridge<'a, 'b> {
    pub(super) fn new(
        board: &'a mut Board<'b>,
        pulse: &'a Pulse,
        memory: Memory,
    ) -> Bridge<'a, 'b> {
        let Memory { seats, ids, channels, told } = memory;
        Bridge {
            board,
            pulse,
            seats,
            ids,
            channels,
            details: Details::default(),
            told,
            living: 0,
            pending: 0,
            touched: None,
            forced: false,
        }
    }

    /// Ends, and gives its memory back.
    pub(super) fn rest(self) -> Memory {
        let Bridge { mut seats, mut ids, mut channels, told, .. } = self;
        seats.clear();
        ids.clear();
        channels.clear();
        Memory { seats, ids, channels, told }
    }

    fn name(&self, tasklet: TaskletId) -> TaskletName {
        self.seats.get(tasklet.0 as usize).map_or(TaskletName::ROOT, |it| it.name)
    }

    /// Who did something: the root, if no tasklet did.
    pub(super) fn doer(&self, tasklet: Option<TaskletId>) -> TaskletName {
        tasklet.map_or(TaskletName::ROOT, |it| self.name(it))
    }

    fn channel(&self, channel: ChannelId) -> Option<ChannelName> {
        self.known(channel).map(|it| it.name)
    }

    #[inline]
    fn known(&self, channel: ChannelId) -> Option<&Known> {
        // Most often nobody else in the process makes any meanwhile, so that ids have no gaps.
        let guess = channel.0.wrapping_sub(self.channels.first()?.id.0);
        let guessed = self.channels.get(usize::try_from(guess).ok()?);
        guessed.filter(|it| it.id == channel).or_else(|| {
            let place = self.channels.binary_search_by_key(&channel, |it| it.id).ok()?;
            self.channels.get(place)
        })
    }

    /// Reports what the tasklets did, in order.
    fn report(&mut self, scheduler: &Scheduler) {
        let Some(control) = &scheduler.home.control else { return };
        let mut told = control.take(self.told.take().unwrap_or_default());
        let Told { news, announced, ways } = &mut *told;
        let (all, mut ways) = (news.len(), &ways[..]);
        for announced in &*announced {
            while all - news.len() < announced.news as usize
                && let Some(news) = news.pop_front()
            {
                self.report_one(scheduler, news);
            }
            self.announced(announced, &mut ways);
        }
        while let Some(news) = news.pop_front() {
            self.report_one(scheduler, news);
        }
        told.announced.clear();
        told.ways.clear();
        self.told = Some(told);
    }

    #[inline(never)]
    fn report_one(&mut self, scheduler: &Scheduler, news: News) {
        match news {
            News::Spawned { parent, child } => self.spawned(scheduler, parent, child),
            News::Made { maker, channel, unit, at } => {
                let name = self.board.channel(self.name(maker));
                self.channels.push(Known { id: channel, name, unit });
                if self.board.wants_details() {
                    let (senders, receivers) = (Vec::new(), Vec::new());
                    let made = ChannelDetails { name: None, made_at: at, senders, receivers };
                    self.details.channels.insert(name, made);
                }
            }
            News::Dropped { by, channel, end, last, name } => {
                let side = match end {
                    Direction::Send => Side::Sender,
                    Direction::Receive => Side::Receiver,
                };
                if let Some(channel) = self.channel(channel) {
                    self.board.drop_end(self.doer(by), channel, side, last);
                    if let (Some(name), true) = (name, self.board.wants_details()) {
                        self.details.name_channel(channel, &name);
                    }
                }
            }
            News::Freed { by, wait, done } => self.freed(by, wait, done),
            News::Ended { tasklet } => {
                self.living -= 1;
                self.went_on(tasklet);
                let seat = &mut self.seats[tasklet.0 as usize];
                seat.pending = Pending::Over;
                match seat.name {
                    TaskletName::ROOT if self.board.rules.endings => {
                        self.board.end_root(seat.task.who.spawned_at);
                    }
                    name => self.board.end(name),
                }
            }
            News::Doubted { by, at } => self.board.doubt(self.name(by), at),
            News::Panicking { by } => self.board.panicking(self.name(by)),
            News::Observed { by, digest } => self.board.observe(self.name(by), digest),
            News::Refused { by, what, at } => self.board.refuse(self.doer(by), what, at),
        }
    }

    fn spawned(&mut self, scheduler: &Scheduler, parent: Option<TaskletId>, task: Rc<Task>) {
        let root = self.seats.is_empty();
        let name = match parent {
            None if root => TaskletName::ROOT,
            _ => self.board.spawn(self.doer(parent)),
        };
        let at = task.who.spawned_at;
        if parent.is_none() && !root {
            self.board.refuse(name, "spawning where no tasklet runs", at);
        }
        self.board.check_depth(name, at);
        if task.has(flag::DAEMON) {
            self.board.daemon(name);
        }
        let id = self.seats.len();
        debug_assert_eq!(id as u64, task.id().0, "tasklets are told of in the order of their ids");
        if self.ids.len() <= name.index() {
            self.ids.resize(name.index() + 1, usize::MAX);
        }
        self.ids[name.index()] = id;
        self.living += 1;
        let packed = watchdog::pack(self.board.names().path(name));
        let seat = Seat { task, name, packed, pending: Pending::Nothing, never_waits: true };
        self.seats.push(seat);
        if root {
            scheduler.begin(self.seats[id].task.clone());
        } else {
            self.unbegun(id, at);
        }
    }

    /// Offers that a tasklet begins.
    fn unbegun(&mut self, id: usize, at: &'static Location<'static>) {
        self.seats[id].pending = Pending::Unbegun;
        self.pending += 1;
        self.board.offer_at(self.seats[id].name, &[Branch::Default], at);
    }

    /// A tasklet waits for one of the first of `left`, which are taken from there.
    fn announced(&mut self, announced: &Announced, left: &mut &[Way]) {
        let Announced { by, only, ways, at, .. } = *announced;
        self.went_on(by);
        let seat = &mut self.seats[by.0 as usize];
        seat.never_waits = only == Some(Way::Default);
        match std::mem::replace(&mut seat.pending, Pending::Waiting) {
            Pending::Held(hold) => drop(hold),
            other => forget(other), // nothing to drop
        }
        let name = seat.name;
        self.pending += 1;
        if let Some(way) = only
            && let Ok((branch, digest)) = self.branch(name, way)
        {
            let digests = digest.map_or_else(Vec::new, |it| vec![Some(it)]);
            let branches = SmallVec::from_buf_and_len([branch; 2], 1);
            return self.board.publish_at(name, branches, digests, at);
        }
        let ways = if only.is_some() {
            only.as_slice()
        } else {
            left.split_off(..ways as usize).unwrap_or_default()
        };
        self.seats[by.0 as usize].never_waits = ways.contains(&Way::Default);
        self.announced_many(name, ways, at);
    }

    /// A tasklet waits for one of `ways`.
    #[inline(never)]
    fn announced_many(&mut self, name: TaskletName, ways: &[Way], at: &'static Location<'static>) {
        if ways.len() > BRANCHES_MAX {
            self.board.refuse(name, TOO_MANY_BRANCHES, at);
        }
        let ways = &ways[..ways.len().min(BRANCHES_MAX)];
        let (mut branches, mut digests) = (SmallVec::new(), Vec::new());
        for way in ways {
            let (branch, digest) = self.branch(name, *way).unwrap_or_else(|what| {
                self.board.refuse(name, what, at);
                (Branch::Join(name), None)
            });
            if digest.is_some() || !digests.is_empty() {
                digests.resize(branches.len(), None);
                digests.push(digest);
            }
            branches.push(branch);
        }
        self.board.publish_at(name, branches, digests, at);
    }

    /// What a way of the tasklet `mine` is for the board, and what the value of a send is told
    /// apart by; an error is why it cannot be explored.
    #[inline(always)]
    fn branch(&self, mine: TaskletName, way: Way) -> Result<(Branch, Option<u64>), &'static str> {
        const FOREIGN: &str = "a channel made outside of the explored program";
        let branch = match way {
            Way::Send(channel) => {
                let known = self.known(channel).ok_or(FOREIGN)?;
                // A value without size tells nobody who sent it.
                return Ok((Branch::Send(known.name), known.unit.then_some(0)));
            }
            Way::Receive(channel) => Branch::Receive(self.channel(channel).ok_or(FOREIGN)?),
            Way::Default => Branch::Default,
            Way::Timer(time) => Branch::Timer(time),
            Way::Limit(time) => Branch::Limit(time),
            Way::Join(tasklet) => Branch::Join(self.name(tasklet)),
            Way::Touch(tasklet) => Branch::Cancel(self.name(tasklet)),
            // Nobody ever joins itself.
            Way::Insert => Branch::Join(mine),
            Way::Shared => return Err("an operation of a shared channel"),
            Way::Unknown => return Err("an operation of another library or another execution"),
        };
        Ok((branch, None))
    }

    /// Makes the last event happen: readies those who take part in it.
    fn perform(&mut self, scheduler: &Scheduler) {
        let Some(EventRecord { event, .. }) = self.board.run.events.last() else { return };
        let event = *event;
        scheduler.set_time(self.board.now(event.first.slot.tasklet));
        if self.board.is_ending(&event) {
            return self.cancel_all(scheduler);
        }
        let first = self.ids[event.first.slot.tasklet.index()];
        let second = event.second.map(|it| self.ids[it.slot.tasklet.index()]);
        let branch = |it: Offer| u32::from(it.branch);
        self.pulse.let_go(self.seats[first].packed, second.map_or(0, |it| self.seats[it].packed));
        match (event.kind, second, event.second) {
            (Kind::Meeting, Some(second), Some(offer)) => {
                // Who would not wait for the other comes second.
                if self.seats[first].never_waits {
                    self.wake(scheduler, second, branch(offer));
                    self.wake(scheduler, first, branch(event.first));
                } else {
                    self.wake(scheduler, first, branch(event.first));
                    self.wake(scheduler, second, branch(offer));
                }
            }
            (Kind::Cancelled, Some(second), _) => {
                self.pending -= 1;
                self.touched = Some(second);
                self.wake(scheduler, first, branch(event.first));
            }
            _ => self.wake(scheduler, first, branch(event.first)),
        }
    }

    fn wake(&mut self, scheduler: &Scheduler, id: usize, branch: u32) {
        let seat = &mut self.seats[id];
        self.pending -= 1;
        if let Pending::Waiting = seat.pending {
            forget(std::mem::replace(&mut seat.pending, Pending::Nothing)); // nothing to drop
            debug_assert!(seat.task.is_waiting(), "an announced operation was ended by nobody");
            return wait::settle_decided(&seat.task, branch);
        }
        self.wake_other(scheduler, id);
    }

    /// Readies a tasklet that did not announce what it waits for.
    #[inline(never)]
    fn wake_other(&mut self, scheduler: &Scheduler, id: usize) {
        let seat = &mut self.seats[id];
        match std::mem::replace(&mut seat.pending, Pending::Nothing) {
            Pending::Unbegun => scheduler.begin(seat.task.clone()),
            Pending::Held(hold) => {
                let (wait, done) = hold.freed.expect("its channel has ended");
                wait.let_go(done, false);
            }
            Pending::Waiting | Pending::Nothing | Pending::Over => {
                debug_assert!(false, "a tasklet without a slot was chosen");
            }
        }
    }

    /// A tasklet that was touched need not be released if that ended its operation.
    fn went_on(&mut self, tasklet: TaskletId) {
        if self.touched.is_some_and(|it| it as u64 == tasklet.0) {
            self.touched = None;
        }
    }

    /// The root has ended, which cancels the others.
    fn cancel_all(&mut self, scheduler: &Scheduler) {
        self.pulse.let_go(0, 0);
        self.board.withdraw_all();
        scheduler.set_time(self.board.now(TaskletName::ROOT));
        self.pending = 0;
        scheduler.cancel_all(&scheduler.tasks(), self.forced);
        (0..self.seats.len()).for_each(|it| self.release(it));
    }

    /// Lets a tasklet go on to which something was done, in case that did not end its operation.
    fn release(&mut self, id: usize) {
        let at = self.seats[id].task.who.spawned_at;
        match std::mem::replace(&mut self.seats[id].pending, Pending::Nothing) {
            Pending::Unbegun => self.unbegun(id, at),
            Pending::Waiting => wait::settle_decided(&self.seats[id].task, wait::RETRY),
            Pending::Held(hold) => self.held(id, hold, at),
            Pending::Nothing => {}
            Pending::Over => self.seats[id].pending = Pending::Over,
        }
    }

    /// Makes the next thing happen; false if nothing can.
    fn decide_unwatched(&mut self, scheduler: &Rc<Scheduler>) -> bool {
        self.report(scheduler);
        if !scheduler.home.ready.is_empty() {
            return true; // the root begins by itself
        }
        if let Some(id) = self.touched.take() {
            self.release(id);
            return true;
        }
        if self.pending != self.living {
            self.hold();
        }
        if self.board.advance() {
            self.perform(scheduler);
            return true;
        }
        let forced = !self.forced && self.board.may_be_forced();
        if forced {
            self.forced = true;
            self.cancel_all(scheduler);
        }
        forced
    }
}

impl Decide for Bridge<'_, '_> {
    fn decide(&mut self, scheduler: &Rc<Scheduler>) -> bool {
        self.pulse.beat();
        self.pulse.watch(false); // what takes time here is no tasklet's step
        let goes_on = self.decide_unwatched(scheduler);
        self.pulse.watch(true);
        goes_on
    }

    fn look(&mut self, scheduler: &Rc<Scheduler>) {
        for seat in &mut self.seats {
            match &mut seat.pending {
                // The end of the run ends them too, and for that they have to begin.
                Pending::Unbegun => scheduler.begin(seat.task.clone()),
                Pending::Held(hold) => {
                    if let Some((wait, done)) = hold.freed.take() {
                        wait.let_go(done, false);
                    }
                }
                Pending::Waiting | Pending::Nothing | Pending::Over => {}
            }
        }
        if self.board.wants_details() {
            self.describe(scheduler);
        }
    }

    fn look_back(&mut self, scheduler: &Rc<Scheduler>) {
        if self.board.wants_details() {
            self.tell_holders(scheduler);
        }
    }
}
