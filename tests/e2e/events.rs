//! Every producer of events publishes the same complete event: each test causes one, publishes it, and reads it by the
//! contract.

use chrono::{DateTime, TimeDelta, Utc};
use harness::events::published;
use harness::{Behaviour, Database, Target, TestStack};
use serde_json::{Map, Value, json};
use shared::events::{Escalation, Event, IncidentSubject};
use shared::fingerprint::Fingerprint;
use shared::model::{AlertType, Category, DeliveryKey, IncidentId, Severity, Subject, UpstreamGroup};
use shared::store::lifecycle::{Agent, Arrival, Change, Step, Target as StepTarget, take_step};
use shared::store::network::{self, NetworkIncident};
use shared::store::reactions::{Action, Reaction, react};
use shared::store::{escalations, incidents, security_events};
use uuid::Uuid;

use crate::operators::{with_alert, with_incident};

/// The names of the events, with the incident of each; in the order of publication.
async fn incidents_of(database: &Database) -> Vec<(&'static str, IncidentSubject)> {
    let of = |event| match event {
        Event::IncidentOpened(event) => Some(("opened", event.incident)),
        Event::IncidentReopened(event) => Some(("reopened", event.incident)),
        Event::IncidentAcknowledged(event) => Some(("acknowledged", event.incident)),
        Event::IncidentResolved(event) => Some(("resolved", event.incident)),
        Event::AlertEscalated(event) => match event.escalation {
            Escalation::Severity(incident) => Some(("severity", incident)),
            Escalation::Unacknowledged(_) => None,
        },
        _ => None,
    };
    published(database).await.into_iter().filter_map(|received| of(received.event)).collect()
}

async fn one_incident(database: &Database) -> (&'static str, IncidentSubject) {
    let mut all = incidents_of(database).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn report() -> Value {
    json!({"error": {"message": "boom"}, "context": {"application": "shop", "environment": "staging"}})
}

async fn reported() -> TestStack {
    let stack = TestStack::start().await;
    stack.report_ok(report()).await;
    stack
}

fn is_of_the_report(incident: &IncidentSubject) {
    assert_eq!((incident.application.as_str(), incident.environment.as_str()), ("shop", "staging"));
    assert_eq!((incident.title.as_str(), incident.category), ("boom", Category::Unknown));
}

#[tokio::test]
async fn a_report_opens_and_reopens() {
    let stack = reported().await;
    let (name, incident) = one_incident(&stack.database).await;
    is_of_the_report(&incident);
    assert_eq!(name, "opened");
    stack.database.execute("UPDATE incidents SET status = 'resolved', resolved_at = now() - interval '1 min'").await;
    stack.report_ok(report()).await;
    let (name, again) = one_incident(&stack.database).await;
    assert_eq!((name, &again), ("reopened", &incident));
}

#[tokio::test]
async fn folded_occurrences_reopen() {
    let stack = reported().await;
    published(&stack.database).await;
    let sql = "UPDATE incidents SET status = 'resolved', resolved_at = now() - interval '1 min';
        INSERT INTO incident_occurrences (incident, occurrences, last_seen_at) SELECT id, 1, now() FROM incidents";
    stack.database.execute(sql).await;
    stack.database.store().run(|client| async move { incidents::fold_occurrences(&client).await }).await.unwrap();
    let (name, incident) = one_incident(&stack.database).await;
    is_of_the_report(&incident);
    assert_eq!(name, "reopened");
}

#[tokio::test]
async fn a_severity_that_is_raised_in_sql_escalates() {
    let stack = reported().await;
    published(&stack.database).await;
    stack.database.execute("UPDATE incidents SET severity = 'CRITICAL'").await;
    let (name, incident) = one_incident(&stack.database).await;
    is_of_the_report(&incident);
    assert_eq!((name, incident.severity), ("severity", Severity::Critical));
}

#[tokio::test]
async fn a_probe_opens_and_resolves_an_incident_and_its_alert() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    stack.check_now().await;
    let begun = published(&stack.database).await;
    assert_eq!(begun.len(), 3, "{begun:?}");
    target.behave(Behaviour::Status(200));
    stack.check_now().await;
    stack.check_now().await;
    let ended = published(&stack.database).await;
    assert_eq!(ended.len(), 3, "{ended:?}");
    for events in [begun, ended] {
        let incident = events.iter().find_map(|received| match &received.event {
            Event::IncidentOpened(event) => Some(&event.incident),
            Event::IncidentResolved(event) => Some(&event.incident),
            _ => None,
        });
        let alert = events.iter().find_map(|received| match &received.event {
            Event::AlertRaised(event) => Some(&event.alert),
            Event::AlertResolved(event) => Some(&event.alert),
            _ => None,
        });
        let (incident, alert) = (incident.unwrap(), alert.unwrap());
        assert_eq!(
            (incident.title.as_str(), incident.category),
            ("Health check failed: shop", Category::Infrastructure)
        );
        assert_eq!((&alert.incident_id.as_ref(), alert.severity), (&Some(&incident.incident_id), incident.severity));
        assert_eq!((alert.service.as_str(), alert.alert_type), ("shop", AlertType::ServiceDown));
        assert!(alert.message.starts_with("shop health check failed"), "{}", alert.message);
        let changed = |event: &Event| matches!(event, Event::ServiceStateChanged(changed) if changed.service == "shop");
        assert!(events.iter().any(|received| changed(&received.event)), "{events:?}");
    }
}

