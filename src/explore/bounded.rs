//! Schedules with few overrides: what differs little from the default is tried first.
//!
//! Each override makes one slot be completed otherwise than by default; what follows from that is
//! decided by the default again. It is the delay bound of the literature (Emmi, Qadeer and
//! Rakamarić, 2011), counted in what [`Overrides`] are made of; so a failure found here is almost
//! shrunk.
//!
//! Always: a schedule with one override more comes after all with fewer; each set of overrides is
//! tried once, and asks for nothing that was not possible in the run of the set without its last.

use std::collections::BTreeSet;

use super::event::Names;
use super::live::Desk;
use super::races::Races;
use super::replay::Overrides;
use super::run::Run;
use super::system::{Choice, System, execute_at};
use super::verdict::{Settings, Verdict};

/// Runs `system` with every schedule of up to `overrides_max` overrides, as long as the budget
/// lasts, and shows each run to `look`.
///
/// The verdict says *bounded*, whatever the bound.
///
/// ```
/// use tasklets::explore::{Board, Branch, Settings, System, TaskletName, within_overrides};
///
/// /// Four send to the root, which takes one value.
/// struct Race;
///
/// impl System for Race {
///     fn run(&self, board: &mut Board<'_>) {
///         let root = TaskletName::ROOT;
///         let channel = board.channel(root);
///         for _ in 0..4 {
///             let sender = board.spawn(root);
///             board.offer(sender, &[Branch::Send(channel)]);
///         }
///         board.offer(root, &[Branch::Receive(channel)]);
///         while let Some(event) = board.choose() {
///             event.offers().for_each(|it| board.end(it.slot.tasklet));
///         }
///     }
/// }
///
/// let traces = |most| within_overrides(&Race, most, &Settings::default(), &mut |_, _| ()).traces;
/// assert_eq!((traces(0), traces(1)), (1, 4));
/// ```
pub fn within_overrides(
    system: &dyn System,
    overrides_max: usize,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut desk, mut names) = (Desk::default(), Names::new());
    let mut verdict = Verdict { overrides_max: Some(overrides_max), ..Verdict::default() };
    let mut races = Races::new(settings.rules);
    let mut level = BTreeSet::from([Overrides::default()]);
    for more in (0..=overrides_max).rev() {
        let mut next = BTreeSet::new();
        for overrides in level {
            let lookup = overrides.lookup();
            execute_at(&mut desk, system, &mut names, settings.rules, &mut |enabled| {
                Choice::Take(lookup.choose(enabled))
            });
            look(&desk.run, &names);
            if !verdict.count(&desk.run, &names, settings) {
                return verdict;
            }
            if more > 0 {
                let all = races.alternatives(&desk.run);
                next.extend(all.iter().flat_map(|it| overrides.with(it, &names)));
            }
        }
        if next.is_empty() {
            return verdict;
        }
        level = next;
    }
    verdict
}
