//! `neoabzu_crown` for Python.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use neoabzu_crown::gateway::{Gateway as Server, Settings};
use neoabzu_crown::{Config, Fault, Request, Role, Router as Routes, Tracer};
use neoabzu_kimicho::Secret;
use neoabzu_kimicho::serde_json::{Map, Value, json};
use pyo3::exceptions::{PyException, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use crate::environment::Environment;
use crate::face::{detached, exception, to_json, to_python};
use crate::interrupt::interruptible;
use crate::kimicho::{body, duration};
use crate::per_process::PerProcess;
use crate::spans::{Spans, begin, wanted};

/// The package whose attributes the types are: pickles find them there.
const PACKAGE: &str = "neoabzu_crown";
/// How long one look at a servant may take.
const LOOK: Duration = Duration::from_secs(2);

struct Types {
    crown: Py<PyType>,
    configuration: Py<PyType>,
    invalid: Py<PyType>,
    refused: Py<PyType>,
    no_answer: Py<PyType>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

fn types(py: Python<'_>) -> PyResult<&Types> {
    TYPES.get_or_try_init(py, || {
        let doc = "There is no answer. `status` is the HTTP status that says so, `code` names the reason, `trail` tells what was tried.";
        let base = exception(py, PACKAGE, "CrownError", doc, &py.get_type::<PyException>(), &["status", "code", "trail"])?;
        let made = |name: &str, doc: &str, attributes: &[&str]| {
            exception(py, PACKAGE, name, doc, &base, attributes).map(Bound::unbind)
        };
        PyResult::Ok(Types {
            configuration: made("ConfigurationError", "The configuration cannot be used; `faults` holds every reason.", &["faults"])?,
            invalid: made("InvalidRequestError", "The request is not one that can be answered.", &[])?,
            refused: made("RefusedError", "A policy, a rule or a servant refused the request.", &[])?,
            no_answer: made("NoAnswerError", "Everybody who could be asked failed.", &[])?,
            crown: base.unbind(),
        })
    })
}

fn raised(py: Python<'_>, fault: &Fault) -> PyErr {
    let build = || {
        let types = types(py)?;
        let type_ = match fault {
            Fault::Invalid { .. } => &types.invalid,
            Fault::Refused { .. } => &types.refused,
            Fault::Exhausted { .. } => &types.no_answer,
        };
        let value = type_.bind(py).call1((fault.to_string(),))?;
        value.setattr("status", fault.status())?;
        value.setattr("code", fault.code())?;
        value.setattr("trail", to_python(py, &json!(fault.trail()))?)?;
        PyResult::Ok(PyErr::from_value(value))
    };
    build().unwrap_or_else(|failure| failure)
}

fn unusable(py: Python<'_>, faults: Vec<String>) -> PyErr {
    let build = || {
        let value = types(py)?.configuration.bind(py).call1((faults.join("; "),))?;
        value.setattr("faults", faults)?;
        value.setattr("code", "configuration")?;
        PyResult::Ok(PyErr::from_value(value))
    };
    build().unwrap_or_else(|failure| failure)
}

fn invalid(py: Python<'_>, message: String) -> PyErr {
    raised(py, &Fault::Invalid { status: 400, code: "invalid_request", message })
}

/// Servants, rules and health.
///
/// `config` is a dict; without it, and for what it does not say, the environment is asked
/// (`SERVANT_MODELS`, `KIMI2_ENDPOINT`, …). Raises ConfigurationError with every fault at once.
#[pyclass(frozen, module = "neoabzu_crown")]
struct Router {
    routes: PerProcess<Routes>,
}

impl Router {
    fn routes(&self, py: Python<'_>) -> Arc<Routes> {
        self.routes.get(py, Routes::anew)
    }
}

#[pymethods]
impl Router {
    #[new]
    #[pyo3(signature = (config=None))]
    fn new(py: Python<'_>, config: Option<&Bound<'_, PyDict>>) -> PyResult<Router> {
        let config = match config {
            None => Value::Object(Map::new()),
            Some(config) => to_json(config, "config").map_err(|fault| unusable(py, vec![fault]))?,
        };
        // The environment is read with the interpreter's lock held: `os.environ` changes it under that lock.
        let environment = Environment::default();
        let config = Config::read(&config, &|name| environment.get(name));
        let mut faults = environment.faults();
        let config = config.map_err(|more| faults.extend(more));
        let (Ok(config), true) = (config, faults.is_empty()) else { return Err(unusable(py, faults)) };
        let recall = detached(py, || crate::crown_memory::open(&config.recall))?;
        let recall = recall.map_err(|fault| unusable(py, vec![fault]))?;
        let routes = Routes::new(config, recall).map_err(|error| unusable(py, vec![error.message]))?;
        Ok(Router { routes: PerProcess::new(routes) })
    }

    /// Decide who answers a text, without asking anybody:
    /// `{model, servant, reason, memory, core, latency_seconds}`. Raises CrownError.
    #[pyo3(signature = (text, context=None))]
    fn route_decision<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Ok(text) = text.cast::<PyString>() else {
            return Err(invalid(py, "text: expected text".to_owned()));
        };
        let text = text.to_str().map_err(|_| {
            invalid(py, "text: not Unicode text, it holds half of a surrogate pair".to_owned())
        })?;
        let context = context.map_or(Ok(Value::Null), |context| to_json(context, "context"));
        let context = context.map_err(|fault| invalid(py, fault))?;
        let trace = begin("crown.route_decision", Role::Internal, None);
        let routes = self.routes(py);
        let decision = detached(py, || routes.route_decision(text, context, trace))?;
        to_python(py, &decision.map_err(|fault| raised(py, &fault))?)
    }

    /// Have a conversation answered: an OpenAI `chat.completion` with a `crown` object that tells who
    /// answered, why, and what was tried. `model` pins a servant or model. Raises CrownError.
    #[pyo3(signature = (messages, tools=None, *, context=None, model=None, traceparent=None, **options))]
    #[expect(clippy::too_many_arguments, reason = "they are the keywords of a Python function")]
    fn complete<'py>(
        &self,
        py: Python<'py>,
        messages: &Bound<'py, PyAny>,
        tools: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
        model: Option<&str>,
        traceparent: Option<&str>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut body = body(messages, tools, options).map_err(|fault| invalid(py, fault))?;
        if let Some(context) = context {
            body.insert(
                "context".to_owned(),
                to_json(context, "context").map_err(|fault| invalid(py, fault))?,
            );
        }
        if let Some(model) = model {
            body.insert("model".to_owned(), model.into());
        }
        let trace = begin("crown.complete", Role::Internal, traceparent);
        let routes = self.routes(py);
        let answer = interruptible(py, move || {
            let body = Value::Object(body).to_string();
            let request = Request::of_body(&body, routes.config().max_text);
            routes.complete(&trace.watch(request)?.traced(trace))
        })?;
        to_python(py, &answer.map_err(|fault| raised(py, &fault))?)
    }

    /// Return how every servant does, as requests and looks have shown.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.routes(py).status())
    }

    /// Look at every servant now, and return how they do.
    fn check<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let routes = self.routes(py);
        interruptible(py, move || {
            for index in 0..routes.config().servants.len() {
                let began = Instant::now();
                let alive = routes.client(index).probe(LOOK).is_ok();
                routes.health(index).probed(alive, began, Instant::now());
            }
        })?;
        self.status(py)
    }
}

