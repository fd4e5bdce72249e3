//! Waits that partners on other OS threads may settle: shared channels, joins across threads.
//!
//! Always: a tasklet that waits so has a claim, which is its own for as long as it lives; it
//! suspends only after it has said that it has to be woken, and is made ready by its own thread.

use super::{Limit, Scheduler};
use crate::kernel::asleep::Kind;
use crate::kernel::claim::{self, Claim, Owner, Ticket};
use crate::kernel::clock::{Clock, Nanos};
use crate::kernel::outsider;
use crate::kernel::running;
use crate::kernel::task::{Doing, Extra, Task, flag};
use crate::kernel::wait::{self, Wait};
use slab::Slab;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Schedulers of this process that have dealt with other OS threads.
static MADE: AtomicU64 = AtomicU64::new(0);

/// What a scheduler knows of waits that others may settle.
#[derive(Default)]
pub(super) struct Partners {
    /// Its number, which no other scheduler ever has.
    number: OnceCell<u64>,
    /// Tasklets that have a claim.
    owners: RefCell<Slab<Rc<Task>>>,
    /// It serves others.
    serves: Cell<bool>,
}

impl Scheduler {
    /// From here on this run serves others: while it has nobody but its root it is never stuck.
    pub(crate) fn serve(&self) {
        self.partners.serves.set(true);
    }

    /// As what it sleeps when only other OS threads can wake it.
    pub(super) fn kind(&self) -> Kind {
        let idle = self.partners.serves.get() && self.tasks.borrow().len() == 1;
        if idle && !self.draining.get() { Kind::Spare } else { Kind::Run }
    }

