//! The asynchronous client for servants: connections are kept, redirects are not followed.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use neoabzu_kimicho::{Body, Error, Kind, MAX_ANSWER, Secret, explain, normalise, wait_asked_for};

use super::SMALL;
use super::answer::Answer;
use super::lines::{End, Lines, Piece};
use super::target::Target;
use crate::router::Router;
use crate::servants::Servant;

const CONNECT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(60);

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
    connector: HttpsConnector<HttpConnector>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Upstream {
    pub fn new(router: Arc<Router>) -> Upstream {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_platform_verifier()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let targets = router.config().servants.iter().map(Target::of).collect();
        Upstream { router, targets, client: client(&connector), connector }
    }

    /// One like it for another runtime.
    pub fn another(&self) -> Upstream {
        Upstream {
            router: self.router.clone(),
            targets: self.targets.clone(),
            client: client(&self.connector),
            connector: self.connector.clone(),
        }
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
            let kind =
                response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
            if !response.status().is_success() || !kind.starts_with("text/event-stream") {
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
                None | Some(Err(_)) => (lines.finish(), true),
            };
            match &piece.end {
                Some(End::Failed(said)) => {
                    return Err(malformed(servant, &format!("the stream begins with an error: {said}")));
                }
                Some(End::Done) if !piece.says => return Err(malformed(servant, "the stream says nothing")),
                None if last => return Err(broken(servant)),
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

    /// Whether a servant answers HTTP at all.
    pub async fn alive(&self, index: usize, limit: Duration) -> bool {
        let Some(request) = self.targets[index].look() else { return false };
        let answer = tokio::time::timeout(limit, self.client.request(request)).await;
        matches!(answer, Ok(Ok(response)) if response.status().as_u16() < 500)
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
        let request = self.targets[index].ask(body, &servant.model, stream, trace).ok_or_else(|| {
            let name = &servant.name;
            Error::configuration(format!("servant {name}: its URL is not one that can be asked"))
        })?;
        self.client.request(request).await.map_err(|error| {
            let name = &servant.name;
            if error.is_connect() {
                return Error::new(Kind::Upstream, format!("servant {name} cannot be reached")).transient();
            }
            broken(servant)
        })
    }
}

fn client(connector: &HttpsConnector<HttpConnector>) -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).pool_max_idle_per_host(256);
    builder.build(connector.clone())
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
