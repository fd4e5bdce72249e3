//! Stacks that can be left and entered again: the only `unsafe`, the only `generator`.
//!
//! Always: a stack that holds live frames is never unmapped (it is entered until its body ends, or
//! leaked), and a borrow lent to a body ends after the body does, or the process aborts.
//! Stack: `Done --load--> Suspended <--suspend/resume--> Active --body ends--> Done`
//!
//! [`Stack::new`] maps one, [`Stack::load`] gives it a body, [`Seat::resume`] enters it until the
//! body suspends or ends, [`Seat::suspend`] leaves it from inside; [`lend`] is how a body may
//! borrow. The second engine (`baton.rs`) does the same without switching stacks, for Miri and race
//! detectors. The outermost frame of a stack runs body after body and ends when that is dropped.
//!
//! ```text
//!   low                                          high
//!    | guard | sentinel |   free   | frames of body | serve: Inner | GeneratorImpl |
//!                                   ^ stack pointer  ^ `inner`      ^ `generator`
//! ```
#![allow(unsafe_code)]

use super::baton::Baton;
use super::body::{Body, Counted, Repaid, Turn, enter};
use super::fatal;
use generator::{Gn, LocalGenerator, Scope};
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::catch_unwind;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

type Door = Scope<'static, 'static, (), ()>;
type Told = Rc<Cell<*const Inner>>;

/// A stack, and what is needed to enter it.
pub(crate) struct Stack {
    inner: NonNull<Inner>,
    generator: *mut usize,
}

/// What every turn touches comes first, and fills one line of the processor's cache.
#[repr(C, align(64))]
struct Inner {
    /// The way back to whoever resumed the stack; nowhere on an OS thread.
    door: UnsafeCell<Option<Door>>,
    /// Lowest usable address, and how many bytes are.
    low: usize,
    bytes: usize,
    phase: Cell<Phase>,
    /// What the outermost frame is to run next; with nothing to run it ends.
    body: Cell<Option<Rc<dyn Body>>>,
    engine: Engine,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No live frames are on the stack, but the outermost.
    Done,
    Suspended,
    Active,
}

enum Engine {
    Switch(Guard),
    Thread(Baton),
}

impl Stack {
    /// Maps a stack with at least `bytes` usable bytes; `None` if the OS refuses.
    pub(crate) fn new(bytes: usize, threads: bool) -> Option<Stack> {
        if !threads {
            install_fault_handler();
            return switched(bytes);
        }
        let engine = Engine::Thread(Baton::new(bytes));
        let inner = Box::new(Inner::new(None, 0, usize::MAX, engine));
        Some(Stack { inner: NonNull::from(Box::leak(inner)), generator: ptr::null_mut() })
    }

    fn inner(&self) -> &Inner {
        // SAFETY: `inner` is on the heap or in the outermost frame of the stack, which go in
        // `drop` only; all access is through shared references, the mutable parts are in cells.
        unsafe { self.inner.as_ref() }
    }

    /// Puts `body` on the stack; the next [`resume`](Seat::resume) starts it.
    pub(crate) fn load(&mut self, body: Rc<dyn Body>) {
        let inner = self.inner();
        assert!(inner.phase.get() == Phase::Done, "the stack is in use");
        inner.phase.set(Phase::Suspended);
        match &inner.engine {
            Engine::Switch(_) => drop(inner.body.replace(Some(body))),
            Engine::Thread(baton) => {
                let job = Portable(body);
                baton.load(move || {
                    let Portable(body) = { job };
                    enter(body);
                });
            }
        }
    }
}

/// A place for a stack, through which it is entered and left.
#[derive(Default)]
pub(crate) struct Seat {
    /// The parts of the [`Stack`] in it, or null.
    inner: Cell<*mut Inner>,
    generator: Cell<*mut usize>,
}

impl Seat {
    pub(crate) fn put(&self, stack: Stack) {
        drop(self.take());
        let stack = ManuallyDrop::new(stack);
        self.inner.set(stack.inner.as_ptr());
        self.generator.set(stack.generator);
    }

    pub(crate) fn take(&self) -> Option<Stack> {
        let inner = NonNull::new(self.inner.replace(ptr::null_mut()))?;
        Some(Stack { inner, generator: self.generator.get() })
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.get().is_null()
    }

    /// The stack in it. It is not freed before it is taken out, nor while it has live frames.
    #[inline(always)]
    fn inner(&self) -> Option<&Inner> {
        // SAFETY: null, or put there by `put`, which keeps the `Stack` from being dropped. Callers
        // are in this file and do not use the reference after anybody could take the stack out,
        // unless it has live frames: then `Stack::drop` leaks it.
        unsafe { self.inner.get().as_ref() }
    }

