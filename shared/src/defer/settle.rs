//! The way back: reports that were deferred, into the database.
//!
//! What was accepted must not be lost, so there is no refusal any more but that of the database itself: a caller who
//! used one `Idempotency-Key` for two errors would have got 422, but was told 202.
//!
//! Users: `replay`, the local stack's journal.

use std::time::Instant;

use crate::intake::{Intake, IntakeError};
use crate::model::{DeliveryKey, Report};
use crate::store::reports::{MAX_BATCH, Receipt};

/// What became of a report that was deferred.
#[derive(Debug)]
pub enum Settled {
    /// It is stored, now or before.
    Stored,
    /// Not now: the database is still away, for this reason; none = there was no time left.
    Later(Option<IntakeError>),
    /// Never: the database refuses it, or what we make of it.
    Refused(IntakeError),
}

/// Stores these reports, and says of each in turn what became of it. Begins nothing after this instant; the first that
/// the database is not there for ends it too, so that an outage costs one attempt and not one for each report.
pub async fn settle(intake: &Intake, reports: &[Report], until: Instant) -> Vec<Settled> {
    let mut settled = Vec::with_capacity(reports.len());
    let mut is_away = false;
    for chunk in reports.chunks(MAX_BATCH) {
        if is_away || Instant::now() >= until {
            settled.extend(chunk.iter().map(|_| Settled::Later(None)));
        } else {
            let some = settle_chunk(intake, chunk).await;
            is_away = some.iter().any(|it| matches!(it, Settled::Later(_)));
            settled.extend(some);
        }
    }
    settled
}

async fn settle_chunk(intake: &Intake, reports: &[Report]) -> Vec<Settled> {
    let answers = intake.record_all(reports.to_vec()).await;
    let mut settled = Vec::with_capacity(reports.len());
    for (report, answer) in reports.iter().zip(answers) {
        settled.push(match answer {
            Err(IntakeError::KeyReused) => store_under_another_key(intake, report).await,
            answer => Settled::from(answer),
        });
    }
    settled
}

async fn store_under_another_key(intake: &Intake, report: &Report) -> Settled {
    let mut report = report.clone();
    // Made of the report, so that its next time is the same delivery.
    let told = format!("{} {}", report.delivery_key, report.content_hash());
    report.delivery_key = DeliveryKey::derived("reused", told.as_bytes());
    intake.record_all(vec![report]).await.pop().map_or(Settled::Later(None), Settled::from)
}

impl From<Result<Receipt, IntakeError>> for Settled {
    fn from(answer: Result<Receipt, IntakeError>) -> Self {
        match answer {
            Ok(_) => Self::Stored,
            Err(error) if error.is_transient() => Self::Later(Some(error)),
            Err(error) => Self::Refused(error),
        }
    }
}
