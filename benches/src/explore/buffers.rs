//! Cases about what comes through: chains of cells, and a medium that loses packets.

use super::case::Case;
use super::parts::daemon;
use std::time::Duration;
use tasklets::{Receiver, Sender, after, channel, select, spawn};

pub const CASES: &[Case] = &[
    Case::sound("buffer3x4", || buffer(3, 4, Cell::Right)).traces(1).states(28),
    Case::sound("buffer3x5", || buffer(3, 5, Cell::Right)).traces(1).states(36),
    Case::faulty("buffer3x4_loses", "other items", || buffer(3, 4, Cell::Loses)),
    Case::faulty("buffer3x4_repeats", "other items", || buffer(3, 4, Cell::Repeats)),
    Case::sound("alternating1", || alternating(1, Bit::Regarded)).lax(),
    Case::sound("alternating2", || alternating(2, Bit::Regarded)).lax().traces(778).states(4_840),
    Case::faulty("alternating2_ignored", "something else", || alternating(2, Bit::Ignored)).lax(),
];

/// What a cell does when the next item comes while it holds one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// It lets the item wait.
    Right,
    /// It forgets the older one.
    Loses,
    /// It passes the older one on twice, and forgets the newer one.
    Repeats,
}

/// Case 6. A buffer made of cells of one place; bugs: a cell that holds an item takes the next one
/// and loses one, or repeats one. Source: the classical bounded buffer.
fn buffer(cells: usize, items: u32, cell: Cell) {
    let (tx, mut rx) = channel();
    spawn(move || tx.send_all(0..items).unwrap());
    for _ in 0..cells {
        let (next, after) = channel();
        let before = std::mem::replace(&mut rx, after);
        spawn(move || while hold_one(&before, &next, cell) {});
    }
    assert!(rx.iter().eq(0..items), "other items came out than went in");
}

/// Takes an item and passes it on; false if there is none.
fn hold_one(before: &Receiver<u32>, next: &Sender<u32>, cell: Cell) -> bool {
    let Ok(mut item) = before.recv() else { return false };
    let mut open = cell != Cell::Right;
    loop {
        select! {
            send(next, item) -> sent => return sent.is_ok(),
            recv(before) -> newer if open => match (newer, cell) {
                (Ok(newer), Cell::Loses) => item = newer,
                (Ok(_), _) => next.send(item).unwrap(),
                (Err(_), _) => open = false,
            },
        }
    }
}

/// Whether the receiver looks at the bit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bit {
    Regarded,
    Ignored,
}

/// A message or, without content, an acknowledgement.
#[derive(Clone, Copy)]
struct Packet {
    bit: bool,
    content: u32,
}

const RETRIES: u32 = 2;
const PATIENCE: Duration = Duration::from_millis(10);

/// Case 7. The alternating-bit protocol over a medium that may lose one packet; bug: the receiver
/// ignores the bit and delivers a repeated message again. Source: the FDR and Spin classic.
fn alternating(messages: u32, bit: Bit) {
    let ((tx, at_medium), (from_medium, rx)) = (channel(), channel());
    let ((acknowledge, acknowledgements), (delivered, output)) = (channel(), channel());
    daemon(move || lossy(&at_medium, &from_medium, 1));
    daemon(move || deliver(&rx, &acknowledge, &delivered, bit));
    spawn(move || {
        for content in 0..messages {
            let packet = Packet { bit: content % 2 == 1, content };
            transmit(packet, &tx, &acknowledgements);
        }
    });
    assert!(output.iter().eq(0..messages), "something else was delivered than was sent");
}

/// Passes packets on; drops up to `losses` that nobody is there for at once.
fn lossy(before: &Receiver<Packet>, next: &Sender<Packet>, mut losses: u32) {
    for packet in before {
        let left =
            if losses > 0 { next.try_send(packet) } else { next.send(packet).map(|()| None) };
        match left {
            Ok(None) => {}
            Ok(Some(_)) => losses -= 1,
            Err(_) => return,
        }
    }
}

/// Sends `packet` until it is acknowledged; waits without end after the last repetition.
fn transmit(packet: Packet, tx: &Sender<Packet>, acknowledgements: &Receiver<bool>) {
    for repetition in 0..=RETRIES {
        let mut sent = false;
        loop {
            select! {
                send(tx, packet) -> _ if !sent => sent = true,
                recv(acknowledgements) -> it => if it.unwrap() == packet.bit { return },
                op(after(PATIENCE)) -> _ if sent && repetition < RETRIES => break,
            }
        }
    }
}

/// Acknowledges what comes, and delivers what it has not seen.
fn deliver(rx: &Receiver<Packet>, back: &Sender<bool>, output: &Sender<u32>, bit: Bit) {
    let mut expected = false;
    for packet in rx {
        if packet.bit == expected || bit == Bit::Ignored {
            expected = !packet.bit;
            if output.send(packet.content).is_err() {
                return;
            }
        }
        if back.send(packet.bit).is_err() {
            return;
        }
    }
}
