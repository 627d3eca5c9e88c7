//! Whole events: of real SDKs, as repeated by Sentry's webhook, and malformed ones.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const PYTHON_EXCEPTION: &str = include_str!("../../fixtures/sentry/python-exception.json");
const PYTHON_MESSAGE: &str = include_str!("../../fixtures/sentry/python-message.json");
const NODE_EXCEPTION: &str = include_str!("../../fixtures/sentry/node-exception.json");
const NODE_MESSAGE: &str = include_str!("../../fixtures/sentry/node-message.json");

fn read(event: &Value) -> Option<Report> {
    report(event, DeliveryKey::named("test", b"1"), "sentry", DateTime::UNIX_EPOCH)
}

fn of(event: &str) -> Report {
    read(&serde_json::from_str(event).unwrap()).unwrap()
}

#[test]
fn an_exception_of_the_python_sdk_is_read() {
    let report = of(PYTHON_EXCEPTION);
    assert_eq!(report.message, "ZeroDivisionError: division by zero");
    assert_eq!(report.error_type.as_deref(), Some("ZeroDivisionError"));
    assert_eq!(report.stack.as_deref(), Some("ZeroDivisionError: division by zero\n    at <module> (s.py:6)"));
    assert_eq!(report.crash_frame.as_deref(), Some("__main__:<module>"));
    assert_eq!((report.environment.as_str(), report.release.as_deref()), ("test", Some("app@1.0")));
    assert_eq!(report.endpoint.as_deref(), Some("/x"));
    assert_eq!(report.user, Some(UserKey::of("id", "u1")));
    assert_eq!((report.severity, report.at_least), (None, Some(Severity::Medium)));
    assert_eq!((report.source.as_str(), report.application.as_str()), ("sentry", ""));
    assert_eq!(
        Value::Object(report.context),
        json!({
            "platform": "python", "transaction": "GET /x", "server_name": "web-1", "release": "app@1.0",
            "datetime": "2026-11-23T06:05:08.744175Z", "level": "error", "handled": true,
            "sentry_event_id": "4785fc6015d440708a0c1093cce93cff", "trace_id": "3ef4e9e07dfd4a8a94935a6c3bf4c5de",
            "runtime": "CPython 3.11.7", "sdk": "sentry.python.flask 2.75.0", "tags": {"t": "v"},
            "breadcrumbs": [{"message": "crumb", "category": "c", "type": "default",
                             "timestamp": "2026-11-23T06:05:08.731384Z"}],
            "extra": {"sys.argv": ["s.py"]},
        })
    );
}

#[test]
fn an_exception_of_the_node_sdk_is_read() {
    let report = of(NODE_EXCEPTION);
    assert_eq!(report.message, "TypeError: Cannot read properties of null (reading 'x')");
    assert_eq!(report.crash_frame.as_deref(), Some("s:Object.?"));
    assert_eq!((report.environment.as_str(), report.endpoint), ("test", None));
    assert!(report.stack.unwrap().starts_with(
        "TypeError: Cannot read properties of null (reading 'x')\n    at Object.? (/srv/app/s.cjs:4:12)\n"
    ));
    for (name, expected) in [
        ("datetime", json!("2026-11-23T06:05:31.416Z")),
        ("os", json!("Debian 12.11")),
        ("runtime", json!("node v20.20.2")),
        ("breadcrumbs", json!([{"timestamp": "1795413931.37", "message": "crumb"}])),
    ] {
        assert_eq!(report.context[name], expected);
    }
}

#[test]
fn messages_of_both_sdks_are_read() {
    for (event, frame) in [(PYTHON_MESSAGE, None), (NODE_MESSAGE, Some("s:Object.?"))] {
        let report = of(event);
        assert_eq!((report.message.as_str(), report.error_type), ("hello", None));
        assert_eq!((report.severity, report.at_least, report.at_most), (None, None, Some(Severity::Medium)));
        assert_eq!((report.crash_frame.as_deref(), &report.context["level"]), (frame, &json!("warning")));
    }
}

