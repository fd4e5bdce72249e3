//! Runs ready tasklets one at a time until none is left or none can run.
//!
//! Always: nothing of it is borrowed while a tasklet, a hook or a destructor of the user runs; a
//! tasklet is in the ready queue at most once; an idle scheduler sleeps in the poller.

#[cfg(feature = "futures")]
mod bells;
mod controlled;
mod drain;
mod outside;
mod partners;
mod watched;

use super::announce;
use super::asleep::Told;
use super::body::{Body, Once, Turn};
use super::clock::Nanos;
use super::control::News;
use super::fatal;
use super::name::TaskletId;
use super::poller::{Inbox, Poller};
use super::running::{self, Running};
use super::stack;
use super::stacks::{self, Stacks};
use super::stage::{self, Place, Slot, Stage};
use super::table::{self, Table};
use super::task::{Extra, Failure, Home, Task, flag};
use super::timer::Timers;
use super::trace::Event;
use super::wait;
#[cfg(feature = "futures")]
pub(crate) use bells::{wake_now, wake_soon};
use outside::Call;
pub(crate) use partners::{
    clock, look_again, may_wait, outsider, park_until, ticket, ticket_held, wake,
};
use slab::Slab;
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Switches between two looks at the clock, the timers and the outside.
const ATTEND_EVERY: u64 = 128;

thread_local! {
    /// The scheduler that is active on this OS thread.
    static ACTIVE: Slot<Scheduler> = const { Slot::new() };
}

/// Where it is shown.
struct Active;

impl Place for Active {
    type Shown = Scheduler;

    #[inline(always)]
    fn slot<R>(f: impl FnOnce(&Slot<Scheduler>) -> R) -> R {
        ACTIVE.with(f)
    }
}

/// How far to go.
pub(crate) struct Limit<'a> {
    /// Stop when this tasklet has ended.
    pub(crate) until_ended: Option<&'a Task>,
    /// Stop after so many switches.
    pub(crate) switches: u64,
    /// Stop at this time.
    pub(crate) at: Nanos,
    /// Whether to sleep until something happens when nothing can run.
    pub(crate) sleep: bool,
    /// Whether to stop at a panic that nobody can join.
    pub(crate) until_failed: bool,
}

/// Why [`Scheduler::drive`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// The tasklet waited for has ended.
    Ended,
    /// The number of switches or the time is used up.
    Limit,
    /// Nothing is ready, but something outside or a timer may still make it so.
    Idle,
    /// Nothing is ready and nothing can change that.
    Stuck,
    /// A tasklet panicked and nobody can join it.
    Failed,
}

/// The tasklets of one runtime and what they wait for outside of themselves.
pub(crate) struct Scheduler {
    pub(crate) home: Rc<Home>,
    tasks: RefCell<Table>,
    stacks: RefCell<Stacks>,
    timers: RefCell<Timers>,
    /// Where other OS threads leave messages, once one of them knows it.
    inbox: OnceCell<Arc<Inbox>>,
    poller: RefCell<Option<Poller>>,
    calls: RefCell<Slab<Call>>,
    partners: partners::Partners,
    #[cfg(feature = "futures")]
    bells: bells::Bells,
    next_id: Cell<u64>,
    next_outer: Cell<u32>,
    /// Most tasklets at a time.
    limit: usize,
    /// Stack of a tasklet that does not ask for another.
    pub(crate) stack_bytes: usize,
    pub(crate) blocking: BlockingLimits,
    /// What higher layers keep for this run, by type.
    extensions: RefCell<Vec<Rc<dyn Any>>>,
    /// The tasklet whose end `work` waits for.
    until: Cell<Option<TaskletId>>,
    /// The run ends: new tasklets are cancelled from the start.
    draining: Cell<bool>,
    /// It is stuck because every OS thread of the process is asleep; the other runs that are go on
    /// when this is dropped.
    pub(crate) told: RefCell<Option<Told>>,
    /// Tasklets that panicked, in the order they ended; a join takes the panic out of the tasklet.
    pub(crate) panicked: RefCell<Vec<Rc<Task>>>,
    /// Tasklets that would not end.
    pub(crate) abandoned: RefCell<Vec<Rc<Task>>>,
    /// A panic of a hook or a destructor that ran on the scheduler's own stack.
    pub(crate) stray_panic: RefCell<Option<Box<dyn Any + Send>>>,
}