#[tokio::test]
async fn the_probe_s_own_network_opens_reopens_and_resolves() {
    let database = Database::migrated().await;
    let store = database.store();
    let incident = &NetworkIncident { incident_id: IncidentId::for_failed_check(Utc::now()), message: "m".to_owned() };
    for wanted in ["opened", "resolved", "reopened"] {
        let now = Utc::now();
        let id = store.run(|client| async move {
            if wanted == "resolved" {
                network::close(&client, "eu", now).await
            } else {
                network::open(&client, "eu", "production", incident, now).await
            }
        });
        let id = id.await.unwrap();
        let all = published(&database).await;
        assert_eq!((all.len(), Some(all[0].id)), (1, id));
        let name = match &all[0].event {
            Event::IncidentOpened(event) => ("opened", &event.incident),
            Event::IncidentResolved(event) => ("resolved", &event.incident),
            Event::IncidentReopened(event) => ("reopened", &event.incident),
            other => panic!("{other:?}"),
        };
        assert_eq!((name.0, name.1.application.as_str()), (wanted, network::APPLICATION));
    }
}

#[tokio::test]
async fn sentry_steps_resolve_and_reopen() {
    let database = Database::migrated().await;
    let sql = "INSERT INTO incidents (incident_id, title, severity, category, application, error_message, fingerprint)
        VALUES ('INC-1', 'boom', 'HIGH', 'database', 'shop', 'boom', 'sentry:4711')";
    database.execute(sql).await;
    let group = UpstreamGroup { system: "sentry".into(), id: "4711".to_owned() };
    for (change, wanted) in
        [(Change::Acknowledge, "acknowledged"), (Change::Resolve, "resolved"), (Change::Reopen, "reopened")]
    {
        let step = &Step {
            delivery_key: DeliveryKey::unique("test", Utc::now()),
            source: "sentry".to_owned(),
            agent: Agent::new("test", "intake"),
            target: StepTarget::Group(Fingerprint::of_group(&group)),
            as_of: None,
            action_type: "test_step".to_owned(),
            description: "a step".to_owned(),
            details: Map::new(),
            note: None,
            keep_unknown: false,
            received_at: Utc::now(),
        };
        let store = database.store();
        store.run(|client| async move { take_step(&client, change, step, Arrival::Live).await }).await.unwrap();
        let (name, incident) = one_incident(&database).await;
        assert_eq!((name, incident.incident_id.as_str(), incident.title.as_str()), (wanted, "INC-1", "boom"));
    }
}

