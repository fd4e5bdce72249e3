//! The alternating bit protocol (Bartlett, Scantlebury and Wilkinson, 1969) over media that lose
//! messages: a receiver that does not look at the bit delivers twice, which is found, shrunk and
//! replayed; the right one passes.

use std::time::Duration;
use tasklets::explore::{Explore, Search};
use tasklets::{Builder, Receiver, Sender, channel, pause, select, spawn};

/// Hands on what comes, unless the loss takes it.
fn medium<T>(from: Receiver<T>, to: Sender<T>, loss: Receiver<()>) {
    for message in &from {
        select! {
            send(to, message) -> sent => if sent.is_err() { return },
            recv(loss) -> _ => {}
        }
    }
}

fn send(numbers: u32, frames: &Sender<(bool, u32)>, acks: &Receiver<bool>) {
    for (number, bit) in (0..numbers).zip([false, true].into_iter().cycle()) {
        // Again, if it was lost or the answer was.
        while frames.send((bit, number)).is_ok()
            && acks.recv_timeout(Duration::from_secs(1)) != Ok(bit)
        {}
    }
}

fn receive(careful: bool, frames: &Receiver<(bool, u32)>, acks: &Sender<bool>, to: &Sender<u32>) {
    let mut expected = false;
    for (bit, number) in frames {
        if bit == expected || !careful {
            to.send(number).expect("somebody counts what comes");
            expected = !expected;
        }
        drop(acks.send(bit));
    }
}

fn transmit(careful: bool) {
    let ((lose, loss), (frames, frames_in)) = (channel(), channel());
    let ((frames_out, arriving), (acks, acks_in)) = (channel(), channel());
    let ((acks_out, confirmed), (deliver, delivered)) = (channel(), channel());
    let bad_luck = move || (lose.send(()), pause(), drop(lose)); // one message, whichever
    drop(Builder::new().daemon(true).spawn(bad_luck));
    let other_loss = loss.clone();
    spawn(move || medium(frames_in, frames_out, loss));
    spawn(move || medium(acks_in, acks_out, other_loss));
    spawn(move || send(2, &frames, &confirmed));
    spawn(move || receive(careful, &arriving, &acks, &deliver));
    assert!(delivered.iter().eq(0..2), "each number arrives once, in order");
}

fn main() {
    let explorer = Explore::new().search(Search::Exhaustive).name("alternating bit");
    let report = explorer.run(|| transmit(false)).report.expect("it delivers twice");
    println!("{report}\n");
    let again = explorer.replay(&report.replay, || transmit(false)).expect("it is this program");
    assert_eq!(again.report.expect("it fails again").outcome, report.outcome);
    println!("with a look at the bit: {}", explorer.check(|| transmit(true)));
}
