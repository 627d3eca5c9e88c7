//! Events that the bus refuses: they wait in the outbox, are retried with a back-off, are shown as failing, and are never
//! dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use harness::moto::Moto;
use harness::{Database, TestStack};
use serde_json::{Value, json};
use shared::bus::{Bus, BusError, Entry, Taken, Transport};
use shared::publish::{Published, Publisher};

/// A bus that records the events it accepted, and the size of each request.
#[derive(Clone, Default)]
struct RecordingBus(Arc<Inner>);

#[derive(Default)]
struct Inner {
    took: Mutex<Vec<Value>>,
    puts: Mutex<Vec<(usize, usize)>>,
    mode: Mutex<Mode>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Mode {
    #[default]
    Up,
    Down,
    /// Refuses each entry whose service is `poison`.
    RefusesPoison,
}

impl RecordingBus {
    fn set(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    fn numbers(&self) -> Vec<i64> {
        let mut numbers: Vec<i64> =
            self.0.took.lock().unwrap().iter().filter_map(|it| it["service"].as_str().unwrap().parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }
}

impl Transport for RecordingBus {
    fn put<'a>(
        &'a self,
        entries: &'a [Entry],
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Taken>, BusError>> + Send + 'a>> {
        Box::pin(async move {
            // Concurrent requests interleave, as at a real bus.
            tokio::task::yield_now().await;
            let mode = *self.0.mode.lock().unwrap();
            self.0.puts.lock().unwrap().push((entries.len(), entries.iter().map(Entry::bytes).sum()));
            if mode == Mode::Down {
                return Err(BusError::Refused("connection refused".to_owned()));
            }
            let taken = entries.iter().map(|entry| {
                let detail: Value = serde_json::from_str(&entry.detail).unwrap();
                if mode == Mode::RefusesPoison && detail["service"] == "poison" {
                    return Err("InternalFailure: no".to_owned());
                }
                self.0.took.lock().unwrap().push(detail);
                Ok(())
            });
            Ok(taken.collect())
        })
    }

    fn is_warm(&self) -> bool {
        true
    }
}

fn dispatch(database: &Database, bus: &RecordingBus) -> dispatch::App {
    let store = database.store();
    let publisher = Publisher::over(store.clone(), Bus::over(bus.clone()), Duration::from_secs(5));
    dispatch::App::new(store, publisher)
}

/// The detail of a `ServiceStateChanged`, in SQL.
fn changed(service: &str, to: &str) -> String {
    format!(
        "jsonb_build_object('service', {service}, 'environment', 'production', 'from', 'unknown', 'to', {to},
            'changed_at', '2026-11-24T00:00:00Z')"
    )
}

async fn events(database: &Database, from: i32, to: i32) {
    let sql = format!(
        "INSERT INTO event_outbox (id, detail_type, detail, created_at)
        SELECT gen_random_uuid(), 'ServiceStateChanged', {}, now() + n * interval '1 us'
        FROM generate_series({from}, {to}) AS n",
        changed("n::text", "'down'")
    );
    database.execute(&sql).await;
}

const WAITING: &str = "event_outbox WHERE published_at IS NULL";

async fn publish(app: &dispatch::App, now: DateTime<Utc>) -> Published {
    dispatch::publish(app, now).await.unwrap()
}

#[tokio::test]
async fn after_ten_minutes_without_a_bus_every_event_is_published_once_within_a_minute() {
    let (database, bus) = (Database::migrated().await, RecordingBus::default());
    let (app, start) = (dispatch(&database, &bus), Utc::now());
    bus.set(Mode::Down);
    events(&database, 1, 250).await;
    for minute in 0..10 {
        let now = start + TimeDelta::minutes(minute);
        let published = publish(&app, now).await;
        assert_eq!(published.taken, 0);
        assert!(published.refused <= 100, "a sweep ends early while the bus refuses everything: {published:?}");
    }
    assert_eq!(database.count(WAITING).await, 250);
    bus.set(Mode::Up);
    let back = start + TimeDelta::minutes(11);
    assert_eq!(publish(&app, back).await, Published { taken: 250, refused: 0 });
    assert_eq!(bus.numbers(), (1..=250).collect::<Vec<i64>>());
    assert_eq!(publish(&app, back + TimeDelta::hours(1)).await, Published::default(), "each once");
    assert!(bus.0.puts.lock().unwrap().iter().all(|(entries, _)| *entries <= Bus::ENTRIES));
}

#[tokio::test]
async fn the_next_sweep_retries_a_refused_event() {
    let (database, bus) = (Database::migrated().await, RecordingBus::default());
    let (app, publisher) = {
        let store = database.store();
        let publisher = Publisher::over(store.clone(), Bus::over(bus.clone()), Duration::from_secs(5));
        (dispatch::App::new(store, publisher.clone()), publisher)
    };
    events(&database, 1, 1).await;
    let id = database.value("SELECT id FROM event_outbox").await;
    bus.set(Mode::Down);
    publisher.publish(&[id]).await;
    let error: String = database.value("SELECT last_error FROM event_outbox WHERE attempts = 1").await;
    assert!(error.contains("connection refused"), "{error}");
    bus.set(Mode::Up);
    assert_eq!(publish(&app, Utc::now()).await.taken, 1, "without a back-off: a minute at most after it happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_sweeps_and_the_writer_publish_each_event_once() {
    let (database, bus) = (Database::migrated().await, RecordingBus::default());
    events(&database, 1, 700).await;
    let rows = database.rows("SELECT id FROM event_outbox LIMIT 50", &[]).await;
    let ids: Vec<uuid::Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let (one, two) = (dispatch(&database, &bus), dispatch(&database, &bus));
    let store = database.store();
    let writer = Publisher::over(store, Bus::over(bus.clone()), Duration::from_secs(5));
    let now = Utc::now();
    let (one, two, ()) = tokio::join!(
        tokio::spawn(async move { publish(&one, now).await }),
        tokio::spawn(async move { publish(&two, now).await }),
        writer.publish(&ids),
    );
    let shares = (one.unwrap().taken, two.unwrap().taken);
    assert!(shares.0 > 0 && shares.1 > 0, "they share the work: {shares:?}");
    // Rows that one had locked while the others claimed are left to the next sweep.
    publish(&dispatch(&database, &bus), now).await;
    assert_eq!(bus.numbers(), (1..=700).collect::<Vec<i64>>());
    assert_eq!(database.count("event_outbox WHERE attempts = 1 AND claimed_until IS NULL").await, 700);
}

#[tokio::test]
async fn an_event_whose_claimant_died_is_published_when_the_claim_ends() {
    let (database, bus) = (Database::migrated().await, RecordingBus::default());
    events(&database, 1, 1).await;
    let now = Utc::now();
    database.execute("UPDATE event_outbox SET claimed_until = now() + interval '30 s'").await;
    let app = dispatch(&database, &bus);
    assert_eq!(publish(&app, now).await.taken, 0);
    assert_eq!(publish(&app, now + TimeDelta::seconds(31)).await.taken, 1);
}

#[tokio::test]
async fn an_event_that_is_always_refused_backs_off_is_shown_and_does_not_block_others() {
    let stack = TestStack::start().await;
    let bus = RecordingBus::default();
    bus.set(Mode::RefusesPoison);
    let (app, mut now) = (dispatch(&stack.database, &bus), Utc::now());
    stack
        .database
        .execute(&format!(
            "INSERT INTO event_outbox (id, detail_type, detail, created_at)
            VALUES (gen_random_uuid(), 'ServiceStateChanged', {}, now() - interval '1 min')",
            changed("'poison'", "'down'")
        ))
        .await;
    events(&stack.database, 1, 5).await;
    assert_eq!(publish(&app, now).await, Published { taken: 5, refused: 1 });
    assert_eq!(stack.get("/ready").await.body["outbox"]["failing"], 0);
    for attempts in 2..=12 {
        let wait: f64 = stack
            .database
            .value(&format!("SELECT extract(epoch FROM max(next_attempt_at) - '{now}')::float8 FROM {WAITING}"))
            .await;
        assert!(wait <= 900.0, "{wait}");
        if wait > 1.0 {
            let early = now + TimeDelta::milliseconds((wait * 1_000.0) as i64 - 500);
            assert_eq!(publish(&app, early).await, Published::default(), "attempt {attempts}: not yet");
        }
        now += TimeDelta::milliseconds((wait * 1_000.0) as i64 + 1);
        assert_eq!(publish(&app, now).await, Published { taken: 0, refused: 1 });
    }
    let ready = stack.get("/ready").await;
    assert_eq!(ready.status, 200);
    assert_eq!((&ready.body["outbox"]["waiting"], &ready.body["outbox"]["failing"]), (&json!(1), &json!(1)));
    assert_eq!(ready.body["outbox"]["last_error"], "InternalFailure", "an unauthenticated client gets the code only");
    assert!(ready.body["warnings"].to_string().contains("1 event is refused by the bus"), "{}", ready.body);
    assert!(ready.body["outbox_lag_seconds"].as_f64().unwrap() > 59.0);
    let status = stack.get("/status").await.body;
    assert_eq!(status["outbox"]["last_error"], "InternalFailure: no");
    bus.set(Mode::Up);
    assert_eq!(publish(&app, now + TimeDelta::minutes(15)).await.taken, 1, "it is never dropped");
}

#[tokio::test]
async fn requests_stay_below_256_kb_and_a_larger_event_stays_with_an_error() {
    let (database, bus) = (Database::migrated().await, RecordingBus::default());
    database
        .execute(&format!(
            "INSERT INTO event_outbox (id, detail_type, detail, created_at)
            SELECT gen_random_uuid(), 'ServiceStateChanged', {} || jsonb_build_object('environment', repeat('ü', kb * 512)),
                now() + n * interval '1 us'
            FROM unnest(ARRAY[100, 100, 100, 300, 1, 200]) WITH ORDINALITY AS of_size (kb, n)",
            changed("n::text", "'down'")
        ))
        .await;
    let app = dispatch(&database, &bus);
    assert_eq!(publish(&app, Utc::now()).await, Published { taken: 5, refused: 1 });
    assert_eq!(bus.numbers(), [1, 2, 3, 5, 6]);
    let puts = bus.0.puts.lock().unwrap().clone();
    assert!(puts.iter().all(|(_, bytes)| *bytes < Bus::BYTES), "{puts:?}");
    assert_eq!(puts.iter().map(|(entries, _)| *entries).collect::<Vec<_>>(), [2, 1, 2]);
    let error: String = database.value("SELECT last_error FROM event_outbox WHERE published_at IS NULL").await;
    assert!(error.contains("bytes, and the bus takes less than 262144"), "{error}");
}

#[tokio::test]
async fn each_entry_is_published_or_refused_by_its_own_answer() {
    let database = Database::migrated().await;
    events(&database, 1, 3).await;
    let failing = json!({
        "FailedEntryCount": 1,
        "Entries": [{"EventId": "1"}, {"ErrorCode": "InternalFailure", "ErrorMessage": "sorry"}, {"EventId": "3"}],
    });
    let client = super::deferral::client(&super::publish::bus(failing).await);
    let store = database.store();
    let publisher = Publisher::over(store.clone(), Bus::with_client("watchkeeper", client), Duration::from_secs(5));
    let app = dispatch::App::new(store, publisher);
    assert_eq!(publish(&app, Utc::now()).await, Published { taken: 2, refused: 1 });
    let left: i32 = database.value(&format!("SELECT (detail ->> 'service')::int FROM {WAITING}")).await;
    let error: String = database.value(&format!("SELECT last_error FROM {WAITING}")).await;
    assert_eq!((left, error.as_str()), (2, "InternalFailure: sorry"));
}

#[tokio::test]
async fn the_aws_client_s_events_match_the_template_s_patterns() {
    let (database, moto) = (Database::migrated().await, Moto::start().await);
    let rules = harness::template::rules();
    assert!(rules.len() >= 3, "{rules:?}");
    for (queue, pattern) in &rules {
        moto.route(queue, pattern.clone()).await;
    }
    database
        .execute(&format!(
            "INSERT INTO incidents (incident_id, title, severity, category, application, error_message, fingerprint)
            VALUES ('INC-1', '<!channel> \"ü\"', 'HIGH', 'unknown', 'shop', 'boom', 'f');
            INSERT INTO event_outbox (id, detail_type, detail, created_at)
            SELECT gen_random_uuid(), name, {} || '{{\"incident_id\": \"INC-1\", \"reason\": \"severity\"}}',
                now() + n * interval '1 us'
            FROM unnest(ARRAY['IncidentOpened', 'AlertEscalated', 'ServiceStateChanged', 'ServiceStateChanged'],
                ARRAY[NULL, NULL, 'down', 'healthy']) WITH ORDINALITY AS event (name, state, n)",
            changed("'shop'", "state")
        ))
        .await;
    let client = super::deferral::client(moto.url());
    let store = database.store();
    let publisher = Publisher::over(store.clone(), Bus::with_client("watchkeeper", client), Duration::from_secs(20));
    let app = dispatch::App::new(store, publisher);
    assert_eq!(publish(&app, Utc::now()).await, Published { taken: 4, refused: 0 });
    let of = async |queue: &str| {
        let messages = moto.messages(queue).await;
        let events = messages.iter().map(|it| serde_json::from_str::<Value>(it["Body"].as_str().unwrap()).unwrap());
        let mut names: Vec<String> = events
            .map(|event| format!("{}:{}", event["detail-type"].as_str().unwrap(), event["detail"]["to"]))
            .collect();
        names.sort();
        names
    };
    assert_eq!(of("Notices").await, ["AlertEscalated:null", "IncidentOpened:null"]);
    assert_eq!(of("DelayedAlerts").await, ["ServiceStateChanged:\"down\""]);
    assert_eq!(of("DeferredReports").await, [""; 0]);
}
