//! Spans of what the router does. Who makes them is not known here: a [`Tracer`] does, or nobody.

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::sync::{Mutex, PoisonError};

use neoabzu_kimicho::{Error, is_traceparent};

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Somebody asked us.
    Server,
    /// We ask somebody.
    Client,
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    Text(Cow<'static, str>),
    Number(i64),
}

/// An attribute with its name.
pub type Named = (&'static str, Attribute);

/// Makes spans.
pub trait Tracer: Send + Sync + Debug {
    /// Starts a span below the one that `traceparent` names, else below whatever is current.
    fn start(&self, name: &'static str, role: Role, traceparent: Option<&str>) -> Option<Box<dyn Span>>;
}

/// A span that was started.
pub trait Span: Send + Sync + Debug {
    /// Starts one below it.
    fn child(&self, name: &'static str, role: Role) -> Option<Box<dyn Span>>;
    /// The span as a W3C `traceparent`, for whoever is asked next.
    fn traceparent(&self) -> Option<&str>;
    /// Ends it; `failure` says what went wrong.
    fn end(self: Box<Self>, attributes: Vec<Named>, failure: Option<String>);
}

/// Where a request stands in its trace: a span of ours, or the `traceparent` it came with, or neither.
/// The span ends when this is dropped, however that comes about.
#[derive(Debug, Default)]
pub struct Trace {
    given: Option<String>,
    span: Option<Box<dyn Span>>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    attributes: Vec<Named>,
    failure: Option<String>,
}

impl Trace {
    /// Without a span. What is no `traceparent` is ignored, as its standard asks.
    pub fn given(traceparent: Option<&str>) -> Trace {
        Trace::of(traceparent.filter(|text| is_traceparent(text)), None)
    }

    fn of(given: Option<&str>, span: Option<Box<dyn Span>>) -> Trace {
        Trace { given: given.map(ToOwned::to_owned), span, told: Mutex::default() }
    }

    /// With a span, if there is a tracer that makes one.
    pub fn begin(
        tracer: Option<&dyn Tracer>,
        name: &'static str,
        role: Role,
        traceparent: Option<&str>,
    ) -> Trace {
        let given = traceparent.filter(|text| is_traceparent(text));
        Trace::of(given, tracer.and_then(|tracer| tracer.start(name, role, given)))
    }

    /// One step of it.
    #[must_use]
    pub fn child(&self, name: &'static str, role: Role) -> Trace {
        Trace::of(self.traceparent(), self.span.as_ref().and_then(|span| span.child(name, role)))
    }

    /// A request to somebody, who is told by name and model.
    #[must_use]
    pub fn attempt(&self, who: &str, model: &str) -> Trace {
        let attempt = self.child("crown.attempt", Role::Client);
        attempt.set("crown.servant", who);
        attempt.set("gen_ai.request.model", model);
        attempt
    }

    /// What goes to whoever is asked.
    pub fn traceparent(&self) -> Option<&str> {
        self.span.as_ref().and_then(|span| span.traceparent()).or(self.given.as_deref())
    }

    pub fn set(&self, name: &'static str, text: &str) {
        self.note(name, |name| (name, Attribute::Text(text.to_owned().into())));
    }

    pub fn count(&self, name: &'static str, number: impl Into<i64>) {
        self.note(name, |name| (name, Attribute::Number(number.into())));
    }

    fn note(&self, name: &'static str, named: impl FnOnce(&'static str) -> Named) {
        if self.span.is_some() {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).attributes.push(named(name));
        }
    }

    /// Marks it as failed. `why` must hold no secret.
    pub fn fail(&self, why: &str) {
        if self.span.is_some() {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(why.to_owned());
        }
    }

    /// Marks it as failed if `outcome` is a failure.
    pub fn watch<T, E: Display>(&self, outcome: Result<T, E>) -> Result<T, E> {
        outcome.inspect_err(|why| self.fail(&why.to_string()))
    }

    /// Tells how an attempt went.
    pub fn settle(&self, outcome: Result<(), &Error>) {
        self.set("crown.outcome", outcome.map_or_else(|error| error.kind.name(), |()| "answered"));
        if let Err(error) = outcome {
            if let Some(status) = error.status {
                self.count("http.response.status_code", status);
            }
            self.fail(&error.message);
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            let told = std::mem::take(self.told.get_mut().unwrap_or_else(PoisonError::into_inner));
            span.end(told.attributes, told.failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    type Ended = (&'static str, Vec<Named>, Option<String>);

    #[derive(Debug, Default)]
    struct Notes(Mutex<Vec<Ended>>);

    #[derive(Debug)]
    struct Noted(Arc<Notes>, &'static str);

    impl Span for Noted {
        fn child(&self, name: &'static str, _: Role) -> Option<Box<dyn Span>> {
            Some(Box::new(Noted(self.0.clone(), name)))
        }

        fn traceparent(&self) -> Option<&str> {
            Some(self.1)
        }

        fn end(self: Box<Self>, attributes: Vec<Named>, failure: Option<String>) {
            self.0.0.lock().unwrap().push((self.1, attributes, failure));
        }
    }

    #[derive(Debug)]
    struct Noting(Arc<Notes>);

    impl Tracer for Noting {
        fn start(&self, name: &'static str, _: Role, _: Option<&str>) -> Option<Box<dyn Span>> {
            Some(Box::new(Noted(self.0.clone(), name)))
        }
    }

    #[test]
    fn without_a_tracer_the_trace_is_passed_on() {
        let text = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
        let trace = Trace::begin(None, "a", Role::Server, Some(&text));
        assert_eq!(trace.child("b", Role::Client).traceparent(), Some(text.as_str()));
        assert_eq!(Trace::given(Some("00-x\r\nEvil: 1")).traceparent(), None);
    }

    #[test]
    fn spans_end_from_the_inside_out_with_what_was_told() {
        let notes = Arc::new(Notes::default());
        let root = Trace::begin(Some(&Noting(notes.clone())), "root", Role::Server, None);
        {
            let attempt = root.attempt("glm", "GLM-4.1V");
            assert_eq!(attempt.traceparent(), Some("crown.attempt"));
            let error = Error { status: Some(500), ..Error::new(neoabzu_kimicho::Kind::Upstream, "failed") };
            attempt.settle(Err(&error));
        }
        drop(root);
        let ended = std::mem::take(&mut *notes.0.lock().unwrap());
        let text = |text: &'static str| Attribute::Text(text.into());
        assert_eq!(
            ended,
            [
                (
                    "crown.attempt",
                    vec![
                        ("crown.servant", text("glm")),
                        ("gen_ai.request.model", text("GLM-4.1V")),
                        ("crown.outcome", text("upstream")),
                        ("http.response.status_code", Attribute::Number(500)),
                    ],
                    Some("failed".to_owned())
                ),
                ("root", vec![], None),
            ]
        );
    }
}
