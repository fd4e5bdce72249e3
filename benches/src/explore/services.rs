//! Cases with a tasklet that serves many: a commit, readers and writers, Santa Claus.

use super::case::Case;
use super::parts::daemon;
use std::time::Duration;
use tasklets::{Receiver, Sender, Tasklet, channel, select, spawn};

pub const CASES: &[Case] = &[
    Case::sound("commit2", || commit(2, Missing::Impossible)).traces(16).states(46),
    Case::sound("commit3", || commit(3, Missing::Impossible)).traces(288).states(921),
    Case::faulty("commit3_missing", "not all did", || commit(3, Missing::CountsAsYes)).lax(),
    Case::sound("commit3_missing_fixed", || commit(3, Missing::CountsAsNo)).lax(),
    Case::sound("readers2x2", || readers_writers(2, 2, Guard::Both)).traces(48).states(107),
    Case::faulty("readers2x2_admitted", "a writer among", || {
        readers_writers(2, 2, Guard::WritersOnly)
    }),
    Case::faulty("readers2x1_starved", "a writer starves", || starvation(2, 2, Turn::Readers)),
    Case::sound("readers2x1_starved_fixed", || starvation(2, 2, Turn::Writer)),
    Case::sound("santa3r4e2", || santa([3, 3], [4, 2], Room::Closes)).vast(),
    Case::sound("santa2r4e2", || santa([2, 2], [4, 2], Room::Closes)).vast(),
    Case::faulty("santa3r4e2_joins", "with Santa", || santa([3, 3], [4, 2], Room::StaysOpen))
        .vast(),
    Case::faulty("santa3r4e2_early", "woken early", || santa([3, 3], [4, 2], Room::KnocksEarly))
        .vast(),
    Case::sound("santa9r10e3", || santa([9, 9], [10, 3], Room::Closes)).vast(),
    Case::faulty("santa9r10e3_joins", "with Santa", || santa([9, 9], [10, 3], Room::StaysOpen))
        .vast(),
    Case::faulty("santa9r10e3_early", "woken early", || santa([9, 9], [10, 3], Room::KnocksEarly))
        .vast(),
    Case::sound("santa9r9e3", || santa([9, 9], [9, 3], Room::Closes)).vast(),
    Case::faulty("santa9r9e3_joins", "with Santa", || santa([9, 9], [9, 3], Room::StaysOpen))
        .vast(),
];

/// What it means that a vote does not come in time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Impossible,
    CountsAsYes,
    CountsAsNo,
}

/// Case 8. Two-phase commit, the coordinator is the root; bug: it takes a vote that does not come
/// for a yes, and who wanted to vote no does not commit. Source: Gray; stateright's `2pc`.
fn commit(managers: usize, missing: Missing) {
    let ((vote, votes), (decide, decision)) = (channel(), channel());
    let managers: Vec<Tasklet<bool>> = (0..managers)
        .map(|_| {
            let (vote, decision) = (vote.clone(), decision.clone());
            spawn(move || manage(&vote, &decision))
        })
        .collect();
    drop((vote, decision));
    let next = || match missing {
        Missing::Impossible => votes.recv(),
        _ => votes.recv_timeout(Duration::from_millis(10)),
    };
    let came: Vec<bool> = managers.iter().map_while(|_| next().ok()).collect();
    drop(votes);
    let all_came = came.len() == managers.len() || missing == Missing::CountsAsYes;
    let commit = all_came && came.iter().all(|it| *it);
    came.iter().for_each(|_| decide.send(commit).unwrap());
    let committed: Vec<bool> = managers.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(committed.iter().all(|it| *it == commit), "not all did the same: {committed:?}");
}

/// Votes, and does what is decided; aborts if nobody wants its vote.
fn manage(vote: &Sender<bool>, decision: &Receiver<bool>) -> bool {
    let heard = select! {
        send(vote, true) -> it => it.is_ok(),
        send(vote, false) -> it => it.is_ok(),
    };
    heard && decision.recv().unwrap()
}

/// Whom a writer is kept away from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    Both,
    WritersOnly,
}

/// Case 10. A server, the root, admits many readers or one writer; bug: a writer is admitted
/// while somebody reads. Source: Courtois, Heymans and Parnas.
fn readers_writers(readers: usize, writers: usize, guard: Guard) {
    let ((read, to_read), (write, to_write)) = (channel(), channel());
    let (finish, finished) = channel();
    for who in 0..readers + writers {
        let enter = if who < readers { read.clone() } else { write.clone() };
        let finish = finish.clone();
        spawn(move || {
            enter.send(()).unwrap();
            finish.send(who < readers).unwrap();
        });
    }
    let (mut reading, mut writing) = (0, 0);
    let lonely = |reading| reading == 0 || guard == Guard::WritersOnly;
    for _ in 0..2 * (readers + writers) {
        select! {
            recv(to_read) -> _ if writing == 0 => reading += 1,
            recv(to_write) -> _ if writing == 0 && lonely(reading) => writing += 1,
            recv(finished) -> it => if it.unwrap() { reading -= 1 } else { writing -= 1 },
        }
        assert!(writing == 0 || reading == 0, "a writer among readers");
    }
}

