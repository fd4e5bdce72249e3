//! What cannot be explored is said so, by name and place; nothing hangs, and nothing that was not
//! looked at counts as searched.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tasklets::explore::{
    Mode, Outcome, Program, Rules, Settings, Verdict, exhaust, exhaust_with, sample,
};
use tasklets::{
    Builder, Receiver, Sender, Tasklet, TaskletRef, block_trap, channel, current, pause, run,
    snapshot, spawn, switch_trap, yield_now,
};

const SETTINGS: Settings = Settings {
    rules: Rules {
        lax_timers: false,
        events_max: 200,
        details: false,
        endings: false,
        defect: None,
    },
    executions_max: 100,
    stop_at_failure: false,
};

/// The outcomes of all executions, in words without the names of files; and the verdict.
fn outcomes(main: &dyn Fn()) -> (Vec<String>, Verdict) {
    let mut all = Vec::new();
    let program = Program::new("bad", main);
    let verdict = exhaust_with(&program, &SETTINGS, &mut |run, names| {
        if run.outcome != Outcome::Abandoned {
            all.push(run.outcome.text(names));
        }
    });
    let five = Settings { executions_max: 5, ..SETTINGS };
    let _ = sample(&program, Mode::Walk, 3, &five, &mut |run, names| {
        all.push(run.outcome.text(names));
    });
    let cut = |it: String| it.split(", at ").next().unwrap_or_default().to_owned();
    assert!(!all.is_empty(), "nothing was run");
    let mut all: Vec<_> = all.into_iter().map(cut).collect();
    all.sort();
    all.dedup();
    (all, verdict)
}

/// For what comes of an operation.
fn ignore<T>(_: T) {}

fn fail(why: &str) -> ! {
    resume_unwind(Box::new(why.to_owned()))
}

struct AtDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn an_empty_program_has_one_trace() {
    let (all, verdict) = outcomes(&|| ());
    assert_eq!((all, verdict.traces), (vec!["finished".into()], 1));
    assert!(verdict.exhausted);
}

#[test]
fn a_channel_from_outside_is_refused_when_it_is_used() {
    let (tx, rx) = channel::<u8>();
    let mains: [&dyn Fn(); 4] = [
        &|| ignore(tx.send(1)),
        &|| ignore(rx.try_recv()),
        &|| ignore(tx.clone().is_closed()),
        &|| {
            let (tx, rx) = (tx.clone(), rx.clone());
            let client = spawn(move || ignore(tx.send(1)));
            drop(client);
            ignore(rx.recv());
        },
    ];
    for main in mains {
        let (all, _) = outcomes(main);
        assert!(all.iter().all(|it| it.contains(" cannot be explored: ")), "{all:?}");
    }
    // Only handles of it are made and dropped: nobody can tell.
    assert_eq!(outcomes(&|| ignore((tx.clone(), rx.clone()))).0, ["finished"]);
}

#[test]
fn what_is_kept_across_executions_is_refused() {
    const OTHER: &str = "root cannot be explored: an operation of another library or another \
                         execution";
    let channels: RefCell<Option<(Sender<u8>, Receiver<u8>)>> = RefCell::default();
    let (all, _) = outcomes(&|| {
        if let Some((_, rx)) = &*channels.borrow() {
            ignore(rx.recv());
        }
        channels.replace(Some(channel()));
    });
    let outside = "root cannot be explored: a channel made outside of the explored program";
    assert_eq!(all, ["finished", outside]);
    let tasklet: RefCell<Option<Tasklet<()>>> = RefCell::default();
    let (all, _) = outcomes(&|| {
        let former = tasklet.replace(Some(spawn(yield_now)));
        ignore(former.map(Tasklet::join));
    });
    assert_eq!(all, ["finished", OTHER]);
    let acts: [fn(&TaskletRef); 4] = [
        TaskletRef::cancel,
        |it| ignore(it.is_finished()),
        |it| it.inject("nothing"),
        |it| ignore(it.insert()),
    ];
    for act in acts {
        let handle: RefCell<Option<TaskletRef>> = RefCell::default();
        let (all, _) = outcomes(&|| {
            let worker = spawn(yield_now);
            if let Some(former) = handle.replace(Some(worker.handle())) {
                act(&former);
            }
        });
        assert_eq!(all, ["finished", OTHER]);
    }
}

