//! `tls`: a handshake, whether the certificates are valid, and when they expire.

use tokio::time::Instant;

use super::Failure;
use super::attempt::{Context, Problem, Progress};
use super::tcp;
use crate::conditions::Answer;
use crate::net::Phase;

pub(super) async fn attempt(context: Context<'_>, progress: &mut Progress) -> Result<(), Problem> {
    let (host, stream) = tcp::connect(&context, progress).await?;
    let address = stream.peer_addr().ok().map(|peer| peer.ip());
    progress.trace.start(Phase::Tls);
    let handshake = context.tools.tls.handshake(&host, stream, None).await;
    progress.trace.stop();
    progress.certificate_expires_at = handshake.expires_at;
    let _stream = handshake.stream.map_err(|error| Failure::of_io(&error))?;
    progress.answered = Some(Instant::now());
    let answer = Answer {
        connected: true,
        address,
        response_time: context.started.elapsed(),
        certificate_left: context.certificate_left(progress),
        ..Answer::default()
    };
    context.hold(&answer)
}
