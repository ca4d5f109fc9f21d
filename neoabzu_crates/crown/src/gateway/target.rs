//! What is sent to a servant.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use neoabzu_kimicho::Body;

use crate::servants::Servant;

const AGENT: &str = concat!("neoabzu-crown/", env!("CARGO_PKG_VERSION"));

/// What is the same in every request to a servant.
pub struct Target {
    chat: Option<Uri>,
    models: Option<Uri>,
    authorization: Option<HeaderValue>,
}

impl Target {
    pub fn of(servant: &Servant) -> Target {
        let bearer = servant.key.as_ref().map(|key| format!("Bearer {}", key.expose()));
        let basic = || servant.endpoint.basic.as_ref().map(|basic| basic.expose().to_owned());
        let mut authorization = bearer.or_else(basic).and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let uri = |url: String| Uri::try_from(url).ok();
        Target {
            chat: uri(servant.endpoint.chat_url()),
            models: uri(servant.endpoint.models_url()),
            authorization,
        }
    }

    /// A request for a chat completion; none if the servant's URL cannot be asked.
    pub fn ask(
        &self,
        body: &Body,
        model: &str,
        stream: bool,
        trace: Option<&str>,
    ) -> Option<Request<Full<Bytes>>> {
        let mut request =
            self.request(Method::POST, self.chat.as_ref()?, body.text(Some(model), stream).into());
        let accept = if stream { "text/event-stream" } else { "application/json" };
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(value) = trace.and_then(|trace| HeaderValue::from_str(trace).ok()) {
            headers.insert("traceparent", value);
        }
        Some(request)
    }

    /// A request for its models; none if the servant's URL cannot be asked.
    pub fn look(&self) -> Option<Request<Full<Bytes>>> {
        Some(self.request(Method::GET, self.models.as_ref()?, Bytes::new()))
    }

    fn request(&self, method: Method, uri: &Uri, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        request
    }
}
