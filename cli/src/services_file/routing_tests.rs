//! Routes and escalations in valid and invalid files.

use shared::model::{Category, GroupLabel, Labels, Severity};

use super::*;

const EVERYTHING: &str = include_str!("everything.toml");

fn routing(text: &str) -> Routing {
    let file = parse(text).unwrap_or_else(|refusal| panic!("{refusal}\n{text}"));
    file.routing.unwrap_or_else(|| panic!("{text} has no routing"))
}

#[test]
fn a_file_with_all_settings_becomes_routes_and_escalations() {
    let routing = routing(EVERYTHING);
    assert_eq!(routing.validate(), Ok(()));
    let names: Vec<&str> = routing.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["payments by night", "noise", "the rest"]);
    let [night, noise, rest] = &routing.routes[..] else { panic!("{routing:?}") };
    assert_eq!((night.escalation.as_deref(), night.continues), (Some("night"), true));
    assert_eq!((night.repeat_interval_seconds, night.group_interval_seconds), (Some(14_400), None));
    let channels: Vec<String> = night.channels.iter().map(ToString::to_string).collect();
    assert_eq!(channels, ["slack:#payments", "sms:+4915112345678", "pagerduty"]);
    let labels = Labels {
        severity: Severity::High,
        category: Category::Backend,
        application: "shop-api".to_owned(),
        environment: "production".to_owned(),
        service: Some("payments".to_owned()),
        tags: vec!["external".to_owned()],
    };
    let matches = |at: &str| night.matchers.matches(&labels, at.parse().unwrap());
    assert!(matches("2026-11-24T21:00:00Z") && !matches("2026-11-24T12:00:00Z"));
    assert!(noise.channels.is_empty() && noise.matchers.severity == [Severity::Low]);
    assert_eq!(rest.group_by, [GroupLabel::Application, GroupLabel::Severity]);
    assert_eq!((rest.group_wait_seconds, rest.group_interval_seconds), (30, Some(300)));
    assert!(rest.matchers.is_any() && !rest.continues);
    let steps: Vec<(u32, usize)> =
        routing.escalations[0].steps.iter().map(|step| (step.after_seconds, step.channels.len())).collect();
    assert_eq!(steps, [(600, 1), (1_800, 2)]);
    // What is stored is read again as it was.
    let stored = serde_json::to_value(&routing).unwrap();
    assert_eq!(serde_json::from_value::<Routing>(stored).unwrap(), routing);
}

#[test]
fn a_file_may_have_only_routes_only_services_or_both() {
    let service = "[[services]]\nname = \"a\"\nurl = \"http://x\"\n";
    let route = "[[routes]]\nname = \"all\"\nchannels = [\"slack\"]\n";
    assert_eq!(parse(service).unwrap().routing, None);
    let both = parse(&format!("{route}{service}")).unwrap();
    assert_eq!((both.specs().len(), both.routing.map(|it| it.routes.len())), (1, Some(1)));
    let only = parse(route).unwrap();
    assert_eq!((only.specs().len(), only.routing.map(|it| it.routes.len())), (0, Some(1)));
    let escalation = "[[escalations]]\nname = \"a\"\nsteps = [{ after = 60, channels = [\"sms\"] }]\n";
    assert_eq!(routing(escalation).escalations.len(), 1);
    assert!(parse("").unwrap_err().to_string().contains("[[routes]]"));
}

