//! Stores [`Report`]s: classify (pure), write (one statement), answer. A report that the database does not store in
//! time is deferred, and replayed later under the same idempotency key.
//!
//! - `settings`: operators' classification rules, and how long after its end an incident is reopened.
//! - `writer`: writes one batch to the database; a report that is refused fails alone.
//! - `queue`: concurrent reports are written as one batch (group commit).

mod config;
mod queue;
mod settings;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use uuid::Uuid;

pub use self::config::IntakeConfig;
use self::queue::Queue;
pub(crate) use self::queue::{BATCH_BYTES, size as report_size};
use self::settings::Settings;
use self::writer::Writer;
use crate::classify::Classifier;
use crate::defer::{Defer, DeferError, Deferral};
use crate::fingerprint::Fingerprint;
use crate::http::ApiError;
use crate::model::{DeliveryKey, Report, uuid_at};
use crate::publish::Publisher;
use crate::redact::Redactor;
pub use crate::store::reports::Receipt;
use crate::store::reports::{ClassifiedReport, MAX_BATCH};
use crate::store::{Store, StoreError, chain};

/// Why a report was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IntakeError {
    /// Its idempotency key belongs to another error.
    #[error("the delivery key was used before, for another error")]
    KeyReused,
    /// It could not be stored.
    #[error("the report could not be stored")]
    Store(#[source] Arc<StoreError>),
    /// It could neither be stored nor deferred.
    #[error("the report could neither be stored nor deferred")]
    NotDeferred(#[source] Arc<DeferError>),
}

impl IntakeError {
    /// Whether a retry of the same report may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::KeyReused => false,
            Self::Store(error) => error.is_transient(),
            Self::NotDeferred(_) => true,
        }
    }

    /// Whether the report itself is at fault, so that its sender should be answered with the error.
    fn is_about_the_report(&self) -> bool {
        match self {
            Self::KeyReused => true,
            Self::Store(error) => matches!(error.as_ref(), StoreError::Data(_)),
            Self::NotDeferred(_) => false,
        }
    }
}

impl From<StoreError> for IntakeError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key was used before, for another error",
            ),
            IntakeError::Store(error) => Self::from(error.as_ref()),
            IntakeError::NotDeferred(error) => {
                tracing::error!(error = %chain(error.as_ref()), "a report could neither be stored nor deferred");
                Self::unavailable()
            }
        }
    }
}

/// The result of an accepted report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed.
    Stored(Receipt),
    /// It is deferred, because the database is unavailable.
    Deferred(DeliveryKey),
}

impl IntoResponse for Outcome {
    /// 200 with `{incident_id, created, severity, category}`, or 202 with `{deferred, report_id}`.
    fn into_response(self) -> Response {
        match self {
            Self::Stored(receipt) => Json(json!({
                "incident_id": receipt.incident_id,
                "created": receipt.created,
                "severity": receipt.severity,
                "category": receipt.category,
            }))
            .into_response(),
            Self::Deferred(key) => {
                (StatusCode::ACCEPTED, Json(json!({ "deferred": true, "report_id": key.as_str() }))).into_response()
            }
        }
    }
}

/// Receives reports. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    settings: Settings,
    writer: Writer,
    queue: Option<Queue>,
    deferral: Option<Arc<dyn Defer>>,
    config: IntakeConfig,
}

impl Intake {
    /// The timeout of the first connection, at the start of a process.
    const START: Duration = Duration::from_secs(1);