    /// Has the processor fetch what entering the stack touches first. Where thousands take turns
    /// that is in none of its caches any more.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let context = self.generator.get().cast::<i8>();
            for line in [context, context.wrapping_add(64)] {
                // SAFETY: whatever the address, a prefetch has no effect that a program can see.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
            }
        }
    }

    /// Enters the stack until its body suspends or ends.
    #[inline(always)]
    pub(crate) fn resume(&self) -> Turn {
        let Some(inner) = self.inner() else { panic!("there is no stack to enter") };
        let generator = self.generator.get();
        assert!(inner.phase.get() == Phase::Suspended, "only a suspended stack can be entered");
        inner.phase.set(Phase::Active);
        match &inner.engine {
            // SAFETY: it is the generator of this stack. Nobody else is entering it, which takes
            // a `Suspended` or a `Done` stack, and this is `Active`.
            _ if !generator.is_null() => drop(unsafe { handle(generator) }.resume()),
            Engine::Thread(baton) if baton.resume() => inner.phase.set(Phase::Done),
            _ => {}
        }
        match inner.phase.get() {
            Phase::Suspended => Turn::Suspended,
            Phase::Done => Turn::Done,
            Phase::Active => {
                inner.phase.set(Phase::Suspended);
                Turn::Foreign
            }
        }
    }

    /// Leaves the stack, on which the caller runs; returns when somebody resumes it. False, at
    /// once, if the caller runs elsewhere.
    #[inline(always)]
    pub(crate) fn suspend(&self) -> bool {
        let Some(inner) = self.inner() else { return false };
        if !inner.is_here() {
            return false;
        }
        inner.phase.set(Phase::Suspended);
        // SAFETY: we run on this stack, as was just checked.
        unsafe { inner.leave() };
        true
    }

    /// Whether [`suspend`](Self::suspend) would work: the caller runs on the stack.
    #[inline(always)]
    pub(crate) fn is_own(&self) -> bool {
        self.inner().is_some_and(Inner::is_here)
    }

    /// Where a stack overflow would be noticed, and where the stack ends.
    pub(crate) fn bounds(&self) -> Option<fatal::Bounds> {
        let Inner { engine: Engine::Switch(guard), low, bytes, .. } = self.inner()? else {
            return None;
        };
        Some(fatal::Bounds { guard: guard.bottom, low: *low, bytes: *bytes })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Inner {
    fn new(door: Option<Door>, low: usize, bytes: usize, engine: Engine) -> Inner {
        let (phase, body) = (Cell::new(Phase::Done), Cell::default());
        Inner { door: UnsafeCell::new(door), low, bytes, phase, body, engine }
    }

    /// Leaves by the door, until somebody enters; on a thread: gives the baton away.
    ///
    /// # Safety
    /// The caller runs on this stack.
    #[inline(always)]
    unsafe fn leave(&self) {
        // SAFETY: whoever runs on the stack is the only one there: `serve` between two bodies, or
        // a body, of which there is one at a time.
        match (unsafe { &mut *self.door.get() }, &self.engine) {
            (Some(door), _) => door.yield_with(()),
            (None, Engine::Thread(baton)) => baton.suspend(),
            (None, Engine::Switch(_)) => unreachable!("a switched stack has a door"),
        }
    }

    /// Whether the caller runs on this stack. (Threads as stacks: whoever has its seat does.)
    #[inline(always)]
    fn is_here(&self) -> bool {
        let mark = 0_u8;
        (&raw const mark).addr().wrapping_sub(self.low) < self.bytes
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.inner().phase.get() != Phase::Done {
            return; // live frames: leak the mapping, the box and what the frames own
        }
        match self.inner().engine {
            Engine::Switch(_) => {
                // SAFETY: the stack is `Done`: nobody enters it. `serve` ends, `inner` with it.
                unsafe { handle(self.generator) }.resume();
                // SAFETY: `into_raw` made the pointer, and all other handles are forgotten.
                let mut last = unsafe { LocalGenerator::<(), ()>::from_raw(self.generator) };
                // Of a generator that has not begun `generator` does not look at the lowest word
                // before it unmaps the stack: that may be behind the guard.
                last.scoped_init(|_| ());
            }
            // SAFETY: `inner` came from `Box::leak` in `new` and is dropped once; a `Seat` that
            // held it has given it up.
            Engine::Thread(_) => drop(unsafe { Box::from_raw(self.inner.as_ptr()) }),
        }
    }
}

/// Another handle of a generator.
///
/// # Safety
/// `into_raw` made the pointer, the generator exists, and nobody uses a handle of it meanwhile.
#[inline(always)]
unsafe fn handle(generator: *mut usize) -> ManuallyDrop<LocalGenerator<'static, (), ()>> {
    // SAFETY: it is of the same type, and this handle is not dropped.
    ManuallyDrop::new(unsafe { LocalGenerator::from_raw(generator) })
}

