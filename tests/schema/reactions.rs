//! The effects of an operator's actions: on the alerts of an incident, and on notifications that a silence muted.

use chrono::{DateTime, Duration, Utc};
use harness::Database;
use serde_json::Map;
use shared::fingerprint::Fingerprint;
use shared::model::{DeliveryKey, IncidentStatus, Matchers, Silence, Subject, UpstreamGroup};
use shared::store::lifecycle::{Agent, Arrival, Step, Target, change_incidents};
use shared::store::{silences, subjects};
use uuid::Uuid;

/// Minutes after an arbitrary instant.
fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(minutes)
}

/// Incidents of Sentry's groups 4711 and 4712, each with an alert of each status.
async fn with_alerts() -> Database {
    let database = Database::migrated().await;
    let sql = "
        INSERT INTO incidents (incident_id, title, status, severity, category, application, error_message, fingerprint)
        VALUES ('INC-1', 'boom', 'detected', 'HIGH', 'unknown', 'shop', 'boom', 'sentry:4711'),
            ('INC-2', 'boom', 'detected', 'HIGH', 'unknown', 'shop', 'boom', 'sentry:4712');
        INSERT INTO alert_events (service_name, alert_type, status, incident_id, announce_at, resolved_at)
        SELECT kind || ' of ' || incident_id, 'service_down', kind, id, now(),
            CASE kind WHEN 'resolved' THEN '2020-01-01'::timestamptz END
        FROM incidents, unnest(ARRAY['active', 'acknowledged', 'resolved']) AS kind";
    database.execute(sql).await;
    database
}

#[derive(Clone, Copy)]
enum Change {
    Acknowledge,
    Resolve,
    Reopen,
    Note,
}

async fn take(database: &Database, change: Change, minute: i64) {
    let group = UpstreamGroup { system: "sentry".into(), id: "4711".to_owned() };
    let step = &Step {
        delivery_key: DeliveryKey::unique("test", at(minute)),
        source: "sentry".to_owned(),
        agent: Agent::new("test", "intake"),
        target: Target::Group(Fingerprint::of_group(&group)),
        as_of: None,
        action_type: "test_step".to_owned(),
        description: "a step".to_owned(),
        details: Map::new(),
        note: None,
        keep_unknown: true,
        received_at: at(minute),
    };
    let store = database.store();
    let to = match change {
        Change::Acknowledge => Some(IncidentStatus::Acknowledged),
        Change::Resolve => Some(IncidentStatus::Resolved),
        Change::Reopen => Some(IncidentStatus::Detected),
        Change::Note => None,
    };
    let taken = store.run(|client| async move { change_incidents(&client, to, step, Arrival::Live).await });
    assert!(taken.await.unwrap().is_some());
}