    /// An intake that writes to this store and publishes its events, with the built-in rules until
    /// [`Intake::refresh_settings`] has run.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher, config: IntakeConfig) -> Self {
        Self {
            settings: Settings::new(store.clone()),
            writer: Writer::new(store, publisher),
            config,
            queue: None,
            deferral: None,
        }
    }

    /// The same intake, which defers reports that the database does not store within its budget.
    #[must_use]
    pub fn with_deferral(mut self, deferral: Arc<dyn Defer>) -> Self {
        self.deferral = Some(deferral);
        self
    }

    /// The same intake for a server with concurrent requests: waiting reports are written as one batch. Needs a Tokio
    /// runtime, on which its writers run until the last clone is dropped.
    #[must_use]
    pub fn with_group_commit(mut self) -> Self {
        self.queue = Some(Queue::start(&self.writer, &self.settings));
        self
    }

    /// The database's timeout while a client waits for the answer.
    #[must_use]
    pub fn store_budget(&self) -> Duration {
        self.config.store_budget
    }

    /// Defers other records while the database is unavailable: to the same place, after the same timeout. Without a
    /// place the database's timeout is `without_place`.
    #[must_use]
    pub fn deferral(&self, without_place: Duration) -> Deferral {
        match &self.deferral {
            Some(place) => Deferral::to(Arc::clone(place), self.config.store_budget),
            None => Deferral::without_place(without_place),
        }
    }

    /// The report redacted, and without what Postgres refuses.
    #[must_use]
    pub fn presentable(&self, report: Report) -> Report {
        self.config.redactor.report(report).storable()
    }

    pub(crate) fn store(&self) -> &Store {
        self.writer.store()
    }

    pub(crate) async fn publish(&self, events: &[Uuid]) {
        self.writer.publish(events).await;
    }

    /// The redactor, for other records than reports.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.config.redactor
    }

    /// Closes the database connections, before the process ends.
    pub fn close(&self) {
        self.writer.close();
    }

    /// Connects, and reads the operators' settings: at the start of a process, so that the first report need not wait
    /// for it, and periodically on a server. Ignores an unavailable database.
    pub async fn refresh_settings(&self) {
        self.settings.refresh(Self::START).await;
    }

    /// Stores or defers one report. Idempotent: a repeated delivery gets the first answer and counts nothing.
    ///
    /// # Errors
    /// When the key was used for another error, or the report could be neither stored nor deferred.
    pub async fn record(&self, report: Report) -> Result<Outcome, IntakeError> {
        let mut report = self.presentable(report);
        let budget = self.deferral.as_ref().map(|_| self.config.store_budget);
        let named =
            self.writer.name_projects(std::slice::from_mut(&mut report), budget.unwrap_or(Store::DEADLINE)).await;
        let report = Arc::new(report);
        let written = match named {
            Ok(()) => self.write(Arc::clone(&report), budget).await,
            Err(error) => Err(error.into()),
        };
        match (written, &self.deferral) {
            (Ok(receipt), _) => Ok(Outcome::Stored(receipt)),
            // Internal errors too: an operator can examine a report that is deferred.
            (Err(error), Some(deferral)) if !error.is_about_the_report() => {
                let key = report.delivery_key.clone();
                tracing::warn!(report.id = %key, error = %chain(&error), "report {key} is deferred");
                let deferred = deferral.defer(&[Arc::unwrap_or_clone(report).into()]).await;
                deferred.map(|()| Outcome::Deferred(key)).map_err(|error| IntakeError::NotDeferred(Arc::new(error)))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Stores reports that were deferred, in batches. Returns a receipt or an error for each report, in their order.
    /// Nothing is deferred again.
    pub async fn record_all(&self, mut reports: Vec<Report>) -> Vec<Result<Receipt, IntakeError>> {
        let settings = self.settings.current().await;
        if let Err(error) = self.writer.name_projects(&mut reports, Store::DEADLINE).await {
            return vec![Err(error.into()); reports.len()];
        }
        let classified: Vec<ClassifiedReport> =
            reports.into_iter().map(|report| classified(Arc::new(report.storable()), &settings.classifier)).collect();
        let mut answers = Vec::with_capacity(classified.len());
        for batch in classified.chunks(MAX_BATCH) {
            let written = self.writer.write(batch, settings.reopen_within, None).await;
            self.writer.publish(&written.events).await;
            answers.extend(written.answers);
        }
        answers
    }

    async fn write(&self, report: Arc<Report>, budget: Option<Duration>) -> Result<Receipt, IntakeError> {
        let settings = self.settings.current().await;
        let classified = classified(report, &settings.classifier);
        if let Some(queue) = &self.queue {
            return queue.write(classified, budget).await;
        }
        let written = self.writer.write(std::slice::from_ref(&classified), settings.reopen_within, budget).await;
        self.writer.publish(&written.events).await;
        written.answers.into_iter().next().unwrap_or_else(|| Err(writer::unanswered()))
    }
}

fn classified(report: Arc<Report>, classifier: &Classifier) -> ClassifiedReport {
    let classification = classifier.classify(&report);
    let incident_id = report.candidate_incident_id();
    ClassifiedReport {
        classification,
        fingerprint: Fingerprint::of_report(&report),
        action_id: uuid_at(report.received_at),
        event_id: uuid_at(report.received_at),
        incident_id,
        report,
    }
}