/// How much of everything a scheduler may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) tasklets: usize,
    pub(crate) stack_bytes: usize,
    pub(crate) blocking: BlockingLimits,
}

/// How much of everything the calls that block may use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BlockingLimits {
    pub(crate) threads: usize,
    /// Calls that may wait for a thread.
    pub(crate) queue: usize,
    /// How long a thread without work stays.
    pub(crate) idle: Duration,
}

/// What a new tasklet is to be like.
pub(crate) struct Plan<'a> {
    pub(crate) name: Option<&'a Rc<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) stack_bytes: usize,
    pub(crate) daemon: bool,
    /// The tasklet of a `run`, whose path is `root`.
    pub(crate) root: bool,
}

impl Scheduler {
    pub(crate) fn new(home: Rc<Home>, sizes: Sizes) -> Rc<Scheduler> {
        fatal::RUNNING.get_or_init(|| running::FOR_SIGNAL_HANDLERS);
        stack::ensure_signal_stack();
        let most = if home.threads { usize::MAX } else { stacks::limit().0 };
        let threads = home.threads;
        Rc::new(Scheduler {
            home,
            tasks: RefCell::default(),
            stacks: RefCell::new(Stacks::new(threads)),
            timers: RefCell::default(),
            inbox: OnceCell::new(),
            poller: RefCell::new(None),
            calls: RefCell::default(),
            partners: partners::Partners::default(),
            #[cfg(feature = "futures")]
            bells: bells::Bells::default(),
            next_id: Cell::new(0),
            next_outer: Cell::new(0),
            limit: sizes.tasklets.min(most),
            stack_bytes: sizes.stack_bytes,
            blocking: sizes.blocking,
            extensions: RefCell::default(),
            until: Cell::new(None),
            draining: Cell::new(false),
            told: RefCell::new(None),
            panicked: RefCell::default(),
            abandoned: RefCell::default(),
            stray_panic: RefCell::new(None),
        })
    }

    /// The scheduler that is active on this OS thread.
    #[inline]
    pub(crate) fn active() -> Option<Rc<Scheduler>> {
        stage::shown(Active)
    }

    /// Makes a tasklet and queues it. The error says what ran out.
    pub(crate) fn spawn(&self, plan: Plan<'_>, body: Rc<dyn Body>) -> Result<Rc<Task>, String> {
        if self.tasks.borrow().len() >= self.limit {
            return Err(self.too_many());
        }
        if self.home.control.as_ref().is_some_and(|it| !it.may_spawn()) {
            announce::refuse("spawning more tasklets than events may happen", plan.spawned_at);
            return Err("a run that is explored may not spawn that many".into());
        }
        let id = TaskletId(self.next_id.get());
        self.next_id.set(id.0 + 1);
        let mut task = table::block(&self.tasks, &self.home);
        let new = Rc::get_mut(&mut task).expect("nobody refers to the block of no tasklet");
        let Plan { name, spawned_at, stack_bytes, daemon, root } = plan;
        let parent = running::current().filter(|it| Rc::ptr_eq(&it.home, &self.home));
        match &parent {
            Some(parent) => new.who.become_child(&parent.who, id, spawned_at),
            _ if root => new.who.become_outer(id, spawned_at, 0),
            _ => {
                let nth = self.next_outer.get().wrapping_add(1);
                self.next_outer.set(nth);
                new.who.become_outer(id, spawned_at, nth);
            }
        }
        if let Some(name) = name {
            new.who.name = Some(name.clone());
        }
        let daemon = if daemon { flag::DAEMON } else { 0 };
        let cancelled = if self.draining.get() { flag::CANCELLED } else { 0 };
        new.begin(body, stack_bytes, daemon | cancelled);
        self.tasks.borrow_mut().add(task.clone());
        match self.home.controlled() {
            Some(control) => {
                let parent = parent.map(|it| it.id());
                control.tell(News::Spawned { parent, child: task.clone() });
            }
            None => self.home.ready.push(task.clone()),
        }
        self.tell(|| Event::Spawned { tasklet: id });
        Ok(task)
    }

    #[cold]
    fn too_many(&self) -> String {
        let (most, what) = stacks::limit();
        let what = if self.limit < most { "RuntimeBuilder::max_tasklets" } else { what };
        format!("{} tasklets are alive, as many as {what} allows", self.limit)
    }

