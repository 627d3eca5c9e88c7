-- The failed check's one write: what was measured, what the service is now, and for those that fail or have
-- recovered the incident, the alert, the audit row and the events. A result counts only if its claim is still the
-- service's ($2) and its check has not been stored before.
WITH input AS (
    SELECT *
    FROM jsonb_to_recordset($1::jsonb) AS check_result (
        service_id uuid, check_id text, passed boolean, http_status int, response_time_ms int, error text,
        error_code text, state text, consecutive_failures int, consecutive_successes int, checked_at timestamptz, fingerprint text,
        details jsonb, failure jsonb, recovery jsonb, state_changed jsonb
    )
),
settled AS (
    UPDATE public.services AS service
    SET
        state = input.state,
        state_changed_at = CASE WHEN service.state = input.state THEN service.state_changed_at ELSE input.checked_at END,
        consecutive_failures = input.consecutive_failures,
        consecutive_successes = input.consecutive_successes,
        last_checked_at = input.checked_at,
        claimed_by = NULL,
        claimed_until = NULL
    FROM input
    WHERE service.id = input.service_id
        AND service.claimed_by = $2
        AND NOT EXISTS (SELECT FROM public.monitoring_checks WHERE monitoring_checks.check_id = input.check_id)
    RETURNING input.*, service.name, service.environment, service.application
),
released AS (
    -- A check that is stored already changes nothing, but its claim has ended.
    UPDATE public.services AS service
    SET claimed_by = NULL, claimed_until = NULL
    FROM input
    WHERE service.id = input.service_id
        AND service.claimed_by = $2
        AND EXISTS (SELECT FROM public.monitoring_checks WHERE monitoring_checks.check_id = input.check_id)
),
counted AS (
    -- An outage stays in its incident also when the service has moved to another application meanwhile.
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
        checked_at, checked_at, checked_at
    FROM settled
    WHERE failure IS NOT NULL
    ORDER BY application COLLATE "C", environment COLLATE "C", fingerprint COLLATE "C"
    ON CONFLICT (application, environment, fingerprint) WHERE status <> 'resolved'
    DO UPDATE SET
        occurrences = stored.occurrences + 1,
        last_seen_at = EXCLUDED.last_seen_at,
        updated_at = EXCLUDED.updated_at
    RETURNING id, incident_id, environment, fingerprint
),
failing AS (
    SELECT settled.*, counted.id AS stored_id, counted.incident_id,
        counted.incident_id = failure ->> 'incident_id' AS created
    FROM settled
    JOIN counted ON counted.environment = settled.environment
        AND counted.fingerprint = settled.fingerprint
),
alerted AS (
    INSERT INTO public.alert_events (
        id, service_name, environment, alert_type, status, message, details, incident_id, created_at
    )
    SELECT
        (failure ->> 'alert_id')::uuid, name, environment, 'service_down', 'active', failure ->> 'message',
        failure -> 'context', stored_id, checked_at
    FROM failing
    ORDER BY name COLLATE "C", environment COLLATE "C"
    ON CONFLICT (service_name, environment, alert_type) WHERE status <> 'resolved' DO NOTHING
    RETURNING id
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
alerts_resolved AS (
    UPDATE public.alert_events AS alert
    SET status = 'resolved', resolved_at = settled.checked_at
    FROM settled
    WHERE recovery IS NOT NULL
        AND alert.service_name = settled.name
        AND alert.environment = settled.environment
        AND alert.alert_type IN ('service_down', 'service_degraded')
        AND alert.status <> 'resolved'
    RETURNING alert.id, settled.check_id
),
recovered AS (
    -- Only what ended something: an outage that an operator closed by hand needs no second end.
    SELECT settled.*, (
        SELECT id FROM incidents_resolved WHERE incidents_resolved.check_id = settled.check_id LIMIT 1
    ) AS stored_id
    FROM settled
    WHERE EXISTS (SELECT FROM incidents_resolved WHERE incidents_resolved.check_id = settled.check_id)
        OR EXISTS (SELECT FROM alerts_resolved WHERE alerts_resolved.check_id = settled.check_id)
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
measured AS (
    INSERT INTO public.service_health_checks (
        service_name, status, latency_ms, checked_at, error_message, probe_details, environment, region, tick,
        created_at
    )
    SELECT
        name, CASE WHEN passed THEN 'healthy' ELSE 'down' END, response_time_ms, checked_at, error, details,
        environment, $3, $4, checked_at
    FROM settled
),
checked AS (
    INSERT INTO public.monitoring_checks (
        check_id, timestamp, check_type, target, application, status, http_status, response_time_ms,
        errors_detected, error_details, incident_created
    )
    SELECT
        settled.check_id, settled.checked_at, 'health', left(settled.details ->> 'url', 255), settled.application,
        CASE WHEN settled.passed THEN 'healthy' ELSE 'error' END, settled.http_status, settled.response_time_ms,
        CASE WHEN settled.passed THEN 0 ELSE 1 END,
        CASE WHEN NOT settled.passed THEN jsonb_build_object('error', settled.error, 'code', settled.error_code) END,
        failing.stored_id
    FROM settled
    LEFT JOIN failing ON failing.check_id = settled.check_id AND failing.created
),
audited AS (
    INSERT INTO public.agent_actions (
        timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id, action_details
    )
    SELECT
        checked_at, 'health-monitor', 'monitoring', 'health_check_failure', failure ->> 'message', false, stored_id,
        failure -> 'context'
    FROM failing
    UNION ALL
    SELECT
        checked_at, 'health-monitor', 'monitoring', 'service_recovered', recovery ->> 'message', true, stored_id,
        details
    FROM recovered
),
announced AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT (event ->> 'id')::uuid, event ->> 'detail_type', event -> 'detail', checked_at
    FROM (
        SELECT checked_at, state_changed AS event FROM settled WHERE state_changed IS NOT NULL
        UNION ALL
        SELECT checked_at, failure -> 'opened' FROM failing WHERE created
        UNION ALL
        SELECT checked_at, jsonb_set(failure -> 'alerted', '{detail,incident_id}', to_jsonb(failing.incident_id))
        FROM failing
        JOIN alerted ON alerted.id = (failure ->> 'alert_id')::uuid
        UNION ALL
        SELECT checked_at, jsonb_set(recovery -> 'incident_resolved', '{detail,incident_id}', to_jsonb(incidents_resolved.incident_id))
        FROM settled
        JOIN incidents_resolved USING (check_id)
        UNION ALL
        SELECT checked_at, jsonb_set(recovery -> 'alert_resolved', '{detail,alert_id}', to_jsonb(alerts_resolved.id))
        FROM settled
        JOIN (SELECT DISTINCT ON (check_id) check_id, id FROM alerts_resolved) AS alerts_resolved USING (check_id)
    ) AS happened
)
SELECT
    settled.check_id, coalesce(failing.created, false) AS incident_created,
    coalesce(failing.incident_id, CASE WHEN settled.state = 'down' THEN (
        SELECT known.incident_id FROM public.incidents AS known
        WHERE known.environment = settled.environment
            AND known.fingerprint = settled.fingerprint
            AND known.status <> 'resolved'
        LIMIT 1
    ) END)::text AS incident_id
FROM settled
LEFT JOIN failing ON failing.check_id = settled.check_id
