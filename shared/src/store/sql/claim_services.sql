-- Claims, for one region, what is due at a tick, without holding a transaction while it is checked. A service is due when
-- the slot of the tick differs from the slot claimed last ("last time + interval" would skip minutes), and when a claim
-- has ended without a result; out of turn ($4), everything is. The switches are read in the same statement: one row comes
-- back even when nothing is claimed. With $8, nothing new: what this claim ($1) still has, as it stands now.
, periods AS (
    -- The interval of a heartbeat is its job's: that it stays away is looked for each minute.
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
-- An open breaker lets nobody through until its time has come.
asked AS (
    SELECT timed.*, $3 + make_interval(secs => service.timeout_ms * 2 / 1000.0 + 30) AS until
    FROM timed
    JOIN public.services AS service USING (id)
    LEFT JOIN public.circuit_breakers AS breaker 
        ON breaker.key = 'service:' || service.id AND service.policy -> 'tags' ? 'external'
    WHERE $4 OR breaker.retry_at IS NULL OR breaker.retry_at <= $3
),
-- All that is to be claimed, by whomever: of several claims at one time, each may get less than it tried for.
wanted AS (
    SELECT asked.id
    FROM asked
    LEFT JOIN public.service_claims AS claim ON claim.service_id = asked.id AND claim.region = $7
    WHERE NOT $8 AND (
        claim.service_id IS NULL
        OR claim.claimed_by = $1
        OR (
            (claim.claimed_until IS NULL OR claim.claimed_until <= $3)
            AND ($4 OR claim.claimed_by IS NOT NULL OR claim.last_slot IS DISTINCT FROM asked.slot)
            -- A tick that comes late, after the next one's check, is a missed window.
            AND ($4 OR claim.last_checked_at IS NULL
                OR claim.last_checked_at < to_timestamp(((asked.slot + 1) * asked.period)::double precision))
            AND ($5::timestamptz IS NULL OR claim.last_checked_at IS NULL OR claim.last_checked_at < $5)
        )
    )
),
-- The first time in this region. Whoever inserts the row has the claim.
fresh AS (
    INSERT INTO public.service_claims (service_id, region, last_slot, claimed_by, claimed_until)
    SELECT id, $7, CASE WHEN NOT $4 THEN slot END, $1, until
    FROM asked
    WHERE NOT $8 AND NOT EXISTS (
        SELECT FROM public.service_claims AS claim WHERE claim.service_id = asked.id AND claim.region = $7
    )
    ORDER BY id
    LIMIT $6
    ON CONFLICT DO NOTHING
    RETURNING service_id
),
-- The conditions stand here again, to be looked at anew in a row that another claim has just left.
due AS (
    SELECT claim.service_id
    FROM public.service_claims AS claim
    JOIN asked ON asked.id = claim.service_id
    WHERE claim.region = $7
        AND (
            -- The same claim again: its answer was lost.
            claim.claimed_by = $1
            OR NOT $8 AND (
                (claim.claimed_until IS NULL OR claim.claimed_until <= $3)
                AND ($4 OR claim.claimed_by IS NOT NULL OR claim.last_slot IS DISTINCT FROM asked.slot)
                -- A tick that comes late, after the next one's check, is a missed window.
                AND ($4 OR claim.last_checked_at IS NULL
                    OR claim.last_checked_at < to_timestamp(((asked.slot + 1) * asked.period)::double precision))
                -- One round checks a service once.
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
        -- All attempts end within twice the time-out; a claimer that died is given up soon after.
        claimed_until = asked.until,
        last_slot = CASE WHEN $4 THEN claim.last_slot ELSE asked.slot END
    FROM due
    JOIN asked ON asked.id = due.service_id
    WHERE claim.service_id = due.service_id AND claim.region = $7
    RETURNING claim.service_id
),
mine AS (
    SELECT service_id FROM fresh UNION ALL SELECT service_id FROM taken
),
-- A job that was well when it was last looked at, and since when its silence counts. If that look is long ago, nobody was
-- there to hear it: since now. If only a look was missed, or the server has started since, the database was away for a
-- moment: what the job said meanwhile may be deferred, and a queue tries that again after six minutes. So it is not judged
-- for ten minutes; but once in twenty, or a job would never be judged where looks are always that far apart.
unheard AS (
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
-- Nobody waits here: who holds the row is a beat, or notes the same.
resuming AS (
    SELECT beat.service_id, unheard.since
    FROM public.service_heartbeats AS beat
    JOIN unheard ON unheard.id = beat.service_id
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
        -- A job's silence begins with its configuration, and again whenever we were away.
        greatest(
            coalesce(beat.beat_at, beat.created_at), beat.resumed_at,
            CASE WHEN beat.service_id IS NOT NULL THEN unheard.since END
        ) AS beat_at, beat.failed AS beat_failed, beat.message AS beat_message,
        breaker.state AS breaker_state, breaker.failures AS breaker_failures,
        breaker.backoff_seconds AS breaker_backoff_seconds, breaker.opened_at AS breaker_opened_at,
        breaker.retry_at AS breaker_retry_at,
        CASE WHEN $4 THEN 0 ELSE asked.period END::int8 AS period,
        CASE WHEN $4 THEN $3 ELSE to_timestamp((asked.slot * asked.period)::double precision) END AS stands_for,
        -- Who else has checked it lately: their votes count too. Out of turn, all who vote are somebody else.
        (
            SELECT count(*) FROM public.service_claims AS other
            WHERE other.service_id = service.id AND (other.region <> $7 OR $4) AND other.last_slot IS NOT NULL
                AND other.last_checked_at > $3 - make_interval(secs => 3 * asked.period)
        ) AS other_regions,
        -- What it needs.
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
    JOIN asked ON asked.id = service.id
    LEFT JOIN public.service_heartbeats AS beat ON beat.service_id = service.id
    LEFT JOIN unheard ON unheard.id = service.id
    LEFT JOIN public.circuit_breakers AS breaker ON breaker.key = 'service:' || service.id
)
SELECT
    switches.stopped_by,
    (SELECT count(*) FROM public.services WHERE enabled) AS configured,
    -- Whether somebody is to be asked between two minutes too.
    EXISTS (SELECT FROM timed WHERE period % 60 <> 0) AS half_minutes,
    -- Whether this claim left something.
    (SELECT count(*) FROM wanted) > (SELECT count(*) FROM claimed) AS more,
    -- Whether this region's own network was at fault when it was last looked at.
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
