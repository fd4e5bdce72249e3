//! What several cases are built of: tasklets that may be left behind, locks, one-place buffers.

use tasklets::{Builder, Receiver, Sender, channel};

/// Spawns a tasklet that may be left waiting when all others have ended.
pub fn daemon(body: impl FnOnce() + 'static) {
    Builder::new().daemon(true).spawn(body).expect("there is room for a tasklet");
}

/// A lock around a value: who takes the value holds the lock until it gives one back.
pub struct Lock<T: 'static> {
    taking: Receiver<T>,
    giving: Sender<T>,
}

impl<T: 'static> Clone for Lock<T> {
    fn clone(&self) -> Lock<T> {
        Lock { taking: self.taking.clone(), giving: self.giving.clone() }
    }
}

impl<T: 'static> Lock<T> {
    pub fn new(mut value: T) -> Lock<T> {
        let ((offer, taking), (giving, back)) = (channel(), channel());
        daemon(move || {
            while offer.send(value).is_ok() {
                let Ok(given) = back.recv() else { return };
                value = given;
            }
        });
        Lock { taking, giving }
    }

    pub fn take(&self) -> T {
        self.taking.recv().expect("the lock lives as long as its users")
    }

    pub fn give(&self, value: T) {
        let given = self.giving.send(value);
        assert!(given.is_ok(), "the lock lives as long as its users");
    }
}

/// A buffer of one place: its sender and its receiver need not meet.
pub fn buffer<T: 'static>() -> (Sender<T>, Receiver<T>) {
    let ((tx, to_place), (from_place, rx)) = (channel(), channel());
    daemon(move || while to_place.recv().is_ok_and(|it| from_place.send(it).is_ok()) {});
    (tx, rx)
}
