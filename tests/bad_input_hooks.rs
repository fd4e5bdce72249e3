//! Code of the user that the runtime calls and that panics: hooks, choosers, destructors.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::time::Duration;
use support::isolated;
use tasklets::{
    Event, Halt, RunError, Runtime, channel, current, pause, scope, sleep, spawn, tasklet_local,
    yield_now,
};

/// Runs its closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

tasklet_local! {
    static LAST_WORDS: RefCell<Option<OnDrop<Box<dyn FnMut()>>>> = RefCell::new(None);
}

#[test]
fn a_result_whose_drop_panics_after_a_local_gave_way_is_the_panic_of_its_tasklet() {
    let Some(ended) = isolated(|| {
        let ended = Runtime::builder().build().run(|| {
            let tasklet = spawn(|| {
                let slow: Box<dyn FnMut()> = Box::new(|| (0..3).for_each(|_| yield_now()));
                LAST_WORDS.with(|it| *it.borrow_mut() = Some(OnDrop(slow)));
                OnDrop(|| resume_unwind(Box::new("the result")))
            });
            yield_now(); // its body has ended; its locals are being dropped
            drop(tasklet);
            (0..9).for_each(|_| yield_now());
        });
        let Err(RunError::Panicked(report)) = ended else { panic!("lost: {ended:?}") };
        assert_eq!(report.message(), "the result");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn an_injected_error_that_nobody_takes_is_dropped_in_its_tasklet() {
    #[derive(Debug)]
    struct Bomb;
    impl std::fmt::Display for Bomb {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bomb")
        }
    }
    impl std::error::Error for Bomb {}
    impl Drop for Bomb {
        fn drop(&mut self) {
            let place = current().map_or("outside".to_owned(), |it| it.path());
            resume_unwind(Box::new(format!("dropped in {place}")));
        }
    }
    let Some(ended) = isolated(|| {
        let ended = Runtime::builder().build().run(|| {
            let tasklet = spawn(|| pause().unwrap_err());
            yield_now();
            tasklet.inject(Bomb);
            drop(tasklet);
            (0..3).for_each(|_| yield_now());
        });
        let Err(RunError::Panicked(report)) = ended else { panic!("lost: {ended:?}") };
        assert_eq!(report.message(), "dropped in root.0");
    }) else {
        return;
    };
    ended.well();
}

/// Runs a small program whose hook panics at the first event that `at` accepts.
fn with_panicking_hook(at: fn(&Event) -> bool) {
    let fired = Cell::new(false);
    let hook = move |event: &Event| {
        if at(event) && !fired.replace(true) {
            resume_unwind(Box::new("a hook"));
        }
    };
    let ended = Runtime::builder().on_event(hook).build().run(|| {
        let (tx, rx) = channel();
        let local = Cell::new(0);
        scope(|s| {
            drop(s.spawn(|| local.set(1)));
            drop(s.spawn(|| tx.send(local.get())));
            let _ = rx.recv();
        });
        sleep(Duration::from_nanos(1)).unwrap();
        pause()
    });
    let Err(RunError::Panicked(report)) = ended else { panic!("lost: {ended:?}") };
    assert_eq!(report.message(), "a hook");
}

macro_rules! panicking_hooks {
    ($($name:ident: $event:pat => $condition:expr;)*) => {$(
        #[test]
        fn $name() {
            let body = || with_panicking_hook(|it| matches!(it, $event if $condition));
            let Some(ended) = isolated(body) else { return };
            ended.well();
        }
    )*};
}

panicking_hooks! {
    a_hook_that_panics_when_the_root_is_spawned_ends_the_run: Event::Spawned { .. } => true;
    a_hook_that_panics_when_a_child_is_spawned_ends_the_run:
        Event::Spawned { tasklet } => tasklet.to_string() == "tasklet 1";
    a_hook_that_panics_when_a_tasklet_ends_ends_the_run: Event::Finished { .. } => true;
    a_hook_that_panics_at_a_switch_ends_the_run: Event::Switched { from: None, .. } => true;
    a_hook_that_panics_at_an_operation_ends_the_run: Event::Channel { .. } => true;
}

#[test]
fn a_chooser_that_panics_ends_the_run() {
    let Some(ended) = isolated(|| {
        let chooser = |_: usize| -> usize { resume_unwind(Box::new("a chooser")) };
        let ended = Runtime::builder().chooser(chooser).build().run(|| {
            let local = &Cell::new(0);
            scope(|s| (0..3).for_each(|it| drop(s.spawn(move || local.set(local.get() + it)))));
        });
        let Err(RunError::Panicked(report)) = ended else { panic!("lost: {ended:?}") };
        assert_eq!(report.message(), "a chooser");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_hook_that_owns_an_end_of_a_channel_does_not_keep_it_after_its_runtime() {
    let (tx, rx) = channel::<u8>();
    let (held, to) = (tx.clone(), tx.clone());
    let runtime = Runtime::builder().on_event(move |_| assert!(!held.is_closed())).build();
    let from = rx.clone();
    runtime.run(move || drop((spawn(move || to.send(1)), from.recv()))).unwrap();
    drop((runtime, tx));
    assert_eq!(rx.try_recv(), Err(Halt::Closed), "the hook is gone, and its sender with it");
}
