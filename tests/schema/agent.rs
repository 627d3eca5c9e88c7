//! The role of the functions: its privileges on every table of ours, and what it is refused.
//!
//! That the privileges suffice is tested elsewhere: each stack and each Lambda of the end-to-end tests logs in as this role.

use harness::{AGENT, AGENT_PASSWORD, Database};
use local::migrations::{FILES, apply, grant_agent};
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use shared::store::ConnectionSettings;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::catalog::{lines, tables};

/// The history table of the migrations, which the role may not read.
const HISTORY: &str = "watchkeeper_migrations";

/// The connection settings of the role on this database.
fn config(database: &Database) -> DatabaseConfig {
    let url = database.url();
    let (_, place) = url.split_once('@').unwrap();
    DatabaseConfig::at(SecretString::from(format!("postgresql://{AGENT}:{AGENT_PASSWORD}@{place}")))
}

/// A connection as the role.
async fn log_in(database: &Database) -> Client {
    ConnectionSettings::parse(&config(database), "test").unwrap().connect().await.unwrap()
}

async fn refused(client: &Client, sql: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error:?}");
}

/// Missing and excessive privileges of the role; none if correct.
async fn privilege_errors(client: &Client) -> Vec<String> {
    let sql = format!(
        "WITH relation AS (
            SELECT oid, relname, relkind FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relname <> '{HISTORY}'
        )
        SELECT concat_ws(' ', relname, 'has no policy for the role: SELECT public.grant_to_agent(…) in its migration') AS line
        FROM relation
        WHERE relkind IN ('r', 'p') AND NOT EXISTS (
            SELECT FROM pg_policies
            WHERE schemaname = 'public' AND tablename = relname AND policyname = '{AGENT}' AND roles = '{{{AGENT}}}'
                AND permissive = 'PERMISSIVE' AND cmd = 'ALL' AND qual = 'true' AND with_check = 'true'
        )
        UNION ALL
        SELECT concat_ws(' ', relname, 'lets it', action, CASE WHEN wanted THEN 'not' END)
        FROM relation, LATERAL (
            SELECT action, action IN ('SELECT', 'INSERT', 'DELETE')
                OR action = 'UPDATE' AND relname <> 'agent_actions' AS wanted
            FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS action
        ) AS privilege
        WHERE relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege('{AGENT}', oid, action) <> wanted
        UNION ALL
        SELECT concat_ws(' ', relname, 'is a sequence that it can not use') FROM relation
        WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege('{AGENT}', oid, 'USAGE') ELSE false END
        UNION ALL
        SELECT concat_ws(' ', proname, 'is a function that it may', CASE WHEN wanted THEN 'not' END, 'call')
        FROM (
            SELECT *, proname <> 'grant_to_agent' AS wanted FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace AND prorettype <> 'trigger'::regtype
                AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        ) AS function
        WHERE has_function_privilege('{AGENT}', oid, 'EXECUTE') <> wanted
        ORDER BY line"
    );
    lines(client, &sql).await
}

#[tokio::test]
async fn the_role_may_read_and_write_the_rows_of_our_tables_and_no_more() {
    let database = Database::migrated().await;
    assert_eq!(privilege_errors(database.client()).await, Vec::<String>::new());
    let agent = log_in(&database).await;
    refused(&agent, &format!("SELECT FROM public.{HISTORY}")).await;
    refused(&agent, "UPDATE agent_actions SET agent_id = 'other'").await;
    refused(&agent, "SELECT public.grant_to_agent()").await;
    for table in tables(database.client()).await {
        refused(&agent, &format!("TRUNCATE public.{table}")).await;
        refused(&agent, &format!("ALTER TABLE public.{table} ADD COLUMN more text")).await;
        refused(&agent, &format!("DROP TABLE public.{table}")).await;
    }
}

#[tokio::test]
async fn the_role_may_create_nothing_and_use_no_other_schema() {
    let database = Database::migrated().await;
    database.execute("CREATE SCHEMA others; CREATE TABLE others.secret (id int)").await;
    let agent = log_in(&database).await;
    for sql in [
        "CREATE TABLE public.mine (id int)",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SELECT FROM others.secret",
    ] {
        refused(&agent, sql).await;
    }
}

