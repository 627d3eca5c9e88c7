//! An incident's lifecycle steps: each counts once, in any order and under concurrency.

use chrono::{DateTime, Duration, Utc};
use harness::Database;
use harness::events::published;
use serde_json::{Map, Value, json};
use shared::events::Event;
use shared::fingerprint::Fingerprint;
use shared::model::{DeliveryKey, IncidentId, IncidentStatus, UpstreamGroup};
use shared::store::lifecycle::{self, Agent, Arrival, Step, Taken, Target, Touched, change_incidents, find_earlier};
use tokio::task::JoinSet;

/// Minutes after an arbitrary instant.
fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(minutes)
}

fn group() -> Target {
    Target::Group(Fingerprint::of_group(&UpstreamGroup { system: "sentry".into(), id: "4711".to_owned() }))
}

fn step(key: &str) -> Step {
    Step {
        delivery_key: DeliveryKey::derived("test", key.as_bytes()),
        source: "sentry".to_owned(),
        agent: Agent::new("test", "intake"),
        target: group(),
        as_of: None,
        action_type: "test_step".to_owned(),
        description: format!("step {key}"),
        details: Map::from_iter([("key".to_owned(), json!(key))]),
        note: Some(json!({"key": key})),
        keep_unknown: true,
        received_at: at(60),
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Resolve,
    Reopen,
    Acknowledge,
    Note,
}

async fn take(database: &Database, change: Change, step: &Step) -> Option<Vec<Touched>> {
    let to = match change {
        Change::Resolve => Some(IncidentStatus::Resolved),
        Change::Reopen => Some(IncidentStatus::Detected),
        Change::Acknowledge => Some(IncidentStatus::Acknowledged),
        Change::Note => None,
    };
    let store = database.store();
    store.run(|client| async move { change_incidents(&client, to, step, Arrival::Live).await }).await.unwrap()
}

/// Whether the one incident that the step touched was changed.
async fn changed(database: &Database, change: Change, step: &Step) -> bool {
    let touched = take(database, change, step).await.unwrap();
    assert_eq!(touched.len(), 1, "{change:?}");
    assert_eq!(touched[0].event_id.is_some(), touched[0].changed);
    touched[0].changed
}

async fn insert(database: &Database, id: &str, fingerprint: &str, status: &str, detected_at: DateTime<Utc>) {
    let sql = "INSERT INTO incidents (incident_id, title, status, severity, category, application, error_message,
            fingerprint, detected_at)
        VALUES ($1, 'boom', $2, 'HIGH', 'unknown', $5, 'boom', $3, $4)";
    let application = format!("shop-{id}");
    database.rows(sql, &[&id, &status, &fingerprint, &detected_at, &application]).await;
}

async fn with_incident(status: &str) -> Database {
    let database = Database::migrated().await;
    insert(&database, "INC-1", "sentry:4711", status, at(0)).await;
    database
}

async fn status(database: &Database) -> String {
    database.value("SELECT status::text FROM incidents WHERE incident_id = 'INC-1'").await
}

#[tokio::test]
async fn a_resolved_incident_records_who_resolved_it_and_how_long_it_took() {
    let database = with_incident("detected").await;
    assert!(changed(&database, Change::Resolve, &step("1")).await);
    let sql = "SELECT status::text, handled_by::text, resolved_at, extract(epoch FROM time_to_resolution)::float8,
            updated_at >= resolved_at
        FROM incidents";
    let row = database.rows(sql, &[]).await;
    let found: (String, String, DateTime<Utc>, f64, bool) =
        (row[0].get(0), row[0].get(1), row[0].get(2), row[0].get(3), row[0].get(4));
    assert_eq!(found, ("resolved".to_owned(), "sentry".to_owned(), at(60), 3_600.0, true));
    let audit: Value = database.value("SELECT to_jsonb(a) FROM agent_actions a").await;
    assert_eq!((&audit["agent_id"], &audit["agent_type"]), (&json!("test"), &json!("intake")));
    assert_eq!((&audit["action_type"], &audit["action_description"]), (&json!("test_step"), &json!("step 1")));
    assert_eq!(audit["action_details"], json!({"key": "1", "changed": true, "stale": false, "to": "resolved"}));
    let event: Value = database.value("SELECT to_jsonb(e) FROM event_outbox e").await;
    assert_eq!(
        (&event["detail_type"], &event["detail"]),
        (&json!("IncidentResolved"), &json!({"version": 1, "id": event["id"], "incident_id": "INC-1"}))
    );
    let events = published(&database).await;
    let Event::IncidentResolved(resolved) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((resolved.incident.application.as_str(), resolved.resolved_at), ("shop-INC-1", at(60)));
    let delivery: Value = database.value("SELECT to_jsonb(d) FROM inbound_deliveries d").await;
    assert_eq!((&delivery["action_id"], &delivery["note"]), (&audit["id"], &json!({"key": "1"})));
}

