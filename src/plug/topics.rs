//! Publish and subscribe as a process: each message goes to those who have subscribed to its topic.
//!
//! Always: a subscriber gets messages in the order in which they were published, and no more wait
//! for it than it has said; a slow one costs the others nothing, unless it has asked for that.
//! Subscription: `Open -> Ended` when its receiver is dropped.

use super::Rest;
use crate::channel::{Never, Receiver, Sender, channel};
use crate::error::{Halt, SendError};
use crate::operation::Operation;
use crate::select::{self, Arm};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;

/// What becomes of a message to a subscriber for whom as many wait as may.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let (topics, requests) = plug::Topics::new();
///     spawn(move || plug::topics(requests));
///     let last = topics.subscribe("prices", 1, plug::Slow::LosesOldest).unwrap();
///     let first = topics.subscribe("prices", 1, plug::Slow::LosesNewest).unwrap();
///     (1..=3).for_each(|price| topics.publish("prices", price).unwrap());
///     assert_eq!((last.recv(), first.recv()), (Ok(3), Ok(1)));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// It waits, and so does everybody who publishes or subscribes, to whatever topic; nor is
    /// anybody told before that all handles are gone.
    HoldsUpAll,
    /// The message that has waited longest is dropped.
    LosesOldest,
    /// The message is dropped.
    LosesNewest,
}

/// What the process of [`topics`] is asked.
///
/// ```
/// use tasklets::{channel, plug, run, spawn};
/// run(|| {
///     let (topics, requests) = plug::Topics::new();
///     let (to, from) = channel::<plug::Request<&str, u8>>();
///     spawn(move || plug::buffer(8, requests, to)); // so that nobody waits for the process
///     spawn(move || plug::topics(from));
///     topics.publish("topic", 1).unwrap();
/// });
/// ```
pub struct Request<K: 'static, M: 'static>(Ask<K, M>);

enum Ask<K: 'static, M: 'static> {
    Publish(K, M),
    Subscribe(Subscriber<K, M>),
}

impl<K, M> fmt::Debug for Request<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Ask::Publish(..) => "Publish",
            Ask::Subscribe(_) => "Subscribe",
        })
    }
}

/// A subscription as the process knows it.
struct Subscriber<K: 'static, M: 'static> {
    topic: K,
    slow: Slow,
    /// How many messages may wait for it.
    room: usize,
    to: Sender<M>,
    /// Closes when nobody has the subscription any more.
    here: Receiver<Never>,
}

/// Messages on one topic: a [`Receiver`] that ends the subscription when it is dropped. A clone of
/// the receiver does not keep it.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (topics, requests) = plug::Topics::new();
///     spawn(move || plug::topics(requests));
///     let news = topics.subscribe("news", 8, plug::Slow::HoldsUpAll).unwrap();
///     topics.publish("news", "first").unwrap();
///     topics.publish("weather", "rain").unwrap(); // nobody hears it
///     topics.publish("news", "second").unwrap();
///     drop(topics);
///     assert_eq!(news.iter().collect::<Vec<_>>(), ["first", "second"]);
/// });
/// ```
#[derive(Debug)]
#[must_use = "a subscription ends when it is dropped"]
pub struct Subscription<M: 'static> {
    messages: Receiver<M>,
    _here: Sender<Never>,
}

impl<M> Deref for Subscription<M> {
    type Target = Receiver<M>;

    fn deref(&self) -> &Receiver<M> {
        &self.messages
    }
}

/// Publishes, and subscribes. Can be cloned.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (topics, requests) = plug::Topics::new();
///     spawn(move || plug::topics(requests));
///     let hears = topics.subscribe(7, 1, plug::Slow::LosesOldest).unwrap();
///     let elsewhere = topics.clone();
///     spawn(move || elsewhere.publish(7, "lucky"));
///     assert_eq!(hears.recv(), Ok("lucky"));
/// });
/// ```
#[doc(alias("pubsub", "EventEmitter", "signal", "broadcast"))]
pub struct Topics<K: 'static, M: 'static> {
    requests: Sender<Request<K, M>>,
}

