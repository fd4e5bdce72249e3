//! What is known about each tasklet during a run, the state that all of it makes, and the memory
//! that one run leaves to the next.
//!
//! Always: two runs with the same state have the same futures.

use super::asked::Asked;
use super::clock::Clock;
use super::event::{Event, Names, TaskletName, mix};
use super::run::Run;

/// What the board knows about a tasklet that runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// Its past, up to the present moment.
    pub(super) clock: Clock,
    /// How many drops it had made when it last went on; cancellations do not count.
    pub(super) settled: u32,
    /// How many children it has spawned.
    pub(super) children: u32,
    /// How many channels it has made.
    pub(super) channels: u32,
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

/// What a run needs memory for; it is used again by the next one.
#[derive(Debug)]
pub(super) struct Desk {
    /// The record; it is taken out of here, and may be put back.
    pub(super) run: Run,
    pub(super) live: Vec<Live>,
    pub(super) pending: Vec<Option<usize>>,
    pub(super) asked: Asked,
    pub(super) enabled: Vec<Event>,
    /// Whether runs are recorded without clocks and views, which few need.
    pub(super) light: bool,
    /// Set if the last run was given up because it could not go on without clocks.
    pub(super) missing: bool,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            run: Run::new(),
            live: Vec::new(),
            pending: Vec::new(),
            asked: Asked::default(),
            enabled: Vec::new(),
            light: false,
            missing: false,
        }
    }
}

impl Desk {
    /// A desk whose runs are recorded without clocks, if they can be.
    pub(super) fn light() -> Desk {
        Desk { light: true, ..Desk::default() }
    }
}

/// Equal for two states that have the same futures.
///
/// A state is what each tasklet has seen. It is also who knows of which drop and of which end,
/// because that decides which selects can meet; and the time.
pub(super) fn state_key(
    names: &Names,
    run: &Run,
    (live, pending): (&[Live], &[Option<usize>]),
    now: u64,
) -> u64 {
    let mut key = mix(0, now);
    for (index, one) in live.iter().enumerate() {
        let tasklet = TaskletName(index as u32);
        if run.of[index].is_empty() && run.ended[index].is_none() {
            continue;
        }
        let mut word = mix(mix(one.view, u64::from(one.alive)), one.time);
        if let Some(place) = pending[index] {
            word = mix(word, run.slots[place].time);
        }
        for (place, end) in run.ends.iter().flatten().enumerate() {
            for (by, nth) in &end.droppers {
                if one.clock.drops(*by) >= *nth {
                    let drop = mix(names.print_of(*by), u64::from(*nth) ^ (place as u64) << 48);
                    word = word.wrapping_add(drop);
                }
            }
        }
        let ended =
            run.ended.iter().enumerate().filter_map(|(who, it)| Some((who, &it.as_ref()?.0)));
        for (who, past) in ended {
            let who = TaskletName(who as u32);
            let (slots, drops) = (past.slots(who), past.drops(who));
            if one.clock.slots(who) >= slots && one.clock.drops(who) >= drops {
                let end = u64::from(slots) << 32 | u64::from(drops);
                word = word.wrapping_add(mix(names.print_of(who), end));
            }
        }
        key = key.wrapping_add(mix(names.print_of(tasklet), word));
    }
    key
}
