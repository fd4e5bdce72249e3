//! How a target tells libFuzzer: panics inside of tasklets are business as usual, and only a
//! failed check, with everything there is to say about it, ends the process.

use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{UnwindSafe, catch_unwind, set_hook};

thread_local! {
    /// The last panic, with its place; harmless unless a check failed because of it.
    static LAST: RefCell<String> = RefCell::default();
}

/// Replaces libFuzzer's panic hook, which would abort at a panic that a program means to have.
pub fn let_panics_pass() {
    set_hook(Box::new(|panic| LAST.set(panic.to_string())));
}

/// Aborts, with all that is known, unless `check` passes without a panic.
pub fn expect(input: &dyn Debug, check: impl FnOnce() -> Result<(), String> + UnwindSafe) {
    LAST.take();
    let checked = catch_unwind(check).unwrap_or_else(|_| Err("a panic left the run".into()));
    if let Err(wrong) = checked {
        eprintln!("{input:#?}\n{wrong}\nlast panic: {:?}", LAST.take());
        std::process::abort();
    }
}
