-- Claims (leases), for one region, the services that are due at a tick; no transaction or lock is kept during the
-- checks. A service is due if the slot of the tick differs from the slot claimed last ("last time + interval" would
-- skip minutes), or if a claim has expired without a result; in an unscheduled round ($4) every service is due. The
-- switches are read in the same statement: it returns one row even if nothing is claimed. With $8 nothing new is
-- claimed: only the services that this claim ($1) still leases, as they are now.
, periods AS (
    -- A heartbeat's interval is its job's; its absence is checked each minute.
    SELECT
        service.id,
        CASE WHEN service.kind = 'heartbeat' THEN least(60, configured.seconds) ELSE configured.seconds END AS period
    FROM public.services AS service
    CROSS JOIN switches
    CROSS JOIN LATERAL (SELECT coalesce(service.interval_seconds, switches.default_interval) AS seconds) AS configured
    WHERE service.enabled AND switches.stopped_by IS NULL
),
timed AS (
    SELECT id, period, floor(extract(epoch FROM $2::timestamptz) / period)::bigint AS slot FROM periods
),
-- Without services whose open circuit breaker does not allow a retry yet.
allowed AS (
    SELECT timed.*, $3 + make_interval(secs => service.timeout_ms * 2 / 1000.0 + 30) AS until
    FROM timed
    JOIN public.services AS service USING (id)
    LEFT JOIN public.circuit_breakers AS breaker
        ON breaker.key = 'service:' || service.id AND service.policy -> 'tags' ? 'external'
    WHERE $4 OR breaker.retry_at IS NULL OR breaker.retry_at <= $3
),
-- All services that are due, for any claim: of several concurrent claims, each may get fewer.
wanted AS (
    SELECT allowed.id
    FROM allowed
    LEFT JOIN public.service_claims AS claim ON claim.service_id = allowed.id AND claim.region = $7
    WHERE NOT $8 AND (
        claim.service_id IS NULL
        OR claim.claimed_by = $1
        OR (
            (claim.claimed_until IS NULL OR claim.claimed_until <= $3)
            AND ($4 OR claim.claimed_by IS NOT NULL OR claim.last_slot IS DISTINCT FROM allowed.slot)
            -- A late tick, after the next one's check, is a missed window.
            AND ($4 OR claim.last_checked_at IS NULL
                OR claim.last_checked_at < to_timestamp(((allowed.slot + 1) * allowed.period)::double precision))
            AND ($5::timestamptz IS NULL OR claim.last_checked_at IS NULL OR claim.last_checked_at < $5)
        )
    )
),
-- The first claim in this region: the transaction that inserts the row has the claim.
fresh AS (
    INSERT INTO public.service_claims (service_id, region, last_slot, claimed_by, claimed_until)
    SELECT id, $7, CASE WHEN NOT $4 THEN slot END, $1, until
    FROM allowed
    WHERE NOT $8 AND NOT EXISTS (
        SELECT FROM public.service_claims AS claim WHERE claim.service_id = allowed.id AND claim.region = $7
    )
    ORDER BY id
    LIMIT $6
    ON CONFLICT DO NOTHING
    RETURNING service_id
),
-- The conditions are repeated, to be evaluated again after the row lock: another claim may have changed the row.
due AS (
    SELECT claim.service_id
    FROM public.service_claims AS claim
    JOIN allowed ON allowed.id = claim.service_id
    WHERE claim.region = $7
        AND (
            -- A retry of the same claim.
            claim.claimed_by = $1
            OR NOT $8 AND (
                (claim.claimed_until IS NULL OR claim.claimed_until <= $3)
                AND ($4 OR claim.claimed_by IS NOT NULL OR claim.last_slot IS DISTINCT FROM allowed.slot)
                -- A late tick, after the next one's check, is a missed window.
                AND ($4 OR claim.last_checked_at IS NULL
                    OR claim.last_checked_at < to_timestamp(((allowed.slot + 1) * allowed.period)::double precision))
                -- A round checks each service once.
                AND ($5::timestamptz IS NULL OR claim.last_checked_at IS NULL OR claim.last_checked_at < $5)
            )
        )
    ORDER BY claim.service_id
    LIMIT greatest(0, $6 - (SELECT count(*) FROM fresh))
    FOR UPDATE OF claim SKIP LOCKED
),
taken AS (
    UPDATE public.service_claims AS claim
    SET
        claimed_by = $1,
        -- All attempts end within twice the timeout; the claim of a dead worker expires soon after.
        claimed_until = allowed.until,
        last_slot = CASE WHEN $4 THEN claim.last_slot ELSE allowed.slot END
    FROM due
    JOIN allowed ON allowed.id = due.service_id
    WHERE claim.service_id = due.service_id AND claim.region = $7
    RETURNING claim.service_id
),
mine AS (
    SELECT service_id FROM fresh UNION ALL SELECT service_id FROM taken
),
-- Jobs that were healthy at their last check, and the instant from which a missing heartbeat counts. If that check is
-- long ago, heartbeats could not be received: from now on. If only one check was missed, or the server has restarted
-- since, the database was unavailable for a moment: a heartbeat may be deferred, and the queue retries it after six
-- minutes. So the deadline is at least ten minutes from now, but only once in twenty minutes: otherwise rarely checked
-- jobs would never fail.
extended AS (
    SELECT
        service.id,
        CASE
            WHEN service.last_checked_at < $3 - interval '3 minutes' THEN $3
            ELSE excused.since
        END AS since
    FROM mine
    JOIN public.services AS service ON service.id = mine.service_id
    JOIN public.service_heartbeats AS beat ON beat.service_id = service.id
    CROSS JOIN LATERAL (
        SELECT $3 - greatest(
            make_interval(secs => coalesce(service.interval_seconds, 60)) - interval '10 minutes', interval '0'
        ) AS since
    ) AS excused
    WHERE service.kind = 'heartbeat' AND service.state <> 'down' AND service.consecutive_failures = 0
        AND (
            service.last_checked_at < $3 - interval '3 minutes'
            OR (
                (
                    service.last_checked_at < $3 - interval '100 seconds'
                    OR pg_postmaster_start_time() BETWEEN service.last_checked_at AND $3
                )
                AND (beat.resumed_at IS NULL OR beat.resumed_at < excused.since - interval '20 minutes')
            )
        )
),
-- Locked rows are skipped: their owner stores a heartbeat, or the same extension.
resuming AS (
    SELECT beat.service_id, extended.since
    FROM public.service_heartbeats AS beat
    JOIN extended ON extended.id = beat.service_id
    ORDER BY beat.service_id
    FOR UPDATE OF beat SKIP LOCKED
),
resumed AS (
    UPDATE public.service_heartbeats AS beat
    SET resumed_at = greatest(beat.resumed_at, resuming.since)
    FROM resuming
    WHERE beat.service_id = resuming.service_id
),
claimed AS (
    SELECT
        service.id, service.name::text AS name, service.environment, service.application::text AS application,
        service.group_name::text AS group_name, service.kind, service.target, service.timeout_ms,
        service.interval_seconds, service.enabled, service.settings, service.policy, service.revision, service.state,
        service.state_changed_at, service.consecutive_failures, service.consecutive_degraded,
        service.consecutive_successes, service.failing_since, service.recent_failed, service.recent_known,
        service.flapping, service.down_alerted_at, service.degraded_alerted_at, service.decided_slot, service.votes,
        service.measurements, service.certificate_expires_at,
        -- The deadline starts with the job's configuration, and again after each outage of ours.
        greatest(
            coalesce(beat.beat_at, beat.created_at), beat.resumed_at,
            CASE WHEN beat.service_id IS NOT NULL THEN extended.since END
        ) AS beat_at, beat.failed AS beat_failed, beat.message AS beat_message,
        breaker.state AS breaker_state, breaker.failures AS breaker_failures,
        breaker.backoff_seconds AS breaker_backoff_seconds, breaker.opened_at AS breaker_opened_at,
        breaker.retry_at AS breaker_retry_at,
        CASE WHEN $4 THEN 0 ELSE allowed.period END::int8 AS period,
        CASE WHEN $4 THEN $3 ELSE to_timestamp((allowed.slot * allowed.period)::double precision) END AS stands_for,
        -- The other regions that have checked it lately and vote. In an unscheduled round all regions count as others.
        (
            SELECT count(*) FROM public.service_claims AS other
            WHERE other.service_id = service.id AND (other.region <> $7 OR $4) AND other.last_slot IS NOT NULL
                AND other.last_checked_at > $3 - make_interval(secs => 3 * allowed.period)
        ) AS other_regions,
        -- The services that it depends on.
        (
            SELECT jsonb_object_agg(parent.name, jsonb_build_object(
                'failing', parent.state = 'down' OR parent.consecutive_failures > 0,
                'checked_at', parent.last_checked_at,
                'period', least(
                    CASE WHEN parent.kind = 'heartbeat' THEN 60 END,
                    coalesce(parent.interval_seconds, switches.default_interval)
                )
            ))
            FROM public.services AS parent
            CROSS JOIN switches
            WHERE parent.environment = service.environment AND parent.enabled
                AND service.policy -> 'parents' ? parent.name
        ) AS parents
    FROM mine
    JOIN public.services AS service ON service.id = mine.service_id
    JOIN allowed ON allowed.id = service.id
    LEFT JOIN public.service_heartbeats AS beat ON beat.service_id = service.id
    LEFT JOIN extended ON extended.id = service.id
    LEFT JOIN public.circuit_breakers AS breaker ON breaker.key = 'service:' || service.id
)
SELECT
    switches.stopped_by,
    (SELECT count(*) FROM public.services WHERE enabled) AS configured,
    -- Whether services are due at the half minute too.
    EXISTS (SELECT FROM timed WHERE period % 60 <> 0) AS half_minutes,
    -- Whether more services are due.
    (SELECT count(*) FROM wanted) > (SELECT count(*) FROM claimed) AS more,
    -- Whether this region's own network has failed.
    EXISTS (
        SELECT FROM public.incidents
        WHERE fingerprint = 'health:network:' || $7 AND status <> 'resolved'
    ) AS network_incident,
    EXISTS (
        SELECT FROM public.incidents
        WHERE fingerprint = 'health:network:' || $7 AND status <> 'resolved'
            AND last_seen_at > $3 - interval '15 minutes'
    ) AS network_outage,
    claimed.*
FROM switches
LEFT JOIN claimed ON true
ORDER BY claimed.environment, claimed.name
