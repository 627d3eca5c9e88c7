//! Applies `migrations/*.sql` over a direct connection, under an advisory lock: any number of runs, at any time, by
//! any user, leave the same schema (idempotent). All pending files are one transaction with a short lock timeout: the locks
//! that it has already block the intake of errors meanwhile.

use std::time::Duration;

use anyhow::{Context as _, bail};
use refinery::{Migration, Runner};
use shared::config::DatabaseConfig;
use shared::store::{ConnectionSettings, Pooling, agent_role};
use tokio_postgres::error::{DbError, SqlState};

/// The table with refinery's history.
const HISTORY_TABLE: &str = "public.watchkeeper_migrations";

/// The advisory lock's key: "watchkpr" in ASCII.
const LOCK: i64 = 0x7761_7463_686b_7072;

/// How long a statement waits for another session's lock (such as of `pg_dump`), and how often the transaction is tried.
const LOCK_TIMEOUT: &str = "5s";
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

macro_rules! migration {
    ($name:literal) => {
        ($name, include_str!(concat!("../../migrations/", $name, ".sql")))
    };
}
/// The files, oldest first. A test compares this list with the folder.
pub const FILES: [(&str, &str); 25] = [
    migration!("20261101000000_enable_extensions"),
    migration!("20261101000100_create_required_tables"),
    migration!("20261101000200_create_own_tables"),
    migration!("20261101000300_secure_tables"),
    migration!("20261101000400_upgrade_older_tables"),
    migration!("20261101000500_create_indexes"),
    migration!("20261101000600_guard_agent_actions"),
    migration!("20261101000700_tune_storage"),
    migration!("20261101000800_seed_system_config"),
    migration!("20261102000000_group_upstream_incidents"),
    migration!("20261102000100_bound_incident_times"),
    migration!("20261123000000_count_occurrences"),
    migration!("20261123000050_record_reports_function"),
    migration!("20261123000100_create_applications"),
    migration!("20261123000200_keep_upstream_steps"),
    migration!("20261123100000_probe_in_detail"),
    migration!("20261124000000_notify"),
    migration!("20261128000000_tell_what_comes_back_worse"),
    migration!("20261130000000_create_agent_role"),
    migration!("20261130010000_bound_public_dsns"),
    migration!("20261130020000_bound_security_events"),
    migration!("20261130030000_order_lists_by_change"),
    migration!("20261130030100_name_service_files"),
    migration!("20261201000200_add_notification_columns"),
    migration!("20261201000300_number_events_for_the_release_before"),
];

/// Migrates the schema to the newest version; returns the names of the files that were applied now.
///
/// # Errors
/// When the database can't be reached, is behind a transaction pooler, or refuses a statement: nothing is changed.
pub async fn apply(database: &DatabaseConfig) -> anyhow::Result<Vec<String>> {
    apply_files(database, &FILES).await
}

/// As [`apply`], up to the last of these files, which are the first ones of [`FILES`].
///
/// # Errors
/// As [`apply`].
pub async fn apply_files(database: &DatabaseConfig, files: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
    let settings = ConnectionSettings::parse(database, "watchkeeper-migrate")?;
    if settings.pooling == Pooling::Transaction {
        bail!(
            "{} is a transaction pooler, which can't run migrations: set DIRECT_URL to the session or direct \
             connection (port 5432 on Supabase)",
            settings.place()
        );
    }
    let mut client =
        settings.connect().await.with_context(|| format!("can't reach the database at {}", settings.place()))?;
    // Locked until the connection ends, whatever happens.
    client.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")).await.context("take the migration lock")?;
    let migrations = files
        .iter()
        .map(|(name, sql)| Migration::unapplied(&refinery_name(name), sql))
        .collect::<Result<Vec<_>, _>>()
        .context("read the migrations")?;
    let mut runner = Runner::new(&migrations).set_grouped(true).set_abort_missing(false);
    runner.set_migration_table_name(HISTORY_TABLE);
    client.batch_execute(&format!("SET lock_timeout = '{LOCK_TIMEOUT}'")).await.context("bound the wait for locks")?;
    let mut tries = 0;
    let report = loop {
        tries += 1;
        match runner.run_async(&mut client).await {
            Ok(report) => break report,
            Err(error) if is_locked_out(&error) && tries < TRIES => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                let holder = if is_locked_out(&error) { Some(holder(&client).await) } else { None };
                forget_empty_history(&client).await;
                return Err(refused(error, holder));
            }
        }
    };
    Ok(report
        .applied_migrations()
        .iter()
        .map(|migration| format!("{}_{}", migration.version(), migration.name()))
        .collect())
}

