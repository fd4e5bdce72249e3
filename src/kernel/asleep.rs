//! Which OS threads sleep until another one wakes them, and whether those are all there are.
//!
//! Always: a thread that is counted sleeps in a wait of this crate that only another thread of the
//! process can end, and no wake-up is under way to it. For that it enters the account under the
//! lock under which it has seen that there is no news for it; who brings some puts it there under
//! the same lock, and takes the thread out of the account before waking it. Between the two the
//! bringer is awake, and so not counted itself.
//!
//! So when the account is as large as the process has threads, nobody is awake to wake anybody, and
//! nobody ever will be. The two numbers must be of one moment: the account is read before and after
//! the threads are counted, and each entry and each leave changes it for good, so if it is the same
//! its members were asleep all the while. A thread that has been made is counted by the OS before
//! its maker can go to sleep; one that ends is counted too long rather than too short. Threads that
//! the crate does not know are never in the account: while there is one, nothing is found.
//! Sleeper: `Awake -> Dozing | Counted -> Awake`.

mod watch;

use super::{AtomicU32, AtomicU64};
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
pub(crate) use watch::{Reserve, Sleeper, Told, Watch, list, list_reserve};

/// The account of this process.
static PROCESS: LazyLock<Account> = LazyLock::new(Account::new);

/// Counted in the upper half of an account: entries and leaves.
const CHANGE: u64 = 1 << 32;

/// How many OS threads are asleep until another one wakes them.
pub(crate) struct Account {
    /// Below `CHANGE` how many are in it, above how often that has changed.
    word: AtomicU64,
}

impl Account {
    pub(crate) fn new() -> Account {
        Account { word: AtomicU64::new(0) }
    }

    fn enter(&self) {
        self.word.fetch_add(CHANGE + 1, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.word.fetch_add(CHANGE - 1, Ordering::SeqCst);
    }

    /// How many are in it.
    fn len(&self) -> u32 {
        self.word.load(Ordering::SeqCst) as u32
    }

    /// Whether all OS threads, which `threads` counts, were in it at one moment.
    pub(crate) fn is_everybody(&self, threads: impl FnOnce() -> Option<u32>) -> bool {
        let before = self.word.load(Ordering::SeqCst);
        threads() == Some(before as u32) && self.word.load(Ordering::SeqCst) == before
    }
}

/// As what an OS thread sleeps; when all do, the first of these kinds is told that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A run.
    Run = 2,
    /// A thread in no run.
    Plain,
    /// Who waits for work, which is no reason to end: it is never told.
    Spare,
}

const AWAKE: u32 = 0; // as it begins
/// It has to be woken, and may wake by itself.
const DOZING: u32 = 1;

/// The sleep of one OS thread, which is awake at first.
#[derive(Default)]
pub(crate) struct Nap {
    state: AtomicU32,
}

impl Nap {
    /// The owner says that it goes to sleep, before it looks for news.
    pub(crate) fn doze(&self) {
        self.state.store(DOZING, Ordering::SeqCst);
    }

    /// The owner says, under the lock under which it has seen that there is no news, that it goes
    /// to sleep until another OS thread wakes it.
    pub(crate) fn sleep(&self, kind: Kind, account: &Account) {
        account.enter();
        self.state.store(kind as u32, Ordering::SeqCst);
    }

    /// The owner has woken.
    pub(crate) fn rise<'a>(&self, account: impl FnOnce() -> &'a Account) {
        self.call(account);
    }

    /// Whoever has left news asks whether the owner has to be woken.
    pub(crate) fn call<'a>(&self, account: impl FnOnce() -> &'a Account) -> bool {
        let asleep = self.state.load(Ordering::SeqCst) != AWAKE;
        asleep && {
            let was = self.state.swap(AWAKE, Ordering::SeqCst);
            if was > DOZING {
                account().leave();
            }
            was != AWAKE
        }
    }

    /// As what the owner is counted, if it is.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let kinds = [Kind::Run, Kind::Plain, Kind::Spare];
        let state = self.state.load(Ordering::SeqCst);
        kinds.into_iter().find(|it| *it as u32 == state)
    }
}

/// Counts this OS thread as asleep while `f` waits for what is no news to any other thread: if it
/// is to be, by a descriptor, those who wait for that are not counted.
#[cfg(feature = "process")]
pub(crate) fn counted<R>(f: impl FnOnce() -> R) -> R {
    PROCESS.enter();
    let result = f();
    PROCESS.leave();
    result
}

/// The account of this process.
pub(crate) fn process() -> &'static Account {
    &PROCESS
}
