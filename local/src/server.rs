//! The local stack's HTTP server: hyper's connections, with timeouts and a connection limit, which `axum::serve` lacks. Slow
//! clients are disconnected and can't starve the others: there are fewer places than file descriptors, and when all are taken,
//! the connection that has waited longest is closed.
//!
//! A connection *waits* for its client while it is idle, receives a request or sends an answer: then it may be closed. It is
//! never closed while its request is processed.

mod places;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tower::ServiceExt as _;

use places::{Place, Places};

/// The buffer of a connection, which bounds a header, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// The pause after a failed accept, when no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// Failed accepts are logged at most once in this time.
const SILENCE: Duration = Duration::from_secs(10);

/// The limits of the server's connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// The timeout of a request's header, and of an idle connection.
    pub(crate) header: Duration,
    /// The timeout of a body to arrive, or of an answer to be read.
    pub(crate) transfer: Duration,
}

impl ConnectionLimits {
    /// The upper bound: each connection may use [`BUFFER_BYTES`].
    const MOST_CONNECTIONS: u64 = 1_024;
    /// The lower bound.
    const FEWEST_CONNECTIONS: u64 = 16;

    /// The limits for this process: half of the file descriptors are left to the database, the probe, and files.
    pub(crate) fn of_process() -> Self {
        let connections = (descriptors() / 2).clamp(Self::FEWEST_CONNECTIONS, Self::MOST_CONNECTIONS);
        Self {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            header: Duration::from_secs(5),
            // Longer than a route's 15 s deadline for a body, which is answered with 408.
            transfer: Duration::from_secs(30),
        }
    }
}

/// How many file descriptors this process may have.
fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(ConnectionLimits::FEWEST_CONNECTIONS, |(soft, _)| soft)
}

/// Lets this process have as many file descriptors as its hard limit allows. Returns how many it may have.
pub fn raise_descriptor_limit() -> u64 {
    /// More are not needed, and some child programs close each possible one of them.
    const ENOUGH: u64 = 65_536;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(ENOUGH)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard)
    {
        tracing::warn!(%error, "the limit of open files stays at {soft}");
    }
    descriptors()
}

/// Serves until it is stopped, then completes the running requests.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Places::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut refusals = Refusals::default();
    let mut overdue = tokio::time::interval(limits.transfer.min(Duration::from_secs(1)));
    overdue.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            () = until_true(&mut stopped) => break,
            _ = overdue.tick() => {
                places.close_waiting_for(limits.transfer, Instant::now());
                while connections.try_join_next().is_some() {}
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if refusals.are_of_this_machine(&error) {
                    places.make_room();
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
        };
        let place = tokio::select! {
            () = until_true(&mut stopped) => break,
            place = places.take() => Arc::new(place),
        };
        connections.spawn(converse(stream, peer, router.clone(), limits, place, stopped.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Connections that could not be accepted.
#[derive(Default)]
struct Refusals {
    logged: Option<Instant>,
}

impl Refusals {
    /// Whether this machine fails, not one client. Logs it, with a rate limit.
    fn are_of_this_machine(&mut self, error: &std::io::Error) -> bool {
        let errno = error.raw_os_error().map(Errno::from_raw);
        if matches!(errno, Some(Errno::ECONNABORTED | Errno::ECONNRESET | Errno::EINTR | Errno::EPROTO)) {
            return false;
        }
        let now = Instant::now();
        if self.logged.is_none_or(|logged| now.duration_since(logged) >= SILENCE) {
            self.logged = Some(now);
            match errno {
                Some(Errno::EMFILE | Errno::ENFILE) => tracing::error!(
                    %error,
                    "no connection can be accepted: all {} file descriptors of this process (or all of the system) are in \
                     use; raise the limit before the start (`ulimit -n 4096`, systemd: LimitNOFILE=)",
                    descriptors()
                ),
                _ => tracing::error!(%error, "no connection can be accepted"),
            }
        }
        true
    }
}

/// Serves one connection, until its client closes it, its place is needed, or the server stops.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: ConnectionLimits,
    place: Arc<Place>,
    mut stopped: watch::Receiver<bool>,
) {
    // A failure only costs speed.
    let _ = stream.set_nodelay(true);
    let closed = place.closed();
    let service = service_fn(|request| answer(request, peer, router.clone(), Arc::clone(&place)));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = closed.notified() => return,
        () = until_true(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection.as_mut() => served,
                () = closed.notified() => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    router: Router,
    place: Arc<Place>,
) -> Result<Response, Infallible> {
    if request.body().is_end_stream() {
        place.work()
    } else {
        place.wait(Instant::now())
    }
    let mut request = request.map(|body| Body::new(Sent { body, place: Arc::clone(&place) }));
    // For handlers that need the client's address.
    request.extensions_mut().insert(ConnectInfo(peer));
    let answer = router.oneshot(request).await;
    place.wait(Instant::now());
    answer
}

async fn until_true(stopped: &mut watch::Receiver<bool>) {
    // An error means that the stack was dropped, which is a stop too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// A request's body. When it is complete, the connection no longer waits for its client.
struct Sent {
    body: Incoming,
    place: Arc<Place>,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.place.work();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
