//! Real tasklets under control do what the same program does on paper, and production does nothing
//! else.

mod systems;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use systems::controlled::{Controlled, Matching, matching};
use systems::real::{Real, Seen};
use systems::strategy::{Flavour, config, program};
use systems::{Arm, Program, Step, cases};
use tasklets::explore::{
    self, Explore, Mode, Outcome, Rules, Search, Settings, System, exhaust_with,
};

/// What can be written with real tasklets: a default is the last arm, and each body is joined in
/// one place.
fn writable(mut program: Program, fails: Option<(usize, usize)>) -> Program {
    fn tidy(steps: &mut [Step], joined: &mut BTreeSet<usize>) {
        for step in steps {
            match step {
                Step::Select(arms) => {
                    arms.retain(|(it, _)| !matches!(it, Arm::Join(body) if !joined.insert(*body)));
                    arms.sort_by_key(|(it, _)| matches!(it, Arm::Default | Arm::Limit(_)));
                    arms.iter_mut().for_each(|(_, then)| tidy(then, joined));
                }
                Step::If(_, yes, no) => {
                    tidy(yes, joined);
                    tidy(no, joined);
                }
                Step::While(_, steps) => tidy(steps, joined),
                Step::Set(..) | Step::Spawn(_) | Step::Drop(..) | Step::Fail(_) => {}
            }
        }
    }
    if let Some((body, at)) = fails {
        let body = body % program.bodies.len();
        let steps = &mut program.bodies[body];
        steps.insert(at.min(steps.len()), Step::Fail("on purpose"));
    }
    let mut joined = BTreeSet::new();
    program.bodies.iter_mut().for_each(|it| tidy(it, &mut joined));
    program
}

fn random(flavour: Flavour) -> impl Strategy<Value = Program> {
    let fails = prop_oneof![3 => Just(None), 1 => (1usize..6, 0usize..4).prop_map(Some)];
    (program(flavour), fails).prop_map(|(program, fails)| writable(program, fails))
}

/// How a run ended, as far as it is comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Finished,
    Deadlock,
    LeftBehind,
    Panicked,
}

fn ending(outcome: &Outcome) -> Option<Ending> {
    Some(match outcome {
        Outcome::Finished => Ending::Finished,
        Outcome::Deadlock => Ending::Deadlock,
        Outcome::LeftBehind => Ending::LeftBehind,
        Outcome::Panicked(..) => Ending::Panicked,
        Outcome::Refused(_, why) => panic!("refused: {why}"),
        Outcome::NotIsolated(..) | Outcome::NotDeterministic(..) | Outcome::Livelock => {
            panic!("no search says so by itself")
        }
        Outcome::StepBound | Outcome::Abandoned => return None,
    })
}

/// Every trace with its matching and its ending; none if there are more than so many.
type Traces = BTreeMap<u64, (Matching, Ending)>;

fn on_paper(program: &Program, settings: &Settings) -> Option<Traces> {
    let mut traces = Traces::new();
    let system = Controlled::beginning(program);
    let verdict = exhaust_with(&system, settings, &mut |run, names| {
        if let Some(ending) = ending(&run.outcome) {
            traces.insert(run.trace, (matching(run, names), ending));
        }
    });
    verdict.exhausted.then_some(traces)
}

/// The same with real tasklets, and what they saw.
fn in_reality(program: &Program, style: u64, settings: &Settings) -> (Traces, BTreeSet<Seen>) {
    let (mut traces, mut seen) = (Traces::new(), BTreeSet::new());
    let real = Real::new(program, style);
    let main = || real.main();
    let settings = Settings { executions_max: 3 * settings.executions_max + 100, ..*settings };
    let system = explore::Program::new("real", &main);
    let verdict = exhaust_with(&system, &settings, &mut |run, names| {
        let Some(mut ending) = ending(&run.outcome) else { return };
        let (failed, untaken) = real.failed();
        assert_eq!(untaken, ending == Ending::Panicked, "{:?}", run.outcome);
        if failed {
            ending = Ending::Panicked;
        }
        let twice = traces.insert(run.trace, (matching(run, names), ending));
        assert!(twice.is_none(), "a trace was executed twice");
        seen.insert(real.seen());
    });
    assert!(!verdict.diverged, "{verdict}");
    assert!(verdict.exhausted, "{verdict}");
    (traces, seen)
}

fn rules(lax_timers: bool) -> Settings {
    let rules = Rules { lax_timers, ..Rules::default() };
    Settings { rules, executions_max: 1_500, ..Settings::default() }
}

fn reality_equals_paper(program: &Program, style: u64, lax: bool) -> Result<(), TestCaseError> {
    let settings = rules(lax);
    let Some(paper) = on_paper(program, &settings) else { return Ok(()) };
    let (reality, _) = in_reality(program, style, &settings);
    prop_assert_eq!(reality, paper);
    Ok(())
}

