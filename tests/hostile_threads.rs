//! Workers, shared channels and blocking calls against bodies and orders that mean no good.
#![cfg(not(miri))]

mod support;

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock};
use std::{fs, thread};
use support::isolated;
use tasklets::shared::{self, Workers, workers};
use tasklets::{RuntimeBuilder, blocking, run};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Lets this process open nothing more; what is given back makes room again when it is dropped.
fn exhaust() -> Vec<fs::File> {
    let mut all = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        all.push(file);
    }
    all
}

#[test]
fn a_call_without_descriptors_is_made_all_the_same() {
    let Some(ended) = isolated(|| {
        run(|| {
            let all = exhaust();
            assert_eq!(blocking(|| 1), Ok(1)); // here: nobody could wake this thread
            drop(all);
            assert_eq!(blocking(|| 2), Ok(2));
        });
    }) else {
        return;
    };
    ended.well();
}

/// Gives the worker of its group something to do when its run is over.
struct Late(Arc<OnceLock<Workers>>);

impl Drop for Late {
    fn drop(&mut self) {
        drop(self.0.get().unwrap().spawn_on(0, || ()));
    }
}

#[test]
fn what_a_worker_is_given_when_its_run_is_over_leaves_nothing_behind() {
    let Some(ended) = isolated(|| {
        let round = || {
            let group: Arc<OnceLock<Workers>> = Arc::default();
            let late = Mutex::new(Some(Late(group.clone())));
            let configure = move |it: RuntimeBuilder| {
                let late = late.lock().unwrap().take();
                it.on_event(move |_| assert!(late.is_some()))
            };
            assert!(group.set(Workers::with(1, configure).unwrap()).is_ok());
            let unlucky = || -> () { resume_unwind(Box::new("bad luck")) };
            drop(group.get().unwrap().spawn_on(0, unlucky));
            while Arc::strong_count(&group) > 1 {
                thread::yield_now();
            }
            let group = Arc::into_inner(group).unwrap().into_inner().unwrap();
            group.shutdown().unwrap_err();
        };
        round();
        let before = descriptors();
        (0..10).for_each(|_| round());
        assert_eq!(descriptors(), before);
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_panic_that_is_left_in_a_handle_after_the_shutdown_is_printed() {
    let Some(ended) = isolated(|| {
        let group = workers(1).unwrap();
        let unlucky = group.spawn_on(0, || -> () { resume_unwind(Box::new("never seen")) });
        while !unlucky.is_finished() {
            thread::yield_now();
        }
        group.shutdown().unwrap();
        drop(unlucky);
    }) else {
        return;
    };
    ended.well().saying(&["never seen"]);
}

#[test]
fn a_worker_that_would_wait_for_the_end_of_its_own_group_is_told() {
    let Some(ended) = isolated(|| {
        let (tell, told) = shared::channel::<Workers>();
        let group = workers(1).unwrap();
        let task = group.spawn_on(0, move || told.recv().unwrap().shutdown().is_ok());
        tell.send(group).unwrap();
        let error = task.join().unwrap_err();
        assert_eq!(error.message(), Some("a worker cannot wait for the end of its own group"));
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_group_too_large_to_be_is_refused() {
    let Some(ended) = isolated(|| {
        assert!(workers(usize::MAX).is_err());
        assert!(workers(1 << 40).is_err());
    }) else {
        return;
    };
    ended.well();
}
