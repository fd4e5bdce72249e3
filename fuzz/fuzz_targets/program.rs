//! Random programs: the bytes are a program and the answers to what its run leaves open.
//!
//! Found programs are judged as those of `tests/laws.rs`. A failure prints the program, how it was
//! run, and the log up to the first event that could not be.
#![no_main]
#![allow(dead_code, reason = "the tests use the rest of what is shared with them")]

#[path = "../../tests/common/model.rs"]
mod model;
#[path = "../../tests/common/picks.rs"]
mod picks;
#[path = "../../tests/common/play.rs"]
mod play;
#[path = "../../tests/common/program.rs"]
mod program;
#[path = "../../tests/common/receives.rs"]
mod receives;
#[path = "../../tests/common/rules.rs"]
mod rules;
#[path = "../../tests/common/steering.rs"]
mod steering;
#[path = "../../tests/common/trial.rs"]
mod trial;
mod verdict;
#[path = "../../tests/common/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use program::Draw;
use trial::{Schedule, Setting, follow, try_out};

fuzz_target!(init: verdict::let_panics_pass(), |bytes: &[u8]| {
    let (mode, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut bytes = rest.iter().copied();
    let program = Draw(&mut |ways| usize::from(bytes.next().unwrap_or(0)) % ways).program();
    let setting = setting(*mode, bytes.collect());
    verdict::expect(&(&program, &setting), || {
        // Only where a hook listens, and nobody has to give way, the model knows all.
        let tried = if setting.hooked && setting.budget > 3 {
            try_out(&program, &setting)
        } else {
            follow(&program, &setting)
        };
        tried.map(drop)
    });
});

/// Mostly told what to choose; some runs first come first served, some without a listener or with
/// tasklets that have to give way.
fn setting(mode: u8, answers: Vec<u8>) -> Setting {
    let seed = answers.iter().fold(0, |seed: u64, byte| (seed << 8) ^ u64::from(*byte));
    match mode % 8 {
        0..=3 => Setting::judged(Schedule::Told(answers)),
        4 | 5 => Setting::judged(Schedule::InOrder(seed)),
        6 => Setting { hooked: false, ..Setting::judged(Schedule::Told(answers)) },
        _ => {
            Setting { budget: 1 + u32::from(mode / 86), ..Setting::judged(Schedule::Told(answers)) }
        }
    }
}
