//! The stacks of one scheduler: finished ones are used again, and running out is an error.
//!
//! Always: every stack in here is done; the process never maps more stacks than the OS allows.

use super::stack::{self, Stack};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Stack sizes a tasklet may ask for, in bytes.
pub(crate) const SMALLEST: usize = 16 * 1024;
pub(crate) const LARGEST: usize = 1 << 30;

/// Finished stacks kept per size; more are given back to the OS.
const KEPT: usize = 16 * 1024;

/// Bytes of memory the OS is asked about at a time: it takes as long as for one stack.
const ROOM: usize = 16 * 1024 * 1024;

/// Stacks mapped by this process.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// How many stacks this process may map at a time, and what sets the limit.
///
/// Without guard markers a stack takes two memory maps; a part of them is left to others.
pub(crate) fn limit() -> (usize, &'static str) {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    if stack::guard_markers() {
        return (usize::MAX, "memory");
    }
    let most = LIMIT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
        let maps: usize = text.trim().parse().unwrap_or(65_530);
        maps.saturating_sub(maps / 16) / 2
    });
    (*most, "vm.max_map_count")
}

/// Finished stacks of one size.
struct Shelf {
    bytes: usize,
    stacks: Vec<Stack>,
}

/// Stacks to use again.
pub(crate) struct Stacks {
    /// By size in bytes; few sizes are in use.
    finished: Vec<Shelf>,
    /// Whether to use OS threads as stacks.
    threads: bool,
    /// Bytes the OS had when it was asked last, less those that were mapped since.
    room: usize,
}

impl Stacks {
    pub(crate) fn new(threads: bool) -> Stacks {
        Stacks { finished: Vec::new(), threads, room: 0 }
    }

    /// A stack of at least `bytes` bytes, or a text that says what ran out.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) -> Result<Stack, String> {
        match self.shelf(bytes).stacks.pop() {
            Some(stack) => Ok(stack),
            None => self.map(bytes),
        }
    }

    #[inline]
    fn shelf(&mut self, bytes: usize) -> &mut Shelf {
        // The size that was used last is in front.
        if self.finished.first().is_none_or(|it| it.bytes != bytes) {
            self.bring_to_front(bytes);
        }
        &mut self.finished[0]
    }

    #[cold]
    fn bring_to_front(&mut self, bytes: usize) {
        let known = self.finished.iter().position(|it| it.bytes == bytes);
        let slot = known.unwrap_or_else(|| {
            self.finished.push(Shelf { bytes, stacks: Vec::new() });
            self.finished.len() - 1
        });
        self.finished.swap(0, slot);
    }

    #[cold]
    fn map(&mut self, bytes: usize) -> Result<Stack, String> {
        let (most, what) = if self.threads { (usize::MAX, "threads") } else { limit() };
        if MAPPED.fetch_add(1, Ordering::Relaxed) >= most {
            self.clear(); // stacks of other sizes count too
            if MAPPED.load(Ordering::Relaxed) > most {
                MAPPED.fetch_sub(1, Ordering::Relaxed);
                return Err(format!("all {most} stacks that {what} allows are in use"));
            }
        }
        let has_room = self.threads || self.has_room(bytes);
        let made = if has_room { Stack::new(bytes, self.threads) } else { None };
        made.ok_or_else(|| {
            MAPPED.fetch_sub(1, Ordering::Relaxed);
            format!("the OS refused a stack of {bytes} bytes")
        })
    }

    /// Whether there is memory for a stack, as far as the OS has been asked.
    fn has_room(&mut self, bytes: usize) -> bool {
        let bytes = bytes + 2 * stack::page_bytes(); // what guards it
        if self.room < bytes {
            if !stack::can_map(bytes.max(ROOM)) {
                return stack::can_map(bytes);
            }
            self.room = bytes.max(ROOM);
        }
        self.room -= bytes;
        true
    }

    /// Keeps a stack that is done, of the size it was asked for.
    #[inline]
    pub(crate) fn give(&mut self, bytes: usize, stack: Stack) {
        let stacks = &mut self.shelf(bytes).stacks;
        if stacks.len() < KEPT {
            stacks.push(stack);
        } else {
            drop(stack);
            MAPPED.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn clear(&mut self) {
        for Shelf { stacks, .. } in self.finished.drain(..) {
            MAPPED.fetch_sub(stacks.len(), Ordering::Relaxed);
        }
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::body::{Once, Turn};
    use stack::Seat;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn a_finished_stack_is_used_again() {
        let mut stacks = Stacks::new(cfg!(miri));
        let count = Rc::new(Cell::new(0));
        for round in 1..=3 {
            let mut stack = stacks.take(SMALLEST).unwrap();
            let (seat, count) = (Seat::default(), count.clone());
            stack.load(Rc::new(Once::new(move || count.set(count.get() + 1))));
            seat.put(stack);
            assert_eq!(seat.resume(), Turn::Done);
            stacks.give(SMALLEST, seat.take().unwrap());
            assert_eq!(stacks.finished[0].stacks.len(), 1);
            assert_eq!(round, round.max(1));
        }
        assert_eq!(count.get(), 3);
    }
}
