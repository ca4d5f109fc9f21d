//! What is sent to a servant.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use serde_json::{Map, Value};

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
        body: &Map<String, Value>,
        model: &str,
        stream: bool,
        trace: Option<&str>,
    ) -> Option<Request<Full<Bytes>>> {
        let mut request = self.request(Method::POST, self.chat.as_ref()?, text(body, model, stream).into());
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

/// A body with the servant's model, and with `stream` as it is asked.
fn text(body: &Map<String, Value>, model: &str, stream: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.push(b'{');
    let kept = |name: &str| !matches!(name, "model" | "stream") && (stream || name != "stream_options");
    for (name, value) in body.iter().filter(|(name, _)| kept(name)) {
        push(&mut text, name, value);
    }
    push(&mut text, "model", &model.into());
    if stream {
        push(&mut text, "stream", &true.into());
    }
    text.pop();
    text.push(b'}');
    text
}

/// Adds an entry of an object and a comma. Writing to memory does not fail.
fn push(text: &mut Vec<u8>, name: &str, value: &Value) {
    let _ = serde_json::to_writer(&mut *text, name);
    text.push(b':');
    let _ = serde_json::to_writer(&mut *text, value);
    text.push(b',');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_servant_is_asked() {
        let body = json!({"messages": [{"role": "user", "content": "\"a\nb"}], "stream_options": {"x": 1}});
        let (body, messages) = (body.as_object().unwrap(), &body["messages"]);
        let sent = |stream: bool| serde_json::from_slice::<Value>(&text(body, "m", stream)).unwrap();
        assert_eq!(sent(false), json!({"messages": messages, "model": "m"}));
        assert_eq!(
            sent(true),
            json!({"messages": messages, "stream_options": {"x": 1}, "model": "m", "stream": true})
        );
    }
}