#[test]
fn the_level_bounds_the_severity() {
    const MEDIUM: Option<Severity> = Some(Severity::Medium);
    const LOW: Option<Severity> = Some(Severity::Low);
    let fatal = (Some(Severity::Critical), None, None);
    let error = (None, MEDIUM, None);
    let (warning, info) = ((None, None, MEDIUM), (None, None, LOW));
    for (level, expected) in [
        (json!("fatal"), fatal),
        (json!("FATAL"), fatal),
        (json!(50), fatal),
        (json!("critical"), fatal),
        (json!("error"), error),
        (json!(40), error),
        (json!(null), error),
        (json!(true), error),
        (json!([]), error),
        (json!(""), error),
        (json!("NaN"), error),
        (json!("made up"), error),
        (json!("warning"), warning),
        (json!(" Warning "), warning),
        (json!("WARN"), warning),
        (json!(30), warning),
        (json!("30"), warning),
        (json!(39.9), warning),
        (json!("info"), info),
        (json!("log"), info),
        (json!("notice"), info),
        (json!(20), info),
        (json!("debug"), info),
        (json!("trace"), info),
        (json!(5), info),
        (json!(-1), info),
        (json!("sample"), info),
    ] {
        let report = read(&json!({ "level": level })).unwrap();
        assert_eq!((report.severity, report.at_least, report.at_most), expected, "{level}");
    }
}

#[test]
fn a_second_level_replaces_the_first() {
    let mut report = read(&json!({})).unwrap();
    for (level, expected) in [
        ("fatal", (Some(Severity::Critical), None, None)),
        ("warning", (None, None, Some(Severity::Medium))),
        ("error", (None, Some(Severity::Medium), None)),
    ] {
        apply_level(&mut report, level);
        assert_eq!((report.severity, report.at_least, report.at_most), expected, "{level}");
    }
}

#[test]
fn a_user_is_kept_as_a_hash_of_the_best_identity() {
    for (event, expected) in [
        (json!({"user": {"id": 17, "email": "ann@example.com"}}), Some(("id", "17"))),
        (json!({"user": {"id": null, "email": "ann@example.com"}}), Some(("email", "ann@example.com"))),
        (json!({"user": {"username": "ann", "ip_address": "203.0.113.9"}}), Some(("username", "ann"))),
        (json!({"user": {"ip_address": "203.0.113.9"}}), Some(("ip_address", "203.0.113.9"))),
        (json!({"tags": [["sentry:user", "ip:203.0.113.9"]]}), Some(("ip_address", "203.0.113.9"))),
        (json!({"user": {"ip_address": "{{auto}}"}}), None),
        (json!({"user": "ann"}), None),
        (json!({"user": {"id": ["x"]}}), None),
    ] {
        let report = read(&event).unwrap();
        assert_eq!(report.user, expected.map(|(kind, identity)| UserKey::of(kind, identity)), "{event}");
        let stored = serde_json::to_string(&report).unwrap();
        assert!(!stored.contains("203.0.113.9") && !stored.contains("ann@example.com"), "{stored}");
    }
}

#[test]
fn the_reporters_own_grouping_is_read() {
    for (fingerprint, expected) in [
        (json!(["{{ default }}", "checkout"]), vec!["{{ default }}", "checkout"]),
        (json!(["a", 7, true, null, {}, []]), vec!["a", "7", "true"]),
        (json!("alone"), vec!["alone"]),
        (json!({}), vec![]),
        (json!(null), vec![]),
    ] {
        assert_eq!(read(&json!({ "fingerprint": fingerprint })).unwrap().client_fingerprint, expected);
    }
}

#[test]
fn a_log_messages_template_is_kept_beside_it() {
    let entry = json!({"message": "user %s left", "params": ["Ann"]});
    let report = read(&json!({ "logentry": entry })).unwrap();
    assert_eq!((report.message.as_str(), &report.context[MESSAGE_TEMPLATE]), ("user Ann left", &json!("user %s left")));
    let report = read(&json!({ "logentry": entry, "exception": [{"type": "E", "value": "v"}] })).unwrap();
    assert_eq!((report.message.as_str(), &report.context["log_message"]), ("E: v", &json!("user Ann left")));
    assert!(!report.context.contains_key(MESSAGE_TEMPLATE), "the exception groups, not the message");
}

