//! Fingerprints: the keys by which reports are grouped into incidents. Pure.
//!
//! Version 2: the exception's type; its message with everything replaced that varies between occurrences (numbers, ids,
//! addresses, paths, e-mail addresses, quoted text); and the crash frame, without what varies between builds. A
//! reporter's own grouping (`Report::client_fingerprint`) overrides this, and another system's group overrides both. If
//! the message was formatted from a template, the template is used instead ([`MESSAGE_TEMPLATE`]).
//!
//! The fingerprint contains the version, so that two versions never mix. Redaction's placeholders (`[email]`,
//! `[redacted]`) are words like any other.
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

/// The name in a report's context of the template from which its message was formatted.
pub const MESSAGE_TEMPLATE: &str = "message_template";

/// A grouping key: one open incident per application, environment and fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Bytes of a message that are normalised, and of the result that count: errors differ at the beginning, while
    /// dumps and generated SQL at the end vary each time.
    const MESSAGE: usize = 16_384;
    const NORMALISED: usize = 1_000;

    /// An upstream group's id up to this length is used verbatim.
    const UPSTREAM_CHARS: usize = 64;

    /// The fingerprint of a report: another system's group if it has one (`sentry:4711`), else the reporter's grouping,
    /// else our own.
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

    /// The fingerprint of an error of which only type and message are known.
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

    /// The reporter's own grouping, if it has one.
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
