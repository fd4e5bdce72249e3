//! What a signal does when nobody listens for it: the same as before anybody did.
//!
//! Always: the handler, once it is installed, stays; while nobody listens it does what the OS would
//! do by default, unless the signal was ignored before. Signal: `Unknown -> Heard <-> Unheard`.

use parking_lot::Mutex;
use signal_hook::flag::register_conditional_default;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A signal that somebody has listened for.
struct Heard {
    listeners: usize,
    /// Whether the handler does what the OS would; read inside of it. `None` if the signal was
    /// ignored before.
    default: Option<Arc<AtomicBool>>,
}

/// By number. Signals belong to the process, so this does.
static HEARD: Mutex<BTreeMap<i32, Heard>> = Mutex::new(BTreeMap::new());

/// Somebody listens for a signal, until this is dropped.
#[derive(Debug)]
pub(super) struct Listening(i32);

impl Listening {
    /// To be made before anything else is done at the arrival of the signal.
    pub(super) fn new(number: i32) -> io::Result<Listening> {
        let mut heard = HEARD.lock();
        if let Some(it) = heard.get_mut(&number) {
            it.listeners += 1;
            it.default.iter().for_each(|it| it.store(false, Ordering::SeqCst));
            return Ok(Listening(number));
        }
        let default = if is_ignored(number) {
            None
        } else {
            let default = Arc::new(AtomicBool::new(false));
            register_conditional_default(number, default.clone())?;
            Some(default)
        };
        heard.insert(number, Heard { listeners: 1, default });
        Ok(Listening(number))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut heard = HEARD.lock();
        let Some(it) = heard.get_mut(&self.0) else { return };
        it.listeners -= 1;
        if it.listeners == 0 {
            it.default.iter().for_each(|it| it.store(true, Ordering::SeqCst));
        }
    }
}

/// Whether this process ignores the signal, as one that was started by `nohup` does SIGHUP.
fn is_ignored(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or(0);
    mask >> (number - 1) & 1 == 1
}
