//! The demo's own service: an HTTP server that can be set to fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A service on a free port of the loopback interface; ends when dropped.
pub(super) struct Target {
    address: SocketAddr,
    failing: Arc<AtomicBool>,
    server: JoinHandle<()>,
}

impl Target {
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let failing = Arc::new(AtomicBool::new(false));
        let router = Router::new().route("/health", get(health)).with_state(Arc::clone(&failing));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the demo service ended");
            }
        });
        Ok(Self { address, failing, server })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    pub(super) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn health(State(failing): State<Arc<AtomicBool>>) -> StatusCode {
    if failing.load(Ordering::Relaxed) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}