/// Who comes first when a writer waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Readers,
    Writer,
}

/// Case 10, starvation. Readers come again and again, and a writer says that it waits; bug: readers
/// are admitted all the same, so that more of them than there are go before it.
fn starvation(readers: usize, rounds: usize, turn: Turn) {
    let ((read, to_read), (write, to_write)) = (channel(), channel());
    let ((wait, waits), (finish, finished)) = (channel(), channel());
    for _ in 0..readers {
        let (read, finish) = (read.clone(), finish.clone());
        spawn(move || {
            for _ in 0..rounds {
                read.send(()).unwrap();
                finish.send(true).unwrap();
            }
        });
    }
    let own = (wait.clone(), write.clone(), finish.clone());
    spawn(move || {
        own.0.send(()).unwrap();
        own.1.send(()).unwrap();
        own.2.send(false).unwrap();
    });
    let (mut reading, mut writing, mut waiting, mut before) = (0, false, false, 0);
    for _ in 0..2 * readers * rounds + 3 {
        select! {
            recv(waits) -> _ => waiting = true,
            recv(to_read) -> _ if !writing && (turn == Turn::Readers || !waiting) => {
                reading += 1;
                before += usize::from(waiting);
            },
            recv(to_write) -> _ if waiting && reading == 0 => (writing, waiting) = (true, false),
            recv(finished) -> it => if it.unwrap() { reading -= 1 } else { writing = false },
        }
        assert!(before <= readers, "a writer starves");
    }
}

/// What a room does: whether it lets the next group in only when Santa is done with this one, and
/// whether it waits for the whole group before it knocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Closes,
    StaysOpen,
    KnocksEarly,
}

/// Where a group gathers: its knock, the members' words to Santa, and Santa's good-bye.
struct Group {
    size: usize,
    /// Which group is there, and how many of it.
    knock: Receiver<(usize, usize)>,
    /// Keeps the knock from closing when all groups have been.
    _tell: Sender<(usize, usize)>,
    words: Receiver<usize>,
    /// None if the room does not wait for it.
    done: Option<Sender<()>>,
}

/// Case 11. Santa, the root, sleeps until all reindeer or a group of elves are there; bugs: an elf
/// joins while the group before it is with Santa, or he is woken before the last elf of a group is
/// there. Source: Trono; Welch and Pedersen.
fn santa([reindeer, of_reindeer]: [usize; 2], [elves, of_elves]: [usize; 2], room: Room) {
    let stable = gather(reindeer, of_reindeer, Room::Closes);
    let workshop = gather(elves, of_elves, room);
    for _ in 0..reindeer / of_reindeer + elves / of_elves {
        select! {
            recv(stable.knock) -> group => stable.meet(group.unwrap()),
            recv(workshop.knock) -> group => workshop.meet(group.unwrap()),
        }
    }
}

/// Spawns `count` members and the room that makes groups of `size` of them.
fn gather(count: usize, size: usize, room: Room) -> Group {
    let ((admit, door), (say, words)) = (channel(), channel());
    let ((tell, knock), (done, is_done)) = (channel(), channel());
    for _ in 0..count {
        let (door, say): (Receiver<usize>, Sender<usize>) = (door.clone(), say.clone());
        // There are elves for whom there is no group.
        spawn(move || door.recv().map(|it| say.send(it).unwrap()));
    }
    let _tell = tell.clone();
    daemon(move || {
        for group in 0..count / size {
            (1..size).for_each(|_| admit.send(group).unwrap());
            gather_last(room, &admit, &tell, [group, size]);
            if room != Room::StaysOpen {
                is_done.recv().unwrap();
            }
        }
    });
    Group { size, knock, _tell, words, done: (room != Room::StaysOpen).then_some(done) }
}

/// Admits the last of a group and knocks, in the order that the room prefers.
fn gather_last(
    room: Room,
    admit: &Sender<usize>,
    tell: &Sender<(usize, usize)>,
    [group, size]: [usize; 2],
) {
    select! {
        send(admit, group) -> it => {
            it.unwrap();
            tell.send((group, size)).unwrap();
        },
        send(tell, (group, size - 1)) -> it if room == Room::KnocksEarly => {
            it.unwrap();
            admit.send(group).unwrap();
        },
    }
}

impl Group {
    /// Hears every member of the group, and nobody else.
    fn meet(&self, (group, present): (usize, usize)) {
        assert_eq!(present, self.size, "Santa was woken early");
        for _ in 0..self.size {
            assert_eq!(self.words.recv(), Ok(group), "somebody else is with Santa");
        }
        if let Some(done) = &self.done {
            done.send(()).unwrap();
        }
    }
}