/// An HTTP server over a router; it listens as soon as it is made. Raises OSError if it cannot.
#[pyclass(frozen, module = "neoabzu_crown")]
struct Gateway {
    server: Server,
}

#[pymethods]
impl Gateway {
    #[new]
    #[pyo3(signature = (router, host="127.0.0.1", port=0, *, token=None, max_body=8 << 20, header_timeout=30.0,
                        body_timeout=30.0, max_connections=16_384, grace=30.0, probe_interval=10.0))]
    #[expect(clippy::too_many_arguments, reason = "they are the keywords of a Python function")]
    fn new(
        py: Python<'_>,
        router: &Router,
        host: &str,
        port: i64,
        token: Option<String>,
        max_body: i64,
        header_timeout: f64,
        body_timeout: f64,
        max_connections: i64,
        grace: f64,
        probe_interval: f64,
    ) -> PyResult<Gateway> {
        let limit = |name: &str, seconds: f64| {
            duration(seconds).ok_or_else(|| {
                unusable(py, vec![format!("{name}: expected a number of seconds above 0, at most a day")])
            })
        };
        let whole = |name: &str, value: i64, least: u16, most: u32| {
            u32::try_from(value).ok().filter(|value| (u32::from(least)..=most).contains(value)).ok_or_else(
                || unusable(py, vec![format!("{name}: {value}: expected a number from {least} to {most}")]),
            )
        };
        let port = whole("port", port, 0, u32::from(u16::MAX))? as u16;
        let token = token.map(Secret::new);
        if token.as_ref().is_some_and(|token| !token.fits_header()) {
            return Err(unusable(
                py,
                vec!["token: it holds a character that an HTTP header cannot carry, or nothing".to_owned()],
            ));
        }
        let settings = Settings {
            token,
            max_body: whole("max_body", max_body, 1, u32::MAX)? as usize,
            header_timeout: limit("header_timeout", header_timeout)?,
            body_timeout: limit("body_timeout", body_timeout)?,
            max_connections: whole("max_connections", max_connections, 1, u32::MAX)? as usize,
            grace: limit("grace", grace)?,
            probe_interval: limit("probe_interval", probe_interval)?,
            tracer: wanted(py).then(|| Arc::new(Spans) as Arc<dyn Tracer>),
            ..Settings::default()
        };
        let routes = router.routes(py);
        let bound = detached(py, || {
            let address = (host, port).to_socket_addrs()?.next();
            let address: SocketAddr =
                address.ok_or_else(|| std::io::Error::other("the host has no address"))?;
            Server::bind(routes, address, settings)
        })?;
        Ok(Gateway { server: bound? })
    }

    /// The URL it listens at.
    #[getter]
    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    #[getter]
    fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// Serve until `stop` is called from another thread. Can be called once. Raises OSError.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.server.run())?.map_err(|error| PyOSError::new_err(error.to_string()))
    }

    /// Tell it to stop: what is under way is finished first; called again, it stops at once.
    fn stop(&self) {
        self.server.stop();
    }
}

#[pymodule(submodule, name = "neoabzu_crown")]
pub mod module {
    use super::{Bound, PyModule, PyModuleMethods, PyResult, types};

    #[pymodule_export]
    use super::{Gateway, Router};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let types = types(module.py())?;
        module.add("CrownError", &types.crown)?;
        module.add("ConfigurationError", &types.configuration)?;
        module.add("InvalidRequestError", &types.invalid)?;
        module.add("RefusedError", &types.refused)?;
        module.add("NoAnswerError", &types.no_answer)
    }
}
