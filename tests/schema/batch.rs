//! Reports as `intake` prepares them, for the tests that store them.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use shared::classify::Classification;
use shared::config::Statements;
use shared::fingerprint::Fingerprint;
use shared::model::{Category, DeliveryKey, Report, Severity};
use shared::store::Store;
use shared::store::incidents::fold_occurrences;
use shared::store::reports::{ClassifiedReport, Receipt, Recorded, record};
use uuid::Uuid;

/// An arbitrary instant.
pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000)
}

/// A report as `intake` prepares it.
pub(crate) fn report(key: &str, message: &str, severity: Severity) -> ClassifiedReport {
    report_at(key, message, severity, noon())
}

pub(crate) fn report_at(key: &str, message: &str, severity: Severity, received_at: DateTime<Utc>) -> ClassifiedReport {
    let key = DeliveryKey::named("test", key.as_bytes());
    let report = Report {
        application: "shop".to_owned(),
        environment: "production".to_owned(),
        ..Report::new(key, "test", message.to_owned(), received_at)
    };
    let incident_id = report.candidate_incident_id();
    ClassifiedReport {
        classification: Classification { severity, category: Category::Unknown },
        fingerprint: Fingerprint::of_error(None, message),
        action_id: Uuid::new_v4(),
        incident_id,
        event_id: Uuid::new_v4(),
        report: Arc::new(report),
    }
}

/// A repetition within this time after resolving reopens the incident.
pub(crate) const REOPEN_WITHIN: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Stores a batch; one row for each delivery.
pub(crate) async fn rows(store: &Store, batch: &[ClassifiedReport]) -> Vec<Recorded> {
    store.run(|client| async move { record(&client, batch, REOPEN_WITHIN, Statements::Prepared).await }).await.unwrap()
}

/// Stores a batch; the receipts of the new deliveries.
pub(crate) async fn write(store: &Store, batch: &[ClassifiedReport]) -> Vec<Receipt> {
    rows(store, batch).await.into_iter().filter(|row| !row.known).filter_map(|row| row.receipt).collect()
}

/// Folds the counts of `incident_occurrences` into the incidents.
pub(crate) async fn fold(store: &Store) {
    store.run(|client| async move { fold_occurrences(&client).await }).await.unwrap();
}
