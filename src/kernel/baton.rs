//! The second stack engine: a body runs on an OS thread of its own while it holds the baton.
//!
//! Always: exactly one of the two threads (the one that resumes, the one that runs the body) moves.
//! Baton: `Host <--suspend/resume--> Guest --body ends--> Over --load--> Host`

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Host,
    Guest,
    Over,
}

struct Shared {
    holder: Mutex<Holder>,
    passed: Condvar,
}

/// The two threads' end of one baton.
pub(super) struct Baton {
    shared: Arc<Shared>,
    bytes: usize,
    guest: RefCell<Option<thread::JoinHandle<()>>>,
}

impl Baton {
    pub(super) fn new(bytes: usize) -> Baton {
        let shared = Shared { holder: Mutex::new(Holder::Over), passed: Condvar::new() };
        Baton { shared: Arc::new(shared), bytes, guest: RefCell::new(None) }
    }

    /// Gives the baton's guest something to do at the next [`resume`](Self::resume).
    pub(super) fn load(&self, body: impl FnOnce() + Send + 'static) {
        *self.shared.lock() = Holder::Host;
        let shared = self.shared.clone();
        let guest = move || {
            shared.wait_until(|it| it == Holder::Guest);
            body();
            shared.pass(Holder::Over);
        };
        // Twice the bytes: frames of the thread's own start and end are on the same stack.
        let bytes = self.bytes.saturating_mul(2).max(64 * 1024);
        let guest = thread::Builder::new().stack_size(bytes).spawn(guest);
        let guest = guest.expect("the OS refused a thread for the thread engine");
        *self.guest.borrow_mut() = Some(guest);
    }

    /// Lets the guest run until it suspends (false) or ends (true).
    pub(super) fn resume(&self) -> bool {
        self.shared.pass(Holder::Guest);
        let over = self.shared.wait_until(|it| it != Holder::Guest) == Holder::Over;
        if over && let Some(guest) = self.guest.borrow_mut().take() {
            // It has nothing left to do but to end.
            drop(guest.join());
        }
        over
    }

    /// Called by the guest: lets the host run until it resumes us.
    pub(super) fn suspend(&self) {
        self.shared.pass(Holder::Host);
        self.shared.wait_until(|it| it == Holder::Guest);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, to: Holder) {
        *self.lock() = to;
        self.passed.notify_all();
    }

    fn wait_until(&self, mine: impl Fn(Holder) -> bool) -> Holder {
        let holder = self.lock();
        let waited = self.passed.wait_while(holder, |it| !mine(*it));
        *waited.unwrap_or_else(PoisonError::into_inner)
    }
}
