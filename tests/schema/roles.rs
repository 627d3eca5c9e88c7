//! What roles other than the owner can read. Roles belong to the whole server: here each lives in a transaction that is
//! rolled back, so that no other test sees it.

use harness::Database;
use local::migrations::FILES;
use tokio_postgres::error::SqlState;

use crate::catalog::{lines, tables};

/// Supabase's two browser roles, with the default privileges of its projects.
const BROWSER_ROLES: &str = "
    DO $$ BEGIN CREATE ROLE anon; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    DO $$ BEGIN CREATE ROLE authenticated; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated;";

const INCIDENT: &str = "
    INSERT INTO incidents (incident_id, title, severity, category, application, error_message)
    VALUES ('INC-1', 't', 'LOW', 'unknown', 'a', 'm');";

async fn migrate(database: &Database) {
    for (name, sql) in FILES {
        database.client().batch_execute(sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

#[tokio::test]
async fn a_role_without_privileges_can_read_and_write_nothing() {
    let database = Database::migrated().await;
    let role = format!("reader_{}", uuid::Uuid::new_v4().simple());
    let tables = tables(database.client()).await;
    assert!(tables.len() >= 14, "{tables:?}");
    database.execute(&format!("BEGIN; CREATE ROLE {role}; SET LOCAL ROLE {role}; SAVEPOINT before")).await;
    for table in &tables {
        for sql in [
            format!("SELECT FROM public.{table}"),
            format!("DELETE FROM public.{table}"),
            format!("TRUNCATE public.{table}"),
            format!("INSERT INTO public.{table} DEFAULT VALUES"),
        ] {
            let error = database.client().batch_execute(&sql).await.expect_err(&sql);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}");
            database.execute("ROLLBACK TO before").await;
        }
    }
    database.execute("ROLLBACK").await;
}

#[tokio::test]
async fn privileges_that_supabase_grants_its_browser_roles_are_revoked() {
    let database = Database::empty().await;
    database.execute(&format!("BEGIN; {BROWSER_ROLES}")).await;
    // As when the tool migrates: its history exists before the first file.
    database.execute("CREATE TABLE public.watchkeeper_migrations (version BIGINT PRIMARY KEY)").await;
    migrate(&database).await;
    let left = lines(
        database.client(),
        "SELECT role || ' ' || relname
        FROM pg_class, unnest(ARRAY['anon', 'authenticated']) AS role
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
            AND (has_table_privilege(role, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                OR has_any_column_privilege(role, oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
        UNION ALL
        SELECT role || ' ' || proname
        FROM pg_proc, unnest(ARRAY['anon', 'authenticated']) AS role
        WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(role, oid, 'EXECUTE')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')",
    )
    .await;
    database.execute("ROLLBACK").await;
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn a_browser_role_reads_no_row_even_where_the_table_is_granted() {
    let database = Database::empty().await;
    database.execute(&format!("BEGIN; {BROWSER_ROLES}")).await;
    migrate(&database).await;
    database.execute(INCIDENT).await;
    database.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO anon; SET LOCAL ROLE anon").await;
    assert_eq!(database.count("incidents").await, 0);
    assert_eq!(database.count("system_config").await, 0);
    let error = database.client().batch_execute(INCIDENT).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    database.execute("ROLLBACK").await;
}
