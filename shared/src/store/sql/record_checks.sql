-- Stores the results of checks: the measurements, the services' standing, their roll-ups, and for failures and
-- recoveries the incidents, alerts, audit rows and events. Idempotent: a result counts only if its claim is still this
-- region's, its check is not stored yet, and the service's revision is unchanged (else a conflict: it is decided
-- again).
WITH input AS (
    SELECT *
    FROM jsonb_to_recordset($1::jsonb) AS result (
        service_id uuid, claim uuid, revision bigint, row_id uuid, check_id text, verdict text, counts_as text, target text, http_status int,
        response_time_ms int, latency_bucket int, error text, error_code text, checked_at timestamptz,
        fingerprint text, details jsonb, votes jsonb, certificate_expires_at timestamptz, measurements jsonb,
        standing jsonb, failure jsonb, recovery jsonb, degraded jsonb, degraded_resolved boolean, certificate jsonb,
        renewed boolean, breaker jsonb, state_changed jsonb
    )
),
mine AS (
    SELECT input.*, EXISTS (
        SELECT FROM public.monitoring_checks WHERE monitoring_checks.check_id = input.check_id
    ) AS known
    FROM input
    JOIN public.service_claims AS claim
        ON claim.service_id = input.service_id AND claim.region = $2 AND claim.claimed_by = input.claim
),
settled AS (
    UPDATE public.services AS service
    SET
        revision = service.revision + 1,
        state = coalesce(standing ->> 'state', service.state),
        state_changed_at = CASE
            WHEN standing IS NULL THEN service.state_changed_at ELSE (standing ->> 'state_changed_at')::timestamptz
        END,
        consecutive_failures = coalesce((standing ->> 'consecutive_failures')::int, service.consecutive_failures),
        consecutive_degraded = coalesce((standing ->> 'consecutive_degraded')::int, service.consecutive_degraded),
        consecutive_successes = coalesce((standing ->> 'consecutive_successes')::int, service.consecutive_successes),
        failing_since = CASE
            WHEN standing IS NULL THEN service.failing_since ELSE (standing ->> 'failing_since')::timestamptz
        END,
        recent_failed = coalesce((standing ->> 'recent_failed')::int, service.recent_failed),
        recent_known = coalesce((standing ->> 'recent_known')::int, service.recent_known),
        flapping = coalesce((standing ->> 'flapping')::boolean, service.flapping),
        down_alerted_at = CASE
            WHEN standing IS NULL THEN service.down_alerted_at ELSE (standing ->> 'down_alerted_at')::timestamptz
        END,
        degraded_alerted_at = CASE
            WHEN standing IS NULL THEN service.degraded_alerted_at
            ELSE (standing ->> 'degraded_alerted_at')::timestamptz
        END,
        decided_slot = coalesce((standing ->> 'decided_slot')::bigint, service.decided_slot),
        held_by = CASE WHEN standing IS NULL THEN service.held_by ELSE standing ->> 'held_by' END,
        votes = coalesce(mine.votes, service.votes),
        last_checked_at = greatest(service.last_checked_at, mine.checked_at),
        last_latency_ms = mine.response_time_ms,
        last_reason = mine.error_code,
        last_error = mine.error,
        certificate_expires_at = coalesce(mine.certificate_expires_at, service.certificate_expires_at),
        measurements = coalesce(mine.measurements, service.measurements)
    FROM mine
    WHERE service.id = mine.service_id AND NOT mine.known AND service.revision = mine.revision
    RETURNING mine.*, service.name, service.environment, service.application
),
released AS (
    -- A check that is stored already changes nothing, but its claim is released.
    UPDATE public.service_claims AS claim
    SET claimed_by = NULL, claimed_until = NULL, last_checked_at = mine.checked_at
    FROM mine
    LEFT JOIN settled ON settled.check_id = mine.check_id
    WHERE claim.service_id = mine.service_id AND claim.region = $2 AND claim.claimed_by = mine.claim
        AND (mine.known OR settled.check_id IS NOT NULL)
),
-- An incident that was resolved less than an hour ago is reopened.
reopened AS (
    UPDATE public.incidents AS incident
    SET
        status = 'detected',
        resolved_at = NULL,
        time_to_resolution = NULL,
        handled_by = NULL,
        reopened_at = settled.checked_at,
        reopen_count = incident.reopen_count + 1,
        occurrences = incident.occurrences + 1,
        error_message = failure ->> 'message',
        last_seen_at = settled.checked_at,
        updated_at = settled.checked_at
    FROM settled
    WHERE failure IS NOT NULL
        AND incident.id = (
            SELECT known.id FROM public.incidents AS known
            WHERE known.fingerprint = settled.fingerprint
                AND known.environment = settled.environment
                AND known.resolved_at > settled.checked_at - interval '1 hour'
                AND known.status = 'resolved'
            ORDER BY known.resolved_at DESC
            LIMIT 1
        )
        AND NOT EXISTS (
            SELECT FROM public.incidents AS open
            WHERE open.fingerprint = settled.fingerprint
                AND open.environment = settled.environment
                AND open.status <> 'resolved'
        )
    RETURNING incident.id, incident.incident_id, incident.environment, incident.fingerprint
),
counted AS (
    -- An outage stays in its incident even if the service has moved to another application.
    INSERT INTO public.incidents AS stored (
        incident_id, title, severity, category, application, environment, fingerprint, error_message, error_type,
        context, detected_at, last_seen_at, updated_at
    )
    SELECT
        failure ->> 'incident_id', failure ->> 'title', failure ->> 'severity', 'infrastructure', coalesce((
            SELECT known.application FROM public.incidents AS known
            WHERE known.environment = settled.environment
                AND known.fingerprint = settled.fingerprint
                AND known.status <> 'resolved'
            LIMIT 1
        ), application),
        environment, fingerprint, failure ->> 'message', 'health_check_failure', failure -> 'context',
        (failure ->> 'began_at')::timestamptz, checked_at, checked_at
    FROM settled
    WHERE failure IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM reopened
            WHERE reopened.environment = settled.environment AND reopened.fingerprint = settled.fingerprint
        )
    ORDER BY application COLLATE "C", environment COLLATE "C", fingerprint COLLATE "C"
    ON CONFLICT (application, environment, fingerprint) WHERE status <> 'resolved'
    DO UPDATE SET
        occurrences = stored.occurrences + 1,
        last_seen_at = EXCLUDED.last_seen_at,
        updated_at = EXCLUDED.updated_at
    RETURNING id, incident_id, environment, fingerprint
),
failing AS (
    SELECT settled.*, open.id AS stored_id, open.incident_id, open.reopened,
        open.incident_id = failure ->> 'incident_id' AS created
    FROM settled
    JOIN (
        SELECT id, incident_id, environment, fingerprint, false AS reopened FROM counted
        UNION ALL
        SELECT id, incident_id, environment, fingerprint, true FROM reopened
    ) AS open ON open.environment = settled.environment AND open.fingerprint = settled.fingerprint
    WHERE failure IS NOT NULL
),
-- Alerts: at most one unresolved per kind and service.
raised AS (
    SELECT 'service_down' AS alert_type, name, environment, checked_at, failure -> 'alert' AS alert,
        failure -> 'context' AS details, stored_id
    FROM failing
    UNION ALL
    SELECT 'service_degraded', name, environment, checked_at, degraded, details, NULL
    FROM settled WHERE degraded IS NOT NULL
    UNION ALL
    SELECT 'certificate_expiring', name, environment, checked_at, certificate,
        jsonb_build_object('expires_at', certificate_expires_at), NULL
    FROM settled WHERE certificate IS NOT NULL
),
alerted AS (
    INSERT INTO public.alert_events (
        id, service_name, environment, alert_type, status, message, details, incident_id, created_at, announce_at,
        announced_at, announcement
    )
    SELECT
        (alert ->> 'id')::uuid, name, environment, alert_type, 'active', alert ->> 'message', details, stored_id,
        checked_at, (alert ->> 'announce_at')::timestamptz,
        CASE WHEN (alert ->> 'announce_at')::timestamptz <= checked_at THEN checked_at END,
        -- Read only by the release before, which may run beside this one.
        CASE WHEN (alert ->> 'announce_at')::timestamptz > checked_at THEN jsonb_build_object(
            'id', gen_random_uuid(), 'detail_type', 'AlertRaised', 'detail', jsonb_build_object('alert_id', alert ->> 'id')
        ) END
    FROM raised
    ORDER BY name COLLATE "C", environment COLLATE "C", alert_type COLLATE "C"
    ON CONFLICT (service_name, environment, alert_type) WHERE status <> 'resolved' DO NOTHING
    RETURNING id, announced_at
),
incidents_resolved AS (
    UPDATE public.incidents AS incident
    SET
        status = 'resolved',
        resolved_at = settled.checked_at,
        time_to_resolution = settled.checked_at - incident.detected_at,
        updated_at = settled.checked_at,
        handled_by = coalesce(incident.handled_by, 'health-monitor')
    FROM settled
    WHERE recovery IS NOT NULL
        AND incident.environment = settled.environment
        AND incident.fingerprint = settled.fingerprint
        AND incident.status <> 'resolved'
    RETURNING incident.id, incident.incident_id, settled.check_id
),
over AS (
    SELECT check_id, name, environment, checked_at, 'service_down' AS alert_type
    FROM settled WHERE recovery IS NOT NULL
    UNION ALL
    SELECT check_id, name, environment, checked_at, 'service_degraded' FROM settled WHERE degraded_resolved
    UNION ALL
    SELECT check_id, name, environment, checked_at, 'certificate_expiring' FROM settled WHERE renewed
),
alerts_resolved AS (
    UPDATE public.alert_events AS alert
    SET status = 'resolved', resolved_at = over.checked_at
    FROM over
    WHERE alert.service_name = over.name
        AND alert.environment = over.environment
        AND alert.alert_type = over.alert_type
        AND alert.status <> 'resolved'
    -- The end of an unannounced alert is not published.
    RETURNING alert.id, over.check_id, over.checked_at, over.alert_type,
        alert.announced_at IS NOT NULL OR alert.announce_at IS NULL AS announced
),
recovered AS (
    -- Only recoveries that resolved something: an outage that an operator resolved is not resolved again.
    SELECT settled.*, (
        SELECT id FROM incidents_resolved WHERE incidents_resolved.check_id = settled.check_id LIMIT 1
    ) AS stored_id
    FROM settled
    WHERE recovery IS NOT NULL AND (
        EXISTS (SELECT FROM incidents_resolved WHERE incidents_resolved.check_id = settled.check_id)
        OR EXISTS (
            SELECT FROM alerts_resolved
            WHERE alerts_resolved.check_id = settled.check_id AND alert_type = 'service_down'
        )
    )
),
recoveries AS (
    INSERT INTO public.alert_events (
        id, service_name, environment, alert_type, status, message, incident_id, created_at, resolved_at
    )
    SELECT
        (recovery ->> 'alert_id')::uuid, name, environment, 'recovery', 'resolved', recovery ->> 'message',
        stored_id, checked_at, checked_at
    FROM recovered
),
-- All rows of a statement have the same time, and ids ordered by time: this halves the size of their indexes.
measured AS (
    INSERT INTO public.service_health_checks (
        id, service_name, status, latency_ms, checked_at, error_message, probe_details, environment, region, tick,
        created_at
    )
    SELECT
        row_id, name, verdict, response_time_ms, checked_at, error, nullif(details, '{}'), environment, $2, $3,
        max(checked_at) OVER ()
    FROM settled
),
checked AS (
    INSERT INTO public.monitoring_checks (
        id, check_id, timestamp, check_type, target, application, status, http_status, response_time_ms,
        errors_detected, error_details, incident_created
    )
    SELECT
        settled.row_id, settled.check_id, max(settled.checked_at) OVER (), 'health', settled.target, settled.application,
        CASE WHEN settled.verdict = 'down' THEN 'error' ELSE 'healthy' END, settled.http_status,
        settled.response_time_ms,
        CASE WHEN settled.verdict = 'down' THEN 1 ELSE 0 END,
        CASE WHEN settled.error IS NOT NULL THEN
            jsonb_build_object('error', settled.error, 'code', settled.error_code)
        END,
        failing.stored_id
    FROM settled
    LEFT JOIN failing ON failing.check_id = settled.check_id AND failing.created
),
-- The increments of the roll-ups; checks of a suspect run are not counted. Latencies are those of answers; their counts
-- are arrays from the first bucket that is not empty to the last.
added AS (
    SELECT
        service_id, checked_at,
        (counts_as = 'healthy')::int AS healthy, (counts_as = 'degraded')::int AS degraded,
        (counts_as = 'down')::int AS down, (counts_as = 'maintenance')::int AS maintenance,
        CASE WHEN latency_bucket IS NULL THEN 0 ELSE response_time_ms END AS latency_ms,
        CASE WHEN latency_bucket IS NULL THEN '{}' ELSE format('[%1$s:%1$s]={1}', latency_bucket) END AS latency_counts
    FROM settled
    WHERE counts_as IS NOT NULL
),
hourly AS (
    INSERT INTO public.service_hourly AS stored (
        service_id, hour, healthy, degraded, down, maintenance, latency_sum_ms, latency_counts
    )
    SELECT
        service_id, date_trunc('hour', checked_at, 'UTC'), healthy, degraded, down, maintenance, latency_ms,
        latency_counts::smallint[]
    FROM added
    ORDER BY service_id
    ON CONFLICT (service_id, hour) DO UPDATE SET
        healthy = stored.healthy + EXCLUDED.healthy,
        degraded = stored.degraded + EXCLUDED.degraded,
        down = stored.down + EXCLUDED.down,
        maintenance = stored.maintenance + EXCLUDED.maintenance,
        latency_sum_ms = stored.latency_sum_ms + EXCLUDED.latency_sum_ms,
        latency_counts[coalesce(array_lower(EXCLUDED.latency_counts, 1), array_lower(stored.latency_counts, 1), 1)] =
            coalesce(stored.latency_counts[
                coalesce(array_lower(EXCLUDED.latency_counts, 1), array_lower(stored.latency_counts, 1), 1)
            ], 0) + coalesce(EXCLUDED.latency_counts[array_lower(EXCLUDED.latency_counts, 1)], 0)
),
daily AS (
    INSERT INTO public.service_daily AS stored (
        service_id, day, healthy, degraded, down, maintenance, latency_sum_ms, latency_counts
    )
    SELECT
        service_id, date_trunc('day', checked_at, 'UTC'), healthy, degraded, down, maintenance, latency_ms,
        latency_counts::int[]
    FROM added
    ORDER BY service_id
    ON CONFLICT (service_id, day) DO UPDATE SET
        healthy = stored.healthy + EXCLUDED.healthy,
        degraded = stored.degraded + EXCLUDED.degraded,
        down = stored.down + EXCLUDED.down,
        maintenance = stored.maintenance + EXCLUDED.maintenance,
        latency_sum_ms = stored.latency_sum_ms + EXCLUDED.latency_sum_ms,
        latency_counts[coalesce(array_lower(EXCLUDED.latency_counts, 1), array_lower(stored.latency_counts, 1), 1)] =
            coalesce(stored.latency_counts[
                coalesce(array_lower(EXCLUDED.latency_counts, 1), array_lower(stored.latency_counts, 1), 1)
            ], 0) + coalesce(EXCLUDED.latency_counts[array_lower(EXCLUDED.latency_counts, 1)], 0)
),
broken AS (
    INSERT INTO public.circuit_breakers AS stored (
        key, state, failures, backoff_seconds, opened_at, retry_at, updated_at
    )
    SELECT
        'service:' || service_id, breaker ->> 'state', (breaker ->> 'failures')::int,
        (breaker ->> 'backoff_seconds')::int, (breaker ->> 'opened_at')::timestamptz,
        (breaker ->> 'retry_at')::timestamptz, checked_at
    FROM settled
    WHERE breaker IS NOT NULL
    ORDER BY service_id
    ON CONFLICT (key) DO UPDATE SET
        state = EXCLUDED.state,
        failures = EXCLUDED.failures,
        backoff_seconds = EXCLUDED.backoff_seconds,
        opened_at = EXCLUDED.opened_at,
        retry_at = EXCLUDED.retry_at,
        updated_at = EXCLUDED.updated_at
),
audited AS (
    -- Changes only, not each check of a long outage.
    INSERT INTO public.agent_actions (
        timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id, action_details
    )
    SELECT
        checked_at, 'health-monitor', 'monitoring', 'health_check_failure', failure ->> 'message', false, stored_id,
        failure -> 'context'
    FROM failing
    WHERE created OR reopened
    UNION ALL
    SELECT
        checked_at, 'health-monitor', 'monitoring', 'service_recovered', recovery ->> 'message', true, stored_id,
        details
    FROM recovered
),
announced AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT gen_random_uuid(), detail_type, detail, checked_at
    FROM (
        SELECT 'ServiceStateChanged' AS detail_type, state_changed AS detail, checked_at
        FROM settled WHERE state_changed IS NOT NULL
        UNION ALL
        SELECT
            CASE WHEN created THEN 'IncidentOpened' ELSE 'IncidentReopened' END,
            jsonb_build_object('incident_id', incident_id), checked_at
        FROM failing WHERE created OR reopened
        UNION ALL
        SELECT 'AlertRaised', jsonb_build_object('alert_id', alerted.id), checked_at
        FROM raised
        JOIN alerted ON alerted.id = (alert ->> 'id')::uuid
        WHERE alerted.announced_at IS NOT NULL
        UNION ALL
        SELECT 'IncidentResolved', jsonb_build_object('incident_id', incidents_resolved.incident_id), checked_at
        FROM settled
        JOIN incidents_resolved USING (check_id)
        UNION ALL
        SELECT 'AlertResolved', jsonb_build_object('alert_id', id), checked_at
        FROM alerts_resolved
        WHERE announced
    ) AS happened
    RETURNING id
)
SELECT
    settled.check_id, coalesce(failing.created, false) AS incident_created,
    coalesce(failing.incident_id, CASE WHEN settled.verdict = 'down' THEN (
        SELECT known.incident_id FROM public.incidents AS known
        WHERE known.environment = settled.environment
            AND known.fingerprint = settled.fingerprint
            AND known.status <> 'resolved'
        LIMIT 1
    ) END)::text AS incident_id,
    ARRAY(SELECT id FROM announced) AS events
FROM settled
LEFT JOIN failing ON failing.check_id = settled.check_id
