//! A service to probe: real HTTP on a free port, answering as the test sets it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use shared::model::ServiceSpec;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How a service answers.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// With this status, at once.
    Status(u16),
    /// With 200, after this time.
    Slow(Duration),
    /// Never.
    Hang,
    /// First with this status so many times, then with 200.
    FailTimes(usize, u16),
    /// With a redirect to this path.
    Redirect(String),
}

/// A service to probe; ends when dropped.
pub struct Target {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    requests: AtomicUsize,
}

impl Target {
    /// Starts it.
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there should be a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { behaviour: Mutex::new(behaviour), requests: AtomicUsize::new(0) });
        let state = Arc::clone(&shared);
        let router = Router::new().fallback(move || answer(Arc::clone(&state)));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the target should serve");
        });
        Self { address, shared, server }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    /// Changes how it answers.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// How many requests it has received.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// A service specification of it.
    #[must_use]
    pub fn spec(&self, name: &str, environment: &str) -> ServiceSpec {
        spec(name, environment, self.url())
    }
}

/// A service specification of any address. Its time-out is long: a test of time-outs sets a shorter one.
#[must_use]
pub fn spec(name: &str, environment: &str, url: String) -> ServiceSpec {
    ServiceSpec {
        application: format!("{name}-app"),
        timeout: Duration::from_secs(20),
        ..ServiceSpec::http(name, environment, &url)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(shared: Arc<Shared>) -> Response {
    let seen = shared.requests.fetch_add(1, Ordering::SeqCst);
    let behaviour = shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let status = |status: u16| StatusCode::from_u16(status).expect("a status").into_response();
    match behaviour {
        Behaviour::Status(code) => status(code),
        Behaviour::Slow(time) => {
            tokio::time::sleep(time).await;
            status(200)
        }
        Behaviour::Hang => std::future::pending().await,
        Behaviour::FailTimes(times, code) => status(if seen < times { code } else { 200 }),
        Behaviour::Redirect(to) => {
            let headers =
                HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_str(&to).expect("a header's value"))]);
            (StatusCode::FOUND, headers).into_response()
        }
    }
}
