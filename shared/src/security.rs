//! What was refused and should be seen: wrong signatures, wrong keys, oversized bodies.
//!
//! One row of `security_events` stands for all refusals of one kind, from one network, within one minute, and a kind has so
//! many rows an hour: an attack can fill neither the table nor our memory. The first is written at once, the others with
//! what comes later. Many within ten minutes open one incident.
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
    /// It came from a page that may not send it: of another site, or one that may not use this application's DSN.
    ForeignOrigin,
    /// It is signed, but older than we remember deliveries: it may have been captured and sent again.
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

    /// Whether many of a kind open an incident. What Sentry sends of issues that are resolved in bulk is authentic, and may
    /// well be old.
    #[must_use]
    pub fn opens_incident(self) -> bool {
        self != Self::OldDelivery
    }

    /// How bad it is. A bomb is made on purpose; a key that was revoked stands in some forgotten program; a body may
    /// well be somebody's honest mistake, an old delivery a client that was offline. No kind is critical: what is refused
    /// has done no harm, and whoever can send requests must not be able to wake people with them.
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
    /// Where it came from, where that is known.
    pub source_ip: Option<IpAddr>,
    /// One line for a person: our own words, nothing that the caller sent.
    pub description: String,
}

/// Notes what was refused. Cheap to clone; clones note together.
#[derive(Clone)]
pub struct Watch {
    store: Store,
    notes: Arc<Mutex<Notes>>,
    /// Who writes: one at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Watch {
    /// Who is refused waits for the database no longer than this.
    const PATIENCE: Duration = Duration::from_millis(100);
    /// The last notes of a process that is about to end may take this long.
    const LAST_PATIENCE: Duration = Duration::from_millis(500);

    /// A watch that writes to this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, notes: Arc::default(), turn: Arc::default() }
    }

    /// Notes a refusal. Never fails its caller.
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
            let _turn = this.turn.lock().await;
            // Somebody else may have done it in the meantime.
            let is_due = this.notes().are_due(now);
            if is_due && this.write().await.is_err() {
                this.notes().refusals.mark_away(now);
            }
        });
        if tokio::time::timeout(Self::PATIENCE, task).await.is_err() {
            self.notes().refusals.mark_away(now);
        }
    }

    /// Notes the refusal of a request, as [`Watch::refused`]; `what` is our own words.
    pub async fn refused_request(&self, kind: SecurityKind, what: String, parts: &Parts, now: DateTime<Utc>) {
        let source_ip = source_ip(&parts.headers, &parts.extensions);
        self.refused(SecurityEvent { kind, source_ip, description: what }, now).await;
    }

    /// The body of a request, if its sender has signed it, as `verify` says. What is refused is noted in our own words, which
    /// begin with `whose`: `Slack's clicks`.
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

    /// Writes down what is not written yet: the process is about to end.
    pub async fn flush(&self) {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            while matches!(this.write().await, Ok(true)) {}
        });
        if tokio::time::timeout(Self::LAST_PATIENCE, task).await.is_err() {
            tracing::warn!("the last security events were not written in time");
        }
    }

    /// Writes one batch, if there is any.
    async fn write(&self) -> Result<bool, StoreError> {
        let Some((id, rows)) = ({ self.notes().take() }) else { return Ok(false) };
        let rows: &[Refusals] = &rows;
        let written = self.store.run(|client| async move { security_events::add(&client, id, rows).await }).await;
        if let Err(error) = &written {
            tracing::warn!(error = %chain(error), "security events could not be written; trying again later");
        }
        self.notes().refusals.settle(written.as_ref().copied());
        written.map(|()| true)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
