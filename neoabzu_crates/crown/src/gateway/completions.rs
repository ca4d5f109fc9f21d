//! `POST /v1/chat/completions`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use neoabzu_kimicho::{Body as Asked, Error, Kind};
use serde_json::Value;

use super::answer::Answer;
use super::chunks::as_events;
use super::envelope::with_envelope;
use super::reply::{error, fault, text};
use super::stream::Flow;
use super::upstream::Opened;
use super::{SMALL, Shared};
use crate::complete::{UnderWay, body_with_memory};
use crate::fault::Fault;
use crate::ladder::{Ladder, Step};
use crate::request::Request;
use crate::router::Decision;

/// Has a request answered, be it by an error.
pub async fn complete(shared: &Arc<Shared>, request: http::Request<Incoming>) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let trace = shared.trace("crown.complete", &parts.headers);
    let body = match read(body, shared.settings.max_body, shared.settings.body_timeout).await {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let max_text = shared.router.config().max_text;
    let small = body.len() <= SMALL;
    let parsed = if small {
        parse(&body, max_text)
    } else {
        beside(move || parse(&body, max_text), "the parser failed on this body").await
    };
    match trace.watch(parsed) {
        Ok(request) => answer(shared, request.traced(trace), small, began).await,
        Err(why) => fault(&why),
    }
}

async fn read(body: Incoming, limit: usize, time: Duration) -> Result<Bytes, Box<Response>> {
    match tokio::time::timeout(time, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(why)) if why.is::<LengthLimitError>() => {
            Err(Box::new(error(413, "too_large", &format!("the body has more than {limit} bytes"))))
        }
        Ok(Err(_)) => Err(Box::new(error(400, "invalid_request", "the body was cut off"))),
        Err(_) => Err(Box::new(error(408, "too_slow", "the body did not come in time"))),
    }
}

fn parse(body: &[u8], max_text: usize) -> Result<Request, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::invalid("the body is not UTF-8"))?;
    Request::of_body(text, max_text)
}

/// Decides who answers, beside the event loop unless that is brief. There the context, which may be large and is not
/// needed after that, is cleared away too.
async fn decide(
    shared: &Arc<Shared>,
    mut request: Request,
    small: bool,
) -> Result<(Request, Result<Decision, Fault>), Fault> {
    if small && shared.router.is_brief(&request) {
        let decision = shared.router.decide(&request);
        return Ok((request, decision));
    }
    let router = shared.router.clone();
    let work = move || {
        let decision = router.decide(&request);
        request.context = Value::Null;
        Ok((request, decision))
    };
    beside(work, "the rules failed on this request").await
}

/// Does what takes long on another thread; `message` is for a defect of it.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    message: &str,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        let (code, message) = ("internal".to_owned(), message.to_owned());
        Err(Fault::Refused { status: 500, code, message })
    })
}

async fn answer(shared: &Arc<Shared>, request: Request, small: bool, began: Instant) -> Response {
    let (request, decision) = match decide(shared, request, small).await {
        Ok((request, decision)) => (Arc::new(request), decision),
        Err(why) => return fault(&why),
    };
    let outcome = match decision {
        Ok(decision) => climb(shared, &request, decision, began).await,
        Err(why) => Err(why),
    };
    request.trace.watch(outcome).unwrap_or_else(|why| fault(&why))
}

async fn climb(
    shared: &Arc<Shared>,
    request: &Arc<Request>,
    decision: Decision,
    began: Instant,
) -> Result<Response, Fault> {
    let body = body_with_memory(&shared.router, request, decision.recalled.as_ref());
    let mut ladder = Ladder::new(decision, began, shared.router.config().deadline);
    loop {
        let now = Instant::now();
        match ladder.next(&shared.router, now) {
            Step::End => return Err(ladder.fault(now)),
            Step::Kimicho(limit) => {
                let trace = request.trace.attempt("kimicho", shared.router.kimicho_model());
                let outcome = ask_kimicho(shared, &body, trace.traceparent(), limit).await;
                trace.settle(outcome.as_ref().map(|_| ()));
                note(shared, &mut ladder, "kimicho", now, outcome.as_ref().map(|_| ()))?;
                if let Ok(answer) = outcome {
                    let model = shared.router.kimicho_model();
                    return Ok(whole(&ladder, request, answer, "kimicho", model, "kimicho"));
                }
            }
            Step::Servant(index, limit) => {
                let servant = &shared.router.config().servants[index];
                let under_way = UnderWay::new(&shared.router, index, &request.trace);
                let trace = under_way.traceparent();
                let outcome = match request.stream {
                    true => shared.upstream.open(index, &body, trace, limit).await,
                    false => shared.upstream.complete(index, &body, trace, limit).await.map(Opened::Whole),
                };
                let noted = note(shared, &mut ladder, &servant.name, now, outcome.as_ref().map(|_| ()));
                match outcome {
                    Err(why) => under_way.settle(Err(&why)),
                    Ok(Opened::Whole(answer)) => {
                        under_way.settle(Ok(()));
                        let (name, model) = (&servant.name, &servant.model);
                        return Ok(whole(&ladder, request, answer, name, model, "servant"));
                    }
                    Ok(Opened::Events { mut first, lines, body }) => {
                        request.trace.set("crown.servant", &servant.name);
                        let crown = ladder.envelope(&servant.name, &servant.model, "servant", Instant::now());
                        first.lines = with_envelope(first.lines, &crown);
                        let flow = Flow {
                            name: servant.name.clone(),
                            first: Some(first),
                            lines,
                            body,
                            under_way: Some(under_way),
                            request: request.clone(),
                            idle: servant.timeout,
                        };
                        return Ok(events(Body::from_stream(flow.events()), &servant.name));
                    }
                }
                noted?;
            }
        }
    }
}

fn note(
    shared: &Shared,
    ladder: &mut Ladder,
    who: &str,
    began: Instant,
    outcome: Result<(), &Error>,
) -> Result<(), Fault> {
    let now = Instant::now();
    let name = outcome.map_or_else(|why| why.kind.name(), |()| "answered");
    shared.metrics.attempt(who, name, (now - began).as_secs_f64());
    ladder.note(who, began, now, outcome)
}

/// Asks Kimi K2 with its blocking client, beside the event loop.
async fn ask_kimicho(
    shared: &Shared,
    body: &Asked,
    trace: Option<&str>,
    limit: Duration,
) -> Result<Answer, Error> {
    let (router, body, trace) = (shared.router.clone(), body.clone(), trace.map(ToOwned::to_owned));
    // Dropped with this future, when the client has left.
    let wanted = Arc::new(());
    let until = Arc::downgrade(&wanted);
    let asking = move || router.ask_kimicho(&body, trace.as_deref(), limit, &|| until.strong_count() > 0);
    let asked = tokio::task::spawn_blocking(asking).await;
    let answer = asked.unwrap_or_else(|_| Err(Error::new(Kind::Upstream, "the client of Kimi K2 failed")));
    answer.map(Answer::Settled)
}

fn whole(
    ladder: &Ladder,
    request: &Request,
    answer: Answer,
    who: &str,
    model: &str,
    source: &'static str,
) -> Response {
    let crown = ladder.envelope(who, model, source, Instant::now());
    request.trace.set("crown.servant", who);
    if request.stream {
        return events(Body::from(as_events(&answer.with(&crown), request.usage)), who);
    }
    named(text(200, answer.told(&crown)), who)
}

fn events(body: Body, who: &str) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    named(response, who)
}

fn named(mut response: Response, who: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(who) {
        response.headers_mut().insert("x-crown-servant", value);
    }
    response
}
