-- Services as configured. A row from a file is never changed by the environment's defaults; a changed address or
-- expectation keeps what is known of the service (an open outage must still be able to recover).
INSERT INTO public.services AS stored (
    name, environment, application, url, expected_status, timeout_ms, interval_seconds, enabled, origin,
    created_at, updated_at
)
SELECT name, environment, application, url, expected_status, timeout_ms, interval_seconds, enabled, $9, $10, $10
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::bool[])
    AS given (name, environment, application, url, expected_status, timeout_ms, interval_seconds, enabled)
ORDER BY environment COLLATE "C", name COLLATE "C"
ON CONFLICT (name, environment) DO UPDATE SET
    application = EXCLUDED.application,
    url = EXCLUDED.url,
    expected_status = EXCLUDED.expected_status,
    timeout_ms = EXCLUDED.timeout_ms,
    interval_seconds = EXCLUDED.interval_seconds,
    enabled = EXCLUDED.enabled,
    origin = EXCLUDED.origin,
    updated_at = EXCLUDED.updated_at
WHERE (EXCLUDED.origin = 'file' OR stored.origin = 'environment')
    AND (
        stored.application, stored.url, stored.expected_status, stored.timeout_ms, stored.interval_seconds,
        stored.enabled, stored.origin
    ) IS DISTINCT FROM (
        EXCLUDED.application, EXCLUDED.url, EXCLUDED.expected_status, EXCLUDED.timeout_ms,
        EXCLUDED.interval_seconds, EXCLUDED.enabled, EXCLUDED.origin
    )