/// Invalid settings of a route, in line 4, with a part of the error text.
const ROUTE: [(&str, &str); 33] = [
    ("chanels = []", "\"chanels\" is no setting here, did you mean \"channels\"?"),
    (
        "escalation = \"nigth\"",
        "escalation: there is no [[escalations]] \"nigth\" in this file, did you mean \"night\"?",
    ),
    ("escalation = 3", "escalation: must be text"),
    ("group_by = \"application\"", "group_by: must be a list"),
    ("group_by = [\"aplication\"]", "group_by: must be one of severity, category, application, environment, service"),
    ("group_by = [\"aplication\"]", "did you mean \"application\"?"),
    ("group_by = [\"service\", \"service\"]", "group_by: each label once"),
    ("group_wait = \"soon\"", "group_wait: "),
    ("group_wait = \"2h\"", "group_wait: must be at most 1 hour"),
    ("group_wait = \"1500ms\"", "group_wait: must be whole seconds"),
    ("group_interval = \"2days\"", "group_interval: must be at most 1 day"),
    ("repeat_interval = 5", "repeat_interval: must be between 1 minute and 30 days"),
    ("repeat_interval = -5", "repeat_interval: must be a whole number"),
    ("continue = \"yes\"", "continue: must be true or false"),
    ("match = \"CRITICAL\"", "match: must be a table"),
    ("match = { sevrity = [\"LOW\"] }", "match: \"sevrity\" is nothing to match by, did you mean \"severity\"?"),
    (
        "match = { severity = [\"critcal\"] }",
        "match: severity: must be CRITICAL, HIGH, MEDIUM or LOW, did you mean \"CRITICAL\"?",
    ),
    ("match = { severity = [] }", "match: severity: must name at least one"),
    ("match = { severity = 3 }", "match: severity: must be text"),
    ("match = { category = [\"fronted\"] }", "did you mean \"frontend\"?"),
    ("match = { category = [\"other\"] }", "match: category: must be one of backend, frontend"),
    ("match = { application = [\"\"] }", "match: application: a name has 1 to 200 characters"),
    ("match = { environment = [7] }", "match: environment: must be text"),
    ("match = { service = { a = 1 } }", "match: service: must be text"),
    ("match = { tags = [\"\"] }", "match: tags: a name has"),
    ("match = { hours = \"night\" }", "match: hours: must be a list"),
    ("match = { hours = [{ start = \"20:00\" }] }", "match: hours: end is missing"),
    (
        "match = { hours = [{ start = \"20:00\", end = \"08:00\", time_zone = \"Europe/Berlim\" }] }",
        "did you mean \"Europe/Berlin\"?",
    ),
    (
        "match = { hours = [{ from = 2026-12-01T22:00:00Z, until = 2026-12-01T21:00:00Z }] }",
        "match: hours: a window must end after it begins",
    ),
    ("match = { severity = [\"x\"], category = [\"y\"] }", "match: category: must be one of"),
    ("name = 7", "duplicate key"),
    ("[routes.match]\nservices = [\"a\"]", "match: \"services\" is nothing to match by, did you mean \"service\"?"),
    ("[[routes]]\nname = \"all\"\nchannels = []", "name: \"all\" is already in line 2"),
];

#[test]
fn each_wrong_setting_of_a_route_is_refused_with_its_line_and_reason() {
    let escalation = "[[escalations]]\nname = \"night\"\nsteps = [{ after = 60, channels = [\"sms\"] }]\n";
    for (setting, expected) in ROUTE {
        let text = format!("[[routes]]\nname = \"all\"\nchannels = [\"slack\"]\n{setting}\n{escalation}");
        let refusal = parse(&text).unwrap_err();
        let (line, _) = refusal.0.first().unwrap();
        let after = setting.contains('\n');
        assert!(*line == 4 || (after && *line == 5), "{setting}\n→ {refusal}");
        assert!(refusal.to_string().contains(expected), "{setting}\n→ {refusal}");
    }
}

#[test]
fn each_invalid_receiver_is_refused_with_a_reason() {
    for (receiver, expected) in [
        (
            "\"slak:#ops\"",
            "\"slak\" is no channel: slack, discord, email, sms, pagerduty or webhook, did you mean \"slack\"?",
        ),
        ("\"email:ops\"", "\"ops\" is not an e-mail address"),
        ("\"sms:0151\"", "\"0151\" is not a telephone number"),
        ("\"webhook:https://example.com\"", "is not the end of a variable's name"),
        ("\"slack\", \"slack:default\"", "\"slack\" is listed twice"),
        ("7", "must be text"),
    ] {
        let text = format!("[[routes]]\nname = \"all\"\nchannels = [{receiver}]\n");
        let refusal = parse(&text).unwrap_err().to_string();
        assert!(refusal.starts_with("  line 3: channels: ") && refusal.contains(expected), "{receiver}\n→ {refusal}");
    }
    let many: Vec<String> = (0..21).map(|number| format!("\"webhook:N{number}\"")).collect();
    let text = format!("[[routes]]\nname = \"all\"\nchannels = [{}]\n", many.join(", "));
    assert_eq!(parse(&text).unwrap_err().to_string(), "  line 3: channels: at most 20");
}

