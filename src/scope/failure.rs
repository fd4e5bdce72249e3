//! What failed in a scope.
//!
//! Always: nothing that failed is lost, whoever failed first.

use crate::tasklet::TaskletRef;
use std::error::Error;
use std::fmt;

/// Everything that failed in a scope.
///
/// ```
/// use tasklets::{Cause, run, try_scope};
/// let error = run(|| {
///     try_scope(|s| drop(s.spawn_try(|| Err::<(), _>("out of paper")))).unwrap_err()
/// });
/// assert!(matches!(error.failures[0].cause, Cause::Failed(_)));
/// assert!(error.to_string().ends_with("root.0 failed: out of paper"));
/// ```
#[derive(Debug)]
pub struct ScopeError {
    /// At least one; in the order in which they were noticed.
    pub failures: Vec<ScopeFailure>,
}

/// One tasklet that failed.
///
/// ```
/// use tasklets::{Builder, run, try_scope};
/// let error = run(|| {
///     let risky = || std::panic::resume_unwind(Box::new("no luck"));
///     try_scope(|s| drop(s.spawn_with(Builder::new().name("risky"), risky)))
/// });
/// let failure = &error.unwrap_err().failures[0];
/// assert_eq!(failure.tasklet.name(), Some("risky"));
/// assert_eq!(failure.cause.to_string(), "panicked: no luck");
/// ```
#[derive(Debug)]
pub struct ScopeFailure {
    /// Which.
    pub tasklet: TaskletRef,
    /// How.
    pub cause: Cause,
}

/// How a tasklet of a scope failed.
///
/// ```
/// use tasklets::{Cause, run, try_scope};
/// let error = run(|| try_scope(|s| drop(s.spawn_try(|| "x".parse::<i32>())))).unwrap_err();
/// let Cause::Failed(why) = &error.failures[0].cause else { panic!("it returned its error") };
/// assert!(why.is::<std::num::ParseIntError>());
/// ```
pub enum Cause {
    /// It panicked, with this.
    Panicked(Box<dyn std::any::Any + Send>),
    /// It returned this error ([`Scope::spawn_try`](crate::Scope::spawn_try)).
    Failed(Box<dyn Error>),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Panicked(payload) => {
                write!(f, "panicked: {}", crate::error::panic_message(&**payload))
            }
            Cause::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the scope's tasklets failed", self.failures.len())?;
        for ScopeFailure { tasklet, cause } in &self.failures {
            write!(f, "; {tasklet} {cause}")?;
        }
        Ok(())
    }
}

impl Error for ScopeError {}