#[tokio::test]
async fn each_step_makes_only_its_own_status_transition() {
    for (before, change, after, event) in [
        ("detected", Change::Resolve, "resolved", Some("IncidentResolved")),
        ("acknowledged", Change::Resolve, "resolved", Some("IncidentResolved")),
        ("resolved", Change::Resolve, "resolved", None),
        ("detected", Change::Acknowledge, "acknowledged", Some("IncidentAcknowledged")),
        ("acknowledged", Change::Acknowledge, "acknowledged", None),
        ("resolved", Change::Acknowledge, "resolved", None),
        ("resolved", Change::Reopen, "detected", Some("IncidentReopened")),
        ("detected", Change::Reopen, "detected", None),
        ("acknowledged", Change::Reopen, "acknowledged", None),
        ("detected", Change::Note, "detected", None),
        ("resolved", Change::Note, "resolved", None),
    ] {
        let database = with_incident(before).await;
        assert_eq!(changed(&database, change, &step("1")).await, event.is_some(), "{before} {change:?}");
        assert_eq!(status(&database).await, after, "{before} {change:?}");
        let events = database.rows("SELECT detail_type FROM event_outbox", &[]).await;
        assert_eq!(events.first().map(|row| row.get::<_, String>(0)).as_deref(), event, "{before} {change:?}");
        assert_eq!(database.count("agent_actions").await, 1, "noted on the timeline: {before} {change:?}");
    }
}

#[tokio::test]
async fn a_reopened_incident_has_no_end() {
    let database = with_incident("detected").await;
    take(&database, Change::Resolve, &step("1")).await;
    assert!(changed(&database, Change::Reopen, &step("2")).await);
    let clear = "incidents WHERE status = 'detected' AND resolved_at IS NULL AND time_to_resolution IS NULL";
    assert_eq!(database.count(clear).await, 1);
}

#[tokio::test]
async fn the_same_delivery_counts_once_and_its_first_answer_is_found() {
    let database = with_incident("detected").await;
    let step = step("1");
    assert!(changed(&database, Change::Resolve, &step).await);
    take(&database, Change::Reopen, &self::step("2")).await;
    assert_eq!(take(&database, Change::Resolve, &step).await, None, "a repetition must not close it again");
    assert_eq!(status(&database).await, "detected");
    let find = |key: DeliveryKey| {
        let store = database.store();
        async move {
            let key = &key;
            store.run(|client| async move { find_earlier(&client, key).await }).await.unwrap()
        }
    };
    let touched = find(step.delivery_key.clone()).await.unwrap().touched.unwrap();
    assert_eq!((touched.incident_id.as_str(), touched.changed, touched.stale), ("INC-1", true, false));
    assert_eq!(find(self::step("3").delivery_key).await, None);
    assert_eq!([database.count("agent_actions").await, database.count("event_outbox").await], [2, 2]);
}

