//! The asynchronous client for servants: connections are kept, redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use neoabzu_kimicho::{Error, Kind, MAX_ANSWER, Secret, explain, normalise, wait_asked_for};
use serde_json::{Map, Value};

use super::stream::{Lines, error_in};
use crate::servants::Servant;

const CONNECT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(60);
const AGENT: &str = concat!("neoabzu-crown/", env!("CARGO_PKG_VERSION"));

/// What a servant has answered to a request for a stream.
pub enum Opened {
    /// Server-sent events, of which the first lines are there.
    Events { first: Bytes, lines: Lines, body: Incoming },
    /// A whole answer: it does not stream.
    Whole(Value),
}

#[derive(Clone)]
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Upstream {
    pub fn new() -> Upstream {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        http.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_platform_verifier()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).pool_max_idle_per_host(256);
        Upstream { client: builder.build(https) }
    }

    /// Asks for a whole answer.
    pub async fn complete(
        &self,
        servant: &Servant,
        body: &Map<String, Value>,
        trace: Option<&str>,
        limit: Duration,
    ) -> Result<Value, Error> {
        let marked = body.get("tools").and_then(Value::as_array).is_some_and(|tools| !tools.is_empty());
        let asking = async {
            let response = self.post(servant, body, false, trace).await?;
            read_whole(servant, response, marked).await
        };
        tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| Err(late(servant)))
    }

    /// Asks for a stream, and waits until it has begun: from then on there is no way back.
    pub async fn open(
        &self,
        servant: &Servant,
        body: &Map<String, Value>,
        trace: Option<&str>,
        limit: Duration,
    ) -> Result<Opened, Error> {
        let opening = async {
            let response = self.post(servant, body, true, trace).await?;
            let kind =
                response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
            if !response.status().is_success() || !kind.starts_with("text/event-stream") {
                return read_whole(servant, response, false).await.map(Opened::Whole);
            }
            let mut body = response.into_body();
            let mut lines = Lines::default();
            loop {
                let frame = body
                    .frame()
                    .await
                    .transpose()
                    .map_err(|_| broken(servant))?
                    .ok_or_else(|| broken(servant))?;
                let Ok(data) = frame.into_data() else { continue };
                let first = lines.feed(&data).map_err(|fault| malformed(servant, fault))?;
                if let Some(message) = error_in(&first, &secrets(servant)) {
                    return Err(malformed(servant, &format!("the stream begins with an error: {message}")));
                }
                if first.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(Opened::Events { first, lines, body });
                }
            }
        };
        tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| Err(late(servant)))
    }

    /// Whether a servant answers HTTP at all.
    pub async fn alive(&self, servant: &Servant, limit: Duration) -> bool {
        let Ok(request) =
            self.request(servant, Method::GET, &servant.endpoint.models_url(), Bytes::new(), None)
        else {
            return false;
        };
        let answer = tokio::time::timeout(limit, self.client.request(request)).await;
        matches!(answer, Ok(Ok(response)) if response.status().as_u16() < 500)
    }

    async fn post(
        &self,
        servant: &Servant,
        body: &Map<String, Value>,
        stream: bool,
        trace: Option<&str>,
    ) -> Result<Response<Incoming>, Error> {
        let mut body = body.clone();
        body.insert("model".into(), servant.model.as_str().into());
        if stream {
            body.insert("stream".into(), true.into());
        } else {
            body.shift_remove("stream_options");
        }
        let text = Bytes::from(Value::Object(body).to_string());
        let mut request = self.request(servant, Method::POST, &servant.endpoint.chat_url(), text, trace)?;
        let accept = if stream { "text/event-stream" } else { "application/json" };
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
        self.client.request(request).await.map_err(|error| {
            let name = &servant.name;
            if error.is_connect() {
                return Error::new(Kind::Upstream, format!("servant {name} cannot be reached")).transient();
            }
            broken(servant)
        })
    }

    fn request(
        &self,
        servant: &Servant,
        method: Method,
        url: &str,
        body: Bytes,
        trace: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder().method(method).uri(url).header(USER_AGENT, AGENT);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bearer = servant.key.as_ref().map(|key| format!("Bearer {}", key.expose()));
        let basic = || servant.endpoint.basic.as_ref().map(|basic| basic.expose().to_owned());
        if let Some(mut value) = bearer.or_else(basic).and_then(|text| HeaderValue::try_from(text).ok()) {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(trace) = trace {
            request = request.header("traceparent", trace);
        }
        let name = &servant.name;
        let built = request.body(Full::new(body));
        built.map_err(|_| {
            Error::configuration(format!("servant {name}: its URL is not one that can be asked"))
        })
    }
}

async fn read_whole(servant: &Servant, response: Response<Incoming>, marked: bool) -> Result<Value, Error> {
    let status = response.status().as_u16();
    let wait = wait_asked_for(|name| response.headers().get(name)?.to_str().ok());
    let limit = usize::try_from(MAX_ANSWER).unwrap_or(usize::MAX);
    let read = Limited::new(response.into_body(), limit).collect().await;
    let secrets = secrets(servant);
    if !(200..300).contains(&status) {
        let body = read.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        return Err(explain(&format!("servant {}", servant.name), status, &body, wait, &secrets));
    }
    let body = read.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
        true => malformed(servant, &format!("the answer is larger than {MAX_ANSWER} bytes")),
        false => broken(servant),
    })?;
    let answer = normalise(&body.to_bytes(), marked, &secrets);
    answer.map_err(|error| Error { status: Some(status), ..malformed(servant, &error.message) })
}

/// What a servant is shown and must not be repeated.
fn secrets(servant: &Servant) -> Vec<&Secret> {
    servant.key.iter().chain(servant.endpoint.basic.as_ref()).collect()
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
