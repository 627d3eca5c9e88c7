//! What makes two errors the same one. Pure.
//!
//! Version 2: the exception's type; its message with everything replaced that differs from one occurrence to the next
//! (numbers, ids, addresses, paths, e-mail addresses, quoted text); and the crash frame, without what differs from one
//! build to the next. A reporter may say otherwise (`Report::client_fingerprint`), and another system's own group goes
//! before both. Where the message was made of a template, the template speaks for it ([`MESSAGE_TEMPLATE`]).
//!
//! The version stands in the fingerprint, so that one way of grouping never mixes with another. What redaction leaves
//! in a message's place (`[email]`, `[redacted]`) is a word like any other.
//!
//! Users: `intake`, `probe`, `sentry_event`.

mod client;
mod frame;
mod normalise;
mod places;
mod quotes;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::text::hex;
use crate::model::{Report, UpstreamGroup};
use client::Part;

/// Under this name a report's context may hold what its message looked like before values were put into it.
pub const MESSAGE_TEMPLATE: &str = "message_template";

/// A grouping key: one open incident per application, environment and fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a message, this much is looked at, and of what is left of it, this much counts (both in bytes): what tells two
    /// errors apart stands at the beginning, while dumps and generated SQL at the end differ each time.
    const MESSAGE: usize = 16_384;
    const NORMALISED: usize = 1_000;

    /// An upstream group's id up to this length stands in the fingerprint as it is.
    const UPSTREAM_CHARS: usize = 64;

    /// The fingerprint of a report: another system's own group where it has one (`sentry:4711`), else the reporter's
    /// grouping, else the error's.
    #[must_use]
    pub fn of_report(report: &Report) -> Self {
        match &report.upstream_group {
            Some(group) => Self::of_group(group),
            None => Self::of_client(report).unwrap_or_else(|| Self::of_digest(&Self::default_of(report))),
        }
    }

    /// The fingerprint of another system's group: `sentry:4711`.
    #[must_use]
    pub fn of_group(group: &UpstreamGroup) -> Self {
        if group.id.len() <= Self::UPSTREAM_CHARS && group.id.bytes().all(|b| b.is_ascii_graphic()) {
            Self(format!("{}:{}", group.system, group.id))
        } else {
            Self(format!("{}:{}", group.system, hex(&Sha256::digest(&group.id))))
        }
    }

    /// The fingerprint of an error of which no more is known.
    #[must_use]
    pub fn of_error(error_type: Option<&str>, message: &str) -> Self {
        Self::of_digest(&Self::digest(error_type, message, None))
    }

    /// The fingerprint of a service's failing health check.
    #[must_use]
    pub fn of_health_check(service_name: &str) -> Self {
        Self(format!("health:{service_name}"))
    }

    /// The key as stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the reporter wants it grouped; none when it leaves that to us.
    fn of_client(report: &Report) -> Option<Self> {
        let mut hasher = Sha256::new();
        for part in client::parts(report)? {
            match part {
                Part::Default => {
                    hasher.update([1]);
                    hasher.update(Self::default_of(report));
                }
                Part::Text(text) => {
                    hasher.update([2]);
                    hasher.update((text.len() as u64).to_le_bytes());
                    hasher.update(text.as_bytes());
                }
            }
        }
        Some(Self::of_digest(&hasher.finalize()))
    }

    fn default_of(report: &Report) -> [u8; 32] {
        let template = report.context.get(MESSAGE_TEMPLATE).and_then(Value::as_str);
        let template = template.filter(|template| !template.trim().is_empty());
        let message = template.unwrap_or(&report.message);
        Self::digest(report.error_type.as_deref(), message, report.crash_frame.as_deref())
    }

    fn digest(error_type: Option<&str>, message: &str, crash_frame: Option<&str>) -> [u8; 32] {
        let message = &message[..message.floor_char_boundary(Self::MESSAGE)];
        let message = normalise::normalise(message, Self::NORMALISED);
        let message = &message[..message.floor_char_boundary(Self::NORMALISED)];
        let frame = crash_frame.map(frame::normalise).unwrap_or_default();
        let mut hasher = Sha256::new();
        for part in [error_type.unwrap_or_default().trim(), message, &frame] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    fn of_digest(digest: &[u8]) -> Self {
        Self(format!("v2:{}", hex(&digest[..16])))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
