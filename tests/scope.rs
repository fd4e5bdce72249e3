//! Scopes: no child outlives them, failures are kept, deadlines are inherited.

mod support;

use std::cell::Cell;
use std::time::Duration;
use support::status_kib;
use tasklets::{
    Runtime, channel, now, run, scope, shield, sleep, snapshot, spawn, tasklet_local, within,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_shutdown_that_gives_way_first_does_not_wait_for_those_who_ended_meanwhile() {
    for (budget, before) in (1..4).flat_map(|budget| (0..8).map(move |before| (budget, before))) {
        let runtime = Runtime::builder().budget(budget).virtual_clock(true).build();
        let waited = runtime.run(|| {
            let start = now();
            scope(|s| {
                let (tx, _rx) = channel::<u8>();
                (0..2).for_each(|_| drop(s.spawn(|| ())));
                (0..before).for_each(|_| assert!(tx.try_send(0).is_ok()));
                assert_eq!(s.shutdown(SECOND).len(), 0);
            });
            now() - start
        });
        assert_eq!(waited.unwrap(), Duration::ZERO, "budget {budget}, {before} operations before");
    }
}

#[test]
fn a_child_is_not_under_a_deadline_inside_of_its_scope() {
    let runtime = Runtime::builder().virtual_clock(true).build();
    let slept = runtime.run(|| {
        scope(|s| {
            let child = within(SECOND, || {
                let child = s.spawn(|| sleep(10 * SECOND));
                let _ = sleep(5 * SECOND);
                child
            });
            assert!(child.expired);
            child.value.join().unwrap()
        })
    });
    assert_eq!(slept.unwrap_or_else(|error| panic!("{error}")), Ok(()));
}

#[test]
fn a_long_scope_does_not_remember_children_that_ended() {
    tasklet_local! { static DEPTH: Cell<u8> = Cell::new(0); }
    run(|| {
        scope(|s| {
            let work = || s.spawn(|| shield(|| DEPTH.with(|it| it.set(1)))).join().unwrap();
            (0..1_000).for_each(|_| work());
            let before = status_kib("VmRSS");
            (0..30_000).for_each(|_| work());
            let grown = status_kib("VmRSS") - before;
            assert!(grown < 4_096, "{grown} KiB for children that have ended");
        });
        drop(spawn(|| ()));
        assert_eq!(snapshot().unwrap().tasklets.len(), 2);
    });
}
