//! Valid and invalid files.

use std::time::Duration;

use shared::model::{DnsRecord, Kind, MaintenanceWindow};

use super::*;

/// A file with all settings.
const EVERYTHING: &str = include_str!("everything.toml");

fn service<'a>(file: &'a ServicesFile, name: &str) -> &'a ServiceSpec {
    &file.services.iter().find(|placed| placed.spec.name == name).unwrap_or_else(|| panic!("{name} in {file:?}")).spec
}

#[test]
fn a_file_with_all_settings_becomes_services() {
    let file = parse(EVERYTHING).unwrap_or_else(|refusal| panic!("{refusal}"));
    file.check_parents(&[]).unwrap();
    let names: Vec<&str> = file.services.iter().map(|placed| placed.spec.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "api",
            "console (console.example)",
            "console (console.example/login)",
            "queue",
            "certificate",
            "name",
            "database",
            "nightly",
            "shop (auth)",
            "shop (storage)",
            "shop (rest)",
            "shop (database)",
            "shop (functions/pay)",
        ]
    );
    let api = service(&file, "api");
    assert_eq!((api.environment.as_str(), api.application.as_str()), ("test", "shop"));
    assert_eq!((api.timeout, api.interval), (Duration::from_millis(1_500), Some(Duration::from_secs(30))));
    assert_eq!(api.check.method, "POST");
    assert_eq!(api.check.headers["authorization"], "Bearer ${PROBE_SECRET_API}");
    assert_eq!(api.check.expected_statuses.to_string(), "200-299 or 404 or 410-412");
    assert_eq!(api.check.degraded_above_ms, Some(800));
    assert_eq!((api.check.certificate_warning_days, api.check.max_redirects), (7, 0));
    assert_eq!((api.policy.failure_threshold, api.policy.recovery_threshold), (2, 3));
    assert_eq!((api.policy.quorum, api.policy.page_after_seconds), (Some(2), Some(60)));
    assert_eq!((api.policy.parents.as_slice(), api.policy.tags.as_slice()), (&["database".to_owned()][..], &[][..]));
    assert_eq!(api.policy.maintenance.len(), 3);
    let friday = |text: &str| text.parse().unwrap();
    let contained = |at: &str| api.policy.maintenance.iter().any(|window| window.contains(friday(at)));
    // Saturday 22:30 in Berlin is 21:30 in winter.
    assert!(contained("2026-11-28T21:30:00Z") && !contained("2026-11-28T20:30:00Z"));
    assert!(contained("2026-12-01T23:00:00Z") && !contained("2026-12-02T01:00:00Z"));
    assert!(matches!(api.policy.maintenance[1], MaintenanceWindow::Once { .. }));

    let console = service(&file, "console (console.example/login)");
    assert_eq!((console.group.as_deref(), console.application.as_str()), (Some("console"), "console"));
    assert_eq!((console.environment.as_str(), console.policy.page_after_seconds), ("production", None));
    assert_eq!(console.timeout, Duration::from_secs(3), "the file's default");
    assert_eq!(service(&file, "queue").target, "queue.internal:5672");
    assert_eq!(service(&file, "certificate").kind, Kind::Tls);
    let name = service(&file, "name");
    assert_eq!((name.check.dns_record, name.check.dns_server.as_deref()), (DnsRecord::Mx, Some("9.9.9.9:53")));
    let limits = service(&file, "database").check.postgres;
    assert_eq!((limits.connections_ratio, limits.deadlocks, limits.transaction_seconds), (Some(0.9), None, Some(120)));
    let nightly = service(&file, "nightly");
    assert_eq!((nightly.interval, nightly.check.grace_seconds), (Some(Duration::from_hours(24)), 1_800));
    assert!(!nightly.enabled);
}

#[test]
fn a_name_and_an_address_are_enough() {
    let file = parse("[[services]]\nname = \"api\"\nurl = \"https://api.example.com/health\"\n").unwrap();
    let expected = ServiceSpec::http("api", "production", "https://api.example.com/health");
    assert_eq!(file.specs(), [expected]);
}

/// Files that are refused, each after a part of its error text.
const REFUSALS: &str = include_str!("refusals.txt");

#[test]
fn each_wrong_setting_is_refused_with_its_line_and_reason() {
    let cases: Vec<(&str, &str)> =
        REFUSALS.split("\n### ").skip(1).map(|case| case.split_once('\n').unwrap_or((case, ""))).collect();
    assert!(cases.len() > 40, "{}", cases.len());
    for (expected, text) in cases {
        let refusal = parse(text).err().map(|refusal| refusal.to_string()).unwrap_or_default();
        assert!(refusal.contains(expected), "{text}\n→ {refusal}\nwithout {expected}");
    }
}

