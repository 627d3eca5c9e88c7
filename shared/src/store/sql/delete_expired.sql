-- What has been kept long enough goes, some rows of each table at a time; two at once share the work. A setting that makes no sense is none: nothing is
-- deleted sooner than after a day.
WITH kept AS (
    SELECT
        coalesce(max(days) FILTER (WHERE key = 'check_retention_days'), 30) AS checks,
        coalesce(max(days) FILTER (WHERE key = 'rollup_retention_days'), 400) AS rollups,
        coalesce(max(days) FILTER (WHERE key = 'security_event_retention_days'), 90) AS security_events
    FROM (
        SELECT key, CASE
            WHEN jsonb_typeof(value -> 'value') = 'number'
            THEN least(greatest((value ->> 'value')::numeric, 1), 10000)::int
        END AS days
        FROM public.system_config
        WHERE key IN ('check_retention_days', 'rollup_retention_days', 'security_event_retention_days')
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
),
security_events AS (
    DELETE FROM public.security_events
    WHERE id IN (
        SELECT id FROM public.security_events
        WHERE "timestamp" < $1 - make_interval(days => (SELECT security_events FROM kept))
        ORDER BY "timestamp"
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
),
-- A counter is looked at for an hour; what was noted late counts in its own time.
security_counts AS (
    DELETE FROM public.security_event_counts
    WHERE (event_type, span, starts_at) IN (
        SELECT event_type, span, starts_at FROM public.security_event_counts
        WHERE starts_at < $1 - interval '1 day'
        ORDER BY starts_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT greatest(
    (SELECT count(*) FROM health_checks), (SELECT count(*) FROM checks), (SELECT count(*) FROM hours),
    (SELECT count(*) FROM days), (SELECT count(*) FROM security_events), (SELECT count(*) FROM security_counts)
) AS most