/// Grants the functions' role what it lacks, and returns the statements that an operator has to run: the owner of the tables
/// may not be allowed to create roles.
///
/// # Errors
/// When the database can't be reached, its schema is not up to date, or this is not the owner of the tables.
pub async fn grant_agent(database: &DatabaseConfig) -> anyhow::Result<Vec<String>> {
    let settings = ConnectionSettings::parse(database, "watchkeeper-migrate")?;
    let client =
        settings.connect().await.with_context(|| format!("can't reach the database at {}", settings.place()))?;
    // As `apply`: concurrent grants conflict.
    client.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")).await.context("take the migration lock")?;
    agent_role::grant(&client).await.context("grant the role watchkeeper_agent what it needs")
}

/// refinery creates its history table before the transaction: a first run that was refused drops it.
async fn forget_empty_history(client: &tokio_postgres::Client) {
    let sql = format!(
        "DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM {HISTORY_TABLE}) THEN DROP TABLE {HISTORY_TABLE}; END IF;
        EXCEPTION WHEN undefined_table THEN NULL;
        END $$"
    );
    if let Err(error) = client.batch_execute(&sql).await {
        tracing::warn!(error = %shared::store::chain(&error), "{HISTORY_TABLE} could not be dropped");
    }
}

/// Supabase's `20261101000000_name` as refinery's `V20261101000000__name`.
fn refinery_name(name: &str) -> String {
    format!("V{}", name.replacen('_', "__", 1))
}

/// Whether the lock timeout expired.
fn is_locked_out(error: &refinery::Error) -> bool {
    refusal(error).is_some_and(|refusal| *refusal.code() == SqlState::LOCK_NOT_AVAILABLE)
}

/// The session that has a lock on one of our tables: of several the oldest.
async fn holder(client: &tokio_postgres::Client) -> String {
    let sql = "
        SELECT format('%I.%I (process %s %s)', space.nspname, locked.relname, lock.pid, session.application_name)
        FROM pg_catalog.pg_locks AS lock
        JOIN pg_catalog.pg_class AS locked ON locked.oid = lock.relation AND locked.relkind IN ('r', 'p')
        JOIN pg_catalog.pg_namespace AS space ON space.oid = locked.relnamespace AND space.nspname = 'public'
        JOIN pg_catalog.pg_stat_activity AS session ON session.pid = lock.pid
        WHERE lock.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
            AND lock.granted AND lock.pid <> pg_backend_pid()
        ORDER BY session.xact_start, locked.relname
        LIMIT 1";
    let found = client.query_opt(sql, &[]).await.ok().flatten();
    found.and_then(|row| row.try_get(0).ok()).unwrap_or_else(|| "a table".to_owned())
}

/// Postgres's own error.
fn refusal(error: &refinery::Error) -> Option<&DbError> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(refusal) = cause.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.as_db_error()) {
            return Some(refusal);
        }
        next = cause.source();
    }
    None
}

/// Postgres's own error without its wrappers, with a hint.
fn refused(error: refinery::Error, holder: Option<String>) -> anyhow::Error {
    if let Some(holder) = holder {
        return anyhow::anyhow!(
            "migration refused, nothing was changed: another session holds a lock on {holder}: retry when it has ended"
        );
    }
    let Some(refusal) = refusal(&error) else { return anyhow::Error::new(error).context("migrate") };
    let hint = match refusal.hint() {
        Some(hint) => format!(" ({hint})"),
        None if *refusal.code() == SqlState::INSUFFICIENT_PRIVILEGE => {
            " (only the owner of the schema may change it: set DIRECT_URL to a connection of that role)".to_owned()
        }
        None => String::new(),
    };
    anyhow::anyhow!("migration refused, nothing was changed: {}{hint}", refusal.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let listed: Vec<String> = FILES.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(listed, names);
    }
}
