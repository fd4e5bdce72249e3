//! Random programs: three to six tasklets with selects, defaults, timers, drops, joins, cancels,
//! and futures that depend on what was received.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Arm, Expr, Program, STATUS, Side, Step, equal, number, reg};

/// What random programs are made of.
#[derive(Clone, Copy, Debug)]
pub struct Flavour {
    pub tasklets: usize,
    pub operations: usize,
    /// Out of 12 arms, how many may be of a rare kind.
    pub rare: u32,
    /// Beside 8 other arms of a rare kind, how many cancel.
    pub cancels: u32,
    /// Beside 10 other steps, how many drop an end.
    pub drops: u32,
}

impl Flavour {
    /// Small enough for every run order.
    pub const TINY: Flavour = Flavour { tasklets: 4, operations: 3, rare: 4, cancels: 2, drops: 2 };
    pub const PLAIN: Flavour =
        Flavour { tasklets: 6, operations: 5, rare: 0, cancels: 0, drops: 0 };
    pub const MIXED: Flavour =
        Flavour { tasklets: 5, operations: 4, rare: 4, cancels: 2, drops: 2 };
    /// Small enough too, and most of it is cancelled, or drops what others wait for.
    pub const STOPPED: Flavour =
        Flavour { tasklets: 3, operations: 3, rare: 6, cancels: 6, drops: 5 };
}

fn arm(body: usize, flavour: Flavour, channels: usize, bodies: usize) -> BoxedStrategy<Arm> {
    let value = (0i64..3).prop_map(number);
    let value = prop_oneof![2 => value, 1 => Just(reg(1))];
    let send = (0..channels, value).prop_map(|(channel, value)| Arm::Send(channel, value));
    let receive = (0..channels).prop_map(|channel| Arm::Receive(channel, 1));
    let others = (0..bodies).prop_filter_map("itself", move |it| (it != body).then_some(it));
    let others = if bodies > 1 { others.boxed() } else { Just(0).boxed() };
    let rare = prop_oneof![
        4 => Just(Arm::Default),
        1 => (0u64..3).prop_map(Arm::Timer),
        1 => (0u64..3).prop_map(Arm::Limit),
        2 => others.clone().prop_map(Arm::Join),
        flavour.cancels => others.prop_map(Arm::Cancel),
    ];
    if flavour.rare == 0 {
        return prop_oneof![send, receive].boxed();
    }
    let common = 12 - flavour.rare;
    prop_oneof![common => send, common => receive, flavour.rare => rare].boxed()
}

/// One operation; a branch that cancels or that never waits stands alone or last.
fn operation(body: usize, flavour: Flavour, channels: usize, bodies: usize) -> BoxedStrategy<Step> {
    let then = arm(body, flavour, channels, bodies).prop_map(|it| vec![single(it)]);
    let then = prop_oneof![3 => Just(vec![]), 1 => then];
    vec((arm(body, flavour, channels, bodies), then), 1..=3)
        .prop_map(|mut arms| {
            if let Some(at) = arms.iter().position(|it| matches!(it.0, Arm::Cancel(_))) {
                let cancel = arms.swap_remove(at);
                return Step::Select(vec![cancel]);
            }
            // Two arms alike are one: nobody could tell which of them a waiter was met at.
            let mut seen = Vec::new();
            arms.retain(|(it, _)| {
                let alike = match it {
                    Arm::Send(channel, _) => (0, *channel),
                    Arm::Receive(channel, _) => (1, *channel),
                    Arm::Default => (2, 0),
                    Arm::Timer(delay) => (3, *delay as usize),
                    Arm::Limit(_) => (2, 0), // or none
                    Arm::Join(body) => (4, *body),
                    Arm::Cancel(body) => (5, *body),
                };
                let first = !seen.contains(&alike);
                seen.push(alike);
                first
            });
            Step::Select(arms)
        })
        .boxed()
}

fn single(arm: Arm) -> Step {
    Step::Select(vec![(arm, vec![])])
}

fn step(body: usize, flavour: Flavour, channels: usize, bodies: usize) -> BoxedStrategy<Step> {
    let operation = operation(body, flavour, channels, bodies);
    let condition = prop_oneof![
        (0i64..3).prop_map(|it| equal(reg(1), number(it))),
        Just(reg(STATUS)),
        (0i64..2).prop_map(|it| equal(Expr::Rest(Box::new(reg(1)), 2), number(it))),
    ];
    let branch = (condition, vec(operation.clone(), 0..2), vec(operation.clone(), 0..2))
        .prop_map(|(condition, yes, no)| Step::If(condition, yes, no));
    let side = prop_oneof![Just(Side::Sender), Just(Side::Receiver)];
    let drop = (side, 0..channels).prop_map(|(side, channel)| Step::Drop(side, channel));
    if flavour.drops == 0 {
        return prop_oneof![5 => operation, 2 => branch].boxed();
    }
    prop_oneof![8 => operation, 2 => branch, flavour.drops => drop].boxed()
}

/// A random program of this flavour.
pub fn program(flavour: Flavour) -> impl Strategy<Value = Program> {
    (3..=flavour.tasklets, 1usize..=4, any::<bool>())
        .prop_flat_map(move |(bodies, channels, digests)| {
            let body =
                move |it: usize| vec(step(it, flavour, channels, bodies), 0..=flavour.operations);
            let steps: Vec<_> = (0..bodies).map(body).collect();
            let parents: Vec<_> = (1..bodies).map(|it| (0..it, 0usize..3)).collect();
            (steps, parents, Just(channels), Just(digests))
        })
        .prop_map(|(mut bodies, parents, channels, digests)| {
            // Most are spawned by the root at once; some later, or by others.
            for (child, (parent, at)) in parents.into_iter().enumerate().rev() {
                let (child, parent) = (child + 1, if parent % 2 == 0 { 0 } else { parent });
                let at = if at < 2 { 0 } else { bodies[parent].len().min(1) };
                bodies[parent].insert(at, Step::Spawn(child));
            }
            Program { name: String::from("random"), channels, bodies, digests }
        })
}

/// How many systems are compared; more when `EXPLORE_CASES` says so.
pub fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("EXPLORE_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(cases);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Default::default()
    }
}
