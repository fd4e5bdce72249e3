//! The one place where a run may go more than one way: `choose(n) -> i`.
//!
//! Always: the answer is below `n`; the same seed and the same questions give the same answers.

use std::cell::{Cell, RefCell};

/// Answers every question a run leaves open.
///
/// With a chooser of your own even the next tasklet to run is a question, so that the chooser
/// decides the whole schedule: `RuntimeBuilder::chooser`. Any `FnMut(usize) -> usize` is one.
///
/// ```
/// use tasklets::{Chooser, Runtime, channel, select, spawn, yield_now};
/// /// Follows a list, then takes the first way: what a recorded or a searched schedule is.
/// struct Script(std::vec::IntoIter<usize>);
/// impl Chooser for Script {
///     fn choose(&mut self, _ways: usize) -> usize {
///         self.0.next().unwrap_or(0)
///     }
/// }
/// let result = |schedule: Vec<usize>| {
///     let runtime = Runtime::builder().chooser(Script(schedule.into_iter())).build();
///     let race = || {
///         let (tx, rx) = channel();
///         for racer in ["hare", "tortoise"] {
///             let tx = tx.clone();
///             spawn(move || tx.send(racer));
///         }
///         rx.recv().unwrap()
///     };
///     runtime.run(race).unwrap()
/// };
/// assert_eq!((result(vec![0]), result(vec![1])), ("hare", "tortoise"));
/// ```
pub trait Chooser {
    /// Picks one of `ways` (at least 2) possibilities, from 0.
    ///
    /// An answer that is too large is taken modulo `ways`. It is called by the scheduler, and in a
    /// select by the tasklet that selects: it must not communicate. If it panics, so does the
    /// run, or that tasklet.
    fn choose(&mut self, ways: usize) -> usize;
}

impl<F: FnMut(usize) -> usize> Chooser for F {
    fn choose(&mut self, ways: usize) -> usize {
        self(ways)
    }
}

/// Where the answers come from.
pub(crate) enum Choices {
    /// SplitMix64 (Steele, Lea and Flood, 2014); its sequence is part of the replay format.
    Seeded(Cell<u64>),
    /// Somebody else decides, until the runtime has gone.
    Given(RefCell<Option<Box<dyn Chooser>>>),
}

impl Choices {
    /// Leaves them to `chooser`.
    pub(crate) fn given(chooser: impl Chooser + 'static) -> Choices {
        Choices::Given(RefCell::new(Some(Box::new(chooser))))
    }

    /// Begins the sequence of answers again from seed 0.
    pub(crate) fn restart(&self) {
        if let Choices::Seeded(state) = self {
            state.set(0);
        }
    }

    /// Drops a chooser: nothing is left to choose.
    pub(crate) fn retire(&self) {
        if let Choices::Given(chooser) = self {
            let chooser = chooser.take();
            drop(chooser);
        }
    }

    /// Whether the order of ready tasklets is a question too.
    pub(crate) fn decides_order(&self) -> bool {
        matches!(self, Choices::Given(_))
    }

    /// One of `0..ways`; no question is asked if there is only one way.
    #[inline]
    pub(crate) fn choose(&self, ways: usize) -> usize {
        debug_assert!(ways > 0, "nothing to choose from");
        if ways < 2 {
            return 0;
        }
        match self {
            Choices::Seeded(state) => {
                let word = u128::from(split_mix(state)) * ways as u128;
                (word >> 64) as usize
            }
            Choices::Given(chooser) => {
                chooser.borrow_mut().as_mut().map_or(0, |it| it.choose(ways) % ways)
            }
        }
    }
}

#[inline]
fn split_mix(state: &Cell<u64>) -> u64 {
    let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    state.set(next);
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_in_range_and_repeat_with_the_seed() {
        let draw = |seed| {
            let choices = Choices::Seeded(Cell::new(seed));
            (1..200).map(|ways| choices.choose(ways)).collect::<Vec<_>>()
        };
        let first = draw(7);
        assert!(first.iter().zip(1..).all(|(answer, ways)| *answer < ways));
        assert_eq!(first, draw(7));
        assert_ne!(first, draw(8));
    }

    #[test]
    fn a_given_answer_that_is_too_large_wraps() {
        let choices = Choices::given(|ways: usize| ways + 1);
        assert_eq!(choices.choose(5), 1);
    }

    #[test]
    fn the_sequence_of_a_seed_is_frozen() {
        // Replay strings depend on it: SplitMix64 from seed 0.
        let state = Cell::new(0);
        assert_eq!(split_mix(&state), 0xE220_A839_7B1D_CDAF);
        assert_eq!(split_mix(&state), 0x6E78_9E6A_A1B9_65F4);
    }
}
