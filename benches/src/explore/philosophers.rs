//! Dining philosophers: forks are locks, each philosopher eats once.

use super::case::Case;
use super::parts::{Lock, daemon};
use tasklets::{Sender, channel, select, spawn};

pub const CASES: &[Case] = &[
    Case::faulty("philosophers3", "LeftBehind", || naive(3)).traces(7).states(75),
    Case::faulty("philosophers4", "LeftBehind", || naive(4)).traces(15).states(321),
    Case::faulty("philosophers5", "LeftBehind", || naive(5)).traces(31).states(1_363),
    Case::faulty("philosophers7", "LeftBehind", || naive(7)).traces(127),
    Case::faulty("philosophers10", "LeftBehind", || naive(10)).traces(1_023),
    Case::sound("philosophers3_ordered", || ordered(3)).traces(6).states(76),
    Case::sound("philosophers5_ordered", || ordered(5)).traces(30),
    Case::sound("philosophers10_ordered", || ordered(10)).traces(1_022),
    Case::sound("philosophers3_butler", || butler(3)),
    Case::sound("philosophers5_butler", || butler(5)).vast().states(49_072),
];

fn eat(first: &Lock<()>, second: &Lock<()>) {
    first.take();
    second.take();
    first.give(());
    second.give(());
}

fn forks(count: usize) -> Vec<Lock<()>> {
    (0..count).map(|_| Lock::new(())).collect()
}

/// Case 2. Everybody takes the left fork first; bug: all wait for the right one. Source: Dijkstra.
fn naive(count: usize) {
    let forks = forks(count);
    for seat in 0..count {
        let (left, right) = (forks[seat].clone(), forks[(seat + 1) % count].clone());
        spawn(move || eat(&left, &right));
    }
}

/// Case 3. The last one takes the right fork first: no bug. Source: Dijkstra.
fn ordered(count: usize) {
    let forks = forks(count);
    for seat in 0..count {
        let other = (seat + 1) % count;
        let (low, high) = (forks[seat.min(other)].clone(), forks[seat.max(other)].clone());
        spawn(move || eat(&low, &high));
    }
}

/// Case 3. A butler keeps one chair empty: no bug. Source: Hoare, CSP.
fn butler(count: usize) {
    let forks = forks(count);
    let [sit, stand] = seats(count - 1);
    for seat in 0..count {
        let (left, right) = (forks[seat].clone(), forks[(seat + 1) % count].clone());
        let (sit, stand) = (sit.clone(), stand.clone());
        spawn(move || {
            sit.send(()).unwrap();
            eat(&left, &right);
            stand.send(()).unwrap();
        });
    }
}

/// Lets at most `limit` sit at a time.
fn seats(limit: usize) -> [Sender<()>; 2] {
    let ((sit, sitting), (stand, standing)) = (channel(), channel());
    let ends = [sit.clone(), stand.clone()];
    daemon(move || {
        // Nothing closes while the butler is there; so it has no way to go but those of its work.
        let _ends = ends;
        let mut seated = 0;
        loop {
            select! {
                recv(sitting) -> it if seated < limit => seated += it.map_or(0, |()| 1),
                recv(standing) -> it => seated -= it.map_or(0, |()| 1),
            }
        }
    });
    [sit, stand]
}
