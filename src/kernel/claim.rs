//! Who settles a wait that other OS threads may settle: whoever wins its claim.
//!
//! Always: of all who would settle one wait exactly one wins; a partner that wins says so twice,
//! first to the others ("taken", under the lock of its channel) and, when everything is in place,
//! to the owner ("done"). An owner that sleeps has said so before, so exactly one of the two sees
//! the other: a wake-up is neither lost nor sent to who is awake.
//! Claim: `Over -> Open -> Taken -> Done`, `Open -> Held -> Taken | Over`, `Open -> Over` by the
//! owner's side; a new turn begins with the next `Open`. Aside, until `Done`: `Awake -> Parked`.

use super::name::TaskletId;
use super::{AtomicU32, AtomicU64};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The states; above them `PARKED` and the number of the turn.
const OVER: u64 = 0;
const OPEN: u64 = 1;
const TAKEN: u64 = 2;
const DONE: u64 = 3;
const HELD: u64 = 4;
const STATE: u64 = 7;
/// The owner sleeps, or is about to: it has to be woken.
const PARKED: u64 = 8;
const TURN: u64 = 16;

/// How often an OS thread looks before it sleeps: at most about twice as long as it takes to wake
/// one, so that two that are busy with each other stay awake; hardly, while that is in vain, as it
/// is for two that share one processor.
const LOOKS_MAX: u32 = 1_024;
const LOOKS_MIN: u32 = 8;
/// After so many looks it lets another OS thread run before each further handful: it may be the
/// partner, or somebody who has better use for the processor.
const LOOKS_ALONE: u32 = 64;
const HANDFUL: u32 = 16;
/// After so many times in vain it looks for as long as it may, once: things may have changed. The
/// next such try comes after twice as many times, up to the most.
const TRY_AFTER: u32 = 16;
const TRY_AFTER_MAX: u32 = 2_048;

thread_local! {
    static PATIENCE: Cell<Patience> =
        const { Cell::new(Patience { looks: LOOKS_MAX, in_vain: 0, try_after: TRY_AFTER }) };
}

/// How often an OS thread looks next time, how many times it did so in vain, and after how many
/// of these it tries for long.
#[derive(Clone, Copy)]
struct Patience {
    looks: u32,
    in_vain: u32,
    try_after: u32,
}

impl Patience {
    /// After a time that has seen somebody, or has not.
    fn learn(self, seen: bool) -> Patience {
        let Patience { looks, in_vain, try_after } = self;
        if seen {
            let looks = looks.saturating_mul(2).min(LOOKS_MAX);
            Patience { looks, in_vain: 0, try_after: TRY_AFTER }
        } else if in_vain + 1 < try_after {
            Patience { looks: (looks / 2).max(LOOKS_MIN), in_vain: in_vain + 1, try_after }
        } else {
            let try_after = (try_after * 2).min(TRY_AFTER_MAX);
            Patience { looks: LOOKS_MAX, in_vain: 0, try_after }
        }
    }
}

/// How the owner of a claim is woken.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self, claim: Arc<Claim>);
}

/// Whose claim it is, for reports and for who wakes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The number of its scheduler; 0 for an OS thread without one.
    pub(crate) home: u64,
    pub(crate) tasklet: TaskletId,
    /// Its place in its scheduler's list.
    pub(crate) seat: usize,
}

/// The right to settle the waits of one tasklet or OS thread, one after the other.
pub(crate) struct Claim {
    word: AtomicU64,
    /// Valid once done.
    outcome: AtomicU32,
    pub(crate) owner: Owner,
    wake: Arc<dyn Wake>,
}

impl Claim {
    pub(crate) fn new(owner: Owner, wake: Arc<dyn Wake>) -> Arc<Claim> {
        let (word, outcome) = (AtomicU64::new(OVER), AtomicU32::new(0));
        Arc::new(Claim { word, outcome, owner, wake })
    }

    /// Begins the next turn of the owner.
    pub(crate) fn open(&self) {
        self.begin(OPEN);
    }

    /// Begins a turn in which the owner has met a partner, which has to complete it.
    pub(crate) fn open_held(&self) {
        self.begin(HELD);
    }

    fn begin(&self, state: u64) {
        // Only the owner begins turns, and what others do to an old one has no effect.
        let turn = self.word.load(Ordering::Relaxed) / TURN + 1;
        self.word.store((turn * TURN) | state, Ordering::SeqCst);
    }

    fn state(&self) -> u64 {
        self.word.load(Ordering::SeqCst) & STATE
    }

