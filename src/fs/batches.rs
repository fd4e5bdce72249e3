//! Items that other OS threads find, some at a time.
//!
//! Always: what a thread has found is kept until a tasklet takes it, so who is stopped loses none.
//! That he is stopped is told once; then the items end for as long as that lasts.
//! Items: `Open <-> Stopped`, `Open -> Ended`.

use crate::blocking::blocking;
use crate::error::Halt;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Items from `S`.
pub(super) struct Batches<S, I> {
    /// Locked while a thread finds some.
    kept: Arc<Mutex<Kept<S, I>>>,
    /// Found, and taken from there.
    some: VecDeque<I>,
    /// The last one to ask was told that he is stopped.
    told: bool,
}

struct Kept<S, I> {
    /// `None` when it has ended.
    source: Option<S>,
    found: VecDeque<I>,
}

impl<S: Send + 'static, I: Send + 'static> Batches<S, I> {
    pub(super) fn new(source: S) -> Batches<S, I> {
        let kept = Kept { source: Some(source), found: VecDeque::new() };
        Batches { kept: Arc::new(Mutex::new(kept)), some: VecDeque::new(), told: false }
    }

    /// The next one; `find` finds more, and tells whether there may be others behind them.
    #[track_caller]
    pub(super) fn next(
        &mut self,
        find: fn(&mut S, &mut VecDeque<I>) -> bool,
    ) -> Option<Result<I, Halt>> {
        loop {
            if let Some(item) = self.some.pop_front() {
                self.told = false;
                return Some(Ok(item));
            }
            if let Some(mut kept) = self.kept.try_lock() {
                std::mem::swap(&mut kept.found, &mut self.some);
                if !self.some.is_empty() {
                    continue;
                }
                kept.source.as_ref()?;
            }
            let kept = self.kept.clone();
            if let Err(why) = blocking(move || kept.lock().find(find)) {
                self.told = !self.told;
                return self.told.then_some(Err(why));
            }
        }
    }

    /// Whether all have been given.
    pub(super) fn is_ended(&self) -> bool {
        self.some.is_empty()
            && self.kept.try_lock().is_some_and(|it| it.source.is_none() && it.found.is_empty())
    }
}

impl<S, I> Kept<S, I> {
    /// Finds some, unless who was here before has: the one that he did it for was stopped.
    fn find(&mut self, find: fn(&mut S, &mut VecDeque<I>) -> bool) {
        if self.found.is_empty()
            && let Some(source) = &mut self.source
            && !find(source, &mut self.found)
        {
            self.source = None;
        }
    }
}
