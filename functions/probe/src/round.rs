//! One round: claims the due services, checks them concurrently, writes the results in batches.
//!
//! Checks start spread over [`SPREAD`], each service always at the same offset. Results are written in batches: those
//! of the first seconds, then those of slow services. A failure waits for what decides about it: the services that it
//! depends on, and whether it may be our own network (`suspicion`).

mod results;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use shared::model::{Kind, ServiceState, Verdict};
use shared::store::checks::{CheckReceipt, CheckRecord, StoredChecks};
use shared::store::probing::{Claim, ClaimedService, Round};
use shared::store::{StoreError, chain, checks, probing};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use self::results::{Last, RoundResults, is_known_to_be_down};
use crate::check::Outcome;
use crate::decide::Parents;
use crate::record::{self, Ended};
use crate::suspicion::NetworkVerdict;
use crate::{App, Checked, RoundReport, network, suspicion};

/// Checks of one round start within this time; those of few services sooner, each so much after the other.
const SPREAD: Duration = Duration::from_millis(1_500);
const APART: Duration = Duration::from_millis(20);

/// The most concurrent checks: each needs a socket, a Lambda may have 1,024 files open, and an overloaded process would
/// take its own slowness for the services'.
const IN_FLIGHT: usize = 250;

/// The most services of one invocation; the rest is left to another one or the next round.
const SERVICES: usize = 2_500;

/// Results within this time are written as one batch.
const GATHER: Duration = Duration::from_secs(3);

/// The most results of one statement.
const BATCH: usize = 250;

/// How often a result is retried that conflicted with a change of its service.
const TRIES: usize = 6;

/// Observes a round.
pub(crate) struct RoundObserver<'a> {
    /// Called with how many are done, of how many.
    pub(crate) progress: &'a (dyn Fn(usize, usize) + Sync),
    /// Called once, with whether some services are due at the half minute too.
    pub(crate) half_minutes: Box<dyn FnOnce(bool) + Send + 'a>,
}

/// A check that has ended.
struct EndedCheck {
    claimed: ClaimedService,
    claim: Uuid,
    outcome: Outcome,
}

pub(crate) async fn run(app: &App, round: Round, observer: RoundObserver<'_>) -> anyhow::Result<RoundReport> {
    let mut report = RoundReport::default();
    let (head, claimed) = claim_all(app, round).await?;
    (observer.half_minutes)(head.half_minutes && head.stopped_by.is_none());
    report.configured = head.configured;
    if let Some(switch) = head.stopped_by {
        tracing::info!(switch, "probing is switched off by {switch}");
        report.stopped_by = Some(switch);
        return Ok(report);
    }
    let total = claimed.len();
    let mut results = RoundResults::of(&claimed, head.network_outage);
    let mut running = start(app, round, claimed);
    let mut ended: Vec<EndedCheck> = Vec::new();
    let mut write_at = None;
    let mut done = 0;
    loop {
        tokio::select! {
            next = running.join_next() => match next {
                Some(Ok(item)) => {
                    done += 1;
                    (observer.progress)(done, total);
                    results.note(&item);
                    ended.extend(unless_ours(item));
                    write_at.get_or_insert_with(|| Instant::now() + GATHER);
                }
                // Its claim expires, and the next tick retries it.
                Some(Err(error)) => tracing::error!(%error, "a check panicked"),
                None => break,
            },
            () = tokio::time::sleep_until(write_at.unwrap_or_else(Instant::now)), if write_at.is_some() => {
                ended = write(app, round, &results, ended, Last::No, &mut report.checked).await?;
                write_at = None;
            }
        }
    }
    write(app, round, &results, ended, Last::Yes, &mut report.checked).await?;
    let works = head.network_incident && results.suspicion.proves_the_network();
    network::note(app, results.network_verdict(Last::Yes), works).await?;
    report.checked.sort_by(|a, b| (&a.environment, &a.service).cmp(&(&b.environment, &b.service)));
    Ok(report)
}

/// Claiming stops after so many empty claims in a row, though services are due: others have claimed or locked them.
const MAX_EMPTY_CLAIMS: usize = 50;

