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
    Case::sound("santa3r4e2", || santa([3, 3], [4, 2], Room::Closes)).vast(),
    Case::sound("santa2r4e2", || santa([2, 2], [4, 2], Room::Closes)).vast(),
    Case::faulty("santa3r4e2_joins", "with Santa", || santa([3, 3], [4, 2], Room::StaysOpen))
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

/// Whether a room lets the next group in only when Santa is done with this one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Closes,
    StaysOpen,
}

/// Where a group gathers: its knock, the members' words to Santa, and Santa's good-bye.
struct Group {
    size: usize,
    knock: Receiver<usize>,
    /// Keeps the knock from closing when all groups have been.
    _tell: Sender<usize>,
    words: Receiver<usize>,
    /// None if the room does not wait for it.
    done: Option<Sender<()>>,
}

/// Case 11. Santa, the root, sleeps until all reindeer or a group of elves are there; bug: an elf
/// joins while the group before it is with Santa. Source: Trono; Welch and Pedersen.
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
        spawn(move || say.send(door.recv().unwrap()).unwrap());
    }
    let _tell = tell.clone();
    daemon(move || {
        for group in 0..count / size {
            (0..size).for_each(|_| admit.send(group).unwrap());
            tell.send(group).unwrap();
            if room == Room::Closes {
                is_done.recv().unwrap();
            }
        }
    });
    Group { size, knock, _tell, words, done: (room == Room::Closes).then_some(done) }
}

impl Group {
    /// Hears every member of the group, and nobody else.
    fn meet(&self, group: usize) {
        for _ in 0..self.size {
            assert_eq!(self.words.recv(), Ok(group), "somebody else is with Santa");
        }
        if let Some(done) = &self.done {
            done.send(()).unwrap();
        }
    }
}