    /// What tells this scheduler from all others, on any OS thread; never 0.
    pub(crate) fn number(&self) -> u64 {
        *self.partners.number.get_or_init(|| MADE.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether a partner on another OS thread may make somebody ready.
    pub(super) fn awaits_partners(&self) -> bool {
        self.home.claimed.get() > 0
    }

    fn is_home_of(&self, claim: &Claim) -> bool {
        self.partners.number.get().is_some_and(|it| *it == claim.owner.home)
    }

    fn has_news(&self) -> bool {
        self.inbox.get().is_some_and(|it| it.is_filled())
    }

    /// Looks for news a little before the scheduler goes to sleep; true if there are any.
    pub(super) fn watch_inbox(&self, limit: &Limit<'_>) -> bool {
        limit.sleep && claim::look_out(|| self.has_news())
    }

    fn give_claim(&self, task: &Rc<Task>) {
        let seat = self.partners.owners.borrow_mut().insert(task.clone());
        let owner = Owner { home: self.number(), tasklet: task.id(), seat };
        let claim = Claim::new(owner, self.inbox().clone());
        let former = task.extra().claim.set(claim);
        debug_assert!(former.is_ok(), "a tasklet has one claim");
    }

    /// Makes the owner of a claim ready that a partner has settled.
    pub(super) fn settle_claimed(&self, claim: &Arc<Claim>) {
        let owner = self.partners.owners.borrow().get(claim.owner.seat).cloned();
        // Another tasklet may have its seat by now.
        let owner = owner.filter(|it| it.claim().is_some_and(|its| Arc::ptr_eq(its, claim)));
        owner.into_iter().for_each(wait::settle_claimed);
    }

    /// Forgets the claim of a tasklet that has ended.
    pub(super) fn forget_claim(&self, extra: &Extra) {
        if let Some(claim) = extra.claim.get() {
            let owner = self.partners.owners.borrow_mut().try_remove(claim.owner.seat);
            drop(owner);
        }
    }

    /// At the end of a run: takes a tasklet away from a partner that has yet to complete a meeting.
    pub(super) fn tear_away(task: &Rc<Task>) {
        if task.has(flag::CLAIMED) && task.claim().is_some_and(|it| it.tear()) {
            wait::settle_now(task, wait::RETRY);
        }
    }

    /// Stops counting a tasklet that will never run again among those who wait for partners.
    pub(super) fn give_up_claim(&self, task: &Task) {
        if task.has(flag::CLAIMED) {
            task.clear(flag::CLAIMED);
            self.home.claimed.set(self.home.claimed.get() - 1);
            if let Some(claim) = task.claim() {
                let settled = claim.tear() || claim.win_here();
                debug_assert!(settled || claim.outcome().is_some(), "{claim:?} is being settled");
            }
        }
    }
}

/// What an offer that other OS threads can see is made with: the claim of `wait`, opened for it.
pub(crate) fn ticket(wait: &Wait) -> Ticket {
    ticket_of(wait, Claim::open)
}

/// [`ticket`] of a wait for a partner that has been met.
pub(crate) fn ticket_held(wait: &Wait) -> Ticket {
    ticket_of(wait, Claim::open_held)
}

fn ticket_of(wait: &Wait, open: fn(&Claim)) -> Ticket {
    let task = &wait.task;
    if task.claim().is_none() {
        let scheduler = Scheduler::active().expect("a tasklet runs under its scheduler");
        scheduler.give_claim(task);
    }
    let claim = task.claim().expect("it has just been given one");
    if wait.put_under_claim() {
        open(claim);
    }
    Ticket::of(claim.clone())
}

/// Takes back the wait that was opened for the running tasklet, which has published nothing that
/// counts any more: [`park`] returns at once. False if a partner was faster.
pub(crate) fn look_again(wait: &Wait) -> bool {
    wait.decide(wait::RETRY)
}

/// Waits until `wait`, which may have a [`ticket`], is settled: as `late` if that time comes.
#[cold]
pub(crate) fn park_until(
    wait: &Wait,
    until: Nanos,
    late: u32,
    doing: Doing,
    at: &'static Location<'static>,
) -> u32 {
    if wait.task.has(flag::OUTSIDER) {
        wait.task.at.set(Some(at));
        return outsider::park(&wait.task, until, late);
    }
    if let Some(scheduler) = Scheduler::active() {
        scheduler.add_timer(until, wait.clone(), late);
    }
    park(&wait.task, doing, at)
}

/// [`running::park`] for a wait that may have a ticket.
fn park(task: &Rc<Task>, doing: Doing, at: &'static Location<'static>) -> u32 {
    if !task.has(flag::CLAIMED) {
        return running::park(task, doing, at);
    }
    let claim = task.claim().expect("who waits under a claim has one").clone();
    if !task.is_waiting() {
        if task.outcome.get() != wait::RETRY {
            running::park(task, doing, at); // who settled it has made the tasklet ready
        }
    } else {
        if task.home.ready.is_empty() {
            let scheduler = Scheduler::active();
            claim.watch(|| scheduler.as_ref().is_some_and(|it| it.has_news()));
        }
        if claim.park() {
            task.home.claimed.set(task.home.claimed.get() + 1);
            running::park(task, doing, at);
            task.home.claimed.set(task.home.claimed.get() - 1);
        } else if let Some(outcome) = claim.outcome() {
            wait::settle_here(task, outcome);
        }
    }
    task.clear(flag::CLAIMED);
    task.outcome.get()
}

/// Lets the owner of a claim that is done go on.
pub(crate) fn wake(claim: Arc<Claim>) {
    match Scheduler::active() {
        Some(mine) if mine.is_home_of(&claim) => mine.settle_claimed(&claim),
        _ => claim::wake(claim),
    }
}

/// Who could wait here and now: the running tasklet, or an OS thread that is in no run.
pub(crate) fn may_wait() -> Option<Rc<Task>> {
    running::may_wait().or_else(outsider)
}

/// Asks the clock of the run, or of this OS thread if it is in none.
pub(crate) fn clock<R>(ask: impl Fn(&Clock) -> R) -> R {
    match Scheduler::active() {
        Some(it) => ask(&it.home.clock),
        None => outsider::clock(ask),
    }
}

/// This OS thread, if it is in no run: see [`outsider`].
pub(crate) fn outsider() -> Option<Rc<Task>> {
    if running::current().is_some() || Scheduler::active().is_some() {
        return None;
    }
    outsider::me()
}