/// Claims as many as this invocation can check; the first claim, without its services, contains the switches.
async fn claim_all(app: &App, round: Round) -> anyhow::Result<(Claim, Vec<(Uuid, ClaimedService)>)> {
    let mut all = Vec::new();
    let mut head: Option<Claim> = None;
    let mut empty_claims = 0;
    loop {
        let (id, now, region) = (Uuid::new_v4(), Utc::now(), app.region.as_str());
        let mut claim = app
            .store
            .run(|client| async move { probing::claim(&client, id, round, region, now).await })
            .await
            .context("claim the services that are due")?;
        let services = std::mem::take(&mut claim.services);
        empty_claims = if services.is_empty() { empty_claims + 1 } else { 0 };
        let more = claim.more && empty_claims < MAX_EMPTY_CLAIMS;
        all.extend(services.into_iter().map(|service| (id, service)));
        let head = head.get_or_insert(claim);
        if !more || all.len() >= SERVICES {
            return Ok((head.clone(), all));
        }
    }
}

/// Starts the checks: spread over time in a scheduled round, at once otherwise.
fn start(app: &App, round: Round, claimed: Vec<(Uuid, ClaimedService)>) -> JoinSet<EndedCheck> {
    let begun = Instant::now();
    // A heartbeat's check sends nothing.
    let sending = claimed.iter().filter(|(_, claimed)| claimed.service.spec.kind != Kind::Heartbeat).count();
    let spread = APART.saturating_mul(u32::try_from(sending.saturating_sub(1)).unwrap_or(u32::MAX)).min(SPREAD);
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut running = JoinSet::new();
    for (claim, claimed) in claimed {
        let at = match round {
            Round::Due(_) => begun + offset_in(spread, claimed.service.id),
            Round::All(_) => begun,
        };
        let (checker, permits) = (app.checker.clone(), Arc::clone(&permits));
        running.spawn(async move {
            tokio::time::sleep_until(at).await;
            // Never closed.
            let _permit = permits.acquire().await;
            // Boxed: a waiting task need not reserve memory for a whole check.
            let outcome = Box::pin(checker.check(&claimed, Utc::now())).await;
            EndedCheck { claimed, claim, outcome }
        });
    }
    running
}

/// The same for each check of a service, so that its checks are evenly spaced.
fn offset_in(spread: Duration, service: Uuid) -> Duration {
    let (high, low) = service.as_u64_pair();
    let milliseconds = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis((high ^ low) % milliseconds.max(1))
}

/// Drops a check that failed by our own fault: its claim expires, and the next tick retries it.
fn unless_ours(item: EndedCheck) -> Option<EndedCheck> {
    if item.outcome.is_ours() {
        let service = &item.claimed.service.spec.name;
        let error = item.outcome.failure.as_ref().map_or("", |failure| &failure.text);
        tracing::error!(service, error, "{service} was not checked: {error}");
        return None;
    }
    Some(item)
}

/// Writes the results that can be decided; returns the rest.
async fn write(
    app: &App,
    round: Round,
    results: &RoundResults,
    ended: Vec<EndedCheck>,
    last: Last,
    checked: &mut Vec<Checked>,
) -> anyhow::Result<Vec<EndedCheck>> {
    let (mut ready, mut later) = (Vec::new(), Vec::new());
    let network = results.network_verdict(last);
    for item in ended {
        if item.outcome.verdict != Verdict::Failed {
            ready.push((item, Parents::Fine, false));
            continue;
        }
        let failure = item.outcome.failure.as_ref();
        let doubtful = failure.is_some_and(suspicion::is_about_the_network) && !is_known_to_be_down(&item);
        match (results.parents(&item, last), network) {
            (None, _) => later.push(item),
            (Some(_), NetworkVerdict::Wait) if doubtful => later.push(item),
            (Some(parents), NetworkVerdict::Suspect) if doubtful => ready.push((item, parents, true)),
            (Some(parents), _) => ready.push((item, parents, false)),
        }
    }
    // All writers lock rows in the same order: no deadlocks.
    ready.sort_by_key(|(item, ..)| item.claimed.service.id);
    while !ready.is_empty() {
        let rest = ready.split_off(ready.len().min(BATCH));
        checked.extend(store(app, round, std::mem::replace(&mut ready, rest)).await?);
    }
    Ok(later)
}

type Decidable = (EndedCheck, Parents, bool);

/// Stores one batch. A result that conflicted with a change of its service (an operator's, another region's) is decided
/// again.
async fn store(app: &App, round: Round, mut batch: Vec<Decidable>) -> anyhow::Result<Vec<Checked>> {
    let mut checked = Vec::with_capacity(batch.len());
    for _ in 0..TRIES {
        let records: Vec<CheckRecord> = batch.iter().map(|decidable| record_of(app, decidable)).collect();
        let stored = insert(app, round, &records).await?;
        app.publisher.publish(&stored.events).await;
        let receipts: HashMap<&str, &CheckReceipt> =
            stored.receipts.iter().map(|receipt| (receipt.check_id.as_str(), receipt)).collect();
        let mut conflicts = Vec::new();
        for (decidable, record) in batch.into_iter().zip(records) {
            match receipts.get(record.check_id.as_str()) {
                Some(receipt) => checked.push(checked_of(&decidable.0, &record, receipt)),
                None => conflicts.push(decidable),
            }
        }
        batch = reload(app, round, conflicts).await?;
        if batch.is_empty() {
            break;
        }
    }
    Ok(checked)
}

