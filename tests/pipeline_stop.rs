//! Pipelines that are ended from outside: nothing runs and nothing is lost afterwards.

mod support;

use std::rc::Rc;
use std::time::Duration;
use support::report::conserves;
use tasklets::pipeline::{self, Cause, Pipeline};
use tasklets::{
    Halt, JoinError, Never, Receiver, Signal, channel, explore, pause, run, signals, spawn, within,
};

fn is_stopped(cause: &Cause) -> bool {
    matches!(cause, Cause::Halted(Halt::Cancelled))
}

#[test]
fn a_pipeline_is_whole_or_stopped_and_loses_nothing_under_every_schedule() {
    explore::Explore::new().check(|| {
        let (stop, stopped) = channel::<Never>();
        let stopper = spawn(move || drop(stop));
        let whole = pipeline::from_iter(0..2).map(|it| it).collect::<Vec<_>>();
        match whole.run_until(stopped.receiving()) {
            Ok(done) => {
                assert_eq!(done.value, [0, 1]);
                conserves(&done.report);
            }
            Err(error) => {
                assert!(is_stopped(&error.cause), "{error}");
                conserves(&error.report);
            }
        }
        stopper.join().unwrap();
    });
}

#[test]
fn a_signal_ends_stages_that_never_end() {
    run(|| {
        let signals = signals([Signal::User1]).unwrap();
        let alive = Rc::new(());
        let held = alive.clone();
        let (begins, begun) = channel();
        let sender = spawn(move || {
            (0..3).for_each(|_| begun.recv().unwrap()); // all workers are at it
            signal_hook::low_level::raise(Signal::User1.number()).unwrap();
        });
        let waits = pipeline::from_iter(0..).map(move |_| {
            drop(begins.send(()));
            (held.clone(), pause()).1
        });
        let error = waits.workers(3).count().run_until(signals.receiving()).unwrap_err();
        assert!(is_stopped(&error.cause), "{error}");
        conserves(&error.report);
        // Three are worked on, one waits for a worker.
        assert_eq!((error.report.stages[1].returned, Rc::strong_count(&alive)), (4, 1));
        sender.join().unwrap();
    });
}

#[test]
fn what_has_happened_already_lets_nothing_run_on() {
    run(|| {
        let (stop, stopped) = channel::<Never>();
        drop(stop);
        let error = pipeline::from_iter(0..).count().run_until(stopped.receiving()).unwrap_err();
        assert!(is_stopped(&error.cause), "{error}");
    });
}

#[test]
fn a_pipeline_that_ends_by_itself_does_not_wait_for_the_stop() {
    run(|| {
        let (_stop, stopped) = channel::<Never>();
        let done = pipeline::from_iter(0..9).count().run_until(stopped.receiving());
        assert_eq!(done.unwrap().value, 9);
        let failing = pipeline::from_iter(0..9).try_map(|_| Err::<(), _>("no")).named("picky");
        let error = failing.count().run_until(stopped.receiving()).unwrap_err();
        assert_eq!(error.to_string(), "stage `picky` failed: no");
    });
}

#[test]
fn a_source_that_is_stopped_while_it_waits_has_not_come_to_its_end() {
    let sources: [fn(Receiver<u32>) -> Pipeline<'static, u32>; 3] = [
        |rx| pipeline::from_channel(rx),
        |rx| pipeline::from_iter(rx.into_iter().map(|it| it + 1)),
        |rx| pipeline::tick(Duration::from_secs(3_600)).map(move |_| rx.recv().unwrap()),
    ];
    let explorer = explore::Explore::new().executions(300);
    for source in sources {
        explorer.check(|| {
            let (_tx, rx) = channel();
            let late = within(Duration::from_secs(1), || source(rx).count().run());
            let cause = late.value.map(|it| it.value).unwrap_err().cause;
            assert!(matches!(cause, Cause::Halted(Halt::TimedOut)), "{cause:?}");
        });
        explorer.check(|| {
            let (_tx, rx) = channel();
            let runner = spawn(move || source(rx).count().run().map(|it| it.value));
            runner.cancel();
            match runner.join() {
                Ok(ended) => assert!(is_stopped(&ended.unwrap_err().cause)),
                Err(why) => assert!(matches!(why, JoinError::Cancelled), "{why}"),
            }
        });
    }
}

#[test]
fn who_is_cancelled_while_nothing_may_end_its_pipeline_cancels_that() {
    let done = run(|| {
        let endless = spawn(|| {
            let never = tasklets::after(Duration::ZERO);
            let line = pipeline::tick(Duration::from_secs(3_600)).count();
            line.run_until(tasklets::Operation::only_if(never, false)).map(drop)
        });
        tasklets::yield_now();
        endless.cancel();
        within(Duration::from_secs(60), || endless.join())
    });
    assert!(!done.expired, "it goes on");
    assert!(is_stopped(&done.value.unwrap().unwrap_err().cause));
}
