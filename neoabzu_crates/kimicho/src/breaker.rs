//! A circuit breaker: after enough failures in a row nobody asks for a while.
//!
//! Pure: the time comes in with every call.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const THRESHOLD: u32 = 5;
/// How long it stays open the first time, and at most.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(120);

/// Nobody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// For how long.
    pub wait: Duration,
    /// Because the quota is used up, and not for failures.
    pub quota: bool,
}

/// Whether a request may be made.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    quota: bool,
    open_until: Option<Instant>,
    opened: u32,
    trying: bool,
}

impl Breaker {
    /// Asks to make a request.
    ///
    /// # Errors
    /// How long nobody may ask. Once that has passed one caller may try, and its outcome decides.
    pub fn ask(&mut self, now: Instant) -> Result<(), Open> {
        let open = |wait| Err(Open { wait, quota: self.quota });
        match self.open_until {
            None => Ok(()),
            Some(until) if now < until => open(until - now),
            Some(_) if self.trying => open(Duration::ZERO),
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
        // Requests that were under way when it opened tell nothing new: many at once are one outage.
        let is_open = self.open_until.is_some_and(|until| now < until);
        if self.trying || (self.failures >= THRESHOLD && !is_open) {
            let time = FIRST.saturating_mul(1 << self.opened.min(10)).min(LONGEST);
            self.quota = false;
            self.open_for(time, now);
        }
    }

    /// The other side says that the quota is used up: nobody need ask for this long.
    pub fn used_up(&mut self, time: Duration, now: Instant) {
        self.quota = true;
        self.open_for(time, now);
    }

    fn open_for(&mut self, time: Duration, now: Instant) {
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

    fn shut(wait: Duration) -> Result<(), Open> {
        Err(Open { wait, quota: false })
    }

    #[test]
    fn many_failures_at_once_are_one_outage() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        (0..16).for_each(|_| assert_eq!(breaker.ask(start), Ok(())));
        (0..16).for_each(|_| breaker.failed(start));
        assert_eq!(breaker.ask(start), shut(FIRST));
    }

    #[test]
    fn it_opens_tries_once_and_closes() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..THRESHOLD {
            assert_eq!(breaker.ask(start), Ok(()));
            breaker.failed(start);
        }
        assert_eq!(breaker.ask(start), shut(FIRST));
        let later = start + FIRST;
        assert_eq!(breaker.ask(later), Ok(()));
        assert_eq!(breaker.ask(later), shut(Duration::ZERO), "one at a time");
        breaker.failed(later);
        assert_eq!(breaker.ask(later), shut(2 * FIRST), "one failed trial opens it again, for longer");
        assert_eq!(breaker.ask(later + 2 * FIRST), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.ask(later), Ok(()));
    }

    #[test]
    fn an_undecided_trial_lets_the_next_one_try() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        breaker.used_up(Duration::ZERO, now);
        let open = Open { wait: Duration::ZERO, quota: true };
        assert_eq!((breaker.ask(now), breaker.ask(now)), (Ok(()), Err(open)));
        breaker.undecided();
        assert_eq!(breaker.ask(now), Ok(()));
    }
}
