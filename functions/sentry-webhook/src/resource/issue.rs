//! `issue.created`: Sentry has begun to follow an error. Carries no environment, release or stack trace; the events
//! that do come apart from it, before or after, and are what counts.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::model::{Counting, Report, UpstreamGroup};

use super::{Meaning, SOURCE, apply_level, delivery_key, keep};
use crate::payload::{id, text};

/// The report of a new issue.
pub(super) fn report(issue: &Value, now: DateTime<Utc>) -> Meaning {
    if !issue.is_object() {
        return Meaning::Ignored("the delivery holds no issue");
    }
    if text(issue, "issueCategory") == Some("feedback") {
        return Meaning::Ignored("feedback of a user is no error");
    }
    let null = &Value::Null;
    let (metadata, project) = (issue.get("metadata").unwrap_or(null), issue.get("project").unwrap_or(null));
    let title = text(issue, "title").or_else(|| text(metadata, "title"));
    let message = title.or_else(|| text(metadata, "value")).unwrap_or("an issue without a title").to_owned();
    let issue_id = id(issue, "id");
    let key = delivery_key("issue-created", issue_id.as_deref(), issue);
    let mut report = Report::new(key, SOURCE, message, now);
    report.error_type = text(metadata, "type").map(str::to_owned);
    report.application = text(project, "slug").or_else(|| text(project, "name")).unwrap_or_default().to_owned();
    report.counting = Counting::Announcement;
    for (name, key) in [("shortId", "sentry_short_id"), ("culprit", "culprit"), ("platform", "platform")] {
        keep(&mut report, key, text(issue, name).unwrap_or_default());
    }
    keep(&mut report, "sentry_issue_id", issue_id.as_deref().unwrap_or_default());
    let link = text(issue, "web_url").or_else(|| text(issue, "permalink"));
    keep(&mut report, "sentry_url", link.unwrap_or_default());
    report.upstream_group = issue_id.map(|id| UpstreamGroup { system: SOURCE.into(), id });
    apply_level(&mut report, text(issue, "level").unwrap_or("error"));
    Meaning::Report(Box::new(report))
}