impl<K, M> Topics<K, M> {
    /// Makes a handle, and the end that its process takes.
    ///
    /// ```
    /// use tasklets::{Halt, plug, run};
    /// let (topics, requests) = plug::Topics::new();
    /// drop(requests); // nobody will be the process
    /// let error = run(|| topics.publish("topic", "message")).unwrap_err();
    /// assert_eq!((error.value, error.why), ("message", Halt::Closed));
    /// ```
    #[track_caller]
    pub fn new() -> (Topics<K, M>, Receiver<Request<K, M>>) {
        let (requests, from) = channel();
        (Topics { requests }, from)
    }

    /// Hands `message` to the process, for all who have subscribed to `topic` by then.
    ///
    /// Waits for a subscriber only if it [holds up all](Slow::HoldsUpAll).
    ///
    /// # Errors
    /// [`Halt::Closed`] when the process has ended, otherwise why the caller was stopped; with the
    /// message, which nobody gets.
    ///
    /// ```
    /// use tasklets::{plug, run, spawn};
    /// run(|| {
    ///     let (topics, requests) = plug::Topics::new();
    ///     spawn(move || plug::topics(requests));
    ///     topics.publish("nobody", "hears it").unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn publish(&self, topic: K, message: M) -> Result<(), SendError<M>> {
        self.requests.send(Request(Ask::Publish(topic, message))).map_err(|error| {
            match error.value.0 {
                Ask::Publish(_, value) => SendError { value, why: error.why },
                Ask::Subscribe(_) => unreachable!("what was not sent is what was to be"),
            }
        })
    }

    /// Subscribes to `topic`; `room` messages may wait, and with more it goes as `slow` says.
    ///
    /// # Errors
    /// [`Halt::Closed`] when the process has ended; otherwise why the caller was stopped.
    ///
    /// # Panics
    /// If `room` is zero.
    ///
    /// ```
    /// use tasklets::{plug, run, spawn};
    /// run(|| {
    ///     let (topics, requests) = plug::Topics::new();
    ///     spawn(move || plug::topics(requests));
    ///     let paced = topics.subscribe("all of it", 1, plug::Slow::HoldsUpAll).unwrap();
    ///     spawn(move || (0..100).for_each(|it| topics.publish("all of it", it).unwrap()));
    ///     assert_eq!(paced.iter().count(), 100);
    /// });
    /// ```
    #[track_caller]
    pub fn subscribe(&self, topic: K, room: usize, slow: Slow) -> Result<Subscription<M>, Halt> {
        assert!(room > 0, "a subscription without room");
        let ((to, messages), (alive, here)) = (channel(), channel());
        let subscriber = Subscriber { topic, slow, room, to, here };
        self.requests.send(Request(Ask::Subscribe(subscriber)))?;
        Ok(Subscription { messages, _here: alive })
    }
}

impl<K, M> Clone for Topics<K, M> {
    fn clone(&self) -> Self {
        Topics { requests: self.requests.clone() }
    }
}

impl<K, M> fmt::Debug for Topics<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").field("requests", &self.requests).finish()
    }
}

