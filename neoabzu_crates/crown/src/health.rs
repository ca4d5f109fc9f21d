//! How a servant does: what its requests and probes have shown.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row after which a servant is left alone.
const THRESHOLD: u32 = 3;
/// How long it is left alone the first time, and at most.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// The share of the newest latency in the average.
const SHARE: f64 = 0.2;

/// The health of one servant. Threads share it.
#[derive(Debug, Default)]
pub struct Health {
    under_way: AtomicU32,
    requests: AtomicU64,
    errors: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    times_down: u32,
    down_until: Option<Instant>,
    trying: bool,
    latency: Option<f64>,
    last_heard: Option<Instant>,
    last_failed: Option<Instant>,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may be asked. A servant that was down may be asked by one at a time.
    pub fn usable(&self, now: Instant) -> bool {
        let state = self.state();
        state.down_until.is_none_or(|until| now >= until && !state.trying)
    }

    /// Whether nothing is known against it.
    pub fn healthy(&self) -> bool {
        self.state().down_until.is_none()
    }

    /// Whether it was heard, and nothing is known against it since.
    pub fn ready(&self) -> bool {
        self.healthy() && self.last_heard().is_some()
    }

    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Requests made, and how many of them failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed))
    }

    /// The average latency of its answers, in seconds, if it has given any.
    pub fn latency(&self) -> Option<f64> {
        self.state().latency
    }

    /// When it was last heard, by a request or a probe.
    pub fn last_heard(&self) -> Option<Instant> {
        self.state().last_heard
    }

    pub fn began(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        state.trying = state.down_until.is_some();
    }

    /// A request ended with an answer after `seconds`.
    pub fn succeeded(&self, seconds: f64, now: Instant) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.state();
        let latency = state.latency.map_or(seconds, |average| average + SHARE * (seconds - average));
        *state = State { latency: Some(latency), last_heard: Some(now), ..State::default() };
    }

    /// A request failed in a way that counts against the servant.
    pub fn failed(&self, now: Instant) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.state().count_failure(now);
    }

    /// A request ended without telling anything about the servant: refused for what it is, or given up.
    pub fn ended(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.state().trying = false;
    }

    /// A probe that `began` then came back. One that failed takes a servant down only together with others; one
    /// that found it alive tells nothing of failures since it began.
    pub fn probed(&self, alive: bool, began: Instant, now: Instant) {
        let mut state = self.state();
        if alive && state.last_failed.is_some_and(|failed| failed > began) {
            state.last_heard = Some(now);
        } else if alive {
            *state = State { latency: state.latency, last_heard: Some(now), ..State::default() };
        } else {
            state.count_failure(now);
        }
    }
}

impl State {
    fn count_failure(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last_failed = Some(now);
        // Those that were under way when it went down tell nothing new: many at once are one outage.
        let left_alone = self.down_until.is_some_and(|until| now < until);
        if self.trying || (self.failures >= THRESHOLD && !left_alone) {
            let time = FIRST.saturating_mul(1 << self.times_down.min(10)).min(LONGEST);
            self.times_down = self.times_down.saturating_add(1);
            self.down_until = Some(now + time);
        }
        self.trying = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_down_is_tried_once_and_comes_back() {
        let health = Health::default();
        let start = Instant::now();
        for _ in 0..THRESHOLD {
            assert!(health.usable(start) && health.healthy());
            health.began();
            health.failed(start);
        }
        assert!(!health.usable(start) && !health.healthy());
        let later = start + FIRST;
        assert!(health.usable(later) && !health.healthy());
        health.began();
        assert!(!health.usable(later), "one trial at a time");
        health.failed(later);
        assert!(!health.usable(later + FIRST) && health.usable(later + 2 * FIRST));
        health.began();
        health.ended();
        assert!(health.usable(later + 2 * FIRST), "a trial that told nothing does not block the next");
        health.probed(true, later, later);
        assert!(health.healthy());
        assert_eq!((health.under_way(), health.counts()), (0, (5, 4)));
    }

    #[test]
    fn a_look_that_comes_back_late_forgives_no_failure_since_it_began() {
        let health = Health::default();
        let look = Instant::now();
        let later = look + FIRST / 10;
        for _ in 0..THRESHOLD {
            health.began();
            health.failed(later);
            health.probed(true, look, later);
        }
        assert!(!health.usable(later) && !health.healthy() && health.last_heard() == Some(later));
        health.probed(true, later, later + FIRST / 10);
        assert!(health.usable(later) && health.healthy());
    }

    #[test]
    fn many_failures_at_once_are_one_outage() {
        let health = Health::default();
        let start = Instant::now();
        (0..16).for_each(|_| health.began());
        (0..16).for_each(|_| health.failed(start));
        assert!(!health.usable(start) && health.usable(start + FIRST));
        health.probed(false, start, start + FIRST);
        assert!(!health.usable(start + FIRST) && health.usable(start + 3 * FIRST), "twice as long");
    }

    #[test]
    fn latency_is_an_average() {
        let health = Health::default();
        for seconds in [1.0, 2.0] {
            health.began();
            health.succeeded(seconds, Instant::now());
        }
        assert!((health.latency().unwrap() - 1.2).abs() < 1e-9);
    }
}
