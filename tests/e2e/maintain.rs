//! Retention: each task deletes what is old, keeps what is needed, works in batches, and may run twice.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use harness::lambda::Lambda;
use harness::{Database, TestStack};
use maintain::{App, Run, handle};
use serde_json::json;

/// Rows of one task.
struct Aged {
    task: &'static str,
    table: &'static str,
    /// The days after which they are deleted.
    days: i64,
    /// Columns and values of a row that is `$age` old; `n` numbers the rows.
    insert: &'static str,
}

const AGED: [Aged; 14] = [
    Aged {
        task: "health_checks",
        table: "service_health_checks",
        days: 30,
        insert: "(service_name, status, created_at) SELECT 's', 'healthy', $age",
    },
    Aged {
        task: "monitoring_checks",
        table: "monitoring_checks",
        days: 30,
        insert: "(check_id, timestamp) SELECT 'c' || n || $age, $age",
    },
    Aged {
        task: "hourly_rollups",
        table: "service_hourly",
        days: 400,
        insert: "(service_id, hour, latency_counts) SELECT gen_random_uuid(), $age, '{}'",
    },
    Aged {
        task: "daily_rollups",
        table: "service_daily",
        days: 400,
        insert: "(service_id, day, latency_counts) SELECT gen_random_uuid(), $age, '{}'",
    },
    Aged {
        task: "security_events",
        table: "security_events",
        days: 90,
        insert: "(event_id, timestamp) SELECT gen_random_uuid()::text, $age",
    },
    Aged {
        task: "security_event_counts",
        table: "security_event_counts",
        days: 1,
        insert: "(event_type, span, starts_at) SELECT 'e' || n, 'hour', $age",
    },
    Aged {
        task: "report_keys",
        table: "inbound_deliveries",
        days: 30,
        insert: "(delivery_key, source, content_hash, action_id, received_at)
            SELECT gen_random_uuid()::text, 'api', 'hash', gen_random_uuid(), $age",
    },
    Aged {
        task: "step_keys",
        table: "inbound_deliveries",
        days: 90,
        insert: "(delivery_key, source, action_id, received_at)
            SELECT gen_random_uuid()::text, 'sentry', gen_random_uuid(), $age",
    },
    Aged {
        task: "published_events",
        table: "event_outbox",
        days: 30,
        insert: "(id, detail_type, detail, published_at) SELECT gen_random_uuid(), 'AlertRaised', '{}', $age",
    },
    Aged {
        task: "notifications",
        table: "notifications",
        days: 90,
        insert: "(id, event_id, channel, recipient, kind, group_key, dedup_key, content, status, next_attempt_at, created_at)
            SELECT gen_random_uuid(), gen_random_uuid(), 'webhook', 'r', 'firing', 'g', 'd', '{}', 'sent', $age, $age",
    },
    Aged {
        task: "silences",
        table: "silences",
        days: 90,
        insert: "(id, matchers, starts_at, ends_at, author, comment, created_at)
            SELECT gen_random_uuid(), '[]', $age, $age, 'ana', 'why', $age",
    },
    Aged {
        task: "check_ins",
        table: "check_ins",
        days: 400,
        insert: "(application, environment, monitor_slug, check_in_id, status, received_at)
            SELECT n, 'production', 'job' || $age, 'id', 'ok', $age",
    },
    Aged {
        task: "intake_counters",
        table: "intake_counters",
        days: 90,
        insert: "(source, kind, hour, count) SELECT 'api', 'k' || n, $age, 1",
    },
    Aged {
        task: "quota_counters",
        table: "quota_counters",
        days: 40,
        insert: "(application, quota, window_start) SELECT n, 'burst', $age",
    },
];

impl Aged {
    /// Stores this number of expired rows, and three that are not expired.
    async fn store(&self, database: &Database, old: u32) {
        let Self { table, insert, days, .. } = self;
        for (count, hours) in [(old, days * 24 + 2), (3, days * 24 - 2)] {
            let insert = insert.replace("$age", &format!("now() - interval '{hours} hours'"));
            let sql = format!("INSERT INTO {table} {insert} FROM generate_series(1, {count}) AS n");
            database.execute(&sql).await;
        }
    }
}

async fn run(database: &Database) -> Run {
    handle(&App::new(database.store()), Utc::now(), Instant::now() + Duration::from_secs(60)).await.unwrap()
}