#[test]
fn personal_data_is_dropped() {
    let event = json!({
        "platform": "python",
        "user": {"email": "SECRET", "name": "SECRET"},
        "tags": {"user.email": "SECRET", "ip": "SECRET", "email_hash": "SECRET", "url": "https://x.example/?t=SECRET",
                 "ipv6": "kept", "username": "kept"},
        "request": {"url": "https://x.example/pay?t=SECRET#SECRET", "method": "POST", "cookies": "SECRET",
                    "data": "SECRET", "headers": [["authorization", "SECRET"]], "query_string": "t=SECRET",
                    "env": {"REMOTE_ADDR": "SECRET"}},
        "breadcrumbs": [{"category": "http", "data": {"url": "https://y.example/?t=SECRET", "http.query": "SECRET"}}],
        "exception": [{"type": "E", "value": "v", "stacktrace": {"frames": [
            {"function": "f", "vars": {"p": "SECRET"}, "context_line": "SECRET", "pre_context": ["SECRET"]}]}}],
        "contexts": {"device": {"name": "SECRET", "model": "kept"}, "x": "SECRET"},
        "modules": {"SECRET": "1"}, "threads": [{"name": "SECRET"}],
    });
    let report = read(&event).unwrap();
    let stored = serde_json::to_string(&report).unwrap();
    assert!(!stored.contains("SECRET"), "{stored}");
    assert_eq!(report.endpoint.as_deref(), Some("/pay"));
    assert_eq!(report.context["request"], json!({"method": "POST", "url": "https://x.example/pay"}));
    assert_eq!(report.context["tags"], json!({"url": "https://x.example/", "ipv6": "kept", "username": "kept"}));
    assert_eq!(report.context["breadcrumbs"], json!([{"category": "http", "data": {"url": "https://y.example/"}}]));
}

#[test]
fn an_event_of_a_megabyte_makes_a_bounded_report() {
    for filling in ["x", "\u{1}", "\"", "😀"] {
        let long = filling.repeat(20_000);
        let many: Map<String, Value> = (0..60).map(|n| (format!("{n}{long}"), json!([long, {"a": long}]))).collect();
        let tags: Vec<_> = (0..90).map(|n| json!([format!("{n}{long}"), long])).collect();
        let crumbs = vec![json!({"message": long, "category": long, "data": {"a": long, "b": long}}); 40];
        let mut event = json!({
            "tags": tags, "breadcrumbs": crumbs, "extra": many, "message": long, "fingerprint": vec![&long; 90],
            "request": {"url": long, "method": long}, "contexts": {}, "sdk": {"name": long, "version": long},
            "exception": [{"type": long, "value": long}], "user": {"id": long},
        });
        for name in [
            "release",
            "dist",
            "platform",
            "logger",
            "server_name",
            "culprit",
            "transaction",
            "timestamp",
            "event_id",
            "level",
            "environment",
            "title",
        ] {
            event[name] = json!(long);
        }
        for name in ["runtime", "os", "browser"] {
            event["contexts"][name] = json!({"name": long, "version": long});
        }
        let report = read(&event).unwrap().storable();
        let context = serde_json::to_string(&report.context).unwrap();
        assert!(context.len() < 64_000, "{filling:?}: {}", context.len());
        let tags = report.context["tags"].as_object().unwrap().len();
        let crumbs = report.context["breadcrumbs"].as_array().unwrap().len();
        assert!(tags > 5 && crumbs > 2, "{filling:?}: {tags} {crumbs}");
        let whole = serde_json::to_string(&report).unwrap();
        assert!(whole.len() < 400_000, "{filling:?}: {}", whole.len());
    }
}

#[test]
fn only_an_object_is_an_event() {
    assert!(read(&json!({})).is_some());
    for other in [json!(null), json!([]), json!("x"), json!(1), json!(true)] {
        assert_eq!(read(&other), None);
    }
}

/// Any JSON of a shape similar to an event's.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("values"),
        Just("frames"),
        Just("type"),
        Just("value"),
        Just("message"),
        Just("formatted"),
        Just("params"),
        Just("mechanism"),
        Just("exception_id"),
        Just("stacktrace"),
        Just("name"),
        Just("version"),
        Just("id"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[%{}()a-z0-9 ./?:@😀-]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_in_any_field_makes_a_report(
        field in "exception|threads|stacktrace|logentry|message|tags|user|request|contexts|breadcrumbs|extra|sdk|\
                  fingerprint|level|timestamp|datetime|release|platform|transaction|event_id|environment|metadata",
        value in anything(),
        whole in any::<bool>(),
    ) {
        let mut event: Value = serde_json::from_str(PYTHON_EXCEPTION).unwrap();
        if whole {
            event = json!({});
        }
        event[&field] = value;
        let report = read(&event).unwrap();
        prop_assert!(!report.message.trim().is_empty());
        prop_assert!(serde_json::to_string(&report.context).unwrap().len() < 64_000);
    }
}
