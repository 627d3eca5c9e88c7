//! The error journey after a request has become a [`Report`]: decide (pure), write (one statement), answer.
//!
//! Users: `report-error`, `sentry-webhook`; every later function that takes in errors joins here.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::classify::Classifier;
use crate::defer::Defer;
use crate::events::Event;
use crate::fingerprint::Fingerprint;
use crate::http::ApiError;
use crate::model::{DeliveryKey, Report, uuid_at};
use crate::publish::Publisher;
use crate::store::reports::{self, ClassifiedReport, Receipt};
use crate::store::{Store, StoreError, chain, settings};

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Its delivery key belongs to another error.
    #[error("the delivery key was used before, for another error")]
    KeyReused,
    /// It could not be stored.
    #[error("the report could not be stored")]
    Store(#[from] StoreError),
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key was used before, for another error",
            ),
            IntakeError::Store(error) => error.into(),
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

/// Takes in reports: holds the rules in force and the way to the database. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    store: Store,
    publisher: Publisher,
    deferral: Option<Arc<dyn Defer>>,
    rules: Arc<RwLock<Rules>>,
}

#[derive(Default)]
struct Rules {
    classifier: Arc<Classifier>,
    /// None = at once.
    read_again_at: Option<Instant>,
}

impl Intake {
    /// A change of the operators' rules takes effect within this time.
    const RULES_MAX_AGE: Duration = Duration::from_secs(300);
    /// After a failed attempt to read them, the next one waits this long: a report must not pay for each.
    const RULES_RETRY: Duration = Duration::from_secs(15);

    /// An intake that writes to this store and tells this publisher, with the built-in rules until
    /// [`Intake::refresh_rules`] has run.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher) -> Self {
        Self { store, publisher, deferral: None, rules: Arc::default() }
    }

    /// The same intake, with a safe place for reports that the database does not take in time.
    #[must_use]
    pub fn with_deferral(mut self, deferral: Arc<dyn Defer>) -> Self {
        self.deferral = Some(deferral);
        self
    }

    /// Hangs up politely: the process is about to end.
    pub fn close(&self) {
        self.store.close();
    }

    /// Takes in one report. A delivery that was taken before gets the answer of the first time and counts nothing.
    ///
    /// # Errors
    /// When the key was used for another error, or nothing could be stored.
    pub async fn record(&self, report: Report) -> Result<Outcome, IntakeError> {
        self.store_now(report).await.map(Outcome::Stored)
    }

    /// Takes in reports that were deferred: each is stored, or tells why not. They are not deferred again.
    pub async fn record_all(&self, reports: Vec<Report>) -> Vec<Result<Receipt, IntakeError>> {
        let mut answers = Vec::with_capacity(reports.len());
        for report in reports {
            answers.push(self.store_now(report).await);
        }
        answers
    }

    async fn store_now(&self, report: Report) -> Result<Receipt, IntakeError> {
        let classified = &[classified(report.storable(), &*self.classifier().await)];
        if let Some(receipt) = self.write(classified).await? {
            return Ok(receipt);
        }
        if let Some(receipt) = self.answer_again(&classified[0]).await? {
            return Ok(receipt);
        }
        // Its first answer is beyond retention, so this is a delivery as any other.
        let key = &classified[0].report.delivery_key;
        self.store.run(|client| async move { reports::delete_forgotten(&client, key).await }).await?;
        let written = self.write(classified).await?;
        written.ok_or_else(|| StoreError::Internal("a delivery that is neither new nor known".into()).into())
    }

    /// Writes the report, and tells the bus if it opened an incident; none when it was delivered before.
    async fn write(&self, classified: &[ClassifiedReport; 1]) -> Result<Option<Receipt>, StoreError> {
        let written = self.store.run(|client| async move { reports::insert(&client, classified).await }).await?;
        let Some(receipt) = written.into_iter().next() else { return Ok(None) };
        if receipt.created {
            self.publisher.publish(&[classified[0].opened.id]).await;
        }
        let id = &receipt.incident_id;
        tracing::info!(incident.id = %id, created = receipt.created, "report stored as {id}");
        Ok(Some(receipt))
    }

    /// Reads the operators' rules anew. Rules that can't be used are logged by name, and the built-in ones serve.
    pub async fn refresh_rules(&self) {
        let found = self.store.run(|client| async move { settings::find_classification_rules(&client).await }).await;
        let (classifier, wait) = match found.map(|rules| rules.map(|rules| Classifier::with_operator_rules(&rules))) {
            Ok(None) => (Some(Classifier::default()), Self::RULES_MAX_AGE),
            Ok(Some(Ok(classifier))) => (Some(classifier), Self::RULES_MAX_AGE),
            Ok(Some(Err(error))) => {
                tracing::error!(error = %chain(&error), "operators' classification rules refused; the built-in rules are in force");
                (Some(Classifier::default()), Self::RULES_MAX_AGE)
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "operators' classification rules could not be read; the last ones stay in force");
                (None, Self::RULES_RETRY)
            }
        };
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(classifier) = classifier {
            rules.classifier = Arc::new(classifier);
        }
        rules.read_again_at = Instant::now().checked_add(wait);
    }

    async fn classifier(&self) -> Arc<Classifier> {
        if self.rules_are_old() {
            self.refresh_rules().await;
        }
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner).classifier)
    }

    fn rules_are_old(&self) -> bool {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.read_again_at.is_none_or(|at| at <= Instant::now())
    }

    async fn answer_again(&self, again: &ClassifiedReport) -> Result<Option<Receipt>, IntakeError> {
        let key = &again.report.delivery_key;
        let earlier = self.store.run(|client| async move { reports::find_earlier(&client, key).await }).await?;
        let Some(earlier) = earlier else { return Ok(None) };
        let another = || earlier.content_hash.as_ref().is_some_and(|hash| *hash != again.report.content_hash());
        if key.chosen_by_caller() && another() {
            return Err(IntakeError::KeyReused);
        }
        let id = &earlier.receipt.incident_id;
        tracing::info!(incident.id = %id, "delivered again: {id}");
        Ok(Some(earlier.receipt))
    }
}

fn classified(report: Report, classifier: &Classifier) -> ClassifiedReport {
    let classification = classifier.classify(&report);
    let incident_id = report.candidate_incident_id();
    let opened = Event::IncidentOpened {
        incident_id: &incident_id,
        severity: classification.severity,
        category: classification.category,
        application: &report.application,
        environment: &report.environment,
        title: report.title(),
        detected_at: report.received_at,
    }
    .into_outbox(report.received_at);
    ClassifiedReport {
        classification,
        fingerprint: Fingerprint::of_report(&report),
        action_id: uuid_at(report.received_at),
        incident_id,
        opened,
        report,
    }
}
