//! Blocking calls: on other threads, bounded in number, answered or forgotten.

use std::time::Duration;
use tasklets::{Runtime, blocking, spawn, within, yield_now};

/// Panics when it is dropped, unless the thread does so already.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "on purpose");
    }
}

#[test]
fn a_forgotten_call_whose_captures_panic_costs_no_thread() {
    let runtime = Runtime::builder().blocking_threads(1).build();
    let answer = runtime.run(|| {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let first = spawn(move || blocking(move || wait.recv()));
        yield_now();
        let loud = Loud;
        let second = spawn(move || blocking(move || drop(loud)));
        yield_now();
        second.cancel();
        assert!(second.join().unwrap().is_err());
        go.send(()).unwrap();
        first.join().unwrap().unwrap().unwrap();
        within(Duration::from_secs(5), || blocking(|| 3)).value
    });
    assert_eq!(answer.unwrap(), Ok(3));
}