/// What production runs of the program see with these seeds, and with which.
fn production(program: &Program, style: u64, seeds: std::ops::Range<u64>) -> BTreeMap<Seen, u64> {
    let run = |seed: u64| {
        let real = std::rc::Rc::new(Real::new(program, style).yielding(seed));
        let runtime = tasklets::Runtime::builder().seed(seed).virtual_clock(true).build();
        let main = real.clone();
        let ended = runtime.run(move || {
            let root = main.clone();
            drop(tasklets::spawn(move || {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| root.main()));
                drop(caught);
            }));
            tasklets::sleep(std::time::Duration::from_secs(1)).unwrap();
            main.over();
        });
        (real, ended)
    };
    seeds
        .filter_map(|seed| {
            let (real, ended) = run(seed);
            // A panic that nobody joined ends a production run at once.
            ended.is_ok().then(|| (real.seen(), seed))
        })
        .collect()
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn real_tasklets_do_what_the_program_says(
        program in random(Flavour::PLAIN), style in any::<u64>()
    ) {
        reality_equals_paper(&program, style, false)?;
    }

    #[test]
    fn so_they_do_with_defaults_timers_drops_joins_and_cancels(
        program in random(Flavour::MIXED), style in any::<u64>()
    ) {
        reality_equals_paper(&program, style, false)?;
    }

    #[test]
    fn so_they_do_when_timers_may_fire_at_any_moment(
        program in random(Flavour::MIXED), style in any::<u64>()
    ) {
        reality_equals_paper(&program, style, true)?;
    }

    #[test]
    fn production_shows_only_what_the_search_has_seen(
        program in random(Flavour::MIXED), style in any::<u64>(), seed in 0u64..1_000_000
    ) {
        let settings = rules(false);
        if on_paper(&program, &settings).is_none() {
            return Ok(());
        }
        let (_, seen) = in_reality(&program, style, &settings);
        let produced = production(&program, style, seed..seed + 40);
        let strange = produced.iter().find(|it| !seen.contains(it.0));
        prop_assert_eq!(strange, None, "{:?} in style {}, not of {:?}", program, style, seen);
    }

    #[test]
    fn what_is_the_same_each_time_is_not_accused_and_its_failures_replay(
        program in random(Flavour::MIXED), style in any::<u64>(),
        nth in 0_usize..4, lax in any::<bool>(),
    ) {
        let search = [
            Search::Portfolio, Search::Exhaustive, Search::States, Search::Random(Mode::Walk),
        ][nth];
        let (real, explorer) = (Real::new(&program, style), Explore::new().name("real"));
        let explorer = explorer.search(search).lax_timers(lax).executions(300).events(500);
        let explored = explorer.run(|| real.main());
        prop_assert!(!explored.verdict.diverged, "{search:?}: {}", explored.report.unwrap());
        if let Some(report) = explored.report {
            prop_assert!(!report.outcome.contains("is not isolated"), "{search:?}: {report}");
            let again = explore::replay(&report.replay, || real.main());
            let again = again.map(|it| it.report.map(|it| it.outcome));
            prop_assert_eq!(again, Ok(Some(report.outcome.clone())), "{:?}: {}", search, report);
        }
    }
}

#[test]
fn a_cancelled_wait_for_time_alone_ends_as_cancelled_however_it_is_written() {
    let wait = |arm| Step::Select(vec![(arm, vec![])]);
    let root = vec![Step::Spawn(1), wait(Arm::Cancel(1))];
    for arm in [Arm::Timer(0), Arm::Timer(1), Arm::Limit(0), Arm::Limit(1)] {
        let body = vec![wait(arm), wait(Arm::Default)];
        let program = Program::new("time", 0, vec![root.clone(), body]);
        for (style, lax) in (0..32).flat_map(|style| [(style, false), (style, true)]) {
            let settings = rules(lax);
            let paper = on_paper(&program, &settings).expect("the program is small");
            let (reality, _) = in_reality(&program, style, &settings);
            assert_eq!(reality, paper, "in style {style}, lax {lax}");
        }
    }
}

#[test]
fn a_cancelled_attempt_goes_on_and_its_timer_is_due_when_it_was() {
    let wait = |arm| Step::Select(vec![(arm, vec![])]);
    let root = vec![Step::Spawn(1), wait(Arm::Timer(1)), wait(Arm::Cancel(1))];
    let body = vec![Step::Select(vec![(Arm::Timer(1), vec![]), (Arm::Default, vec![])])];
    let program = Program::new("attempt", 0, vec![root, body]);
    for (style, lax) in (0..32).flat_map(|style| [(style, false), (style, true)]) {
        let settings = rules(lax);
        let paper = on_paper(&program, &settings).expect("the program is small");
        let (reality, _) = in_reality(&program, style, &settings);
        assert_eq!(reality, paper, "in style {style}, lax {lax}");
    }
}

#[test]
fn real_tasklets_do_what_the_classic_programs_say() {
    let all = [
        cases::producers(3, 2),
        cases::philosophers(3, false),
        cases::cyclers(3, 2),
        cases::commstime(3, true),
        cases::pipe(3, 4),
        cases::two_phase_commit(2),
        cases::ring(&[2, 1, 3]),
        cases::etcd_6857(),
        cases::etcd_6873(),
        cases::kubernetes_1321(2),
        cases::kubernetes_5316(),
    ];
    for (program, style) in all.iter().flat_map(|it| (0..8).map(move |style| (it, style))) {
        let program = writable(program.clone(), None);
        let settings = Settings { executions_max: 20_000, ..Settings::default() };
        let paper = on_paper(&program, &settings).expect("the program is small");
        let (reality, _) = in_reality(&program, style, &settings);
        assert_eq!(
            reality,
            paper,
            "{} in style {style}",
            System::program(&Controlled::new(&program))
        );
    }
}