#[test]
fn a_program_that_changes_is_found_out() {
    let count = Cell::new(1);
    let (_, verdict) = outcomes(&|| {
        count.set((count.get() + 1) % 5);
        let (tx, rx) = channel();
        for it in 0..count.get() {
            let tx = tx.clone();
            ignore(spawn(move || ignore(tx.send(it))));
        }
        ignore(rx.recv());
    });
    assert!(verdict.diverged && !verdict.exhausted, "{verdict}");
}

#[test]
fn a_run_inside_of_another_is_a_panic_that_says_so() {
    let nested = |main: &dyn Fn()| {
        let (all, _) = outcomes(&|| {
            let panic = catch_unwind(AssertUnwindSafe(main)).unwrap_err();
            fail(panic.downcast_ref::<String>().map_or("another panic", |it| it));
        });
        assert!(all.iter().all(|it| it.contains("a run inside of another run")), "{all:?}");
    };
    nested(&|| run(|| ()));
    nested(&|| ignore(outcomes(&|| ())));
}

#[test]
fn what_is_forgotten_is_waited_for() {
    let forgetful: [&dyn Fn(); 3] = [
        &|| {
            let (tx, rx) = channel::<u8>();
            ignore(spawn(move || ignore(tx.send(1))));
            std::mem::forget(rx.recv_held());
        },
        &|| {
            use tasklets::Operation;
            let (tx, rx) = channel::<u8>();
            ignore(spawn(move || ignore(rx.recv())));
            std::mem::forget(tx.reserving().wait());
            yield_now();
        },
        &|| {
            let (tx, rx) = channel::<u8>();
            ignore(spawn(move || ignore(rx.recv())));
            std::mem::forget(tx);
        },
    ];
    for main in forgetful {
        assert_eq!(outcomes(main).0, ["tasklets left behind"]);
    }
    assert_eq!(outcomes(&|| std::mem::forget(spawn(yield_now))).0, ["finished"]);
    let lost = || std::mem::forget(spawn(|| fail("lost")));
    assert_eq!(outcomes(&lost).0, ["root.0 panicked: lost"]);
}

#[test]
fn spawning_without_end_is_refused_or_cut() {
    const MANY: &str = "root cannot be explored: spawning more tasklets than events may happen";
    assert_eq!(outcomes(&|| while Builder::new().spawn(|| ()).is_ok() {}).0, [MANY]);
    assert_eq!(
        outcomes(&|| loop {
            ignore(Builder::new().spawn(|| ()))
        })
        .0,
        [MANY]
    );
    fn chain() {
        ignore(spawn(chain));
    }
    assert_eq!(outcomes(&chain).0, ["stopped at the step bound"]);
    fn joined() {
        ignore(spawn(joined).join());
    }
    assert_eq!(outcomes(&joined).0, ["stopped at the step bound"]);
}

#[test]
fn loops_without_end_are_cut() {
    let loops: [&dyn Fn(); 5] = [
        &|| loop {
            yield_now()
        },
        &|| {
            let (_tx, rx) = channel::<u8>();
            while rx.try_recv() == Ok(None) {}
        },
        &|| {
            let stuck = spawn(pause);
            while !stuck.is_finished() {}
        },
        &|| loop {
            ignore(tasklets::sleep(std::time::Duration::ZERO))
        },
        &|| loop {
            ignore(tasklets::sleep(std::time::Duration::from_secs(1)))
        },
    ];
    for main in loops {
        let (all, verdict) = outcomes(main);
        assert_eq!(all, ["stopped at the step bound"]);
        assert!(!verdict.exhausted && verdict.cut > 0, "{verdict}");
    }
}

#[test]
fn looking_at_others_is_refused_also_in_a_loop() {
    let looks: [(&str, &dyn Fn()); 6] = [
        ("asking whether a channel is closed", &|| {
            let (tx, _rx) = channel::<u8>();
            while !tx.is_closed() {}
        }),
        ("asking what a tasklet is about", &|| {
            let other = spawn(pause);
            while other.state() != tasklets::State::Finished {}
        }),
        ("asking whether another is cancelled", &|| {
            let other = spawn(pause);
            while !other.is_cancelled() {}
        }),
        ("asking who waits at a channel", &|| {
            let (tx, _rx) = channel::<u8>();
            while tx.balance() == 0 {}
        }),
        ("taking a snapshot", &|| loop {
            ignore(snapshot())
        }),
        ("pausing another tasklet", &|| {
            let other = spawn(pause);
            while !other.pause() {}
        }),
    ];
    for (what, main) in looks {
        let (all, verdict) = outcomes(main);
        assert_eq!(all, [format!("root cannot be explored: {what}")]);
        assert_eq!(verdict.failures.len(), 1);
    }
}

