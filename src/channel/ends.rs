//! The two ends of a channel, and what both can do.
//!
//! Always: a handle that exists is counted in its channel; the last one to go closes its end.

use super::core::Core;
use super::head::mark;
use crate::error::Halt;
use crate::kernel::announce::{self, Go, Stops, announce};
use crate::kernel::control::Way;
use crate::kernel::name::TaskletId;
use crate::kernel::running;
use crate::kernel::task::{Doing, Holder};
use crate::kernel::trace::{ChannelId, Direction};
use crate::kernel::wait;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

/// The end of a channel that gives values.
///
/// When the last clone is dropped, receivers get [`Halt::Closed`].
///
/// ```
/// use tasklets::{Halt, channel, run, spawn};
/// run(|| {
///     let (tx, rx) = channel();
///     for tx in [tx.clone(), tx] {
///         spawn(move || tx.send("from one of two")); // each has its own handle
///     }
///     assert_eq!(rx.iter().count(), 2); // both have been dropped: that is the end
///     assert_eq!(rx.recv(), Err(Halt::Closed));
/// });
/// ```
pub struct Sender<T: 'static> {
    pub(super) core: Rc<Core<T>>,
    pub(super) entry: Entry,
}

/// The end of a channel that takes values.
///
/// When the last clone is dropped, senders get their value back with [`Halt::Closed`]: dropping a
/// receiver is how a reader stops a writer.
///
/// ```
/// use tasklets::{channel, run, spawn};
/// run(|| {
///     let (tx, rx) = channel();
///     let readers = [rx.clone(), rx].map(|rx| spawn(move || rx.into_iter().sum::<i32>()));
///     tx.send_all(1..=100).unwrap(); // each number is received by one of them
///     drop(tx);
///     assert_eq!(readers.map(|it| it.join().unwrap()).iter().sum::<i32>(), 5_050);
/// });
/// ```
pub struct Receiver<T: 'static> {
    pub(super) core: Rc<Core<T>>,
    pub(super) entry: Entry,
}

/// A handle's slot in its channel, and the stamp of the tasklet noted there as its holder: in one
/// word, because a handle of two is passed on in registers.
pub(super) struct Entry(Cell<u64>);

impl Entry {
    fn new(slot: usize) -> Entry {
        let slot = u32::try_from(slot).expect("a channel has fewer than 4,294,967,296 handles");
        Entry(Cell::new(u64::from(slot) << 32 | u64::from(u32::MAX)))
    }

    fn slot(&self) -> usize {
        (self.0.get() >> 32) as usize
    }

    #[inline(always)]
    pub(super) fn holder(&self) -> u32 {
        self.0.get() as u32
    }

    fn set_holder(&self, stamp: u32) {
        self.0.set(self.0.get() >> 32 << 32 | u64::from(stamp));
    }
}

/// The running tasklet, as the maker of a handle.
fn maker() -> Holder {
    Holder { tasklet: running::current().map(|it| it.id()), used: false }
}

/// Whether an operation may look for a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// It was decided that none is there.
    Shut,
}

