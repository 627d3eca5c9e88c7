//! Files, good and bad.

use std::time::Duration;

use shared::model::{DnsRecord, Kind, MaintenanceWindow};

use super::*;

/// A file that says everything that can be said.
const EVERYTHING: &str = include_str!("everything.toml");

fn service<'a>(file: &'a ServicesFile, name: &str) -> &'a ServiceSpec {
    &file.services.iter().find(|placed| placed.spec.name == name).unwrap_or_else(|| panic!("{name} in {file:?}")).spec
}

#[test]
fn a_file_that_says_everything_becomes_services() {
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
fn the_least_that_can_be_said_is_a_name_and_an_address() {
    let file = parse("[[services]]\nname = \"api\"\nurl = \"https://api.example.com/health\"\n").unwrap();
    let expected = ServiceSpec::http("api", "production", "https://api.example.com/health");
    assert_eq!(file.specs(), [expected]);
}

/// What a file that begins with a good service, six lines long, is refused for.
fn refused_for(bad: &str) -> String {
    let good = "[[services]]\nname = \"good\"\nurl = \"http://x/\"\n\n\n\n";
    parse(&format!("{good}{bad}")).err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

#[test]
fn each_wrong_setting_is_refused_with_its_line_and_reason() {
    for (bad, told) in [
        ("[[services]]\nname = \"a\"\n", "line 7: url is missing"),
        ("[[services]]\nurl = \"http://x\"\n", "line 7: name is missing"),
        ("[[services]]\nname = 7\nurl = \"http://x\"\n", "line 8: name: must be text"),
        ("[[services]]\nname = \" a\"\nurl = \"http://x\"\n", "line 8: name must have 1 to 100"),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\ntimeuot = 3\n",
            "line 10: \"timeuot\" is no setting of a service, did you mean \"timeout\"?",
        ),
        ("[[services]]\nname = \"a\"\nurl = \"ftp://x\"\n", "line 9: url is not an http or https address"),
        ("[[services]]\nname = \"a\"\nurl = \"http://u:p@x\"\n", "line 9: url: an address must hold no secret"),
        ("[[services]]\nname = \"a\"\nurls = []\n", "line 9: urls: must be at least one"),
        ("[[services]]\nname = \"a\"\nurl = \"http://x\"\nurls = [\"http://y\"]\n", "line 10: url, urls and target"),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nkind = \"htp\"\n",
            "line 10: kind: must be one of http, tcp, tls, dns, postgres, heartbeat, supabase, did you mean \"http\"?",
        ),
        ("[[services]]\nname = \"a\"\nurl = \"http://x\"\ntimeout = \"soon\"\n", "line 10: timeout: "),
        ("[[services]]\nname = \"a\"\nurl = \"http://x\"\ntimeout = \"1h\"\n", "line 10: timeout must be between"),
        ("[[services]]\nname = \"a\"\nurl = \"http://x\"\ninterval = 29\n", "line 10: interval must be whole seconds"),
        ("[[services]]\nname = \"a\"\nurl = \"http://x\"\ntimeout = 20\ninterval = 30\n", "line 10: twice the timeout"),
        ("[[services]]\nname = \"a\"\nurl = \"http://x\"\nmethod = \"FETCH\"\n", "line 10: method must be one of"),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nheaders = { authorization = \"Bearer abc\" }\n",
            "line 10: headers: authorization looks like a secret: write ${PROBE_SECRET_NAME}",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nheaders = { accept = \"${READ_TOKEN}\" }\n",
            "line 10: headers: accept: ${READ_TOKEN}: only variables",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nbody = \"password=hunter2\"\n",
            "line 10: body: the body looks like a secret",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nexpected_status = 42\n",
            "line 10: expected_status: statuses are between 100 and 599",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nexpected_statuses = [\"2xx\", \"x\"]\n",
            "line 10: expected_statuses: must be a status such as",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nexpected_status = 200\nexpected_statuses = [200]\n",
            "line 11: expected_status is there already",
        ),
        ("[[services]]\nname = \"a\"\nurl = \"http://x\"\ndegraded_above = \"slow\"\n", "line 10: degraded_above: "),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nmax_redirects = -1\n",
            "line 10: max_redirects: must be a whole number",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nfailure_threshold = 0\n",
            "line 10: failure_threshold must be between",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nparents = [\"a\"]\n",
            "line 10: parents: it can't be its own",
        ),
        ("[[services]]\nname = \"a\"\nurl = \"http://x\"\nquorum = 0\n", "line 10: quorum must be at least 1"),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\npage_after = \"2 days\"\n",
            "line 10: page_after must be at most 1 day",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nenabled = \"yes\"\n",
            "line 10: enabled: must be true or false",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nrecord = \"MX\"\n",
            "line 10: \"record\" is for services of kind dns, and this is http",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"tcp\"\ntarget = \"x\"\n",
            "line 10: target is not of the form host:port",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"dns\"\ntarget = \"x\"\nrecord = \"Z\"\n",
            "line 11: record: must be one of A",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"dns\"\ntarget = \"x\"\nserver = \"9.9.9.9\"\n",
            "line 11: dns_server is not of the form",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"postgres\"\ntarget = \"postgresql://u:p@h/d\"\n",
            "line 10: target must be ${VARIABLE}",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"postgres\"\ntarget = \"${X}\"\nlimits = { conections_ratio = 1 }\n",
            "line 11: limits: \"conections_ratio\" is no limit, did you mean \"connections_ratio\"?",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"postgres\"\ntarget = \"${X}\"\nlimits = { connections_ratio = 80 }\n",
            "line 11: postgres.connections_ratio must be between",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"heartbeat\"\nurl = \"http://x\"\n",
            "line 10: \"url\" is for services of kind http, and this is heartbeat",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"supabase\"\nproject = \"x\"\nanon_key = \"eyJ\"\n",
            "line 10: project: must be the project's reference",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"supabase\"\nproject = \"x\"\nanon_key = \"eyJ\"\n",
            "line 11: anon_key: must be ${VARIABLE}",
        ),
        (
            "[[services]]\nname = \"a\"\nkind = \"supabase\"\nproject = \"http://x\"\nanon_key = \"${READ_TOKEN}\"\n",
            "line 11: headers: apikey",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nconditions = [\n\"[STATUS] == 200\",\n\"[STATUS] = 200\",\n\"[ANSWER] == a\"]\n",
            "line 12: conditions: condition \"[STATUS] = 200\"",
        ),
        (
            "[[services]]\nname = \"a\"\nurl = \"http://x\"\nconditions = [\n\"[STATUS] == 200\",\n\"[STATUS] = 200\",\n\"[ANSWER] == a\"]\n",
            "line 13: conditions: condition \"[ANSWER] == a\"",
        ),
        ("[defaults]\nurl = \"http://x\"\n", "line 8: \"url\" is no setting here"),
        (
            "[environments.test]\npage_aftr = 3\n",
            "line 8: \"page_aftr\" is no setting here, did you mean \"page_after\"?",
        ),
        ("[service]\n", "line 7: \"service\" is no setting here, did you mean \"services\"?"),
        ("[[services\n", "line 7: "),
    ] {
        let refusal = refused_for(bad);
        assert!(refusal.contains(told), "{bad}\n→ {refusal}\nwithout {told}");
    }
}

#[test]
fn each_wrong_window_is_refused_with_its_line_and_reason() {
    for (window, told) in [
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
        let refusal =
            refused_for(&format!("[[services]]\nname = \"a\"\nurl = \"http://x\"\nmaintenance = [{window}]\n"));
        assert!(refusal.contains("line 10: maintenance") && refusal.contains(told), "{window}\n→ {refusal}");
    }
}

#[test]
fn all_problems_of_a_file_are_told_at_once_in_order() {
    let text = "[[services]]\nname = \"a\"\nurl = \"x\"\ntimeout = \"1h\"\nmethod = \"X\"\nquorum = 0\n\
                [[services]]\nname = \"b\"\ncolour = 3\nexpected_statuses = [\n  42,\n  \"x\",\n]\n\
                [[services]]\nname = \"a\"\nurl = \"http://y\"\n";
    let refusal = parse(text).unwrap_err();
    let lines: Vec<usize> = refusal.0.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 9, 11, 12, 14], "{refusal}");
}

