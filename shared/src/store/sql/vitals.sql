-- Metrics of a server, as far as an unprivileged role can see them: other roles' activity is hidden, but not their
-- connections.
SELECT
    current_setting('max_connections')::bigint AS max_connections,
    activity.connections,
    activity.longest_transaction_seconds,
    (SELECT count(DISTINCT pid) FROM pg_catalog.pg_locks WHERE NOT granted) AS blocked_backends,
    counted.deadlocks,
    counted.blks_hit::float8 / nullif(counted.blks_hit + counted.blks_read, 0) AS cache_hit_ratio,
    pg_catalog.pg_database_size(counted.datid) AS size_bytes
FROM pg_catalog.pg_stat_database AS counted
CROSS JOIN (
    SELECT
        -- The type of another role's backend is hidden; the server's own processes have no role.
        count(*) FILTER (
            WHERE usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
        ) AS connections,
        coalesce(
            extract(
                epoch FROM clock_timestamp() - min(xact_start) FILTER (
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                )
            ),
            0
        )::float8 AS longest_transaction_seconds
    FROM pg_catalog.pg_stat_activity
) AS activity
WHERE counted.datname = current_database()
