//! Every order of events, without any reduction: the search that others are compared with.
//!
//! Always: each execution differs from every other in at least one choice.

use super::event::Names;
use super::run::Run;
use super::system::{Choice, System, execute};
use super::verdict::{Settings, Verdict};

/// Runs `system` once for every sequence of choices, and shows each run to `look`.
pub fn every_choice(
    system: &dyn System,
    settings: &Settings,
    look: &mut dyn FnMut(&Run, &Names),
) -> Verdict {
    let (mut names, mut verdict) = (Names::new(), Verdict::default());
    // The choice made at each quiet point, and how many there were.
    let mut stack: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut depth = 0;
        let run = execute(system, &mut names, settings.rules, &mut |enabled| {
            if depth == stack.len() {
                stack.push((0, enabled.events.len()));
            }
            depth += 1;
            Choice::Take(stack[depth - 1].0)
        });
        look(&run, &names);
        let goes_on = verdict.count(&run, settings);
        while stack.last().is_some_and(|(taken, ways)| taken + 1 == *ways) {
            stack.pop();
        }
        let Some((taken, _)) = stack.last_mut() else {
            verdict.exhausted = verdict.cut == 0;
            return verdict;
        };
        if !goes_on {
            return verdict;
        }
        *taken += 1;
    }
}
