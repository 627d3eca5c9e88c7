//! `http`: a request over a connection of its own, redirects, and what must hold of the answer. No connection is kept:
//! each attempt measures the whole way, and a socket that slept through a Lambda's freeze is no reason to call a service
//! down.

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

/// A failed target's body is waited for so long, to keep its beginning.
const CAPTURE_TIME: Duration = Duration::from_millis(500);

/// A redirect may lead to an address of any length.
const SHOWN_CHARS: usize = 300;

/// One attempt.
pub(super) async fn attempt(context: Context<'_>, progress: &mut Progress) -> Result<(), Problem> {
    let spec = &context.claimed.service.spec;
    let mut sent = Sent::default();
    let mut request = Outgoing::of(spec, &mut sent, &context.tools.secrets)?;
    let asked = place(&request.url);
    let follow = !spec.check.expected_statuses.expect_redirect();
    for _ in 0..=spec.check.max_redirects {
        progress.answered = None;
        progress.trace.hop(shown(&request.url));
        let exchanged = exchange::send(&context, &request, progress).await;
        let exchange = exchanged.map_err(|failure| from_elsewhere(failure, &request.url, &asked))?;
        match redirect::location(exchange.status, &exchange.headers).filter(|_| follow) {
            Some(location) => request = redirect::next(request, exchange.status, location)?,
            None => return judge(context, exchange, &sent, progress).await,
        }
    }
    Err(Failure::new(FailureReason::Redirect, "too many redirects").into())
}

/// Whether the answer is as it should be. Its body is read only where a condition speaks of it.
async fn judge(
    context: Context<'_>,
    mut exchange: Exchange,
    sent: &Sent,
    progress: &mut Progress,
) -> Result<(), Problem> {
    let expected = &context.claimed.service.spec.check.expected_statuses;
    let status = exchange.status;
    // Who writes a condition on the status, and leaves the rest as it is, means the condition.
    let by_condition = context.conditions.speak_of_status() && *expected == Statuses::default();
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

/// Keeps the beginning of a failed target's answer, as far as it comes soon.
async fn capture_with_body(context: &Context<'_>, exchange: &mut Exchange, sent: &Sent, progress: &mut Progress) {
    let until = context.deadline.min(Instant::now() + CAPTURE_TIME);
    let mut beginning = Vec::new();
    let read = body::read_into(&mut exchange.body, 4 * capture::BODY_BYTES, &mut beginning);
    let _cut_off_is_fine = timeout_at(until, read).await;
    let beginning = body::decoded_beginning(&exchange.headers, beginning);
    progress.captured = Some(capture::of(context.tools, sent, &exchange.headers, Some(&beginning)));
}

/// Where the address leads, to tell a target from another.
fn place(url: &Url) -> (Option<String>, Option<u16>) {
    (url.host_str().map(str::to_owned), url.port_or_known_default())
}

/// Names the other host that failed, when the service sent us there.
fn from_elsewhere(failure: Failure, url: &Url, asked: &(Option<String>, Option<u16>)) -> Failure {
    if place(url) == *asked {
        return failure;
    }
    let host = first_chars(url.host_str().unwrap_or_default(), SHOWN_CHARS);
    Failure { text: format!("{} (redirected to {host})", failure.text), ..failure }
}

/// The address without what may be secret in it, user, password and query, and no more of it than can be read.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for addresses that have no host, which a service's never is.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    first_chars(url.as_str(), SHOWN_CHARS).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_address_holds_no_secret() {
        let url = Url::parse("https://u:p@x.example/health?token=1#f").unwrap();
        assert_eq!(shown(&url), "https://x.example/health");
    }
}
