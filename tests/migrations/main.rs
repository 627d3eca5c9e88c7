//! Migrations on a filled database: a million incidents and ten million checks, while errors and checks are being stored. No
//! statement may wait for a lock for a second, and none may fail.
//!
//! Not in `make test`, since filling takes minutes: `make test-migrations`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that shows what it measures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::Database;
use local::migrations::{self, FILES};
use shared::store::Store;

/// The newest migration of the release that the database is filled at: every later one is measured.
const FILLED_AT: &str = "20261130030100_name_service_files";

/// The longest that a statement may wait for a migration's lock.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What the tables hold. The numbers are rows.
const FILL: [(&str, &str); 6] = [
    (
        "1,000,000 incidents",
        "INSERT INTO incidents (incident_id, title, severity, category, application, environment, fingerprint, error_message,
            status, detected_at, last_seen_at, updated_at, resolved_at)
        SELECT 'INC-' || n, 'error ' || n, 'HIGH', 'backend', 'app-' || n % 100, 'production', md5(n::text), 'it failed',
            CASE WHEN n % 100 = 0 THEN 'detected' ELSE 'resolved' END, at, at, at, CASE WHEN n % 100 > 0 THEN at END
        FROM (SELECT n, now() - n * interval '8 seconds' AS at FROM generate_series(1, 1000000) AS n) AS made",
    ),
    (
        "1,000,000 published events",
        "INSERT INTO event_outbox (id, detail_type, detail, created_at, published_at, attempts)
        SELECT gen_random_uuid(), 'IncidentOpened', jsonb_build_object('incident_id', 'INC-' || n), at, at, 1
        FROM (SELECT n, now() - n * interval '8 seconds' AS at FROM generate_series(1, 1000000) AS n) AS made",
    ),
    (
        "1,000,000 deliveries",
        "INSERT INTO inbound_deliveries (delivery_key, source, content_hash, received_at)
        SELECT 'api:' || n, 'api', md5(n::text), now() - n * interval '2 seconds' FROM generate_series(1, 1000000) AS n",
    ),
    (
        "100,000 notifications",
        "INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content, status,
            next_attempt_at, created_at, sent_at)
        SELECT gen_random_uuid(), gen_random_uuid(), 'webhook', 'default', 'firing', 'g' || n, 'g' || n,
            '{\"problems\": [{\"state\": \"firing\", \"severity\": \"HIGH\", \"title\": \"boom\"}]}', 'sent', at, at, at
        FROM (SELECT n, now() - n * interval '1 minute' AS at FROM generate_series(1, 100000) AS n) AS made",
    ),
    (
        "5,000,000 checks of services",
        "INSERT INTO service_health_checks (service_name, status, latency_ms, checked_at, created_at)
        SELECT 's' || n % 100, 'healthy', 20, at, at
        FROM (SELECT n, now() - n * interval '500 ms' AS at FROM generate_series(1, 5000000) AS n) AS made",
    ),
    (
        "5,000,000 checks",
        "INSERT INTO monitoring_checks (check_id, timestamp, check_type, target, status, response_time_ms)
        SELECT 'c' || n, now() - n * interval '500 ms', 'health', 's' || n % 100, 'healthy', 20
        FROM generate_series(1, 5000000) AS n",
    ),
];

/// What stores and reads while the migrations run, over and over.
const TRAFFIC: [&str; 6] = [
    "INSERT INTO incidents (incident_id, title, severity, category, application, environment, fingerprint, error_message)
    SELECT 'INC-T-' || substr(gen_random_uuid()::text, 1, 18), 't', 'HIGH', 'backend', 'shop', 'production', gen_random_uuid()::text, 'm'",
    "UPDATE incidents SET occurrences = occurrences + 1, last_seen_at = now() WHERE incident_id = 'INC-100'",
    "INSERT INTO event_outbox (id, detail_type, detail, created_at)
    VALUES (gen_random_uuid(), 'IncidentOpened', '{\"incident_id\": \"INC-100\"}', now())",
    "INSERT INTO monitoring_checks (check_id, timestamp) VALUES (gen_random_uuid()::text, now())",
    "UPDATE notifications SET attempts = attempts + 1 WHERE id = (SELECT id FROM notifications ORDER BY created_at LIMIT 1)",
    "SELECT count(*) FROM incidents WHERE status <> 'resolved'",
];

async fn at_release() -> Database {
    let database = Database::empty().await;
    let released = FILES.iter().position(|(name, _)| *name == FILLED_AT).unwrap() + 1;
    migrations::apply_files(&database.config(), &FILES[..released]).await.unwrap();
    for (what, sql) in FILL {
        let started = Instant::now();
        database.execute(sql).await;
        println!("filled with {what} in {:.0?}", started.elapsed());
    }
    database.execute("ANALYZE").await;
    database
}

/// Repeats a statement until it is stopped; returns how often it ran.
async fn repeat(store: Store, sql: &'static str, stopped: Arc<AtomicBool>) -> u64 {
    let mut runs = 0;
    while !stopped.load(Ordering::Relaxed) {
        // Each run has a connection of the pool, whose statements have a time-out.
        let run = store.run(|client| async move { Ok(client.batch_execute(sql).await?) }).await;
        run.unwrap_or_else(|error| panic!("{sql}: {error}"));
        runs += 1;
    }
    runs
}

/// The longest wait for a lock of another session that was seen until it is stopped, in seconds.
async fn longest_wait(database: &Database, stopped: &AtomicBool) -> f64 {
    let sql = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float8 FROM pg_locks
        WHERE NOT granted AND locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND pid IN (SELECT pid FROM pg_stat_activity WHERE application_name NOT LIKE 'watchkeeper-migrate%')";
    let mut longest = 0.0_f64;
    while !stopped.load(Ordering::Relaxed) {
        longest = longest.max(database.value(sql).await);
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn each_later_migration_locks_nothing_for_a_second_while_errors_and_checks_are_stored() {
    let database = at_release().await;
    let pending = FILES.iter().skip_while(|(name, _)| *name != FILLED_AT).count() - 1;
    let stopped = Arc::new(AtomicBool::new(false));
    let traffic: Vec<_> =
        TRAFFIC.iter().map(|sql| tokio::spawn(repeat(database.store(), sql, Arc::clone(&stopped)))).collect();
    let migrate = async {
        let started = Instant::now();
        let applied = migrations::apply(&database.config()).await.unwrap();
        println!("applied {} in {:.1?}", applied.join(", "), started.elapsed());
        stopped.store(true, Ordering::Relaxed);
        applied.len()
    };
    let (applied, longest) = tokio::join!(migrate, longest_wait(&database, &stopped));
    for (task, sql) in traffic.into_iter().zip(TRAFFIC) {
        println!(
            "{} times beside it: {}",
            task.await.unwrap(),
            sql.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
        );
    }
    println!("the longest wait for a lock was {longest:.3} s");
    assert_eq!(applied, pending);
    assert!(longest < LONGEST_WAIT.as_secs_f64(), "a statement waited {longest:.3} s for a lock of a migration");
}
