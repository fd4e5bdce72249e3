//! Runs a program under a schedule and judges what came of it.

use super::model::{Verdict, judge, judge_values};
use super::play::{Boom, play};
use super::program::Program;
use super::world::{Entry, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use tasklets::{Counts, JoinError, RunError, Runtime};

/// Who decides.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// First come first served; the seed draws lots among arms.
    InOrder(u64),
    /// A seeded chooser, also of who runs next.
    Drawn(u64),
    /// These answers, and 0 when they are used up.
    Told(Vec<u8>),
}

/// How a program is run.
#[derive(Clone, Debug)]
pub struct Setting {
    pub schedule: Schedule,
    /// Whether a hook listens; only then the log can be judged in full.
    pub hooked: bool,
    pub threads: bool,
    pub budget: u32,
}

impl Setting {
    /// A run that can be judged in full.
    pub fn judged(schedule: Schedule) -> Setting {
        // No tasklet of a program does so many operations: the model knows no budget.
        Setting { schedule, hooked: true, threads: false, budget: 100_000 }
    }
}

/// What is left to join of a panic that the run has ended with.
const REPORTED: &str = "a panic that has been reported already";

/// SplitMix64: as good as any here.
pub fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn runtime(setting: &Setting, world: &Rc<World>) -> Runtime {
    let builder = Runtime::builder()
        .virtual_clock(true)
        .root_stack_size(1 << 20)
        .threads_as_stacks(setting.threads)
        .budget(setting.budget);
    let builder = match setting.schedule.clone() {
        Schedule::InOrder(seed) => builder.seed(seed),
        Schedule::Drawn(mut state) => {
            builder.chooser(move |ways: usize| (draw(&mut state) % ways as u64) as usize)
        }
        Schedule::Told(answers) => {
            let mut answers = answers.into_iter();
            builder.chooser(move |_: usize| usize::from(answers.next().unwrap_or(0)))
        }
    };
    if !setting.hooked {
        return builder.build();
    }
    let world = world.clone();
    builder.on_event(move |event| world.hear(event)).build()
}

/// Runs `program`; an error says what was found wrong without the model.
pub fn run(program: &Program, setting: &Setting) -> Result<(Vec<Entry>, Verdict), String> {
    let world = Rc::new(World::default());
    let runtime = runtime(setting, &world);
    let ended = runtime.run(|| play(&world, program));
    let verdict = match ended {
        Ok(()) => Verdict::Done,
        Err(RunError::Stuck(_)) => Verdict::Stuck,
        Err(RunError::Panicked(report)) if report.payload.is::<Boom>() => Verdict::Panicked,
        Err(error) => return Err(error.to_string()),
    };
    let left = runtime.counts();
    drop(runtime);
    for (_, handle) in world.peers.take() {
        // Outside of a run a join takes the result and cannot wait.
        let Some(handle) = handle else { continue };
        let joined = catch_unwind(AssertUnwindSafe(|| handle.join()));
        if let Ok(Err(error)) = joined
            && let JoinError::Panicked(payload) = &error
        {
            let known = payload.is::<Boom>() || error.message() == Some(REPORTED);
            world.claim(known, || error.to_string());
        }
    }
    world.claim(left == Counts::default(), || format!("left alive: {left:?}"));
    let misdropped = world.misdropped();
    world.claim(misdropped.is_empty(), || format!("(value, drops): {misdropped:?}"));
    let wrong = world.wrong.take();
    let log = world.take_log();
    match wrong.is_empty() {
        true => Ok((log, verdict)),
        false => Err(format!("{wrong:?}\nlog {log:#?}")),
    }
}

/// Runs `program` where a hook listens, and holds its log against the model.
pub fn try_out(program: &Program, setting: &Setting) -> Result<(Vec<Entry>, Verdict), String> {
    let (log, verdict) = run(program, setting)?;
    let ordered = matches!(setting.schedule, Schedule::InOrder(_));
    judge(program, &log, verdict, ordered)?;
    Ok((log, verdict))
}

/// Runs `program` under any setting, and follows its values.
pub fn follow(program: &Program, setting: &Setting) -> Result<(Vec<Entry>, Verdict), String> {
    let (log, verdict) = run(program, setting)?;
    judge_values(program, &log)?;
    Ok((log, verdict))
}

/// What the tasklets themselves have done.
pub fn deeds(log: &[Entry]) -> Vec<Entry> {
    log.iter().filter(|it| !it.event.is_hooked()).cloned().collect()
}