#[test]
fn a_name_stands_once_in_an_environment_whatever_it_was_expanded_from() {
    let text = "[[services]]\nname = \"a (x)\"\nurl = \"http://x\"\n[[services]]\nname = \"a\"\nurls = [\"http://x\"]\n\
                [[services]]\nname = \"a (x)\"\nenvironment = \"test\"\nurl = \"http://x\"\n";
    let refusal = parse(text).unwrap_err().to_string();
    assert_eq!(refusal, "  line 4: service \"a (x)\" of environment \"production\" stands in line 1 already");
}

#[test]
fn an_entry_comes_before_its_environment_and_that_before_the_defaults() {
    let text = "[defaults]\nenvironment = \"test\"\nexpected_statuses = [204]\npage_after = 10\nquorum = 3\nparents = [\"a\"]\n\
                [environments.test]\npage_after = 20\n\
                [[services]]\nname = \"a\"\nurl = \"http://x\"\n\
                [[services]]\nname = \"b\"\nurl = \"http://x\"\nexpected_status = 201\npage_after = 30\n\
                [[services]]\nname = \"c\"\nurl = \"http://x\"\nenvironment = \"production\"\nparents = []\n";
    let file = parse(text).unwrap();
    let told: Vec<_> = file
        .specs()
        .into_iter()
        .map(|it| (it.check.expected_statuses.to_string(), it.policy.page_after_seconds, it.policy.parents.len()))
        .collect();
    let told: Vec<_> = told.iter().map(|(statuses, after, parents)| (statuses.as_str(), *after, *parents)).collect();
    assert_eq!(told, [("204", Some(20), 0), ("201", Some(30), 1), ("204", Some(10), 0)]);
}

#[test]
fn parents_exist_in_the_same_environment_and_make_no_circle() {
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
         line 8: parents: a circle: b → c → stored → b\n  \
         line 12: parents: a circle: c → stored → b → c\n  \
         line 17: parents: there is no service \"stored\" in environment \"test\""
    );
}
