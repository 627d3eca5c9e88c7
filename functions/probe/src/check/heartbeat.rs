//! `heartbeat`: a job that reports here. Its silence is the failure. Pure.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use shared::model::{FailureReason, ServiceSpec};
use shared::store::probing::Beat;

use super::Failure;
use super::attempt::{Context, Problem};

/// One attempt: what the last sign of life says.
pub(super) fn attempt(context: Context<'_>) -> Result<(), Problem> {
    let judged = judge(&context.claimed.service.spec, context.claimed.beat.as_ref(), context.now);
    judged.map_err(|failure| {
        // What the job said is a stranger's text.
        let text = context.tools.redactor.text(&failure.text).into_owned();
        Problem::Failed(Failure { text, ..failure })
    })
}

/// Whether the last sign of life is recent enough, and a good one.
fn judge(spec: &ServiceSpec, beat: Option<&Beat>, now: DateTime<Utc>) -> Result<(), Failure> {
    let failed = |text: String| Err(Failure::new(FailureReason::Heartbeat, text));
    let Some(beat) = beat else { return failed("no heartbeat yet".to_owned()) };
    let interval = spec.interval.unwrap_or(ServiceSpec::DEFAULT_INTERVAL);
    let patience = interval + Duration::from_secs(spec.check.grace_seconds.into());
    if now - beat.at > TimeDelta::from_std(patience).unwrap_or(TimeDelta::MAX) {
        let last = beat.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        return failed(format!("no heartbeat since {last}, where one is due within {} s", patience.as_secs()));
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

    fn judged(seconds_ago: Option<i64>, failed: bool, message: Option<&str>) -> Result<(), String> {
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
        judge(&spec, beat.as_ref(), now).map_err(|failure| failure.text)
    }

    #[test]
    fn silence_is_the_failure() {
        assert_eq!(judged(None, false, None), Err("no heartbeat yet".into()));
        assert_eq!(judged(Some(0), false, None), Ok(()));
        assert_eq!(judged(Some(150), false, None), Ok(()));
        let silent = judged(Some(151), false, None).unwrap_err();
        assert_eq!(silent, "no heartbeat since 2027-01-15T07:57:29Z, where one is due within 150 s");
        // A clock that runs ahead is no silence.
        assert_eq!(judged(Some(-60), false, None), Ok(()));
    }

    #[test]
    fn a_failure_that_is_reported_is_told_with_its_message() {
        assert_eq!(judged(Some(1), true, Some("disk full")), Err("the job reports a failure: disk full".into()));
        assert_eq!(judged(Some(1), true, None), Err("the job reports a failure".into()));
    }
}
