//! Panics of explored programs: not printed each time, but their source lines are kept.
//!
//! Always: the process's panic hook goes on to be called for every panic outside of a search.
//! A search may see the same panic thousands of times; the report shows it once.

use crate::error::panic_message;
use crate::kernel::announce;
use crate::kernel::name::TaskletId;
use crate::kernel::running;
use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

static INSTALLED: Once = Once::new();

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACES: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// A panic of a tasklet.
pub(super) struct Place {
    pub(super) tasklet: TaskletId,
    /// Where in the source.
    pub(super) at: String,
    pub(super) message: String,
}

/// While it lives, panics on this OS thread are kept and not printed.
pub(super) struct Quiet {
    former: bool,
}

impl Quiet {
    pub(super) fn new() -> Quiet {
        INSTALLED.call_once(|| {
            let former = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !note(info) {
                    former(info);
                }
            }));
        });
        Quiet { former: QUIET.replace(true) }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(self.former);
    }
}

/// Keeps the place of a panic; false if nobody asked for that.
fn note(info: &PanicHookInfo<'_>) -> bool {
    if !QUIET.try_with(Cell::get).unwrap_or(false) {
        return false;
    }
    // A panic outside of any tasklet is not the program's.
    let Some(who) = running::current() else { return false };
    announce::panicking();
    if let Some(at) = info.location() {
        let message = panic_message(info.payload()).to_owned();
        let place = Place { tasklet: who.id(), at: at.to_string(), message };
        PLACES.with_borrow_mut(|it| it.push(place));
    }
    true
}

/// Where tasklets panicked since this was asked last, in order.
pub(super) fn take_places() -> Vec<Place> {
    PLACES.take()
}
