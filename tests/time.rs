//! Time: sleeping, timers as operations, deadlines.

use std::time::Duration;
use tasklets::{Operation, after, at, now, run, select};

#[test]
fn a_timer_whose_time_has_come_happens_at_once() {
    run(|| {
        assert!(after(Duration::ZERO).poll().is_some());
        assert!(at(now()).poll().is_some());
        select! {
            biased;
            op(at(now())) -> it => assert!(it.is_ok()),
            default => panic!("its time had come"),
        }
    });
}
