//! Pages to read: no code of the crate.

#[doc = include_str!("guide/from_stackless.md")]
pub mod from_stackless {}

#[cfg(all(feature = "hyper", feature = "net"))]
#[doc = include_str!("guide/libraries.md")]
pub mod libraries {}

#[doc = include_str!("guide/must_not.md")]
pub mod must_not {}

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/several_threads.md")]
pub mod several_threads {}
