//! The protocol by which OS threads settle one wait, in every order of its steps: the source of the
//! crate itself, with loom's atomics in place of std's (CDSChecker: Norris and Demsky, 2013).
//!
//! Always: a model is small, two or three threads, so that loom can try all it has to; what loom
//! also finds is that nobody can go on (a lost wake-up). How long somebody looks before it sleeps
//! changes no order, and is not modelled.

/// The claim, and what it is made of.
#[path = "../src/kernel"]
mod kernel {
    pub use loom::sync::atomic::{AtomicU32, AtomicU64};

    pub mod name {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct TaskletId(pub u64);
    }

    #[allow(dead_code, unreachable_pub, reason = "the models use a part of it")]
    pub mod claim;
}

use kernel::claim::{Claim, Owner, Ticket, Wake, wake};
use kernel::name::TaskletId;
use loom::model::Builder;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// Where an OS thread sleeps.
struct Bed {
    called: Mutex<bool>,
    call: Condvar,
}

impl Wake for Bed {
    fn wake(&self, _: Arc<Claim>) {
        *self.called.lock().unwrap() = true;
        self.call.notify_one();
    }
}

impl Bed {
    fn sleep(&self) {
        let mut called = self.called.lock().unwrap();
        while !*called {
            called = self.call.wait(called).unwrap();
        }
        *called = false;
    }
}

/// An OS thread with its claim.
#[derive(Clone)]
struct Party {
    claim: Arc<Claim>,
    bed: Arc<Bed>,
}

impl Party {
    fn new() -> Party {
        let bed = Arc::new(Bed { called: Mutex::new(false), call: Condvar::new() });
        let owner = Owner { home: 0, tasklet: TaskletId(0), seat: 0 };
        Party { claim: Claim::new(owner, bed.clone()), bed }
    }

    /// Opens the next wait.
    fn open(&self) -> Ticket {
        self.claim.open();
        Ticket::of(self.claim.clone())
    }

    /// Sleeps until a partner has settled the wait.
    fn outcome(&self) -> u32 {
        loop {
            if let Some(outcome) = self.claim.outcome() {
                return outcome;
            }
            if self.claim.park() {
                self.bed.sleep();
            }
        }
    }
}

/// Completes what has been taken, and wakes its owner if it sleeps.
fn settle(ticket: Ticket, outcome: u32) {
    ticket.complete(outcome).into_iter().for_each(wake);
}

/// Tries every order.
fn every_order(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = None; // whatever the environment says
    builder.check(model);
}

