//! A circuit breaker: after enough failures in a row nobody asks for a while.
//!
//! Pure: the time comes in with every call.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const THRESHOLD: u32 = 5;
/// How long it stays open the first time, and at most.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(120);

/// Whether a request may be made.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    opened: u32,
    trying: bool,
}

impl Breaker {
    /// Asks to make a request.
    ///
    /// # Errors
    /// How long nobody may ask. Once that has passed one caller may try, and its outcome decides.
    pub fn ask(&mut self, now: Instant) -> Result<(), Duration> {
        match self.open_until {
            None => Ok(()),
            Some(until) if now < until => Err(until - now),
            Some(_) if self.trying => Err(Duration::ZERO),
            Some(_) => {
                self.trying = true;
                Ok(())
            }
        }
    }

    /// The other side works.
    pub fn succeeded(&mut self) {
        *self = Breaker::default();
    }

    /// The other side failed.
    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.trying || self.failures >= THRESHOLD {
            let time = FIRST.saturating_mul(1 << self.opened.min(10)).min(LONGEST);
            self.open_for(time, now);
        }
    }

    /// Nobody need ask for this long.
    pub fn open_for(&mut self, time: Duration, now: Instant) {
        self.opened = self.opened.saturating_add(1);
        self.open_until = Some(now + time);
        self.trying = false;
    }

    /// The request had an outcome that says nothing about the other side.
    pub fn undecided(&mut self) {
        self.trying = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_tries_once_and_closes() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..THRESHOLD {
            assert_eq!(breaker.ask(start), Ok(()));
            breaker.failed(start);
        }
        assert_eq!(breaker.ask(start), Err(FIRST));
        let later = start + FIRST;
        assert_eq!(breaker.ask(later), Ok(()));
        assert_eq!(breaker.ask(later), Err(Duration::ZERO), "one at a time");
        breaker.failed(later);
        assert_eq!(breaker.ask(later), Err(2 * FIRST), "one failed trial opens it again, for longer");
        assert_eq!(breaker.ask(later + 2 * FIRST), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.ask(later), Ok(()));
    }

    #[test]
    fn an_undecided_trial_lets_the_next_one_try() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        breaker.open_for(Duration::ZERO, now);
        assert_eq!((breaker.ask(now), breaker.ask(now)), (Ok(()), Err(Duration::ZERO)));
        breaker.undecided();
        assert_eq!(breaker.ask(now), Ok(()));
    }
}