#[test]
fn missing_settings_of_a_route_are_reported_at_its_first_line() {
    for (text, expected) in [
        ("[[routes]]\nchannels = [\"slack\"]\n", "line 1: name is missing"),
        ("[[routes]]\nname = \"a\"\n", "line 1: channels is missing: [] = no notifications"),
        ("[[routes]]\nname = \"\"\nchannels = []\n", "line 2: name: a name has 1 to 60"),
        ("[routes]\nname = \"a\"\n", "line 1: routes must be tables: [[routes]]"),
        ("routes = [3]\n", "line 1: routes must be tables: [[routes]]"),
        ("[[route]]\nname = \"a\"\n", "line 1: \"route\" is no setting here, did you mean \"routes\"?"),
    ] {
        let refusal = parse(text).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{text}\n→ {refusal}");
    }
}

#[test]
fn each_wrong_escalation_is_refused_with_its_line_and_reason() {
    let step = |more: &str| format!("[[escalations]]\nname = \"a\"\n[[escalations.steps]]\n{more}\n");
    for (text, expected) in [
        ("[[escalations]]\nname = \"a\"\n".to_owned(), "line 1: there is no step: [[escalations.steps]]"),
        ("[[escalations]]\nname = \"a\"\nsteps = []\n".to_owned(), "line 1: an escalation has 1 to 20 steps"),
        ("[[escalations]]\nname = \"a\"\nsteps = 3\n".to_owned(), "line 3: steps must be tables"),
        ("[[escalations]]\nname = \"a\"\nsteps = [3]\n".to_owned(), "line 3: steps must be tables"),
        ("[[escalations]]\nsteps = [{ after = 1, channels = [\"sms\"] }]\n".to_owned(), "line 1: name is missing"),
        (step("after = 60"), "line 3: channels is missing"),
        (step("channels = [\"sms\"]"), "line 3: after is missing"),
        (step("after = 60\nchannels = []"), "line 5: channels: must name at least one"),
        (step("after = 60\nchannels = [\"smss\"]"), "did you mean \"sms\"?"),
        (step("after = \"8days\"\nchannels = [\"sms\"]"), "line 4: after: a step comes within 7 days"),
        (step("after = \"soon\"\nchannels = [\"sms\"]"), "line 4: after: "),
        (
            step("aftr = 60\nafter = 60\nchannels = [\"sms\"]"),
            "line 4: \"aftr\" is no setting here, did you mean \"after\"?",
        ),
        (
            step("after = 60\nchannels = [\"sms\"]\n[[escalations.steps]]\nafter = 60\nchannels = [\"sms\"]"),
            "line 7: after: each step comes after the one before it",
        ),
        (format!("{0}{0}", step("after = 60\nchannels = [\"sms\"]")), "line 7: name: \"a\" is already in line 2"),
    ] {
        let refusal = parse(&text).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{text}\n→ {refusal}");
    }
}

#[test]
fn problems_of_services_and_routes_are_reported_together() {
    let text = "[[routes]]\nname = \"a\"\nchannels = [\"fax\"]\ngroup_wait = \"2h\"\n\
                [[services]]\nname = \"a\"\nurl = \"ftp://x\"\n[[escalations]]\nname = \"n\"\n";
    let refusal = parse(text).unwrap_err();
    let lines: Vec<usize> = refusal.0.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 7, 8], "{refusal}");
}
