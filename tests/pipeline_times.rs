//! How the time of a stage went, as its report says.

use std::cell::Cell;
use std::time::Duration;
use tasklets::pipeline::{self, Report};
use tasklets::{Runtime, channel, run, sleep, spawn};

const MILLI: Duration = Duration::from_millis(1);

/// Runs in virtual time, which passes only in `sleep`.
fn timed<T: 'static>(f: impl FnOnce() -> T) -> T {
    Runtime::builder().virtual_clock(true).build().run(f).unwrap()
}

/// The times of a stage are no more than its workers were there for.
fn is_possible(report: &Report) {
    for it in &report.stages {
        let sum = it.busy + it.blocked_on_input + it.blocked_on_output;
        assert!(sum <= report.elapsed * it.workers as u32, "{it:?} in {:?}", report.elapsed);
    }
}

#[test]
fn one_slow_item_of_few_is_not_taken_for_many() {
    for slow in [0, 1, 5, 63] {
        let done = timed(move || {
            let line = pipeline::from_iter(0..64).map(move |it| {
                if it == slow {
                    sleep(100 * MILLI).unwrap();
                }
                it
            });
            line.named("slow").count().run().unwrap()
        });
        is_possible(&done.report);
        let stage = &done.report.stages[1];
        assert_eq!((stage.busy, stage.blocked_on_input), (100 * MILLI, Duration::ZERO));
        assert_eq!(stage.blocked_on_output, Duration::ZERO);
        assert_eq!(done.report.bottleneck().unwrap().name, "slow");
    }
}

#[test]
fn the_bottleneck_is_who_works_longest_whichever_item_that_is_for() {
    let done = timed(|| {
        let nap = |at: u32, long: Duration| {
            move |it: u32| {
                if it == at {
                    sleep(long).unwrap();
                }
                it
            }
        };
        let line = pipeline::from_iter(0..10).map(nap(0, MILLI)).named("quick");
        line.map(nap(5, 10_000 * MILLI)).named("slow").count().run().unwrap()
    });
    is_possible(&done.report);
    assert_eq!(done.report.bottleneck().unwrap().name, "slow");
    assert_eq!(done.report.stages[1].busy, MILLI);
    assert_eq!(done.report.stages[1].blocked_on_output, 10_000 * MILLI); // items wait behind it
    assert_eq!(done.report.stages[2].busy, 10_000 * MILLI);
}

#[test]
fn items_that_are_slow_each_are_all_measured_also_after_many_that_were_quick() {
    let (quick, slow) = (5_000, 40);
    let done = timed(move || {
        let line = pipeline::from_iter(0..quick + slow).map(move |it| {
            if it >= quick {
                sleep(10 * MILLI).unwrap();
            }
        });
        line.count().run().unwrap()
    });
    is_possible(&done.report);
    // All but the first, perhaps: it is known of that only how long the round took.
    assert!(done.report.stages[1].busy >= (slow - 1) * 10 * MILLI);
}

#[test]
fn to_wait_for_room_is_not_to_work() {
    let done = timed(|| {
        let line = pipeline::from_iter(0..3).map(|it| it).workers(2);
        line.for_each(|_| sleep(MILLI).unwrap()).in_flight(1).run().unwrap()
    });
    is_possible(&done.report);
    let busy: Vec<_> = done.report.stages.iter().map(|it| it.busy).collect();
    assert_eq!(busy, [Duration::ZERO, Duration::ZERO, 3 * MILLI]);
    // Also before it looks for a fourth.
    assert_eq!(done.report.stages[0].blocked_on_output, 3 * MILLI);
}

#[test]
fn to_wait_for_who_receives_is_not_to_work() {
    let done = timed(|| {
        let (tx, rx) = channel();
        let reader = spawn(move || rx.iter().inspect(|_| sleep(MILLI).unwrap()).count());
        let done = pipeline::from_iter(0..3).into_channel(tx).named("out").run().unwrap();
        assert_eq!(reader.join().unwrap(), 3);
        done
    });
    is_possible(&done.report);
    let out = &done.report.stages[1];
    assert_eq!((out.busy, out.blocked_on_output), (Duration::ZERO, 2 * MILLI));
}

#[test]
fn of_many_quick_items_the_times_are_possible_ones() {
    let spins = Cell::new(0_u64);
    let done = run(|| {
        let line = pipeline::from_iter(0..20_000_u64).map(|it| {
            (0..it % 100).for_each(|by| spins.set(spins.get().wrapping_mul(31) + by));
            it
        });
        line.filter(|it| it % 2 == 0).workers(3).count().run().unwrap()
    });
    is_possible(&done.report);
    assert!(done.report.stages[1].busy > Duration::ZERO);
}
