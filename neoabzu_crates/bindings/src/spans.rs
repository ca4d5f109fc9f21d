//! Spans through OpenTelemetry's API for Python, where somebody has loaded it; nothing at all without it.
//!
//! The same rule as `razar.tracing`: nothing is imported unless an SDK is loaded or an `OTEL_*` variable
//! is set. Ids, sampling and export are the business of the SDK, so spans start where it is asked.

use std::sync::{Mutex, OnceLock, PoisonError};

use neoabzu_crown::{Attribute, Named, Role, Span, Trace, Tracer};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};

const API: &str = "opentelemetry.trace";
const PROPAGATION: &str = "opentelemetry.trace.propagation.tracecontext";

/// Begins the span of a call from Python, below the one `traceparent` names or else the current one.
pub fn begin(name: &'static str, role: Role, traceparent: Option<&str>) -> Trace {
    Trace::begin(Some(&Spans), name, role, traceparent)
}

/// Begins the span of a call from Python below the current one. Where nothing is current there is none: a
/// boot, which has a span of its own around such calls, stays one trace.
pub fn below(py: Python<'_>, name: &'static str) -> Trace {
    if api(py).is_some_and(|api| is_within(&api).unwrap_or(false)) {
        begin(name, Role::Internal, None)
    } else {
        Trace::default()
    }
}

fn is_within(api: &Bound<'_, PyModule>) -> PyResult<bool> {
    let py = api.py();
    let current = api.call_method0(intern!(py, "get_current_span"))?;
    let context = current.call_method0(intern!(py, "get_span_context"))?;
    context.getattr(intern!(py, "is_valid"))?.is_truthy()
}

/// Whether anybody could see spans.
pub fn wanted(py: Python<'_>) -> bool {
    api(py).is_some()
}

/// Makes spans with the tracer of the provider that is configured.
#[derive(Debug)]
pub struct Spans;

impl Tracer for Spans {
    fn start(&self, name: &'static str, role: Role, traceparent: Option<&str>) -> Option<Box<dyn Span>> {
        Python::try_attach(|py| {
            let api = api(py)?;
            let above = traceparent.map(|text| remote(py, text)).transpose().ok()?;
            start(&api, name, role, above).ok()
        })?
    }
}

/// A span of the API, with its `traceparent`.
#[derive(Debug)]
struct ApiSpan {
    span: Py<PyAny>,
    traceparent: Option<String>,
}

impl Span for ApiSpan {
    fn child(&self, name: &'static str, role: Role) -> Option<Box<dyn Span>> {
        Python::try_attach(|py| {
            let api = api(py)?;
            let above = api.call_method1(intern!(py, "set_span_in_context"), (self.span.bind(py),)).ok()?;
            start(&api, name, role, Some(above)).ok()
        })?
    }

    fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    fn end(self: Box<Self>, attributes: Vec<Named>, failure: Option<String>) {
        // An interpreter that is ending takes no more spans; what an SDK fails at is its own affair.
        let _ = Python::try_attach(|py| {
            let ended = end(self.span.bind(py), attributes, failure);
            drop(self);
            ended
        });
    }
}

fn start(
    api: &Bound<'_, PyModule>,
    name: &'static str,
    role: Role,
    context: Option<Bound<'_, PyAny>>,
) -> PyResult<Box<dyn Span>> {
    let py = api.py();
    let options = PyDict::new(py);
    let kind = match role {
        Role::Server => intern!(py, "SERVER"),
        Role::Client => intern!(py, "CLIENT"),
        Role::Internal => intern!(py, "INTERNAL"),
    };
    options.set_item(intern!(py, "kind"), api.getattr(intern!(py, "SpanKind"))?.getattr(kind)?)?;
    options.set_item(intern!(py, "context"), context)?;
    options.set_item(intern!(py, "record_exception"), false)?;
    let span = tracer(api)?.call_method(intern!(py, "start_span"), (name,), Some(&options))?;
    let traceparent = traceparent(&span)?;
    Ok(Box::new(ApiSpan { span: span.unbind(), traceparent }))
}

