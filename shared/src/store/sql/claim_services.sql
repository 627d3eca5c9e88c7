-- Claims what is due at a tick, without holding a transaction while it is checked. A service is due when the slot
-- of the tick differs from the slot claimed last ("last time + interval" would skip minutes); out of turn ($4),
-- everything is. The switches are read in the same statement: one row comes back even when nothing is claimed.
WITH switches AS (
    SELECT
        coalesce((
            SELECT value -> 'enabled' = 'true'::jsonb FROM public.system_config WHERE key = 'agent_kill_switch'
        ), false) AS killed,
        coalesce((
            SELECT value -> 'enabled' = 'true'::jsonb FROM public.system_config WHERE key = 'agent_monitoring_enabled'
        ), true) AS enabled,
        greatest(30, coalesce((
            SELECT CASE WHEN jsonb_typeof(value -> 'value') = 'number' THEN (value ->> 'value')::numeric END
            FROM public.system_config WHERE key = 'monitoring_interval_seconds'
        ), 60)) AS default_interval
),
due AS (
    SELECT
        service.id,
        coalesce(service.interval_seconds, switches.default_interval) AS period,
        floor(extract(epoch FROM $2::timestamptz) / coalesce(service.interval_seconds, switches.default_interval))::bigint AS slot
    FROM public.services AS service
    CROSS JOIN switches
    WHERE service.enabled
        AND switches.enabled
        AND NOT switches.killed
        AND (
            -- The same claim again: its answer was lost.
            service.claimed_by = $1
            OR (
                (service.claimed_until IS NULL OR service.claimed_until <= $3)
                AND (
                    $4
                    OR service.last_slot IS DISTINCT FROM floor(
                        extract(epoch FROM $2::timestamptz)
                        / coalesce(service.interval_seconds, switches.default_interval)
                    )::bigint
                )
            )
        )
    ORDER BY service.id
    FOR UPDATE OF service SKIP LOCKED
),
claimed AS (
    UPDATE public.services AS service
    SET
        claimed_by = $1,
        -- All attempts end within twice the time-out; a claimer that died is given up soon after.
        claimed_until = $3 + make_interval(secs => service.timeout_ms * 2 / 1000.0 + 10),
        last_slot = CASE WHEN $4 THEN service.last_slot ELSE due.slot END
    FROM due
    WHERE service.id = due.id
    RETURNING
        service.id, service.name::text AS name, service.environment, service.application::text AS application,
        service.url, service.expected_status, service.timeout_ms, service.state, service.state_changed_at,
        service.consecutive_failures, service.consecutive_successes, service.last_checked_at,
        CASE WHEN $4 THEN $3 ELSE to_timestamp((due.slot * due.period)::double precision) END AS stands_for
)
SELECT switches.killed, switches.enabled AS monitoring_enabled, claimed.*
FROM switches
LEFT JOIN claimed ON true
ORDER BY claimed.environment, claimed.name
