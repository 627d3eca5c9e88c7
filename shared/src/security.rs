//! Security events: refused requests with wrong signatures, wrong keys, oversized bodies and others.
//!
//! One row of `security_events` stands for all refusals of one kind, from one network, within one minute, and the rows
//! of a kind are bounded per hour: an attack can fill neither the table nor our memory. The first refusal is flushed at
//! once, repeats in batches. Many within ten minutes open one incident.
//!
//! Users: `report-error`, `sentry-webhook`, `sentry-envelope`, `admin`, `slack-actions`, `pagerduty-events`, the local stack.

mod notes;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use self::notes::Notes;
use crate::http::{ApiError, read_body, source_ip};
use crate::model::Severity;
use crate::store::security_events::{self, Refusals};
use crate::store::{Store, StoreError, chain};
use crate::telemetry::REFUSED;

/// What was wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityKind {
    /// Its signature is missing or wrong.
    BadSignature,
    /// Its key, token or secret is missing or wrong.
    WrongKey,
    /// Its key was revoked.
    RevokedKey,
    /// Its body exceeds the limit.
    OversizedBody,
    /// Its body exceeds the limit when it is decompressed.
    DecompressionBomb,
    /// It came from a page of another site, or of one that may not use this application's DSN.
    ForeignOrigin,
    /// It is signed, but older than the stored delivery keys: it may be a replay.
    OldDelivery,
}

impl SecurityKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::BadSignature,
        Self::WrongKey,
        Self::RevokedKey,
        Self::OversizedBody,
        Self::DecompressionBomb,
        Self::ForeignOrigin,
        Self::OldDelivery,
    ];

    /// The spelling in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::WrongKey => "wrong_key",
            Self::RevokedKey => "revoked_key",
            Self::OversizedBody => "oversized_body",
            Self::DecompressionBomb => "decompression_bomb",
            Self::ForeignOrigin => "foreign_origin",
            Self::OldDelivery => "old_delivery",
        }
    }

    /// Whether many of a kind open an incident. Old deliveries do not: what Sentry sends when issues are resolved in
    /// bulk is authentic and may be old.
    #[must_use]
    pub fn opens_incident(self) -> bool {
        self != Self::OldDelivery
    }

    /// The severity. A bomb is deliberate; a revoked key may be in a forgotten program; a large body may be a mistake,
    /// an old delivery from a client that was offline. No kind is critical: a refused request did no harm, and a client
    /// must not be able to page people.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::DecompressionBomb => Severity::High,
            Self::BadSignature | Self::WrongKey => Severity::Medium,
            Self::RevokedKey | Self::OversizedBody | Self::ForeignOrigin | Self::OldDelivery => Severity::Low,
        }
    }
}

/// One request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// What was wrong.
    pub kind: SecurityKind,
    /// Its source address, if known.
    pub source_ip: Option<IpAddr>,
    /// One line for a person: no text of the caller.
    pub description: String,
}

/// Records refused requests. Cheap to clone; clones share their counts.
#[derive(Clone)]
pub struct Watch {
    store: Store,
    notes: Arc<Mutex<Notes>>,
    /// One flush at a time.
    flush_lock: Arc<tokio::sync::Mutex<()>>,
}

impl Watch {
    /// The longest that a refused caller waits for a flush.
    const TIMEOUT: Duration = Duration::from_millis(100);
    /// The longest that the last flush of a process may take.
    const LAST_TIMEOUT: Duration = Duration::from_millis(500);

    /// A watch that flushes to this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, notes: Arc::default(), flush_lock: Arc::default() }
    }

    /// Records a refusal. Never fails its caller.
    pub async fn refused(&self, event: SecurityEvent, now: DateTime<Utc>) {
        let source = event.source_ip.map(|address| address.to_string()).unwrap_or_default();
        tracing::debug!(target: REFUSED, kind = event.kind.as_str(), source = source.as_str(), "{}", event.description);
        let is_due = {
            let mut notes = self.notes();
            notes.note(event, now);
            notes.are_due(now)
        };
        if !is_due {
            return;
        }
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _lock = this.flush_lock.lock().await;
            // Another task may have flushed in the meantime.
            let is_due = this.notes().are_due(now);
            if is_due && this.write().await.is_err() {
                this.notes().refusals.mark_unavailable(now);
            }
        });
        if tokio::time::timeout(Self::TIMEOUT, task).await.is_err() {
            self.notes().refusals.mark_unavailable(now);
        }
    }

    /// Records the refusal of a request, as [`Watch::refused`]; `what` contains no text of the caller.
    pub async fn refused_request(&self, kind: SecurityKind, what: String, parts: &Parts, now: DateTime<Utc>) {
        let source_ip = source_ip(&parts.headers, &parts.extensions);
        self.refused(SecurityEvent { kind, source_ip, description: what }, now).await;
    }

    /// Reads a request's body and verifies its signature with `verify`. A refusal is recorded with a description that
    /// begins with `whose`, such as `Slack's clicks`.
    ///
    /// # Errors
    /// 401 for a wrong signature; as [`read_body`] for a body that can't be read.
    pub async fn authentic<E: std::fmt::Display>(
        &self,
        whose: &str,
        parts: &Parts,
        body: Body,
        verify: impl FnOnce(&[u8]) -> Result<(), E>,
        now: DateTime<Utc>,
    ) -> Result<Bytes, ApiError> {
        let body = match read_body(body).await {
            Ok(body) => body,
            Err(error) => {
                if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                    let what = format!("{whose}: {}", error.message());
                    self.refused_request(SecurityKind::OversizedBody, what, parts, now).await;
                }
                return Err(error);
            }
        };
        if let Err(error) = verify(&body) {
            tracing::warn!(%error, "refused one of {whose}");
            self.refused_request(SecurityKind::BadSignature, format!("{whose}: {error}"), parts, now).await;
            return Err(ApiError::unauthorized(error.to_string()));
        }
        Ok(body)
    }

    /// Flushes all counts: the process is about to end.
    pub async fn flush(&self) {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _lock = this.flush_lock.lock().await;
            while matches!(this.write().await, Ok(true)) {}
        });
        if tokio::time::timeout(Self::LAST_TIMEOUT, task).await.is_err() {
            tracing::warn!("the last security events were not flushed in time");
        }
    }

    /// Writes one batch, if there is any.
    async fn write(&self) -> Result<bool, StoreError> {
        let Some((id, rows)) = ({ self.notes().take() }) else { return Ok(false) };
        let rows: &[Refusals] = &rows;
        let written = self.store.run(|client| async move { security_events::add(&client, id, rows).await }).await;
        if let Err(error) = &written {
            tracing::warn!(error = %chain(error), "security events could not be flushed; will retry");
        }
        self.notes().refusals.settle(written.as_ref().copied());
        written.map(|()| true)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
