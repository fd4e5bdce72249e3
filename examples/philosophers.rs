//! Dining philosophers who get stuck, and the report that says who waits for whom.
//!
//! Each has one fork and needs two. While thinking one lends the own fork to the left neighbour;
//! when hungry one keeps it and asks the right neighbour for the other. At noon all are hungry:
//! stuck. A fork is borrowed with `recv_held`, which keeps its owner in `send` until it is given
//! back. Prints the meals, then the report on stderr, and exits with 1.

use std::process::ExitCode;
use std::time::Duration;
use tasklets::{Builder, Halt, Receiver, RunError, Runtime, Sender};
use tasklets::{at, channel, now, scope, select, sleep};

struct Fork;

const NOON: u32 = 12;
const MEALS: [(&str, [u32; 2]); 3] =
    [("Plato", [8, NOON]), ("Kant", [9, NOON]), ("Hegel", [10, NOON])];

/// Eats at the hours given, and thinks in between.
fn philosopher(
    (name, hours): (&str, [u32; 2]),
    lend: &Sender<Fork>,
    borrow: &Receiver<Fork>,
) -> Result<(), Halt> {
    let midnight = now();
    for hour in hours {
        let hungry = midnight + hour * Duration::from_hours(1);
        while now() < hungry {
            select! {
                send(lend, Fork) -> lent => lent?,
                op(at(hungry)) -> due => due.map(|_| ())?,
            }
        }
        let _second_fork = borrow.recv_held()?;
        println!("{hour:2}:00 {name} eats");
        sleep(Duration::from_mins(30))?;
    }
    Ok(())
}

fn dine() {
    scope(|s| {
        let fork = |(name, _)| channel::Builder::new().name(format!("{name}'s fork")).channel();
        let (lend, mut borrow): (Vec<_>, Vec<_>) = MEALS.map(fork).into_iter().unzip();
        borrow.rotate_left(1); // everybody borrows the next one's
        for (who, (lend, borrow)) in MEALS.into_iter().zip(lend.into_iter().zip(borrow)) {
            let body = move || philosopher(who, &lend, &borrow);
            s.spawn_with(Builder::new().name(who.0), body).expect("there is memory for three");
        }
    });
}

fn main() -> ExitCode {
    match Runtime::builder().virtual_clock(true).build().run(dine) {
        Err(RunError::Stuck(report)) => eprint!("{report}"),
        other => eprintln!("they should have got stuck: {other:?}"),
    }
    ExitCode::FAILURE
}
