//! The meaning of each kind of delivery and each action.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use chrono::SecondsFormat;
use shared::model::{Counting, Severity};

use super::legacy::Legacy;
use super::*;

fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-23T12:00:00Z").unwrap().to_utc()
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).unwrap()
}

fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut body = fixture(name);
    change(&mut body);
    body
}

fn delivery(resource: &str, body: &Value) -> Delivery {
    let name = HeaderName::from_static("sentry-hook-resource");
    let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(resource).unwrap())]);
    Delivery::parse(&headers, Bytes::from(body.to_string())).unwrap()
}

fn meaning_of(resource: &str, body: &Value) -> Meaning {
    meaning(&delivery(resource, body), now())
}

/// A meaning in one line.
fn summary(meaning: &Meaning) -> String {
    let step = |step: &Step| {
        let target = match &step.target {
            Target::Group(fingerprint) => fingerprint.as_str(),
            Target::Incident(_) | Target::Nothing => "nothing",
        };
        let as_of = step.as_of.map_or("any time".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        format!("{} on {target} as of {as_of}", step.action_type)
    };
    match meaning {
        Meaning::Report(report, following) => {
            let severity = report.severity.or(report.at_least).map_or("any", Severity::as_str);
            let group = report.upstream_group.as_ref().map_or("no group", |group| group.id.as_str());
            let following = following.as_ref().map_or(String::new(), |it| format!(", then {}", step(it)));
            format!("report {severity} of {group}{following}")
        }
        Meaning::Step(change, it) => format!("{change:?}: {}", step(it)),
        Meaning::Return(it, report) => format!("Reopen: {}, or a report: {}", step(it), report.is_some()),
        Meaning::Ignored(reason) => format!("ignored: {reason}"),
    }
}

/// File, resource, meaning.
const KINDS: [(&str, &str, &str); 26] = [
    ("error-created", "error", "report MEDIUM of 4711"),
    ("event-alert-triggered", "event_alert", "report MEDIUM of 4711"),
    ("issue-created", "issue", "report MEDIUM of 4711"),
    ("issue-resolved", "issue", "Resolve: sentry_issue_resolved on sentry:4711 as of 2026-11-23T09:40:00Z"),
    (
        "issue-unresolved",
        "issue",
        "Reopen: sentry_issue_unresolved on sentry:4711 as of 2026-11-23T10:02:11Z, or a report: true",
    ),
    ("issue-ignored", "issue", "Acknowledge: sentry_issue_ignored on sentry:4711 as of 2026-11-23T09:40:00Z"),
    ("issue-assigned", "issue", "Note: sentry_issue_assigned on sentry:4711 as of any time"),
    (
        "metric-alert-critical",
        "metric_alert",
        "report CRITICAL of metric-rule-61, then sentry_metric_alert_critical on sentry:metric-rule-61 as of \
         2026-11-23T09:12:00Z",
    ),
    (
        "metric-alert-warning",
        "metric_alert",
        "report any of metric-rule-61, then sentry_metric_alert_warning on sentry:metric-rule-61 as of \
         2026-11-23T09:12:00Z",
    ),
    (
        "metric-alert-open",
        "metric_alert",
        "report MEDIUM of metric-rule-61, then sentry_metric_alert_open on sentry:metric-rule-61 as of \
         2026-11-23T09:12:00Z",
    ),
    (
        "metric-alert-resolved",
        "metric_alert",
        "Resolve: sentry_metric_alert_resolved on sentry:metric-rule-61 as of 2026-11-23T09:55:00Z",
    ),
    ("comment-created", "comment", "Note: sentry_comment_created on sentry:4711 as of any time"),
    ("comment-updated", "comment", "Note: sentry_comment_updated on sentry:4711 as of any time"),
    ("comment-deleted", "comment", "Note: sentry_comment_deleted on sentry:4711 as of any time"),
    ("seer-root-cause-started", "seer", "Note: sentry_seer_root_cause_started on sentry:4711 as of any time"),
    ("seer-root-cause-completed", "seer", "Note: sentry_seer_root_cause_completed on sentry:4711 as of any time"),
    ("seer-solution-started", "seer", "Note: sentry_seer_solution_started on sentry:4711 as of any time"),
    ("seer-solution-completed", "seer", "Note: sentry_seer_solution_completed on sentry:4711 as of any time"),
    ("seer-coding-started", "seer", "Note: sentry_seer_coding_started on sentry:4711 as of any time"),
    ("seer-coding-completed", "seer", "Note: sentry_seer_coding_completed on sentry:4711 as of any time"),
    ("seer-pr-created", "seer", "Note: sentry_seer_pr_created on sentry:4711 as of any time"),
    (
        "activity-alert-triggered",
        "activity_alert",
        "Note: sentry_activity_alert_triggered on sentry:4711 as of any time",
    ),
    ("installation-created", "installation", "Note: sentry_installation_created on nothing as of any time"),
    ("installation-deleted", "installation", "Note: sentry_installation_deleted on nothing as of any time"),
    (
        "preprod-artifact-size-analysis-completed",
        "preprod_artifact",
        "Note: sentry_preprod_artifact_size_analysis_completed on nothing as of any time",
    ),
    (
        "preprod-artifact-build-distribution-completed",
        "preprod_artifact",
        "Note: sentry_preprod_artifact_build_distribution_completed on nothing as of any time",
    ),
];

#[test]
fn every_resource_and_action_has_a_meaning() {
    for (file, resource, wanted) in KINDS {
        assert_eq!(summary(&meaning_of(resource, &fixture(file))), wanted, "{file}");
        assert_ne!(kind_of(resource, fixture(file)["action"].as_str().unwrap()), "unknown", "{file}");
    }
    let folder = format!("{}/fixtures", env!("CARGO_MANIFEST_DIR"));
    let files: BTreeSet<String> =
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    let unsigned_and_hooks = ["legacy-plugin", "service-hook"];
    let tried = KINDS.iter().map(|(file, ..)| *file).chain(unsigned_and_hooks).map(|file| format!("{file}.json"));
    assert_eq!(files, tried.collect());
}

#[test]
fn archived_means_ignored() {
    let archived = changed("issue-ignored", |it| it["action"] = json!("archived"));
    let [one, other] = [&archived, &fixture("issue-ignored")].map(|body| match meaning_of("issue", body) {
        Meaning::Step(Change::Acknowledge, step) => step.delivery_key,
        other => panic!("{other:?}"),
    });
    assert_eq!(one, other);
}

#[test]
fn a_step_that_contradicts_the_issue_s_status_is_only_noted() {
    for (file, status) in [
        ("issue-resolved", "unresolved"),
        ("issue-resolved", "ignored"),
        ("issue-unresolved", "resolved"),
        ("issue-ignored", "unresolved"),
    ] {
        let body = changed(file, |it| it["data"]["issue"]["status"] = json!(status));
        let meaning = meaning_of("issue", &body);
        let Meaning::Step(Change::Note, step) = &meaning else { panic!("{file} {status}: {meaning:?}") };
        assert!(step.description.contains(status), "{}", step.description);
    }
    for status in [Value::Null, json!("muted"), json!(7)] {
        let body = changed("issue-resolved", |it| it["data"]["issue"]["status"] = status);
        assert!(matches!(meaning_of("issue", &body), Meaning::Step(Change::Resolve, _)), "nothing contradicts");
    }
}

#[test]
fn a_delivery_key_is_derived_from_signed_content_and_distinguishes_steps() {
    let key = |resource: &str, body: &Value| match meaning_of(resource, body) {
        Meaning::Step(_, step) | Meaning::Return(step, _) => step.delivery_key,
        Meaning::Report(report, _) => report.delivery_key,
        Meaning::Ignored(reason) => panic!("{reason}"),
    };
    let mut keys = BTreeSet::new();
    for (file, resource, _) in KINDS {
        let body = fixture(file);
        let same = changed(file, |it| it["installation"]["uuid"] = json!("another"));
        let by_id = ["issue", "comment", "seer", "error", "event_alert", "metric_alert"].contains(&resource);
        assert_eq!(key(resource, &body) == key(resource, &same), by_id, "{file}");
        keys.insert(key(resource, &body));
    }
    assert_eq!(keys.len(), KINDS.len() - 1, "error and event_alert of one event share a key");
    for (name, value) in [
        ("lastSeen", json!("2026-11-23T11:00:00Z")),
        ("count", json!("9")),
        ("statusDetails", json!({})),
        ("id", json!("4712")),
    ] {
        let next = changed("issue-resolved", |it| it["data"]["issue"][name] = value);
        assert!(keys.insert(key("issue", &next)), "another {name} is another step");
    }
    let unread = changed("issue-resolved", |it| it["data"]["issue"]["hasSeen"] = json!(true));
    assert!(!keys.insert(key("issue", &unread)), "a retry may differ in other fields");
}

#[test]
fn an_assignee_is_named_but_never_by_an_email_address() {
    for (assignee, description) in [
        (json!({"type": "team", "id": "7", "name": "checkout"}), "Sentry: issue assigned to the team checkout"),
        (
            json!({"type": "user", "id": "9", "name": "Ann Lee", "email": "ann@example.com"}),
            "Sentry: issue assigned to the user Ann Lee",
        ),
        (json!({"type": "user", "id": "9", "name": "ann@example.com"}), "Sentry: issue assigned to a user"),
        (json!({"type": "robot", "name": "x"}), "Sentry: issue assigned"),
        (Value::Null, "Sentry: issue unassigned"),
    ] {
        let body = changed("issue-assigned", |it| it["data"]["issue"]["assignedTo"] = assignee);
        let Meaning::Step(Change::Note, step) = meaning_of("issue", &body) else { panic!() };
        assert_eq!(step.description, description);
        assert!(!format!("{step:?}").contains("ann@"), "{step:?}");
    }
}

#[test]
fn only_the_details_of_a_timeline_are_stored() {
    for (file, resource, details) in [
        (
            "seer-pr-created",
            "seer",
            json!({"actor": "application", "run_id": "777", "pull_request_1": "https://github.com/acme/shop/pull/318"}),
        ),
        (
            "comment-created",
            "comment",
            json!({
                "actor": "user", "comment_id": "1234", "project": "shop-web",
                "comment": "The cart is empty after the voucher is removed.",
            }),
        ),
        (
            "activity-alert-triggered",
            "activity_alert",
            json!({
                "actor": "application", "activity": "seer_root_cause_completed", "alert_id": "31",
                "alert": "Seer found something",
            }),
        ),
        (
            "installation-created",
            "installation",
            json!({"actor": "user", "status": "pending", "organization": "acme", "app": "watchkeeper"}),
        ),
    ] {
        let Meaning::Step(Change::Note, step) = meaning_of(resource, &fixture(file)) else { panic!("{file}") };
        assert_eq!(Value::Object(step.details), details, "{file}");
    }
}

#[test]
fn unknown_deliveries_are_stored_and_matched_to_their_issue() {
    for (resource, body, target) in [
        ("issue", json!({"action": "escalated", "data": {"issue": {"id": "5"}}}), Some("sentry:5")),
        ("error", json!({"action": "deleted", "data": {"error": {"issue_id": "6"}}}), Some("sentry:6")),
        ("new", json!({"action": "made", "data": {"group_id": 7}}), Some("sentry:7")),
        ("new", json!({"action": "made", "data": {"issue_id": "8"}}), Some("sentry:8")),
        ("new", json!({"data": []}), None),
        ("", json!({"fields": {}}), None),
    ] {
        let Meaning::Step(Change::Note, step) = meaning_of(resource, &body) else { panic!("{body}") };
        assert_eq!(step.action_type, "sentry_unknown");
        let found = match &step.target {
            Target::Group(fingerprint) => Some(fingerprint.as_str()),
            _ => None,
        };
        assert_eq!(found, target, "{body}");
        assert_eq!(step.note.unwrap()["body"], body);
    }
}

#[test]
fn an_instant_in_the_future_is_clamped_to_now() {
    let body = changed("issue-resolved", |it| it["data"]["issue"]["lastSeen"] = json!("9999-01-01T00:00:00Z"));
    let Meaning::Step(_, step) = meaning_of("issue", &body) else { panic!() };
    assert_eq!(step.as_of, Some(now()));
}

#[test]
fn feedback_of_a_user_is_no_error() {
    let feedback = |file: &str| changed(file, |it| it["data"]["issue"]["issueCategory"] = json!("feedback"));
    assert!(matches!(meaning_of("issue", &feedback("issue-created")), Meaning::Ignored(_)));
    let Meaning::Return(step, None) = meaning_of("issue", &feedback("issue-unresolved")) else { panic!() };
    assert!(step.keep_unknown);
}

#[test]
fn a_service_hook_s_event_is_converted() {
    let Meaning::Report(report, None) = service_hook::meaning(&fixture("service-hook"), now()) else { panic!() };
    assert_eq!(report.message, "TypeError: Cannot read property 'total' of undefined");
    assert_eq!((report.application.as_str(), report.environment.as_str()), ("shop-web", "production"));
    assert_eq!(report.upstream_group.unwrap().id, "4711");
    assert_eq!(report.counting, Counting::Occurrence);
    assert_eq!(report.at_least, Some(Severity::Medium));
    assert_eq!(report.delivery_key, delivery_key("event", Some("1/b28d75a2f3e44c608dae1f203b4c5d6e"), &Value::Null));
    assert!(report.stack.unwrap_or_default().contains("at pay (./app/checkout.js:42:17)"));
}

#[test]
fn an_unsigned_delivery_is_marked_and_has_its_own_key() {
    let legacy = Legacy::new(fixture("legacy-plugin")).unwrap();
    let report = legacy.report(now());
    assert_eq!(report.context["unverified"], true);
    assert_eq!(report.context["triggering_rules"], json!(["Notify Watchkeeper"]));
    assert_eq!(report.context["sentry_url"], "https://acme.sentry.io/issues/4711/?referrer=webhooks_plugin");
    assert_eq!(report.message, "TypeError: Cannot read property 'total' of undefined");
    assert_eq!((report.application.as_str(), report.environment.as_str()), ("shop-web", "production"));
    assert_eq!(report.upstream_group.as_ref().unwrap().id, "4711");
    let signed = legacy.signed_key().unwrap();
    assert!(signed.as_str().starts_with("sentry:") && report.delivery_key.as_str().starts_with("sentry-legacy:"));
    assert_eq!(legacy.project().as_deref(), Some("1"));
    let bare = Legacy::new(json!({"message": "boom", "level": "fatal", "project": "shop"})).unwrap();
    let report = bare.report(now());
    assert_eq!((report.message.as_str(), report.application.as_str()), ("boom", "shop"));
    assert_eq!((report.severity, bare.signed_key()), (Some(Severity::Critical), None));
}

/// Copies of the value, each with one field replaced.
fn mutants(whole: &Value) -> Vec<Value> {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        let of_object = value.as_object().into_iter().flatten().map(|(key, child)| (key.replace('/', "~1"), child));
        let items = value.as_array().into_iter().flatten().enumerate();
        for (key, child) in of_object.chain(items.map(|(index, child)| (index.to_string(), child))) {
            let place = format!("{at}/{key}");
            places(child, &place, found);
            found.push(place);
        }
    }
    let mut found = Vec::new();
    places(whole, "", &mut found);
    let strange = [Value::Null, json!(-1.5e300), json!("\u{0}"), json!([[null]]), json!({"": {}}), json!(true)];
    let with = |place: &String, value: &Value| {
        let mut broken = whole.clone();
        *broken.pointer_mut(place).unwrap() = value.clone();
        broken
    };
    found.iter().flat_map(|place| strange.iter().map(move |value| with(place, value))).collect()
}

#[test]
fn unsigned_deliveries_and_service_hooks_may_contain_anything() {
    for body in mutants(&fixture("legacy-plugin")) {
        let legacy = Legacy::new(body).unwrap();
        let report = legacy.report(now());
        assert!(!report.message.trim().is_empty() && report.context["unverified"] == true, "{legacy:?}");
        assert!(report.delivery_key.as_str().starts_with("sentry-legacy:"));
    }
    for body in mutants(&fixture("service-hook")) {
        assert!(matches!(service_hook::meaning(&body, now()), Meaning::Report(..) | Meaning::Ignored(_)));
    }
}

#[test]
fn the_slug_is_found_in_the_event_s_address() {
    for (url, slug) in [
        ("https://sentry.io/api/0/projects/acme/shop-web/events/e1/", Some("shop-web")),
        ("https://sentry.io/projects/acme/shop/events/1", Some("shop")),
        ("https://sentry.io/api/0/issues/1/", None),
        ("nonsense", None),
    ] {
        assert_eq!(project_slug(url).as_deref(), slug, "{url}");
    }
}
