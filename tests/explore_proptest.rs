//! Property tests whose cases have a schedule: what shrinks, what is kept, and what is refused.

mod support;

use proptest::collection::vec;
use proptest::strategy::{Just, Strategy, ValueTree};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngSeed, TestCaseError, TestError, TestRunner,
};
use std::cell::Cell;
use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::Isolation;
use tasklets::explore::{Explore, Schedule, schedule};
use tasklets::{channel, spawn};

fn config() -> Config {
    Config { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() }
}

/// Runs a test that fails; its reason and the smallest case.
#[track_caller]
fn failing<S: Strategy>(
    config: Config,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) -> (String, S::Value) {
    match TestRunner::new(config).run(strategy, test) {
        Err(TestError::Fail(reason, value)) => (reason.to_string(), value),
        Err(TestError::Abort(reason)) => panic!("aborted: {reason}"),
        Ok(()) => panic!("it passes"),
    }
}

/// Sends each list from a tasklet of its own; what arrives.
fn arrivals<T: Clone + 'static>(lists: &[Vec<T>]) -> Vec<T> {
    let (tx, rx) = channel();
    for list in lists.iter().cloned() {
        let tx = tx.clone();
        spawn(move || tx.send_all(list));
    }
    drop(tx);
    rx.iter().collect()
}

/// Fails if the last of two or more is the first one's, which is so in few schedules.
fn late(lists: &[Vec<u32>]) {
    let all = arrivals(lists);
    let last = lists.first().and_then(|it| it.last());
    assert!(all.len() < 2 || lists[0].len() == all.len() || all.last() != last, "late");
}

fn lists() -> impl Strategy<Value = Vec<Vec<u32>>> {
    vec(vec(0..1_000_u32, 0..4), 1..4)
}

/// The replay string says what the value says.
#[track_caller]
fn replays(name: &str, schedule: &Schedule, main: impl Fn()) {
    let text = format!("{schedule:?}");
    assert!(text.starts_with("v2:") && text.len() < 200, "{text}");
    let again = Explore::new().name(name).replay(&text, main).expect("it was just written");
    assert!(again.report.is_some(), "{text} does not fail");
}

#[test]
fn a_case_that_fails_has_a_replay_string_and_a_report() {
    let strategy = schedule().name("late").with(lists());
    let (reason, (lists, schedule)) =
        failing(config(), &strategy, |(lists, schedule)| schedule.run(|| late(&lists)).map(drop));
    assert_eq!(lists, [vec![0], vec![0]]);
    replays("late", &schedule, || late(&lists));
    for part in ["root panicked: late", "what happened", "why:", "TASKLETS_REPLAY='v2:late:"] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn a_schedule_in_a_tuple_shrinks_too() {
    let strategy = (lists(), schedule().name("late"));
    let (_, (lists, schedule)) =
        failing(config(), &strategy, |(lists, schedule)| schedule.run(|| late(&lists)).map(drop));
    assert!(lists.iter().flatten().count() <= 3, "{lists:?}");
    replays("late", &schedule, || late(&lists));
}

#[test]
fn a_panic_of_the_test_is_a_failure_as_well() {
    let strategy = schedule().name("late").with(lists());
    let (reason, (lists, schedule)) = failing(config(), &strategy, |(lists, schedule)| {
        schedule.run(|| late(&lists)).unwrap();
        Ok(())
    });
    assert_eq!(lists, [vec![0], vec![0]], "{reason}");
    replays("late", &schedule, || late(&lists));
}

#[test]
fn a_failure_under_one_schedule_is_found_and_explained() {
    let backwards = |senders: &[u32]| {
        let lists: Vec<_> = senders.iter().map(|it| vec![*it]).collect();
        let all = arrivals(&lists);
        assert!(!all.is_sorted_by(|one, other| one > other) || all.len() < 4, "backwards");
    };
    let strategy = schedule().name("backwards").with(Just(vec![1, 2, 3, 4]));
    let (reason, (senders, schedule)) = failing(config(), &strategy, |(senders, schedule)| {
        schedule.run(|| backwards(&senders)).map(drop)
    });
    replays("backwards", &schedule, || backwards(&senders));
    assert!(reason.contains("it does not fail so if"), "{reason}");
}

#[test]
fn shrinking_that_ends_early_ends_with_a_case_that_fails() {
    for max_shrink_iters in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
        let config = Config { max_shrink_iters, ..config() };
        let strategy = schedule().name("late").with(lists());
        let (_, (lists, schedule)) =
            failing(config, &strategy, |(lists, schedule)| schedule.run(|| late(&lists)).map(drop));
        assert!(schedule.run(|| late(&lists)).is_err(), "{max_shrink_iters}: {lists:?}");
        replays("late", &schedule, || late(&lists));
    }
}

