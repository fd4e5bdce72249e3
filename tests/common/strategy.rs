//! How proptest makes and shrinks programs.
//!
//! Simple operations come first: proptest shrinks an alternative to those before it.

use super::program::{Arm, Body, Kind, Leaf, Op, Patience, Program, Then};
use proptest::collection::vec;
use proptest::prelude::*;
use tasklets::{Direction, Prefer};

pub fn program() -> impl Strategy<Value = Program> {
    (vec(kind(), 1..=4), any::<bool>(), vec(body(3), 2..=6))
        .prop_map(|(channels, joins, tasklets)| Program { channels, joins, tasklets })
}

fn kind() -> impl Strategy<Value = Kind> {
    let prefer = prop_oneof![
        4 => Just(Prefer::Neither),
        1 => Just(Prefer::Receiver),
        1 => Just(Prefer::Sender)
    ];
    (prefer, prop::bool::weighted(0.1)).prop_map(|(prefer, yields)| Kind { prefer, yields })
}

fn body(depth: u32) -> BoxedStrategy<Body> {
    let ends = prop_oneof![Just(0xff_u8), any::<u8>()];
    (ends, vec(op(depth), 0..=6)).prop_map(|(ends, ops)| Body { ends, ops }).boxed()
}

fn op(depth: u32) -> BoxedStrategy<Op> {
    if depth == 0 {
        return simple().boxed();
    }
    prop_oneof![
        5 => simple(),
        4 => (vec(arm(depth - 1), 1..=4), patience(), any::<bool>())
            .prop_map(|(arms, patience, biased)| Op::Select(arms, patience, biased)),
        3 => (vec(receiver(), 1..=6), patience())
            .prop_map(|(arms, patience)| Op::Select(arms, patience, false)),
        2 => (vec((direction(), 0..4_u8), 1..=4), 1..=3_u8, patience(), then(depth - 1))
            .prop_map(|(ends, rounds, patience, then)| Op::Reuse(ends, rounds, patience, then)),
        2 => (0..4_u8, then(depth - 1)).prop_map(|(channel, then)| Op::Hold(channel, then)),
        1 => body(depth - 1).prop_map(Op::Spawn),
        1 => vec(body(depth - 1), 1..=3).prop_map(Op::Scope),
        1 => vec(op(depth - 1), 1..=3).prop_map(Op::Shield),
        1 => (ms(), vec(op(depth - 1), 1..=3)).prop_map(|(ms, ops)| Op::Within(ms, ops)),
    ]
    .boxed()
}

fn simple() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..4_u8, patience()).prop_map(|(channel, patience)| Op::Recv(channel, patience)),
        8 => (0..4_u8, patience()).prop_map(|(channel, patience)| Op::Send(channel, patience)),
        3 => Just(Op::Yield),
        2 => (direction(), 0..4_u8).prop_map(|(end, channel)| Op::Drop(end, channel)),
        1 => (direction(), 0..4_u8).prop_map(|(end, channel)| Op::Clone(end, channel)),
        2 => ms().prop_map(Op::Sleep),
        2 => (0..8_u8).prop_map(Op::Join),
        2 => (0..8_u8).prop_map(Op::Cancel),
        1 => Just(Op::Pause),
        1 => (0..8_u8).prop_map(Op::Insert),
        1 => (0..8_u8).prop_map(Op::Stop),
        1 => (0..8_u8).prop_map(Op::Inject),
        1 => (0..8_u8).prop_map(Op::RunNow),
        2 => (0..4_u8).prop_map(Op::Balance),
        1 => Just(Op::Count),
        1 => Just(Op::Panic),
    ]
}

fn arm(depth: u32) -> impl Strategy<Value = Arm> {
    prop_oneof![
        6 => leaf(depth).prop_map(Arm::One),
        1 => (leaf(depth), leaf(depth)).prop_map(|(left, right)| Arm::Or(left, right)),
        1 => leaf(depth).prop_map(Arm::Off),
    ]
}

fn receiver() -> impl Strategy<Value = Arm> {
    (0..4_u8).prop_map(|channel| Arm::One(Leaf::Recv(channel)))
}

fn leaf(depth: u32) -> impl Strategy<Value = Leaf> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Leaf::Recv),
        2 => (0..4_u8).prop_map(Leaf::Send),
        2 => (0..4_u8, then(depth)).prop_map(|(channel, then)| Leaf::Reserve(channel, then)),
        1 => ms().prop_map(Leaf::After),
        1 => (0..8_u8).prop_map(Leaf::Join),
    ]
}

fn then(depth: u32) -> impl Strategy<Value = Then> {
    (vec(op(depth), 0..=2), prop::bool::weighted(0.7)).prop_map(|(ops, used)| Then { ops, used })
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Receive), Just(Direction::Send)]
}

fn patience() -> impl Strategy<Value = Patience> {
    prop_oneof![
        3 => Just(Patience::Forever),
        1 => Just(Patience::Now),
        1 => ms().prop_map(Patience::For),
    ]
}

fn ms() -> impl Strategy<Value = u8> {
    1..=3_u8
}