#[tokio::test]
async fn a_step_that_is_older_than_the_newest_changes_nothing() {
    let database = with_incident("detected").await;
    let as_of = |key: &str, minute: i64| Step { as_of: Some(at(minute)), ..step(key) };
    // The reopening at 20 was received first, while it was open; the end at 10 is older, so stale.
    assert!(!changed(&database, Change::Reopen, &as_of("back", 20)).await);
    let late = take(&database, Change::Resolve, &as_of("end", 10)).await.unwrap();
    assert_eq!((late[0].changed, late[0].stale, status(&database).await.as_str()), (false, true, "detected"));
    assert!(changed(&database, Change::Resolve, &as_of("end of the same instant", 20)).await);
    assert!(!changed(&database, Change::Acknowledge, &as_of("late", 5)).await);
    assert!(!changed(&database, Change::Reopen, &as_of("late too", 19)).await);
    assert!(changed(&database, Change::Reopen, &step("without a time")).await, "is always the newest");
    let newest: DateTime<Utc> = database.value("SELECT upstream_changed_at FROM incidents").await;
    assert_eq!(newest, at(20));
}

/// Replays a deferred step of the sixtieth minute: whether it changed the incident, and whether it was stale.
async fn replay(database: &Database, change: lifecycle::Change, step: &Step) -> (bool, bool) {
    let store = database.store();
    let taken = store
        .run(|client| async move { lifecycle::take_step(&client, change, step, Arrival::Late).await })
        .await
        .unwrap();
    let Taken::New(touched) = taken else { panic!("{step:?} is known") };
    (touched[0].changed, touched[0].stale)
}

#[tokio::test]
async fn a_deferred_step_does_not_undo_the_step_that_came_after_it() {
    // Both steps are as of one instant: that of the last error.
    let of = |key: &str, received_at| Step { as_of: Some(at(50)), received_at, ..step(key) };
    for (newer, at_minute, replayed) in [
        (Change::Reopen, 61, (false, true)),
        (Change::Reopen, 59, (true, false)),
        (Change::Note, 61, (true, false)),
        (Change::Acknowledge, 61, (true, false)),
    ] {
        let database = with_incident("detected").await;
        database.rows("UPDATE incidents SET last_seen_at = $1", &[&at(0)]).await;
        take(&database, newer, &of("live", at(at_minute))).await;
        let found = replay(&database, lifecycle::Change::Resolve, &of("deferred", at(60))).await;
        assert_eq!(found, replayed, "{newer:?} at {at_minute}");
    }
    let database = with_incident("detected").await;
    let person = Step { as_of: None, ..of("a person", at(61)) };
    assert!(changed(&database, Change::Resolve, &person).await);
    assert_eq!(replay(&database, lifecycle::Change::Reopen, &of("deferred", at(60))).await, (false, true));
    let newer = Step { as_of: Some(at(51)), ..of("newer by its own clock", at(60)) };
    take(&database, Change::Note, &of("a step with a time", at(62))).await;
    assert_eq!(replay(&database, lifecycle::Change::Reopen, &newer).await, (true, false));
}

#[tokio::test]
async fn a_deferred_resolution_does_not_close_an_incident_with_later_occurrences() {
    let seen = "UPDATE incidents SET last_seen_at = $1";
    let waiting = "INSERT INTO incident_occurrences (incident, occurrences, new_users, last_seen_at)
        SELECT id, 1, 0, $1 FROM incidents";
    for sql in [seen, waiting] {
        for (minute, replayed) in [(62, (false, true)), (60, (true, false))] {
            let database = with_incident("detected").await;
            database.rows(seen, &[&at(0)]).await;
            database.rows(sql, &[&at(minute)]).await;
            let end = step("deferred");
            assert_eq!(replay(&database, lifecycle::Change::Resolve, &end).await, replayed, "{sql} {minute}");
        }
        let database = with_incident("detected").await;
        database.rows(sql, &[&at(62)]).await;
        let kept = replay(&database, lifecycle::Change::Acknowledge, &step("deferred")).await;
        assert_eq!(kept, (true, false), "an acknowledgement is not stale");
        assert!(changed(&database, Change::Resolve, &step("live")).await, "the clocks of two machines may differ");
    }
}

