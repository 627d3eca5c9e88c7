//! `heartbeat`: a job that reports here. A missing heartbeat is the failure. Pure.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use shared::model::{FailureReason, ServiceSpec};
use shared::store::probing::Beat;

use super::Failure;
use super::attempt::{Context, Problem};

/// One attempt: evaluates the last heartbeat.
pub(super) fn attempt(context: Context<'_>) -> Result<(), Problem> {
    let result = evaluate(&context.claimed.service.spec, context.claimed.beat.as_ref(), context.now);
    result.map_err(|failure| {
        // The job's message is external text.
        let text = context.tools.redactor.text(&failure.text).into_owned();
        Problem::Failed(Failure { text, ..failure })
    })
}

/// Whether the last heartbeat is recent enough and reports no failure.
fn evaluate(spec: &ServiceSpec, beat: Option<&Beat>, now: DateTime<Utc>) -> Result<(), Failure> {
    let failed = |text: String| Err(Failure::new(FailureReason::Heartbeat, text));
    let Some(beat) = beat else { return failed("no heartbeat yet".to_owned()) };
    let interval = spec.interval.unwrap_or(ServiceSpec::DEFAULT_INTERVAL);
    let due_within = interval + Duration::from_secs(spec.check.grace_seconds.into());
    if now - beat.at > TimeDelta::from_std(due_within).unwrap_or(TimeDelta::MAX) {
        let last = beat.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        return failed(format!("no heartbeat since {last}, where one is due within {} s", due_within.as_secs()));
    }
    match (beat.failed, beat.message.as_deref()) {
        (false, _) => Ok(()),
        (true, Some(message)) if !message.is_empty() => failed(format!("the job reports a failure: {message}")),
        (true, _) => failed("the job reports a failure".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use shared::model::Kind;

    use super::*;

    fn evaluated(seconds_ago: Option<i64>, failed: bool, message: Option<&str>) -> Result<(), String> {
        let mut spec = ServiceSpec::http("nightly", "production", "");
        spec.kind = Kind::Heartbeat;
        spec.interval = Some(Duration::from_secs(120));
        spec.check.grace_seconds = 30;
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let beat = seconds_ago.map(|seconds| Beat {
            at: now - TimeDelta::seconds(seconds),
            failed,
            message: message.map(str::to_owned),
        });
        evaluate(&spec, beat.as_ref(), now).map_err(|failure| failure.text)
    }

    #[test]
    fn a_missing_heartbeat_is_a_failure() {
        assert_eq!(evaluated(None, false, None), Err("no heartbeat yet".into()));
        assert_eq!(evaluated(Some(0), false, None), Ok(()));
        assert_eq!(evaluated(Some(150), false, None), Ok(()));
        let silent = evaluated(Some(151), false, None).unwrap_err();
        assert_eq!(silent, "no heartbeat since 2027-01-15T07:57:29Z, where one is due within 150 s");
        // A clock that runs ahead is no missing heartbeat.
        assert_eq!(evaluated(Some(-60), false, None), Ok(()));
    }

    #[test]
    fn a_reported_failure_contains_the_message() {
        assert_eq!(evaluated(Some(1), true, Some("disk full")), Err("the job reports a failure: disk full".into()));
        assert_eq!(evaluated(Some(1), true, None), Err("the job reports a failure".into()));
    }
}
