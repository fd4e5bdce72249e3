//! Concurrent histories against a sequential model: are they linearizable?
//!
//! A history is linearizable if each operation can be thought to happen at one moment between its
//! call and its answer, such that the model gives these answers in the order of these moments
//! (Herlihy and Wing, 1990). The check tries the orders that the history allows (Wing and Gong,
//! 1993) and never the same set of operations in the same state twice (Lowe, 2017).
//!
//! Always: calls and answers are recorded by messages to the root tasklet, so their order belongs
//! to the schedule, is explored and replays. An operation is recorded as no shorter than it is, so
//! what is reported is a fault; and under some schedule as no longer, so nothing is missed.

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::hash::Hash;

use crate::{Sender, channel, spawn};

/// What a system under test should do, as if it did one operation after the other.
///
/// ```
/// use tasklets::explore::Model;
/// /// A counter that answers with its value.
/// struct Counter;
/// impl Model for Counter {
///     type State = u64;
///     type Op = u64;
///     type Answer = u64;
///     fn start() -> u64 {
///         0
///     }
///     fn apply(state: &mut u64, add: &u64) -> u64 {
///         *state += add;
///         *state
///     }
/// }
/// ```
pub trait Model {
    /// All that later answers depend on.
    type State: Clone + Eq + Hash;
    /// What a client asks for.
    type Op: Clone + Debug + 'static;
    /// What it is answered.
    type Answer: PartialEq + Debug + 'static;

    /// The state at first.
    fn start() -> Self::State;

    /// Does `op`, and says what the answer should be.
    fn apply(state: &mut Self::State, op: &Self::Op) -> Self::Answer;
}

/// An operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<O, A> {
    /// Who asked.
    pub client: usize,
    /// What for.
    pub op: O,
    /// The answer, if one came.
    pub answer: Option<A>,
    /// The moment of the call, and that of the answer.
    span: (usize, usize),
}

/// Calls and answers in the order in which they were seen.
#[derive(Clone, Debug)]
pub struct History<O, A> {
    done: Vec<Done<O, A>>,
    /// The operation that each client waits for.
    open: Vec<Option<usize>>,
    /// How many calls and answers there were.
    moments: usize,
}

impl<O, A> Default for History<O, A> {
    fn default() -> History<O, A> {
        History { done: Vec::new(), open: Vec::new(), moments: 0 }
    }
}

/// A history that no order of its operations explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLinear {
    /// Places in the history: as many operations as can be put into an order.
    pub order: Vec<usize>,
    /// The history in words.
    text: String,
}

impl fmt::Display for NotLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the history is not linearizable:\n{}", self.text)
    }
}

impl std::error::Error for NotLinear {}

impl<O: Debug, A: Debug + PartialEq> History<O, A> {
    /// A client calls.
    ///
    /// # Panics
    /// If its former call has no answer yet.
    pub fn call(&mut self, client: usize, op: O) {
        if self.open.len() <= client {
            self.open.resize(client + 1, None);
        }
        assert!(self.open[client].is_none(), "client {client} calls while it waits");
        self.open[client] = Some(self.done.len());
        let span = (self.moments, usize::MAX);
        self.done.push(Done { client, op, answer: None, span });
        self.moments += 1;
    }

    /// A client gets its answer.
    ///
    /// # Panics
    /// If it has not called.
    pub fn answer(&mut self, client: usize, answer: A) {
        let open = self.open.get_mut(client).and_then(Option::take);
        let Some(place) = open else { panic!("client {client} is answered but did not call") };
        self.done[place].answer = Some(answer);
        self.done[place].span.1 = self.moments;
        self.moments += 1;
    }

    /// The operations, in the order of their calls.
    pub fn operations(&self) -> &[Done<O, A>] {
        &self.done
    }

    /// An order of the operations that explains the answers, as places in
    /// [`operations`](Self::operations). One without an answer may have been done or not.
    ///
    /// # Errors
    /// There is none.
    ///
    /// ```
    /// use tasklets::explore::{History, Model};
    /// # struct Counter;
    /// # impl Model for Counter {
    /// #     type State = u64;
    /// #     type Op = u64;
    /// #     type Answer = u64;
    /// #     fn start() -> u64 {
    /// #         0
    /// #     }
    /// #     fn apply(state: &mut u64, add: &u64) -> u64 {
    /// #         *state += add;
    /// #         *state
    /// #     }
    /// # }
    /// let mut history = History::default();
    /// history.call(0, 5);
    /// history.call(1, 7);
    /// history.answer(0, 12); // so the second call was done first
    /// history.answer(1, 7);
    /// assert_eq!(history.check::<Counter>(), Ok(vec![1, 0]));
    /// history.call(0, 1);
    /// history.answer(0, 1); // the counter has forgotten
    /// let error = history.check::<Counter>().unwrap_err();
    /// assert_eq!(error.order, [1, 0]);
    /// ```
    pub fn check<M: Model<Op = O, Answer = A>>(&self) -> Result<Vec<usize>, NotLinear> {
        let mut search = Order { history: self, path: Vec::new(), taken: vec![0; self.words()] };
        let mut seen = HashSet::from([(search.taken.clone(), M::start())]);
        // Where each operation on the path comes from: the state before, and what was tried last.
        let mut states = vec![M::start()];
        let (mut next, mut longest) = (0, Vec::new());
        loop {
            if search.explains_all() {
                return Ok(search.path);
            }
            let found = search.candidates(next).find_map(|place| {
                let mut state = states.last().cloned()?;
                let answer = M::apply(&mut state, &self.done[place].op);
                let right = self.done[place].answer.as_ref().is_none_or(|it| *it == answer);
                (right && seen.insert((search.with(place), state.clone())))
                    .then_some((place, state))
            });
            if let Some((place, state)) = found {
                search.push(place);
                states.push(state);
                next = 0;
                if search.path.len() > longest.len() {
                    longest.clone_from(&search.path);
                }
            } else if let Some(place) = search.pop() {
                states.pop();
                next = place + 1;
            } else {
                let text = self.text(&longest);
                return Err(NotLinear { order: longest, text });
            }
        }
    }