#[test]
fn panics_of_destructors_are_panics() {
    assert_eq!(outcomes(&|| ignore(AtDrop(|| fail("drop")))).0, ["root panicked: drop"]);
    let child = || ignore(spawn(|| ignore(AtDrop(|| fail("drop")))));
    assert_eq!(outcomes(&child).0, ["root.0 panicked: drop"]);
    let in_transit = || {
        let (tx, rx) = channel();
        ignore(spawn(move || ignore(tx.send(AtDrop(|| fail("drop"))))));
        ignore(rx.recv());
    };
    assert_eq!(outcomes(&in_transit).0, ["root panicked: drop"]);
    // The end of a run that is given up does not count.
    assert_eq!(
        outcomes(&|| ignore(spawn(|| {
            let _it = AtDrop(|| ());
            pause()
        })))
        .0,
        ["tasklets left behind"]
    );
}

#[test]
fn operations_under_a_trap_are_refused() {
    fn traffic() -> Receiver<u8> {
        let (tx, rx) = channel();
        ignore(spawn(move || ignore(tx.send(1))));
        rx
    }
    let trapped: [&dyn Fn(); 4] = [
        &|| ignore((block_trap(), traffic().recv())),
        &|| ignore((block_trap(), traffic().try_recv())),
        &|| ignore((switch_trap(), traffic().try_recv())),
        &|| {
            let stuck = spawn(pause);
            let _trap = block_trap();
            stuck.cancel();
        },
    ];
    for main in trapped {
        let (all, _) = outcomes(main);
        let refused = |it: &String| it.starts_with("root cannot be explored: ");
        assert!(all.iter().all(refused), "{all:?}");
    }
    assert_eq!(outcomes(&|| ignore((block_trap(), yield_now()))).0, ["finished"]);
}

#[test]
fn a_cancellation_that_is_ignored_ends_all_the_same() {
    let stubborn = || {
        let target = spawn(|| while pause() != Ok(()) {});
        target.cancel();
        ignore(target.join());
    };
    assert_eq!(outcomes(&stubborn).0, ["finished"]);
    let oneself = || {
        current().expect("it runs").cancel();
        assert_eq!(pause(), Err(tasklets::Halt::Cancelled));
    };
    assert_eq!(outcomes(&oneself).0, ["finished"]);
}

/// Sends when it is dropped, if anybody is there.
struct LastWord(Sender<()>);

impl Drop for LastWord {
    fn drop(&mut self) {
        drop(self.0.try_send(()));
    }
}

#[test]
fn what_a_destructor_does_while_its_tasklet_unwinds_is_not_taken_for_explored() {
    let joined = || {
        let (tx, rx) = channel::<()>();
        let failing = spawn(move || {
            let _last = LastWord(tx);
            panic!("as planned");
        });
        let heard = rx.recv();
        assert!(failing.join().is_err());
        // In production it may have been heard.
        assert!(heard.is_err(), "the destructor found a partner");
    };
    let verdict = exhaust(&Program::new("joined", &joined), &SETTINGS);
    assert!(!verdict.exhausted && verdict.refused, "{verdict}");
    assert!(matches!(verdict.failures[0].outcome, Outcome::Refused(..)), "{verdict}");
}

#[test]
fn a_panic_that_may_come_of_such_a_destructor_is_no_verdict() {
    let asserted = || {
        let (tx, rx) = channel::<()>();
        let failing = spawn(move || {
            let _last = LastWord(tx);
            panic!("as planned");
        });
        let heard = rx.recv();
        assert!(failing.join().is_err());
        // In production it may have been.
        assert!(heard.is_ok(), "the destructor found no partner");
    };
    let verdict = exhaust(&Program::new("asserted", &asserted), &SETTINGS);
    assert!(matches!(verdict.failures[0].outcome, Outcome::Refused(..)), "{verdict}");
    let unjoined = || {
        let (tx, rx) = channel::<()>();
        drop(spawn(move || {
            let _last = LastWord(tx);
            panic!("as planned");
        }));
        assert!(rx.recv().is_ok(), "the destructor found no partner");
    };
    let verdict = exhaust(&Program::new("unjoined", &unjoined), &SETTINGS);
    let first = &verdict.failures[0].outcome; // that panic is certain
    assert!(
        matches!(first, Outcome::Panicked(_, text) if text.contains("as planned")),
        "{first:?}"
    );
}