#[tokio::test]
async fn the_role_can_not_migrate_and_the_error_names_who_can() {
    let error = format!("{:#}", apply(&config(&Database::migrated().await)).await.unwrap_err());
    assert!(error.contains("permission denied") && error.contains("set DIRECT_URL"), "{error}");
}

#[tokio::test]
async fn a_table_of_others_stays_closed() {
    let database = Database::empty().await;
    database.execute("CREATE TABLE public.customers (id int)").await;
    for (name, sql) in FILES {
        database.client().batch_execute(sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    refused(&log_in(&database).await, "SELECT FROM public.customers").await;
}

#[tokio::test]
async fn a_later_table_is_granted_by_default_and_readable_once_it_has_a_policy() {
    let database = Database::migrated().await;
    let table =
        "CREATE TABLE public.later (id bigserial PRIMARY KEY); ALTER TABLE public.later ENABLE ROW LEVEL SECURITY;
        INSERT INTO public.later DEFAULT VALUES";
    database.execute(table).await;
    let missing = privilege_errors(database.client()).await;
    assert!(matches!(missing.as_slice(), [one] if one.starts_with("later has no policy")), "{missing:?}");
    let agent = log_in(&database).await;
    let seen = async || agent.query("SELECT FROM public.later", &[]).await.unwrap().len();
    assert_eq!(seen().await, 0);
    refused(&agent, "INSERT INTO public.later DEFAULT VALUES").await;
    for _ in 0..2 {
        database.execute("SELECT public.grant_to_agent('later')").await;
    }
    agent.batch_execute("INSERT INTO public.later DEFAULT VALUES").await.unwrap();
    assert_eq!((seen().await, privilege_errors(database.client()).await), (2, Vec::new()));
}

#[tokio::test]
async fn an_owner_who_may_not_create_the_role_migrates_and_gets_the_statements_to_run() {
    let database = Database::empty().await;
    let owner = format!("owner_{}", uuid::Uuid::new_v4().simple());
    // Roles belong to the whole server: all of this is rolled back, so that no other test ever misses one.
    database.execute(&format!("BEGIN; ALTER ROLE {AGENT} RENAME TO {owner}_hidden; CREATE ROLE {owner}")).await;
    database.execute(&format!("GRANT CREATE, USAGE ON SCHEMA public TO {owner}")).await;
    let (extensions, rest) = FILES.split_first().unwrap();
    database.execute(extensions.1).await;
    database.execute(&format!("SET LOCAL ROLE {owner}")).await;
    for (name, sql) in rest {
        database.client().batch_execute(sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    let left = lines(database.client(), "SELECT public.grant_to_agent()").await;
    assert!(left.len() == 2 && left[0].starts_with("CREATE ROLE watchkeeper_agent NOLOGIN;"), "{left:?}");
    // An administrator runs the first statement, the owner the second.
    database.execute(&format!("RESET ROLE; {}; SET LOCAL ROLE {owner}", left[0].split(';').next().unwrap())).await;
    assert_eq!(lines(database.client(), "SELECT public.grant_to_agent()").await, Vec::<String>::new());
    let can_log_in: bool = database.value(&format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{AGENT}'")).await;
    assert!(!can_log_in);
    let missing = privilege_errors(database.client()).await;
    database.execute("ROLLBACK").await;
    assert_eq!(missing, Vec::<String>::new());
}

#[tokio::test]
async fn an_owner_is_warned_where_every_role_may_create_tables() {
    let database = Database::migrated().await;
    assert_eq!(grant_agent(&database.config()).await.unwrap(), Vec::<String>::new());
    database.execute("GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    let left = grant_agent(&database.config()).await.unwrap();
    assert!(
        matches!(left.as_slice(), [one] if one.starts_with("REVOKE CREATE ON SCHEMA public FROM PUBLIC;")),
        "{left:?}"
    );
}
