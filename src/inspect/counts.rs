//! How many tasklets are in which state.
//!
//! Always: every tasklet that has not ended is counted once.

/// How many tasklets are in which state.
///
/// ```
/// use tasklets::{Counts, Runtime, pause, sleep};
/// let runtime = Runtime::builder().build();
/// runtime.spawn(pause).unwrap();
/// runtime.spawn(|| sleep(std::time::Duration::from_secs(60))).unwrap();
/// runtime.run_ready().unwrap();
/// let expected = Counts { paused: 1, sleeping: 1, ..Counts::default() };
/// assert_eq!(runtime.counts(), expected);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The one that runs, and those that will when their turn comes.
    pub runnable: usize,
    /// Waiting for another tasklet.
    pub blocked: usize,
    /// Waiting for a time.
    pub sleeping: usize,
    /// Waiting for a call on another OS thread.
    pub calling: usize,
    /// Waiting for a descriptor to become ready, a process to end or a signal to arrive.
    pub polling: usize,
    /// Taken out of the ready queue.
    pub paused: usize,
}