    fn words(&self) -> usize {
        self.done.len().div_ceil(64)
    }

    /// One line for each call and each answer, in order; then what could be explained.
    fn text(&self, order: &[usize]) -> String {
        let mut lines = vec![String::new(); self.moments];
        for one in &self.done {
            lines[one.span.0] = format!("  client {} calls {:?}", one.client, one.op);
            if let Some(answer) = &one.answer {
                lines[one.span.1] =
                    format!("  client {} is answered {answer:?} to {:?}", one.client, one.op);
            }
        }
        let name =
            |it: &usize| format!("{:?} of client {}", self.done[*it].op, self.done[*it].client);
        let order: Vec<_> = order.iter().map(name).collect();
        let order = if order.is_empty() { String::from("nothing") } else { order.join(", ") };
        format!("{}\n  at most this can be explained: {order}", lines.join("\n"))
    }
}

/// The search for an order.
struct Order<'a, O, A> {
    history: &'a History<O, A>,
    path: Vec<usize>,
    /// The operations on the path, one bit for each.
    taken: Vec<u64>,
}

impl<O, A> Order<'_, O, A> {
    fn has(&self, place: usize) -> bool {
        self.taken[place / 64] >> (place % 64) & 1 == 1
    }

    fn with(&self, place: usize) -> Vec<u64> {
        let mut taken = self.taken.clone();
        taken[place / 64] |= 1 << (place % 64);
        taken
    }

    fn push(&mut self, place: usize) {
        self.taken = self.with(place);
        self.path.push(place);
    }

    fn pop(&mut self) -> Option<usize> {
        let place = self.path.pop()?;
        self.taken[place / 64] &= !(1 << (place % 64));
        Some(place)
    }

    fn explains_all(&self) -> bool {
        let mut all = self.history.done.iter().enumerate();
        all.all(|(place, one)| one.answer.is_none() || self.has(place))
    }

    /// The operations from `first` on that may be next: no other one was answered before the call.
    fn candidates(&self, first: usize) -> impl Iterator<Item = usize> + use<'_, O, A> {
        let all = self.history.done.iter().enumerate();
        let left = all.filter(|it| !self.has(it.0));
        let earliest = left.clone().map(|it| it.1.span.1).min().unwrap_or(usize::MAX);
        left.filter(move |(place, one)| *place >= first && one.span.0 < earliest)
            .map(|(place, _)| place)
    }
}

/// What a client tells the root.
enum Told<O, A> {
    Call(O),
    Answer(A),
}

/// Lets clients do their lists of operations at the same time, each in a tasklet of its own, and
/// checks that what they are answered is linearizable.
///
/// It is for the root tasklet of an explored program, after it has started the system under test.
/// `connect` makes the connection of each client to it: a function that does one operation. All
/// connections are dropped before the check.
///
/// # Panics
/// If the history is not linearizable; the message has the history.
///
/// ```
/// use tasklets::explore::{Explore, Model, drive};
/// use tasklets::{Sender, channel, spawn};
/// # struct Counter;
/// # impl Model for Counter {
/// #     type State = u64;
/// #     type Op = u64;
/// #     type Answer = u64;
/// #     fn start() -> u64 {
/// #         0
/// #     }
/// #     fn apply(state: &mut u64, add: &u64) -> u64 {
/// #         *state += add;
/// #         *state
/// #     }
/// # }
/// Explore::new().executions(200).check(|| {
///     let (ask, asked) = channel::<(u64, Sender<u64>)>();
///     spawn(move || {
///         let mut sum = 0;
///         for (add, reply) in asked.iter() {
///             sum += add;
///             reply.send(sum).unwrap();
///         }
///     });
///     drive::<Counter, _>(&[vec![1, 2], vec![10]], |_client| {
///         let ask = ask.clone();
///         move |add: &u64| {
///             let (reply, replied) = channel();
///             ask.send((*add, reply)).unwrap();
///             replied.recv().unwrap()
///         }
///     });
/// });
/// ```
#[track_caller]
pub fn drive<M: Model, C>(lists: &[Vec<M::Op>], mut connect: impl FnMut(usize) -> C)
where
    C: FnMut(&M::Op) -> M::Answer + 'static,
{
    let (tell, told) = channel();
    for (client, list) in lists.iter().enumerate() {
        let (tell, list, connection) = (tell.clone(), list.clone(), connect(client));
        spawn(move || operate::<M>(client, list, connection, &tell));
    }
    drop((tell, connect));
    let mut history = History::default();
    for (client, what) in told.iter() {
        match what {
            Told::Call(op) => history.call(client, op),
            Told::Answer(answer) => history.answer(client, answer),
        }
    }
    if let Err(error) = history.check::<M>() {
        panic!("{error}");
    }
}

/// A channel to the root, for calls and answers of all clients.
type Tell<M> = Sender<(usize, Told<<M as Model>::Op, <M as Model>::Answer>)>;

fn operate<M: Model>(
    client: usize,
    list: Vec<M::Op>,
    mut connection: impl FnMut(&M::Op) -> M::Answer,
    tell: &Tell<M>,
) {
    let gone = "the root hears everybody out";
    for op in list {
        tell.send((client, Told::Call(op.clone()))).expect(gone);
        let answer = connection(&op);
        tell.send((client, Told::Answer(answer))).expect(gone);
    }
}
