//! One way to send a request, and one way to read what became of it: no redirects, no proxy, a bounded answer, and no
//! error that repeats an address, since addresses of webhooks are secrets.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use shared::address::Address;
use shared::tls::{self, Trust};

use super::text::line;
use super::{SendError, Sent};

/// The one client of all channels. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
}

/// What a channel answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// When it wants to be asked again at the earliest.
    pub(super) after: Option<Duration>,
    body: Vec<u8>,
}

impl Http {
    /// No answer is read further than this; Slack's and Discord's repeat the message.
    const ANSWER_BYTES: usize = 256 * 1024;
    /// A server that takes longer to be connected to is unavailable.
    const CONNECT: Duration = Duration::from_secs(5);
    /// What has not begun to answer by then is asked again. With [`Self::BODY`] it is no longer than a message may take.
    const HEAD: Duration = Duration::from_secs(8);
    /// The status says what counts: what follows it is waited for only a little.
    const BODY: Duration = Duration::from_secs(2);
    /// A Lambda sleeps between two invocations, and wakes up with connections that have ended long ago.
    const IDLE: Duration = Duration::from_secs(20);

    pub(super) fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(&Trust::PublicRoots)?)
            .user_agent(concat!("watchkeeper/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Self::CONNECT)
            .pool_idle_timeout(Self::IDLE)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .context("set up the HTTP client")?;
        Ok(Self { client })
    }

    /// A request to this address, to be filled.
    pub(super) fn post(&self, address: &Address) -> RequestBuilder {
        self.client.post(address.expose())
    }

    /// Sends a request to `who` at this address; whatever is answered is an answer.
    pub(super) async fn answer(
        &self,
        who: &str,
        address: &Address,
        request: RequestBuilder,
        now: DateTime<Utc>,
    ) -> Result<Answer, SendError> {
        let response = tokio::time::timeout(Self::HEAD, request.send()).await.map_err(|_| late(who))?;
        let response = response.map_err(|error| unsent(who, &error))?;
        let (status, after) = (response.status(), wanted_pause(response.headers(), now));
        let body = body_of(response).await;
        let answer = Answer { status, after, body };
        if status.is_success() {
            return Ok(answer);
        }
        Ok(Answer { body: address.hide(&String::from_utf8_lossy(&answer.body)).into_bytes(), ..answer })
    }

    /// Sends a request; anything but a success is why the message was not taken.
    pub(super) async fn take(
        &self,
        who: &str,
        address: &Address,
        request: RequestBuilder,
        now: DateTime<Utc>,
    ) -> Result<Answer, SendError> {
        let answer = self.answer(who, address, request, now).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.refusal(who)) }
    }
}

impl Answer {
    /// An answer's own words are cut to this.
    const EXCERPT: usize = 200;

    /// The JSON of the body; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether its body begins so, whatever became of the rest.
    pub(super) fn begins_with(&self, beginning: &[u8]) -> bool {
        self.body.starts_with(beginning)
    }

    /// Taken, and called so by the channel.
    pub(super) fn sent(&self, remote: Option<Value>) -> Sent {
        Sent { status: Some(self.status.as_u16()), remote }
    }

    /// What the status says of a message that was not taken, with the answer's own words.
    pub(super) fn refusal(&self, who: &str) -> SendError {
        // Only the beginning: the rest would not be shown.
        let beginning = &self.body[..self.body.len().min(4 * Self::EXCERPT)];
        let words = line(&String::from_utf8_lossy(beginning), Self::EXCERPT);
        let (status, colon) = (self.status.as_u16(), if words.is_empty() { "" } else { ": " });
        self.judged(format!("{who} answered {status}{colon}{words}"))
    }

    /// What the status says of a message that was not taken: whether it may be later, or never will be.
    pub(super) fn judged(&self, what: String) -> SendError {
        let status = Some(self.status.as_u16());
        if self.status.is_server_error() || matches!(self.status.as_u16(), 408 | 425 | 429) {
            SendError::Later { what, status, after: self.after }
        } else {
            SendError::Refused { what, status }
        }
    }
}

/// As much of the body as comes in time. The status was there, so that is what counts: sending again would notify people twice.
async fn body_of(mut response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk[..chunk.len().min(Http::ANSWER_BYTES - body.len())]);
            if body.len() == Http::ANSWER_BYTES {
                break;
            }
        }
    };
    // Cut off or not, what has come is there.
    let _ = tokio::time::timeout(Http::BODY, read).await;
    body
}

fn late(who: &str) -> SendError {
    SendError::Later { what: format!("{who} did not answer in time"), status: None, after: None }
}

/// Why no answer came. In words of our own: the error's may hold the address.
fn unsent(who: &str, error: &reqwest::Error) -> SendError {
    let what = if error.is_builder() {
        return SendError::Refused { what: format!("no request to {who} could be made"), status: None };
    } else if error.is_timeout() {
        format!("{who} did not answer in time")
    } else if error.is_connect() {
        format!("{who} can't be reached{}", cause(error))
    } else {
        format!("the connection to {who} broke{}", cause(error))
    };
    SendError::Later { what, status: None, after: None }
}

/// The kind of the input or output error at the bottom, which is a fixed word.
fn cause(error: &reqwest::Error) -> String {
    let mut source = error.source();
    while let Some(one) = source {
        if let Some(error) = one.downcast_ref::<io::Error>()
            && error.kind() != io::ErrorKind::Other
        {
            return format!(": {}", error.kind());
        }
        source = one.source();
    }
    String::new()
}

/// `Retry-After`, in seconds or as a date.
fn wanted_pause(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        let now: DateTime<Utc> = "2026-10-21T07:27:00Z".parse().unwrap();
        for (text, seconds) in [
            ("30", Some(30.0)),
            ("0.5", Some(0.5)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some(60.0)),
            ("Wed, 21 Oct 2026 07:26:00 GMT", Some(0.0)),
            ("-1", None),
            ("NaN", None),
            ("1e30", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(wanted_pause(&headers, now).map(|pause| pause.as_secs_f64()), seconds, "{text}");
        }
        assert_eq!(wanted_pause(&HeaderMap::new(), now), None);
    }
}
