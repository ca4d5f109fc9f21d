//! The threads that serve. Each has an event loop and connections to servants of its own, so that nothing
//! in the way of a request wakes another thread: that costs more than the request itself.

use std::convert::Infallible;
use std::io;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Shared;
use super::metrics::Metrics;
use super::paths::{Paths, SOCKET};

/// A connection, and its place among those there may be.
type Arrival = (TcpStream, OwnedSemaphorePermit);

struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

pub struct Workers(Vec<Worker>);

impl Workers {
    /// Starts as many as there are processors, from 2 to 8.
    ///
    /// # Errors
    /// Why a thread or its event loop cannot be made.
    pub fn start(shared: &Shared) -> io::Result<Workers> {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
        let start = |_| {
            let (arrivals, arriving) = mpsc::unbounded_channel();
            let open = Arc::new(AtomicUsize::new(0));
            let (shared, counted) = (Arc::new(shared.another()), open.clone());
            let runtime = event_loop()?;
            let thread = std::thread::Builder::new().name("crown".to_owned()).spawn(move || {
                runtime.block_on(work(&shared, arriving, &counted));
                runtime.shutdown_timeout(END);
            })?;
            Ok(Worker { arrivals, open, thread })
        };
        (0..threads).map(start).collect::<io::Result<_>>().map(Workers)
    }

    /// Gives a connection to the thread that has the fewest.
    pub fn serve(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed)) else {
            return;
        };
        worker.open.fetch_add(1, Ordering::Relaxed);
        // It takes them until `end`.
        let _ = worker.arrivals.send((stream, place));
    }

    /// Ends them, whatever is under way.
    pub fn end(self) {
        let threads: Vec<JoinHandle<()>> = self.0.into_iter().map(|worker| worker.thread).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// How long blocking calls may hold up the end of a thread.
pub const END: Duration = Duration::from_millis(200);

/// An event loop for the thread that runs it.
pub fn event_loop() -> io::Result<Runtime> {
    Builder::new_current_thread().thread_name("crown").enable_all().build()
}

async fn work(shared: &Arc<Shared>, mut arriving: mpsc::UnboundedReceiver<Arrival>, open: &Arc<AtomicUsize>) {
    let paths = Arc::new(Paths::new(shared));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(shared.settings.header_timeout)
        .max_header_size(shared.settings.max_header);
    while let Some((stream, place)) = arriving.recv().await {
        let place = Arc::new(Place::taken(open.clone(), shared.metrics.clone(), place));
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { continue };
        // A connection that has asked nothing yet need not be waited for.
        let asked = Arc::new(AtomicBool::new(false));
        let (paths, noting, held) = (paths.clone(), asked.clone(), place.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            noting.store(true, Ordering::Relaxed);
            if request.uri().path() == SOCKET {
                request.extensions_mut().insert(held.clone());
            }
            let paths = paths.clone();
            async move { Ok::<_, Infallible>(paths.answer(request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut stop = shared.stop.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let stopped = tokio::select! {
                _ = connection.as_mut() => false,
                _ = stop.wait_for(|asked| *asked > 0) => true,
            };
            if stopped && asked.load(Ordering::Relaxed) {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
            drop(place);
        });
    }
}

/// The place of a connection among those there may be; there is room again once the last who holds it lets go. A
/// websocket holds it beyond the HTTP connection that it was.
pub struct Place {
    open: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    fn taken(open: Arc<AtomicUsize>, metrics: Arc<Metrics>, permit: OwnedSemaphorePermit) -> Place {
        metrics.connections.inc();
        Place { open, metrics, permit: Some(permit) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before it is told: who sees that there is room is not turned away.
        drop(self.permit.take());
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections.dec();
    }
}
