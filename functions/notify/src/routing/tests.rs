//! Which receivers are notified.

use proptest::prelude::*;
use shared::model::{Category, Matchers};

use super::*;

fn labels(severity: Severity) -> Labels {
    Labels {
        severity,
        category: Category::Backend,
        application: "shop".to_owned(),
        environment: "production".to_owned(),
        service: None,
        tags: Vec::new(),
    }
}

fn receivers(names: &[&str]) -> Vec<Receiver> {
    names.iter().map(|name| Receiver::parse(name).unwrap()).collect()
}

fn configured(names: &[&str]) -> Configured {
    Configured::new(receivers(names), None)
}

fn notified(routing: &Routing, configured: &Configured, labels: &Labels) -> Vec<String> {
    route_to_groups(routing, configured, "incident:INC-1", labels, DateTime::UNIX_EPOCH)
        .iter()
        .flat_map(|group| group.settings.receivers.iter().map(ToString::to_string))
        .collect()
}

fn routing(json: &str) -> Routing {
    let routing: Routing = serde_json::from_str(json).unwrap();
    routing.validate().unwrap();
    routing
}

#[test]
fn without_routes_the_severity_decides() {
    use Severity::{Critical, High, Low, Medium};
    let all = ["slack", "discord", "email:a@b.c", "email:d@b.c", "sms:+4915112345678", "pagerduty", "webhook:X"];
    let pages: &[&str] = &["slack", "discord", "sms:+4915112345678", "pagerduty", "webhook:X"];
    let mails: &[&str] = &["slack", "discord", "email:a@b.c", "email:d@b.c", "webhook:X"];
    for (names, severity, wanted) in [
        (&all[..], Critical, pages),
        (&all[..], High, pages),
        (&all[..], Medium, mails),
        (&all[..], Low, mails),
        (&["slack"][..], Critical, &["slack"][..]),
        // None of its channels is configured: all that are.
        (&["email:a@b.c"][..], Critical, &["email:a@b.c"][..]),
        (&["pagerduty", "sms:+4915112345678"][..], Low, &["pagerduty", "sms:+4915112345678"][..]),
        (&["pagerduty", "slack"][..], Low, &["slack"][..]),
        // A severe problem must reach a person, not only a program.
        (&["webhook:X", "email:a@b.c"][..], Critical, &["webhook:X", "email:a@b.c"][..]),
        (&["webhook:X", "pagerduty"][..], Low, &["webhook:X"][..]),
        (&[][..], Critical, &[][..]),
    ] {
        let found = notified(&Routing::default(), &configured(names), &labels(severity));
        assert_eq!(found, wanted, "{names:?} {severity:?}");
    }
}

#[test]
fn the_first_matching_route_decides() {
    let routing = routing(
        r##"{"routes": [
            {"name": "log", "channels": ["webhook"], "continue": true},
            {"name": "shop", "match": {"application": ["shop"]}, "channels": ["slack:#shop", "webhook"]},
            {"name": "rest", "channels": ["slack"]}
        ]}"##,
    );
    let configured = configured(&["slack", "webhook"]);
    assert_eq!(notified(&routing, &configured, &labels(Severity::Low)), ["webhook", "slack:#shop"]);
    let other = Labels { application: "bank".to_owned(), ..labels(Severity::Low) };
    assert_eq!(notified(&routing, &configured, &other), ["webhook", "slack"]);
}

