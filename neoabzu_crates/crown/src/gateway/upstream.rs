//! The asynchronous client for servants: connections are kept, redirects are not followed.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Extensions, HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as Broken};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use neoabzu_kimicho::{Body, Error, Kind, MAX_ANSWER, Secret, explain, normalise, wait_asked_for};

use super::SMALL;
use super::answer::Answer;
use super::connect::{Connector, lacks_descriptors};
use super::lines::{End, Lines, Piece};
use super::link::Marks;
use super::target::Target;
use crate::complete::NOT_ASKED;
use crate::router::Router;
use crate::servants::Servant;

/// How long a connection is kept: less than servants keep it (uvicorn and Node.js: 5 s).
const IDLE: Duration = Duration::from_secs(4);

/// What a servant has answered to a request for a stream.
pub enum Opened {
    /// Server-sent events, of which the first that says something is there.
    Events { first: Piece, lines: Lines, body: Incoming },
    /// A whole answer: it does not stream.
    Whole(Answer),
}

/// What is made of a whole answer.
#[derive(Clone, Copy)]
enum Form {
    /// It is passed on; tool calls may be written as text in it.
    Passed { marked: bool },
    /// It becomes events, so all of it has to be read.
    Settled,
}

impl Form {
    fn read(self, body: Bytes, secrets: &[&Secret]) -> Result<Answer, Error> {
        match self {
            Form::Passed { marked } => Answer::read(body, marked, secrets),
            Form::Settled => normalise(&body, false, secrets).map(Answer::Settled),
        }
    }
}

/// A client with connections of its own: they belong to the runtime that made them.
pub struct Upstream {
    router: Arc<Router>,
    targets: Arc<[Target]>,
    connector: Connector,
    client: Client<Connector, Full<Bytes>>,
    /// It keeps no connections: whatever it asks, it asks over a new one.
    fresh: Client<Connector, Full<Bytes>>,
}

impl Upstream {
    pub fn new(router: Arc<Router>) -> Upstream {
        let targets = router.config().servants.iter().map(Target::of).collect();
        Upstream::with(router, targets, Connector::new())
    }

    /// One like it for another runtime.
    pub fn another(&self) -> Upstream {
        Upstream::with(self.router.clone(), self.targets.clone(), self.connector.clone())
    }