async fn person(database: &Database, subject: &Subject, action: Action) {
    let reaction = &Reaction {
        delivery_key: DeliveryKey::unique("test", Utc::now()),
        action,
        by: "ann".to_owned(),
        comment: None,
        agent: Agent::new("test", "operator"),
        at: Utc::now(),
        done_at: None,
    };
    database.store().run(|client| async move { react(&client, subject, reaction).await }).await.unwrap();
}

#[tokio::test]
async fn a_person_acknowledges_and_resolves_incidents_and_alerts() {
    let (database, _) = with_incident().await;
    let incident = Subject::Incident(IncidentId::from_stored("INC-HEALTH-1".to_owned()));
    for (action, wanted) in [(Action::Acknowledge, "acknowledged"), (Action::Resolve, "resolved")] {
        person(&database, &incident, action).await;
        let (name, incident) = one_incident(&database).await;
        assert_eq!((name, incident.severity), (wanted, Severity::Critical));
    }
    let id = with_alert(&database, "mail").await;
    for action in [Action::Acknowledge, Action::Resolve] {
        person(&database, &Subject::Alert(id), action).await;
        let all = published(&database).await;
        let alert = match &all[0].event {
            Event::AlertAcknowledged(event) if action == Action::Acknowledge => &event.alert,
            Event::AlertResolved(event) if action == Action::Resolve => &event.alert,
            other => panic!("{other:?}"),
        };
        assert_eq!((alert.alert_id, alert.service.as_str(), alert.message.as_str()), (id, "mail", "it is slow"));
        assert_eq!((alert.severity, &alert.incident_id, all.len()), (Severity::Medium, &None, 1));
    }
}

