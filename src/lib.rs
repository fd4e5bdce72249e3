//! x
mod blocking;
pub mod channel;
mod error;
mod inspect;
mod kernel;
mod local;
mod operation;
mod runtime;
mod scope;
pub mod select;
mod tasklet;
mod time;
mod trap;

pub use blocking::blocking;
pub use channel::{Never, Prefer, Receiver, Sender, channel};
pub use error::{Halt, JoinError, SendError};
pub use inspect::{
    ChannelInfo, Counts, Pending, Snapshot, StuckReport, TaskletInfo, Waiting, snapshot,
};
pub use kernel::choice::Chooser;
pub use kernel::name::TaskletId;
pub use kernel::trace::{ChannelId, Direction, Event};
pub use local::LocalKey;
pub use operation::Operation;
pub use runtime::{PanicReport, Progress, RunError, Runtime, RuntimeBuilder, run};
pub use scope::{
    Cause, Scope, ScopeError, ScopeFailure, ScopedTasklet, scope, scope_within, try_scope,
};
pub use select::{Chosen, Select};
pub use tasklet::{
    Builder, SpawnError, State, Tasklet, TaskletRef, current, pause, spawn, take_injected,
    yield_now,
};
pub use time::{After, Tick, Timed, after, at, now, sleep, sleep_until, tick, until, within};
pub use trap::{BlockTrap, SwitchTrap, block_trap, shield, switch_trap};
