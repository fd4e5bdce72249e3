//! Who holds the other end, and who waits for whom in a circle, though nobody has used an end yet.

use tasklets::explore::{Explore, Report};
use tasklets::{Receiver, Sender, channel, spawn};

fn report(program: impl Fn()) -> Report {
    Explore::new().name("holders").run(program).report.expect("it gets stuck")
}

#[test]
fn two_that_receive_before_they_send_wait_for_each_other() {
    let report = report(|| {
        let ((to_one, one), (to_other, other)) = (channel::<u8>(), channel::<u8>());
        let first = spawn(move || {
            let got = one.recv().unwrap();
            to_other.send(got).unwrap();
        });
        let second = spawn(move || {
            let got = other.recv().unwrap();
            to_one.send(got).unwrap();
        });
        first.join().unwrap();
        second.join().unwrap();
    });
    assert_eq!(report.cycle, ["root.0", "root.1"], "{report}");
    let text = report.to_string();
    assert!(!text.contains("whomever"), "{text}");
    for holder in ["sending end is held by root.1", "sending end is held by root.0"] {
        assert!(text.contains(holder), "{holder}: {text}");
    }
    assert!(text.contains("in a circle: root.0 -> root.1 -> root.0"), "{text}");
}

#[test]
fn a_circle_of_five_is_shown_whole() {
    let report = report(|| {
        let all = (0..5).map(|_| channel::<u8>());
        let (mut outputs, inputs): (Vec<Sender<u8>>, Vec<Receiver<u8>>) = all.unzip();
        outputs.rotate_left(1);
        let pass = |(from, to): (Receiver<u8>, Sender<u8>)| {
            spawn(move || from.recv().map(|it| to.send(it)))
        };
        let all: Vec<_> = inputs.into_iter().zip(outputs).map(pass).collect();
        all.into_iter().for_each(|it| drop(it.join()));
    });
    assert_eq!(report.cycle.len(), 5, "{report}");
}

#[test]
fn who_made_a_handle_that_is_never_dropped_is_named_as_that() {
    let report = report(|| {
        let (tx, rx) = channel::<u8>();
        std::mem::forget(tx);
        let _ = rx.recv();
    });
    assert!(report.cycle.is_empty(), "{report}");
    assert!(report.to_string().contains("held by whomever root gave it to"), "{report}");
}