#[tokio::test]
async fn a_step_touches_all_open_incidents_or_the_newest_resolved_one() {
    let database = Database::migrated().await;
    let [boom, bang] = ["boom", "bang"].map(|message| Fingerprint::of_error(None, message));
    for (id, fingerprint, status, minute) in
        [("INC-old", &boom, "resolved", 0), ("INC-new", &boom, "resolved", 5), ("INC-else", &bang, "detected", 9)]
    {
        insert(&database, id, fingerprint.as_str(), status, at(minute)).await;
    }
    let of_boom = |key: &str| Step { target: Target::Group(boom.clone()), ..step(key) };
    let touched = take(&database, Change::Reopen, &of_boom("1")).await.unwrap();
    assert_eq!(touched.iter().map(|it| it.incident_id.as_str()).collect::<Vec<_>>(), ["INC-new"]);
    insert(&database, "INC-other", boom.as_str(), "detected", at(7)).await;
    let touched = take(&database, Change::Resolve, &of_boom("2")).await.unwrap();
    let ids: Vec<_> = touched.iter().map(|it| (it.incident_id.as_str(), it.changed)).collect();
    assert_eq!(ids, [("INC-other", true), ("INC-new", true)], "all the open ones, the newest first");
    assert_eq!(database.count("event_outbox").await, 3);
    let one = Step { target: Target::Incident(IncidentId::from_stored("INC-else".to_owned())), ..step("3") };
    assert!(changed(&database, Change::Acknowledge, &one).await);
    assert_eq!(database.count("incidents WHERE status = 'acknowledged' AND incident_id = 'INC-else'").await, 1);
}

#[tokio::test]
async fn a_step_without_an_incident_is_stored_only_with_keep_unknown() {
    let database = Database::migrated().await;
    let left = Step { keep_unknown: false, ..step("1") };
    assert_eq!(take(&database, Change::Reopen, &left).await, None);
    assert_eq!(database.count("inbound_deliveries").await, 0);
    for (key, target) in [("2", group()), ("3", Target::Nothing)] {
        let step = Step { target, note: Some(json!({"nul": "\u{0}"})), ..step(key) };
        assert_eq!(take(&database, Change::Resolve, &step).await, Some(Vec::new()));
        assert_eq!(take(&database, Change::Resolve, &step).await, None);
    }
    assert_eq!(database.count("inbound_deliveries WHERE note ->> 'nul' = U&'\\FFFD'").await, 2);
    assert_eq!(database.count("agent_actions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_concurrent_steps_change_the_incident_once() {
    let database = with_incident("detected").await;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let store = database.store();
        let step = step(&format!("{}", number / 2));
        tasks.spawn(async move {
            let (to, step) = (Some(IncidentStatus::Resolved), &step);
            store.run(|client| async move { change_incidents(&client, to, step, Arrival::Live).await }).await.unwrap()
        });
    }
    let touched: Vec<Touched> = tasks.join_all().await.into_iter().flatten().flatten().collect();
    assert_eq!(touched.len(), 50, "each delivery twice, counted once");
    assert_eq!(touched.iter().filter(|it| it.changed).count(), 1);
    assert_eq!([database.count("agent_actions").await, database.count("event_outbox").await], [50, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopening_that_conflicts_with_a_new_incident_leaves_one_open() {
    let database = with_incident("resolved").await;
    // A concurrent transaction opens another one: the reopening waits for it at the index of open incidents.
    database.execute("BEGIN").await;
    insert(&database, "INC-2", "sentry:4711", "detected", at(30)).await;
    let store = database.store();
    let reopening = tokio::spawn(async move {
        let (to, step) = (Some(IncidentStatus::Detected), &step("1"));
        store.run(|client| async move { change_incidents(&client, to, step, Arrival::Live).await }).await
    });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while database.value::<i64>(waiting).await == 0 {
        // Within a transaction the statistics are a snapshot.
        database.execute("SELECT pg_stat_clear_snapshot()").await;
        tokio::task::yield_now().await;
    }
    database.execute("COMMIT").await;
    let touched = reopening.await.unwrap().unwrap().unwrap();
    assert_eq!((touched[0].incident_id.as_str(), touched[0].changed), ("INC-2", false));
    assert_eq!(database.count("incidents WHERE status <> 'resolved'").await, 1);
    assert_eq!(status(&database).await, "resolved");
}
