//! Time, real or virtual: the only place that reads the OS clock.
//!
//! Always: time never runs backwards; a time too far away to write down is [`NEVER`].

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Nanoseconds since the clock was made.
pub(crate) type Nanos = u64;

/// A time that does not come.
pub(crate) const NEVER: Nanos = u64::MAX;

/// Tells the time of one runtime.
pub(crate) struct Clock {
    start: Instant,
    /// The virtual time, if this clock does not follow the real one.
    simulated: Option<Cell<Nanos>>,
}

impl Clock {
    pub(crate) fn new(simulated: bool) -> Clock {
        Clock { start: Instant::now(), simulated: simulated.then(Cell::default) }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.simulated.is_some()
    }

    /// The present time.
    pub(crate) fn now(&self) -> Nanos {
        match &self.simulated {
            Some(now) => now.get(),
            None => self.nanos(Instant::now()),
        }
    }

    /// Moves virtual time on to `then`; real time moves by itself.
    pub(crate) fn advance(&self, then: Nanos) {
        if let Some(now) = &self.simulated {
            now.set(now.get().max(then));
        }
    }

    /// Sets virtual time, also back.
    pub(crate) fn set(&self, then: Nanos) {
        if let Some(now) = &self.simulated {
            now.set(then);
        }
    }

    /// `at` in this clock's terms; 0 for what lies before its start.
    pub(crate) fn nanos(&self, at: Instant) -> Nanos {
        let since = at.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(NEVER)
    }

    /// The instant `delay` from now, [`NEVER`] if it is out of range.
    pub(crate) fn after(&self, delay: Duration) -> Nanos {
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(NEVER);
        self.now().saturating_add(delay)
    }

    /// `nanos` as an instant; the latest one that can be written down if it is out of range.
    pub(crate) fn instant(&self, nanos: Nanos) -> Instant {
        let mut delay = Duration::from_nanos(nanos);
        loop {
            match self.start.checked_add(delay) {
                Some(instant) => return instant,
                None => delay /= 2,
            }
        }
    }
}

/// The real time, for who asks outside any run.
pub(crate) fn real_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_moves_only_forward_and_only_when_told() {
        let clock = Clock::new(true);
        assert_eq!(clock.now(), 0);
        clock.advance(5);
        clock.advance(3);
        assert_eq!(clock.now(), 5);
        assert_eq!((clock.instant(7) - clock.instant(5)).as_nanos(), 2);
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let clock = Clock::new(true);
        assert_eq!(clock.after(Duration::MAX), NEVER);
        assert_eq!(clock.nanos(clock.start - Duration::from_nanos(1)), 0);
        assert!(clock.instant(NEVER) > clock.instant(0));
    }
}
