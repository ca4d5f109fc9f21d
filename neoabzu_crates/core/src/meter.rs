//! Counts the work of an evaluation and stops it when its budget or its time is spent.
//!
//! `||`, `&&`, `all` and `exists` can swallow the error of a charge (see `charges.rs`); the meter
//! remembers it, every further charge fails at once, and the caller asks [`Metered::finish`].

use std::cell::Cell;
use std::time::{Duration, Instant};

use cel::ExecutionError;

use crate::limits::Limits;

/// How many charges pass between two looks at the clock.
const CHARGES_PER_LOOK: u32 = 64;

thread_local! {
    static METER: Meter = const { Meter::idle() };
}

struct Meter {
    left: Cell<u64>,
    charges: Cell<u32>,
    deadline: Cell<Option<Instant>>,
    milliseconds: Cell<u64>,
    spent: Cell<Option<Spent>>,
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    Steps,
    Time,
}

impl Meter {
    const fn idle() -> Self {
        Meter {
            left: Cell::new(0),
            charges: Cell::new(0),
            deadline: Cell::new(None),
            milliseconds: Cell::new(0),
            spent: Cell::new(None),
        }
    }

    fn charge(&self, steps: u64) -> Result<(), ExecutionError> {
        if self.spent.get().is_none() {
            match self.left.get().checked_sub(steps) {
                Some(left) => self.left.set(left),
                None => self.run_out(Spent::Steps),
            }
            let charges = self.charges.get().wrapping_add(1);
            self.charges.set(charges);
            if charges.is_multiple_of(CHARGES_PER_LOOK) || steps > 10_000 {
                self.look_at_the_clock();
            }
        }
        match self.spent.get() {
            None => Ok(()),
            Some(_) => Err(ExecutionError::function_error("@meter", "the budget is spent")),
        }
    }

    /// Nothing is left, so that nothing is measured any more either.
    fn run_out(&self, what: Spent) {
        self.spent.set(Some(what));
        self.left.set(0);
    }

    fn look_at_the_clock(&self) {
        let now = Instant::now();
        match self.deadline.get() {
            None => self.deadline.set(now.checked_add(Duration::from_millis(self.milliseconds.get()))),
            Some(deadline) if now > deadline => self.run_out(Spent::Time),
            Some(_) => {}
        }
    }
}

/// The meter of this thread, running. It is idle again when this is dropped.
pub(crate) struct Metered(());

impl Metered {
    /// Where no `clock` is set it starts with the first look: evaluations that are known to be short
    /// need none.
    pub(crate) fn start(limits: &Limits, clock: bool) -> Self {
        METER.with(|meter| {
            meter.left.set(limits.steps);
            meter.charges.set(0);
            meter.deadline.set(None);
            meter.milliseconds.set(limits.milliseconds);
            meter.spent.set(None);
            if clock {
                meter.look_at_the_clock();
            }
        });
        Metered(())
    }

    /// What ran out, whatever the evaluation made of it.
    pub(crate) fn finish(self) -> Option<Spent> {
        METER.with(|meter| meter.spent.get())
    }

    pub(crate) fn left(&self) -> u64 {
        METER.with(|meter| meter.left.get())
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        METER.with(|meter| meter.left.set(0));
    }
}

/// Charges the running evaluation.
pub(crate) fn charge(steps: u64) -> Result<(), ExecutionError> {
    METER.with(|meter| meter.charge(steps))
}

/// What the running evaluation may still cost, in steps.
pub(crate) fn remaining() -> u64 {
    METER.with(|meter| meter.left.get())
}
