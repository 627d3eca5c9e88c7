//! One request over one connection, up to the head of the answer: resolve, guard, connect, TLS, send.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use shared::model::FailureReason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::Failure;
use super::super::attempt::{Context, Progress};
use super::request::Outgoing;
use crate::net::{Host, Phase};

/// A longer head is refused.
const HEAD_BYTES: usize = 64 * 1024;

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    pub(super) address: Option<IpAddr>,
    _connection: Driver,
}

/// The task that drives the connection; aborted with the exchange.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends the request and records what is measured.
pub(super) async fn send(
    context: &Context<'_>,
    outgoing: &Outgoing,
    progress: &mut Progress,
) -> Result<Exchange, Failure> {
    progress.certificate_expires_at = None;
    let request = outgoing.to_request()?;
    let no_host = || Failure::new(FailureReason::Misconfigured, "the address has no host");
    let host = Host::from(outgoing.url.host().ok_or_else(no_host)?.to_owned());
    let port = outgoing.url.port_or_known_default().ok_or_else(no_host)?;
    let stream = context.tools.connector.connect(&host, port, &mut progress.trace).await?;
    let address = stream.peer_addr().ok().map(|peer| peer.ip());
    let (response, connection) = if outgoing.url.scheme() == "https" {
        progress.trace.start(Phase::Tls);
        let handshake = context.tools.tls.handshake(&host, stream, Some(b"http/1.1")).await;
        progress.certificate_expires_at = handshake.expires_at;
        let stream = handshake.stream.map_err(|error| Failure::of_io(&error))?;
        talk(stream, request, progress).await?
    } else {
        talk(stream, request, progress).await?
    };
    progress.trace.stop();
    progress.answered = Some(Instant::now());
    let (head, body) = response.into_parts();
    let status = head.status.as_u16();
    progress.http_status = Some(status);
    if let Some(hop) = progress.trace.last() {
        hop.status = Some(status);
    }
    Ok(Exchange { status, headers: head.headers, body, address, _connection: connection })
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    progress: &mut Progress,
) -> Result<(Response<Incoming>, Driver), Failure> {
    progress.trace.start(Phase::FirstByte);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failure_of(&error))?;
    // The caller gets its error from the answer or the body.
    let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
    let response = sender.send_request(request).await.map_err(|error| failure_of(&error))?;
    Ok((response, driver))
}

/// Why an exchange failed.
pub(super) fn failure_of(error: &hyper::Error) -> Failure {
    if error.is_incomplete_message() {
        return Failure::new(FailureReason::ConnectionReset, "the connection was closed without an answer");
    }
    if error.is_parse_too_large() {
        return Failure::new(FailureReason::Protocol, "the head of the answer is too long");
    }
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref() {
            return Failure::of_io(error);
        }
        next = cause.source();
    }
    if error.is_canceled() || error.is_closed() {
        return Failure::new(FailureReason::ConnectionReset, "the connection was closed without an answer");
    }
    Failure::new(FailureReason::Protocol, format!("the answer is not HTTP: {error}"))
}
