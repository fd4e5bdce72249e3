//! A queue whose usual length is none or one.
//!
//! Always: if `first` is empty, so is `rest`.

use std::collections::VecDeque;

/// First in, first out.
pub(super) struct Line<T> {
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { first: None, rest: VecDeque::new() }
    }
}

impl<T> Line<T> {
    #[inline(always)]
    pub(super) fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.push_back(item);
        }
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.first.take()?;
        if !self.rest.is_empty() {
            self.first = self.rest.pop_front();
        }
        Some(item)
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.rest.back().or(self.first.as_ref())
    }

    pub(super) fn pop_back(&mut self) -> Option<T> {
        self.rest.pop_back().or_else(|| self.first.take())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    /// Takes the item at `index`, counted from the front.
    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        match index.checked_sub(1) {
            None => self.pop(),
            Some(index) => self.rest.remove(index),
        }
    }

    /// The place of the last item that fits, looking from the back.
    pub(super) fn rposition(&self, fits: impl Fn(&T) -> bool) -> Option<usize> {
        match self.rest.iter().rposition(&fits) {
            Some(index) => Some(index + 1),
            None => self.first.as_ref().is_some_and(fits).then_some(0),
        }
    }

    pub(super) fn retain(&mut self, fits: impl Fn(&T) -> bool) {
        self.rest.retain(&fits);
        if self.first.as_ref().is_some_and(|it| !fits(it)) {
            self.first = self.rest.pop_front();
        }
    }

    /// Takes everything, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.first.take().into_iter().chain(std::mem::take(&mut self.rest))
    }
}
