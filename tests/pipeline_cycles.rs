//! Networks that feed themselves: one that has no room left ends as the deadlock it is, with the
//! names of all who wait and of their channels; one that has room goes round.

use tasklets::explore::{Explore, Failure, Outcome, Search};
use tasklets::pipeline::from_channel;
use tasklets::plug::{self, Rest};
use tasklets::{Builder, Receiver, RunError, Runtime, Sender, TaskletId, channel, run, spawn};

/// A channel with a name.
fn named(name: &str) -> (Sender<u32>, Receiver<u32>) {
    tasklets::channel::Builder::new().name(name).channel()
}

/// `network` ends as a deadlock, run and under every schedule; the reports say who waits in a
/// `circle`, if that can be known, and all `words`.
#[track_caller]
fn is_stuck(network: impl Fn(), circle: &[&str], words: &[&str]) {
    let ended = Runtime::builder().build().run(&network);
    let Err(RunError::Stuck(report)) = ended else { panic!("it has no room: {ended:?}") };
    let label = |it: &TaskletId| report.snapshot.tasklet(*it).unwrap().label();
    let (waiting, text) = (report.cycle.iter().map(label).collect(), report.to_string());
    says(waiting, &text, circle, words);

    let every = Explore::new().search(Search::Exhaustive).all_failures(true).run(&network);
    let (verdict, report) = (every.verdict, every.report.expect("there is no room"));
    let is_deadlock = |it: &Failure| it.outcome == Outcome::Deadlock;
    assert!(verdict.exhausted && verdict.failures.iter().all(is_deadlock), "{verdict}");
    assert_eq!(verdict.failures.len() as u64, verdict.traces, "{verdict}");
    let text = report.to_string();
    says(report.cycle, &text, circle, words);
}

#[track_caller]
fn says(cycle: Vec<String>, text: &str, circle: &[&str], words: &[&str]) {
    let named = |stage: &&str| cycle.iter().any(|it| it.contains(&format!("`{stage}`")));
    let is_circle = cycle.len() == circle.len() && circle.iter().all(named);
    assert!(circle.is_empty() || is_circle, "{cycle:?}\n{text}");
    assert!(words.iter().all(|it| text.contains(it)), "not all of {words:?} in\n{text}");
}

#[test]
fn a_pipeline_that_has_only_itself_for_a_source_is_stuck() {
    let network = || {
        let (tx, rx) = named("own");
        from_channel(rx).named("in").into_channel(tx).named("out").run().ok();
    };
    is_stuck(network, &[], &["`own`", "`in`", "`out`"]);
}

#[test]
fn a_pipeline_that_gives_its_source_more_than_there_is_room_for_is_stuck() {
    let network = || {
        let (tx, rx) = named("own");
        let first = tx.clone();
        spawn(move || first.send(0));
        let twice = from_channel(rx).named("in").flat_map(|it| [it, it]).named("twice");
        twice.into_channel(tx).named("out").run().ok();
    };
    is_stuck(network, &["in", "twice", "out"], &["`own`", "`in`", "`twice`"]);
}

#[test]
fn two_pipelines_that_give_each_other_more_than_there_is_room_for_are_stuck() {
    let network = || {
        let ((to_left, left), (to_right, right)) = (named("to left"), named("to right"));
        let first = to_left.clone();
        spawn(move || first.send(0));
        let twice = from_channel(left).named("l in").flat_map(|it| [it, it]).named("l twice");
        let other = spawn(move || twice.into_channel(to_right).named("l out").run().is_ok());
        let back = from_channel(right).named("r in").into_channel(to_left).named("r out");
        back.run().ok();
        other.join().ok();
    };
    let circle = ["l in", "l twice", "l out", "r in", "r out"];
    is_stuck(network, &circle, &["`to left`", "`to right`"]);
}

#[test]
fn a_stage_that_sends_to_its_own_source_what_finds_no_room_is_stuck() {
    let network = || {
        let (tx, rx) = named("own");
        let first = tx.clone();
        spawn(move || first.send(0));
        let again = from_channel(rx).named("in").inspect(|it| {
            tx.send_all([*it, *it]).ok();
        });
        again.named("again").count().run().ok();
    };
    is_stuck(network, &["in", "again"], &["`own`"]);
}

type Process = fn(Receiver<u32>, Sender<u32>) -> Result<(), Rest<u32>>;

/// Processes that can be given both ends of a channel.
const ALONE: [Process; 7] = [
    |from, to| plug::buffer(1, from, to),
    |from, to| plug::sliding(1, from, to),
    |from, to| plug::unbounded(9, |_| (), from, to),
    |from, to| plug::prefix([1], from, to),
    |from, to| plug::merge(vec![from], to),
    |from, to| plug::merge_by_priority(vec![from], to),
    |from, to| plug::delta(from, vec![to]),
];

#[test]
fn a_process_that_has_both_ends_of_a_channel_never_meets_itself() {
    for process in ALONE {
        for seeds in 0..2 {
            let network = || {
                let (tx, rx) = named("own");
                let first = tx.clone();
                let seeder = spawn(move || first.send_all(0..seeds));
                let alone = Builder::new().name("alone").spawn(move || process(rx, tx)).unwrap();
                seeder.join().ok();
                alone.join().ok();
            };
            is_stuck(network, &[], &["`alone`", "`own`"]);
        }
    }
}

#[test]
fn a_cycle_that_has_room_goes_round_and_ends_under_every_schedule() {
    let verdict = Explore::new().check(|| {
        let (tx, rx) = channel();
        let first = tx.clone();
        spawn(move || first.send(0));
        let numbers = from_channel(rx).take(2).tee(|it| it.map(|it| it + 1).into_channel(tx));
        assert_eq!(numbers.collect::<Vec<u32>>().run().unwrap().value, [0, 1]);
    });
    assert!(verdict.exhausted, "{verdict}");
}

#[test]
fn a_buffer_in_a_cycle_is_room_for_all_that_is_found() {
    let found = run(|| {
        let ((tx, found), (to, todo)) = (channel(), channel());
        spawn(move || plug::unbounded(1_000, |_| (), found, to));
        tx.send(5_u32).unwrap();
        // A tree: each number has two of those below it.
        let nodes = from_channel(todo).take(63).tee(|it| {
            let parents = it.filter(|it| *it > 0);
            parents.flat_map(|it| [it - 1; 2]).into_channel(tx)
        });
        nodes.count().run().unwrap().value
    });
    assert_eq!(found, 63);
}
