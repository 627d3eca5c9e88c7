//! The state of a service after a check, and which alerts open, continue or end. Pure and deterministic.
//!
//! A *run* is one decided verdict. Invariants for every history:
//!
//! - At most one alert of a kind is active: an outage opens only while none is open, and ends only when one was.
//! - An outage opens with a failed run, after `failure_threshold` failed runs in a row, unless alerts are suppressed. A
//!   shorter blip pages no one; a lasting failure opens at the threshold.
//! - An outage ends when the service is no longer down: after `recovery_threshold` runs in a row that did not fail.
//! - `failing_since` is the first of the failed runs that made it down; single passed runs do not change it while it is
//!   down.
//! - A flapping service (four changes between failed and passed among the last twenty runs) stays down until ten runs
//!   in a row did not fail: it has one long outage, not ten.
//! - The service is degraded after `failure_threshold` degraded runs in a row, at least two, until a healthy run. If it
//!   goes down meanwhile, the degraded alert stays open.
//! - While alerts are suppressed (maintenance, a parent that is or may be down), state and counters change, but no
//!   alert opens. An open alert continues and ends as usual. If the failure outlasts the suppression, the alert opens
//!   with the next run that shows it. Suppressed changes do not count as flapping.
//!
//! `revision` is not changed here: the store increments it.

mod flapping;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

use chrono::{DateTime, Utc};
use shared::model::{AlertPolicy, ServiceState, Standing, Verdict};

/// A single slow run is ignored.
const MIN_DEGRADED_RUNS: u32 = 2;

/// The state of the services that this one depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parents {
    /// All are up, or there are none.
    Fine,
    /// One of them may be down: its check has not ended.
    Pending,
    /// This one is down.
    Down(String),
}

/// The circumstances of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    /// When it was checked.
    pub at: DateTime<Utc>,
    /// Whether a maintenance window is active.
    pub maintenance: bool,
    /// The state of the services that it depends on.
    pub parents: Parents,
}

impl Around {
    /// Why new alerts are suppressed; none = they are not.
    fn suppressed_by(&self) -> Option<String> {
        match &self.parents {
            _ if self.maintenance => Some("maintenance".to_owned()),
            Parents::Fine => None,
            Parents::Pending => Some("parents".to_owned()),
            Parents::Down(name) => Some(format!("parent {name}")),
        }
    }
}

/// What happens to the outage: the down alert and the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// There is none, or it is suppressed.
    None,
    /// It opens now.
    Opens,
    /// It stays open; this run itself may have passed.
    Lasts,
    /// It ends now.
    Ends,
}

/// What happens to the degraded alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DegradedAlert {
    /// There is none.
    None,
    /// It opens now.
    Begins,
    /// It stays open.
    Lasts,
    /// It ends now.
    Ends,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The new standing.
    pub after: Standing,
    /// What happens to the outage.
    pub outage: Outage,
    /// What happens to the degraded alert.
    pub degraded_alert: DegradedAlert,
    /// Whether the state changed.
    pub changed: bool,
    /// Why new alerts are suppressed: `maintenance`, `parent NAME`, or `parents` (one of them may be down).
    pub suppressed_by: Option<String>,
}

/// Decides what a verdict changes.
#[must_use]
pub fn decide(before: &Standing, policy: &AlertPolicy, verdict: Verdict, around: &Around) -> Decision {
    let suppressed_by = around.suppressed_by();
    let mut after = counted(before, verdict);
    flapping::note(&mut after, verdict, suppressed_by.is_some());
    after.state = state(before, &after, policy, verdict);
    after.failing_since = match (verdict, after.state) {
        (Verdict::Failed, _) => before.failing_since.or(Some(around.at)),
        (_, ServiceState::Down) => before.failing_since,
        _ => None,
    };
    let changed = after.state != before.state;
    if changed {
        after.state_changed_at = Some(around.at);
    }

    let down = after.state == ServiceState::Down;
    let opens = down && after.consecutive_failures >= failures_needed(policy) && suppressed_by.is_none();
    let outage = match (before.down_alerted_at, down) {
        (None, _) if opens => Outage::Opens,
        (None, _) => Outage::None,
        (Some(_), true) => Outage::Lasts,
        (Some(_), false) => Outage::Ends,
    };
    after.down_alerted_at = match outage {
        Outage::Opens => Some(around.at),
        Outage::Lasts => before.down_alerted_at,
        Outage::None | Outage::Ends => None,
    };

    let begins = after.state == ServiceState::Degraded
        && after.consecutive_degraded >= degraded_needed(policy)
        && suppressed_by.is_none();
    let degraded_alert = match (before.degraded_alerted_at, after.state) {
        (None, _) if begins => DegradedAlert::Begins,
        (None, _) => DegradedAlert::None,
        (Some(_), ServiceState::Degraded | ServiceState::Down) => DegradedAlert::Lasts,
        (Some(_), ServiceState::Healthy | ServiceState::Unknown) => DegradedAlert::Ends,
    };
    after.degraded_alerted_at = match degraded_alert {
        DegradedAlert::Begins => Some(around.at),
        DegradedAlert::Lasts => before.degraded_alerted_at,
        DegradedAlert::None | DegradedAlert::Ends => None,
    };
    Decision { after, outage, degraded_alert, changed, suppressed_by }
}

/// The standing with this run counted; its state is unchanged.
fn counted(before: &Standing, verdict: Verdict) -> Standing {
    let failed = verdict == Verdict::Failed;
    let next = |count: u32, counts: bool| if counts { count.saturating_add(1) } else { 0 };
    Standing {
        consecutive_failures: next(before.consecutive_failures, failed),
        consecutive_degraded: next(before.consecutive_degraded, verdict == Verdict::Degraded),
        consecutive_successes: next(before.consecutive_successes, !failed),
        ..before.clone()
    }
}

/// The state after a run that is counted already.
fn state(before: &Standing, after: &Standing, policy: &AlertPolicy, verdict: Verdict) -> ServiceState {
    use ServiceState::{Degraded, Down, Healthy};
    let is_down = before.state == Down;
    match verdict {
        Verdict::Failed if is_down || after.consecutive_failures >= failures_needed(policy) => Down,
        // Not confirmed yet: the state stays, also unknown.
        Verdict::Failed => before.state,
        _ if is_down && (after.flapping || after.consecutive_successes < policy.recovery_threshold.max(1)) => Down,
        Verdict::Healthy => Healthy,
        // Once degraded, it stays degraded until a healthy run.
        Verdict::Degraded
            if after.consecutive_degraded >= degraded_needed(policy)
                || before.degraded_alerted_at.is_some()
                || before.state == Degraded =>
        {
            Degraded
        }
        Verdict::Degraded => Healthy,
    }
}

fn failures_needed(policy: &AlertPolicy) -> u32 {
    policy.failure_threshold.max(1)
}

fn degraded_needed(policy: &AlertPolicy) -> u32 {
    policy.failure_threshold.max(MIN_DEGRADED_RUNS)
}
