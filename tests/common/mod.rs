//! Random programs, their interpreter, and the model their logs are checked against.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod model;
pub mod picks;
pub mod play;
pub mod program;
pub mod receives;
pub mod rules;
pub mod steering;
pub mod strategy;
pub mod trial;
pub mod world;
