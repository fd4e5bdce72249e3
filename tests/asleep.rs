//! The account of OS threads that are asleep, in every order of its steps: the source of the crate
//! itself, with loom's atomics in place of std's (CDSChecker: Norris and Demsky, 2013).
//!
//! Always: nobody finds that all are asleep while a message is under way; and the last who falls
//! asleep does find it, or loom says that nobody can go on.

/// The account, and what it is made of.
#[path = "../src/kernel"]
mod kernel {
    pub use loom::sync::atomic::{AtomicU32, AtomicU64};

    #[allow(dead_code, unused_imports, unreachable_pub, reason = "the models use a part of it")]
    pub mod asleep;
}

use kernel::asleep::{Account, Kind, Nap};
use loom::model::Builder;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// What the OS keeps until it is asked: a descriptor that wakes who polls it.
struct Event {
    happened: Mutex<bool>,
    call: Condvar,
}

impl Event {
    fn happen(&self) {
        *self.happened.lock().unwrap() = true;
        self.call.notify_one();
    }

    fn wait(&self) {
        let mut happened = self.happened.lock().unwrap();
        while !*happened {
            happened = self.call.wait(happened).unwrap();
        }
        *happened = false;
    }
}

/// An OS thread that other ones leave messages for.
struct Party {
    news: Mutex<News>,
    nap: Nap,
    event: Event,
}

#[derive(Default)]
struct News {
    messages: u32,
    told: bool,
}

impl Party {
    fn new() -> Party {
        let event = Event { happened: Mutex::new(false), call: Condvar::new() };
        Party { news: Mutex::default(), nap: Nap::default(), event }
    }
}

/// A process with two parties, and whoever else there is.
struct Process {
    account: Account,
    parties: [Party; 2],
    /// What the OS says.
    threads: AtomicU32,
    /// Held while somebody is told.
    telling: Mutex<()>,
    sent: AtomicU32,
    received: AtomicU32,
}

impl Process {
    fn new(threads: u32) -> Arc<Process> {
        Arc::new(Process {
            account: Account::new(),
            parties: [Party::new(), Party::new()],
            threads: AtomicU32::new(threads),
            telling: Mutex::new(()),
            sent: AtomicU32::new(0),
            received: AtomicU32::new(0),
        })
    }

    /// Leaves a message for a party.
    fn put(&self, to: usize) {
        let party = &self.parties[to];
        self.sent.fetch_add(1, Ordering::SeqCst);
        party.news.lock().unwrap().messages += 1;
        if party.nap.call(|| &self.account) {
            party.event.happen();
        }
    }

    /// Waits for a message; false if nobody will ever leave one.
    fn get(&self, me: usize) -> bool {
        let party = &self.parties[me];
        loop {
            let mut news = party.news.lock().unwrap();
            if news.messages > 0 {
                news.messages -= 1;
                self.received.fetch_add(1, Ordering::SeqCst);
                return true;
            }
            if news.told {
                return false;
            }
            party.nap.sleep(Kind::Run, &self.account);
            drop(news);
            self.look();
            party.event.wait();
            party.nap.rise(|| &self.account);
        }
    }

    fn look(&self) {
        let telling = self.telling.lock().unwrap();
        let threads = || Some(self.threads.load(Ordering::SeqCst));
        if self.account.is_everybody(threads) {
            let (sent, received) = (&self.sent, &self.received);
            let (sent, received) = (sent.load(Ordering::SeqCst), received.load(Ordering::SeqCst));
            assert_eq!(sent, received, "somebody is about to be woken");
            for party in &self.parties {
                party.news.lock().unwrap().told = true;
                if party.nap.call(|| &self.account) {
                    party.event.happen();
                }
            }
        }
        drop(telling);
    }
}

/// Tries all that up to three preemptions can do.
fn many_orders(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn two_who_wake_each_other_are_found_when_both_have_fallen_asleep_for_good() {
    many_orders(|| {
        let process = Process::new(2);
        let same = process.clone();
        let other = thread::spawn(move || {
            assert!(same.get(1));
            same.put(0);
            assert!(!same.get(1));
        });
        process.put(1);
        assert!(process.get(0));
        assert!(!process.get(0));
        other.join().unwrap();
    });
}

#[test]
fn both_fall_asleep_at_once() {
    many_orders(|| {
        let process = Process::new(2);
        let same = process.clone();
        let other = thread::spawn(move || assert!(!same.get(1)));
        assert!(!process.get(0));
        other.join().unwrap();
    });
}

#[test]
fn a_thread_that_is_made_late_and_ends_early_is_counted_while_it_can_wake() {
    many_orders(|| {
        let process = Process::new(2);
        let same = process.clone();
        let other = thread::spawn(move || {
            same.threads.fetch_add(1, Ordering::SeqCst);
            let its = same.clone();
            let third = thread::spawn(move || {
                its.put(0);
                its.threads.fetch_sub(1, Ordering::SeqCst);
            });
            same.get(1);
            third.join().unwrap();
        });
        assert!(process.get(0));
        // The third may end after all have looked; in the crate they look again.
        process.put(1);
        other.join().unwrap();
    });
}
