//! How requests are sent: connections that are kept, limits on every phase, no redirects.

use std::time::Duration;

use ureq::config::Config;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Proxy, RequestBuilder};

use crate::endpoint::Endpoint;

/// The longest that looking up the name, connecting and sending the head may take each, within the limit on
/// the whole.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that sending the body may take.
const SEND: Duration = Duration::from_secs(15);

/// Limits every phase of a request, and all of it.
pub fn limited<B>(request: RequestBuilder<B>, limit: Duration) -> RequestBuilder<B> {
    // A little less than all of it, so that the phase is what is told.
    let at_most = |phase: Duration| Some(phase.min(limit.mul_f64(0.9)));
    let config = request.config().timeout_global(Some(limit)).timeout_resolve(at_most(CONNECT));
    let config = config.timeout_connect(at_most(CONNECT)).timeout_send_request(at_most(CONNECT));
    config
        .timeout_send_body(at_most(SEND))
        .timeout_recv_response(Some(limit))
        .timeout_recv_body(Some(limit))
        .build()
}

/// How an agent that keeps the connections to one endpoint works.
pub fn config(endpoint: &Endpoint) -> Config {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        // The key is for the place that was configured: a redirect is an answer, not an instruction.
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A proxy for plain HTTP would read the key.
        .proxy(if endpoint.secure { Proxy::try_from_env() } else { None })
        .user_agent(concat!("neoabzu-kimicho/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(64 << 10)
        .build()
}
