//! What is known about each tasklet during a run, and the state that all of it makes.
//!
//! Always: two runs with the same state have the same futures.

use super::clock::Clock;
use super::event::{Names, TaskletName, mix};
use super::run::Run;

/// What the board knows about a tasklet that runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// Its past, up to the present moment.
    pub(super) clock: Clock,
    /// How many children it has spawned.
    pub(super) children: u32,
    /// How many channels it has made.
    pub(super) channels: u32,
    /// Its pending slot, as a place in the run's slots.
    pub(super) pending: Option<usize>,
    /// Hash of all it has seen.
    pub(super) view: u64,
    /// Hash of what the program says that it has seen.
    pub(super) observed: u64,
    /// Hash of all it has met.
    pub(super) trace: u64,
    /// The latest deadline in its past.
    pub(super) time: u64,
    /// Whether it is part of this run and has not ended.
    pub(super) alive: bool,
    /// Whether it may be left behind.
    pub(super) daemon: bool,
}

/// Equal for two states that have the same futures.
///
/// A state is what each tasklet has seen. It is also who knows of which drop and of which end,
/// because that decides which selects can meet; and the time.
pub(super) fn state_key(names: &Names, run: &Run, live: &[Live], now: u64) -> u64 {
    let mut key = mix(0, now);
    for (index, one) in live.iter().enumerate() {
        let tasklet = TaskletName(index as u32);
        if run.of[index].is_empty() && run.ended[index].is_none() {
            continue;
        }
        let mut word = mix(mix(one.view, u64::from(one.alive)), one.time);
        if let Some(place) = one.pending {
            word = mix(word, run.slots[place].time);
        }
        for (place, end) in run.ends.iter().flatten().enumerate() {
            for (by, stamp) in &end.droppers {
                if one.clock.stamp(*by) >= *stamp {
                    let drop = mix(names.print_of(*by), *stamp ^ (place as u64) << 48);
                    word = word.wrapping_add(drop);
                }
            }
        }
        let ended =
            run.ended.iter().enumerate().filter_map(|(who, past)| Some((who, past.as_ref()?)));
        for (who, past) in ended {
            let who = TaskletName(who as u32);
            if one.clock.stamp(who) >= past.stamp(who) {
                word = word.wrapping_add(mix(names.print_of(who), past.stamp(who)));
            }
        }
        key = key.wrapping_add(mix(names.print_of(tasklet), word));
    }
    key
}
