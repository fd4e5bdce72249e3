//! Stateful tests: lists of operations for concurrent clients, made by proptest.

use proptest::collection::{SizeRange, VecStrategy, vec};
use proptest::strategy::Strategy;

/// The strategy that [`clients`] makes.
pub type Clients<S> = VecStrategy<VecStrategy<S>>;

/// So many clients with so many operations each, for [`drive`](crate::explore::drive).
///
/// ```
/// use proptest::prelude::*;
/// use tasklets::explore::{Model, clients, drive, schedule};
/// use tasklets::{Sender, channel, spawn};
///
/// /// A counter that adds, and answers with its value.
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
///
/// enum Request {
///     Read(Sender<u64>),
///     Write(u64),
/// }
///
/// /// Reads, adds and writes; in between another client may do the same.
/// fn add(server: &Sender<Request>, number: u64) -> u64 {
///     let (reply, replied) = channel();
///     server.send(Request::Read(reply)).unwrap();
///     let sum = replied.recv().unwrap() + number;
///     server.send(Request::Write(sum)).unwrap();
///     sum
/// }
///
/// fn serve() -> Sender<Request> {
///     let (server, requests) = channel();
///     spawn(move || {
///         let mut sum = 0;
///         for request in requests.iter() {
///             match request {
///                 Request::Read(reply) => reply.send(sum).unwrap(),
///                 Request::Write(new) => sum = new,
///             }
///         }
///     });
///     server
/// }
///
/// let lists = clients(1..9_u64, 1..=3, 0..=3);
/// # let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
/// let found = proptest::test_runner::TestRunner::new(config)
///     .run(&schedule().with(lists), |(lists, schedule)| {
///         schedule.run(|| {
///             let server = serve();
///             drive::<Counter, _>(&lists, |_| {
///                 let server = server.clone();
///                 move |number: &u64| add(&server, *number)
///             });
///         })?;
///         Ok(())
///     })
///     .unwrap_err();
/// assert!(found.to_string().contains("is not linearizable"));
/// ```
pub fn clients<S: Strategy>(
    operations: S,
    clients: impl Into<SizeRange>,
    each: impl Into<SizeRange>,
) -> Clients<S> {
    vec(vec(operations, each), clients)
}
