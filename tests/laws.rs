//! Random programs under many schedules, against a model of what may happen.
//!
//! A failure prints the smallest program found, the seed, and the log up to the first event that
//! could not be. More cases: `PROPTEST_CASES=20000 cargo test --release --test laws`.

mod common;

use common::program::Program;
use common::strategy;
use common::trial::{Schedule, Setting, deeds, follow, try_out};
use proptest::prelude::*;

/// As many cases as asked for by `PROPTEST_CASES`, or one in so many.
fn one_in(share: u32) -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { cases: (all.cases / share).max(1), failure_persistence: None, ..all }
}

/// What the program's tasklets do, and how the run ends; equal if the runs are.
fn deeds_under(program: &Program, setting: &Setting) -> Result<String, TestCaseError> {
    let (log, verdict) = follow(program, setting).map_err(TestCaseError::fail)?;
    Ok(format!("{verdict:?} {:#?}", deeds(&log)))
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn what_happens_is_possible(program in strategy::program(), seed in any::<u64>()) {
        for schedule in [Schedule::InOrder(seed), Schedule::Drawn(seed), Schedule::Drawn(!seed)] {
            try_out(&program, &Setting::judged(schedule)).map_err(TestCaseError::fail)?;
        }
    }
}

proptest! {
    #![proptest_config(one_in(4))]

    #[test]
    fn one_seed_is_one_run_and_listening_changes_nothing(
        program in strategy::program(),
        seed in any::<u64>(),
        budget in prop_oneof![Just(100_000), 1..=4_u32],
    ) {
        for schedule in [Schedule::InOrder(seed), Schedule::Drawn(seed)] {
            let heard = Setting { budget, ..Setting::judged(schedule) };
            let alone = Setting { hooked: false, ..heard.clone() };
            let deeds = deeds_under(&program, &heard)?;
            prop_assert_eq!(&deeds, &deeds_under(&program, &heard)?);
            prop_assert_eq!(&deeds, &deeds_under(&program, &alone)?);
        }
    }

    #[test]
    fn no_value_is_lost_or_doubled_by_giving_way(
        program in strategy::program(),
        seed in any::<u64>(),
        budget in 1..4_u32,
    ) {
        let ways = [(Schedule::InOrder(seed), false), (Schedule::Drawn(seed), true)];
        for (schedule, hooked) in ways {
            let setting = Setting { budget, hooked, ..Setting::judged(schedule) };
            follow(&program, &setting).map_err(TestCaseError::fail)?;
        }
    }
}

proptest! {
    #![proptest_config(one_in(16))]

    #[test]
    fn threads_as_stacks_make_the_same_run(program in strategy::program(), seed in any::<u64>()) {
        for schedule in [Schedule::InOrder(seed), Schedule::Drawn(seed)] {
            let stacks = Setting::judged(schedule);
            let threads = Setting { threads: true, ..stacks.clone() };
            prop_assert_eq!(deeds_under(&program, &stacks)?, deeds_under(&program, &threads)?);
        }
    }
}
