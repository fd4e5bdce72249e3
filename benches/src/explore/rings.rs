//! Networks whose tasklets stand in a ring: a scheduler, an election, a benchmark.

use super::case::Case;
use tasklets::{Receiver, Sender, Tasklet, channel, select, spawn};

pub const CASES: &[Case] = &[
    Case::sound("cyclers3x2", || cyclers(3, 2, Cell::Patient)).traces(32).states(192),
    Case::sound("cyclers5x2", || cyclers(5, 2, Cell::Patient)).traces(512).states(15_429),
    Case::faulty("cyclers3x2_early", "LeftBehind", || cyclers(3, 2, Cell::Early)),
    Case::faulty("cyclers5x2_early", "LeftBehind", || cyclers(5, 2, Cell::Early)),
    Case::sound("commstime3", || commstime(3, false)).traces(1).states(17),
    Case::sound("commstime3_parallel", || commstime(3, true)).traces(8).states(65),
    Case::sound("election3", || election(&[3, 1, 2], Rule::LargerOnly)),
    Case::sound("election4", || election(&[4, 1, 3, 2], Rule::LargerOnly)).traces(52).states(479),
    Case::sound("election5", || election(&[5, 1, 4, 2, 3], Rule::LargerOnly))
        .traces(332)
        .states(3_509),
    Case::faulty("election4_smaller", "not one leader", || {
        election(&[4, 1, 3, 2], Rule::SmallerToo)
    }),
    Case::faulty("election4_equal", "Deadlock", || election(&[4, 1, 3, 2], Rule::DropsEqual)),
];

/// `count` channels, as the sending and the receiving ends that are next to each member.
fn ring<T: 'static>(count: usize) -> impl Iterator<Item = (Receiver<T>, Sender<T>)> {
    let (txs, mut rxs): (Vec<_>, Vec<_>) = (0..count).map(|_| channel()).unzip();
    rxs.rotate_right(1);
    rxs.into_iter().zip(txs)
}

/// Whether a cell waits for its agent before it starts it again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Patient,
    Early,
}

/// Case 4. A token goes round; each cell starts its agent, then hears that it is done and passes
/// the token on, in either order; bug: a cell starts its agent again too early, and both wait.
/// Source: Milner.
fn cyclers(count: usize, rounds: usize, cell: Cell) {
    for (place, (before, after)) in ring::<()>(count).enumerate() {
        let ((start, started), (done, is_done)) = (channel::<()>(), channel::<()>());
        spawn(move || while started.recv().is_ok() && done.send(()).is_ok() {});
        spawn(move || {
            let mut owed = 0;
            for round in 0..rounds {
                if place + round > 0 {
                    before.recv().unwrap();
                }
                start.send(()).unwrap();
                owed += 1;
                let (last, mut passed) = (place + 1 == count && round + 1 == rounds, false);
                while !(passed || last) || (owed > 0 && cell == Cell::Patient) {
                    select! {
                        recv(is_done) -> _ if owed > 0 => owed -= 1,
                        send(after, ()) -> _ if !(passed || last) => passed = true,
                    }
                }
            }
            (0..owed).for_each(|_| is_done.recv().unwrap());
        });
    }
}

/// Case 5. Prefix, delta, successor and consumer; no bug. Source: the occam benchmark.
fn commstime(loops: usize, parallel: bool) {
    let ((to_delta, at_delta), (to_succ, at_succ)) = (channel(), channel::<usize>());
    let ((to_consumer, at_consumer), (back, at_prefix)) = (channel(), channel());
    spawn(move || {
        to_delta.send(0).unwrap();
        at_prefix.iter().take(loops - 1).for_each(|it| to_delta.send(it).unwrap());
        at_prefix.recv().unwrap();
    });
    spawn(move || {
        for it in &at_delta {
            let mut consumer_first = false;
            if parallel {
                select! {
                    send(to_succ, it) -> _ => {}
                    send(to_consumer, it) -> _ => consumer_first = true,
                }
            } else {
                to_succ.send(it).unwrap();
            }
            if consumer_first { &to_succ } else { &to_consumer }.send(it).unwrap();
        }
    });
    spawn(move || at_succ.iter().for_each(|it| back.send(it + 1).unwrap()));
    assert!(at_consumer.iter().eq(0..loops));
}

/// What a node of the ring passes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    LargerOnly,
    SmallerToo,
    DropsEqual,
}

/// What goes round.
#[derive(Clone, Copy)]
enum News {
    Candidate(u32),
    Elected,
}

/// Case 9. A node passes on larger ids than its own, and leads when its own comes back; bugs: it
/// passes on smaller ones too (two leaders, or none), or drops its own (none). Source: Chang and
/// Roberts.
fn election(ids: &[u32], rule: Rule) {
    let nodes = ids.iter().zip(ring(ids.len()));
    let nodes = nodes.map(|(id, (from, to))| node(*id, from, to, rule));
    let nodes: Vec<Tasklet<bool>> = nodes.collect();
    let leaders = nodes.into_iter().filter_map(|it| it.join().ok().filter(|leads| *leads));
    assert_eq!(leaders.count(), 1, "there is not one leader");
}

/// Spawns a node; whether it leads.
fn node(id: u32, from: Receiver<News>, to: Sender<News>, rule: Rule) -> Tasklet<bool> {
    spawn(move || {
        let mut pending = Some(id);
        loop {
            let news = select! {
                send(to, News::Candidate(pending.take().unwrap())) -> _ if pending.is_some() => {
                    continue;
                }
                recv(from) -> news => news.unwrap(),
            };
            match news {
                News::Elected => {
                    to.send(News::Elected).unwrap();
                    return false;
                }
                News::Candidate(other) if other == id && rule != Rule::DropsEqual => {
                    to.send(News::Elected).unwrap();
                    from.recv().unwrap();
                    return true;
                }
                News::Candidate(other) if other > id || rule == Rule::SmallerToo => {
                    pending = Some(other);
                }
                News::Candidate(_) => {}
            }
        }
    })
}
