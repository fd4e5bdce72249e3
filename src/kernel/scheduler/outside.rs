//! The scheduler's side towards the world: time, descriptors, and calls on other OS threads.
//!
//! Always: what has happened is settled before the scheduler sleeps; it sleeps only if something
//! outside can wake it.

use super::{Limit, Ran, Scheduler};
use crate::kernel::asleep::Told;
use crate::kernel::clock::{NEVER, Nanos};
use crate::kernel::poller::{Inbox, Message, Poller};
use crate::kernel::source::{Listener, Source};
use crate::kernel::timer::{Alarm, Due};
use crate::kernel::wait::Wait;
use std::any::Any;
use std::cell::RefMut;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long to sleep at most when the OS has no queue for events to give: it may have one later.
const WITHOUT_QUEUE: Nanos = 10_000_000;

/// A call under way on another OS thread.
pub(super) enum Call {
    Pending(Wait),
    Done(Box<dyn Any + Send>),
}

impl Call {
    fn is_awaited(&self) -> bool {
        match self {
            Call::Pending(wait) => wait.is_open(),
            Call::Done(_) => false, // its tasklet is ready, or somebody has paused it
        }
    }
}

impl Scheduler {
    /// Whether a timer, or an answer from outside, may make somebody ready.
    pub(super) fn awaits_outside(&self) -> bool {
        let timer = self.timers.borrow_mut().next();
        timer.is_some() || self.awaits_others() || self.awaits_partners() || self.awaits_bells()
    }

    /// Whether somebody waits for a bell that can be rung.
    #[cfg(not(feature = "futures"))]
    fn awaits_bells(&self) -> bool {
        false // there are none
    }

    /// Whether somebody waits for a call or a descriptor.
    fn awaits_others(&self) -> bool {
        self.calls.borrow().iter().any(|(_, it)| it.is_awaited())
            || self.poller.borrow_mut().as_mut().is_some_and(Poller::is_awaited)
    }

    /// Called when nothing is ready: waits for the outside or says why not.
    pub(super) fn idle(&self, limit: &Limit<'_>) -> Option<Ran> {
        self.attend(None);
        if !self.home.ready.is_empty() || self.home.attention.get() {
            return None;
        }
        let next = self.timers.borrow_mut().next();
        let outside = self.awaits_others();
        let (partners, bells) = (self.awaits_partners(), self.awaits_bells());
        if next.is_none() && !outside && !partners && !bells {
            return Some(Ran::Stuck);
        }
        if !limit.sleep {
            return Some(Ran::Idle);
        }
        // Partners on other threads may never come, and a bell may be one that only a tasklet can
        // ring, so virtual time goes on beside them.
        let moves = next.is_some() || limit.at != NEVER || !(partners || bells);
        if self.home.clock.is_virtual() && !outside && moves {
            let next = next.unwrap_or(NEVER);
            if next > limit.at {
                self.home.clock.advance(limit.at);
                return Some(Ran::Limit);
            }
            self.home.clock.advance(next);
            return None;
        }
        let now = self.home.clock.now();
        if now >= limit.at {
            return Some(Ran::Limit);
        }
        if partners && self.watch_inbox(limit) {
            return None;
        }
        // A virtual clock stands still while somebody outside is at work.
        let next = if self.home.clock.is_virtual() { None } else { next };
        let wake = next.unwrap_or(NEVER).min(limit.at);
        if wake == NEVER && !outside && !self.has_listeners() {
            return self.sleep_for_good().then_some(Ran::Stuck);
        }
        self.attend(Some(if wake == NEVER { NEVER } else { wake - now.min(wake) }));
        None
    }

    /// Whether anybody would be told of a descriptor.
    fn has_listeners(&self) -> bool {
        self.poller.borrow().as_ref().is_some_and(Poller::has_listeners)
    }

    /// Sleeps until another OS thread wakes this one; true if none ever can.
    fn sleep_for_good(&self) -> bool {
        let kind = self.kind();
        let mut due = Vec::new();
        let Ok(mut poller) = self.poller() else {
            self.attend(Some(NEVER)); // awake now and then, so not counted
            return false;
        };
        let told = poller.poll_inbox(kind, &mut due);
        drop(poller);
        let told = told.expect("the OS waits for events where it has made a queue for them");
        self.tell_all(due);
        if told {
            *self.told.borrow_mut() = Some(Told::new());
        }
        told
    }

    /// Looks at the clock, the timers and the inbox; asks the OS first, sleeping for at most
    /// `sleep`, if that is given.
    pub(super) fn attend(&self, sleep: Option<Nanos>) {
        #[cfg(feature = "futures")]
        self.wake_all();
        let mut due = Vec::new();
        if let Some(sleep) = sleep {
            self.ask(sleep, &mut due);
        }
        let messages = self.inbox.get().map(|it| it.take()).unwrap_or_default();
        let mut stirred = !due.is_empty() || !messages.is_empty();
        self.tell_all(due);
        messages.into_iter().for_each(|it| self.deliver(it));
        let now = self.home.clock.now();
        self.home.now.set(now);
        self.home.parks.set(self.home.parks.get().max(now));
        loop {
            let due = self.timers.borrow_mut().pop_due(self.home.now.get());
            match due {
                Some(Due::Wait(wait, branch)) => drop(wait.settle(branch)),
                Some(Due::Alarm(alarm)) => alarm.ring(),
                None => break,
            }
            stirred = true;
        }
        if stirred {
            self.poller.borrow_mut().iter_mut().for_each(Poller::stir);
        }
        let dead = self.timers.borrow_mut().take_dead();
        drop(dead);
    }

