//! What a service is after a check, and what that opens, continues or ends. Pure: the same standing, policy, verdict and
//! surroundings always come to the same decision.
//!
//! A *run* is one decided verdict. What holds, whatever the history:
//!
//! - At most one alert of a kind is active: an outage opens only while none is open, and ends only when one was.
//! - An outage opens only with a failed run, after `failure_threshold` failed runs in a row, and while nothing holds it:
//!   a blip that is shorter pages nobody. It opens as soon as that is so: nothing that lasts is overlooked.
//! - An outage ends when the service is not down any more: after `recovery_threshold` runs in a row that did not fail.
//! - `failing_since` is the first failed run of those that made it down, and stays so until it is not down any more,
//!   however often a single run was good.
//! - What flaps (four changes between failed and not failed among the last twenty runs) is not over before ten runs in a
//!   row did not fail: it is one long outage, not ten.
//! - It is not well (`degraded`) after as many degraded runs in a row, at least two, and until a healthy one. If it goes
//!   down meanwhile, that alert stays: neither is it well then, nor is anything gained by telling of an end.
//! - What is held (maintenance, a parent that is down or may be) changes its state and its counters, but nothing begins.
//!   What has been told before goes on, and ends when it is over. What is still so when the hold ends begins with the
//!   next run that shows it. What is seen during a hold does not make a service flap.
//!
//! `revision` is left alone: it is the store that counts the changes.

mod flapping;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

use chrono::{DateTime, Utc};
use shared::model::{AlertPolicy, ServiceState, Standing, Verdict};

/// Slower than it should be, once, is nothing to speak of.
const MIN_DEGRADED_RUNS: u32 = 2;

/// How the services fare that this one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parents {
    /// All are up, or there are none.
    Fine,
    /// One of them may be down: it is being found out.
    Pending,
    /// This one is down.
    Down(String),
}

/// What is around a service when it is decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    /// When it was checked.
    pub at: DateTime<Utc>,
    /// Whether it is worked on.
    pub maintenance: bool,
    /// How those fare that it needs.
    pub parents: Parents,
}

impl Around {
    /// Why nobody is told of anything new; none = nothing keeps it quiet.
    fn held_by(&self) -> Option<String> {
        match &self.parents {
            _ if self.maintenance => Some("maintenance".to_owned()),
            Parents::Fine => None,
            Parents::Pending => Some("parents".to_owned()),
            Parents::Down(name) => Some(format!("parent {name}")),
        }
    }
}

/// What becomes of the outage: the alert that it is down, and the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// There is none, or none that anybody is told of.
    None,
    /// It opens now.
    Opens,
    /// It was open, and still is; this run itself may have been good.
    Lasts,
    /// It was open, and is over.
    Ends,
}

/// What becomes of the alert that it is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwell {
    /// There is none.
    None,
    /// It begins now.
    Begins,
    /// It was there, and still is.
    Lasts,
    /// It was there, and is over.
    Ends,
}

/// What a service is after a run, and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is known of it now.
    pub after: Standing,
    /// What becomes of the outage.
    pub outage: Outage,
    /// What becomes of the alert that it is not well.
    pub unwell: Unwell,
    /// Whether its state is another than before.
    pub changed: bool,
    /// Why nobody is told of anything new: `maintenance`, `parent NAME`, or `parents` (one of them may be down).
    pub held_by: Option<String>,
}

/// What a service is after this verdict.
#[must_use]
pub fn decide(before: &Standing, policy: &AlertPolicy, verdict: Verdict, around: &Around) -> Decision {
    let held_by = around.held_by();
    let mut after = counted(before, verdict);
    flapping::note(&mut after, verdict, held_by.is_some());
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
    let opens = down && after.consecutive_failures >= failures_needed(policy) && held_by.is_none();
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
        && held_by.is_none();
    let unwell = match (before.degraded_alerted_at, after.state) {
        (None, _) if begins => Unwell::Begins,
        (None, _) => Unwell::None,
        (Some(_), ServiceState::Degraded | ServiceState::Down) => Unwell::Lasts,
        (Some(_), ServiceState::Healthy | ServiceState::Unknown) => Unwell::Ends,
    };
    after.degraded_alerted_at = match unwell {
        Unwell::Begins => Some(around.at),
        Unwell::Lasts => before.degraded_alerted_at,
        Unwell::None | Unwell::Ends => None,
    };
    Decision { after, outage, unwell, changed, held_by }
}

/// The standing with this run counted, and nothing concluded from it yet.
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
        // Not confirmed yet: it is what it was, be it that we know nothing.
        Verdict::Failed => before.state,
        _ if is_down && (after.flapping || after.consecutive_successes < policy.recovery_threshold.max(1)) => Down,
        Verdict::Healthy => Healthy,
        // Told to be not well, or known to be, it is so until a healthy run.
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
