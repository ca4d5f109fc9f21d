//! The blocking client: one request at a time per thread, within limits.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use ureq::config::Config;
use ureq::{Agent, Timeout};

use crate::agent::{self, limited};
use crate::answer::normalise;
use crate::body::Body;
use crate::breaker::{Breaker, Open};
use crate::error::{Error, Kind, explain, wait_asked_for};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::traceparent::is_traceparent;

/// The largest request that is made, in bytes.
pub const MAX_REQUEST: usize = 8 << 20;
/// The largest answer that is read, in bytes.
pub const MAX_ANSWER: u64 = 8 << 20;
/// The first pause before another try; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(250);
/// How long nobody asks once the quota is used up.
const QUOTA_PAUSE: Duration = Duration::from_secs(300);

/// A client that keeps its connections. Threads may share it; a process that was forked needs [`Client::anew`].
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    config: Config,
    agent: Agent,
    breaker: Mutex<Breaker>,
}

impl Client {
    /// Reads the environment, which nobody may change meanwhile: where https goes through a proxy is said there.
    ///
    /// # Errors
    /// [`Kind::Configuration`] for a key that no header can carry.
    pub fn new(settings: Settings) -> Result<Client, Error> {
        if settings.key.as_ref().is_some_and(|key| !key.fits_header()) {
            return Err(Error::configuration(
                "the API key holds a character that an HTTP header cannot carry",
            ));
        }
        let config = agent::config(&settings.endpoint);
        let agent = config.new_agent();
        Ok(Client { settings, config, agent, breaker: Mutex::default() })
    }

    /// The same client without connections and failures, for a process that was forked: two must not share a
    /// connection, and a lock that another thread held at the fork stays locked in the child.
    #[must_use]
    pub fn anew(&self) -> Client {
        let (settings, config) = (self.settings.clone(), self.config.clone());
        let agent = config.new_agent();
        Client { settings, config, agent, breaker: Mutex::default() }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks for a chat completion, again where that may help.
    ///
    /// # Errors
    /// The last failure, with the number of requests made. [`Kind::Quota`] is never tried again.
    pub fn complete(&self, body: &Body, traceparent: Option<&str>) -> Result<Value, Error> {
        self.complete_within(body, traceparent, Duration::MAX, &|| true)
    }

    /// The same, within `limit` for all of it; not again once the answer is no longer `wanted`.
    ///
    /// # Errors
    /// Those of [`Client::complete`].
    pub fn complete_within(
        &self,
        body: &Body,
        traceparent: Option<&str>,
        limit: Duration,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Value, Error> {
        let (body, marked) = self.body(body)?;
        let end = Instant::now() + self.settings.timeout.saturating_mul(3).min(limit);
        let mut attempts = 0;
        loop {
            self.ask_breaker(attempts)?;
            let guard = Trial(self);
            attempts += 1;
            let left = end.saturating_duration_since(Instant::now());
            let outcome = self.post(&body, marked, traceparent, self.settings.timeout.min(left));
            guard.settle(&outcome);
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => Error { attempts, ..error },
            };
            let pause = error.retry_after.unwrap_or_else(|| jittered(PAUSE * (1 << (attempts - 1).min(6))));
            if !error.again || attempts > self.settings.retries || Instant::now() + pause >= end {
                return Err(error);
            }
            std::thread::sleep(pause);
            if !wanted() {
                return Err(error);
            }
        }
    }

    /// Asks once, whatever the breaker says.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn attempt(&self, body: &Body, traceparent: Option<&str>, limit: Duration) -> Result<Value, Error> {
        let (body, marked) = self.body(body)?;
        let outcome = self.post(&body, marked, traceparent, limit);
        outcome.map_err(|error| Error { attempts: 1, ..error })
    }

