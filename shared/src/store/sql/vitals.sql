-- How a server fares, as far as a plain role may see: what others do is hidden from it, but not that they are there.
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
        -- Of another's backend the kind is hidden; what works for the server itself has no role.
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
