//! What the tests read from Postgres's catalog, as lines of text, so that a failed comparison shows the difference.

use harness::Database;
use tokio_postgres::Client;

/// The schema `public` in full, down to the files on disk, without the tool's history table, which exists depending on
/// who migrated.
pub(crate) async fn snapshot(client: &Client) -> Vec<String> {
    lines(
        client,
        "WITH relation AS (
            SELECT * FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'watchkeeper_migrations%'
        )
        SELECT concat_ws(' ', 'extension', extname) AS line FROM pg_extension
        UNION ALL
        SELECT concat_ws(' ', 'relation', relname, relkind, oid, relfilenode, reloptions, relacl, relrowsecurity)
        FROM relation
        UNION ALL
        SELECT concat_ws(' ', 'column', relname, attname, format_type(atttypid, atttypmod), attnotnull,
            attcompression, attgenerated, pg_get_expr(adbin, adrelid))
        FROM relation
        JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        UNION ALL
        SELECT concat_ws(' ', 'index', pg_get_indexdef(oid)) FROM relation WHERE relkind = 'i'
        UNION ALL
        SELECT concat_ws(' ', 'constraint', relname, pg_constraint.oid, conname, convalidated,
            pg_get_constraintdef(pg_constraint.oid))
        FROM pg_constraint JOIN relation ON relation.oid = conrelid
        UNION ALL
        SELECT concat_ws(' ', 'trigger', relname, tgenabled, pg_get_triggerdef(pg_trigger.oid))
        FROM pg_trigger JOIN relation ON relation.oid = tgrelid WHERE NOT tgisinternal
        UNION ALL
        SELECT concat_ws(' ', 'function', pg_get_functiondef(oid), proacl)
        FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        ORDER BY line",
    )
    .await
}

/// The tables and views of `public`, including the tool's history.
pub(crate) async fn tables(client: &Client) -> Vec<String> {
    lines(
        client,
        "SELECT relname::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        ORDER BY relname",
    )
    .await
}

/// A table's rows as JSON, in a fixed order.
pub(crate) async fn rows(database: &Database, table: &str) -> Vec<serde_json::Value> {
    let sql = format!("SELECT to_jsonb(t) FROM public.{table} AS t ORDER BY 1");
    database.rows(&sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

/// The lines of a query of one text column.
pub(crate) async fn lines(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}
