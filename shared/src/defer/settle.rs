//! The way back: what was deferred, into the database.
//!
//! What was accepted must not be lost, so there is no refusal any more but that of the database itself: a caller who
//! used one `Idempotency-Key` for two errors would have got 422, but got 202.
//!
//! Order: reports and steps are taken in the order in which they came, so that an error is known before its end. Check-ins
//! and heartbeats need none: of two the later one holds, whichever is stored first.
//!
//! Users: `replay`.

use std::time::Instant;

use chrono::{TimeDelta, Utc};

use super::{Deferred, DeferredStep};
use crate::intake::{BATCH_BYTES, Intake, IntakeError, report_size};
use crate::model::{DeliveryKey, Report};
use crate::store::lifecycle::{self, Arrival, Change, Earlier, Step, Taken};
use crate::store::reports::{MAX_BATCH, Receipt};
use crate::store::{check_ins, heartbeats};

/// What became of a record that was deferred.
#[derive(Debug)]
pub enum Settled {
    /// It is stored, now or before; or what it is about is gone.
    Stored,
    /// A step whose incident is not known (yet). Nothing was kept of it.
    Unknown,
    /// Not now: the database is still unavailable, for this reason; none = there was no time left.
    Later(Option<IntakeError>),
    /// Never: the database refuses it, or what we make of it.
    Refused(IntakeError),
}

impl Settled {
    /// Whether it is to be tried again.
    #[must_use]
    pub fn is_later(&self) -> bool {
        matches!(self, Self::Later(_))
    }
}

/// Stores these records, and says of each in turn what became of it. Begins nothing after this instant; the first that
/// the database is not there for ends it too, so that an outage costs one attempt and not one for each record.
///
/// A queue may deliver a step before the report of its incident: a change that is younger than `wait_for_report` and finds no
/// incident is [`Settled::Unknown`], and keeps nothing. An older one is stored as the step itself says.
pub async fn settle(intake: &Intake, records: &[Deferred], until: Instant, wait_for_report: TimeDelta) -> Vec<Settled> {
    let mut settled: Vec<Settled> = records.iter().map(|_| Settled::Later(None)).collect();
    settle_again(intake, records, &mut settled, until, wait_for_report).await;
    settled
}

/// As [`settle`], for those of the records that had to wait.
pub async fn settle_again(
    intake: &Intake,
    records: &[Deferred],
    settled: &mut [Settled],
    until: Instant,
    wait_for_report: TimeDelta,
) {
    let waiting = (0..records.len()).filter(|place| settled[*place].is_later()).collect();
    for run in runs(records, waiting) {
        if Instant::now() >= until {
            break;
        }
        let answers = match &records[run[0]] {
            Deferred::Report(_) => settle_reports(intake, records, &run).await,
            other => vec![settle_one(intake, other, wait_for_report).await],
        };
        let is_unavailable = answers.iter().any(Settled::is_later);
        for (place, answer) in run.into_iter().zip(answers) {
            settled[place] = answer;
        }
        if is_unavailable {
            break;
        }
    }
}

/// These places of the records in the order in which they are stored: reports that follow each other together, everything
/// else by itself.
fn runs(records: &[Deferred], mut places: Vec<usize>) -> Vec<Vec<usize>> {
    let is_ordered = |record: &Deferred| matches!(record, Deferred::Report(_) | Deferred::Step(_));
    // Stable: what came at one instant stays in the order in which it was kept.
    places.sort_by_key(|place| {
        let record = &records[*place];
        (!is_ordered(record), is_ordered(record).then(|| record.received_at()))
    });
    let bytes_of = |place: usize| match &records[place] {
        Deferred::Report(report) => Some(report_size(report)),
        _ => None,
    };
    let (mut runs, mut bytes): (Vec<Vec<usize>>, _) = (Vec::new(), 0);
    for place in places {
        match (runs.last_mut(), bytes_of(place)) {
            (Some(run), Some(more)) if bytes_of(run[0]).is_some() && run.len() < MAX_BATCH && bytes < BATCH_BYTES => {
                run.push(place);
                bytes += more;
            }
            (_, more) => {
                runs.push(vec![place]);
                bytes = more.unwrap_or_default();
            }
        }
    }
    runs
}