fn record_of(app: &App, (item, parents, suspect): &Decidable) -> CheckRecord {
    record::of(Ended {
        claimed: &item.claimed,
        claim: item.claim,
        outcome: &item.outcome,
        region: &app.region,
        parents: parents.clone(),
        suspect: *suspect,
    })
}

/// One statement; where the database refuses a value, one for each, so that only the one it belongs to is lost.
async fn insert(app: &App, round: Round, records: &[CheckRecord]) -> anyhow::Result<StoredChecks> {
    let region = app.region.as_str();
    let (Round::Due(tick) | Round::All(tick)) = round;
    let write =
        |records| app.store.run(move |client| async move { checks::insert(&client, records, region, tick).await });
    match write(records).await {
        Err(StoreError::Data(error)) if records.len() > 1 => {
            tracing::error!(%error, "a batch of results was refused; storing each result alone");
            let mut all = StoredChecks::default();
            for record in records.chunks(1) {
                match write(record).await {
                    Ok(one) => {
                        all.receipts.extend(one.receipts);
                        all.events.extend(one.events);
                    }
                    Err(error @ StoreError::Data(_)) => {
                        let check = record.first().map(|record| record.check_id.as_str());
                        tracing::error!(check.id = check, error = %chain(&error), "a result was refused");
                    }
                    Err(error) => return Err(error).context("record the checks"),
                }
            }
            Ok(all)
        }
        written => written.context("record the checks"),
    }
}

/// Reloads the standing of those that are still claimed and whose configuration is unchanged.
async fn reload(app: &App, round: Round, conflicts: Vec<Decidable>) -> anyhow::Result<Vec<Decidable>> {
    let mut claims: Vec<Uuid> = conflicts.iter().map(|(item, ..)| item.claim).collect();
    claims.sort_unstable();
    claims.dedup();
    let mut fresh: HashMap<Uuid, ClaimedService> = HashMap::new();
    for claim in claims {
        let (now, region) = (Utc::now(), app.region.as_str());
        let found = app
            .store
            .run(|client| async move { probing::find_claimed(&client, claim, round, region, now).await })
            .await
            .context("read what was claimed")?;
        fresh.extend(found.into_iter().map(|claimed| (claimed.service.id, claimed)));
    }
    let again = conflicts.into_iter().filter_map(|(mut item, parents, suspect)| {
        let claimed = fresh.remove(&item.claimed.service.id)?;
        let same = claimed.service.spec == item.claimed.service.spec;
        // The slot stays that of the check.
        item.claimed = ClaimedService { slot: item.claimed.slot, ..claimed };
        same.then_some((item, parents, suspect))
    });
    Ok(again.collect())
}

fn checked_of(item: &EndedCheck, record: &CheckRecord, receipt: &CheckReceipt) -> Checked {
    let (service, outcome) = (&item.claimed.service, &item.outcome);
    let checked = Checked {
        service: service.spec.name.clone(),
        environment: service.spec.environment.clone(),
        kind: service.spec.kind,
        passed: outcome.verdict != Verdict::Failed,
        verdict: outcome.verdict,
        state: record.standing.as_ref().map_or(service.standing.state, |standing| standing.after.state),
        http_status: outcome.http_status,
        response_time_ms: record.response_time_ms,
        reason: record.error_code,
        error: record.error.clone(),
        incident_id: receipt.incident_id.clone(),
        held_by: record.standing.as_ref().and_then(|standing| standing.held_by.clone()),
    };
    log(&checked, service.standing.state);
    checked
}

fn log(checked: &Checked, before: ServiceState) {
    let Checked { service, environment, state, .. } = checked;
    match (&checked.error, &checked.incident_id) {
        (Some(error), Some(incident)) => {
            tracing::warn!(service, environment, incident.id = %incident, "{service} fails: {error} ({incident})");
        }
        (Some(error), None) => tracing::warn!(service, environment, "{service} fails: {error}"),
        (None, _) if *state != before => tracing::info!(service, environment, "{service} is {state} (was {before})"),
        (None, _) => tracing::debug!(service, environment, "{service} passed"),
    }
}