#[test]
fn without_a_matching_route_the_defaults_apply_and_an_empty_route_notifies_no_receiver() {
    let configured = configured(&["slack"]);
    let one = routing(r#"{"routes": [{"name": "bank", "match": {"application": ["bank"]}, "channels": ["webhook"]}]}"#);
    assert_eq!(notified(&one, &configured, &labels(Severity::Low)), ["slack"]);
    let none = routing(r#"{"routes": [{"name": "quiet"}]}"#);
    assert_eq!(notified(&none, &configured, &labels(Severity::Critical)), [] as [&str; 0]);
}

#[test]
fn e_mail_and_sms_stand_for_all_their_addresses_and_what_is_not_configured_stays() {
    let routing = routing(r#"{"routes": [{"name": "all", "channels": ["email", "sms", "email:x@y.z"]}]}"#);
    let some = configured(&["email:a@b.c", "email:x@y.z"]);
    assert_eq!(notified(&routing, &some, &labels(Severity::Low)), ["email:a@b.c", "email:x@y.z", "sms"]);
    let stored = Configured::new(receivers(&["email"]), Some("team@b.c"));
    assert_eq!(notified(&routing, &stored, &labels(Severity::Low)), ["email:team@b.c", "sms", "email:x@y.z"]);
    // A channel without a recipient is not configured.
    assert_eq!(Configured::new(receivers(&["email"]), None).all(), []);
}

#[test]
fn a_group_has_what_its_problems_have_in_common() {
    let routing = routing(
        r#"{"routes": [{"name": "shop", "channels": ["slack"], "group_by": ["service", "application"], "escalation": "a"}],
            "escalations": [{"name": "a", "steps": [{"after_seconds": 60, "channels": ["sms"]}]}]}"#,
    );
    let of = |subject: &str, labels: &Labels| {
        route_to_groups(&routing, &configured(&["slack"]), subject, labels, DateTime::UNIX_EPOCH).remove(0)
    };
    let one = of("incident:INC-1", &labels(Severity::Low));
    assert_eq!(one.group_key, r#"shop/{"application":"shop","service":""}"#);
    assert_eq!(one.settings.label.as_deref(), Some("no service, application shop"));
    assert_eq!(one.settings.group_interval_seconds, Route::GROUP_INTERVAL_SECONDS);
    assert_eq!(one.settings.escalation, routing.escalation("a").cloned());
    assert_eq!(of("incident:INC-2", &labels(Severity::High)), one);
    let long = Labels { application: "x".repeat(300), ..labels(Severity::Low) };
    assert!(dedup_key(&of("incident:INC-1", &long).group_key).len() < 255);
}

#[test]
fn what_is_notified_together_goes_to_the_same_receivers() {
    let routing = routing(
        r#"{"routes": [
            {"name": "bad", "match": {"severity": ["CRITICAL"]}, "channels": ["slack", "pagerduty"], "continue": true},
            {"name": "all", "channels": ["slack", "email:a@b.c"], "group_by": ["application"]}]}"#,
    );
    let of = |subject: &str, severity| {
        let mut groups = route_to_groups(&routing, &configured(&[]), subject, &labels(severity), DateTime::UNIX_EPOCH);
        groups.pop().unwrap()
    };
    let (low, critical) = (of("incident:INC-1", Severity::Low), of("incident:INC-2", Severity::Critical));
    assert_eq!(low.group_key, r#"all/{"application":"shop"}"#);
    assert_eq!(low.settings.receivers, receivers(&["slack", "email:a@b.c"]));
    assert_eq!(critical.group_key, r#"all/{"application":"shop","without":["slack"]}"#);
    assert_eq!(critical.settings.receivers, receivers(&["email:a@b.c"]));
    assert_eq!(of("incident:INC-3", Severity::Critical), critical);
}

fn some_receiver() -> impl Strategy<Value = Receiver> {
    prop::sample::select(vec!["slack", "slack:#a", "discord", "email", "email:a@b.c", "sms", "pagerduty", "webhook"])
        .prop_map(|name| Receiver::parse(name).unwrap())
}

fn some_route() -> impl Strategy<Value = Route> {
    let severities = prop::collection::vec(prop::sample::select(Severity::ALL.to_vec()), 0..3);
    let group_by = prop::sample::subsequence(GroupLabel::ALL.to_vec(), 0..3);
    (severities, prop::collection::vec(some_receiver(), 0..4), any::<bool>(), group_by).prop_map(
        |(severity, channels, continues, group_by)| Route {
            matchers: Matchers { severity, ..Matchers::default() },
            channels,
            continues,
            group_by,
            ..Route::default()
        },
    )
}

proptest! {
    #[test]
    fn routes_decide_in_order_and_no_receiver_is_notified_twice(
        routes in prop::collection::vec(some_route(), 0..6), severity in prop::sample::select(Severity::ALL.to_vec()),
    ) {
        let mut routing = Routing { routes, ..Routing::default() };
        for (nth, route) in routing.routes.iter_mut().enumerate() {
            route.name = format!("route {nth}");
        }
        let configured = configured(&["slack", "email:a@b.c", "sms:+4915112345678", "pagerduty"]);
        let labels = labels(severity);
        let found = route_to_groups(&routing, &configured, "incident:INC-1", &labels, DateTime::UNIX_EPOCH);
        let all_notified: Vec<_> = found.iter().flat_map(|group| &group.settings.receivers).collect();
        prop_assert_eq!(all_notified.iter().collect::<BTreeSet<_>>().len(), all_notified.len());
        prop_assert!(found.iter().all(|group| !group.settings.receivers.is_empty()));
        // Written plainly: those that match up to the first that does not go on.
        let mut asked = Vec::new();
        for route in &routing.routes {
            let matches = route.matchers.severity.is_empty() || route.matchers.severity.contains(&severity);
            if matches { asked.push(route); }
            if matches && !route.continues { break; }
        }
        if asked.is_empty() {
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].route.as_str(), BUILT_IN);
        } else {
            let names: Vec<_> = asked.iter().map(|route| route.name.as_str()).collect();
            prop_assert!(found.iter().all(|group| names.contains(&group.route.as_str())));
            for receiver in asked.iter().flat_map(|route| &route.channels) {
                let whom = configured.expand(receiver);
                prop_assert!(whom.iter().all(|it| all_notified.contains(&it)), "{} is notified", receiver);
            }
        }
    }

    #[test]
    fn a_group_key_is_stable_and_fits(name in "\\PC{1,60}", application in "\\PC{0,120}") {
        let labels = Labels { application, ..labels(Severity::Low) };
        let of = |group_by: [GroupLabel; 2]| group_key(&name, &common(&group_by, &[], &labels));
        let key = of([GroupLabel::Application, GroupLabel::Severity]);
        prop_assert_eq!(&key, &of([GroupLabel::Severity, GroupLabel::Application]));
        prop_assert!(dedup_key(&key).len() <= 255);
    }
}
