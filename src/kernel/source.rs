//! What is known of one descriptor that the OS tells about: whether it may be read or written, and
//! who waits for that.
//!
//! Always: the OS tells of a change once, so a side is ready from then on, whoever was told, until
//! an attempt finds that it would have to wait. Side: `Unready <-> Ready`.

use super::wait::Wait;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
#[cfg(feature = "futures")]
use std::task::Waker;

/// One of the two things that a descriptor becomes ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read,
    Write,
}

/// Who is to be told that something has happened, when nothing is borrowed.
pub(crate) enum Listener {
    /// A wait, and the branch as which it is settled.
    Wait(Wait, u32),
    /// A waker of some future's, which is code of the user.
    #[cfg(feature = "futures")]
    Waker(Waker),
}

/// Waits, and the branch as which each is settled.
pub(crate) type Waits = SmallVec<[(Wait, u32); 2]>;

/// One side of a descriptor. At first nothing is known of it: an attempt will tell.
struct State {
    ready: Cell<bool>,
    /// The OS told that it is closed, has failed or has urgent data, which it does not tell again:
    /// an attempt that takes less than it could says nothing then.
    ended: Cell<bool>,
    waits: RefCell<Waits>,
    /// Of the future that asked last.
    #[cfg(feature = "futures")]
    waker: RefCell<Option<Waker>>,
}

impl State {
    /// At first an attempt may succeed.
    fn unknown() -> State {
        State {
            ready: Cell::new(true),
            ended: Cell::new(false),
            waits: RefCell::default(),
            #[cfg(feature = "futures")]
            waker: RefCell::new(None),
        }
    }

    /// Moves everybody who waits for it to `due`.
    fn take_listeners(&self, due: &mut Vec<Listener>) {
        let mut waits = self.waits.borrow_mut();
        match waits.len() {
            0 => {}
            1 => due.extend(waits.pop().map(|(wait, branch)| Listener::Wait(wait, branch))),
            _ => due.extend(waits.drain(..).map(|(wait, branch)| Listener::Wait(wait, branch))),
        }
        #[cfg(feature = "futures")]
        due.extend(self.waker.take().map(Listener::Waker));
    }

    /// Whether a tasklet waits for it.
    fn is_awaited(&self) -> bool {
        self.waits.borrow().iter().any(|(wait, _)| wait.is_open())
    }
}

/// A descriptor that is registered with a poller.
pub(crate) struct Source {
    /// What the poller knows it by.
    pub(super) key: usize,
    pub(crate) number: i32,
    /// Its number is another's now.
    gone: Cell<bool>,
    read: State,
    write: State,
}

impl Source {
    pub(super) fn new(key: usize, number: i32) -> Source {
        let (read, write) = (State::unknown(), State::unknown());
        Source { key, number, gone: Cell::new(false), read, write }
    }

    /// Notes that its number is another's now; moves those who wait for it to `due`.
    pub(super) fn lose(&self, due: &mut Vec<Listener>) {
        self.gone.set(true);
        self.tell(Side::Read, true, due);
        self.tell(Side::Write, true, due);
    }

    /// Whether nobody will ever be told of it again.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    fn side(&self, side: Side) -> &State {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
        }
    }

    /// Whether an attempt may succeed.
    #[inline]
    pub(crate) fn is_ready(&self, side: Side) -> bool {
        self.side(side).ready.get()
    }

    /// Notes that an attempt would have to wait.
    #[inline]
    pub(crate) fn exhaust(&self, side: Side) {
        let state = self.side(side);
        state.ready.set(false);
        state.ended.set(false);
    }

    /// Notes that an attempt on a stream took less than it could: the next one would have to wait,
    /// unless the stream has ended. See epoll(7), on edge-triggered descriptors.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn drain(&self, side: Side) {
        let state = self.side(side);
        state.ready.set(state.ended.get());
    }

    /// Notes what the OS told; moves those who wait for it to `due`.
    pub(super) fn tell(&self, side: Side, ended: bool, due: &mut Vec<Listener>) {
        let state = self.side(side);
        state.ready.set(true);
        if ended {
            state.ended.set(true);
        }
        state.take_listeners(due);
    }

    /// Lets `wait` be settled as `branch` when the OS tells that this side is ready.
    pub(crate) fn add(&self, side: Side, wait: Wait, branch: u32) {
        let mut waits = self.side(side).waits.borrow_mut();
        if waits.len() < waits.capacity() {
            waits.push((wait, branch));
            return;
        }
        let (mut open, over): (Waits, Waits) = waits.drain(..).partition(|(it, _)| it.is_open());
        open.push((wait, branch));
        *waits = open;
        drop(waits);
        drop(over); // one may be the last to know its tasklet, and that the last to own a value
    }

    /// Takes back what [`add`](Self::add) was given.
    pub(crate) fn remove(&self, side: Side, wait: &Wait) {
        self.side(side).waits.borrow_mut().retain(|(it, _)| !it.is_same(wait));
    }

    /// Lets `waker` be called when the OS tells that this side is ready, instead of an earlier one.
    #[cfg(all(feature = "futures", feature = "net"))]
    pub(crate) fn set_waker(&self, side: Side, waker: &Waker) {
        let slot = &self.side(side).waker;
        if !slot.borrow().as_ref().is_some_and(|it| it.will_wake(waker)) {
            let new = waker.clone(); // code of the user, as the drop of the earlier one is
            drop(slot.replace(Some(new)));
        }
    }

    /// Whether a tasklet waits for it. Whoever waits for a future is counted elsewhere.
    pub(super) fn is_awaited(&self) -> bool {
        self.read.is_awaited() || self.write.is_awaited()
    }

    /// Whether anybody would be told of it.
    pub(super) fn has_listeners(&self) -> bool {
        #[cfg(feature = "futures")]
        if self.read.waker.borrow().is_some() || self.write.waker.borrow().is_some() {
            return true;
        }
        self.is_awaited()
    }

    /// Takes everybody who waits for it.
    pub(super) fn take_listeners(&self, due: &mut Vec<Listener>) {
        self.read.take_listeners(due);
        self.write.take_listeners(due);
    }
}