/// Makes the generator, finds out where its memory lies, and lets the outermost frame begin.
fn switched(bytes: usize) -> Option<Stack> {
    let page = page_bytes();
    // One page more: the guard marker may take the page that holds generator's sentinel.
    let bytes = bytes.next_multiple_of(page) + page;
    // Words, and an even number of them: an odd one makes `generator` touch every page.
    let words = bytes / size_of::<usize>();
    let made = catch_unwind(|| Gn::<()>::new_scoped_opt_local(words, |_| ()));
    let generator = made.ok()?.into_raw();
    // `generator` keeps its control block in the topmost page of the mapping.
    let high = (generator as usize + 1).next_multiple_of(page);
    let guard = Guard::mark(high - bytes);
    let told = Told::default();
    let inner = told.clone();
    // SAFETY: the pointer is new, and nobody else has it.
    let mut handle = unsafe { handle(generator) };
    handle.scoped_init(move |scope| serve(scope, guard, high, told));
    handle.resume();
    Some(Stack { inner: NonNull::new(inner.get().cast_mut())?, generator })
}

/// Whether the OS gives so much memory at this moment. Where it does not, `generator` panics,
/// through the user's hook.
pub(crate) fn can_map(bytes: usize) -> bool {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: the kernel chooses a place where nothing is.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
    // SAFETY: it is the mapping just made, as a whole, and nobody has seen it.
    start != libc::MAP_FAILED && unsafe { libc::munmap(start, bytes) } == 0
}

/// Whether a panic is `generator`'s way to end a generator: it must not be kept from doing so.
pub(crate) fn is_cancel(payload: &(dyn std::any::Any + Send)) -> bool {
    payload.is::<generator::Error>()
}

/// The outermost frame of a stack, in which `Inner` lies. It tells where, and then runs one body
/// after the other, until it is resumed without.
fn serve<'a>(scope: Scope<'a, 'static, (), ()>, guard: Guard, high: usize, told: Told) {
    // SAFETY: only the lifetime changes. The `Scope` does not leave this frame, and is used for
    // nothing but to leave the generator it belongs to.
    let door = unsafe { std::mem::transmute::<Scope<'a, 'static, (), ()>, Door>(scope) };
    let low = guard.top();
    let inner = Inner::new(Some(door), low, high - low, Engine::Switch(guard));
    told.set(&raw const inner);
    drop(told);
    loop {
        // SAFETY: this is the outermost frame of the stack.
        unsafe { inner.leave() };
        let Some(body) = inner.body.take() else { return };
        enter(body);
        inner.phase.set(Phase::Done);
    }
}

/// Carries a body to the thread that holds the baton for it.
struct Portable<T>(T);

// SAFETY: the baton lets exactly one of the threads run at any time and orders their turns by a
// mutex, so to the values inside it is as if there were one thread. (Only values that depend on
// which OS thread they are on could tell; the thread engine is for tests and says so.)
unsafe impl<T> Send for Portable<T> {}

/// A right to hand bodies that borrow for `'scope` to the scheduler.
pub(crate) struct Loan<'scope, 'env: 'scope, S> {
    /// What the borrower of this loan keeps beside it.
    pub(crate) state: S,
    outstanding: Rc<Cell<usize>>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Runs `f`, which may make borrowing bodies look `'static`.
/// Does not return, by any path, while such a body exists: then it aborts the process.
pub(crate) fn lend<'env, S, R>(
    state: S,
    f: impl for<'scope> FnOnce(&'scope Loan<'scope, 'env, S>) -> R,
) -> R {
    let outstanding = Rc::new(Cell::new(0));
    let repaid = Repaid(outstanding.clone());
    let result = f(&Loan { state, outstanding, scope: PhantomData, env: PhantomData });
    drop(repaid);
    result
}

impl<'scope, S> Loan<'scope, '_, S> {
    /// A body that runs `f`. Forgets the lifetime, and counts the body until it is no more.
    pub(crate) fn erase<F: FnOnce() + 'scope>(&self, f: F) -> Rc<dyn Body> {
        let body: Rc<dyn Body + 'scope> = Rc::new(Counted::new(f, &self.outstanding));
        // SAFETY: only the lifetime changes. `Counted` counts it until `f` and all it captured
        // are gone, by running, unwinding or being dropped unrun, and `lend`, whose frame is
        // younger than everything of `'scope`, neither returns nor unwinds further before the
        // count is zero. If the body is leaked the count stays up and `lend` aborts.
        unsafe { std::mem::transmute::<Rc<dyn Body + 'scope>, Rc<dyn Body>>(body) }
    }
}

/// The inaccessible pages below a stack.
#[derive(Clone, Copy)]
struct Guard {
    /// First inaccessible address.
    bottom: usize,
    /// A marker covers the lowest usable page too, into which `generator` wrote a sentinel.
    marked: bool,
}