/// Gives each message that is published to those who have subscribed to its topic.
///
/// Returns when nobody can publish any more, and what waits has been given or its subscription has
/// ended.
///
/// # Errors
/// [`Rest`] with what waits, when the tasklet is stopped.
///
/// ```
/// use tasklets::{plug, run, spawn};
/// run(|| {
///     let (topics, requests) = plug::Topics::<&str, u8>::new();
///     let process = spawn(move || plug::topics(requests));
///     drop(topics);
///     assert_eq!(process.join().unwrap(), Ok(()));
/// });
/// ```
pub fn topics<K: PartialEq, M: Clone>(requests: Receiver<Request<K, M>>) -> Result<(), Rest<M>> {
    let (mut open, mut all) = (true, Vec::new());
    let mut waiting: Vec<VecDeque<M>> = Vec::new();
    while open || !all.is_empty() {
        match await_news(&requests, open, &all, &mut waiting) {
            News::Request(Ok(Request(Ask::Publish(topic, message)))) => {
                for (hears, waiting) in
                    all.iter().zip(&mut waiting).filter(|it| it.0.topic == topic)
                {
                    hears.keep(message.clone(), waiting);
                }
            }
            News::Request(Ok(Request(Ask::Subscribe(new)))) => {
                all.push(new);
                waiting.push(VecDeque::new());
            }
            News::Request(Err(Halt::Closed)) => open = false,
            News::Subscriber(_, Ok(())) => {}
            News::Subscriber(index, Err(Halt::Closed)) => {
                drop((all.remove(index), waiting.remove(index)));
            }
            News::Request(Err(why)) | News::Subscriber(_, Err(why)) => {
                return Err(Rest::new(waiting.into_iter().flatten(), why));
            }
        }
        if !open {
            // Who has had everything is told so now, and does not wait for the others.
            let mut done = waiting.iter().map(VecDeque::is_empty);
            all.retain(|_| !done.next().unwrap_or(true));
            waiting.retain(|it| !it.is_empty());
        }
    }
    Ok(())
}

/// What the process has heard.
enum News<K: 'static, M: 'static> {
    Request(Result<Request<K, M>, Halt>),
    /// Its number, and whether it has taken a message or gone away.
    Subscriber(usize, Result<(), Halt>),
}

/// Waits for a request, a subscriber who takes a message, or one who goes away.
fn await_news<K, M>(
    requests: &Receiver<Request<K, M>>,
    open: bool,
    all: &[Subscriber<K, M>],
    waiting: &mut [VecDeque<M>],
) -> News<K, M> {
    let held_up = all.iter().zip(&*waiting).any(|(it, waiting)| it.holds_up(waiting));
    let mut asking = requests.receiving().only_if(open && !held_up);
    let (mut takes, mut leaves) = (Vec::new(), Vec::new());
    for (index, (it, waiting)) in all.iter().zip(&*waiting).enumerate() {
        // Nor does its channel close when it leaves: there may be clones of its receiver.
        leaves.push(it.here.receiving());
        if !waiting.is_empty() {
            takes.push((index, it.to.reserving()));
        }
    }
    let mut arms: Vec<&mut dyn Arm> = vec![&mut asking];
    arms.extend(takes.iter_mut().map(|it| &mut it.1 as &mut dyn Arm));
    arms.extend(leaves.iter_mut().map(|it| it as &mut dyn Arm));
    let won = select::select(&mut arms);
    if won == 0 {
        return News::Request(asking.take());
    }
    if won > takes.len() {
        let index = won - 1 - takes.len();
        return News::Subscriber(index, leaves[index].take().map(|never| match never {}));
    }
    let (index, mut taking) = takes.swap_remove(won - 1);
    let given = taking.take().and_then(|permit| {
        let first = waiting[index].pop_front().expect("the arm is there if a message waits");
        permit.send(first).map_err(|error| {
            waiting[index].push_front(error.value);
            error.why
        })
    });
    News::Subscriber(index, given)
}

impl<K, M> Subscriber<K, M> {
    fn holds_up(&self, waiting: &VecDeque<M>) -> bool {
        self.slow == Slow::HoldsUpAll && waiting.len() == self.room
    }

    /// Adds `message` to what waits for it.
    fn keep(&self, message: M, waiting: &mut VecDeque<M>) {
        let full = waiting.len() == self.room;
        match self.slow {
            Slow::LosesNewest if full => return,
            Slow::LosesOldest if full => drop(waiting.pop_front()),
            Slow::LosesOldest | Slow::LosesNewest | Slow::HoldsUpAll => {}
        }
        waiting.push_back(message);
    }
}