    /// Whether the other side answers HTTP at all, by asking for the list of its models.
    ///
    /// # Errors
    /// [`Kind::Timeout`] or [`Kind::Upstream`].
    pub fn probe(&self, limit: Duration) -> Result<(), Error> {
        let request = self.agent.get(self.settings.endpoint.models_url());
        let request = match self.authorization() {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        let response = limited(request, limit).call().map_err(|error| self.failure(&error))?;
        match response.status().as_u16() {
            status @ 500.. => Err(explain(&self.settings.name, status, b"", None, &[])),
            _ => Ok(()),
        }
    }

    /// The text to post, and whether the answer may hold tool calls written as text.
    fn body(&self, body: &Body) -> Result<(String, bool), Error> {
        let text = body.text(self.settings.model.as_deref(), false);
        if text.len() > MAX_REQUEST {
            let message = format!("the request has {} bytes; at most {MAX_REQUEST} are sent", text.len());
            return Err(Error { code: Some("too_large".to_owned()), ..Error::new(Kind::Refused, message) });
        }
        Ok((text, body.offers_tools() || self.settings.marked))
    }

    fn authorization(&self) -> Option<String> {
        let Settings { key, endpoint, .. } = &self.settings;
        let bearer = key.as_ref().map(|key| format!("Bearer {}", key.expose()));
        bearer.or_else(|| endpoint.basic.as_ref().map(|basic| basic.expose().to_owned()))
    }

    fn post(
        &self,
        body: &str,
        marked: bool,
        traceparent: Option<&str>,
        limit: Duration,
    ) -> Result<Value, Error> {
        let Settings { name, endpoint, key, .. } = &self.settings;
        let mut request = self.agent.post(endpoint.chat_url()).content_type("application/json");
        if let Some(value) = self.authorization() {
            request = request.header("authorization", value);
        }
        if let Some(value) = traceparent.filter(|text| is_traceparent(text)) {
            request = request.header("traceparent", value);
        }
        let mut response = limited(request, limit).send(body).map_err(|error| self.failure(&error))?;
        let status = response.status().as_u16();
        let wait = wait_asked_for(|header| response.headers().get(header)?.to_str().ok());
        let read = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let read = read.map_err(|error| self.failure(&error));
        let secrets: Vec<&Secret> = key.iter().chain(endpoint.secrets()).collect();
        if !(200..300).contains(&status) {
            return Err(explain(name, status, &read.unwrap_or_default(), wait, &secrets));
        }
        let answer = normalise(&read?, marked, &secrets);
        answer.map_err(|error| Error { status: Some(status), message: format!("{name}: {error}"), ..error })
    }

    fn failure(&self, error: &ureq::Error) -> Error {
        let who = &self.settings.name;
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => Error::new(
                Kind::Timeout,
                format!("{who} cannot be reached: no connection within the time limit"),
            )
            .transient(),
            ureq::Error::Timeout(_) => {
                Error::new(Kind::Timeout, format!("{who} did not answer within the time limit"))
            }
            ureq::Error::BodyExceedsLimit(limit) => {
                Error::malformed(format!("the answer of {who} is larger than {limit} bytes"))
            }
            ureq::Error::HostNotFound => Error::new(
                Kind::Upstream,
                format!("{who} cannot be reached: the name of its host cannot be resolved"),
            ),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Error::new(Kind::Upstream, format!("{who} cannot be reached: nothing listens there"))
                    .transient()
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                Error::new(Kind::Timeout, format!("{who} did not answer within the time limit"))
            }
            ureq::Error::Io(error) => {
                Error::new(Kind::Upstream, format!("the connection to {who} broke ({})", error.kind()))
                    .transient()
            }
            ureq::Error::Rustls(error) => {
                Error::new(Kind::Upstream, format!("TLS with {who} failed: {error}"))
            }
            ureq::Error::ConnectionFailed => {
                Error::new(Kind::Upstream, format!("{who} cannot be reached")).transient()
            }
            // The other kinds name what is wrong with the protocol; none quotes a header of ours.
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                Error::new(Kind::Upstream, format!("{who} does not keep to HTTP")).transient()
            }
            _ => Error::new(Kind::Upstream, format!("the request to {who} failed")),
        }
    }

    fn ask_breaker(&self, attempts: u32) -> Result<(), Error> {
        let Err(Open { wait, quota }) = lock(&self.breaker).ask(Instant::now()) else { return Ok(()) };
        let (kind, why) = if quota {
            (Kind::Quota, "its quota was used up")
        } else {
            (Kind::Upstream, "it failed too often")
        };
        let (who, seconds) = (&self.settings.name, wait.as_secs_f64().ceil());
        let message = format!("{who} is not asked: {why}, the next try is in {seconds:.0} s");
        let code = Some("circuit_open".to_owned());
        Err(Error { retry_after: Some(wait), attempts, code, ..Error::new(kind, message) })
    }
}

/// Frees the breaker's one trial if the request ends in a panic.
struct Trial<'c>(&'c Client);

impl Trial<'_> {
    fn settle(self, outcome: &Result<Value, Error>) {
        let now = Instant::now();
        let mut breaker = lock(&self.0.breaker);
        match outcome {
            Ok(_) => breaker.succeeded(),
            Err(error) => match error.kind {
                Kind::Quota => breaker.used_up(QUOTA_PAUSE, now),
                Kind::Timeout | Kind::Upstream | Kind::Malformed => breaker.failed(now),
                // It is there; what it does not like is the request, or how many there are.
                Kind::Configuration | Kind::Authentication | Kind::RateLimit | Kind::Refused => {
                    breaker.undecided();
                }
            },
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        lock(&self.0.breaker).undecided();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Between half and all of it, so that several callers do not come back at the same instant.
fn jittered(pause: Duration) -> Duration {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.subsec_nanos());
    pause.mul_f64(0.5 + f64::from(nanoseconds % 1000) / 2000.0)
}