/// Whatever fails and whatever passes, as long as it always does.
#[test]
fn shrinking_ends_at_the_last_failure() {
    for seed in 0..200_u64 {
        let mut tree = schedule().with(lists()).new_tree(&mut TestRunner::new(config())).unwrap();
        let data = |case: (Vec<Vec<u32>>, Schedule)| case.0;
        let fail = |schedule: Schedule| schedule.run(|| panic!("always")).is_err();
        let fails = |lists: &[Vec<u32>]| {
            let mix = |hash: u64, it: &u32| (hash ^ u64::from(*it)).wrapping_mul(0x9E37_79B9);
            lists.iter().map(|it| it.iter().fold(seed, mix) >> 7).sum::<u64>() & 1 == 1
        };
        assert!(fail(tree.current().1));
        let (mut last, mut more, mut steps) = (data(tree.current()), tree.simplify(), 0);
        while more {
            let lists = data(tree.current());
            let failed = fails(&lists) && fail(tree.current().1);
            if failed {
                last = lists;
            }
            more = if failed { tree.simplify() } else { tree.complicate() };
            steps += 1;
            assert!(steps < 10_000, "it does not end");
        }
        assert_eq!(data(tree.current()), last, "seed {seed}");
    }
}

#[test]
fn what_shrinks_stays_the_same_fault() {
    let fault = |list: &[u32]| {
        let all = arrivals(&[list.to_vec()]);
        assert!(all.len() < 3, "many");
        assert!(all.is_empty(), "few");
    };
    // Nearly all cases are large ones.
    let strategy = schedule().name("fault").with(vec(0..9_u32, 0..40));
    let (reason, (list, _)) =
        failing(config(), &strategy, |(list, schedule)| schedule.run(|| fault(&list)).map(drop));
    assert_eq!(list, [0, 0, 0]);
    assert!(reason.contains("panicked: many"), "{reason}");
    assert!(reason.contains("another fault was seen"), "{reason}");
}

#[test]
fn a_schedule_may_be_used_twice() {
    let strategy = schedule().name("twice").with(lists());
    let (_, (lists, schedule)) = failing(config(), &strategy, |(lists, schedule)| {
        schedule.run(|| drop(arrivals(&lists)))?;
        schedule.run(|| late(&lists)).map(drop)
    });
    assert_eq!(lists, [vec![0], vec![0]]);
    replays("twice", &schedule, || late(&lists));
    assert!(schedule.run(|| drop(arrivals(&lists))).is_ok());
}

#[test]
fn timers_may_fire_at_any_moment_on_request() {
    let race = || {
        let (tx, rx) = channel();
        spawn(move || tx.send(()));
        assert!(rx.recv_timeout(Duration::from_millis(1)).is_ok(), "early");
    };
    let explored = |lax: bool| {
        let strategy = schedule().lax_timers(lax).name("race").schedules(20);
        TestRunner::new(Config { cases: 3, ..config() }).run(&strategy, |it| it.run(race).map(drop))
    };
    assert!(explored(false).is_ok());
    assert!(explored(true).is_err());
}

#[test]
fn fork_and_timeout_are_refused_with_the_reason() {
    let asked = [Config { fork: true, ..config() }, Config { timeout: 1_000, ..config() }];
    for config in asked {
        let mut runner = TestRunner::new(config);
        let alone = schedule().new_tree(&mut runner).unwrap_err();
        let joint = schedule().with(lists()).new_tree(&mut runner).map(drop).unwrap_err();
        for reason in [alone, joint] {
            assert!(reason.message().contains("without running the test"), "{reason}");
        }
    }
}

#[test]
fn a_program_that_never_ends_and_one_that_is_empty_have_their_verdicts() {
    let config = || Config { cases: 1, ..config() };
    let (reason, _) = failing(config(), &schedule().events(500).name("spin"), |schedule| {
        schedule.run(loop_for_ever).map(drop)
    });
    assert!(reason.contains("livelock"), "{reason}");
    let empty = TestRunner::new(config()).run(&schedule(), |it| it.run(|| ()).map(drop));
    assert!(empty.is_ok());
    let none = schedule().schedules(0).fresh(0);
    let (reason, _) = failing(config(), &none, |it| it.run(|| panic!("at once")).map(drop));
    assert!(reason.contains("at once"), "{reason}");
}

fn loop_for_ever() {
    loop {
        tasklets::yield_now();
    }
}

/// An empty directory for the files of a test, and a configuration that keeps them there.
fn kept_in(test: &str) -> (PathBuf, Config) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    let seeds = folder.join("seeds.txt").to_str().unwrap().to_owned();
    (folder, keeping(seeds))
}

fn keeping(seeds: String) -> Config {
    Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds.leak()))),
        source_file: Some(file!()),
        ..config()
    }
}

