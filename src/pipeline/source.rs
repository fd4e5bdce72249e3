//! Sources: iterators, channels, lines, trees of folders, ticks.
//!
//! Always: a source is asked for an item only when the one before has been taken; that it was
//! stopped is not taken for the end of its items.

use super::network::{Emit, Gate, Stop};
use super::{Pipeline, Settings};
use crate::channel::Receiver;
use crate::fs::{self, Entry};
use crate::kernel::announce;
use crate::kernel::running;
use crate::operation::Operation;
use crate::time;
use std::io::{self, BufRead};
use std::panic::Location;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The items of an iterator.
///
/// Its `next` runs in a tasklet: it may wait. If it gives up then because the tasklet was stopped,
/// the pipeline was stopped, and has not come to its end; or nobody wants more items of it.
///
/// ```
/// use tasklets::{pipeline, run};
/// let words = ["to", "be"].map(String::from);
/// let done = run(|| pipeline::from_iter(words).map(|it| it.len()).collect::<Vec<_>>().run());
/// assert_eq!(done.unwrap().value, [2, 2]);
/// ```
pub fn from_iter<'env, I>(items: I) -> Pipeline<'env, I::Item>
where
    I: IntoIterator + 'env,
    I::Item: 'static,
{
    source("source", move |emit, mut gate| {
        let mut items = items.into_iter();
        #[cfg(feature = "progress")]
        emit.meter.facts.expect(|| items.size_hint());
        loop {
            emit.meter.all_delivered();
            let ticket = match &mut gate {
                None => None,
                Some(gate) => {
                    emit.meter.worked();
                    let ticket = gate.admit();
                    emit.meter.choked();
                    Some(ticket?)
                }
            };
            emit.meter.before_taking();
            let Some(value) = items.next() else { return at_the_end() };
            emit.meter.taken();
            emit.give(value, ticket)?;
        }
    })
}

/// Whether the items have ended: an iterator that waits gives none as well when it is stopped.
fn at_the_end() -> Result<(), Stop> {
    announce::before_looking(Location::caller());
    let why = running::current().and_then(|it| it.interruption());
    why.map_or(Ok(()), |why| Err(Stop::Halted(why)))
}

/// What is received from a channel, until its senders are gone.
///
/// ```
/// use tasklets::{channel, pipeline, run, spawn};
/// let sum = run(|| {
///     let (tx, rx) = channel();
///     spawn(move || tx.send_all(1..=4));
///     pipeline::from_channel(rx).fold(0, |sum, it: u32| sum + it).run()
/// });
/// assert_eq!(sum.unwrap().value, 10);
/// ```
pub fn from_channel<'env, T: 'static>(from: Receiver<T>) -> Pipeline<'env, T> {
    from_iter(from)
}

/// The lines of a reader, without their ends; an error is the last item.
///
/// Reading a file holds up the OS thread; see [`crate::blocking`].
pub fn lines<'env>(from: impl BufRead + 'env) -> Pipeline<'env, io::Result<String>> {
    let mut failed = false;
    from_iter(from.lines().take_while(move |it| !std::mem::replace(&mut failed, it.is_err())))
}

/// All that is at and under `root`, in the order of paths: see [`fs::walk`]. What cannot be read is
/// an item, too.
///
/// The folders are read on the [blocking pool](crate::blocking()): other stages work meanwhile.
///
/// ```
/// use tasklets::{pipeline, run};
/// let done = run(|| {
///     let all = pipeline::walk("src");
///     let files = all.filter_map(|it| it.ok().filter(|it| it.metadata.is_file()));
///     let texts = files.on_pool().try_map(|it| std::fs::read_to_string(&it.path)).workers(4);
///     texts.fold(0, |lines, text| lines + text.lines().count()).run()
/// });
/// assert!(done.unwrap().value > 1_000);
/// ```
pub fn walk<'env>(root: impl AsRef<Path>) -> Pipeline<'env, io::Result<Entry>> {
    from_iter(fs::walk(root))
}

/// The time, every `period`, for ever: see [`crate::tick`].
///
/// # Panics
/// If `period` is zero.
pub fn tick<'env>(period: Duration) -> Pipeline<'env, Instant> {
    let mut tick = time::tick(period);
    from_iter(std::iter::from_fn(move || (&mut tick).wait().ok()))
}

/// A stage without input.
fn source<'env, T: 'static>(
    kind: &'static str,
    body: impl FnOnce(&Emit<T>, Option<Gate>) -> Result<(), Stop> + 'env,
) -> Pipeline<'env, T> {
    Pipeline::new(move |net, settings: Settings| {
        let settings = Settings { workers: None, ..settings };
        let facts = net.stage(kind, &settings);
        let (to, outlet) = net.outlet(&facts);
        let meter = Rc::new(super::meter::Meter::new(facts.clone()));
        let gate = net.in_flight.map(Gate::new);
        net.start(&meter.clone(), move || body(&Emit { to, meter }, gate));
        outlet
    })
}
