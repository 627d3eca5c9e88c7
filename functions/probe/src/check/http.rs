//! `http`: a request over a new connection, redirects, and the checks of the answer. Connections are not reused: each
//! attempt measures the whole exchange, and a socket that a frozen Lambda left stale must not fail a service.

mod body;
mod exchange;
mod redirect;
mod request;

use std::time::Duration;

use shared::model::{FailureReason, Statuses, text::first_chars};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::attempt::{Context, Problem, Progress};
use super::secrets::Sent;
use super::{Failure, capture};
use crate::conditions::Answer;
use exchange::Exchange;
use request::Outgoing;

/// How long a failed target's body is read, to capture its beginning.
const CAPTURE_TIME: Duration = Duration::from_millis(500);

/// A redirect's address may have any length.
const SHOWN_CHARS: usize = 300;

pub(super) async fn attempt(context: Context<'_>, progress: &mut Progress) -> Result<(), Problem> {
    let spec = &context.claimed.service.spec;
    let mut sent = Sent::default();
    let mut request = Outgoing::of(spec, &mut sent, &context.tools.secrets)?;
    let own = endpoint(&request.url);
    let follow = !spec.check.expected_statuses.expect_redirect();
    for _ in 0..=spec.check.max_redirects {
        progress.answered = None;
        progress.trace.hop(shown(&request.url));
        let exchanged = exchange::send(&context, &request, progress).await;
        let exchange = exchanged.map_err(|failure| name_host(failure, &request.url, &own))?;
        match redirect::location(exchange.status, &exchange.headers).filter(|_| follow) {
            Some(location) => request = redirect::next(request, exchange.status, location)?,
            None => return judge(context, exchange, &sent, progress).await,
        }
    }
    Err(Failure::new(FailureReason::Redirect, "too many redirects").into())
}

/// Checks the answer. Its body is read only if a condition needs it.
async fn judge(
    context: Context<'_>,
    mut exchange: Exchange,
    sent: &Sent,
    progress: &mut Progress,
) -> Result<(), Problem> {
    let expected = &context.claimed.service.spec.check.expected_statuses;
    let status = exchange.status;
    // A condition on the status replaces the default statuses.
    let by_condition = context.conditions.use_status() && *expected == Statuses::default();
    if !by_condition && !expected.contains(status) {
        capture_with_body(&context, &mut exchange, sent, progress).await;
        return Err(Failure::new(FailureReason::Status, format!("status {status} instead of {expected}")).into());
    }
    if context.conditions.is_empty() {
        return Ok(());
    }
    let body = if context.conditions.need_body() {
        match body::read_whole(&mut exchange, progress).await {
            Ok(body) => Some(body),
            Err(failure) => {
                progress.captured = Some(capture::of(context.tools, sent, &exchange.headers, None));
                return Err(failure.into());
            }
        }
    } else {
        None
    };
    let text = body.as_deref().map(String::from_utf8_lossy);
    let answered = progress.answered.unwrap_or_else(Instant::now);
    let answer = Answer {
        status: Some(status),
        headers: Some(&exchange.headers),
        body: text.as_deref(),
        response_time: answered.saturating_duration_since(context.started),
        certificate_left: context.certificate_left(progress),
        connected: true,
        address: exchange.address,
        ..Answer::default()
    };
    let Some(broken) = context.conditions.first_broken(&answer) else { return Ok(()) };
    match &body {
        Some(body) => {
            progress.captured = Some(capture::of(context.tools, sent, &exchange.headers, Some(body)));
        }
        None => capture_with_body(&context, &mut exchange, sent, progress).await,
    }
    Err(context.broken(broken, |seen| sent.hide(seen)).into())
}

/// Captures the beginning of a failed target's answer, within `CAPTURE_TIME`.
async fn capture_with_body(context: &Context<'_>, exchange: &mut Exchange, sent: &Sent, progress: &mut Progress) {
    let until = context.deadline.min(Instant::now() + CAPTURE_TIME);
    let mut beginning = Vec::new();
    let read = body::read_into(&mut exchange.body, 4 * capture::BODY_BYTES, &mut beginning);
    let _cut_off_is_fine = timeout_at(until, read).await;
    let beginning = body::decoded_beginning(&exchange.headers, beginning);
    progress.captured = Some(capture::of(context.tools, sent, &exchange.headers, Some(&beginning)));
}

/// Host and port, to compare targets.
fn endpoint(url: &Url) -> (Option<String>, Option<u16>) {
    (url.host_str().map(str::to_owned), url.port_or_known_default())
}

/// Adds the host to the failure, if it was reached by a redirect.
fn name_host(failure: Failure, url: &Url, own: &(Option<String>, Option<u16>)) -> Failure {
    if endpoint(url) == *own {
        return failure;
    }
    let host = first_chars(url.host_str().unwrap_or_default(), SHOWN_CHARS);
    Failure { text: format!("{} (redirected to {host})", failure.text), ..failure }
}

/// The address for display: without user, password and query, and cut.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for addresses without a host, which a service's address always has.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    first_chars(url.as_str(), SHOWN_CHARS).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_address_contains_no_secret() {
        let url = Url::parse("https://u:p@x.example/health?token=1#f").unwrap();
        assert_eq!(shown(&url), "https://x.example/health");
    }
}
