#![doc = include_str!("../README.md")]
//!
//! # Words
//!
//! Each word has one meaning, here and in the source.
//!
//! | word | meaning |
//! |---|---|
//! | tasklet | a concurrent activity with a stack of its own; it stays on its OS thread |
//! | channel | where two tasklets meet: a sending and a receiving end, each of which can be cloned |
//! | operation | something a tasklet can wait for: send, receive, join, a timer, or one of several |
//! | scope | tasklets that end before their parent goes on, and so may borrow from it |
//! | schedule | the list of choices that made a run what it was |
//! | rendezvous, meeting | a send and a receive that complete together; the value moves once |
//! | offer | what a waiting tasklet has published at a channel: `Open`, then `Taken` or `Withdrawn` |
//! | settle | to end a wait, by a partner, a timer, a closed end or a cancellation; it happens once |
//! | park, ready | a tasklet *parks* when it has to wait, and is *readied* when its wait is settled |
//! | suspend, resume | what is done to a stack, below that: it is left, and entered again |
//! | turn | what a tasklet does between being resumed and being suspended: nobody else runs |
//! | give way | to go to the end of the ready queue |
//! | permit | a receiver that has been won and waits for the value its holder is about to make |
//! | region | a stretch of code under a deadline; regions nest |
//! | run | one execution of a root tasklet and all it spawns, from the start to the last end |
//! | shared | of a channel: between OS threads |
//! | claim | the right to settle a wait whose offers other OS threads see |
//! | worker | an OS thread with a run, to which tasklets can be sent |
//! | runtime | what runs are made with: the tasklets, timers and settings of one OS thread |
//! | stuck | nothing can run, and nothing outside can change that |
//! | bell | a wait that anybody may end, on any OS thread, by *ringing*; what a waker of a future rings |
//! | interrupt, halt | a cancellation, deadline or injected error *interrupts*; a `Halt` is why an operation ended |
//!
//! # Where to read on
//!
//! - [Coming from Stackless, greenlet, gevent or Go](guide::from_stackless)
//! - [What a tasklet must not do](guide::must_not), and what happens if it does
//! - [Who runs next](mod@channel#who-runs-next), [selecting](mod@select), [operations as
//!   values](Operation)
//! - [Testing a protocol](guide::testing) under every schedule
//! - [Several OS threads](guide::several_threads)
//! - [Embedding](Runtime): a runtime driven by a loop of the caller's
//!
//! # Environment
//!
//! Four variables are read, for tests of this crate and of what is built on it; programs use the
//! builder.
//!
//! | variable | value | effect |
//! |---|---|---|
//! | `TASKLETS_STACKS` | `threads` | as [`RuntimeBuilder::threads_as_stacks`]: for Miri and race detectors |
//! | `TASKLETS_REPLAY` | a replay string | [`Explore`](explore::Explore) runs that schedule of that program, and searches nothing |
//! | `TASKLETS_CHILDREN` | `threads` | child processes are waited for by OS threads, as before Linux 5.3; read once |
//! | `TASKLETS_GUARD` | `pages` | guard pages of their own below stacks, as before Linux 6.13; read once |
//!
//! # Gate
//!
//! A change is finished when all of these pass, with nothing printed that is not expected:
//!
//! ```text
//! cargo fmt --all --check
//! cargo clippy --all-targets -- -D warnings
//! cargo test
//! cargo test --release
//! RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
//! ```

mod blocking;
pub mod channel;
mod descriptor;
mod error;
pub mod explore;
pub mod fs;
#[cfg(feature = "futures")]
pub mod futures;
pub mod guide;
mod inspect;
mod kernel;
mod local;
mod monitor;
#[cfg(feature = "net")]
pub mod net;
mod operation;
pub mod pipeline;
pub mod plug;
#[cfg(feature = "process")]
pub mod process;
mod runtime;
mod scope;
pub mod select;
pub mod shared;
#[cfg(any(feature = "process", feature = "signal"))]
mod signal;
mod stdio;
mod tasklet;
mod time;
mod trap;

pub use blocking::{BlockingInfo, Unanswered, blocking, blocking_or};
pub use channel::{Held, Never, Permit, Prefer, Receiver, Sender, channel};
pub use descriptor::{Attempt, Descriptor, Ready};
pub use error::{Halt, JoinError, SendError};
pub use inspect::{
    ChannelInfo, Counts, Pending, Snapshot, StuckReport, TaskletInfo, Waiting, snapshot,
};
pub use kernel::choice::Chooser;
pub use kernel::name::TaskletId;
pub use kernel::trace::{ChannelId, Direction, Event};
pub use local::LocalKey;
pub use monitor::LongTurn;
pub use operation::Operation;
pub use runtime::{PanicReport, Progress, RunError, Runtime, RuntimeBuilder, run};
pub use scope::{
    Cause, Scope, ScopeError, ScopeFailure, ScopedTasklet, scope, scope_within, try_scope,
};
pub use select::{Chosen, Select};
#[cfg(any(feature = "process", feature = "signal"))]
pub use signal::Signal;
#[cfg(feature = "signal")]
pub use signal::{ReceivingSignal, SignalIter, Signals, ctrl_c, signals};
pub use stdio::{ReceivingLine, Stdin, StdinLines, Stdout, stdin, stdout};
pub use tasklet::{
    Builder, SpawnError, State, Tasklet, TaskletRef, current, pause, spawn, take_injected,
    yield_now,
};
pub use time::{After, Tick, Timed, after, at, now, sleep, sleep_until, tick, until, within};
pub use trap::{BlockTrap, SwitchTrap, block_trap, shield, switch_trap};