/// Runs the test of `late` and counts how often the program and the test are run.
fn count(folder: &Path, config: Config) -> (String, Vec<Vec<u32>>, String, [u32; 2]) {
    let (runs, tests) = (Cell::new(0), Cell::new(0));
    let strategy = schedule().name("a::late").saved_in(folder).with(lists());
    let (reason, (lists, schedule)) = failing(config, &strategy, |(lists, schedule)| {
        tests.set(tests.get() + 1);
        schedule
            .run(|| {
                runs.set(runs.get() + 1);
                late(&lists);
            })
            .map(drop)
    });
    (reason, lists, format!("{schedule:?}"), [runs.get(), tests.get()])
}

#[test]
fn a_shrunk_case_is_saved_and_is_not_shrunk_again() {
    let (folder, config) = kept_in("saved");
    let (_, lists, replay, first) = count(&folder, config.clone());
    let seeds = fs::read_to_string(folder.join("seeds.txt")).unwrap();
    assert!(seeds.contains(&replay), "{seeds}");
    let path = folder.join("a-late.sched");
    let saved = fs::read_to_string(&path).unwrap();
    let data = format!("data {lists:?}");
    for part in ["shrunk case 1", "crate 0.", "program a::late", &replay, &data] {
        assert!(saved.contains(part), "no {part:?} in {saved}");
    }
    let (_, same, same_replay, second) = count(&folder, config.clone());
    assert_eq!((same, same_replay), (lists.clone(), replay.clone()));
    assert_eq!(second[1], 2, "the case of the seed, then the saved one");
    assert!(first[0] > 3 * second[0], "{first:?} {second:?}");
    assert_eq!(saved, fs::read_to_string(&path).unwrap());
    // Damaged, of another version, of another strategy: as if there were none, and written again.
    for damaged in [&saved[..saved.len() / 2], "", &saved.replacen("case 1", "case 2", 1)] {
        fs::write(&path, damaged).unwrap();
        let (_, again, ..) = count(&folder, config.clone());
        assert_eq!(again, lists);
        assert_eq!(saved, fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn a_folder_that_is_missing_is_made_and_one_that_cannot_be_written_is_told_of() {
    let (folder, _) = kept_in("folders");
    let config = || keeping(folder.join("no-seeds.txt").to_str().unwrap().to_owned());
    let (_, lists, replay, _) = count(&folder.join("made/here"), config());
    assert!(folder.join("made/here/a-late.sched").is_file());
    // A file where the folder should be, a folder where the file should be, and no permission:
    // the failure is the same.
    fs::write(folder.join("file"), "").unwrap();
    fs::create_dir_all(folder.join("taken/a-late.sched")).unwrap();
    fs::create_dir(folder.join("locked")).unwrap();
    fs::set_permissions(folder.join("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    for name in ["file", "taken", "locked"] {
        let (_, same, same_replay, _) = count(&folder.join(name), config());
        assert_eq!((same, same_replay), (lists.clone(), replay.clone()), "{name}");
    }
}

#[test]
fn what_keeps_a_case_from_being_saved_is_said() {
    let ended = Isolation::default().run(|| {
        let (folder, config) = kept_in("unsaved");
        fs::write(folder.join("file"), "").unwrap();
        count(&folder.join("file"), config);
    });
    let Some(ended) = ended else { return };
    ended.well().saying(&["tasklets: ", "a-late.sched: Not a directory"]);
}

#[test]
fn the_environment_asks_for_the_saved_case_alone() {
    const TEXT: &str = "TASKLETS_REPLAY";
    let child = std::env::var(TEXT).is_ok();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("asked");
    let (replay, lists) = if child {
        (std::env::var(TEXT).unwrap(), Vec::new())
    } else {
        let (folder, config) = kept_in("asked");
        let (_, lists, replay, _) = count(&folder, config);
        (replay, lists)
    };
    let config = || keeping(folder.join("no-seeds.txt").to_str().unwrap().to_owned());
    let ended = Isolation::default().env(TEXT, replay.clone()).run(|| {
        let (reason, lists, schedule, [runs, tests]) = count(&folder, config());
        eprintln!("{tests} test, {runs} runs: {lists:?} {schedule}: {reason}");
    });
    let Some(ended) = ended else { return };
    ended.well().saying(&["1 test", &format!("{lists:?}"), "panicked: late"]);
}

#[test]
fn half_a_replay_string_is_refused() {
    let ended = Isolation::default().env("TASKLETS_REPLAY", "v2:a::late:,1@").run(|| {
        let (folder, config) = (PathBuf::from("nowhere"), config());
        eprintln!("{}", count(&folder, config).0);
    });
    let Some(ended) = ended else { return };
    ended.well().saying(&["TASKLETS_REPLAY", "cut or changed"]);
}

#[test]
fn debug_forms_are_short() {
    fn short(value: &impl Debug) {
        let text = format!("{value:?}");
        assert!(text.len() < 1_000 && !text.is_empty(), "{text}");
    }
    let mut runner = TestRunner::new(config());
    short(&schedule());
    let tree = schedule().name("b").new_tree(&mut runner).unwrap();
    short(&tree.current());
    short(&schedule().with(Just(1)).new_tree(&mut runner).unwrap());
}