    /// Tells everybody what they waited for, when nothing is borrowed.
    fn tell_all(&self, due: Vec<Listener>) {
        for listener in due {
            match listener {
                Listener::Wait(wait, branch) => drop(wait.settle(branch)),
                #[cfg(feature = "futures")]
                Listener::Waker(waker) => self.wake(waker),
            }
        }
    }

    /// Asks the OS what has happened; sleeps for at most `sleep` until something does.
    fn ask(&self, sleep: Nanos, due: &mut Vec<Listener>) {
        if sleep == 0 && !self.poller.borrow().as_ref().is_some_and(Poller::has_sources) {
            return;
        }
        let Ok(mut poller) = self.poller() else {
            // Without a queue nobody waits for descriptors, and nobody can wake this OS thread.
            std::thread::park_timeout(Duration::from_nanos(sleep.min(WITHOUT_QUEUE)));
            return;
        };
        if sleep == 0 {
            poller.stir(); // tasklets have run, or the caller of the run has
        }
        let sleep = sleep.min(poller.until_check().unwrap_or(NEVER));
        let polled = poller.poll((sleep != NEVER).then_some(sleep), due);
        polled.expect("the OS waits for events where it has made a queue for them");
        if sleep > 0 && due.is_empty() {
            poller.check(self.home.clock.now(), due);
        }
    }

    /// The poller, which is made when it is needed first.
    pub(super) fn poller(&self) -> io::Result<RefMut<'_, Poller>> {
        let mut poller = self.poller.borrow_mut();
        if poller.is_none() {
            *poller = Some(Poller::new(self.inbox().clone())?);
        }
        Ok(RefMut::map(poller, |it| it.as_mut().expect("it was made if there was none")))
    }

    /// Where other OS threads leave messages for this scheduler.
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        self.inbox.get_or_init(Arc::default)
    }

    /// Lets the OS tell of a descriptor.
    ///
    /// # Errors
    /// As [`Poller::register`]; and the OS's if it has no queue for events to give.
    pub(crate) fn register(&self, number: RawFd) -> io::Result<Rc<Source>> {
        let mut due = Vec::new();
        let source = self.poller()?.register(number, &mut due);
        self.tell_all(due);
        source
    }

    /// Forgets a descriptor; who waits for it is woken, to find out.
    pub(crate) fn deregister(&self, source: &Source) {
        let mut due = Vec::new();
        self.poller.borrow_mut().iter_mut().for_each(|it| it.deregister(source, &mut due));
        self.tell_all(due);
    }

    /// Whether the OS has given a queue for events: other OS threads can wake this one at once.
    pub(crate) fn has_queue(&self) -> bool {
        self.poller().is_ok()
    }

    /// Registers a call that another OS thread will answer through the inbox.
    pub(crate) fn begin_call(&self, wait: Wait) -> (usize, Arc<Inbox>) {
        let call = self.calls.borrow_mut().insert(Call::Pending(wait));
        (call, self.inbox().clone())
    }

    fn deliver(&self, message: Message) {
        match message {
            Message::Answer { call, result } => self.answer(call, result),
            Message::Done(claim) => self.settle_claimed(&claim),
            Message::Errand(errand) => {
                let done = catch_unwind(AssertUnwindSafe(errand));
                done.unwrap_or_else(|panic| self.note_stray(panic));
            }
            #[cfg(feature = "futures")]
            Message::Rung(bell) => self.ring(bell),
            #[cfg(feature = "futures")]
            Message::Hopeless => {} // who is idle looks again
        }
    }

    fn answer(&self, call: usize, result: Box<dyn Any + Send>) {
        let mut calls = self.calls.borrow_mut();
        let entry = calls.get_mut(call).map(|it| std::mem::replace(it, Call::Done(result)));
        if let Some(Call::Pending(wait)) = entry
            && !wait.settle(0)
        {
            // Nobody waits any more: the result is dropped here, with nothing borrowed.
            let late = calls.remove(call);
            drop(calls);
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(late)));
            dropped.unwrap_or_else(|panic| self.note_stray(panic));
        }
    }

    /// The answer to a call whose wait was settled by it.
    pub(crate) fn end_call(&self, call: usize) -> Option<Box<dyn Any + Send>> {
        match self.calls.borrow_mut().try_remove(call)? {
            Call::Done(result) => Some(result),
            Call::Pending(_) => None,
        }
    }

    /// Nanoseconds until the next timer.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        let next = self.timers.borrow_mut().next()?;
        let left = next.saturating_sub(self.home.clock.now());
        Some(Duration::from_nanos(left))
    }

    pub(crate) fn add_timer(&self, at: Nanos, wait: Wait, branch: u32) {
        if at != NEVER {
            self.timers.borrow_mut().add_wait(at, wait, branch);
        }
    }

    pub(crate) fn add_alarm(&self, at: Nanos, alarm: Rc<dyn Alarm>) {
        if at != NEVER {
            self.timers.borrow_mut().add_alarm(at, alarm);
        }
    }
}