    /// Whether the present turn is open, for the owner's side.
    pub(crate) fn is_open(&self) -> bool {
        self.state() == OPEN
    }

    /// Moves from one of `from` to `to`; false if it is in another state, or another turn.
    fn advance(&self, turn: Option<u64>, from: &[u64], to: u64) -> bool {
        let mut word = self.word.load(Ordering::SeqCst);
        loop {
            if turn.is_some_and(|it| it != word / TURN) || !from.contains(&(word & STATE)) {
                return false;
            }
            let next = (word & !STATE) | to;
            match self.word.compare_exchange(word, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Wins the claim for the owner's own side (a local partner, a timer, a cancellation): true
    /// also if it has before.
    pub(crate) fn win_here(&self) -> bool {
        self.state() == OVER || self.advance(None, &[OPEN], OVER)
    }

    /// Takes the claim away from a partner that holds it without having completed it.
    pub(crate) fn tear(&self) -> bool {
        self.advance(None, &[HELD], OVER)
    }

    /// How the wait was settled, once a partner has.
    pub(crate) fn outcome(&self) -> Option<u32> {
        (self.state() == DONE).then(|| self.outcome.load(Ordering::SeqCst))
    }

    /// Says that the owner goes to sleep; false if it need not, being done.
    pub(crate) fn park(&self) -> bool {
        self.word.fetch_or(PARKED, Ordering::SeqCst) & STATE != DONE
    }

    /// Looks for a short while whether a partner comes, or `interrupted` something else.
    pub(crate) fn watch(&self, interrupted: impl Fn() -> bool) {
        look_out(|| self.state() == DONE || interrupted());
    }
}

/// Looks for a short while whether `found`, before the OS thread goes to sleep.
pub(crate) fn look_out(found: impl Fn() -> bool) -> bool {
    let patience = PATIENCE.get();
    let seen = (0..patience.looks).any(|look| {
        if look >= LOOKS_ALONE && look % HANDFUL == 0 {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
        found()
    });
    PATIENCE.set(patience.learn(seen));
    seen
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("state", &self.state()).field("owner", &self.owner).finish()
    }
}

/// One turn of a claim: what an offer at a shared channel has, and what a partner settles.
#[derive(Clone, Debug)]
pub struct Ticket {
    claim: Arc<Claim>,
    turn: u64,
}

impl Ticket {
    /// The present turn of `claim`, for its owner.
    pub(crate) fn of(claim: Arc<Claim>) -> Ticket {
        let turn = claim.word.load(Ordering::Relaxed) / TURN;
        Ticket { claim, turn }
    }

    pub(crate) fn owner(&self) -> Owner {
        self.claim.owner
    }

    /// Whether `other` is the same turn of the same owner.
    pub(crate) fn is(&self, other: &Ticket) -> bool {
        self.turn == other.turn && Arc::ptr_eq(&self.claim, &other.claim)
    }

    pub(crate) fn is_open(&self) -> bool {
        let word = self.claim.word.load(Ordering::SeqCst);
        word / TURN == self.turn && word & STATE == OPEN
    }

    /// Wins the claim for a partner, which completes it soon; false if somebody was faster.
    pub(crate) fn take(&self) -> bool {
        self.claim.advance(Some(self.turn), &[OPEN], TAKEN)
    }

    /// Wins the claim for a partner that completes it later, by [`resume`](Self::resume).
    pub(crate) fn hold(&self) -> bool {
        self.claim.advance(Some(self.turn), &[OPEN], HELD)
    }

    /// Goes on with what is held; false if the end of the owner's run has torn it away.
    pub(crate) fn resume(&self) -> bool {
        self.claim.advance(Some(self.turn), &[HELD], TAKEN)
    }

    /// Settles what has been taken, with everything in place; the claim, if its owner is to be
    /// woken.
    pub(crate) fn complete(self, outcome: u32) -> Option<Arc<Claim>> {
        self.claim.outcome.store(outcome, Ordering::SeqCst);
        let done = (self.turn * TURN) | DONE;
        let before = self.claim.word.swap(done, Ordering::SeqCst);
        debug_assert_eq!(before & !PARKED, (self.turn * TURN) | TAKEN, "it was not taken");
        (before & PARKED != 0).then_some(self.claim)
    }
}

/// Wakes the owner of a claim that is done, from another OS thread.
pub(crate) fn wake(claim: Arc<Claim>) {
    let wake = claim.wake.clone();
    wake.wake(claim);
}
