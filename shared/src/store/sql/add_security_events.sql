-- Adds refusals to the row of their kind, network and minute. Idempotent by the batch's id ($9): a retry adds nothing.
-- A kind has at most $12 rows with a network per hour; further refusals are added to one row without a network per ten
-- minutes. A burst ($11 refusals of a kind within ten minutes: a sliding window, estimated from two fixed windows)
-- opens the incident of its kind ($10), unless one was resolved less than an hour ago. While it is open, each refusal
-- is one occurrence. The rows of the burst, and later ones, refer to it.
WITH given AS (
    SELECT
        given.*,
        date_bin('10 minutes', first_at, '2000-01-01 00:00:00+00') AS window_start,
        network IS NOT NULL AND NOT EXISTS (
            SELECT FROM public.security_events AS known WHERE known.event_id = given.event_id
        ) AS is_new
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[], $8::timestamptz[]
    ) AS given (event_id, event_type, severity, network, description, count, first_at, last_at)
),
windows AS (
    INSERT INTO public.security_event_counts AS stored (event_type, span, starts_at, count, batches)
    SELECT event_type, 'ten_minutes', window_start, sum(count)::bigint, ARRAY[$9::uuid]
    FROM given
    GROUP BY event_type, window_start
    -- A fixed lock order prevents deadlocks of concurrent batches.
    ORDER BY event_type COLLATE "C", window_start
    ON CONFLICT (event_type, span, starts_at) DO UPDATE SET
        count = stored.count + EXCLUDED.count,
        batches = (EXCLUDED.batches || stored.batches)[:64]
    WHERE NOT stored.batches && EXCLUDED.batches
    RETURNING event_type, starts_at AS window_start, count AS refusals
),
-- Empty for a retried batch.
fresh AS (
    SELECT given.*, windows.refusals, date_bin('1 hour', first_at, '2000-01-01 00:00:00+00') AS hour
    FROM given
    JOIN windows USING (event_type, window_start)
),
hours AS (
    INSERT INTO public.security_event_counts AS stored (event_type, span, starts_at, count)
    SELECT event_type, 'hour', hour, count(*) FILTER (WHERE is_new)
    FROM fresh
    GROUP BY event_type, hour
    ORDER BY event_type COLLATE "C", hour
    ON CONFLICT (event_type, span, starts_at) DO UPDATE SET count = stored.count + EXCLUDED.count
    RETURNING event_type, starts_at AS hour, count AS networks
),
ranked AS (
    SELECT
        fresh.*,
        hours.networks
            - count(*) FILTER (WHERE is_new) OVER (PARTITION BY event_type, hour)
            + count(*) FILTER (WHERE is_new) OVER (
                PARTITION BY event_type, hour ORDER BY event_id COLLATE "C" ROWS UNBOUNDED PRECEDING
            ) AS nth
    FROM fresh
    JOIN hours USING (event_type, hour)
),
placed AS (
    SELECT
        CASE WHEN has_own_row THEN event_id ELSE 'SEC-' || md5(event_type || extract(epoch FROM window_start))::uuid END
            AS event_id,
        CASE WHEN has_own_row THEN network END AS network,
        event_type, severity, description, count, first_at, last_at
    FROM (SELECT ranked.*, network IS NOT NULL AND (NOT is_new OR nth <= $12) AS has_own_row FROM ranked) AS candidate
),
summed AS (
    SELECT
        event_id, event_type, min(severity) AS severity, min(network) AS network, min(description) AS description,
        sum(count)::bigint AS count, min(first_at) AS first_at, max(last_at) AS last_at
    FROM placed
    GROUP BY event_id, event_type
),
kinds AS (
    SELECT
        event_type, sum(count)::bigint AS count, max(last_at) AS last_at,
        max(refusals + floor(earlier * greatest(0, 1 - extract(epoch FROM last_at - window_start) / 600)))::bigint
            AS refusals
    FROM (
        SELECT
            event_type, window_start, refusals, sum(count) AS count, max(last_at) AS last_at,
            greatest(
                (
                    SELECT before.count FROM public.security_event_counts AS before
                    WHERE before.event_type = fresh.event_type AND before.span = 'ten_minutes'
                        AND before.starts_at = fresh.window_start - interval '10 minutes'
                ),
                (
                    SELECT before.refusals FROM windows AS before
                    WHERE before.event_type = fresh.event_type
                        AND before.window_start = fresh.window_start - interval '10 minutes'
                ),
                0
            ) AS earlier
        FROM fresh
        GROUP BY event_type, window_start, refusals
    ) AS each
    GROUP BY event_type
),
candidates AS (
    SELECT candidate.*, kinds.count, kinds.refusals, kinds.last_at
    FROM jsonb_to_recordset($10::jsonb) AS candidate (
        event_type text, incident_id text, severity text, application text, environment text, fingerprint text,
        title text, message text
    )
    JOIN kinds USING (event_type)
),
counted AS (
    UPDATE public.incidents AS incident
    SET
        occurrences = incident.occurrences + candidate.count,
        last_seen_at = greatest(incident.last_seen_at, candidate.last_at),
        updated_at = greatest(incident.updated_at, candidate.last_at)
    FROM candidates AS candidate
    WHERE incident.fingerprint = candidate.fingerprint
        AND incident.application = candidate.application
        AND incident.environment = candidate.environment
        AND incident.status <> 'resolved'
    RETURNING incident.id, candidate.event_type
),
opened AS (
    INSERT INTO public.incidents AS stored (
        incident_id, title, severity, category, application, environment, fingerprint, error_message, error_type,
        occurrences, detected_at, last_seen_at, updated_at
    )
    SELECT
        incident_id, title, severity, 'security', application, environment, fingerprint, message, event_type,
        refusals, last_at, last_at, last_at
    FROM candidates AS candidate
    WHERE refusals >= $11
        AND event_type NOT IN (SELECT event_type FROM counted)
        AND NOT EXISTS (
            SELECT FROM public.incidents AS earlier
            WHERE earlier.fingerprint = candidate.fingerprint
                AND earlier.application = candidate.application
                AND earlier.environment = candidate.environment
                AND earlier.status = 'resolved'
                AND earlier.resolved_at > candidate.last_at - interval '1 hour'
        )
    ORDER BY fingerprint
    -- A concurrent batch has just opened it; the window's refusals include that batch's.
    ON CONFLICT (application, environment, fingerprint) WHERE status <> 'resolved' DO UPDATE SET
        occurrences = greatest(stored.occurrences, EXCLUDED.occurrences),
        last_seen_at = greatest(stored.last_seen_at, EXCLUDED.last_seen_at)
    RETURNING id, incident_id, error_type AS event_type, detected_at
),
named AS (
    SELECT event_type, id FROM counted
    UNION ALL
    SELECT event_type, id FROM opened
),
written AS (
    INSERT INTO public.security_events AS stored (
        event_id, "timestamp", event_type, severity, status, source_ip, description, action_taken, incident_created,
        metadata
    )
    SELECT
        event_id, first_at, event_type, severity, 'detected', network, description, 'refused', named.id,
        jsonb_build_object('count', count, 'first_at', first_at, 'last_at', last_at)
    FROM summed
    LEFT JOIN named USING (event_type)
    ORDER BY event_id COLLATE "C"
    ON CONFLICT (event_id) DO UPDATE SET
        "timestamp" = least(stored."timestamp", EXCLUDED."timestamp"),
        incident_created = coalesce(stored.incident_created, EXCLUDED.incident_created),
        metadata = jsonb_build_object(
            'count', (stored.metadata ->> 'count')::bigint + (EXCLUDED.metadata ->> 'count')::bigint,
            'first_at',
            least((stored.metadata ->> 'first_at')::timestamptz, (EXCLUDED.metadata ->> 'first_at')::timestamptz),
            'last_at',
            greatest((stored.metadata ->> 'last_at')::timestamptz, (EXCLUDED.metadata ->> 'last_at')::timestamptz)
        )
),
marked AS (
    UPDATE public.security_events AS event
    SET incident_created = opened.id
    FROM opened
    WHERE event.event_type = opened.event_type
        AND event."timestamp" > opened.detected_at - interval '10 minutes'
        AND event.incident_created IS NULL
        AND event.event_id NOT IN (SELECT event_id FROM summed)
),
audited AS (
    INSERT INTO public.agent_actions (
        timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id
    )
    SELECT last_at, 'security-watch', 'monitoring', 'refusals_burst', message, true, opened.id
    FROM opened
    JOIN candidates USING (incident_id)
)
INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
SELECT gen_random_uuid(), 'IncidentOpened', jsonb_build_object('incident_id', incident_id), last_at
FROM opened
JOIN candidates AS candidate USING (incident_id)