fn end(span: &Bound<'_, PyAny>, attributes: Vec<Named>, failure: Option<String>) -> PyResult<()> {
    let py = span.py();
    for (name, value) in attributes {
        match value {
            Attribute::Text(text) => span.call_method1(intern!(py, "set_attribute"), (name, &*text))?,
            Attribute::Number(number) => span.call_method1(intern!(py, "set_attribute"), (name, number))?,
        };
    }
    if let Some(why) = failure {
        let api = py.import(API)?;
        let code = api.getattr("StatusCode")?.getattr("ERROR")?;
        span.call_method1("set_status", (api.getattr("Status")?.call1((code, why))?,))?;
    }
    span.call_method0(intern!(py, "end"))?;
    Ok(())
}

/// The context of a span of another process.
fn remote<'py>(py: Python<'py>, traceparent: &str) -> PyResult<Bound<'py, PyAny>> {
    let carrier = PyDict::new(py);
    carrier.set_item("traceparent", traceparent)?;
    let nothing = py.import("opentelemetry.context")?.getattr("Context")?.call0()?;
    let propagator = py.import(PROPAGATION)?.getattr("TraceContextTextMapPropagator")?.call0()?;
    propagator.call_method1("extract", (carrier, nothing))
}

fn traceparent(span: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let py = span.py();
    let context = span.call_method0(intern!(py, "get_span_context"))?;
    if !context.getattr(intern!(py, "is_valid"))?.is_truthy()? {
        return Ok(None);
    }
    let trace: u128 = context.getattr(intern!(py, "trace_id"))?.extract()?;
    let span: u64 = context.getattr(intern!(py, "span_id"))?.extract()?;
    let flags: u8 = context.getattr(intern!(py, "trace_flags"))?.extract()?;
    Ok(Some(format!("00-{trace:032x}-{span:016x}-{flags:02x}")))
}

/// The tracer of the provider there is: programs set theirs after having loaded the API.
fn tracer<'py>(api: &Bound<'py, PyModule>) -> PyResult<Bound<'py, PyAny>> {
    static KNOWN: Mutex<Option<(Py<PyAny>, Py<PyAny>)>> = Mutex::new(None);
    let py = api.py();
    let provider = api.call_method0(intern!(py, "get_tracer_provider"))?;
    let known = KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .and_then(|(of, tracer)| of.bind(py).is(&provider).then(|| tracer.clone_ref(py)));
    if let Some(tracer) = known {
        return Ok(tracer.into_bound(py));
    }
    let made = provider.call_method1("get_tracer", ("neoabzu", env!("CARGO_PKG_VERSION")))?;
    let earlier = KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace((provider.unbind(), made.clone().unbind()));
    drop(earlier);
    Ok(made)
}

/// The API, if it is to be used. Most programs do not trace: for them this is a look into a dict.
fn api(py: Python<'_>) -> Option<Bound<'_, PyModule>> {
    static SYS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    static ASKED_FOR: OnceLock<bool> = OnceLock::new();
    let sys = SYS.get_or_try_init(py, || py.import("sys").map(Bound::unbind)).ok()?.bind(py);
    let modules = sys.getattr(intern!(py, "modules")).ok()?.cast_into::<PyDict>().ok()?;
    let loaded = || modules.get_item(intern!(py, API)).ok().flatten();
    if let Some(api) = loaded() {
        return if is_disabled() { None } else { api.cast_into().ok() };
    }
    // Where it cannot be imported it is not looked for again.
    let asked_for = match ASKED_FOR.get() {
        Some(asked_for) => *asked_for,
        None if is_disabled() => false,
        None => {
            let configured = std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("OTEL_"));
            let found = configured && py.import(API).is_ok();
            *ASKED_FOR.get_or_init(|| found)
        }
    };
    if asked_for && !is_disabled() { loaded()?.cast_into().ok() } else { None }
}

fn is_disabled() -> bool {
    let disabled = std::env::var_os("OTEL_SDK_DISABLED");
    disabled.is_some_and(|value| value.to_string_lossy().trim().eq_ignore_ascii_case("true"))
}
