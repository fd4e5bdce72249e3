//! The ready queue, with more tasklets in it than its ring has room for.

use std::cell::RefCell;
use std::rc::Rc;
use tasklets::{Runtime, Tasklet, run, spawn, yield_now};

/// More than fit in the ring (1,024) several times over.
const MANY: usize = 3_000;

type Log = Rc<RefCell<Vec<usize>>>;

/// Tasklets that each note their number, `rounds` times, and give way in between.
fn noting(log: &Log, rounds: usize) -> Vec<Tasklet<()>> {
    let start = |number| {
        let log = log.clone();
        spawn(move || {
            for _ in 0..rounds {
                log.borrow_mut().push(number);
                yield_now();
            }
        })
    };
    (0..MANY).map(start).collect()
}

#[test]
fn any_number_of_ready_tasklets_take_turns_in_the_order_they_became_ready() {
    let log = Log::default();
    run(|| noting(&log, 4).into_iter().for_each(|it| it.join().unwrap()));
    let rounds: Vec<_> = (0..4 * MANY).map(|it| it % MANY).collect();
    assert!(*log.borrow() == rounds, "somebody ran out of turn");
}

#[test]
fn a_tasklet_that_is_run_now_overtakes_all_who_are_ready_wherever_it_stands() {
    for chosen in [0, 1, 1_022, 1_023, 1_024, 1_025, 2_047, 2_048, 2_049, MANY - 1] {
        let log = Log::default();
        run(|| {
            let all = noting(&log, 1);
            assert!(all[chosen].run_now());
            all.into_iter().for_each(|it| it.join().unwrap());
        });
        let mut expected: Vec<_> = (0..MANY).collect();
        expected.remove(chosen);
        expected.insert(0, chosen);
        assert!(*log.borrow() == expected, "run now: {chosen}");
    }
}

#[test]
fn a_tasklet_that_is_stopped_and_inserted_again_goes_behind_all_who_are_ready() {
    for chosen in [0, 1, 1_023, 1_024, 2_048, MANY - 1] {
        let log = Log::default();
        run(|| {
            let all = noting(&log, 1);
            assert!(all[chosen].pause() && all[chosen].insert());
            all.into_iter().for_each(|it| it.join().unwrap());
        });
        let mut expected: Vec<_> = (0..MANY).filter(|it| *it != chosen).collect();
        expected.push(chosen);
        assert!(*log.borrow() == expected, "inserted: {chosen}");
    }
}

#[test]
fn counts_and_a_chooser_see_every_ready_tasklet() {
    let log = Log::default();
    // The last of all who are ready, each time.
    let runtime = Runtime::builder().chooser(|ways: usize| ways - 1).build();
    let counted = runtime.run(|| {
        let all = noting(&log, 1);
        let counted = tasklets::snapshot().unwrap().counts.runnable;
        all.into_iter().for_each(|it| it.join().unwrap());
        counted
    });
    assert_eq!(counted.unwrap(), MANY + 1, "all of them and the root");
    let backwards: Vec<_> = (0..MANY).rev().collect();
    assert!(*log.borrow() == backwards, "somebody else was chosen");
}