#[tokio::test]
async fn each_task_deletes_what_is_old_in_batches_and_keeps_the_rest_and_a_second_run_finds_nothing() {
    let database = Database::migrated().await;
    for aged in &AGED {
        aged.store(&database, 1_500).await;
    }
    let first = run(&database).await;
    assert!(first.is_done);
    for aged in &AGED {
        assert_eq!(first.deleted.get(aged.task), Some(&1_500), "{}", aged.task);
        let tasks = AGED.iter().filter(|other| other.table == aged.table).count();
        assert_eq!(database.count(aged.table).await, 3 * i64::try_from(tasks).unwrap(), "{}", aged.task);
    }
    assert_eq!(run(&database).await, Run { is_done: true, ..Run::default() });
}

#[tokio::test]
async fn two_concurrent_runs_share_the_work() {
    let database = Database::migrated().await;
    AGED[0].store(&database, 5_000).await;
    let (one, two) = tokio::join!(run(&database), run(&database));
    let deleted = [one, two].iter().filter_map(|run| run.deleted.get(AGED[0].task).copied()).sum::<u64>();
    // Rows that one had locked when the other ended are left to the next run.
    let last = run(&database).await.deleted.get(AGED[0].task).copied().unwrap_or(0);
    assert_eq!((deleted + last, database.count(AGED[0].table).await), (5_000, 3));
}

#[tokio::test]
async fn a_run_past_its_deadline_deletes_nothing_and_the_next_one_continues() {
    let database = Database::migrated().await;
    AGED[0].store(&database, 10).await;
    let late = handle(&App::new(database.store()), Utc::now(), Instant::now()).await.unwrap();
    assert_eq!(late, Run::default());
    assert!(run(&database).await.is_done);
    assert_eq!(database.count(AGED[0].table).await, 3);
}

#[tokio::test]
async fn a_failed_task_is_an_error_and_does_not_stop_the_others() {
    let database = Database::migrated().await;
    for aged in &AGED {
        aged.store(&database, 1).await;
    }
    database.execute("ALTER TABLE service_health_checks RENAME TO elsewhere").await;
    let ended = handle(&App::new(database.store()), Utc::now(), Instant::now() + Duration::from_secs(60)).await;
    assert!(ended.unwrap_err().to_string().contains("health_checks"));
    for aged in &AGED[1..] {
        let tasks = AGED.iter().filter(|other| other.table == aged.table).count();
        assert_eq!(database.count(aged.table).await, 3 * i64::try_from(tasks).unwrap(), "{}", aged.task);
    }
}

#[tokio::test]
async fn operators_configure_retention_and_invalid_settings_are_ignored() {
    let database = Database::migrated().await;
    for aged in [&AGED[1], &AGED[4]] {
        aged.store(&database, 0).await;
    }
    database
        .execute(
            "INSERT INTO system_config (key, value) VALUES
                ('check_retention_days', '{\"value\": 7}'), ('security_event_retention_days', '{\"value\": \"7\"}')",
        )
        .await;
    run(&database).await;
    assert_eq!((database.count(AGED[1].table).await, database.count(AGED[4].table).await), (0, 3));
}

#[tokio::test]
async fn the_kill_switch_stops_it_and_the_monitoring_switch_does_not() {
    let database = Database::migrated().await;
    AGED[0].store(&database, 1).await;
    let set = async |key: &str, value: bool| {
        let sql = format!("UPDATE system_config SET value = '{{\"enabled\": {value}}}' WHERE key = '{key}'");
        database.execute(&sql).await;
    };
    set("agent_kill_switch", true).await;
    assert_eq!(run(&database).await, Run::default());
    set("agent_kill_switch", false).await;
    set("agent_monitoring_enabled", false).await;
    assert!(run(&database).await.is_done);
    assert_eq!(database.count(AGED[0].table).await, 3);
}

#[tokio::test]
async fn an_event_that_is_not_published_stays_however_old() {
    let database = Database::migrated().await;
    let sql = "INSERT INTO event_outbox (id, detail_type, detail, created_at)
        VALUES (gen_random_uuid(), 'AlertRaised', '{}', now() - interval '3 years')";
    database.execute(sql).await;
    run(&database).await;
    assert_eq!(database.count("event_outbox").await, 1);
}

