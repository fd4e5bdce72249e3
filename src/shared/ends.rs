//! The two ends of a shared channel, and what both can do.
//!
//! Always: a handle that exists is counted in its channel; the last one to go, on whatever OS
//! thread, closes its end.

use super::core::Core;
use super::facts;
use crate::kernel::announce;
use crate::kernel::running;
use crate::kernel::task::{Task, flag};
use crate::kernel::trace::{ChannelId, Direction, Event};
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of a shared channel that gives values.
///
/// What [`Sender`](crate::Sender) is within one OS thread, this is between several: it can be sent
/// to another one, and used by several at once. When the last clone is dropped, receivers get
/// [`Halt::Closed`](crate::Halt::Closed).
///
/// ```
/// use tasklets::{run, shared};
/// let (tx, rx) = shared::channel();
/// let others = [tx.clone(), tx].map(|tx| std::thread::spawn(move || tx.send("from one of two")));
/// assert_eq!(run(|| rx.iter().count()), 2); // both have been dropped: that is the end
/// others.map(|it| it.join().unwrap().unwrap());
/// ```
pub struct Sender<T: 'static> {
    pub(super) core: Arc<Core<T>>,
    /// The scheduler that was last told of the channel through this handle.
    listed: AtomicU64,
}

/// The end of a shared channel that takes values.
///
/// When the last clone is dropped, senders get their value back with
/// [`Halt::Closed`](crate::Halt::Closed): dropping a receiver is how a reader stops a writer.
///
/// ```
/// use tasklets::{run, shared};
/// let (tx, rx) = shared::channel();
/// let sum = |rx: shared::Receiver<i32>| move || run(|| rx.into_iter().sum::<i32>());
/// let readers = [rx.clone(), rx].map(|rx| std::thread::spawn(sum(rx)));
/// tx.send_all(1..=100).unwrap(); // a plain thread may send, too
/// drop(tx);
/// assert_eq!(readers.map(|it| it.join().unwrap()).iter().sum::<i32>(), 5_050);
/// ```
pub struct Receiver<T: 'static> {
    pub(super) core: Arc<Core<T>>,
    listed: AtomicU64,
}

/// Methods that both ends have.
macro_rules! both_ends {
    ($end:ident, $handles:ident, $gone:ident, $close:ident, $title:literal, $direction:ident) => {
        impl<T: Send + 'static> $end<T> {
            /// Lets the reports of the run of `task` know of the channel.
            pub(super) fn note(&self, task: &Rc<Task>) {
                if !task.has(flag::OUTSIDER) {
                    let number = facts::number();
                    if self.listed.swap(number, Ordering::Relaxed) != number {
                        facts::list(&self.core, &task.home);
                    }
                }
            }
        }

        impl<T: 'static> $end<T> {
            pub(super) fn first(core: Arc<Core<T>>) -> $end<T> {
                $end { core, listed: AtomicU64::new(0) }
            }

            /// Tells the hooks of an operation, if there are any.
            pub(super) fn trace(&self, will_block: bool) {
                if running::looks_at_all()
                    && let Some(task) = running::traced()
                {
                    let (channel, tasklet) = (self.core.id, Some(task.id()));
                    let direction = Direction::$direction;
                    let event = || Event::Channel { channel, tasklet, direction, will_block };
                    task.home.trace.emit(event);
                }
            }

            /// Whether every handle of the other end is gone.
            ///
            /// Once true it stays so: no operation of this end can succeed any more.
            ///
            /// ```
            /// use tasklets::shared;
            /// let (tx, rx) = shared::channel::<u8>();
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
                self.core.$gone.load(Ordering::SeqCst)
            }

            /// Whether `other` is an end of the same channel.
            ///
            /// ```
            /// use tasklets::shared;
            /// let ((tx, rx), (others, other)) = (shared::channel::<u8>(), shared::channel());
            /// assert!(tx.same_channel(&tx.clone()) && rx.same_channel(&rx.clone()));
            /// assert!(!tx.same_channel(&others) && !rx.same_channel(&other));
            /// ```
            pub fn same_channel(&self, other: &$end<T>) -> bool {
                Arc::ptr_eq(&self.core, &other.core)
            }

            /// The channel's identity, the same for both ends and on every OS thread.
            ///
            /// ```
            /// use tasklets::{channel, shared};
            /// let (tx, rx) = shared::channel::<u8>();
            /// assert_eq!(tx.id(), rx.id()); // they meet
            /// assert_ne!(tx.id(), channel::<u8>().0.id()); // shared or not, no two have one id
            /// ```
            pub fn id(&self) -> ChannelId {
                self.core.id
            }

            /// The channel's name, as reports show it.
            ///
            /// ```
            /// use tasklets::shared;
            /// let (tx, rx) = shared::channel::<u8>();
            /// assert_eq!(tx.name(), None);
            /// tx.set_name("orders");
            /// assert_eq!(rx.name().as_deref(), Some("orders"));
            /// ```
            pub fn name(&self) -> Option<Arc<str>> {
                self.core.name.lock().clone()
            }

            /// Names the channel, that is both of its ends, in the reports of every run.
            ///
            /// ```
            /// use tasklets::{run, shared, snapshot, spawn, yield_now};
            /// run(|| {
            ///     let (_tx, rx) = shared::channel::<u8>();
            ///     rx.set_name("replies");
            ///     let reader = spawn(move || rx.recv());
            ///     yield_now();
            ///     let text = snapshot().unwrap().to_string();
            ///     assert!(text.contains("receive from shared channel `replies`"), "{text}");
            ///     reader.cancel();
            /// });
            /// ```
            pub fn set_name(&self, name: impl Into<Arc<str>>) {
                let former = self.core.name.lock().replace(name.into());
                drop(former);
            }
        }

        impl<T: 'static> Clone for $end<T> {
            fn clone(&self) -> $end<T> {
                // Whoever clones has a handle, so the count is not 0 and cannot become so.
                self.core.$handles.fetch_add(1, Ordering::SeqCst);
                $end::first(self.core.clone())
            }
        }

        impl<T: 'static> Drop for $end<T> {
            fn drop(&mut self) {
                if self.core.$handles.fetch_sub(1, Ordering::SeqCst) == 1 {
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
                out.finish_non_exhaustive()
            }
        }

        // A panic leaves nothing half done under the lock: no code of the user runs there.
        impl<T: 'static> UnwindSafe for $end<T> {}
        impl<T: 'static> RefUnwindSafe for $end<T> {}
    };
}

both_ends!(Sender, senders, no_receiver, close_to_receivers, "Sender", Send);
both_ends!(Receiver, receivers, no_sender, close_to_senders, "Receiver", Receive);
