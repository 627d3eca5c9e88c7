-- Claims what is due at a tick, without holding a transaction while it is checked. A service is due when the slot
-- of the tick differs from the slot claimed last ("last time + interval" would skip minutes), and when a claim has
-- ended without a result; out of turn ($4), everything is. The switches are read in the same statement: one row
-- comes back even when nothing is claimed.
, timed AS (
    SELECT
        service.id,
        coalesce(service.interval_seconds, switches.default_interval) AS period,
        floor(
            extract(epoch FROM $2::timestamptz) / coalesce(service.interval_seconds, switches.default_interval)
        )::bigint AS slot
    FROM public.services AS service
    CROSS JOIN switches
    WHERE service.enabled AND switches.stopped_by IS NULL
),
due AS (
    SELECT service.id, timed.period, timed.slot
    FROM public.services AS service
    JOIN timed USING (id)
    WHERE
        -- The same claim again: its answer was lost.
        service.claimed_by = $1
        OR (
            (service.claimed_until IS NULL OR service.claimed_until <= $3)
            AND ($4 OR service.claimed_by IS NOT NULL OR service.last_slot IS DISTINCT FROM timed.slot)
            -- One round checks a service once.
            AND ($5::timestamptz IS NULL OR service.last_checked_at IS NULL OR service.last_checked_at < $5)
        )
    ORDER BY service.id
    LIMIT $6
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
        CASE WHEN $4 THEN 0 ELSE due.period END::int8 AS period,
        CASE WHEN $4 THEN $3 ELSE to_timestamp((due.slot * due.period)::double precision) END AS stands_for
)
SELECT
    switches.stopped_by, (SELECT count(*) FROM public.services WHERE enabled) AS configured, claimed.*
FROM switches
LEFT JOIN claimed ON true
ORDER BY claimed.environment, claimed.name