    fn with(router: Arc<Router>, targets: Arc<[Target]>, connector: Connector) -> Upstream {
        let client = |kept| {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).pool_max_idle_per_host(kept);
            builder.build(connector.clone())
        };
        Upstream { router, targets, client: client(256), fresh: client(0), connector }
    }

    /// Asks for a whole answer.
    pub async fn complete(
        &self,
        index: usize,
        body: &Body,
        trace: Option<&str>,
        limit: Duration,
    ) -> Result<Answer, Error> {
        let servant = self.servant(index);
        let asking = async {
            let response = self.post(index, body, false, trace).await?;
            refuse_encoded(servant, &response)?;
            self.read_whole(index, response, Form::Passed { marked: body.offers_tools() }).await
        };
        tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| Err(late(servant)))
    }

    /// Asks for a stream, and waits until it has begun: from then on there is no way back.
    pub async fn open(
        &self,
        index: usize,
        body: &Body,
        trace: Option<&str>,
        limit: Duration,
    ) -> Result<Opened, Error> {
        let servant = self.servant(index);
        let opening = async {
            let response = self.post(index, body, true, trace).await?;
            refuse_encoded(servant, &response)?;
            if !response.status().is_success() || !is_stream(response.headers()) {
                return self.read_whole(index, response, Form::Settled).await.map(Opened::Whole);
            }
            self.begin(index, response.into_body()).await
        };
        tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| Err(late(servant)))
    }

    /// Reads a stream up to its first event that says something: comments and other fields may come before an
    /// error, and as long as nothing was passed on another servant can be asked.
    async fn begin(&self, index: usize, mut body: Incoming) -> Result<Opened, Error> {
        let servant = self.servant(index);
        let mut lines = Lines::new(secrets(servant).into_iter().cloned().collect());
        let mut held = BytesMut::new();
        loop {
            let frame = body.frame().await;
            let (piece, last) = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => (lines.feed(&data).map_err(|fault| malformed(servant, fault))?, false),
                    Err(_) => continue,
                },
                None => (lines.finish(), true),
                Some(Err(_)) => match lines.finish() {
                    Piece { end: None, .. } => return Err(broken(servant)),
                    piece => (piece, true),
                },
            };
            match &piece.end {
                Some(End::Failed(said)) => {
                    return Err(malformed(servant, &format!("the stream begins with an error: {said}")));
                }
                Some(End::Done) if !piece.says => return Err(malformed(servant, "the stream says nothing")),
                None if last => return Err(malformed(servant, "the stream ends before it says anything")),
                _ => {}
            }
            if piece.says {
                let first = match held.is_empty() {
                    true => piece,
                    false => Piece { lines: [held.freeze(), piece.lines].concat().into(), ..piece },
                };
                return Ok(Opened::Events { first, lines, body });
            }
            held.extend_from_slice(&piece.lines);
            if held.len() > SMALL {
                return Err(malformed(servant, "the stream begins with too much that says nothing"));
            }
        }
    }

    /// Whether a servant answers HTTP at all; none if it could not be asked for want of descriptors.
    pub async fn alive(&self, index: usize, limit: Duration) -> Option<bool> {
        match tokio::time::timeout(limit, self.send(|| self.targets[index].look())).await {
            Ok(Some(Ok(response))) => Some(response.status().as_u16() < 500),
            Ok(Some(Err(error))) if lacks_descriptors(&error) => None,
            _ => Some(false),
        }
    }

    async fn read_whole(
        &self,
        index: usize,
        response: Response<Incoming>,
        form: Form,
    ) -> Result<Answer, Error> {
        let servant = self.servant(index);
        let status = response.status().as_u16();
        let wait = wait_asked_for(|name| response.headers().get(name)?.to_str().ok());
        let limit = usize::try_from(MAX_ANSWER).unwrap_or(usize::MAX);
        let read = Limited::new(response.into_body(), limit).collect().await;
        if !(200..300).contains(&status) {
            let body = read.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(explain(
                &format!("servant {}", servant.name),
                status,
                &body,
                wait,
                &secrets(servant),
            ));
        }
        let body = read.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
            true => malformed(servant, &format!("the answer is larger than {MAX_ANSWER} bytes")),
            false => broken(servant),
        })?;
        let body = body.to_bytes();
        let answer = if body.len() <= SMALL {
            form.read(body, &secrets(servant))
        } else {
            let router = self.router.clone();
            let parse = move || form.read(body, &secrets(&router.config().servants[index]));
            tokio::task::spawn_blocking(parse)
                .await
                .unwrap_or_else(|_| Err(Error::malformed("the parser failed on this answer".to_owned())))
        };
        answer.map_err(|error| Error { status: Some(status), ..malformed(servant, &error.message) })
    }

    fn servant(&self, index: usize) -> &Servant {
        &self.router.config().servants[index]
    }

    async fn post(
        &self,
        index: usize,
        body: &Body,
        stream: bool,
        trace: Option<&str>,
    ) -> Result<Response<Incoming>, Error> {
        let servant = self.servant(index);
        let request = || self.targets[index].ask(body, &servant.model, stream, trace);
        let name = &servant.name;
        let Some(outcome) = self.send(request).await else {
            return Err(Error::configuration(format!(
                "servant {name}: its URL is not one that can be asked"
            )));
        };
        outcome.map_err(|error| {
            if lacks_descriptors(&error) {
                let message = format!("servant {name} was not asked: there are too many open files here");
                let code = Some(NOT_ASKED.to_owned());
                return Error { code, ..Error::new(Kind::Upstream, message) }.transient();
            }
            if error.is_connect() {
                return Error::new(Kind::Upstream, format!("servant {name} cannot be reached")).transient();
            }
            broken(servant)
        })
    }

    /// Sends a request, if there is one. If a kept connection breaks before a byte of the answer, the servant has
    /// closed it while it was idle (RFC 9112, 9.3.1): it is asked once more, over a new one.
    async fn send(
        &self,
        request: impl Fn() -> Option<Request<Full<Bytes>>>,
    ) -> Option<Result<Response<Incoming>, Broken>> {
        let mut outcome = self.client.request(request()?).await;
        if outcome.as_ref().is_err_and(closed_while_idle) {
            outcome = self.fresh.request(request()?).await;
        }
        if let Some(marks) = outcome.as_ref().ok().and_then(|response| response.extensions().get::<Marks>()) {
            marks.answered();
        }
        Some(outcome)
    }
}

fn closed_while_idle(error: &Broken) -> bool {
    let mut told = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut told);
    }
    told.get().is_some_and(Marks::unheard)
}

fn is_stream(headers: &HeaderMap) -> bool {
    const STREAM: &[u8] = b"text/event-stream";
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().get(..STREAM.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(STREAM))
}

/// Refuses an answer that has to be unpacked first: none was asked for, and it can neither be checked nor, with
/// `crown` in it, be passed on. What a failure says can be done without.
fn refuse_encoded(servant: &Servant, response: &Response<Incoming>) -> Result<(), Error> {
    let encoding = response.headers().get(CONTENT_ENCODING).filter(|_| response.status().is_success());
    match encoding.filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        None => Ok(()),
        Some(_) => Err(malformed(servant, "the answer has a Content-Encoding, which was not asked for")),
    }
}

/// What a servant is shown and must not be repeated.
fn secrets(servant: &Servant) -> Vec<&Secret> {
    servant.key.iter().chain(servant.endpoint.secrets()).collect()
}

fn late(servant: &Servant) -> Error {
    Error::new(Kind::Timeout, format!("servant {} did not answer within the time limit", servant.name))
}

fn broken(servant: &Servant) -> Error {
    Error::new(Kind::Upstream, format!("the connection to servant {} broke", servant.name)).transient()
}

fn malformed(servant: &Servant, what: &str) -> Error {
    Error::malformed(format!("servant {}: {what}", servant.name))
}