/// Methods that both ends have.
macro_rules! both_ends {
    (
        $end:ident, $handles:ident, $gone:ident, $close:ident, $title:literal, $direction:ident,
        $doing:ident
    ) => {
        impl<T: 'static> $end<T> {
            pub(super) fn first(core: Rc<Core<T>>) -> $end<T> {
                let slot = core.$handles.borrow_mut().insert(maker());
                $end { core, entry: Entry::new(slot) }
            }

            /// What an operation does first: see [`running::gate`].
            #[inline(always)]
            pub(super) fn begin(
                &self,
                may_wait: bool,
                at: &'static Location<'static>,
            ) -> Result<Gate, Halt> {
                if running::passes(self.entry.holder()) {
                    return Ok(Gate::Open);
                }
                self.begin_watched(may_wait, at)
            }

            #[cold]
            #[inline(never)]
            fn begin_watched(
                &self,
                may_wait: bool,
                at: &'static Location<'static>,
            ) -> Result<Gate, Halt> {
                let way = Way::$direction(self.core.id);
                let doing = Doing::$doing(self.core.id);
                let holder = self.entry.holder();
                if may_wait && let Some(go) = announce::announce_only(holder, way, doing, at) {
                    return go.map(|_| Gate::Open);
                }
                self.note_holder();
                if !running::gate(may_wait)? {
                    return Ok(Gate::Open);
                }
                self.core.tell(Direction::$direction);
                let chosen = if may_wait {
                    announce(&[way], Stops::All, doing, at)?
                } else {
                    announce(&[way, Way::Default], Stops::None, doing, at)?
                };
                Ok(if chosen == Go::Way(1) { Gate::Shut } else { Gate::Open })
            }

            /// Notes that the running tasklet uses this handle.
            #[inline(always)]
            pub(super) fn note_holder(&self) {
                self.note_held_by(running::stamp());
            }

            /// [`note_holder`](Self::note_holder) where the tasklet's stamp is known.
            #[inline(always)]
            pub(crate) fn note_held_by(&self, stamp: u32) {
                if self.entry.holder() != stamp {
                    self.entry.set_holder(stamp);
                    self.core.note_holder(Direction::$direction, self.entry.slot());
                }
            }

            /// Waiting senders, or minus the waiting receivers; 0 when nobody waits.
            ///
            /// What it tells depends on the schedule: for tests and monitors.
            ///
            /// ```
            /// use tasklets::{channel, run, spawn, yield_now};
            /// run(|| {
            ///     let (tx, rx) = channel();
            ///     for number in 1..=2 {
            ///         let tx = tx.clone();
            ///         spawn(move || tx.send(number));
            ///     }
            ///     yield_now();
            ///     assert_eq!((tx.balance(), rx.balance()), (2, 2)); // two wait to send
            ///     assert_eq!(rx.iter().take(2).sum::<i32>(), 3);
            ///     assert_eq!(tx.balance(), 0);
            /// });
            /// ```
            #[doc(alias = "len")]
            #[track_caller]
            pub fn balance(&self) -> isize {
                announce::refuse("asking who waits at a channel", Location::caller());
                self.core.balance()
            }

            /// Who waits: senders and receivers, in the order in which they came.
            ///
            /// ```
            /// use tasklets::{channel, run, spawn, yield_now};
            /// run(|| {
            ///     let (tx, rx) = channel();
            ///     let reader = spawn(move || rx.recv());
            ///     yield_now();
            ///     assert_eq!(tx.waiters(), (vec![], vec![reader.id()]));
            ///     tx.send("who waits is served in this order").unwrap();
            ///     assert!(reader.join().unwrap().is_ok());
            /// });
            /// ```
            #[doc(alias = "queue")]
            #[track_caller]
            pub fn waiters(&self) -> (Vec<TaskletId>, Vec<TaskletId>) {
                announce::refuse("asking who waits at a channel", Location::caller());
                self.core.waiters()
            }

            /// Whether every handle of the other end is gone.
            ///
            /// Once true it stays so: no operation of this end can succeed any more.
            ///
            /// ```
            /// use tasklets::channel;
            /// let (tx, rx) = channel::<u8>();
            /// let other = rx.clone();
            /// drop(rx);
            /// assert!(!tx.is_closed()); // somebody could receive still
            /// drop(other);
            /// assert!(tx.is_closed()); // what would be sent need not be made
            /// ```
            #[doc(alias = "closing")]
            #[track_caller]
            pub fn is_closed(&self) -> bool {
                announce::refuse("asking whether a channel is closed", Location::caller());
                self.core.$gone()
            }

            /// Whether `other` is an end of the same channel.
            ///
            /// ```
            /// use tasklets::channel;
            /// let (tx, rx) = channel::<u8>();
            /// let (others, other) = channel::<u8>();
            /// assert!(tx.same_channel(&tx.clone()) && rx.same_channel(&rx.clone()));
            /// assert!(!tx.same_channel(&others) && !rx.same_channel(&other));
            /// ```
            pub fn same_channel(&self, other: &$end<T>) -> bool {
                Rc::ptr_eq(&self.core, &other.core)
            }

            /// The channel's identity, the same for both ends.
            ///
            /// ```
            /// use tasklets::channel;
            /// let (tx, rx) = channel::<u8>();
            /// assert_eq!(tx.id(), rx.id()); // they meet
            /// assert_ne!(tx.id(), channel::<u8>().0.id());
            /// ```
            pub fn id(&self) -> ChannelId {
                self.core.id
            }

            /// The channel's name, as reports show it.
            ///
            /// ```
            /// use tasklets::channel;
            /// let (tx, rx) = channel::Builder::new().name("orders").channel::<u8>();
            /// assert_eq!(rx.name().as_deref(), Some("orders"));
            /// assert_eq!((tx.name(), channel::<u8>().0.name()), (rx.name(), None));
            /// ```
            pub fn name(&self) -> Option<Rc<str>> {
                self.core.name.borrow().clone()
            }

            /// Names the channel, that is both of its ends, in reports.
            ///
            /// ```
            /// use tasklets::{RunError, Runtime, channel};
            /// let ended = Runtime::builder().build().run(|| {
            ///     let (tx, rx) = channel::<u8>();
            ///     tx.set_name("replies");
            ///     rx.recv() // a mistake: only this tasklet could send
            /// });
            /// let Err(RunError::Stuck(report)) = ended else { panic!("nobody sends") };
            /// assert!(report.to_string().contains("receive from channel `replies`"));
            /// ```
            pub fn set_name(&self, name: impl Into<Rc<str>>) {
                let former = self.core.name.replace(Some(name.into()));
                drop(former);
            }
        }

        impl<T: 'static> Clone for $end<T> {
            fn clone(&self) -> $end<T> {
                $end::first(self.core.clone())
            }
        }

        impl<T: 'static> Drop for $end<T> {
            fn drop(&mut self) {
                let mut handles = self.core.$handles.borrow_mut();
                handles.try_remove(self.entry.slot());
                let last = handles.is_empty();
                drop(handles);
                self.core.tell_dropped(Direction::$direction, last);
                if last {
                    self.core.$close();
                }
            }
        }

        impl<T: 'static> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut out = f.debug_struct($title);
                out.field("id", &self.core.id.0);
                if let Some(name) = self.name() {
                    out.field("name", &name);
                }
                out.field("balance", &self.core.balance()).finish_non_exhaustive()
            }
        }
    };
}