/// Tries all that up to three preemptions can do, where all there is would be too much.
fn many_orders(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn of_two_partners_one_wins_and_the_owner_wakes_with_its_outcome() {
    every_order(|| {
        let me = Party::new();
        let ticket = me.open();
        let partner = |outcome| {
            let ticket = ticket.clone();
            thread::spawn(move || {
                let won = ticket.take();
                if won {
                    settle(ticket, outcome);
                }
                won
            })
        };
        let (one, two) = (partner(1), partner(2));
        let outcome = me.outcome();
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        assert!(one != two && outcome == if one { 1 } else { 2 });
    });
}

#[test]
fn a_partner_or_the_owners_own_side_settles_a_wait_never_both() {
    every_order(|| {
        let me = Party::new();
        let ticket = me.open();
        let partner = thread::spawn(move || {
            let won = ticket.take();
            if won {
                settle(ticket, 7);
            }
            won
        });
        let mine = me.claim.win_here(); // a timer, or a cancellation
        if !mine {
            assert_eq!(me.outcome(), 7);
        }
        assert!(mine != partner.join().unwrap());
    });
}

#[test]
fn what_is_held_is_resumed_or_torn_away_never_both() {
    every_order(|| {
        let me = Party::new();
        let ticket = me.open();
        assert!(ticket.hold() && !ticket.take());
        let partner = thread::spawn(move || {
            let resumed = ticket.resume();
            if resumed {
                settle(ticket, 7);
            }
            resumed
        });
        let torn = me.claim.tear(); // the end of the run
        if !torn {
            assert_eq!(me.outcome(), 7);
        }
        assert!(torn != partner.join().unwrap());
    });
}

#[test]
fn a_ticket_of_an_earlier_wait_has_no_effect_on_the_next() {
    every_order(|| {
        let me = Party::new();
        let old = me.open();
        let late = thread::spawn(move || {
            let won = old.take();
            if won {
                settle(old, 1);
            }
            won
        });
        if !me.claim.win_here() {
            assert_eq!(me.outcome(), 1);
        }
        let next = me.open();
        let partner = thread::spawn(move || {
            assert!(next.take());
            settle(next, 2);
        });
        assert_eq!(me.outcome(), 2);
        late.join().unwrap();
        partner.join().unwrap();
    });
}

/// Two channels; each has a lock for both of its lines.
type Channels = [Mutex<[Vec<Ticket>; 2]>; 2];

/// Selects over one end of both channels, as the crate does: look, offer where nobody is, look
/// again where somebody came first, wait. Which channel it was.
fn select(me: &Party, side: usize, order: [usize; 2], channels: &Channels) -> usize {
    loop {
        for channel in order {
            let mut lines = channels[channel].lock().unwrap();
            let found = lines[1 - side].iter().position(Ticket::take);
            if let Some(found) = found {
                let partner = lines[1 - side].remove(found);
                drop(lines);
                settle(partner, channel as u32);
                return channel;
            }
        }
        let ticket = me.open();
        let mut published = 0;
        for channel in order {
            let mut lines = channels[channel].lock().unwrap();
            if lines[1 - side].iter().any(Ticket::is_open) {
                break;
            }
            lines[side].push(ticket.clone());
            published += 1;
        }
        // Who has published everywhere waits; the other one takes its offers back, if it can.
        let met = (published == 2 || !me.claim.win_here()).then(|| me.outcome() as usize);
        for &channel in &order[..published] {
            channels[channel].lock().unwrap()[side].retain(|it| !it.is(&ticket));
        }
        if let Some(channel) = met {
            return channel;
        }
    }
}

#[test]
fn two_selects_over_the_same_channels_in_opposite_order_meet_once() {
    many_orders(|| {
        let channels: Arc<Channels> = Arc::new([Mutex::default(), Mutex::default()]);
        let (sender, its) = (Party::new(), channels.clone());
        let sent = thread::spawn(move || select(&sender, 0, [0, 1], &its));
        let received = select(&Party::new(), 1, [1, 0], &channels);
        assert_eq!(sent.join().unwrap(), received);
        for lines in channels.iter() {
            assert!(lines.lock().unwrap().iter().all(Vec::is_empty), "an offer was left");
        }
    });
}

/// What a future at a shared channel shares with its partner: `Offer` and `Caller` of the crate.
struct Caller {
    calls: Mutex<Calls>,
    /// What a partner has delivered.
    handed: Mutex<Option<u32>>,
    /// What the next receiver gets, and how often a waker was called.
    passed_on: Mutex<Option<u32>>,
    woken: Mutex<u32>,
}

enum Calls {
    Nobody,
    Waker,
    Gone,
}

impl Caller {
    fn new() -> Arc<Caller> {
        let (handed, passed_on) = (Mutex::new(None), Mutex::new(None));
        let (calls, woken) = (Mutex::new(Calls::Nobody), Mutex::new(0));
        Arc::new(Caller { calls, handed, passed_on, woken })
    }

    fn replace(&self, calls: Calls) -> Calls {
        std::mem::replace(&mut *self.calls.lock().unwrap(), calls)
    }

    fn pass_on(&self) {
        let value = self.handed.lock().unwrap().take();
        if let Some(value) = value {
            let before = self.passed_on.lock().unwrap().replace(value);
            assert_eq!(before, None, "it was passed on twice");
        }
    }
}

impl Wake for Caller {
    fn wake(&self, _: Arc<Claim>) {
        match self.replace(Calls::Nobody) {
            Calls::Nobody => {}
            Calls::Waker => *self.woken.lock().unwrap() += 1,
            Calls::Gone => self.pass_on(),
        }
    }
}

#[test]
fn what_a_future_is_given_is_taken_or_passed_on_once() {
    many_orders(|| {
        let caller = Caller::new();
        let owner = Owner { home: 0, tasklet: TaskletId(0), seat: 0 };
        let claim = Claim::new(owner, caller.clone());
        claim.open();
        let (ticket, theirs) = (Ticket::of(claim.clone()), caller.clone());
        let partner = thread::spawn(move || {
            let met = ticket.take();
            if met {
                *theirs.handed.lock().unwrap() = Some(7);
                settle(ticket, 0);
            }
            met
        });
        caller.replace(Calls::Waker); // it is polled,
        let pending = claim.park();
        let taken = if pending { None } else { caller.handed.lock().unwrap().take() };
        let withdrawn = pending && claim.win_here(); // and dropped
        if pending && !withdrawn {
            caller.replace(Calls::Gone);
            if !claim.park() {
                caller.pass_on();
            }
        }
        let met = partner.join().unwrap();
        assert_eq!(met, !withdrawn);
        let passed_on = *caller.passed_on.lock().unwrap();
        let got = [taken, passed_on];
        assert_eq!(got.iter().flatten().count(), usize::from(met), "{got:?}");
    });
}

#[test]
fn a_future_that_is_pending_is_woken_once() {
    every_order(|| {
        let caller = Caller::new();
        let owner = Owner { home: 0, tasklet: TaskletId(0), seat: 0 };
        let claim = Claim::new(owner, caller.clone());
        claim.open();
        let ticket = Ticket::of(claim.clone());
        let partner = thread::spawn(move || {
            assert!(ticket.take());
            settle(ticket, 0);
        });
        let polls = [(); 2].map(|()| {
            caller.replace(Calls::Waker);
            claim.park()
        });
        partner.join().unwrap();
        let woken = *caller.woken.lock().unwrap();
        assert!(woken <= 1 && woken >= u32::from(polls[1]), "{polls:?} {woken}");
    });
}
