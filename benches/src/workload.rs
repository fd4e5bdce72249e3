//! What every peer must agree on: the names of the benchmarks, and the parts with an answer.

/// All benchmarks, in the order in which they run. README.md says what each one measures.
pub const BENCHES: &[&str] = &[
    "switch",
    "stream",
    "pingpong",
    "commstime",
    "ring1000",
    "ring10000",
    "sieve2000",
    "spawn",
    "yield",
    "select2",
    "select8",
    "select64",
    "select64_one",
    "memory10000",
    "memory100000",
    "memory1000000",
    "timers100k",
    "cross_thread",
    "cross_thread_many",
    "workers",
    "pipe1",
    "pipe4",
    "pipe16",
    "batch",
    "ordered",
    "logstat",
    "grep",
    "tcp1",
    "tcp64",
    "tcp1000",
    "tcp100of10000",
    "http64",
    "http64wrk",
];

/// How many primes the sieve finds; `count` can only be lower (a smoke run).
pub const PRIMES: u64 = 2_000;

/// How many tasklets sleep in `timers100k`.
pub const SLEEPERS: u64 = 100_000;

/// How long the `index`-th sleeper sleeps: 1 to 100 ms, the same for every peer.
pub fn sleep_ms(index: u64) -> u64 {
    1 + (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 100
}

/// The sum of `0..count`: what a receiver of these must have added up.
pub fn sum_below(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

/// Work for a processor, in proportion to `rounds`; always the same small number.
pub fn spin(rounds: u64) -> u64 {
    let mixed =
        (0..rounds).fold(1_u64, |it, round| it.wrapping_mul(0x9E37_79B9).wrapping_add(round));
    std::hint::black_box(mixed) & 7
}

/// A number below `bound`, which is not zero; always the same for the same `index`.
pub fn below(index: u64, bound: u64) -> u64 {
    let mixed = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32) % bound
}

/// The work for an item of `ordered`: 25,000 to 175,000 rounds, the same for every peer.
pub fn uneven(item: u64) -> u64 {
    25_000 + (item.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 150_000
}

/// Panics unless the sieve's last prime is right (known for the full run only).
pub fn check_prime(count: u64, prime: u64) {
    assert!(count != PRIMES || prime == 17_389, "the 2,000th prime is 17,389, not {prime}");
}

/// Calls a macro with 2 names, after the tokens given.
#[macro_export]
macro_rules! over2 {
    ($name:ident $($head:tt)*) => { $name! { $($head)* a0 a1 } };
}

/// Calls a macro with 8 names, after the tokens given.
#[macro_export]
macro_rules! over8 {
    ($name:ident $($head:tt)*) => { $name! { $($head)* a0 a1 a2 a3 a4 a5 a6 a7 } };
}

/// Calls a macro with 64 names, after the tokens given.
#[macro_export]
macro_rules! over64 {
    ($name:ident $($head:tt)*) => { $name! { $($head)*
        a0 a1 a2 a3 a4 a5 a6 a7 b0 b1 b2 b3 b4 b5 b6 b7
        c0 c1 c2 c3 c4 c5 c6 c7 d0 d1 d2 d3 d4 d5 d6 d7
        e0 e1 e2 e3 e4 e5 e6 e7 f0 f1 f2 f3 f4 f5 f6 f7
        g0 g1 g2 g3 g4 g5 g6 g7 h0 h1 h2 h3 h4 h5 h6 h7
    } };
}
