//! How servants are reached: TLS, and the proxy of the environment where there is one.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;
use ureq::{Proxy, ProxyProtocol};

use super::link::Link;

/// For the connection to be there, TLS not included.
const CONNECT: Duration = Duration::from_secs(5);
/// The numbers of the errors for too many open files, of the process and of the machine.
const NO_DESCRIPTORS: [i32; 2] = [24, 23];

type Boxed = Box<dyn Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, Boxed>> + Send>>;

/// Makes connections to servants.
#[derive(Clone)]
pub struct Connector(HttpsConnector<Way>);

impl Connector {
    pub fn new() -> Connector {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        http.enforce_http(false);
        let way = Way { http, proxy: Proxy::try_from_env() };
        let builder = HttpsConnectorBuilder::new().with_platform_verifier().https_or_http().enable_http1();
        Connector(builder.wrap_connector(way))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Link<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>>;
    type Error = Boxed;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, servant: Uri) -> Self::Future {
        let connecting = self.0.call(servant);
        Box::pin(async move { Ok(TokioIo::new(Link::new(TokioIo::new(connecting.await?)))) })
    }
}

/// Straight to a servant, or through a proxy: the same one, for the same servants, as the blocking client takes.
#[derive(Clone)]
struct Way {
    http: HttpConnector,
    proxy: Option<Proxy>,
}

impl Way {
    /// The proxy for a servant. One for plain HTTP would read the key.
    fn proxy(&self, servant: &Uri) -> Option<&Proxy> {
        self.proxy
            .as_ref()
            .filter(|proxy| servant.scheme() == Some(&Scheme::HTTPS) && !proxy.is_no_proxy(servant))
    }
}

impl Service<Uri> for Way {
    type Response = TokioIo<TcpStream>;
    type Error = Boxed;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, servant: Uri) -> Self::Future {
        let Some(proxy) = self.proxy(&servant) else {
            let connecting = self.http.call(servant);
            return Box::pin(async move { connecting.await.map_err(Into::into) });
        };
        if proxy.protocol() != ProxyProtocol::Http {
            return Box::pin(async { Err("only proxies with an http:// URL can be used".into()) });
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.http.clone());
        if let (Some(user), Some(password)) = (proxy.username(), proxy.password()) {
            let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            if let Ok(value) = HeaderValue::try_from(basic) {
                tunnel = tunnel.with_auth(value);
            }
        }
        let connecting = tunnel.call(servant);
        Box::pin(async move { connecting.await.map_err(Into::into) })
    }
}

/// Whether there was no connection because this machine has no descriptors left, which is no fault of a servant's.
pub fn lacks_descriptors(error: &(dyn Error + 'static)) -> bool {
    let number = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    number.is_some_and(|number| NO_DESCRIPTORS.contains(&number))
        || error.source().is_some_and(lacks_descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_encrypted_goes_through_a_proxy() {
        let proxy = Proxy::builder(ProxyProtocol::Http).host("proxy").no_proxy(".inside").build().unwrap();
        let way = Way { http: HttpConnector::new(), proxy: Some(proxy) };
        let through = |url: &'static str| way.proxy(&Uri::from_static(url)).is_some();
        assert!(through("https://servant/v1") && through("https://127.0.0.1:8443/v1"));
        assert!(!through("http://servant/v1") && !through("https://servant.inside/v1"));
    }
}
