//! Property tests with proptest whose cases are data and a schedule, which shrink together.
//!
//! A case is explored by [`Schedule::run`]. When it fails, the schedule that did it is made as
//! small as it can be, and remembered; each smaller candidate of the data is run with that schedule
//! first, then with some that are drawn for it, so that it may fail in its own way. So a schedule
//! needs no candidates of its own, and the data shrink as proptest shrinks them.
//!
//! Always: all randomness comes from proptest's generator when a case is made, and all budgets are
//! counts, so proptest's seed is enough to do it all again; what shrinks is one fault, never a
//! mixture of several.
//!
//! Files in reading order: `schedule` (the value), `strategy`, `tree` (the shrinking), `saved` (the
//! file of a shrunk case), `clients` and `transitions` (stateful tests).

mod clients;
mod saved;
mod schedule;
mod strategy;
mod transitions;
mod tree;

pub use clients::{Clients, clients};
pub use schedule::Schedule;
pub use strategy::{Schedules, WithData, schedule};
pub use transitions::{Reference, TransitionTree, Transitions, transitions};
pub use tree::{JointTree, ScheduleTree};
