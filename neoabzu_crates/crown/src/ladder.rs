//! The way of one request from servant to servant, and what is told of it. No I/O.

use std::time::{Duration, Instant};

use neoabzu_kimicho::{Error, Kind};
use serde_json::Value;

use crate::fault::Fault;
use crate::router::{Decision, Router};
use crate::trail::{Envelope, Recalled, Tried};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this servant, for no longer than this.
    Servant(usize, Duration),
    /// Ask Kimi K2, for no longer than this.
    Kimicho(Duration),
    /// Give up.
    End,
}

/// One request under way.
#[derive(Debug)]
pub struct Ladder {
    decision: Decision,
    tried: Vec<usize>,
    kimicho_tried: bool,
    trail: Vec<Tried>,
    last: Option<(Kind, String)>,
    kinds: Vec<Kind>,
    wait: Option<Duration>,
    began: Instant,
    end: Instant,
}

impl Ladder {
    pub fn new(decision: Decision, began: Instant, limit: Duration) -> Ladder {
        let end = began + limit;
        let (tried, trail, kinds) = (Vec::new(), Vec::new(), Vec::new());
        Ladder { decision, tried, kimicho_tried: false, trail, last: None, kinds, wait: None, began, end }
    }

    /// Chooses whom to ask next: a healthy servant of the rule's choice, a healthy one of the others,
    /// Kimi K2; and at last, for they may be well again, the servants that were left alone for their failures.
    pub fn next(&mut self, router: &Router, now: Instant) -> Step {
        if now >= self.end {
            return Step::End;
        }
        let untried = |set: &[usize]| -> Vec<usize> {
            set.iter().copied().filter(|index| !self.tried.contains(index)).collect()
        };
        let (first, others) = (untried(&self.decision.first), untried(&self.decision.others));
        let kimicho = self.decision.kimicho && !self.kimicho_tried;
        let picked = router.pick(&first, now).or_else(|| router.pick(&others, now));
        let picked = match picked {
            None if kimicho => {
                self.kimicho_tried = true;
                return Step::Kimicho(self.end - now);
            }
            None => first.first().or(others.first()).copied(),
            picked => picked,
        };
        let Some(index) = picked else { return Step::End };
        self.tried.push(index);
        Step::Servant(index, router.config().servants[index].timeout.min(self.end - now))
    }

    /// Notes how an attempt went. A refusal of the request ends the way: nobody else is asked.
    ///
    /// # Errors
    /// [`Fault::Refused`].
    pub fn note(
        &mut self,
        who: &str,
        began: Instant,
        now: Instant,
        outcome: Result<(), &Error>,
    ) -> Result<(), Fault> {
        let tried = |outcome| Tried {
            servant: who.to_owned(),
            outcome,
            seconds: now - began,
            error: None,
            status: None,
        };
        let Err(error) = outcome else {
            self.trail.push(tried("answered"));
            return Ok(());
        };
        let (message, status) = (Some(error.message.clone()), error.status);
        self.trail.push(Tried { error: message, status, ..tried(error.kind.name()) });
        self.kinds.push(error.kind);
        self.wait = self.wait.into_iter().chain(error.retry_after).min();
        self.last = Some((error.kind, error.message.clone()));
        if error.kind == Kind::Refused {
            let code = error.code.clone().unwrap_or_else(|| "refused".to_owned());
            return Err(Fault::Refused {
                status: error.status.unwrap_or(400),
                code,
                message: error.message.clone(),
            });
        }
        Ok(())
    }

    /// Why nobody answered.
    pub fn fault(self, now: Instant) -> Fault {
        let Some((last, message)) = self.last else {
            let message = if self.decision.first.is_empty() && self.decision.others.is_empty() {
                "there is nobody to ask: no servants and no Kimi K2 are configured"
            } else {
                "there was no time to ask anybody"
            };
            return Fault::Exhausted {
                kind: Kind::Configuration,
                message: message.to_owned(),
                trail: self.trail,
                wait: None,
            };
        };
        // One kind for all of them only if it is true of all of them.
        let kind = if self.kinds.iter().all(|kind| *kind == last) { last } else { Kind::Upstream };
        let late = if now >= self.end { ", and the time is up" } else { "" };
        let message = format!("none of {} answered{late}; last: {message}", self.trail.len());
        Fault::Exhausted { kind, message, trail: self.trail, wait: self.wait }
    }

    /// What is told beside an answer.
    pub fn envelope<'a>(
        &'a self,
        servant: &'a str,
        model: &'a str,
        source: &'static str,
        now: Instant,
    ) -> Envelope<'a> {
        let Decision { reason, rule, recalled, .. } = &self.decision;
        let recalled = recalled.as_ref().map(|recalled| Recalled {
            hits: recalled.get("hits").and_then(Value::as_array).map_or(0, Vec::len),
            failed_layers: recalled.get("failed_layers"),
        });
        Envelope {
            servant,
            model,
            source,
            reason,
            rule: rule.as_deref(),
            trail: &self.trail,
            memory: recalled,
            latency_seconds: now - self.began,
        }
    }
}