/// Each alert's status, and whether its announcement is delayed; by name.
async fn alerts(database: &Database, incident: &str) -> Vec<(String, bool)> {
    let sql = "SELECT status, announced_at IS NULL AND announce_at IS NOT NULL AND status = 'active' FROM alert_events
        WHERE service_name LIKE '% of ' || $1 ORDER BY service_name COLLATE \"C\"";
    database.rows(sql, &[&incident]).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn expected(all: [(&str, bool); 3]) -> Vec<(String, bool)> {
    all.map(|(status, later)| (status.to_owned(), later)).to_vec()
}

#[tokio::test]
async fn the_alerts_of_an_incident_are_acknowledged_and_resolved_with_it() {
    let database = with_alerts().await;
    take(&database, Change::Note, 1).await;
    let before = expected([("acknowledged", false), ("active", true), ("resolved", false)]);
    assert_eq!(alerts(&database, "INC-1").await, before);
    take(&database, Change::Acknowledge, 2).await;
    let taken = expected([("acknowledged", false), ("acknowledged", false), ("resolved", false)]);
    assert_eq!(alerts(&database, "INC-1").await, taken);
    take(&database, Change::Resolve, 3).await;
    let over = expected([("resolved", false), ("resolved", false), ("resolved", false)]);
    assert_eq!(alerts(&database, "INC-1").await, over);
    let times: i64 = database.count("alert_events WHERE service_name = 'active of INC-1' AND acknowledged_at = '2024-10-04 00:02Z' AND resolved_at = '2024-10-04 00:03Z'").await;
    assert_eq!(times, 1);
    take(&database, Change::Reopen, 4).await;
    assert_eq!(alerts(&database, "INC-1").await, over, "a reopened incident raises new alerts");
    assert_eq!(alerts(&database, "INC-2").await, before, "of another incident");
    assert_eq!(database.count("event_outbox").await, 3, "only the incident's own events");
}

fn silence(from: i64, until: i64) -> Silence {
    Silence {
        id: Uuid::new_v4(),
        matchers: Matchers { application: vec!["shop".to_owned()], ..Matchers::default() },
        starts_at: at(from),
        ends_at: at(until),
        author: "ann".to_owned(),
        comment: "deploying".to_owned(),
        created_at: at(0),
    }
}

#[tokio::test]
async fn ending_a_silence_makes_only_its_muted_groups_due() {
    let database = Database::migrated().await;
    let store = database.store();
    let (now, coming) = (silence(0, 60), silence(30, 60));
    for silence in [&now, &coming, &now] {
        store.run(|client| async move { silences::insert(&client, silence).await }).await.unwrap();
    }
    assert_eq!(database.count("agent_actions").await, 2);
    let listed = |minute| {
        let store = database.store();
        async move { store.run(|client| async move { silences::list(&client, at(minute)).await }).await.unwrap() }
    };
    assert_eq!(listed(30).await.len(), 2);
    assert_eq!(listed(60).await, []);
    assert_eq!(listed(10).await.iter().find(|silence| silence.id == now.id), Some(&now));
    for (key, muted_by) in [("mine", now.id), ("other", coming.id)] {
        let sql =
            "INSERT INTO notification_groups (group_key, route, settings, first_seen_at) VALUES ($1, 'a', '{}', now())";
        database.rows(sql, &[&key]).await;
        let sql =
            "INSERT INTO notification_members (group_key, subject, state, muted_by, details, fired_at, changed_at)
            VALUES ($1, 'incident:INC-1', 'firing', 'silence:' || $2, '{}', now(), now())";
        database.rows(sql, &[&key, &muted_by.to_string()]).await;
    }
    let end = |id: Uuid, minute: i64| {
        let store = database.store();
        async move { store.run(|client| async move { silences::end(&client, id, "bob", at(minute)).await }).await.unwrap() }
    };
    let ended = end(now.id, 10).await.unwrap();
    assert_eq!((ended.starts_at, ended.ends_at), (at(0), at(10)));
    let due = "SELECT string_agg(group_key, ',') FROM notification_groups WHERE due_at = '2024-10-04 00:10Z'";
    assert_eq!(database.value::<String>(due).await, "mine");
    assert_eq!(end(now.id, 20).await, Some(ended), "once");
    let never = end(coming.id, 20).await.unwrap();
    assert_eq!((never.starts_at, never.ends_at), (at(20), at(20)), "it did not begin");
    assert_eq!(end(Uuid::new_v4(), 20).await, None);
    assert_eq!(database.count("agent_actions WHERE action_type = 'silence_ended'").await, 2);
}

#[tokio::test]
async fn a_dedup_key_finds_every_subject_that_was_notified_under_it() {
    let database = Database::migrated().await;
    let alert = Uuid::new_v4();
    let sql = format!(
        "INSERT INTO notification_groups (group_key, route, settings, first_seen_at)
        SELECT group_key, 'a', '{{}}', now() FROM unnest(ARRAY['one', 'two']) AS group_key;
        INSERT INTO notification_members (group_key, subject, state, told, details, fired_at, changed_at)
        SELECT key, subject, 'firing', told, '{{}}', now() - age * interval '1 minute', now()
        FROM (VALUES ('one', 'incident:INC-1', 'firing', 9), ('one', 'alert:{alert}', 'acknowledged', 9),
            ('one', 'incident:INC-3', NULL, 9), ('one', 'incident:INC-4', 'firing', 1),
            ('two', 'incident:INC-2', 'firing', 9)) AS member (key, subject, told, age);
        INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content, next_attempt_at,
            created_at)
        SELECT gen_random_uuid(), gen_random_uuid(), 'pagerduty', 'default', 'firing', key, 'key ' || key, '{{}}', now(), now()
        FROM unnest(ARRAY['one', 'one', 'two']) AS key"
    );
    database.execute(&sql).await;
    let found = |keys: &[&str], at: Option<DateTime<Utc>>| {
        let (store, keys) = (database.store(), keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
        async move {
            let keys = keys.as_slice();
            let found =
                store.run(|client| async move { subjects::list_of_dedup_keys(&client, keys, at).await }).await.unwrap();
            found.iter().map(Subject::to_string).collect::<Vec<_>>()
        }
    };
    // Neither a subject without a notification, nor one that began later.
    let then = Some(Utc::now() - Duration::minutes(5));
    let alert = format!("alert:{alert}");
    assert_eq!(found(&["key one"], then).await, [&alert, "incident:INC-1"]);
    assert_eq!(found(&["key one"], None).await, [&alert, "incident:INC-1", "incident:INC-4"]);
    assert_eq!(found(&["key two", "key one"], then).await, [&alert, "incident:INC-1", "incident:INC-2"]);
    assert_eq!(found(&["key three"], None).await, Vec::<String>::new());
    assert_eq!(found(&[], None).await, Vec::<String>::new());
}
