-- What has been kept long enough goes, some rows of each table at a time; two at once share the work. A setting that makes no sense is none: nothing is
-- deleted sooner than after a day.
WITH kept AS (
    SELECT
        coalesce(max(days) FILTER (WHERE key = 'check_retention_days'), 30) AS checks,
        coalesce(max(days) FILTER (WHERE key = 'rollup_retention_days'), 400) AS rollups
    FROM (
        SELECT key, CASE
            WHEN jsonb_typeof(value -> 'value') = 'number'
            THEN least(greatest((value ->> 'value')::numeric, 1), 10000)::int
        END AS days
        FROM public.system_config
        WHERE key IN ('check_retention_days', 'rollup_retention_days')
    ) AS settings
),
health_checks AS (
    DELETE FROM public.service_health_checks
    WHERE id IN (
        SELECT id FROM public.service_health_checks
        WHERE created_at < $1 - make_interval(days => (SELECT checks FROM kept))
        ORDER BY created_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
),
checks AS (
    DELETE FROM public.monitoring_checks
    WHERE id IN (
        SELECT id FROM public.monitoring_checks
        WHERE "timestamp" < $1 - make_interval(days => (SELECT checks FROM kept))
        ORDER BY "timestamp"
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
),
hours AS (
    DELETE FROM public.service_hourly
    WHERE (service_id, hour) IN (
        SELECT service_id, hour FROM public.service_hourly
        WHERE hour < $1 - make_interval(days => (SELECT rollups FROM kept))
        ORDER BY hour
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
),
days AS (
    DELETE FROM public.service_daily
    WHERE (service_id, day) IN (
        SELECT service_id, day FROM public.service_daily
        WHERE day < $1 - make_interval(days => (SELECT rollups FROM kept))
        ORDER BY day
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT greatest(
    (SELECT count(*) FROM health_checks), (SELECT count(*) FROM checks), (SELECT count(*) FROM hours),
    (SELECT count(*) FROM days)
) AS most
