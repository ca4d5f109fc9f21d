//! `neoabzu_kimicho` for Python.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use neoabzu_crown::Role;
use neoabzu_kimicho::serde_json::{Map, Value, json};
use neoabzu_kimicho::{Body, Client, Error, Kind, Settings};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::environment::Environment;
use crate::face::{exception, to_json, to_python};
use crate::interrupt::interruptible;
use crate::per_process::PerProcess;
use crate::spans::begin;

/// The package whose attributes the types are: pickles find them there.
const PACKAGE: &str = "neoabzu_kimicho";
const LONGEST: f64 = 86_400.0;

/// The client of this process: one breaker and one set of connections for everybody.
static CLIENT: RwLock<Option<PerProcess<Client>>> = RwLock::new(None);

/// An exception type with its name; the base has no kind.
type Type = (Option<Kind>, &'static str, Py<PyType>);

static TYPES: PyOnceLock<Vec<Type>> = PyOnceLock::new();

/// Every kind with its exception.
const KINDS: [(Kind, &str, &str); 8] = [
    (Kind::Configuration, "ConfigurationError", "No endpoint, a bad one, or a model that is not there."),
    (Kind::Authentication, "AuthenticationError", "The key is missing, wrong or not permitted."),
    (Kind::Quota, "QuotaError", "The balance is used up; it was not tried again."),
    (Kind::RateLimit, "RateLimitError", "Too many requests, or no capacity; see `retry_after`."),
    (Kind::Timeout, "RequestTimeoutError", "A time limit passed."),
    (Kind::Refused, "RequestRefusedError", "The request was refused: bad fields, too long, or filtered."),
    (Kind::Upstream, "UpstreamError", "The other side failed, or could not be reached."),
    (Kind::Malformed, "MalformedAnswerError", "An answer came and it is not one."),
];

fn types(py: Python<'_>) -> PyResult<&[Type]> {
    let made = TYPES.get_or_try_init(py, || {
        let attributes = ["status", "code", "retry_after", "attempts"];
        let doc = "Kimi K2 gave no answer. `status` is the HTTP status, `code` what the other side calls the error, `retry_after` seconds, `attempts` the requests made.";
        let base = exception(py, PACKAGE, "KimichoError", doc, &py.get_type::<PyException>(), &attributes)?;
        let mut types = vec![(None, "KimichoError", base.clone().unbind())];
        for (kind, name, doc) in KINDS {
            types.push((Some(kind), name, exception(py, PACKAGE, name, doc, &base, &[])?.unbind()));
        }
        PyResult::Ok(types)
    })?;
    Ok(made)
}

fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let build = || {
        let types = types(py)?;
        let found = types.iter().find(|(kind, ..)| *kind == Some(error.kind));
        let type_ = &found.unwrap_or(&types[0]).2;
        let value = type_.bind(py).call1((error.message.as_str(),))?;
        value.setattr("status", error.status)?;
        value.setattr("code", error.code.as_deref())?;
        value.setattr("retry_after", error.retry_after.map(|wait| wait.as_secs_f64()))?;
        value.setattr("attempts", error.attempts)?;
        PyResult::Ok(PyErr::from_value(value))
    };
    build().unwrap_or_else(|failure| failure)
}

fn refused(py: Python<'_>, message: String) -> PyErr {
    raised(py, &Error::new(Kind::Refused, message))
}

/// A time limit in seconds.
pub fn duration(seconds: f64) -> Option<Duration> {
    (seconds > 0.0 && seconds <= LONGEST).then(|| Duration::from_secs_f64(seconds))
}

fn configured(
    endpoint: Option<&str>,
    key: Option<&str>,
    model: Option<&str>,
    timeout: f64,
) -> Result<PerProcess<Client>, Error> {
    let timeout = duration(timeout).ok_or_else(|| {
        Error::configuration("the timeout is not a number of seconds above 0, at most a day")
    })?;
    let environment = Environment::default();
    let settings = Settings::for_k2(endpoint, key, model, timeout, &|name| environment.get(name));
    match environment.faults().as_slice() {
        [] => settings.and_then(Client::new).map(PerProcess::new),
        faults => Err(Error::configuration(faults.join("; "))),
    }
}

fn client(py: Python<'_>) -> Result<Arc<Client>, Error> {
    if let Some(client) = CLIENT.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
        return Ok(client.get(py, Client::anew));
    }
    let made = configured(None, None, None, 10.0)?;
    let mut client = CLIENT.write().unwrap_or_else(PoisonError::into_inner);
    Ok(client.get_or_insert(made).get(py, Client::anew))
}

