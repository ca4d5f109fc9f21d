//! The server: connections, limits, and an end that finishes what is under way.

mod about;
mod answer;
mod chunks;
mod completions;
mod connect;
mod envelope;
mod lines;
mod link;
mod metrics;
mod paths;
mod place;
mod reply;
mod socket;
mod stream;
mod target;
mod upstream;
mod workers;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use neoabzu_kimicho::Secret;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::protocol::capabilities;
use crate::router::Router;
use crate::trace::{Role, Trace, Tracer};
use metrics::Metrics;
use upstream::Upstream;
use workers::{END, Workers, event_loop};

/// JSON beyond this, in bytes, is parsed beside the event loop.
const SMALL: usize = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long a peer may leave what was sent to it unread.
const UNREAD: Duration = Duration::from_secs(60);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Limits and the token.
#[derive(Clone, Debug)]
pub struct Settings {
    pub token: Option<Secret>,
    /// Largest body, in bytes.
    pub max_body: usize,
    /// Largest head of a request, in bytes.
    pub max_header: usize,
    /// For the head of a request to come, or the next one on an idle connection.
    pub header_timeout: Duration,
    /// For the body to come.
    pub body_timeout: Duration,
    pub max_connections: usize,
    /// For what is under way to finish once the gateway is told to stop.
    pub grace: Duration,
    /// Between two looks at servants that were not heard.
    pub probe_interval: Duration,
    /// Who makes spans of what is asked.
    pub tracer: Option<Arc<dyn Tracer>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            token: None,
            max_body: 8 << 20,
            max_header: 32 << 10,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            max_connections: 16_384,
            grace: Duration::from_secs(30),
            probe_interval: Duration::from_secs(10),
            tracer: None,
        }
    }
}

/// What every request may need.
pub(crate) struct Shared {
    router: Arc<Router>,
    settings: Settings,
    upstream: Upstream,
    metrics: Arc<Metrics>,
    /// How often it was told to stop.
    stop: watch::Receiver<u8>,
    capabilities: Vec<String>,
    loopback: bool,
    started: u64,
}

impl Shared {
    /// What a thread needs: all the same, but for connections to servants.
    fn another(&self) -> Shared {
        Shared {
            router: self.router.clone(),
            settings: self.settings.clone(),
            upstream: self.upstream.another(),
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
            capabilities: self.capabilities.clone(),
            ..*self
        }
    }

    /// Begins a span of a request with these headers.
    fn trace(&self, name: &'static str, headers: &HeaderMap) -> Trace {
        let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
        Trace::begin(self.settings.tracer.as_deref(), name, Role::Server, given)
    }
}

/// A gateway that listens; [`Gateway::run`] serves until [`Gateway::stop`].
#[derive(Debug)]
pub struct Gateway {
    router: Arc<Router>,
    settings: Settings,
    listener: Mutex<Option<TcpListener>>,
    address: SocketAddr,
    stop: watch::Sender<u8>,
}

impl Gateway {
    /// Listens at once; connections wait until [`Gateway::run`].
    ///
    /// # Errors
    /// Why it cannot listen there.
    pub fn bind(router: Arc<Router>, address: SocketAddr, settings: Settings) -> io::Result<Gateway> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        let (stop, _) = watch::channel(0);
        Ok(Gateway { router, settings, listener: Mutex::new(Some(listener)), address, stop })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it to stop: the first time gracefully, the second time at once.
    pub fn stop(&self) {
        self.stop.send_modify(|asked| *asked = asked.saturating_add(1));
    }

    /// Serves until it is told to stop, on a runtime that lives no longer than this call.
    ///
    /// # Errors
    /// If it has run before, or the runtime cannot be made.
    pub fn run(&self) -> io::Result<()> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listener = listener.ok_or_else(|| io::Error::other("a gateway can run only once"))?;
        let stop = self.stop.subscribe();
        let runtime = event_loop()?;
        let shared = Arc::new(self.shared());
        let workers = Workers::start(&shared)?;
        let served = runtime.block_on(self.serve(listener, shared, &workers, stop));
        workers.end();
        runtime.shutdown_timeout(END);
        served
    }

    async fn serve(
        &self,
        listener: TcpListener,
        shared: Arc<Shared>,
        workers: &Workers,
        mut stop: watch::Receiver<u8>,
    ) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let room = Arc::new(Semaphore::new(self.settings.max_connections));
        let probing = tokio::spawn(probe(shared.clone(), self.settings.probe_interval));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|asked| *asked > 0) => break,
            };
            let Ok((stream, _)) = accepted else {
                // No descriptors left, most likely: those in use have to end first.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let Ok(place) = room.clone().try_acquire_owned() else {
                shared.metrics.turned_away.inc();
                continue;
            };
            prepare(&stream);
            if let Ok(stream) = stream.into_std() {
                workers.serve(stream, place);
            }
        }
        drop(listener);
        probing.abort();
        tokio::select! {
            _ = room.acquire_many(u32::try_from(self.settings.max_connections).unwrap_or(u32::MAX)) => {}
            () = tokio::time::sleep(self.settings.grace) => {}
            _ = stop.wait_for(|asked| *asked > 1) => {}
        }
        Ok(())
    }

    fn shared(&self) -> Shared {
        let config = self.router.config();
        let given = config.crown.capabilities.iter();
        let servants = config.servants.iter();
        let of_servants = servants.flat_map(|s| [&s.name, &s.model].into_iter().chain(&s.capabilities));
        Shared {
            capabilities: capabilities(given.chain(of_servants).map(String::as_str)),
            router: self.router.clone(),
            settings: self.settings.clone(),
            upstream: Upstream::new(self.router.clone()),
            metrics: Arc::new(Metrics::new()),
            stop: self.stop.subscribe(),
            loopback: is_loopback(self.address.ip()),
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Neither small writes nor a peer that reads nothing may hold things up.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(UNREAD));
}

/// Looks at the servants that were not heard for a while, so that one that is back is used again and one
/// that is gone is known before a request finds out. The first look comes at once. None waits for another one: a
/// servant that says nothing at all takes the whole time of a look.
async fn probe(shared: Arc<Shared>, interval: Duration) {
    loop {
        let mut looks = JoinSet::new();
        for (index, servant) in shared.router.config().servants.iter().enumerate() {
            let health = shared.router.health(index);
            let quiet = health.last_heard().is_none_or(|heard| heard.elapsed() >= interval);
            if quiet || !health.healthy() {
                let (shared, limit) = (shared.clone(), PROBE_TIMEOUT.min(servant.timeout));
                looks.spawn(async move {
                    let began = Instant::now();
                    if let Some(alive) = shared.upstream.alive(index, limit).await {
                        shared.router.health(index).probed(alive, began, Instant::now());
                    }
                });
            }
        }
        while looks.join_next().await.is_some() {}
        tokio::time::sleep(interval).await;
    }
}