#[test]
fn each_wrong_window_is_refused_with_its_line_and_reason() {
    for (window, expected) in [
        ("7", "each window must be a table"),
        ("{ }", "start is missing"),
        ("{ start = \"22:00\" }", "end is missing"),
        ("{ start = \"22:00\", end = \"25:00\" }", "must be a time of day"),
        ("{ start = \"22:00\", end = \"23:00\", weekdays = [\"sun\", \"someday\"] }", "\"someday\" is no weekday"),
        ("{ start = \"22:00\", end = \"23:00\", time_zone = \"Europe/Berlim\" }", "did you mean \"Europe/Berlin\"?"),
        ("{ start = \"22:00\", end = \"23:00\", timezone = \"UTC\" }", "did you mean \"time_zone\"?"),
        ("{ from = 2026-12-01T22:00:00Z }", "until is missing"),
        ("{ from = 2026-12-01T22:00:00, until = 2026-12-01T23:00:00Z }", "must be a time with its offset"),
        ("{ from = 2026-12-01T22:00:00Z, until = 2026-12-01T21:00:00Z }", "must end after it begins"),
        ("{ from = 2026-12-01T22:00:00Z, until = 2026-12-02T21:00:00Z, start = \"22:00\" }", "either from and until"),
    ] {
        let text = format!("[[services]]\nname = \"a\"\nurl = \"http://x\"\nmaintenance = [{window}]\n");
        let refusal = parse(&text).unwrap_err().to_string();
        assert!(refusal.contains("line 4: maintenance") && refusal.contains(expected), "{window}\n→ {refusal}");
    }
}

#[test]
fn all_problems_of_a_file_are_reported_at_once_in_order() {
    let text = "[[services]]\nname = \"a\"\nurl = \"x\"\ntimeout = \"1h\"\nmethod = \"X\"\nquorum = 0\n\
                [[services]]\nname = \"b\"\ncolour = 3\nexpected_statuses = [\n  42,\n  \"x\",\n]\n\
                [[services]]\nname = \"a\"\nurl = \"http://y\"\n";
    let refusal = parse(text).unwrap_err();
    let lines: Vec<usize> = refusal.0.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 9, 11, 12, 14], "{refusal}");
}

#[test]
fn a_name_is_unique_in_an_environment_also_after_expansion() {
    let text = "[[services]]\nname = \"a (x)\"\nurl = \"http://x\"\n[[services]]\nname = \"a\"\nurls = [\"http://x\"]\n\
                [[services]]\nname = \"a (x)\"\nenvironment = \"test\"\nurl = \"http://x\"\n";
    let refusal = parse(text).unwrap_err().to_string();
    assert_eq!(refusal, "  line 4: service \"a (x)\" of environment \"production\" is already in line 1");
}

#[test]
fn an_entry_comes_before_its_environment_and_that_before_the_defaults() {
    let text = "[defaults]\nenvironment = \"test\"\nexpected_statuses = [204]\npage_after = 10\nquorum = 3\nparents = [\"a\"]\n\
                [environments.test]\npage_after = 20\n\
                [[services]]\nname = \"a\"\nurl = \"http://x\"\n\
                [[services]]\nname = \"b\"\nurl = \"http://x\"\nexpected_status = 201\npage_after = 30\n\
                [[services]]\nname = \"c\"\nurl = \"http://x\"\nenvironment = \"production\"\nparents = []\n";
    let file = parse(text).unwrap();
    let read: Vec<_> = file
        .specs()
        .into_iter()
        .map(|it| (it.check.expected_statuses.to_string(), it.policy.page_after_seconds, it.policy.parents.len()))
        .collect();
    let read: Vec<_> = read.iter().map(|(statuses, after, parents)| (statuses.as_str(), *after, *parents)).collect();
    assert_eq!(read, [("204", Some(20), 0), ("201", Some(30), 1), ("204", Some(10), 0)]);
}

#[test]
fn parents_exist_in_the_same_environment_and_form_no_cycle() {
    let text = "[[services]]\nname = \"a\"\nurl = \"http://x\"\nparents = [\"databse\"]\n\
                [[services]]\nname = \"b\"\nurl = \"http://x\"\nparents = [\"c\"]\n\
                [[services]]\nname = \"c\"\nurl = \"http://x\"\nparents = [\"stored\"]\n\
                [[services]]\nname = \"d\"\nurl = \"http://x\"\nenvironment = \"test\"\nparents = [\"stored\"]\n";
    let file = parse(text).unwrap();
    let mut stored = ServiceSpec::http("stored", "production", "http://x");
    stored.policy.parents = vec!["b".to_owned()];
    let others = [stored, ServiceSpec::http("database", "production", "http://x")];
    let refusal = file.check_parents(&others).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "  line 4: parents: there is no service \"databse\" in environment \"production\", did you mean \"database\"?\n  \
         line 8: parents: a cycle: b → c → stored → b\n  \
         line 12: parents: a cycle: c → stored → b → c\n  \
         line 17: parents: there is no service \"stored\" in environment \"test\""
    );
}
