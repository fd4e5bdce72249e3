//! Tasklet-locals: one value per tasklet, made late and dropped in place.

use std::cell::Cell;
use tasklets::{run, spawn, tasklet_local};

thread_local! {
    static DROPPED: Cell<u32> = const { Cell::new(0) };
}

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
    }
}

struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        MADE_IN_A_DESTRUCTOR.with(|_| DROPPED.set(0));
    }
}

tasklet_local! {
    static LATE: Late = Late;
    static MADE_IN_A_DESTRUCTOR: Counted = Counted;
}

#[test]
fn a_value_made_in_a_destructor_of_another_is_dropped_in_the_tasklet_too() {
    run(|| {
        let child = spawn(|| {
            LATE.with(|_| ());
        });
        let handle = child.handle(); // keeps the control block
        child.join().unwrap();
        assert!(handle.is_finished());
        if std::env::var_os("TASKLETS_STACKS").is_none() {
            assert_eq!(DROPPED.get(), 1);
        }
    });
}
