//! Selecting: exactly one arm happens, fairly; the losers have no effect.

use tasklets::{Halt, Operation, Runtime, Select, channel, pause, run, select, spawn, yield_now};

#[test]
fn a_send_that_waited_in_an_or_gets_its_value_back_when_the_channel_closes() {
    run(|| {
        let (tx, rx) = channel();
        let (_kept, silent) = channel();
        drop(spawn(move || {
            yield_now();
            drop(rx);
        }));
        let sending = tx.sending(1).map(|sent| sent.map_err(|it| (it.value, it.why)).err());
        let back = sending.or(silent.receiving().map(|_: Result<u8, _>| None)).wait();
        assert_eq!(back, Some((1, Halt::Closed)));
    });
}

#[test]
fn a_sender_that_comes_while_a_select_waits_for_a_value_that_is_not_made_is_met() {
    let ended = Runtime::builder().build().run(|| {
        let (early, from_early) = channel();
        let (broken, from_broken) = channel::<u8>();
        drop(spawn(move || {
            let permit = broken.reserving().wait().unwrap();
            drop(spawn(move || early.send(7)));
            yield_now(); // it has tried to send, and waits
            drop(permit);
            let _ = pause(); // keeps `broken` open
        }));
        yield_now();
        select! {
            biased;
            recv(from_early) -> it => it,
            recv(from_broken) -> it => it,
        }
    });
    assert_eq!(ended.unwrap_or_else(|error| panic!("{error}")), Ok(7));
}

#[test]
fn among_ready_arms_the_choice_is_even() {
    run(|| {
        let ends: Vec<_> = (0..8).map(|_| channel::<u8>()).collect();
        for (tx, _) in &ends[..2] {
            for _ in 0..1_000 {
                let tx = tx.clone();
                drop(spawn(move || tx.send(1)));
            }
        }
        yield_now();
        let mut taken = [0; 8];
        for _ in 0..1_000 {
            let index = select! {
                recv(ends[0].1) -> _ => 0,
                recv(ends[1].1) -> _ => 1,
                recv(ends[2].1) -> _ => 2,
                recv(ends[3].1) -> _ => 3,
                recv(ends[4].1) -> _ => 4,
                recv(ends[5].1) -> _ => 5,
                recv(ends[6].1) -> _ => 6,
                recv(ends[7].1) -> _ => 7,
            };
            taken[index] += 1;
        }
        assert!(taken[0] > 400 && taken[1] > 400, "{taken:?}");
    });
}

#[test]
fn a_reused_select_sends_although_it_could_receive() {
    run(|| {
        let (tx_in, rx_in) = channel::<u8>();
        let (tx_out, rx_out) = channel::<u8>();
        for _ in 0..200 {
            let (tx_in, rx_out) = (tx_in.clone(), rx_out.clone());
            drop(spawn(move || tx_in.send(1)));
            drop(spawn(move || rx_out.recv()));
        }
        yield_now();
        let mut select = Select::new();
        let receive = select.recv(&rx_in);
        select.send(&tx_out);
        let mut taken = [0; 2];
        for _ in 0..200 {
            let chosen = select.wait().unwrap();
            taken[chosen.index()] += 1;
            if chosen.index() == receive {
                chosen.recv(&rx_in).unwrap();
            } else {
                chosen.send(&tx_out, 1).unwrap();
            }
        }
        assert!(taken.iter().all(|it| *it > 60), "{taken:?}");
    });
}

#[test]
fn removing_one_of_two_arms_on_one_channel_leaves_the_other() {
    let ended = Runtime::builder().build().run(|| {
        let (tx, rx) = channel::<u8>();
        let other = rx.clone();
        let mut select = Select::new();
        let (first, second) = (select.recv(&rx), select.recv(&other));
        assert!(select.try_wait().unwrap().is_none());
        assert!(select.remove(first));
        drop(spawn(move || tx.send(1)));
        let chosen = select.wait().unwrap();
        assert_eq!(chosen.index(), second);
        chosen.recv(&other)
    });
    assert_eq!(ended.unwrap_or_else(|error| panic!("{error}")), Ok(1));
}
