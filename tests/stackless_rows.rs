//! Rows of Stackless's features (SEEDS 1.1 to 1.5) that the other files do not name.

mod support;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use support::isolated;
use tasklets::{
    Builder, Direction, Halt, JoinError, Pending, Prefer, Progress, RunError, Runtime, State,
    blocking, channel, current, run, snapshot, spawn, yield_now,
};

type Log = Rc<RefCell<Vec<&'static str>>>;

fn note(log: &Log, what: &'static str) {
    log.borrow_mut().push(what);
}

/// ST-02, ST-03: a tasklet that is made with its arguments, and started later.
#[test]
fn what_is_made_and_paused_at_once_starts_when_it_is_inserted() {
    run(|| {
        let word = String::from("bound");
        let made = spawn(move || word);
        assert!(made.pause());
        (0..3).for_each(|_| yield_now());
        assert!(!made.is_finished() && made.state() == State::Paused);
        assert!(made.insert());
        assert_eq!(made.join().unwrap(), "bound");
    });
}

/// ST-17, ST-18, ST-25: what a tasklet waits for names the channel and the direction.
#[test]
fn a_blocked_tasklet_names_its_channel_and_direction() {
    run(|| {
        let (tx, rx) = channel::Builder::new().name("jobs").channel::<u8>();
        let (id, other, _open) = (tx.id(), rx.clone(), tx.clone());
        let sender = spawn(move || tx.send(1));
        yield_now();
        let operation = |it: &tasklets::TaskletRef| {
            let now = snapshot().unwrap();
            let waiting = now.tasklet(it.id()).unwrap().waiting.clone().unwrap();
            waiting.operations[0].clone()
        };
        let Pending::Channel { channel, name, direction, .. } = operation(&sender.handle()) else {
            panic!("it waits on a channel");
        };
        assert_eq!((channel, name.as_deref(), direction), (id, Some("jobs"), Direction::Send));
        assert_eq!(
            (sender.state(), other.waiters()),
            (State::Waiting, (vec![sender.id()], vec![]))
        );
        assert_eq!(rx.recv(), Ok(1));
        assert!(sender.join().unwrap().is_ok());
        let reader = spawn(move || other.recv());
        yield_now();
        let waits = operation(&reader.handle());
        assert!(matches!(waits, Pending::Channel { direction: Direction::Receive, .. }));
        drop(rx);
        reader.cancel();
    });
}

/// ST-21: who am I.
#[test]
fn a_tasklet_knows_itself() {
    run(|| {
        let child = spawn(|| current().unwrap());
        let me = current().unwrap();
        assert!(me.is_current() && !child.is_current());
        assert_eq!(me.path(), "root");
        let id = child.id();
        let seen = child.join().unwrap();
        assert!(seen.id() == id && seen.id() != me.id() && !seen.is_current());
    });
    assert!(current().is_none());
}

/// Who goes on first when the caller meets a partner who waits, and somebody else is ready.
fn order(prefer: Prefer, yields: bool, caller_sends: bool) -> Vec<&'static str> {
    run(|| {
        let builder = channel::Builder::new().prefer(prefer).yield_always(yields);
        let (tx, rx) = builder.channel::<()>();
        let (to, from) = (tx.clone(), rx.clone());
        let log = Log::default();
        let (partners, others) = (log.clone(), log.clone());
        let partner = spawn(move || {
            if caller_sends {
                from.recv().unwrap()
            } else {
                to.send(()).unwrap()
            }
            note(&partners, "partner");
        });
        yield_now();
        let other = spawn(move || note(&others, "other"));
        if caller_sends {
            tx.send(()).unwrap()
        } else {
            rx.recv().unwrap()
        }
        note(&log, "caller");
        partner.join().unwrap();
        other.join().unwrap();
        log.take()
    })
}

/// SC-08, SC-09 and the table of 1.5.
#[test]
fn who_runs_next_is_as_the_table_says() {
    let caller_goes_on = ["caller", "other", "partner"];
    let partner_runs_now = ["partner", "other", "caller"];
    let table = [
        (Prefer::Receiver, partner_runs_now, caller_goes_on),
        (Prefer::Neither, caller_goes_on, caller_goes_on),
        (Prefer::Sender, caller_goes_on, partner_runs_now),
    ];
    for (prefer, sends, receives) in table {
        assert_eq!(order(prefer, false, true), sends, "send, {prefer:?}");
        assert_eq!(order(prefer, false, false), receives, "receive, {prefer:?}");
        for caller_sends in [true, false] {
            let all_yield = order(prefer, true, caller_sends);
            assert_eq!(all_yield, ["other", "partner", "caller"], "{prefer:?}");
        }
    }
}

/// SM-05, SD-06: an idle runtime sleeps until another OS thread is done, and is not stuck.
#[test]
fn an_idle_runtime_waits_for_what_another_thread_does() {
    let runtime = Runtime::builder().build();
    let (go, told) = std::sync::mpsc::channel();
    let call = runtime.spawn(|| blocking(move || told.recv().unwrap())).unwrap();
    assert_eq!(runtime.run_ready().unwrap(), Progress::Idle);
    assert_eq!(runtime.counts().calling, 1);
    go.send("done").unwrap();
    assert_eq!(runtime.run_to_end().unwrap(), Progress::Stuck, "nobody is left");
    assert_eq!(call.join().unwrap(), Ok("done"));
}

/// SM-14: an uncaught panic goes to who joins, else to the caller of `run`, and names the tasklet.
#[test]
fn a_panic_goes_to_who_joins_or_to_who_runs() {
    let ended = Runtime::builder().build().run(|| {
        let joined = spawn(|| resume_unwind(Box::new("joined"))).join().map(|never: ()| never);
        assert!(matches!(&joined, Err(error) if error.message() == Some("joined")));
        drop(Builder::new().name("lonely").spawn(|| resume_unwind(Box::new("alone"))));
        yield_now();
        yield_now();
    });
    let Err(RunError::Panicked(report)) = ended else { panic!("it should say so: {ended:?}") };
    assert_eq!(report.message(), "alone");
    assert!(report.to_string().contains("`lonely` (root.1)"), "{report}");
}

/// SM-16, SM-17: the end of a tasklet is no error that code meets by accident; who eats it is
/// named.
#[test]
fn a_cancellation_is_a_value_and_who_will_not_end_is_named() {
    run(|| {
        let polite = spawn(|| {
            let caught = catch_unwind(AssertUnwindSafe(tasklets::pause));
            caught.expect("nothing unwinds")
        });
        yield_now();
        polite.cancel();
        assert_eq!(polite.join().unwrap(), Err(Halt::Cancelled));
    });
    let Some(ended) = isolated(|| {
        run(|| {
            let eater = Builder::new().name("eater").spawn(|| {
                loop {
                    let _ = catch_unwind(|| while tasklets::pause().is_err() {});
                }
            });
            yield_now();
            let eater = eater.unwrap();
            eater.cancel();
            assert!(matches!(eater.join(), Err(JoinError::Cancelled)));
        });
    }) else {
        return;
    };
    ended.well().saying(&["`eater` (root.0)", "swallowed its cancellation"]);
}
