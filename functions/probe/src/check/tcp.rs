//! `tcp`: whether a connection is accepted.

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Failure;
use super::attempt::{Context, Problem, Progress};
use crate::conditions::Answer;
use crate::net::Host;
use shared::model::FailureReason;

pub(super) async fn attempt(context: Context<'_>, progress: &mut Progress) -> Result<(), Problem> {
    let (_, stream) = connect(&context, progress).await?;
    progress.answered = Some(Instant::now());
    let answer = Answer {
        connected: true,
        address: stream.peer_addr().ok().map(|peer| peer.ip()),
        response_time: context.started.elapsed(),
        ..Answer::default()
    };
    context.hold(&answer)
}

/// Connects to a target of the form `host:port`.
pub(super) async fn connect(context: &Context<'_>, progress: &mut Progress) -> Result<(Host, TcpStream), Failure> {
    let target = &context.claimed.service.spec.target;
    let parsed = target.rsplit_once(':').and_then(|(host, port)| Some((Host::parse(host)?, port.parse().ok()?)));
    let (host, port) =
        parsed.ok_or_else(|| Failure::new(FailureReason::Misconfigured, "the target is not of the form host:port"))?;
    progress.trace.hop(target.clone());
    let stream = context.tools.connector.connect(&host, port, &mut progress.trace).await?;
    Ok((host, stream))
}
