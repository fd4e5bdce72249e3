//! Panics of explored programs: not printed each time, but their source lines are kept.
//!
//! Always: the process's panic hook goes on to be called for every panic outside of a search.
//! A search may see the same panic thousands of times; the report shows it once.

use crate::kernel::name::TaskletId;
use crate::kernel::running;
use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

static INSTALLED: Once = Once::new();

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// Who panicked, and where.
    static PLACES: RefCell<Vec<(Option<TaskletId>, String)>> = const { RefCell::new(Vec::new()) };
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
    if let Some(at) = info.location() {
        let who = running::current().map(|it| it.id());
        PLACES.with_borrow_mut(|it| it.push((who, at.to_string())));
    }
    true
}

/// Where each tasklet panicked since this was asked last.
pub(super) fn take_places() -> Vec<(Option<TaskletId>, String)> {
    PLACES.take()
}