/// Linux 6.13: `madvise` that marks pages as guards without splitting the mapping.
const GUARD_INSTALL: libc::c_int = 102;

/// Whether guard markers work here: 0 not known yet, 1 yes, 2 no.
static MARKERS: AtomicU8 = AtomicU8::new(0);

/// Whether this machine marks guards inside a mapping (then stacks do not use up memory maps).
pub(crate) fn guard_markers() -> bool {
    install_fault_handler();
    if MARKERS.load(Ordering::Relaxed) == 0 {
        let refused = std::env::var_os("TASKLETS_GUARD").is_some_and(|it| it == "pages");
        let marked = |it: Stack| match &it.inner().engine {
            Engine::Switch(guard) => guard.marked,
            Engine::Thread(_) => false,
        };
        let works = !refused && Stack::new(page_bytes(), false).is_some_and(marked);
        MARKERS.store(if works { 1 } else { 2 }, Ordering::Relaxed);
    }
    MARKERS.load(Ordering::Relaxed) == 1
}

impl Guard {
    /// Makes the page below `low`, and if markers work the one at `low` too, inaccessible.
    fn mark(low: usize) -> Guard {
        let page = page_bytes();
        let plain = Guard { bottom: low - page, marked: false };
        if MARKERS.load(Ordering::Relaxed) == 2 {
            return plain; // `generator` has protected that page already
        }
        let start = plain.bottom as *mut libc::c_void;
        // SAFETY: the page is `generator`'s guard page, part of the same live mapping.
        let opened = unsafe { libc::mprotect(start, page, libc::PROT_READ | libc::PROT_WRITE) };
        // SAFETY: both pages are in the mapping and hold nothing but the sentinel, which nobody
        // reads (`Stack::drop`).
        if opened == 0 && unsafe { libc::madvise(start, 2 * page, GUARD_INSTALL) } == 0 {
            return Guard { marked: true, ..plain };
        }
        // SAFETY: as above; the page was inaccessible before and is made so again.
        let closed = unsafe { libc::mprotect(start, page, libc::PROT_NONE) };
        assert_eq!(closed, 0, "the guard page of a stack could not be protected");
        plain
    }

    /// First accessible address.
    fn top(&self) -> usize {
        self.bottom + page_bytes() * if self.marked { 2 } else { 1 }
    }
}

pub(crate) fn page_bytes() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    // SAFETY: `sysconf` has no preconditions.
    *PAGE.get_or_init(|| unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize)
}

/// What SIGSEGV and SIGBUS did before us.
static FORMER: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

/// Takes stack overflows over from `generator`, once per process.
fn install_fault_handler() {
    FORMER.get_or_init(|| {
        // SAFETY: all-zero is a valid `sigaction` (default action, empty mask).
        let mut former: [libc::sigaction; 2] = unsafe { std::mem::zeroed() };
        for (signal, old) in [libc::SIGSEGV, libc::SIGBUS].into_iter().zip(&mut former) {
            // SAFETY: only reads the present action into `old`.
            unsafe { libc::sigaction(signal, ptr::null(), old) };
        }
        // `generator` installs its own handler, for good, when its first generator starts.
        let mut first = Gn::<()>::new_scoped_local(|_| ());
        first.resume();
        // SAFETY: as above.
        let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
        ours.sa_sigaction = handler as libc::sighandler_t;
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            // SAFETY: `on_fault` has the signature SA_SIGINFO asks for and is async-signal-safe.
            unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) };
        }
        former
    });
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a SA_SIGINFO handler.
    let info = unsafe { &*info };
    // SAFETY: `si_addr` is defined for SIGSEGV and SIGBUS, the signals we are installed for.
    let address = unsafe { info.si_addr() }.addr();
    fatal::fault(address);
    let former = FORMER.get().map(|it| &it[usize::from(signal == libc::SIGBUS)]);
    // SAFETY: puts back the action that was there; the fault then happens again.
    unsafe { libc::sigaction(signal, former.map_or(ptr::null(), ptr::from_ref), ptr::null_mut()) };
}

/// Makes sure the fault handler has a stack to run on in this OS thread.
pub(crate) fn ensure_signal_stack() {
    // SAFETY: all-zero is a valid `stack_t`.
    let mut present: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: only reads the present setting.
    let read = unsafe { libc::sigaltstack(ptr::null(), &raw mut present) };
    if read == 0 && present.ss_flags & libc::SS_DISABLE != 0 {
        let memory = Box::leak(vec![0_u8; 64 * 1024].into_boxed_slice());
        present.ss_sp = memory.as_mut_ptr().cast();
        present.ss_size = memory.len();
        present.ss_flags = 0;
        // SAFETY: the memory is leaked, so it stays valid for as long as the thread lives.
        unsafe { libc::sigaltstack(&raw const present, ptr::null_mut()) };
    }
}