fn ask(py: Python<'_>, body: Body, traceparent: Option<&str>) -> PyResult<Value> {
    let client = client(py).map_err(|error| raised(py, &error))?;
    let trace = begin("kimicho.complete", Role::Client, traceparent);
    trace.set("gen_ai.request.model", client.settings().model.as_deref().unwrap_or(""));
    let outcome = interruptible(py, move || {
        let outcome = client.complete(&body, trace.traceparent());
        trace.settle(outcome.as_ref().map(|_| ()));
        outcome
    })?;
    outcome.map_err(|error| raised(py, &error))
}

/// Configure the client of this process, with a new circuit breaker; nothing is sent.
///
/// What is not given comes from `KIMI2_ENDPOINT` (or the older `KIMI_K2_URL`), `KIMI2_API_KEY` and
/// `KIMI2_MODEL`. `endpoint` is a base URL or a full one; `timeout` is for one request, in seconds; a call
/// with all its retries takes at most three times as long. Raises ConfigurationError.
#[pyfunction]
#[pyo3(signature = (endpoint=None, *, api_key=None, model=None, timeout=10.0))]
fn init_kimicho(
    py: Python<'_>,
    endpoint: Option<&str>,
    api_key: Option<&str>,
    model: Option<&str>,
    timeout: f64,
) -> PyResult<()> {
    let made = configured(endpoint, api_key, model, timeout).map_err(|error| raised(py, &error))?;
    let earlier = CLIENT.write().unwrap_or_else(PoisonError::into_inner).replace(made);
    // Closing its connections may take time.
    py.detach(|| drop(earlier));
    Ok(())
}

/// Return what Kimi K2 answers to a prompt. Raises KimichoError.
#[pyfunction]
#[pyo3(signature = (prompt, *, traceparent=None))]
fn fallback_k2(py: Python<'_>, prompt: &Bound<'_, PyAny>, traceparent: Option<&str>) -> PyResult<String> {
    let prompt = match to_json(prompt, "prompt").map_err(|fault| refused(py, fault))? {
        Value::String(text) if !text.trim().is_empty() => text,
        Value::String(_) => return Err(refused(py, "the prompt is empty".to_owned())),
        _ => return Err(refused(py, "the prompt is not text".to_owned())),
    };
    let messages = json!([{"role": "user", "content": prompt}]);
    let answer = ask(py, Body::new(messages.to_string()), traceparent)?;
    let content = answer.pointer("/choices/0/message/content").and_then(Value::as_str).map(str::to_owned);
    content
        .filter(|text| !text.is_empty())
        .ok_or_else(|| raised(py, &Error::malformed("Kimi K2: the answer holds no text")))
}

/// Return the answer to a conversation: an OpenAI `chat.completion` whose `tool_calls` are there however
/// the model wrote them. `options` (temperature, max_tokens, …) are passed on. Raises KimichoError.
#[pyfunction]
#[pyo3(signature = (messages, tools=None, *, traceparent=None, **options))]
fn complete<'py>(
    py: Python<'py>,
    messages: &Bound<'py, PyAny>,
    tools: Option<&Bound<'py, PyAny>>,
    traceparent: Option<&str>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let body = body(messages, tools, options).map_err(|fault| refused(py, fault))?;
    if body.get("messages").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(refused(py, "messages: expected a list that is not empty".to_owned()));
    }
    to_python(py, &ask(py, Body::from(&body), traceparent)?)
}

/// The body of a request.
pub fn body(
    messages: &Bound<'_, PyAny>,
    tools: Option<&Bound<'_, PyAny>>,
    options: Option<&Bound<'_, PyDict>>,
) -> Result<Map<String, Value>, String> {
    let mut body = Map::new();
    body.insert("messages".to_owned(), to_json(messages, "messages")?);
    if let Some(tools) = tools {
        body.insert("tools".to_owned(), to_json(tools, "tools")?);
    }
    if let Some(options) = options
        && let Value::Object(options) = to_json(options, "options")?
    {
        body.extend(options);
    }
    Ok(body)
}

#[pymodule(submodule, name = "neoabzu_kimicho")]
pub mod module {
    use super::{Bound, PyModule, PyModuleMethods, PyResult, types};

    #[pymodule_export]
    use super::{complete, fallback_k2, init_kimicho};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        for (_, name, type_) in types(module.py())? {
            module.add(*name, type_)?;
        }
        Ok(())
    }
}