#[tokio::test]
async fn a_service_that_is_switched_off_ends_what_is_open() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    let mut shop = target.spec("shop", "production");
    stack.apply(std::slice::from_ref(&shop)).await;
    stack.check_now().await;
    published(&stack.database).await;
    shop.enabled = false;
    stack.apply(&[shop]).await;
    let ended = published(&stack.database).await;
    assert_eq!(ended.len(), 2, "{ended:?}");
    for received in ended {
        match received.event {
            Event::IncidentResolved(event) => assert_eq!(event.incident.title, "Health check failed: shop"),
            Event::AlertResolved(event) => assert_eq!(event.alert.service, "shop"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_delayed_alert_is_raised_when_its_delay_has_passed() {
    let (database, alert) = with_incident().await;
    let later = Utc::now() + TimeDelta::hours(2);
    let store = database.store();
    let ids =
        store.run(|client| async move { shared::store::alerts::announce_due(&client, later).await }).await.unwrap();
    let all = published(&database).await;
    let Event::AlertRaised(raised) = &all[0].event else { panic!("{all:?}") };
    assert_eq!((raised.alert.alert_id, vec![all[0].id]), (alert, ids));
    assert_eq!(raised.alert.incident_id, Some(IncidentId::from_stored("INC-HEALTH-1".to_owned())));
}

#[tokio::test]
async fn an_escalation_names_its_group_its_policy_and_its_receivers() {
    let (database, _) = with_incident().await;
    let sql = "
        INSERT INTO notification_groups (group_key, route, settings, first_seen_at) VALUES ('g', 'r', '{}', now());
        INSERT INTO notification_members (group_key, subject, state, details, fired_at, changed_at)
        VALUES ('g', 'incident:INC-HEALTH-1', 'firing', '{}', now(), now());
        INSERT INTO escalations (group_key, policy, steps, next_at, started_at)
        VALUES ('g', 'on-call', '[{\"after_seconds\": 60, \"channels\": [\"sms\"]}]', now(), now())";
    database.execute(sql).await;
    let now = Utc::now() + TimeDelta::minutes(2);
    database.store().run(|client| async move { escalations::claim_due(&client, now).await }).await.unwrap();
    let all = published(&database).await;
    let Event::AlertEscalated(event) = &all[0].event else { panic!("{all:?}") };
    let Escalation::Unacknowledged(step) = &event.escalation else { panic!("{event:?}") };
    assert_eq!((step.group_key.as_str(), step.policy.as_str(), step.step), ("g", "on-call", 1));
    assert_eq!((step.receivers[0].to_string(), event.escalated_at.timestamp()), ("sms".to_owned(), now.timestamp()));
}

#[tokio::test]
async fn a_burst_of_refusals_opens() {
    let database = Database::migrated().await;
    let now = Utc::now();
    let refusals = &[security_events::Refusals {
        id: Uuid::new_v4(),
        event_type: "wrong_key",
        severity: Severity::Medium,
        source_ip: None,
        description: "a wrong key".to_owned(),
        count: security_events::BURST,
        first_at: now,
        last_at: now,
    }];
    let store = database.store();
    store.run(|client| async move { security_events::add(&client, Uuid::new_v4(), refusals).await }).await.unwrap();
    let (name, incident) = one_incident(&database).await;
    assert_eq!((name, incident.category, incident.severity), ("opened", Category::Security, Severity::Medium));
    assert!((incident.detected_at - now).abs() < TimeDelta::milliseconds(1));
}

#[tokio::test]
async fn an_event_of_a_deleted_incident_is_not_published_and_does_not_block_others() {
    let database = Database::migrated().await;
    let sql = "INSERT INTO event_outbox (id, detail_type, detail, created_at) VALUES
        (gen_random_uuid(), 'IncidentOpened', '{\"incident_id\": \"INC-0\"}', now() - interval '1 min'),
        (gen_random_uuid(), 'AlertRaised', '{\"alert_id\": \"no id\"}', now() - interval '1 min'),
        (gen_random_uuid(), 'PatternFound', '{}', now() - interval '1 min'),
        (gen_random_uuid(), 'ServiceStateChanged', '{}', now() - interval '1 min'),
        (gen_random_uuid(), 'ServiceStateChanged', '{\"service\": \"shop\", \"environment\": \"test\", \"from\": \"healthy\",
            \"to\": \"down\", \"changed_at\": \"2026-11-24T00:00:00Z\"}', now())";
    database.execute(sql).await;
    let all = published(&database).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(database.count("event_outbox WHERE published_at IS NULL").await, 2);
    let errors =
        database.rows("SELECT last_error FROM event_outbox WHERE last_error IS NOT NULL ORDER BY 1", &[]).await;
    let errors: Vec<String> = errors.iter().map(|row| row.get(0)).collect();
    assert!(errors[0].contains("the outbox row of ServiceStateChanged is incomplete"), "{errors:?}");
    assert_eq!(errors[1], "unknown event PatternFound");
}

#[tokio::test]
async fn rows_of_the_version_before_are_published_complete() {
    let (database, alert) = with_incident().await;
    let sql = format!(
        "INSERT INTO event_outbox (id, detail_type, detail, created_at) VALUES
        (gen_random_uuid(), 'IncidentResolved', '{{\"version\": 1, \"id\": \"{id}\", \"incident_id\": \"INC-HEALTH-1\",
            \"application\": \"shop\", \"environment\": \"production\", \"resolved_at\": \"2026-11-24T00:00:00Z\"}}', now()),
        (gen_random_uuid(), 'AlertRaised', '{{\"version\": 1, \"id\": \"{id}\", \"alert_id\": \"{alert}\", \"service\": \"shop\",
            \"environment\": \"production\", \"alert_type\": \"service_down\", \"severity\": \"HIGH\", \"message\": \"m\",
            \"incident_id\": \"INC-HEALTH-1\"}}', now())",
        id = Uuid::new_v4()
    );
    database.execute(&sql).await;
    let mut all = published(&database).await;
    all.sort_by_key(|received| matches!(received.event, Event::AlertRaised(_)));
    let Event::IncidentResolved(resolved) = &all[0].event else { panic!("{all:?}") };
    let Event::AlertRaised(raised) = &all[1].event else { panic!("{all:?}") };
    assert_eq!(resolved.incident.title, "Health check failed: shop");
    assert_eq!((raised.alert.alert_id, raised.raised_at > DateTime::UNIX_EPOCH), (alert, true));
}