both_ends!(Sender, senders, no_receiver, close_to_receivers, "Sender", Send, Sending);
both_ends!(Receiver, receivers, no_sender, close_to_senders, "Receiver", Receive, Receiving);

impl<T> Core<T> {
    /// Wakes everybody who waits for senders, when the last of them has gone.
    pub(super) fn close_to_receivers(&self) {
        self.head().set(mark::NO_SENDER, true);
        let offers: Vec<_> = self.queue().receivers.drain().collect();
        for offer in offers {
            offer.wait.settle(wait::CLOSED | offer.branch);
        }
        #[cfg(feature = "futures")]
        self.wake_polled();
        let queue = self.queue();
        queue.heat();
        for (select, arm) in &queue.standing {
            if let Some(wait) = select.waiting() {
                wait.settle(wait::CLOSED | arm);
            }
        }
    }

    /// Wakes everybody who waits for receivers, when the last of them has gone.
    pub(super) fn close_to_senders(&self) {
        self.head().no_receiver.set(true);
        let queue = self.queue();
        let waits = queue.senders.iter().map(|it| (it.wait.clone(), it.branch));
        let waits: Vec<_> = waits.collect();
        drop(queue);
        for (wait, branch) in waits {
            wait.settle(wait::CLOSED | branch);
        }
    }
}