async fn settle_reports(intake: &Intake, records: &[Deferred], places: &[usize]) -> Vec<Settled> {
    let reports: Vec<&Report> = places
        .iter()
        .filter_map(|place| match &records[*place] {
            Deferred::Report(report) => Some(report.as_ref()),
            _ => None,
        })
        .collect();
    let answers = intake.record_all(reports.iter().map(|report| (*report).clone()).collect()).await;
    let mut settled = Vec::with_capacity(reports.len());
    for (report, answer) in reports.into_iter().zip(answers) {
        settled.push(match answer {
            Err(IntakeError::KeyReused) => store_under_another_key(intake, report).await,
            answer => Settled::from(answer.map(drop)),
        });
    }
    settled
}

async fn settle_one(intake: &Intake, record: &Deferred, wait_for_report: TimeDelta) -> Settled {
    let store = intake.store();
    let stored = match record {
        Deferred::Report(report) => return settle_report(intake, report).await,
        Deferred::Step(step) => return settle_step(intake, step, wait_for_report).await,
        Deferred::CheckIn(check_in) => {
            store.run(|client| async move { check_ins::upsert(&client, check_in).await }).await
        }
        Deferred::Beat(beat) => {
            let (hash, beat) = (&beat.token_hash, &beat.beat);
            store.run(|client| async move { heartbeats::beat(&client, hash, beat).await }).await
        }
    };
    if let Ok(false) = stored {
        let kind = record.kind();
        tracing::info!(kind, "a deferred {kind} changed nothing: a later one is known, or its token is unknown");
    }
    Settled::from(stored.map(drop).map_err(IntakeError::from))
}

async fn settle_report(intake: &Intake, report: &Report) -> Settled {
    match intake.record_all(vec![report.clone()]).await.pop() {
        Some(Err(IntakeError::KeyReused)) => store_under_another_key(intake, report).await,
        answer => answer.map_or(Settled::Later(None), |answer| Settled::from(answer.map(drop))),
    }
}

async fn settle_step(intake: &Intake, deferred: &DeferredStep, wait_for_report: TimeDelta) -> Settled {
    let DeferredStep { change, step, after, otherwise } = deferred;
    if let Some(report) = after {
        let settled = settle_report(intake, report).await;
        if !matches!(settled, Settled::Stored) {
            return settled;
        }
    }
    let may_be_early = *change != Change::Note && Utc::now() - step.received_at < wait_for_report;
    let step = &Step { keep_unknown: step.keep_unknown && !may_be_early, ..step.clone() };
    let store = intake.store();
    let taken =
        store.run(|client| async move { lifecycle::take_step(&client, *change, step, Arrival::Late).await }).await;
    match (taken, otherwise) {
        (Err(error), _) => Settled::from(Err(error.into())),
        (Ok(Taken::New(touched)), _) if !touched.is_empty() => {
            let events: Vec<_> = touched.iter().filter_map(|touched| touched.event_id).collect();
            intake.publish(&events).await;
            Settled::Stored
        }
        (Ok(Taken::Before(Earlier { touched: Some(_) })), _) => Settled::Stored,
        (Ok(_), Some(report)) => settle_report(intake, report).await,
        (Ok(Taken::Unknown), None) => Settled::Unknown,
        (Ok(_), None) => Settled::Stored,
    }
}

async fn store_under_another_key(intake: &Intake, report: &Report) -> Settled {
    let mut report = report.clone();
    // Made of the report, so that its next time is the same delivery.
    let name = format!("{} {}", report.delivery_key, report.content_hash());
    report.delivery_key = DeliveryKey::derived("reused", name.as_bytes());
    let answer: Option<Result<Receipt, IntakeError>> = intake.record_all(vec![report]).await.pop();
    answer.map_or(Settled::Later(None), |answer| Settled::from(answer.map(drop)))
}

impl From<Result<(), IntakeError>> for Settled {
    fn from(answer: Result<(), IntakeError>) -> Self {
        match answer {
            Ok(()) => Self::Stored,
            Err(error) if error.is_transient() => Self::Later(Some(error)),
            Err(error) => Self::Refused(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_reports_ends_at_a_bounded_size() {
        let report = |place: usize| {
            let key = DeliveryKey::named("api", place.to_string().as_bytes());
            Deferred::from(Report::new(key, "api", "x".repeat(BATCH_BYTES / 2 + 1), Utc::now()))
        };
        let records: Vec<Deferred> = (0..5).map(report).collect();
        let lengths: Vec<usize> = runs(&records, (0..5).collect()).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 2, 1]);
    }
}
