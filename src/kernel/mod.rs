//! The kernel: runs tasklets and knows waits, but no channel and no socket.
//!
//! Reading order, each file using only those before it: `choice` (the one place where runs
//! differ), `clock`, `name`, `claim` (who settles a wait that other OS threads see), `asleep`
//! (whether any of them is awake), `body`, `stack` (all the `unsafe`), `stage` (who is shown as
//! running), `trace`; `task` and `wait` (a tasklet's control block and its one wait), `ready`,
//! `stacks`, `table`; `timer`, `source` and `poller` (descriptors), `running` (what runs on this OS
//! thread), `control` and `announce` (runs that somebody else decides); `outsider` (OS threads in
//! no run); `scheduler`; `operation`.
//!
//! Deliberately absent: any word about channels (they are operations like others), any global
//! state beyond what describes the machine, and preemption.

pub(crate) mod announce;
pub(crate) mod asleep;
mod baton;
pub(crate) mod body;
pub(crate) mod choice;
pub(crate) mod claim;
pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod fatal;
pub(crate) mod name;
pub(crate) mod operation;
pub(crate) mod outsider;
pub(crate) mod poller;
pub(crate) mod ready;
pub(crate) mod running;
pub(crate) mod scheduler;
pub(crate) mod source;
pub(crate) mod stack;
pub(crate) mod stacks;
pub(crate) mod stage;
mod table;
pub(crate) mod task;
pub(crate) mod timer;
pub(crate) mod trace;
pub(crate) mod wait;

/// What `claim` and `asleep` are made of: their models in `tests/claim.rs` and `tests/asleep.rs`
/// have loom's instead.
use std::sync::atomic::{AtomicU32, AtomicU64};