#[tokio::test]
async fn groups_whose_members_are_long_resolved_are_deleted_with_their_notifications() {
    let database = Database::migrated().await;
    let silence = |days: i32| {
        format!(
            "INSERT INTO silences SELECT ('00000000-0000-0000-0000-' || lpad('{days}', 12, '0'))::uuid, '[]',
                now() - interval '900 days', now() - interval '{days} days', 'ana', 'why', now()"
        )
    };
    database.execute(&format!("{}; {}", silence(100), silence(-1).replace("lpad('-1'", "lpad('1'"))).await;
    for (group, members) in [
        ("empty", &[][..]),
        ("resolved", &["'resolved', NULL, 100", "'resolved', 'parent:db', 95"]),
        ("lately", &["'resolved', NULL, 100", "'resolved', NULL, 80"]),
        ("open", &["'resolved', NULL, 100", "'firing', NULL, 200"]),
        ("acknowledged", &["'acknowledged', NULL, 200"]),
        ("silenced once", &["'resolved', 'silence:00000000-0000-0000-0000-000000000100', 101"]),
        ("silenced still", &["'resolved', 'silence:00000000-0000-0000-0000-000000000001', 100"]),
    ] {
        let insert = format!(
            "INSERT INTO notification_groups (group_key, route, settings, first_seen_at)
            VALUES ('{group}', 'all', '{{}}', now() - interval '300 days');
            INSERT INTO escalations (group_key, policy, steps, started_at) VALUES ('{group}', 'p', '[]', now());
            INSERT INTO notifications
                (id, event_id, channel, recipient, kind, group_key, dedup_key, content, status, next_attempt_at, created_at)
            SELECT gen_random_uuid(), gen_random_uuid(), 'webhook', 'r', 'firing', '{group}', 'd', '{{}}', status, now(),
                now() - interval '200 days'
            FROM unnest(ARRAY['sent', 'pending']) AS status"
        );
        database.execute(&insert).await;
        for (nth, member) in members.iter().enumerate() {
            let (state, rest) = member.split_once(", ").unwrap();
            let (muted_by, days) = rest.split_once(", ").unwrap();
            let insert = format!(
                "INSERT INTO notification_members (group_key, subject, state, muted_by, details, fired_at, changed_at)
                SELECT '{group}', 'incident:INC-{nth}', {state}, {muted_by}, '{{}}', changed, changed
                FROM (SELECT now() - interval '{days} days' AS changed) AS age"
            );
            database.execute(&insert).await;
        }
    }
    run(&database).await;
    let left = async |table: &str| -> String {
        database.value(&format!("SELECT string_agg(DISTINCT group_key, ', ' ORDER BY group_key) FROM {table}")).await
    };
    let kept = "acknowledged, lately, open, silenced still";
    assert_eq!((left("notification_groups").await.as_str(), left("escalations").await.as_str()), (kept, kept));
    assert_eq!(left("notifications WHERE status = 'sent'").await, kept);
    assert_eq!(database.count("notifications WHERE status = 'pending'").await, 7, "it is still to be sent");
    assert_eq!(database.count("silences").await, 1, "the one that still mutes");
}

#[tokio::test]
async fn a_delivery_key_is_kept_for_as_long_as_its_report_may_be_retried() {
    let stack = TestStack::start().await;
    for key in ["old", "young"] {
        let request = stack.request("POST", "/api/autonomous/error").header("idempotency-key", key);
        stack.send(request.json(&json!({"error": {"message": "boom"}}))).await;
    }
    stack
        .database
        .execute("UPDATE inbound_deliveries SET received_at = now() - interval '29 days' WHERE created")
        .await;
    let later = Utc::now() + TimeDelta::days(2);
    let app = App::new(stack.database.store());
    let run = handle(&app, later, Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!(run.deleted.get("report_keys"), Some(&1));
    assert_eq!(stack.database.count("inbound_deliveries").await, 1);
}

#[tokio::test]
async fn the_lambda_runs_as_the_agent_and_fails_while_the_database_is_unavailable() {
    let database = Database::migrated().await;
    for aged in &AGED {
        aged.store(&database, 1).await;
    }
    let lambda = Lambda::start("maintain", &[("DATABASE_URL", &database.url())]).await;
    lambda.invoke(super::lambda::scheduled_event()).await.unwrap();
    assert_eq!(database.count("service_health_checks").await, 3);
    assert_eq!(database.count("notifications").await, 3);
    let nowhere = "postgresql://agent:nothing@127.0.0.1:9/none?sslmode=disable";
    let lambda = Lambda::start("maintain", &[("DATABASE_URL", nowhere)]).await;
    assert!(lambda.invoke(super::lambda::scheduled_event()).await.is_err());
}