    /// What a higher layer keeps for this run, made when first asked for.
    pub(crate) fn extension<T: Default + 'static>(&self) -> Rc<T> {
        let found = self.extensions.borrow().iter().find_map(|it| it.clone().downcast::<T>().ok());
        found.unwrap_or_else(|| {
            let made = Rc::new(T::default());
            self.extensions.borrow_mut().push(made.clone());
            made
        })
    }

    /// Whether a tasklet was ever made.
    pub(crate) fn is_unused(&self) -> bool {
        self.next_id.get() == 0
    }

    /// All tasklets that have not ended, in the order of their ids.
    pub(crate) fn tasks(&self) -> Vec<Rc<Task>> {
        let mut tasks = self.tasks.borrow().living().to_vec();
        tasks.sort_by_key(|it| it.id());
        tasks
    }

    /// Runs until `limit`, with this scheduler the active one.
    ///
    /// Only the end of a runtime may do this while another scheduler is active.
    pub(crate) fn drive(self: &Rc<Self>, limit: &Limit<'_>) -> Ran {
        let _active = Stage::new(Active, Some(self.clone()));
        let mut stage = Stage::new(Running, None);
        self.attend(Some(0));
        self.work(limit, &mut stage)
    }

    fn work(self: &Rc<Self>, limit: &Limit<'_>, stage: &mut Stage<Running>) -> Ran {
        let home = &*self.home;
        let mut left = limit.switches;
        self.until.set(limit.until_ended.map(Task::id));
        let mut slice = 0;
        home.slice.set(0);
        home.unspent.set(0);
        loop {
            let turns = home.slice.get();
            if turns == 0 {
                drop(stage.show(None));
                left -= slice - home.unspent.take();
                if let Some(ran) = self.look(limit, left) {
                    return ran;
                }
                slice = left.min(ATTEND_EVERY);
                home.slice.set(slice);
                continue;
            }
            home.slice.set(turns - 1);
            if !home.plain {
                if self.turn_watched(stage) {
                    continue;
                }
            } else if let Some(task) = home.ready.pop() {
                home.ready.peek(|next| next.seat.prefetch());
                let turn = self.turn(task, stage);
                if turn != Turn::Suspended {
                    self.after_turn(stage.show(None), turn);
                }
                continue;
            }
            drop(stage.show(None));
            if !home.attention.get() {
                home.slice.set(turns); // nobody had a turn
            }
            if let Some(ran) = self.idle(limit) {
                return ran;
            }
        }
    }

    /// What `work` does every so many turns, and when something has happened.
    #[inline(never)]
    fn look(&self, limit: &Limit<'_>, left: u64) -> Option<Ran> {
        self.home.attention.set(false);
        let given_up = self.home.given_up.take();
        given_up.iter().for_each(|it| self.abandon(it));
        if limit.until_ended.is_some_and(|it| it.has(flag::FINISHED)) {
            return Some(Ran::Ended);
        }
        if limit.until_failed && self.has_failed() {
            return Some(Ran::Failed);
        }
        if left == 0 {
            return Some(Ran::Limit);
        }
        self.attend(Some(0));
        (self.home.now.get() >= limit.at).then_some(Ran::Limit)
    }

    fn has_failed(&self) -> bool {
        self.stray_panic.borrow().is_some()
            || self.panicked.borrow().iter().any(|it| it.has(flag::DETACHED) && has_panic(it))
    }

    /// Lets `task` run until it suspends or ends; it stays on stage.
    #[inline(always)]
    fn turn(self: &Rc<Self>, task: Rc<Task>, stage: &mut Stage<Running>) -> Turn {
        if task.seat.is_empty() {
            drop(stage.show(None));
            if !self.start(&task) {
                return Turn::Suspended;
            }
        }
        task.refuel();
        drop(stage.show(Some(task.clone())));
        let turn = task.seat.resume();
        stage.check();
        turn
    }

    /// What is left to do after a turn that did not end like most.
    #[inline(never)]
    fn after_turn(&self, task: Option<Rc<Task>>, turn: Turn) {
        let Some(task) = task else { return };
        match turn {
            Turn::Suspended => {}
            Turn::Done => {
                if let Some(stack) = task.seat.take() {
                    self.stacks.borrow_mut().give(task.stack_bytes, stack);
                }
                self.finish(&task);
            }
            // It left somebody else's generator: the best it can mean is to give way; but not while
            // it unwinds, which nobody else may see.
            Turn::Foreign => {
                if std::thread::panicking() && !self.home.host_panics.get() {
                    self.home.ready.push_front(task);
                } else {
                    wait::make_ready(task);
                }
            }
        }
    }

    /// Where things stand when a drive has used up what it was allowed.
    pub(crate) fn outlook(&self) -> Ran {
        if !self.home.ready.is_empty() {
            Ran::Limit
        } else if self.awaits_outside() {
            Ran::Idle
        } else {
            Ran::Stuck
        }
    }

    /// Gives a new tasklet a stack, or ends it if there is none.
    #[inline(never)]
    fn start(self: &Rc<Self>, task: &Rc<Task>) -> bool {
        let mut body = task.body.take().expect("a tasklet without stack has not begun");
        let taken = self.stacks.borrow_mut().take(task.stack_bytes);
        match taken {
            Ok(mut stack) => {
                if self.home.threads {
                    body = self.on_thread(task.clone(), body);
                }
                task.set(flag::STARTED);
                stack.load(body);
                task.seat.put(stack);
                true
            }
            Err(why) => {
                let why = Box::new(format!("{task:?} got no stack: {why}"));
                *task.extra().failure.borrow_mut() = Some(Failure::Panicked(why));
                self.home.trace.watch.iter().for_each(|it| it.turn_ends());
                self.finish(task);
                // The user's destructors, with nothing borrowed.
                let dropped = catch_unwind(AssertUnwindSafe(|| body.discard()));
                dropped.unwrap_or_else(|panic| self.note_stray(panic));
                false
            }
        }
    }

    /// `body` with what it expects to find on its OS thread.
    fn on_thread(self: &Rc<Self>, task: Rc<Task>, body: Rc<dyn Body>) -> Rc<dyn Body> {
        let scheduler = self.clone();
        Rc::new(Once::new(move || {
            let _active = Stage::new(Active, Some(scheduler));
            let _stage = Stage::new(Running, Some(task));
            body.run();
        }))
    }

    fn finish(&self, task: &Rc<Task>) {
        task.set(flag::FINISHED);
        if let Some(extra) = task.extra_if_any() {
            self.clear(task.id(), extra);
        }
        if self.until.get() == Some(task.id()) {
            self.home.look_soon();
        }
        self.tasks.borrow_mut().remove(task);
        task.settle_joiners();
        if has_panic(task) && !task.has(flag::SCOPED) {
            self.note_panicked(task);
        }
        if let Some(control) = self.home.controlled() {
            control.tell(News::Ended { tasklet: task.id() });
        }
        self.tell(|| Event::Finished { tasklet: task.id() });
    }

    /// Drops what destructors at the end of a tasklet left in it: an offer that a select has left
    /// somewhere may be the last to refer to it, and is dropped where no code of the user may run.
    fn clear(&self, tasklet: TaskletId, extra: &Extra) {
        self.forget_claim(extra);
        let left = (extra.locals.take(), extra.injected.take());
        let dropped = catch_unwind(AssertUnwindSafe(|| match &self.home.control {
            Some(control) => control.in_the_name_of(tasklet, || drop(left)),
            None => drop(left),
        }));
        dropped.unwrap_or_else(|panic| self.note_stray(panic));
    }

    /// Keeps a tasklet whose panic nobody has taken yet.
    fn note_panicked(&self, task: &Rc<Task>) {
        let mut panicked = self.panicked.borrow_mut();
        if panicked.len() == panicked.capacity() {
            panicked.retain(|it| has_panic(it));
        }
        panicked.push(task.clone());
        if task.has(flag::DETACHED) {
            self.home.look_soon();
        }
    }
}

/// Whether `task` ended by a panic that nobody has taken.
pub(crate) fn has_panic(task: &Task) -> bool {
    let failure = task.extra_if_any().map(|it| it.failure.borrow());
    failure.is_some_and(|it| matches!(*it, Some(Failure::Panicked(_))))
}

/// Puts a tasklet that was taken out of the ready queue back into it.
pub(crate) fn wake_paused(task: &Rc<Task>) {
    if task.has(flag::PAUSED) {
        task.clear(flag::PAUSED);
        wait::make_ready(task.clone());
    }
}
