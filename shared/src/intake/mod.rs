//! The error journey after a request has become a [`Report`]: decide (pure), write (one statement), answer. What the
//! database does not take in time goes to a safe place instead, and is stored later under the same key.
//!
//! - `settings`: what operators decide: their rules, how long an incident may be over and still come back.
//! - `writer`: one batch into the database; a report that can't be stored is kept apart from the rest.
//! - `queue`: where requests come at the same time, whatever waits is one batch (group commit).
//!
//! Users: `report-error`, `sentry-webhook`, `replay`; every later function that takes in errors joins here.

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

/// Why a report was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IntakeError {
    /// Its delivery key belongs to another error.
    #[error("the delivery key was used before, for another error")]
    KeyReused,
    /// It could not be stored.
    #[error("the report could not be stored")]
    Store(#[source] Arc<StoreError>),
    /// It could neither be stored nor kept for later.
    #[error("the report could neither be stored nor kept for later")]
    NotDeferred(#[source] Arc<DeferError>),
}

impl IntakeError {
    /// Whether the same report may well be taken later, as it is.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::KeyReused => false,
            Self::Store(error) => error.is_transient(),
            Self::NotDeferred(_) => true,
        }
    }
}

impl IntakeError {
    /// Whether it is the report that is at fault, so that its sender should know.
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
                tracing::error!(error = %chain(error.as_ref()), "a report could neither be stored nor kept for later");
                Self::unavailable()
            }
        }
    }
}

/// What became of a report that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed.
    Stored(Receipt),
    /// It waits in a safe place for a database that is away.
    Deferred(DeliveryKey),
}

impl IntoResponse for Outcome {
    /// 200 with `{incident_id, created, severity, category}`, or 202 with `{deferred, report_id}`: the answer of the
    /// functions that take in errors.
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

/// Takes in reports: holds the settings in force and the ways to the database. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    settings: Settings,
    writer: Writer,
    queue: Option<Queue>,
    deferral: Option<Arc<dyn Defer>>,
    config: IntakeConfig,
}

impl Intake {
    /// At the start of a process the first connection may take this long.
    const START: Duration = Duration::from_secs(1);

    /// An intake that writes to this store and tells this publisher, with the built-in rules until
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

    /// The same intake, with a safe place for reports that the database does not take within its budget.
    #[must_use]
    pub fn with_deferral(mut self, deferral: Arc<dyn Defer>) -> Self {
        self.deferral = Some(deferral);
        self
    }

    /// The same intake for a server with concurrent requests: reports that wait at the same time are written together.
    /// Needs a Tokio runtime, on which its writers run until the last clone is gone.
    #[must_use]
    pub fn with_group_commit(mut self) -> Self {
        self.queue = Some(Queue::start(&self.writer, &self.settings));
        self
    }

    /// How long the database gets where somebody waits for the answer.
    #[must_use]
    pub fn store_budget(&self) -> Duration {
        self.config.store_budget
    }

    /// Where what is no report goes while the database is away: to the same place, after the same time. Without a place
    /// the database gets this long.
    #[must_use]
    pub fn deferral(&self, without_place: Duration) -> Deferral {
        match &self.deferral {
            Some(place) => Deferral::to(Arc::clone(place), self.config.store_budget),
            None => Deferral::without_place(without_place),
        }
    }

    /// The report as it may be kept: redacted, and without what Postgres refuses.
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

    /// What never gets further, for those who keep something else than reports.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.config.redactor
    }

    /// Hangs up politely: the process is about to end.
    pub fn close(&self) {
        self.writer.close();
    }

    /// Connects, and reads the operators' settings: for the start of a process, so that the first report need not wait for
    /// it; and now and then on a server. A database that is away is no error.
    pub async fn refresh_settings(&self) {
        self.settings.refresh(Self::START).await;
    }

    /// Takes in one report. A delivery that was taken before gets the answer of the first time and counts nothing.
    ///
    /// # Errors
    /// When the key was used for another error, or the report could be neither stored nor deferred.
    pub async fn record(&self, report: Report) -> Result<Outcome, IntakeError> {
        let report = self.presentable(report);
        let Some(deferral) = &self.deferral else {
            return self.write(report, None).await.map(Outcome::Stored);
        };
        match self.write(report.clone(), Some(self.config.store_budget)).await {
            Ok(receipt) => Ok(Outcome::Stored(receipt)),
            // Also what went wrong on our side: once accepted, somebody can look at it.
            Err(error) if !error.is_about_the_report() => {
                let key = report.delivery_key.clone();
                tracing::warn!(report.id = %key, error = %chain(&error), "report {key} is kept for later");
                let kept = deferral.defer(&[report.into()]).await;
                kept.map(|()| Outcome::Deferred(key)).map_err(|error| IntakeError::NotDeferred(Arc::new(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes in reports that were deferred, in batches: each is stored, or tells why not. The answers are in the
    /// reports' order. Nothing is deferred again.
    pub async fn record_all(&self, mut reports: Vec<Report>) -> Vec<Result<Receipt, IntakeError>> {
        let settings = self.settings.current().await;
        if let Err(error) = self.writer.name_projects(&mut reports, Store::DEADLINE).await {
            return vec![Err(error.into()); reports.len()];
        }
        let classified: Vec<ClassifiedReport> =
            reports.into_iter().map(|report| classified(report.storable(), &settings.classifier)).collect();
        let mut answers = Vec::with_capacity(classified.len());
        for batch in classified.chunks(MAX_BATCH) {
            let written = self.writer.write(batch, settings.reopen_within, None).await;
            self.writer.publish(&written.events).await;
            answers.extend(written.answers);
        }
        answers
    }

    async fn write(&self, mut report: Report, budget: Option<Duration>) -> Result<Receipt, IntakeError> {
        let settings = self.settings.current().await;
        let named = self.writer.name_projects(std::slice::from_mut(&mut report), budget.unwrap_or(Store::DEADLINE));
        named.await?;
        let classified = classified(report, &settings.classifier);
        if let Some(queue) = &self.queue {
            return queue.write(classified, budget).await;
        }
        let written = self.writer.write(std::slice::from_ref(&classified), settings.reopen_within, budget).await;
        self.writer.publish(&written.events).await;
        written.answers.into_iter().next().unwrap_or_else(|| Err(writer::unanswered()))
    }
}

fn classified(report: Report, classifier: &Classifier) -> ClassifiedReport {
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
